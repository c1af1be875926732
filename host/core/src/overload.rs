//! Which calls from outside begin, in which order, and which are refused, when a host has more to compute
//! than its processors can.
//!
//! A call computes on the thread that read it. So what waits for a processor waits in the scheduler's own queue:
//! unseen, without a bound, and served strictly in turn, until everybody is answered too late. The line makes
//! that queue its own, but only when it has become long; until then it costs nothing.
//!
//! ```text
//!            a round took longer than `late_us`
//!   calm ────────────────────────────────────────▶ guarded: a call begins with a permit, one per processor;
//! (calls begin ◀───────────────────────────────── others wait
//!  as they come)  a round was prompt, nobody waits
//! ```
//! A *round* is the time until a processor has gone through everything that was ready: the delay that the
//! scheduler imposes on whoever comes now. It is measured, not estimated, so it also counts what is no call.
//! A permit ends when its call waits for the first time: who waits for a store or for another host holds no
//! processor. A call that goes on after that needs no permit, since what has begun shall end before more is begun.
//!
//! ```text
//!            more than `waiting` wait, or one waits too long: the oldest are refused, an eighth stays
//!   in turn ─────────────────────────────────────────────────────────────▶ spell: the newest is served first,
//!          ◀───────────────────────────────────────────────────────────── of more than the eighth the oldest
//!                          a permit ends and nobody waits                  is refused
//! ```
//! A queue that stands serves nobody better than a short one. So once the line has overflowed it is short, in calls,
//! not in time: who is served has waited for a few others, however long one of them computes, and the processors
//! always have a next one. Those who are refused would have been late anyway. (CoDel's standing queue, K. Nichols and
//! V. Jacobson, ACM Queue 10(5), 2012; adaptive LIFO, B. Maurer, "Fail at Scale", ACM Queue 13(8), 2015.) Some dozens
//! of clients that each wait for their answer never overflow the line, however slow the machine is: they are served in
//! turn and none is refused.
//!
//! Invariants: no more permits than `permits`; while somebody waits, all of them are held; nobody waits twice; what
//! waits is at most `waiting`. No clock: what it is told of time is how long a round took.

use std::collections::VecDeque;

/// In a spell so many times fewer may wait.
const SHORT: u32 = 8;

/// Bounds of a [`Line`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverloadLimits {
    /// Calls that begin at once: one for each processor.
    pub permits: u32,
    /// Calls that may wait before it is a spell; in one an eighth of it.
    pub waiting: u32,
    /// A round that takes longer makes the line guarded, microseconds.
    pub late_us: u64,
}

/// Calls that begin and calls that wait; `T` stands for one who waits.
#[derive(Debug)]
pub struct Line<T> {
    limits: OverloadLimits,
    held: u32,
    guarded: bool,
    /// From the oldest to the newest.
    waiting: VecDeque<(u64, T)>,
    ticket: u64,
    spell: bool,
}

impl<T> Line<T> {
    /// A calm line.
    #[must_use]
    pub const fn new(limits: OverloadLimits) -> Self {
        Self { limits, held: 0, guarded: false, waiting: VecDeque::new(), ticket: 0, spell: false }
    }

    /// Does a call need a permit?
    #[must_use]
    pub const fn is_guarded(&self) -> bool {
        self.guarded
    }

    /// Calls that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// A processor has been round everything that was ready, which took so long.
    pub fn round(&mut self, took_us: u64) {
        if took_us > self.limits.late_us {
            self.guarded = true;
        } else if self.waiting.is_empty() {
            self.guarded = false;
        }
    }

    /// A permit for a call that has just arrived, if it need not wait.
    #[must_use]
    pub fn begin(&mut self) -> bool {
        let free = self.waiting.is_empty() && self.held < self.limits.permits;
        self.held += u32::from(free);
        free
    }

    /// A call waits: its ticket, and who is refused because too many do, perhaps itself.
    pub fn wait(&mut self, who: T) -> (u64, Vec<T>) {
        self.ticket += 1;
        self.waiting.push_back((self.ticket, who));
        let most = usize::try_from(self.limits.waiting).unwrap_or(usize::MAX);
        self.spell |= self.waiting.len() > most;
        (self.ticket, self.shorten())
    }

    /// Who waits goes: it has waited too long (`late`), or its caller is gone. Nothing when it has been given a
    /// permit or refused before. Gives who is refused with it.
    pub fn give_up(&mut self, ticket: u64, late: bool) -> Vec<T> {
        let Some(at) = self.waiting.iter().position(|(other, _)| *other == ticket) else { return Vec::new() };
        self.waiting.remove(at);
        self.spell |= late;
        self.shorten()
    }

    /// A permit ends. Gives who gets it now.
    pub fn end(&mut self) -> Option<T> {
        let next = if self.spell { self.waiting.pop_back() } else { self.waiting.pop_front() };
        if next.is_none() {
            self.held = self.held.saturating_sub(1);
            self.spell = false;
        }
        next.map(|(_, who)| who)
    }

