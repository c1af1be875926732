//! Seed 001's smart factory: a persistent actor for each machine's temperature (`temperature/machine-01`). Every reading
//! is stored; one above the threshold is an alarm, and turns the cooling on.
//!
//! | command | does |
//! |---|---|
//! | `record-temperature {deviceId, value, timestamp}` | stores a reading; above the threshold, an alarm behind it |
//! | `trigger-alarm {deviceId, reason}` | an alarm that somebody else has judged, as a stream processor would |
//! | `forget-device {}` | the machine's data counts as deleted; its next reading is its first |
//!
//! Queries: `latest`, `state`. Configuration, all optional: `threshold` (80), `actuator_subject`
//! (`actuator-commands`), `readings_subject` (none: readings are not published).
//!
//! What the seed's own code gets wrong, and this does not: an alarm has the time of its reading, not of the clock
//! (Z-009); logging and cooling are decided once and never in a replay (Z-010); reading and alarm are one commit, in
//! that order (Z-011).

#[cfg(test)]
mod tests;

use trellis_guest::actor::{Actor, Decision, Effect, Outcome, Refusal, Turn, json};

/// What absolute zero and a furnace allow, °C.
const POSSIBLE: std::ops::RangeInclusive<f64> = -273.15..=5_000.0;
/// How far a machine's clock may be ahead, milliseconds.
const AHEAD_MS: u64 = 5 * 60 * 1_000;

/// One machine.
#[trellis_guest::state]
#[derive(Default)]
struct Machine {
    id: String,
    latest: Option<Reading>,
    readings: u64,
    alarms: u64,
}

/// A temperature, and when it was measured.
#[trellis_guest::state]
#[derive(Copy)]
struct Reading {
    /// °C.
    value: f64,
    /// Milliseconds since 1970, by the machine.
    timestamp: u64,
}

#[trellis_guest::commands]
#[serde(rename_all_fields = "camelCase")]
enum Command {
    RecordTemperature {
        #[serde(alias = "DeviceId")]
        device_id: String,
        #[serde(alias = "Value")]
        value: f64,
        #[serde(alias = "Timestamp")]
        timestamp: u64,
    },
    TriggerAlarm {
        #[serde(alias = "DeviceId")]
        device_id: String,
        #[serde(alias = "Reason")]
        reason: String,
    },
    ForgetDevice,
}

#[trellis_guest::events]
#[serde(rename_all_fields = "camelCase")]
enum Event {
    TemperatureRecorded { device_id: String, value: f64, timestamp: u64 },
    AlarmTriggered { device_id: String, reason: String, timestamp: u64 },
    DeviceForgotten { device_id: String },
}

#[trellis_guest::commands]
enum Query {
    Latest,
}

/// What the sender of a command is told.
#[trellis_guest::state]
struct Told {
    alarm: bool,
}

#[trellis_guest::actor]
impl Actor for Machine {
    type Command = Command;
    type Event = Event;
    type Reply = Told;
    type Query = Query;
    type Answer = Option<Reading>;

    fn new(id: &str) -> Self {
        Self { id: id.to_owned(), ..Self::default() }
    }

    fn decide(&self, turn: &Turn, command: Command) -> Outcome<Self> {
        match command {
            Command::RecordTemperature { device_id, value, timestamp } => {
                self.is_mine(&device_id)?;
                self.record(turn, Reading { value, timestamp })
            }
            Command::TriggerAlarm { device_id, reason } => {
                self.is_mine(&device_id)?;
                let none = || Refusal::new("no-reading", format!("{}: an alarm before any reading", self.id));
                let latest = self.latest.ok_or_else(none)?;
                self.alarm(turn, reason, latest.timestamp)
            }
            Command::ForgetDevice => {
                // The snapshot takes the place of the history, which may then go.
                let forgotten = Event::DeviceForgotten { device_id: self.id.clone() };
                Ok(Decision::event(forgotten).snapshot().reply(Told { alarm: false }))
            }
        }
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::TemperatureRecorded { value, timestamp, .. } => {
                self.readings += 1;
                if self.latest.is_none_or(|latest| timestamp >= latest.timestamp) {
                    self.latest = Some(Reading { value, timestamp });
                }
            }
            Event::AlarmTriggered { .. } => self.alarms += 1,
            Event::DeviceForgotten { device_id } => *self = Self::new(&device_id),
        }
    }

    fn query(&self, Query::Latest: Query) -> Result<Option<Reading>, Refusal> {
        Ok(self.latest)
    }
}

impl Machine {
    fn is_mine(&self, device_id: &str) -> Result<(), Refusal> {
        if device_id == self.id {
            return Ok(());
        }
        Err(Refusal::field(
            "deviceId",
            format!("{device_id:?} is not {:?}; send it to its own actor", self.id),
        ))
    }

    fn record(&self, turn: &Turn, reading: Reading) -> Outcome<Self> {
        let Reading { value, timestamp } = reading;
        if !POSSIBLE.contains(&value) {
            return Err(Refusal::field("value", format!("{value} °C is outside of {POSSIBLE:?}")));
        }
        if timestamp > turn.now_ms.saturating_add(AHEAD_MS) {
            let ahead = timestamp - turn.now_ms;
            return Err(Refusal::field(
                "timestamp",
                format!("{ahead} ms ahead of now; set the machine's clock"),
            ));
        }
        let threshold: f64 = turn.setting("threshold", 80.0)?;
        let readings_subject: String = turn.setting("readings_subject", String::new())?;
        let reason = (value > threshold).then(|| format!("Temp {value:.1} > {threshold}"));
        match self.latest {
            Some(latest) if timestamp < latest.timestamp => {
                turn.info(&format!("[Actor] Late temp {value} at {timestamp}, after {}", latest.timestamp));
            }
            _ => turn.info(&format!("[Actor] Updated temp to {value} at {timestamp}")),
        }
        let device_id = self.id.clone();
        let mut decision = Decision::event(Event::TemperatureRecorded { device_id, value, timestamp });
        if !readings_subject.is_empty() {
            let body = json!({ "deviceId": self.id, "value": value, "timestamp": timestamp });
            decision = decision.effect(Effect::publish(readings_subject, &body));
        }
        match reason {
            None => Ok(decision.reply(Told { alarm: false })),
            Some(reason) => Ok(decision.with(self.alarm(turn, reason, timestamp)?)),
        }
    }

    fn alarm(&self, turn: &Turn, reason: String, timestamp: u64) -> Outcome<Self> {
        let subject: String = turn.setting("actuator_subject", "actuator-commands".to_owned())?;
        turn.warn(&format!("[Actor] Alarm! {reason}"));
        let device_id = &self.id;
        let cooling = json!({
            "command": "TURN_ON_COOLING", "deviceId": device_id, "reason": reason, "timestamp": timestamp,
        });
        let alarm = Event::AlarmTriggered { device_id: device_id.clone(), reason, timestamp };
        Ok(Decision::event(alarm).publish(subject, &cooling).reply(Told { alarm: true }))
    }
}
