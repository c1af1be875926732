//! Persistent actors of this process: a real component behind the real shell, over a journal in a directory
//! of its own or over a lattice, asked through the public call API ([`host_actors::Door`]).

use crate::inside::{Inside, actor_id};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use host_actors::{
    Actors, DeviceOptions, Door, Effects, Kind, KindPolicy, LatticeActors, LatticeOptions, Peers, Policy,
    Room,
};
use host_core::guest::GuestKind;
use host_runtime::persistent::{KindOptions, PersistentKind};
use host_runtime::{Component, Wiring};
use host_store::{AsideStore, DataDir, JournalOptions, SnapshotStore};
use lattice_io::call::answer_each;
use lattice_io::{BoxFuture, Clock, Lattice, SystemClock, TaskScope};
use lattice_journal::lease::LeasePolicy;
use lattice_journal::shard::Submitted;
use lattice_journal::{Command, CommandId, CommandRef, RecordSeq, SessionId, ShardId};
use lattice_protocol::entity::{EntityAnswer, EntityAsk, EntityCall};
use lattice_protocol::subject::Subjects;
use lattice_protocol::{EntityKey, ErrorCode, HostId, Limits, Report};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Longest wait for one command.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// The guest: it adds up.
pub const GUEST: &str = "fixture-account";
/// Commands have ids of their own, whoever gives them.
static IDS: AtomicU64 = AtomicU64::new(0);

/// Nothing leaves, and there is nobody elsewhere.
struct Nowhere;

fn nobody<T: Send + 'static>() -> BoxFuture<'static, Result<T, Report>> {
    Box::pin(std::future::ready(Err(Report::new(ErrorCode::Connection, "nobody there"))))
}

impl Effects for Nowhere {
    fn publish<'a>(
        &'a self,
        _: &'a str,
        _: (&'a str, Bytes),
        _: &'a str,
        _: Duration,
    ) -> BoxFuture<'a, Result<(), Report>> {
        nobody()
    }
    fn call<'a>(
        &'a self,
        _: &'a str,
        _: (&'a str, Bytes),
        _: &'a str,
        _: Duration,
    ) -> BoxFuture<'a, Result<Bytes, Report>> {
        nobody()
    }
}

impl Peers for Nowhere {
    fn submit(&self, _: EntityKey, _: Command, _: Duration) -> BoxFuture<'_, Result<Submitted, Report>> {
        nobody()
    }
}

impl Room for Nowhere {
    fn check(&self) -> Result<(), Report> {
        Ok(())
    }
}

/// Keeps places for shards that come, as a host's daemon does when it is asked.
async fn reserves(lattice: Lattice, host: HostId, actors: LatticeActors, scope: TaskScope) {
    let answering = move |frame: Bytes| {
        let actors = actors.clone();
        async move {
            let (call, _) = EntityCall::decode(&frame)?;
            let EntityAsk::Reserve { shard, record } = call.ask else {
                return Err(Report::new(ErrorCode::Usage, "only places for shards are asked for here"));
            };
            let patience = Duration::from_millis(call.remaining_ms);
            actors.reserve((&call.kind, ShardId(shard)), RecordSeq(record), patience).await?;
            Ok(Bytes::from(EntityAnswer::default().encode(b"")?))
        }
    };
    let (Ok(name), Ok(kind)) = ("bench".parse(), "account".parse()) else { return };
    let subject = Subjects::new(name).owner_call(&kind, &host);
    if let Ok(calls) = lattice.bus.subscribe(&subject, None).await {
        answer_each(calls, Arc::clone(&lattice.bus), scope, 16, answering).await;
    }
}

/// A kind, loaded once.
pub struct Loaded {
    inside: Inside,
    component: Arc<Component>,
}

impl Loaded {
    /// The guest, verified and compiled.
    pub async fn new() -> Result<Self> {
        let inside = Inside::new()?;
        let component = inside.load(inside.signed(GUEST)?).await?;
        Ok(Self { inside, component })
    }

    /// Its guests, as a host of the defaults makes them.
    pub async fn guests(&self) -> Result<Arc<dyn GuestKind>> {
        let id = actor_id("account")?;
        let options = KindOptions {
            id: id.clone(),
            lattice: "bench".parse()?,
            host: "bench".parse()?,
            limits: Limits::default(),
            turn_ms: 1_000,
            states: 1_024,
            config: BTreeMap::new(),
        };
        let wiring = Arc::new(Wiring::new(&id, Vec::new()));
        Ok(PersistentKind::start(&self.inside.runtime, Arc::clone(&self.component), options, wiring).await?)
    }

    /// The kind, so treated.
    pub async fn kind(&self, policy: KindPolicy) -> Result<Kind> {
        Ok(Kind {
            actor: actor_id("account")?,
            guests: self.guests().await?,
            effects: Arc::new(Nowhere),
            policy,
        })
    }
}

/// A host of durability `device` over a directory.
pub struct Device {
    pub actors: Actors,
    scope: TaskScope,
}

