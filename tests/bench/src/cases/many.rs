//! A thousand actors on one host, each of a signed file of its own: asked in turn, and started one
//! after the other.

use super::Plan;
use crate::inside::{Inside, guest};
use crate::load;
use crate::outside::{Outside, Planned, To, first_answer};
use crate::report::{Goal, Measured, Row};
use crate::samples::{median, millis};
use anyhow::{Context, Result};
use lattice_protocol::InstancePolicy;
use std::fmt::Write as _;
use std::time::Instant;

const ACTORS: usize = 1_000;
const CONNECTIONS: u32 = 64;
const GUEST: &str = "http-hello-raw";
/// What a host sets aside for a thousand of them, and room.
const MEMORY: u64 = 2 << 30;
/// Starts of which the middle is taken.
const FEW: usize = 25;

/// One of them alone, and all in turn, by wrk.
pub async fn asked(plan: &Plan) -> Result<Row> {
    let path = |number: usize| format!("/a{number}");
    let actors: Vec<Planned> = (0..ACTORS)
        .map(|number| Planned {
            name: format!("a{number}"),
            guest: GUEST,
            instances: InstancePolicy::PerCall,
            links: vec![("wasi:http", To::Path(path(number)))],
            own_file: true,
        })
        .collect();
    let outside = Outside::prepare(&plan.trellis, &actors).await?;
    let mut host = outside.start()?;
    for number in 0..ACTORS {
        first_answer(&mut host, outside.address, &path(number), Instant::now()).await?;
    }
    let script = tempfile::NamedTempFile::new()?;
    std::fs::write(script.path(), round_robin(ACTORS)?)?;
    // What the script costs wrk, it costs it for one actor as well.
    let alone = tempfile::NamedTempFile::new()?;
    std::fs::write(alone.path(), round_robin(1)?)?;
    let address = format!("http://{}/", outside.address);
    let (mut ours, mut reference) = (Vec::new(), Vec::new());
    for _ in 0..plan.runs {
        ours.push(load::wrk(&address, CONNECTIONS, plan.seconds, script.path())?.per_second);
        reference.push(load::wrk(&address, CONNECTIONS, plan.seconds, alone.path())?.per_second);
    }
    let measured =
        Measured { ours: median(ours).context("no run")?, reference: median(reference).context("no run")? };
    Ok(Row::new("many-actors", "req/s", measured, Goal::RatioAtLeast(0.7)).against("one of them alone"))
}

/// For wrk: each request to the next of so many actors.
fn round_robin(actors: usize) -> Result<String> {
    let mut text = String::new();
    writeln!(text, "local n = 0")?;
    writeln!(text, "request = function()")?;
    writeln!(text, "  n = (n + 1) % {actors}")?;
    writeln!(text, "  return wrk.format(\"GET\", \"/a\" .. n)")?;
    writeln!(text, "end")?;
    Ok(text)
}

/// Verified, loaded from the cache and started in this process: the first few beside the last few.
pub async fn started(plan: &Plan) -> Result<Row> {
    let inside = Inside::of_memory(MEMORY)?;
    let body = guest(GUEST)?;
    let mut files = Vec::new();
    for number in 0..ACTORS {
        let file = inside.signed_as(&body, &format!("a{number}"))?;
        // Compiled here, and let go.
        drop(inside.load(file.clone()).await?);
        files.push(file);
    }
    let (mut ours, mut reference) = (Vec::new(), Vec::new());
    for _ in 0..plan.runs.min(3) {
        let (mut actors, mut took) = (Vec::new(), Vec::new());
        for (number, file) in files.iter().enumerate() {
            let began = Instant::now();
            let component = inside.load(file.clone()).await?;
            actors.push(
                inside.start(&format!("a{number}"), component, InstancePolicy::PerCall, Vec::new()).await?,
            );
            took.push(millis(began.elapsed()));
        }
        let last = took.split_off(ACTORS - FEW);
        took.truncate(FEW);
        ours.push(median(last).context("no start")?);
        reference.push(median(took).context("no start")?);
        drop(actors);
    }
    let measured =
        Measured { ours: median(ours).context("no run")?, reference: median(reference).context("no run")? };
    Ok(Row::new("many-actors-start", "ms", measured, Goal::RatioAtMost(2.0)).against("the first of them"))
}
