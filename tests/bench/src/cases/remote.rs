//! Calls over NATS beside a plain NATS request: the same server, the same size of message, one of
//! each in turn, so that both meet the same machine. A typed call from host to host, and a get from
//! a store in a process of its own.

use super::Plan;
use crate::inside::{Inside, Loops, actor_id, link};
use crate::report::{Goal, Measured, Row};
use crate::samples::{median, micros};
use anyhow::{Context, Result, bail, ensure};
use host_daemon::directory::Directory;
use host_daemon::egress::LinkedActor;
use host_runtime::wiring::BoundTarget;
use keys::{KeyKind, KeyPair};
use lattice_io::nats::{NatsLattice, NatsOptions, connect};
use lattice_io::{Bus, BusMessage, TaskScope};
use lattice_protocol::provider::Place;
use lattice_protocol::subject::Subjects;
use lattice_protocol::{InstancePolicy, LinkName, LinkTarget};
use providers_sdk::process::{ARGUMENTS, Launch, Membership, Started};
use providers_sdk::remote::{Description, Remote};
use providers_sdk::{CallContext, Provider};
use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tests_harness::NatsServer;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

/// Pairs of one run.
const PAIRS: u32 = 3_000;
const GUEST: &str = "fixture-bench-loops";
/// Bytes of a plain request: as many as the frame of the call has.
const FRAME: usize = 300;
/// Bytes that the store gives, as in `keyvalue-get`.
const VALUE: usize = 200;
const PATIENCE: Duration = Duration::from_secs(10);

/// The caller and the plain request.
struct Pair {
    loops: Loops,
    /// What the guest does, and what it must have seen of it.
    call: (&'static str, u64),
    bus: Arc<dyn Bus>,
    echo: String,
    /// Bytes of an answer.
    answer: usize,
}

/// Measures it.
pub async fn run(plan: &Plan) -> Result<Row> {
    let server = NatsServer::start(tests_harness::NatsOptions::default()).await?;
    let (callee, caller) = (login(&server, "callee").await?, login(&server, "caller").await?);
    let subjects = Subjects::new("bench".parse()?);
    let scope = TaskScope::new("bench");

    let (inside, elsewhere) = (Inside::new()?, Inside::new()?);
    let pong = elsewhere.start_guest("pong", InstancePolicy::PerCall, Vec::new()).await?;
    let pong_subject = subjects.actor_call(pong.id());
    let serving = host_daemon::serve::start(&callee.lattice().bus, &pong_subject, pong, &scope).await?;
    let echo = subjects.actor_call(&actor_id("echo")?);
    serve_echo(&callee.lattice().bus, (&echo, 8), &scope).await?;

    let bus = caller.lattice().bus;
    let target =
        LinkedActor::new(actor_id("pong")?, Arc::new(Directory::default()), Arc::clone(&bus), &subjects);
    let link = link(GUEST, "example:pong/pingpong@0.1.0", LinkTarget::Actor(actor_id("pong")?))?;
    let links = vec![(link, BoundTarget::Actor(Arc::new(target)))];
    let loops = Loops(inside.start_guest(GUEST, InstancePolicy::warm(), links).await?);
    let pair = Pair { loops, call: ("call", 4), bus, echo, answer: 8 };
    let measured = pair.measure(plan).await?;
    serving.drain(PATIENCE).await;
    scope.shutdown(PATIENCE).await;
    Ok(Row::new("nats-remote-call", "us", measured, Goal::RatioAtMost(1.5))
        .against("a plain NATS request, p50"))
}

/// A get of 200 bytes through a link to the embedded store, which `trellis provider serve` has in a
/// process of its own.
pub async fn keyvalue_process(plan: &Plan) -> Result<Row> {
    let server = NatsServer::start(tests_harness::NatsOptions::default()).await?;
    let (echoing, caller) = (login(&server, "echo").await?, login(&server, "caller").await?);
    let (subjects, scope, inside) =
        (Subjects::new("bench".parse()?), TaskScope::new("bench"), Inside::new()?);
    let launch = Launch {
        lattice: "bench".parse()?,
        id: "bench/store".parse()?,
        place: Place::Shared,
        kind: "keyvalue-embedded".to_owned(),
        config: BTreeMap::new(),
        data_dir: inside.dir().join("process"),
        membership: Membership { url: server.url(), credentials: None, inbox_prefix: None },
        seed: KeyPair::from_entropy(KeyKind::Provider, [7; 32]).seed().to_string(),
    };
    let (_process, description) = serve_process(plan, &launch).await?;
    let bus = caller.lattice().bus;
    let remote = Remote::new(Arc::clone(&bus), &subjects, &launch.id, &Place::Shared, scope.clone());
    let Provider::KeyValue(store) = remote.provider(&description) else { bail!("not a key-value store") };
    let call = CallContext {
        source: actor_id(GUEST)?,
        link: LinkName::default_name(),
        config: Arc::default(),
        deadline: Instant::now() + PATIENCE,
        traceparent: None,
    };
    store.open(&call, "bench").await?;
    store.set(&call, "bench", "key", vec![b'v'; VALUE].into()).await?;
    let echo = subjects.actor_call(&actor_id("echo")?);
    serve_echo(&echoing.lattice().bus, (&echo, VALUE), &scope).await?;
    let link = link(GUEST, "wasi:keyvalue", LinkTarget::Provider(launch.id))?;
    let links = vec![(link, BoundTarget::KeyValue(store))];
    let loops = Loops(inside.start_guest(GUEST, InstancePolicy::warm(), links).await?);
    let pair = Pair { loops, call: ("keyvalue-get", VALUE as u64), bus, echo, answer: VALUE };
    let measured = pair.measure(plan).await?;
    scope.shutdown(PATIENCE).await;
    Ok(Row::new("keyvalue-get-process", "us", measured, Goal::RatioAtMost(1.5))
        .against("a plain NATS request, p50"))
}

/// Starts the process; it ends with its standard input.
async fn serve_process(plan: &Plan, launch: &Launch) -> Result<(Child, Description)> {
    let mut command = Command::new(&plan.trellis);
    command.args(ARGUMENTS).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn()?;
    let input = child.stdin.as_mut().context("its input")?;
    input.write_all(&serde_json::to_vec(launch)?).await?;
    input.write_all(b"\n").await?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("its output")?).read_line(&mut line).await?;
    match serde_json::from_str(&line)? {
        Started::Serving(description) => Ok((child, description)),
        Started::Failed(report) => bail!("{report}"),
    }
}

