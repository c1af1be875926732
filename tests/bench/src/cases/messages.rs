//! Messages through an actor: from NATS to its handler and its answer back, in a `trellis host` process,
//! beside a plain NATS client in a process of its own. 64 are under way at once.

use super::Plan;
use crate::native;
use crate::outside::{Outside, Planned, To};
use crate::rates::Rates;
use crate::report::{Goal, Row};
use anyhow::{Result, ensure};
use futures::future::try_join_all;
use lattice_io::{Bus, BusMessage};
use lattice_protocol::InstancePolicy;
use std::time::{Duration, Instant};
use tests_harness::ProcessSpec;

const AT_ONCE: usize = 64;
/// Bytes of a message.
const BODY: usize = 200;
const OURS: &str = "bench.ours";
const REFERENCE: &str = "bench.reference";
const PATIENCE: Duration = Duration::from_secs(10);
/// Load before the first run that counts.
const WARM_UP: Duration = Duration::from_secs(2);

/// Measures it, with warm instances.
pub async fn run(plan: &Plan) -> Result<Row> {
    let echo = Planned {
        name: "echo".to_owned(),
        guest: "messaging-echo",
        instances: InstancePolicy::warm(),
        links: vec![("wasmcloud:messaging", To::Messages(OURS.to_owned()))],
        own_file: false,
    };
    let mut outside = Outside::prepare(&plan.trellis, &[echo]).await?;
    let mut host = outside.start()?;
    let nats = outside.nats_id();
    let (url, credentials, inbox) = outside.administrator();
    let log = tempfile::NamedTempFile::new()?;
    let mut plain = ProcessSpec::new("native echo", std::env::current_exe()?, log.path())
        .args(["echo", &url, &credentials.to_string_lossy(), inbox, REFERENCE])
        .spawn()?;
    plain.wait_for_line(native::READY, PATIENCE).await?;
    let client = native::connect(&url, &credentials, inbox.to_owned()).await?;
    let bus = client.lattice().bus;
    // The host has subscribed when it answers.
    let began = Instant::now();
    while exchange(&*bus, OURS).await.is_err() {
        ensure!(host.try_wait()?.is_none() && began.elapsed() < PATIENCE, "{}", host.log_tail());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for subject in [OURS, REFERENCE] {
        exchanges(&*bus, subject, WARM_UP).await?;
    }
    let with = |answering: u32| [std::process::id(), nats, answering];
    let (mut ours, mut reference) = (Rates::default(), Rates::default());
    for _ in 0..plan.runs {
        let time = Duration::from_secs(plan.seconds.into());
        ours.run(&with(host.id()), exchanges(&*bus, OURS, time)).await?;
        reference.run(&with(plain.id()), exchanges(&*bus, REFERENCE, time)).await?;
    }
    client.close().await;
    let row = ours.row("messaging-echo", "msg/s", reference, Goal::RatioAtLeast(0.7))?;
    Ok(row.against("a plain NATS client"))
}

/// Messages answered in this time.
async fn exchanges(bus: &dyn Bus, subject: &str, time: Duration) -> Result<u32> {
    let began = Instant::now();
    let one = async || -> Result<u32> {
        let mut answered = 0;
        while began.elapsed() < time {
            exchange(bus, subject).await?;
            answered += 1;
        }
        Ok(answered)
    };
    Ok(try_join_all((0..AT_ONCE).map(|_| one())).await?.into_iter().sum())
}

async fn exchange(bus: &dyn Bus, subject: &str) -> Result<()> {
    let answer = bus.request(BusMessage::new(subject, vec![b'x'; BODY]), PATIENCE).await?;
    ensure!(answer.payload.len() == BODY, "{subject} answered {} bytes", answer.payload.len());
    Ok(())
}
