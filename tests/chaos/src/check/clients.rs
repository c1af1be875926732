//! What clients did and saw: commands with all their attempts, and reads. Places in time are line numbers.

use crate::finding::{Kind, Verdict};
use crate::history::{Entry, History, Outcome};
use std::collections::{BTreeMap, BTreeSet};

/// A command, with all attempts under its id.
#[derive(Debug, Clone)]
pub(super) struct Command {
    pub(super) id: String,
    pub(super) actor: String,
    pub(super) name: String,
    pub(super) body: String,
    /// When it was first asked.
    pub(super) start: usize,
    /// When it was first acknowledged; none when it never was.
    pub(super) end: Option<usize>,
    /// What its clients were told.
    pub(super) answers: Vec<Answer>,
    /// Attempts that were refused, and attempts of which nothing is known.
    pub(super) refused: usize,
    pub(super) unknown: usize,
}

/// An acknowledgement.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) seq: u64,
    pub(super) epoch: u64,
    pub(super) reply: String,
}

impl Command {
    /// It may have been carried out.
    pub(super) fn may_be_done(&self) -> bool {
        self.end.is_some() || self.unknown > 0
    }
}

/// A read that was answered.
#[derive(Debug, Clone)]
pub(super) struct Read {
    pub(super) actor: String,
    pub(super) name: String,
    pub(super) body: String,
    pub(super) consistent: bool,
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) answer: Answer,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Clients {
    /// By actor and id.
    pub(super) commands: BTreeMap<(String, String), Command>,
    pub(super) reads: Vec<Read>,
}

struct Call<'a> {
    actor: &'a str,
    id: Option<&'a str>,
    name: &'a str,
    body: &'a str,
    consistent: bool,
    start: usize,
}

impl Clients {
    pub(super) fn read(history: &History, verdict: &mut Verdict) -> Self {
        let mut clients = Self::default();
        let mut open: BTreeMap<u64, Call<'_>> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for (line, entry) in history.0.iter().enumerate() {
            match entry {
                Entry::Invoke { op, actor, id, name, body, consistent } => {
                    if !seen.insert(*op) {
                        verdict.add(Kind::History, format!("line {}", line + 1), format!("op {op} again"));
                        continue;
                    }
                    let (id, consistent) = (id.as_deref(), *consistent);
                    let call = Call { actor, id, name, body, consistent, start: line };
                    clients.invoked(&call, line, verdict);
                    open.insert(*op, call);
                }
                Entry::Answer { op, outcome } => match open.remove(op) {
                    Some(call) => clients.answered(&call, outcome, line),
                    None => {
                        let text = format!("an answer to op {op}, which is not open");
                        verdict.add(Kind::History, format!("line {}", line + 1), text);
                    }
                },
                _ => {}
            }
        }
        for call in open.values() {
            clients.answered(call, &Outcome::Unknown { why: "no answer".to_owned() }, history.0.len());
        }
        clients.count(verdict);
        clients
    }

    fn invoked(&mut self, call: &Call<'_>, line: usize, verdict: &mut Verdict) {
        let Some(id) = call.id else { return };
        let key = (call.actor.to_owned(), id.to_owned());
        let command = self.commands.entry(key).or_insert_with(|| Command {
            id: id.to_owned(),
            actor: call.actor.to_owned(),
            name: call.name.to_owned(),
            body: call.body.to_owned(),
            start: line,
            end: None,
            answers: Vec::new(),
            refused: 0,
            unknown: 0,
        });
        if command.name != call.name || command.body != call.body {
            verdict.add(Kind::History, format!("line {}", line + 1), format!("id {id} for another command"));
        }
    }

    fn answered(&mut self, call: &Call<'_>, outcome: &Outcome, line: usize) {
        let answer = match outcome {
            Outcome::Ok { seq, epoch, reply } => {
                Some(Answer { seq: *seq, epoch: *epoch, reply: reply.clone() })
            }
            Outcome::Refused { .. } | Outcome::Unknown { .. } => None,
        };
        let Some(id) = call.id else {
            let read = |answer| Read {
                actor: call.actor.to_owned(),
                name: call.name.to_owned(),
                body: call.body.to_owned(),
                consistent: call.consistent,
                start: call.start,
                end: line,
                answer,
            };
            return self.reads.extend(answer.map(read));
        };
        let Some(command) = self.commands.get_mut(&(call.actor.to_owned(), id.to_owned())) else { return };
        match (answer, outcome) {
            (Some(answer), _) => {
                command.end = command.end.or(Some(line));
                command.answers.push(answer);
            }
            (None, Outcome::Refused { .. }) => command.refused += 1,
            (None, _) => command.unknown += 1,
        }
    }

    fn count(&self, verdict: &mut Verdict) {
        let commands = self.commands.values();
        verdict.counts.commands = self.commands.len();
        verdict.counts.acknowledged = commands.clone().filter(|command| command.end.is_some()).count();
        verdict.counts.unknown =
            commands.clone().filter(|command| command.end.is_none() && command.unknown > 0).count();
        verdict.counts.reads = self.reads.len();
        let actors = commands.map(|command| &command.actor).chain(self.reads.iter().map(|read| &read.actor));
        verdict.counts.actors = actors.collect::<BTreeSet<_>>().len();
    }

    /// The commands of each actor.
    pub(super) fn by_actor(&self) -> BTreeMap<&str, Vec<&Command>> {
        let mut actors: BTreeMap<&str, Vec<&Command>> = BTreeMap::new();
        for command in self.commands.values() {
            actors.entry(&command.actor).or_default().push(command);
        }
        actors
    }
}
