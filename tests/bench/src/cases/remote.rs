//! A typed call from host to host beside a plain NATS request: the same two connections to the same
//! server, the same size of message, one of each in turn, so that both meet the same machine.

use super::Plan;
use crate::inside::{Inside, Loops, actor_id, link};
use crate::report::{Goal, Measured, Row};
use crate::samples::{median, micros};
use anyhow::{Context, Result, ensure};
use host_daemon::directory::Directory;
use host_daemon::egress::LinkedActor;
use host_runtime::wiring::BoundTarget;
use lattice_io::nats::{NatsLattice, NatsOptions, connect};
use lattice_io::{Bus, BusMessage, TaskScope};
use lattice_protocol::subject::Subjects;
use lattice_protocol::{InstancePolicy, LinkTarget};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tests_harness::NatsServer;

/// Pairs of one run.
const PAIRS: u32 = 3_000;
const GUEST: &str = "fixture-bench-loops";
/// Bytes of a plain request: as many as the frame of the typed call has.
const FRAME: usize = 300;
const PATIENCE: Duration = Duration::from_secs(10);

/// The caller and the plain request.
struct Pair {
    loops: Loops,
    bus: Arc<dyn Bus>,
    echo: String,
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
    serve_echo(&callee.lattice().bus, &echo, &scope).await?;

    let bus = caller.lattice().bus;
    let target =
        LinkedActor::new(actor_id("pong")?, Arc::new(Directory::default()), Arc::clone(&bus), &subjects);
    let link = link(GUEST, "example:pong/pingpong@0.1.0", LinkTarget::Actor(actor_id("pong")?))?;
    let links = vec![(link, BoundTarget::Actor(Arc::new(target)))];
    let loops = Loops(inside.start_guest(GUEST, InstancePolicy::warm(), links).await?);
    let pair = Pair { loops, bus, echo };

    pair.run(PAIRS / 10).await?;
    let (mut ours, mut reference) = (Vec::new(), Vec::new());
    for _ in 0..plan.runs {
        let (our, their) = pair.run(PAIRS).await?;
        ours.push(our);
        reference.push(their);
    }
    serving.shutdown(PATIENCE).await;
    scope.shutdown(PATIENCE).await;
    let measured =
        Measured { ours: median(ours).context("no run")?, reference: median(reference).context("no run")? };
    Ok(Row::new("nats-remote-call", "us", measured, Goal::RatioAtMost(1.5))
        .against("a plain NATS request, p50"))
}

impl Pair {
    /// Median latencies of the call and of the plain request, microseconds.
    async fn run(&self, pairs: u32) -> Result<(f64, f64)> {
        let (mut ours, mut reference) = (Vec::new(), Vec::new());
        for _ in 0..pairs {
            let (took, bytes) = self.loops.run("call", 1).await?;
            ensure!(bytes == 4, "pong did not answer");
            ours.push(micros(took));
            let began = Instant::now();
            let answer = self.bus.request(BusMessage::new(&self.echo, vec![b'x'; FRAME]), PATIENCE).await?;
            reference.push(micros(began.elapsed()));
            ensure!(answer.payload.len() == 8, "the echo answered {} bytes", answer.payload.len());
        }
        Ok((median(ours).context("no pair")?, median(reference).context("no pair")?))
    }
}

async fn login(server: &NatsServer, name: &str) -> Result<Arc<NatsLattice>> {
    Ok(connect(NatsOptions { name: name.to_owned(), ..NatsOptions::new(server.url()) }).await?)
}

/// Answers every request with as many bytes as the typed call's answer has.
async fn serve_echo(bus: &Arc<dyn Bus>, subject: &str, scope: &TaskScope) -> Result<()> {
    let mut requests = bus.subscribe(subject, Some("echo")).await?;
    let (bus, token) = (Arc::clone(bus), scope.token());
    scope.spawn_best_effort("echo", async move {
        let serve = async {
            while let Some(request) = requests.next().await {
                if let Some(answer) = request.answer(vec![b'x'; 8]) {
                    // Who asked then waits in vain and says so.
                    let _ = bus.publish(answer).await;
                }
            }
        };
        let _ = token.run_until_cancelled(serve).await;
    });
    Ok(())
}
