//! Getting one record into a log and knowing that it is valid there.
//!
//! ```text
//!            append                   stored at expected + 1
//!   Idle ───────────▶ Sent ──────────────────────────────────────▶ Idle: done, valid
//!                      ▲ │ refused, timed out, stored elsewhere       ▲
//!                      │ ▼                                            │ found, valid
//!                      │ Reading ─────────────────────────────────────┤
//!                      │    │ whole tail read: not there              │ another one follows
//!                      └────┘ (the same bytes again)                  ▼ the head: overtaken
//! ```
//! A record that was stored at the place right behind the last one we have followed is valid: no
//! other can lie between. Every other answer, and none, is *unknown*: the log is read again from
//! there to its confirmed end. What is not there is sent again with the same bytes, so that a first
//! copy that was only late makes no second effect: whichever comes second is a repetition.

use crate::chain::{Chain, Invalid};
use crate::error::{DecodeError, EncodeError};
use crate::ids::{Hash, Position};
use crate::places::Places;
use crate::record::{Record, Sealed};
use bytes::Bytes;

/// How often one record is sent before the shard gives up.
pub const MAX_SENDS: u32 = 8;

/// A log's answer to an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendOutcome {
    /// Stored, durably, at this place.
    Stored(Position),
    /// Refused: the log's last place is another than expected. This attempt stored nothing.
    Conflict,
    /// No answer, or one that says nothing: it may be stored, now or later.
    Unknown,
}

/// What the shell does to the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogAction {
    /// Append; answer with [`Appender::outcome`].
    Append {
        /// Goes back with the answer.
        attempt: u64,
        /// The last place that is followed: the log stores it only right behind that.
        expected: Position,
        /// What.
        sealed: Sealed,
    },
    /// Read what comes after this place, from whoever leads the log, never from a copy; answer with
    /// [`Appender::read`] or [`Appender::read_failed`].
    Read {
        /// Goes back with the answer.
        attempt: u64,
        /// The last place that is followed.
        after: Position,
    },
}

/// An answer to [`LogAction::Read`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReadBack {
    /// What is there, in order; may be only the first part.
    pub entries: Vec<(Position, Bytes)>,
    /// Is this all there was when the leader answered?
    pub complete: bool,
}

/// A log, as far as it has been followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail {
    /// The valid records.
    pub chain: Chain,
    /// The last place followed, invalid records included.
    pub position: Position,
    /// Where the valid ones are, as far back as they were followed, or a checkpoint says.
    pub places: Places,
}

/// What following some entries gave.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Followed {
    /// The valid records, in order.
    pub valid: Vec<Sealed>,
    /// The others: to be reported.
    pub skipped: Vec<(Position, Invalid)>,
}

impl Tail {
    /// Before the first entry.
    #[must_use]
    pub fn new(chain: Chain) -> Self {
        Self::at(chain, Position(0))
    }

    /// At this place; where the records before it are is not known.
    #[must_use]
    pub fn at(chain: Chain, position: Position) -> Self {
        Self { chain, position, places: Places::default() }
    }

    /// Follows further entries. Entries at or before the position are known and left out.
    ///
    /// # Errors
    /// [`DecodeError`], with the place: nothing behind it may be read (law J6). Everything before it
    /// has been followed.
    pub fn follow(&mut self, entries: Vec<(Position, Bytes)>) -> Result<Followed, (Position, DecodeError)> {
        let mut followed = Followed::default();
        for (position, bytes) in entries {
            if position <= self.position {
                continue;
            }
            let sealed = Sealed::open(bytes).map_err(|error| (position, error))?;
            self.position = position;
            match self.chain.offer(&sealed) {
                Ok(()) => {
                    self.places.note(sealed.record().seq, position);
                    followed.valid.push(sealed);
                }
                Err(invalid) => followed.skipped.push((position, invalid)),
            }
        }
        Ok(followed)
    }
}

