//! A host's journal, built anew from what it had forwarded: for a host whose own is damaged or lost. An act of an
//! operator, with the host stopped.
//!
//! What comes back: every record that had arrived, and those that can still be read on the disk and follow from
//! them. Where the oldest are missing, a checkpoint stands for them: that on the disk, or one that was forwarded
//! ([`super::checkpoint`]). What was acknowledged and is in neither is lost. Nothing is deleted: what was there is
//! set aside.

use super::checkpoint::read::{self as standing, Standing};
use super::copy::{self, Copy, Life};
use crate::checkpoint::{self, SavedCheckpoint};
use bytes::Bytes;
use host_store::journal::anew::{Snapshots, put_anew};
use host_store::{
    CheckpointStore, DataDir, Envelope, Journal, JournalError, JournalMark, JournalOptions, SnapshotKey,
    SnapshotStore,
};
use lattice_io::Lattice;
use lattice_journal::record::Checkpoint;
use lattice_journal::trim::SnapshotList;
use lattice_journal::{Chain, Hash, RecordSeq, Sealed, ShardId, Snapshot};
use lattice_protocol::subject::Subjects;
use lattice_protocol::{ErrorCode, HostId, Report};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// The one shard of a device's journal.
const SHARD: ShardId = ShardId(0);

/// What is rebuilt.
pub struct RebuildOptions<'a> {
    /// The host.
    pub host: &'a HostId,
    /// Its durable files, which nobody else has open.
    pub data: &'a DataDir,
    /// Sizes of the journal.
    pub journal: JournalOptions,
    /// What its snapshots are encrypted with, if they are.
    pub snapshot_key: Option<SnapshotKey>,
    /// Now, milliseconds since 1970: in the name of what is set aside.
    pub now_ms: u64,
}

/// What stands for records that the rebuilt journal does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stands {
    /// Nothing: it has all of them.
    Nothing,
    /// The checkpoint on the disk, and its snapshots.
    Disk,
    /// A checkpoint that was forwarded, and its snapshots.
    Forwarded,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuilt {
    /// The first record that is kept; a checkpoint stands for those before it.
    pub first: RecordSeq,
    /// The last record.
    pub last: RecordSeq,
    /// Records that came out of the lattice.
    pub from_copy: u64,
    /// Records that were still readable on the disk and had not arrived.
    pub from_disk: u64,
    /// What stands for the records before the first.
    pub stands: Stands,
    /// Records behind the last one that are known to have been there. More may have been acknowledged since the
    /// host was started last.
    pub lost_at_least: u64,
    /// Where what was there is now.
    pub aside: PathBuf,
}

/// What stands for records that are not written.
enum Base {
    /// Nothing: they are all there.
    Nothing,
    /// A checkpoint on the disk, and its snapshots.
    Disk(OnDisk),
    /// One that was forwarded.
    Forwarded(Box<Standing>),
}

struct OnDisk {
    checkpoint: Checkpoint,
    list: SnapshotList,
}

impl Base {
    fn checkpoint(&self) -> Option<&Checkpoint> {
        match self {
            Self::Nothing => None,
            Self::Disk(base) => Some(&base.checkpoint),
            Self::Forwarded(standing) => Some(&standing.document.checkpoint),
        }
    }

    fn first(&self) -> RecordSeq {
        self.checkpoint().map_or(RecordSeq(1), |checkpoint| checkpoint.through.next())
    }
}

/// What pass one has found in the lattice.
struct Arrived {
    copy: Copy,
    /// The hashes of records that a checkpoint ends with, as the newest life has them.
    hashes: BTreeMap<RecordSeq, Hash>,
}

fn on_disk(options: &RebuildOptions<'_>) -> Option<OnDisk> {
    let saved = CheckpointStore::new(options.data).load::<SavedCheckpoint>();
    let saved = saved.inspect_err(|error| tracing::warn!(%error, "the checkpoint cannot be read")).ok()??;
    let (checkpoint, _, list, _) = saved.newest.open().ok()?;
    let is_whole = snapshots_of(options, &list);
    is_whole.inspect_err(|error| tracing::warn!(%error, "the checkpoint on the disk is not taken")).ok()?;
    Some(OnDisk { checkpoint, list })
}

