//! Two claimants, late owners, lost answers: at most one opens an epoch, and only one counts.

use super::*;
use crate::chain::Chain;
use crate::fixtures::{Log, SHARD, record, session};

/// A log and a key in one place, with what is lost on the way.
#[derive(Default)]
struct World {
    log: Log,
    key: ShardKey,
    /// Answers to claims and appends that get lost, by their number.
    lose: Vec<u64>,
    count: u64,
}

impl World {
    fn lost(&mut self) -> bool {
        self.count += 1;
        self.lose.contains(&self.count)
    }

    fn write_key(&mut self, owner: ShardOwner, over: Option<u64>) -> bool {
        let fits = self.key.as_ref().map(|(_, revision)| *revision) == over;
        if fits {
            self.key = Some((owner, over.unwrap_or_default() + 1));
        }
        fits
    }

    /// Performs actions until there are none; what the takeover ended with.
    fn run(&mut self, takeover: &mut Takeover, log: &mut Vec<String>) -> TakeoverAction {
        let mut actions = takeover.start();
        loop {
            let mut next = Vec::new();
            for action in actions {
                match action {
                    TakeoverAction::ReadKey => next.extend(takeover.key(self.key.clone())),
                    TakeoverAction::Claim { owner, over } => {
                        let written = self.write_key(owner.clone(), over);
                        let lost = self.lost();
                        log.push(format!(
                            "claim epoch {}{}",
                            owner.epoch,
                            if lost { ", answer lost" } else { "" }
                        ));
                        next.extend(if written && !lost {
                            takeover.claimed()
                        } else {
                            takeover.not_claimed()
                        });
                    }
                    TakeoverAction::Log(LogAction::Read { attempt, after }) => {
                        next.extend(takeover.read(attempt, self.log.read(after, 1)));
                    }
                    TakeoverAction::Log(LogAction::Append { attempt, expected, sealed }) => {
                        let outcome = self.log.append(expected, sealed.bytes());
                        let outcome = if self.lost() { AppendOutcome::Unknown } else { outcome };
                        log.push(format!("open epoch {}: {outcome:?}", sealed.record().epoch));
                        next.extend(takeover.outcome(attempt, outcome));
                    }
                    TakeoverAction::Fold(records) => log.push(format!("fold {}", records.len())),
                    TakeoverAction::Skipped(skipped) => log.push(format!("skip {}", skipped.len())),
                    end => return end,
                }
            }
            actions = next;
        }
    }
}

fn takeover(host: &str) -> Takeover {
    Takeover::new(session(host), Tail::new(Chain::new(SHARD)))
}

#[test]
fn the_first_owner_and_the_next() {
    let mut world = World::default();
    let mut log = Vec::new();
    let mut first = takeover("A");
    assert_eq!(world.run(&mut first, &mut log), TakeoverAction::Opened);
    let of_a = first.into_tail();
    let mut second = takeover("B");
    assert_eq!(world.run(&mut second, &mut log), TakeoverAction::Opened);
    assert_eq!(
        log,
        [
            "claim epoch 1",
            "open epoch 1: Stored(Position(1))",
            "claim epoch 2",
            "fold 1",
            "open epoch 2: Stored(Position(2))"
        ]
    );
    // What A writes now is skipped by everybody.
    let late = record(&of_a.chain, Vec::new());
    world.log.force(late.bytes());
    assert_eq!(world.log.valid().len(), 2);
}

#[test]
fn lost_answers_are_found_out() {
    let mut world = World { lose: vec![1, 2], ..World::default() };
    let mut log = Vec::new();
    assert_eq!(world.run(&mut takeover("A"), &mut log), TakeoverAction::Opened);
    assert_eq!(log, ["claim epoch 1, answer lost", "open epoch 1: Unknown"]);
    assert_eq!(world.log.entries.len(), 1);
}

