//! HTTP hello through a `trellis host` process, beside plain hyper in a process of its own: wrk with
//! 64 connections on each in turn. Load and servers share the machine's processors. With `--compare`,
//! `wasmtime serve` takes its turns too.

use super::{Case, Plan};
use crate::load::{self, Load};
use crate::outside::{Outside, Planned, To, cpu_us, first_answer, free_address, resident_mib};
use crate::peers::{self, Way};
use crate::report::{Beside, Goal, Measured, Row};
use anyhow::{Context, Result, bail};
use lattice_protocol::InstancePolicy;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tests_harness::{Process, ProcessSpec};

const CONNECTIONS: u32 = 64;
/// Seconds of load before the first run that counts.
const WARM_UP: u32 = 2;

/// Starts the native server; it answers when this returns.
pub async fn native(address: SocketAddr, log: &Path) -> Result<Process> {
    let port = address.port().to_string();
    let mut process =
        ProcessSpec::new("native", std::env::current_exe()?, log).args(["native", &port]).spawn()?;
    first_answer(&mut process, address, "/", Instant::now()).await?;
    Ok(process)
}

struct Shape {
    name: &'static str,
    guest: &'static str,
    instances: InstancePolicy,
    goal: Goal,
    peers: &'static [Way],
}

fn shape(case: Case) -> Shape {
    let warm = InstancePolicy::warm();
    match case {
        Case::HttpHelloP3Warm => Shape {
            name: "http-hello-p3-warm",
            guest: "http-hello-p3",
            // As many calls at once as `wasmtime serve` gives an instance unasked.
            instances: at_once(16),
            goal: Goal::None,
            peers: peers::CONCURRENT,
        },
        Case::HttpHelloWarm => Shape {
            name: "http-hello-warm",
            guest: "http-hello-raw",
            instances: warm,
            goal: Goal::RatioAtLeast(0.75),
            peers: peers::REUSED,
        },
        _ => Shape {
            name: "http-hello-fresh",
            guest: "http-hello-raw",
            instances: InstancePolicy::PerCall,
            goal: Goal::RatioAtLeast(0.55),
            peers: peers::FRESH,
        },
    }
}

/// Warm instances of so many calls at once.
fn at_once(calls: u32) -> InstancePolicy {
    match InstancePolicy::warm() {
        InstancePolicy::Warm { max_calls, idle_ms, .. } => {
            InstancePolicy::Warm { max_calls, max_concurrency: calls, idle_ms }
        }
        other => other,
    }
}

/// One server under load, again and again.
pub struct Loaded {
    name: &'static str,
    process: Process,
    url: String,
    /// What makes the requests, for wrk.
    script: PathBuf,
    runs: Vec<Load>,
    /// Processor time that it used for a request, microseconds, run by run.
    cpu: Vec<f64>,
    /// Most resident memory at the end of a run, MiB.
    resident_mib: f64,
}

impl Loaded {
    /// Asked for `/`.
    pub fn new(name: &'static str, process: Process, address: SocketAddr) -> Self {
        let (url, script) = (format!("http://{address}/"), PathBuf::from("/dev/null"));
        Self { name, process, url, script, runs: Vec::new(), cpu: Vec::new(), resident_mib: 0.0 }
    }

    /// Asked what a script of wrk says.
    #[must_use]
    pub fn by(mut self, script: &Path) -> Self {
        self.script = script.to_owned();
        self
    }

    fn run(&mut self, seconds: u32) -> Result<()> {
        let before = cpu_us(&self.process)?;
        let load = load::wrk(&self.url, CONNECTIONS, seconds, &self.script)?;
        let used = cpu_us(&self.process)? - before;
        self.cpu.push(used / (load.per_second * f64::from(seconds)));
        self.runs.push(load);
        self.resident_mib = self.resident_mib.max(resident_mib(&self.process)?);
        Ok(())
    }

    fn median(&self) -> Result<(Load, f64)> {
        let load = load::median(self.runs.clone()).with_context(|| format!("no run of {}", self.name))?;
        Ok((load, crate::samples::median(self.cpu.clone()).context("no run")?))
    }
}

/// Measures one of the three.
pub async fn run(case: Case, plan: &Plan) -> Result<Row> {
    let Shape { name, guest, instances, goal, peers } = shape(case);
    let links = vec![("wasi:http", To::Path("/".to_owned()))];
    let outside = Outside::prepare(
        &plan.trellis,
        &[Planned { own_file: false, name: "hello".to_owned(), guest, instances, links }],
    )
    .await?;
    let mut host = outside.start()?;
    first_answer(&mut host, outside.address, "/", Instant::now()).await?;
    let logs = tempfile::tempdir()?;
    let address = free_address()?;
    let hyper = native(address, &logs.path().join("native")).await?;
    let mut servers =
        vec![Loaded::new("trellis", host, outside.address), Loaded::new("native hyper", hyper, address)];
    if let Some(program) = plan.compare.then(peers::program).flatten() {
        let component = tests_harness::fixtures::guest(guest)?;
        for (index, way) in peers.iter().enumerate() {
            let log = logs.path().join(format!("peer-{index}"));
            let (process, address) = peers::serve(&program, way, &component, &log).await?;
            servers.push(Loaded::new(way.name, process, address));
        }
    }
    let mut row = in_turn(&mut servers, plan, (name, goal))?;
    for other in servers.iter().skip(2) {
        let (load, cpu) = other.median()?;
        let (name, value, resident_mib) = (other.name, load.per_second, other.resident_mib);
        row.beside.push(Beside { name, value, cpu_us: cpu, resident_mib });
    }
    Ok(row)
}

/// Puts each under load in turn, and makes the row of the first beside the second.
pub fn in_turn(servers: &mut [Loaded], plan: &Plan, (name, goal): (&'static str, Goal)) -> Result<Row> {
    for server in &*servers {
        load::wrk(&server.url, CONNECTIONS, WARM_UP, &server.script)?;
    }
    for _ in 0..plan.runs {
        for server in &mut *servers {
            server.run(plan.seconds)?;
        }
    }
    let [ours, reference, ..] = &*servers else { bail!("no servers") };
    let (our_mib, native_mib) = (ours.resident_mib, reference.resident_mib);
    let ((ours, our_cpu), (reference, native_cpu)) = (ours.median()?, reference.median()?);
    let measured = Measured { ours: ours.per_second, reference: reference.per_second };
    let note = format!(
        "p50 {:.0} us, p99 {:.0} us; native {:.0}, {:.0}; processor {our_cpu:.1} us a request, native {native_cpu:.1} ({:.2} x); resident {our_mib:.1} MiB, native {native_mib:.1}",
        ours.p50_us,
        ours.p99_us,
        reference.p50_us,
        reference.p99_us,
        our_cpu / native_cpu
    );
    Ok(Row::new(name, "req/s", measured, goal).against("native hyper").note(note))
}
