//! `trellis doctor`: what would keep this machine from building, signing, deploying; and what to do.

use crate::args::Args;
use crate::commands::{Outcome, keys as key_files};
use crate::connect::Login;
use crate::context::Context;
use crate::{client::Client, home, output, project};
use lattice_protocol::{ErrorCode, Report};
use serde::Serialize;
use std::time::Duration;

/// One finding.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Check {
    what: &'static str,
    ok: bool,
    /// Without it some things still work.
    optional: bool,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

fn good(what: &'static str, found: impl Into<String>) -> Check {
    Check { what, ok: true, optional: false, found: found.into(), hint: None }
}

fn bad(what: &'static str, found: impl Into<String>, hint: impl Into<String>) -> Check {
    Check { what, ok: false, optional: false, found: found.into(), hint: Some(hint.into()) }
}

/// Runs it. Fails when something that is needed is missing.
pub async fn run(args: &Args) -> Outcome {
    let mut checks = toolchain().await;
    checks.extend(keys());
    checks.extend(lattice(args).await);
    let rows = checks
        .iter()
        .map(|check| {
            let mark = match (check.ok, check.optional) {
                (true, _) => "ok",
                (false, true) => "missing",
                (false, false) => "FAILED",
            };
            vec![
                mark.to_owned(),
                check.what.to_owned(),
                check.found.clone(),
                check.hint.clone().unwrap_or_default(),
            ]
        })
        .collect();
    output::table(args, &checks, &["", "what", "found", "what to do"], rows);
    let failed = checks.iter().filter(|check| !check.ok && !check.optional).count();
    if failed == 0 {
        return Ok(());
    }
    Err(Report::new(ErrorCode::Config, format!("{failed} of {} checks failed", checks.len())))
}

async fn says(program: &str, arguments: &[&str]) -> Option<String> {
    let run = tokio::process::Command::new(program).args(arguments).kill_on_drop(true).output();
    let output = tokio::time::timeout(Duration::from_secs(10), run).await.ok()?.ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

async fn toolchain() -> Vec<Check> {
    let cargo = match says("cargo", &["--version"]).await {
        Some(version) => good("cargo", version),
        None => bad("cargo", "not on PATH", "install Rust with rustup, to build actors in Rust"),
    };
    let sysroot = says("rustc", &["--print", "sysroot"]).await;
    let installed = sysroot
        .is_some_and(|root| std::path::Path::new(&root).join("lib/rustlib").join(project::TARGET).exists());
    let target = if installed {
        good("wasm target", project::TARGET)
    } else {
        bad("wasm target", "not installed", format!("rustup target add {}", project::TARGET))
    };
    let redis = match says("redis-server", &["--version"]).await {
        Some(version) => {
            good("redis-server", version.split_whitespace().take(3).collect::<Vec<_>>().join(" "))
        }
        None => Check {
            optional: true,
            ..bad("redis-server", "not on PATH", "only for keyvalue-redis on this machine")
        },
    };
    vec![cargo, Check { optional: true, ..target }, redis]
        .into_iter()
        .map(|check| if check.what == "cargo" { Check { optional: true, ..check } } else { check })
        .collect()
}

fn keys() -> Vec<Check> {
    let dir = match home::keys_dir() {
        Ok(dir) => dir,
        Err(report) => return vec![bad("keys", report.what, report.hint.unwrap_or_default())],
    };
    let exposed = key_files::exposed(&dir);
    if exposed.is_empty() {
        return vec![good("keys", format!("{}: none that others can read", dir.display()))];
    }
    let names: Vec<String> = exposed.iter().map(|path| path.display().to_string()).collect();
    vec![bad(
        "keys",
        format!("others can read {}", names.join(" ")),
        format!("chmod 600 {}", names.join(" ")),
    )]
}

async fn lattice(args: &Args) -> Vec<Check> {
    let context = match Context::resolve(args) {
        Ok(context) => context,
        Err(report) => return vec![bad("context", report.to_string(), report.hint.unwrap_or_default())],
    };
    let Login { url, .. } = &context.login;
    let mut checks =
        vec![good("context", format!("lattice {} at {url}, from {}", context.lattice, context.origin))];
    if let Some(dir) = &context.dir {
        let mut exposed = key_files::exposed(&dir.path().join("keys"));
        exposed.extend(key_files::exposed(&dir.path().join("users")));
        let names: Vec<String> = exposed.iter().map(|path| path.display().to_string()).collect();
        checks.push(match names.as_slice() {
            [] => {
                good("lattice directory", format!("{}: no secret that others can read", dir.path().display()))
            }
            names => bad(
                "lattice directory",
                format!("others can read {}", names.join(" ")),
                format!("chmod 600 {}", names.join(" ")),
            ),
        });
    }
    match Client::connect(args).await {
        Err(report) => checks.push(bad("nats", report.what, report.hint.unwrap_or_default())),
        Ok(client) => {
            checks.extend(server(&client).await);
            client.close().await;
        }
    }
    checks
}

async fn server(client: &Client) -> Vec<Check> {
    let mut checks = Vec::new();
    if let Some(info) = client.nats().server_info() {
        checks.push(good("nats", format!("{} {} ({})", info.name, info.version, info.id)));
        checks.push(if info.jetstream {
            good("jetstream", "on")
        } else {
            bad("jetstream", "off", "start nats-server with JetStream (jetstream { sync_interval: always })")
        });
    }
    match client.apps().await {
        Ok(apps) => checks.push(good("applications", apps.len().to_string())),
        Err(report) => checks.push(bad("applications", report.what, report.hint.unwrap_or_default())),
    }
    match client.hosts().await {
        Ok(hosts) if hosts.values().any(|host| host.answered) => {
            let answering = hosts.values().filter(|host| host.answered);
            let now = i128::from(home::now_unix_ms());
            let offset = answering
                .clone()
                .map(|host| (i128::from(host.heartbeat.at_unix_ms) - now).abs())
                .max()
                .unwrap_or(0);
            checks.push(good("hosts", format!("{} answer, {} known", answering.count(), hosts.len())));
            // Claims begin and end by the host's clock; a minute is forgiven.
            checks.push(if offset < 60_000 {
                good("clocks", format!("within {offset} ms of each other"))
            } else {
                bad(
                    "clocks",
                    format!("{} s apart", offset / 1_000),
                    "set the clocks (NTP): claims are checked against them",
                )
            });
        }
        Ok(_) => checks.push(bad("hosts", "none answers", "start one: trellis host")),
        Err(report) => checks.push(bad("hosts", report.what, report.hint.unwrap_or_default())),
    }
    checks
}
