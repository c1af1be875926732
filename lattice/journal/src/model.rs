//! What a shard's log means, in the plainest form: the model that every implementation is held to.
//!
//! An implementation (a stream of a server, a local file, memory) and the model are given the same
//! script and must give the same answers: [`script`] makes one from a seed, [`ModelLog::perform`]
//! gives the model's. What an implementation may answer beside that is [`AppendOutcome::Unknown`],
//! and then [`Answer::is_explained_by`] whatever is found there afterwards.
//!
//! The rules: places are 1, 2, 3 … without a gap and never used again; an append is stored right
//! behind `expected` or not at all; a read gives what is there, in order, and says whether that was
//! all; what is trimmed is gone, and asking for it is told.

use crate::append::{AppendOutcome, ReadBack};
use crate::ids::Position;
use bytes::Bytes;
use lattice_protocol::seeded::Seeded;

/// One thing that is done to a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Append behind the last place, seen from `behind` places before (0: as it is; else a conflict).
    Append {
        /// How old the appender's view is.
        behind: u64,
        /// What.
        entry: Bytes,
    },
    /// Read.
    Read {
        /// Behind this place.
        after: Position,
        /// At most so many entries.
        most: usize,
    },
    /// Everything up to this place may go.
    Trim {
        /// The last that is not needed.
        through: Position,
    },
}

/// What came of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To an append.
    Appended(AppendOutcome),
    /// To a read.
    Read(ReadBack),
    /// To a read of what is not there any more.
    Trimmed {
        /// The first place that is kept.
        first: Position,
    },
    /// To a trim.
    Done,
}

impl Answer {
    /// May an implementation give this answer where the model gives the other? An outcome that is
    /// unknown may turn out either way.
    #[must_use]
    pub fn is_explained_by(&self, model: &Self) -> bool {
        self == model
            || (*self == Self::Appended(AppendOutcome::Unknown) && matches!(model, Self::Appended(_)))
    }
}

/// A log in memory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelLog {
    entries: Vec<Bytes>,
    /// Places that are gone.
    trimmed: u64,
}

impl ModelLog {
    /// The last place; 0 for none.
    #[must_use]
    pub fn last(&self) -> Position {
        Position(self.trimmed + self.entries.len() as u64)
    }
    /// The first place that is kept: one more than the last when there is none.
    #[must_use]
    pub fn first(&self) -> Position {
        Position(self.trimmed + 1)
    }

    /// Stores it right behind `expected`, or not at all.
    pub fn append(&mut self, expected: Position, entry: &Bytes) -> AppendOutcome {
        if expected == self.last() {
            AppendOutcome::Stored(self.force(entry))
        } else {
            AppendOutcome::Conflict
        }
    }

    /// Stores it whatever is expected, as a leader does that has lost track.
    pub fn force(&mut self, entry: &Bytes) -> Position {
        self.entries.push(entry.clone());
        self.last()
    }

    /// At most so many entries behind a place; none when some of them are gone.
    #[must_use]
    pub fn read(&self, after: Position, most: usize) -> Option<ReadBack> {
        let skip = usize::try_from(after.0.checked_sub(self.trimmed)?).unwrap_or(usize::MAX);
        let found = self.entries.iter().skip(skip).take(most).cloned();
        let entries: Vec<_> = (after.0 + 1..).map(Position).zip(found).collect();
        let complete = skip.saturating_add(entries.len()) >= self.entries.len();
        Some(ReadBack { entries, complete })
    }

    /// Lets everything up to a place go.
    pub fn trim(&mut self, through: Position) {
        let count = through.min(self.last()).0.saturating_sub(self.trimmed);
        self.entries.drain(..usize::try_from(count).unwrap_or(usize::MAX).min(self.entries.len()));
        self.trimmed += count;
    }

    /// One step, and the answer that every implementation must give.
    pub fn perform(&mut self, step: &Step) -> Answer {
        match step {
            Step::Append { behind, entry } => {
                let expected = Position(self.last().0.saturating_sub(*behind));
                Answer::Appended(self.append(expected, entry))
            }
            Step::Read { after, most } => match self.read(*after, *most) {
                Some(back) => Answer::Read(back),
                None => Answer::Trimmed { first: self.first() },
            },
            Step::Trim { through } => {
                self.trim(*through);
                Answer::Done
            }
        }
    }
}

/// A script of so many steps; the same for the same seed.
#[must_use]
pub fn script(seed: u64, steps: usize) -> Vec<Step> {
    let mut numbers = Seeded::new(seed);
    let mut random = move |below: u64| numbers.below(below);
    let mut appended = 0;
    let steps = (0..steps).map(|_| match random(10) {
        0..6 => {
            let behind = if random(5) == 0 { 1 + random(3) } else { 0 };
            appended += u64::from(behind == 0);
            let length = usize::try_from(random(700)).unwrap_or_default();
            let byte = u8::try_from(random(256)).unwrap_or_default();
            Step::Append { behind, entry: vec![byte; length].into() }
        }
        6..9 => {
            let most = usize::try_from(1 + random(8)).unwrap_or(1);
            Step::Read { after: Position(random(appended + 3)), most }
        }
        _ => Step::Trim { through: Position(random(appended + 1)) },
    });
    steps.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_means_what_it_says() {
        let mut log = ModelLog::default();
        let entry = Bytes::from_static(b"x");
        assert_eq!(log.append(Position(0), &entry), AppendOutcome::Stored(Position(1)));
        assert_eq!(log.append(Position(0), &entry), AppendOutcome::Conflict);
        assert_eq!(log.append(Position(2), &entry), AppendOutcome::Conflict);
        assert_eq!(log.append(Position(1), &entry), AppendOutcome::Stored(Position(2)));
        let part = log.read(Position(0), 1).unwrap();
        assert_eq!((part.entries, part.complete), (vec![(Position(1), entry.clone())], false));
        log.trim(Position(1));
        assert_eq!(log.read(Position(0), 9), None);
        let rest = log.read(Position(1), 9).unwrap();
        assert_eq!((rest.entries, rest.complete), (vec![(Position(2), entry.clone())], true));
        log.trim(Position(9));
        assert_eq!((log.first(), log.last()), (Position(3), Position(2)));
        assert_eq!(log.append(Position(2), &entry), AppendOutcome::Stored(Position(3)));
    }

    #[test]
    fn a_script_is_the_same_for_its_seed_and_does_everything() {
        assert_eq!(script(7, 200), script(7, 200));
        assert_ne!(script(7, 200), script(8, 200));
        let mut log = ModelLog::default();
        let answers: Vec<_> = script(7, 200).iter().map(|step| log.perform(step)).collect();
        let count = |what: fn(&Answer) -> bool| answers.iter().filter(|answer| what(answer)).count();
        assert!(count(|answer| matches!(answer, Answer::Appended(AppendOutcome::Conflict))) > 5);
        assert!(count(|answer| matches!(answer, Answer::Trimmed { .. })) > 5);
        assert!(count(|answer| matches!(answer, Answer::Read(back) if !back.complete)) > 5);
        assert!(log.last() > Position(50));
    }

    #[test]
    fn only_an_unknown_outcome_may_differ() {
        let unknown = Answer::Appended(AppendOutcome::Unknown);
        let conflict = Answer::Appended(AppendOutcome::Conflict);
        assert!(unknown.is_explained_by(&conflict) && !conflict.is_explained_by(&unknown));
        assert!(!unknown.is_explained_by(&Answer::Done));
    }
}
