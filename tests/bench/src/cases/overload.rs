//! Three times as much as a host can do: an actor that computes about two milliseconds, a new instance for each request.
//! In each run first as much as the host can do (a closed loop of [`AT_PEAK`] connections), then a little, then
//! three times the peak on a schedule that does not wait for answers.
//!
//! The load shares the machine's processors with the host, and three times as many requests cost it more. So what was
//! served is also told by the processors that were left to the host; the goals are judged without that.

use super::Plan;
use crate::offered::{Answers, Offer, offer};
use crate::outside::{Outside, Planned, To, first_answer, resident_mib};
use crate::report::{Goal, Measured, Row};
use crate::samples::{median, percentile};
use anyhow::{Context, Result, ensure};
use lattice_protocol::InstancePolicy;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tests_harness::Process;
use tokio::sync::OnceCell;

/// What a request asks for: about two milliseconds of one processor.
const PATH: &str = "/?steps=1000000";
/// Fewer than a host takes from one address (2 048).
const CONNECTIONS: u32 = 1_024;
/// Connections of the run that finds the peak: enough to keep every processor busy.
const AT_PEAK: u32 = 16;
/// Shares of the peak.
const LITTLE: f64 = 0.1;
const MUCH: f64 = 3.0;
/// Offered before what is counted.
const LEAD: Duration = Duration::from_secs(2);
/// Between two looks at the host's memory.
const LOOK: Duration = Duration::from_millis(100);

/// What is told of it.
#[derive(Clone, Copy)]
pub enum What {
    /// Requests that were served, beside the peak.
    Goodput,
    /// The 99th percentile of those, beside little load.
    Latency,
    /// Refusals that say when to come back.
    Refusals,
    /// The most memory that the host had.
    Memory,
}

/// Medians over the runs.
struct Overload {
    peak: f64,
    goodput: f64,
    /// The same, a second of a processor that was left to the host.
    peak_left: f64,
    goodput_left: f64,
    unloaded_p99_us: f64,
    p99_us: f64,
    /// Requests of all runs that were offered, that were not served, and of those that were refused with 503
    /// and told when to come back.
    offered: usize,
    refused: usize,
    told: usize,
    /// Resident memory before any load, and the most at the peak and at three times that.
    idle_mib: f64,
    peak_mib: f64,
    most_mib: f64,
}

/// All four rows are of one measurement.
static MEASURED: OnceCell<Overload> = OnceCell::const_new();

/// One of its rows.
pub async fn run(plan: &Plan, what: What) -> Result<Row> {
    let all = MEASURED.get_or_try_init(|| measure(plan)).await?;
    let row = |name, unit, (ours, reference), goal| Row::new(name, unit, Measured { ours, reference }, goal);
    Ok(match what {
        What::Goodput => row("http-overload", "req/s", (all.goodput, all.peak), Goal::RatioAtLeast(0.9))
            .against("its peak; offered: three times that")
            .note(all.words()),
        What::Latency => {
            let measured = (all.p99_us / 1e3, all.unloaded_p99_us / 1e3);
            row("http-overload-p99", "ms", measured, Goal::RatioAtMost(5.0))
                .against("p99 at a tenth of the peak")
        }
        What::Refusals => {
            let measured = (all.told as f64, all.refused as f64);
            row("http-overload-503", "calls", measured, Goal::RatioAtLeast(1.0))
                .against("all that were not served; ours: 503 with Retry-After")
        }
        What::Memory => {
            let measured = (all.most_mib, all.peak_mib);
            row("http-overload-memory", "MiB", measured, Goal::RatioAtMost(1.3)).against("at its peak")
        }
    })
}

impl Overload {
    fn words(&self) -> String {
        format!(
            "by the processors left to it {:.2} of the peak; refused {:.0} % of {}; p99 of the served {:.1} ms, {:.1} at a tenth of the peak; {:.1} MiB idle, {:.1} at the peak, {:.1} at three times that",
            self.goodput_left / self.peak_left,
            100.0 * self.refused as f64 / self.offered as f64,
            self.offered,
            self.p99_us / 1e3,
            self.unloaded_p99_us / 1e3,
            self.idle_mib,
            self.peak_mib,
            self.most_mib,
        )
    }
}

async fn measure(plan: &Plan) -> Result<Overload> {
    let links = vec![("wasi:http", To::Path("/".to_owned()))];
    let busy = Planned {
        name: "busy".to_owned(),
        guest: "fixture-busy",
        instances: InstancePolicy::PerCall,
        links,
        own_file: false,
    };
    let outside = Outside::prepare(&plan.trellis, &[busy]).await?;
    let mut host = outside.start()?;
    first_answer(&mut host, outside.address, PATH, Instant::now()).await?;
    let idle_mib = resident_mib(&host)?;
    let time = Duration::from_secs(plan.seconds.into());
    let processors = std::thread::available_parallelism()?.get() as f64;
    let rate = |answers: &Answers| answers.in_time as f64 / time.as_secs_f64();
    let left = |answers: &Answers| rate(answers) / (processors - answers.processors);
    let (mut peaks, mut littles, mut muches) = (vec![], vec![], vec![]);
    let (mut peak_mib, mut most_mib) = (idle_mib, idle_mib);
    for _ in 0..plan.runs {
        let peak = watched(&host, &mut peak_mib, at(outside.address, time, AT_PEAK, None)).await?;
        let (little, much) = (rate(&peak) * LITTLE, rate(&peak) * MUCH);
        let little = offer(at(outside.address, time, CONNECTIONS, Some(little))).await?;
        let much = at(outside.address, time, CONNECTIONS, Some(much));
        let much = watched(&host, &mut most_mib, much).await?;
        for (calm, what) in [(&peak, "at the peak"), (&little, "at a tenth of the peak")] {
            ensure!(calm.refused == 0, "{} requests refused {what}", calm.refused);
        }
        peaks.push(peak);
        littles.push(little);
        muches.push(much);
    }
    let middle = |of: &[Answers], what: &dyn Fn(&Answers) -> f64| {
        median(of.iter().map(what).collect()).context("no run")
    };
    let p99 = |answers: &Answers| percentile(answers.served.clone(), 99).unwrap_or(f64::INFINITY);
    let sum = |what: fn(&Answers) -> usize| muches.iter().map(what).sum();
    Ok(Overload {
        peak: middle(&peaks, &rate)?,
        goodput: middle(&muches, &rate)?,
        peak_left: middle(&peaks, &left)?,
        goodput_left: middle(&muches, &left)?,
        unloaded_p99_us: middle(&littles, &p99)?,
        p99_us: middle(&muches, &p99)?,
        offered: sum(|answers| answers.served.len() + answers.refused),
        refused: sum(|answers| answers.refused),
        told: sum(|answers| answers.told),
        idle_mib,
        peak_mib,
        most_mib,
    })
}

/// Offers it, and looks at the host's memory meanwhile.
async fn watched(host: &Process, most_mib: &mut f64, load: Offer) -> Result<Answers> {
    let mut offering = std::pin::pin!(offer(load));
    loop {
        tokio::select! {
            answers = &mut offering => return answers,
            () = tokio::time::sleep(LOOK) => *most_mib = most_mib.max(resident_mib(host)?),
        }
    }
}

fn at(address: SocketAddr, time: Duration, connections: u32, per_second: Option<f64>) -> Offer {
    Offer { address, path: PATH, connections, per_second, lead: LEAD, time }
}
