//! Values that are wanted at hand but not in memory, and by nobody after the process has ended: by key, in a
//! file without a name.
//!
//! ```text
//! memory  a slot each, 8 bytes:  file (1 bit) · part of the key's hash (23) · offset (40)
//! file    length (4) · check (4) · length of the key (2) · key · value    …    appended, never changed
//! ```
//! What is taken out leaves a gap. When gaps are more than half of a file, what is left of it is copied into
//! a new one, in steps ([`Spill::tidy`]); the old one goes with the last of it.
//!
//! Nothing here is made durable, and nothing is there after a restart: it is for what can be built anew.
//! Invariants: a value that was put is the value that is taken, or an error; a failure leaves what was there
//! as it was; memory is 10 to 20 bytes a value and two buffers, whatever keys and values are.

mod file;
mod view;

pub use view::View;

use crate::error::StoreError;
use file::{Chunk, Entry, MAX_OFFSET};
use hashbrown::HashTable;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};

/// Gaps that are not worth the copying, bytes.
const GAPS: u64 = 4 << 20;
/// Bits of a slot that are an offset, and that are a part of a hash.
const OFFSET_BITS: u32 = 40;
const PART_BITS: u32 = 23;

/// Where a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Slot(u64);

impl Slot {
    fn new(second: bool, part: u64, offset: u64) -> Self {
        Self((u64::from(second) << (PART_BITS + OFFSET_BITS)) | (part << OFFSET_BITS) | offset)
    }
    /// In the second of the two files?
    fn second(self) -> bool {
        self.0 >> (PART_BITS + OFFSET_BITS) == 1
    }
    fn part(self) -> u64 {
        (self.0 >> OFFSET_BITS) & ((1 << PART_BITS) - 1)
    }
    fn offset(self) -> u64 {
        self.0 & (MAX_OFFSET - 1)
    }
    /// What the table goes by: made of the part alone, because the key is not in memory.
    fn hash(self) -> u64 {
        spread(self.part())
    }
}

/// Low bits differ when those of the part do; the high ones depend on all.
fn spread(part: u64) -> u64 {
    part.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// See the module.
#[derive(Debug)]
pub struct Spill {
    directory: PathBuf,
    hasher: RandomState,
    slots: HashTable<Slot>,
    /// New values go into this one.
    file: Option<Chunk>,
    /// Is that the second of the two?
    second: bool,
    /// What is copied from, and how far that is done.
    old: Option<(Chunk, u64)>,
}

impl Spill {
    /// Nothing yet; the file is made when it is needed, in this directory.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            hasher: RandomState::new(),
            slots: HashTable::new(),
            file: None,
            second: false,
            old: None,
        }
    }

    /// How many values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// None at all?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Bytes that the files have.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let old = self.old.as_ref().map_or(0, |(old, _)| old.end());
        self.file.as_ref().map_or(0, Chunk::end) + old
    }

    fn part(&self, key: &[u8]) -> u64 {
        self.hasher.hash_one(key) >> (u64::BITS - PART_BITS)
    }

    /// Keeps a value; one of the same key before it goes.
    ///
    /// # Errors
    /// [`StoreError::Io`]: the disk is full, say. Nothing has changed.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let before = self.find(key)?.map(|(slot, entry)| (slot, entry.bytes()));
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(Chunk::create(&self.directory)?),
        };
        let offset = file.append(key, value)?;
        let slot = Slot::new(self.second, self.part(key), offset);
        match before {
            Some((old, bytes)) => {
                self.free(old, bytes);
                if let Some(known) = self.slots.find_mut(old.hash(), |known| *known == old) {
                    *known = slot;
                }
            }
            None => drop(self.slots.insert_unique(slot.hash(), slot, |slot| slot.hash())),
        }
        Ok(())
    }

    /// The value of a key.
    ///
    /// # Errors
    /// [`StoreError`]: it cannot be read, or is not what was written.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.find(key)?.map(|(_, entry)| entry.into_value()))
    }

    /// The value of a key, which is kept no more.
    ///
    /// # Errors
    /// As [`Self::get`]; it is still kept.
    pub fn take(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let Some((slot, entry)) = self.find(key)? else { return Ok(None) };
        if let Ok(known) = self.slots.find_entry(slot.hash(), |known| *known == slot) {
            known.remove();
        }
        self.free(slot, entry.bytes());
        if self.slots.is_empty() {
            (self.file, self.old) = (None, None);
        }
        Ok(Some(entry.into_value()))
    }

    /// Most calls ask for what is not there: then nothing is read.
    fn find(&self, key: &[u8]) -> Result<Option<(Slot, Entry)>, StoreError> {
        if self.slots.is_empty() {
            return Ok(None);
        }
        let part = self.part(key);
        for slot in self.slots.iter_hash(spread(part)).filter(|slot| slot.part() == part) {
            let entry = self.chunk(*slot).map(|chunk| chunk.read(slot.offset())).transpose()?;
            if let Some(entry) = entry.filter(|entry| entry.key() == key) {
                return Ok(Some((*slot, entry)));
            }
        }
        Ok(None)
    }

    fn chunk(&self, slot: Slot) -> Option<&Chunk> {
        if slot.second() == self.second { self.file.as_ref() } else { self.old.as_ref().map(|(old, _)| old) }
    }

    fn free(&mut self, slot: Slot, bytes: u64) {
        let old = self.old.as_mut().map(|(old, _)| old);
        let chunk = if slot.second() == self.second { self.file.as_mut() } else { old };
        if let Some(chunk) = chunk {
            chunk.free(bytes);
        }
    }

    /// One step of letting go of gaps, of about so many bytes; to be called now and then.
    ///
    /// # Errors
    /// [`StoreError`]; it goes on where it was with the next call.
    pub fn tidy(&mut self, step: u64) -> Result<(), StoreError> {
        if self.old.is_none() && self.file.as_ref().is_some_and(|file| file.gaps() > file.live() + GAPS) {
            let new = Chunk::create(&self.directory)?;
            self.old = self.file.replace(new).map(|old| (old, 0));
            self.second = !self.second;
        }
        let until = match &self.old {
            Some((_, at)) => at.saturating_add(step),
            None => return Ok(()),
        };
        while let Some((old, at)) = &self.old
            && *at < until
        {
            if *at >= old.end() {
                self.old = None;
                return Ok(());
            }
            let (at, entry) = (*at, old.read(*at)?);
            self.copy(at, &entry)?;
            if let Some((_, done)) = &mut self.old {
                *done = at + entry.bytes();
            }
        }
        Ok(())
    }

    /// Copies a value, if it is still there.
    fn copy(&mut self, at: u64, entry: &Entry) -> Result<(), StoreError> {
        let part = self.part(entry.key());
        let old = Slot::new(!self.second, part, at);
        let Some(known) = self.slots.find_mut(old.hash(), |known| *known == old) else { return Ok(()) };
        if let Some(file) = &mut self.file {
            *known = Slot::new(self.second, part, file.append(entry.key(), entry.value())?);
        }
        Ok(())
    }

    /// All that there is now, to be read by somebody else while it goes on here.
    #[must_use]
    pub fn view(&self) -> View {
        let old = self.old.as_ref().map(|(old, _)| old);
        let (first, second) = if self.second { (old, self.file.as_ref()) } else { (self.file.as_ref(), old) };
        let files = [first, second].map(|chunk| chunk.map(Chunk::share));
        let mut places: Vec<(bool, u64)> =
            self.slots.iter().map(|slot| (slot.second(), slot.offset())).collect();
        places.sort_unstable();
        View::new(files, places)
    }
}

#[cfg(test)]
mod tests;
