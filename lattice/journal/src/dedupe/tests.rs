//! One command, one effect: inside the window, at its edges, and beyond it.

use super::*;
use crate::command::Command;
use crate::fixtures::{T0, add, component, id, key};
use crate::hlc::Hlc;
use proptest::prelude::*;
use std::collections::BTreeSet;

const DIGEST: [u8; 8] = [1; 8];

fn remember(dedupe: &mut Dedupe, command: CommandRef, unix_ms: u64, reply: &[u8]) {
    dedupe.remember(&Commit {
        key: key("meter/m-1"),
        seq: ActorSeq(1),
        previous: [0; 8],
        command,
        command_digest: DIGEST,
        hlc: Hlc { wall_ms: unix_ms, counter: 0 },
        component: component(),
        events: Vec::new(),
        effects: Vec::new(),
        reply: Bytes::copy_from_slice(reply),
    });
}

fn check(dedupe: &Dedupe, id: CommandId, unix_ms: u64) -> Result<Known, Refused> {
    dedupe.check(&CommandRef::Id(id), DIGEST, unix_ms)
}

#[test]
fn a_repetition_is_told_the_first_result_and_another_command_is_refused() {
    let mut dedupe = Dedupe::default();
    remember(&mut dedupe, CommandRef::Id(id(1)), T0 + 1, b"first");
    let first = First { seq: ActorSeq(1), digest: DIGEST, reply: Bytes::from_static(b"first") };
    assert_eq!(check(&dedupe, id(1), T0 + 2), Ok(Known::Repeated(first)));
    let other = dedupe.check(&CommandRef::Id(id(1)), [2; 8], T0 + 2).unwrap_err();
    assert_eq!(Report::from(other).code, ErrorCode::IdReused);
}

#[test]
fn beyond_1024_ids_the_oldest_expires_and_is_never_carried_out_again() {
    let mut dedupe = Dedupe::default();
    for n in 0..=MAX_IDS as u64 {
        assert_eq!(check(&dedupe, id(n), T0 + n), Ok(Known::New));
        remember(&mut dedupe, CommandRef::Id(id(n)), T0 + n, b"");
    }
    assert_eq!(check(&dedupe, id(0), T0), Err(Refused::Expired { id: id(0) }));
    assert!(matches!(check(&dedupe, id(1), T0), Ok(Known::Repeated(_))));
    let report = Report::from(Refused::Expired { id: id(0) });
    assert_eq!(
        (report.code, report.limit.as_deref()),
        (ErrorCode::IdExpired, Some("the last 1024 ids of 72 h"))
    );
}

#[test]
fn after_72_hours_an_id_expires_whether_it_was_carried_out_or_not() {
    let mut dedupe = Dedupe::default();
    remember(&mut dedupe, CommandRef::Id(id(1)), T0, b"");
    let late = T0 + 2 + MAX_AGE_MS;
    assert!(matches!(check(&dedupe, id(1), late), Ok(Known::Repeated(_))), "remembered as long as possible");
    assert_eq!(check(&dedupe, id(0), late), Err(Refused::Expired { id: id(0) }));
    remember(&mut dedupe, CommandRef::Id(id(MAX_AGE_MS)), late, b"");
    assert_eq!(check(&dedupe, id(1), late), Err(Refused::Expired { id: id(1) }));
    // A clock that goes back does not revive it.
    assert_eq!(check(&dedupe, id(1), T0), Err(Refused::Expired { id: id(1) }));
}

#[test]
fn an_id_from_the_future_is_refused() {
    let dedupe = Dedupe::default();
    assert_eq!(check(&dedupe, id(MAX_AHEAD_MS), T0), Ok(Known::New));
    let refused = check(&dedupe, id(MAX_AHEAD_MS + 1), T0).unwrap_err();
    assert_eq!(refused, Refused::Future { id: id(MAX_AHEAD_MS + 1), ahead_ms: MAX_AHEAD_MS + 1 });
}

#[test]
fn large_replies_make_the_window_shorter_not_the_memory_larger() {
    let mut dedupe = Dedupe::default();
    let reply = vec![0; 200 << 10];
    for n in 0..10 {
        remember(&mut dedupe, CommandRef::Id(id(n)), T0, &reply);
    }
    assert_eq!(dedupe.ids.len(), MAX_REPLY_BYTES / reply.len());
    assert_eq!(check(&dedupe, id(0), T0), Err(Refused::Expired { id: id(0) }));
}

#[test]
fn messages_of_an_actor_have_no_gap_and_no_repetition() {
    let mut dedupe = Dedupe::default();
    let sent = |sequence| CommandRef::Sent { from: key("meter/m-2"), sequence };
    let check = |dedupe: &Dedupe, sequence| dedupe.check(&sent(sequence), DIGEST, T0);
    assert_eq!(check(&dedupe, 1), Ok(Known::New));
    let gap = Refused::Gap { from: key("meter/m-2"), got: 2, expected: 1 };
    assert_eq!(check(&dedupe, 2), Err(gap));
    remember(&mut dedupe, sent(1), T0, b"one");
    assert!(matches!(check(&dedupe, 1), Ok(Known::Repeated(_))));
    remember(&mut dedupe, sent(2), T0, b"two");
    assert_eq!(check(&dedupe, 1), Ok(Known::Settled));
    assert_eq!(
        dedupe.check(&sent(2), [9; 8], T0).map_err(|r| Report::from(r).code),
        Err(ErrorCode::IdReused)
    );
}

#[test]
fn the_digest_is_of_name_and_body() {
    let (one, other) = (add(1, 5), Command { name: "sub".to_owned(), ..add(1, 5) });
    assert_ne!(one.digest(), other.digest());
}

proptest! {
    /// Whatever comes in whatever order at whatever time: what was carried out once is never new.
    #[test]
    fn nothing_is_carried_out_twice(
        arrivals in proptest::collection::vec((0u64..3_000, 0u64..MAX_AGE_MS * 2), 1..3_000),
    ) {
        let mut dedupe = Dedupe::default();
        let mut done = BTreeSet::new();
        for (n, at) in arrivals {
            // Ids spread over four days, so that number and age both matter.
            let id = id(n * (MAX_AGE_MS / 2_000));
            if check(&dedupe, id, T0 + at) == Ok(Known::New) {
                prop_assert!(done.insert(id), "{id} again");
                remember(&mut dedupe, CommandRef::Id(id), T0 + at, b"");
            }
        }
        prop_assert!(dedupe.ids.len() <= MAX_IDS);
    }
}
