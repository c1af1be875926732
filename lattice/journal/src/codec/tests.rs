//! Every value reads back, has one encoding, and every damage is found.

use super::*;
use crate::commit::Commit;
use crate::fixtures::{SHARD, add, any_commit, commit, fold_of, key, opened, record, session};
use crate::ids::{Epoch, Position, RecordSeq};
use crate::outbox::OutboxPosition;
use crate::record::{Body, Checkpoint, Kept, Record, Sealed};
use crate::snapshot::Snapshot;
use proptest::prelude::*;

fn any_body() -> impl Strategy<Value = Body> {
    let position = (any::<u64>(), any::<u32>())
        .prop_map(|(record, index)| OutboxPosition { record: RecordSeq(record), index });
    let checkpoint = (any::<[u64; 3]>(), any::<[[u8; 32]; 2]>(), any::<Option<u64>>()).prop_map(
        |(numbers, hashes, place)| Checkpoint {
            through: RecordSeq(numbers[0]),
            hash: Hash(hashes[0]),
            epoch: Epoch(numbers[1]),
            snapshots: numbers[2],
            list: Hash(hashes[1]),
            kept: place
                .map(|at| Kept { document: keys::Digest::of(&at.to_le_bytes()), position: Position(at) }),
        },
    );
    prop_oneof![
        1 => Just(Body::EpochOpened { owner: session("host-1") }),
        6 => (proptest::option::of(position), proptest::collection::vec(any_commit(), 0..5))
            .prop_map(|(relayed, commits)| Body::Commits { relayed, commits }),
        1 => checkpoint.prop_map(Body::Checkpoint),
    ]
}

fn any_record() -> impl Strategy<Value = Record> {
    (any::<[u64; 2]>(), any::<[u8; 32]>(), any_body()).prop_map(|([seq, epoch], previous, body)| Record {
        shard: SHARD,
        seq: RecordSeq(seq),
        previous: Hash(previous),
        epoch: Epoch(epoch),
        body,
    })
}

/// The same bytes with a checksum that fits.
fn resealed(mut bytes: Vec<u8>) -> Bytes {
    let end = bytes.len() - CHECKSUM_BYTES;
    let short = Hash::of(&bytes[..end]).short();
    bytes[end..].copy_from_slice(&short);
    bytes.into()
}

fn sealed() -> Sealed {
    let (chain, _) = opened();
    let fold = fold_of("meter/m-1");
    let command = add(1, 5);
    let decision = fold.entity().decide(&command);
    record(&chain, vec![commit(fold.ledger(), &command, decision)])
}

#[test]
fn the_form_of_a_record_never_changes() {
    // Golden: journals written by earlier versions must be read for ever.
    let bytes = sealed().bytes().clone();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, include_str!("golden-record-v1.hex").trim());
}

#[test]
fn many_commits_of_one_kind_cost_little_beside_their_payload() {
    let (chain, _) = opened();
    let mut commits: Vec<Commit> = Vec::new();
    for n in 0..32 {
        let fold = fold_of(&format!("temperature/machine-{n:02}"));
        let mut decision = fold.entity().decide(&add(n, 1));
        decision.events[0].payload = vec![7; 200].into();
        decision.reply = Bytes::new();
        commits.push(commit(fold.ledger(), &add(n, 1), decision));
    }
    let bytes = record(&chain, commits).bytes().len();
    assert!(bytes < 32 * 266, "{} bytes a commit of 200 bytes", bytes / 32);
}

#[test]
fn cut_at_any_byte_it_is_refused() {
    let whole = sealed().bytes().clone();
    for end in 0..whole.len() {
        assert!(Sealed::open(whole.slice(..end)).is_err(), "cut at {end}");
        if end > 12 {
            let error = Sealed::open(resealed(whole[..end].to_vec())).unwrap_err();
            let typed = matches!(error, DecodeError::Truncated { .. } | DecodeError::Invalid { .. });
            assert!(typed, "cut at {end} with a checksum that fits: {error}");
        }
    }
}

