//! Turns, one by one: what is stored, what is told, and what a failure leaves behind.

mod deletion;
mod fencing;
mod queries;
mod traps;

use super::*;
use crate::append::{AppendOutcome, LogAction};
use crate::command::Command;
use crate::commit::Effect;
use crate::fixtures::{Log, Sum, add, component, key, now, opened, session};
use crate::fold::Fold;
use crate::ids::{Epoch, Position};
use crate::ledger::{Decision, Ledger};
use bytes::Bytes;
use lattice_protocol::{ErrorCode, Report};
use std::collections::BTreeMap;

/// A shard, its log, and guests that add numbers.
struct Bench {
    shard: Shard,
    log: Log,
    folds: BTreeMap<EntityKey, Fold<Sum>>,
    /// Everything that was done, one line each.
    lines: Vec<String>,
    /// Appends that wait for their answer.
    appends: Vec<(u64, Position, crate::Sealed)>,
    traps: bool,
}

fn bench_with(policy: ShardPolicy) -> Bench {
    let (chain, first) = opened();
    let mut log = Log::default();
    log.force(first.bytes());
    let tail = Tail::at(chain, log.last());
    let shard = Shard::new(policy, tail, OutboxPosition::default(), u64::MAX);
    Bench { shard, log, folds: BTreeMap::new(), lines: Vec::new(), appends: Vec::new(), traps: false }
}

fn bench() -> Bench {
    bench_with(ShardPolicy::default())
}

fn amount(bytes: &Bytes) -> i64 {
    bytes.as_ref().try_into().map(i64::from_le_bytes).unwrap_or_default()
}

impl Bench {
    fn submit(&mut self, token: u64, actor: &str, command: Command) {
        let request = Request { token: Token(token), key: key(actor), command: command.into() };
        self.step(request.into());
    }

    fn step(&mut self, input: Input) {
        self.step_at(input, 0);
    }

    fn step_at(&mut self, input: Input, ms: u64) {
        let mut inputs = std::collections::VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for action in self.shard.step(input, now(ms)) {
                inputs.extend(self.perform(action));
            }
        }
    }

    fn perform(&mut self, action: Action) -> Option<Input> {
        match action {
            Action::Activate { key } => {
                let mut fold = Fold::new(key, Sum::default());
                for record in self.log.valid() {
                    fold.catch_up(record.record().commits()).unwrap();
                }
                let ledger = Box::new(fold.ledger().clone());
                self.folds.insert(fold.ledger().key().clone(), fold);
                Some(Input::Activated { ledger })
            }
            Action::Decide { key, token, command } => {
                self.lines.push(format!("decide {}", token.0));
                let outcome = if self.traps {
                    Outcome::Trapped(Report::new(ErrorCode::Trap, "unreachable"))
                } else if command.name == "never" {
                    Outcome::Refused(Report::new(ErrorCode::Guest, "no"))
                } else {
                    let decision = self.folds[&key].entity().decide(&command);
                    Outcome::Decided { decision, component: component() }
                };
                Some(Input::Decided { key, token, outcome })
            }
            Action::Ask { key, token, question } => {
                let answer = match question {
                    Question::Query { name, .. } if name == "trap" => {
                        Answer::Trapped(Report::new(ErrorCode::Trap, "unreachable"))
                    }
                    Question::Query { name, .. } if name == "never" => {
                        Answer::Refused(Report::new(ErrorCode::Guest, "no"))
                    }
                    Question::Query { .. } => Answer::Given(self.folds[&key].entity().save().1),
                    Question::Save => Answer::Given(Bytes::new()),
                };
                Some(Input::Answered { key, token, answer })
            }
            Action::Log(LogAction::Append { attempt, expected, sealed }) => {
                self.lines.push(format!("append {}", sealed.record().commits().len()));
                self.appends.push((attempt, expected, sealed));
                None
            }
            Action::Log(LogAction::Read { attempt, after }) => {
                Some(Input::Read { attempt, back: self.log.read(after, 1) })
            }
            Action::Durable(sealed) => {
                self.lines.push("durable".to_owned());
                for commit in sealed.record().commits() {
                    self.folds.get_mut(&commit.key).unwrap().apply(commit).unwrap();
                }
                None
            }
            Action::Reply { token, answer } => {
                let again = if answer.repeated { ", repeated" } else { "" };
                let no = answer.refused.map(|report| format!(", refused {}", report.code));
                let no = no.unwrap_or_default();
                self.lines.push(format!("reply {}: {}{again}{no}", token.0, amount(&answer.reply)));
                None
            }
            Action::Refuse { token, report } => {
                self.lines.push(format!("refuse {}: {}", token.0, report.code));
                None
            }
            other => {
                self.lines.push(match other {
                    Action::Drop { key } => format!("drop {key}"),
                    Action::Quarantined { command, .. } => format!("quarantine {}", command.name),
                    Action::Drained { last } => format!("drained at {last}"),
                    Action::Stopped(reason) => format!("stopped: {}", reason.report().code),
                    Action::Skipped(skipped) => format!("skipped {}", skipped.len()),
                    other => panic!("{other:?}"),
                });
                None
            }
        }
    }

    /// The log answers the append that waits.
    fn answer(&mut self) {
        let (attempt, expected, sealed) = self.appends.remove(0);
        let outcome = self.log.append(expected, sealed.bytes());
        self.step(Input::Appended { attempt, outcome });
    }

    fn lines(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lines)
    }
}

