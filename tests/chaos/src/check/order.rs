//! Order in time, with the journal as the witness: commands take effect in the order of their commits, so that order
//! must agree with what clients saw end before something else began. Linear in the length of the history.

use super::chain::{Stored, Truth};
use super::clients::{Clients, Command, Read};
use super::model_of;
use crate::finding::{Kind, Verdict};
use crate::model::Model;
use lattice_journal::{CommandRef, Effect};
use serde_json::Value;
use std::collections::BTreeMap;

/// A commit with what is known of its command from outside.
struct Placed<'a> {
    /// When its command was first asked; the beginning of time when no client did.
    start: usize,
    /// When it was first acknowledged; never, perhaps.
    end: usize,
    name: &'a str,
    body: &'a str,
    stored: &'a Stored,
}

pub(super) fn check(truth: &Truth, clients: &Clients, models: &BTreeMap<&str, Model>, verdict: &mut Verdict) {
    let sent = bodies_sent(truth);
    let mut all_reads: BTreeMap<&str, Vec<&Read>> = BTreeMap::new();
    for read in &clients.reads {
        all_reads.entry(&read.actor).or_default().push(read);
    }
    for (actor, commits) in &truth.actors {
        let placed: Option<Vec<Placed<'_>>> =
            commits.iter().map(|stored| place(actor, stored, clients, &sent)).collect();
        // A commit of nobody's command has been reported; what it does to the state is not known.
        let Some(placed) = placed else { continue };
        inverted(actor, &placed, verdict);
        let states = model_of(models, actor).map(|model| fold(actor, model, &placed, verdict));
        let mut reads = all_reads.remove(actor.as_str()).unwrap_or_default();
        for read in &reads {
            let state = states.as_deref().map(|states| nth(states, read.answer.seq));
            check_read(read, &placed, model_of(models, actor).zip(state), verdict);
        }
        reads.retain(|read| read.consistent);
        go_back(actor, &mut reads, verdict);
    }
}

type Sent<'a> = BTreeMap<(String, String, u64), (&'a str, &'a str)>;

fn bodies_sent(truth: &Truth) -> Sent<'_> {
    let mut sent = Sent::new();
    for (actor, commits) in &truth.actors {
        for effect in commits.iter().flat_map(|stored| &stored.commit.effects) {
            if let Effect::Send { to, sequence, name, body } = effect {
                let body = std::str::from_utf8(body).unwrap_or_default();
                sent.insert((actor.clone(), to.to_string(), *sequence), (name, body));
            }
        }
    }
    sent
}

fn place<'a>(actor: &str, stored: &'a Stored, clients: &'a Clients, sent: &Sent<'a>) -> Option<Placed<'a>> {
    match &stored.commit.command {
        CommandRef::Id(id) => {
            let command: &Command = clients.commands.get(&(actor.to_owned(), id.to_string()))?;
            let end = command.end.unwrap_or(usize::MAX);
            Some(Placed { start: command.start, end, name: &command.name, body: &command.body, stored })
        }
        CommandRef::Sent { from, sequence } => {
            let (name, body) = sent.get(&(from.to_string(), actor.to_owned(), *sequence))?;
            Some(Placed { start: 0, end: usize::MAX, name, body, stored })
        }
        CommandRef::Timer { .. } | CommandRef::Answer { .. } => None,
    }
}

