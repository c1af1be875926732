//! Walks every row of BAD_INPUT.md, and shows the runner itself going red.
//!
//! `BADINPUT=26 cargo test -p tests-badinput` tries the cases of one row, one file
//! (`BADINPUT=trust.toml`), or those whose name contains the words.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

#[path = "it/catalogue.rs"]
mod catalogue;
#[path = "it/red.rs"]
mod red;

use tests_badinput::table::Coverage;
use tests_badinput::world::World;
use tests_badinput::{desk, runner};

/// Which cases to try; all of them when it is not set.
const ONLY: &str = "BADINPUT";

#[tokio::test(flavor = "multi_thread")]
async fn every_row_of_bad_input_is_answered_as_it_should_be() {
    let only = std::env::var(ONLY).unwrap_or_default();
    let cases = runner::cases(&only).unwrap();
    assert!(!cases.is_empty(), "no case is of {only:?}");
    let world = World::start().await.unwrap();
    let mut secrets = desk::secrets();
    secrets.extend(world.lattice.seeds().unwrap());
    let coverage = Coverage::new(runner::run(&world, cases, &secrets).await);
    println!("{}", coverage.table());
    let mut problems = coverage.problems();
    if !only.is_empty() {
        problems.retain(|problem| !problem.ends_with("is in no case and has no reason"));
    }
    for (name, log) in world.logs() {
        let panic = log.lines().find(|line| line.contains("panicked at"));
        problems.extend(panic.map(|line| format!("{name}: {line}")));
    }
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n\n"));
}
