//! Between the world's values and the journal's.

use super::bindings::types;
use bytes::Bytes;
use host_core::guest::Turn;
use lattice_journal::{Command, Decision, Effect, Event, commit::Misfire};
use lattice_protocol::{EntityKey, ErrorCode, Report};

pub(super) fn event(event: &Event) -> types::Event {
    types::Event {
        name: event.name.as_ref().to_owned(),
        version: event.version,
        payload: event.payload.to_vec(),
    }
}

pub(super) fn command(command: &Command) -> types::Command {
    types::Command { name: command.name.clone(), body: command.body.to_vec() }
}

pub(super) fn turn(turn: Turn) -> types::Turn {
    types::Turn {
        now_ms: turn.now_ms,
        seq: turn.seq,
        seed: turn.seed,
        command_id: turn.command_id,
        sender: turn.sender.map(|sender| sender.to_string()),
    }
}

/// The actor's own no. Its code for programs is what was got.
pub(super) fn refusal(refusal: types::Refusal) -> Report {
    let cut = |text: String, most: usize| -> String { text.chars().take(most).collect() };
    let report = Report::new(ErrorCode::Guest, cut(refusal.message, 2_000));
    if refusal.code.is_empty() { report } else { report.got(cut(refusal.code, 80)) }
}

/// A decision as the journal takes it.
///
/// # Errors
/// `E_NAME`: it names an actor that cannot be.
pub(super) fn decision(decision: types::Decision) -> Result<Decision, Report> {
    let events = decision.events.into_iter().map(|event| Event {
        name: event.name.into(),
        version: event.version,
        payload: event.payload.into(),
    });
    Ok(Decision {
        events: events.collect(),
        effects: decision.effects.into_iter().map(effect).collect::<Result<_, _>>()?,
        reply: decision.reply.into(),
    })
}

fn effect(effect: types::Effect) -> Result<Effect, Report> {
    Ok(match effect {
        types::Effect::Send(send) => Effect::Send {
            to: send.to.parse::<EntityKey>().map_err(|error| Report::from(error).at("effect send"))?,
            sequence: 0,
            name: send.command.name.into(),
            body: send.command.body.into(),
        },
        types::Effect::Publish(publish) => Effect::Publish {
            link: publish.link.into(),
            subject: publish.subject.into(),
            body: publish.body.into(),
        },
        types::Effect::Call(call) => Effect::Call {
            link: call.link.into(),
            function: call.function.into(),
            body: call.body.into(),
            answer: call.answer.into(),
        },
        types::Effect::TimerSet(timer) => Effect::TimerSet {
            name: timer.name.into(),
            due_ms: timer.due_ms,
            misfire: match timer.misfire {
                types::Misfire::FireLate => Misfire::FireLate,
                types::Misfire::Skip => Misfire::Skip,
            },
            command: timer.command.name.into(),
            body: timer.command.body.into(),
        },
        types::Effect::TimerCancel(name) => Effect::TimerCancel { name: name.into() },
        types::Effect::SnapshotNow => Effect::SnapshotNow,
        types::Effect::Passivate => Effect::Passivate,
        types::Effect::Stop => Effect::Stop,
    })
}

pub(super) fn reply(reply: Result<Vec<u8>, types::Refusal>) -> Result<Bytes, Report> {
    reply.map(Bytes::from).map_err(refusal)
}
