//! The one error a provider gives. Its kind says whether the target can have received the call:
//! that decides whether a retry is safe (DESIGN §4).

use lattice_protocol::{ErrorCode, Report};

/// What kind of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProviderErrorKind {
    /// The target was not reached: nothing happened there. Safe to retry.
    Unreachable,
    /// No answer in time: it may or may not have happened.
    Timeout,
    /// Bucket, key, object or route does not exist.
    NotFound,
    /// The request is not one this provider can carry out.
    Invalid,
    /// Somebody else changed it first.
    Conflict,
    /// Something is over a limit.
    Limit,
    /// The provider or its target says no.
    Denied,
    /// Anything else that the target reported.
    Failed,
}

/// A failed provider call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ProviderError {
    /// What kind.
    pub kind: ProviderErrorKind,
    /// What and where, without secrets.
    pub message: String,
}

impl ProviderError {
    /// One failure.
    #[must_use]
    pub fn new(kind: ProviderErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
    /// Can the target not have received the call?
    #[must_use]
    pub fn is_unsent(&self) -> bool {
        self.kind == ProviderErrorKind::Unreachable
    }
}

impl From<ProviderError> for Report {
    fn from(error: ProviderError) -> Self {
        let code = match error.kind {
            ProviderErrorKind::Unreachable => ErrorCode::Connection,
            ProviderErrorKind::Timeout => ErrorCode::Timeout,
            ProviderErrorKind::NotFound => ErrorCode::NotFound,
            ProviderErrorKind::Invalid => ErrorCode::Usage,
            ProviderErrorKind::Conflict => ErrorCode::Conflict,
            ProviderErrorKind::Limit => ErrorCode::Limit,
            ProviderErrorKind::Denied => ErrorCode::Denied,
            ProviderErrorKind::Failed => ErrorCode::Provider,
        };
        Self::new(code, error.message)
    }
}
