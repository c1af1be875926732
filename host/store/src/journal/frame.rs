//! Segments as bytes.
//!
//! ```text
//! segment := header (64) frame*
//! header  := "TRSG" · version 1 · 0 0 0 · log id (16) · number (8) · first position (8) · 0 (8) · check (16)
//! frame   := marker (4) · payload length (4) · position of the first entry (8) · check (16) · payload
//! payload := (length as LEB128 · bytes)*
//! ```
//! Numbers are little-endian. Checks are BLAKE3 keyed by log and segment number; that of a frame
//! covers its offset as well. So a frame holds only in this segment, in this life of it, at this
//! place: neither what is left of a former life nor what a guest wrote can be taken for one.

use bytes::Bytes;
use lattice_protocol::leb;

pub(super) const HEADER_BYTES: usize = 64;
pub(super) const FRAME_HEAD_BYTES: usize = 32;
const CHECK_BYTES: usize = 16;
const MAGIC: &[u8] = b"TRSG\x01\0\0\0";

/// Tells one journal from every other; random, and told to nobody.
pub(super) type LogId = [u8; 16];

/// Checks and marker of one segment.
#[derive(Debug, Clone)]
pub(super) struct Seal {
    key: [u8; 32],
    marker: [u8; 4],
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn number(bytes: &[u8], at: usize) -> Option<u64> {
    field(bytes, at).map(u64::from_le_bytes)
}

impl Seal {
    pub(super) fn new(log: &LogId, segment: u64) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("trellis host journal segment v1");
        hasher.update(log).update(&segment.to_le_bytes());
        let (mut key, mut marker) = ([0; 32], [0; 4]);
        let mut output = hasher.finalize_xof();
        output.fill(&mut key);
        output.fill(&mut marker);
        Self { key, marker }
    }

    fn check(&self, parts: &[&[u8]]) -> [u8; CHECK_BYTES] {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        for part in parts {
            hasher.update(part);
        }
        let mut check = [0; CHECK_BYTES];
        hasher.finalize_xof().fill(&mut check);
        check
    }

    pub(super) fn header(&self, log: &LogId, segment: u64, first: u64) -> Vec<u8> {
        let mut header = MAGIC.to_vec();
        header.extend_from_slice(log);
        header.extend_from_slice(&segment.to_le_bytes());
        header.extend_from_slice(&first.to_le_bytes());
        header.resize(HEADER_BYTES - CHECK_BYTES, 0);
        let check = self.check(&[&header]);
        header.extend_from_slice(&check);
        header
    }

    /// The first position of a segment, if this is the header that it must have.
    pub(super) fn read_header(&self, log: &LogId, segment: u64, content: &[u8]) -> Option<u64> {
        let first = number(content, MAGIC.len() + log.len() + 8)?;
        let expected = self.header(log, segment, first);
        (content.get(..HEADER_BYTES)? == expected.as_slice()).then_some(first)
    }

    /// Completes a frame for this place.
    pub(super) fn finish(&self, out: &mut [u8], first: u64, offset: u64) {
        let length = u32::try_from(out.len().saturating_sub(FRAME_HEAD_BYTES)).unwrap_or(u32::MAX);
        let mut head = [0; FRAME_HEAD_BYTES - CHECK_BYTES];
        let fields = self.marker.into_iter().chain(length.to_le_bytes()).chain(first.to_le_bytes());
        head.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
        let Some((place, payload)) = out.split_at_mut_checked(FRAME_HEAD_BYTES) else { return };
        let check = self.check(&[&offset.to_le_bytes(), &head, payload]);
        place.iter_mut().zip(head.into_iter().chain(check)).for_each(|(to, from)| *to = from);
    }

    /// The payload of the frame at this place, if there is a sound one with this first position
    /// (any, for `None`).
    fn frame<'a>(&self, content: &'a [u8], offset: usize, first: Option<u64>) -> Option<&'a [u8]> {
        let head = content.get(offset..offset.checked_add(FRAME_HEAD_BYTES)?)?;
        let (fields, check) = head.split_at_checked(FRAME_HEAD_BYTES - CHECK_BYTES)?;
        if !fields.starts_with(&self.marker) || first.is_some_and(|first| number(fields, 8) != Some(first)) {
            return None;
        }
        let length = usize::try_from(u32::from_le_bytes(field(fields, 4)?)).ok()?;
        let payload = content.get(offset + FRAME_HEAD_BYTES..)?.get(..length)?;
        (self.check(&[&(offset as u64).to_le_bytes(), fields, payload]) == check).then_some(payload)
    }

    /// Reads a segment from its header to its end.
    pub(super) fn scan(
        &self,
        content: &Bytes,
        first: u64,
        visit: &mut dyn FnMut(u64, Bytes),
    ) -> Result<End, (usize, &'static str)> {
        let (mut offset, mut next) = (HEADER_BYTES, first);
        while let Some(payload) = self.frame(content, offset, Some(next)) {
            let mut rest = payload;
            while !rest.is_empty() {
                let (length, taken) =
                    leb::read_unsigned(rest).map_err(|_| (offset, "entry length cannot be read"))?;
                let entry = usize::try_from(length).ok().and_then(|length| rest.get(taken..)?.get(..length));
                let entry = entry.ok_or((offset, "entry beyond its frame"))?;
                visit(next, content.slice_ref(entry));
                next += 1;
                rest = rest.get(taken + entry.len()..).unwrap_or_default();
            }
            offset += FRAME_HEAD_BYTES + payload.len();
        }
        if self.is_frame_after(content, offset) {
            return Err((offset, "not what was written, and sound entries follow"));
        }
        // One damaged field leaves the other to show that something was begun here.
        let begun = field(content, offset) == Some(self.marker)
            || (number(content, offset + 8) == Some(next)
                && content.get(offset..offset + 8) != Some(&[0; 8]));
        Ok(End { offset, next, begun })
    }

    /// Is there a sound frame anywhere behind this place?
    fn is_frame_after(&self, content: &[u8], offset: usize) -> bool {
        let from = offset + 1;
        let rest = content.get(from..).unwrap_or_default();
        memchr::memmem::find_iter(rest, &self.marker).any(|at| self.frame(content, from + at, None).is_some())
    }
}

/// Begins a frame in a buffer.
pub(super) fn begin(out: &mut Vec<u8>) {
    out.clear();
    out.resize(FRAME_HEAD_BYTES, 0);
}

/// Adds an entry to a frame that was begun.
pub(super) fn add(out: &mut Vec<u8>, entry: &[u8]) {
    leb::write_unsigned(entry.len() as u64, out);
    out.extend_from_slice(entry);
}

/// Where the sound part of a segment ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    /// Bytes from the beginning.
    pub(super) offset: usize,
    /// The position that the next entry gets.
    pub(super) next: u64,
    /// A frame was begun there that is not sound.
    pub(super) begun: bool,
}
