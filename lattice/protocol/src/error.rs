//! Stable error codes, and the one shape an error is shown in:
//! `CODE: what: where (got X, limit Y); what to do`.
//!
//! A code never changes its meaning; the words may improve. The command line derives its exit
//! status from the code, HTTP its status class.

mod code;

pub use code::{Class, ErrorCode};

use serde::{Deserialize, Serialize};
use std::fmt;

/// One error as a person reads it, and as it goes over the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub struct Report {
    /// Stable code.
    pub code: ErrorCode,
    /// What went wrong, in words; the seeds' words where they have some.
    pub what: String,
    /// File, field, line, host, actor: where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// What was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub got: Option<String>,
    /// What would have been accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Report {
    /// A report of one sentence; add the rest with the other methods.
    #[must_use]
    pub fn new(code: ErrorCode, what: impl Into<String>) -> Self {
        Self { code, what: what.into(), place: None, got: None, limit: None, hint: None }
    }
    /// Where it was found.
    #[must_use]
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.place = Some(place.to_string());
        self
    }
    /// What was found.
    #[must_use]
    pub fn got(mut self, got: impl fmt::Display) -> Self {
        self.got = Some(got.to_string());
        self
    }
    /// What would have been accepted.
    #[must_use]
    pub fn limit(mut self, limit: impl fmt::Display) -> Self {
        self.limit = Some(limit.to_string());
        self
    }
    /// What to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }
    /// Reads back the line that a report prints as: its code, and all the rest as what went wrong.
    #[must_use]
    pub fn from_line(line: &str) -> Option<Self> {
        let (code, rest) = line.split_once(": ")?;
        Some(Self::new(ErrorCode::parse(code)?, rest))
    }
    /// The same error, said of a larger undertaking: `actor start failed: ` in front.
    #[must_use]
    pub fn during(mut self, undertaking: &str) -> Self {
        self.what = format!("{undertaking}: {}", self.what);
        self
    }
}

impl From<crate::name::NameError> for Report {
    fn from(error: crate::name::NameError) -> Self {
        Self::new(ErrorCode::Name, error.to_string())
    }
}

impl From<crate::interface::InterfaceError> for Report {
    fn from(error: crate::interface::InterfaceError) -> Self {
        Self::new(ErrorCode::Name, error.to_string())
    }
}

/// One line whatever the parts hold: control characters would let a name forge a log line.
fn one_line(formatter: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    text.chars().try_for_each(|character| match character {
        '\n' => formatter.write_str("; "),
        other if other.is_control() => write!(formatter, "{}", other.escape_default()),
        other => write!(formatter, "{other}"),
    })
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: ", self.code)?;
        one_line(formatter, &self.what)?;
        if let Some(place) = &self.place {
            formatter.write_str(": ")?;
            one_line(formatter, place)?;
        }
        match (&self.got, &self.limit) {
            (Some(got), Some(limit)) => {
                formatter.write_str(" (got ")?;
                one_line(formatter, got)?;
                formatter.write_str(", expected ")?;
                one_line(formatter, limit)?;
                formatter.write_str(")")?;
            }
            (Some(got), None) => {
                formatter.write_str(" (got ")?;
                one_line(formatter, got)?;
                formatter.write_str(")")?;
            }
            (None, Some(limit)) => {
                formatter.write_str(" (expected ")?;
                one_line(formatter, limit)?;
                formatter.write_str(")")?;
            }
            (None, None) => {}
        }
        if let Some(hint) = &self.hint {
            formatter.write_str("; ")?;
            one_line(formatter, hint)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_one_line_with_every_part() {
        let report = Report::new(ErrorCode::TooLarge, "artifact over the limit")
            .at("edge.wasm")
            .got(34_603_008)
            .limit(33_554_432)
            .hint("strip it, or raise limits.artifactBytes");
        assert_eq!(
            report.to_string(),
            "E_TOO_LARGE: artifact over the limit: edge.wasm (got 34603008, expected 33554432); strip it, or raise limits.artifactBytes"
        );
        assert!(!Report::new(ErrorCode::Name, "a\nb\u{1b}[31m").to_string().contains(['\n', '\u{1b}']));
        let back = Report::from_line(&report.to_string()).unwrap();
        assert_eq!((back.code, back.to_string()), (report.code, report.to_string()));
        assert_eq!(Report::from_line("2026: not a report"), None);
    }
}
