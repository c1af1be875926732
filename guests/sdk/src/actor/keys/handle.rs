//! What an author's function holds: the keys as they are, and what it has done to them so far.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::entry::{Entry, Kept, KeyEvent};
use crate::actor::{Effect, Refusal, Value};

/// The keys of one actor, in one turn. What is done here is seen by later reads of the same turn, and by nobody else
/// before it is stored.
#[derive(Debug)]
pub struct Keys<'a> {
    stored: &'a BTreeMap<String, Entry>,
    changed: BTreeMap<String, Option<Entry>>,
    now_ms: u64,
    events: Vec<KeyEvent>,
    effects: Vec<Effect>,
}

impl<'a> Keys<'a> {
    pub(super) fn new(stored: &'a BTreeMap<String, Entry>, now_ms: u64) -> Self {
        Self { stored, changed: BTreeMap::new(), now_ms, events: Vec::new(), effects: Vec::new() }
    }

    pub(super) fn finish(self) -> (Vec<KeyEvent>, Vec<Effect>) {
        (self.events, self.effects)
    }

    /// What is under the key, ended or not.
    fn raw(&self, key: &str) -> Option<&Entry> {
        match self.changed.get(key) {
            Some(changed) => changed.as_ref(),
            None => self.stored.get(key),
        }
    }

    /// What is under the key now.
    fn entry(&self, key: &str) -> Option<&Entry> {
        self.raw(key).filter(|entry| entry.end_ms.is_none_or(|end| end > self.now_ms))
    }

    fn happen(&mut self, event: KeyEvent) {
        self.drop_ended(event.key());
        self.push_event(event);
    }

    fn push_event(&mut self, event: KeyEvent) {
        let mut entry = self.raw(event.key()).cloned();
        event.clone().change(&mut entry);
        self.changed.insert(event.key().to_owned(), entry);
        self.events.push(event);
    }

    /// Takes a key away whose time is over.
    pub(super) fn drop_ended(&mut self, key: &str) {
        if self.raw(key).is_some() && self.entry(key).is_none() {
            self.push_event(KeyEvent::Expired { key: key.to_owned() });
        }
    }

    /// Is there something under the key?
    pub fn exists(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }

