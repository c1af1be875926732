//! Stable error codes, and the one shape an error is shown in:
//! `CODE: what: where (got X, limit Y); what to do`.
//!
//! A code never changes its meaning; the words may improve. The command line derives its exit
//! status from the code, HTTP its status class.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal => $exit:ident,)*) => {
        /// What kind of thing went wrong. The text is stable and goes over the wire.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ErrorCode { $($(#[$doc])* $variant,)* }

        impl ErrorCode {
            /// Every code, in the order of this page.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];
            /// The stable text, `E_…`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
            /// The class that gives the exit status.
            #[must_use]
            pub fn class(self) -> Class {
                match self { $(Self::$variant => Class::$exit,)* }
            }
            /// Reads a stable text back.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

/// Exit classes of the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// 1: a defect of ours.
    Internal,
    /// 2: usage, manifest or input.
    Usage,
    /// 3: trust.
    Trust,
    /// 4: denied.
    Denied,
    /// 5: not found.
    NotFound,
    /// 6: resources.
    Resources,
    /// 7: state or fence: somebody else was first.
    State,
    /// 8: input or output.
    Io,
    /// 9: timeout.
    Timeout,
}

impl Class {
    /// The exit status, 1 to 9.
    #[must_use]
    pub fn exit_status(self) -> u8 {
        self as u8 + 1
    }
}

