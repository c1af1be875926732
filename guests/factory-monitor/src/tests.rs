//! The seed's own run, and a test for each of its faults.

use super::*;
use trellis_guest::actor::kit::{Given, START_MS, assert_reads_every_version};

fn record(value: f64, timestamp: u64) -> Command {
    Command::RecordTemperature { device_id: "machine-01".into(), value, timestamp }
}

fn recorded(value: f64, timestamp: u64) -> Event {
    Event::TemperatureRecorded { device_id: "machine-01".into(), value, timestamp }
}

fn alarm(reason: &str, timestamp: u64) -> Event {
    Event::AlarmTriggered { device_id: "machine-01".into(), reason: reason.into(), timestamp }
}

fn cooling(reason: &str, timestamp: u64) -> Effect {
    Effect::publish(
        "actuator-commands",
        &json!({
            "command": "TURN_ON_COOLING", "deviceId": "machine-01", "reason": reason, "timestamp": timestamp,
        }),
    )
}

fn machine() -> Given<Machine> {
    Given::<Machine>::nothing().id("machine-01")
}

/// The numbers and lines that the seed prints.
#[test]
fn the_seeds_run() {
    machine()
        .when(record(73.4, 1_678_155_690_123))
        .then_events([recorded(73.4, 1_678_155_690_123)])
        .then_effects([])
        .then_logs(["[Actor] Updated temp to 73.4 at 1678155690123"])
        .then_reply(&Told { alarm: false })
        .when(record(85.7, 1_678_155_691_124))
        .then_logs(["[Actor] Updated temp to 85.7 at 1678155691124", "[Actor] Alarm! Temp 85.7 > 80"])
        .then_effects([cooling("Temp 85.7 > 80", 1_678_155_691_124)])
        .then_reply(&Told { alarm: true })
        .then_query(&Query::Latest, &Some(Reading { value: 85.7, timestamp: 1_678_155_691_124 }));
}

#[test]
fn exactly_the_threshold_is_no_alarm_and_the_threshold_can_be_set() {
    machine()
        .when(record(80.0, 1))
        .then_reply(&Told { alarm: false })
        .setting("threshold", "79.95")
        .when(record(80.0, 2))
        .then_events([recorded(80.0, 2), alarm("Temp 80.0 > 79.95", 2)])
        .setting("threshold", "hot")
        .when(record(80.0, 3))
        .then_refused("bad-setting");
}

#[test]
fn z_009_an_alarm_has_the_time_of_its_reading() {
    let hours_ago = START_MS - 3 * 3_600_000;
    machine()
        .when(record(85.7, hours_ago))
        .then_events([recorded(85.7, hours_ago), alarm("Temp 85.7 > 80", hours_ago)])
        .when(Command::TriggerAlarm { device_id: "machine-01".into(), reason: "smoke".into() })
        .then_events([alarm("smoke", hours_ago)]);
}

#[test]
fn z_010_a_replay_neither_logs_nor_cools() {
    let given = machine().when(record(85.7, 7)).then_effects([cooling("Temp 85.7 > 80", 7)]);
    given
        .killed()
        .then_logs([])
        .then_nothing()
        .then_state(|machine| assert_eq!((machine.readings, machine.alarms), (1, 1)))
        .when(record(20.0, 8))
        .then_logs(["[Actor] Updated temp to 20 at 8"])
        .then_effects([]);
}

#[test]
fn z_011_the_reading_comes_before_its_alarm_in_one_commit() {
    machine()
        .when(record(99.0, 1))
        .then_events([recorded(99.0, 1), alarm("Temp 99.0 > 80", 1)])
        // A reading that is refused leaves no alarm either: both or none.
        .when(record(9_999.0, 2))
        .then_refused_saying("bad-body", "value: 9999 °C is outside of -273.15..=5000.0");
}

#[test]
fn a_late_reading_is_stored_and_judged_but_is_not_the_latest() {
    machine()
        .when(record(30.0, 2_000))
        .when(record(85.0, 1_000))
        .then_events([recorded(85.0, 1_000), alarm("Temp 85.0 > 80", 1_000)])
        .then_logs(["[Actor] Late temp 85 at 1000, after 2000", "[Actor] Alarm! Temp 85.0 > 80"])
        .then_query(&Query::Latest, &Some(Reading { value: 30.0, timestamp: 2_000 }));
}

#[test]
fn what_cannot_be_is_refused_by_field() {
    machine()
        .when_raw("record-temperature", r#"{"DeviceId":"machine-01","Value":73.4,"Timestamp":1}"#)
        .then_events([recorded(73.4, 1)])
        .when_raw("record-temperature", r#"{"deviceId":"machine-01","value":"hot","timestamp":1}"#)
        .then_refused_saying("bad-body", "value: invalid type: string \"hot\", expected f64")
        .when_raw("record-temperature", r#"{"deviceId":"machine-01","value":1,"timestamp":-1}"#)
        .then_refused_saying("bad-body", "timestamp: invalid value: integer `-1`, expected u64")
        .when_raw("record-temperature", r#"{"deviceId":"machine-02","value":1,"timestamp":1}"#)
        .then_refused_saying("bad-body", "deviceId: \"machine-02\" is not \"machine-01\"")
        .when(record(20.0, START_MS + 3_600_000))
        .then_refused_saying("bad-body", "timestamp: 3600000 ms ahead of now");
    machine()
        .when(Command::TriggerAlarm { device_id: "machine-01".into(), reason: "smoke".into() })
        .then_refused("no-reading");
}

#[test]
fn readings_can_be_published_for_stream_processors() {
    machine().setting("readings_subject", "sensor-events").when(record(20.0, 1)).then_effects([
        Effect::publish("sensor-events", &json!({"deviceId": "machine-01", "value": 20.0, "timestamp": 1})),
    ]);
}

#[test]
fn a_machine_that_is_forgotten_begins_anew() {
    machine()
        .when(record(99.0, 5_000))
        .when(Command::ForgetDevice)
        .then_effects([Effect::SnapshotNow])
        .then_query(&Query::Latest, &None)
        .when(record(20.0, 1))
        .then_query(&Query::Latest, &Some(Reading { value: 20.0, timestamp: 1 }));
}

#[test]
fn stored_histories_stay_readable() {
    assert_reads_every_version::<Machine>(include_str!("../history.jsonl"))
        .then_state(|machine| assert_eq!((machine.readings, machine.alarms), (1, 0)));
}

#[test]
fn nothing_that_is_sent_makes_it_trap() {
    machine()
        .when(record(73.4, 1))
        .never_traps_on("record-temperature", &[r#"{"deviceId":"machine-01","value":85.7,"timestamp":1}"#])
        .never_traps_on("trigger-alarm", &[r#"{"deviceId":"machine-01","reason":"\u00e9 smoke"}"#]);
}
