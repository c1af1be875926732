//! Records as bytes.

use super::{Format, Reader, Writer, commit, document};
use crate::error::{DecodeError, EncodeError};
use crate::ids::{Epoch, Hash, Position, RecordSeq, ShardId};
use crate::outbox::OutboxPosition;
use crate::record::{Body, Kept, MAX_COMMITS, MAX_RECORD_BYTES, Record, Sealed, SessionId};
use bytes::Bytes;
use keys::Digest;
use std::sync::Arc;

const FORMAT: Format = Format { what: "record", magic: *b"TRJ", version: 1 };

const EPOCH_OPENED: u64 = 1;
const COMMITS: u64 = 2;
const CHECKPOINT: u64 = 3;
const KEPT: u64 = 4;

pub(crate) fn seal(record: Record) -> Result<Sealed, EncodeError> {
    let count = record.commits().len();
    if count > MAX_COMMITS {
        return Err(EncodeError::TooLarge { what: "commits of one record", got: count, limit: MAX_COMMITS });
    }
    let mut writer = Writer::new(&FORMAT);
    writer.number(record.shard.0.into());
    writer.number(record.seq.0);
    writer.number(record.epoch.0);
    writer.raw(&record.previous.0);
    write_body(&mut writer, &record.body);
    let (bytes, hash) = writer.seal();
    if bytes.len() > MAX_RECORD_BYTES {
        return Err(EncodeError::TooLarge { what: "record", got: bytes.len(), limit: MAX_RECORD_BYTES });
    }
    Ok(Sealed { record: Arc::new(record), bytes, hash })
}

fn write_body(writer: &mut Writer, body: &Body) {
    match body {
        Body::EpochOpened { owner } => {
            writer.number(EPOCH_OPENED);
            writer.bytes(owner.as_str().as_bytes());
        }
        Body::Commits { relayed, commits } => {
            writer.number(COMMITS);
            write_relayed(writer, relayed.as_ref());
            writer.count(commits.len());
            let mut base = 0;
            for commit in commits {
                commit::write(writer, commit, &mut base);
            }
        }
        Body::Checkpoint(checkpoint) => {
            writer.number(if checkpoint.kept.is_some() { KEPT } else { CHECKPOINT });
            document::write_checkpoint(writer, checkpoint);
            if let Some(kept) = &checkpoint.kept {
                writer.raw(kept.document.as_bytes());
                writer.number(kept.position.0);
            }
        }
    }
}

fn write_relayed(writer: &mut Writer, relayed: Option<&OutboxPosition>) {
    match relayed {
        None => writer.number(0),
        Some(position) => {
            writer.number(1);
            writer.number(position.record.0);
            writer.number(position.index.into());
        }
    }
}

pub(crate) fn open(bytes: Bytes) -> Result<Sealed, DecodeError> {
    if bytes.len() > MAX_RECORD_BYTES {
        let (got, limit) = (bytes.len() as u64, MAX_RECORD_BYTES as u64);
        return Err(DecodeError::Limit { what: "bytes", got, limit, offset: 0 });
    }
    let (mut reader, hash) = Reader::open(&FORMAT, bytes.clone())?;
    let shard = ShardId(reader.small()?);
    let (seq, epoch) = (RecordSeq(reader.number()?), Epoch(reader.number()?));
    let previous = Hash(reader.array()?);
    let body = read_body(&mut reader)?;
    reader.finish()?;
    Ok(Sealed { record: Arc::new(Record { shard, seq, previous, epoch, body }), bytes, hash })
}

fn read_body(reader: &mut Reader) -> Result<Body, DecodeError> {
    match reader.number()? {
        EPOCH_OPENED => {
            let owner = SessionId::from_text(&reader.text()?);
            Ok(Body::EpochOpened { owner: owner.ok_or_else(|| reader.invalid("bad session"))? })
        }
        COMMITS => {
            let relayed = read_relayed(reader)?;
            let mut commits = Vec::new();
            let mut base = 0;
            for _ in 0..reader.count("commits", MAX_COMMITS)? {
                commits.push(commit::read(reader, &mut base)?);
            }
            Ok(Body::Commits { relayed, commits })
        }
        CHECKPOINT => Ok(Body::Checkpoint(document::read_checkpoint(reader)?)),
        KEPT => {
            let mut checkpoint = document::read_checkpoint(reader)?;
            let (document, position) = (Digest::from_bytes(reader.array()?), Position(reader.number()?));
            checkpoint.kept = Some(Kept { document, position });
            Ok(Body::Checkpoint(checkpoint))
        }
        tag => Err(reader.unknown("kind of record", tag)),
    }
}

fn read_relayed(reader: &mut Reader) -> Result<Option<OutboxPosition>, DecodeError> {
    match reader.number()? {
        0 => Ok(None),
        1 => Ok(Some(OutboxPosition { record: RecordSeq(reader.number()?), index: reader.small()? })),
        tag => Err(reader.unknown("relay position", tag)),
    }
}
