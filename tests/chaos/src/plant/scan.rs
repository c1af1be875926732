//! What the plants look for in a history, and the journal taken apart and put together again.

use crate::history::{Entry, History, Outcome, STREAM};
use crate::model::Model;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use lattice_journal::record::{Body, Record};
use lattice_journal::{ActorSeq, CommandRef, Commit, Hash, RecordSeq, Sealed};
use std::collections::BTreeMap;

/// A command that was acknowledged.
#[derive(Debug, Clone)]
pub(super) struct Acked {
    pub(super) actor: String,
    pub(super) id: String,
    pub(super) name: String,
    pub(super) body: String,
    /// The line of its first attempt.
    pub(super) invoke: usize,
    /// The line of its first acknowledgement, and what that says.
    pub(super) answer: usize,
    pub(super) seq: u64,
    pub(super) epoch: u64,
    pub(super) reply: String,
}

/// The commands that were acknowledged, by actor and then by place.
pub(super) fn acked(history: &History) -> BTreeMap<String, Vec<Acked>> {
    let mut first = BTreeMap::new();
    let mut open = BTreeMap::new();
    let mut all: BTreeMap<(&str, &str), Acked> = BTreeMap::new();
    for (line, entry) in history.0.iter().enumerate() {
        match entry {
            Entry::Invoke { op, actor, id: Some(id), name, body, .. } => {
                let key = (actor.as_str(), id.as_str());
                first.entry(key).or_insert(line);
                open.insert(*op, (key, name, body));
            }
            Entry::Answer { op, outcome: Outcome::Ok { seq, epoch, reply } } => {
                let Some((key, name, body)) = open.remove(op) else { continue };
                all.entry(key).or_insert_with(|| Acked {
                    actor: key.0.to_owned(),
                    id: key.1.to_owned(),
                    name: name.clone(),
                    body: body.clone(),
                    invoke: first.get(&key).copied().unwrap_or(line),
                    answer: line,
                    seq: *seq,
                    epoch: *epoch,
                    reply: reply.clone(),
                });
            }
            _ => {}
        }
    }
    let mut actors: BTreeMap<String, Vec<Acked>> = BTreeMap::new();
    for acked in all.into_values() {
        actors.entry(acked.actor.clone()).or_default().push(acked);
    }
    actors.values_mut().for_each(|list| list.sort_by_key(|acked| acked.seq));
    actors
}

/// The model of an actor.
pub(super) fn model(history: &History, actor: &str) -> Option<Model> {
    let kind = actor.split('/').next()?;
    history.0.iter().find_map(|entry| match entry {
        Entry::Model { kind: each, model } if each == kind => Some(*model),
        _ => None,
    })
}

/// Puts lines before the end of the run.
pub(super) fn append(history: &mut History, entries: impl IntoIterator<Item = Entry>) {
    let at = history.0.len().saturating_sub(1);
    history.0.splice(at..at, entries);
}

/// An op that is not yet used.
pub(super) fn next_op(history: &History) -> u64 {
    let ops = history.0.iter().filter_map(|entry| match entry {
        Entry::Invoke { op, .. } => Some(*op),
        _ => None,
    });
    ops.max().unwrap_or_default() + 1
}

pub(super) fn decode(bytes: &str) -> Option<Sealed> {
    Sealed::open(BASE64_STANDARD.decode(bytes).ok()?.into()).ok()
}

pub(super) fn encode(record: Record) -> Option<(String, Hash)> {
    let sealed = record.seal().ok()?;
    Some((BASE64_STANDARD.encode(sealed.bytes()), sealed.hash()))
}

/// The valid records of the stream, each with its line.
pub(super) struct Journal(pub(super) Vec<(usize, Record)>);

impl Journal {
    pub(super) fn read(history: &History) -> Self {
        let records = history.0.iter().enumerate().filter_map(|(line, entry)| match entry {
            Entry::Record { copy, bytes, accepted: Some(true), .. } if copy == STREAM => {
                Some((line, (**decode(bytes)?.record()).clone()))
            }
            _ => None,
        });
        Self(records.collect())
    }

    pub(super) fn commits(&self) -> impl Iterator<Item = &Commit> {
        self.0.iter().flat_map(|(_, record)| record.commits())
    }

    pub(super) fn commits_of(&self, actor: &str) -> Vec<&Commit> {
        self.commits().filter(|commit| commit.key.to_string() == actor).collect()
    }

    /// Under which epoch a commit is stored.
    pub(super) fn epoch_of(&self, wanted: impl Fn(&Commit) -> bool) -> Option<u64> {
        let record = self.0.iter().find(|(_, record)| record.commits().iter().any(&wanted));
        record.map(|(_, record)| record.epoch.0)
    }

    pub(super) fn find(&self, wanted: impl Fn(&Commit) -> bool) -> Option<&Commit> {
        self.commits().find(|commit| wanted(commit))
    }

    /// Changes the commits of every record.
    pub(super) fn edit(&mut self, mut change: impl FnMut(&mut Vec<Commit>)) {
        for (_, record) in &mut self.0 {
            if let Body::Commits { commits, .. } = &mut record.body {
                change(commits);
            }
        }
    }

    /// Adds a commit behind all others of its actor.
    pub(super) fn push(&mut self, commit: Commit) -> bool {
        let same = |record: &Record| record.commits().iter().any(|each| each.key == commit.key);
        let last = self.0.iter_mut().rev().find(|(_, record)| same(record));
        if let Some((_, Record { body: Body::Commits { commits, .. }, .. })) = last {
            commits.push(commit);
            return true;
        }
        false
    }

    /// Numbers each actor's commits anew, as the system would have done.
    pub(super) fn renumber(&mut self) {
        let mut actors: BTreeMap<_, (u64, Hash)> = BTreeMap::new();
        self.edit(|commits| {
            for commit in commits {
                let (seq, history) = actors.entry(commit.key.clone()).or_default();
                *seq += 1;
                commit.seq = ActorSeq(*seq);
                commit.previous = history.short();
                *history = commit.extend(history);
            }
        });
    }

    /// Chains the records anew and puts them back into their lines. Records without commits are left out, as are
    /// other copies.
    pub(super) fn write(self, history: &mut History) -> bool {
        let mut heads: BTreeMap<u16, (RecordSeq, Hash)> = BTreeMap::new();
        let mut gone = Vec::new();
        for (line, mut record) in self.0 {
            if matches!(&record.body, Body::Commits { commits, .. } if commits.is_empty()) {
                gone.push(line);
                continue;
            }
            let (seq, head) = heads.entry(record.shard.0).or_default();
            *seq = seq.next();
            (record.seq, record.previous) = (*seq, *head);
            let Some((text, hash)) = encode(record) else { return false };
            *head = hash;
            if let Some(Entry::Record { bytes, .. }) = history.0.get_mut(line) {
                *bytes = text;
            }
        }
        let mut line = 0;
        history.0.retain(|entry| {
            line += 1;
            let other = matches!(entry, Entry::Record { copy, .. } if copy != STREAM);
            // A record that was stored twice is another record now.
            let again = matches!(entry, Entry::Record { accepted: None, .. });
            !other && !again && !gone.contains(&(line - 1))
        });
        true
    }
}

/// Is it the commit of that command?
pub(super) fn is(commit: &Commit, actor: &str, id: &str) -> bool {
    commit.key.to_string() == actor
        && matches!(&commit.command, CommandRef::Id(each) if each.to_string() == id)
}
