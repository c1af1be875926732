//! A host's journal and a stream, with an uplink between them that loses, repeats and delays, and a host that
//! forgets everything but its disk: each record arrives once, in order, or a gap says that it was let go.

use super::*;
use lattice_protocol::ErrorCode;
use lattice_protocol::seeded::Seeded;
use proptest::prelude::*;
use std::collections::BTreeMap;

const MINE: Incarnation = Incarnation([1; 8]);

/// A record of a journal: what it is follows from which journal it is of and what came before.
fn hash(incarnation: Incarnation, record: u64) -> Hash {
    Hash::of_parts(&[&incarnation.0, &record.to_le_bytes()])
}

/// What arrived in one message.
#[derive(Debug, Clone, PartialEq)]
struct Message {
    incarnation: Incarnation,
    gap: Option<Gap>,
    records: std::ops::RangeInclusive<u64>,
}

/// The lane: messages at the places that a shared stream gives.
#[derive(Default)]
struct Lane {
    messages: BTreeMap<u64, Message>,
    place: u64,
}

impl Lane {
    fn last(&self) -> Option<Seen> {
        let (at, message) = self.messages.last_key_value()?;
        let record = *message.records.end();
        let hash = hash(message.incarnation, record);
        Some(Seen { at: Position(*at), incarnation: message.incarnation, record: RecordSeq(record), hash })
    }

    fn append(&mut self, expected: Position, message: Message) -> Option<Position> {
        if self.messages.last_key_value().map_or(0, |(at, _)| *at) != expected.0 {
            return None;
        }
        // Others write too.
        self.place += 1 + message.records.start() % 3;
        self.messages.insert(self.place, message);
        Some(Position(self.place))
    }
}

struct World {
    lane: Lane,
    machine: Machine,
    now_ms: u64,
    first: u64,
    last: u64,
    /// Let go before they had arrived.
    dropped: Vec<u64>,
    /// Messages that are somewhere on their way.
    late: Vec<(Position, Message)>,
    random: Seeded,
}

fn policy() -> ForwardPolicy {
    ForwardPolicy { frame_bytes: 1_000, ..ForwardPolicy::default() }
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            lane: Lane::default(),
            machine: Machine::new(policy()),
            now_ms: 0,
            first: 1,
            last: 0,
            dropped: Vec::new(),
            late: Vec::new(),
            random: Seeded::new(seed),
        }
    }

    fn local(&self) -> Local {
        let (first, last) = (RecordSeq(self.first), RecordSeq(self.last));
        Local { incarnation: MINE, first, last, waiting: 1 << 20 }
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.random.below(100) < percent
    }

    /// One step, on an uplink that fails this often. Was there anything to do?
    fn step(&mut self, trouble: u64) -> bool {
        let seed = self.random.number();
        let next = self.machine.next(self.now_ms, self.local());
        match next {
            Next::Idle => return false,
            Next::Wait { until_ms } => self.now_ms = until_ms,
            Next::Ask => {
                let seen = if self.chance(trouble) { Err(()) } else { Ok(self.lane.last()) };
                self.machine.seen(seen, self.now_ms, seed);
            }
            Next::Compare { record, through_next } => {
                let there = if through_next { record.0 + 1 == self.first } else { record.0 >= self.first };
                let found = there.then(|| hash(MINE, record.0));
                self.machine.compared(found, self.local(), self.now_ms);
            }
            Next::Send(send) => {
                let sent = self.send(send, trouble);
                self.machine.sent(sent, self.now_ms, seed);
            }
        }
        true
    }

    fn send(&mut self, send: Send, trouble: u64) -> Sent {
        assert!(send.from.0 >= self.first && send.from.0 <= self.last);
        let through = self.last.min(send.from.0 + (send.bytes / 100) as u64);
        let message = Message { incarnation: MINE, gap: send.gap, records: send.from.0..=through };
        let fault = if self.chance(trouble) { 1 + self.random.below(4) } else { 0 };
        match fault {
            // Lost on the way there.
            1 => Sent::Unknown,
            // Stored, and nobody hears of it.
            2 => {
                self.lane.append(send.expected, message);
                Sent::Unknown
            }
            // Stored later, or never: whatever comes first counts.
            3 => {
                self.late.push((send.expected, message));
                Sent::Unknown
            }
            4 => Sent::Failed,
            _ => match self.lane.append(send.expected, message) {
                Some(at) => Sent::Stored { through: RecordSeq(through), at },
                None => Sent::Conflict,
            },
        }
    }

    /// Something else happens.
    fn disturb(&mut self) {
        match self.random.below(6) {
            0 | 1 => self.last += 1 + self.random.below(30),
            // The host is killed.
            2 => self.machine = Machine::new(policy()),
            3 => {
                let seed = self.random.number();
                self.machine.reconnected(self.now_ms, seed);
            }
            4 => {
                if let Some((expected, message)) = self.late.pop() {
                    self.lane.append(expected, message);
                }
            }
            // Room is made, whatever has arrived.
            _ if self.last > self.first => {
                let to = self.first + self.random.below(self.last - self.first);
                let through = self.lane.last().map_or(0, |seen| seen.record.0);
                self.dropped.extend((self.first.max(through + 1))..to);
                self.first = to.max(self.first);
            }
            _ => {}
        }
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let mut next = 1;
        let mut missing = Vec::new();
        for message in self.lane.messages.values() {
            if let Some(gap) = message.gap {
                prop_assert_eq!(gap.first.0, next);
                missing.extend(gap.first.0..=gap.last.0);
                next = gap.last.0 + 1;
            }
            prop_assert_eq!(*message.records.start(), next, "{:?}", self.lane.messages);
            next = message.records.end() + 1;
        }
        prop_assert_eq!(next, self.last + 1, "everything has arrived");
        // One that was let go while its message was on its way may have arrived all the same.
        prop_assert!(
            missing.iter().all(|record| self.dropped.contains(record)),
            "{missing:?} {:?}",
            self.dropped
        );
        Ok(())
    }
}

