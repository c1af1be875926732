//! Persistent actors as authors write them; and that the kit finds what is wrong with the bad ones.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::kit::{Given, START_MS, assert_reads_every_version};
use super::*;

#[trellis_guest_macros::state(version = 2, upcast = with_unit)]
#[derive(Default)]
struct Meter {
    level: f64,
    unit: String,
    by_source: BTreeMap<String, u32>,
}

/// Version 1 had the level alone.
fn with_unit(_: u32, mut old: Value) -> Result<Value, String> {
    let fields = old.as_object_mut().ok_or("not an object")?;
    fields.insert("unit".into(), "percent".into());
    fields.insert("by_source".into(), json!({}));
    Ok(old)
}

#[trellis_guest_macros::commands]
enum Command {
    Measure { level: f64, source: String },
    Reset,
    Remind { seconds: u64 },
    Reminded,
    Roll,
    Ask { what: String },
    Answered(Answer<String>),
    Tell { whom: String },
    End,
    Unwritable,
}

#[trellis_guest_macros::events]
#[event(retired = retired)]
enum Event {
    #[event(version = 3, upcast = measured)]
    Measured {
        level: f64,
        source: String,
    },
    Reset,
    Heard {
        what: String,
    },
}

/// Version 1 was a number in promille, version 2 had no source.
fn measured(version: u32, old: Value) -> Result<Value, String> {
    let level = match version {
        1 => old.as_f64().ok_or("want a number")? / 10.0,
        _ => old.get("level").and_then(Value::as_f64).ok_or("level: missing")?,
    };
    Ok(json!({ "level": level, "source": "unknown" }))
}

fn retired(name: &str, _: u32, old: Value) -> Result<Vec<Event>, String> {
    match name {
        "calibrated" => Ok(Vec::new()),
        "measured-twice" => {
            let levels = old.as_array().ok_or("want an array")?.iter().filter_map(Value::as_f64);
            Ok(levels.map(|level| Event::Measured { level, source: "twice".into() }).collect())
        }
        _ => Err("unknown".into()),
    }
}

#[trellis_guest_macros::commands]
enum Query {
    Level,
    From { source: String },
}

#[trellis_guest_macros::actor(export = false)]
impl Actor for Meter {
    type Command = Command;
    type Event = Event;
    type Reply = Option<f64>;
    type Query = Query;
    type Answer = f64;

    fn decide(&self, turn: &Turn, command: Command) -> Outcome<Self> {
        Ok(match command {
            Command::Measure { level, .. } if !(0.0..=100.0).contains(&level) => {
                return Err(Refusal::field("level", format!("{level} is outside of 0..=100")));
            }
            Command::Measure { level, source } => {
                let limit = turn.setting("limit", 80.0)?;
                if level > limit {
                    turn.warn(&format!("{level} > {limit}"));
                }
                Decision::event(Event::Measured { level, source }).reply(Some(level - self.level))
            }
            Command::Reset => Decision::event(Event::Reset).cancel_timer("remind").snapshot(),
            Command::Remind { seconds } => {
                Decision::nothing().timer(turn, "remind", Duration::from_secs(seconds), &Command::Reminded)
            }
            Command::Reminded => {
                let (name, due) = turn.fired().unwrap_or(("", 0));
                Decision::event(Event::Heard { what: format!("{name} {}", turn.now_ms - due) })
            }
            Command::Roll => {
                let dice = (turn.random_below(6), turn.random_below(6), turn.random_below(0));
                Decision::event(Event::Heard { what: format!("{dice:?}") })
            }
            Command::Ask { what } => {
                Decision::nothing().effect(Effect::call("a:b/c.d", &(what, 1), "answered").through("helper"))
            }
            Command::Answered(answer) => {
                let what =
                    answer.into_result().unwrap_or_else(|error| format!("{}: {}", error.code, error.what));
                Decision::event(Event::Heard { what: format!("{what} {:?}", turn.answers()) })
            }
            Command::Tell { whom } => Decision::nothing().send(whom, &Command::Reset),
            Command::End => Decision::nothing().passivate().stop(),
            Command::Unwritable => Decision::nothing().publish("a", &HashMap::from([((1, 2), 3)])),
        })
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Measured { level, source } => {
                self.level = level;
                *self.by_source.entry(source).or_default() += 1;
            }
            Event::Reset => *self = Self { unit: std::mem::take(&mut self.unit), ..Self::default() },
            Event::Heard { what } => self.unit = what,
        }
    }

    fn query(&self, query: Query) -> Result<f64, Refusal> {
        match query {
            Query::Level => Ok(self.level),
            Query::From { source } => {
                let none = || Refusal::new("unknown-source", format!("{source}: has measured nothing"));
                self.by_source.get(&source).map(|count| f64::from(*count)).ok_or_else(none)
            }
        }
    }
}

