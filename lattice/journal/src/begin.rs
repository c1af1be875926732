//! Where reading a shard's log begins when its stream may be trimmed: behind a checkpoint that the log
//! itself confirms, or at its very first record; else nowhere.
//!
//! ```text
//!  Looking ─▶ Fetching (the document of a candidate) ─▶ Following ─ its record found, valid ─▶ Begun
//!     │          │ unreadable: the next candidate          │ not found: the next candidate
//!     │          ▼                                         ▼
//!     │        none left ── nothing trimmed ─▶ Following from the first record ─▶ Begun
//!     │          │ trimmed
//!     │          ▼
//!     └──▶ Scanning (the stream, for checkpoints) ─▶ Fetching … none left ─▶ Refused
//! ```
//! A checkpoint says: everything up to the record R, at the place P, is in this document. It is believed
//! iff the stream still has everything behind P, and whoever follows it from there, from R's hash and
//! epoch, finds the checkpoint's own record to be valid. An owner that was fenced may have written one as
//! well: behind P comes the `EpochOpened` that fenced it, so its record is not valid there.
//!
//! Hints only say where to look first. A log that is shorter than a hint says has lost records that were
//! acknowledged: that is refused, as is a stream that begins behind everything that can be read.

use crate::append::{ReadBack, Tail};
use crate::chain::{Chain, Invalid};
use crate::document::Document;
use crate::error::DecodeError;
use crate::ids::{Position, ShardId};
use crate::record::{Body, Checkpoint, Sealed};
use keys::Digest;
use lattice_protocol::{ErrorCode, Report};
use std::collections::{BTreeSet, VecDeque};

/// How often it starts over because the log was trimmed meanwhile.
const RESTARTS: u32 = 8;

/// Where a checkpoint is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hint {
    /// Its document.
    pub document: Digest,
    /// The place of the last record that it stands for.
    pub position: Position,
    /// The place of its own record.
    pub record: Position,
}

/// To be done by the shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BeginAction {
    /// Read so many entries at most behind this place, from whoever leads the log; answer with
    /// [`Begin::read`] or [`Begin::trimmed`].
    Read {
        /// The place.
        after: Position,
        /// Only whether there is one, or as many as one reading gives.
        one: bool,
    },
    /// Fetch a document from the shard's store; answer with [`Begin::document`].
    Fetch(Digest),
    /// Forget what was folded: it begins behind this document, or at the first record.
    Restart(Option<Box<Document>>),
    /// Valid records, in order: fold them.
    Fold(Vec<Sealed>),
    /// Records that do not count.
    Skipped(Vec<(Position, Invalid)>),
    /// Followed to the end: go on with [`Begin::into_begun`].
    Begun,
    /// It cannot be begun: somebody has to look at it.
    Refused(Refusal),
}

/// Why a shard is not opened. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The stream begins behind everything that a readable checkpoint stands for.
    #[error(
        "the stream begins at {first}, and no checkpoint that can be read stands for what was before it{}",
        tried(.troubles)
    )]
    Uncovered {
        /// The first place that is kept.
        first: Position,
        /// What was wrong with each checkpoint.
        troubles: Vec<String>,
    },
    /// The stream has lost its end.
    #[error("the stream ends at {last}, but a checkpoint was acknowledged at {known}")]
    Shorter {
        /// The last place that is there.
        last: Position,
        /// A place that was acknowledged.
        known: Position,
    },
    /// An entry cannot be read.
    #[error("entry {at}: {error}")]
    Damaged {
        /// Where.
        at: Position,
        /// What is wrong there.
        error: DecodeError,
    },
    /// It was trimmed again and again while it was read.
    #[error("the stream is trimmed faster than it is read")]
    Restless,
}

fn tried(troubles: &[String]) -> String {
    if troubles.is_empty() { String::new() } else { format!(" ({})", troubles.join("; ")) }
}

impl From<Refusal> for Report {
    fn from(refusal: Refusal) -> Self {
        let code = match &refusal {
            Refusal::Damaged { error, .. } => Self::from(error.clone()).code,
            Refusal::Restless => ErrorCode::Overloaded,
            Refusal::Uncovered { .. } | Refusal::Shorter { .. } => ErrorCode::Damaged,
        };
        let hint = match &refusal {
            Refusal::Uncovered { .. } => {
                "restore the shard's object store from a copy; the shard stays closed so that nothing is \
                 written over its history"
            }
            Refusal::Shorter { .. } => {
                "the server lost acknowledged records: restore the stream from a copy, and see that it runs \
                 with sync_interval: always; the shard stays closed so that no history forks"
            }
            Refusal::Damaged { .. } => "restore the stream from a copy, or update this host",
            Refusal::Restless => "it is tried again",
        };
        Self::new(code, format!("shard not opened: {refusal}")).hint(hint)
    }
}

