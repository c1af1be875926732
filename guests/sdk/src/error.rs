//! The error of a handler: a status for the client and one sentence that says what, where and what to do.
//! Errors of the capabilities convert into it with `?`.

use std::fmt;

use crate::client::AskError;
use crate::config::ConfigError;
use crate::http::FetchError;
use crate::kv::KvError;
use crate::messaging::MessagingError;

/// Why a handler could not do what was asked. As an HTTP answer it is `status` with `message` as plain text; as
/// the outcome of a message it is `message`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    status: u16,
    message: String,
}

impl Error {
    /// An error with any HTTP status.
    pub fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    /// 400: the caller can repair it; the message says how.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, message)
    }

    /// 404.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(404, message)
    }

    /// 405, with the methods that would have been right.
    pub fn method_not_allowed(got: &str, allowed: &str) -> Self {
        Self::new(405, format!("method {got}: not allowed here; use {allowed}"))
    }

    /// 413: `what` had more than `limit` bytes.
    pub fn too_large(what: &str, limit: usize) -> Self {
        Self::new(413, format!("{what}: too large (limit {limit} bytes); send less"))
    }

    /// 500: a fault of the actor itself.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(500, message)
    }

    /// 502: what the actor depends on did not do its part.
    pub fn upstream(message: impl Into<String>) -> Self {
        Self::new(502, message)
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The sentence, without the status.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<KvError> for Error {
    fn from(error: KvError) -> Self {
        Self::upstream(error.to_string())
    }
}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Self {
        Self::upstream(error.to_string())
    }
}

impl From<MessagingError> for Error {
    fn from(error: MessagingError) -> Self {
        Self::upstream(error.to_string())
    }
}

impl From<FetchError> for Error {
    fn from(error: FetchError) -> Self {
        Self::upstream(error.to_string())
    }
}

impl From<AskError> for Error {
    /// What a persistent actor refuses is the asker's to mend (409); all else is the way to it (502).
    fn from(error: AskError) -> Self {
        match error {
            AskError::Refused { code, message } => Self::new(409, format!("{code}: {message}")),
            error => Self::upstream(error.to_string()),
        }
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::internal(format!("json: {error}"))
    }
}
