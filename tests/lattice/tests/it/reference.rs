//! The reference actors of seeds 001 and 002, by their own manifests, on real processes: what a killed host had
//! acknowledged is there, timers and missions go on, and nothing is logged or sent again by a replay.

use anyhow::{Context, Result, ensure};
use std::fs;
use tests_harness::{eventually, fixtures, workspace};
use tests_lattice::{PATIENCE, TestLattice};

/// Deploys the manifest of a guest, with its components signed for what they publish.
fn deploy(lattice: &TestLattice, folder: &str, guests: &[&str]) -> Result<()> {
    for guest in guests {
        let file = format!("{}.wasm", guest.replace('-', "_"));
        fs::copy(fixtures::guest(guest)?, lattice.path().join(&file))?;
        let subject = format!("trellis-lattice/keys/{guest}.nk");
        let mut args = vec!["claim", "sign", &file, "--name", guest, "--subject", &subject];
        args.extend(["--issuer", "trellis-lattice/keys/issuer.nk"]);
        args.extend(["--cap", "wasmcloud:messaging", "--cap", "wasi:logging", "--cap", "wasi:config"]);
        lattice.trellis(&args)?;
    }
    let manifest = workspace::root().join("guests").join(folder).join("app.yaml");
    let manifest = fs::read_to_string(manifest)?.replace("../target/wasm32-wasip2/release/", "");
    fs::write(lattice.path().join("app.yaml"), manifest)?;
    lattice.trellis(&["app", "deploy", "app.yaml"])?;
    Ok(())
}

fn call(lattice: &TestLattice, actor: &str, command: &str, data: &str) -> Result<String> {
    let args = ["call", actor, command, "--data", data, "--timeout", "10000"];
    lattice.trellis(&args).map(|text| text.trim().to_owned())
}

fn query(lattice: &TestLattice, actor: &str, name: &str) -> Result<serde_json::Value> {
    Ok(serde_json::from_str(&lattice.trellis(&["query", actor, name])?)?)
}

/// Lines of the host's log with these words.
fn logged(lattice: &TestLattice, words: &str) -> Result<usize> {
    let log = fs::read_to_string(lattice.path().join("H1.log"))?;
    Ok(log.lines().filter(|line| line.contains(words)).count())
}

async fn killed(lattice: &mut TestLattice) -> Result<()> {
    lattice.hosts[0].kill()?;
    lattice.hosts[0] = lattice.spawn_host(1).await?;
    Ok(())
}

