//! A host without a runtime: guests that add numbers, and misbehave when they are told to.

use bytes::Bytes;
use host_actors::{Actors, DeviceOptions, Door, Effects, ForwardOptions, Kind, KindPolicy, Peers, Policy};
use host_core::guest::{Done, Guest, GuestFault, GuestKind, Opening, Saved, Turn, Verdict};
use host_store::{DataDir, JournalOptions, SnapshotKey};
use keys::Digest;
use lattice_io::nats::{self, NatsAuth, NatsOptions};
use lattice_io::{BoxFuture, Lattice, ManualClock, TaskScope};
use lattice_journal::commit::Misfire;
use lattice_journal::shard::Submitted;
use lattice_journal::{Command, CommandId, CommandRef, Decision, Effect, Event, SessionId};
use lattice_protocol::permission::Permissions;
use lattice_protocol::{EntityKey, ErrorCode, Report};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tests_harness::NatsServer;

pub const PATIENCE: Duration = Duration::from_secs(20);
/// A day in 2026.
pub const T0: u64 = 1_790_000_000_000;

/// A user of a server's configuration, by these permissions; its password is `pass`.
pub fn nats_user(name: &str, granted: &Permissions) -> String {
    let list = |subjects: &[String]| {
        subjects.iter().map(|subject| format!("{subject:?}")).collect::<Vec<_>>().join(", ")
    };
    format!(
        "{{ user: {name}, password: pass, permissions: {{ publish: {{ allow: [{}], deny: [{}] }}, subscribe: [{}] }} }}",
        list(&granted.publish),
        list(&granted.publish_deny),
        list(&granted.subscribe),
    )
}

/// A connection as one of the users of a server; `all` may everything.
pub async fn as_user(server: &NatsServer, user: &str) -> anyhow::Result<Lattice> {
    let auth = NatsAuth::Password { user: user.to_owned(), password: "pass".to_owned() };
    let inbox_prefix = (user != "all").then(|| format!("_INBOX_{user}"));
    let options = NatsOptions { auth, inbox_prefix, ..NatsOptions::new(server.url()) };
    Ok(nats::connect(options).await?.lattice())
}

/// A kind whose guests are structs; counts what it was asked.
#[derive(Default)]
pub struct Sums {
    pub opened: AtomicU64,
    pub folded: AtomicU64,
    /// Every live state answers `Gone` when it is older than this.
    pub generation: AtomicU64,
    /// Which component it says that it is.
    pub component: u8,
    /// Does the command `trap` trap?
    pub tame: bool,
}

struct Live {
    kind: Arc<Sums>,
    generation: u64,
    state: Mutex<(i64, u64)>,
}

/// The kind, as the host takes it.
pub struct Shared(pub Arc<Sums>);

impl GuestKind for Shared {
    fn component(&self) -> Digest {
        Digest::from_bytes([self.0.component + 1; 32])
    }
    fn open(&self, opening: Opening, done: Done<Arc<dyn Guest>>) {
        self.0.opened.fetch_add(1, Ordering::Relaxed);
        let state = match opening.snapshot {
            None => (0, 0),
            Some(Saved { version: 1, state }) => {
                let text = String::from_utf8(state.to_vec()).unwrap();
                let (balance, count) = text.split_once(' ').unwrap();
                (balance.parse().unwrap(), count.parse().unwrap())
            }
            Some(_) => {
                let report = Report::new(ErrorCode::Version, "not mine");
                return done(Err(GuestFault::Trapped(report)));
            }
        };
        let generation = self.0.generation.load(Ordering::Relaxed);
        done(Ok(Arc::new(Live { kind: Arc::clone(&self.0), generation, state: Mutex::new(state) })));
    }
}

impl Sums {
    /// What a trap of one actor does to all that share its instance.
    pub fn lose_all(&self) {
        self.generation.fetch_add(1, Ordering::Relaxed);
    }
}

fn trap() -> GuestFault {
    GuestFault::Trapped(Report::new(ErrorCode::Trap, "guest trapped: unreachable"))
}

impl Live {
    fn gone(&self) -> bool {
        self.kind.generation.load(Ordering::Relaxed) != self.generation
    }
    fn apply(&self, events: &[Event]) {
        let mut state = self.state.lock().unwrap();
        for event in events {
            state.1 += 1;
            if &*event.name == "added" {
                state.0 += std::str::from_utf8(&event.payload).unwrap().parse::<i64>().unwrap();
            }
        }
    }
    fn decision(&self, turn: &Turn, command: &Command) -> Result<Decision, Report> {
        let body = String::from_utf8_lossy(&command.body).into_owned();
        let balance = self.state.lock().unwrap().0;
        let (events, effects) = match command.name.as_str() {
            "add" => (vec![event("added", &body)], Vec::new()),
            "many" => {
                let count = body.parse().unwrap_or(0);
                ((0..count).map(|_| event("counted", "")).collect(), Vec::new())
            }
            "no" => return Err(Report::new(ErrorCode::Guest, "the actor says no")),
            "result" => (vec![event("result", &body)], Vec::new()),
            name => (Vec::new(), vec![effect(name, &body, turn.now_ms)]),
        };
        let sum = balance + if command.name == "add" { body.parse::<i64>().unwrap() } else { 0 };
        Ok(Decision { events, effects, reply: Bytes::from(sum.to_string()) })
    }
}

