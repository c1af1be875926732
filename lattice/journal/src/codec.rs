//! Bytes and back: the parts that records, snapshots and lists share.
//!
//! Numbers are LEB128 in the shortest form; bytes and texts are a length and the bytes. A name that
//! occurs again is a reference to its first occurrence, so that a record of many commits of one kind
//! says the kind, the component and the names of its events once. One value has exactly one
//! encoding: the reader refuses every other, so equal records are equal bytes and equal hashes.
//!
//! Every document is `magic (3) · version (1) · body · checksum (8)`; the checksum is the beginning
//! of the BLAKE3 hash of all before it, and that hash is the document's name.

pub(crate) mod commit;
pub(crate) mod document;
pub(crate) mod record;
pub(crate) mod snapshot;

use crate::error::DecodeError;
use crate::ids::Hash;
use bytes::Bytes;
use keys::Digest;
use lattice_protocol::leb::{self, LebError};
use lattice_protocol::{EntityId, EntityKey, KindName};
use std::sync::Arc;

const CHECKSUM_BYTES: usize = 8;
/// Most different names, and most different components, of one document.
const MAX_TABLE: usize = 4_096;

/// What kind of document, and which version of its format.
pub(crate) struct Format {
    pub(crate) what: &'static str,
    pub(crate) magic: [u8; 3],
    pub(crate) version: u8,
}

#[derive(Default)]
pub(crate) struct Writer {
    out: Vec<u8>,
    names: Vec<Arc<str>>,
    digests: Vec<Digest>,
}

impl Writer {
    pub(crate) fn new(format: &Format) -> Self {
        let mut writer = Self::default();
        writer.raw(&format.magic);
        writer.out.push(format.version);
        writer
    }
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }
    pub(crate) fn number(&mut self, number: u64) {
        leb::write_unsigned(number, &mut self.out);
    }
    pub(crate) fn signed(&mut self, number: i64) {
        leb::write_signed(number, &mut self.out);
    }
    pub(crate) fn count(&mut self, count: usize) {
        self.number(count as u64);
    }
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.raw(bytes);
    }
    /// A text that is likely to occur again.
    pub(crate) fn name(&mut self, name: &str) {
        if let Some(at) = self.names.iter().position(|known| **known == *name) {
            return self.count(at + 1);
        }
        self.number(0);
        self.bytes(name.as_bytes());
        self.names.push(name.into());
    }
    pub(crate) fn digest(&mut self, digest: &Digest) {
        if let Some(at) = self.digests.iter().position(|known| known == digest) {
            return self.count(at + 1);
        }
        self.number(0);
        self.raw(digest.as_bytes());
        self.digests.push(*digest);
    }
    /// The kind is likely to occur again; the id is not.
    pub(crate) fn key(&mut self, key: &EntityKey) {
        self.name(key.kind.as_str());
        self.bytes(key.id.as_str().as_bytes());
    }
    /// Adds the checksum: the bytes, and their hash.
    pub(crate) fn seal(mut self) -> (Bytes, Hash) {
        let hash = Hash::of(&self.out);
        self.raw(&hash.short());
        (self.out.into(), hash)
    }
}

pub(crate) struct Reader {
    whole: Bytes,
    at: usize,
    end: usize,
    names: Vec<Arc<str>>,
    digests: Vec<Digest>,
}

impl Reader {
    /// Checks magic, version and checksum; gives what reads the body, and the document's hash.
    pub(crate) fn open(format: &Format, whole: Bytes) -> Result<(Self, Hash), DecodeError> {
        let what = format.what;
        let head = format.magic.len() + 1;
        if !whole.starts_with(&format.magic) {
            return Err(DecodeError::Magic { what });
        }
        let end = whole.len().checked_sub(CHECKSUM_BYTES).filter(|end| *end >= head);
        let Some((body, checksum)) = end.and_then(|end| whole.split_at_checked(end)) else {
            return Err(DecodeError::Truncated { offset: whole.len() });
        };
        // The version first: a newer format may well have another checksum.
        let got = whole.get(head - 1).copied().unwrap_or_default();
        if got != format.version {
            return Err(DecodeError::Version { what, got, known: format.version });
        }
        let hash = Hash::of(body);
        if hash.short() != checksum {
            return Err(DecodeError::Checksum { what });
        }
        let end = body.len();
        Ok((Self { whole, at: head, end, names: Vec::new(), digests: Vec::new() }, hash))
    }

