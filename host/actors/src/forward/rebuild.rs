//! A host's journal, built anew from what it had forwarded: for a host whose own is damaged or lost. An act of an
//! operator, with the host stopped.
//!
//! What comes back: every record that had arrived, and those that can still be read on the disk and follow from
//! them. What was acknowledged and is in neither is lost. Nothing is deleted: what was there is set aside.

use super::copy::{self, Copy, Life};
use crate::checkpoint::SavedCheckpoint;
use bytes::Bytes;
use host_store::journal::anew::put_anew;
use host_store::{
    CheckpointStore, DataDir, Journal, JournalError, JournalMark, JournalOptions, SnapshotKey, SnapshotStore,
};
use lattice_io::Lattice;
use lattice_journal::record::Checkpoint;
use lattice_journal::trim::SnapshotList;
use lattice_journal::{Chain, Hash, RecordSeq, Sealed, ShardId};
use lattice_protocol::subject::Subjects;
use lattice_protocol::{ErrorCode, HostId, Report};
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
    /// Records behind the last one that are known to have been there. More may have been acknowledged since the
    /// host was started last.
    pub lost_at_least: u64,
    /// Where what was there is now.
    pub aside: PathBuf,
}

/// What a checkpoint on the disk says, if it can be read.
struct Base {
    checkpoint: Checkpoint,
    list: SnapshotList,
}

/// What pass one has found in the lattice.
struct Arrived {
    copy: Copy,
    /// The hash of the record that the checkpoint ends with, as the copy has it.
    at_checkpoint: Option<Hash>,
}

fn base(data: &DataDir) -> Option<Base> {
    let saved = CheckpointStore::new(data).load::<SavedCheckpoint>();
    let saved = saved.inspect_err(|error| tracing::warn!(%error, "the checkpoint cannot be read")).ok()??;
    let (checkpoint, _, list, _) = saved.newest.open().ok()?;
    Some(Base { checkpoint, list })
}

/// Rebuilds it.
///
/// # Errors
/// `E_CONFLICT`: the journal is healthy. `E_NOT_FOUND`: nothing was forwarded. `E_HISTORY_TRIMMED`: not all that
/// it takes was. `E_DAMAGED`: what was forwarded does not hang together. In all of them nothing is changed.
pub async fn rebuild(
    lattice: &Lattice,
    subjects: &Subjects,
    options: RebuildOptions<'_>,
) -> Result<Rebuilt, Report> {
    let base = base(options.data);
    let arrived = look(lattice, subjects, options.host, base.as_ref()).await?;
    let Some(life) = arrived.copy.newest() else {
        return Err(Report::new(ErrorCode::NotFound, "nothing of this host's journal has been forwarded"));
    };
    let base = chosen(options.host, life, base, arrived.at_checkpoint)?;
    let first = base.as_ref().map_or(RecordSeq(1), |base| base.checkpoint.through.next());
    let (readable, known) = local(&options, life.last().max(RecordSeq(first.0 - 1)), life)?;
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
    let from_disk = append_readable(&journal, (life, base.as_ref()), readable)?;
    finish(&options, (journal, first, from_disk), (base, known))
}

async fn look(
    lattice: &Lattice,
    subjects: &Subjects,
    host: &HostId,
    base: Option<&Base>,
) -> Result<Arrived, Report> {
    let through = base.map(|base| base.checkpoint.through);
    let mut at: Option<(usize, Hash)> = None;
    let mut take = |life: usize, sealed: Sealed| {
        let record = sealed.record();
        if Some(record.seq) == through {
            at = Some((life, sealed.hash()));
        } else if through.is_some_and(|through| through.next() == record.seq) {
            at = Some((life, record.previous));
        }
    };
    let copy = copy::read(&*lattice.lanes, subjects, host, &mut take).await?;
    let at_checkpoint = at.filter(|(life, _)| life + 1 == copy.lives.len()).map(|(_, hash)| hash);
    Ok(Arrived { copy, at_checkpoint })
}

/// Does it begin behind the checkpoint that is on the disk, or with the first record?
fn chosen(
    host: &HostId,
    life: &Life,
    base: Option<Base>,
    at_checkpoint: Option<Hash>,
) -> Result<Option<Base>, Report> {
    let fits = base.filter(|base| {
        let Checkpoint { through, hash, .. } = base.checkpoint;
        let same = at_checkpoint == Some(hash) || through > life.last();
        same && life.gaps.iter().all(|gap| gap.last <= through)
    });
    if fits.is_some() || (life.first == RecordSeq(1) && life.gaps.is_empty()) {
        return Ok(fits);
    }
    let missing: Vec<String> = life.gaps.iter().map(|gap| format!("{} to {}", gap.first, gap.last)).collect();
    Err(Report::new(ErrorCode::HistoryTrimmed, "not all that a journal needs was forwarded")
        .at(host)
        .got(format!("records {} are missing", missing.join(", ")))
        .hint("restore checkpoint and snapshots of its data directory from a copy: they stand for older records"))
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
    (life, base): (&Life, Option<&Base>),
    readable: Vec<Bytes>,
) -> Result<u64, Report> {
    let mut chain = match base {
        Some(base) if base.checkpoint.through > life.last() => {
            Chain::from_checkpoint(SHARD, &base.checkpoint)
        }
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
    (base, known): (Option<Base>, u64),
) -> Result<Rebuilt, Report> {
    let directory = options.data.path();
    // Ends when everything is on disk, or could not be.
    drop(journal);
    let mut last = first.0 - 1;
    let anew = Journal::open_anew(options.data, options.journal, &mut |at, _| last = at)?;
    drop(anew);
    let mut others = vec!["forwarded", "forwarded.previous"];
    let mut snapshots = Vec::new();
    match &base {
        None => others.extend(["checkpoint", "checkpoint.previous"]),
        Some(base) => {
            let store = SnapshotStore::open(options.data, options.snapshot_key.clone())?;
            for wanted in base.list.iter() {
                let stored = store.list(&wanted.key)?.into_iter();
                snapshots.extend(
                    stored
                        .filter(|found| found.sequence == wanted.seq.0)
                        .map(|found| found.path().to_owned()),
                );
            }
        }
    }
    let aside = put_anew(options.data, &others, &snapshots, &format!("set-aside-{}", options.now_ms))?;
    JournalMark::new(options.data).save(last)?;
    tracing::info!(directory = %directory.display(), last, "journal built anew");
    Ok(Rebuilt {
        first,
        last: RecordSeq(last),
        from_copy: (last + 1).saturating_sub(first.0).saturating_sub(from_disk),
        from_disk,
        lost_at_least: known.saturating_sub(last),
        aside,
    })
}
