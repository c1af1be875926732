//! Bugs in what is stored.

use super::scan::{Acked, Journal, acked, is, model};
use crate::generate::Random;
use crate::history::{Entry, History, Outcome};
use bytes::Bytes;
use lattice_journal::command::Command;
use lattice_journal::{CommandId, CommandRef, Commit};

/// Actors of which at least so many commands were acknowledged.
fn busy(history: &History, least: usize) -> Vec<Vec<Acked>> {
    acked(history).into_values().filter(|list| list.len() >= least).collect()
}

fn lose(history: &mut History, random: &mut Random, which: fn(&[Acked]) -> Option<&Acked>) -> bool {
    let Some(list) = random.choose(&busy(history, 3)) else { return false };
    let Some(lost) = which(&list) else { return false };
    let mut journal = Journal::read(history);
    journal.edit(|commits| commits.retain(|commit| !is(commit, &lost.actor, &lost.id)));
    journal.renumber();
    journal.write(history)
}

pub(super) fn lose_first(history: &mut History, random: &mut Random) -> bool {
    lose(history, random, <[Acked]>::first)
}

pub(super) fn lose_middle(history: &mut History, random: &mut Random) -> bool {
    lose(history, random, |list| list.get(list.len() / 2))
}

pub(super) fn lose_last(history: &mut History, random: &mut Random) -> bool {
    lose(history, random, <[Acked]>::last)
}

/// Any commit for which this holds.
fn any(journal: &Journal, random: &mut Random, wanted: impl Fn(&Commit) -> bool) -> Option<Commit> {
    let commits: Vec<Commit> = journal.commits().filter(|commit| wanted(commit)).cloned().collect();
    random.choose(&commits)
}

fn from_client(commit: &Commit) -> bool {
    matches!(commit.command, CommandRef::Id(_))
}

fn sent(commit: &Commit) -> bool {
    matches!(commit.command, CommandRef::Sent { .. })
}

fn add(history: &mut History, mut journal: Journal, commit: Option<Commit>) -> bool {
    let Some(commit) = commit else { return false };
    if !journal.push(commit) {
        return false;
    }
    journal.renumber();
    journal.write(history)
}

pub(super) fn double(history: &mut History, random: &mut Random) -> bool {
    let journal = Journal::read(history);
    let commit = any(&journal, random, from_client);
    add(history, journal, commit)
}

pub(super) fn double_sent(history: &mut History, random: &mut Random) -> bool {
    let journal = Journal::read(history);
    let commit = any(&journal, random, sent);
    add(history, journal, commit)
}

pub(super) fn invent(history: &mut History, random: &mut Random) -> bool {
    let journal = Journal::read(history);
    let id = CommandId::new(random.below(1 << 40), [random.byte(); 10]);
    let commit =
        any(&journal, random, from_client).map(|commit| Commit { command: CommandRef::Id(id), ..commit });
    add(history, journal, commit)
}

pub(super) fn do_refused(history: &mut History, random: &mut Random) -> bool {
    let refused: Vec<u64> = history
        .0
        .iter()
        .filter_map(|entry| match entry {
            Entry::Answer { op, outcome: Outcome::Refused { .. } } => Some(*op),
            _ => None,
        })
        .collect();
    let attempts = |wanted: &str| {
        let same = |entry: &&Entry| matches!(entry, Entry::Invoke { id: Some(id), .. } if id == wanted);
        history.0.iter().filter(same).count()
    };
    let commands: Vec<(String, Command)> = history
        .0
        .iter()
        .filter_map(|entry| match entry {
            Entry::Invoke { op, actor, id: Some(id), name, body, .. }
                if refused.contains(op) && attempts(id) == 1 =>
            {
                let (reference, body) = (CommandRef::Id(id.parse().ok()?), Bytes::from(body.clone()));
                Some((actor.clone(), Command { reference, name: name.clone(), body }))
            }
            _ => None,
        })
        .collect();
    let Some((actor, command)) = random.choose(&commands) else { return false };
    let journal = Journal::read(history);
    let commit = any(&journal, random, |commit| commit.key.to_string() == actor);
    let (command, command_digest) = (command.reference.clone(), command.digest());
    let commit = commit.map(|commit| Commit { command, command_digest, ..commit });
    add(history, journal, commit)
}

/// Changes the one commit, and nothing else that is stored.
fn change(
    history: &mut History,
    mut journal: Journal,
    of: &Commit,
    mut change: impl FnMut(&mut Commit),
) -> bool {
    let same = |commit: &&mut Commit| commit.key == of.key && commit.command == of.command;
    journal.edit(|commits| commits.iter_mut().filter(same).for_each(&mut change));
    journal.write(history)
}

pub(super) fn alter(history: &mut History, random: &mut Random) -> bool {
    let journal = Journal::read(history);
    let Some(commit) = any(&journal, random, from_client) else { return false };
    change(history, journal, &commit, |commit| commit.command_digest.reverse())
}

