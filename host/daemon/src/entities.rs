//! Persistent actors as the rest of the daemon sees them: their components behind `host/actors`, the
//! calls that come for them over the bus, and those that they send to actors elsewhere.

use bytes::Bytes;
use host_actors::shard::Listing;
use host_actors::{Actors, DomainActors, Door, Kind, KindPolicy, LatticeActors, StaleAnswer};
use host_runtime::PersistentKind;
use lattice_io::call::{answer_each, ask_entity};
use lattice_io::{Bus, Replicas, TaskScope};
use lattice_journal::command::CommandRef;
use lattice_journal::retain::Retention;
use lattice_journal::shard::Submitted;
use lattice_journal::snapshot::SnapshotPolicy;
use lattice_journal::{Command, CommandId, RecordSeq, ShardId};
use lattice_protocol::entity::{Attempts, CommandBy, EntityAnswer, EntityAsk, EntityCall};
use lattice_protocol::subject::{SERVE_GROUP, Subjects};
use lattice_protocol::{ActorId, EntityKey, ErrorCode, HostId, KindName, Persistent, Report};
use serde::Serialize;
use std::sync::Arc;
use std::time::{Duration, Instant};

mod again;
mod reach;

use reach::ThroughLinks;
pub use reach::{LinkedKind, MemoryRoom, OverBus};

/// Calls from the bus that one kind has in hand at once.
const MAX_IN_HAND: usize = 4_096;
/// Pause before the owner of an actor is looked for again.
const PAUSE: Duration = Duration::from_millis(50);
/// Patience for an owner that may have died, milliseconds.
const PASSED_MS: u64 = 2_000;
/// The same of a query that a standby may answer as well.
const PASSED_STALE_MS: u64 = 1_000;
/// Longest wait for one call, whatever its head says.
const MAX_PATIENCE: Duration = Duration::from_secs(600);

/// How a kind is treated, as its manifest says.
#[must_use]
pub fn policy(persistent: &Persistent) -> KindPolicy {
    KindPolicy {
        snapshots: SnapshotPolicy {
            events: persistent.snapshot_events,
            interval_ms: persistent.snapshot_seconds.saturating_mul(1_000),
            replay_us: persistent.snapshot_replay_ms.saturating_mul(1_000),
        },
        idle_ms: persistent.idle_seconds.saturating_mul(1_000),
        retain: Retention {
            age_ms: persistent.retain_hours.saturating_mul(3_600_000),
            bytes: persistent.retain_mib.saturating_mul(1 << 20),
        },
        replicas: if persistent.replicas > 1 { Replicas::Three } else { Replicas::One },
    }
}

/// A kind that runs, for `host/actors`.
#[must_use]
pub fn kind(actor: ActorId, running: Arc<PersistentKind>, persistent: &Persistent) -> Kind {
    let effects = Arc::new(ThroughLinks(Arc::clone(&running)));
    Kind { actor, guests: running, effects, policy: policy(persistent) }
}

fn json<T: Serialize>(value: &T) -> Result<(EntityAnswer, Bytes), Report> {
    let text = serde_json::to_vec(value)
        .map_err(|error| Report::new(ErrorCode::Internal, format!("answer not written: {error}")))?;
    Ok((EntityAnswer::default(), text.into()))
}

fn command_id(id: &str) -> Result<CommandId, Report> {
    id.parse().map_err(|error| {
        Report::new(ErrorCode::Usage, format!("{error}")).hint("leave the id out, and one is made")
    })
}

fn submitted(answer: Submitted) -> Result<(EntityAnswer, Bytes), Report> {
    let Submitted { reply, seq, epoch, repeated, .. } = answer;
    Ok((EntityAnswer { seq: seq.0, epoch: epoch.0, repeated, stale: None }, reply))
}

/// All persistent actors, as this host reaches them.
#[derive(Clone)]
pub struct Entities {
    /// Those that are pinned to this host.
    pub device: Actors,
    /// Those whose journal is in the lattice, in whichever domain.
    pub lattice: DomainActors,
    /// The bus.
    pub bus: Arc<dyn Bus>,
    /// Subjects of the lattice.
    pub subjects: Subjects,
    /// This host.
    pub host: HostId,
}

