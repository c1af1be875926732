//! The host's process itself: how soon it answers, and how much memory it holds when idle. Its disk
//! is that of a host that ran before, so nothing is fetched and nothing compiled.

use super::{Plan, http::native};
use crate::outside::{Outside, Planned, To, first_answer, free_address, resident_mib};
use crate::report::{Goal, Measured, Row};
use crate::samples::{median, millis};
use anyhow::{Context, Result, bail};
use lattice_protocol::InstancePolicy;
use std::path::Path;
use std::time::{Duration, Instant};
use tests_harness::Process;

/// Starts of the host in one run.
const STARTS: u32 = 3;
/// Actors are idle when they have let go of what waiting ones do without (`trellis host --unload-after-s`, half a
/// minute as it comes).
const IDLE: Duration = Duration::from_secs(40);
/// Memory is read when it has not grown for so many questions, so long apart.
const QUIET: (u32, Duration) = (30, Duration::from_millis(200));

fn actor(name: String, guest: &'static str, links: Vec<(&'static str, To)>) -> Planned {
    Planned { name, guest, instances: InstancePolicy::PerCall, links, own_file: false }
}

/// From spawning the process to its first complete answer.
pub async fn start(plan: &Plan) -> Result<Row> {
    let links = vec![("wasi:http", To::Path("/".to_owned()))];
    let outside =
        Outside::prepare(&plan.trellis, &[actor("hello".to_owned(), "http-hello-raw", links)]).await?;
    let log = tempfile::NamedTempFile::new()?;
    let (mut ours, mut reference) = (Vec::new(), Vec::new());
    for _ in 0..plan.runs * STARTS {
        let began = Instant::now();
        let mut host = outside.start()?;
        ours.push(millis(first_answer(&mut host, outside.address, "/", began).await?));
        end(host).await?;
        let began = Instant::now();
        let process = native(free_address()?, log.path()).await?;
        reference.push(millis(began.elapsed()));
        drop(process);
    }
    let measured = Measured {
        ours: median(ours).context("no start")?,
        reference: median(reference).context("no start")?,
    };
    Ok(Row::new("host-start", "ms", measured, Goal::AtMost(15.0)).against("native server, the same way"))
}

async fn end(mut host: Process) -> Result<()> {
    host.terminate()?;
    host.wait_for_exit(Duration::from_secs(20)).await.map(drop)
}

/// Ten actors of five components; those that answer below their own path have answered once.
pub async fn idle_memory(plan: &Plan) -> Result<Row> {
    let measured = idle_memory_of(plan, &plan.trellis).await?;
    Ok(Row::new("host-idle-memory", "MiB", measured, Goal::AtMost(15.3)).against("native server, idle"))
}

/// The same of a gateway, with what a compiler has left on its disk.
pub async fn gateway_idle_memory(plan: &Plan) -> Result<Row> {
    let measured = idle_memory_of(plan, gateway(plan)?).await?;
    Ok(Row::new("gateway-idle-memory", "MiB", measured, Goal::AtMost(9.5)).against("native server, idle"))
}

fn gateway(plan: &Plan) -> Result<&Path> {
    plan.gateway
        .as_deref()
        .context("no gateway's program: name it with --gateway (cargo xtask bench builds it)")
}

async fn idle_memory_of(plan: &Plan, program: &Path) -> Result<Measured> {
    let outside = Outside::prepare(&plan.trellis, &ten_actors()).await?;
    let log = tempfile::NamedTempFile::new()?;
    let address = free_address()?;
    let native = native(address, log.path()).await?;
    let mut samples = Vec::new();
    for _ in 0..plan.runs.min(3) {
        let mut host = outside.start_by(program)?;
        for path in ["/hello-1", "/hello-2", "/raw-1", "/raw-2", "/counter-1", "/counter-2"] {
            first_answer(&mut host, outside.address, path, Instant::now()).await.context(path)?;
        }
        samples.push(settled_mib(&host).await?);
        end(host).await?;
    }
    Ok(Measured { ours: median(samples).context("no run")?, reference: resident_mib(&native)? })
}

