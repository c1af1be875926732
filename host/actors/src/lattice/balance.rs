//! Shards that go from host to host while both live: by a person's word, or because a host that has joined
//! has fewer than its share. One at a time leaves a host, and one at a time comes to one; the host that gets
//! it is asked first, and answers when it is ready.
//!
//! ```text
//!  owner: is the other one fit? ─▶ reserve ─▶ (the other one follows the shard) ─▶ ready ─▶ give up ─▶ taken
//!                 │ no                │ no room, busy, not in time
//!                 └───────────────────┴─▶ refused, and nothing has moved
//! ```
//! A share is fair when no host of the kind has two shards more than another: then nothing moves, so shards
//! do not go back and forth. What a person has put somewhere stays there.

use super::values::{Part, owner_key};
use super::{Inner, PAUSE, SHARDS, SessionValue};
use crate::door::Door;
use crate::shard::Message;
use lattice_io::call::ask_entity;
use lattice_journal::lease::Sighting;
use lattice_journal::shard::StopReason;
use lattice_journal::{Hash, RecordSeq};
use lattice_protocol::entity::{EntityAsk, EntityCall};
use lattice_protocol::{ErrorCode, HostId, KindName, Report};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long a place is kept for a shard, milliseconds.
const KEPT_MS: u64 = 10_000;
/// Patience for one shard that goes to a host with fewer.
const PATIENCE: Duration = Duration::from_secs(30);
/// So many pauses after one that did not go.
const AGAIN: u32 = 10;
/// How many times its lease a host has to be there before it gets shards.
const SETTLED: u64 = 2;
/// How many more shards than the host that gets one its owner has at least.
const UNFAIR: usize = 2;

impl Inner {
    /// Hands shards to hosts that have fewer, one after the other.
    pub(super) async fn balance(self: Arc<Self>) {
        let Some(pause) = self.options.policy.balance else { return };
        self.until(|state| state.hears_sessions && state.hears_owners).await;
        loop {
            tokio::time::sleep(pause).await;
            let Some((part, to)) = self.unfair() else { continue };
            let (kind, shard) = &part;
            match self.hand(&part, (&to, false), PATIENCE).await {
                Ok(()) => tracing::info!(%kind, %shard, %to, "shard handed to a host with fewer"),
                Err(error) => {
                    tracing::debug!(%kind, %shard, %to, %error, "shard not handed over");
                    tokio::time::sleep(pause.saturating_mul(AGAIN)).await;
                }
            }
        }
    }

    /// A shard that this host has too many, and the host that has too few.
    fn unfair(&self) -> Option<(Part, HostId)> {
        let (now_ms, lease) = (self.now_ms(), self.options.lease);
        let state = self.state();
        state.lease.as_ref().filter(|(_, until_ms)| now_ms < *until_ms)?;
        let mine: Vec<Part> = state
            .parts
            .iter()
            .filter(|(part, inbox)| {
                let chosen = state.owners.get(&owner_key(part)).is_some_and(|owner| owner.chosen);
                inbox.is_some() && !chosen && !state.moving.contains_key(*part)
            })
            .map(|(part, _)| part.clone())
            .collect();
        let owned = |session: &str, kind: &KindName| {
            let prefix = format!("{kind}.");
            let of = state.owners.iter().filter(|(key, _)| key.starts_with(&prefix));
            of.filter(|(_, owner)| owner.session == session).count()
        };
        let settled = |host: &str, (value, seen): &(SessionValue, Sighting)| {
            let since = state.joined.get(host).filter(|(session, _)| *session == value.session);
            let long = since.is_some_and(|(_, since_ms)| {
                now_ms.saturating_sub(*since_ms) >= SETTLED.saturating_mul(lease.ttl_ms)
            });
            seen.lives(&lease, now_ms) && long
        };
        let others: Vec<(HostId, &SessionValue)> = state
            .seen
            .iter()
            .filter(|(host, seen)| **host != self.options.host.as_str() && settled(host, seen))
            .filter_map(|(host, (value, ..))| Some((host.parse().ok()?, value)))
            .collect();
        state.kinds.keys().find_map(|kind| {
            let have = state.parts.keys().filter(|(of, _)| of == kind).count();
            let hosts = others.iter().filter(|(_, value)| value.kinds.contains(kind));
            let counts = hosts.map(|(host, value)| (host.clone(), owned(&value.session, kind)));
            let mine = mine.iter().filter(|(of, _)| of == kind).cloned().collect();
            goes(mine, have, &counts.collect())
        })
    }