impl Entities {
    /// The actor of the manifest that a kind is, if it runs here.
    #[must_use]
    pub fn kind(&self, kind: &KindName) -> Option<ActorId> {
        self.device.kind(kind).or_else(|| self.lattice.runs(kind))
    }

    /// Answers one call of a kind that runs here; what another host owns, that host is asked for.
    ///
    /// # Errors
    /// What is wrong with the call, or becomes of it.
    pub async fn answer(&self, call: EntityCall, body: Bytes) -> Result<(EntityAnswer, Bytes), Report> {
        self.check_app(&call)?;
        if let Some(actors) = self.lattice.of(&call.kind) {
            if let Some(key) = call.ask.key().cloned() {
                return self.find(&actors, &key, call, body).await;
            }
            if matches!(call.ask, EntityAsk::List) {
                return json(&self.list_all(&actors, call).await?);
            }
        }
        let door = self.device.door();
        self.carry_out(door, call, body).await
    }

    /// Answers a call that another host has passed on, believing that this one owns the actor.
    ///
    /// # Errors
    /// `E_MOVING` when it does not.
    pub async fn answer_here(&self, call: EntityCall, body: Bytes) -> Result<(EntityAnswer, Bytes), Report> {
        self.check_app(&call)?;
        let actors = self.lattice.of(&call.kind);
        if let EntityAsk::Query { key, stale: true, .. } = &call.ask
            && let Some(actors) = &actors
            && actors.door(key).is_none()
        {
            return stale_here(actors, key, &call, &body).await.unwrap_or_else(|| Err(moving()));
        }
        let door = match (call.ask.key(), &actors) {
            (Some(key), Some(actors)) => actors.door(key).ok_or_else(moving),
            _ => self.device.door(),
        };
        self.carry_out(door, call, body).await
    }

    fn check_app(&self, call: &EntityCall) -> Result<(), Report> {
        match (&call.app, self.kind(&call.kind)) {
            (Some(app), Some(of)) if of.app != *app => {
                let what = format!("kind {} is not of {app}", call.kind);
                Err(Report::new(ErrorCode::ActorNotFound, what).got(of))
            }
            _ => Ok(()),
        }
    }

    /// Asks the owner, whoever it is by then, for as long as the caller waits: each attempt carries
    /// the same command id, and a query changes nothing.
    async fn find(
        &self,
        actors: &LatticeActors,
        key: &EntityKey,
        mut call: EntityCall,
        body: Bytes,
    ) -> Result<(EntityAnswer, Bytes), Report> {
        let until = Instant::now() + Duration::from_millis(call.remaining_ms).min(MAX_PATIENCE);
        let may_be_stale = matches!(call.ask, EntityAsk::Query { stale: true, .. });
        let is_command = call.ask.is_command();
        let mut attempts = Attempts::default();
        let mut told = |report| if is_command { attempts.told(report) } else { report };
        loop {
            let left = until.saturating_duration_since(Instant::now());
            call.remaining_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
            let attempt = match (actors.door(key), actors.owner(key)) {
                (Some(door), _) => self.carry_out(Ok(door), call.clone(), body.clone()).await,
                (None, Some(owner)) if owner != self.host => {
                    // A dead owner must not use up the caller's time.
                    let most_ms = if may_be_stale { PASSED_STALE_MS } else { PASSED_MS };
                    let passed = EntityCall { remaining_ms: call.remaining_ms.min(most_ms), ..call.clone() };
                    ask_entity((&*self.bus, &self.subjects), Some(&owner), &passed, &body).await
                }
                (None, _) => Err(actors.closed(key).unwrap_or_else(moving)),
            };
            if may_be_stale
                && attempt.as_ref().is_err_and(|report| passes(report.code))
                && let Some(answer) = self.stale(actors, key, &call, &body).await
            {
                return answer;
            }
            match attempt {
                Err(report) if passes(report.code) && left > PAUSE => {
                    told(report);
                    tokio::time::sleep(PAUSE).await;
                }
                Err(report) => return Err(told(why(actors, report)).at(key)),
                answered => return answered,
            }
        }
    }