fn ask(token: u64, name: &str) -> Input {
    let question = Question::Query { name: name.to_owned(), body: Bytes::new() };
    Input::Ask { token: Token(token), key: key("meter/m-1"), question }
}

fn sent(sequence: u64, name: &str) -> Command {
    let reference = crate::CommandRef::Sent { from: key("meter/m-9"), sequence };
    Command { reference, name: name.to_owned(), body: add(1, 5).body }
}

#[test]
fn a_turn_is_told_only_after_it_is_durable() {
    let mut bench = bench();
    bench.submit(1, "meter/m-1", add(1, 5));
    assert_eq!(bench.lines(), ["decide 1", "append 1"]);
    bench.answer();
    assert_eq!(bench.lines(), ["reply 1: 5", "durable"]);
    bench.submit(2, "meter/m-1", add(1, 5));
    assert_eq!(bench.lines(), ["reply 2: 5, repeated"]);
    bench.submit(3, "meter/m-1", add(1, 6));
    assert_eq!(bench.lines(), ["refuse 3: E_ID_REUSED"]);
}

#[test]
fn turns_gather_while_a_record_is_on_its_way() {
    let mut bench = bench();
    for n in 1..=4 {
        bench.submit(n, &format!("meter/m-{n}"), add(n, 1));
    }
    // A second one of the same actor waits for the first.
    bench.submit(5, "meter/m-1", add(5, 10));
    assert_eq!(bench.lines(), ["decide 1", "append 1", "decide 2", "decide 3", "decide 4"]);
    bench.answer();
    assert_eq!(bench.lines(), ["reply 1: 1", "durable", "decide 5", "append 3"]);
    bench.answer();
    assert_eq!(bench.lines(), ["reply 2: 1", "reply 3: 1", "reply 4: 1", "durable", "append 1"]);
    bench.answer();
    assert_eq!(bench.lines(), ["reply 5: 11", "durable"]);
    assert_eq!(bench.log.entries.len(), 4);
}

#[test]
fn a_refusal_and_a_trap_store_nothing() {
    let mut bench = bench();
    bench.submit(1, "meter/m-1", Command { name: "never".to_owned(), ..add(1, 5) });
    bench.traps = true;
    bench.submit(2, "meter/m-1", add(2, 5));
    assert_eq!(
        bench.lines(),
        ["decide 1", "refuse 1: E_GUEST", "decide 2", "refuse 2: E_TRAP", "drop meter/m-1"]
    );
    bench.traps = false;
    bench.submit(3, "meter/m-1", add(2, 5));
    assert_eq!(bench.lines(), ["decide 3", "append 1"], "it may go better the next time");
    assert_eq!(bench.log.entries.len(), 1);
}

#[test]
fn closing_the_intake_drains_and_opening_it_goes_on() {
    let mut bench = bench();
    bench.submit(1, "meter/m-1", add(1, 5));
    bench.submit(2, "meter/m-1", add(2, 5));
    bench.lines();
    bench.step(Input::CloseIntake);
    bench.submit(3, "meter/m-2", add(3, 5));
    assert_eq!(bench.lines(), ["refuse 2: E_MOVING", "refuse 3: E_MOVING"]);
    bench.answer();
    assert_eq!(bench.lines(), ["reply 1: 5", "durable", "drained at 2"]);
    bench.step(Input::OpenIntake);
    bench.submit(4, "meter/m-1", add(2, 5));
    bench.answer();
    assert_eq!(bench.lines(), ["decide 4", "append 1", "reply 4: 10", "durable"]);
}

