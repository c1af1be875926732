//! Calls from actor to actor on one host, by a WIT interface through a link: a loop in the caller, so
//! what is measured is one call as a guest sees it, with what it costs the guest to make its list.

use super::calls::{row, single_call};
use super::{Case, Plan};
use crate::inside::{Inside, Local, Loops, actor_id, link};
use crate::report::{Goal, Row};
use crate::samples::micros;
use anyhow::{Result, bail, ensure};
use host_runtime::wiring::BoundTarget;
use lattice_protocol::{InstancePolicy, LinkTarget};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

const GUEST: &str = "fixture-bench-loops";
/// The interface that the guest serves for its own loops.
const SINK: &str = "bench:loops/sink@0.1.0";
/// Length of the lists that are passed; the guest has the same number.
const BYTES: usize = 64 << 10;
/// Copies of that length for the reference.
const COPIES: u32 = 20_000;

/// One way to call.
struct Way {
    case: &'static str,
    interface: &'static str,
    function: &'static str,
    /// The callee, and whether its instances are used again.
    callee: (&'static str, InstancePolicy),
    turns: u32,
    each: u64,
    goal: Goal,
}

impl Way {
    fn of(case: Case) -> Result<Self> {
        let record = Self {
            case: "typed-call-warm",
            interface: SINK,
            function: "call-record",
            callee: (GUEST, InstancePolicy::warm()),
            turns: 20_000,
            each: 1,
            goal: Goal::AtMost(1.5),
        };
        let bytes = BYTES as u64;
        Ok(match case {
            Case::TypedCallWarm => record,
            Case::TypedCallFresh => Self {
                case: "typed-call-fresh",
                callee: (GUEST, InstancePolicy::PerCall),
                goal: Goal::AtMost(8.0),
                ..record
            },
            Case::TypedCallText => Self {
                case: "typed-call-text",
                interface: "example:pong/pingpong@0.1.0",
                function: "call",
                callee: ("pong", InstancePolicy::warm()),
                each: 4,
                goal: Goal::AtMost(5.0),
                ..record
            },
            Case::TypedBytes => Self {
                case: "typed-bytes",
                function: "call-bytes",
                each: bytes,
                goal: Goal::RatioAtMost(4.0),
                ..record
            },
            Case::TypedValues => Self {
                case: "typed-values",
                function: "call-values",
                turns: 2_000,
                each: bytes,
                goal: Goal::AtMost(40.0),
                ..record
            },
            other => bail!("{} is no typed call", other.name()),
        })
    }
}

/// Measures one way to call: beside a call from the host, or beside one copy of what is passed.
pub async fn run(case: Case, plan: &Plan) -> Result<Row> {
    let way = Way::of(case)?;
    let inside = Inside::new()?;
    let component = inside.load(inside.signed(way.callee.0)?).await?;
    let callee = inside.start("callee", component, way.callee.1, Vec::new()).await?;
    let link = link(GUEST, way.interface, LinkTarget::Actor(actor_id("callee")?))?;
    let links = vec![(link, BoundTarget::Actor(Arc::new(Local(callee))))];
    let loops = Loops(inside.start_guest(GUEST, InstancePolicy::warm(), links).await?);
    let copies = matches!(case, Case::TypedBytes | Case::TypedValues);
    let mut samples = (Vec::new(), Vec::new());
    for _ in 0..plan.runs {
        samples.0.push(loops.over_bare(way.function, way.turns, way.each).await?);
        samples.1.push(if copies { copy()? } else { single_call(&loops).await? });
    }
    let against = if copies { "one copy of the same 64 KiB" } else { "a call from the host, p50" };
    Ok(row(way.case, "us", samples, way.goal)?.against(against))
}

/// Microseconds of one copy from one block to another, again and again the same two: as little as
/// it can cost, because both stay in the caches, as a guest's do.
fn copy() -> Result<f64> {
    let (from, mut to) = (vec![7u8; BYTES], vec![0u8; BYTES]);
    let began = Instant::now();
    for _ in 0..COPIES {
        black_box(&mut to).copy_from_slice(black_box(&from));
    }
    let took = micros(began.elapsed()) / f64::from(COPIES);
    ensure!(to == from, "nothing was copied");
    Ok(took)
}
