//! One of a spill's files: entries behind each other, the last few of them still in memory.

use crate::error::StoreError;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a file ends at the latest.
pub(super) const MAX_OFFSET: u64 = 1 << 40;
/// Bytes that are written at once.
const BUFFER: usize = 64 << 10;
/// Before the key and the value: length of the rest, check of the rest, length of the key.
const HEAD: usize = 10;
/// Length and check of an entry.
const FRAME: usize = 8;

#[derive(Debug)]
pub(super) struct Chunk {
    file: Arc<File>,
    directory: PathBuf,
    /// Bytes that were written.
    written: u64,
    /// What comes behind them.
    pending: Vec<u8>,
    /// Bytes of entries that are still wanted.
    live: u64,
}

/// A file that is read while it is written to: as far as it was then.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    file: Arc<File>,
    directory: PathBuf,
    written: u64,
    pending: Vec<u8>,
}

/// What was read: what is behind the length and the check.
#[derive(Debug)]
pub(super) struct Entry {
    body: Vec<u8>,
    key: usize,
}

impl Entry {
    /// Reads one out of these bytes, which begin with it.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let length = length(bytes)?;
        let body = bytes.get(FRAME..FRAME.checked_add(length)?)?;
        let check = blake3::hash(body);
        let key = usize::from(u16::from_le_bytes(*body.first_chunk()?));
        let sound = bytes.get(4..FRAME)? == check.as_bytes().get(..4)? && key + 2 <= length;
        let entry = Self { body: body.to_vec(), key };
        sound.then_some(entry)
    }

    pub(super) fn key(&self) -> &[u8] {
        self.body.get(2..2 + self.key).unwrap_or_default()
    }
    pub(super) fn value(&self) -> &[u8] {
        self.body.get(2 + self.key..).unwrap_or_default()
    }
    pub(super) fn into_value(mut self) -> Vec<u8> {
        self.body.drain(..2 + self.key);
        self.body
    }
    /// How long it is in the file.
    pub(super) fn bytes(&self) -> u64 {
        (FRAME + self.body.len()) as u64
    }
}

/// Bytes behind length and check, by what an entry begins with.
fn length(bytes: &[u8]) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(*bytes.first_chunk()?)).ok()
}

impl Chunk {
    pub(super) fn create(directory: &Path) -> Result<Self, StoreError> {
        let file = tempfile::tempfile_in(directory)
            .map_err(StoreError::io("create a file without a name in", directory))?;
        let directory = directory.to_owned();
        Ok(Self { file: Arc::new(file), directory, written: 0, pending: Vec::new(), live: 0 })
    }

    pub(super) fn end(&self) -> u64 {
        self.written + self.pending.len() as u64
    }
    pub(super) fn live(&self) -> u64 {
        self.live
    }
    pub(super) fn gaps(&self) -> u64 {
        self.end().saturating_sub(self.live)
    }
    /// An entry of so many bytes is wanted no more.
    pub(super) fn free(&mut self, bytes: u64) {
        self.live = self.live.saturating_sub(bytes);
    }

    /// Appends one: where it is.
    pub(super) fn append(&mut self, key: &[u8], value: &[u8]) -> Result<u64, StoreError> {
        let too_long = || StoreError::io("append to", &self.directory)(io::ErrorKind::FileTooLarge.into());
        let body = 2 + key.len() + value.len();
        let (length, of_key) = match (u32::try_from(body), u16::try_from(key.len())) {
            (Ok(length), Ok(of_key)) if self.end() < MAX_OFFSET => (length, of_key),
            _ => return Err(too_long()),
        };
        if self.pending.len() >= BUFFER {
            self.flush()?;
        }
        let at = self.end();
        self.pending.reserve(HEAD + key.len() + value.len());
        let mut check = blake3::Hasher::new();
        for part in [&of_key.to_le_bytes(), key, value] {
            check.update(part);
        }
        self.pending.extend_from_slice(&length.to_le_bytes());
        self.pending.extend_from_slice(check.finalize().as_bytes().get(..4).unwrap_or_default());
        for part in [&of_key.to_le_bytes(), key, value] {
            self.pending.extend_from_slice(part);
        }
        self.live += (FRAME + body) as u64;
        Ok(at)
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        let write = self.file.write_all_at(&self.pending, self.written);
        write.map_err(StoreError::io("write a file without a name in", &self.directory))?;
        self.written = self.end();
        self.pending.clear();
        Ok(())
    }

    /// The entry at this place.
    pub(super) fn read(&self, at: u64) -> Result<Entry, StoreError> {
        // Most entries are no longer.
        let mut bytes = vec![0; 512];
        let got = self.fill(&mut bytes, at)?;
        let whole = FRAME + length(&bytes).unwrap_or_default();
        if whole > got && at + whole as u64 <= self.end() {
            bytes.resize(whole, 0);
            self.fill(&mut bytes, at)?;
        }
        Entry::parse(&bytes).ok_or_else(|| damaged(&self.directory, at))
    }

    fn fill(&self, buffer: &mut [u8], at: u64) -> Result<usize, StoreError> {
        fill(&self.file, (self.written, &self.pending), buffer, at)
            .map_err(StoreError::io("read a file without a name in", &self.directory))
    }

    #[cfg(test)]
    pub(super) fn for_tests(&self) -> &File {
        &self.file
    }

    /// All that is in it now, for somebody else. Nothing is written for that: the disk may be full.
    pub(super) fn share(&self) -> Shared {
        Shared {
            file: Arc::clone(&self.file),
            directory: self.directory.clone(),
            written: self.written,
            pending: self.pending.clone(),
        }
    }
}

impl Shared {
    /// Fills a buffer from there, as far as it goes: how much that is.
    pub(super) fn fill(&self, buffer: &mut [u8], at: u64) -> Result<usize, StoreError> {
        fill(&self.file, (self.written, &self.pending), buffer, at)
            .map_err(StoreError::io("read a file without a name in", &self.directory))
    }

    pub(super) fn damaged(&self, at: u64) -> StoreError {
        damaged(&self.directory, at)
    }
}

/// Fills a buffer from there: what was written from the file, the rest from what comes behind it.
fn fill(file: &File, (written, pending): (u64, &[u8]), buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let in_file = usize::try_from(written.saturating_sub(at)).unwrap_or(usize::MAX).min(buffer.len());
    let (from_file, rest) = buffer.split_at_mut(in_file);
    file.read_exact_at(from_file, at)?;
    let behind = usize::try_from(at.saturating_sub(written)).unwrap_or(usize::MAX);
    let pending = pending.get(behind..).unwrap_or_default();
    let more = pending.len().min(rest.len());
    for (to, from) in rest.iter_mut().zip(pending) {
        *to = *from;
    }
    Ok(in_file + more)
}

fn damaged(directory: &Path, at: u64) -> StoreError {
    StoreError::damaged(directory, format!("a file without a name is not what was written at {at}"))
}
