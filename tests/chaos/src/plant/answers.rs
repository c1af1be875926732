//! Bugs in what clients are told.

use super::scan::{Acked, Journal, acked, append, is, model, next_op};
use crate::generate::Random;
use crate::history::{Entry, History, Outcome};
use lattice_journal::CommandRef;
use serde_json::Value;

fn any(history: &History, random: &mut Random, wanted: impl Fn(&Acked) -> bool) -> Option<Acked> {
    let all: Vec<Acked> = acked(history).into_values().flatten().filter(wanted).collect();
    random.choose(&all)
}

/// Changes what a client was told.
fn retell(history: &mut History, line: usize, change: impl FnOnce(&mut u64, &mut u64, &mut String)) -> bool {
    match history.0.get_mut(line) {
        Some(Entry::Answer { outcome: Outcome::Ok { seq, epoch, reply }, .. }) => {
            change(seq, epoch, reply);
            true
        }
        _ => false,
    }
}

/// Another reply than that.
fn other(reply: &str) -> String {
    if reply == "null" { "true".to_owned() } else { "null".to_owned() }
}

pub(super) fn wrong_reply(history: &mut History, random: &mut Random) -> bool {
    let Some(acked) = any(history, random, |_| true) else { return false };
    retell(history, acked.answer, |_, _, reply| *reply = other(reply))
}

pub(super) fn wrong_place(history: &mut History, random: &mut Random) -> bool {
    let Some(acked) = any(history, random, |_| true) else { return false };
    retell(history, acked.answer, |seq, _, _| *seq += 1)
}

pub(super) fn wrong_epoch(history: &mut History, random: &mut Random) -> bool {
    let journal = Journal::read(history);
    // A retry may be answered by a later owner than the one that stored the commit.
    let by_its_owner =
        |acked: &Acked| journal.epoch_of(|commit| is(commit, &acked.actor, &acked.id)) == Some(acked.epoch);
    let Some(acked) = any(history, random, |acked| acked.epoch > 1 && by_its_owner(acked)) else {
        return false;
    };
    retell(history, acked.answer, |_, epoch, _| *epoch -= 1)
}

/// A client that repeats its command is answered as if it were a new one.
pub(super) fn answer_anew(history: &mut History, random: &mut Random) -> bool {
    let Some(acked) = any(history, random, |_| true) else { return false };
    let Acked { actor, id, name, body, seq, epoch, reply, .. } = acked;
    let op = next_op(history);
    let outcome = Outcome::Ok { seq, epoch, reply: other(&reply) };
    let invoke = Entry::Invoke { op, actor, id: Some(id), name, body, consistent: false };
    append(history, [invoke, Entry::Answer { op, outcome }]);
    true
}

/// A command whose record was fenced is acknowledged all the same.
pub(super) fn too_early(history: &mut History, random: &mut Random) -> bool {
    let journal = Journal::read(history);
    let stored = |wanted: &str| journal.find(|commit| commit.command.to_string() == wanted).is_some();
    let acknowledged = acked(history);
    let unknown: Vec<u64> = history
        .0
        .iter()
        .filter_map(|entry| match entry {
            Entry::Invoke { op, actor, id: Some(id), .. }
                if !stored(id) && acknowledged.contains_key(actor) =>
            {
                Some(*op)
            }
            _ => None,
        })
        .collect();
    let unsure: Vec<usize> = history
        .0
        .iter()
        .enumerate()
        .filter_map(|(line, entry)| match entry {
            Entry::Answer { op, outcome: Outcome::Unknown { .. } } if unknown.contains(op) => Some(line),
            _ => None,
        })
        .collect();
    let Some(line) = random.choose(&unsure) else { return false };
    match history.0.get_mut(line) {
        Some(Entry::Answer { outcome, .. }) => {
            *outcome = Outcome::Ok { seq: 10_000, epoch: 10_000, reply: "null".to_owned() };
            true
        }
        _ => false,
    }
}

/// An actor that only clients command, with the state after each of its commits.
struct Seen {
    actor: String,
    states: Vec<Value>,
    /// The line in which the last commit's command was first asked.
    asked: usize,
    /// Was it acknowledged?
    acked: bool,
    epoch: u64,
}