    /// In a spell, takes out who has waited longest until few wait.
    fn shorten(&mut self) -> Vec<T> {
        let few = usize::try_from(self.limits.waiting.div_ceil(SHORT)).unwrap_or(usize::MAX);
        let over = if self.spell { self.waiting.len().saturating_sub(few) } else { 0 };
        self.waiting.drain(..over).map(|(_, who)| who).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: OverloadLimits = OverloadLimits { permits: 1, waiting: 9, late_us: 5_000 };

    const NOBODY: [u32; 0] = [];

    /// With its permit given, and so many waiting: 1, 2, …
    fn line(waiting: u32) -> Line<u32> {
        let mut line = Line::new(LIMITS);
        assert!(line.begin());
        for who in 1..=waiting {
            assert_eq!(line.wait(who).1, NOBODY);
        }
        line
    }

    #[test]
    fn a_late_round_guards_and_only_a_prompt_one_with_nobody_waiting_ends_it() {
        let mut line = line(1);
        line.round(5_000);
        assert!(!line.is_guarded());
        line.round(5_001);
        assert!(line.is_guarded());
        line.round(10);
        assert!(line.is_guarded(), "somebody waits");
        assert_eq!(line.end(), Some(1));
        line.round(6_000);
        assert!(line.is_guarded(), "late again");
        line.round(10);
        assert!(!line.is_guarded());
    }

    #[test]
    fn while_it_does_not_overflow_the_first_is_served_first_and_nobody_overtakes() {
        let mut line = line(3);
        assert!(!line.begin());
        assert_eq!([line.end(), line.end(), line.end(), line.end()], [Some(1), Some(2), Some(3), None]);
        assert!(line.begin(), "all permits came back");
        assert!(!line.begin());
    }

    #[test]
    fn when_it_overflows_few_stay_and_the_newest_is_served_until_nobody_waits() {
        let mut line = line(9);
        assert_eq!(line.wait(10).1, [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(line.wait(11).1, [9], "an eighth of nine is two");
        assert_eq!((line.end(), line.end()), (Some(11), Some(10)));
        assert_eq!(line.wait(12).1, NOBODY);
        assert_eq!(line.wait(13).1, NOBODY);
        assert_eq!((line.end(), line.end(), line.end()), (Some(13), Some(12), None));
        assert!(line.begin());
        assert_eq!(
            (line.wait(14).1, line.wait(15).1, line.wait(16).1),
            (vec![], vec![], vec![]),
            "the spell is over"
        );
        assert_eq!(line.end(), Some(14));
    }

    #[test]
    fn who_waits_too_long_begins_a_spell_and_who_just_goes_does_not() {
        let mut line = line(3);
        let (ticket, _) = line.wait(4);
        assert_eq!(line.give_up(ticket, false), NOBODY);
        assert_eq!(line.give_up(ticket, true), NOBODY, "it had gone before it was late");
        assert_eq!(line.end(), Some(1));
        let (ticket, _) = line.wait(5);
        let _ = line.wait(6);
        assert_eq!(line.give_up(ticket, true), [2]);
        assert_eq!(line.end(), Some(6));
    }

    #[test]
    fn where_nobody_may_wait_the_newcomer_is_refused() {
        let mut line = Line::new(OverloadLimits { waiting: 0, ..LIMITS });
        assert!(line.begin() && !line.begin());
        assert_eq!(line.wait(1).1, [1]);
    }

    proptest! {
        /// However calls come, end and give up: the bounds hold, nobody is lost, and nobody waits beside a free permit.
        #[test]
        fn a_line_keeps_its_bounds_and_loses_nobody(
            events in proptest::collection::vec((0u8..4, any::<bool>(), any::<proptest::sample::Index>()), 0..300),
            permits in 1u32..4, waiting in 0u32..12,
        ) {
            let mut line = Line::new(OverloadLimits { permits, waiting, ..LIMITS });
            let (mut begun, mut waits) = (0u32, Vec::<usize>::new());
            for (number, (event, late, index)) in events.into_iter().enumerate() {
                let mut gone = Vec::new();
                match event {
                    0 | 1 if line.begin() => begun += 1,
                    0 | 1 => {
                        waits.push(number);
                        gone = line.wait(number).1;
                    }
                    2 if begun > 0 => match line.end() {
                        Some(next) => gone.push(next),
                        None => begun -= 1,
                    },
                    3 if !waits.is_empty() => {
                        let who = *index.get(&waits);
                        let ticket = line.waiting.iter().find(|(_, other)| *other == who).map(|(ticket, _)| *ticket);
                        gone = line.give_up(ticket.unwrap(), late);
                        gone.push(who);
                    }
                    _ => {}
                }
                for who in gone {
                    prop_assert!(waits.contains(&who));
                    waits.retain(|other| *other != who);
                }
                prop_assert!(line.waiting.iter().map(|(_, who)| *who).eq(waits.iter().copied()));
                prop_assert!(waits.len() <= waiting as usize && begun <= permits);
                prop_assert!(waits.is_empty() || begun == permits);
            }
        }
    }
}
