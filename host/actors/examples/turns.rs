//! How many durable commands a second the shell carries out with guests that cost nothing: 1 000 actors
//! in a closed loop over a real journal, beside raw appends of about the same bytes. An instrument, for
//! people: `cargo run --example turns -- <directory> <seconds>`.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a figure on the terminal")]

use bytes::Bytes;
use host_actors::{Actors, DeviceOptions, Effects, Kind, KindPolicy, Peers, Policy};
use host_core::guest::{Done, Guest, GuestKind, Opening, Saved, Turn, Verdict};
use host_store::{DataDir, Journal, JournalOptions};
use keys::Digest;
use lattice_io::{BoxFuture, Clock, SystemClock, TaskScope};
use lattice_journal::shard::Submitted;
use lattice_journal::{Command, CommandId, CommandRef, Decision, Event, SessionId};
use lattice_protocol::{EntityKey, ErrorCode, Report};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const ACTORS: u64 = 1_000;
const PAYLOAD: usize = 100;

struct Nothing;

impl GuestKind for Nothing {
    fn component(&self) -> Digest {
        Digest::from_bytes([1; 32])
    }
    fn open(&self, _: Opening, done: Done<Arc<dyn Guest>>) {
        done(Ok(Arc::new(Nothing)));
    }
}

impl Guest for Nothing {
    fn fold(&self, _: Vec<Event>, done: Done<()>) {
        done(Ok(()));
    }
    fn decide(&self, _: Turn, command: Command, done: Done<Verdict>) {
        let event = Event { name: "measured".into(), version: 1, payload: command.body };
        done(Ok(Verdict::Decided(Decision { events: vec![event], ..Decision::default() })));
    }
    fn query(&self, _: u64, _: (String, Bytes), done: Done<Result<Bytes, Report>>) {
        done(Ok(Ok(Bytes::new())));
    }
    fn save(&self, done: Done<Saved>) {
        done(Ok(Saved { version: 1, state: Bytes::new() }));
    }
}

fn nobody<T>() -> BoxFuture<'static, Result<T, Report>>
where
    T: Send + 'static,
{
    Box::pin(std::future::ready(Err(Report::new(ErrorCode::Connection, "nobody there"))))
}

impl Effects for Nothing {
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

impl Peers for Nothing {
    fn submit(&self, _: EntityKey, _: Command, _: Duration) -> BoxFuture<'_, Result<Submitted, Report>> {
        nobody()
    }
}

/// Appends of one record's size, 32 at once: entries a second.
fn raw(data: &DataDir, seconds: u64) -> f64 {
    let (journal, _) = Journal::open(data, JournalOptions::default(), &mut |_, _| {}).unwrap();
    let (entry, done) = (Bytes::from(vec![7; 32 * (PAYLOAD + 60)]), Arc::new(AtomicU64::new(0)));
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(seconds) {
        let count = Arc::clone(&done);
        // Busy: the queue is full, which is what is wanted.
        drop(journal.append(
            entry.clone(),
            Box::new(move |_| {
                count.fetch_add(32, Ordering::Relaxed);
            }),
        ));
    }
    #[allow(clippy::cast_precision_loss, reason = "a figure")]
    let rate = done.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64();
    rate
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let directory = std::path::PathBuf::from(arguments.next().unwrap_or_else(|| "turns-data".to_owned()));
    let seconds = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(5);
    let data = DataDir::open(&directory.join("raw")).unwrap();
    println!("raw appends, 32 commits a record: {:.0} commits/s", raw(&data, seconds));
    let scope = TaskScope::new("turns");
    let clock = Arc::new(SystemClock::new());
    let options = DeviceOptions {
        data: Arc::new(DataDir::open(&directory.join("turns")).unwrap()),
        session: SessionId::new(&"local".parse().unwrap(), [1; 16]),
        journal: JournalOptions { max_segments: 1_024, ..JournalOptions::default() },
        policy: Policy::default(),
        clock: clock.clone(),
        peers: Arc::new(Nothing),
    };
    let actors = Actors::new(options, &scope).unwrap();
    let kind = Kind {
        actor: "bench/meter".parse().unwrap(),
        guests: Arc::new(Nothing),
        effects: Arc::new(Nothing),
        policy: KindPolicy::default(),
    };
    actors.put_kind("meter".parse().unwrap(), kind).unwrap();
    while actors.door().is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let until = Instant::now() + Duration::from_secs(seconds);
    let done = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let mut clients = tokio::task::JoinSet::new();
    for n in 0..ACTORS {
        let (actors, done, clock) = (actors.clone(), Arc::clone(&done), clock.clone());
        let key: EntityKey = format!("meter/m-{n}").parse().unwrap();
        clients.spawn(async move {
            let mut turn = 0_u64;
            while Instant::now() < until {
                turn += 1;
                let mut entropy = [0; 10];
                entropy.iter_mut().zip(turn.to_be_bytes()).for_each(|(to, from)| *to = from);
                let reference = CommandRef::Id(CommandId::new(clock.unix_ms(), entropy));
                let body = Bytes::from_static(&[7; PAYLOAD]);
                let command = Command { reference, name: "measure".to_owned(), body };
                actors.door().unwrap().submit(key.clone(), command, Duration::from_secs(30)).await.unwrap();
                done.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    clients.join_all().await;
    #[allow(clippy::cast_precision_loss, reason = "a figure")]
    let rate = done.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64();
    println!("durable turns, {ACTORS} actors, closed loop: {rate:.0} commands/s");
    actors.shutdown(Duration::from_secs(5)).await;
}
