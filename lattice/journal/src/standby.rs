//! Following a shard's log without owning it, so that a takeover goes on from here instead of reading
//! everything again. It appends nothing and lets nothing out.
//!
//! ```text
//!  Begun ─▶ following ── a valid checkpoint ─▶ its document wanted ─▶ following, behind it
//!              │ another owner, a gap, damage, a document that is not readable: begin anew
//!              ▼ takeover
//!           checked: the log's leader still has the last valid record, and what came since ─▶ Takeover
//! ```
//! What is followed may come from any copy of the log, late. Before anything is decided from it, the
//! leader is asked for the last valid record at its place ([`Standby::check_after`]): its hash covers
//! everything before it. A log that has lost or changed it is another log, and is read from the start.
//!
//! A new owner begins behind the checkpoint that it was told of, which may be older than the last one in the
//! log, and clears away what that one does not name. So its standby begins anew as well, as it did.

use crate::append::{Followed, ReadBack, Tail};
use crate::begin::{Begun, Hint};
use crate::document::Document;
use crate::error::DecodeError;
use crate::ids::{Epoch, Position, RecordSeq};
use crate::record::{Body, Checkpoint, Sealed};
use bytes::Bytes;
use keys::Digest;

/// Why it has to begin anew.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// The log was trimmed beyond what was followed.
    #[error("entries between {after} and {next} are gone")]
    Gap {
        /// The last place followed.
        after: Position,
        /// The next one there is.
        next: Position,
    },
    /// An entry cannot be read.
    #[error("entry {at}: {error}")]
    Damaged {
        /// Where.
        at: Position,
        /// What is wrong there.
        error: DecodeError,
    },
    /// The shard has another owner, which may have begun behind another checkpoint than this one follows.
    #[error("epoch {epoch} was opened")]
    Owner {
        /// Its epoch.
        epoch: Epoch,
    },
    /// The log does not have any more, or not there, what was followed.
    #[error("record {seq} is not in the log any more: the log has lost what it had stored, or was trimmed")]
    Diverged {
        /// The last valid record that was followed.
        seq: RecordSeq,
    },
    /// The document of the last checkpoint cannot be used.
    #[error("checkpoint document {name}: {why}")]
    Document {
        /// Which.
        name: Digest,
        /// What is wrong with it.
        why: String,
    },
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Standby {
    tail: Tail,
    checkpoint: Option<(Hint, Document)>,
    /// A newer checkpoint that is valid in the log, whose document is not here yet.
    next: Option<(Hint, Checkpoint)>,
}

impl Standby {
    /// From where reading the log has begun.
    #[must_use]
    pub fn new(begun: Begun) -> Self {
        let mut standby = Self { tail: begun.tail, checkpoint: begun.checkpoint, next: None };
        if let Some((hint, checkpoint)) = begun.newer {
            standby.want(hint, checkpoint);
        }
        standby
    }

    /// The log, as far as it is followed.
    #[must_use]
    pub fn tail(&self) -> &Tail {
        &self.tail
    }

    /// The document of the checkpoint behind which it began, or which it has followed since.
    #[must_use]
    pub fn checkpoint(&self) -> Option<Digest> {
        self.checkpoint.as_ref().map(|(hint, _)| hint.document)
    }

    /// The first record that the checkpoint behind which it began does not stand for.
    #[must_use]
    pub fn first(&self) -> RecordSeq {
        self.checkpoint.as_ref().map_or(RecordSeq(1), |(_, document)| document.checkpoint.through.next())
    }

    /// Further entries, in order; those that are known are left out.
    ///
    /// # Errors
    /// [`Lost`]: begin anew.
    pub fn follow(&mut self, entries: Vec<(Position, Bytes)>) -> Result<Followed, Lost> {
        let mut after = self.tail.position;
        for (next, _) in &entries {
            if *next > after.next() {
                return Err(Lost::Gap { after, next: *next });
            }
            after = after.max(*next);
        }
        let followed = self.tail.follow(entries).map_err(|(at, error)| Lost::Damaged { at, error })?;
        for sealed in &followed.valid {
            let record = sealed.record();
            if let Body::EpochOpened { .. } = record.body {
                return Err(Lost::Owner { epoch: record.epoch });
            }
            self.note(sealed);
        }
        Ok(followed)
    }

    fn note(&mut self, sealed: &Sealed) {
        let Body::Checkpoint(checkpoint) = &sealed.record().body else { return };
        let (Some(kept), Some(record)) = (checkpoint.kept, self.tail.places.of(sealed.record().seq)) else {
            return;
        };
        let hint = Hint { document: kept.document, position: kept.position, record };
        self.want(hint, checkpoint.without_place());
    }

    /// Never one that reaches less far: what lies between is forgotten already.
    fn want(&mut self, hint: Hint, checkpoint: Checkpoint) {
        if self.checkpoint.as_ref().is_none_or(|(known, _)| known.position < hint.position) {
            self.next = Some((hint, checkpoint));
        }
    }

    /// The document to fetch: until it is here, a takeover cannot go on from here.
    #[must_use]
    pub fn wanted(&self) -> Option<Digest> {
        self.next.as_ref().map(|(hint, _)| hint.document)
    }

    /// The document that was wanted, or why it cannot be read: what it stands for may be forgotten.
    ///
    /// # Errors
    /// [`Lost::Document`]: begin anew.
    pub fn document(&mut self, fetched: Result<Document, String>) -> Result<Option<&Document>, Lost> {
        let Some((hint, checkpoint)) = self.next.take() else { return Ok(None) };
        let fits = fetched.and_then(|document| {
            let same = document.shard == self.tail.chain.shard()
                && document.position == hint.position
                && document.checkpoint == checkpoint;
            if same { Ok(document) } else { Err("it is of another checkpoint".to_owned()) }
        });
        match fits {
            Ok(document) => Ok(Some(&self.checkpoint.insert((hint, document)).1)),
            Err(why) => Err(Lost::Document { name: hint.document, why }),
        }
    }

    /// Behind which place the log's leader is to be read before a takeover; none: nothing was followed
    /// that could be checked.
    #[must_use]
    pub fn check_after(&self) -> Option<Position> {
        let place = self.tail.places.of(self.tail.chain.seq())?;
        Some(Position(place.0.checked_sub(1)?))
    }

    /// What the leader has there: the last valid record that was followed, and what came since.
    ///
    /// # Errors
    /// [`Lost`]: begin anew.
    pub fn check(&mut self, back: ReadBack) -> Result<Followed, Lost> {
        let seq = self.tail.chain.seq();
        let place = self.tail.places.of(seq);
        let found = back.entries.first().filter(|(position, _)| Some(*position) == place);
        let sealed = found.and_then(|(_, bytes)| Sealed::open(bytes.clone()).ok());
        match (place, sealed) {
            (Some(place), Some(sealed)) if sealed.hash() == self.tail.chain.head() => {
                // What was skipped behind it may have been another copy's: it is judged again.
                self.tail.position = place;
                self.follow(back.entries)
            }
            _ => Err(Lost::Diverged { seq }),
        }
    }

    /// What a takeover goes on from: the log, and the checkpoint behind which it was read.
    #[must_use]
    pub fn into_parts(self) -> (Tail, Option<(Hint, Document)>) {
        (self.tail, self.checkpoint)
    }
}

#[cfg(test)]
mod tests;