fn event(name: &str, payload: &str) -> Event {
    Event { name: name.into(), version: 1, payload: Bytes::copy_from_slice(payload.as_bytes()) }
}

fn effect(name: &str, body: &str, now_ms: u64) -> Effect {
    let words: Vec<&str> = body.splitn(3, ' ').collect();
    let word = |n: usize| words.get(n).copied().unwrap_or_default();
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    match name {
        "send" => Effect::Send {
            to: word(0).parse().unwrap(),
            sequence: 0,
            name: word(1).into(),
            body: bytes(word(2)),
        },
        "publish" => Effect::Publish { link: "out".into(), subject: word(0).into(), body: bytes(word(1)) },
        "call" => Effect::Call {
            link: "calc".into(),
            function: word(0).into(),
            body: bytes(word(1)),
            answer: "result".into(),
        },
        "later" | "later-skip" => Effect::TimerSet {
            name: word(0).into(),
            due_ms: now_ms + word(1).parse::<u64>().unwrap(),
            misfire: if name == "later" { Misfire::FireLate } else { Misfire::Skip },
            command: "add".into(),
            body: bytes(word(2)),
        },
        "snapshot" => Effect::SnapshotNow,
        "passivate" => Effect::Passivate,
        "stop" => Effect::Stop,
        other => panic!("no command {other}"),
    }
}

impl Guest for Live {
    fn fold(&self, events: Vec<Event>, done: Done<()>) {
        self.kind.folded.fetch_add(events.len() as u64, Ordering::Relaxed);
        self.apply(&events);
        done(Ok(()));
    }
    fn decide(&self, turn: Turn, command: Arc<Command>, done: Done<Verdict>) {
        if self.gone() {
            return done(Err(GuestFault::Gone));
        }
        if command.name == "trap" && !self.kind.tame {
            return done(Err(trap()));
        }
        if command.name == "trap" {
            return done(Ok(Verdict::Decided(Decision::default())));
        }
        done(Ok(match self.decision(&turn, &command) {
            Ok(decision) => {
                self.apply(&decision.events);
                Verdict::Decided(decision)
            }
            Err(report) => Verdict::Refused(report),
        }));
    }
    fn query(&self, _: u64, (name, _): (String, Bytes), done: Done<Result<Bytes, Report>>) {
        if self.gone() {
            return done(Err(GuestFault::Gone));
        }
        let (balance, count) = *self.state.lock().unwrap();
        done(match name.as_str() {
            "balance" => Ok(Ok(Bytes::from(balance.to_string()))),
            "count" => Ok(Ok(Bytes::from(count.to_string()))),
            "trap" => Err(trap()),
            other => Ok(Err(Report::new(ErrorCode::Guest, format!("no query {other}")))),
        });
    }
    fn save(&self, done: Done<Saved>) {
        let (balance, count) = *self.state.lock().unwrap();
        done(Ok(Saved { version: 1, state: Bytes::from(format!("{balance} {count}")) }));
    }
}

/// What left, in order; and what it is answered.
#[derive(Default)]
pub struct Outside {
    pub left: Mutex<Vec<String>>,
    pub refuses: Mutex<Option<Report>>,
}

impl Outside {
    fn came(&self, what: String) -> Result<(), Report> {
        self.left.lock().unwrap().push(what);
        self.refuses.lock().unwrap().clone().map_or(Ok(()), Err)
    }
    pub fn left(&self) -> Vec<String> {
        self.left.lock().unwrap().clone()
    }
}

pub struct Wire(pub Arc<Outside>);

impl Effects for Wire {
    fn publish<'a>(
        &'a self,
        link: &'a str,
        (subject, body): (&'a str, Bytes),
        key: &'a str,
        _: Duration,
    ) -> BoxFuture<'a, Result<(), Report>> {
        let what = format!("{link} {subject} {} {key}", String::from_utf8_lossy(&body));
        Box::pin(std::future::ready(self.0.came(what)))
    }
    fn call<'a>(
        &'a self,
        link: &'a str,
        (function, body): (&'a str, Bytes),
        key: &'a str,
        _: Duration,
    ) -> BoxFuture<'a, Result<Bytes, Report>> {
        let what = format!("{link} {function} {} {key}", String::from_utf8_lossy(&body));
        Box::pin(std::future::ready(self.0.came(what).map(|()| body)))
    }
}

impl Peers for Outside {
    fn submit(
        &self,
        key: EntityKey,
        command: Command,
        _: Duration,
    ) -> BoxFuture<'_, Result<Submitted, Report>> {
        let came = self.came(format!("{key} {} {}", command.name, command.reference));
        Box::pin(std::future::ready(came.map(|()| Submitted {
            reply: Bytes::new(),
            seq: lattice_journal::ActorSeq(1),
            epoch: lattice_journal::Epoch(1),
            repeated: false,
            refused: None,
        })))
    }
}

