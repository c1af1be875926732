//! One guarded call through a link: patience per attempt, retries only where they are safe,
//! jittered pauses, a circuit breaker, and the caller's deadline over all of it. The decisions are
//! `host_core`'s; this file only waits.

use super::BoundLink;
use crate::state::CallScope;
use host_core::{Admission, Attempt, Outcome, Retry, Ticket};
use lattice_protocol::{ErrorCode, Report};
use providers_sdk::{CallContext, ProviderError, ProviderErrorKind};
use std::sync::{LazyLock, PoisonError};
use std::time::{Duration, Instant};

/// Origin of the monotonic milliseconds that the pure decisions are made with.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

fn milliseconds(at: Instant) -> u64 {
    u64::try_from(at.saturating_duration_since(*ORIGIN).as_millis()).unwrap_or(u64::MAX)
}

/// How one attempt failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// None when the target has answered: another attempt would be answered the same way.
    outcome: Option<Outcome>,
    report: Report,
}

impl From<ProviderError> for Failure {
    fn from(error: ProviderError) -> Self {
        let outcome = match error.kind {
            ProviderErrorKind::Unreachable => Some(Outcome::Unsent),
            ProviderErrorKind::Timeout | ProviderErrorKind::Failed => Some(Outcome::Sent),
            ProviderErrorKind::NotFound
            | ProviderErrorKind::Invalid
            | ProviderErrorKind::Conflict
            | ProviderErrorKind::Limit
            | ProviderErrorKind::TooLarge
            | ProviderErrorKind::Denied => None,
        };
        Self { outcome, report: error.into() }
    }
}

impl From<Report> for Failure {
    /// Of a call to an actor. Safe because [`behind`] has rewritten what comes from behind it.
    fn from(report: Report) -> Self {
        Self { outcome: Outcome::of(report.code), report }
    }
}

impl Failure {
    /// Of a command: the same one, under the same id, finds out what has become of it.
    pub(crate) fn of_command(report: Report) -> Self {
        let unknown = report.code == ErrorCode::OutcomeUnknown;
        Self { outcome: if unknown { Some(Outcome::Sent) } else { Outcome::of(report.code) }, report }
    }
}

/// What may be done again after an attempt has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Nothing: what it takes is used up.
    Never,
    /// Only what cannot have reached the target.
    Unsent,
    /// Everything: the operation may be done twice.
    Freely,
}

/// The report of a failed import as the end of the call that made it. Codes that say "this target
/// cannot have received it" are about the import's target; said of the caller they would be false,
/// and its own caller would repeat what must not be repeated.
pub(crate) fn behind(mut report: Report) -> Report {
    if Outcome::of(report.code) == Some(Outcome::Unsent) {
        report.what = format!("{}: {}", report.code, report.what);
        report.code = ErrorCode::Provider;
    }
    report
}

impl BoundLink {
    /// What a provider is told about a call.
    pub(crate) fn context(&self, scope: &CallScope, deadline: Instant) -> CallContext {
        CallContext {
            source: scope.actor.id.clone(),
            link: self.definition.name.clone(),
            config: std::sync::Arc::clone(&self.config),
            deadline,
            traceparent: scope.info.traceparent.clone(),
        }
    }

    /// Calls the target until it answers, attempts run out, or the deadline passes. `attempt` gets
    /// the deadline of each attempt, which is never past the caller's.
    ///
    /// # Errors
    /// The target's report, `E_TIMEOUT` or `E_CIRCUIT_OPEN`, with the link as its place.
    pub(crate) async fn guarded<T, E, F, Running>(
        &self,
        deadline: Instant,
        repeat: Repeat,
        mut attempt: F,
    ) -> Result<T, Report>
    where
        E: Into<Failure>,
        F: FnMut(Instant) -> Running + Send,
        Running: Future<Output = Result<T, E>> + Send,
    {
        let mut number = 1;
        loop {
            let now = Instant::now();
            let until = deadline.min(now + Duration::from_millis(self.retry.timeout_ms));
            if until <= now {
                return Err(self.timed_out("no time left"));
            }
            let ticket = self.admit(now)?;
            let failure = match tokio::time::timeout_at(until.into(), attempt(until)).await {
                Ok(Ok(value)) => {
                    self.answered(ticket);
                    return Ok(value);
                }
                Ok(Err(error)) => error.into(),
                Err(_) => Failure { outcome: Some(Outcome::Sent), report: self.timed_out("no answer") },
            };
            let Failure { outcome: Some(outcome), report } = failure else {
                self.answered(ticket);
                return Err(self.placed(failure.report));
            };
            self.lock().failed(ticket, milliseconds(Instant::now()));
            let idempotent = repeat == Repeat::Freely;
            match self.pause(Attempt { number, outcome, idempotent }, deadline) {
                Some(pause) if repeat != Repeat::Never => {
                    tracing::debug!(link = %self.definition, number, %report, ?pause, "trying again");
                    tokio::time::sleep(pause).await;
                    number += 1;
                }
                _ => return Err(self.placed(report)),
            }
        }
    }

    fn pause(&self, attempt: Attempt, deadline: Instant) -> Option<Duration> {
        // Without entropy the pause is merely not jittered.
        let seed = getrandom::u64().unwrap_or(0);
        match self.retry.next(attempt, milliseconds(Instant::now()), milliseconds(deadline), seed) {
            Retry::After(pause_ms) => Some(Duration::from_millis(pause_ms)),
            Retry::GiveUp => None,
        }
    }

    fn admit(&self, now: Instant) -> Result<Ticket, Report> {
        match self.lock().admit(milliseconds(now)) {
            Admission::Admitted(ticket) => Ok(ticket),
            Admission::Refused { retry_after_ms } => {
                Err(Report::new(ErrorCode::CircuitOpen, "circuit open: the target failed several times")
                    .at(&*self.definition)
                    .hint(format!("tried again in {retry_after_ms} ms")))
            }
        }
    }

    fn answered(&self, ticket: Ticket) {
        self.lock().succeeded(ticket);
    }

    /// Held for a few instructions, never across an await; a breaker stays valid if a thread died.
    fn lock(&self) -> std::sync::MutexGuard<'_, host_core::Circuit> {
        self.circuit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn timed_out(&self, what: &str) -> Report {
        Report::new(ErrorCode::Timeout, what)
            .at(&*self.definition)
            .limit(format!("{} ms", self.retry.timeout_ms))
    }

    fn placed(&self, report: Report) -> Report {
        if report.place.is_some() { report } else { report.at(&*self.definition) }
    }
}
