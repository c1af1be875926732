//! The facade through a function as an author writes one: one command for each thing that can be done.

use super::*;
use crate::actor::kit::{Given, START_MS};
use std::time::Duration;

#[trellis_guest_macros::commands]
enum Command {
    Put { key: String, value: Value, seconds: Option<u64> },
    Get { key: String },
    Delete { key: String },
    Expire { key: String, seconds: Option<u64> },
    Add { key: String, by: i64 },
    Push { key: String, value: Value, front: bool },
    Pop { key: String, front: bool },
    List { key: String },
    Keys { prefix: String },
    PutThenRefuse,
    Swap { one: String, other: String },
}

#[trellis_guest_macros::kv_actor(export = false)]
fn shelf(keys: &mut Keys, _: &Turn, command: Command) -> Result<Value, Refusal> {
    let seconds = |seconds: Option<u64>| seconds.map(Duration::from_secs);
    Ok(match command {
        Command::Put { key, value, seconds: None } => keys.put(&key, &value).map(|()| Value::Null)?,
        Command::Put { key, value, seconds: Some(seconds) } => {
            keys.put_for(&key, &value, Duration::from_secs(seconds)).map(|()| Value::Null)?
        }
        Command::Get { key } => keys.get::<Value>(&key)?.unwrap_or_default(),
        Command::Delete { key } => keys.delete(&key).into(),
        Command::Expire { key, seconds: time } => keys.expire(&key, seconds(time)).into(),
        Command::Add { key, by } => keys.add(&key, by)?.into(),
        Command::Push { key, value, front: false } => keys.push(&key, &value)?.into(),
        Command::Push { key, value, front: true } => keys.push_front(&key, &value)?.into(),
        Command::Pop { key, front: false } => keys.pop::<Value>(&key)?.unwrap_or_default(),
        Command::Pop { key, front: true } => keys.pop_front::<Value>(&key)?.unwrap_or_default(),
        Command::List { key } => keys.list::<Value>(&key)?.into(),
        Command::Keys { prefix } => keys.keys(&prefix).into(),
        Command::PutThenRefuse => {
            keys.put("half", &1)?;
            return Err(Refusal::new("changed-my-mind", "no"));
        }
        Command::Swap { one, other } => {
            let (first, second): (Option<Value>, Option<Value>) = (keys.get(&one)?, keys.get(&other)?);
            keys.put(&one, &second)?;
            keys.put(&other, &first)?;
            keys.effect(Effect::publish("swapped", &[one, other]));
            Value::Null
        }
    })
}

type Shelf = KeysOf<ShelfActor>;

fn put(key: &str, value: i64, seconds: Option<u64>) -> KeyCommand<Command> {
    KeyCommand::Authors(Command::Put { key: key.into(), value: value.into(), seconds })
}

fn get(key: &str) -> KeyCommand<Command> {
    KeyCommand::Authors(Command::Get { key: key.into() })
}

fn ask(command: Command) -> KeyCommand<Command> {
    KeyCommand::Authors(command)
}

#[test]
fn values_are_put_and_got_and_deleted() {
    Given::<Shelf>::nothing()
        .when(put("a", 1, None))
        .then_events([KeyEvent::Put { key: "a".into(), value: 1.into(), end_ms: None }])
        .then_effects([])
        .when(get("a"))
        .then_reply(&1.into())
        .then_nothing()
        .when(ask(Command::Delete { key: "a".into() }))
        .then_reply(&true.into())
        .when(ask(Command::Delete { key: "a".into() }))
        .then_reply(&false.into())
        .then_nothing()
        .when(get("a"))
        .then_reply(&Value::Null);
}

#[test]
fn lists_grow_and_shrink_at_both_ends() {
    let push = |value: i64, front| ask(Command::Push { key: "l".into(), value: value.into(), front });
    let pop = |front| ask(Command::Pop { key: "l".into(), front });
    Given::<Shelf>::nothing()
        .when(push(2, false))
        .then_reply(&1.into())
        .when(push(3, false))
        .when(push(1, true))
        .then_reply(&3.into())
        .when(ask(Command::List { key: "l".into() }))
        .then_reply(&vec![1, 2, 3].into())
        .when(pop(true))
        .then_reply(&1.into())
        .when(pop(false))
        .then_reply(&3.into())
        .when(pop(false))
        .then_reply(&2.into())
        .when(pop(false))
        .then_reply(&Value::Null)
        .then_nothing()
        .then_query(&KeyQuery::Get { key: "l".into() }, &Value::Null);
}

