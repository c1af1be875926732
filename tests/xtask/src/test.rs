//! `cargo xtask test`: set up what the tests need, run all of them, and count.
//!
//! Order: tools (the wasm target, nats-server, redis-server), the guests' components, our programs;
//! then the guests' own tests, the workspace's tests, the examples in documentation, 10 000 simulated
//! worlds. `--full` adds the actors in other languages, the long sizes, an ARM gateway,
//! and the pure crates on aarch64.
//! What fails does not stop the next. The last line of the output is `N passed, N failed`, alone,
//! whatever happens; a preparation that fails, or a set that does not compile, counts as one failure.

mod full;
mod summary;
mod tee;

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;
use tests_harness::{fixtures, sizes, tools};

use crate::{build, sim};
use summary::Counts;

#[derive(Args)]
pub struct Options {
    /// Also what needs other toolchains (JavaScript, Python, aarch64), and the long sizes
    #[arg(long)]
    full: bool,
}

/// Runs everything; true if all passed.
///
/// # Errors
/// A test runner cannot be started, or says that all is well without a summary.
pub fn run(options: Options) -> Result<bool> {
    let start = Instant::now();
    let mut total = Counts::default();
    total.failed += prepare(&options);
    for mut set in sets(&options)? {
        println!("==> {}", set.name);
        let counts = set.run()?;
        println!("    {}: {counts}", set.name);
        total += counts;
    }
    println!("tests took {} s", start.elapsed().as_secs());
    println!("{total}");
    Ok(total.failed == 0)
}

/// Everything that tests need before they run; returns how many steps failed.
fn prepare(options: &Options) -> u64 {
    type Step = (&'static str, fn() -> Result<()>);
    let mut steps: Vec<Step> = vec![
        ("tools", tools),
        ("components", build::guests),
        ("foreign components", build::foreign),
        ("programs", fixtures::build_programs),
    ];
    if options.full {
        steps.push(("other languages", full::languages));
        steps.push(("an ARM gateway", full::gateway));
    }
    let mut failed = 0;
    for (name, step) in steps {
        println!("==> {name}");
        if let Err(error) = step() {
            println!("    {name}: {error:#}");
            failed += 1;
        }
    }
    failed
}

fn tools() -> Result<()> {
    tools::ensure_wasm_target()?;
    println!("    nats-server: {}", tools::ensure_nats_server()?.display());
    println!("    redis-server: {}", tools::ensure_redis()?.display());
    println!("    docker-registry: {}", tools::ensure_docker_registry()?.display());
    Ok(())
}

/// One run of a test runner.
struct Set {
    name: &'static str,
    command: Command,
    /// Success without a single test means that its summary was not understood.
    must_count: bool,
    /// It is no test runner but one test, which passes when the command succeeds.
    is_one_test: bool,
}

impl Set {
    fn new(name: &'static str, command: Command) -> Self {
        Self { name, command, must_count: false, is_one_test: false }
    }

    fn run(&mut self) -> Result<Counts> {
        let mut counts = Counts::default();
        let status = tee::run(&mut self.command, |line| counts.read(line))
            .with_context(|| format!("{} cannot be run", self.name))?;
        if status.success() && self.must_count && counts == Counts::default() {
            bail!("{}: it succeeded, but no summary was found in its output", self.name);
        }
        if self.is_one_test {
            counts.passed = u64::from(status.success());
        }
        // It does not compile, or it was killed: that is a failure as well.
        if !status.success() && counts.failed == 0 {
            counts.failed = 1;
        }
        Ok(counts)
    }
}

fn sets(options: &Options) -> Result<Vec<Set>> {
    let mut sets = Vec::new();
    if build::has_guests() {
        let mut guests = fixtures::guest_cargo();
        guests.args(["test", "--workspace", "--no-fail-fast"]);
        guests.args(["--target", "host-tuple"]);
        sets.push(Set::new("guests", guests));
    }
    sets.push(Set { must_count: true, ..Set::new("workspace", workspace_tests(options)) });
    let examples = ["test", "--workspace", "--doc", "--no-fail-fast"];
    sets.push(Set::new("examples", cargo(&examples)));
    let worlds = sim::command(&sim::USUAL);
    sets.push(Set { is_one_test: true, ..Set::new("simulation", worlds) });
    if options.full {
        sets.push(Set { must_count: true, ..Set::new("aarch64", full::aarch64()?) });
    }
    Ok(sets)
}

/// The tests that need what [`full`] prepares are behind this feature.
const FULL: [&str; 2] = ["--features", "tests-lattice/full"];

/// nextest if it is installed (a process per test, a time limit per test), else `cargo test`.
fn workspace_tests(options: &Options) -> Command {
    let mut command = if tools::on_path("cargo-nextest").is_some() {
        let mut nextest = cargo(&["nextest", "run", "--workspace", "--no-fail-fast"]);
        nextest.args(["--status-level", "slow", "--final-status-level", "fail"]);
        if options.full {
            nextest.args(FULL);
        }
        nextest
    } else {
        println!("    (cargo-nextest is not installed: using cargo test)");
        let mut plain = cargo(&["test", "--workspace", "--all-targets", "--no-fail-fast"]);
        if options.full {
            plain.args(FULL);
        }
        plain
    };
    if options.full {
        command.env(sizes::VARIABLE, sizes::LONG);
    }
    command
}

fn cargo(args: &[&str]) -> Command {
    let mut command = tests_harness::cargo();
    command.args(args);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(script: &str, must_count: bool) -> Result<Counts> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let mut set = Set { must_count, ..Set::new("sample", command) };
        set.run()
    }

    #[test]
    fn a_set_that_does_not_compile_is_one_failure() {
        let counts = outcome("echo 'error: could not compile'; exit 101", true).unwrap();
        assert_eq!(counts.to_string(), "0 passed, 1 failed");
    }

    #[test]
    fn failures_are_counted_once() {
        let line = "test result: FAILED. 2 passed; 3 failed; 0 ignored";
        let counts = outcome(&format!("echo '{line}'; exit 101"), true).unwrap();
        assert_eq!(counts.to_string(), "2 passed, 3 failed");
    }

    #[test]
    fn a_simulation_is_one_test() {
        let ends = |status: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", &format!("echo '60 worlds'; exit {status}")]);
            Set { is_one_test: true, ..Set::new("sample", command) }.run().unwrap().to_string()
        };
        assert_eq!([ends("0"), ends("1")], ["1 passed, 0 failed", "0 passed, 1 failed"]);
    }

    #[test]
    fn success_without_a_summary_is_not_success() {
        assert!(outcome("true", true).is_err());
        assert_eq!(outcome("true", false).unwrap(), Counts::default());
    }
}