fn measure(level: f64) -> Command {
    Command::Measure { level, source: "a".into() }
}

#[test]
fn a_command_becomes_events_a_reply_and_lines() {
    Given::<Meter>::events([Event::Measured { level: 10.5, source: "a".into() }])
        .when(measure(90.0))
        .then_events([Event::Measured { level: 90.0, source: "a".into() }])
        .then_reply(&Some(79.5))
        .then_logs(["90 > 80"])
        .then_query(&Query::From { source: "a".into() }, &2.0)
        .killed()
        .then_logs([])
        .setting("limit", "95")
        .when(measure(91.0))
        .then_logs([])
        .when(Command::Reset)
        .then_effects([Effect::TimerCancel("remind".into()), Effect::SnapshotNow])
        .then_reply_json(&Value::Null)
        .setting("limit", "high")
        .when(measure(1.0))
        .then_refused_saying("bad-setting", "config limit: not a f64 (got \"high\")");
}

#[test]
fn what_cannot_be_read_is_a_refusal_that_names_the_field() {
    Given::<Meter>::nothing()
        .when_raw("measure", "")
        .then_refused_saying("bad-body", "command measure: missing field `level`")
        .when_raw("measure", r#"{"level": "__import__('os')", "source": "a"}"#)
        .then_refused_saying("bad-body", "command measure: level: invalid type: string")
        .when_raw("measure", r#"{"level": 1e999, "source": "a"}"#)
        .then_refused_saying("bad-body", "command measure: not JSON: number out of range")
        .when_raw("measure", b"\xff\xfe")
        .then_refused_saying("bad-body", "not JSON")
        .when_raw("me\nasure", "{}")
        .then_refused_saying("unknown-command", "command me\u{fffd}asure: unknown; known are measure, reset,")
        .when(measure(101.0))
        .then_refused_saying("bad-body", "level: 101 is outside of 0..=100")
        .when(Command::Unwritable)
        .then_refused_saying("actor-fault", "key must be a string");
}

#[test]
fn timers_fire_in_time_or_late_or_not_at_all() {
    Given::<Meter>::nothing()
        .when(Command::Remind { seconds: 60 })
        .then_effects([Effect::timer("remind", START_MS + 60_000, &Command::Reminded)])
        .advance(Duration::from_secs(59))
        .then_nothing()
        .advance(Duration::from_secs(60))
        .then_events([Event::Heard { what: "remind 0".into() }])
        .when(Command::Remind { seconds: 60 })
        .down_for(Duration::from_secs(90))
        .then_events([Event::Heard { what: "remind 30000".into() }])
        .when(Command::Remind { seconds: 60 })
        .when(Command::Reset)
        .advance(Duration::from_secs(61))
        .then_nothing();
}

#[test]
fn dice_are_of_the_turn() {
    let rolled = |given: Given<Meter>| given.when(Command::Roll).state().unit.clone();
    let first = rolled(Given::nothing());
    assert_eq!(first, rolled(Given::nothing()), "the same turn has the same dice");
    assert_ne!(first, rolled(Given::events([Event::Reset])), "another turn has others");
}

#[test]
fn calls_are_answered_by_commands() {
    Given::<Meter>::nothing()
        .when(Command::Ask { what: "why".into() })
        .then_effects([Effect::Call {
            link: "helper".into(),
            function: "a:b/c.d".into(),
            body: br#"["why",1]"#.to_vec(),
            answer: "answered".into(),
        }])
        .answered(&"because")
        .then_events([Event::Heard { what: "because Some((1, 0))".into() }])
        .when(Command::Ask { what: "when".into() })
        .answered_error("E_TIMEOUT", "no answer")
        .then_events([Event::Heard { what: "E_TIMEOUT: no answer Some((3, 0))".into() }]);
}

#[test]
fn actors_tell_each_other_and_end() {
    Given::<Meter>::nothing()
        .when_from(Some("meter/other"), Command::Tell { whom: "meter/m-2".into() })
        .then_effects([Effect::send("meter/m-2", &Command::Reset)])
        .when(Command::End)
        .then_effects([Effect::Passivate, Effect::Stop])
        .when(measure(1.0))
        .then_refused("stopped");
}

#[test]
fn every_version_that_was_ever_written_is_read() {
    let given = assert_reads_every_version::<Meter>(
        r#"
        # version 1 was in promille
        {"event":"measured","version":1,"payload":155}
        {"event":"measured","version":2,"payload":{"level":16.5}}
        {"event":"measured","version":3,"payload":{"level":17.5,"source":"a"}}
        {"event":"calibrated","version":4,"payload":null}
        {"event":"measured-twice","version":1,"payload":[1,2]}
        {"event":"heard","version":1,"payload":{"what":"x"}}
        {"event":"reset","version":1,"payload":{}}
        {"event":"measured","version":1,"payload":5}
        "#,
    );
    given
        .then_state(|meter| assert_eq!((meter.level, meter.by_source.len()), (0.5, 1)))
        .when(measure(2.5))
        .then_reply(&Some(2.0));
}

#[test]
fn what_is_newer_or_unknown_stops_with_its_name() {
    let read = |name: &str, version, payload: &str| {
        let raw = RawEvent { name: name.into(), version, payload: payload.into() };
        raw.read::<Event>().unwrap_err()
    };
    assert_eq!(
        read("measured", 4, "{}"),
        "event measured version 4: newer than this component, which knows version 3; deploy a newer one"
    );
    assert_eq!(read("gone", 1, "{}"), "event gone version 1: unknown");
    assert_eq!(
        read("measured", 1, "{"),
        "event measured version 1: not JSON: EOF while parsing an object at line 1 column 1"
    );
    assert_eq!(read("measured", 2, "{}"), "event measured version 2: level: missing");
    assert_eq!(read("measured", 3, r#"{"level":1}"#), "event measured version 3: missing field `source`");
}

#[test]
fn an_older_snapshot_is_read_and_a_newer_one_is_not() {
    Given::<Meter>::snapshot(9, 1, r#"{"level":12.5}"#)
        .then_state(|meter| assert_eq!((meter.level, &*meter.unit), (12.5, "percent")))
        .when(measure(13.5))
        .then_reply(&Some(1.0));
    let newer = machine::load::<Meter>(3, b"{}").unwrap_err();
    assert_eq!(newer, "snapshot version 3: newer than this component, which knows version 2");
}

#[test]
fn every_actor_answers_state() {
    let given = Given::<Meter>::events([Event::Measured { level: 0.1 + 0.2, source: "a".into() }]);
    let state = RawCommand::json("state", &()).unwrap();
    given.then_query_json(&state, &json!({"level": 0.30000000000000004, "unit": "", "by_source": {"a": 1}}));
    let refused =
        |name: &str, body: &str| machine::query(&Meter::new("a"), name, body.as_bytes()).unwrap_err();
    assert_eq!(
        refused("level-of", "").to_string(),
        "unknown-query: query level-of: unknown; known are level, from, state"
    );
    assert_eq!(refused("from", r#"{"source":"b"}"#).code, "unknown-source");
}

#[test]
fn what_is_refused_of_a_timer_or_another_actor_is_settled_and_of_a_client_is_not() {
    let seq = |given: &Given<Meter>| given.state().unit.clone();
    let rolled = Given::<Meter>::nothing().when(measure(101.0)).then_refused("bad-body").when(Command::Roll);
    let settled = Given::<Meter>::nothing()
        .when_from(Some("meter/other"), measure(101.0))
        .then_refused("bad-body")
        .when(Command::Roll);
    let first = Given::<Meter>::nothing().when(Command::Roll);
    assert_eq!(seq(&rolled), seq(&first), "the dice are of the same turn");
    assert_ne!(seq(&settled), seq(&first));
}

/// Actors that break a law, each in one way.
mod bad {
    use super::*;
    use std::cell::Cell;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[trellis_guest_macros::commands]
    enum Do {
        It,
    }

    #[trellis_guest_macros::events]
    enum Done {
        It { what: String },
    }

    static CLOCK: AtomicU64 = AtomicU64::new(0);

    macro_rules! bad_actor {
        ($name:ident { $($(#[$attribute:meta])* $field:ident: $kind:ty),* }, $decide:expr, $apply:expr) => {
            #[trellis_guest_macros::state]
            #[derive(Default)]
            struct $name { $($(#[$attribute])* $field: $kind),* }

            #[trellis_guest_macros::actor(export = false)]
            impl Actor for $name {
                type Command = Do;
                type Event = Done;
                fn decide(&self, turn: &Turn, _: Do) -> Outcome<Self> {
                    let decide: fn(&Self, &Turn) -> Outcome<Self> = $decide;
                    decide(self, turn)
                }
                fn apply(&mut self, Done::It { what }: Done) {
                    let apply: fn(&mut Self, String) = $apply;
                    apply(self, what)
                }
            }
        };
    }

    fn did<R>(what: impl ToString) -> Result<Decision<Done, R>, Refusal> {
        Ok(Decision::event(Done::It { what: what.to_string() }))
    }

    bad_actor!(
        Unordered { #[state(ordered)] seen: HashMap<u64, u64> },
        |_, _| did("x"),
        |state, _| state.seen.extend((0..20).map(|each| (each, each)))
    );
    bad_actor!(Clocked { n: u64 }, |_, _| did(CLOCK.fetch_add(1, Ordering::Relaxed)), |_, _| {});
    bad_actor!(Impure { n: u64 }, |_, _| did("x"), |state, _| state.n =
        CLOCK.fetch_add(1, Ordering::Relaxed));
    bad_actor!(
        Sly { #[state(ordered)] n: Cell<u64> },
        |state, _| { state.n.set(state.n.get() + 1); did("x") },
        |_, _| {}
    );
    bad_actor!(
        Forgetful {
            #[serde(skip)]
            n: u64,
            twice: bool
        },
        |_, _| did("x"),
        |state, _| {
            state.twice = state.n == 1;
            state.n = 1;
        }
    );
    bad_actor!(NotANumber { n: f64 }, |_, _| did("x"), |state, _| state.n = f64::NAN);
    bad_actor!(
        Loud { n: u64 },
        |_, _| Ok(Decision::events((0..1_025).map(|_| Done::It { what: "x".into() }))),
        |_, _| {}
    );
    bad_actor!(Lost { n: u64 }, |_, _| Ok(Decision::nothing().send("nowhere", &Do::It)), |_, _| {});

    bad_actor!(
        Fragile { n: u64 },
        |state, _| did("x".repeat(10).get(..10 - usize::try_from(state.n).unwrap()).expect("slipped")),
        |state, _| state.n = 11
    );

    fn run<A: Actor<Command = Do>>() -> Given<A> {
        Given::<A>::nothing().when(Do::It)
    }

    #[test]
    #[should_panic(expected = "is something in it unordered?")]
    fn an_order_that_differs() {
        run::<Unordered>();
    }
    #[test]
    #[should_panic(expected = "decided twice, it decides differently")]
    fn a_clock_in_a_decision() {
        run::<Clocked>();
    }
    #[test]
    #[should_panic(expected = "the same events give another state")]
    fn a_clock_in_a_fold() {
        run::<Impure>();
    }
    #[test]
    #[should_panic(expected = "a decision may not change the state by itself")]
    fn a_decision_that_changes_the_state() {
        run::<Sly>();
    }
    #[test]
    #[should_panic(expected = "from a snapshot after 1 events, the rest gives another state")]
    fn a_field_that_is_not_saved() {
        run::<Forgetful>().when(Do::It);
    }
    #[test]
    #[should_panic(expected = "a state does not load what it saved")]
    fn a_number_that_is_none() {
        run::<NotANumber>();
    }
    #[test]
    #[should_panic(expected = "too many events (got 1025, limit 1024)")]
    fn too_much_at_once() {
        run::<Loud>();
    }
    #[test]
    #[should_panic(expected = "send to \"nowhere\": want kind/id")]
    fn a_target_that_is_none() {
        run::<Lost>();
    }
    #[test]
    #[should_panic(expected = "attempt to subtract with overflow")]
    fn a_decision_that_panics() {
        run::<Fragile>().never_traps_on("it", &["{}"]);
    }
    #[test]
    #[should_panic(expected = "events differ")]
    fn an_expectation_that_is_not_met() {
        Given::<Meter>::nothing().when(measure(1.0)).then_events([Event::Reset]);
    }
    #[test]
    #[should_panic(expected = "the history has no event measured of version 2: add a line with one")]
    fn a_fixture_without_a_version() {
        assert_reads_every_version::<Meter>(r#"{"event":"measured","version":1,"payload":155}"#);
    }
}
