//! Does an outcome fit what its case expects? Besides what the case says, every error must be one
//! line that begins with its code, and nothing may panic, hang, die of a signal or show a secret.

use crate::case::Expect;
use lattice_protocol::ErrorCode;
use lattice_protocol::error::Class;
use regex::RegexBuilder;
use std::time::Duration;

/// Longest time of a case that says none.
const MAX_MS: u64 = 30_000;
/// What a panic leaves behind, in Rust and in the async runtime.
const PANICS: [&str; 3] = ["panicked at", "stack overflow", "RUST_BACKTRACE"];

/// What came of one input.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Exit status, or HTTP status; none when it was killed.
    pub status: Option<i32>,
    /// What was said about it: reports on standard error, an answer.
    pub said: String,
    /// Everything else: standard output, logs.
    pub aside: String,
    /// How long it took.
    pub took: Duration,
    /// Memory beyond what the program needs to do nothing, KiB.
    pub grew_kib: u64,
    /// Was it a command? Then what it said must be reports.
    pub is_command: bool,
}

/// Everything that is wrong with an outcome, in words; nothing when it fits.
#[must_use]
pub fn judge(expect: &Expect, outcome: &Outcome, secrets: &[String]) -> Vec<String> {
    let mut wrong = Vec::new();
    wrong.extend(about_status(expect, outcome));
    if outcome.is_command {
        wrong.extend(about_reports(expect, outcome));
    } else if let Some(code) = &expect.code
        && !code.split('|').any(|code| outcome.said.contains(code))
    {
        wrong.push(format!("code {code} is not in the answer"));
    }
    let shown = format!("{}\n{}", outcome.said, outcome.aside);
    wrong.extend(unmatched("line", expect.line.as_deref(), &outcome.said));
    wrong.extend(unmatched("shows", expect.shows.as_deref(), &shown));
    let max = Duration::from_millis(expect.max_ms.unwrap_or(MAX_MS));
    if outcome.took > max {
        wrong.push(format!("took {:?} (limit {max:?})", outcome.took));
    }
    if let Some(max) = expect.max_mib
        && outcome.grew_kib > max << 10
    {
        wrong.push(format!("took {} KiB of memory (limit {max} MiB)", outcome.grew_kib));
    }
    wrong.extend(PANICS.iter().filter(|words| shown.contains(**words)).map(|words| format!("{words:?}")));
    if secrets.iter().any(|secret| shown.contains(secret.as_str())) {
        wrong.push("a secret was shown".to_owned());
    }
    wrong
}

fn about_status(expect: &Expect, outcome: &Outcome) -> Option<String> {
    match (&expect.status, outcome.status) {
        (_, None) => Some("ended by a signal".to_owned()),
        (Some(wanted), Some(got)) if !wanted.split('|').any(|one| one == got.to_string()) => {
            Some(format!("status {got} (expected {wanted})"))
        }
        _ => None,
    }
}

/// The exit status follows from the code, and each line is one report (or a line of the log).
fn about_reports(expect: &Expect, outcome: &Outcome) -> Vec<String> {
    let mut wrong = Vec::new();
    let reports: Vec<&str> = outcome.said.lines().filter(|line| line.starts_with("E_")).collect();
    // With JSON on standard output, what is said to people goes beside it.
    if outcome.status != Some(0)
        && let Some(odd) = outcome.said.lines().find(|line| !is_expected_line(line))
    {
        wrong.push(format!("neither a report nor a line of the log: {odd:?}"));
    }
    let code_of = |line: &str| line.split(": ").next().and_then(ErrorCode::parse);
    match (outcome.status, reports.last().and_then(|line| code_of(line))) {
        (Some(0), None) | (None, _) => {}
        (Some(0), Some(code)) => wrong.push(format!("{code} with exit status 0")),
        (Some(_), None) => wrong.push("failed without a code of ours".to_owned()),
        (Some(status), Some(code)) => {
            if i32::from(code.class().exit_status()) != status {
                wrong.push(format!("exit status {status} does not follow from {code}"));
            }
            if code.class() == Class::Internal {
                wrong.push(format!("{code} blames us for somebody else's input"));
            }
        }
    }
    if let Some(wanted) = &expect.code
        && !reports
            .iter()
            .filter_map(|line| code_of(line))
            .any(|have| wanted.split('|').any(|wanted| wanted == have.as_str()))
    {
        wrong.push(format!("code {wanted} is missing"));
    }
    wrong
}

/// A report, a warning, or a line of the log (it begins with its time).
fn is_expected_line(line: &str) -> bool {
    ["E_", "warning: ", "20"].iter().any(|begin| line.starts_with(begin)) || line.is_empty()
}

fn unmatched(what: &str, pattern: Option<&str>, text: &str) -> Option<String> {
    let pattern = pattern?;
    match RegexBuilder::new(pattern).size_limit(1 << 22).build() {
        Err(error) => Some(format!("{what}: {error}")),
        Ok(pattern) if pattern.is_match(text) => None,
        Ok(pattern) => Some(format!("{what} does not match /{pattern}/")),
    }
}
