//! What is kept under a key, and what can happen to it.

use std::collections::VecDeque;

use crate::actor::Value;

/// What one key holds.
#[trellis_guest_macros::state]
pub struct Entry {
    /// What.
    pub kept: Kept,
    /// When it ends, milliseconds since 1970; none for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_ms: Option<u64>,
}

/// A value, a list or a counter.
#[trellis_guest_macros::state]
#[serde(rename_all = "kebab-case")]
pub enum Kept {
    /// Any JSON.
    Value(Value),
    /// Any JSON, many times.
    List(VecDeque<Value>),
    /// A number that is added to.
    Counter(i64),
}

impl Entry {
    /// Without an end.
    pub fn new(kept: Kept) -> Self {
        Self { kept, end_ms: None }
    }

    /// What it holds, as JSON.
    pub fn to_json(&self) -> Value {
        match &self.kept {
            Kept::Value(value) => value.clone(),
            Kept::List(list) => list.iter().cloned().collect(),
            Kept::Counter(count) => Value::from(*count),
        }
    }
}

/// What can happen to a key.
#[trellis_guest_macros::events]
pub enum KeyEvent {
    /// A value was put there.
    Put {
        /// Where.
        key: String,
        /// What.
        value: Value,
        /// When it ends.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        end_ms: Option<u64>,
    },
    /// The key is gone.
    Deleted {
        /// Which.
        key: String,
    },
    /// The key's time was over.
    Expired {
        /// Which.
        key: String,
    },
    /// The key got another end, or none.
    EndSet {
        /// Which.
        key: String,
        /// When.
        end_ms: Option<u64>,
    },
    /// A list became longer.
    Pushed {
        /// Which.
        key: String,
        /// By what.
        value: Value,
        /// At its front, rather than its back.
        #[serde(default)]
        front: bool,
    },
    /// A list became shorter.
    Popped {
        /// Which.
        key: String,
        /// At its front, rather than its back.
        #[serde(default)]
        front: bool,
    },
    /// A counter was added to.
    Added {
        /// Which.
        key: String,
        /// What.
        by: i64,
    },
}

impl KeyEvent {
    /// Whose.
    pub fn key(&self) -> &str {
        match self {
            Self::Put { key, .. }
            | Self::Deleted { key }
            | Self::Expired { key }
            | Self::EndSet { key, .. }
            | Self::Pushed { key, .. }
            | Self::Popped { key, .. }
            | Self::Added { key, .. } => key,
        }
    }

    /// What it makes of what the key held. Total: what was never decided, as a push to a counter, starts anew.
    pub fn change(self, entry: &mut Option<Entry>) {
        match self {
            Self::Put { value, end_ms, .. } => *entry = Some(Entry { kept: Kept::Value(value), end_ms }),
            Self::Deleted { .. } | Self::Expired { .. } => *entry = None,
            Self::EndSet { end_ms, .. } => entry.iter_mut().for_each(|entry| entry.end_ms = end_ms),
            Self::Pushed { value, front, .. } => {
                let list = list(entry);
                if front { list.push_front(value) } else { list.push_back(value) }
            }
            Self::Popped { front, .. } => {
                let list = list(entry);
                if front {
                    list.pop_front()
                } else {
                    list.pop_back()
                };
                if list.is_empty() {
                    *entry = None;
                }
            }
            Self::Added { by, .. } => match entry {
                Some(Entry { kept: Kept::Counter(count), .. }) => *count = count.saturating_add(by),
                other => *other = Some(Entry::new(Kept::Counter(by))),
            },
        }
    }
}

/// The list that is there, or an empty one.
fn list(entry: &mut Option<Entry>) -> &mut VecDeque<Value> {
    let there = entry.take();
    let (list, end_ms) = match there {
        Some(Entry { kept: Kept::List(list), end_ms }) => (list, end_ms),
        _ => (VecDeque::new(), None),
    };
    let entry = entry.insert(Entry { kept: Kept::List(list), end_ms });
    match &mut entry.kept {
        Kept::List(list) => list,
        Kept::Value(_) | Kept::Counter(_) => unreachable!("it was made a list above"),
    }
}