#[test]
fn queues_and_actors_are_bounded_and_idle_actors_leave() {
    let mut bench = bench_with(ShardPolicy { queue: 1, actors: 1, ..ShardPolicy::default() });
    bench.submit(1, "meter/m-1", add(1, 5));
    bench.submit(2, "meter/m-1", add(2, 5));
    bench.submit(3, "meter/m-1", add(3, 5));
    bench.submit(4, "meter/m-2", add(4, 5));
    assert_eq!(bench.lines()[2..], ["refuse 3: E_OVERLOADED", "refuse 4: E_OVERLOADED"]);
    bench.step(Input::Passivate { key: key("meter/m-1") });
    assert!(bench.lines().is_empty(), "not while it works");
    bench.answer();
    bench.answer();
    bench.lines();
    bench.step(Input::Passivate { key: key("meter/m-1") });
    assert_eq!(bench.lines(), ["drop meter/m-1"]);
    bench.submit(5, "meter/m-2", add(4, 5));
    assert_eq!(bench.lines(), ["decide 5", "append 1"]);
}

#[test]
fn a_record_takes_as_many_turns_as_fit() {
    let mut bench = bench_with(ShardPolicy { record_commits: 2, ..ShardPolicy::default() });
    for n in 1..=6 {
        bench.submit(n, &format!("meter/m-{n}"), add(n, 1));
    }
    bench.lines();
    bench.answer();
    bench.answer();
    let appends: Vec<_> = bench.lines().into_iter().filter(|line| line.starts_with("append")).collect();
    assert_eq!(appends, ["append 2", "append 2"]);
}

#[test]
fn a_decision_that_fits_no_record_is_refused_and_folded_away() {
    let mut bench = bench();
    bench.submit(1, "meter/m-1", add(1, 5));
    let (attempt, expected, sealed) = bench.appends.remove(0);
    bench
        .shard
        .step(Input::Appended { attempt, outcome: bench.log.append(expected, sealed.bytes()) }, now(0));
    let request = Request { token: Token(2), key: key("meter/m-1"), command: add(2, 1).into() };
    bench.shard.step(request.into(), now(0));
    let huge = Effect::Publish { link: "l".into(), subject: "s".into(), body: vec![0; 2 << 20].into() };
    let outcome = Outcome::Decided {
        decision: Decision { effects: vec![huge], ..Decision::default() },
        component: component(),
    };
    let input = Input::Decided { key: key("meter/m-1"), token: Token(2), outcome };
    let actions = bench.shard.step(input, now(0));
    assert!(
        matches!(&actions[..], [Action::Refuse { report, .. }, Action::Drop { .. }, Action::Activate { .. }]
            if report.code == ErrorCode::TooLarge),
        "{actions:?}"
    );
}

#[test]
fn the_outboxs_position_travels_with_the_next_commits_or_alone() {
    let mut bench = bench();
    let at = |record| OutboxPosition { record: crate::RecordSeq(record), index: 0 };
    bench.step(Input::Relayed(at(2)));
    assert!(bench.appends.is_empty(), "it is worth no record of its own");
    bench.submit(1, "meter/m-1", add(1, 5));
    bench.answer();
    let carried = |log: &Log| {
        log.valid().iter().filter_map(|r| crate::outbox::Outbox::position_in(r.record())).next_back()
    };
    assert_eq!(carried(&bench.log), Some(at(2)));
    bench.step(Input::SaveRelayed);
    assert!(bench.appends.is_empty(), "nothing new");
    bench.step(Input::Relayed(at(3)));
    bench.step(Input::SaveRelayed);
    bench.answer();
    assert_eq!(carried(&bench.log), Some(at(3)));
}

#[test]
fn an_actor_that_cannot_be_brought_into_memory_refuses_its_commands() {
    let mut bench = bench();
    let request = Request { token: Token(1), key: key("meter/m-1"), command: add(1, 5).into() };
    bench.shard.step(request.into(), now(0));
    let report = Report::new(ErrorCode::Damaged, "snapshot");
    bench.step(Input::NotActivated { key: key("meter/m-1"), report });
    assert_eq!(bench.lines(), ["refuse 1: E_DAMAGED"]);
    assert_eq!(bench.shard.actors(), 0);
    let late = Ledger::new(key("meter/m-1"));
    bench.step(Input::Activated { ledger: Box::new(late) });
    assert!(bench.lines().is_empty());
}
