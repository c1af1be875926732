//! For who reads a journal behind its writer, to send it elsewhere: large steps, each segment read once.

use super::recovery;
use super::{Journal, JournalError};
use bytes::Bytes;

impl Journal {
    /// Tells this journal from every other that there was, also from one that was begun anew in the same
    /// directory; a copy of it has the same. What it is made of stays secret: checks are keyed by that.
    #[must_use]
    pub fn incarnation(&self) -> [u8; 8] {
        let mut incarnation = [0; 8];
        let mut hasher = blake3::Hasher::new_derive_key("trellis host journal incarnation v1");
        hasher.update(&self.shared.log);
        hasher.finalize_xof().fill(&mut incarnation);
        incarnation
    }

    /// The entries from this position to the end of the segment that has it, as far as they are on disk: views
    /// of that segment, which stays in memory while one of them does. Empty when there is none yet.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn read_on(&self, from: u64) -> Result<Vec<(u64, Bytes)>, JournalError> {
        recovery::read_on(&self.shared, from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::JournalOptions;
    use crate::lock::DataDir;

    #[test]
    fn each_segment_is_read_in_one_step_and_a_journal_keeps_its_incarnation() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::open(directory.path()).unwrap();
        let options = JournalOptions { segment_bytes: 4 << 10, ..JournalOptions::default() };
        let (journal, _) = Journal::open(&data, options, &mut |_, _| {}).unwrap();
        assert_eq!(journal.read_on(1).unwrap(), []);
        for n in 1..=100_u64 {
            journal.append_wait(Bytes::from(format!("entry {n} {}", "x".repeat(200)))).unwrap();
        }
        let (mut next, mut steps) = (1, 0);
        while next <= 100 {
            let part = journal.read_on(next).unwrap();
            for (position, entry) in &part {
                assert_eq!(*position, next);
                assert!(entry.starts_with(format!("entry {next} ").as_bytes()));
                next += 1;
            }
            steps += 1;
        }
        assert_eq!(steps, journal.segments().0);
        assert_eq!(journal.read_on(101).unwrap(), []);
        journal.trim(60).unwrap();
        assert!(matches!(journal.read_on(59), Err(JournalError::Trimmed { wanted: 59, first: 60 })));
        assert_eq!(journal.read_on(60).unwrap()[0].0, 60);
        let incarnation = journal.incarnation();
        drop(journal);
        let (again, _) = Journal::open(&data, options, &mut |_, _| {}).unwrap();
        assert_eq!(again.incarnation(), incarnation);
        let other = tempfile::tempdir().unwrap();
        let (other, _) =
            Journal::open(&DataDir::open(other.path()).unwrap(), options, &mut |_, _| {}).unwrap();
        assert_ne!(other.incarnation(), incarnation);
    }
}
