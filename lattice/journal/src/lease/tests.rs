//! A holder that stops itself, and watchers that never come too early.

use super::*;
use lattice_protocol::seeded::Seeded;
use proptest::prelude::*;
use std::collections::BTreeMap;

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
    /// However long writes and their sight take, as long as all are seen: nobody takes over while the holder believes
    /// to hold.
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

/// One holder, the leader that keeps its lease, and a watcher that hears of some renewals, late, and asks the leader. Each
/// message takes as long as it likes, or never comes.
struct World {
    random: Seeded,
    now_ms: u64,
    /// What happens, and when; several at once in the order in which they came up.
    due: BTreeMap<(u64, u64), Happens>,
    order: u64,
    /// Of the lease at its leader: revision, and the attempt that stands in it.
    lease: (u64, u64),
    session: Session,
    /// The revision that the holder writes over.
    over: u64,
    /// The attempt whose outcome the holder waits for.
    awaited: Option<u64>,
    seen: Option<Sighting>,
    /// Since when the watcher knows that the lease is over.
    over_ms: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
enum Happens {
    /// The holder looks what is to be done.
    Looks,
    /// Its write is at the leader.
    Written {
        attempt: u64,
        over: u64,
    },
    /// It hears what became of it: the new revision, if it is written.
    Told {
        attempt: u64,
        revision: Option<u64>,
    },
    /// It waits no longer.
    GivesUp {
        attempt: u64,
    },
    /// Its read is at the leader, and answered.
    Read,
    ReadBack {
        lease: (u64, u64),
    },
    /// The watch tells of a renewal.
    Seen {
        revision: u64,
    },
    /// The watcher asks the leader; it is asked; it has answered.
    Asks,
    Asked {
        asked_ms: u64,
    },
    Answered {
        asked_ms: u64,
        revision: u64,
    },
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            random: Seeded::new(seed),
            now_ms: 0,
            due: BTreeMap::new(),
            order: 0,
            lease: (0, 0),
            session: Session::new(POLICY),
            over: 0,
            awaited: None,
            seen: None,
            over_ms: None,
        }
    }

    fn after(&mut self, pause_ms: u64, happens: Happens) {
        self.order += 1;
        self.due.insert((self.now_ms + pause_ms, self.order), happens);
    }

    /// A message on its way: mostly soon there, now and then late, or never.
    fn sends(&mut self, happens: Happens) {
        let takes_ms = match self.random.below(12) {
            0 => return,
            1..=3 => self.random.below(2_500),
            _ => self.random.below(60),
        };
        self.after(takes_ms, happens);
    }

    fn act(&mut self, actions: Vec<LeaseAction>) {
        for action in actions {
            match action {
                LeaseAction::Write { attempt } => {
                    self.awaited = Some(attempt);
                    self.sends(Happens::Written { attempt, over: self.over });
                    self.after(400, Happens::GivesUp { attempt });
                }
                LeaseAction::Read => self.sends(Happens::Read),
                LeaseAction::Holds { .. } | LeaseAction::Ended => {}
            }
        }
    }

    fn happens(&mut self, happens: Happens) {
        match happens {
            Happens::Looks => {
                let actions = self.session.tick(self.now_ms);
                self.act(actions);
                self.after(50, Happens::Looks);
            }
            Happens::Written { attempt, over } => {
                let is_written = over == self.lease.0;
                if is_written {
                    self.lease = (over + 1, attempt);
                    // Half of them are never heard of.
                    if self.random.below(2) == 0 {
                        self.sends(Happens::Seen { revision: over + 1 });
                    }
                }
                self.sends(Happens::Told { attempt, revision: is_written.then_some(over + 1) });
            }
            Happens::Told { attempt, revision } if self.awaited == Some(attempt) => {
                self.awaited = None;
                let actions = match revision {
                    Some(revision) => {
                        self.over = revision;
                        self.session.written(attempt, self.now_ms)
                    }
                    None => self.session.lost(),
                };
                self.act(actions);
            }
            Happens::GivesUp { attempt } if self.awaited == Some(attempt) => {
                self.awaited = None;
                let actions = self.session.unknown(attempt, self.now_ms);
                self.act(actions);
            }
            Happens::Told { .. } | Happens::GivesUp { .. } => {}
            Happens::Read => self.sends(Happens::ReadBack { lease: self.lease }),
            Happens::ReadBack { lease: (revision, attempt) } => {
                self.over = revision;
                let actions = self.session.read(Some(attempt), self.now_ms);
                self.act(actions);
            }
            Happens::Seen { revision } => self.saw(revision),
            Happens::Asks => {
                // Who never held it owns nothing that could be taken over.
                if self.session.state != State::Unheld {
                    self.sends(Happens::Asked { asked_ms: self.now_ms });
                }
                let pause_ms = 20 + self.random.below(700);
                self.after(pause_ms, Happens::Asks);
            }
            Happens::Asked { asked_ms } => self.sends(Happens::Answered { asked_ms, revision: self.lease.0 }),
            Happens::Answered { asked_ms, revision } => {
                self.saw(revision);
                if self.seen.is_some_and(|seen| !seen.lives(&POLICY, asked_ms)) {
                    self.over_ms.get_or_insert(self.now_ms);
                }
            }
        }
    }

    fn saw(&mut self, revision: u64) {
        let now_ms = self.now_ms;
        self.seen.get_or_insert(Sighting::new(revision, now_ms)).saw(revision, now_ms);
    }
}

#[test]
fn what_the_leader_says_is_over_is_over_whatever_was_not_heard_of() {
    let (mut ended, mut renewed) = (0, 0);
    for seed in 0..4_000 {
        let mut world = World::new(seed);
        world.after(0, Happens::Looks);
        world.after(1, Happens::Asks);
        while let Some(((at_ms, _), happens)) =
            world.due.pop_first().filter(|((at_ms, _), _)| *at_ms < 20_000)
        {
            world.now_ms = at_ms;
            world.happens(happens);
            assert!(
                world.over_ms.is_none() || !world.session.holds(at_ms),
                "seed {seed}: over since {:?}, held at {at_ms}",
                world.over_ms
            );
        }
        ended += u32::from(world.over_ms.is_some());
        renewed += world.lease.0;
    }
    assert!(ended > 1_000 && renewed > 10_000, "{ended} ended, {renewed} renewals: too little has happened");
}
