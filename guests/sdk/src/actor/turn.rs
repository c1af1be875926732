//! What a decision may know beyond state and command.

use std::cell::Cell;
use std::str::FromStr;
use std::time::Duration;

use super::Refusal;
use crate::log::{self, Level};

/// One turn. The same command of the same turn sees the same values on every attempt, so that a decision that uses
/// no other clock and no other dice is the same too.
#[derive(Debug)]
pub struct Turn {
    /// Milliseconds since 1970. Never goes back from one turn of an actor to its next.
    pub now_ms: u64,
    /// The place of the commit that this turn would make in the actor's history, from 1.
    pub seq: u64,
    /// Differs from turn to turn.
    pub seed: u64,
    /// Which command this is: a UUID, `kind/id#n` from an actor, `timer name@ms`, `answer seq.index`.
    pub command_id: String,
    /// The actor that sent it (`kind/id`); none from outside, from a timer, for an answer.
    pub sender: Option<String>,
    pub(crate) host: Host,
    pub(crate) drawn: Cell<u64>,
}

/// Who answers what a turn asks.
#[derive(Debug)]
pub(crate) enum Host {
    /// The host of the component.
    Real,
    /// A test: settings, and the lines that were logged.
    #[cfg(not(target_arch = "wasm32"))]
    Kit {
        settings: std::collections::BTreeMap<String, String>,
        lines: std::cell::RefCell<Vec<(Level, String)>>,
    },
}

impl Turn {
    /// So long after now, milliseconds since 1970.
    pub fn after(&self, wait: Duration) -> u64 {
        self.now_ms.saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
    }

    /// The next random number of this turn (SplitMix64 from the seed). Not for secrets.
    pub fn random(&self) -> u64 {
        self.drawn.set(self.drawn.get().wrapping_add(1));
        let mut mixed = self.seed.wrapping_add(self.drawn.get().wrapping_mul(0x9e37_79b9_7f4a_7c15));
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A random number below `bound`; 0 when there is none below it.
    pub fn random_below(&self, bound: u64) -> u64 {
        let scaled = u128::from(self.random()).wrapping_mul(u128::from(bound)) >> 64;
        u64::try_from(scaled).unwrap_or_default()
    }

    /// Of which call this is the answer: the place of the commit that called, and the how-manyth effect of it.
    pub fn answers(&self) -> Option<(u64, u32)> {
        let (seq, index) = self.command_id.strip_prefix("answer ")?.split_once('.')?;
        Some((seq.parse().ok()?, index.parse().ok()?))
    }

    /// Which timer fired this, and when it was due (milliseconds since 1970).
    pub fn fired(&self) -> Option<(&str, u64)> {
        let (name, due) = self.command_id.strip_prefix("timer ")?.rsplit_once('@')?;
        Some((name, due.parse().ok()?))
    }

    /// The actor's configuration: the value under `key` as a `T`, or `default` where there is none. It may change
    /// between turns, so what was decided with it belongs into the event.
    ///
    /// # Errors
    /// `bad-setting`: the value is there and is no `T`, or the host cannot tell.
    pub fn setting<T: FromStr>(&self, key: &str, default: T) -> Result<T, Refusal> {
        let read = match &self.host {
            Host::Real => crate::config::get_or(key, default),
            #[cfg(not(target_arch = "wasm32"))]
            Host::Kit { settings, .. } => {
                let settings: crate::config::Settings = settings.clone().into_iter().collect();
                settings.get_or(key, default)
            }
        };
        read.map_err(|error| Refusal::new("bad-setting", error.to_string()))
    }

    /// Writes a line to the host's log. It is written while the command is decided, so never again in a replay; a
    /// command that is decided twice, as after a lost lease, may log twice.
    pub fn log(&self, level: Level, line: &str) {
        match &self.host {
            Host::Real => log::write(level, "actor", line),
            #[cfg(not(target_arch = "wasm32"))]
            Host::Kit { lines, .. } => lines.borrow_mut().push((level, line.to_owned())),
        }
    }

    /// [`Turn::log`] at level info.
    pub fn info(&self, line: &str) {
        self.log(Level::Info, line);
    }

    /// [`Turn::log`] at level warn.
    pub fn warn(&self, line: &str) {
        self.log(Level::Warn, line);
    }
}