fn level(lattice: &TestLattice) -> Result<f64> {
    query(lattice, "battery/drone-001", "level")?["level"].as_f64().context("a level")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machines_alarm_and_a_drones_mission_survive_a_kill() -> Result<()> {
    let mut lattice = TestLattice::start(1).await?;
    deploy(&lattice, "factory-monitor", &["factory-monitor"])?;
    deploy(&lattice, "battery-agent", &["battery-agent"])?;

    let hot = r#"{"deviceId":"machine-01","value":85.7,"timestamp":1678155691124}"#;
    assert_eq!(call(&lattice, "temperature/machine-01", "record-temperature", hot)?, r#"{"alarm":true}"#);
    let alarm = "[Actor] Alarm! Temp 85.7 > 80";
    assert_eq!(logged(&lattice, alarm)?, 1);
    let wrong = r#"{"deviceId":"machine-01","value":"x","timestamp":1}"#;
    let refused =
        call(&lattice, "temperature/machine-01", "record-temperature", wrong).unwrap_err().to_string();
    ensure!(refused.contains("value: invalid type: string \"x\", expected f64"), "{refused}");

    call(&lattice, "battery/drone-001", "report-level", r#"{"level":63.5}"#)?;
    call(&lattice, "battery/drone-001", "start-mission", r#"{"mission":"m-1"}"#)?;
    call(&lattice, "battery/drone-001", "flow", r#"{"done":{"step":"mission-planning"}}"#)?;
    call(&lattice, "battery/drone-001", "start-drain", "")?;
    killed(&mut lattice).await?;
    let before = eventually(PATIENCE, "the drone answers again", || async { level(&lattice) }).await?;
    ensure!((40.0..=63.5).contains(&before), "recovered, and not begun anew: {before}");
    eventually(PATIENCE, "the drain goes on by its own timer", || async {
        let now = level(&lattice)?;
        ensure!(now < before, "{now}");
        Ok(())
    })
    .await?;
    call(&lattice, "battery/drone-001", "hello", "")?;
    ensure!(logged(&lattice, "[Agent] Recovered battery level: ")? == 1);
    let mission = query(&lattice, "battery/drone-001", "mission")?;
    assert_eq!((&mission["step"], &mission["phase"]), (&"take-off".into(), &"acting".into()), "{mission}");

    let latest = query(&lattice, "temperature/machine-01", "latest")?;
    assert_eq!(latest["value"], 85.7);
    ensure!(logged(&lattice, alarm)? <= 1, "a replay alarms nobody");
    let journal = lattice.json(&["actor", "journal", "temperature/machine-01"])?;
    assert_eq!(journal.as_array().map(Vec::len), Some(1), "reading and alarm are one commit: {journal}");
    for actor in ["battery/drone-001", "temperature/machine-01"] {
        lattice.trellis(&["actor", "verify", actor])?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_substation_sheds_load_and_the_grid_hears_of_it() -> Result<()> {
    let mut lattice = TestLattice::start(1).await?;
    deploy(&lattice, "substation", &["substation", "grid"])?;
    let over = r#"{"voltage":10000,"current":120,"breaker":"closed","timestamp":1700000000000}"#;
    let load = call(&lattice, "substation/s-17", "measure", over)?;
    assert_eq!(load, r#"{"averageKw":1200.0,"limitKw":1000.0,"shedding":true,"breaker":"closed"}"#);
    killed(&mut lattice).await?;
    eventually(PATIENCE, "the grid knows, once", || async {
        let overview = call(&lattice, "grid/north", "overview", "")?;
        ensure!(overview == r#"{"loadKw":1200.0,"shedding":1,"substations":1}"#, "{overview}");
        Ok(())
    })
    .await?;
    let reports = lattice.trellis(&["query", "grid/north", "get", "--data", r#"{"key":"reports"}"#])?;
    assert_eq!(reports.trim(), "1");
    Ok(())
}

/// A manifest of a guest as it is, but for where its components and its port are; signed on the way.
fn deploy_as_written(lattice: &TestLattice, folder: &str) -> Result<()> {
    let built = format!("{}/", workspace::root().join("guests/target/wasm32-wasip2/release").display());
    let manifest = fs::read_to_string(workspace::root().join("guests").join(folder).join("app.yaml"))?;
    let manifest = manifest.replace("../target/wasm32-wasip2/release/", &built);
    fs::write(lattice.path().join("app.yaml"), manifest.replace("8081", &lattice.port().to_string()))?;
    lattice.trellis(&["app", "deploy", "app.yaml", "--sign"])?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_devices_send_over_http_and_nats_is_there_after_a_kill() -> Result<()> {
    let mut lattice = TestLattice::start(1).await?;
    for folder in ["factory-monitor", "battery-agent", "substation", "field-gateway"] {
        deploy_as_written(&lattice, folder)?;
    }
    let ok = |lattice: &TestLattice, method: &str, path: &str, body: &str| -> Result<String> {
        let (status, answer) = lattice.http(1, method, path, body)?;
        ensure!(status == 200, "{method} {path}: {status}: {answer}");
        Ok(answer)
    };
    let hot = r#"{"deviceId":"machine-01","value":85.7,"timestamp":1678155691124}"#;
    let alarm = eventually(PATIENCE, "the gateway serves", || async {
        ok(&lattice, "POST", "/machines/machine-01/readings", hot)
    });
    assert_eq!(alarm.await?, r#"{"alarm":true}"#);
    let (status, refused) = lattice.http(1, "POST", "/machines/machine-02/readings", hot)?;
    ensure!(status == 409 && refused.contains("is not \"machine-02\""), "{status} {refused}");
    let (status, refused) = lattice.http(1, "POST", "/machines/machine-01/noise", hot)?;
    ensure!(status == 400 && refused.contains("machines/<id>/readings"), "{status} {refused}");
    let over = r#"{"voltage":10000,"current":120,"breaker":"closed","timestamp":1700000000000}"#;
    let load = ok(&lattice, "POST", "/substations/s-17/measurements", over)?;
    ensure!(load.contains(r#""shedding":true"#), "{load}");

    // Seed 002's own messages, over NATS.
    let message = |lattice: &TestLattice, topic: &str, body: &str| {
        lattice.trellis(&["publish", &format!("edge.drones.drone-001.{topic}"), "--data", body])
    };
    message(&lattice, "command", r#"{"type":"StartMission","mission":"m-1"}"#)?;
    message(&lattice, "battery", r#"{"level":63.5}"#)?;
    message(&lattice, "command", r#"{"type":"Fly"}"#)?;
    let drone = |lattice: &TestLattice, view: &str| -> Result<serde_json::Value> {
        Ok(serde_json::from_str(&ok(lattice, "GET", &format!("/drones/drone-001/{view}"), "")?)?)
    };
    eventually(PATIENCE, "both messages have arrived", || async {
        let (mission, battery) = (drone(&lattice, "mission")?, drone(&lattice, "battery")?);
        ensure!(mission["mission"] == "m-1" && battery["level"] == 63.5, "{mission} {battery}");
        Ok(())
    })
    .await?;
    eventually(PATIENCE, "what is no command is said", || async {
        ensure!(logged(&lattice, "reason=unknown-command: command Fly")? == 1);
        Ok(())
    })
    .await?;

    killed(&mut lattice).await?;
    eventually(PATIENCE, "the gateway serves again", || async { drone(&lattice, "battery") }).await?;
    assert_eq!(drone(&lattice, "battery")?["level"], 63.5);
    let mission = drone(&lattice, "mission")?;
    assert_eq!((&mission["mission"], &mission["step"]), (&"m-1".into(), &"mission-planning".into()));
    let latest = ok(&lattice, "GET", "/machines/machine-01/latest", "")?;
    assert_eq!(latest, r#"{"value":85.7,"timestamp":1678155691124}"#);
    ensure!(ok(&lattice, "GET", "/substations/s-17/load", "")?.contains(r#""shedding":true"#));
    Ok(())
}