impl Device {
    /// Opens it, and waits until it serves.
    pub async fn open(directory: &Path, kind: Kind) -> Result<Self> {
        let scope = TaskScope::new("bench");
        let options = DeviceOptions {
            data: Arc::new(DataDir::open(directory)?),
            session: SessionId::new(&"bench".parse()?, [1; 16]),
            journal: JournalOptions { max_segments: 1_024, ..JournalOptions::default() },
            policy: Policy::default(),
            clock: Arc::new(SystemClock::new()),
            peers: Arc::new(Nowhere),
            snapshot_key: None,
            forward: None,
        };
        let actors = Actors::new(options, &scope)?;
        actors.put_kind("account".parse()?, kind)?;
        let began = Instant::now();
        while actors.door().is_err() {
            ensure!(began.elapsed() < PATIENCE, "the journal does not open");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(Self { actors, scope })
    }

    pub fn door(&self) -> Result<Door> {
        Ok(self.actors.door()?)
    }

    pub async fn close(self) {
        self.actors.shutdown(PATIENCE).await;
        self.scope.shutdown(PATIENCE).await;
    }
}

/// A host of durability `lattice`.
pub struct Shards {
    pub host: HostId,
    pub actors: LatticeActors,
    scope: TaskScope,
    _directory: tempfile::TempDir,
}

impl Shards {
    /// Opens it, and waits until it owns every shard.
    pub async fn open(lattice: &Lattice, kind: Kind) -> Result<Self> {
        let shards = Self::start(lattice, "bench", kind)?;
        shards.owns_all().await?;
        Ok(shards)
    }

    /// Starts it, with the lease of hosts that beat four times a second.
    pub fn start(lattice: &Lattice, host: &str, kind: Kind) -> Result<Self> {
        let host: HostId = host.parse()?;
        let directory = tempfile::Builder::new().prefix("bench-").tempdir()?;
        let data = DataDir::open(directory.path())?;
        let scope = TaskScope::new("bench");
        let options = LatticeOptions {
            host: host.clone(),
            lattice: lattice.clone(),
            subjects: Subjects::new("bench".parse()?),
            // What is measured moves by hand only.
            policy: Policy { balance: None, ..Policy::default() },
            lease: LeasePolicy { ttl_ms: 1_500, renew_ms: 375, margin_ms: 300 },
            clock: Arc::new(SystemClock::new()),
            peers: Arc::new(Nowhere),
            snapshots: Arc::new(SnapshotStore::open(&data, None)?),
            aside: Arc::new(AsideStore::open(&data)?),
            room: Arc::new(Nowhere),
        };
        let actors = LatticeActors::new(options, &scope)?;
        let serving = reserves(lattice.clone(), host.clone(), actors.clone(), scope.clone());
        scope.spawn_until_cancelled("serve", serving);
        actors.put_kind("account".parse()?, kind)?;
        Ok(Self { host, actors, scope, _directory: directory })
    }

    /// Waits until it owns every shard.
    pub async fn owns_all(&self) -> Result<()> {
        let name = "account".parse()?;
        let began = Instant::now();
        while self.actors.doors(&name).len() < usize::from(host_actors::lattice::SHARDS) {
            ensure!(began.elapsed() < PATIENCE, "the shards are not taken over");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Ends it as SIGKILL does: nothing is said, and its lease is not given back.
    pub async fn kill(self) {
        self.scope.shutdown(Duration::ZERO).await;
    }

    pub async fn close(self) {
        self.actors.shutdown(PATIENCE).await;
        self.scope.shutdown(PATIENCE).await;
    }
}

pub fn key(n: usize) -> Result<EntityKey> {
    Ok(format!("account/a-{n}").parse()?)
}

/// A command under an id of its own.
pub fn command(name: &str, body: &str) -> Command {
    let mut entropy = [0; 10];
    let number = IDS.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    entropy.iter_mut().zip(number).for_each(|(to, from)| *to = from);
    let reference = CommandRef::Id(CommandId::new(SystemClock::new().unix_ms(), entropy));
    Command { reference, name: name.to_owned(), body: Bytes::copy_from_slice(body.as_bytes()) }
}

/// Each actor adds in a closed loop for so long; commands a second.
pub async fn closed_loop(doors: Vec<(EntityKey, Door)>, seconds: u32) -> Result<f64> {
    let done = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let until = began + Duration::from_secs(u64::from(seconds));
    let mut clients = JoinSet::new();
    for (key, door) in doors {
        let done = Arc::clone(&done);
        #[allow(clippy::disallowed_methods, reason = "the load of a measurement; the set ends it")]
        clients.spawn(async move {
            while Instant::now() < until {
                door.submit(key.clone(), command("add", "1"), PATIENCE).await?;
                done.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<(), Report>(())
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended.context("a client")??;
    }
    Ok(done.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64())
}

/// Brings actors into memory, so many at once.
pub async fn touch(doors: &[(EntityKey, Door)], name: &str, body: &str) -> Result<()> {
    for part in doors.chunks(1_000) {
        let asked = part.iter().map(|(key, door)| door.submit(key.clone(), command(name, body), PATIENCE));
        for answer in futures::future::join_all(asked).await {
            answer?;
        }
    }
    Ok(())
}
