//! A real process that appends to a real disk, killed in the middle: what it had acknowledged is there.

use super::*;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command as Process, Stdio};

/// Where the child writes; set only for the child.
const DIRECTORY: &str = "TRELLIS_TEST_JOURNAL_CRASH";

/// Not a test by itself: the process that is killed.
#[test]
fn child_that_appends_until_it_is_killed() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let data = DataDir::open(std::path::Path::new(&directory)).unwrap();
    let (journal, recovered) = Journal::open(&data, SMALL, &mut |_, _| {}).unwrap();
    let mut next = recovered.last + 1;
    let mut out = std::io::stdout().lock();
    loop {
        let position = journal.append_wait(entry(next)).unwrap();
        writeln!(out, "acknowledged {position}").unwrap();
        next += 1;
        if next.is_multiple_of(50) {
            journal.trim(next - 25).unwrap();
        }
    }
}

fn acknowledged(line: &str) -> Option<u64> {
    // The test runner writes on the same line.
    line.split("acknowledged ").nth(1)?.trim().parse().ok()
}

#[test]
fn a_killed_process_loses_nothing_that_it_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let mut total = 0;
    for round in 1..=tests_harness::sizes::pick(5, 100) {
        let mut child = Process::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "journal::tests::crash::child_that_appends_until_it_is_killed"])
            .env(DIRECTORY, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut last = 0;
        let mut line = String::new();
        while last < total + 40 + round * 7 {
            line.clear();
            assert_ne!(output.read_line(&mut line).unwrap(), 0, "the child ended by itself");
            last = acknowledged(&line).unwrap_or(last);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let mut rest = String::new();
        output.read_to_string(&mut rest).unwrap();
        // The very last line may be cut short.
        let whole = rest.rfind('\n').map_or("", |end| &rest[..end]);
        last = whole.lines().filter_map(acknowledged).next_back().unwrap_or(last);
        let data = DataDir::open(directory.path()).unwrap();
        let mut seen = Vec::new();
        let (_, recovered) = Journal::open(&data, SMALL, &mut |at, entry| seen.push((at, entry))).unwrap();
        assert!(recovered.last >= last, "round {round}: {recovered:?}, acknowledged {last}");
        assert_eq!(seen, expected(recovered.first, recovered.last));
        total = recovered.last;
    }
}
