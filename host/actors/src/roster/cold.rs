//! What is known of an actor as bytes, for the time that it is at rest.
//!
//! ```text
//! flags · [first and last needed record] · [last commit in the snapshot · its hash] · places, each as the
//! distance from the one before. Numbers are LEB128.
//! ```

use lattice_journal::trim::{Needed, Share};
use lattice_journal::{ActorSeq, Hash, RecordSeq};
use lattice_protocol::{EntityKey, ErrorCode, Report};

const NEEDED: u8 = 1;
const SNAPSHOT: u8 = 2;

/// What it is kept under.
pub(super) fn name(key: &EntityKey) -> Vec<u8> {
    key.to_string().into_bytes()
}

pub(super) fn write(places: &[RecordSeq], share: Share) -> Vec<u8> {
    let mut bytes = vec![0];
    let mut flags = 0;
    if let Some(Needed { first, last }) = share.needed {
        flags |= NEEDED;
        number(&mut bytes, first.0);
        number(&mut bytes, last.0);
    }
    if let Some((seq, hash)) = share.snapshot {
        flags |= SNAPSHOT;
        number(&mut bytes, seq.0);
        bytes.extend_from_slice(&hash.0);
    }
    if let Some(first) = bytes.first_mut() {
        *first = flags;
    }
    let mut before = 0;
    for place in places {
        number(&mut bytes, place.0 - before);
        before = place.0;
    }
    bytes
}

pub(super) fn read(bytes: &[u8]) -> Result<(Vec<RecordSeq>, Share), Report> {
    parse(bytes)
        .ok_or_else(|| Report::new(ErrorCode::Damaged, "what was kept of an actor at rest is unreadable"))
}

fn parse(bytes: &[u8]) -> Option<(Vec<RecordSeq>, Share)> {
    let (flags, mut rest) = bytes.split_first()?;
    let rest = &mut rest;
    let mut share = Share::default();
    if flags & NEEDED != 0 {
        share.needed = Some(Needed { first: RecordSeq(take(rest)?), last: RecordSeq(take(rest)?) });
    }
    if flags & SNAPSHOT != 0 {
        let seq = ActorSeq(take(rest)?);
        let (hash, behind) = rest.split_first_chunk()?;
        *rest = behind;
        share.snapshot = Some((seq, Hash(*hash)));
    }
    let (mut places, mut at) = (Vec::new(), 0_u64);
    while !rest.is_empty() {
        at = at.checked_add(take(rest)?)?;
        places.push(RecordSeq(at));
    }
    Some((places, share))
}

fn number(bytes: &mut Vec<u8>, mut value: u64) {
    loop {
        let low = value.to_le_bytes()[0] & 0x7f;
        value >>= 7;
        bytes.push(if value == 0 { low } else { low | 0x80 });
        if value == 0 {
            return;
        }
    }
}

fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            places in prop::collection::btree_set(1_u64.., 0..20),
            needed in prop::option::of((0_u64.., 0_u64..)),
            snapshot in prop::option::of((0_u64.., any::<[u8; 32]>())),
        ) {
            let places: Vec<RecordSeq> = places.into_iter().map(RecordSeq).collect();
            let share = Share {
                needed: needed.map(|(first, last)| Needed { first: RecordSeq(first), last: RecordSeq(last) }),
                snapshot: snapshot.map(|(seq, hash)| (ActorSeq(seq), Hash(hash))),
            };
            prop_assert_eq!(read(&write(&places, share)).unwrap(), (places, share));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = read(&bytes);
        }
    }
}
