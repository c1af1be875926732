//! What came out at the sinks, against the commits that asked for it.

use super::chain::{Stored, Truth};
use crate::finding::{Kind, Verdict};
use crate::history::{Entry, History};
use lattice_journal::{CommandRef, Effect};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn check(history: &History, truth: &Truth, ended: bool, verdict: &mut Verdict) {
    let out = arrived(history, truth, verdict);
    if ended {
        lost(truth, &out, verdict);
        lost_sends(truth, verdict);
    }
}

/// Which effects took effect: actor, commit, place in it.
type Arrived<'a> = BTreeSet<(&'a str, u64, u32)>;

fn arrived<'a>(history: &'a History, truth: &Truth, verdict: &mut Verdict) -> Arrived<'a> {
    let mut out = Arrived::new();
    let mut at_sink: BTreeSet<(&str, &str, u64, u32)> = BTreeSet::new();
    let mut highest: BTreeMap<(&str, u16), u64> = BTreeMap::new();
    for entry in &history.0 {
        let Entry::Effect { sink, actor, seq, index, epoch, accepted: true } = entry else { continue };
        verdict.counts.effects += 1;
        let place = format!("sink {sink}");
        let name = format!("effect {seq}.{index} of {actor}");
        out.insert((actor, *seq, *index));
        if !at_sink.insert((sink, actor, *seq, *index)) {
            verdict.add(Kind::DoubledEffect, &place, format!("{name} took effect twice"));
        }
        match commit(truth, actor, *seq).filter(|stored| outgoing(stored, *index)) {
            None => verdict.add(Kind::UnexpectedEffect, &place, format!("{name} is in no commit")),
            Some(stored) if *epoch < stored.epoch => {
                let text = format!("{name} came under epoch {epoch}, and was stored under {}", stored.epoch);
                verdict.add(Kind::StaleEffect, &place, text);
            }
            Some(_) => {}
        }
        let shard = truth.shards.get(actor).map(|shard| shard.0).unwrap_or_default();
        let highest = highest.entry((sink, shard)).or_default();
        if *epoch < *highest {
            let text = format!("{name} came under epoch {epoch}, after one under {highest}");
            verdict.add(Kind::StaleEffect, &place, text);
        }
        *highest = (*highest).max(*epoch);
    }
    out
}

fn commit<'a>(truth: &'a Truth, actor: &str, seq: u64) -> Option<&'a Stored> {
    let commits = truth.actors.get(actor)?;
    let place = usize::try_from(seq.checked_sub(1)?).ok()?;
    let there = commits.get(place).filter(|stored| stored.commit.seq.0 == seq);
    there.or_else(|| commits.iter().find(|stored| stored.commit.seq.0 == seq))
}

/// Is that effect of the commit one that leaves for a sink?
fn outgoing(stored: &Stored, index: u32) -> bool {
    let effect = usize::try_from(index).ok().and_then(|index| stored.commit.effects.get(index));
    matches!(effect, Some(Effect::Publish { .. } | Effect::Call { .. }))
}

fn lost(truth: &Truth, out: &Arrived<'_>, verdict: &mut Verdict) {
    for (actor, commits) in &truth.actors {
        for stored in commits {
            let seq = stored.commit.seq.0;
            for (index, _) in (0..).zip(&stored.commit.effects).filter(|(index, _)| outgoing(stored, *index))
            {
                if !out.contains(&(actor, seq, index)) {
                    verdict.add(Kind::LostEffect, actor, format!("effect {seq}.{index} never came out"));
                }
            }
        }
    }
}

/// Every command from actor to actor has been carried out.
fn lost_sends(truth: &Truth, verdict: &mut Verdict) {
    let mut received: BTreeSet<(String, &str, u64)> = BTreeSet::new();
    for (actor, commits) in &truth.actors {
        for stored in commits {
            if let CommandRef::Sent { from, sequence } = &stored.commit.command {
                received.insert((from.to_string(), actor, *sequence));
            }
        }
    }
    for (actor, commits) in &truth.actors {
        for effect in commits.iter().flat_map(|stored| &stored.commit.effects) {
            if let Effect::Send { to, sequence, .. } = effect
                && !received.contains(&(actor.clone(), &*to.to_string(), *sequence))
            {
                let text = format!("message {sequence} to {to} never arrived");
                verdict.add(Kind::LostSend, actor, text);
            }
        }
    }
}
