//! HTTP hello through a `trellis host` process, beside plain hyper in a process of its own: wrk with
//! 64 connections on each in turn. Load and servers share the machine's processors.

use super::{Case, Plan};
use crate::load::{self, Load};
use crate::outside::{Outside, Planned, To, first_answer, free_address};
use crate::report::{Goal, Measured, Row};
use anyhow::{Context, Result};
use lattice_protocol::InstancePolicy;
use std::net::SocketAddr;
use std::time::Instant;
use tests_harness::{Process, ProcessSpec};

const CONNECTIONS: u32 = 64;
/// Seconds of load before the first run that counts.
const WARM_UP: u32 = 2;

/// Starts the native server; it answers when this returns.
pub async fn native(address: SocketAddr, log: &std::path::Path) -> Result<Process> {
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
}

fn shape(case: Case) -> Shape {
    let warm = InstancePolicy::warm();
    match case {
        Case::HttpHelloP3Warm => {
            Shape { name: "http-hello-p3-warm", guest: "http-hello-p3", instances: warm, goal: Goal::None }
        }
        Case::HttpHelloWarm => Shape {
            name: "http-hello-warm",
            guest: "http-hello-raw",
            instances: warm,
            goal: Goal::RatioAtLeast(0.48),
        },
        _ => Shape {
            name: "http-hello-fresh",
            guest: "http-hello-raw",
            instances: InstancePolicy::PerCall,
            goal: Goal::RatioAtLeast(0.38),
        },
    }
}

/// Measures one of the three.
pub async fn run(case: Case, plan: &Plan) -> Result<Row> {
    let Shape { name, guest, instances, goal } = shape(case);
    let links = vec![("wasi:http", To::Path("/".to_owned()))];
    let outside =
        Outside::prepare(&plan.trellis, &[Planned { name: "hello".to_owned(), guest, instances, links }])
            .await?;
    let mut host = outside.start()?;
    first_answer(&mut host, outside.address, "/", Instant::now()).await?;
    let log = tempfile::NamedTempFile::new()?;
    let address = free_address()?;
    let _native = native(address, log.path()).await?;

    let (ours, reference) = (format!("http://{}/", outside.address), format!("http://{address}/"));
    for url in [&ours, &reference] {
        load::wrk(url, CONNECTIONS, WARM_UP)?;
    }
    let (mut our_runs, mut their_runs): (Vec<Load>, Vec<Load>) = (Vec::new(), Vec::new());
    for _ in 0..plan.runs {
        our_runs.push(load::wrk(&ours, CONNECTIONS, plan.seconds)?);
        their_runs.push(load::wrk(&reference, CONNECTIONS, plan.seconds)?);
    }
    let ours = load::median(our_runs).context("no run")?;
    let reference = load::median(their_runs).context("no run")?;
    let measured = Measured { ours: ours.per_second, reference: reference.per_second };
    let note = format!(
        "p50 {:.0} us, p99 {:.0} us; native {:.0}, {:.0}",
        ours.p50_us, ours.p99_us, reference.p50_us, reference.p99_us
    );
    Ok(Row::new(name, "req/s", measured, goal).against("native hyper").note(note))
}
