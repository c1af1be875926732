//! What a host keeps of trimmed history beside the snapshots: the checkpoint that the kept records
//! follow from, the list of snapshots, and the timers that were set in it. One small file, replaced
//! before anything is trimmed.

use crate::index::Schedule;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use lattice_journal::commit::Misfire;
use lattice_journal::ledger::Timer;
use lattice_journal::record::Checkpoint;
use lattice_journal::trim::SnapshotList;
use lattice_journal::{Chain, RecordSeq, ShardId};
use lattice_protocol::{EntityKey, ErrorCode, Report};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A timer as the file has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SavedTimer {
    key: String,
    name: String,
    due_ms: u64,
    skip: bool,
    command: String,
    body: String,
}

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SavedCheckpoint {
    checkpoint: String,
    list: String,
    timers: Vec<SavedTimer>,
    /// The last record that deleted an actor, while a file may have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tombstone: Option<u64>,
}

/// Largest list of snapshots that the file can hold, bytes.
const MAX_LIST_BYTES: usize = 512 << 20;

/// Does the file hold it?
///
/// # Errors
/// `E_LIMIT`.
pub(crate) fn check_list(list: &Bytes) -> Result<(), Report> {
    if list.len() <= MAX_LIST_BYTES {
        return Ok(());
    }
    Err(Report::new(ErrorCode::Limit, "too many actors for a checkpoint")
        .got(list.len())
        .limit(MAX_LIST_BYTES))
}

fn damaged(what: impl std::fmt::Display) -> Report {
    Report::new(ErrorCode::Damaged, format!("checkpoint: {what}"))
        .hint("restore the host's data directory from a copy; without it trimmed history cannot be trusted")
}

fn read(text: &str) -> Result<Bytes, Report> {
    BASE64.decode(text).map(Bytes::from).map_err(damaged)
}

fn saved((key, name, timer): &(EntityKey, Arc<str>, Timer)) -> SavedTimer {
    SavedTimer {
        key: key.to_string(),
        name: name.to_string(),
        due_ms: timer.due_ms,
        skip: timer.misfire == Misfire::Skip,
        command: timer.command.to_string(),
        body: BASE64.encode(&timer.body),
    }
}

impl SavedCheckpoint {
    /// To be written: the checkpoint, its list of snapshots, and the timers that run; and the last record that
    /// deleted an actor, while a file may have it.
    #[must_use]
    pub fn new(
        shard: ShardId,
        (checkpoint, list): (&Checkpoint, &Bytes),
        timers: &[(EntityKey, Arc<str>, Timer)],
        purge: Option<RecordSeq>,
    ) -> Self {
        Self {
            checkpoint: BASE64.encode(checkpoint.to_bytes(shard)),
            list: BASE64.encode(list),
            timers: timers.iter().map(saved).collect(),
            tombstone: purge.map(|record| record.0),
        }
    }

    /// The last record that deleted an actor, if what was before it had not left the disk.
    #[must_use]
    pub fn tombstone(&self) -> Option<RecordSeq> {
        self.tombstone.map(RecordSeq)
    }

    /// The chain behind it, the snapshots that stand for what is gone, the timers set there.
    ///
    /// # Errors
    /// `E_DAMAGED`.
    pub fn open(&self) -> Result<(Checkpoint, Chain, SnapshotList, Schedule), Report> {
        let (shard, checkpoint) = Checkpoint::from_bytes(read(&self.checkpoint)?).map_err(damaged)?;
        let (list, hash) = SnapshotList::from_bytes(read(&self.list)?).map_err(damaged)?;
        if hash != checkpoint.list {
            return Err(damaged(format!("its list of snapshots is {hash}, not {}", checkpoint.list)));
        }
        let mut schedule = Schedule::default();
        for timer in &self.timers {
            let key: EntityKey = timer.key.parse().map_err(damaged)?;
            let misfire = if timer.skip { Misfire::Skip } else { Misfire::FireLate };
            let (due_ms, command, body) = (timer.due_ms, timer.command.as_str().into(), read(&timer.body)?);
            schedule.set(key, timer.name.as_str().into(), Timer { due_ms, misfire, command, body });
        }
        let chain = Chain::from_checkpoint(shard, &checkpoint);
        Ok((checkpoint, chain, list, schedule))
    }
}
