//! What planning costs: the simulation's large lattice, planned in this process. Ours is a plan with
//! its check; the reference of what has changed is the plan from nothing.

use crate::report::{Goal, Measured, Row};
use anyhow::{Context, Result};
use tests_sim::scale::{self, Figures};

/// What of a lattice is measured.
#[derive(Debug, Clone, Copy)]
pub enum What {
    /// A plan from nothing.
    FromNothing,
    /// A plan when one host is lost.
    HostLost,
    /// Reading and taking heartbeats.
    Heartbeats,
    /// The most memory, during all of it.
    Memory,
}

/// The two sizes of the promise: hosts, and actors.
#[derive(Debug, Clone, Copy)]
pub enum Size {
    /// 1 000 and 100 000.
    Large,
    /// 10 000 and 1 000 000.
    Huge,
}

/// Measures one row.
pub fn run(case: &'static str, size: Size, what: What) -> Result<Row> {
    let (hosts, actors, goals) = match size {
        Size::Large => (1_000, 100_000, (1_000.0, 20.0)),
        Size::Huge => (10_000, 1_000_000, (15_000.0, 200.0)),
    };
    let figures = scale::measure(hosts, actors).map_err(anyhow::Error::msg)?;
    let took = |what: &str| took_ms(&figures, what);
    let from_nothing = took(scale::FROM_NOTHING)?;
    let row = |unit, ours, goal| {
        let measured = Measured { ours, reference: from_nothing };
        Row::new(case, unit, measured, goal).against("the plan from nothing, ms")
    };
    Ok(match what {
        What::FromNothing => row("ms", from_nothing, Goal::AtMost(goals.0)),
        What::HostLost => row("ms", took(scale::HOST_LOST)?, Goal::AtMost(goals.1)),
        What::Heartbeats => {
            let percent = f64::from(u32::try_from(figures.heartbeats_per_mille)?) / 10.0;
            row("% of a core", percent, Goal::AtMost(20.0)).note("of all hosts, one in 30 s".to_owned())
        }
        What::Memory => {
            // 1 GB.
            let more = |mib: u64| mib.saturating_sub(figures.before_mib);
            let mib = f64::from(u32::try_from(more(figures.most_memory_mib))?);
            let end = more(figures.memory_mib);
            row("MiB", mib, Goal::AtMost(953.0))
                .note(format!("at most, above what this process had before; {end} MiB in the end"))
        }
    })
}

fn took_ms(figures: &Figures, what: &str) -> Result<f64> {
    let took = figures.took(what).with_context(|| format!("no {what}"))?;
    Ok(took.as_secs_f64() * 1e3)
}