    /// Gives a shard of this host to another one that is fit and ready, and waits until it has it. `chosen`:
    /// a person wants it there.
    pub(super) async fn hand(
        &self,
        part: &Part,
        (to, chosen): (&HostId, bool),
        patience: Duration,
    ) -> Result<(), Report> {
        if *to == self.options.host {
            return Ok(());
        }
        let until = Instant::now() + patience;
        let given_up = AtomicBool::new(false);
        let moving = async {
            // It is never closed.
            let _one_at_a_time = self.handing.acquire().await;
            self.check_fit(part, to)?;
            let left_ms = |until: Instant| {
                u64::try_from(until.saturating_duration_since(Instant::now()).as_millis()).unwrap_or(u64::MAX)
            };
            loop {
                let last = self.opened(part)?.last().await?;
                match self.ask_for_room(part, to, last, left_ms(until)).await {
                    Ok(()) => break,
                    // Another one is on its way there.
                    Err(report) if report.code == ErrorCode::Overloaded => tokio::time::sleep(PAUSE).await,
                    Err(report) => return Err(report),
                }
            }
            self.give_up(part, to, chosen)?;
            given_up.store(true, Ordering::Relaxed);
            let (key, prefix) = (owner_key(part), format!("{to}."));
            self.until(|state| {
                state.owners.get(&key).is_some_and(|owner| owner.session.starts_with(&prefix))
            })
            .await;
            Ok(())
        };
        tokio::time::timeout(patience, moving).await.unwrap_or_else(|_| {
            let (what, hint) = if given_up.load(Ordering::Relaxed) {
                ("the other host has not taken the shard over in time", "see who has it: trellis actor list")
            } else {
                (
                    "no time was left to move the shard",
                    "nothing was moved; ask again, with more time: --timeout",
                )
            };
            let limit = format!("{} ms", patience.as_millis());
            Err(Report::new(ErrorCode::Timeout, what).limit(limit).hint(hint))
        })
    }

    /// An open shard of this host.
    fn opened(&self, part: &Part) -> Result<Door, Report> {
        let inbox = self.state().parts.get(part).cloned().flatten();
        inbox.map(|inbox| Door { inbox }).ok_or_else(|| {
            Report::new(ErrorCode::Moving, "this host does not own the shard")
                .hint("try again: it goes to the owner")
        })
    }

    /// Is the host there, and does it run the kind?
    fn check_fit(&self, part: &Part, to: &HostId) -> Result<(), Report> {
        self.opened(part)?;
        let (now_ms, lease) = (self.now_ms(), self.options.lease);
        let state = self.state();
        let refused = |what: String| {
            Err(Report::new(ErrorCode::HostNotFound, what)
                .hint("nothing was moved; name a host of `trellis get actors` that runs the kind"))
        };
        match state.seen.get(to.as_str()) {
            None => refused(format!("host {to} runs no persistent actors of the lattice")),
            Some((value, ..)) if !value.kinds.contains(&part.0) => {
                refused(format!("host {to} does not run {}", part.0))
            }
            Some((_, seen)) if !seen.lives(&lease, now_ms) => {
                let silent_ms = seen.age_ms(now_ms);
                refused(format!("host {to} has not renewed its lease for {silent_ms} ms"))
            }
            Some(_) => Ok(()),
        }
    }

    async fn ask_for_room(
        &self,
        part: &Part,
        to: &HostId,
        RecordSeq(record): RecordSeq,
        remaining_ms: u64,
    ) -> Result<(), Report> {
        let call = EntityCall {
            kind: part.0.clone(),
            app: None,
            ask: EntityAsk::Reserve { shard: part.1.0, record },
            remaining_ms,
            traceparent: None,
        };
        let options = &self.options;
        let asked = ask_entity((&*options.lattice.bus, &options.subjects), Some(to), &call, b"").await;
        asked.map(drop).map_err(|report| match report.code {
            ErrorCode::Connection | ErrorCode::Timeout => {
                Report::new(report.code, format!("host {to} does not answer, or not in time"))
                    .hint("nothing was moved; see what it does: trellis get hosts")
            }
            _ => report,
        })
    }

    /// Has a shard end, in favour of this host.
    fn give_up(&self, part: &Part, to: &HostId, chosen: bool) -> Result<(), Report> {
        let Door { inbox } = self.opened(part)?;
        self.state().moving.insert(part.clone(), (to.clone(), chosen));
        inbox.send(Message::Stop(StopReason::Shutdown));
        Ok(())
    }

    /// See [`super::LatticeActors::reserve`].
    pub(super) async fn reserve(
        &self,
        part: &Part,
        record: RecordSeq,
        patience: Duration,
    ) -> Result<(), Report> {
        self.keep_place(part)?;
        let ready = async {
            loop {
                let has = self.state().standing.get(part).map(|seat| seat.has(record));
                match has {
                    // Whoever had the seat may have begun anew.
                    Some(has) => match has.await {
                        Err(report) if report.code == ErrorCode::Moving => {}
                        settled => return settled,
                    },
                    // It is here already.
                    None if self.state().parts.contains_key(part) => return Ok(()),
                    None => {}
                }
                // The rule takes the seat.
                tokio::time::sleep(LOOK).await;
            }
        };
        let settled = tokio::time::timeout(patience, ready).await.unwrap_or_else(|_| {
            Err(Report::new(ErrorCode::Timeout, "the host has not followed the shard in time")
                .limit(format!("{} ms", patience.as_millis())))
        });
        if settled.is_err() {
            self.state().reserved.take_if(|(reserved, _)| reserved == part);
        }
        settled
    }

