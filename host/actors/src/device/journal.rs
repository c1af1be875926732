//! The local journal as the log of its one shard, and reading it at the start.

use super::{DeviceOptions, blocking};
use crate::bury;
use crate::checkpoint::{self, SavedCheckpoint};
use crate::forward::{Forward, Found};
use crate::history::History;
use crate::index::Schedule;
use crate::log::{Appended, KeepDone, Kept, Read, ShardLog, Standing, Trim, Trimmed};
use crate::shard::Opened;
use bytes::Bytes;
use host_store::{CheckpointStore, Journal, JournalError, JournalMark, Spill};
use lattice_io::BoxFuture;
use lattice_journal::append::{AppendOutcome, ReadBack, Tail};
use lattice_journal::record::{Checkpoint, SnapshotRef};
use lattice_journal::trim::SnapshotList;
use lattice_journal::{Chain, Position, RecordSeq, Sealed, ShardId};
use lattice_protocol::{EntityKey, ErrorCode, Report};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::oneshot;

/// The one shard of a device's journal.
const SHARD: ShardId = ShardId(0);
/// Entries read at once.
const ENTRIES: usize = 1_024;

/// The journal as the log of its one shard: the place of a record is its sequence.
pub(super) struct DeviceLog {
    journal: Arc<Held>,
    checkpoints: Arc<CheckpointStore>,
    forward: Option<Arc<Forward>>,
}

/// The journal while somebody may write to it. Its end is told when it is closed.
pub(super) struct Held {
    journal: Journal,
    // Dropped after the journal: fields go in this order.
    _closed: oneshot::Sender<()>,
}

impl std::ops::Deref for Held {
    type Target = Journal;

    fn deref(&self) -> &Journal {
        &self.journal
    }
}

/// What is learnt from the records while they are read.
struct Reading {
    chain: Chain,
    /// What stands for everything up to here.
    through: RecordSeq,
    history: History,
    /// What waits to be forwarded, if it is.
    found: Option<Found>,
    failed: Option<Report>,
}

impl Reading {
    fn visit(&mut self, position: u64, entry: Bytes) {
        if self.failed.is_none()
            && let Err(report) = self.take(position, entry)
        {
            self.failed = Some(report);
        }
    }

    fn take(&mut self, position: u64, entry: Bytes) -> Result<(), Report> {
        let bytes = entry.len();
        if position <= self.through.0 {
            self.found(position, bytes, None);
            return Ok(());
        }
        let damaged = |what: String| {
            Report::new(ErrorCode::Damaged, format!("journal: {what}")).at(format!("entry {position}")).hint(
                "rebuild this host's journal from what it had forwarded: trellis host --rebuild-journal (docs/recovery.md)",
            )
        };
        let sealed = Sealed::open(entry).map_err(|error| damaged(error.to_string()))?;
        self.chain.offer(&sealed).map_err(|invalid| damaged(invalid.to_string()))?;
        let record = sealed.record();
        if record.seq.0 != position {
            return Err(damaged(format!("holds record {}", record.seq)));
        }
        let made = record.commits().first().map(|commit| commit.hlc.wall_ms);
        self.history.take(&sealed);
        self.found(position, bytes, made);
        Ok(())
    }

    fn found(&mut self, position: u64, bytes: usize, made_ms: Option<u64>) {
        if let Some(found) = &mut self.found {
            found.add(position, bytes, made_ms);
        }
    }
}