/// Was one acknowledged before another was asked, and stored behind it?
fn inverted(actor: &str, placed: &[Placed<'_>], verdict: &mut Verdict) {
    let mut earliest: Option<(usize, &Placed<'_>)> = None;
    for each in placed.iter().rev() {
        if let Some((end, other)) = earliest.filter(|(end, _)| *end < each.start) {
            let text = format!(
                "commit {} was acknowledged in line {}, before the command of commit {} was given in line {}",
                other.stored.commit.seq,
                end + 1,
                each.stored.commit.seq,
                each.start + 1
            );
            verdict.add(Kind::OrderInverted, actor, text);
        }
        if earliest.is_none_or(|(end, _)| each.end < end) {
            earliest = Some((each.end, each));
        }
    }
}

/// The state before every commit, and after the last; the stored replies are held against it.
fn fold(actor: &str, model: Model, placed: &[Placed<'_>], verdict: &mut Verdict) -> Vec<Value> {
    let mut states = vec![model.initial()];
    for each in placed {
        let state = states.last().cloned().unwrap_or_default();
        let Some((after, reply)) = model.step(&state, each.name, each.body) else {
            let text = format!("{} {} is no command of its model", each.name, each.body);
            verdict.add(Kind::History, actor, text);
            states.push(state);
            continue;
        };
        let stored = &each.stored.commit;
        if *stored.reply != *reply.as_bytes() {
            let got = String::from_utf8_lossy(&stored.reply);
            let text = format!("commit {} answered {got}, where {reply} follows", stored.seq);
            verdict.add(Kind::WrongResult, actor, text);
        }
        states.push(after);
    }
    states
}

/// The state after so many commits, or none.
fn nth(states: &[Value], seq: u64) -> Option<&Value> {
    states.get(usize::try_from(seq).ok()?)
}

fn check_read(
    read: &Read,
    placed: &[Placed<'_>],
    expected: Option<(Model, Option<&Value>)>,
    verdict: &mut Verdict,
) {
    let actor = &read.actor;
    let seq = usize::try_from(read.answer.seq).unwrap_or(usize::MAX);
    let told = |text: &str| format!("a read in line {}, after commit {seq}, {text}", read.end + 1);
    if let Some((model, state)) = expected {
        let reply = state.and_then(|state| model.step(state, &read.name, &read.body)).map(|(_, reply)| reply);
        if reply.as_ref() != Some(&read.answer.reply) {
            let expected = reply.unwrap_or_else(|| "nothing: there is no such commit".to_owned());
            let text = told(&format!("was {}, where {expected} follows", read.answer.reply));
            verdict.add(Kind::WrongRead, actor, text);
        }
    }
    let (seen, unseen) = placed.split_at(seq.min(placed.len()));
    if let Some(future) = seen.iter().find(|each| each.start > read.end) {
        let text = told(&format!("saw commit {}, which nobody had asked for", future.stored.commit.seq));
        verdict.add(Kind::FutureRead, actor, text);
    }
    if let Some(newer) = seen.last().filter(|each| read.answer.epoch < each.stored.epoch) {
        let text = told(&format!("was under epoch {}, before it", read.answer.epoch));
        verdict.add(Kind::WrongEpoch, actor, format!("{text} ({})", newer.stored.epoch));
    }
    if let Some(missed) = unseen.iter().find(|each| read.consistent && each.end < read.start) {
        let text = told(&format!("did not see commit {}, acknowledged before", missed.stored.commit.seq));
        verdict.add(Kind::StaleRead, actor, text);
    }
}

/// A read never sees less than one that ended before it began.
fn go_back(actor: &str, reads: &mut [&Read], verdict: &mut Verdict) {
    let mut ended: Vec<&Read> = reads.to_vec();
    ended.sort_by_key(|read| read.end);
    reads.sort_by_key(|read| read.start);
    let mut ended = ended.into_iter().peekable();
    let mut most: Option<&Read> = None;
    for read in reads {
        while let Some(over) = ended.next_if(|other| other.end < read.start) {
            most = most.filter(|most| most.answer.seq >= over.answer.seq).or(Some(over));
        }
        if let Some(more) = most.filter(|most| most.answer.seq > read.answer.seq) {
            let text = format!(
                "a read in line {} saw commit {}, one in line {} only {}",
                more.end + 1,
                more.answer.seq,
                read.end + 1,
                read.answer.seq
            );
            verdict.add(Kind::ReadsGoBack, actor, text);
        }
    }
}
