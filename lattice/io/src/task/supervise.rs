//! Runs one task through its starts: catches panics, counts restarts, decides what an end means.

use super::{CancellationToken, Kind, RestartPolicy, TaskFailure, TaskScope};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::any::Any;
use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use tokio::time::Instant;

pub(super) type Factory = Box<dyn FnMut(CancellationToken) -> BoxFuture<'static, Result<(), String>> + Send>;

pub(super) struct Task {
    pub(super) scope: TaskScope,
    pub(super) name: String,
    pub(super) token: CancellationToken,
}

impl Task {
    pub(super) async fn run(self, kind: Kind, mut make: Factory) {
        match kind {
            Kind::BestEffort => {
                if let Err(reason) = self.once(&mut make).await {
                    tracing::warn!(scope = %self.scope.path(), task = %self.name, %reason, "task failed");
                }
            }
            Kind::Essential => {
                let outcome = self.once(&mut make).await;
                if !self.token.is_cancelled() {
                    self.fail(outcome.err().unwrap_or_else(|| "ended, but the scope needs it".to_owned()));
                } else if let Err(reason) = outcome {
                    tracing::warn!(scope = %self.scope.path(), task = %self.name, %reason, "task failed while stopping");
                }
            }
            Kind::Restart(policy) => self.restart(policy, &mut make).await,
        }
    }

    async fn once(&self, make: &mut Factory) -> Result<(), String> {
        let token = self.token.clone();
        let attempt = AssertUnwindSafe(async { make(token).await }).catch_unwind().await;
        attempt.unwrap_or_else(|panic| {
            let text = panic_words(&*panic);
            tracing::error!(scope = %self.scope.path(), task = %self.name, panic = %text, "task panicked");
            Err(format!("panicked: {text}"))
        })
    }

    async fn restart(&self, policy: RestartPolicy, make: &mut Factory) {
        let mut restarts = VecDeque::new();
        loop {
            let reason = match self.once(make).await {
                Ok(()) => return,
                Err(_) if self.token.is_cancelled() => return,
                Err(reason) => reason,
            };
            let Some(pause) = next_pause(&policy, &mut restarts, Instant::now(), random()) else {
                self.fail(format!(
                    "failed {} times in {:?}: {reason}",
                    policy.max_restarts + 1,
                    policy.period
                ));
                return;
            };
            tracing::warn!(scope = %self.scope.path(), task = %self.name, %reason, ?pause, "task failed; it is started again");
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.token.cancelled() => return,
            }
        }
    }

    fn fail(&self, reason: String) {
        let failure = TaskFailure { scope: self.scope.path().to_owned(), task: self.name.clone(), reason };
        tracing::error!(scope = %failure.scope, task = %failure.task, reason = %failure.reason, "scope failed");
        self.scope.fail(&failure);
    }
}

/// What a panic said.
pub(crate) fn panic_words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

/// The pause before the next start; none when the intensity is over the policy's.
pub(super) fn next_pause(
    policy: &RestartPolicy,
    restarts: &mut VecDeque<Instant>,
    now: Instant,
    random: u64,
) -> Option<Duration> {
    while restarts.front().is_some_and(|at| now.saturating_duration_since(*at) >= policy.period) {
        restarts.pop_front();
    }
    let earlier = u32::try_from(restarts.len()).unwrap_or(u32::MAX);
    if earlier >= policy.max_restarts {
        return None;
    }
    restarts.push_back(now);
    let pause = policy.pause_min.saturating_mul(2_u32.saturating_pow(earlier)).min(policy.pause_max);
    // Up to a quarter less, so that many that failed together do not start together.
    let cut = pause.as_nanos() / 4 * u128::from(random % 1_024) / 1_024;
    Some(pause.saturating_sub(Duration::from_nanos(u64::try_from(cut).unwrap_or(0))))
}

fn random() -> u64 {
    // Without entropy there is no jitter, and nothing worse.
    getrandom::u64().unwrap_or(0)
}
