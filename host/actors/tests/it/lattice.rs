//! Durability `lattice`: shards spread over hosts, and the death of a host loses nothing.

use crate::support::{Outside, PATIENCE, Shared, Sums, Wire, key, until};
use bytes::Bytes;
use host_actors::{DomainActors, Kind, KindPolicy, LatticeActors, LatticeOptions, Policy, Room};
use host_store::{AsideStore, DataDir, SnapshotStore};
use lattice_io::call::answer_each;
use lattice_io::memory::Memory;
use lattice_io::{Clock, Lattice, SystemClock, TaskScope};
use lattice_journal::lease::LeasePolicy;
use lattice_journal::shard::Submitted;
use lattice_journal::{Command, CommandId, CommandRef, RecordSeq, ShardId};
use lattice_protocol::entity::{EntityAnswer, EntityAsk, EntityCall};
use lattice_protocol::subject::Subjects;
use lattice_protocol::{DomainName, ErrorCode, HostId, Report};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

const LEASE: LeasePolicy = LeasePolicy { ttl_ms: 600, renew_ms: 150, margin_ms: 100 };

/// When the ids of this process were issued: a repetition has the same one.
static BEGAN: LazyLock<u64> = LazyLock::new(|| SystemClock::new().unix_ms());

pub struct Node {
    pub domains: DomainActors,
    /// Those of the one kind.
    pub actors: LatticeActors,
    pub kind: Kind,
    pub scope: TaskScope,
    pub sums: Arc<Sums>,
    /// Whether it has room.
    pub room: Arc<Rooms>,
    _directory: tempfile::TempDir,
}

/// Looks often; what it has, it keeps.
pub fn policy() -> Policy {
    // Of whom has left memory nothing is at hand: what is on the disk must do.
    Policy { period: Duration::from_millis(20), balance: None, resting: 0, ..Policy::default() }
}

pub fn node(name: &str, lattice: &Lattice) -> Node {
    let policy = policy();
    node_with(name, lattice, (policy, KindPolicy::default()))
}

pub fn node_with(name: &str, lattice: &Lattice, policies: (Policy, KindPolicy)) -> Node {
    node_in(None, name, lattice, policies)
}

/// The same with the kind in this JetStream domain.
pub fn node_in(
    domain: Option<&DomainName>,
    name: &str,
    lattice: &Lattice,
    policies: (Policy, KindPolicy),
) -> Node {
    node_by((domain, LEASE), name, lattice, policies)
}

/// The same, and its leases are like this.
pub fn node_by(
    (domain, lease): (Option<&DomainName>, LeasePolicy),
    name: &str,
    lattice: &Lattice,
    (policy, kind): (Policy, KindPolicy),
) -> Node {
    let directory = tempfile::tempdir().unwrap();
    let data = DataDir::open(directory.path()).unwrap();
    let outside = Arc::new(Outside::default());
    let scope = TaskScope::new(name);
    let room = Arc::new(Rooms::default());
    let options = LatticeOptions {
        host: name.parse().unwrap(),
        lattice: lattice.clone(),
        subjects: Subjects::new("test".parse().unwrap()),
        policy,
        lease,
        clock: Arc::new(SystemClock::new()),
        peers: outside.clone(),
        snapshots: Arc::new(SnapshotStore::open(&data, None).unwrap()),
        aside: Arc::new(AsideStore::open(&data).unwrap()),
        room: Arc::clone(&room) as Arc<dyn Room>,
    };
    let domains = DomainActors::new(options, &scope);
    let sums = Arc::new(Sums::default());
    let kind = Kind {
        actor: "test/sums".parse().unwrap(),
        guests: Arc::new(Shared(Arc::clone(&sums))),
        effects: Arc::new(Wire(outside)),
        policy: kind,
    };
    domains.put_kind(domain, "sum".parse().unwrap(), kind.clone()).unwrap();
    let actors = domains.of(&"sum".parse().unwrap()).unwrap();
    serve(name.parse().unwrap(), &actors, lattice, &scope);
    Node { domains, actors, kind, scope, sums, room, _directory: directory }
}

/// Answers what other hosts ask of this one, as the daemon does.
fn serve(host: HostId, actors: &LatticeActors, lattice: &Lattice, scope: &TaskScope) {
    let (actors, bus, of) = (actors.clone(), Arc::clone(&lattice.bus), scope.clone());
    scope.spawn_until_cancelled("serve", async move {
        let subject = Subjects::new("test".parse().unwrap()).owner_call(&"sum".parse().unwrap(), &host);
        let calls = bus.subscribe(&subject, None).await.unwrap();
        let answering = move |frame: Bytes| {
            let actors = actors.clone();
            async move {
                let (call, _) = EntityCall::decode(&frame)?;
                let EntityAsk::Reserve { shard, record } = call.ask else { panic!("{call:?}") };
                let patience = Duration::from_millis(call.remaining_ms);
                actors.reserve((&call.kind, ShardId(shard)), RecordSeq(record), patience).await?;
                Ok(Bytes::from(EntityAnswer::default().encode(b"")?))
            }
        };
        answer_each(calls, bus, of, 16, answering).await;
    });
}

