//! Seed 002's autonomous agent: a persistent actor for a drone's battery and its missions (`battery/drone-001`).
//!
//! | command | does |
//! |---|---|
//! | `report-level {level}` | the battery's level, percent, from its sensor |
//! | `start-drain {}`, `stop-drain {}` | the seed's simulation: each second 0.3 to 0.7 percent less, as an actor's timer |
//! | `start-mission {mission}` | planning, take-off, navigation, payload drop, return; each with a deadline |
//! | `abort-mission {}` | stops, and undoes what was done, the last step first |
//! | `flow {"done": {"step": "take-off"}}` | the autopilot's word on a step: `done`, `undone`, `failed` |
//! | `hello {}` | what the agent says after a restart: its recovered level |
//!
//! Queries: `level`, `mission`, `state`. The names of the seed's own messages (`StartMission`) are understood as well.
//!
//! Published, all on `agents.<id>.…`: `battery` (each level), `control` (what the autopilot shall do), `mission` (how a
//! mission ended). Configuration, all optional: `signing_seed` (64 hexadecimal digits: levels are then signed, Ed25519),
//! `reserve` (30, the percent that a mission wants), `critical` (20, below which it is aborted).
//!
//! What the seed's own code gets wrong, and this does not: a level is published after it is stored, from the same
//! commit (Z-013); what is stored is JSON, read by a parser that runs nothing (Z-014).

mod drain;
mod mission;
mod signature;
#[cfg(test)]
mod tests;

use mission::{Leg, Mission};
use trellis_guest::actor::flow::{self, End, Flow, Signal};
use trellis_guest::actor::{Actor, Decision, Effect, Outcome, Refusal, Turn, json};

/// One drone.
#[trellis_guest::state]
struct Agent {
    id: String,
    /// Percent.
    level: f64,
    draining: bool,
    /// What the mission under way is called, or the last one.
    mission: Option<String>,
    flow: Flow<Leg>,
}

#[trellis_guest::commands]
enum Command {
    ReportLevel {
        level: f64,
    },
    StartDrain,
    StopDrain,
    /// From the agent's own timer.
    Drain,
    #[serde(alias = "StartMission")]
    StartMission {
        #[serde(default)]
        mission: Option<String>,
    },
    #[serde(alias = "AbortMission")]
    AbortMission,
    Flow(Signal<Leg>),
    Hello,
}

#[trellis_guest::events]
enum Event {
    BatteryLevelChanged {
        agent_id: String,
        level: f64,
        delta: f64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signature: Option<String>,
    },
    DrainStarted,
    DrainStopped,
    MissionStarted {
        mission: String,
    },
    Flow(flow::Event<Leg>),
    MissionCompleted {
        mission: String,
    },
    MissionRollback {
        mission: String,
        reason: String,
    },
}

#[trellis_guest::commands]
enum Query {
    Level,
    Mission,
}

#[trellis_guest::actor]
impl Actor for Agent {
    type Command = Command;
    type Event = Event;
    type Query = Query;
    type Answer = trellis_guest::actor::Value;

    fn new(id: &str) -> Self {
        Self { id: id.to_owned(), level: 100.0, draining: false, mission: None, flow: Flow::default() }
    }

