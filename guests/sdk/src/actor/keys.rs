//! A persistent actor that is a set of keys, for authors who model nothing: values, lists, counters, with or without an
//! end. What a function does to the keys is one commit, stored whole or not at all.
//!
//! ```
//! use std::time::Duration;
//! use trellis_guest::actor::keys::Keys;
//! use trellis_guest::actor::{Refusal, Turn};
//!
//! #[trellis_guest::commands]
//! enum Command { Visit { who: String } }
//!
//! #[trellis_guest::kv_actor]
//! fn guest_book(keys: &mut Keys, _: &Turn, Command::Visit { who }: Command) -> Result<i64, Refusal> {
//!     keys.push("visitors", &who)?;
//!     keys.put_for("last", &who, Duration::from_secs(3600))?;
//!     keys.add("visits", 1)
//! }
//! ```
//!
//! Every such actor answers the queries of [`KeyQuery`] and, as all do, `state`. A key with an end is gone for every
//! command from that moment on; a query, which has no clock, may see it until the actor's timer has fired.

mod entry;
mod handle;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::marker::PhantomData;

use serde::{Deserialize, Serialize};

use super::{
    Actor, Command, Decision, Effect, Form, Ordered, Outcome, Problem, RawCommand, Refusal, Turn, Value,
};
pub use entry::{Entry, Kept, KeyEvent};
pub use handle::Keys;

/// The timer of the key that ends next, and the command that it fires. Not for others' timers and commands.
pub const EXPIRE: &str = "keys-expire";

/// What `#[trellis_guest::kv_actor]` makes of a function.
pub trait KvActor: Sized + 'static {
    /// What can be asked.
    type Command: Command;
    /// What is answered.
    type Reply: Serialize;

    /// Does what is asked. When it refuses, nothing that it did to the keys counts.
    ///
    /// # Errors
    /// The author's no.
    fn handle(keys: &mut Keys, turn: &Turn, command: Self::Command) -> Result<Self::Reply, Refusal>;
}

/// The state: all keys.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub struct KeysOf<K> {
    entries: BTreeMap<String, Entry>,
    /// When keys end, milliseconds since 1970, soonest first.
    ends: BTreeSet<(u64, String)>,
    #[serde(skip)]
    actor: PhantomData<K>,
}

impl<K> Ordered for KeysOf<K> {}

impl<K> Form for KeysOf<K> {
    const VERSION: u32 = 1;
    fn upcast(_: u32, _: Value) -> Result<Value, String> {
        Err("not read any more".to_owned())
    }
}

impl<K> fmt::Debug for KeysOf<K> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_map().entries(&self.entries).finish()
    }
}

/// What can be read from any such actor.
#[trellis_guest_macros::commands]
pub enum KeyQuery {
    /// The value, list or number under a key; `null` where there is none.
    Get {
        /// Which.
        key: String,
    },
    /// The keys that begin so, in order.
    Keys {
        /// How; all where there is none.
        #[serde(default)]
        prefix: String,
        /// The last one seen: those after it.
        #[serde(default)]
        after: Option<String>,
        /// At most so many, 1 000 unless said otherwise.
        #[serde(default)]
        limit: Option<usize>,
    },
}

/// A command to the actor: the author's, or of its own timer.
#[derive(Debug, Clone, PartialEq)]
pub enum KeyCommand<C> {
    /// The author's.
    Authors(C),
    /// Keys end.
    Expire,
}

impl<C: Command> Command for KeyCommand<C> {
    fn decode(name: &str, body: &[u8]) -> Result<Self, Problem> {
        if name == EXPIRE { Ok(Self::Expire) } else { C::decode(name, body).map(Self::Authors) }
    }
    fn encode(&self) -> Result<RawCommand, String> {
        match self {
            Self::Authors(command) => command.encode(),
            Self::Expire => Ok(RawCommand { name: EXPIRE.to_owned(), body: b"{}".to_vec() }),
        }
    }
}

impl<K: KvActor> Actor for KeysOf<K> {
    type Command = KeyCommand<K::Command>;
    type Event = KeyEvent;
    type Reply = K::Reply;
    type Query = KeyQuery;
    type Answer = Value;

    fn new(_: &str) -> Self {
        Self { entries: BTreeMap::new(), ends: BTreeSet::new(), actor: PhantomData }
    }

    fn decide(&self, turn: &Turn, command: Self::Command) -> Outcome<Self> {
        let mut keys = Keys::new(&self.entries, turn.now_ms);
        let reply = match command {
            KeyCommand::Authors(command) => Some(K::handle(&mut keys, turn, command)?),
            KeyCommand::Expire => {
                let due = self.ends.iter().take_while(|(end, _)| *end <= turn.now_ms);
                due.for_each(|(_, key)| keys.drop_ended(key));
                None
            }
        };
        let (events, effects) = keys.finish();
        let timer = self.timer_after(&events, turn);
        let decision = Decision::events(events).effects(effects).effects(timer);
        Ok(match reply {
            Some(reply) => decision.reply(reply),
            None => decision,
        })
    }

    fn apply(&mut self, event: KeyEvent) {
        let key = event.key().to_owned();
        let mut entry = self.entries.remove(&key);
        if let Some(end) = entry.as_ref().and_then(|entry| entry.end_ms) {
            self.ends.remove(&(end, key.clone()));
        }
        event.change(&mut entry);
        if let Some(entry) = entry {
            if let Some(end) = entry.end_ms {
                self.ends.insert((end, key.clone()));
            }
            self.entries.insert(key, entry);
        }
    }

    fn query(&self, query: KeyQuery) -> Result<Value, Refusal> {
        Ok(match query {
            KeyQuery::Get { key } => self.entries.get(&key).map(Entry::to_json).unwrap_or_default(),
            KeyQuery::Keys { prefix, after, limit } => {
                let after = after.unwrap_or_default();
                let keys = self.entries.keys().filter(|key| key.starts_with(&prefix) && **key > after);
                keys.take(limit.unwrap_or(1_000)).map(|key| Value::from(key.as_str())).collect()
            }
        })
    }
}

impl<K: KvActor> KeysOf<K> {
    /// Moves the timer to the next end, when these events change it.
    fn timer_after(&self, events: &[KeyEvent], turn: &Turn) -> Option<Effect> {
        let mut changed: BTreeMap<&str, Option<Entry>> = BTreeMap::new();
        for event in events {
            let key = event.key();
            let entry = changed.entry(key).or_insert_with(|| self.entries.get(key).cloned());
            event.clone().change(entry);
        }
        let kept = self.ends.iter().find(|(_, key)| !changed.contains_key(key.as_str())).map(|(end, _)| *end);
        let new = changed.values().flatten().filter_map(|entry| entry.end_ms).min();
        let next = [kept, new].into_iter().flatten().min();
        let now = self.ends.first().map(|(end, _)| *end);
        let fired = turn.fired().is_some_and(|(name, _)| name == EXPIRE);
        match next {
            Some(end) if fired || now != Some(end) => {
                Some(Effect::timer(EXPIRE, end, &KeyCommand::<K::Command>::Expire))
            }
            None if now.is_some() && !fired => Some(Effect::TimerCancel(EXPIRE.to_owned())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