impl Pair {
    async fn measure(&self, plan: &Plan) -> Result<Measured> {
        self.run(PAIRS / 10).await?;
        let (mut ours, mut reference) = (Vec::new(), Vec::new());
        for _ in 0..plan.runs {
            let (our, their) = self.run(PAIRS).await?;
            ours.push(our);
            reference.push(their);
        }
        Ok(Measured {
            ours: median(ours).context("no run")?,
            reference: median(reference).context("no run")?,
        })
    }

    /// Median latencies of the call and of the plain request, microseconds.
    async fn run(&self, pairs: u32) -> Result<(f64, f64)> {
        let (mut ours, mut reference) = (Vec::new(), Vec::new());
        for _ in 0..pairs {
            let (took, seen) = self.loops.run(self.call.0, 1).await?;
            ensure!(seen == self.call.1, "{}: {seen} instead of {}", self.call.0, self.call.1);
            ours.push(micros(took));
            let began = Instant::now();
            let answer = self.bus.request(BusMessage::new(&self.echo, vec![b'x'; FRAME]), PATIENCE).await?;
            reference.push(micros(began.elapsed()));
            ensure!(answer.payload.len() == self.answer, "the echo answered {} bytes", answer.payload.len());
        }
        Ok((median(ours).context("no pair")?, median(reference).context("no pair")?))
    }
}

async fn login(server: &NatsServer, name: &str) -> Result<Arc<NatsLattice>> {
    Ok(connect(NatsOptions { name: name.to_owned(), ..NatsOptions::new(server.url()) }).await?)
}

/// Answers every request with as many bytes as the call's answer has.
async fn serve_echo(bus: &Arc<dyn Bus>, (subject, size): (&str, usize), scope: &TaskScope) -> Result<()> {
    let mut requests = bus.subscribe(subject, Some("echo")).await?;
    let (bus, token) = (Arc::clone(bus), scope.token());
    scope.spawn_best_effort("echo", async move {
        let serve = async {
            while let Some(request) = requests.next().await {
                if let Some(answer) = request.answer(vec![b'x'; size]) {
                    // Who asked then waits in vain and says so.
                    let _ = bus.publish(answer).await;
                }
            }
        };
        let _ = token.run_until_cancelled(serve).await;
    });
    Ok(())
}
