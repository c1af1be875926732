//! The SQLite file: one process opens it, loads it whole, and commits batches to it.
//!
//! Write-ahead log with `synchronous=FULL`: a commit returns after its fsync. The lock is
//! exclusive for as long as the file is open, because the mirror in memory would not see what
//! another process writes. `application_id` says that the file is ours, `user_version` its format.

use crate::change::cost_bytes;
use crate::mirror::{Effects, Entry};
use bytes::Bytes;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, params};
use std::collections::BTreeMap;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// "trkv", in SQLite's header.
const APPLICATION_ID: i64 = 0x7472_6b76;
/// The format that this code reads and writes.
const FORMAT: i64 = 1;
/// A predecessor that is being dropped needs a moment to let go of the file.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// The log is cut back to this size at checkpoints: flash is small.
const WAL_LIMIT_BYTES: i64 = 4 << 20;
/// Prepared statements kept.
const STATEMENTS: usize = 4;

/// What can go wrong with the file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The directory or file cannot be made.
    #[error("key-value file cannot be made: {}: {source}; check the data directory", path.display())]
    Create {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Somebody else has it open.
    #[error("key-value file is in use: {}; another provider or process has it open", .0.display())]
    InUse(PathBuf),
    /// Not a file of ours, or of a newer format.
    #[error("key-value file is not ours: {}: {what} (got {got}, expected {expected}); move it away or upgrade", path.display())]
    Foreign {
        /// Which.
        path: PathBuf,
        /// Which mark is wrong.
        what: &'static str,
        /// What it is.
        got: i64,
        /// What it should be.
        expected: i64,
    },
    /// More than the memory budget.
    #[error("key-value file does not fit: {} (got more than {max_bytes} bytes, limit {max_bytes}); raise max_bytes", path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// The budget.
        max_bytes: u64,
    },
    /// SQLite says no.
    #[error("key-value file: {}: {source}", path.display())]
    Sqlite {
        /// Which.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
}

impl FileError {
    /// After this error, can the file still be trusted to keep what it acknowledges? Only a full
    /// disk leaves it whole: the transaction is rolled back and may be tried again.
    pub(crate) fn is_fatal(&self) -> bool {
        !matches!(self, Self::Sqlite { source, .. } if source.sqlite_error_code() == Some(ErrorCode::DiskFull))
    }
}

/// What a file held.
pub(crate) struct Loaded {
    /// Entries by bucket.
    pub(crate) buckets: BTreeMap<Arc<str>, BTreeMap<Box<str>, Entry>>,
    /// What they count for.
    pub(crate) used_bytes: u64,
    /// The highest version among them; 0 for none.
    pub(crate) last_version: u64,
}

/// An open file.
pub(crate) struct File {
    path: PathBuf,
    connection: Connection,
}

impl File {
    /// Opens or makes the file.
    ///
    /// # Errors
    /// [`FileError`].
    pub(crate) fn open(path: &Path) -> Result<Self, FileError> {
        create(path)?;
        let sqlite = |source| sqlite_error(path, source);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags).map_err(sqlite)?;
        connection.busy_timeout(LOCK_WAIT).map_err(sqlite)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        configure(&connection).map_err(sqlite)?;
        check_marks(path, &connection)?;
        prepare(&mut connection).map_err(sqlite)?;
        Ok(Self { path: path.to_owned(), connection })
    }

    /// Everything in it.
    ///
    /// # Errors
    /// [`FileError::TooLarge`], or the file is damaged.
    pub(crate) fn load(&self, max_bytes: u64) -> Result<Loaded, FileError> {
        let sqlite = |source| sqlite_error(&self.path, source);
        let mut loaded = Loaded { buckets: BTreeMap::new(), used_bytes: 0, last_version: 0 };
        let mut statement =
            self.connection.prepare("SELECT bucket, key, value, version FROM entries").map_err(sqlite)?;
        let mut rows = statement.query([]).map_err(sqlite)?;
        while let Some(row) = rows.next().map_err(sqlite)? {
            let read = || -> rusqlite::Result<(String, String, Vec<u8>, i64)> {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            };
            let (bucket, key, value, version) = read().map_err(sqlite)?;
            loaded.used_bytes += cost_bytes(&bucket, &key, &value);
            if loaded.used_bytes > max_bytes {
                return Err(FileError::TooLarge { path: self.path.clone(), max_bytes });
            }
            let version = version.unsigned_abs();
            loaded.last_version = loaded.last_version.max(version);
            let entry = Entry { value: Bytes::from(value), version };
            loaded.buckets.entry(bucket.into()).or_default().insert(key.into(), entry);
        }
        Ok(loaded)
    }

    /// Commits a batch: all of it or nothing.
    ///
    /// # Errors
    /// [`FileError::Sqlite`]; see [`FileError::is_fatal`].
    pub(crate) fn commit(&mut self, effects: &Effects) -> Result<(), FileError> {
        commit(&mut self.connection, effects).map_err(|source| sqlite_error(&self.path, source))
    }
}

fn sqlite_error(path: &Path, source: rusqlite::Error) -> FileError {
    match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => FileError::InUse(path.to_owned()),
        _ => FileError::Sqlite { path: path.to_owned(), source },
    }
}

/// Makes directory and file for this user only.
fn create(path: &Path) -> Result<(), FileError> {
    let failed = |source| FileError::Create { path: path.to_owned(), source };
    if let Some(directory) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
    }
    std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path).map(drop).map_err(failed)
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    // Exclusive before the log is first touched: then there is no shared-memory file either.
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "journal_size_limit", WAL_LIMIT_BYTES)?;
    // Everything is in the mirror already; a page cache would hold it twice.
    connection.pragma_update(None, "cache_size", -512)
}

fn check_marks(path: &Path, connection: &Connection) -> Result<(), FileError> {
    let mark = |name: &str| {
        connection
            .pragma_query_value(None, name, |row| row.get::<_, i64>(0))
            .map_err(|source| sqlite_error(path, source))
    };
    let (application, format) = (mark("application_id")?, mark("user_version")?);
    let foreign = |what, got, expected| FileError::Foreign { path: path.to_owned(), what, got, expected };
    match (application, format) {
        (0, 0) | (APPLICATION_ID, FORMAT) => Ok(()),
        (APPLICATION_ID, other) => Err(foreign("format", other, FORMAT)),
        (other, _) => Err(foreign("application id", other, APPLICATION_ID)),
    }
}

/// Makes the table; also takes the exclusive lock, which only a write does.
fn prepare(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(
        "CREATE TABLE IF NOT EXISTS entries (
             bucket TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, version INTEGER NOT NULL,
             PRIMARY KEY (bucket, key)
         ) STRICT, WITHOUT ROWID;",
    )?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.commit()
}

fn commit(connection: &mut Connection, effects: &Effects) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    {
        let mut put = transaction.prepare_cached(
            "INSERT INTO entries (bucket, key, value, version) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (bucket, key) DO UPDATE SET value = excluded.value, version = excluded.version",
        )?;
        let mut delete = transaction.prepare_cached("DELETE FROM entries WHERE bucket = ?1 AND key = ?2")?;
        for ((bucket, key), effect) in effects {
            match effect {
                Some(entry) => {
                    put.execute(params![&**bucket, &**key, &entry.value[..], entry.version.cast_signed()])?
                }
                None => delete.execute(params![&**bucket, &**key])?,
            };
        }
    }
    transaction.commit()
}

#[cfg(test)]
impl File {
    /// Sets a pragma, to make writes fail in a test.
    pub(crate) fn pragma(&self, name: &str, value: i64) {
        self.connection.pragma_update(None, name, value).unwrap();
    }
}
