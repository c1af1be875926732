//! Snapshots, lists of snapshots and signed checkpoints as bytes.

use super::{Format, Reader, Writer, commit, document};
use crate::dedupe::{Dedupe, First, MAX_IDS, MAX_SENDERS};
use crate::error::{DecodeError, EncodeError};
use crate::hlc::Hlc;
use crate::ids::{ActorSeq, Hash, RecordSeq, ShardId};
use crate::ledger::{Ledger, MAX_CALLS, MAX_TARGETS, MAX_TIMERS, Timer};
use crate::record::Checkpoint;
use crate::snapshot::{MAX_SNAPSHOT_BYTES, Snapshot};
use bytes::Bytes;
use lattice_protocol::EntityKey;
use std::collections::{BTreeMap, BTreeSet};

const SNAPSHOT: Format = Format { what: "snapshot", magic: *b"TJS", version: 1 };
const LIST: Format = Format { what: "list of snapshots", magic: *b"TJL", version: 1 };
const CHECKPOINT: Format = Format { what: "checkpoint", magic: *b"TJC", version: 1 };

/// Most snapshots of one list: the actors of one shard.
pub(super) const MAX_LIST: usize = 10_000_000;

pub(crate) fn seal(snapshot: &Snapshot) -> Result<(Bytes, Hash), EncodeError> {
    let mut writer = Writer::new(&SNAPSHOT);
    writer.number(snapshot.shard.0.into());
    writer.number(snapshot.record.0);
    writer.digest(&snapshot.component);
    writer.number(snapshot.state_version.into());
    write_ledger(&mut writer, &snapshot.ledger);
    writer.bytes(&snapshot.state);
    let (bytes, hash) = writer.seal();
    if bytes.len() > MAX_SNAPSHOT_BYTES {
        let (got, limit) = (bytes.len(), MAX_SNAPSHOT_BYTES);
        return Err(EncodeError::TooLarge { what: "snapshot", got, limit });
    }
    Ok((bytes, hash))
}

pub(crate) fn open(bytes: Bytes) -> Result<(Snapshot, Hash), DecodeError> {
    if bytes.len() > MAX_SNAPSHOT_BYTES {
        let (got, limit) = (bytes.len() as u64, MAX_SNAPSHOT_BYTES as u64);
        return Err(DecodeError::Limit { what: "bytes", got, limit, offset: 0 });
    }
    let (mut reader, hash) = Reader::open(&SNAPSHOT, bytes)?;
    let (shard, record) = (ShardId(reader.small()?), RecordSeq(reader.number()?));
    let (component, state_version) = (reader.digest()?, reader.small()?);
    let ledger = read_ledger(&mut reader)?;
    let state = reader.bytes()?;
    reader.finish()?;
    Ok((Snapshot { shard, record, component, state_version, state, ledger }, hash))
}

fn write_ledger(writer: &mut Writer, ledger: &Ledger) {
    writer.key(&ledger.key);
    writer.number(ledger.seq.0);
    writer.raw(&ledger.history.0);
    writer.number(ledger.hlc.wall_ms);
    writer.number(ledger.hlc.counter.into());
    writer.number(match (ledger.deleted, ledger.stopped) {
        (true, _) => 2,
        (false, stopped) => stopped.into(),
    });
    write_dedupe(writer, &ledger.dedupe);
    writer.count(ledger.sent.len());
    for (to, sequence) in &ledger.sent {
        writer.key(to);
        writer.number(*sequence);
    }
    writer.count(ledger.timers.len());
    for (name, timer) in &ledger.timers {
        writer.bytes(name.as_bytes());
        writer.number(timer.due_ms);
        writer.number(u64::from(timer.misfire == crate::commit::Misfire::Skip));
        writer.name(&timer.command);
        writer.bytes(&timer.body);
    }
    writer.count(ledger.calls.len());
    for (seq, index) in &ledger.calls {
        writer.number(seq.0);
        writer.number((*index).into());
    }
}

fn read_ledger(reader: &mut Reader) -> Result<Ledger, DecodeError> {
    let mut ledger = Ledger::new(reader.key()?);
    ledger.seq = ActorSeq(reader.number()?);
    ledger.history = Hash(reader.array()?);
    ledger.hlc = Hlc { wall_ms: reader.number()?, counter: reader.small()? };
    (ledger.stopped, ledger.deleted) = match reader.number()? {
        0 => (false, false),
        1 => (true, false),
        2 => (true, true),
        _ => return Err(reader.invalid("neither stopped nor not")),
    };
    ledger.dedupe = read_dedupe(reader)?;
    ledger.sent =
        map(reader, ("actors sent to", MAX_TARGETS), |reader| Ok((reader.key()?, reader.number()?)))?;
    ledger.timers = map(reader, ("timers", MAX_TIMERS), |reader| {
        let name = reader.text()?.into();
        let (due_ms, misfire) = (reader.number()?, commit::read_misfire(reader)?);
        Ok((name, Timer { due_ms, misfire, command: reader.name()?, body: reader.bytes()? }))
    })?;
    let calls: BTreeMap<_, ()> =
        map(reader, ("calls", MAX_CALLS), |reader| Ok(((ActorSeq(reader.number()?), reader.small()?), ())))?;
    ledger.calls = calls.into_keys().collect::<BTreeSet<_>>();
    Ok(ledger)
}