    /// The answer of whoever stands by for an actor; none when nobody can give one now.
    async fn stale(
        &self,
        actors: &LatticeActors,
        key: &EntityKey,
        call: &EntityCall,
        body: &Bytes,
    ) -> Option<Result<(EntityAnswer, Bytes), Report>> {
        if let Some(answer) = stale_here(actors, key, call, body).await {
            return Some(answer);
        }
        let host = actors.standby_host(key).filter(|host| *host != self.host)?;
        let passed = EntityCall { remaining_ms: call.remaining_ms.min(PASSED_MS), ..call.clone() };
        let answer = ask_entity((&*self.bus, &self.subjects), Some(&host), &passed, body).await;
        (!answer.as_ref().is_err_and(|report| passes(report.code))).then_some(answer)
    }

    async fn carry_out(
        &self,
        door: Result<Door, Report>,
        call: EntityCall,
        body: Bytes,
    ) -> Result<(EntityAnswer, Bytes), Report> {
        let patience = Duration::from_millis(call.remaining_ms).min(MAX_PATIENCE);
        match call.ask {
            EntityAsk::Command { key, name, by } => {
                let reference = match by {
                    CommandBy::Actor { from, sequence } => CommandRef::Sent { from, sequence },
                    CommandBy::Id(id) => CommandRef::Id(command_id(&id)?),
                };
                submitted(door?.submit(key, Command { reference, name, body }, patience).await?)
            }
            EntityAsk::Query { key, name, .. } => submitted(door?.query(key, (name, body), patience).await?),
            EntityAsk::List => json(&self.list(call.kind).await?),
            EntityAsk::State { key, at } => json(&door?.state_at(key, at).await?),
            EntityAsk::Journal { key, from, most } => {
                json(&door?.journal(key, from, usize::try_from(most).unwrap_or(usize::MAX)).await?)
            }
            EntityAsk::Verify { key } => json(&door?.verify(key).await?),
            EntityAsk::Move { key, to } => {
                let Some(actors) = self.lattice.of(&key.kind) else {
                    return Err(immovable(&key.kind, self.device.kind(&key.kind).is_some()));
                };
                let began = Instant::now();
                actors.migrate(&key, &to, patience).await?;
                let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                json(&serde_json::json!({ "from": self.host, "to": to, "tookMs": took_ms }))
            }
            EntityAsk::Reserve { shard, record } => {
                let part = (&call.kind, ShardId(shard));
                let actors = self.lattice.of(&call.kind).ok_or_else(|| immovable(&call.kind, false))?;
                actors.reserve(part, RecordSeq(record), patience).await?;
                json(&serde_json::json!({ "ready": true }))
            }
            EntityAsk::Delete { key, id } => submitted(door?.delete(key, command_id(&id)?, patience).await?),
            EntityAsk::Forget { key } => json(&self.device.forget(&key).await?),
            EntityAsk::SetAside => {
                let all = self.device.set_aside().await?.into_iter();
                json(&all.filter(|aside| aside.actor.kind == call.kind).collect::<Vec<_>>())
            }
            EntityAsk::Replay { id } => self.replay(id, patience).await,
            EntityAsk::Discard { id } => json(&self.device.discard(&id).await?),
        }
    }

    /// The actors of a kind: of a lattice's, those of the shards that this host owns.
    async fn list(&self, kind: KindName) -> Result<Listing, Report> {
        let Some(actors) = self.lattice.of(&kind) else {
            return self.device.door()?.list(Some(kind)).await;
        };
        let mut all = Listing::default();
        for (_, door) in actors.doors(&kind) {
            let part = door.list(Some(kind.clone())).await?;
            all.actors.extend(part.actors);
            (all.outbox, all.more) = (all.outbox + part.outbox, all.more || part.more);
            all.kinds = part.kinds;
        }
        all.actors.sort_by(|left, right| left.key.cmp(&right.key));
        Ok(all)
    }

    /// The actors of all shards of a kind, whoever owns them; an owner that does not answer is left out, and
    /// then there are more.
    async fn list_all(&self, actors: &LatticeActors, call: EntityCall) -> Result<Listing, Report> {
        let mut all = self.list(call.kind.clone()).await?;
        let others = actors.owners(&call.kind).into_iter().filter(|owner| *owner != self.host);
        for owner in others {
            let passed = EntityCall { remaining_ms: call.remaining_ms.min(PASSED_MS), ..call.clone() };
            let asked = ask_entity((&*self.bus, &self.subjects), Some(&owner), &passed, b"").await;
            let part = asked.and_then(|(_, body)| {
                serde_json::from_slice::<Listing>(&body).map_err(|error| {
                    Report::new(ErrorCode::Internal, format!("listing not readable: {error}"))
                })
            });
            match part {
                Ok(part) => {
                    all.actors.extend(part.actors);
                    (all.outbox, all.more) = (all.outbox + part.outbox, all.more || part.more);
                }
                Err(report) => {
                    tracing::debug!(%owner, error = %report, "not listed");
                    all.more = true;
                }
            }
        }
        all.actors.sort_by(|left, right| left.key.cmp(&right.key));
        Ok(all)
    }