/// A host: its directory stays when it ends.
pub struct Host {
    pub actors: Actors,
    pub sums: Arc<Sums>,
    pub outside: Arc<Outside>,
    pub clock: Arc<ManualClock>,
    scope: TaskScope,
}

pub struct Settings {
    pub policy: Policy,
    pub kind: KindPolicy,
    pub journal: JournalOptions,
    pub sums: Sums,
    pub at_ms: u64,
    /// Where the journal goes to.
    pub forward: Option<ForwardOptions>,
    pub snapshot_key: Option<SnapshotKey>,
}

impl Default for Settings {
    fn default() -> Self {
        // Of whom has left memory nothing is at hand: what is on the disk must do.
        let mut policy = Policy { period: Duration::from_millis(20), resting: 0, ..Policy::default() };
        policy.relay.pause_ms = 1;
        policy.relay.max_pause_ms = 1;
        let journal = JournalOptions { segment_bytes: 64 << 10, ..JournalOptions::default() };
        let (kind, sums) = (KindPolicy::default(), Sums::default());
        Self { policy, kind, journal, sums, at_ms: T0, forward: None, snapshot_key: None }
    }
}

pub fn host(directory: &Path) -> Host {
    host_with(directory, Settings::default())
}

pub fn host_with(directory: &Path, settings: Settings) -> Host {
    let clock = Arc::new(ManualClock::new(settings.at_ms));
    let outside = Arc::new(Outside::default());
    let scope = TaskScope::new("test");
    let options = DeviceOptions {
        data: Arc::new(DataDir::open(directory).unwrap()),
        session: SessionId::new(&"NTEST".parse().unwrap(), [7; 16]),
        journal: settings.journal,
        policy: settings.policy,
        clock: clock.clone(),
        peers: outside.clone(),
        snapshot_key: settings.snapshot_key,
        forward: settings.forward,
    };
    let actors = Actors::new(options, &scope).unwrap();
    let host = Host { actors, sums: Arc::new(settings.sums), outside, clock, scope };
    host.put(Arc::clone(&host.sums), settings.kind);
    host
}

impl Host {
    pub fn put(&self, sums: Arc<Sums>, policy: KindPolicy) {
        let effects = Arc::new(Wire(Arc::clone(&self.outside)));
        let kind =
            Kind { actor: "test/sums".parse().unwrap(), guests: Arc::new(Shared(sums)), effects, policy };
        self.actors.put_kind("sum".parse().unwrap(), kind).unwrap();
    }

    /// The shard, which is open.
    pub fn door(&self) -> Door {
        self.actors.door().unwrap()
    }

    /// A command under the n-th id.
    pub async fn command(&self, n: u8, actor: &str, name: &str, body: &str) -> Result<Submitted, Report> {
        self.command_within(PATIENCE, (n, actor, name, body)).await
    }

    pub async fn command_within(
        &self,
        patience: Duration,
        (n, actor, name, body): (u8, &str, &str, &str),
    ) -> Result<Submitted, Report> {
        let reference = CommandRef::Id(CommandId::new(T0, [n; 10]));
        let command =
            Command { reference, name: name.to_owned(), body: Bytes::copy_from_slice(body.as_bytes()) };
        loop {
            let asking = async { self.actors.door()?.submit(key(actor), command.clone(), patience).await };
            match asking.await {
                // The journal is being opened.
                Err(report) if report.code == ErrorCode::Overloaded => tokio::task::yield_now().await,
                answer => return answer,
            }
        }
    }

    pub async fn reply(&self, n: u8, actor: &str, name: &str, body: &str) -> String {
        String::from_utf8(self.command(n, actor, name, body).await.unwrap().reply.to_vec()).unwrap()
    }

    pub async fn query(&self, actor: &str, name: &str) -> Result<String, Report> {
        loop {
            let asked = (name.to_owned(), Bytes::new());
            let asking = async { self.actors.door()?.query(key(actor), asked, PATIENCE).await };
            match asking.await {
                Err(report) if report.code == ErrorCode::Overloaded => tokio::task::yield_now().await,
                Err(report) => return Err(report),
                Ok(answer) => return Ok(String::from_utf8(answer.reply.to_vec()).unwrap()),
            }
        }
    }

    /// Dies: nothing is said or saved. Its directory can be taken by another when this returns.
    pub async fn die(self, directory: &Path) {
        self.scope.shutdown(Duration::ZERO).await;
        drop(self);
        until("its directory is free", async || DataDir::open(directory).is_ok()).await;
    }

    /// Ends; only the directory is left.
    pub async fn end(self) {
        self.actors.shutdown(Duration::from_secs(5)).await;
        self.scope.shutdown(Duration::from_secs(5)).await;
    }
}

/// Waits on a level.
pub async fn until(what: &str, mut is: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

pub fn key(actor: &str) -> EntityKey {
    actor.parse().unwrap()
}
