//! Where a shard's valid records are in its log. Invalid records take places too, so the two counts
//! part; they do so rarely, and what is kept is only where.

use crate::ids::{Position, RecordSeq};
use std::collections::BTreeMap;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Places {
    /// From this record on, records lie without a gap from this place on.
    runs: BTreeMap<RecordSeq, Position>,
}

impl Places {
    /// Most runs that are kept: beyond it the oldest go, and their records have to be looked for.
    pub const MAX_RUNS: usize = 4_096;

    /// The next valid record is here. Records come in their order.
    pub fn note(&mut self, seq: RecordSeq, position: Position) {
        if self.of(seq) != Some(position) {
            self.runs.insert(seq, position);
            if self.runs.len() > Self::MAX_RUNS {
                self.runs.pop_first();
            }
        }
    }

    /// The place of a valid record that was noted; none when it is older than what is known.
    #[must_use]
    pub fn of(&self, seq: RecordSeq) -> Option<Position> {
        let (first, position) = self.runs.range(..=seq).next_back()?;
        Some(Position(position.0.saturating_add(seq.0 - first.0)))
    }

    /// Records up to this one are of no interest any more.
    pub fn trim(&mut self, through: RecordSeq) {
        let next = through.next();
        let Some(position) = self.of(next) else { return };
        self.runs = self.runs.split_off(&next);
        self.runs.entry(next).or_insert(position);
    }

    /// The runs: first record, and its place.
    pub fn runs(&self) -> impl ExactSizeIterator<Item = (RecordSeq, Position)> + '_ {
        self.runs.iter().map(|(seq, position)| (*seq, *position))
    }

    /// From its runs.
    #[must_use]
    pub fn from_runs(runs: impl IntoIterator<Item = (RecordSeq, Position)>) -> Self {
        Self { runs: runs.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_noted_record_is_found_and_only_gaps_are_kept() {
        let mut places = Places::default();
        let noted: Vec<(u64, u64)> = vec![(1, 1), (2, 2), (3, 5), (4, 6), (5, 9), (6, 10)];
        for (seq, position) in &noted {
            places.note(RecordSeq(*seq), Position(*position));
        }
        assert_eq!(places.runs().len(), 3);
        for (seq, position) in &noted {
            assert_eq!(places.of(RecordSeq(*seq)), Some(Position(*position)), "{seq}");
        }
        assert_eq!(places.of(RecordSeq(0)), None);
        assert_eq!(Places::from_runs(places.runs()), places);
        places.trim(RecordSeq(3));
        assert_eq!(places.of(RecordSeq(3)), None, "trimmed");
        for (seq, position) in &noted[3..] {
            assert_eq!(places.of(RecordSeq(*seq)), Some(Position(*position)), "{seq}");
        }
    }
}