impl DeviceLog {
    /// Reads everything, and opens an epoch of this session. Blocks. The receiver ends when nobody can write
    /// to the journal any more.
    pub(super) fn open(options: &DeviceOptions) -> Result<(Self, Opened, oneshot::Receiver<()>), Report> {
        let checkpoints = CheckpointStore::new(&options.data);
        let saved = checkpoints.load::<SavedCheckpoint>().map_err(Report::from)?;
        if let Some(damage) = saved.as_ref().and_then(|loaded| loaded.damage.as_ref()) {
            tracing::error!(error = %damage, "the newest checkpoint was damaged: using the one before");
        }
        let mut tombstone = None;
        let (through, chain, list, schedule) = match saved {
            None => (RecordSeq(0), Chain::new(SHARD), SnapshotList::default(), Schedule::default()),
            Some(loaded) => {
                tombstone = loaded.newest.tombstone();
                let (checkpoint, chain, list, schedule) = loaded.newest.open()?;
                (checkpoint.through, chain, list, schedule)
            }
        };
        let mark = JournalMark::new(&options.data);
        let known = mark.known()?.max(through.0);
        let found = options.forward.as_ref().map(|_| Found::new());
        let history = History::new(schedule, list).spilling(Spill::new(options.data.path()));
        let mut reading = Reading { chain, through, history, found, failed: None };
        let visit = &mut |position, entry| reading.visit(position, entry);
        let (journal, recovered) = Journal::open(&options.data, options.journal, visit)?;
        if recovered.first > through.0 + 1 {
            let report =
                Report::new(ErrorCode::Damaged, "journal: no checkpoint stands for what was trimmed");
            return Err(report.got(format!("entries from {}", recovered.first)).limit(through.next()));
        }
        mark.check(known, recovered.last)?;
        if let Some(torn) = &recovered.torn {
            tracing::warn!(
                file = torn.file,
                offset = torn.offset,
                "the last write was cut short by a crash: cut off"
            );
        }
        if let Some(report) = reading.failed.take() {
            return Err(report);
        }
        let epoch = reading.chain.epoch().next();
        let opening = reading.chain.opening(epoch, options.session.clone()).seal().map_err(Report::from)?;
        match journal.append_wait(opening.bytes().clone()) {
            Ok(at) if at == opening.record().seq.0 && reading.chain.offer(&opening).is_ok() => {
                reading.found(at, opening.bytes().len(), Some(options.clock.unix_ms()));
            }
            Ok(_) => {
                let what = "the journal's epoch was stored elsewhere than expected";
                return Err(Report::new(ErrorCode::Internal, what));
            }
            // There is no other owner: it goes on under the last epoch, and trims to get room.
            Err(error @ JournalError::Full { .. }) => tracing::error!(%error, "opened without room"),
            Err(error) => return Err(error.into()),
        }
        if let Err(error) = mark.save(reading.chain.seq().0) {
            tracing::warn!(%error, "how far the journal goes is not marked: the mark before counts");
        }
        tracing::info!(record = %reading.chain.seq(), %epoch, first = recovered.first, "journal open");
        let found = reading.found.take();
        let position = Position(reading.chain.seq().0);
        let tail = Tail::at(reading.chain, position);
        let mut opened = reading.history.open(tail, (RecordSeq(recovered.first), 0), HashMap::new())?;
        // It may be trimmed, and in a file all the same.
        let tombstone = opened.tombstone.or(tombstone).filter(|record| journal.oldest() <= record.0);
        if let Some(record) = tombstone {
            journal.sweep_wait(record.0)?;
        }
        opened.tombstone = tombstone;
        let forward = options.forward.clone().zip(found).map(|(to, found)| {
            let to = (to, Arc::clone(&options.clock));
            let needed = (through.0 + 1, tombstone);
            Arc::new(Forward::new(to, &options.data, (&journal, found), needed))
        });
        // A former life may have been cut short while it removed files.
        journal.trim(recovered.first)?;
        let (sender, closed) = oneshot::channel();
        let journal = Arc::new(Held { journal, _closed: sender });
        Ok((Self { journal, checkpoints: Arc::new(checkpoints), forward }, opened, closed))
    }

    /// What is forwarded of it, if it is.
    pub(super) fn forward(&self) -> Option<Arc<Forward>> {
        self.forward.clone()
    }

    /// The same, with the journal.
    pub(super) fn forwarded(&self) -> Option<(Arc<Forward>, Arc<Held>)> {
        Some((self.forward.clone()?, Arc::clone(&self.journal)))
    }
}

/// Answers even when it is dropped: an append that will never happen.
struct Answer(Option<Appended>);

impl Answer {
    fn give(mut self, outcome: Result<AppendOutcome, Report>) {
        if let Some(done) = self.0.take() {
            done(outcome);
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(done) = self.0.take() {
            done(Err(Report::new(ErrorCode::JournalStopped, "the journal does not take writes")));
        }
    }
}

impl ShardLog for DeviceLog {
    fn append(&self, _expected: Position, sealed: Sealed, done: Appended) {
        let place = Position(sealed.record().seq.0);
        let answer = Answer(Some(done));
        if let Some(report) = self.forward.as_ref().and_then(|forward| forward.refuses()) {
            return answer.give(Err(report));
        }
        if bury::buried(sealed.record()).next().is_some() {
            if let Some(forward) = &self.forward {
                forward.checkpoint.buried(sealed.record().seq);
            }
            // No file that is begun from now on shall be one that has anything of them.
            let swept = |outcome: Result<(), JournalError>| {
                if let Err(error) = outcome {
                    tracing::warn!(%error, "spare files are not removed: they are with the next trimming");
                }
            };
            if let Err(error) = self.journal.sweep(place.0, Box::new(swept)) {
                swept(Err(error));
            }
        }
        let forward = self.forward.clone().map(|forward| (forward, sealed.bytes().clone()));
        let stored = move |outcome: Result<u64, JournalError>| {
            if let (Ok(at), Some((forward, bytes))) = (&outcome, forward) {
                forward.durable(RecordSeq(*at), bytes);
            }
            answer.give(outcome.map(|_| AppendOutcome::Stored(place)).map_err(Report::from));
        };
        if let Err(error) = self.journal.append(sealed.bytes().clone(), Box::new(stored)) {
            tracing::error!(%error, "record not given to the journal");
        }
    }

