//! Messages of a forwarded journal.
//!
//! ```text
//! envelope (host_store): form · zstd of
//! "TRF" · version 1 · incarnation (8) · sent at (8, ms since 1970, little-endian) · entry*
//! entry := 1 · length (LEB128) · record          as it is on the host's disk
//!        | 2 · first (LEB128) · last · why (1)   records that were let go
//! ```
//! A frame ends with a record: that one says how far the journal has come.

use bytes::Bytes;
use host_store::Envelope;
use lattice_journal::{RecordSeq, Sealed};
use lattice_protocol::{ErrorCode, Report, leb};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

const MAGIC: &[u8] = b"TRF\x01";
const RECORD: u8 = 1;
const GAP: u8 = 2;
/// What envelopes are bound to.
const BOUND: &str = "forwarded journal";
/// Largest frame when it is unpacked, bytes.
const MAX_BYTES: usize = 8 << 20;

/// Tells one journal from every other: of another host's life, or begun anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub [u8; 8]);

impl fmt::Display for Incarnation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl Serialize for Incarnation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Incarnation {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let number = (text.len() == 16).then(|| u64::from_str_radix(&text, 16).ok()).flatten();
        let number =
            number.ok_or_else(|| serde::de::Error::custom("a journal: want 16 hexadecimal digits"))?;
        Ok(Self(number.to_be_bytes()))
    }
}

/// Why records are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// They were let go to make room before they had arrived.
    Dropped,
    /// They were gone before anything was forwarded.
    Before,
    /// They had arrived, and the stream keeps them no longer: never sent, found by who reads.
    Trimmed,
    /// They had arrived, and were erased with what a deleted actor had done: never sent either.
    Erased,
}

impl Why {
    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Dropped => "let go before they had arrived",
            Self::Before => "gone before anything was forwarded",
            Self::Trimmed => "not kept by the stream any more",
            Self::Erased => "erased with a deleted actor",
        }
    }
}

/// Records that are missing, from the first to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The first.
    pub first: RecordSeq,
    /// The last.
    pub last: RecordSeq,
    /// Why.
    pub why: Why,
}

/// One thing in a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A record, as it was stored.
    Record(Bytes),
    /// Records that never come.
    Gap(Gap),
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Of which journal.
    pub incarnation: Incarnation,
    /// When it was made, milliseconds since 1970 by the host's clock.
    pub sent_ms: u64,
    /// In order.
    pub entries: Vec<Entry>,
}

fn malformed(what: impl fmt::Display) -> Report {
    Report::new(ErrorCode::Malformed, format!("forwarded journal: {what}"))
}