/// Keys in ascending order, each once: one map has one encoding.
pub(super) fn map<K: Ord + Clone, V>(
    reader: &mut Reader,
    (what, limit): (&'static str, usize),
    mut entry: impl FnMut(&mut Reader) -> Result<(K, V), DecodeError>,
) -> Result<BTreeMap<K, V>, DecodeError> {
    let mut entries = BTreeMap::new();
    let mut last: Option<K> = None;
    for _ in 0..reader.count(what, limit)? {
        let (key, value) = entry(reader)?;
        if last.as_ref().is_some_and(|last| *last >= key) {
            return Err(reader.invalid("entries out of order"));
        }
        last = Some(key.clone());
        entries.insert(key, value);
    }
    Ok(entries)
}

fn write_dedupe(writer: &mut Writer, dedupe: &Dedupe) {
    writer.count(dedupe.ids.len());
    for (id, first) in dedupe.ids.iter() {
        writer.raw(id.as_bytes());
        write_first(writer, first);
    }
    writer.number(dedupe.floor.is_some().into());
    if let Some(floor) = &dedupe.floor {
        writer.raw(floor.as_bytes());
    }
    writer.count(dedupe.senders.len());
    for (from, (sequence, first)) in &dedupe.senders {
        writer.key(from);
        writer.number(*sequence);
        write_first(writer, first);
    }
}

fn read_dedupe(reader: &mut Reader) -> Result<Dedupe, DecodeError> {
    let ids =
        map(reader, ("command ids", MAX_IDS), |reader| Ok((commit::read_id(reader)?, read_first(reader)?)))?;
    let floor = match reader.number()? {
        0 => None,
        1 => Some(commit::read_id(reader)?),
        _ => return Err(reader.invalid("neither a floor nor none")),
    };
    let senders = map(reader, ("senders", MAX_SENDERS), |reader| {
        Ok((reader.key()?, (reader.number()?, read_first(reader)?)))
    })?;
    Ok(Dedupe::from_parts(ids, floor, senders))
}

fn write_first(writer: &mut Writer, first: &First) {
    writer.number(first.seq.0);
    writer.raw(&first.digest);
    writer.bytes(&first.reply);
}

fn read_first(reader: &mut Reader) -> Result<First, DecodeError> {
    Ok(First { seq: ActorSeq(reader.number()?), digest: reader.array()?, reply: reader.bytes()? })
}

/// By actor, the last commit in its snapshot, and its hash.
pub(crate) type List = BTreeMap<EntityKey, (ActorSeq, Hash)>;

/// The list must be ascending; [`read_list`] refuses any other.
pub(crate) fn write_list(list: &List) -> (Bytes, Hash) {
    let mut writer = Writer::new(&LIST);
    writer.count(list.len());
    for (key, (seq, hash)) in list {
        writer.key(key);
        writer.number(seq.0);
        writer.raw(&hash.0);
    }
    writer.seal()
}

pub(crate) fn read_list(bytes: Bytes) -> Result<(List, Hash), DecodeError> {
    let (mut reader, hash) = Reader::open(&LIST, bytes)?;
    let list = map(&mut reader, ("snapshots", MAX_LIST), |reader| {
        Ok((reader.key()?, (ActorSeq(reader.number()?), Hash(reader.array()?))))
    })?;
    reader.finish()?;
    Ok((list, hash))
}

pub(crate) fn write_checkpoint(shard: ShardId, checkpoint: &Checkpoint) -> Bytes {
    let mut writer = Writer::new(&CHECKPOINT);
    writer.number(shard.0.into());
    document::write_checkpoint(&mut writer, checkpoint);
    writer.seal().0
}

pub(crate) fn read_checkpoint(bytes: Bytes) -> Result<(ShardId, Checkpoint), DecodeError> {
    let (mut reader, _) = Reader::open(&CHECKPOINT, bytes)?;
    let shard = ShardId(reader.small()?);
    let checkpoint = document::read_checkpoint(&mut reader)?;
    reader.finish()?;
    Ok((shard, checkpoint))
}
