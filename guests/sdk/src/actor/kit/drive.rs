//! What happens to the actor: commands, answers, time, and the loss of its host.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use serde::Serialize;

use super::{Given, OpenCall, Step, Timer};
use crate::actor::turn::Host;
use crate::actor::{
    Actor, Answer, CallError, Command, Effect, Misfire, RawCommand, RawDecision, Refusal, Turn, machine,
};
use crate::log::Level;

type Made = (Result<RawDecision, Refusal>, Vec<(Level, String)>);

impl<A: Actor> Given<A> {
    /// A command comes from outside.
    #[track_caller]
    pub fn when(self, command: A::Command) -> Self {
        self.when_from(None, command)
    }

    /// A command comes from another actor (`kind/id`), or from outside.
    #[track_caller]
    pub fn when_from(self, sender: Option<&str>, command: A::Command) -> Self {
        let raw = command.encode().unwrap_or_else(|reason| panic!("when: {reason}"));
        let sequence = self.seq + 1;
        let id = match sender {
            Some(sender) => format!("{sender}#{sequence}"),
            None => format!("018bcfe5-687b-7000-8000-{sequence:012x}"),
        };
        self.step(format!("when {}", raw.name)).submit(&raw, id, sender)
    }

    /// A command comes as it comes over the wire: what it is called, and any bytes.
    #[track_caller]
    pub fn when_raw(self, name: &str, body: impl AsRef<[u8]>) -> Self {
        let raw = RawCommand { name: name.to_owned(), body: body.as_ref().to_vec() };
        let id = format!("018bcfe5-687b-7000-8000-{:012x}", self.seq + 1);
        self.step(format!("when {name}")).submit(&raw, id, None)
    }

    /// The oldest call that waits for its answer gets this one.
    #[track_caller]
    pub fn answered<T: Serialize>(self, value: &T) -> Self {
        let value = serde_json::to_value(value).unwrap_or_else(|error| panic!("answered: {error}"));
        self.answer(&Answer::Ok(value))
    }

    /// The oldest call that waits for its answer fails.
    #[track_caller]
    pub fn answered_error(self, code: &str, what: &str) -> Self {
        self.answer(&Answer::Error(CallError { code: code.to_owned(), what: what.to_owned() }))
    }

    #[track_caller]
    fn answer(mut self, answer: &Answer<serde_json::Value>) -> Self {
        assert!(!self.calls.is_empty(), "answered: no call waits for an answer");
        let call = self.calls.remove(0);
        let raw = RawCommand::json(call.answer, answer).unwrap_or_else(|reason| panic!("answered: {reason}"));
        let id = format!("answer {}.{}", call.seq, call.index);
        self.step(format!("answered {id}")).submit(&raw, id, None)
    }

    /// Time passes, and the timers that are due fire, each at its time.
    #[track_caller]
    pub fn advance(self, wait: Duration) -> Self {
        let until = self.now_ms + u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let mut given = self.step(format!("advanced by {wait:?}"));
        while let Some(name) = given.next_due(until) {
            given = given.fire(&name);
        }
        given.now_ms = until;
        given
    }

    /// The host dies, and the actor is folded again from its journal. Timers and calls are as they were.
    #[track_caller]
    pub fn killed(self) -> Self {
        self.step("killed".to_owned()).refolded()
    }

    /// The host dies, and another one takes over so much later: timers that were due fire late, or not at all.
    #[track_caller]
    pub fn down_for(self, wait: Duration) -> Self {
        let mut given = self.killed().step(format!("down for {wait:?}"));
        given.now_ms += u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let now_ms = given.now_ms;
        given.timers.retain(|_, timer| timer.due_ms > now_ms || timer.misfire == Misfire::FireLate);
        while let Some(name) = given.next_due(now_ms) {
            given = given.fire(&name);
        }
        given
    }

