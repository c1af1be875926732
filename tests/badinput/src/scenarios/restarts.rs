//! Hosts of one process that are stopped and started again over what somebody changed meanwhile.

use super::Played;
use crate::case::Case;
use crate::command::trellis;
use crate::desk::{self, Desk, now};
use crate::make;
use crate::wire;
use crate::world::{free_port, run_in};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use tests_harness::{Process, fixtures};
use tests_lattice::PATIENCE;

const HELLO: &str = r#"
apiVersion: trellis.dev/v1
kind: Application
metadata: { name: hello }
spec:
  actors:
    - name: hello
      artifact: app.wasm
      links: [{ to: http, interface: "wasi:http/incoming-handler", config: { path: / } }]
  providers:
    - { name: http, kind: http-server, config: { port: "PORT" } }
"#;

/// A desk with the hello guest and its manifest.
fn hello() -> Result<(Desk, SocketAddr)> {
    let (desk, port) = (Desk::new()?, free_port()?);
    desk.write("app.wasm", desk::signed(&fs::read(fixtures::guest("http-hello")?)?, "hello")?)?;
    desk.write("app.yaml", HELLO.replace("PORT", &port.to_string()))?;
    Ok((desk, (Ipv4Addr::LOCALHOST, port).into()))
}

async fn up(desk: &Desk) -> Result<Process> {
    let mark = tests_harness::process::LogMark::end_of(&desk.path().join("app.yaml.log"));
    let mut process = run_in(desk, "app.yaml", &["--data-dir", "data"])?;
    process.wait_for_line_since(mark, "runs; Ctrl-C", PATIENCE).await?;
    Ok(process)
}

async fn down(mut process: Process) -> Result<()> {
    process.terminate()?;
    process.wait_for_exit(PATIENCE).await.map(drop)
}

/// Compiled components on disk.
fn entries(desk: &Desk) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![desk.path().join("data")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "cwasm") {
                found.push(path);
            }
        }
    }
    Ok(found)
}

/// `with`: `flip`, one bit of the compiled component in the header, the code of its authenticity,
/// and the native code, each before a start of its own; or `rename`, as one that another engine made.
pub async fn cache(case: &Case) -> Played {
    let (desk, address) = hello()?;
    down(up(&desk).await?).await?;
    let entry = entries(&desk)?.pop().context("nothing was compiled into the cache")?;
    let size = fs::read(&entry)?.len();
    let places: &[usize] = if case.with == "rename" { &[0] } else { &[3, 20, size / 2] };
    let mut outcomes = Vec::new();
    for place in places {
        if case.with == "rename" {
            fs::rename(&entry, entry.with_file_name(format!("{}.cwasm", "0".repeat(64))))?;
        } else {
            let mut bytes = fs::read(&entry)?;
            *bytes.get_mut(*place).context("the entry is shorter than before")? ^= 1;
            fs::write(&entry, bytes)?;
        }
        let log = desk.path().join("app.yaml.log");
        let before = fs::read(&log)?.len();
        let process = up(&desk).await?;
        let mut outcome = wire::ask(address, "a", "GET /", b"").await?;
        down(process).await?;
        ensure!(entry.is_file(), "it was not compiled again into {}", entry.display());
        outcome.aside =
            String::from_utf8_lossy(fs::read(&log)?.get(before..).unwrap_or_default()).into_owned();
        outcomes.push((format!("byte {place}"), outcome));
    }
    Ok(outcomes)
}

/// A host that has run revision 7 is offered `with`: a revision, and perhaps another content.
pub async fn older_revision(case: &Case) -> Played {
    let (desk, _) = hello()?;
    let guest = fs::read(fixtures::guest("http-hello")?)?;
    let of_revision = |guest: &[u8], revision: u64| {
        let mut claims = desk::request("hello");
        claims.revision = revision;
        keys::sign_component(guest, &claims, &desk::issuer(), now() - 60)
    };
    desk.write("app.wasm", of_revision(&guest, 7)?)?;
    down(up(&desk).await?).await?;
    let (revision, other) = case.with.split_once(' ').unwrap_or((&case.with, ""));
    // A custom section without meaning: another content of the same component.
    let other = if other.is_empty() { Vec::new() } else { vec![0, 2, 1, b'x'] };
    desk.write("app.wasm", of_revision(&[guest, other].concat(), revision.parse()?)?)?;
    run(desk, "run app.yaml --data-dir data --ready-within 20 --trust-issuer $ISSUER").await
}

/// The port that the manifest wants is somebody's: this process's.
pub async fn port_taken(case: &Case) -> Played {
    let (desk, _) = hello()?;
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    desk.write("app.yaml", HELLO.replace("PORT", &taken.local_addr()?.port().to_string()))?;
    let played = run(desk, &case.with).await;
    drop(taken);
    played
}

/// The data directory's lock is a symbolic link to a file elsewhere.
pub async fn lock_is_a_link() -> Played {
    let (desk, _) = hello()?;
    let victim = desk.write("victim", "untouched")?;
    fs::create_dir(desk.path().join("data"))?;
    std::os::unix::fs::symlink(&victim, desk.path().join("data/lock"))?;
    run(desk, "run app.yaml --data-dir data --ready-within 20 --trust-issuer $ISSUER").await
}

/// One command at this desk; what became of `victim`, if there is one, is shown as well.
async fn run(desk: Desk, line: &str) -> Played {
    let line = make::filled_keys(&desk::filled(line));
    let outcome = tokio::task::spawn_blocking(move || {
        let mut outcome = trellis(desk.path(), &line, &[])?;
        if let Ok(victim) = fs::read_to_string(desk.path().join("victim")) {
            outcome.aside.push_str(&format!("victim {victim}"));
        }
        anyhow::Ok(outcome)
    });
    Ok(vec![(String::new(), outcome.await??)])
}
