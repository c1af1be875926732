//! One shard of this host: taken over, served until it stops, given back.

use super::standby::{Followers, Seat};
use super::stream::StreamLog;
use super::takeover::{self, Ahead, Stuck};
use super::values::{Part, owner_key};
use super::{Inner, PAUSE, SHARDS};
use crate::policy::Policy;
use crate::shard::{Realm, ShardLoop, Shared};
use lattice_io::TaskScope;
use lattice_journal::SessionId;
use lattice_journal::shard::StopReason;
use lattice_protocol::ErrorCode;
use lattice_protocol::ownership::OwnerValue;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Pause before it is looked whether a shard that was closed has been repaired, milliseconds.
const CLOSED_MS: u64 = 10_000;
/// How long a host that had a shard waits until it looks whether nobody has it, milliseconds.
const HEARD_MS: u64 = 100;

impl Inner {
    /// Takes a shard over and serves it until it stops.
    pub(super) async fn own(&self, part: &Part, session: SessionId, seat: Option<Seat>) {
        let began = self.now_ms();
        let followers = match seat {
            Some(seat) => seat.hand_over().await,
            None => None,
        };
        let (scope, followed) = match followers {
            Some(Followers { log, scope, history, standby, folded }) => {
                (scope, Some((log, (history, standby, folded))))
            }
            None => (self.scope.child(format_args!("{}.{}", part.0, part.1)), None),
        };
        match self.serve(part, session.clone(), (&scope, followed), began).await {
            Ok(StopReason::Shutdown) => self.release(part, &session).await,
            Ok(reason) => tracing::info!(kind = %part.0, shard = %part.1, "{}", reason.report()),
            Err(Stuck::Closed(report)) => {
                tracing::error!(kind = %part.0, shard = %part.1, error = %report, "shard closed");
                let again_ms = self.now_ms().saturating_add(CLOSED_MS);
                self.state().closed.insert(part.clone(), (report, again_ms));
            }
            Err(Stuck::Passes(report)) => {
                tracing::warn!(kind = %part.0, shard = %part.1, error = %report, "shard not taken over");
                tokio::time::sleep(PAUSE).await;
            }
        }
        scope.shutdown(Duration::from_secs(2)).await;
    }

    /// A shard is neither owned here nor being taken over any more.
    pub(super) fn gone(&self, part: &Part) {
        let mut state = self.state();
        state.parts.remove(part);
        state.moving.remove(part);
        // Who has it now may not have been heard of here yet.
        let since_ms = self.now_ms().saturating_add(HEARD_MS);
        state.orphaned.insert(part.clone(), since_ms);
        drop(state);
        self.changed.notify_waiters();
    }

    /// Says that a shard, all of whose turns are over, is anybody's: nobody has to wait for the lease.
    async fn release(&self, part: &Part, session: &SessionId) {
        let (to, chosen) = match self.state().moving.remove(part) {
            Some((to, chosen)) => (Some(to), chosen),
            None => (None, false),
        };
        let key = owner_key(part);
        let Ok(Some(entry)) = self.owners.get_latest(&key).await else { return };
        let Ok(value) = serde_json::from_slice::<OwnerValue>(&entry.value) else { return };
        if value.session != session.as_str() {
            return;
        }
        let released = value.released(to, chosen);
        // Plain strings and numbers: this cannot fail.
        let value = serde_json::to_vec(&released).unwrap_or_default().into();
        match self.owners.update(&key, value, entry.revision).await {
            Ok(_) => {
                // Whoever took it since then has a higher epoch.
                let mut state = self.state();
                if state.owners.get(&key).is_none_or(|known| known.epoch <= released.epoch) {
                    state.owners.insert(key, released);
                }
            }
            Err(error) => {
                tracing::debug!(%error, key, "shard not given back: the others wait for the lease");
            }
        }
    }

    async fn serve(
        &self,
        part: &Part,
        session: SessionId,
        (scope, followed): (&TaskScope, Option<(StreamLog, Ahead)>),
        began_ms: u64,
    ) -> Result<StopReason, Stuck> {
        let (log, followed) = match followed {
            Some((log, followed)) => (log, Some(followed)),
            None => (self.open_log(part, scope).await?, None),
        };
        let ahead = followed.is_some();
        let opened = takeover::run(self, part, session.clone(), &log, followed).await?;
        let epoch = opened.tail.chain.epoch();
        let behind = opened.first.0.saturating_sub(1);
        let read = opened.tail.chain.seq().0.saturating_sub(behind);
        let (shard, messages) = {
            let mut state = self.state();
            // Another session of this host has another lease: to whoever reads that one, this shard is anybody's.
            let Some(until_ms) = state.holds_until(&session) else { return Err(takeover::lease_ended()) };
            let Some(kind) = state.kinds.get(&part.0).cloned() else { return Ok(StopReason::Shutdown) };
            let shared = Shared {
                policy: Policy {
                    trim_records: self.options.policy.checkpoint_records,
                    snapshots_at_once: self.options.policy.checkpoint_snapshots,
                    ..self.options.policy
                },
                clock: Arc::clone(&self.options.clock),
                snapshots: Arc::clone(&self.options.snapshots),
                aside: Arc::clone(&self.options.aside),
                peers: Arc::clone(&self.options.peers),
                scope: scope.clone(),
                realm: Realm::Part { kind: part.0.clone(), shard: part.1, of: SHARDS },
                lease_until_ms: until_ms,
            };
            let kinds = BTreeMap::from([(part.0.clone(), kind)]);
            let (shard, inbox, messages) = ShardLoop::new(shared, Arc::new(log), opened, kinds);
            state.parts.insert(part.clone(), Some(inbox));
            state.closed.remove(part);
            state.reserved.take_if(|(reserved, _)| reserved == part);
            (shard, messages)
        };
        let took_ms = self.now_ms().saturating_sub(began_ms);
        tracing::info!(kind = %part.0, shard = %part.1, %epoch, behind, read, ahead, took_ms, "shard taken over");
        Ok(shard.run(messages).await)
    }

    async fn open_log(&self, part: &Part, scope: &TaskScope) -> Result<StreamLog, Stuck> {
        let replicas = self.state().kinds.get(&part.0).map(|kind| kind.policy.replicas).unwrap_or_default();
        let owners = Arc::clone(&self.owners);
        let opening = StreamLog::open(&self.options, (part, replicas), owners, scope).await;
        opening.map_err(|report| match report.code {
            // The server says no, and will go on saying it.
            ErrorCode::Io => Stuck::Closed(report),
            _ => report.into(),
        })
    }
}