    fn next_due(&self, until: u64) -> Option<String> {
        let due = self.timers.iter().filter(|(_, timer)| timer.due_ms <= until);
        due.min_by_key(|(_, timer)| timer.due_ms).map(|(name, _)| name.clone())
    }

    #[track_caller]
    fn fire(mut self, name: &str) -> Self {
        let Some(timer) = self.timers.remove(name) else { return self };
        self.now_ms = self.now_ms.max(timer.due_ms);
        self.submit(&timer.command, format!("timer {name}@{}", timer.due_ms), None)
    }

    fn step(mut self, what: String) -> Self {
        self.step = Step { what, ..Step::default() };
        self
    }

    fn turn(&self, command_id: String, sender: Option<&str>) -> Turn {
        Turn {
            now_ms: self.now_ms,
            seq: self.seq + 1,
            seed: (self.seq + 1).wrapping_mul(0xd134_2543_de82_ef95),
            command_id,
            sender: sender.map(str::to_owned),
            host: Host::Kit { settings: self.settings.clone(), lines: RefCell::default() },
            drawn: Cell::new(0),
        }
    }

    fn decide(&self, command: &RawCommand, command_id: &str, sender: Option<&str>) -> Made {
        let turn = self.turn(command_id.to_owned(), sender);
        let decision = machine::decide(&self.live, &turn, &command.name, &command.body);
        let lines = match turn.host {
            Host::Kit { lines, .. } => lines.into_inner(),
            Host::Real => Vec::new(),
        };
        (decision, lines)
    }

    /// One turn, as the host makes it.
    #[track_caller]
    fn submit(mut self, command: &RawCommand, command_id: String, sender: Option<&str>) -> Self {
        if self.stopped {
            self.step.refusal = Some(Refusal::new("stopped", "the actor's life is over"));
            return self;
        }
        let before = self.saved();
        let made = self.decide(command, &command_id, sender);
        let what = &self.step.what;
        assert!(
            made == self.decide(command, &command_id, sender),
            "{what}: decided twice, it decides differently"
        );
        assert_eq!(before, self.saved(), "{what}: a decision may not change the state by itself");
        let (decision, lines) = made;
        self.step.lines.extend(lines);
        match decision {
            Err(refusal) => {
                // From outside, a repetition is decided anew; everything else is settled, by a commit without events.
                let outside = sender.is_none() && command_id.split(' ').count() == 1;
                self.seq += u64::from(!outside);
                self.step.refusal = Some(refusal);
            }
            Ok(decision) => self.commit(decision),
        }
        self
    }

    #[track_caller]
    fn commit(&mut self, decision: RawDecision) {
        self.check_limits(&decision);
        if let Err(reason) = machine::apply(&mut self.live, &decision.events) {
            panic!("{}: its own event cannot be applied: {reason}", self.step.what);
        }
        self.seq += 1;
        for (index, effect) in decision.effects.iter().enumerate() {
            self.take_in(index, effect);
        }
        self.journal.extend(decision.events.iter().cloned());
        self.step.events.extend(decision.events);
        self.step.effects.extend(decision.effects);
        self.step.reply = Some(decision.reply);
        self.check_laws();
    }

    fn take_in(&mut self, index: usize, effect: &Effect) {
        match effect {
            Effect::Call { answer, .. } => {
                self.calls.push(OpenCall { seq: self.seq, index, answer: answer.clone() });
            }
            Effect::TimerSet { name, due_ms, misfire, command } => {
                let timer = Timer { due_ms: *due_ms, misfire: *misfire, command: command.clone() };
                self.timers.insert(name.clone(), timer);
            }
            Effect::TimerCancel(name) => drop(self.timers.remove(name)),
            Effect::Stop => {
                self.stopped = true;
                self.timers.clear();
            }
            Effect::Send { .. }
            | Effect::Publish { .. }
            | Effect::SnapshotNow
            | Effect::Passivate
            | Effect::Faulty(_) => {}
        }
    }
}
