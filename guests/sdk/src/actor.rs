//! Persistent actors: event-sourced, and never a lost acknowledged command.
//!
//! An author writes what can be asked (commands), what can happen (events), how one follows from the other
//! ([`Actor::decide`]) and what it changes ([`Actor::apply`]). The host does the rest: it stores, tells, repeats, moves
//! and recovers. A counter, whole:
//!
//! ```
//! use trellis_guest::actor::{Actor, Decision, Outcome, Refusal, Turn};
//!
//! #[trellis_guest::state]
//! #[derive(Default)]
//! struct Counter { total: i64 }
//!
//! #[trellis_guest::commands]
//! enum Command { Add { amount: i64 } }
//!
//! #[trellis_guest::events]
//! enum Event { Added { amount: i64 } }
//!
//! #[trellis_guest::actor]
//! impl Actor for Counter {
//!     type Command = Command;
//!     type Event = Event;
//!     type Reply = i64;
//!
//!     fn decide(&self, _: &Turn, Command::Add { amount }: Command) -> Outcome<Self> {
//!         let total = self.total.checked_add(amount).ok_or_else(|| Refusal::field("amount", "too much"))?;
//!         Ok(Decision::event(Event::Added { amount }).reply(total))
//!     }
//!
//!     fn apply(&mut self, Event::Added { amount }: Event) {
//!         self.total += amount;
//!     }
//! }
//!
//! use trellis_guest::actor::kit::Given;
//!
//! Given::<Counter>::events([Event::Added { amount: 40 }])
//!     .when(Command::Add { amount: 2 })
//!     .then_events([Event::Added { amount: 2 }])
//!     .then_reply(&42);
//! ```
//!
//! # The two halves
//!
//! `apply` is pure: it runs again in every replay, on standbys, perhaps on another processor. It has no turn, so it can
//! neither log nor send; whatever it needs is in the event. `decide` reads, and returns what it wants changed. Time and
//! dice come from the [`Turn`]; what waits for others is an [`Effect`], carried out after the commit is stored. A
//! command that cannot be read, or that the actor refuses, becomes a [`Refusal`] and leaves nothing behind.
//!
//! # Attributes
//!
//! | attribute | on | gives |
//! |---|---|---|
//! | [`state`](crate::state) | struct or enum in a state | JSON in one way only: a `HashMap` in it does not compile |
//! | [`commands`](crate::commands) | enum of commands or queries | a command `add` with the JSON body `{"amount": 2}` |
//! | [`events`](crate::events) | enum of events | an event `added` of version 1 with the JSON payload `{"amount": 2}` |
//! | [`actor`](macro@crate::actor) | `impl Actor for …` | the exported world `trellis:actor/persistent-actor@0.1.0` |
//!
//! The attribute on the `impl` adds what is not written there: `type Reply = ()`, no queries but the built-in `state`,
//! and `new` from `Default`.
//!
//! # As time goes by
//!
//! Events are kept for ever, so their forms are versioned, each by itself:
//!
//! ```
//! use trellis_guest::actor::{Value, json};
//!
//! #[trellis_guest::events]
//! #[event(retired = retired)]
//! enum Event {
//!     #[event(version = 2, upcast = in_celsius)]
//!     Measured { celsius: f64 },
//! }
//!
//! /// Version 1 was in Fahrenheit.
//! fn in_celsius(_version: u32, old: Value) -> Result<Value, String> {
//!     let fahrenheit = old.get("fahrenheit").and_then(Value::as_f64).ok_or("fahrenheit: missing")?;
//!     Ok(json!({ "celsius": (fahrenheit - 32.0) / 1.8 }))
//! }
//!
//! /// Events that no variant has any more.
//! fn retired(name: &str, _version: u32, _old: Value) -> Result<Vec<Event>, String> {
//!     match name {
//!         "calibrated" => Ok(Vec::new()),
//!         _ => Err("unknown".to_owned()),
//!     }
//! }
//! ```
//!
//! The state's form has a version of its own, `#[trellis_guest::state(version = 2, upcast = function)]`; without an
//! upcast an older snapshot is refused, and the host folds from the events instead.
//!
//! # Sugar on the same journal
//!
//! [`keys`] is for authors who model nothing (put, get, delete, lists, counters, expiry); [`flow`] is for missions of
//! several steps that are undone in reverse when one of them fails. [`kit`] tests an actor without a host.

mod codec;
mod command;
mod decision;
mod event;
#[doc(hidden)]
pub mod export;
pub mod flow;
pub mod keys;
#[cfg(not(target_arch = "wasm32"))]
pub mod kit;
#[doc(hidden)]
pub mod machine;
mod ordered;
mod refusal;
mod turn;

pub use codec::Problem;
pub use command::{Answer, CallError, Command, NoQuery, RawCommand};
pub use decision::{Decision, Effect, Misfire, RawDecision};
pub use event::{Event, RawEvent};
pub use ordered::{Form, Ordered};
pub use refusal::Refusal;
/// JSON of any form, as an upcast reads it.
pub use serde_json::{Value, json};
pub use turn::Turn;

#[doc(hidden)]
pub use command::{decode as decode_command, encode as encode_command};
#[doc(hidden)]
pub use event::from_upcast;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// What [`Actor::decide`] returns.
pub type Outcome<A> = Result<Decision<<A as Actor>::Event, <A as Actor>::Reply>, Refusal>;

/// A persistent actor: its state, and what it makes of commands. See the [module](self) for a whole one.
pub trait Actor: Form + Serialize + DeserializeOwned + 'static {
    /// What can be asked of it.
    type Command: Command;
    /// What can happen to it.
    type Event: Event;
    /// What a command is answered, as JSON; an untagged enum where commands differ.
    type Reply: Serialize;
    /// What can be read from it.
    type Query: Command;
    /// What a query is answered, as JSON.
    type Answer: Serialize;

    /// The state of an actor without a history. `id` is the part after the kind.
    fn new(id: &str) -> Self;

    /// What becomes of a command. It changes nothing by itself.
    ///
    /// # Errors
    /// The actor's own no; nothing is stored.
    fn decide(&self, turn: &Turn, command: Self::Command) -> Outcome<Self>;

    /// Takes one event in: total, deterministic, and without any effect.
    fn apply(&mut self, event: Self::Event);

    /// An answer from the state as it is.
    ///
    /// # Errors
    /// The actor's own no.
    fn query(&self, query: Self::Query) -> Result<Self::Answer, Refusal>;
}

#[cfg(test)]
mod tests;