fn seen(history: &History) -> Vec<Seen> {
    let journal = Journal::read(history);
    let acked = acked(history);
    let mut all = Vec::new();
    for actor in acked.keys() {
        let Some(model) = model(history, actor) else { continue };
        let mut states = vec![model.initial()];
        let mut asked = 0;
        let commits = journal.commits_of(actor);
        for commit in &commits {
            let CommandRef::Id(id) = &commit.command else { break };
            let wanted = id.to_string();
            let given = history.0.iter().enumerate().find_map(|(line, entry)| match entry {
                Entry::Invoke { id: Some(id), name, body, .. } if *id == wanted => Some((line, name, body)),
                _ => None,
            });
            let Some((line, name, body)) = given else { break };
            let Some((after, _)) = states.last().and_then(|state| model.step(state, name, body)) else {
                break;
            };
            asked = line;
            states.push(after);
        }
        let last = commits.len() as u64;
        if states.len() == commits.len() + 1 {
            let acked = acked.get(actor).and_then(|list| list.last()).is_some_and(|acked| acked.seq == last);
            all.push(Seen { actor: actor.clone(), states, asked, acked, epoch: 1_000 });
        }
    }
    all
}

/// A read of the state after so many commits.
fn read(op: u64, seen: &Seen, seq: usize) -> [Entry; 2] {
    let reply = seen.states.get(seq).map(Value::to_string).unwrap_or_default();
    let (actor, name) = (seen.actor.clone(), "read".to_owned());
    let invoke = Entry::Invoke { op, actor, id: None, name, body: String::new(), consistent: true };
    let outcome = Outcome::Ok { seq: seq as u64, epoch: seen.epoch, reply };
    [invoke, Entry::Answer { op, outcome }]
}

fn choose(history: &History, random: &mut Random, wanted: impl Fn(&Seen) -> bool) -> Option<Seen> {
    let mut all: Vec<Seen> = seen(history).into_iter().filter(wanted).collect();
    random.take(&mut all)
}

pub(super) fn stale_read(history: &mut History, random: &mut Random) -> bool {
    let Some(seen) = choose(history, random, |seen| seen.acked) else { return false };
    let stale = read(next_op(history), &seen, seen.states.len() - 2);
    append(history, stale);
    true
}

pub(super) fn dirty_read(history: &mut History, random: &mut Random) -> bool {
    let Some(mut seen) = choose(history, random, |_| true) else { return false };
    let last = seen.states.len() - 1;
    seen.states.truncate(last);
    seen.states.push(Value::from("never stored"));
    let dirty = read(next_op(history), &seen, last);
    append(history, dirty);
    true
}

pub(super) fn future_read(history: &mut History, random: &mut Random) -> bool {
    let Some(seen) = choose(history, random, |seen| seen.states.len() > 1) else { return false };
    let early = read(next_op(history), &seen, seen.states.len() - 1);
    history.0.splice(seen.asked..seen.asked, early);
    true
}

pub(super) fn read_back(history: &mut History, random: &mut Random) -> bool {
    let Some(seen) = choose(history, random, |seen| seen.states.len() > 1) else { return false };
    let (op, last) = (next_op(history), seen.states.len() - 1);
    append(history, read(op, &seen, last).into_iter().chain(read(op + 1, &seen, last - 1)));
    true
}

/// Two additions, one after the other, are told the same sum.
pub(super) fn same_sum(history: &mut History, random: &mut Random) -> bool {
    let mut pairs = Vec::new();
    for list in acked(history).values().filter(|list| list.iter().all(|acked| acked.name == "add")) {
        for (at, one) in list.iter().enumerate() {
            let later = list.iter().skip(at + 1).find(|two| one.answer < two.invoke);
            pairs.extend(later.map(|two| (one.reply.clone(), two.answer)));
        }
    }
    let Some((sum, line)) = random.choose(&pairs) else { return false };
    retell(history, line, |_, _, reply| *reply = sum)
}