/// The files of the snapshots that a checkpoint on the disk names.
fn snapshots_of(options: &RebuildOptions<'_>, list: &SnapshotList) -> Result<Vec<PathBuf>, Report> {
    let store = SnapshotStore::open(options.data, options.snapshot_key.clone())?;
    let mut files = Vec::new();
    for wanted in list.iter().filter(|wanted| !wanted.is_tombstone()) {
        let stored = store.list(&wanted.key)?.into_iter().find(|found| found.sequence == wanted.seq.0);
        let missing = || Report::new(ErrorCode::Damaged, "a snapshot is not on the disk").at(&wanted.key);
        let stored = stored.ok_or_else(missing)?;
        let (_, hash) = Snapshot::open(store.load(&wanted.key, &stored)?.into())?;
        if hash != wanted.hash {
            return Err(missing().got(hash));
        }
        files.push(stored.path().to_owned());
    }
    Ok(files)
}

/// Rebuilds it.
///
/// # Errors
/// `E_CONFLICT`: the journal is healthy. `E_NOT_FOUND`: nothing was forwarded. `E_HISTORY_TRIMMED`: not all that
/// it takes was. `E_DAMAGED`: what was forwarded does not hang together, or the checkpoint that is needed is not
/// what was stored. In all of them nothing is changed.
pub async fn rebuild(
    lattice: &Lattice,
    subjects: &Subjects,
    options: RebuildOptions<'_>,
) -> Result<Rebuilt, Report> {
    let disk = on_disk(&options);
    let envelope = Envelope::new(options.snapshot_key.clone());
    let forwarded = standing::read(&lattice.lanes, subjects, (options.host, envelope)).await;
    let ends = disk.iter().map(|base| base.checkpoint.through);
    let ends = ends.chain(forwarded.iter().flatten().map(Standing::through)).collect();
    let arrived = look(lattice, subjects, options.host, ends).await?;
    let Some(life) = arrived.copy.newest() else {
        return Err(Report::new(ErrorCode::NotFound, "nothing of this host's journal has been forwarded"));
    };
    let base = chosen(options.host, (life, &arrived.hashes), (disk, forwarded))?;
    let first = base.first();
    let (readable, known) = local(&options, life.last().max(RecordSeq(first.0 - 1)), life)?;
    if let Base::Forwarded(standing) = &base {
        fetch(&options, standing).await?;
    }
    let journal = Journal::begin_anew(options.data, options.journal, first.0)?;
    let newest = arrived.copy.lives.len() - 1;
    let mut failed = None;
    let mut take = |of: usize, sealed: Sealed| {
        // What has come since the first pass is another host's, or a second one's: it is not ours to take.
        let wanted = of == newest && sealed.record().seq >= first && sealed.record().seq <= life.last();
        if wanted && failed.is_none() {
            failed = write(&journal, sealed.bytes().clone()).err();
        }
    };
    copy::read(&*lattice.lanes, subjects, options.host, &mut take).await?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    let from_disk = append_readable(&journal, (life, &base), readable)?;
    finish(&options, (journal, first, from_disk), (base, known))
}

async fn look(
    lattice: &Lattice,
    subjects: &Subjects,
    host: &HostId,
    ends: BTreeSet<RecordSeq>,
) -> Result<Arrived, Report> {
    let mut hashes: BTreeMap<(usize, RecordSeq), Hash> = BTreeMap::new();
    let mut take = |life: usize, sealed: Sealed| {
        let record = sealed.record();
        if ends.contains(&record.seq) {
            hashes.insert((life, record.seq), sealed.hash());
        }
        let before = RecordSeq(record.seq.0.saturating_sub(1));
        if ends.contains(&before) {
            hashes.insert((life, before), record.previous);
        }
    };
    let copy = copy::read(&*lattice.lanes, subjects, host, &mut take).await?;
    let newest = copy.lives.len().saturating_sub(1);
    let hashes = hashes.into_iter().filter(|((life, _), _)| *life == newest);
    let hashes = hashes.map(|((_, record), hash)| (record, hash)).collect();
    Ok(Arrived { copy, hashes })
}