proptest! {
    #[test]
    fn each_record_arrives_once_in_order_whatever_the_uplink_does(seed in any::<u64>()) {
        let mut world = World::new(seed);
        for _ in 0..200 {
            world.disturb();
            for _ in 0..world.random.below(8) {
                world.step(40);
            }
        }
        // It heals; what is still on its way may come or not.
        world.last += 1;
        let mut steps = 0;
        while world.step(0) {
            if steps % 3 == 0 && let Some((expected, message)) = world.late.pop() {
                world.lane.append(expected, message);
            }
            steps += 1;
            prop_assert!(steps < 2_000, "it never comes to an end");
        }
        prop_assert!(world.machine.diverged().is_none());
        world.check()?;
    }
}

/// A machine that has been told what had arrived, of this journal: what it does next.
fn after(seen: Option<Seen>, local: Local) -> (Machine, Next) {
    let mut machine = Machine::new(policy());
    assert_eq!(machine.next(0, local), Next::Ask);
    machine.seen(Ok(seen), 0, 7);
    let next = machine.next(0, local);
    (machine, next)
}

fn local(incarnation: Incarnation, first: u64, last: u64) -> Local {
    Local { incarnation, first: RecordSeq(first), last: RecordSeq(last), waiting: 1 << 20 }
}

fn seen(incarnation: Incarnation, record: u64) -> Seen {
    Seen { at: Position(40), incarnation, record: RecordSeq(record), hash: hash(incarnation, record) }
}

#[test]
fn a_journal_that_does_not_go_on_from_what_has_arrived_sends_nothing_and_says_why() {
    // An older copy of it was put back.
    let (mut machine, next) = after(Some(seen(MINE, 9)), local(MINE, 1, 5));
    assert!(matches!(next, Next::Wait { until_ms: DIVERGED_MS }), "{next:?}");
    let ahead = Divergence::Ahead { arrived: RecordSeq(9), last: RecordSeq(5) };
    assert_eq!(machine.diverged(), Some(ahead));
    let report = ahead.report(&"NEDGE01".parse().unwrap());
    assert!(report.code == ErrorCode::Fork && report.hint.is_some(), "{report}");
    // It is looked at again, and goes on when it fits.
    assert_eq!(machine.next(DIVERGED_MS, local(MINE, 1, 5)), Next::Ask);
    // It has gone on otherwise: another host with this identity, or the copy.
    let (mut machine, next) = after(Some(seen(MINE, 9)), local(MINE, 1, 20));
    assert_eq!(next, Next::Compare { record: RecordSeq(9), through_next: false });
    machine.compared(Some(Hash::of(b"another")), local(MINE, 1, 20), 0);
    assert_eq!(machine.diverged(), Some(Divergence::Fork { record: RecordSeq(9) }));
    assert!(matches!(machine.next(1, local(MINE, 1, 20)), Next::Wait { .. }));
}

