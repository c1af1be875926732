//! Averages by the meters' time, shedding and restoring, and what the grid is told.

use super::*;
use trellis_guest::actor::Effect;
use trellis_guest::actor::kit::{Given, START_MS, assert_reads_every_version};

/// At 10 kV, so many kW, so many milliseconds after the start.
fn measure(power_kw: f64, after_ms: u64) -> Command {
    let current = power_kw / 10.0;
    Command::Measure { voltage: 10_000.0, current, breaker: Breaker::Closed, timestamp: START_MS + after_ms }
}

fn measured(power_kw: f64, after_ms: u64) -> Event {
    let current = power_kw / 10.0;
    Event::Measured { voltage: 10_000.0, current, breaker: Breaker::Closed, timestamp: START_MS + after_ms }
}

fn load(average_kw: f64, shedding: bool) -> Load {
    Load { average_kw, limit_kw: 1_000.0, shedding, breaker: Breaker::Closed }
}

fn substation() -> Given<Substation> {
    Given::<Substation>::nothing().id("s-17").at(START_MS + 60_000)
}

#[test]
fn the_average_is_of_the_last_five_seconds() {
    substation()
        .when(measure(100.0, 0))
        .then_reply(&load(100.0, false))
        .when(measure(200.0, 2_500))
        .then_reply(&load(150.0, false))
        .when(measure(300.0, 4_999))
        .then_reply(&load(200.0, false))
        // The first one is five seconds old now, and out.
        .when(measure(400.0, 5_000))
        .then_reply(&load(300.0, false))
        .when(measure(60.0, 30_000))
        .then_reply(&load(60.0, false));
}

#[test]
fn load_is_shed_over_the_limit_and_comes_back_below_nine_tenths_of_it() {
    let switch = |command: trellis_guest::actor::Value| Effect::publish("grid.s-17.switch", &command);
    let report = |average_kw: f64, shedding| {
        let body = json!({ "averageKw": average_kw, "shedding": shedding });
        Effect::send("grid/north", &RawCommand::json("report", &body).unwrap())
    };
    let timestamp = START_MS + 1_000;
    substation()
        .setting("grid", "grid/north")
        .when(measure(1_000.0, 0))
        .then_effects([])
        .when(measure(1_500.0, 1_000))
        .then_events([
            measured(1_500.0, 1_000),
            Event::LoadShed { average_kw: 1_250.0, limit_kw: 1_000.0, percent: 20, timestamp },
        ])
        .then_effects([
            switch(json!({ "command": "SHED_LOAD", "percent": 20, "timestamp": timestamp })),
            report(1_250.0, true),
        ])
        .then_logs(["[Substation s-17] 1250.0 kW > 1000: sheds 20 %"])
        .killed()
        // Still over: said once, not with each measurement.
        .when(measure(1_400.0, 2_000))
        .then_effects([])
        // Below the limit, not yet below nine tenths of it.
        .when(measure(950.0, 10_000))
        .then_events([measured(950.0, 10_000)])
        .when(measure(800.0, 10_500))
        .then_events([
            measured(800.0, 10_500),
            Event::LoadRestored { average_kw: 875.0, timestamp: START_MS + 10_500 },
        ])
        .then_effects([switch(json!({ "command": "RESTORE_LOAD" })), report(875.0, false)])
        .then_query(&Query::Load, &load(875.0, false));
}

#[test]
fn z_012_windows_are_by_the_meters_time_whatever_the_order_of_arrival() {
    let in_order =
        substation().when(measure(100.0, 0)).when(measure(200.0, 1_000)).when(measure(600.0, 2_000));
    let mixed = substation().when(measure(600.0, 2_000)).when(measure(100.0, 0)).when(measure(200.0, 1_000));
    assert_eq!(in_order.state(), mixed.state());
    mixed
        .then_query(&Query::Load, &load(300.0, false))
        .when(measure(90_000.0, 60_000))
        .when(measure(80.0, 50_000))
        // Stored, and no part of a window that has gone on.
        .then_events([measured(80.0, 50_000)])
        .then_reply(&load(90_000.0, true));
}

#[test]
fn an_open_breaker_carries_nothing() {
    let breaker = Breaker::Open;
    let timestamp = START_MS + 100;
    substation()
        .when(measure(800.0, 0))
        .when(Command::Measure { voltage: 10_000.0, current: 0.2, breaker, timestamp })
        .then_reply(&Load { breaker, ..load(400.0, false) })
        .when(measure(600.0, 50))
        .then_state(|substation| {
            assert_eq!(substation.breaker, Breaker::Open, "an older word does not count")
        });
}

#[test]
fn a_lower_limit_counts_at_once() {
    substation()
        .when(measure(800.0, 0))
        .when(Command::SetLimit { limit_kw: 400.0 })
        .then_events([
            Event::LimitSet { limit_kw: 400.0 },
            Event::LoadShed { average_kw: 800.0, limit_kw: 400.0, percent: 50, timestamp: START_MS },
        ])
        .when(Command::SetLimit { limit_kw: 0.0 })
        .then_events([Event::LimitSet { limit_kw: 0.0 }]);
}

#[test]
fn what_cannot_be_is_refused_by_field() {
    substation()
        .when_raw("measure", r#"{"voltage":1,"current":1,"breaker":"ajar","timestamp":1}"#)
        .then_refused_saying("bad-body", "breaker: unknown variant `ajar`, expected `closed` or `open`")
        .when_raw("measure", r#"{"voltage":1,"current":-1,"breaker":"open","timestamp":1}"#)
        .then_refused_saying("bad-body", "current: -1 is outside of 0..=100000")
        .when(measure(1.0, 90_000))
        .then_refused_saying("bad-body", "timestamp: 30000 ms ahead of now")
        .when(Command::SetLimit { limit_kw: -5.0 })
        .then_refused_saying("bad-body", "limitKw: -5 is outside of 0..=10000000");
}

#[test]
fn stored_histories_stay_readable() {
    assert_reads_every_version::<Substation>(include_str!("../history.jsonl"))
        .then_query(&Query::Load, &Load { limit_kw: 900.0, ..load(700.0, false) });
}

#[test]
fn nothing_that_is_sent_makes_it_trap() {
    substation()
        .when(measure(800.0, 0))
        .never_traps_on(
            "measure",
            &[r#"{"voltage":1e4,"current":0.5,"breaker":"open","timestamp":1700000000000}"#],
        )
        .never_traps_on("set-limit", &[r#"{"limitKw":900}"#]);
}