/// What has become of the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Nothing new (a late answer of an earlier attempt).
    Waiting,
    /// Do this next.
    Act(LogAction),
    /// It is durable and valid. `then` are valid records behind it: somebody else's.
    Done {
        /// The record.
        sealed: Sealed,
        /// What follows it.
        then: Vec<Sealed>,
    },
    /// It can never be valid: these took its place. It is not stored as far as anybody will see.
    Overtaken {
        /// The valid records instead.
        by: Vec<Sealed>,
    },
    /// Sent [`MAX_SENDS`] times and still not known.
    GaveUp,
    /// The log cannot be read on.
    Damaged {
        /// Where.
        at: Position,
        /// What is wrong there.
        error: DecodeError,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Flight {
    sealed: Sealed,
    sends: u32,
    reading: bool,
    /// Found valid while reading, with what has followed it so far.
    found: Option<Vec<Sealed>>,
    /// Valid records that took its place.
    others: Vec<Sealed>,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appender {
    tail: Tail,
    flight: Option<Flight>,
    attempt: u64,
    skipped: Vec<(Position, Invalid)>,
}

impl Appender {
    /// At the end of a log that has been followed.
    #[must_use]
    pub fn new(tail: Tail) -> Self {
        Self { tail, flight: None, attempt: 0, skipped: Vec::new() }
    }

    /// How far the log is followed.
    #[must_use]
    pub fn tail(&self) -> &Tail {
        &self.tail
    }
    /// Is no record on its way?
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.flight.is_none()
    }
    /// The hash of the record on its way.
    #[must_use]
    pub fn in_flight(&self) -> Option<Hash> {
        self.flight.as_ref().map(|flight| flight.sealed.hash())
    }
    /// Takes the records that were skipped, to report them.
    pub fn take_skipped(&mut self) -> Vec<(Position, Invalid)> {
        std::mem::take(&mut self.skipped)
    }
    /// The tail, for the next to continue from.
    #[must_use]
    pub fn into_tail(self) -> Tail {
        self.tail
    }

    /// Sends a record that follows from [`Appender::tail`]. Only when idle.
    ///
    /// # Errors
    /// [`EncodeError`]: nothing is on its way.
    pub fn append(&mut self, record: Record) -> Result<LogAction, EncodeError> {
        let sealed = record.seal()?;
        let flight = Flight { sealed, sends: 0, reading: false, found: None, others: Vec::new() };
        Ok(self.send(flight))
    }

    fn send(&mut self, mut flight: Flight) -> LogAction {
        self.attempt += 1;
        flight.sends += 1;
        flight.reading = false;
        let sealed = flight.sealed.clone();
        self.flight = Some(flight);
        LogAction::Append { attempt: self.attempt, expected: self.tail.position, sealed }
    }

    fn read_on(&mut self) -> LogAction {
        self.attempt += 1;
        LogAction::Read { attempt: self.attempt, after: self.tail.position }
    }

    /// The log's answer to an append.
    pub fn outcome(&mut self, attempt: u64, outcome: AppendOutcome) -> Progress {
        let Some(flight) = self.flight.as_mut().filter(|flight| attempt == self.attempt && !flight.reading)
        else {
            return Progress::Waiting;
        };
        if outcome == AppendOutcome::Stored(self.tail.position.next())
            && self.tail.chain.offer(&flight.sealed).is_ok()
        {
            self.tail.position = self.tail.position.next();
            self.tail.places.note(flight.sealed.record().seq, self.tail.position);
            let sealed = flight.sealed.clone();
            self.flight = None;
            return Progress::Done { sealed, then: Vec::new() };
        }
        flight.reading = true;
        Progress::Act(self.read_on())
    }

    /// The log could not be read. Ask again (after a pause: the shell's business).
    pub fn read_failed(&mut self, attempt: u64) -> Progress {
        let reading = self.flight.as_ref().is_some_and(|flight| flight.reading);
        if attempt == self.attempt && reading { Progress::Act(self.read_on()) } else { Progress::Waiting }
    }

    /// What was read.
    pub fn read(&mut self, attempt: u64, back: ReadBack) -> Progress {
        if attempt != self.attempt {
            return Progress::Waiting;
        }
        let Some(mut flight) = self.flight.take_if(|flight| flight.reading) else {
            return Progress::Waiting;
        };
        let followed = match self.tail.follow(back.entries) {
            Ok(followed) => followed,
            Err((at, error)) => return Progress::Damaged { at, error },
        };
        self.skipped.extend(followed.skipped);
        for sealed in followed.valid {
            match &mut flight.found {
                Some(then) => then.push(sealed),
                None if sealed.hash() == flight.sealed.hash() => flight.found = Some(Vec::new()),
                None => flight.others.push(sealed),
            }
        }
        if !back.complete {
            self.flight = Some(flight);
            return Progress::Act(self.read_on());
        }
        if let Some(then) = flight.found {
            return Progress::Done { sealed: flight.sealed, then };
        }
        if !flight.others.is_empty() {
            return Progress::Overtaken { by: flight.others };
        }
        if flight.sends >= MAX_SENDS {
            return Progress::GaveUp;
        }
        Progress::Act(self.send(flight))
    }
}

#[cfg(test)]
mod tests;
