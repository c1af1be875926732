//! Tries every case, several at once: those that start processes are bounded by the machine, those
//! that wait for a server's patience wait together.

use crate::case::Case;
use crate::desk::{self, Desk};
use crate::judge::{Outcome, judge};
use crate::make;
use crate::scenarios;
use crate::table::Tried;
use crate::wire;
use crate::world::World;
use anyhow::{Context, Result, bail};
use futures::{StreamExt, stream};
use std::time::Instant;

/// Commands at once: two cores, and much of a start is waiting.
const COMMANDS: usize = 3;
/// Connections at once.
const CONNECTIONS: usize = 16;
/// How much of an outcome a failure shows.
const SHOWN: usize = 600;

/// The case files, and what is in them.
pub const FILES: [(&str, &str); 8] = [
    ("artifacts.toml", include_str!("../cases/artifacts.toml")),
    ("trust.toml", include_str!("../cases/trust.toml")),
    ("manifest.toml", include_str!("../cases/manifest.toml")),
    ("messages.toml", include_str!("../cases/messages.toml")),
    ("hosts.toml", include_str!("../cases/hosts.toml")),
    ("api.toml", include_str!("../cases/api.toml")),
    ("ingress.toml", include_str!("../cases/ingress.toml")),
    ("journals.toml", include_str!("../cases/journals.toml")),
];

/// The cases of every file whose name or row contains `only`.
///
/// # Errors
/// A file that cannot be read.
pub fn cases(only: &str) -> Result<Vec<Case>> {
    let mut all = Vec::new();
    for (file, text) in FILES {
        let cases = crate::case::read(file, text)?;
        all.extend(cases.into_iter().filter(|case| {
            only.is_empty()
                || only == file
                || case.rows.iter().any(|row| row == only)
                || case.name.contains(only)
        }));
    }
    Ok(all)
}

/// Tries the cases: those that wait on sockets beside those that start processes.
pub async fn run(world: &World, cases: Vec<Case>, secrets: &[String]) -> Vec<Tried> {
    let (wires, others): (Vec<Case>, Vec<Case>) = cases.into_iter().partition(|case| case.send.is_some());
    let (calm, last): (Vec<Case>, Vec<Case>) =
        others.into_iter().partition(|case| !case.scenario.as_deref().is_some_and(scenarios::comes_last));
    let several = |cases: Vec<Case>, at_once| {
        stream::iter(cases).map(move |case| tried(world, case, secrets)).buffer_unordered(at_once)
    };
    let (mut done, wired): (Vec<Tried>, Vec<Tried>) =
        futures::join!(several(calm, COMMANDS).collect(), several(wires, CONNECTIONS).collect());
    done.extend(wired);
    for case in last {
        done.push(tried(world, case, secrets).await);
    }
    done
}

async fn tried(world: &World, case: Case, secrets: &[String]) -> Tried {
    let begin = Instant::now();
    let mut tried = Tried { rows: case.rows.clone(), name: case.name.clone(), ..Tried::default() };
    match outcomes(world, &case).await {
        Err(error) => tried.wrong.push(format!("not tried: {error:#}")),
        Ok(outcomes) => {
            tried.tries = outcomes.len();
            for (variant, outcome) in outcomes {
                let wrong = judge(&case.expect, &outcome, secrets);
                if !wrong.is_empty() {
                    tried.wrong.push(format!("{variant} {}\n{}", wrong.join("; "), shown(&outcome)));
                }
            }
        }
    }
    if tried.tries == 0 && tried.wrong.is_empty() {
        tried.wrong.push("the case tries nothing".to_owned());
    }
    tried.took_ms = begin.elapsed().as_millis();
    tried
}

fn shown(outcome: &Outcome) -> String {
    let cut = |text: &str| text.escape_debug().take(SHOWN).collect::<String>();
    format!(
        "    status {:?} after {:?}, {} KiB\n    said  {}\n    aside {}",
        outcome.status,
        outcome.took,
        outcome.grew_kib,
        cut(&outcome.said),
        cut(&outcome.aside)
    )
}

/// What came of each try.
async fn outcomes(world: &World, case: &Case) -> Result<Vec<(String, Outcome)>> {
    match (&case.send, &case.scenario, case.run.is_empty()) {
        (Some(text), None, true) => {
            let outcome = wire::send(world.run.address, text.as_bytes()).await?;
            Ok(vec![(String::new(), outcome)])
        }
        (None, Some(name), true) => scenarios::play(world, name, case).await,
        (None, None, false) => commands(world, case).await,
        _ => bail!("say one of run, send, scenario"),
    }
}

/// Each variant of the case's file, by each of its commands, at a desk of its own.
async fn commands(world: &World, case: &Case) -> Result<Vec<(String, Outcome)>> {
    let mut outcomes = Vec::new();
    for (variant, bytes) in make::inputs(case)? {
        for line in &case.run {
            // Where it is typed: at a lattice's administrator's, nowhere near one, or at a desk.
            let (place, line) = match line.split_once(' ') {
                Some((place, line)) if place.starts_with('@') => (place, line),
                _ => ("", line.as_str()),
            };
            let on_lattice = place == "@lattice";
            let desk = if on_lattice { world.lattice.desk()? } else { Desk::new()? };
            if place == "@nowhere" {
                std::fs::remove_dir_all(desk.path().join("trellis-lattice"))?;
            }
            desk.write(&case.file, &bytes)?;
            if let Some(manifest) = &case.manifest {
                desk.write("app.yaml", manifest)?;
            }
            let (line, url) = (make::filled_keys(&desk::filled(line)), world.lattice.lattice.nats.url());
            let named = format!("{variant} `{line}`");
            let run = tokio::task::spawn_blocking(move || {
                let env: &[(&str, &str)] = if on_lattice { &[("TRELLIS_NATS_URL", &url)] } else { &[] };
                crate::command::trellis(desk.path(), &line, env)
            });
            outcomes.push((named, run.await.context("the command's thread")??));
        }
    }
    Ok(outcomes)
}
