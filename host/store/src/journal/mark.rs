//! That there is a journal, and how far it went when it was last opened: kept beside it, so that a journal
//! that has gone, or has been put back from an older copy, is not taken for a new one.

use super::JournalError;
use crate::error::StoreError;
use crate::lock::DataDir;
use crate::record::Record;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::PathBuf;

/// The file.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mark {
    last: u64,
}

/// See the module.
#[derive(Debug)]
pub struct JournalMark {
    record: Record,
    data: PathBuf,
}

impl JournalMark {
    /// In this data directory.
    #[must_use]
    pub fn new(data: &DataDir) -> Self {
        Self { record: Record::new(data.path(), "journal-mark"), data: data.path().to_owned() }
    }

    /// How far the journal went at least, before it is opened; 0 when there never was one. Makes nothing.
    ///
    /// # Errors
    /// [`JournalError::Lost`]: there was a journal, and it is not there. [`JournalError::Io`].
    pub fn known(&self) -> Result<u64, JournalError> {
        let known = match self.record.load::<Mark>() {
            Ok(None) => return Ok(0),
            Ok(Some(loaded)) => loaded.newest.last,
            // There was one; how far it went is not known.
            Err(StoreError::Damaged { .. }) => 1,
            Err(error) => return Err(JournalError::from_store(error)),
        };
        let directory = self.data.join("journal");
        let is_there = match fs::read_dir(&directory) {
            Ok(mut files) => files.next().is_some(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
            Err(error) => return Err(JournalError::io("list", directory.display().to_string(), error)),
        };
        if is_there { Ok(known) } else { self.check(known, 0).map(|()| known) }
    }

    /// Does the journal that was opened go that far?
    ///
    /// # Errors
    /// [`JournalError::Lost`].
    pub fn check(&self, known: u64, last: u64) -> Result<(), JournalError> {
        if last >= known {
            return Ok(());
        }
        Err(JournalError::Lost { data: self.data.display().to_string(), known, last })
    }

    /// It goes this far, on disk.
    ///
    /// # Errors
    /// [`StoreError`]: the mark is as it was.
    pub fn save(&self, last: u64) -> Result<(), StoreError> {
        self.record.save(&Mark { last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Journal, JournalOptions};
    use lattice_protocol::{ErrorCode, Report};

    #[test]
    fn a_journal_that_has_gone_or_is_older_than_its_mark_is_told_from_a_new_one() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::open(directory.path()).unwrap();
        let mark = JournalMark::new(&data);
        assert_eq!(mark.known().unwrap(), 0);
        let options = JournalOptions { segment_bytes: 64 << 10, ..JournalOptions::default() };
        let (journal, _) = Journal::open(&data, options, &mut |_, _| {}).unwrap();
        for _ in 0..3 {
            journal.append_wait("entry".into()).unwrap();
        }
        mark.save(3).unwrap();
        drop(journal);
        assert_eq!(mark.known().unwrap(), 3);
        assert!(mark.check(3, 3).is_ok() && mark.check(3, 9).is_ok());
        let older = Report::from(mark.check(3, 2).unwrap_err());
        assert_eq!(older.code, ErrorCode::Damaged);
        // Whether its directory is empty or gone: nothing is made in its place.
        let place = directory.path().join("journal");
        for file in fs::read_dir(&place).unwrap() {
            fs::remove_file(file.unwrap().path()).unwrap();
        }
        assert!(matches!(mark.known(), Err(JournalError::Lost { known: 3, last: 0, .. })));
        fs::remove_dir(&place).unwrap();
        let gone = Report::from(mark.known().unwrap_err());
        assert_eq!(gone.code, ErrorCode::Damaged);
        assert!(gone.hint.unwrap().contains("journal-mark") && !place.exists());
        // A mark that cannot be read still says that there was one.
        fs::write(directory.path().join("journal-mark"), "?").unwrap();
        assert!(matches!(mark.known(), Err(JournalError::Lost { known: 1, .. })));
    }
}
