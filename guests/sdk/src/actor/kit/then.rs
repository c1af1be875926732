//! What a step is expected to have brought.

use std::fmt::Write;

use serde::Serialize;
use serde_json::Value;

use super::Given;
use crate::actor::{Actor, Command, Effect, RawCommand, RawEvent, machine};

impl<A: Actor> Given<A> {
    /// These things happened, in this order, and nothing else.
    #[track_caller]
    pub fn then_events(self, expected: impl IntoIterator<Item = A::Event>) -> Self {
        let raw = |event: A::Event| RawEvent::of(&event).unwrap_or_else(|reason| panic!("then: {reason}"));
        let expected: Vec<RawEvent> = expected.into_iter().map(raw).collect();
        self.accepted();
        self.same("events", &expected, &self.step.events, event_line);
        self
    }

    /// These are to be done, in this order, and nothing else.
    #[track_caller]
    pub fn then_effects(self, expected: impl IntoIterator<Item = Effect>) -> Self {
        let expected: Vec<Effect> = expected.into_iter().collect();
        self.accepted();
        self.same("effects", &expected, &self.step.effects, effect_line);
        self
    }

    /// The sender is told this.
    #[track_caller]
    pub fn then_reply(self, expected: &A::Reply) -> Self {
        self.then_reply_json(&json(expected))
    }

    /// The sender is told this, as JSON.
    #[track_caller]
    pub fn then_reply_json(self, expected: &Value) -> Self {
        self.accepted();
        let found = self.step.reply.as_deref().and_then(|reply| serde_json::from_slice::<Value>(reply).ok());
        assert_eq!(found.as_ref(), Some(expected), "{}: the reply differs (found, expected)", self.step.what);
        self
    }

    /// Nothing happened, and nothing is to be done.
    #[track_caller]
    pub fn then_nothing(self) -> Self {
        self.then_events([]).then_effects([])
    }

    /// The command is refused with this code, and leaves nothing behind.
    #[track_caller]
    pub fn then_refused(self, code: &str) -> Self {
        self.then_refused_saying(code, "")
    }

    /// The command is refused with this code, and a message that contains these words.
    #[track_caller]
    pub fn then_refused_saying(self, code: &str, words: &str) -> Self {
        let what = &self.step.what;
        let Some(refusal) = &self.step.refusal else {
            panic!("{what}: was accepted; expected a refusal: {code}")
        };
        assert!(
            refusal.code == code && refusal.message.contains(words),
            "{what}: refused otherwise: {refusal}"
        );
        assert!(
            self.step.events.is_empty() && self.step.effects.is_empty(),
            "{what}: refused, but not without traces"
        );
        self
    }

    /// These lines were logged, in this order, and no others.
    #[track_caller]
    pub fn then_logs<'a>(self, expected: impl IntoIterator<Item = &'a str>) -> Self {
        let expected: Vec<&str> = expected.into_iter().collect();
        let found: Vec<&str> = self.step.lines.iter().map(|(_, line)| line.as_str()).collect();
        self.same("log lines", &expected, &found, |line| (*line).to_owned());
        self
    }

    /// The state is as the closure, with its assertions, says.
    #[track_caller]
    pub fn then_state(self, check: impl FnOnce(&A)) -> Self {
        check(&self.live);
        self
    }

    /// A query is answered with this.
    #[track_caller]
    pub fn then_query(self, query: &A::Query, expected: &A::Answer) -> Self {
        let raw = query.encode().unwrap_or_else(|reason| panic!("query: {reason}"));
        self.then_query_json(&raw, &json(expected))
    }

    /// A query is answered with this, as JSON.
    #[track_caller]
    pub fn then_query_json(self, query: &RawCommand, expected: &Value) -> Self {
        let before = self.saved();
        let answer = machine::query(&self.live, &query.name, &query.body);
        let answer = answer.unwrap_or_else(|refusal| panic!("query {}: refused: {refusal}", query.name));
        let found: Option<Value> = serde_json::from_slice(&answer).ok();
        assert_eq!(
            found.as_ref(),
            Some(expected),
            "query {}: the answer differs (found, expected)",
            query.name
        );
        assert_eq!(before, self.saved(), "query {}: it may not change the state", query.name);
        self
    }

    #[track_caller]
    fn accepted(&self) {
        if let Some(refusal) = &self.step.refusal {
            panic!("{}: was refused: {refusal}", self.step.what);
        }
    }

    #[track_caller]
    fn same<T: PartialEq>(&self, what: &str, expected: &[T], found: &[T], line: impl Fn(&T) -> String) {
        if expected == found {
            return;
        }
        let mut text = format!("{}: {what} differ\n", self.step.what);
        for (title, list) in [("expected", expected), ("found", found)] {
            let _ = writeln!(text, "  {title}:");
            for each in list {
                let _ = writeln!(text, "    {}", line(each));
            }
        }
        panic!("{text}");
    }
}

#[track_caller]
fn json<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or_else(|error| panic!("expected: {error}"))
}

fn event_line(event: &RawEvent) -> String {
    format!("{} v{} {}", event.name, event.version, String::from_utf8_lossy(&event.payload))
}

fn effect_line(effect: &Effect) -> String {
    let body = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match effect {
        Effect::Send { to, command } => format!("send {to} {} {}", command.name, body(&command.body)),
        Effect::Publish { link, subject, body: bytes } => format!("publish {link} {subject} {}", body(bytes)),
        Effect::Call { link, function, body: bytes, answer } => {
            format!("call {link} {function} {} answer {answer}", body(bytes))
        }
        Effect::TimerSet { name, due_ms, misfire, command } => {
            format!("timer {name} at {due_ms} ({misfire:?}) {} {}", command.name, body(&command.body))
        }
        other => format!("{other:?}"),
    }
}
