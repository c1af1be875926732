//! Actors in JavaScript and Python under a real `trellis run`: HTTP and key-value; one that is persistent, on a
//! lattice. `cargo xtask test --full` builds them first, and says how large they are; here it is measured what they
//! cost the host.

#![allow(clippy::print_stdout, reason = "what was measured is a result of these tests")]
#![allow(clippy::indexing_slicing, reason = "a test that cannot go on should stop where it is")]

use anyhow::{Context, Result, ensure};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tests_harness::{Process, ProcessSpec, eventually, fixtures, workspace};
use tests_lattice::{TestLattice, free_port, http};

/// An interpreter is compiled once, and that takes its time.
const PATIENCE: Duration = Duration::from_secs(100);

const MANIFEST: &str = r#"
apiVersion: trellis.dev/v1
kind: Application
metadata: { name: hello }
spec:
  actors:
    - name: hello
      artifact: hello.wasm
      links:
        - { to: http, interface: "wasi:http/incoming-handler", config: { path: / } }
        - { to: store, interface: "wasi:keyvalue" }
  providers:
    - { name: http, kind: http-server, config: { port: "PORT" } }
    - { name: store, kind: keyvalue-embedded }
"#;

fn component(actor: &str, language: &str) -> Result<PathBuf> {
    let path = workspace::root().join(format!("guests/target/{language}/{actor}_{language}.wasm"));
    ensure!(path.is_file(), "{}: not built; run `cargo xtask test --full`", path.display());
    Ok(path)
}

/// Resident memory, MiB.
fn resident(process: &Process) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? >> 10)
}

async fn greets_and_counts(language: &str, title: &str) -> Result<()> {
    let dir = tempfile::tempdir()?;
    fs::copy(component("hello", language)?, dir.path().join("hello.wasm"))?;
    let port = free_port()?;
    fs::write(dir.path().join("app.yaml"), MANIFEST.replace("PORT", &port.to_string()))?;
    let started = Instant::now();
    let mut process = ProcessSpec::new("trellis run", fixtures::program("trellis")?, dir.path().join("log"))
        .args(["run", "app.yaml", "--sign"])
        .env("TRELLIS_HOME", dir.path().join("home"))
        .current_dir(dir.path())
        .spawn()?;
    process.wait_for_line("runs; Ctrl-C ends it", PATIENCE).await?;
    let ready = started.elapsed();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let get = |path: &str| http(address, "GET", path, "");
    assert_eq!(get("/x")?, (200, format!("Hello from {title} at /x\n")));
    assert_eq!(get("/count/a")?, (200, "a: 1\n".to_owned()));
    assert_eq!(get("/count/a")?, (200, "a: 2\n".to_owned()), "each call has an instance of its own");
    let (start, calls) = (Instant::now(), 20);
    for _ in 0..calls {
        get("/x")?;
    }
    println!(
        "{language}: ready after {} ms, {} ms a call with its own instance, {} MiB resident",
        ready.as_millis(),
        start.elapsed().as_millis() / calls,
        resident(&process)?
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_actor_in_javascript_greets_and_counts() -> Result<()> {
    greets_and_counts("javascript", "JavaScript").await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_actor_in_python_greets_and_counts() -> Result<()> {
    greets_and_counts("python", "Python").await
}

const PARKING: &str = r#"
apiVersion: trellis.dev/v1
kind: Application
metadata: { name: parking }
spec:
  actors:
    - name: parking
      artifact: parking.wasm
      persistent: true
"#;

/// The same world as in Rust, by another engine: what was acknowledged is there after a kill, folded anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_persistent_actor_in_javascript_keeps_what_it_acknowledged() -> Result<()> {
    let mut lattice = TestLattice::start(1).await?;
    fs::copy(component("parking", "javascript")?, lattice.path().join("parking.wasm"))?;
    fs::write(lattice.path().join("app.yaml"), PARKING)?;
    lattice.trellis(&["app", "deploy", "app.yaml", "--sign"])?;
    let call = |lattice: &TestLattice, command: &str, data: &str| {
        lattice.trellis(&["call", "parking/p-1", command, "--data", data, "--timeout", "20000"])
    };
    let answer = eventually(PATIENCE, "the actor answers", || async {
        call(&lattice, "set-places", r#"{"places":2}"#)
    });
    assert_eq!(answer.await?.trim(), r#"{"seq":1}"#);
    assert_eq!(call(&lattice, "enter", r#"{"plate":"Z\u00dc 1"}"#)?.trim(), r#"{"seq":2}"#);
    assert_eq!(call(&lattice, "enter", r#"{"plate":"A"}"#)?.trim(), r#"{"seq":3}"#);
    lattice.hosts[0].kill()?;
    lattice.hosts[0] = lattice.spawn_host(1).await?;
    let state = eventually(PATIENCE, "the actor answers again", || async {
        lattice.trellis(&["query", "parking/p-1", "state"])
    });
    assert_eq!(state.await?.trim(), r#"{"inside":["A","ZÜ 1"],"places":2}"#);
    let refused = call(&lattice, "enter", r#"{"plate":"B"}"#).unwrap_err().to_string();
    ensure!(refused.contains("2 places, all taken"), "{refused}");
    let refused = call(&lattice, "enter", r#"{"plate":5}"#).unwrap_err().to_string();
    ensure!(refused.contains("command enter: plate: not what it must be"), "{refused}");
    lattice.trellis(&["actor", "verify", "parking/p-1"])?;
    Ok(())
}
