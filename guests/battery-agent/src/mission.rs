//! A delivery as a flow: what each step asks of the autopilot, and what undoes it.

use std::time::Duration;

use trellis_guest::actor::flow::{Act, Flow, Phase, Policy, Saga, Signal};
use trellis_guest::actor::{Effect, Turn, json};

use crate::Command;

/// The steps, as seed 002 has them.
#[trellis_guest::state]
#[derive(Copy, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Leg {
    MissionPlanning,
    TakeOff,
    Navigation,
    PayloadDrop,
    ReturnToBase,
}

/// In their order.
pub(crate) const LEGS: [Leg; 5] =
    [Leg::MissionPlanning, Leg::TakeOff, Leg::Navigation, Leg::PayloadDrop, Leg::ReturnToBase];

/// One mission of one drone.
pub(crate) struct Mission<'a> {
    pub(crate) agent: &'a str,
    pub(crate) mission: &'a str,
}

/// Is there something to abort? A mission that is being undone is aborted already.
pub(crate) fn is_under_way(flow: &Flow<Leg>) -> bool {
    flow.run().is_some_and(|run| matches!(run.phase, Phase::Acting | Phase::Resting))
}

impl Mission<'_> {
    fn control(&self, what: &str, leg: Leg) -> Effect {
        let body = json!({ "mission": self.mission, "do": what, "step": leg });
        Effect::publish(format!("agents.{}.control", self.agent), &body)
    }
}

impl Saga for Mission<'_> {
    type Step = Leg;
    type Command = Command;

    fn act(&self, leg: Leg, _: &Turn) -> Act {
        let what = match leg {
            Leg::MissionPlanning => "plan",
            Leg::TakeOff => "take-off",
            Leg::Navigation => "fly-to-target",
            Leg::PayloadDrop => "drop",
            Leg::ReturnToBase => "return",
        };
        Act::wait().effect(self.control(what, leg))
    }

    fn undo(&self, leg: Leg, _: &Turn) -> Act {
        match leg {
            // A plan is dropped by forgetting it; what was dropped stays where it is.
            Leg::MissionPlanning | Leg::PayloadDrop => Act::done(),
            Leg::TakeOff => Act::wait().effect(self.control("land", leg)),
            Leg::Navigation | Leg::ReturnToBase => Act::wait().effect(self.control("fly-to-base", leg)),
        }
    }

    fn policy(&self, leg: Leg) -> Policy {
        let (deadline, retries) = match leg {
            Leg::MissionPlanning => (10, 2),
            Leg::TakeOff => (30, 2),
            // Twice would be one parcel too many.
            Leg::PayloadDrop => (30, 0),
            Leg::Navigation | Leg::ReturnToBase => (600, 1),
        };
        Policy { deadline: Duration::from_secs(deadline), retries, pause: Duration::from_secs(2) }
    }

    fn signal(&self, signal: Signal<Leg>) -> Command {
        Command::Flow(signal)
    }
}
