//! How many tests passed and failed, from what the test runners print.

use std::fmt;
use std::ops::AddAssign;

/// Counted over any number of test binaries and runners.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub passed: u64,
    pub failed: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

impl Counts {
    /// Takes one line of output; adds what it sums up, if it is a runner's summary:
    ///
    /// * `test result: ok. 3 passed; 1 failed; 0 ignored; …` (`cargo test`, one per binary)
    /// * `Summary [ 2.5s] 9 tests run: 7 passed (1 slow), 1 failed, 1 timed out, 0 skipped`
    ///
    /// Both begin at the margin or are nextest's own: nextest repeats what a failed test printed, with
    /// its binary's `test result:` indented.
    pub fn read(&mut self, line: &str) {
        let plain = without_colours(line);
        let list = if plain.starts_with("test result:") {
            plain.as_str()
        } else if plain.trim_start().starts_with("Summary [") {
            plain.split_once("run:").map_or("", |(_, list)| list)
        } else {
            return;
        };
        self.passed += count(list, "passed");
        self.failed += count(list, "failed") + count(list, "timed out") + count(list, "exec failed");
    }
}

/// The number before `word` in a list such as `7 passed (1 slow), 1 timed out`.
fn count(list: &str, word: &str) -> u64 {
    list.split([',', ';', '.', '('])
        .filter_map(|part| part.trim().split_once(' '))
        .filter(|(_, what)| what.trim_end_matches(')') == word)
        .filter_map(|(number, _)| number.parse::<u64>().ok())
        .sum()
}

/// Drops terminal escape sequences (`ESC [ … letter`).
fn without_colours(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            characters.find(char::is_ascii_alphabetic);
        } else {
            plain.push(character);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(lines: &[&str]) -> (u64, u64) {
        let mut counts = Counts::default();
        for line in lines {
            counts.read(line);
        }
        (counts.passed, counts.failed)
    }

    #[test]
    fn cargo_test_is_summed_over_binaries() {
        assert_eq!(
            counts(&[
                "running 3 tests",
                "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s",
                "test result: FAILED. 5 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 9.0s",
            ]),
            (8, 2)
        );
    }

    #[test]
    fn nextest_counts_time_limits_as_failures() {
        assert_eq!(counts(&["     Summary [   2.572s] 39 tests run: 39 passed, 0 skipped"]), (39, 0));
        assert_eq!(
            counts(&[
                "     Summary [ 130.0s] 10/12 tests run: 6 passed (1 slow, 1 leaky), 2 failed, 1 timed out, 1 exec failed, 3 skipped"
            ]),
            (6, 4)
        );
        assert_eq!(
            counts(&[
                "\u{1b}[32;1m     Summary\u{1b}[0m [ 1s] \u{1b}[1m2\u{1b}[0m tests run: \u{1b}[1m2\u{1b}[0m \u{1b}[32mpassed\u{1b}[0m, 0 skipped"
            ]),
            (2, 0)
        );
    }

    #[test]
    fn what_a_failed_test_printed_is_not_counted_again() {
        assert_eq!(
            counts(&[
                "    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 5 filtered out; finished in 0.1s",
                "     Summary [ 1.0s] 2 tests run: 1 passed, 1 failed, 0 skipped",
            ]),
            (1, 1)
        );
    }

    #[test]
    fn other_lines_count_nothing() {
        assert_eq!(counts(&["3 passed, 1 failed", "Summary of changes: 4 passed"]), (0, 0));
    }

    #[test]
    fn the_closing_line_is_stable() {
        let counts = Counts { passed: 12, failed: 0 };
        assert_eq!(counts.to_string(), "12 passed, 0 failed");
    }
}
