//! Tests of a persistent actor without a host: given a history, when a command comes, then this and nothing else.
//!
//! ```
//! # use trellis_guest::actor::{Actor, Decision, Outcome, Turn};
//! # #[trellis_guest::state]
//! # #[derive(Default)]
//! # struct Lamp { on: bool }
//! # #[trellis_guest::commands]
//! # enum Command { Light { seconds: u64 }, Out }
//! # #[trellis_guest::events]
//! # enum Event { Lit, WentOut }
//! # #[trellis_guest::actor]
//! # impl Actor for Lamp {
//! #     type Command = Command;
//! #     type Event = Event;
//! #     fn decide(&self, turn: &Turn, command: Command) -> Outcome<Self> {
//! #         Ok(match command {
//! #             Command::Light { seconds } => {
//! #                 Decision::event(Event::Lit).timer(turn, "out", Duration::from_secs(seconds), &Command::Out)
//! #             }
//! #             Command::Out => Decision::event(Event::WentOut),
//! #         })
//! #     }
//! #     fn apply(&mut self, event: Event) { self.on = event == Event::Lit; }
//! # }
//! use std::time::Duration;
//! use trellis_guest::actor::kit::Given;
//!
//! Given::<Lamp>::nothing()
//!     .when(Command::Light { seconds: 60 })
//!     .then_events([Event::Lit])
//!     .killed()                                  // and folded again, elsewhere
//!     .advance(Duration::from_secs(61))          // timers fire
//!     .then_events([Event::WentOut]);
//! ```
//!
//! Every turn is held to the laws as well, whether a test asks or not: the decision is the same when it is made twice
//! and changes nothing by itself; events read back as they were; folding them again, one by one, or from a snapshot in
//! their middle, gives the same bytes; what leaves stays within the host's limits.

#![allow(clippy::panic, reason = "a test kit says by a panic what is wrong")]

mod drive;
mod garbage;
mod history;
mod laws;
mod then;

use std::collections::BTreeMap;

use super::{Actor, Effect, Misfire, RawCommand, RawEvent, Refusal, machine};
use crate::log::Level;

pub use history::{History, assert_reads_every_version};

/// 2023-11-14T22:13:20Z: when a test begins, unless it says otherwise.
pub const START_MS: u64 = 1_700_000_000_000;

/// An actor with its history, and what the last step did to it. Its methods panic when the actor is not as they say.
pub struct Given<A: Actor> {
    id: String,
    base: Option<(u32, Vec<u8>)>,
    journal: Vec<RawEvent>,
    live: A,
    seq: u64,
    now_ms: u64,
    settings: BTreeMap<String, String>,
    timers: BTreeMap<String, Timer>,
    calls: Vec<OpenCall>,
    stopped: bool,
    step: Step,
}

#[derive(Debug, Clone)]
struct Timer {
    due_ms: u64,
    misfire: Misfire,
    command: RawCommand,
}

#[derive(Debug, Clone)]
struct OpenCall {
    seq: u64,
    index: usize,
    answer: String,
}

/// What one `when`, or one span of time, has brought.
#[derive(Debug, Default)]
struct Step {
    what: String,
    events: Vec<RawEvent>,
    effects: Vec<Effect>,
    reply: Option<Vec<u8>>,
    refusal: Option<Refusal>,
    lines: Vec<(Level, String)>,
}

impl<A: Actor> Given<A> {
    /// An actor without a history. Its id is `test`.
    #[track_caller]
    pub fn nothing() -> Self {
        Self {
            id: "test".to_owned(),
            base: None,
            journal: Vec::new(),
            live: A::new("test"),
            seq: 0,
            now_ms: START_MS,
            settings: BTreeMap::new(),
            timers: BTreeMap::new(),
            calls: Vec::new(),
            stopped: false,
            step: Step::default(),
        }
    }

    /// An actor to which this has happened, each in a turn of its own.
    #[track_caller]
    pub fn events(events: impl IntoIterator<Item = A::Event>) -> Self {
        let raw = |event: A::Event| RawEvent::of(&event).unwrap_or_else(|reason| panic!("given: {reason}"));
        Self::raw_events(events.into_iter().map(raw))
    }

    /// An actor with events as they were stored, of any version.
    #[track_caller]
    pub fn raw_events(events: impl IntoIterator<Item = RawEvent>) -> Self {
        let mut given = Self::nothing();
        given.journal = events.into_iter().collect();
        given.seq = given.journal.len() as u64;
        given.refolded()
    }

    /// An actor with a [`History`] as text, one event a line.
    #[track_caller]
    pub fn history(text: &str) -> Self {
        let history: History = text.parse().unwrap_or_else(|reason: String| panic!("given: {reason}"));
        Self::raw_events(history.0)
    }

    /// An actor from a snapshot, of this version or an older one, taken after `seq` commits.
    #[track_caller]
    pub fn snapshot(seq: u64, version: u32, json: &str) -> Self {
        let mut given = Self::nothing();
        given.base = Some((version, json.as_bytes().to_vec()));
        given.seq = seq;
        given.refolded()
    }

    /// Gives the actor this id.
    #[track_caller]
    pub fn id(mut self, id: &str) -> Self {
        id.clone_into(&mut self.id);
        self.refolded()
    }

    /// Sets the clock, milliseconds since 1970. It does not go back.
    #[track_caller]
    pub fn at(mut self, now_ms: u64) -> Self {
        assert!(
            now_ms >= self.now_ms,
            "at: {now_ms} is before {}: an actor's time never goes back",
            self.now_ms
        );
        self.now_ms = now_ms;
        self
    }

    /// Sets a value of the actor's configuration.
    pub fn setting(mut self, key: &str, value: &str) -> Self {
        self.settings.insert(key.to_owned(), value.to_owned());
        self
    }

    /// The state.
    pub fn state(&self) -> &A {
        &self.live
    }

    /// All events so far, as text that [`Given::history`] reads: to keep as a fixture.
    pub fn to_history(&self) -> String {
        History(self.journal.clone()).to_string()
    }

    #[track_caller]
    fn refolded(mut self) -> Self {
        self.live = self.fold(&self.journal);
        self.check_laws();
        self
    }

    /// The state before all events of the journal.
    #[track_caller]
    fn beginning(&self) -> A {
        match &self.base {
            None => A::new(&self.id),
            Some((version, bytes)) => {
                machine::load(*version, bytes).unwrap_or_else(|reason| panic!("given: {reason}"))
            }
        }
    }

    #[track_caller]
    fn fold(&self, events: &[RawEvent]) -> A {
        let mut actor = self.beginning();
        machine::apply(&mut actor, events).unwrap_or_else(|reason| panic!("folding: {reason}"));
        actor
    }
}
