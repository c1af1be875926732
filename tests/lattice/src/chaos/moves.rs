//! Shards that go from host to host while clients work: asked for as `trellis migrate` asks, of whichever host
//! answers. Nobody waits for a move here before the end of a run: it is under way while other faults come.

use super::Plan;
use crate::PATIENCE;
use anyhow::{Context, Result, ensure};
use lattice_io::call::ask_entity;
use lattice_io::{Bus, Kv, Lattice};
use lattice_journal::ShardId;
use lattice_protocol::entity::{EntityAsk, EntityCall};
use lattice_protocol::ownership::{OwnerValue, owner_key};
use lattice_protocol::seeded::Seeded;
use lattice_protocol::subject::Subjects;
use lattice_protocol::{EntityKey, ErrorCode, Report};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::{AbortHandle, JoinSet};

/// Patience of one move, milliseconds.
const MOVE_MS: u64 = 8_000;
/// A kill comes at most so long after its move has begun, milliseconds; it takes about as long.
const SOON_MS: u64 = 120;
/// A host that has come back is asked for again until it has a lease: so long, and so long apart.
const READY: Duration = Duration::from_secs(4);
const AGAIN: Duration = Duration::from_millis(50);
/// Pause between two looks at who has a shard.
const LOOK: Duration = Duration::from_millis(1);
/// A host that has come back is held at most so long by a controller of the profile `fast`: the planner's
/// `Profile::FAST.flap_window_ms`.
const LONGEST_HOLD: Duration = Duration::from_secs(120);

/// What became of the moves of a run.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Moved {
    /// Those that were told to be done.
    pub done: usize,
    /// Those that were not, by code: how many, and what the first was told.
    pub refused: BTreeMap<String, (usize, String)>,
    /// Kills that came before their move was over.
    pub cut: usize,
    /// Of those: kills that came when the shard had been given up, and had no owner.
    pub cut_between: usize,
}

impl fmt::Display for Moved {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { done, refused, cut, cut_between } = self;
        write!(
            formatter,
            "moves: {done} done; {cut} cut by a kill, {cut_between} of them between two owners; not done:"
        )?;
        refused.values().try_for_each(|(count, first)| write!(formatter, "\n  {count} × {first}"))
    }
}

/// See the module.
pub(super) struct Moves {
    bus: Arc<dyn Bus>,
    owners: Arc<dyn Kv>,
    subjects: Subjects,
    actors: Vec<EntityKey>,
    shards: u16,
    under_way: JoinSet<Result<(), Report>>,
    moved: Moved,
}

/// A move that is under way.
pub(super) struct Move {
    actor: EntityKey,
    task: AbortHandle,
}

/// What is asked of whichever host of the kind answers.
struct Request {
    bus: Arc<dyn Bus>,
    subjects: Subjects,
    call: EntityCall,
}

impl Request {
    async fn send(&self) -> Result<(), Report> {
        ask_entity((&*self.bus, &self.subjects), None, &self.call, b"").await.map(drop)
    }
}

impl Moves {
    pub(super) fn new(plan: &Plan, lattice: &Lattice, subjects: &Subjects) -> Result<Self> {
        let parse = |actor: String| actor.parse().map_err(|error| anyhow::anyhow!("{error}"));
        Ok(Self {
            bus: Arc::clone(&lattice.bus),
            owners: lattice.kv.assume(&subjects.shards_bucket())?,
            subjects: subjects.clone(),
            actors: plan.actors()?.into_iter().map(parse).collect::<Result<_>>()?,
            shards: super::SHARDS,
            under_way: JoinSet::new(),
            moved: Moved::default(),
        })
    }

    /// Who has an actor's shard; none when nobody ever had it, or no server says.
    async fn owner(&self, actor: &EntityKey) -> Option<OwnerValue> {
        let key = owner_key(&actor.kind, ShardId::of(actor, self.shards).0);
        let entry = self.owners.get_latest(&key).await.ok()??;
        serde_json::from_slice(&entry.value).ok()
    }

    /// The place of the host that has it.
    async fn host(&self, actor: &EntityKey) -> Option<usize> {
        number(self.owner(actor).await?.host()?)
    }

    async fn is_given_up(&self, actor: &EntityKey) -> bool {
        self.owner(actor).await.is_some_and(|owner| owner.is_released())
    }

