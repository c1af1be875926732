//! How fast things may move. A plan is made from one moment; this remembers, between plans, how
//! much has moved lately, and says how much the next may move ([`Allowance`]).
//!
//! Fail-overs draw from a bucket that refills steadily, so one host's actors move at once and a
//! region's do not fall on the rest as a herd; most important actors go first because plans fill in
//! that order. Rebalancing has a pulse: one replica, then a pause. Parting a kind of persistent actors does not wait
//! for it: a host runs a kind once, so nothing stops where a second replica goes from.
//!
//! Pure: time comes in. Losing it (a controller that restarts) costs one full bucket.

use crate::plan::Allowance;

/// The bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Replicas that may fail over at once.
    pub failovers_at_once: u32,
    /// Replicas that may fail over each second after that. 0 and 0: no automatic fail-over.
    pub failovers_per_s: u32,
    /// Less important replicas that may give way in one plan.
    pub evictions: u32,
    /// Milliseconds between two replicas that move to emptier hosts; `None`: never.
    pub move_every_ms: Option<u64>,
    /// Replicas of persistent kinds that one plan may take from hosts that count for several.
    pub parts: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            failovers_at_once: 500,
            failovers_per_s: 250,
            evictions: 64,
            move_every_ms: Some(30_000),
            parts: 64,
        }
    }
}

/// What has moved lately.
#[derive(Debug, Clone)]
pub struct Pacer {
    pace: Pace,
    /// Fail-overs that are left, in thousandths.
    left_milli: u64,
    at_ms: u64,
    moved_ms: u64,
    failovers: u64,
}

impl Pacer {
    /// Begins now, with a full bucket; the first replica to rebalance waits a whole pause.
    #[must_use]
    pub fn new(pace: Pace, now_ms: u64) -> Self {
        let left_milli = u64::from(pace.failovers_at_once) * 1_000;
        Self { pace, left_milli, at_ms: now_ms, moved_ms: now_ms, failovers: 0 }
    }

    /// What a plan made now may move.
    pub fn allowance(&mut self, now_ms: u64) -> Allowance {
        let elapsed = now_ms.saturating_sub(self.at_ms);
        // Thousandths per millisecond are units per second.
        let refill = elapsed.saturating_mul(self.pace.failovers_per_s.into());
        let full = u64::from(self.pace.failovers_at_once) * 1_000;
        self.left_milli = self.left_milli.saturating_add(refill).min(full);
        self.at_ms = self.at_ms.max(now_ms);
        let may_move =
            self.pace.move_every_ms.is_some_and(|pause| now_ms.saturating_sub(self.moved_ms) >= pause);
        Allowance {
            failovers: u32::try_from(self.left_milli / 1_000).unwrap_or(u32::MAX),
            evictions: self.pace.evictions,
            moves: u32::from(may_move),
            parts: self.pace.parts,
        }
    }

    /// A plan that moved this much was carried out.
    pub fn spend(&mut self, moved: &Allowance, now_ms: u64) {
        self.left_milli = self.left_milli.saturating_sub(u64::from(moved.failovers) * 1_000);
        self.failovers = self.failovers.saturating_add(moved.failovers.into());
        if moved.moves > 0 {
            self.moved_ms = now_ms;
        }
    }

    /// Replicas that have failed over so far: seed 004's `Total failovers`.
    #[must_use]
    pub fn failovers(&self) -> u64 {
        self.failovers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_goes_at_once_and_the_rest_at_a_steady_rate() {
        let pace = Pace { failovers_at_once: 10, failovers_per_s: 5, ..Pace::default() };
        let mut pacer = Pacer::new(pace, 1_000);
        assert_eq!(pacer.allowance(1_000).failovers, 10);
        pacer.spend(&Allowance { failovers: 10, ..Allowance::NOTHING }, 1_000);
        assert_eq!(pacer.allowance(1_000).failovers, 0);
        assert_eq!(pacer.allowance(1_199).failovers, 0);
        assert_eq!(pacer.allowance(1_200).failovers, 1, "what is refilled in small steps adds up");
        assert_eq!(pacer.allowance(61_000).failovers, 10, "never more than the bucket holds");
        assert_eq!(pacer.allowance(500).failovers, 10, "a clock that goes back gives nothing");
        assert_eq!(pacer.failovers(), 10);
    }

    #[test]
    fn rebalancing_pauses_after_each_move() {
        let mut pacer = Pacer::new(Pace::default(), 0);
        assert_eq!(pacer.allowance(29_999).moves, 0);
        assert_eq!(pacer.allowance(30_000).moves, 1);
        pacer.spend(&Allowance { moves: 1, ..Allowance::NOTHING }, 30_000);
        assert_eq!(pacer.allowance(59_999).moves, 0);
        let never = Pace { move_every_ms: None, ..Pace::default() };
        assert_eq!(Pacer::new(never, 0).allowance(u64::MAX).moves, 0);
    }

    #[test]
    fn automatic_failover_can_be_switched_off() {
        let off = Pace { failovers_at_once: 0, failovers_per_s: 0, ..Pace::default() };
        assert_eq!(Pacer::new(off, 0).allowance(1_000_000).failovers, 0);
    }
}
