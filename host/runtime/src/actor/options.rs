//! How an actor runs, and what it says about itself.

use super::health::Health;
use super::latency::Latency;
use crate::component::Component;
use crate::engine::MAX_TABLE_ELEMENTS;
use host_core::pool::PoolState;
use lattice_protocol::{ActorId, ErrorCode, HostId, InstancePolicy, LatticeName, Limits, Report};
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// How an actor runs on this host.
#[derive(Debug, Clone)]
pub struct ActorOptions {
    /// Who.
    pub id: ActorId,
    /// Its lattice.
    pub lattice: LatticeName,
    /// This host.
    pub host: HostId,
    /// Reuse of instances.
    pub policy: InstancePolicy,
    /// Limits of each instance, and of all together per replica.
    pub limits: Limits,
    /// Replicas on this host: each adds its concurrency.
    pub replicas: u32,
    /// Values of `wasi:config`.
    pub config: BTreeMap<String, String>,
}

/// Does the component fit these limits, and do they fit this host?
pub(crate) fn check_limits(limits: &Limits, component: &Component) -> Result<(), Report> {
    const PAGE: u64 = 64 << 10;
    if limits.memory_bytes > component.max_memory {
        return Err(Report::new(ErrorCode::Memory, "limits.memoryBytes over what this host can give")
            .got(limits.memory_bytes)
            .limit(format!("at most {}", component.max_memory)));
    }
    if usize::try_from(limits.table_elements).unwrap_or(usize::MAX) > MAX_TABLE_ELEMENTS {
        return Err(Report::new(ErrorCode::Table, "limits.tableElements over what this host can give")
            .got(limits.table_elements)
            .limit(format!("at most {MAX_TABLE_ELEMENTS}")));
    }
    let Some(needs) = &component.needs else {
        return Err(Report::new(ErrorCode::Feature, "imported core modules disabled"));
    };
    let pages = needs.max_initial_memory_size.unwrap_or(0);
    if pages.saturating_mul(PAGE) > limits.memory_bytes {
        return Err(Report::new(ErrorCode::Memory, "initial memory over the limit")
            .got(format!("min {pages} pages"))
            .limit(format!("limit {} pages of 64 KiB", limits.memory_bytes / PAGE))
            .hint("raise limits.memoryBytes"));
    }
    let elements = needs.max_initial_table_size.unwrap_or(0);
    if elements > u64::from(limits.table_elements) {
        return Err(Report::new(ErrorCode::Table, "initial table elements over the limit")
            .got(elements)
            .limit(limits.table_elements)
            .hint("raise limits.tableElements"));
    }
    Ok(())
}

/// What an actor is doing, and has done since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ActorStats {
    /// Calls that ended, well or not.
    pub calls: u64,
    /// Calls of those that failed.
    pub errors: u64,
    /// Calls being served.
    pub in_flight: u32,
    /// Calls waiting.
    pub queued: u32,
    /// Instances that exist.
    pub instances: u32,
    /// Time its guests have held a processor, milliseconds (plain profile only: concurrent guests
    /// share their event loop with what waits).
    pub cpu_ms: u64,
    /// What 99 of 100 calls lately stayed below, milliseconds; none when there was no call.
    pub latency_ms: Option<u32>,
    /// It fails at every call and is called less and less often.
    pub crash_looping: bool,
}

/// Counters, written at every call.
#[derive(Debug, Default)]
pub(super) struct Meters {
    calls: AtomicU64,
    errors: AtomicU64,
    cpu_ns: AtomicU64,
    latency: Latency,
}

impl Meters {
    /// Counts a call that ends now.
    pub(super) fn count<T>(&self, began: Instant, outcome: &Result<T, Report>) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.latency.count(began);
        if outcome.is_err() {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Calls that have ended.
    pub(super) fn ended(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Measures the time that a future is being polled.
    pub(super) async fn timed<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        std::future::poll_fn(|context| {
            let start = Instant::now();
            let outcome = future.as_mut().poll(context);
            let spent = start.elapsed();
            crate::overload::spend(spent);
            let spent_ns = u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX);
            self.cpu_ns.fetch_add(spent_ns, Ordering::Relaxed);
            outcome
        })
        .await
    }

    pub(super) fn read(&self, counts: PoolState, health: &Health) -> ActorStats {
        ActorStats {
            calls: self.calls.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
            in_flight: counts.in_flight,
            queued: counts.queued,
            instances: counts.live,
            cpu_ms: self.cpu_ns.load(Ordering::Relaxed) / 1_000_000,
            latency_ms: self.latency.p99_ms(),
            crash_looping: health.is_crash_looping(),
        }
    }
}
