//! Questions of people: what there is, and where the history of an actor is.

use super::ShardLoop;
use crate::activate::{Sources, Wanted};
use crate::device::blocking;
use lattice_journal::{Now, RecordSeq};
use lattice_protocol::{ActorId, EntityKey, KindName, Report};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
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

/// The first lines of a listing, by key.
struct Lines {
    kind: Option<KindName>,
    lines: BTreeMap<EntityKey, ActorLine>,
}

impl Lines {
    fn add(&mut self, line: ActorLine) {
        if self.kind.as_ref().is_some_and(|kind| line.key.kind != *kind) {
            return;
        }
        self.lines.insert(line.key.clone(), line);
        // One more than is listed: that there are more is told.
        if self.lines.len() > MAX_LINES + 1 {
            self.lines.pop_last();
        }
    }

    fn into_listing(mut self, listing: Listing) -> Listing {
        let more = self.lines.len() > MAX_LINES;
        if more {
            self.lines.pop_last();
        }
        Listing { more, actors: self.lines.into_values().collect(), ..listing }
    }
}

impl ShardLoop {
    pub(super) fn look(&mut self, look: Look, now: Now) {
        match look {
            Look::List { kind, reply } => self.list(kind, reply, now),
            // Whoever asked may have stopped waiting.
            Look::Last { reply } => drop(reply.send(Ok(self.shard.tail().chain.seq()))),
            Look::History { key, reply } => drop(reply.send(self.history(key))),
        }
    }

    fn list(&mut self, kind: Option<KindName>, reply: oneshot::Sender<Listing>, now: Now) {
        let mut lines = Lines { kind, lines: BTreeMap::new() };
        let known = self.live.keys().cloned().chain(self.roster.actors());
        for key in known.filter(|key| !self.roster.is_buried(key)) {
            let seq = self.shard.ledger(&key).map(|ledger| ledger.seq().0);
            let line = ActorLine {
                active: seq.is_some(),
                seq,
                timers: self.schedule.of(&key),
                failing: self.live.get(&key).and_then(|live| {
                    live.paused(now.monotonic_ms)?;
                    live.last_trap.as_ref().map(ToString::to_string)
                }),
                key,
            };
            // Who was only asked has no commit, and is not there.
            if line.seq != Some(0) || line.failing.is_some() {
                lines.add(line);
            }
        }
        let listing = Listing {
            kinds: self.kinds.iter().map(|(name, kind)| (name.clone(), kind.actor.clone())).collect(),
            outbox: self.outbox.waiting(),
            record: self.shard.tail().chain.seq().0,
            ..Listing::default()
        };
        if self.roster.cold() == 0 {
            // Whoever asked may have stopped waiting.
            return drop(reply.send(lines.into_listing(listing)));
        }
        let survey = self.roster.survey();
        let timers: HashMap<EntityKey, usize> =
            self.schedule.actors().map(|(key, timers)| (key.clone(), timers)).collect();
        self.shared.scope.spawn_best_effort("list", async move {
            let listed = blocking(move || {
                survey.cold(|key| {
                    let timers = timers.get(&key).copied().unwrap_or_default();
                    lines.add(ActorLine { key, active: false, seq: None, timers, failing: None });
                })?;
                Ok(lines.into_listing(listing))
            });
            match listed.await {
                Ok(listing) => drop(reply.send(listing)),
                Err(report) => tracing::error!(error = %report, "actors are not listed"),
            }
        });
    }

    fn history(&self, key: EntityKey) -> Result<(Sources, Wanted), Report> {
        let kind = self.kinds.get(&key.kind).cloned().ok_or_else(|| super::no_kind(&key.kind))?;
        if self.roster.is_buried(&key) {
            return Err(lattice_journal::ledger::deleted(&key));
        }
        let sources = Sources {
            shard: self.shard_id(),
            log: Arc::clone(&self.log),
            snapshots: Arc::clone(&self.shared.snapshots),
        };
        let (places, must) = self.roster.look(&key)?;
        let wanted = Wanted {
            kind,
            // Whatever it does there is not felt by those who work.
            alone: true,
            last: self.shard.tail().chain.seq(),
            places,
            first: self.first,
            must,
            key,
        };
        Ok((sources, wanted))
    }
}
