//! Linearizability without the journal: is there any order of an actor's commands, each between its beginning and its
//! end, that explains every answer? A search as of Wing and Gong, with the memory of Lowe: one that has come to the
//! same state by the same commands is not searched twice.
//!
//! The journal is a hint, and no more: its order is tried first, so that what is right is found at once. What is wrong
//! is searched through.

use super::chain::Truth;
use super::clients::Clients;
use super::model_of;
use crate::finding::{Kind, Verdict};
use crate::model::Model;
use lattice_journal::CommandRef;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Steps of the search for one actor.
const BUDGET: usize = 2_000_000;
/// Operations of one actor: each step looks at all of them, and remembers a set of them.
const MAX_OPS: usize = 2_000;

struct Op<'a> {
    start: usize,
    /// Never, when nobody was told: then it may also not have happened.
    end: Option<usize>,
    name: &'a str,
    body: &'a str,
    reply: Option<&'a str>,
    /// Where the journal has it: what is less comes first.
    hint: u64,
}

pub(super) fn check(truth: &Truth, clients: &Clients, models: &BTreeMap<&str, Model>, verdict: &mut Verdict) {
    let mut actors: BTreeMap<&str, Vec<Op<'_>>> = BTreeMap::new();
    let places = places(truth);
    for command in clients.commands.values().filter(|command| command.may_be_done()) {
        actors.entry(&command.actor).or_default().push(Op {
            start: command.start,
            end: command.end,
            name: &command.name,
            body: &command.body,
            reply: command.answers.first().map(|answer| answer.reply.as_str()),
            hint: places.get(&(&*command.actor, command.id.clone())).map_or(u64::MAX, |seq| seq * 2),
        });
    }
    for read in clients.reads.iter().filter(|read| read.consistent) {
        actors.entry(&read.actor).or_default().push(Op {
            start: read.start,
            end: Some(read.end),
            name: &read.name,
            body: &read.body,
            reply: Some(&read.answer.reply),
            hint: read.answer.seq.saturating_mul(2).saturating_add(1),
        });
    }
    for (actor, mut ops) in actors {
        let from_clients = |commits: &Vec<super::chain::Stored>| {
            commits.iter().all(|each| matches!(each.commit.command, CommandRef::Id(_)))
        };
        // What other actors send it, clients do not see: for such an actor the journal is the only witness.
        let Some(model) =
            model_of(models, actor).filter(|_| truth.actors.get(actor).is_none_or(from_clients))
        else {
            continue;
        };
        ops.sort_by_key(|op| op.start);
        let searched = if ops.len() > MAX_OPS { None } else { search(model, &ops) };
        match searched {
            Some(true) => {}
            Some(false) => {
                verdict.add(
                    Kind::NotLinearizable,
                    actor,
                    format!("no order of its {} operations explains them", ops.len()),
                );
            }
            None => verdict.undecided.push(actor.to_owned()),
        }
    }
}

/// The place of each client's command in its actor's history.
fn places(truth: &Truth) -> BTreeMap<(&str, String), u64> {
    let commits =
        truth.actors.iter().flat_map(|(actor, commits)| commits.iter().map(move |each| (actor, each)));
    commits
        .map(|(actor, each)| ((actor.as_str(), each.commit.command.to_string()), each.commit.seq.0))
        .collect()
}

/// A set of operations.
type Done = Vec<u64>;

fn has(done: &Done, op: usize) -> bool {
    done.get(op / 64).is_some_and(|word| word >> (op % 64) & 1 == 1)
}

fn with(done: &Done, op: usize) -> Done {
    let mut done = done.clone();
    done.iter_mut().skip(op / 64).take(1).for_each(|word| *word |= 1 << (op % 64));
    done
}

/// `None` when the budget is used up.
fn search(model: Model, ops: &[Op<'_>]) -> Option<bool> {
    let mut seen: BTreeSet<(Done, String)> = BTreeSet::new();
    let mut open: Vec<(Done, Value)> = vec![(vec![0; ops.len().div_ceil(64)], model.initial())];
    let mut steps = 0;
    while let Some((done, state)) = open.pop() {
        steps += 1;
        if steps > BUDGET {
            return None;
        }
        let left = || ops.iter().enumerate().filter(|(index, _)| !has(&done, *index));
        // Nothing that begins after another has ended comes before it.
        let Some(horizon) = left().filter_map(|(_, op)| op.end).min() else { return Some(true) };
        let mut next: Vec<(usize, &Op<'_>)> = left().take_while(|(_, op)| op.start < horizon).collect();
        // The last one pushed is the first one tried.
        next.sort_by_key(|(_, op)| std::cmp::Reverse(op.hint));
        for (index, op) in next {
            let Some((after, reply)) = model.step(&state, op.name, op.body) else { continue };
            if op.reply.is_some_and(|told| told != reply) {
                continue;
            }
            let done = with(&done, index);
            if seen.insert((done.clone(), after.to_string())) {
                open.push((done, after));
            }
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op<'a>(start: usize, end: usize, name: &'a str, body: &'a str, reply: &'a str) -> Op<'a> {
        let known = end != usize::MAX;
        Op { start, end: known.then_some(end), name, body, reply: known.then_some(reply), hint: 0 }
    }

    const ONE: &str = r#"{"value":1}"#;
    const TWO: &str = r#"{"value":2}"#;
    const UNKNOWN: usize = usize::MAX;

    #[test]
    fn concurrent_writes_may_come_in_either_order_and_later_reads_agree() {
        let run = |first: &'static str, second: &'static str| {
            let ops = [
                op(0, 3, "write", ONE, "null"),
                op(1, 4, "write", TWO, "null"),
                op(5, 6, "read", "", first),
                op(7, 8, "read", "", second),
            ];
            search(Model::Register, &ops)
        };
        assert_eq!(run("1", "1"), Some(true));
        assert_eq!(run("2", "2"), Some(true));
        assert_eq!(run("1", "2"), Some(false), "a read cannot see both of two writes that are over");
        assert_eq!(run("3", "3"), Some(false));
    }

    #[test]
    fn a_command_without_an_answer_may_have_happened_late_or_never_but_not_early_and_not_twice() {
        let run = |ops: &[Op<'_>]| search(Model::Counter, ops);
        let one = r#"{"amount":1}"#;
        let unknown = || op(2, UNKNOWN, "add", one, "");
        assert_eq!(run(&[op(0, 1, "read", "", "0"), unknown(), op(3, 4, "read", "", "0")]), Some(true));
        assert_eq!(
            run(&[
                unknown(),
                op(3, 4, "read", "", "0"),
                op(5, 6, "read", "", "1"),
                op(7, 8, "read", "", "1")
            ]),
            Some(true)
        );
        assert_eq!(run(&[op(0, 1, "read", "", "1"), unknown()]), Some(false));
        assert_eq!(run(&[unknown(), op(3, 4, "read", "", "1"), op(5, 6, "read", "", "2")]), Some(false));
        assert_eq!(run(&[unknown(), op(3, 4, "read", "", "1"), op(5, 6, "read", "", "0")]), Some(false));
    }
}
