//! Who calls a provider, by which link, and until when.

use crate::error::{ProviderError, ProviderErrorKind};
use lattice_protocol::{ActorId, LinkName};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The circumstances of one call.
#[derive(Debug, Clone)]
pub struct CallContext {
    /// The actor that calls.
    pub source: ActorId,
    /// The link it came by.
    pub link: LinkName,
    /// The link's configuration (`bucket`, `prefix`, …).
    pub config: Arc<BTreeMap<String, String>>,
    /// When the caller stops waiting.
    pub deadline: Instant,
    /// W3C traceparent.
    pub traceparent: Option<Arc<str>>,
}

impl CallContext {
    /// Time left; zero when it has passed.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Runs a future until the deadline.
    ///
    /// # Errors
    /// The future's own, or [`ProviderErrorKind::Timeout`].
    pub async fn bounded<T, E: Into<ProviderError>>(
        &self,
        what: &'static str,
        future: impl Future<Output = Result<T, E>>,
    ) -> Result<T, ProviderError> {
        match tokio::time::timeout_at(self.deadline.into(), future).await {
            Ok(result) => result.map_err(Into::into),
            Err(_) => Err(ProviderError::new(ProviderErrorKind::Timeout, format!("{what}: deadline passed"))),
        }
    }
}
