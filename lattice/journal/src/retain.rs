//! How much history is kept for people behind what stands for it: by age, and by size.
//!
//! [`Marks`] says where in a log a given age and a given size are. Records that follow each other are one
//! *run*, of at most [`RUN_BYTES`] and [`RUN_MS`] while the log is small; when there are [`MAX_RUNS`] of
//! them, each two become one. So what is kept is never less than what was asked for, and more by one run.

use crate::ids::RecordSeq;
use std::collections::VecDeque;

/// Most runs.
const MAX_RUNS: usize = 1_024;
/// Bytes of a run, about.
const RUN_BYTES: u64 = 64 << 10;
/// Time of a run, milliseconds, about.
const RUN_MS: u64 = 60_000;

/// How much is kept. What is less counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// So long, milliseconds.
    pub age_ms: u64,
    /// So many bytes of records.
    pub bytes: u64,
}

impl Retention {
    /// Everything, for ever.
    pub const ALL: Self = Self { age_ms: u64::MAX, bytes: u64::MAX };

    /// As much as the one or the other keeps.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self { age_ms: self.age_ms.max(other.age_ms), bytes: self.bytes.max(other.bytes) }
    }
}

/// What a [`Retention`] is for one log at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Now, milliseconds since 1970.
    pub now_ms: u64,
    /// How long history is kept, milliseconds.
    pub age_ms: u64,
    /// The last record behind which there is as much as is kept.
    pub too_much: RecordSeq,
    /// The time that what is kept will span, milliseconds, about.
    pub span_ms: u64,
}

/// Records that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    last: RecordSeq,
    /// When it began, and ended.
    from_ms: u64,
    to_ms: u64,
    bytes: u64,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Marks {
    runs: VecDeque<Run>,
    /// How many runs of before the last one is.
    merged: u32,
}

impl Marks {
    /// The next record of the log: when it was written (0: not known), and its size.
    pub fn note(&mut self, record: RecordSeq, at_ms: u64, bytes: usize) {
        let bytes = bytes as u64;
        let before_ms = self.runs.back().map_or(0, |run| run.to_ms);
        // Clocks go back; records do not.
        let at_ms = at_ms.max(before_ms);
        let most = RUN_BYTES.checked_shl(self.merged).unwrap_or(u64::MAX);
        let longest = RUN_MS.checked_shl(self.merged).unwrap_or(u64::MAX);
        match self.runs.back_mut() {
            Some(run) if run.bytes < most && at_ms.saturating_sub(run.from_ms) < longest => {
                (run.last, run.to_ms) = (record, at_ms);
                run.bytes = run.bytes.saturating_add(bytes);
            }
            _ => self.runs.push_back(Run { last: record, from_ms: at_ms, to_ms: at_ms, bytes }),
        }
        if self.runs.len() > MAX_RUNS {
            self.merge();
        }
    }

    fn merge(&mut self) {
        self.merged = self.merged.saturating_add(1);
        let mut merged: VecDeque<Run> = VecDeque::with_capacity(MAX_RUNS);
        for (index, run) in self.runs.drain(..).enumerate() {
            match merged.back_mut() {
                Some(before) if index % 2 == 1 => {
                    (before.last, before.to_ms) = (run.last, run.to_ms);
                    before.bytes = before.bytes.saturating_add(run.bytes);
                }
                _ => merged.push_back(run),
            }
        }
        self.runs = merged;
    }

    /// The log is trimmed through this record.
    pub fn trim(&mut self, through: RecordSeq) {
        while self.runs.front().is_some_and(|run| run.last <= through) {
            self.runs.pop_front();
        }
        if self.runs.len() < MAX_RUNS / 4 {
            self.merged = self.merged.saturating_sub(1);
        }
    }

    /// The last record of those that are all older than this.
    #[must_use]
    pub fn too_old(&self, now_ms: u64, age_ms: u64) -> RecordSeq {
        let old = self.runs.iter().take_while(|run| run.to_ms.saturating_add(age_ms) <= now_ms);
        old.last().map_or(RecordSeq(0), |run| run.last)
    }

    /// The last record behind which there are at least so many bytes.
    #[must_use]
    pub fn too_much(&self, bytes: u64) -> RecordSeq {
        let mut behind = 0u64;
        for run in self.runs.iter().rev() {
            if behind >= bytes {
                return run.last;
            }
            behind = behind.saturating_add(run.bytes);
        }
        RecordSeq(0)
    }

    /// The last record that need not be kept.
    #[must_use]
    pub fn may_go(&self, retention: Retention, now_ms: u64) -> RecordSeq {
        self.too_old(now_ms, retention.age_ms).max(self.too_much(retention.bytes))
    }

    /// What that is now.
    #[must_use]
    pub fn keep(&self, retention: Retention, now_ms: u64) -> Keep {
        let Retention { age_ms, bytes } = retention;
        let known: u64 = self.runs.iter().map(|run| run.bytes).fold(0, u64::saturating_add);
        let from_ms = self.runs.front().map_or(now_ms, |run| run.from_ms);
        let took_ms = u128::from(now_ms.saturating_sub(from_ms));
        // As fast as what is known was written.
        let filled_ms = took_ms * u128::from(bytes) / u128::from(known.max(1));
        let filled_ms = if known == 0 { u64::MAX } else { u64::try_from(filled_ms).unwrap_or(u64::MAX) };
        Keep { now_ms, age_ms, too_much: self.too_much(bytes), span_ms: age_ms.min(filled_ms) }
    }
}

#[cfg(test)]
mod tests;
