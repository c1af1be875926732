//! `cargo xtask demo`: a real lattice on this machine, from nothing. One nats-server, one
//! controller, three hosts in three regions, seed 004's edge processor signed and deployed from one
//! manifest, real readings through HTTP and NATS, and one host killed while requests go on; then the
//! persistent actors of seeds 001 and 002 ([`devices`]).
//!
//! `--once` runs it to the end and prints one line of JSON; without it the lattice stays up until
//! Ctrl-C. Everything is below `target/demo`, made anew each time; nothing needs root once the
//! tools are there.
#![allow(clippy::indexing_slicing, reason = "the demo has just its three hosts")]

mod devices;
mod http;
mod stage;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Serialize;
use stage::Stage;
use std::time::{Duration, Instant};

/// What the demo can be told.
#[derive(Args)]
pub struct Options {
    /// Run to the end without a terminal; the last line is one JSON object
    #[arg(long)]
    once: bool,
}

/// Seed 004's reading, whose answer is `critical`.
const READING: &str = r#"{"device_id":"sensor-001","temperature":92.5,"humidity":78.3,"timestamp":1718668800,"region":"ap-east-1"}"#;
/// One that comes by NATS: too humid, so a `warning`.
const MESSAGE: &str = r#"{"device_id":"sensor-002","temperature":21.0,"humidity":96.0,"timestamp":1718668801,"region":"ap-east-1"}"#;
/// Requests while a host dies.
const REQUESTS: u32 = 200;

/// The last line of `--once`.
#[derive(Debug, Default, Serialize)]
struct Summary {
    ok: bool,
    alert_level: String,
    message_alert_level: String,
    hosts: usize,
    killed: String,
    requests_after_kill: u32,
    answered_after_kill: u32,
    replaced_after_ms: u128,
    devices: devices::Devices,
    seconds: u64,
}

/// Runs it. True; what goes wrong is an error.
///
/// # Errors
/// What could not be built or started, or did not do what it should.
pub fn run(options: &Options) -> Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let started = Instant::now();
        let mut stage = Stage::build().await?;
        let mut summary = play(&mut stage).await?;
        summary.seconds = started.elapsed().as_secs();
        if options.once {
            println!("{}", serde_json::to_string(&summary)?);
            return Ok(true);
        }
        stage.invite();
        tokio::signal::ctrl_c().await?;
        Ok(true)
    })
}

async fn play(stage: &mut Stage) -> Result<Summary> {
    let mut summary = Summary { hosts: stage.hosts.len(), ..Summary::default() };

    stage.say("A reading over HTTP (seed 004's example)");
    let answer = stage.post_reading(0, READING).context("POST /readings")?;
    println!("  POST {READING}\n  {answer}");
    summary.alert_level = field(&answer, "alert_level")?;
    ensure!(summary.alert_level == "critical", "expected critical, got {answer}");

    stage.say("A reading over NATS");
    stage.trellis(&["publish", "edge.sensor.ap-east-1", "--data", MESSAGE])?;
    println!("  published to edge.sensor.ap-east-1: {MESSAGE}");
    let stored = stage.device("sensor-002").await?;
    println!("  GET /devices/sensor-002\n  {stored}");
    summary.message_alert_level = field(&stored, "alert_level")?;
    ensure!(summary.message_alert_level == "warning", "expected warning, got {stored}");

    stage.say("The lattice");
    stage.tables()?;

    let victim = stage.hosts.len() - 1;
    ensure!(stage.replicas(stage.hosts[victim].name)? > 0, "the host to be killed runs no replica");
    summary.killed = stage.hosts[victim].name.to_owned();
    stage.say(&format!("SIGKILL {}", summary.killed));
    let killed = Instant::now();
    stage.kill(victim)?;
    for turn in 0..REQUESTS {
        summary.requests_after_kill += 1;
        let host = turn as usize % victim;
        if stage.post_reading(host, READING).is_ok_and(|answer| answer.contains("critical")) {
            summary.answered_after_kill += 1;
        }
    }
    println!("  {} of {} requests answered by the others", summary.answered_after_kill, REQUESTS);
    ensure!(summary.answered_after_kill == REQUESTS, "requests failed while a host was dead");
    stage.replaced(&summary.killed, Duration::from_secs(30)).await?;
    summary.replaced_after_ms = killed.elapsed().as_millis();
    println!("  its replica runs elsewhere after {} ms", summary.replaced_after_ms);
    summary.devices = devices::play(stage).await?;
    stage.tables()?;
    summary.ok = true;
    Ok(summary)
}

fn field(json: &str, name: &str) -> Result<String> {
    let value: serde_json::Value = serde_json::from_str(json).with_context(|| format!("not JSON: {json}"))?;
    Ok(value.get(name).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned())
}