pub(super) fn skip_number(history: &mut History, random: &mut Random) -> bool {
    let journal = Journal::read(history);
    let Some(commit) = any(&journal, random, |_| true) else { return false };
    change(history, journal, &commit, |commit| commit.seq = commit.seq.next())
}

pub(super) fn break_history(history: &mut History, random: &mut Random) -> bool {
    let journal = Journal::read(history);
    let Some(commit) = any(&journal, random, |_| true) else { return false };
    change(history, journal, &commit, |commit| commit.previous = [0x5a; 8])
}

pub(super) fn lose_sent(history: &mut History, random: &mut Random) -> bool {
    let mut journal = Journal::read(history);
    let Some(lost) = any(&journal, random, sent) else { return false };
    journal.edit(|commits| commits.retain(|commit| commit.key != lost.key || commit.command != lost.command));
    journal.renumber();
    journal.write(history)
}

/// Two commands decide on the same state; the later one's answer does not know of the earlier one.
pub(super) fn lose_update(history: &mut History, random: &mut Random) -> bool {
    let lists = busy(history, 2);
    let counters: Vec<&Vec<Acked>> =
        lists.iter().filter(|list| list.first().is_some_and(|acked| acked.name == "add")).collect();
    let Some(list) = random.choose(&counters) else { return false };
    let Some(later) = list.get(1 + random.index(list.len() - 1)) else { return false };
    let journal = Journal::read(history);
    let Some(commit) = journal.find(|commit| is(commit, &later.actor, &later.id)).cloned() else {
        return false;
    };
    let Ok(sum) = later.reply.parse::<i64>() else { return false };
    // Every amount is at least 1, so this is what follows from a state without one of them.
    let overwritten = (sum - 1).to_string();
    if let Some(Entry::Answer { outcome: Outcome::Ok { reply, .. }, .. }) = history.0.get_mut(later.answer) {
        reply.clone_from(&overwritten);
    }
    change(history, journal, &commit, |commit| commit.reply = overwritten.clone().into())
}

/// Swaps two commits of one actor, the earlier of which was acknowledged before the later was asked. What clients were
/// told is what follows from the new order, so that nothing but time tells.
pub(super) fn invert(history: &mut History, random: &mut Random) -> bool {
    let mut pairs = Vec::new();
    for list in acked(history).values() {
        let pair = |pair: &[Acked]| match pair {
            [one, two] if one.seq + 1 == two.seq && one.answer < two.invoke => {
                Some((one.clone(), two.clone()))
            }
            _ => None,
        };
        pairs.extend(list.windows(2).filter_map(pair));
    }
    let Some((one, two)) = random.choose(&pairs) else { return false };
    let mut journal = Journal::read(history);
    let find = |acked: &Acked| journal.find(|commit| is(commit, &acked.actor, &acked.id)).cloned();
    let (Some(first), Some(second)) = (find(&one), find(&two)) else { return false };
    journal.edit(|commits| {
        for commit in commits {
            if is(commit, &one.actor, &one.id) {
                *commit = second.clone();
            } else if is(commit, &two.actor, &two.id) {
                *commit = first.clone();
            }
        }
    });
    if !replay(history, &mut journal, &one.actor) {
        return false;
    }
    journal.renumber();
    journal.write(history)
}

/// Gives every commit of an actor the reply that follows, and tells its clients so.
fn replay(history: &mut History, journal: &mut Journal, actor: &str) -> bool {
    let Some(model) = model(history, actor) else { return false };
    let mut state = model.initial();
    let mut replies = Vec::new();
    for (seq, commit) in (1..).zip(journal.commits_of(actor)) {
        let Some((name, body)) = given(history, &commit.command) else { return false };
        let Some((after, reply)) = model.step(&state, &name, &body) else { return false };
        state = after;
        replies.push((commit.command.clone(), seq, reply));
    }
    journal.edit(|commits| {
        for commit in commits.iter_mut().filter(|commit| commit.key.to_string() == actor) {
            if let Some((_, _, reply)) = replies.iter().find(|(command, ..)| *command == commit.command) {
                commit.reply = reply.clone().into();
            }
        }
    });
    for (command, place, told) in replies {
        let id = command.to_string();
        let ops: Vec<u64> = history
            .0
            .iter()
            .filter_map(|entry| match entry {
                Entry::Invoke { op, id: Some(each), .. } if *each == id => Some(*op),
                _ => None,
            })
            .collect();
        for entry in &mut history.0 {
            if let Entry::Answer { op, outcome: Outcome::Ok { seq, reply, .. } } = entry
                && ops.contains(op)
            {
                (*seq, *reply) = (place, told.clone());
            }
        }
    }
    true
}

/// What a client asked under that id.
fn given(history: &History, command: &CommandRef) -> Option<(String, String)> {
    let wanted = command.to_string();
    history.0.iter().find_map(|entry| match entry {
        Entry::Invoke { id: Some(id), name, body, .. } if *id == wanted => Some((name.clone(), body.clone())),
        _ => None,
    })
}
