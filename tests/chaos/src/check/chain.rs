//! Records into commits that count, by a replay rule of the checker's own: it shares the decoder with the system, and
//! not the decision.

use crate::finding::{Kind, Verdict};
use crate::history::{Entry, History, STREAM};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use lattice_journal::record::Body;
use lattice_journal::{Commit, Epoch, Hash, RecordSeq, Sealed, ShardId};
use std::collections::BTreeMap;

/// A commit that counts, and under which epoch it was stored.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) commit: Commit,
    pub(super) epoch: u64,
}

/// What is so, as the journal says.
#[derive(Debug, Default)]
pub(super) struct Truth {
    /// The commits of each actor, in the order of its shard.
    pub(super) actors: BTreeMap<String, Vec<Stored>>,
    /// The shard of each actor.
    pub(super) shards: BTreeMap<String, ShardId>,
}

/// One copy of one shard, as far as it was read.
#[derive(Default)]
struct Copy {
    seq: RecordSeq,
    head: Hash,
    epoch: Epoch,
    valid: BTreeMap<RecordSeq, Hash>,
    stopped: bool,
}

/// Why a record does not count.
enum Skipped {
    Chain(String),
    Epoch(String),
    NotRaised(String),
    /// Stored twice.
    Again,
}

impl Copy {
    fn offer(&mut self, sealed: &Sealed) -> Result<(), Skipped> {
        let record = sealed.record();
        let (seq, epoch) = (record.seq, record.epoch);
        if self.valid.get(&seq) == Some(&sealed.hash()) {
            return Err(Skipped::Again);
        }
        match &record.body {
            Body::EpochOpened { owner } if epoch <= self.epoch => {
                let text = format!("{owner} opened epoch {epoch}, where {} is current", self.epoch);
                return Err(Skipped::NotRaised(text));
            }
            Body::Commits { .. } | Body::Checkpoint(_) if epoch != self.epoch => {
                let text = format!("record {seq} of epoch {epoch}, where {} is current", self.epoch);
                return Err(Skipped::Epoch(text));
            }
            _ => {}
        }
        if record.previous != self.head || seq != self.seq.next() {
            let text = format!(
                "record {seq} follows {}, where record {} with {} is the last",
                record.previous, self.seq, self.head
            );
            return Err(Skipped::Chain(text));
        }
        (self.seq, self.head, self.epoch) = (seq, sealed.hash(), epoch);
        self.valid.insert(seq, sealed.hash());
        Ok(())
    }
}

impl Truth {
    pub(super) fn read(history: &History, verdict: &mut Verdict) -> Self {
        let mut truth = Self::default();
        let mut copies: BTreeMap<(u16, &str), Copy> = BTreeMap::new();
        for entry in &history.0 {
            let Entry::Record { copy: name, shard, bytes, accepted } = entry else { continue };
            let copy = copies.entry((*shard, name)).or_default();
            if copy.stopped {
                continue;
            }
            let place = format!("shard {shard} in {name}");
            let sealed = match open(bytes) {
                Ok(sealed) => sealed,
                Err(reason) => {
                    // As any reader must: what comes behind damage is not known.
                    copy.stopped = true;
                    verdict.add(Kind::Damaged, place, format!("after record {}: {reason}", copy.seq));
                    continue;
                }
            };
            let wrong_shard = sealed.record().shard != ShardId(*shard);
            let offered = if wrong_shard {
                Err(Skipped::Chain(format!("a record of shard {}", sealed.record().shard)))
            } else {
                copy.offer(&sealed)
            };
            judge(offered.as_ref().err(), *accepted, &place, &sealed, verdict);
            if name == STREAM {
                match offered {
                    Ok(()) => truth.take_in(&sealed, verdict),
                    Err(_) => verdict.counts.skipped += 1,
                }
            }
        }
        compare(&copies, verdict);
        truth
    }

    fn take_in(&mut self, sealed: &Sealed, verdict: &mut Verdict) {
        let record = sealed.record();
        verdict.counts.records += 1;
        verdict.counts.owners += usize::from(matches!(record.body, Body::EpochOpened { .. }));
        verdict.counts.commits += record.commits().len();
        for commit in record.commits() {
            let actor = commit.key.to_string();
            self.shards.insert(actor.clone(), record.shard);
            let stored = Stored { commit: commit.clone(), epoch: record.epoch.0 };
            self.actors.entry(actor).or_default().push(stored);
        }
    }
}

fn open(bytes: &str) -> Result<Sealed, String> {
    let bytes = BASE64_STANDARD.decode(bytes).map_err(|error| error.to_string())?;
    Sealed::open(bytes.into()).map_err(|error| error.to_string())
}

/// Holds what the system thought of a record against what is so.
fn judge(
    skipped: Option<&Skipped>,
    accepted: Option<bool>,
    place: &str,
    sealed: &Sealed,
    verdict: &mut Verdict,
) {
    match (skipped, accepted) {
        (None, Some(false)) => {
            let text = format!("record {} is valid, and was not taken for it", sealed.record().seq);
            verdict.add(Kind::RejectedValid, place, text);
        }
        (Some(Skipped::Chain(text)), Some(true)) => verdict.add(Kind::ChainBroken, place, text.as_str()),
        (Some(Skipped::Epoch(text)), Some(true)) => verdict.add(Kind::StaleEpoch, place, text.as_str()),
        (Some(Skipped::NotRaised(text)), Some(true)) => {
            verdict.add(Kind::EpochNotRaised, place, text.as_str());
        }
        _ => {}
    }
}

/// Copies of a shard agree as far as both go.
fn compare(copies: &BTreeMap<(u16, &str), Copy>, verdict: &mut Verdict) {
    for ((shard, name), copy) in copies {
        let others = copies.iter().filter(|((other, another), _)| other == shard && another > name);
        for ((_, another), other) in others {
            let differs = copy.valid.iter().zip(&other.valid).find(|(left, right)| left != right);
            if let Some(((seq, left), (_, right))) = differs {
                let text = format!("record {seq} is {left} in {name} and {right} in {another}");
                verdict.add(Kind::Divergence, format!("shard {shard}"), text);
            }
        }
    }
}
