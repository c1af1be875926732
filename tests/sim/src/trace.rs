//! What happened: a digest of all of it, and the last lines for people.

use std::collections::VecDeque;
use std::fmt::{Arguments, Write};

/// Lines that are kept for a failure.
const KEPT: usize = 60;

/// A trace.
#[derive(Debug, Default)]
pub struct Trace {
    digest: u64,
    tail: VecDeque<String>,
    /// Every line is wanted.
    verbose: bool,
}

impl Trace {
    /// Keeps the last lines, or all of them.
    #[must_use]
    pub fn new(verbose: bool) -> Self {
        Self { digest: 0xcbf2_9ce4_8422_2325, verbose, ..Self::default() }
    }

    /// Notes one line.
    pub fn line(&mut self, at_ms: u64, what: Arguments<'_>) {
        let mut line = if self.tail.len() >= KEPT && !self.verbose {
            self.tail.pop_front().unwrap_or_default()
        } else {
            String::new()
        };
        line.clear();
        // Writing to a string cannot fail.
        let _ = write!(line, "{at_ms:>7} {what}");
        for byte in line.bytes() {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        self.tail.push_back(line);
    }

    /// FNV-1a of every line.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// The lines that are kept.
    #[must_use]
    pub fn tail(&self) -> Vec<String> {
        self.tail.iter().cloned().collect()
    }
}
