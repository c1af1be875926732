//! Waiting for a level, with a deadline: the only way tests wait for what another process does.
//!
//! The check is asked again and again; its error is the reason why the state is not there *yet*,
//! and the last one is shown when the deadline passes, so a failure explains itself.

use std::future::Future;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tokio::time::{Instant, sleep, timeout_at};

/// The pause between two checks. Short against any deadline, long against a check's cost.
const PAUSE: Duration = Duration::from_millis(10);

/// Asks `check` until it returns `Ok`, and returns its value.
///
/// `what` completes the sentence "waited 5s for …". One check that hangs is cut off at the
/// deadline as well.
///
/// # Errors
/// When `deadline` has passed: names `what` and carries the last error of `check` as its source.
pub async fn eventually<T, F, Fut>(deadline: Duration, what: &str, mut check: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T>>,
{
    let end = Instant::now() + deadline;
    let mut last = anyhow!("the first check did not return");
    loop {
        match timeout_at(end, check()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(reason)) => last = reason,
            Err(_) => {}
        }
        if Instant::now() >= end {
            return Err(last).with_context(|| format!("waited {deadline:?} for {what}"));
        }
        sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::ensure;
    use std::cell::Cell;

    #[tokio::test]
    async fn returns_the_first_value() {
        let asked = Cell::new(0);
        let value = eventually(Duration::from_secs(5), "the third answer", || {
            asked.set(asked.get() + 1);
            let n = asked.get();
            async move {
                ensure!(n >= 3, "only {n}");
                Ok(n)
            }
        })
        .await
        .unwrap();
        assert_eq!(value, 3);
    }

    #[tokio::test]
    async fn a_miss_names_the_goal_and_the_last_reason() {
        let error = eventually(Duration::from_millis(50), "two hosts", || async {
            Err::<(), _>(anyhow!("got 1 host"))
        })
        .await
        .unwrap_err();
        assert_eq!(format!("{error:#}"), "waited 50ms for two hosts: got 1 host");
    }

    #[tokio::test]
    async fn a_check_that_hangs_is_cut_off() {
        let hangs = std::future::pending::<Result<()>>;
        let error = eventually(Duration::from_millis(50), "an answer", hangs).await.unwrap_err();
        assert!(format!("{error:#}").contains("the first check did not return"));
    }
}