/// What it begins behind: a checkpoint on the disk, nothing when every record is there, or one that was forwarded.
fn chosen(
    host: &HostId,
    (life, hashes): (&Life, &BTreeMap<RecordSeq, Hash>),
    (disk, forwarded): (Option<OnDisk>, Result<Option<Standing>, Report>),
) -> Result<Base, Report> {
    let follows = |checkpoint: &Checkpoint| {
        let through = checkpoint.through;
        let is_same = hashes.get(&through) == Some(&checkpoint.hash);
        (is_same || through > life.last()) && life.gaps.iter().all(|gap| gap.last <= through)
    };
    if let Some(base) = disk.filter(|base| follows(&base.checkpoint)) {
        return Ok(Base::Disk(base));
    }
    if life.first == RecordSeq(1) && life.gaps.is_empty() {
        return Ok(Base::Nothing);
    }
    // It is needed: what is wrong with it counts.
    let forwarded = forwarded?;
    let why = match &forwarded {
        None => "the host has forwarded none".to_owned(),
        Some(standing) => {
            format!("the one that was forwarded stands for records up to {}", standing.through())
        }
    };
    let fits = |standing: &Standing| {
        let is_mine = life.incarnations.contains(&standing.head.incarnation);
        is_mine && standing.last() <= life.last() && follows(&standing.document.checkpoint)
    };
    if let Some(standing) = forwarded.filter(fits) {
        return Ok(Base::Forwarded(Box::new(standing)));
    }
    let missing: Vec<String> = life.gaps.iter().map(|gap| format!("{} to {}", gap.first, gap.last)).collect();
    Err(Report::new(ErrorCode::HistoryTrimmed, "not all that a journal needs was forwarded")
        .at(host)
        .got(format!("records {} are missing", missing.join(", ")))
        .limit(format!("a checkpoint that stands for them: {why}"))
        .hint("restore checkpoint and snapshots of its data directory from a copy: they stand for older records"))
}

/// The snapshots of a checkpoint that was forwarded, beside those that are there.
async fn fetch(options: &RebuildOptions<'_>, standing: &Standing) -> Result<(), Report> {
    let list = standing.document.list();
    checkpoint::check_list(&list.to_bytes().0)?;
    let store = SnapshotStore::begin_anew(options.data, options.snapshot_key.clone())?;
    standing.each(&mut |key, seq, bytes| Ok(store.save(key, seq.0, &bytes)?)).await
}

/// The records behind this one that can still be read on the disk, and how far the journal went at least.
///
/// # Errors
/// `E_CONFLICT`: the journal is healthy.
fn local(options: &RebuildOptions<'_>, behind: RecordSeq, life: &Life) -> Result<(Vec<Bytes>, u64), Report> {
    let known = match JournalMark::new(options.data).known() {
        Ok(known) => known,
        // It is not there at all.
        Err(JournalError::Lost { known, .. }) => return Ok((Vec::new(), known)),
        Err(error) => return Err(error.into()),
    };
    let files = std::fs::read_dir(options.data.path().join("journal"));
    if !files.is_ok_and(|mut files| files.next().is_some()) {
        return Ok((Vec::new(), known));
    }
    let (mut readable, mut chain, mut broken) = (Vec::new(), None::<Chain>, false);
    let opened = Journal::open(options.data, options.journal, &mut |at, entry| {
        let Ok(sealed) = Sealed::open(entry) else {
            broken = true;
            return;
        };
        let follows = chain.get_or_insert_with(|| copy::behind(&sealed)).offer(&sealed).is_ok();
        broken |= !follows || sealed.record().seq.0 != at;
        if !broken && sealed.record().seq > behind {
            readable.push(Bytes::copy_from_slice(sealed.bytes()));
        }
    });
    match opened {
        Ok((_, recovered)) if !broken && recovered.last >= known && recovered.last > 0 => Err(Report::new(
            ErrorCode::Conflict,
            "this host's journal is healthy: there is nothing to rebuild",
        )
        .at(options.data.path().display())
        .got(format!("it goes to record {}", recovered.last))
        .limit(format!("record {} was forwarded", life.last()))
        .hint("start the host")),
        Ok((_, recovered)) => Ok((readable, known.max(recovered.last))),
        Err(JournalError::Damaged { .. }) => Ok((readable, known)),
        Err(error) => Err(error.into()),
    }
}

