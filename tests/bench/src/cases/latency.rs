//! What a host adds to the latency of a request when there is little to do: one connection, a request
//! every millisecond, whether or not the one before took long. The native server is asked the same way
//! in turn, because a core that has gone to sleep costs more than all that is measured.

use super::{Plan, http::native};
use crate::outside::{Outside, Planned, To, first_answer, free_address};
use crate::report::{Goal, Measured, Row};
use crate::samples::{median, micros};
use anyhow::{Context, Result, ensure};
use lattice_protocol::InstancePolicy;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Requests of one run.
const REQUESTS: u32 = 2_000;
/// Between two of them.
const PACE: Duration = Duration::from_millis(1);
/// Single runs jump by the time that a core takes to wake.
const LEAST_RUNS: u32 = 10;

/// Measures it, with a new instance per request.
pub async fn run(plan: &Plan) -> Result<Row> {
    let links = vec![("wasi:http", To::Path("/".to_owned()))];
    let hello = Planned {
        name: "hello".to_owned(),
        guest: "http-hello-raw",
        instances: InstancePolicy::PerCall,
        links,
        own_file: false,
    };
    let outside = Outside::prepare(&plan.trellis, &[hello]).await?;
    let mut host = outside.start()?;
    first_answer(&mut host, outside.address, "/", Instant::now()).await?;
    let (address, log) = (free_address()?, tempfile::NamedTempFile::new()?);
    let _native = native(address, log.path()).await?;
    let (mut ours, mut reference) = (Vec::new(), Vec::new());
    for _ in 0..plan.runs.max(LEAST_RUNS) {
        ours.push(paced(outside.address).await?);
        reference.push(paced(address).await?);
    }
    let middle = |runs: &[(f64, f64)], of: fn(&(f64, f64)) -> f64| median(runs.iter().map(of).collect());
    let p99 = |runs: &[(f64, f64)]| middle(runs, |run| run.1).unwrap_or_default();
    let note = format!("p99 {:.0} us; native {:.0}", p99(&ours), p99(&reference));
    let measured = Measured {
        ours: middle(&ours, |run| run.0).context("no run")?,
        reference: middle(&reference, |run| run.0).context("no run")?,
    };
    Ok(Row::new("http-latency", "us", measured, Goal::AtMostAbove(30.0))
        .against("native hyper, p50 at 1 000 requests/s")
        .note(note))
}

/// The median and the 99th percentile of one run, microseconds.
async fn paced(address: SocketAddr) -> Result<(f64, f64)> {
    let mut samples = tokio::task::spawn_blocking(move || requests(address)).await??;
    samples.sort_by(f64::total_cmp);
    let at = |share: usize| samples.get(samples.len() * share / 100).copied().context("no sample");
    Ok((at(50)?, at(99)?))
}

fn requests(address: SocketAddr) -> Result<Vec<f64>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let request = format!("GET / HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let mut answer = [0; 4_096];
    let mut samples = Vec::new();
    let mut due = Instant::now();
    for _ in 0..REQUESTS {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let sent = Instant::now();
        stream.write_all(request.as_bytes())?;
        let mut length = 0;
        // A guest that was made to make way in between answers in two pieces.
        while !answer.get(..length).is_some_and(|so_far| so_far.ends_with(crate::HELLO.as_bytes())) {
            let read = stream.read(answer.get_mut(length..).unwrap_or_default())?;
            ensure!(read > 0, "half of an answer");
            length += read;
        }
        samples.push(micros(sent.elapsed()));
        let answer = answer.get(..length).unwrap_or_default();
        ensure!(answer.starts_with(b"HTTP/1.1 200"), "another answer: {}", String::from_utf8_lossy(answer));
        due += PACE;
    }
    Ok(samples)
}
