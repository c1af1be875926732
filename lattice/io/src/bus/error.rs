//! Why something was not sent, not answered or not received, and what to do about it.

use lattice_protocol::{ErrorCode, Report};

/// Why a bus operation failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// Nobody subscribes to the subject: nothing was received.
    #[error("NATS: subscription timeout: nobody subscribes to {subject}")]
    NoResponders {
        /// Where it was sent.
        subject: String,
    },
    /// No answer in time; the request may have been received.
    #[error("NATS: subscription timeout: no answer on {subject} within {waited_ms} ms")]
    Timeout {
        /// Where it was sent.
        subject: String,
        /// How long was waited, milliseconds.
        waited_ms: u64,
    },
    /// The server cannot be reached now: nothing was sent.
    #[error("NATS: connection refused: {server}")]
    Disconnected {
        /// The server, without credentials.
        server: String,
    },
    /// The bus is closed: nothing was sent.
    #[error("NATS: connection closed")]
    Closed,
    /// Larger than the server takes: nothing was sent.
    #[error("payload {}, limit {}: {subject}", megabytes(*size), megabytes(*limit))]
    TooLarge {
        /// Where it was to go.
        subject: String,
        /// Headers and body, bytes.
        size: usize,
        /// The server's limit, bytes.
        limit: usize,
    },
    /// This user may not use the subject: the server dropped it.
    #[error("NATS: permission denied: {subject}")]
    Denied {
        /// The refused subject.
        subject: String,
    },
    /// Subject, queue group or header that cannot be sent: nothing was.
    #[error("NATS: invalid {what}: {got:?}")]
    Invalid {
        /// Which part.
        what: &'static str,
        /// What was given, shortened.
        got: String,
    },
    /// Anything else the client reports; it may have been sent.
    #[error("NATS: {subject}: {reason}")]
    Io {
        /// Where it was to go.
        subject: String,
        /// The client's words.
        reason: String,
    },
}

impl BusError {
    /// Is it certain that nobody received anything?
    #[must_use]
    pub fn is_unsent(&self) -> bool {
        !matches!(self, Self::Timeout { .. } | Self::Io { .. })
    }

    /// `E_OUTCOME_UNKNOWN`, of a request that changes something and was not answered; none when nobody received it.
    #[must_use]
    pub fn outcome_unknown(&self, what: &str) -> Option<Report> {
        let report = Report::new(ErrorCode::OutcomeUnknown, what);
        match self {
            _ if self.is_unsent() => None,
            Self::Timeout { waited_ms, .. } => Some(report.limit(format!("{waited_ms} ms"))),
            other => Some(report.got(other)),
        }
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NoResponders { .. } | Self::Disconnected { .. } | Self::Closed => ErrorCode::Connection,
            Self::Timeout { .. } => ErrorCode::Timeout,
            Self::TooLarge { .. } => ErrorCode::TooLarge,
            Self::Denied { .. } => ErrorCode::Denied,
            Self::Invalid { .. } => ErrorCode::Name,
            Self::Io { .. } => ErrorCode::Io,
        }
    }
    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoResponders { .. } | Self::Timeout { .. } => {
                Some("confirm that a subscriber runs and is linked")
            }
            Self::Disconnected { .. } => {
                Some("check that nats-server runs there and that CLUSTER_URI names it")
            }
            Self::TooLarge { .. } => Some("send less, or raise the server's max_payload"),
            Self::Denied { .. } => Some("check the permissions of this NATS user"),
            _ => None,
        }
    }
}

impl From<BusError> for Report {
    fn from(error: BusError) -> Self {
        let report = Self::new(error.code(), error.to_string());
        match error.hint() {
            Some(hint) => report.hint(hint),
            None => report,
        }
    }
}

/// Bytes as a person reads them: `1.5 MB`.
pub(crate) fn megabytes(bytes: usize) -> String {
    // Exact enough for a message: one decimal of 2^20.
    let tenths = bytes.saturating_mul(10) >> 20;
    if tenths == 0 { format!("{bytes} bytes") } else { format!("{}.{} MB", tenths / 10, tenths % 10) }
}

pub(crate) fn invalid(what: &'static str, got: &str) -> BusError {
    BusError::Invalid { what, got: got.chars().take(80).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_what_and_what_to_do() {
        let report = Report::from(BusError::Disconnected { server: "nats://127.0.0.1:4222".to_owned() });
        assert_eq!(
            report.to_string(),
            "E_CONNECTION: NATS: connection refused: nats://127.0.0.1:4222; check that nats-server runs there and that CLUSTER_URI names it"
        );
        let large = BusError::TooLarge { subject: "a".to_owned(), size: 2 << 20, limit: 1 << 20 };
        assert_eq!(large.to_string(), "payload 2.0 MB, limit 1.0 MB: a");
        assert!(large.is_unsent());
        assert!(!BusError::Timeout { subject: "a".to_owned(), waited_ms: 5 }.is_unsent());
    }
}