impl Frame {
    /// As it is sent.
    ///
    /// # Errors
    /// `E_INTERNAL`: never, without a key.
    pub fn encode(&self) -> Result<Bytes, Report> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&self.incarnation.0);
        out.extend_from_slice(&self.sent_ms.to_le_bytes());
        for entry in &self.entries {
            match entry {
                Entry::Record(bytes) => {
                    out.push(RECORD);
                    leb::write_unsigned(bytes.len() as u64, &mut out);
                    out.extend_from_slice(bytes);
                }
                Entry::Gap(gap) => {
                    out.push(GAP);
                    leb::write_unsigned(gap.first.0, &mut out);
                    leb::write_unsigned(gap.last.0, &mut out);
                    out.push(u8::from(gap.why == Why::Before));
                }
            }
        }
        Ok(Envelope::default().wrap(BOUND, &out).map_err(Report::from)?.into())
    }

    /// Reads one. That it can be read does not make what is in it valid.
    ///
    /// # Errors
    /// `E_MALFORMED`.
    pub fn decode(message: &[u8]) -> Result<Self, Report> {
        let content = Envelope::default().unwrap(BOUND, message, MAX_BYTES).map_err(malformed)?;
        let content = Bytes::from(content);
        let mut rest = Rest(content.clone());
        if rest.take(MAGIC.len())? != MAGIC {
            return Err(malformed("not a frame, or of a newer host"));
        }
        let incarnation = Incarnation(rest.array()?);
        let sent_ms = u64::from_le_bytes(rest.array()?);
        let mut entries = Vec::new();
        while !rest.0.is_empty() {
            entries.push(match rest.take(1)?.as_ref() {
                [RECORD] => {
                    let length = rest.number()?;
                    Entry::Record(rest.take(usize::try_from(length).unwrap_or(usize::MAX))?)
                }
                [GAP] => {
                    let (first, last) = (RecordSeq(rest.number()?), RecordSeq(rest.number()?));
                    let why = if rest.take(1)?.as_ref() == [1] { Why::Before } else { Why::Dropped };
                    if first > last {
                        return Err(malformed(format!("a gap from {first} to {last}")));
                    }
                    Entry::Gap(Gap { first, last, why })
                }
                other => return Err(malformed(format!("an entry of kind {other:?}"))),
            });
        }
        Ok(Self { incarnation, sent_ms, entries })
    }

    /// The last record.
    ///
    /// # Errors
    /// `E_MALFORMED`: there is none, or it cannot be read.
    pub fn last(&self) -> Result<Sealed, Report> {
        match self.entries.last() {
            Some(Entry::Record(bytes)) => Sealed::open(bytes.clone()).map_err(malformed),
            _ => Err(malformed("a frame without a record at its end")),
        }
    }
}

/// What is not read yet.
struct Rest(Bytes);

impl Rest {
    fn take(&mut self, count: usize) -> Result<Bytes, Report> {
        if count > self.0.len() {
            return Err(malformed("cut short"));
        }
        Ok(self.0.split_to(count))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Report> {
        let bytes = self.take(N)?;
        bytes.as_ref().try_into().map_err(|_| malformed("cut short"))
    }

    fn number(&mut self) -> Result<u64, Report> {
        let (number, taken) =
            leb::read_unsigned(&self.0).map_err(|_| malformed("a number cannot be read"))?;
        self.take(taken)?;
        Ok(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(entries: Vec<Entry>) -> Frame {
        Frame { incarnation: Incarnation([3; 8]), sent_ms: 1_790_000_000_123, entries }
    }

    proptest! {
        #[test]
        fn a_frame_reads_back_and_damage_is_an_error(
            records in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..20),
            gap in proptest::option::of((1_u64..1_000, 0_u64..1_000, any::<bool>())),
            cut in any::<prop::sample::Index>(),
        ) {
            let gap = gap.map(|(first, more, before)| Entry::Gap(Gap {
                first: RecordSeq(first),
                last: RecordSeq(first + more),
                why: if before { Why::Before } else { Why::Dropped },
            }));
            let records = records.into_iter().map(|bytes| Entry::Record(bytes.into()));
            let whole = frame(gap.into_iter().chain(records).collect());
            let sent = whole.encode().unwrap();
            prop_assert_eq!(Frame::decode(&sent).unwrap(), whole.clone());
            // Cut anywhere, it is another frame or none; never a panic.
            let part = Frame::decode(&sent[..cut.index(sent.len())]);
            prop_assert!(part.is_err() || part.unwrap() != whole);
        }
    }

    #[test]
    fn what_repeats_itself_is_sent_small_and_a_frame_ends_with_a_record() {
        let record = Entry::Record(Bytes::from("level-changed 17 ".repeat(20)));
        let frame_of = frame(vec![record; 100]);
        let sent = frame_of.encode().unwrap();
        assert!(sent.len() < 34_000 / 5, "{}", sent.len());
        for entries in
            [Vec::new(), vec![Entry::Gap(Gap { first: RecordSeq(1), last: RecordSeq(2), why: Why::Dropped })]]
        {
            assert_eq!(frame(entries).last().unwrap_err().code, ErrorCode::Malformed);
        }
        assert!(Frame::decode(b"").is_err() && Frame::decode(b"\0TRF\x02").is_err());
    }
}
