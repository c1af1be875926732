//! Levels, missions, what survives a kill, and the seed's faults.

use super::*;
use ed25519_dalek::{Signature, Verifier, VerifyingKey};
use std::time::Duration;
use trellis_guest::actor::kit::{Given, START_MS, assert_reads_every_version};
use trellis_guest::actor::{RawCommand, Value};

fn agent() -> Given<Agent> {
    Given::<Agent>::nothing().id("drone-001")
}

fn level(level: f64) -> Command {
    Command::ReportLevel { level }
}

fn changed(level: f64, delta: f64) -> Event {
    Event::BatteryLevelChanged { agent_id: "drone-001".into(), level, delta, signature: None }
}

fn done(step: Leg) -> Command {
    Command::Flow(Signal::Done { step })
}

fn undone(step: Leg) -> Command {
    Command::Flow(Signal::Undone { step })
}

fn start() -> Command {
    Command::StartMission { mission: Some("m-1".into()) }
}

fn control(what: &str, step: Leg) -> Effect {
    Effect::publish("agents.drone-001.control", &json!({ "mission": "m-1", "do": what, "step": step }))
}

fn battery(level: f64, seq: u64) -> Effect {
    let body = json!({ "agent_id": "drone-001", "level": level, "seq": seq, "time_ms": START_MS });
    Effect::publish("agents.drone-001.battery", &body)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// With everything done up to the parcel.
fn over_the_target() -> Given<Agent> {
    agent()
        .when(start())
        .when(done(Leg::MissionPlanning))
        .when(done(Leg::TakeOff))
        .when(done(Leg::Navigation))
}

#[test]
fn the_level_is_recovered_after_a_kill() {
    agent()
        .when(level(63.5))
        .then_events([changed(63.5, -36.5)])
        .killed()
        .when(Command::Hello)
        .then_logs(["[Agent] Recovered battery level: 63.5%"])
        .then_nothing()
        .then_query(&Query::Level, &json!({ "agent_id": "drone-001", "level": 63.5 }));
}

/// The seed publishes and then stores; a crash between the two loses what others have seen.
#[test]
fn z_013_what_is_published_is_stored_first_and_what_is_not_stored_is_not_published() {
    agent()
        .when(level(63.5))
        .then_events([changed(63.5, -36.5)])
        .then_effects([battery(63.5, 1)])
        .when(level(100.5))
        // `then_refused` holds it to no event and no effect.
        .then_refused_saying("bad-body", "level: 100.5 is outside of 0..=100")
        .killed()
        .then_nothing();
}

/// The seed reads its store with `eval`; ours is data, whatever it says.
#[test]
fn z_014_what_is_stored_is_read_and_never_run() {
    let code = r#"__import__('os').system('id')"#;
    agent()
        .when_raw("report-level", format!(r#"{{"level": "{code}"}}"#))
        .then_refused_saying("bad-body", "level: invalid type: string")
        .when_raw("report-level", code)
        .then_refused_saying("bad-body", "not JSON")
        .when_raw("start-mission", format!(r#"{{"mission": "{code}"}}"#))
        .killed()
        .then_state(|agent| assert_eq!(agent.mission.as_deref(), Some(code)));
}

#[test]
fn the_battery_drains_by_the_seeds_numbers_also_across_kills() {
    let mut given = agent().when(Command::StartDrain);
    let mut before = 100.0;
    for _ in 0..10 {
        given = given.killed().advance(seconds(1));
        let now = given.state().level;
        let less = before - now;
        assert!((0.299..=0.701).contains(&less), "{less}");
        before = now;
    }
    given = given.when(Command::StartDrain).then_nothing().advance(seconds(400));
    given
        .then_state(|agent| assert_eq!((agent.level, agent.draining), (0.0, false)))
        .advance(seconds(10))
        .then_nothing();
    let stopped = agent().when(Command::StartDrain).when(Command::StopDrain);
    stopped.advance(seconds(10)).then_nothing();
}

#[test]
fn a_mission_goes_from_planning_to_base() {
    agent()
        .when(start())
        .then_logs(["[Agent] Mission started."])
        .then_state(|agent| assert_eq!(agent.mission.as_deref(), Some("m-1")))
        .when(done(Leg::MissionPlanning))
        .when(done(Leg::TakeOff))
        .killed()
        .when(done(Leg::Navigation))
        .when(done(Leg::PayloadDrop))
        .then_query(
            &Query::Mission,
            &json!({ "mission": "m-1", "step": "return-to-base", "phase": "acting", "ended": null }),
        )
        .when(done(Leg::ReturnToBase))
        .then_events([
            Event::Flow(flow::Event::Done { step: Leg::ReturnToBase }),
            Event::Flow(flow::Event::Completed),
            Event::MissionCompleted { mission: "m-1".into() },
        ])
        .then_effects([
            Effect::TimerCancel("flow".into()),
            Effect::publish(
                "agents.drone-001.mission",
                &json!({ "event": "MissionCompleted", "mission": "m-1" }),
            ),
        ]);
}

#[test]
fn an_abort_rolls_back_in_reverse_and_says_so() {
    agent()
        .when(start())
        .when(done(Leg::MissionPlanning))
        .when(done(Leg::TakeOff))
        .when_raw("AbortMission", "")
        .then_logs(["[Agent] Mission aborted!"])
        .then_state(|agent| assert!(!mission::is_under_way(&agent.flow)))
        .when(undone(Leg::Navigation))
        .killed()
        .when(undone(Leg::TakeOff))
        .then_events([
            Event::Flow(flow::Event::Undone { step: Leg::TakeOff }),
            Event::Flow(flow::Event::Undoing { step: Leg::MissionPlanning, attempt: 1, seq: 6 }),
            Event::Flow(flow::Event::Undone { step: Leg::MissionPlanning }),
            Event::Flow(flow::Event::RolledBack { reason: "aborted by command".into() }),
            Event::MissionRollback { mission: "m-1".into(), reason: "aborted by command".into() },
        ]);
    agent().when(Command::AbortMission).then_refused("flow-idle").then_logs([]);
}

#[test]
fn a_parcel_is_never_dropped_twice() {
    over_the_target()
        .then_effects([
            control("drop", Leg::PayloadDrop),
            Effect::timer(
                "flow",
                START_MS + 30_000,
                &Command::Flow(Signal::Late { step: Leg::PayloadDrop, attempt: 1 }),
            ),
        ])
        .killed()
        .advance(seconds(30))
        // No second attempt: what may have been dropped stays, and the drone flies home.
        .then_effects([
            control("fly-to-base", Leg::Navigation),
            Effect::timer(
                "flow",
                START_MS + 630_000,
                &Command::Flow(Signal::Late { step: Leg::Navigation, attempt: 1 }),
            ),
        ]);
}

#[test]
fn a_battery_that_is_too_low_starts_nothing_and_ends_what_is_under_way() {
    agent()
        .when(level(29.0))
        .when(start())
        .then_refused_saying("battery-low", "battery at 29 percent (a mission wants 30); charge first");
    over_the_target()
        .when(level(19.5))
        .then_logs(["[Agent] Mission aborted! battery at 19.5 percent"])
        .then_effects([
            battery(19.5, 5),
            control("fly-to-base", Leg::Navigation),
            Effect::timer(
                "flow",
                START_MS + 600_000,
                &Command::Flow(Signal::Late { step: Leg::Navigation, attempt: 1 }),
            ),
        ])
        .when(level(18.0))
        .then_logs([]);
}

#[test]
fn levels_are_signed_where_there_is_a_key() {
    let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    let given = agent().setting("signing_seed", seed).when(level(63.5));
    let stored = given.to_history();
    let stored: Value = serde_value(&stored);
    let signature = stored["payload"]["signature"].as_str().unwrap().to_owned();
    let said = json!({ "agent_id": "drone-001", "level": 63.5, "seq": 1, "time_ms": START_MS });
    // The public key that RFC 8032 gives for this seed (section 7.1, test 1).
    let public_key = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    let mut body = said.clone();
    body["signature"] = signature.clone().into();
    body["public_key"] = public_key.into();
    given.then_effects([Effect::publish("agents.drone-001.battery", &body)]);

    let key = VerifyingKey::from_bytes(&bytes(public_key)).unwrap();
    let signature = Signature::from_bytes(&bytes(&signature));
    assert!(key.verify(said.to_string().as_bytes(), &signature).is_ok());
    let forged = json!({ "agent_id": "drone-001", "level": 99.0, "seq": 1, "time_ms": START_MS });
    assert!(key.verify(forged.to_string().as_bytes(), &signature).is_err());

    agent()
        .setting("signing_seed", "secret")
        .when(level(1.0))
        .then_refused_saying("bad-setting", "64 hexadecimal");
}

fn serde_value(text: &str) -> Value {
    text.trim().parse().unwrap()
}

fn bytes<const N: usize>(hex: &str) -> [u8; N] {
    std::array::from_fn(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
}

#[test]
fn what_is_unknown_is_refused_by_name() {
    agent()
        .when_raw("fly", "{}")
        .then_refused_saying("unknown-command", "command fly: unknown; known are report-level, start-drain")
        .when_raw("flow", r#"{"done":{"step":"sleep"}}"#)
        .then_refused_saying("bad-body", "done.step: unknown variant `sleep`")
        .then_query_json(
            &RawCommand::json("level", &()).unwrap(),
            &json!({"agent_id": "drone-001", "level": 100.0}),
        );
}

#[test]
fn stored_histories_stay_readable() {
    assert_reads_every_version::<Agent>(include_str!("../history.jsonl")).then_state(|agent| {
        assert_eq!((agent.level, agent.draining), (93.25, false));
        let reason = "aborted by command".to_owned();
        assert_eq!(agent.flow.ended(), Some(&End::RolledBack { reason }));
    });
}

#[test]
fn nothing_that_is_sent_makes_it_trap() {
    over_the_target()
        .never_traps_on("report-level", &[r#"{"level":19.5}"#])
        .never_traps_on("start-mission", &[r#"{"mission":"m-2"}"#])
        .never_traps_on(
            "flow",
            &[
                r#"{"done":{"step":"payload-drop"}}"#,
                r#"{"failed":{"step":"payload-drop","reason":"wind","uncertain":true}}"#,
                r#"{"late":{"step":"payload-drop","attempt":4294967295}}"#,
                r#"{"abort":{"reason":"storm"}}"#,
            ],
        );
}
