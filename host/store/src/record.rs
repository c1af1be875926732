//! One small document in a file: sealed with a checksum, replaced atomically, its predecessor kept.
//!
//! ```text
//! "TRLS" · version 1 · kind length · kind · payload length (8, big-endian) · BLAKE3 of all else (32) · payload
//! ```
//! The checksum finds damage (torn sectors, bit rot); it proves no origin. What must be proven is
//! signed inside the payload.
//!
//! Invariants: at every instant the newest content or its predecessor can be read; a damaged
//! newest file never takes the place of a sound predecessor.

use crate::atomic::{self, Prepared};
use crate::error::StoreError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const MAGIC: &[u8] = b"TRLS\x01";
const CHECKSUM_BYTES: usize = 32;
/// The largest document, bytes, of most kinds: signed documents are at most 4 MiB, base64 in JSON.
pub const MAX_RECORD_BYTES: u64 = 8 << 20;

/// What was read.
#[derive(Debug)]
pub struct Loaded<T> {
    /// The newest sound content.
    pub newest: T,
    /// The one before it, when both are there and sound.
    pub previous: Option<T>,
    /// The newest file was damaged or missing, and `newest` is the one before it.
    pub damage: Option<StoreError>,
}

/// A document of one type at one path.
#[derive(Debug)]
pub(crate) struct Record {
    path: PathBuf,
    previous: PathBuf,
    kind: &'static str,
    /// Its largest size, bytes.
    limit: u64,
}

impl Record {
    /// The document `kind` in this directory. Kinds are at most 255 bytes.
    pub(crate) fn new(directory: &Path, kind: &'static str) -> Self {
        let previous = directory.join(format!("{kind}.previous"));
        Self { path: directory.join(kind), previous, kind, limit: MAX_RECORD_BYTES }
    }

    /// One that may be larger, or must be smaller.
    pub(crate) fn limited(self, limit: u64) -> Self {
        Self { limit, ..self }
    }

    /// Stores a new content; returns when it is on disk.
    pub(crate) fn save<T: Serialize>(&self, content: &T) -> Result<(), StoreError> {
        let payload = serde_json::to_vec(content)
            .map_err(|error| StoreError::io("encode", &self.path)(io::Error::other(error)))?;
        let sealed = seal(self.kind, &payload);
        // What could not be read must not take the place of what can.
        if sealed.len() as u64 > self.limit {
            return Err(StoreError::io("write", &self.path)(io::ErrorKind::FileTooLarge.into()));
        }
        let prepared = Prepared::write(&self.path, atomic::bytes(&sealed))?;
        // Between the two renames only the predecessor is there: `load` takes that.
        if self.sound(&self.path)?.is_some() {
            fs::rename(&self.path, &self.previous).map_err(StoreError::io("replace", &self.previous))?;
        }
        prepared.commit(&self.path)
    }

    /// The content, or its predecessor if it is damaged; `None` if neither was ever written.
    pub(crate) fn load<T: DeserializeOwned>(&self) -> Result<Option<Loaded<T>>, StoreError> {
        let newest = self.read(&self.path);
        let previous = self.read(&self.previous);
        match (newest, previous) {
            (Ok(None), Ok(None)) => Ok(None),
            (Ok(Some(newest)), previous) => {
                Ok(Some(Loaded { newest, previous: previous.ok().flatten(), damage: None }))
            }
            (Ok(None), Ok(Some(newest))) => {
                let damage = Some(StoreError::damaged(&self.path, "missing"));
                Ok(Some(Loaded { newest, previous: None, damage }))
            }
            (Err(damage @ StoreError::Damaged { .. }), Ok(Some(newest))) => {
                Ok(Some(Loaded { newest, previous: None, damage: Some(damage) }))
            }
            (Err(error), _) | (Ok(None), Err(error)) => Err(error),
        }
    }

    fn read<T: DeserializeOwned>(&self, path: &Path) -> Result<Option<T>, StoreError> {
        let Some(file) = atomic::read(path, self.limit)? else { return Ok(None) };
        let payload = unseal(self.kind, &file).map_err(|what| StoreError::damaged(path, what))?;
        serde_json::from_slice(payload)
            .map(Some)
            .map_err(|error| StoreError::damaged(path, error.to_string()))
    }

    /// The file, if it is there and its seal holds.
    fn sound(&self, path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
        match atomic::read(path, self.limit) {
            Ok(file) => Ok(file.filter(|file| unseal(self.kind, file).is_ok())),
            Err(StoreError::Damaged { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn head(kind: &str, payload_bytes: usize) -> Vec<u8> {
    let mut head = MAGIC.to_vec();
    head.push(u8::try_from(kind.len()).unwrap_or(u8::MAX));
    head.extend_from_slice(kind.as_bytes());
    head.extend_from_slice(&u64::try_from(payload_bytes).unwrap_or(u64::MAX).to_be_bytes());
    head
}

fn checksum(head: &[u8], payload: &[u8]) -> [u8; CHECKSUM_BYTES] {
    *blake3::Hasher::new().update(head).update(payload).finalize().as_bytes()
}

pub(crate) fn seal(kind: &str, payload: &[u8]) -> Vec<u8> {
    let head = head(kind, payload.len());
    let checksum = checksum(&head, payload);
    [head.as_slice(), &checksum, payload].concat()
}

pub(crate) fn unseal<'file>(kind: &str, file: &'file [u8]) -> Result<&'file [u8], String> {
    let payload_bytes = file
        .len()
        .checked_sub(MAGIC.len() + 1 + kind.len() + 8 + CHECKSUM_BYTES)
        .ok_or_else(|| format!("truncated at byte {}", file.len()))?;
    let expected = head(kind, payload_bytes);
    let rest = file.strip_prefix(expected.as_slice()).ok_or_else(|| {
        let at = file.iter().zip(&expected).position(|(got, want)| got != want).unwrap_or(0);
        format!("head differs at byte {at}: another kind, or cut short")
    })?;
    let (sum, payload) = rest.split_at_checked(CHECKSUM_BYTES).ok_or("truncated")?;
    if checksum(&expected, payload) == sum { Ok(payload) } else { Err("checksum does not match".to_owned()) }
}

#[cfg(test)]
mod tests;