    fn decide(&self, turn: &Turn, command: Command) -> Outcome<Self> {
        match command {
            Command::ReportLevel { level } if !(0.0..=100.0).contains(&level) => {
                Err(Refusal::field("level", format!("{level} is outside of 0..=100")))
            }
            Command::ReportLevel { level } => self.changed(turn, level),
            Command::StartDrain if self.draining => Ok(Decision::nothing()),
            Command::StartDrain => Ok(Decision::event(Event::DrainStarted).effect(drain::timer(turn))),
            Command::StopDrain => Ok(Decision::event(Event::DrainStopped).cancel_timer(drain::TIMER)),
            Command::Drain => self.drain(turn),
            Command::StartMission { mission } => self.start(turn, mission),
            Command::AbortMission => {
                let decision =
                    self.signal(turn, Signal::Abort { reason: "aborted by command".to_owned() })?;
                turn.info("[Agent] Mission aborted!");
                Ok(decision)
            }
            Command::Flow(signal) => self.signal(turn, signal),
            Command::Hello => {
                turn.info(&format!("[Agent] Recovered battery level: {}%", self.level));
                Ok(Decision::nothing())
            }
        }
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::BatteryLevelChanged { level, .. } => self.level = level,
            Event::DrainStarted => self.draining = true,
            Event::DrainStopped => self.draining = false,
            Event::MissionStarted { mission } => self.mission = Some(mission),
            Event::Flow(event) => self.flow.apply(event),
            Event::MissionCompleted { .. } | Event::MissionRollback { .. } => {}
        }
    }

    fn query(&self, query: Query) -> Result<Self::Answer, Refusal> {
        Ok(match query {
            Query::Level => json!({ "agent_id": self.id, "level": self.level }),
            Query::Mission => {
                let run = self.flow.run();
                let step = run.and_then(flow::Run::step);
                let phase = run.map(|run| run.phase);
                json!({ "mission": self.mission, "step": step, "phase": phase, "ended": self.flow.ended() })
            }
        })
    }
}

impl Agent {
    /// A new level: stored, then published; the end of a mission that it is too low for.
    fn changed(&self, turn: &Turn, level: f64) -> Outcome<Self> {
        let critical: f64 = turn.setting("critical", 20.0)?;
        let (decision, body) = signature::signed(turn, &self.id, level, level - self.level)?;
        let decision = decision.publish(format!("agents.{}.battery", self.id), &body);
        if level >= critical || !mission::is_under_way(&self.flow) {
            return Ok(decision);
        }
        let reason = format!("battery at {level} percent");
        turn.warn(&format!("[Agent] Mission aborted! {reason}"));
        Ok(decision.with(self.signal(turn, Signal::Abort { reason })?))
    }

    fn drain(&self, turn: &Turn) -> Outcome<Self> {
        if !self.draining {
            return Ok(Decision::nothing());
        }
        let level = drain::next(self.level, turn);
        let decision = self.changed(turn, level)?;
        let empty = level <= 0.0;
        Ok(if empty { decision.and(Event::DrainStopped) } else { decision.effect(drain::timer(turn)) })
    }

    fn start(&self, turn: &Turn, mission: Option<String>) -> Outcome<Self> {
        let reserve: f64 = turn.setting("reserve", 30.0)?;
        if self.level < reserve {
            let message =
                format!("battery at {} percent (a mission wants {reserve}); charge first", self.level);
            return Err(Refusal::new("battery-low", message));
        }
        let mission = mission.unwrap_or_else(|| format!("mission-{}", turn.seq));
        let moves = self.flow.start(&Mission { agent: &self.id, mission: &mission }, mission::LEGS, turn)?;
        turn.info("[Agent] Mission started.");
        Ok(Decision::event(Event::MissionStarted { mission }).with(moves.decision(Event::Flow)))
    }

    fn signal(&self, turn: &Turn, signal: Signal<Leg>) -> Outcome<Self> {
        let mission = self.mission.clone().unwrap_or_default();
        let moves = self.flow.signal(&Mission { agent: &self.id, mission: &mission }, signal, turn)?;
        let ended = match moves.end() {
            None => return Ok(moves.decision(Event::Flow)),
            Some(End::Completed) => Event::MissionCompleted { mission: mission.clone() },
            Some(End::RolledBack { reason }) => {
                Event::MissionRollback { mission: mission.clone(), reason: reason.clone() }
            }
        };
        // The funnel: of all that happens, how a mission ended is for the whole fleet to know.
        let told = match &ended {
            Event::MissionRollback { reason, .. } => {
                json!({ "event": "MissionRollback", "mission": mission, "reason": reason })
            }
            _ => json!({ "event": "MissionCompleted", "mission": mission }),
        };
        let funnel = Effect::publish(format!("agents.{}.mission", self.id), &told);
        Ok(moves.decision(Event::Flow).and(ended).effect(funnel))
    }
}