    /// Keeps a place for a shard, if there is one.
    fn keep_place(&self, part: &Part) -> Result<(), Report> {
        let now_ms = self.now_ms();
        let host = &self.options.host;
        if part.1.0 >= SHARDS {
            return Err(Report::new(ErrorCode::Usage, "no such shard").got(part.1).limit(SHARDS));
        }
        {
            let mut state = self.state();
            if !state.kinds.contains_key(&part.0) {
                let what = format!("host {host} does not run {}", part.0);
                return Err(Report::new(ErrorCode::HostNotFound, what));
            }
            if state.lease.as_ref().is_none_or(|(_, until_ms)| now_ms >= *until_ms) {
                return Err(Report::new(ErrorCode::Fenced, format!("host {host} holds no lease")));
            }
            if let Some((report, _)) = state.closed.get(part) {
                return Err(report.clone());
            }
            let other = state.reserved.as_ref();
            if other.is_some_and(|(reserved, until_ms)| reserved != part && now_ms < *until_ms) {
                let what = format!("another shard is on its way to host {host}");
                return Err(Report::new(ErrorCode::Overloaded, what));
            }
            self.options.room.check()?;
            state.reserved = Some((part.clone(), now_ms.saturating_add(KEPT_MS)));
        }
        self.changed.notify_waiters();
        Ok(())
    }
}

/// How often it is looked whether a standby has begun.
const LOOK: Duration = Duration::from_millis(10);

/// Which of one kind's shards goes, and where to: to the host with the fewest, if this one has so many more;
/// the one that is most likely to be that host's when hosts come and go. `have` counts those as well that
/// cannot go.
fn goes(mine: Vec<Part>, have: usize, others: &BTreeMap<HostId, usize>) -> Option<(Part, HostId)> {
    let (to, count) = others.iter().min_by_key(|(host, count)| (**count, *host))?;
    if have < count.saturating_add(UNFAIR) {
        return None;
    }
    let weight = |part: &Part| Hash::of(format!("{} {} {to}", part.0, part.1).as_bytes());
    let part = mine.into_iter().max_by_key(weight)?;
    Some((part, to.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lattice_journal::ShardId;

    fn parts(shards: impl IntoIterator<Item = u16>) -> Vec<Part> {
        shards.into_iter().map(|shard| ("meter".parse().unwrap(), ShardId(shard))).collect()
    }

    #[test]
    fn shards_go_until_shares_are_fair_and_then_never_again() {
        for hosts in 2..=6_usize {
            // One host has all; whoever has too many hands one on, in any order.
            let names: Vec<HostId> = (0..hosts).map(|n| format!("H{n}").parse().unwrap()).collect();
            let mut owned: BTreeMap<HostId, Vec<Part>> =
                names.iter().map(|host| (host.clone(), Vec::new())).collect();
            owned.insert(names[0].clone(), parts(0..SHARDS));
            let mut moves = 0;
            loop {
                let step = names.iter().find_map(|host| {
                    let others = owned.iter().filter(|(other, _)| *other != host);
                    let counts = others.map(|(other, parts)| (other.clone(), parts.len())).collect();
                    let mine = owned[host].clone();
                    let have = mine.len();
                    Some((host.clone(), goes(mine, have, &counts)?))
                });
                let Some((from, (part, to))) = step else { break };
                owned.get_mut(&from).unwrap().retain(|one| *one != part);
                owned.get_mut(&to).unwrap().push(part);
                moves += 1;
                assert!(moves <= usize::from(SHARDS), "they go back and forth");
            }
            let counts: Vec<usize> = owned.values().map(Vec::len).collect();
            let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            assert!(most - least <= 1, "{counts:?}");
            assert_eq!(counts.iter().sum::<usize>(), usize::from(SHARDS), "none is lost");
        }
    }

    #[test]
    fn what_cannot_go_counts_and_stays() {
        let others = BTreeMap::from([("H2".parse().unwrap(), 0)]);
        assert_eq!(goes(Vec::new(), 8, &others), None);
        let (part, to) = goes(parts([3]), 8, &others).unwrap();
        assert_eq!((part.1, to.as_str()), (ShardId(3), "H2"));
        assert_eq!(goes(parts([3]), 1, &others), None, "one more is fair");
        assert_eq!(goes(parts([3]), 8, &BTreeMap::new()), None);
    }
}
