//! Each actor's commits by themselves, and against what its clients were told.

use super::chain::{Stored, Truth};
use super::clients::{Clients, Command};
use crate::finding::{Kind, Verdict};
use bytes::Bytes;
use lattice_journal::{CommandRef, Effect, Hash, command};
use std::collections::BTreeMap;

pub(super) fn check(truth: &Truth, clients: &Clients, verdict: &mut Verdict) {
    let sent = sends(truth);
    for (actor, commits) in &truth.actors {
        follow(actor, commits, verdict);
        doubled(actor, commits, verdict);
        for stored in commits {
            expected(actor, stored, commits, clients, &sent, verdict);
        }
    }
    for (actor, commands) in clients.by_actor() {
        let commits = truth.actors.get(actor).map(Vec::as_slice).unwrap_or_default();
        acknowledged(actor, &commands, commits, verdict);
    }
}

/// Numbers without a gap, and a hash that follows.
fn follow(actor: &str, commits: &[Stored], verdict: &mut Verdict) {
    let mut history = Hash::ZERO;
    for (expected, stored) in (1..).zip(commits) {
        let commit = &stored.commit;
        if commit.seq.0 != expected {
            let text = format!("commit {} in place {expected}", commit.seq);
            verdict.add(Kind::SequenceGap, actor, text);
        }
        if commit.previous != history.short() {
            let text = format!("commit {} does not follow from the commits before it", commit.seq);
            verdict.add(Kind::HistoryBroken, actor, text);
        }
        history = commit.extend(&history);
    }
}

/// One command, one commit.
fn doubled(actor: &str, commits: &[Stored], verdict: &mut Verdict) {
    let mut first: BTreeMap<&CommandRef, u64> = BTreeMap::new();
    for stored in commits {
        let commit = &stored.commit;
        if let Some(before) = first.insert(&commit.command, commit.seq.0) {
            let text = format!("{} in commit {before} and in commit {}", commit.command, commit.seq);
            verdict.add(Kind::Doubled, actor, text);
        }
    }
}

/// What actors have sent each other: by sender, receiver and number.
type Sends<'a> = BTreeMap<(&'a str, String, u64), (&'a str, &'a Bytes)>;

fn sends(truth: &Truth) -> Sends<'_> {
    let mut sends = Sends::new();
    for (actor, commits) in &truth.actors {
        for effect in commits.iter().flat_map(|stored| &stored.commit.effects) {
            if let Effect::Send { to, sequence, name, body } = effect {
                sends.insert((actor, to.to_string(), *sequence), (name, body));
            }
        }
    }
    sends
}

/// Somebody asked for it, and for this.
fn expected(
    actor: &str,
    stored: &Stored,
    commits: &[Stored],
    clients: &Clients,
    sent: &Sends<'_>,
    verdict: &mut Verdict,
) {
    let commit = &stored.commit;
    let unexpected = || format!("commit {} of {}, which nobody asked for", commit.seq, commit.command);
    let before = || commits.iter().map(|each| &each.commit).filter(|each| each.seq < commit.seq);
    match &commit.command {
        CommandRef::Id(id) => match clients.commands.get(&(actor.to_owned(), id.to_string())) {
            None => verdict.add(Kind::Unexpected, actor, unexpected()),
            Some(command) if !command.may_be_done() => {
                let text = format!("commit {} of {id}, which was refused", commit.seq);
                verdict.add(Kind::RefusedButDone, actor, text);
            }
            Some(given) => {
                let body = Bytes::copy_from_slice(given.body.as_bytes());
                same(actor, stored, &given.name, &body, verdict);
            }
        },
        CommandRef::Sent { from, sequence } => {
            match sent.get(&(&*from.to_string(), actor.to_owned(), *sequence)) {
                None => verdict.add(Kind::Unexpected, actor, unexpected()),
                Some((name, body)) => same(actor, stored, name, body, verdict),
            }
        }
        CommandRef::Timer { name, due_ms } => {
            let set = |effect: &Effect| matches!(effect, Effect::TimerSet { name: set, due_ms: due, .. } if set == name && due == due_ms);
            if !before().any(|each| each.effects.iter().any(set)) {
                verdict.add(Kind::Unexpected, actor, unexpected());
            }
        }
        CommandRef::Answer { seq, index } => {
            let called = |effect: Option<&Effect>| matches!(effect, Some(Effect::Call { .. }));
            let index = usize::try_from(*index).unwrap_or(usize::MAX);
            if !before().any(|each| each.seq == *seq && called(each.effects.get(index))) {
                verdict.add(Kind::Unexpected, actor, unexpected());
            }
        }
    }
}

fn same(actor: &str, stored: &Stored, name: &str, body: &Bytes, verdict: &mut Verdict) {
    let commit = &stored.commit;
    let reference = commit.command.clone();
    let given = command::Command { reference, name: name.to_owned(), body: body.clone() };
    if given.digest() != commit.command_digest {
        let text =
            format!("commit {} of {} is not of the command that was given", commit.seq, commit.command);
        verdict.add(Kind::Altered, actor, text);
    }
}

/// What was acknowledged is there, as it was acknowledged.
fn acknowledged(actor: &str, commands: &[&Command], commits: &[Stored], verdict: &mut Verdict) {
    let by_id: BTreeMap<String, &Stored> = commits
        .iter()
        .rev()
        .filter_map(|stored| match &stored.commit.command {
            CommandRef::Id(id) => Some((id.to_string(), stored)),
            _ => None,
        })
        .collect();
    // Where, in the order in which they were acknowledged, the commands are that are there.
    let mut acked: Vec<&&Command> = commands.iter().filter(|command| command.end.is_some()).collect();
    acked.sort_by_key(|command| command.answers.first().map(|answer| (answer.seq, command.end)));
    let there = |command: &Command| by_id.contains_key(&command.id);
    let first = acked.iter().position(|command| there(command));
    let last = acked.iter().rposition(|command| there(command));
    for (place, command) in acked.iter().enumerate() {
        match by_id.get(&command.id) {
            Some(stored) => as_acknowledged(actor, command, stored, verdict),
            None => {
                let kind = match (first, last) {
                    (Some(first), _) if place < first => Kind::LostPrefix,
                    (_, Some(last)) if place < last => Kind::LostMiddle,
                    _ => Kind::LostPostfix,
                };
                let seq = command.answers.first().map(|answer| answer.seq).unwrap_or_default();
                let text = format!("{} was acknowledged as commit {seq}, and is not there", command.id);
                verdict.add(kind, actor, text);
            }
        }
    }
}

fn as_acknowledged(actor: &str, command: &Command, stored: &Stored, verdict: &mut Verdict) {
    let commit = &stored.commit;
    for answer in &command.answers {
        if answer.reply.as_bytes() != &*commit.reply {
            let stored = String::from_utf8_lossy(&commit.reply);
            let text = format!("{} was answered {}, and {stored} is stored", command.id, answer.reply);
            verdict.add(Kind::WrongReply, actor, text);
        }
        if answer.seq != commit.seq.0 {
            let text = format!("{} was answered as commit {}, and is {}", command.id, answer.seq, commit.seq);
            verdict.add(Kind::WrongPlace, actor, text);
        }
        if answer.epoch < stored.epoch {
            let text = format!(
                "{} was answered under epoch {}, and stored under {}",
                command.id, answer.epoch, stored.epoch
            );
            verdict.add(Kind::WrongEpoch, actor, text);
        }
    }
}
