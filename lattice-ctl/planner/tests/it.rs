//! Scenarios: one file for each rule of the planner, readable as its documentation.
//!
//! In `tests/scenarios/*.txt`, lines that begin with `> ` are commands to a small lattice, `#` is
//! prose, and everything else is what the lattice answered: the golden transcript. The test runs
//! the commands again and compares. `TRELLIS_BLESS=1 cargo test -p lattice-ctl-planner` writes the
//! transcripts anew; read the difference before you commit it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests: a panic is how they fail"
)]

#[path = "it/host.rs"]
mod host;
#[path = "it/laws.rs"]
mod laws;
#[path = "it/world.rs"]
mod world;

use std::fs;
use std::path::{Path, PathBuf};
use world::World;

#[test]
fn every_scenario_goes_as_written() {
    let mut wrong = Vec::new();
    let files = scenarios();
    assert!(!files.is_empty());
    for file in files {
        let written = fs::read_to_string(&file).unwrap();
        let played = play(&written);
        if played == written {
            continue;
        }
        if std::env::var("TRELLIS_BLESS").is_ok_and(|bless| bless == "1") {
            fs::write(&file, played).unwrap();
        } else {
            wrong.push(format!("{}:\n{}", file.display(), first_difference(&written, &played)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn scenarios() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The whole transcript of a file: its prose and commands, each command with its answer.
fn play(written: &str) -> String {
    let mut world = World::default();
    let mut out = String::new();
    let mut was_command = false;
    for line in written.lines() {
        if let Some(command) = line.strip_prefix("> ") {
            out.push_str(line);
            out.push('\n');
            for answer in world.run(command) {
                out.push_str(&answer);
                out.push('\n');
            }
            was_command = true;
        } else if line.starts_with('#') || line.is_empty() {
            // One empty line ends an answer; prose and empty lines are kept as they are.
            out.push_str(line);
            out.push('\n');
            was_command = false;
        } else {
            assert!(was_command, "an answer without a command: {line}");
        }
    }
    out
}

fn first_difference(written: &str, played: &str) -> String {
    let pairs = written.lines().zip(played.lines()).enumerate();
    match pairs.clone().find(|(_, (written, played))| written != played) {
        Some((index, (written, played))) => {
            format!("line {}:\n  written: {written}\n  played:  {played}", index + 1)
        }
        None => format!("{} lines written, {} played", written.lines().count(), played.lines().count()),
    }
}