    /// Some actor whose shard is at one of these hosts, and which of them that is.
    pub(super) async fn choose(&self, random: &mut Seeded, hosts: &[usize]) -> Result<(EntityKey, usize)> {
        let began = Instant::now();
        loop {
            let at = usize::try_from(random.below(self.actors.len() as u64))?;
            let actor = self.actors.get(at).context("an actor")?;
            if let Some(host) = self.host(actor).await.filter(|host| hosts.contains(host)) {
                return Ok((actor.clone(), host));
            }
            ensure!(began.elapsed() < PATIENCE, "no host that is there has a shard");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// A request that an actor's shard go to this host.
    fn request(&self, actor: &EntityKey, to: usize) -> Result<Request> {
        let call = EntityCall {
            kind: actor.kind.clone(),
            app: None,
            ask: EntityAsk::Move { key: actor.clone(), to: format!("H{}", to + 1).parse()? },
            remaining_ms: MOVE_MS,
            traceparent: None,
        };
        Ok(Request { bus: Arc::clone(&self.bus), subjects: self.subjects.clone(), call })
    }

    /// Has an actor's shard go to this host.
    pub(super) fn begin(&mut self, actor: EntityKey, to: usize) -> Result<Move> {
        while let Some(ended) = self.under_way.try_join_next() {
            self.moved.count(ended?);
        }
        let request = self.request(&actor, to)?;
        #[allow(clippy::disallowed_methods, reason = "a test's own tasks; the set ends them")]
        let task = self.under_way.spawn(async move {
            let end = Instant::now() + READY;
            loop {
                match request.send().await {
                    Err(report) if is_early(&report) && Instant::now() < end => {
                        tokio::time::sleep(AGAIN).await
                    }
                    ended => return ended,
                }
            }
        });
        Ok(Move { actor, task })
    }

    /// Waits for the moment of a kill: somewhere in the move, or, every other time, when the shard has been
    /// given up and nobody has it yet.
    pub(super) async fn moment(&self, random: &mut Seeded, moving: &Move) {
        let (between, later_ms) = (random.below(2) == 0, random.below(SOON_MS));
        if !between {
            tokio::time::sleep(Duration::from_millis(later_ms)).await;
            return;
        }
        while !moving.task.is_finished() && !self.is_given_up(&moving.actor).await {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// A host that takes part in a move was killed.
    pub(super) async fn killed(&mut self, moving: &Move) {
        if !moving.task.is_finished() {
            self.moved.cut += 1;
            self.moved.cut_between += usize::from(self.is_given_up(&moving.actor).await);
        }
    }

    /// What became of them, when all are over.
    pub(super) async fn end(mut self) -> Result<Moved> {
        self.wait().await?;
        Ok(self.moved)
    }

    /// The same, and when none was done, some shard goes to another of so many hosts: whatever the faults have left,
    /// and wherever the controller has put the kind's replicas.
    pub(super) async fn end_with_one(mut self, hosts: usize) -> Result<Moved> {
        self.wait().await?;
        if self.moved.done == 0 {
            self.one(hosts).await?;
            self.moved.done += 1;
        }
        Ok(self.moved)
    }

    async fn wait(&mut self) -> Result<()> {
        while let Some(ended) = self.under_way.join_next().await {
            self.moved.count(ended?);
        }
        Ok(())
    }

    /// Asks for one move after the other until one is done: at the latest, and with [`PATIENCE`], when no host is held
    /// any more for having come and gone so often.
    async fn one(&self, hosts: usize) -> Result<()> {
        let end = Instant::now() + LONGEST_HOLD + PATIENCE;
        let pairs = self.actors.iter().flat_map(|actor| (0..hosts).map(move |to| (actor, to)));
        let mut last = None;
        for (actor, to) in pairs.cycle() {
            if self.host(actor).await.is_some_and(|from| from != to) {
                match self.request(actor, to)?.send().await {
                    Ok(()) => break,
                    Err(report) => last = Some(report),
                }
            }
            ensure!(Instant::now() < end, "no shard goes to another host, with all there: {last:?}");
            tokio::time::sleep(AGAIN).await;
        }
        Ok(())
    }
}

impl Moved {
    fn count(&mut self, ended: Result<(), Report>) {
        match ended {
            Ok(()) => self.done += 1,
            Err(report) => {
                let first = || (0, report.to_string());
                self.refused.entry(report.code.to_string()).or_insert_with(first).0 += 1;
            }
        }
    }
}

/// Was nothing moved, because a host that was started just now has no lease yet, or no kind?
fn is_early(report: &Report) -> bool {
    matches!(report.code, ErrorCode::HostNotFound | ErrorCode::Connection)
}

/// The place of `H1` is 0.
fn number(host: &str) -> Option<usize> {
    host.strip_prefix('H')?.parse::<usize>().ok()?.checked_sub(1)
}