/// What one of a hundred more idle actors, each of a file of its own, adds.
pub async fn idle_actor(plan: &Plan) -> Result<Row> {
    const FEW: usize = 10;
    const MORE: usize = 100;
    let hosts = |actors: usize| -> Vec<Planned> {
        (0..actors)
            .map(|number| {
                let links = vec![("wasi:http", To::Path(format!("/a{number}")))];
                Planned { own_file: true, ..actor(format!("a{number}"), "http-hello-raw", links) }
            })
            .collect()
    };
    let mut resident = Vec::new();
    for actors in [FEW, FEW + MORE] {
        let outside = Outside::prepare(&plan.trellis, &hosts(actors)).await?;
        let mut samples = Vec::new();
        for _ in 0..plan.runs.min(3) {
            let mut host = outside.start()?;
            for number in 0..actors {
                first_answer(&mut host, outside.address, &format!("/a{number}"), Instant::now()).await?;
            }
            samples.push(settled_mib(&host).await?);
            end(host).await?;
        }
        resident.push(median(samples).context("no run")?);
    }
    let [few, many] = resident.as_slice() else { bail!("two hosts") };
    let each = (many - few) * 1_024.0 / 100.0;
    let measured = Measured { ours: each, reference: few * 1_024.0 };
    Ok(Row::new("actor-idle-memory", "KiB", measured, Goal::AtMost(100.0)).against("a host with ten of them"))
}

/// The program as it is installed.
pub fn program_size(plan: &Plan) -> Result<Row> {
    let measured =
        Measured { ours: megabytes(&plan.trellis)?, reference: megabytes(&std::env::current_exe()?)? };
    Ok(Row::new("program-size", "MB", measured, Goal::AtMost(20.0))
        .against("this program, with the runtime too"))
}

/// A gateway's, beside the whole one.
pub fn gateway_size(plan: &Plan) -> Result<Row> {
    let measured = Measured { ours: megabytes(gateway(plan)?)?, reference: megabytes(&plan.trellis)? };
    Ok(Row::new("gateway-size", "MB", measured, Goal::AtMost(8.0)).against("the whole program"))
}

fn megabytes(path: &Path) -> Result<f64> {
    Ok(std::fs::metadata(path).with_context(|| path.display().to_string())?.len() as f64 / 1e6)
}

fn ten_actors() -> Vec<Planned> {
    let at = |path: &str, turn: u32| ("wasi:http", To::Path(format!("/{path}-{turn}")));
    (1..=2)
        .flat_map(|turn| {
            let pong = format!("pong-{turn}");
            let asks = vec![at("ping", turn), ("example:pong/pingpong@0.1.0", To::Actor(pong.clone()))];
            [
                actor(format!("hello-{turn}"), "http-hello", vec![at("hello", turn)]),
                actor(format!("raw-{turn}"), "http-hello-raw", vec![at("raw", turn)]),
                actor(
                    format!("counter-{turn}"),
                    "kv-counter",
                    vec![at("counter", turn), ("wasi:keyvalue", To::Store)],
                ),
                actor(format!("ping-{turn}"), "ping", asks),
                actor(pong, "pong", Vec::new()),
            ]
        })
        .collect()
}

/// The resident memory once its actors are idle and it grows no more.
async fn settled_mib(host: &Process) -> Result<f64> {
    tokio::time::sleep(IDLE).await;
    let (wanted, pause) = QUIET;
    let (mut most, mut quiet) = (0.0_f64, 0);
    for _ in 0..wanted * 10 {
        let now = resident_mib(host)?;
        quiet = if now > most { 0 } else { quiet + 1 };
        most = most.max(now);
        if quiet >= wanted {
            return Ok(now);
        }
        tokio::time::sleep(pause).await;
    }
    bail!("resident memory keeps growing: {most:.1} MiB")
}
