//! Seed 001's smart grid: a persistent actor for each substation's load (`substation/s-17`). It stores voltage, current
//! and breaker, averages the power of the last five seconds by the meters' own time, and sheds load while that is over
//! the limit.
//!
//! | command | does |
//! |---|---|
//! | `measure {voltage, current, breaker, timestamp}` | stores a measurement; may shed or restore |
//! | `set-limit {limitKw}` | from now on |
//!
//! Queries: `load`, `state`. Configuration, all optional: `grid` (none), the actor that is told of every change
//! (`grid/north`).
//!
//! Load comes back when the average is below nine tenths of the limit, so that it does not flutter. Measurements may
//! come late and out of order: within the window they count where they belong, and older ones are stored and change
//! nothing (Z-012: no window without event time).

#[cfg(test)]
mod tests;
mod window;

use trellis_guest::actor::{Actor, Decision, Outcome, RawCommand, Refusal, Turn, json};
use window::Window;

/// Unless `set-limit` says otherwise, kW.
const LIMIT_KW: f64 = 1_000.0;
/// Load comes back below this part of the limit.
const RESTORE: f64 = 0.9;
/// How far a meter's clock may be ahead, milliseconds.
const AHEAD_MS: u64 = 10_000;

/// One substation.
#[trellis_guest::state]
struct Substation {
    id: String,
    limit_kw: f64,
    window: Window,
    breaker: Breaker,
    shedding: bool,
}

/// Does the breaker let power through?
#[trellis_guest::state]
#[derive(Copy, Eq)]
#[serde(rename_all = "kebab-case")]
enum Breaker {
    Closed,
    Open,
}

#[trellis_guest::commands]
#[serde(rename_all_fields = "camelCase")]
enum Command {
    Measure { voltage: f64, current: f64, breaker: Breaker, timestamp: u64 },
    SetLimit { limit_kw: f64 },
}

#[trellis_guest::events]
#[serde(rename_all_fields = "camelCase")]
enum Event {
    Measured {
        /// Volts.
        voltage: f64,
        /// Amperes.
        current: f64,
        breaker: Breaker,
        /// Milliseconds since 1970, by the meter.
        timestamp: u64,
    },
    LimitSet {
        limit_kw: f64,
    },
    LoadShed {
        average_kw: f64,
        limit_kw: f64,
        /// How much of the load must go to get down to the limit.
        percent: u8,
        timestamp: u64,
    },
    LoadRestored {
        average_kw: f64,
        timestamp: u64,
    },
}

#[trellis_guest::commands]
enum Query {
    Load,
}

/// The load, as a query or a command's sender is told it.
#[trellis_guest::state]
#[serde(rename_all = "camelCase")]
struct Load {
    average_kw: f64,
    limit_kw: f64,
    shedding: bool,
    breaker: Breaker,
}

#[trellis_guest::actor]
impl Actor for Substation {
    type Command = Command;
    type Event = Event;
    type Reply = Load;
    type Query = Query;
    type Answer = Load;

    fn new(id: &str) -> Self {
        let (window, breaker) = (Window::default(), Breaker::Closed);
        Self { id: id.to_owned(), limit_kw: LIMIT_KW, window, breaker, shedding: false }
    }

    fn decide(&self, turn: &Turn, command: Command) -> Outcome<Self> {
        let event = match command {
            Command::Measure { voltage, current, breaker, timestamp } => {
                in_range("voltage", voltage, 1_000_000.0)?;
                in_range("current", current, 100_000.0)?;
                if timestamp > turn.now_ms.saturating_add(AHEAD_MS) {
                    let ahead = timestamp - turn.now_ms;
                    return Err(Refusal::field(
                        "timestamp",
                        format!("{ahead} ms ahead of now; set the meter's clock"),
                    ));
                }
                Event::Measured { voltage, current, breaker, timestamp }
            }
            Command::SetLimit { limit_kw } => {
                in_range("limitKw", limit_kw, 10_000_000.0)?;
                Event::LimitSet { limit_kw }
            }
        };
        let mut after = self.clone();
        after.apply(event.clone());
        let decision = Decision::event(event);
        match after.judge() {
            None => Ok(decision.reply(after.load())),
            Some(change) => {
                after.apply(change.clone());
                let told = after.tell(turn, &change)?;
                Ok(decision.and(change).with(told).reply(after.load()))
            }
        }
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Measured { voltage, current, breaker, timestamp } => {
                if self.window.latest().is_none_or(|latest| timestamp >= latest) {
                    self.breaker = breaker;
                }
                let power_kw = if breaker == Breaker::Closed { voltage * current / 1_000.0 } else { 0.0 };
                self.window.add(timestamp, power_kw);
            }
            Event::LimitSet { limit_kw } => self.limit_kw = limit_kw,
            Event::LoadShed { .. } => self.shedding = true,
            Event::LoadRestored { .. } => self.shedding = false,
        }
    }

    fn query(&self, Query::Load: Query) -> Result<Load, Refusal> {
        Ok(self.load())
    }
}

impl Substation {
    fn load(&self) -> Load {
        let Self { limit_kw, shedding, breaker, .. } = *self;
        Load { average_kw: self.window.average().unwrap_or_default(), limit_kw, shedding, breaker }
    }

    /// What must change now, if anything.
    fn judge(&self) -> Option<Event> {
        let (average_kw, timestamp) = (self.window.average()?, self.window.latest()?);
        let limit_kw = self.limit_kw;
        if !self.shedding && average_kw > limit_kw {
            let part = (average_kw - limit_kw) / average_kw * 100.0;
            // Above 0 and at most 100, as the average is above the limit and the limit is not below 0.
            let percent = (1..100).find(|percent| f64::from(*percent) >= part).unwrap_or(100);
            return Some(Event::LoadShed { average_kw, limit_kw, percent, timestamp });
        }
        let restored = self.shedding && average_kw < limit_kw * RESTORE;
        restored.then_some(Event::LoadRestored { average_kw, timestamp })
    }

    /// Says so to the switches, and to the grid's own actor.
    fn tell(&self, turn: &Turn, change: &Event) -> Outcome<Self> {
        let grid: String = turn.setting("grid", String::new())?;
        let command = match change {
            Event::LoadShed { average_kw, limit_kw, percent, timestamp } => {
                turn.warn(&format!(
                    "[Substation {}] {average_kw:.1} kW > {limit_kw}: sheds {percent} %",
                    self.id
                ));
                json!({ "command": "SHED_LOAD", "percent": percent, "timestamp": timestamp })
            }
            _ => {
                turn.info(&format!("[Substation {}] load restored", self.id));
                json!({ "command": "RESTORE_LOAD" })
            }
        };
        let decision = Decision::nothing().publish(format!("grid.{}.switch", self.id), &command);
        if grid.is_empty() {
            return Ok(decision);
        }
        let load = self.load();
        let report = json!({ "averageKw": load.average_kw, "shedding": load.shedding });
        let report =
            RawCommand::json("report", &report).map_err(|reason| Refusal::new("actor-fault", reason))?;
        Ok(decision.send(grid, &report))
    }
}

fn in_range(field: &str, value: f64, most: f64) -> Result<(), Refusal> {
    if (0.0..=most).contains(&value) {
        return Ok(());
    }
    Err(Refusal::field(field, format!("{value} is outside of 0..={most}")))
}
