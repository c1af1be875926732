//! How long what one host served is missed, and what a host that leaves costs: three hosts that beat
//! twice a second, a nats-server, a controller with the fast profile and its standby, and clients that try
//! the hosts in turn (`tests_lattice::fleet`). Each sample is one loss, from the moment of it to the next
//! good answer: of an actor with one replica over HTTP, and of one that an actor of another host calls
//! over NATS, in turn.

use super::Plan;
use crate::report::{Goal, Measured, Row};
use crate::samples::{median, millis, percentile};
use anyhow::{Context, Result};
use std::time::Duration;
use tests_lattice::fleet::{Fleet, Loss, Service};

/// Losses of one case.
const LOSSES: usize = 30;
/// Hosts that leave.
const LEAVES: usize = 10;
/// Between two requests of a client while a host leaves.
const PAUSE: Duration = Duration::from_millis(2);

fn service(number: usize) -> Service {
    if number.is_multiple_of(2) { Service::Solo } else { Service::Ping }
}

/// Its process is killed, or its packets are dropped (which takes root).
pub async fn run(plan: &Plan, loss: Loss) -> Result<Row> {
    let (case, goals) = match loss {
        Loss::Killed => ("failover-kill", (3_000.0, Some(1_500.0))),
        Loss::Silent => ("failover-silent", (5_000.0, None)),
    };
    let mut fleet = Fleet::start(Some(plan.trellis.clone()), loss == Loss::Silent).await?;
    let mut samples = Vec::new();
    for number in 0..LOSSES {
        let took = fleet.lose(loss, service(number)).await;
        samples.push(millis(took.with_context(|| format!("loss {number} of {:?}", service(number)))?));
    }
    // Of so few samples it is the largest.
    let worst = percentile(samples.clone(), 99).context("no loss")?;
    let measured = Measured { ours: worst, reference: median(samples).context("no loss")? };
    let mut row = Row::new(case, "ms", measured, Goal::AtMost(goals.0)).against("the median");
    if let Some(most) = goals.1 {
        row = row.with_reference(Goal::AtMost(most));
    }
    Ok(row.note(format!("p99 (the largest) of {LOSSES} losses")))
}

/// Hosts leave under load, by SIGTERM and by `trellis stop host` in turn.
pub async fn drain(plan: &Plan) -> Result<Row> {
    let mut fleet = Fleet::start(Some(plan.trellis.clone()), false).await?;
    let (mut failed, mut good, mut first) = (0u32, 0u32, None);
    for number in 0..LEAVES {
        let asked = fleet.leave(service(number), number.is_multiple_of(2), PAUSE).await?;
        failed += u32::try_from(asked.failed.len())?;
        good += u32::try_from(asked.good)?;
        first = first.or(asked.failed.into_iter().next());
    }
    let measured = Measured { ours: failed.into(), reference: good.into() };
    let row = Row::new("drain", "failed", measured, Goal::AtMost(0.0)).against("answered");
    Ok(row.note(first.unwrap_or_else(|| format!("{LEAVES} hosts left"))))
}