codes! {
    /// A defect of Trellis.
    Internal = "E_INTERNAL" => Internal,
    /// The command line, or an argument of it.
    Usage = "E_USAGE" => Usage,
    /// A manifest that is not what its schema says.
    Manifest = "E_MANIFEST" => Usage,
    /// Text that is not YAML, or YAML with aliases or too deep.
    Yaml = "E_YAML" => Usage,
    /// A name that is not one token.
    Name = "E_NAME" => Usage,
    /// A link that cannot be, or contradicts another.
    Link = "E_LINK" => Usage,
    /// Configuration.
    Config = "E_CONFIG" => Usage,
    /// A value over a limit.
    Limit = "E_LIMIT" => Usage,
    /// A file over the size limit.
    TooLarge = "E_TOO_LARGE" => Usage,
    /// A secret in plain text where only a reference may be.
    InlineSecret = "E_INLINE_SECRET" => Usage,
    /// An artifact of no bytes.
    ArtifactEmpty = "E_ARTIFACT_EMPTY" => Usage,
    /// Not WebAssembly.
    NotWasm = "E_NOT_WASM" => Usage,
    /// A core module where a component is due.
    CoreModule = "E_CORE_MODULE" => Usage,
    /// Broken binary.
    Malformed = "E_MALFORMED" => Usage,
    /// Nested too deep.
    Nesting = "E_NESTING" => Usage,
    /// Bytes after the end.
    Trailing = "E_TRAILING" => Usage,
    /// Native code offered as an actor.
    Precompiled = "E_PRECOMPILED" => Trust,
    /// An import that nobody offers.
    UnknownImport = "E_UNKNOWN_IMPORT" => Usage,
    /// An interface version that is too new.
    Version = "E_VERSION" => Usage,
    /// The export that a link needs is missing.
    NoHandler = "E_NO_HANDLER" => Usage,
    /// A WebAssembly feature that is off.
    Feature = "E_FEATURE" => Usage,
    /// Memory over the limit.
    Memory = "E_MEMORY" => Resources,
    /// Table over the limit.
    Table = "E_TABLE" => Resources,
    /// Compilation over its time.
    CompileTimeout = "E_COMPILE_TIMEOUT" => Timeout,
    /// Instantiation over its time.
    StartTimeout = "E_START_TIMEOUT" => Timeout,
    /// No signature.
    Unsigned = "E_UNSIGNED" => Trust,
    /// Two claims sections.
    DuplicateClaims = "E_DUP_CLAIMS" => Trust,
    /// Claims that do not hold.
    Claim = "E_CLAIM" => Trust,
    /// An older version than was seen.
    Rollback = "E_ROLLBACK" => Trust,
    /// The same version with other content.
    Equivocation = "E_EQUIVOCATION" => Trust,
    /// A revoked key.
    Revoked = "E_REVOKED" => Trust,
    /// A signature of a controller that this host does not trust.
    Untrusted = "E_UNTRUSTED" => Trust,
    /// No link, claim or policy grants it.
    CapabilityDenied = "E_CAPABILITY_DENIED" => Denied,
    /// A user without the right.
    Denied = "E_DENIED" => Denied,
    /// No such link.
    LinkNotFound = "E_LINK_NOT_FOUND" => NotFound,
    /// No such host.
    HostNotFound = "E_HOST_NOT_FOUND" => NotFound,
    /// No such actor.
    ActorNotFound = "E_ACTOR_NOT_FOUND" => NotFound,
    /// No such provider.
    ProviderNotFound = "E_PROVIDER_NOT_FOUND" => NotFound,
    /// No such application.
    AppNotFound = "E_APP_NOT_FOUND" => NotFound,
    /// No such artifact.
    ArtifactNotFound = "E_ARTIFACT_NOT_FOUND" => NotFound,
    /// History that a checkpoint has replaced.
    HistoryTrimmed = "E_HISTORY_TRIMMED" => NotFound,
    /// Nothing else of that name.
    NotFound = "E_NOT_FOUND" => NotFound,
    /// Not enough room.
    InsufficientResources = "E_INSUFFICIENT_RESOURCES" => Resources,
    /// Too much at once.
    Overloaded = "E_OVERLOADED" => Resources,
    /// The circuit is open: the target failed often just now.
    CircuitOpen = "E_CIRCUIT_OPEN" => Resources,
    /// Calls nested too deep.
    CallDepth = "E_CALL_DEPTH" => Resources,
    /// Somebody else wrote first.
    Conflict = "E_CONFLICT" => State,
    /// An older generation or epoch.
    Fenced = "E_FENCED" => State,
    /// Two live hosts with one id.
    HostIdInUse = "E_HOST_ID_IN_USE" => State,
    /// A command id used again with another body.
    IdReused = "E_ID_REUSED" => State,
    /// A command id older than what the actor remembers: never executed, because it may have been.
    IdExpired = "E_ID_EXPIRED" => State,
    /// A command id issued in the future.
    IdFuture = "E_ID_FUTURE" => State,
    /// A message of an actor ahead of one that has not come yet.
    SequenceGap = "E_SEQUENCE_GAP" => State,
    /// Two histories where one may be.
    Fork = "E_FORK" => State,
    /// A command that kept trapping and was set aside.
    Quarantined = "E_QUARANTINED" => State,
    /// The actor is on its way to another host.
    Moving = "E_MOVING" => State,
    /// Starting over and over.
    CrashLooping = "E_CRASH_LOOPING" => State,
    /// The guest trapped.
    Trap = "E_TRAP" => State,
    /// The guest answered with an error of its own.
    Guest = "E_GUEST" => State,
    /// A provider did not start.
    ProviderStart = "E_PROVIDER_START" => Io,
    /// A provider failed.
    Provider = "E_PROVIDER" => Io,
    /// Nobody listens there.
    Connection = "E_CONNECTION" => Io,
    /// The disk or the network.
    Io = "E_IO" => Io,
    /// The journal stopped taking writes, for good, after a failure that must not be retried.
    JournalStopped = "E_JOURNAL_STOPPED" => Io,
    /// Stored bytes that are not what was written.
    Damaged = "E_DAMAGED" => Io,
    /// A call over its deadline.
    Timeout = "E_TIMEOUT" => Timeout,
    /// Sent, and not known whether it took effect: the same command id finds out.
    OutcomeUnknown = "E_OUTCOME_UNKNOWN" => Timeout,
    /// A host that fell silent.
    HeartbeatTimeout = "E_HEARTBEAT_TIMEOUT" => Timeout,
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ErrorCode {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        // A newer peer may know codes that we do not; its words still say what happened.
        Ok(Self::parse(&text).unwrap_or(Self::Internal))
    }
}

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
    }

    #[test]
    fn every_code_reads_back_and_has_its_own_text() {
        let mut seen = std::collections::BTreeSet::new();
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::parse(code.as_str()), Some(*code));
            assert!(seen.insert(code.as_str()), "{code} twice");
        }
        assert_eq!(ErrorCode::Usage.class().exit_status(), 2);
        assert_eq!(ErrorCode::Timeout.class().exit_status(), 9);
    }
}
