//! Questions of people: what there is, and where the history of an actor is.

use super::ShardLoop;
use crate::activate::{Sources, Wanted};
use lattice_journal::{Now, RecordSeq};
use lattice_protocol::{ActorId, EntityKey, KindName, Report};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio::sync::oneshot;

/// Most actors in one listing.
const MAX_LINES: usize = 10_000;

/// One actor of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActorLine {
    /// Which.
    pub key: EntityKey,
    /// Is it in memory?
    pub active: bool,
    /// Its last commit, as far as that is known without bringing it into memory.
    pub seq: Option<u64>,
    /// Timers that run.
    pub timers: usize,
    /// Why it is left alone for a while.
    pub failing: Option<String>,
}

/// What there is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listing {
    /// Kinds that run here, each with the actor of the manifest that it is.
    pub kinds: Vec<(KindName, ActorId)>,
    /// Actors, by key; not all of them when there are very many.
    pub actors: Vec<ActorLine>,
    /// Effects that wait to be carried out.
    pub outbox: usize,
    /// The last record of the journal.
    pub record: u64,
    /// Were there more than are listed?
    pub more: bool,
}

/// A state as the guest saves it, and what the host keeps beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StateView {
    /// Which actor.
    pub key: EntityKey,
    /// The last commit in it.
    pub seq: u64,
    /// When that was, milliseconds since 1970.
    pub at_ms: u64,
    /// Hash of the history up to there.
    pub history: String,
    /// Version of the state's form.
    pub version: u32,
    /// The state, base64.
    pub state: String,
    /// BLAKE3 of the state.
    pub hash: String,
    /// Timers that run: name and when.
    pub timers: Vec<(String, u64)>,
    /// Has the actor ended?
    pub ended: bool,
}

/// A question.
pub(crate) enum Look {
    List {
        kind: Option<KindName>,
        reply: oneshot::Sender<Listing>,
    },
    /// The last record.
    Last {
        reply: oneshot::Sender<Result<RecordSeq, Report>>,
    },
    /// What it takes to fold an actor elsewhere than in its live state.
    History {
        key: EntityKey,
        reply: oneshot::Sender<Result<(Sources, Wanted), Report>>,
    },
}

impl ShardLoop {
    pub(super) fn look(&mut self, look: Look, now: Now) {
        match look {
            // Whoever asked may have stopped waiting.
            Look::List { kind, reply } => drop(reply.send(self.list(kind.as_ref(), now))),
            Look::Last { reply } => drop(reply.send(Ok(self.shard.tail().chain.seq()))),
            Look::History { key, reply } => drop(reply.send(self.history(key))),
        }
    }

    fn list(&self, kind: Option<&KindName>, now: Now) -> Listing {
        let of_kind = |key: &&EntityKey| kind.is_none_or(|kind| key.kind == *kind);
        let snapshots = self.trimmer.snapshots();
        let snapshotted: Vec<EntityKey> = snapshots.iter().map(|found| found.key).collect();
        let known = self.live.keys().chain(self.index.actors()).chain(&snapshotted).filter(of_kind);
        let known = known.filter(|key| !snapshots.is_buried(key));
        let keys: std::collections::BTreeSet<&EntityKey> = known.collect();
        let line = |key: &EntityKey| ActorLine {
            key: key.clone(),
            active: self.shard.ledger(key).is_some(),
            seq: self.shard.ledger(key).map(|ledger| ledger.seq().0),
            timers: self.schedule.of(key),
            failing: self.live.get(key).and_then(|live| {
                live.paused(now.monotonic_ms)?;
                live.last_trap.as_ref().map(ToString::to_string)
            }),
        };
        // Who was only asked has no commit, and is not there.
        let lines = keys.into_iter().map(line).filter(|line| line.seq != Some(0) || line.failing.is_some());
        let mut actors: Vec<ActorLine> = lines.take(MAX_LINES + 1).collect();
        let more = actors.len() > MAX_LINES;
        actors.truncate(MAX_LINES);
        Listing {
            kinds: self.kinds.iter().map(|(name, kind)| (name.clone(), kind.actor.clone())).collect(),
            more,
            actors,
            outbox: self.outbox.waiting(),
            record: self.shard.tail().chain.seq().0,
        }
    }

    fn history(&self, key: EntityKey) -> Result<(Sources, Wanted), Report> {
        let kind = self.kinds.get(&key.kind).cloned().ok_or_else(|| super::no_kind(&key.kind))?;
        if self.trimmer.snapshots().is_buried(&key) {
            return Err(lattice_journal::ledger::deleted(&key));
        }
        let sources = Sources {
            shard: self.shard_id(),
            log: Arc::clone(&self.log),
            snapshots: Arc::clone(&self.shared.snapshots),
        };
        let wanted = Wanted {
            kind,
            // Whatever it does there is not felt by those who work.
            alone: true,
            last: self.shard.tail().chain.seq(),
            places: self.index.after(&key, RecordSeq(0)).to_vec(),
            first: self.first,
            must: self.trimmer.snapshots().get(&key),
            key,
        };
        Ok((sources, wanted))
    }
}