    fn read(&self, after: Position, done: Read) {
        let journal = Arc::clone(&self.journal);
        // It answers by the callback.
        drop(tokio::task::spawn_blocking(move || {
            let last = journal.last();
            let read = journal.read(after.0 + 1, ENTRIES);
            let back = read.ok().map(|entries| {
                let complete = entries.last().map_or(after.0, |(at, _)| *at) >= last;
                let entries = entries.into_iter().map(|(at, entry)| (Position(at), entry)).collect();
                ReadBack { entries, complete }
            });
            done(back);
        }));
    }

    fn records(&self, wanted: Vec<RecordSeq>) -> BoxFuture<'_, Result<Vec<Sealed>, Report>> {
        let journal = Arc::clone(&self.journal);
        Box::pin(blocking(move || {
            let positions: Vec<u64> = wanted.iter().map(|record| record.0).collect();
            let entries = journal.read_at(&positions)?;
            entries.into_iter().map(|(_, entry)| Sealed::open(entry).map_err(Report::from)).collect()
        }))
    }

    fn durable(&self, _: &Sealed, _: Position) {
        // It is read back from the journal when it is wanted.
    }

    fn used_percent(&self) -> u8 {
        let (used, most) = self.journal.segments();
        u8::try_from(used.saturating_mul(100) / most.max(1)).unwrap_or(100)
    }

    fn holds(&self, record: RecordSeq) -> bool {
        self.journal.oldest() <= record.0
    }

    fn closed(&self, record: RecordSeq) -> Option<RecordSeq> {
        self.journal.closed(record.0).map(RecordSeq)
    }

    fn roll(&self, through: RecordSeq) -> BoxFuture<'_, Result<(), Report>> {
        let journal = Arc::clone(&self.journal);
        Box::pin(blocking(move || journal.roll(through.0).map_err(Report::from)))
    }

    fn trims_late(&self) -> bool {
        true
    }

    fn trim(&self, trim: Trim) -> BoxFuture<'_, Result<Trimmed, Report>> {
        let (journal, checkpoints) = (Arc::clone(&self.journal), Arc::clone(&self.checkpoints));
        let forward = self.forward.clone();
        Box::pin(blocking(move || {
            checkpoint::check_list(&trim.list)?;
            let before = trim.checkpoint.through.0 + 1;
            let saved = SavedCheckpoint::new(SHARD, (&trim.checkpoint, &trim.list), &trim.timers, trim.purge);
            checkpoints.save(&saved).map_err(Report::from)?;
            if let Some(tombstone) = trim.purge {
                // The one before may have timers of deleted actors.
                checkpoints.save(&saved).map_err(Report::from)?;
                journal.sweep_wait(tombstone.0)?;
            }
            match forward {
                // What has not arrived is kept for that.
                Some(forward) => forward.trim(&journal, before)?,
                None => journal.trim(before)?,
            }
            Ok(Trimmed::Gone)
        }))
    }

    fn settle(&self, _: Checkpoint, _: Position, _: Kept) -> BoxFuture<'_, Result<(), Report>> {
        // No record of this log is a checkpoint.
        Box::pin(std::future::ready(Ok(())))
    }

    fn wants_standing(&self) -> Option<RecordSeq> {
        self.forward.as_ref()?.checkpoint.wish()
    }

    fn stands(&self, standing: Standing) {
        if let Some(forward) = &self.forward {
            forward.checkpoint.give(standing);
        }
    }

    fn keep(&self, _: &SnapshotRef, _: Bytes, done: KeepDone) {
        // It is on this disk.
        done(Ok(()));
    }

    fn keeps(&self, _: &SnapshotRef) -> bool {
        true
    }

    fn snapshots<'a>(&'a self, _: &'a EntityKey, _: bool) -> BoxFuture<'a, Result<Vec<Bytes>, Report>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn older<'a>(&'a self, _: &'a EntityKey, _: RecordSeq) -> BoxFuture<'a, Result<Vec<Sealed>, Report>> {
        // The index knows all records that are kept.
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
}
