//! An actor's own no.

use std::fmt;

use super::codec::Problem;

/// Why a command or a query is refused. Nothing is stored, and a repetition is decided anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// For programs, of the author's choosing (`limit-exceeded`). The SDK's own: `unknown-command`,
    /// `unknown-query`, `bad-body`, `bad-setting`, `actor-fault`.
    pub code: String,
    /// For people: what, got, limit, what to do.
    pub message: String,
}

impl Refusal {
    /// A refusal with a code and a sentence.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }

    /// A field of a command that is well-formed and wrong: `temperature: 900 is outside of -273..=500`.
    pub fn field(field: &str, reason: impl fmt::Display) -> Self {
        Self::new("bad-body", format!("{field}: {reason}"))
    }

    /// What could not be read, of the command or query `name`.
    pub(crate) fn unread(what: &str, name: &str, problem: &Problem) -> Self {
        // Names come from outside, and this is read by people: cut to what a line can hold.
        let shown: String =
            name.chars().take(80).map(|one| if one.is_control() { '\u{fffd}' } else { one }).collect();
        let code = match problem {
            Problem::Name { .. } => format!("unknown-{what}"),
            Problem::Body { .. } => "bad-body".to_owned(),
        };
        Self { code, message: format!("{what} {shown}: {problem}") }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Refusal {}
