//! A delivery as a mission: a slot is reserved by a call, the drone reports its steps itself, a note is made at once.

use super::*;
use crate::actor::kit::{Given, START_MS};
use crate::actor::{Actor, Answer, Outcome, RawCommand};

#[trellis_guest_macros::state]
#[derive(Copy, Eq)]
#[serde(rename_all = "kebab-case")]
enum Leg {
    Reserve,
    Note,
    TakeOff,
    Deliver,
}

#[trellis_guest_macros::state]
#[derive(Default)]
struct Drone {
    flow: Flow<Leg>,
    ended: Option<String>,
}

#[trellis_guest_macros::commands]
enum Command {
    Start { legs: Vec<Leg> },
    Flow(Signal<Leg>),
    Reserved(Answer<u64>),
}

#[trellis_guest_macros::events]
enum Happened {
    Flow(Event<Leg>),
    Ended { how: String },
}

struct Route;

impl Saga for Route {
    type Step = Leg;
    type Command = Command;

    fn act(&self, step: Leg, _: &Turn) -> Act {
        match step {
            Leg::Reserve => Act::wait().effect(Effect::call("air:space/slots.reserve", &["a"], "reserved")),
            Leg::Note => Act::done().effect(Effect::publish("notes", "started")),
            Leg::TakeOff | Leg::Deliver => Act::wait().effect(Effect::publish("drone.do", &step)),
        }
    }

    fn undo(&self, step: Leg, _: &Turn) -> Act {
        match step {
            Leg::Reserve | Leg::Note => Act::done().effect(Effect::publish("undone", &step)),
            Leg::TakeOff | Leg::Deliver => Act::wait().effect(Effect::publish("drone.undo", &step)),
        }
    }

    fn policy(&self, step: Leg) -> Policy {
        let retries = if step == Leg::Deliver { 0 } else { 1 };
        Policy { deadline: Duration::from_secs(10), retries, pause: Duration::from_secs(2) }
    }

    fn signal(&self, signal: Signal<Leg>) -> Command {
        Command::Flow(signal)
    }
}

#[trellis_guest_macros::actor(export = false)]
impl Actor for Drone {
    type Command = Command;
    type Event = Happened;

    fn decide(&self, turn: &Turn, command: Command) -> Outcome<Self> {
        let moves = match command {
            Command::Start { legs } => self.flow.start(&Route, legs, turn)?,
            Command::Flow(signal) => self.flow.signal(&Route, signal, turn)?,
            Command::Reserved(answer) => {
                let outcome = answer.into_result().map(drop).map_err(Failure::from);
                self.flow.answer(&Route, outcome, turn)
            }
        };
        let end = moves.end().map(|end| Happened::Ended { how: format!("{end:?}") });
        let decision = moves.decision(Happened::Flow);
        Ok(match end {
            Some(end) => decision.and(end),
            None => decision,
        })
    }

    fn apply(&mut self, event: Happened) {
        match event {
            Happened::Flow(event) => self.flow.apply(event),
            Happened::Ended { how } => self.ended = Some(how),
        }
    }
}

const ALL: [Leg; 4] = [Leg::Reserve, Leg::Note, Leg::TakeOff, Leg::Deliver];

fn done(step: Leg) -> Command {
    Command::Flow(Signal::Done { step })
}

fn undone(step: Leg) -> Command {
    Command::Flow(Signal::Undone { step })
}