#[test]
fn a_journal_begun_anew_starts_from_its_first_record_behind_the_other() {
    let other = Incarnation([2; 8]);
    for last in [3, 30] {
        let (mut machine, mut next) = after(Some(seen(other, 9)), local(MINE, 1, last));
        if let Next::Compare { record, .. } = next {
            machine.compared(Some(hash(MINE, record.0)), local(MINE, 1, last), 0);
            next = machine.next(0, local(MINE, 1, last));
        }
        let Next::Send(send) = next else { panic!("{next:?}") };
        assert_eq!((send.expected, send.from, send.gap), (Position(40), RecordSeq(1), None));
        assert_eq!((machine.take_anew(), machine.take_anew()), (Some(other), None));
    }
    // One that was built anew from what had arrived goes on.
    let (mut machine, _) = after(Some(seen(other, 9)), local(MINE, 1, 30));
    machine.compared(Some(hash(other, 9)), local(MINE, 1, 30), 0);
    let Next::Send(send) = machine.next(0, local(MINE, 1, 30)) else { panic!() };
    assert_eq!((send.from, machine.take_anew()), (RecordSeq(10), None));
}

#[test]
fn what_was_gone_before_is_a_gap_and_a_host_whose_record_was_let_go_is_compared_by_the_next_one() {
    let (_, next) = after(None, local(MINE, 8, 12));
    let Next::Send(send) = next else { panic!("{next:?}") };
    let before = Gap { first: RecordSeq(1), last: RecordSeq(7), why: Why::Before };
    assert_eq!((send.from, send.gap), (RecordSeq(8), Some(before)));
    let (_, next) = after(Some(seen(MINE, 9)), local(MINE, 10, 12));
    assert_eq!(next, Next::Compare { record: RecordSeq(9), through_next: true });
    let (_, next) = after(Some(seen(MINE, 9)), local(MINE, 15, 20));
    let Next::Send(send) = next else { panic!("{next:?}") };
    let dropped = Gap { first: RecordSeq(10), last: RecordSeq(14), why: Why::Dropped };
    assert_eq!((send.from, send.gap), (RecordSeq(15), Some(dropped)));
}

#[test]
fn little_waits_for_more_pauses_double_and_frames_shrink_on_a_slow_uplink() {
    let few = |last| Local { waiting: 100, ..local(MINE, 1, last) };
    let (mut machine, next) = after(None, few(1));
    assert!(matches!(next, Next::Send(_)), "the first does not wait: {next:?}");
    machine.sent(Sent::Stored { through: RecordSeq(1), at: Position(5) }, 1_000, 7);
    assert_eq!(machine.next(1_000, few(1)), Next::Idle);
    assert_eq!(machine.next(1_000, few(2)), Next::Wait { until_ms: 1_200 });
    assert!(matches!(machine.next(1_000, local(MINE, 1, 2)), Next::Send(_)), "much waits for nothing");
    let mut now_ms = 2_000;
    let mut pauses = Vec::new();
    for _ in 0..20 {
        let bytes = machine.bytes;
        machine.sent(Sent::Unknown, now_ms, 7);
        assert!(machine.bytes >= LEAST_BYTES.min(bytes) && machine.bytes <= bytes.max(LEAST_BYTES));
        let Next::Wait { until_ms } = machine.next(now_ms, few(2)) else { panic!("it hurries") };
        pauses.push(until_ms - now_ms);
        now_ms = until_ms;
    }
    assert!(pauses[0] <= 500 && pauses[19] >= 30_000 && pauses[19] <= 60_000, "{pauses:?}");
}
