//! Why a value could not be encoded, decoded, or read from JSON; each names the place.

use crate::error::{ErrorCode, Report};

/// A value that is not of its type. A defect of the caller, not of the other side.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// Another kind, or another number of fields, cases or flags.
    #[error("value is not of its type (got {got}, expected {expected})")]
    Mismatch {
        /// The type, in WIT's notation.
        expected: String,
        /// What was there.
        got: &'static str,
    },
    /// As many values as types are due.
    #[error("wrong number of values (got {got}, expected {expected})")]
    Count {
        /// Types.
        expected: usize,
        /// Values.
        got: usize,
    },
    /// Nested too deep.
    #[error("value nested too deep (limit {limit})")]
    Depth {
        /// Deepest.
        limit: usize,
    },
}

/// Bytes that are not a value of the type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The input ended inside a value.
    #[error("unexpected end at {offset}")]
    Truncated {
        /// Bytes from the start.
        offset: usize,
    },
    /// Bytes that no value has.
    #[error("{what} at {offset}")]
    Invalid {
        /// What is wrong.
        what: &'static str,
        /// Bytes from the start.
        offset: usize,
    },
    /// Bytes behind the last value.
    #[error("{count} bytes behind the value")]
    Trailing {
        /// How many.
        count: usize,
    },
    /// Nested too deep.
    #[error("value nested too deep (limit {limit})")]
    Depth {
        /// Deepest.
        limit: usize,
    },
    /// More values than the limits allow.
    #[error("too many values (limit {limit})")]
    Nodes {
        /// Most.
        limit: usize,
    },
}

/// What is wrong with a JSON value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonProblem {
    /// Another kind of JSON value, or out of range.
    #[error("want {expected} (got {got})")]
    Mismatch {
        /// The type, in WIT's notation.
        expected: String,
        /// The JSON found, shortened to 80 characters.
        got: String,
    },
    /// A record without this field.
    #[error("missing field {0:?}")]
    Missing(String),
    /// A field, case or flag the type does not have.
    #[error("unknown name {got:?} (known: {known})")]
    Unknown {
        /// The name.
        got: String,
        /// Names of the type.
        known: String,
    },
    /// Nested too deep.
    #[error("nested deeper than {0}")]
    Depth(usize),
}

/// JSON that is not a value of the type, or a value that is not of the type to be shown in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}: {path}")]
pub struct JsonError {
    /// Where, from `$`: `$.readings[2].unit`.
    pub path: String,
    /// What.
    pub problem: JsonProblem,
}

impl From<EncodeError> for Report {
    fn from(error: EncodeError) -> Self {
        Self::new(ErrorCode::Internal, error.to_string())
    }
}

impl From<DecodeError> for Report {
    fn from(error: DecodeError) -> Self {
        let what = format!("typed value: {error}");
        match error {
            DecodeError::Truncated { .. } | DecodeError::Invalid { .. } => {
                Self::new(ErrorCode::Malformed, what)
                    .hint("caller and callee may be built against different versions of the interface")
            }
            DecodeError::Trailing { .. } => Self::new(ErrorCode::Trailing, what),
            DecodeError::Depth { .. } => Self::new(ErrorCode::Nesting, what),
            DecodeError::Nodes { .. } => Self::new(ErrorCode::Limit, what),
        }
    }
}

impl From<JsonError> for Report {
    fn from(error: JsonError) -> Self {
        Self::new(ErrorCode::Usage, error.problem.to_string()).at(error.path)
    }
}