#[test]
fn an_owner_that_writes_on_while_it_is_replaced_is_overtaken() {
    let mut world = World::default();
    let mut log = Vec::new();
    let mut first = takeover("A");
    world.run(&mut first, &mut log);
    let mut chain = first.into_tail().chain;
    // B follows to the end; then A appends once more before B opens.
    let mut second = takeover("B");
    second.start();
    let Some(TakeoverAction::Claim { owner, over }) = second.key(world.key.clone()).pop() else { panic!() };
    world.write_key(owner, over);
    let Some(TakeoverAction::Log(LogAction::Read { attempt, after })) = second.claimed().pop() else {
        panic!()
    };
    let actions = second.read(attempt, world.log.read(after, 9));
    let Some(TakeoverAction::Log(LogAction::Append { attempt, expected, sealed })) = actions.last() else {
        panic!()
    };
    let of_a = record(&chain, Vec::new());
    world.log.force(of_a.bytes());
    chain.offer(&of_a).unwrap();
    let outcome = world.log.append(*expected, sealed.bytes());
    let Some(TakeoverAction::Log(LogAction::Read { attempt, after })) =
        second.outcome(*attempt, outcome).pop()
    else {
        panic!()
    };
    let actions = second.read(attempt, world.log.read(after, 9));
    assert_eq!(actions[0], TakeoverAction::Fold(vec![of_a]));
    let TakeoverAction::Log(LogAction::Append { attempt, expected, sealed }) = &actions[1] else { panic!() };
    let outcome = world.log.append(*expected, sealed.bytes());
    assert_eq!(second.outcome(*attempt, outcome), [TakeoverAction::Opened]);
    assert_eq!(world.log.valid().len(), 3);
}

#[test]
fn who_comes_second_at_the_key_or_in_the_log_gives_way() {
    let mut world = World::default();
    let mut log = Vec::new();
    // Both have read the key; A writes it first.
    let mut late = takeover("B");
    late.start();
    let Some(TakeoverAction::Claim { owner, over }) = late.key(None).pop() else { panic!() };
    world.run(&mut takeover("A"), &mut log);
    assert!(!world.write_key(owner, over));
    late.not_claimed();
    assert_eq!(late.key(world.key.clone()), [TakeoverAction::Lost { epoch: Epoch(1) }]);
    // C claims epoch 2 and rests; D claims 3 and opens it; then C goes on.
    let mut resting = takeover("C");
    resting.start();
    let Some(TakeoverAction::Claim { owner, over }) = resting.key(world.key.clone()).pop() else { panic!() };
    world.write_key(owner, over);
    let Some(TakeoverAction::Log(LogAction::Read { attempt, after })) = resting.claimed().pop() else {
        panic!()
    };
    assert_eq!(world.run(&mut takeover("D"), &mut log), TakeoverAction::Opened);
    let actions = resting.read(attempt, world.log.read(after, 9));
    assert_eq!(actions.last(), Some(&TakeoverAction::ReadKey));
    assert_eq!(resting.key(world.key.clone()), [TakeoverAction::Lost { epoch: Epoch(3) }]);
}

#[test]
fn a_damaged_log_is_not_taken_over() {
    let mut world = World::default();
    let mut log = Vec::new();
    world.run(&mut takeover("A"), &mut log);
    world.log.force(&bytes::Bytes::from_static(b"TRJ\x09newer"));
    let end = world.run(&mut takeover("B"), &mut log);
    assert!(
        matches!(
            end,
            TakeoverAction::Damaged {
                at: Position(2),
                error: DecodeError::Truncated { .. } | DecodeError::Version { .. }
            }
        ),
        "{end:?}"
    );
}

#[test]
fn a_key_that_says_less_than_the_log_costs_one_more_claim_and_not_the_shard() {
    let mut world = World::default();
    for host in ["A", "B", "C"] {
        world.run(&mut takeover(host), &mut Vec::new());
    }
    // It could not be read, or was lost: nobody, epoch 0.
    let nobody = ShardOwner { session: session("nobody"), epoch: Epoch(0) };
    for key in [Some((nobody, 9)), None] {
        let mut log = Vec::new();
        let before = world.log.valid().len();
        world.key = key;
        let mut next = takeover("D");
        assert_eq!(world.run(&mut next, &mut log), TakeoverAction::Opened, "{log:?}");
        assert_eq!(log.iter().filter(|line| line.starts_with("claim")).count(), 2, "{log:?}");
        assert_eq!(world.log.valid().len(), before + 1);
        let epoch = next.into_tail().chain.epoch();
        assert_eq!(world.key.as_ref().unwrap().0, ShardOwner { session: session("D"), epoch });
    }
}