fn write(journal: &Journal, entry: Bytes) -> Result<(), JournalError> {
    match journal.append(entry.clone(), Box::new(drop)) {
        // What waits is written by then.
        Err(JournalError::Busy) => journal.append_wait(entry).map(drop),
        other => other,
    }
}

/// Those of the disk that follow from what had arrived.
fn append_readable(
    journal: &Journal,
    (life, base): (&Life, &Base),
    readable: Vec<Bytes>,
) -> Result<u64, Report> {
    let mut chain = match base.checkpoint() {
        Some(checkpoint) if checkpoint.through > life.last() => Chain::from_checkpoint(SHARD, checkpoint),
        _ => life.chain().clone(),
    };
    let mut count = 0;
    for bytes in readable {
        let sealed = Sealed::open(bytes)?;
        if chain.offer(&sealed).is_err() {
            break;
        }
        write(journal, sealed.bytes().clone())?;
        count += 1;
    }
    Ok(count)
}

fn finish(
    options: &RebuildOptions<'_>,
    (journal, first, from_disk): (Journal, RecordSeq, u64),
    (base, known): (Base, u64),
) -> Result<Rebuilt, Report> {
    let directory = options.data.path();
    // Ends when everything is on disk, or could not be.
    drop(journal);
    let mut last = first.0 - 1;
    let anew = Journal::open_anew(options.data, options.journal, &mut |at, _| last = at)?;
    drop(anew);
    let mark = JournalMark::new(options.data);
    if known == 0 {
        // A crash from here on leaves no journal: then the next start does not begin another one.
        mark.save(last)?;
    }
    let aside = put(options, &base)?;
    mark.save(last)?;
    tracing::info!(directory = %directory.display(), last, "journal built anew");
    Ok(Rebuilt {
        first,
        last: RecordSeq(last),
        from_copy: (last + 1).saturating_sub(first.0).saturating_sub(from_disk),
        from_disk,
        stands: match base {
            Base::Nothing => Stands::Nothing,
            Base::Disk(_) => Stands::Disk,
            Base::Forwarded(_) => Stands::Forwarded,
        },
        lost_at_least: known.saturating_sub(last),
        aside,
    })
}

/// Puts it in place, with what stands for what is before it.
fn put(options: &RebuildOptions<'_>, base: &Base) -> Result<PathBuf, Report> {
    let checkpoints = CheckpointStore::new(options.data);
    let all = ["forwarded", "forwarded.previous", "checkpoint", "checkpoint.previous"];
    let others = if let Base::Disk(_) = base { all.split_at(2).0 } else { &all[..] };
    let files = match base {
        Base::Disk(base) => snapshots_of(options, &base.list)?,
        _ => Vec::new(),
    };
    let snapshots = match base {
        Base::Forwarded(_) => Snapshots::Anew,
        _ => Snapshots::Keep(&files),
    };
    let before = || match base {
        Base::Forwarded(standing) => {
            let document = &standing.document;
            let (list, _) = document.list().to_bytes();
            let saved = SavedCheckpoint::new(SHARD, (&document.checkpoint, &list), &document.timers, None);
            checkpoints.save(&saved)
        }
        _ => Ok(()),
    };
    let name = format!("set-aside-{}", options.now_ms);
    Ok(put_anew(options.data, (others, snapshots), &name, before)?)
}