/// Whether there is room, as a test says.
#[derive(Default)]
pub struct Rooms {
    /// Is there none?
    pub full: AtomicBool,
    /// How often it was asked.
    pub asked: AtomicU64,
}

impl Room for Rooms {
    fn check(&self) -> Result<(), Report> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if !self.full.load(Ordering::SeqCst) {
            return Ok(());
        }
        Err(Report::new(ErrorCode::InsufficientResources, "no room in this test").hint("make some"))
    }
}

pub fn owned(node: &Node) -> BTreeSet<u16> {
    owned_of(node, "sum")
}

pub fn owned_of(node: &Node, kind: &str) -> BTreeSet<u16> {
    node.actors.doors(&kind.parse().unwrap()).into_iter().map(|(shard, _)| shard.0).collect()
}

/// The n-th id.
pub fn command_id(n: u64) -> CommandId {
    let mut random = [0; 10];
    random[..8].copy_from_slice(&n.to_be_bytes());
    CommandId::new(*BEGAN, random)
}

/// A command under an id of its own, again until its owner has answered.
pub async fn submit(nodes: &[&Node], n: u64, actor: &str, amount: &str) -> Submitted {
    let id = command_id(n);
    let body = Bytes::copy_from_slice(amount.as_bytes());
    let command = Command { reference: CommandRef::Id(id), name: "add".to_owned(), body };
    let asking = async {
        loop {
            for door in nodes.iter().filter_map(|node| node.actors.door(&key(actor))) {
                match door.submit(key(actor), command.clone(), Duration::from_secs(1)).await {
                    Ok(answer) => return answer,
                    Err(report) => assert!(passes(&report), "{report}"),
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("an owner answers")
}

fn passes(report: &Report) -> bool {
    matches!(report.code, ErrorCode::Fenced | ErrorCode::Moving | ErrorCode::OutcomeUnknown)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_death_of_a_host_moves_its_shards_and_loses_nothing() {
    let lattice = Memory::new().lattice();
    let (first, second) = (node("H1", &lattice), node("H2", &lattice));
    until("every shard has one owner", async || {
        let (one, two) = (owned(&first), owned(&second));
        assert!(one.is_disjoint(&two), "{one:?} {two:?}");
        one.len() + two.len() == 16 && !one.is_empty() && !two.is_empty()
    })
    .await;
    let actors: Vec<String> = (0..24).map(|n| format!("sum/a-{n}")).collect();
    for (n, actor) in (0..).zip(&actors) {
        let answer = submit(&[&first, &second], n, actor, "5").await;
        assert_eq!((answer.reply, answer.repeated), (Bytes::from_static(b"5"), false));
    }
    // As SIGKILL: its lease is not given back, and nothing is said.
    first.scope.shutdown(Duration::ZERO).await;
    until("the other has them all", async || owned(&second).len() == 16).await;
    for (n, actor) in (0..).zip(&actors) {
        let again = submit(&[&second], n, actor, "5").await;
        assert!(again.repeated && again.reply == "5", "{actor}: {again:?}");
        assert_eq!(submit(&[&second], 100 + n, actor, "2").await.reply, "7", "{actor}");
    }
    // It comes back, takes what it is given, and gives it back.
    let again = node("H1", &lattice);
    let moved = key("sum/a-3");
    for (from, to, host) in [(&second, &again, "H1"), (&again, &second, "H2")] {
        let host = host.parse().unwrap();
        until("it has been seen", async || {
            let moving = from.actors.migrate(&moved, &host, Duration::from_secs(5)).await;
            moving.is_ok() || !matches!(moving.unwrap_err().code, ErrorCode::HostNotFound)
        })
        .await;
        until("it owns the shard", async || to.actors.door(&moved).is_some()).await;
        // It learns what it has given away from the same key as the other.
        until("it owns it no more", async || from.actors.door(&moved).is_none()).await;
    }
    assert!(submit(&[&second], 3, "sum/a-3", "5").await.repeated);
    again.scope.shutdown(Duration::ZERO).await;
    // It comes back, as another session, and what it takes over later continues.
    let third = node("H1", &lattice);
    second.actors.shutdown(Duration::from_secs(2)).await;
    second.scope.shutdown(Duration::from_secs(2)).await;
    until("the first has them all", async || owned(&third).len() == 16).await;
    for (n, actor) in (0..).zip(&actors) {
        assert_eq!(submit(&[&third], 200 + n, actor, "1").await.reply, "8", "{actor}");
    }
}