    /// Subscribes to the calls of a kind, and answers them until the returned scope is shut down.
    ///
    /// # Errors
    /// What the bus says; actors on this host reach each other all the same.
    pub async fn serve(&self, kind: &KindName, parent: &TaskScope) -> Result<TaskScope, Report> {
        let calls = self.bus.subscribe(&self.subjects.kind_call(kind), Some(SERVE_GROUP)).await?;
        let passed = self.bus.subscribe(&self.subjects.owner_call(kind, &self.host), None).await?;
        let scope = parent.child("entities");
        let (here, anywhere) = (self.clone(), self.clone());
        let answering = move |frame: Bytes| {
            let entities = anywhere.clone();
            async move {
                let (call, body) = EntityCall::decode(&frame)?;
                let (head, reply) = entities.answer(call, body).await?;
                Ok(Bytes::from(head.encode(&reply)?))
            }
        };
        let owning = move |frame: Bytes| {
            let entities = here.clone();
            async move {
                let (call, body) = EntityCall::decode(&frame)?;
                let (head, reply) = entities.answer_here(call, body).await?;
                Ok(Bytes::from(head.encode(&reply)?))
            }
        };
        let serving = answer_each(calls, Arc::clone(&self.bus), scope.clone(), MAX_IN_HAND, answering);
        scope.spawn_until_cancelled("serve", serving);
        let serving = answer_each(passed, Arc::clone(&self.bus), scope.clone(), MAX_IN_HAND, owning);
        scope.spawn_until_cancelled("serve as owner", serving);
        Ok(scope)
    }
}

/// Why no actor of a kind can be moved from a host that does not have it as one of durability `lattice`.
fn immovable(kind: &KindName, pinned: bool) -> Report {
    if pinned {
        return Report::new(ErrorCode::Usage, format!("kind {kind} is pinned to its host"))
            .hint("only kinds of durability lattice can move");
    }
    // It has just started, or the kind has just left it.
    Report::new(
        ErrorCode::ActorNotFound,
        format!("kind {kind} does not run on the host that was asked, or not yet"),
    )
    .hint("nothing was moved; ask again shortly, and see what runs where: trellis get actors")
}

/// The answer of this host for an actor that it stands by for; none when it does not, or cannot now.
async fn stale_here(
    actors: &LatticeActors,
    key: &EntityKey,
    call: &EntityCall,
    body: &Bytes,
) -> Option<Result<(EntityAnswer, Bytes), Report>> {
    let EntityAsk::Query { name, .. } = &call.ask else { return None };
    let patience = Duration::from_millis(call.remaining_ms).min(MAX_PATIENCE);
    let answer = actors.query_stale(key, (name.clone(), body.clone()), patience).await?;
    Some(answer.map(|StaleAnswer { reply, seq, epoch, stale }| {
        (EntityAnswer { seq, epoch, repeated: false, stale: Some(stale) }, reply)
    }))
}

/// Nobody was found in time: if this host is cut off from the actor's domain, that is why. What may have been
/// carried out stays unknown.
fn why(actors: &LatticeActors, report: Report) -> Report {
    match report.code {
        ErrorCode::Connection | ErrorCode::Fenced | ErrorCode::Moving => actors.cut_off().unwrap_or(report),
        _ => report,
    }
}

fn moving() -> Report {
    Report::new(ErrorCode::Moving, "the actor is on its way to another host")
        .hint("send the same command id again: it goes to the new owner")
}

/// May another attempt find the owner?
fn passes(code: ErrorCode) -> bool {
    use ErrorCode::{Connection, Fenced, Moving, OutcomeUnknown, Timeout};
    matches!(code, Connection | Fenced | Moving | OutcomeUnknown | Timeout)
}
