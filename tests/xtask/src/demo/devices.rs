//! The demo's second act: the persistent actors of seeds 001 and 002, told by HTTP and NATS what their devices say, and one
//! host killed and started again while a drone's battery drains.

use super::stage::Stage;
use anyhow::{Context, Result, ensure};
use serde::Serialize;
use serde_json::Value;
use std::time::Duration;
use tests_harness::eventually;

/// Applications, by the folder of their manifest in `guests/`; the way in last.
const GUESTS: [&str; 4] = ["factory-monitor", "battery-agent", "substation", "field-gateway"];
/// Where the way in listens.
const PORT: u16 = 8081;
const PATIENCE: Duration = Duration::from_secs(60);
/// Seed 001's hot reading.
const HOT: &str = r#"{"deviceId":"machine-01","value":85.7,"timestamp":1678155691124}"#;
/// 1 200 kW where 1 000 are allowed.
const OVER: &str = r#"{"voltage":10000,"current":120,"breaker":"closed","timestamp":1700000000000}"#;

/// What it has shown.
#[derive(Debug, Default, Serialize)]
pub struct Devices {
    alarm: bool,
    shedding: bool,
    killed: String,
    level_before_kill: f64,
    level_recovered: f64,
    mission_step_recovered: String,
}

/// Plays it.
pub async fn play(stage: &mut Stage) -> Result<Devices> {
    let mut shown = Devices::default();
    stage.say("Persistent actors of seeds 001 and 002, and the way in from the field");
    for guest in GUESTS {
        print!("{}", stage.deploy_guest(guest)?);
    }
    let answer = ask(stage, "POST", "/machines/machine-01/readings", HOT).await?;
    println!("  POST /machines/machine-01/readings {HOT}\n  {answer}");
    shown.alarm = answer["alarm"] == true;
    let answer = ask(stage, "POST", "/substations/s-17/measurements", OVER).await?;
    println!("  POST /substations/s-17/measurements {OVER}\n  {answer}");
    shown.shedding = answer["shedding"] == true;
    ensure!(shown.alarm && shown.shedding, "no alarm, or no load shed");

    stage.say("Seed 002's drone, over NATS: a mission, and a battery that drains");
    for message in [r#"{"type":"StartMission","mission":"m-1"}"#, r#"{"type":"start-drain"}"#] {
        stage.trellis(&["publish", "edge.drones.drone-001.command", "--data", message])?;
        println!("  published to edge.drones.drone-001.command: {message}");
    }
    let drained = eventually(PATIENCE, "the battery drains", || async {
        let level = ask(stage, "GET", "/drones/drone-001/battery", "").await?["level"].as_f64();
        level.filter(|level| *level < 99.0).context("not yet")
    });
    shown.level_before_kill = drained.await?;
    stage.trellis(&[
        "publish",
        "edge.drones.drone-001.steps",
        "--data",
        r#"{"done":{"step":"mission-planning"}}"#,
    ])?;
    eventually(PATIENCE, "the mission goes on", || async {
        let mission = ask(stage, "GET", "/drones/drone-001/mission", "").await?;
        ensure!(mission["step"] == "take-off", "{mission}");
        Ok(())
    })
    .await?;

    let host = stage.host_of("drones/battery-agent")?;
    shown.killed = stage.hosts[host].name.to_owned();
    stage.say(&format!("SIGKILL {}, and start it again: its disk has the drone's journal", shown.killed));
    stage.kill(host)?;
    stage.start_again(host).await?;
    let answer = ask(stage, "GET", "/drones/drone-001/battery", "").await?;
    shown.level_recovered = answer["level"].as_f64().context("a level")?;
    let mission = ask(stage, "GET", "/drones/drone-001/mission", "").await?;
    shown.mission_step_recovered = mission["step"].as_str().unwrap_or_default().to_owned();
    stage.trellis(&["call", "battery/drone-001", "hello"])?;
    println!("  {answer} {mission}");
    for line in stage.logged(host, "[Agent] Recovered battery level")? {
        println!("  {}: {line}", shown.killed);
    }
    ensure!(shown.level_recovered <= shown.level_before_kill, "the level was not recovered");
    ensure!(shown.mission_step_recovered == "take-off", "the mission was not recovered");
    Ok(shown)
}

/// Asks the way in, on whichever host it runs, until it answers.
async fn ask(stage: &Stage, method: &str, path: &str, body: &str) -> Result<Value> {
    eventually(PATIENCE, "the way in answers", || async {
        let mut last = None;
        for address in stage.addresses(PORT) {
            match super::http::request(address, method, path, body) {
                Ok(answer) => return Ok(serde_json::from_str(&answer)?),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("no host")?)
    })
    .await
}