    pub(crate) fn invalid(&self, what: &'static str) -> DecodeError {
        DecodeError::Invalid { what, offset: self.at }
    }
    pub(crate) fn unknown(&self, what: &'static str, tag: u64) -> DecodeError {
        DecodeError::Unknown { what, tag, offset: self.at }
    }

    fn rest(&self) -> &[u8] {
        self.whole.get(self.at..self.end).unwrap_or_default()
    }

    fn leb<N>(&mut self, read: leb::Read<N>) -> Result<N, DecodeError> {
        let (number, taken) = read(self.rest()).map_err(|error| match error {
            LebError::Truncated => DecodeError::Truncated { offset: self.end },
            LebError::Overlong => self.invalid("number longer than its shortest form"),
            LebError::TooBig => self.invalid("number of more than 64 bits"),
        })?;
        self.at += taken;
        Ok(number)
    }
    pub(crate) fn number(&mut self) -> Result<u64, DecodeError> {
        self.leb(leb::read_unsigned)
    }
    pub(crate) fn signed(&mut self) -> Result<i64, DecodeError> {
        self.leb(leb::read_signed)
    }
    /// A number of fewer bits.
    pub(crate) fn small<N: TryFrom<u64>>(&mut self) -> Result<N, DecodeError> {
        let number = self.number()?;
        N::try_from(number).map_err(|_| self.invalid("number out of range"))
    }
    pub(crate) fn raw(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.end);
        let end = end.ok_or(DecodeError::Truncated { offset: self.end })?;
        let bytes = self.whole.slice(self.at..end);
        self.at = end;
        Ok(bytes)
    }
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(&self.raw(N)?);
        Ok(array)
    }
    /// How many follow. Each of them takes at least one byte, so no list is believed before there
    /// are bytes for it.
    pub(crate) fn count(&mut self, what: &'static str, limit: usize) -> Result<usize, DecodeError> {
        let offset = self.at;
        let got = self.number()?;
        let count = usize::try_from(got).unwrap_or(usize::MAX);
        if count > limit {
            return Err(DecodeError::Limit { what, got, limit: limit as u64, offset });
        }
        if count > self.rest().len() {
            return Err(DecodeError::Truncated { offset: self.end });
        }
        Ok(count)
    }
    pub(crate) fn bytes(&mut self) -> Result<Bytes, DecodeError> {
        let length = self.count("bytes", usize::MAX)?;
        self.raw(length)
    }
    pub(crate) fn text(&mut self) -> Result<String, DecodeError> {
        let bytes = self.bytes()?;
        String::from_utf8(bytes.into()).map_err(|_| self.invalid("text that is not UTF-8"))
    }
    pub(crate) fn name(&mut self) -> Result<Arc<str>, DecodeError> {
        let reference: usize = self.small()?;
        let Some(index) = reference.checked_sub(1) else {
            let text = self.text()?;
            if text.len() > crate::commit::MAX_NAME_BYTES {
                return Err(self.invalid("name too long"));
            }
            if self.names.len() >= MAX_TABLE {
                return Err(self.invalid("too many names"));
            }
            if self.names.iter().any(|known| **known == *text) {
                return Err(self.invalid("name written twice"));
            }
            let name: Arc<str> = text.into();
            self.names.push(name.clone());
            return Ok(name);
        };
        self.names.get(index).cloned().ok_or_else(|| self.invalid("reference to no name"))
    }
    pub(crate) fn digest(&mut self) -> Result<Digest, DecodeError> {
        let reference: usize = self.small()?;
        let Some(index) = reference.checked_sub(1) else {
            let digest = Digest::from_bytes(self.array()?);
            if self.digests.len() >= MAX_TABLE || self.digests.contains(&digest) {
                return Err(self.invalid("component written twice, or too many"));
            }
            self.digests.push(digest);
            return Ok(digest);
        };
        self.digests.get(index).copied().ok_or_else(|| self.invalid("reference to no component"))
    }
    pub(crate) fn key(&mut self) -> Result<EntityKey, DecodeError> {
        let kind = KindName::new(self.name()?).map_err(|_| self.invalid("bad actor kind"))?;
        let id = EntityId::new(self.text()?).map_err(|_| self.invalid("bad actor id"))?;
        Ok(EntityKey::new(kind, id))
    }
    /// Nothing may follow.
    pub(crate) fn finish(&self) -> Result<(), DecodeError> {
        if self.at == self.end { Ok(()) } else { Err(self.invalid("bytes after the end")) }
    }
}

#[cfg(test)]
mod tests;
