//! Nothing happens but noise: a long way, lost messages, hosts that stand still for a moment, clocks
//! that jump. Then nothing moves: whoever is late is not lost.

use super::{Event, World};
use crate::faults::Fault;
use crate::{Failure, Sizes};
use lattice_ctl_planner::observed::Profile;
use lattice_protocol::LatticeName;

/// What disturbs a lattice in which all is well.
#[derive(Debug, Clone, Copy)]
pub struct Noise {
    /// When silence counts.
    pub profile: Profile,
    /// Round trip, milliseconds; each way takes between two and three fifths of it.
    pub round_trip_ms: u64,
    /// Of a thousand messages, how many are lost, and as many doubled.
    pub lost: u64,
    /// Each host stands still so long, milliseconds, once in ten seconds.
    pub freeze_ms: u64,
    /// How long all this lasts, milliseconds.
    pub for_ms: u64,
}

/// Time for the first decisions, and for what they move to even out, milliseconds.
const SETTLING_MS: u64 = 60_000;
/// Time between two times that a host stands still.
const FREEZES_EVERY_MS: u64 = 10_000;

/// Runs one world of noise. How many decisions came into force once all was settled: none is right.
///
/// # Errors
/// A law that was broken, as everywhere.
pub fn steady(seed: u64, sizes: &Sizes, noise: &Noise) -> Result<u64, Box<Failure>> {
    let broken = |at_ms, what, trace| Box::new(Failure { seed, at_ms, what, trace });
    let lattice = "sim".parse::<LatticeName>().map_err(|error| broken(0, format!("{error}"), Vec::new()))?;
    let mut world = World::new(seed, sizes, (lattice, noise.profile));
    world.disturb(noise);
    world.go_until(SETTLING_MS).map_err(|what| broken(world.now_ms, what, world.trace.tail()))?;
    let settled = world.decisions;
    let end = SETTLING_MS + noise.for_ms;
    world.go_until(end).map_err(|what| broken(world.now_ms, what, world.trace.tail()))?;
    Ok(world.decisions - settled)
}

impl World {
    fn disturb(&mut self, noise: &Noise) {
        (self.lost, self.freeze_ms) = (noise.lost, noise.freeze_ms);
        self.least_ms = (noise.round_trip_ms * 2 / 5).max(1);
        self.delay_ms = (noise.round_trip_ms * 3 / 5).max(self.least_ms);
        for minute in 0..(SETTLING_MS + noise.for_ms) / 60_000 {
            for host in 0..self.hosts.len() {
                let by = i64::try_from(self.random.below(7_200_000)).unwrap_or(0) - 3_600_000;
                let at = minute * 60_000 + self.random.below(60_000);
                self.at(at, Event::Fault(Fault::ClockJump(host, by)));
            }
        }
    }

    fn go_until(&mut self, end_ms: u64) -> Result<(), String> {
        while self.events.first_key_value().is_some_and(|((at, _), _)| *at <= end_ms) {
            let Some(((at, _), event)) = self.events.pop_first() else { return Ok(()) };
            self.now_ms = at;
            self.happen(event)?;
        }
        Ok(())
    }

    /// For how long a host still stands still; it begins to, now and then.
    pub(super) fn frozen(&mut self, host: usize) -> u64 {
        if self.freeze_ms == 0 {
            return 0;
        }
        let until = self.frozen_ms.get(&host).copied().unwrap_or(0);
        if until > self.now_ms {
            return until - self.now_ms;
        }
        // The last time is over for long enough: it is time again, at the worst of moments, just
        // before it would have said something.
        if self.now_ms >= until + FREEZES_EVERY_MS - self.freeze_ms {
            self.frozen_ms.insert(host, self.now_ms + self.freeze_ms);
            return self.freeze_ms;
        }
        0
    }
}
