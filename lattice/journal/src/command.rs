//! Commands, and how one is told from a repetition of it.
//!
//! Actors number what they send to each other without a gap; timers and answers are told by what
//! the actor itself is waiting for. Everybody else gives a UUIDv7, which
//! carries its time of issue: that is what lets a receiver forget ids after a while and still never
//! execute one twice (see [`crate::dedupe`]).

use crate::ids::ActorSeq;
use bytes::Bytes;
use lattice_protocol::EntityKey;
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A command's id: a UUIDv7 (RFC 9562). Ids order by their time of issue.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CommandId([u8; 16]);

/// A text that is not a UUIDv7.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("command id: want a UUIDv7, such as 018f2b6e-7c1a-7d3e-9b0a-0123456789ab (got {got:?})")]
pub struct CommandIdError {
    /// What was given, cut to 80 characters.
    pub got: String,
}

impl CommandId {
    /// Issued at this time, milliseconds since 1970 (48 bits of it), with these random bytes.
    #[must_use]
    pub fn new(unix_ms: u64, entropy: [u8; 10]) -> Self {
        let mut bytes = [0; 16];
        let time = unix_ms.to_be_bytes();
        bytes.iter_mut().zip(time.iter().skip(2).chain(&entropy)).for_each(|(to, from)| *to = *from);
        let [.., version, _, variant, _, _, _, _, _, _, _] = &mut bytes;
        *version = 0x70 | (*version & 0x0f);
        *variant = 0x80 | (*variant & 0x3f);
        Self(bytes)
    }

    /// The id of a command that follows from something else (an invocation that may be retried):
    /// the same cause has the same id on each try.
    #[must_use]
    pub fn derived(unix_ms: u64, cause: &[u8]) -> Self {
        let mut entropy = [0; 10];
        blake3::Hasher::new_derive_key("trellis journal derived command id v1")
            .update(cause)
            .finalize_xof()
            .fill(&mut entropy);
        Self::new(unix_ms, entropy)
    }

    /// From its sixteen bytes; `None` when they are no UUIDv7.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        let [.., version, _, variant, _, _, _, _, _, _, _] = bytes;
        (version >> 4 == 7 && variant >> 6 == 2).then_some(Self(bytes))
    }

    /// Its sixteen bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// When it was issued, by the issuer's clock: milliseconds since 1970.
    #[must_use]
    pub fn issued_ms(&self) -> u64 {
        self.0.iter().take(6).fold(0, |time, byte| (time << 8) | u64::from(*byte))
    }
}

impl Ord for CommandId {
    fn cmp(&self, other: &Self) -> Ordering {
        u128::from_be_bytes(self.0).cmp(&u128::from_be_bytes(other.0))
    }
}

impl PartialOrd for CommandId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for CommandId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One write, not sixteen: each command is named to its actor.
        let digit = |half: u8| char::from_digit(half.into(), 16).unwrap_or('0');
        let mut text = String::with_capacity(36);
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                text.push('-');
            }
            text.push(digit(byte >> 4));
            text.push(digit(byte & 15));
        }
        formatter.write_str(&text)
    }
}

impl fmt::Debug for CommandId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl FromStr for CommandId {
    type Err = CommandIdError;
    fn from_str(text: &str) -> Result<Self, CommandIdError> {
        let read = || {
            let digits = text.bytes().filter(|byte| *byte != b'-').collect::<Vec<_>>();
            let mut bytes = [0; 16];
            for (to, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
                *to = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
            }
            let id = Self::from_bytes(bytes)?;
            // One spelling only, so that one id is one key everywhere.
            (id.to_string() == text).then_some(id)
        };
        read().ok_or_else(|| CommandIdError { got: text.chars().take(80).collect() })
    }
}

/// What tells a command from a repetition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum CommandRef {
    /// From outside.
    Id(CommandId),
    /// From another actor: its n-th message to this one, from 1, without a gap.
    Sent {
        /// Who sent it.
        from: EntityKey,
        /// Which one.
        sequence: u64,
    },
    /// A timer of the actor's own that is due.
    Timer {
        /// Its name.
        name: Arc<str>,
        /// When it was due, milliseconds since 1970: a timer that was moved is another one.
        due_ms: u64,
    },
    /// The answer to a call of the actor's own.
    Answer {
        /// In which commit it called.
        seq: ActorSeq,
        /// Which effect of that commit.
        index: u32,
    },
}

impl fmt::Display for CommandRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => fmt::Display::fmt(id, formatter),
            Self::Sent { from, sequence } => write!(formatter, "{from}#{sequence}"),
            Self::Timer { name, due_ms } => write!(formatter, "timer {name}@{due_ms}"),
            Self::Answer { seq, index } => write!(formatter, "answer {seq}.{index}"),
        }
    }
}

/// An intent, before anything has been decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Which one it is.
    pub reference: CommandRef,
    /// What is asked (`charge`, `set-limit`).
    pub name: String,
    /// With what.
    pub body: Bytes,
}

impl Command {
    /// Tells this command from another one under the same id.
    #[must_use]
    pub fn digest(&self) -> [u8; 8] {
        // The length keeps name and body apart.
        let parts = [&(self.name.len() as u64).to_le_bytes(), self.name.as_bytes(), &self.body];
        crate::ids::Hash::of_parts(&parts).short()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_carries_its_time_and_reads_back() {
        let id = CommandId::new(1_700_000_000_123, [0xff; 10]);
        assert_eq!(id.to_string(), "018bcfe5-687b-7fff-bfff-ffffffffffff");
        assert_eq!(id.issued_ms(), 1_700_000_000_123);
        assert_eq!(id.to_string().parse::<CommandId>().unwrap(), id);
        assert!(CommandId::new(1, [0xff; 10]) < CommandId::new(2, [0; 10]), "ids order by time");
    }

    #[test]
    fn what_is_no_version_7_uuid_is_refused() {
        for bad in [
            "",
            "018bcfe5-687b-4fff-bfff-ffffffffffff",
            "018bcfe5-687b-7fff-cfff-ffffffffffff",
            "018BCFE5-687b-7fff-bfff-ffffffffffff",
            "018bcfe5687b7fffbfffffffffffffff",
            "018bcfe5-687b-7fff-bfff-ffffffffffff0",
            "018bcfe5-687b-7fff-bfff-fffffffffff🦀",
        ] {
            assert!(bad.parse::<CommandId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn one_cause_has_one_id_and_name_and_body_stay_apart() {
        assert_eq!(CommandId::derived(5, b"timer"), CommandId::derived(5, b"timer"));
        assert_ne!(CommandId::derived(5, b"timer"), CommandId::derived(5, b"other"));
        let command = |name: &str, body: &str| Command {
            reference: CommandRef::Id(CommandId::new(1, [0; 10])),
            name: name.to_owned(),
            body: body.to_owned().into(),
        };
        assert_ne!(command("ab", "c").digest(), command("a", "bc").digest());
    }
}
