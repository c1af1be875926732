//! A holder that stops itself, and watchers that never come too early.

use super::*;
use proptest::prelude::*;

const POLICY: LeasePolicy = LeasePolicy { ttl_ms: 1_000, renew_ms: 300, margin_ms: 200 };

#[test]
fn it_is_renewed_in_time_and_counts_from_the_sending() {
    let mut session = Session::new(POLICY);
    assert_eq!(session.tick(100), [LeaseAction::Write { attempt: 1 }]);
    assert!(session.tick(110).is_empty(), "one write at a time");
    assert_eq!(session.written(1, 180), [LeaseAction::Holds { until_ms: 900 }]);
    assert!(session.holds(899) && !session.holds(900));
    assert!(session.tick(399).is_empty());
    assert_eq!(session.tick(400), [LeaseAction::Write { attempt: 2 }]);
    assert_eq!(session.written(2, 850), [LeaseAction::Holds { until_ms: 1_200 }]);
}

#[test]
fn it_is_renewed_early_when_it_shall_say_something_else() {
    let mut session = Session::new(POLICY);
    session.tick(0);
    session.renew();
    assert!(session.tick(10).is_empty(), "one write at a time");
    session.written(1, 20);
    session.renew();
    assert_eq!(session.wake_ms(), Some(0));
    assert_eq!(session.tick(30), [LeaseAction::Write { attempt: 2 }]);
    assert_eq!(session.written(2, 40), [LeaseAction::Holds { until_ms: 830 }]);
    assert!(session.tick(329).is_empty(), "and then as before");
}

#[test]
fn a_holder_that_hears_nothing_stops_before_the_end() {
    let mut session = Session::new(POLICY);
    session.tick(0);
    session.written(1, 0);
    session.tick(300);
    assert_eq!(session.unknown(2, 600), [LeaseAction::Read]);
    assert_eq!(session.wake_ms(), Some(800));
    assert_eq!(session.tick(800), [LeaseAction::Ended]);
    // The write had succeeded; the session is over all the same.
    assert!(session.written(2, 810).is_empty() && !session.holds(810) && session.tick(900).is_empty());
}

#[test]
fn an_answer_that_comes_after_the_end_gives_no_lease() {
    let mut session = Session::new(POLICY);
    session.tick(0);
    assert_eq!(session.written(1, 800), [LeaseAction::Ended]);
    assert!(!session.holds(800));
}

#[test]
fn an_unknown_outcome_is_read_back() {
    let mut session = Session::new(POLICY);
    session.tick(0);
    session.written(1, 10);
    session.tick(300);
    assert_eq!(session.unknown(2, 400), [LeaseAction::Read]);
    assert_eq!(session.read(Some(2), 450), [LeaseAction::Holds { until_ms: 1_100 }], "from its sending");
    session.tick(600);
    session.unknown(3, 650);
    assert_eq!(session.read(Some(2), 660), [LeaseAction::Write { attempt: 4 }], "not written: again");
    session.unknown(4, 700);
    assert_eq!(session.read(None, 710), [LeaseAction::Ended], "somebody else's");
}

#[test]
fn a_lease_ends_for_its_watcher_a_whole_time_after_its_last_sign_of_life() {
    let mut seen = Sighting::new(7, 100);
    assert!(seen.lives(&POLICY, 1_099) && !seen.lives(&POLICY, 1_100));
    assert!(!seen.saw(7, 1_050) && !seen.saw(6, 1_050));
    assert_eq!((seen.ends_ms(&POLICY), seen.age_ms(1_050)), (1_100, 950), "told again: no sign of life");
    assert!(seen.saw(8, 1_050));
    assert_eq!((seen.ends_ms(&POLICY), seen.age_ms(1_050)), (2_050, 0));
}

proptest! {
    /// However long writes and their sight take: nobody takes over while the holder believes to hold.
    #[test]
    fn nobody_takes_over_before_the_holder_has_stopped(
        delays in proptest::collection::vec((0u64..900, 0u64..900), 1..20),
        silent_ms in 0u64..5_000,
    ) {
        let mut session = Session::new(POLICY);
        let mut seen = Sighting::new(0, 0);
        let (mut now, mut revision) = (0, 0);
        for (write_ms, sight_ms) in delays {
            now = session.wake_ms().map_or(now, |at| at.max(now));
            for action in session.tick(now) {
                if let LeaseAction::Write { attempt } = action {
                    // It is in the store after `write_ms`, and seen `sight_ms` later.
                    revision += 1;
                    seen.saw(revision, now + write_ms + sight_ms);
                    now += write_ms;
                    session.written(attempt, now);
                }
            }
        }
        for later in (now..now + silent_ms).step_by(50) {
            let lives = seen.lives(&POLICY, later);
            prop_assert!(lives || !session.holds(later), "both at {later}");
        }
    }
}
