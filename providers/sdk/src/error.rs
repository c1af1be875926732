//! The one error a provider gives. Its kind says whether the target can have received the call:
//! that decides whether a retry is safe (DESIGN §4).

use lattice_io::BusError;
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
    /// More bytes than one message to, or from, the provider can carry.
    TooLarge,
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
            ProviderErrorKind::TooLarge => ErrorCode::TooLarge,
            ProviderErrorKind::Denied => ErrorCode::Denied,
            ProviderErrorKind::Failed => ErrorCode::Provider,
        };
        Self::new(code, error.message)
    }
}

impl From<Report> for ProviderError {
    /// The way back, for what came over the lattice. Who was overloaded has done nothing.
    fn from(report: Report) -> Self {
        let kind = match report.code {
            ErrorCode::Connection | ErrorCode::Overloaded => ProviderErrorKind::Unreachable,
            ErrorCode::Timeout => ProviderErrorKind::Timeout,
            ErrorCode::NotFound => ProviderErrorKind::NotFound,
            ErrorCode::Usage => ProviderErrorKind::Invalid,
            ErrorCode::Conflict => ProviderErrorKind::Conflict,
            ErrorCode::Limit => ProviderErrorKind::Limit,
            ErrorCode::TooLarge => ProviderErrorKind::TooLarge,
            ErrorCode::Denied | ErrorCode::CapabilityDenied => ProviderErrorKind::Denied,
            _ => ProviderErrorKind::Failed,
        };
        let mut message = report.what;
        for (word, part) in [("at", report.place), ("got", report.got), ("expected", report.limit)] {
            if let Some(part) = part {
                message = format!("{message}, {word} {part}");
            }
        }
        Self { kind, message }
    }
}

impl From<BusError> for ProviderError {
    fn from(error: BusError) -> Self {
        let kind = match &error {
            BusError::NoResponders { .. } | BusError::Disconnected { .. } | BusError::Closed => {
                ProviderErrorKind::Unreachable
            }
            BusError::Timeout { .. } => ProviderErrorKind::Timeout,
            BusError::TooLarge { .. } => ProviderErrorKind::TooLarge,
            BusError::Denied { .. } => ProviderErrorKind::Denied,
            BusError::Invalid { .. } => ProviderErrorKind::Invalid,
            BusError::Io { .. } => ProviderErrorKind::Failed,
        };
        Self::new(kind, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_crosses_the_lattice_as_itself() {
        use ProviderErrorKind as Kind;
        for kind in [
            Kind::Unreachable,
            Kind::Timeout,
            Kind::NotFound,
            Kind::Invalid,
            Kind::Conflict,
            Kind::Limit,
            Kind::TooLarge,
            Kind::Denied,
            Kind::Failed,
        ] {
            let error = ProviderError::new(kind, "words");
            assert_eq!(ProviderError::from(Report::from(error.clone())), error);
        }
        let busy = Report::new(ErrorCode::Overloaded, "busy").limit(9);
        assert!(ProviderError::from(busy.clone()).is_unsent());
        assert_eq!(ProviderError::from(busy).message, "busy, expected 9");
    }
}
