//! Does it make sense to call this actor now? Every failed call costs an instance; an actor that
//! fails call after call without one success is left alone for a while, longer each time
//! (`host_core::supervise`: 100 ms … 30 s, crash-looping after five within a minute).
//!
//! One poisonous request among good ones never pauses anybody: each success forgives.

use host_core::supervise::{RestartPolicy, Supervisor};
use lattice_protocol::{ActorId, ErrorCode, Report};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Failures in a row that are taken as bad luck.
const TOLERATED: u32 = 5;

/// The memory of an actor's failures.
pub(super) struct Health {
    began: Instant,
    in_a_row: AtomicU32,
    /// Milliseconds since `began` before which nobody calls.
    paused_until: AtomicU64,
    crash_looping: AtomicBool,
    supervisor: Mutex<Supervisor>,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            in_a_row: AtomicU32::new(0),
            paused_until: AtomicU64::new(0),
            crash_looping: AtomicBool::new(false),
            supervisor: Mutex::new(Supervisor::new(RestartPolicy::default())),
        }
    }
}

impl Health {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// May a call go ahead?
    pub(super) fn admit(&self, actor: &ActorId) -> Result<(), Report> {
        let until = self.paused_until.load(Ordering::Relaxed);
        if until == 0 {
            return Ok(());
        }
        let left = until.saturating_sub(self.now_ms());
        if left == 0 {
            return Ok(());
        }
        Err(Report::new(ErrorCode::CrashLooping, "actor fails at every call")
            .at(actor)
            .got(format!("{} failures in a row", self.in_a_row.load(Ordering::Relaxed)))
            .hint(format!("tried again in {left} ms; see its log")))
    }

    /// A call ended well.
    pub(super) fn succeeded(&self) {
        if self.in_a_row.load(Ordering::Relaxed) == 0 {
            return;
        }
        self.in_a_row.store(0, Ordering::Relaxed);
        self.paused_until.store(0, Ordering::Relaxed);
        if self.crash_looping.swap(false, Ordering::Relaxed) {
            *self.supervisor.lock().unwrap_or_else(PoisonError::into_inner) =
                Supervisor::new(RestartPolicy::default());
        }
    }

    /// A call took its instance with it. What a link or the caller caused does not count.
    pub(super) fn failed(&self, report: &Report, actor: &ActorId) {
        let own = matches!(
            report.code,
            ErrorCode::Trap | ErrorCode::Memory | ErrorCode::Table | ErrorCode::StartTimeout
        );
        if !own {
            return;
        }
        let in_a_row = self.in_a_row.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        tracing::debug!(%actor, in_a_row, %report, "instance lost");
        if in_a_row < TOLERATED {
            return;
        }
        let mut supervisor = self.supervisor.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.now_ms();
        // Calls that were let in together fail together: one pause for all of them.
        if self.paused_until.load(Ordering::Relaxed) > now {
            return;
        }
        let next = supervisor.failed(now, now);
        self.paused_until.store(next.at_ms.max(1), Ordering::Relaxed);
        if next.crash_looping && !self.crash_looping.swap(true, Ordering::Relaxed) {
            tracing::warn!(%actor, %report, "crash-looping");
        }
    }

    /// Has it failed so often that it is shown as crash-looping?
    pub(super) fn is_crash_looping(&self) -> bool {
        self.crash_looping.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_failures_without_a_success_pause_and_a_success_forgives() {
        let (health, actor) = (Health::default(), "a/b".parse::<ActorId>().unwrap());
        let trap = Report::new(ErrorCode::Trap, "guest trapped");
        for _ in 0..4 {
            health.failed(&trap, &actor);
        }
        health.succeeded();
        for _ in 0..4 {
            health.failed(&trap, &actor);
            assert!(health.admit(&actor).is_ok());
        }
        health.failed(&Report::new(ErrorCode::CapabilityDenied, "no link"), &actor);
        assert!(health.admit(&actor).is_ok());
        health.failed(&trap, &actor);
        assert_eq!(health.admit(&actor).unwrap_err().code, ErrorCode::CrashLooping);
        health.succeeded();
        assert!(health.admit(&actor).is_ok());
    }
}