fn timer(due_s: u64, signal: Signal<Leg>) -> Effect {
    Effect::timer("flow", START_MS + due_s * 1_000, &Command::Flow(signal))
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn at(drone: &Drone) -> (Option<Leg>, Option<Phase>) {
    let run = drone.flow.run();
    (run.and_then(Run::step), run.map(|run| run.phase))
}

fn started() -> Given<Drone> {
    Given::<Drone>::nothing().when(Command::Start { legs: ALL.to_vec() })
}

/// Taken off, and asked to deliver.
fn delivering() -> Given<Drone> {
    started().answered(&7u64).when(done(Leg::TakeOff))
}

#[test]
fn a_mission_goes_step_by_step_to_its_end() {
    started()
        .then_events([
            Happened::Flow(Event::Started { steps: ALL.to_vec() }),
            Happened::Flow(Event::Acting { step: Leg::Reserve, attempt: 1, seq: 1 }),
        ])
        .then_effects([
            Effect::call("air:space/slots.reserve", &["a"], "reserved"),
            timer(10, Signal::Late { step: Leg::Reserve, attempt: 1 }),
        ])
        .answered(&7u64)
        .then_events([
            Happened::Flow(Event::Done { step: Leg::Reserve }),
            Happened::Flow(Event::Acting { step: Leg::Note, attempt: 1, seq: 2 }),
            Happened::Flow(Event::Done { step: Leg::Note }),
            Happened::Flow(Event::Acting { step: Leg::TakeOff, attempt: 1, seq: 2 }),
        ])
        .then_effects([
            Effect::publish("notes", "started"),
            Effect::publish("drone.do", &Leg::TakeOff),
            timer(10, Signal::Late { step: Leg::TakeOff, attempt: 1 }),
        ])
        .when(done(Leg::TakeOff))
        .when(done(Leg::TakeOff))
        .then_nothing()
        .when(done(Leg::Deliver))
        .then_events([
            Happened::Flow(Event::Done { step: Leg::Deliver }),
            Happened::Flow(Event::Completed),
            Happened::Ended { how: "Completed".into() },
        ])
        .then_effects([Effect::TimerCancel("flow".into())])
        .when(done(Leg::Deliver))
        .then_nothing()
        .advance(seconds(100))
        .then_nothing();
}

#[test]
fn a_missed_deadline_is_tried_again_and_then_undone_in_reverse_with_the_uncertain_step_first() {
    delivering()
        .advance(seconds(10))
        .then_state(|drone| assert_eq!(at(drone), (Some(Leg::Deliver), Some(Phase::Undoing))))
        .then_effects([
            Effect::publish("drone.undo", &Leg::Deliver),
            timer(20, Signal::Late { step: Leg::Deliver, attempt: 1 }),
        ])
        .when(done(Leg::Deliver))
        .then_nothing()
        .when(undone(Leg::Deliver))
        .then_events([
            Happened::Flow(Event::Undone { step: Leg::Deliver }),
            Happened::Flow(Event::Undoing { step: Leg::TakeOff, attempt: 1, seq: 6 }),
        ])
        .when(undone(Leg::TakeOff))
        .then_effects([
            Effect::publish("undone", &Leg::Note),
            Effect::publish("undone", &Leg::Reserve),
            Effect::TimerCancel("flow".into()),
        ])
        .then_state(|drone| {
            let end = End::RolledBack { reason: "no answer within 10s".into() };
            assert_eq!(drone.flow.ended(), Some(&end));
            assert_eq!(drone.ended, Some(format!("{end:?}")));
        });
}

#[test]
fn a_failure_that_left_nothing_behind_is_not_undone_itself() {
    let failed = |uncertain| {
        Command::Flow(Signal::Failed { step: Leg::Deliver, reason: "no-fly zone".into(), uncertain })
    };
    delivering()
        .when(failed(false))
        .then_state(|drone| assert_eq!(at(drone), (Some(Leg::TakeOff), Some(Phase::Undoing))));
    delivering()
        .when(failed(true))
        .then_state(|drone| assert_eq!(at(drone), (Some(Leg::Deliver), Some(Phase::Undoing))));
}

#[test]
fn an_attempt_that_fails_is_followed_by_a_pause_and_another() {
    started()
        .answered_error("E_TIMEOUT", "no answer")
        .then_events([Happened::Flow(Event::Missed {
            step: Leg::Reserve,
            reason: "E_TIMEOUT: no answer".into(),
            uncertain: true,
        })])
        .then_effects([timer(2, Signal::Again { step: Leg::Reserve, attempt: 1 })])
        .advance(seconds(2))
        .then_events([Happened::Flow(Event::Acting { step: Leg::Reserve, attempt: 2, seq: 3 })])
        .answered_error("E_TIMEOUT", "no answer")
        .then_events([
            Happened::Flow(Event::Missed {
                step: Leg::Reserve,
                reason: "E_TIMEOUT: no answer".into(),
                uncertain: true,
            }),
            Happened::Flow(Event::RollingBack { reason: "E_TIMEOUT: no answer".into(), steps: 1 }),
            Happened::Flow(Event::Undoing { step: Leg::Reserve, attempt: 1, seq: 4 }),
            Happened::Flow(Event::Undone { step: Leg::Reserve }),
            Happened::Flow(Event::RolledBack { reason: "E_TIMEOUT: no answer".into() }),
            Happened::Ended { how: "RolledBack { reason: \"E_TIMEOUT: no answer\" }".into() },
        ]);
}

#[test]
fn an_answer_to_an_attempt_that_was_given_up_counts_for_nothing() {
    started()
        .advance(seconds(12))
        .then_state(|drone| assert_eq!(drone.flow.run().map(|run| run.attempt), Some(2)))
        // The kit gives it to the oldest call, which is the first attempt's.
        .answered(&7u64)
        .then_nothing()
        .answered(&8u64)
        .then_state(|drone| assert_eq!(at(drone), (Some(Leg::TakeOff), Some(Phase::Acting))));
}

#[test]
fn a_mission_goes_on_after_a_kill_and_a_deadline_that_passed_meanwhile_counts() {
    started()
        .answered(&7u64)
        .killed()
        .when(done(Leg::TakeOff))
        .killed()
        .down_for(seconds(3_600))
        .then_state(|drone| assert_eq!(at(drone), (Some(Leg::Deliver), Some(Phase::Undoing))))
        .killed()
        .when(undone(Leg::Deliver))
        .killed()
        .when(undone(Leg::TakeOff))
        .then_state(|drone| assert!(matches!(drone.flow.ended(), Some(End::RolledBack { .. }))));
}

#[test]
fn an_abort_undoes_the_step_under_way_too() {
    started()
        .answered(&7u64)
        .when(Command::Flow(Signal::Abort { reason: "storm".into() }))
        .then_events([
            Happened::Flow(Event::Missed { step: Leg::TakeOff, reason: "storm".into(), uncertain: true }),
            Happened::Flow(Event::RollingBack { reason: "storm".into(), steps: 3 }),
            Happened::Flow(Event::Undoing { step: Leg::TakeOff, attempt: 1, seq: 3 }),
        ])
        .when(Command::Flow(Signal::Abort { reason: "again".into() }))
        .then_nothing();
}

#[test]
fn what_cannot_be_undone_is_stuck_until_a_person_says_go_on() {
    let not_undone =
        || Command::Flow(Signal::Failed { step: Leg::TakeOff, reason: "wind".into(), uncertain: false });
    started()
        .answered(&7u64)
        .when(Command::Flow(Signal::Abort { reason: "storm".into() }))
        .when(not_undone())
        .then_effects([timer(2, Signal::Again { step: Leg::TakeOff, attempt: 1 })])
        .advance(seconds(2))
        .when(not_undone())
        .then_events([
            Happened::Flow(Event::UndoMissed { step: Leg::TakeOff, reason: "wind".into() }),
            Happened::Flow(Event::Stuck { step: Leg::TakeOff, reason: "wind".into() }),
        ])
        .then_effects([Effect::TimerCancel("flow".into())])
        .advance(seconds(3_600))
        .then_nothing()
        .when(Command::Start { legs: ALL.to_vec() })
        .then_refused_saying("flow-busy", "TakeOff")
        .when(Command::Flow(Signal::Resume))
        .then_state(|drone| assert_eq!(at(drone), (Some(Leg::TakeOff), Some(Phase::Undoing))))
        .when(undone(Leg::TakeOff))
        .then_state(|drone| assert!(drone.flow.run().is_none()));
}

#[test]
fn what_is_out_of_order_is_refused_by_name() {
    Given::<Drone>::nothing()
        .when(done(Leg::TakeOff))
        .then_refused("flow-idle")
        .when(Command::Start { legs: Vec::new() })
        .then_refused("flow-empty")
        .when(Command::Start { legs: ALL.to_vec() })
        .when(done(Leg::Deliver))
        .then_refused_saying("flow-order", "Deliver is not at its turn; the mission is at Some(Reserve)")
        .when_raw("flow", r#"{"done": {"step": "fly"}}"#)
        .then_refused_saying("bad-body", "command flow: done.step: unknown variant `fly`");
}

#[test]
fn pauses_double_up_to_five_minutes() {
    let policy = Policy { pause: seconds(2), ..Policy::default() };
    assert_eq!([1, 2, 3, 60].map(|attempt| policy.pause_after(attempt)), [2, 4, 8, 300].map(seconds));
}

#[test]
fn signals_are_plain_json_for_others_to_send() {
    let raw = crate::actor::Command::encode(&done(Leg::TakeOff)).unwrap();
    assert_eq!(raw, RawCommand { name: "flow".into(), body: br#"{"done":{"step":"take-off"}}"#.to_vec() });
}
