//! How much of the journal has not arrived yet: how many records and bytes, since when, and which of them go
//! first when there is more than may be. In steps of a few records, so that a day without an uplink costs
//! kilobytes to remember and not a word for each record.

use lattice_journal::RecordSeq;
use std::collections::VecDeque;

/// Bytes of one step, about.
const STEP_BYTES: u64 = 64 << 10;
/// Most steps; then two become one.
const MAX_STEPS: usize = 4_096;

/// Records that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    first: u64,
    last: u64,
    bytes: u64,
    /// When the first of them was made, milliseconds since 1970; 0: not known.
    at_ms: u64,
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Backlog {
    steps: VecDeque<Step>,
    /// The last record that has arrived.
    through: u64,
    /// The last record.
    last: u64,
    bytes: u64,
    /// Longest time of one step, milliseconds.
    step_ms: u64,
}

impl Backlog {
    /// Of a journal of which nothing is known.
    pub(super) fn new() -> Self {
        Self { steps: VecDeque::new(), through: 0, last: 0, bytes: 0, step_ms: 1_000 }
    }

    /// The next record is on disk.
    pub(super) fn add(&mut self, record: RecordSeq, bytes: u64, at_ms: u64) {
        self.last = self.last.max(record.0);
        if record.0 <= self.through {
            return;
        }
        self.bytes += bytes;
        let step_ms = self.step_ms;
        match self.steps.back_mut() {
            Some(step)
                if step.last + 1 == record.0
                    && step.bytes < STEP_BYTES
                    && at_ms.saturating_sub(step.at_ms) < step_ms =>
            {
                step.last = record.0;
                step.bytes += bytes;
            }
            _ => self.steps.push_back(Step { first: record.0, last: record.0, bytes, at_ms }),
        }
        if self.steps.len() > MAX_STEPS {
            self.coarsen();
        }
    }

    fn coarsen(&mut self) {
        self.step_ms = self.step_ms.saturating_mul(2);
        let mut merged: VecDeque<Step> = VecDeque::with_capacity(self.steps.len() / 2 + 1);
        for (index, step) in self.steps.drain(..).enumerate() {
            match merged.back_mut() {
                Some(before) if index % 2 == 1 => {
                    before.last = step.last;
                    before.bytes += step.bytes;
                }
                _ => merged.push_back(step),
            }
        }
        self.steps = merged;
    }

    /// Everything up to this record has arrived, or never will. It may be less than was believed.
    pub(super) fn arrived(&mut self, through: RecordSeq) {
        self.through = through.0;
        while let Some(step) = self.steps.front_mut() {
            if step.first > through.0 {
                break;
            }
            if step.last <= through.0 {
                self.bytes = self.bytes.saturating_sub(step.bytes);
                self.steps.pop_front();
                continue;
            }
            // In the middle of a step records count alike.
            let (gone, all) = (through.0 + 1 - step.first, step.last + 1 - step.first);
            let share = step.bytes / all * gone;
            (step.first, step.bytes) = (through.0 + 1, step.bytes - share);
            self.bytes = self.bytes.saturating_sub(share);
            break;
        }
    }

    /// The last record that has arrived.
    pub(super) fn through(&self) -> RecordSeq {
        RecordSeq(self.through)
    }

    /// Records that have not.
    pub(super) fn records(&self) -> u64 {
        self.last.saturating_sub(self.through)
    }

    /// About how many bytes they have.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// When the oldest of them was made, about, milliseconds since 1970.
    pub(super) fn oldest_ms(&self) -> Option<u64> {
        self.steps.iter().map(|step| step.at_ms).find(|at_ms| *at_ms > 0)
    }

    /// The first record such that it and those behind it have at most so many bytes.
    pub(super) fn within(&self, bytes: u64) -> RecordSeq {
        let mut left = self.bytes;
        for step in &self.steps {
            if left <= bytes {
                return RecordSeq(step.first);
            }
            left = left.saturating_sub(step.bytes);
        }
        RecordSeq(self.last.max(self.through).saturating_add(1))
    }
}

/// What is known of the records that are on disk, while they are read at the start.
pub(crate) struct Found {
    backlog: Backlog,
    /// When the last record was made.
    at_ms: u64,
}

impl Found {
    /// What waits, as if nothing had arrived.
    pub(super) fn backlog(self) -> Backlog {
        self.backlog
    }

    pub(crate) fn new() -> Self {
        Self { backlog: Backlog::new(), at_ms: 0 }
    }

    /// The next record; when it was made, if that was read.
    pub(crate) fn add(&mut self, record: u64, bytes: usize, at_ms: Option<u64>) {
        self.at_ms = at_ms.unwrap_or(self.at_ms);
        self.backlog.add(RecordSeq(record), bytes as u64, self.at_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filled(records: u64, bytes: u64, ms: u64) -> Backlog {
        let mut backlog = Backlog::new();
        for n in 1..=records {
            backlog.add(RecordSeq(n), bytes, 1_000 + n * ms);
        }
        backlog
    }

    #[test]
    fn what_waits_is_counted_and_a_long_time_is_remembered_in_few_steps() {
        let mut backlog = filled(100_000, 300, 1_000);
        assert!(backlog.steps.len() <= MAX_STEPS);
        assert_eq!((backlog.records(), backlog.bytes()), (100_000, 30_000_000));
        assert_eq!(backlog.oldest_ms(), Some(2_000));
        backlog.arrived(RecordSeq(50_000));
        assert_eq!((backlog.records(), backlog.through()), (50_000, RecordSeq(50_000)));
        assert_eq!(backlog.bytes(), 15_000_000);
        backlog.arrived(RecordSeq(100_000));
        assert_eq!((backlog.records(), backlog.bytes(), backlog.oldest_ms()), (0, 0, None));
    }

    #[test]
    fn the_newest_that_fit_stay() {
        let backlog = filled(1_000, 1 << 10, 0);
        assert_eq!(backlog.within(u64::MAX), RecordSeq(1));
        let first = backlog.within(500 << 10).0;
        assert!((500..=564).contains(&first), "{first}");
        assert_eq!(backlog.within(0), RecordSeq(1_001));
        assert_eq!(Backlog::new().within(0), RecordSeq(1));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_sight_of(
            sizes in proptest::collection::vec(1_u64..100_000, 1..300),
            steps in proptest::collection::vec(0_u64..300, 0..20),
        ) {
            let mut backlog = Backlog::new();
            for (n, size) in (1..).zip(&sizes) {
                backlog.add(RecordSeq(n), *size, n * 700);
            }
            let last = sizes.len() as u64;
            let mut sorted = steps;
            sorted.sort_unstable();
            for through in sorted.into_iter().filter(|through| *through <= last) {
                backlog.arrived(RecordSeq(through));
                prop_assert_eq!(backlog.records(), last - through);
                prop_assert_eq!(backlog.bytes() == 0, through == last);
                prop_assert_eq!(backlog.steps.iter().map(|step| step.bytes).sum::<u64>(), backlog.bytes());
                let keep = backlog.within(backlog.bytes());
                prop_assert_eq!(keep.0, through + 1);
            }
        }
    }
}
