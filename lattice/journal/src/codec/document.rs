//! Documents of checkpoints, and packs of snapshots, as bytes.

use super::snapshot::{MAX_LIST, map};
use super::{Format, Reader, Writer, commit};
use crate::document::{Document, MAX_MILESTONES, Milestone, Pack, Place};
use crate::error::DecodeError;
use crate::ids::{ActorSeq, Epoch, Hash, Position, RecordSeq, ShardId};
use crate::ledger::Timer;
use crate::places::Places;
use crate::record::Checkpoint;
use bytes::Bytes;
use keys::Digest;

const DOCUMENT: Format = Format { what: "checkpoint document", magic: *b"TJD", version: 1 };
const PACK: Format = Format { what: "pack of snapshots", magic: *b"TJP", version: 1 };

pub(crate) fn write(document: &Document) -> Bytes {
    let mut writer = Writer::new(&DOCUMENT);
    writer.number(document.shard.0.into());
    writer.number(document.epoch.0);
    write_checkpoint(&mut writer, &document.checkpoint);
    writer.number(document.position.0);
    writer.number(document.at_ms);
    writer.count(document.places.runs().len());
    for (seq, position) in document.places.runs() {
        writer.number(seq.0);
        writer.number(position.0);
    }
    writer.count(document.timers.len());
    for (key, name, timer) in &document.timers {
        writer.key(key);
        writer.bytes(name.as_bytes());
        writer.number(timer.due_ms);
        writer.number(u64::from(timer.misfire == crate::commit::Misfire::Skip));
        writer.bytes(timer.command.as_bytes());
        writer.bytes(&timer.body);
    }
    writer.count(document.packs.len());
    for (pack, count) in &document.packs {
        writer.raw(pack.as_bytes());
        writer.number((*count).into());
    }
    writer.count(document.snapshots.len());
    for (key, place) in &document.snapshots {
        writer.key(key);
        writer.number(place.seq.0);
        writer.raw(&place.hash.0);
        writer.number(place.pack.into());
        writer.number(place.index.into());
    }
    writer.count(document.milestones.len());
    for one in &document.milestones {
        writer.number(one.through.0);
        writer.number(one.position.0);
        writer.number(one.at_ms);
        writer.raw(one.document.as_bytes());
        write_digests(&mut writer, &one.packs);
    }
    writer.seal().0
}

pub(crate) fn read(bytes: Bytes) -> Result<Document, DecodeError> {
    let (mut reader, _) = Reader::open(&DOCUMENT, bytes)?;
    let reader = &mut reader;
    let (shard, epoch) = (ShardId(reader.small()?), Epoch(reader.number()?));
    let checkpoint = read_checkpoint(reader)?;
    let (position, at_ms) = (Position(reader.number()?), reader.number()?);
    let places = map(reader, ("runs of records", Places::MAX_RUNS), |reader| {
        Ok((RecordSeq(reader.number()?), Position(reader.number()?)))
    })?;
    let timers = list(reader, ("timers", MAX_LIST), |reader| {
        let (key, name) = (reader.key()?, reader.text()?.into());
        let (due_ms, misfire) = (reader.number()?, commit::read_misfire(reader)?);
        let (command, body) = (reader.text()?.into(), reader.bytes()?);
        Ok((key, name, Timer { due_ms, misfire, command, body }))
    })?;
    let packs = list(reader, ("packs", MAX_LIST), |reader| {
        Ok((Digest::from_bytes(reader.array()?), reader.small()?))
    })?;
    let snapshots = map(reader, ("snapshots", MAX_LIST), |reader| {
        let (key, seq, hash) = (reader.key()?, ActorSeq(reader.number()?), Hash(reader.array()?));
        Ok((key, Place { seq, hash, pack: reader.small()?, index: reader.small()? }))
    })?;
    let milestones = list(reader, ("milestones", MAX_MILESTONES), |reader| {
        Ok(Milestone {
            through: RecordSeq(reader.number()?),
            position: Position(reader.number()?),
            at_ms: reader.number()?,
            document: Digest::from_bytes(reader.array()?),
            packs: read_digests(reader)?,
        })
    })?;
    reader.finish()?;
    let places = Places::from_runs(places);
    let document =
        Document { shard, epoch, checkpoint, position, at_ms, places, timers, packs, snapshots, milestones };
    let in_packs = |place: &Place| {
        place.is_tombstone() || usize::try_from(place.pack).is_ok_and(|at| at < document.packs.len())
    };
    if document.list().to_bytes().1 != document.checkpoint.list || !document.snapshots.values().all(in_packs)
    {
        return Err(reader.invalid("snapshots that its checkpoint does not name"));
    }
    Ok(document)
}

pub(super) fn write_checkpoint(writer: &mut Writer, checkpoint: &Checkpoint) {
    writer.number(checkpoint.through.0);
    writer.raw(&checkpoint.hash.0);
    writer.number(checkpoint.epoch.0);
    writer.number(checkpoint.snapshots);
    writer.raw(&checkpoint.list.0);
}

pub(super) fn read_checkpoint(reader: &mut Reader) -> Result<Checkpoint, DecodeError> {
    Ok(Checkpoint {
        through: RecordSeq(reader.number()?),
        hash: Hash(reader.array()?),
        epoch: Epoch(reader.number()?),
        snapshots: reader.number()?,
        list: Hash(reader.array()?),
        kept: None,
    })
}

fn write_digests(writer: &mut Writer, digests: &[Digest]) {
    writer.count(digests.len());
    digests.iter().for_each(|digest| writer.raw(digest.as_bytes()));
}

fn read_digests(reader: &mut Reader) -> Result<Vec<Digest>, DecodeError> {
    list(reader, ("packs", MAX_LIST), |reader| Ok(Digest::from_bytes(reader.array()?)))
}

fn list<T>(
    reader: &mut Reader,
    (what, limit): (&'static str, usize),
    mut entry: impl FnMut(&mut Reader) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    (0..reader.count(what, limit)?).map(|_| entry(reader)).collect()
}

pub(crate) fn write_pack(pack: &Pack) -> Bytes {
    let mut writer = Writer::new(&PACK);
    writer.number(pack.shard.0.into());
    writer.number(pack.epoch.0);
    writer.number(pack.number);
    writer.count(pack.snapshots.len());
    pack.snapshots.iter().for_each(|snapshot| writer.bytes(snapshot));
    writer.seal().0
}

pub(crate) fn read_pack(bytes: Bytes) -> Result<Pack, DecodeError> {
    let (mut reader, _) = Reader::open(&PACK, bytes)?;
    let (shard, epoch) = (ShardId(reader.small()?), Epoch(reader.number()?));
    let number = reader.number()?;
    let snapshots = list(&mut reader, ("snapshots", Pack::MAX), Reader::bytes)?;
    reader.finish()?;
    Ok(Pack { shard, epoch, number, snapshots })
}
