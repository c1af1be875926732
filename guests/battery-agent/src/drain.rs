//! The seed's simulated battery, as a timer of the actor's own: it goes on after a kill, where it was.

use std::time::Duration;

use trellis_guest::actor::{Effect, Turn};

use crate::Command;

/// Its name.
pub(crate) const TIMER: &str = "drain";

/// The next second.
pub(crate) fn timer(turn: &Turn) -> Effect {
    Effect::timer(TIMER, turn.after(Duration::from_secs(1)), &Command::Drain)
}

/// The level a second later: 0.3 to 0.7 percent less, to the hundredth, and never below nothing. The dice are those of
/// the turn, so it is the same on every attempt; the event carries the result, so it is the same in every replay.
pub(crate) fn next(level: f64, turn: &Turn) -> f64 {
    let hundredths = u32::try_from(turn.random_below(41)).unwrap_or_default();
    let less = 0.3 + f64::from(hundredths) / 100.0;
    ((level - less).max(0.0) * 100.0).round() / 100.0
}