/// What was begun with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    /// The log, followed to its end.
    pub tail: Tail,
    /// The checkpoint that it begins behind; none: at the first record.
    pub checkpoint: Option<(Hint, Document)>,
    /// The first place that the log keeps.
    pub first: Position,
    /// What was wrong with checkpoints that were passed over: to be told, loudly.
    pub troubles: Vec<String>,
    /// A later checkpoint of the last owner, which it has not told of yet; nothing stands on it here.
    pub newer: Option<(Hint, Checkpoint)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Looking,
    Fetching(Hint),
    Following,
    Scanning { after: Position },
    Ended,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Begin {
    shard: ShardId,
    hints: Vec<Hint>,
    candidates: VecDeque<Hint>,
    tried: BTreeSet<Digest>,
    scanned: bool,
    phase: Phase,
    tail: Tail,
    checkpoint: Option<(Hint, Document)>,
    confirmed: bool,
    newer: Option<(Hint, Checkpoint)>,
    first: Position,
    restarts: u32,
    troubles: Vec<String>,
}

impl Begin {
    /// With what is believed about the last checkpoints, the newest first.
    #[must_use]
    pub fn new(shard: ShardId, hints: Vec<Hint>) -> Self {
        Self {
            shard,
            hints,
            candidates: VecDeque::new(),
            tried: BTreeSet::new(),
            scanned: false,
            phase: Phase::Looking,
            tail: Tail::new(Chain::new(shard)),
            checkpoint: None,
            confirmed: false,
            newer: None,
            first: Position(1),
            restarts: 0,
            troubles: Vec::new(),
        }
    }

    /// Begins.
    pub fn start(&mut self) -> Vec<BeginAction> {
        self.phase = Phase::Looking;
        self.scanned = false;
        self.tried.clear();
        vec![BeginAction::Read { after: Position(0), one: true }]
    }

    /// What was begun with, after [`BeginAction::Begun`].
    #[must_use]
    pub fn into_begun(self) -> Begun {
        let Self { tail, checkpoint, first, troubles, newer, .. } = self;
        Begun { tail, checkpoint, first, troubles, newer }
    }

    /// The log does not go back that far: this is the first place that it keeps.
    pub fn trimmed(&mut self, first: Position) -> Vec<BeginAction> {
        match self.phase {
            Phase::Looking => self.looked(first),
            Phase::Ended => Vec::new(),
            _ if self.restarts >= RESTARTS => self.refuse(Refusal::Restless),
            _ => {
                self.restarts += 1;
                self.start()
            }
        }
    }

    fn looked(&mut self, first: Position) -> Vec<BeginAction> {
        self.first = first;
        self.candidates = self.hints.iter().copied().collect();
        self.next_candidate()
    }

    fn next_candidate(&mut self) -> Vec<BeginAction> {
        while let Some(hint) = self.candidates.pop_front() {
            if !self.tried.insert(hint.document) {
                continue;
            }
            if hint.position.next() < self.first {
                self.trouble(&hint, "the stream does not keep what follows it");
                continue;
            }
            self.phase = Phase::Fetching(hint);
            return vec![BeginAction::Fetch(hint.document)];
        }
        if self.first <= Position(1) {
            self.tail = Tail::new(Chain::new(self.shard));
            self.checkpoint = None;
            return self.follow(None);
        }
        if !self.scanned {
            self.scanned = true;
            let after = Position(self.first.0.saturating_sub(1));
            self.phase = Phase::Scanning { after };
            return vec![BeginAction::Read { after, one: false }];
        }
        let (first, troubles) = (self.first, self.troubles.clone());
        self.refuse(Refusal::Uncovered { first, troubles })
    }

    fn trouble(&mut self, hint: &Hint, what: impl std::fmt::Display) {
        self.troubles.push(format!("checkpoint at {}: {what}", hint.record));
    }

    fn follow(&mut self, document: Option<Box<Document>>) -> Vec<BeginAction> {
        self.phase = Phase::Following;
        self.confirmed = false;
        self.newer = None;
        let after = self.tail.position;
        vec![BeginAction::Restart(document), BeginAction::Read { after, one: false }]
    }

