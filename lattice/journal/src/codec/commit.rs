//! Commits, events and effects as bytes.

use super::{Reader, Writer};
use crate::command::{CommandId, CommandRef};
use crate::commit::{Commit, Effect, Event, MAX_EFFECTS, MAX_EVENTS, Misfire};
use crate::error::DecodeError;
use crate::hlc::Hlc;
use crate::ids::ActorSeq;

/// Times of one record lie close together: each is written as its distance from the one before.
fn write_time(writer: &mut Writer, time: Hlc, base: &mut u64) {
    writer.signed(time.wall_ms.wrapping_sub(*base).cast_signed());
    writer.number(time.counter.into());
    *base = time.wall_ms;
}

fn read_time(reader: &mut Reader, base: &mut u64) -> Result<Hlc, DecodeError> {
    let wall_ms = base.wrapping_add(reader.signed()?.cast_unsigned());
    *base = wall_ms;
    Ok(Hlc { wall_ms, counter: reader.small()? })
}

pub(crate) fn write_reference(writer: &mut Writer, reference: &CommandRef) {
    match reference {
        CommandRef::Id(id) => {
            writer.number(0);
            writer.raw(id.as_bytes());
        }
        CommandRef::Sent { from, sequence } => {
            writer.number(1);
            writer.key(from);
            writer.number(*sequence);
        }
        CommandRef::Timer { name, due_ms } => {
            writer.number(2);
            writer.name(name);
            writer.number(*due_ms);
        }
        CommandRef::Answer { seq, index } => {
            writer.number(3);
            writer.number(seq.0);
            writer.number((*index).into());
        }
    }
}

pub(crate) fn read_id(reader: &mut Reader) -> Result<CommandId, DecodeError> {
    let bytes = reader.array()?;
    CommandId::from_bytes(bytes).ok_or_else(|| reader.invalid("command id that is no UUIDv7"))
}

pub(crate) fn read_reference(reader: &mut Reader) -> Result<CommandRef, DecodeError> {
    match reader.number()? {
        0 => Ok(CommandRef::Id(read_id(reader)?)),
        1 => Ok(CommandRef::Sent { from: reader.key()?, sequence: reader.number()? }),
        2 => Ok(CommandRef::Timer { name: reader.name()?, due_ms: reader.number()? }),
        3 => Ok(CommandRef::Answer { seq: ActorSeq(reader.number()?), index: reader.small()? }),
        tag => Err(reader.unknown("command reference", tag)),
    }
}

/// Appends a commit; `base` is the wall time of the one before it in the record, 0 for the first.
pub(crate) fn write(writer: &mut Writer, commit: &Commit, base: &mut u64) {
    writer.key(&commit.key);
    writer.number(commit.seq.0);
    writer.raw(&commit.previous);
    write_reference(writer, &commit.command);
    writer.raw(&commit.command_digest);
    write_time(writer, commit.hlc, base);
    writer.digest(&commit.component);
    writer.count(commit.events.len());
    for event in &commit.events {
        writer.name(&event.name);
        writer.number(event.version.into());
        writer.bytes(&event.payload);
    }
    writer.count(commit.effects.len());
    for effect in &commit.effects {
        write_effect(writer, effect);
    }
    writer.bytes(&commit.reply);
}

pub(crate) fn read(reader: &mut Reader, base: &mut u64) -> Result<Commit, DecodeError> {
    let key = reader.key()?;
    let seq = ActorSeq(reader.number()?);
    let previous = reader.array()?;
    let command = read_reference(reader)?;
    let command_digest = reader.array()?;
    let hlc = read_time(reader, base)?;
    let component = reader.digest()?;
    let mut events = Vec::new();
    for _ in 0..reader.count("events", MAX_EVENTS)? {
        let (name, version) = (reader.name()?, reader.small()?);
        events.push(Event { name, version, payload: reader.bytes()? });
    }
    let mut effects = Vec::new();
    for _ in 0..reader.count("effects", MAX_EFFECTS)? {
        effects.push(read_effect(reader)?);
    }
    let reply = reader.bytes()?;
    Ok(Commit { key, seq, previous, command, command_digest, hlc, component, events, effects, reply })
}

fn write_effect(writer: &mut Writer, effect: &Effect) {
    match effect {
        Effect::Send { to, sequence, name, body } => {
            writer.number(1);
            writer.key(to);
            writer.number(*sequence);
            writer.name(name);
            writer.bytes(body);
        }
        Effect::Publish { link, subject, body } => {
            writer.number(2);
            writer.name(link);
            writer.name(subject);
            writer.bytes(body);
        }
        Effect::Call { link, function, body, answer } => {
            writer.number(3);
            writer.name(link);
            writer.name(function);
            writer.bytes(body);
            writer.name(answer);
        }
        Effect::TimerSet { name, due_ms, misfire, command, body } => {
            writer.number(4);
            writer.name(name);
            writer.number(*due_ms);
            writer.number(u64::from(*misfire == Misfire::Skip));
            writer.name(command);
            writer.bytes(body);
        }
        Effect::TimerCancel { name } => {
            writer.number(5);
            writer.name(name);
        }
        Effect::Crdt { name, delta } => {
            writer.number(6);
            writer.name(name);
            writer.bytes(delta);
        }
        Effect::SnapshotNow => writer.number(7),
        Effect::Passivate => writer.number(8),
        Effect::Stop => writer.number(9),
        Effect::Delete => writer.number(10),
    }
}

pub(crate) fn read_misfire(reader: &mut Reader) -> Result<Misfire, DecodeError> {
    match reader.number()? {
        0 => Ok(Misfire::FireLate),
        1 => Ok(Misfire::Skip),
        tag => Err(reader.unknown("misfire policy", tag)),
    }
}

fn read_effect(reader: &mut Reader) -> Result<Effect, DecodeError> {
    Ok(match reader.number()? {
        1 => Effect::Send {
            to: reader.key()?,
            sequence: reader.number()?,
            name: reader.name()?,
            body: reader.bytes()?,
        },
        2 => Effect::Publish { link: reader.name()?, subject: reader.name()?, body: reader.bytes()? },
        3 => Effect::Call {
            link: reader.name()?,
            function: reader.name()?,
            body: reader.bytes()?,
            answer: reader.name()?,
        },
        4 => Effect::TimerSet {
            name: reader.name()?,
            due_ms: reader.number()?,
            misfire: read_misfire(reader)?,
            command: reader.name()?,
            body: reader.bytes()?,
        },
        5 => Effect::TimerCancel { name: reader.name()? },
        6 => Effect::Crdt { name: reader.name()?, delta: reader.bytes()? },
        7 => Effect::SnapshotNow,
        8 => Effect::Passivate,
        9 => Effect::Stop,
        10 => Effect::Delete,
        tag => return Err(reader.unknown("effect", tag)),
    })
}
