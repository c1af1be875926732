//! Making streams, also while something is in the way that passes.

use super::core::{ApiError, Core};
use serde::de::DeserializeOwned;
use std::time::{Duration, Instant};

/// For so long, and so often, a stream is made anew when what kept the server from it may pass: see [`in_the_way`].
pub(super) const MADE: Duration = Duration::from_secs(3);
const MADE_AGAIN: Duration = Duration::from_millis(50);

impl Core {
    /// Makes a stream, or finds that it is there just so.
    pub(super) async fn create_stream<T: DeserializeOwned>(
        &self,
        name: &str,
        config: &serde_json::Value,
    ) -> Result<T, ApiError> {
        let operation = format!("STREAM.CREATE.{name}");
        until_made(MADE, || self.api(&operation, config), is_passing).await
    }
}

/// Is it likely to pass, what kept a server from making a stream? It has no place for the store: most likely it makes
/// the same one for somebody else at this moment, or has not yet done away with one of this name (it says nothing
/// else of a broken disk; which it was is in its log). Or it has begun just now, and not enabled the account yet.
/// The codes are those of everything that is wrong with a stream, or with an account.
pub(super) fn in_the_way(description: &str) -> bool {
    ["error creating store for stream", "JetStream not enabled for account"]
        .iter()
        .any(|passing| description.contains(passing))
}

fn is_passing(error: &ApiError) -> bool {
    matches!(error, ApiError::Refused { description, .. } if in_the_way(description))
}

/// Does it again while what is in the way passes.
pub(super) async fn until_made<T, E, Making>(
    patience: Duration,
    mut make: impl FnMut() -> Making,
    is_passing: impl Fn(&E) -> bool,
) -> Result<T, E>
where
    Making: Future<Output = Result<T, E>>,
{
    let end = Instant::now() + patience;
    loop {
        match make().await {
            Err(error) if is_passing(&error) && Instant::now() < end => {
                tokio::time::sleep(MADE_AGAIN).await;
            }
            made => return made,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::core::decode;
    use super::*;

    /// As nats-server says it.
    const IN_THE_WAY: &str =
        r#"{"error":{"code":500,"err_code":10049,"description":"error creating store for stream"}}"#;
    const NOT_YET: &str =
        r#"{"error":{"code":503,"err_code":10039,"description":"JetStream not enabled for account"}}"#;
    const FULL: &str =
        r#"{"error":{"code":500,"err_code":10047,"description":"insufficient storage resources available"}}"#;

    /// Makes something of these answers, the last of them for ever; how many were needed, and what came of it.
    async fn make(patience_ms: u64, answers: &[&str]) -> (usize, Result<serde_json::Value, ApiError>) {
        let mut asked = 0;
        let ask = || {
            let answer = answers[asked.min(answers.len() - 1)];
            asked += 1;
            std::future::ready(decode("test", answer.as_bytes()))
        };
        let made = until_made(Duration::from_millis(patience_ms), ask, is_passing).await;
        (asked, made)
    }

    #[tokio::test]
    async fn what_passes_when_a_stream_is_made_is_waited_for_and_nothing_else() {
        let (asked, made) = make(60_000, &[IN_THE_WAY, NOT_YET, r#"{"config":{}}"#]).await;
        assert!(made.is_ok(), "{made:?}");
        assert_eq!(asked, 3);
        let (asked, made) = make(60_000, &[FULL]).await;
        assert!(matches!(made, Err(ApiError::Refused { code: 10_047, .. })), "{made:?}");
        assert_eq!(asked, 1, "nobody waits for room");
        let (asked, made) = make(120, &[IN_THE_WAY]).await;
        assert!(matches!(made, Err(ApiError::Refused { code: 10_049, .. })), "{made:?}");
        assert!(asked > 1, "asked once");
    }
}