#[test]
fn counters_count_and_refuse_what_they_are_not() {
    Given::<Shelf>::nothing()
        .when(ask(Command::Add { key: "n".into(), by: 5 }))
        .then_reply(&5.into())
        .when(ask(Command::Add { key: "n".into(), by: i64::MAX }))
        .then_refused_saying("limit-exceeded", "n: 5 + 9223372036854775807")
        .when(ask(Command::Push { key: "n".into(), value: 1.into(), front: false }))
        .then_refused_saying("wrong-type", "n: is a counter, not a list; delete it first")
        .when(put("n", 7, None))
        .when(ask(Command::Add { key: "n".into(), by: 1 }))
        .then_refused_saying("wrong-type", "n: is a value, not a counter");
}

#[test]
fn a_key_ends_in_time_and_the_timer_follows_the_next_end() {
    let expire = |end_ms| Effect::timer(EXPIRE, end_ms, &KeyCommand::<Command>::Expire);
    Given::<Shelf>::nothing()
        .when(put("late", 1, Some(60)))
        .then_effects([expire(START_MS + 60_000)])
        .when(put("soon", 2, Some(10)))
        .then_effects([expire(START_MS + 10_000)])
        .when(put("middle", 3, Some(30)))
        .then_effects([])
        .killed()
        .advance(Duration::from_secs(11))
        .then_events([KeyEvent::Expired { key: "soon".into() }])
        .then_effects([expire(START_MS + 30_000)])
        .when(ask(Command::Expire { key: "middle".into(), seconds: None }))
        .then_effects([expire(START_MS + 60_000)])
        .when(ask(Command::Delete { key: "late".into() }))
        .then_effects([Effect::TimerCancel(EXPIRE.to_owned())])
        .advance(Duration::from_secs(100))
        .then_nothing()
        .when(get("middle"))
        .then_reply(&3.into());
}

#[test]
fn a_key_whose_time_is_over_is_gone_before_its_timer_has_fired() {
    let expired = KeyEvent::Expired { key: "n".into() };
    Given::<Shelf>::nothing()
        .when(ask(Command::Add { key: "n".into(), by: 5 }))
        .when(ask(Command::Expire { key: "n".into(), seconds: Some(10) }))
        .at(START_MS + 10_000)
        .when(get("n"))
        .then_reply(&Value::Null)
        .when(ask(Command::Keys { prefix: String::new() }))
        .then_reply_json(&Value::Array(Vec::new()))
        .when(ask(Command::Add { key: "n".into(), by: 1 }))
        .then_reply(&1.into())
        .then_events([expired, KeyEvent::Added { key: "n".into(), by: 1 }])
        .then_effects([Effect::TimerCancel(EXPIRE.to_owned())]);
}

#[test]
fn a_turn_is_all_or_nothing() {
    Given::<Shelf>::nothing()
        .when(ask(Command::PutThenRefuse))
        .then_refused("changed-my-mind")
        .when(put("a", 1, None))
        .when(put("b", 2, None))
        .when(ask(Command::Swap { one: "a".into(), other: "b".into() }))
        .then_events([
            KeyEvent::Put { key: "a".into(), value: 2.into(), end_ms: None },
            KeyEvent::Put { key: "b".into(), value: 1.into(), end_ms: None },
        ])
        .then_effects([Effect::publish("swapped", &["a", "b"])])
        .then_query(
            &KeyQuery::Keys { prefix: String::new(), after: Some("a".into()), limit: None },
            &vec!["b"].into(),
        )
        .when_raw("put", r#"{"key": 5}"#)
        .then_refused_saying("bad-body", "command put: key: invalid type: integer `5`, expected a string");
}