    /// The value under a key.
    ///
    /// # Errors
    /// `wrong-type`: it is no `T`.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Refusal> {
        self.entry(key).map(|entry| read(key, entry.to_json())).transpose()
    }

    /// Puts a value there, in place of whatever was, for ever.
    ///
    /// # Errors
    /// `actor-fault`: it has no JSON form.
    pub fn put<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), Refusal> {
        self.put_until(key, value, None)
    }

    /// Puts a value there for so long.
    ///
    /// # Errors
    /// As [`Keys::put`].
    pub fn put_for<T: Serialize + ?Sized>(
        &mut self,
        key: &str,
        value: &T,
        time: Duration,
    ) -> Result<(), Refusal> {
        self.put_until(key, value, Some(self.after(time)))
    }

    fn put_until<T: Serialize + ?Sized>(
        &mut self,
        key: &str,
        value: &T,
        end_ms: Option<u64>,
    ) -> Result<(), Refusal> {
        let value = json(key, value)?;
        self.happen(KeyEvent::Put { key: key.to_owned(), value, end_ms });
        Ok(())
    }

    fn after(&self, time: Duration) -> u64 {
        self.now_ms.saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    }

    /// Takes the key away; says whether there was something.
    pub fn delete(&mut self, key: &str) -> bool {
        let there = self.exists(key);
        if there {
            self.happen(KeyEvent::Deleted { key: key.to_owned() });
        }
        there
    }

    /// Lets the key end after so long, or never; says whether there was something.
    pub fn expire(&mut self, key: &str, time: Option<Duration>) -> bool {
        let there = self.exists(key);
        if there {
            let end_ms = time.map(|time| self.after(time));
            self.happen(KeyEvent::EndSet { key: key.to_owned(), end_ms });
        }
        there
    }

    /// The keys that begin so, in order.
    pub fn keys(&self, prefix: &str) -> Vec<String> {
        let all = self.stored.keys().chain(self.changed.keys().filter(|key| !self.stored.contains_key(*key)));
        let mut keys: Vec<String> =
            all.filter(|key| key.starts_with(prefix) && self.exists(key)).cloned().collect();
        keys.sort();
        keys
    }

    /// Adds to a counter, which begins at 0, and gives what it is then.
    ///
    /// # Errors
    /// `wrong-type`: there is something else. `limit-exceeded`: a counter has 64 bits.
    pub fn add(&mut self, key: &str, by: i64) -> Result<i64, Refusal> {
        let count = self.counter(key)?;
        let sum = count.checked_add(by);
        let sum =
            sum.ok_or_else(|| Refusal::new("limit-exceeded", format!("{key}: {count} + {by}: too large")))?;
        self.happen(KeyEvent::Added { key: key.to_owned(), by });
        Ok(sum)
    }

    /// A counter; 0 where there is nothing.
    ///
    /// # Errors
    /// `wrong-type`: there is something else.
    pub fn counter(&self, key: &str) -> Result<i64, Refusal> {
        match self.entry(key).map(|entry| &entry.kept) {
            None => Ok(0),
            Some(Kept::Counter(count)) => Ok(*count),
            Some(other) => Err(wrong_type(key, other, "a counter")),
        }
    }

    fn values(&self, key: &str) -> Result<Option<&std::collections::VecDeque<Value>>, Refusal> {
        match self.entry(key).map(|entry| &entry.kept) {
            None => Ok(None),
            Some(Kept::List(list)) => Ok(Some(list)),
            Some(other) => Err(wrong_type(key, other, "a list")),
        }
    }

    /// A list; empty where there is nothing.
    ///
    /// # Errors
    /// `wrong-type`: there is something else, or not of `T`.
    pub fn list<T: DeserializeOwned>(&self, key: &str) -> Result<Vec<T>, Refusal> {
        let values = self.values(key)?.into_iter().flatten();
        values.map(|value| read(key, value.clone())).collect()
    }

    /// How long a list is; 0 where there is nothing.
    ///
    /// # Errors
    /// `wrong-type`: there is something else.
    pub fn length(&self, key: &str) -> Result<usize, Refusal> {
        Ok(self.values(key)?.map_or(0, std::collections::VecDeque::len))
    }

    /// Adds at the back of a list, and gives its length then.
    ///
    /// # Errors
    /// `wrong-type`: there is something else. `actor-fault`: the value has no JSON form.
    pub fn push<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<usize, Refusal> {
        self.push_at(key, value, false)
    }

    /// Adds at the front of a list, and gives its length then.
    ///
    /// # Errors
    /// As [`Keys::push`].
    pub fn push_front<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<usize, Refusal> {
        self.push_at(key, value, true)
    }

    fn push_at<T: Serialize + ?Sized>(
        &mut self,
        key: &str,
        value: &T,
        front: bool,
    ) -> Result<usize, Refusal> {
        let length = self.length(key)?;
        let value = json(key, value)?;
        self.happen(KeyEvent::Pushed { key: key.to_owned(), value, front });
        Ok(length + 1)
    }

    /// Takes from the back of a list. A list that has become empty is gone.
    ///
    /// # Errors
    /// `wrong-type`: there is something else, or not a `T`.
    pub fn pop<T: DeserializeOwned>(&mut self, key: &str) -> Result<Option<T>, Refusal> {
        self.pop_at(key, false)
    }

    /// Takes from the front of a list. A list that has become empty is gone.
    ///
    /// # Errors
    /// As [`Keys::pop`].
    pub fn pop_front<T: DeserializeOwned>(&mut self, key: &str) -> Result<Option<T>, Refusal> {
        self.pop_at(key, true)
    }

    fn pop_at<T: DeserializeOwned>(&mut self, key: &str, front: bool) -> Result<Option<T>, Refusal> {
        let Some(list) = self.values(key)? else { return Ok(None) };
        let value = if front { list.front() } else { list.back() };
        let Some(value) = value.cloned() else { return Ok(None) };
        let value = read(key, value)?;
        self.happen(KeyEvent::Popped { key: key.to_owned(), front });
        Ok(Some(value))
    }

    /// Something to be done when all this is stored.
    pub fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }
}

fn read<T: DeserializeOwned>(key: &str, value: Value) -> Result<T, Refusal> {
    serde_json::from_value(value).map_err(|error| Refusal::new("wrong-type", format!("{key}: {error}")))
}

fn json<T: Serialize + ?Sized>(key: &str, value: &T) -> Result<Value, Refusal> {
    serde_json::to_value(value).map_err(|error| Refusal::new("actor-fault", format!("{key}: {error}")))
}

fn wrong_type(key: &str, found: &Kept, wanted: &str) -> Refusal {
    let found = match found {
        Kept::Value(_) => "a value",
        Kept::List(_) => "a list",
        Kept::Counter(_) => "a counter",
    };
    Refusal::new("wrong-type", format!("{key}: is {found}, not {wanted}; delete it first"))
}