#[test]
fn what_a_newer_version_writes_is_told_from_damage() {
    let mut newer = sealed().bytes().to_vec();
    newer[3] = 2;
    let error = Sealed::open(newer.into()).unwrap_err();
    assert_eq!(error, DecodeError::Version { what: "record", got: 2, known: 1 });
    let report = lattice_protocol::Report::from(error).to_string();
    assert_eq!(
        report,
        "E_VERSION: journal: record: format version 2 is not known (newest known 1); a newer host wrote it: update this host"
    );
    let (_, opened) = opened();
    let mut unknown = opened.bytes().to_vec();
    // shard, seq, epoch: one byte each, then the previous hash.
    unknown[4 + 3 + 32] = 9;
    let error = Sealed::open(resealed(unknown)).unwrap_err();
    assert_eq!(error, DecodeError::Unknown { what: "kind of record", tag: 9, offset: 40 });
    assert!(matches!(Sealed::open(Bytes::from_static(b"GIF89a")), Err(DecodeError::Magic { .. })));
    assert!(matches!(Sealed::open(Bytes::from_static(b"TRJ\x01")), Err(DecodeError::Truncated { .. })));
}

#[test]
fn a_count_is_not_believed_before_its_bytes_are_there() {
    let mut writer = Writer::new(&Format { what: "record", magic: *b"TRJ", version: 1 });
    for number in [7, 2, 1] {
        writer.number(number);
    }
    writer.raw(&[0; 32]);
    for number in [2, 0, 4_000] {
        writer.number(number);
    }
    assert!(matches!(Sealed::open(writer.seal().0), Err(DecodeError::Truncated { .. })));
}

proptest! {
    #[test]
    fn records_read_back(record in any_record()) {
        let sealed = record.clone().seal().unwrap();
        let back = Sealed::open(sealed.bytes().clone()).unwrap();
        prop_assert_eq!(&**back.record(), &record);
        prop_assert_eq!(&back, &sealed);
    }

    #[test]
    fn any_changed_byte_is_found(record in any_record(), at in any::<prop::sample::Index>(), flip in 1u8..) {
        let mut bytes = record.seal().unwrap().bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        prop_assert!(Sealed::open(bytes.into()).is_err());
    }

    /// Whatever can be read is what would be written: one record, one encoding, one hash.
    #[test]
    fn there_is_one_encoding(record in any_record(), at in any::<prop::sample::Index>(), byte: u8) {
        let mut bytes = record.seal().unwrap().bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(sealed) = Sealed::open(resealed(bytes)) {
            let again = Record::clone(sealed.record()).seal().unwrap();
            prop_assert_eq!(again.bytes(), sealed.bytes());
        }
    }

    #[test]
    fn snapshots_read_back(commits in proptest::collection::vec(any_commit(), 0..8), state: Vec<u8>) {
        let mut fold = fold_of("meter/m-1");
        for commit in commits {
            let command = crate::command::Command {
                reference: commit.command, name: "add".to_owned(), body: commit.reply.clone(),
            };
            let decision = crate::ledger::Decision { events: Vec::new(), effects: commit.effects, reply: commit.reply };
            let commit = super::tests::commit(fold.ledger(), &command, decision);
            fold.apply(&commit).unwrap();
            if fold.ledger().is_deleted() {
                // Nothing follows.
                break;
            }
        }
        let snapshot = fold.snapshot((SHARD, RecordSeq(9)), crate::fixtures::component(), (3, state.into()));
        let (bytes, hash) = snapshot.seal().unwrap();
        let (back, back_hash) = Snapshot::open(bytes.clone()).unwrap();
        prop_assert_eq!(&back, &snapshot);
        prop_assert_eq!(back_hash, hash);
        prop_assert_eq!(back.ledger.key(), &key("meter/m-1"));
        prop_assert!(Snapshot::open(bytes.slice(..bytes.len() - 1)).is_err());
    }
}