    /// The document that was fetched; why not, when it is gone or damaged. (When the store only cannot be
    /// reached, ask it again.)
    pub fn document(&mut self, fetched: Result<Document, String>) -> Vec<BeginAction> {
        let Phase::Fetching(hint) = self.phase else { return Vec::new() };
        let fits = fetched.and_then(|document| {
            if document.shard != self.shard {
                Err(format!("it is of shard {}", document.shard))
            } else if document.position != hint.position {
                Err(format!("it reaches to {}, not {}", document.position, hint.position))
            } else {
                Ok(document)
            }
        });
        match fits {
            Ok(document) => {
                let chain = Chain::from_checkpoint(self.shard, &document.checkpoint);
                self.tail = Tail { chain, position: document.position, places: document.places.clone() };
                self.checkpoint = Some((hint, document.clone()));
                self.follow(Some(Box::new(document)))
            }
            Err(why) => {
                self.trouble(&hint, why);
                self.next_candidate()
            }
        }
    }

    /// What was read.
    pub fn read(&mut self, back: ReadBack) -> Vec<BeginAction> {
        match self.phase {
            Phase::Looking => self.looked(Position(1)),
            Phase::Scanning { after } => self.scan(after, back),
            Phase::Following => self.followed(back),
            Phase::Fetching(_) | Phase::Ended => Vec::new(),
        }
    }

    fn scan(&mut self, after: Position, back: ReadBack) -> Vec<BeginAction> {
        for (record, bytes) in &back.entries {
            // What cannot be read here stops whoever follows the log through it.
            let Ok(sealed) = Sealed::open(bytes.clone()) else { continue };
            if let Body::Checkpoint(checkpoint) = &sealed.record().body
                && let Some(kept) = &checkpoint.kept
            {
                let (document, position) = (kept.document, kept.position);
                self.candidates.push_front(Hint { document, position, record: *record });
            }
        }
        if back.complete {
            return self.next_candidate();
        }
        let after = back.entries.last().map_or(after, |(position, _)| *position);
        self.phase = Phase::Scanning { after };
        vec![BeginAction::Read { after, one: false }]
    }

    fn followed(&mut self, back: ReadBack) -> Vec<BeginAction> {
        let followed = match self.tail.follow(back.entries) {
            Ok(followed) => followed,
            Err((at, error)) => return self.refuse(Refusal::Damaged { at, error }),
        };
        if let Some((hint, document)) = &mut self.checkpoint {
            for sealed in &followed.valid {
                if let Body::Checkpoint(checkpoint) = &sealed.record().body
                    && checkpoint.kept.is_some_and(|kept| kept.document == hint.document)
                    && checkpoint.without_place() == document.checkpoint
                {
                    self.confirmed = true;
                    hint.record = self.tail.places.of(sealed.record().seq).unwrap_or(hint.record);
                }
            }
        }
        for sealed in &followed.valid {
            self.note_newer(sealed);
        }
        let mut actions = Vec::new();
        if !followed.skipped.is_empty() {
            actions.push(BeginAction::Skipped(followed.skipped));
        }
        if !followed.valid.is_empty() {
            actions.push(BeginAction::Fold(followed.valid));
        }
        if back.complete {
            actions.extend(self.at_the_end());
        } else {
            actions.push(BeginAction::Read { after: self.tail.position, one: false });
        }
        actions
    }

    /// What an owner has made counts for whoever follows it; what one before it had made and not told of, the
    /// next one has not begun behind.
    fn note_newer(&mut self, sealed: &Sealed) {
        match &sealed.record().body {
            Body::EpochOpened { .. } => self.newer = None,
            Body::Checkpoint(checkpoint) => {
                let own = self.checkpoint.as_ref().map(|(hint, _)| hint.document);
                let record = self.tail.places.of(sealed.record().seq);
                if let (Some(kept), Some(record)) = (checkpoint.kept, record) {
                    let hint = Hint { document: kept.document, position: kept.position, record };
                    // What comes before the one that it begins behind is older.
                    let is_own = own == Some(kept.document);
                    self.newer = (!is_own).then(|| (hint, checkpoint.without_place()));
                }
            }
            Body::Commits { .. } => {}
        }
    }

    fn at_the_end(&mut self) -> Vec<BeginAction> {
        let last = self.tail.position;
        let known = self.hints.iter().map(|hint| hint.record).max().unwrap_or_default();
        if last < known {
            return self.refuse(Refusal::Shorter { last, known });
        }
        match self.checkpoint.take() {
            Some((hint, _)) if !self.confirmed => {
                self.trouble(&hint, "its record is not valid in the log");
                self.next_candidate()
            }
            checkpoint => {
                self.checkpoint = checkpoint;
                self.phase = Phase::Ended;
                vec![BeginAction::Begun]
            }
        }
    }

    fn refuse(&mut self, refusal: Refusal) -> Vec<BeginAction> {
        self.phase = Phase::Ended;
        vec![BeginAction::Refused(refusal)]
    }
}

#[cfg(test)]
pub(crate) mod tests;
