//! What a write does, decided without IO.
//!
//! A batch is a [`Staged`] set of effects over the committed mirror; each operation sees what the
//! operations before it in the batch did. Nothing is visible to readers, and nothing counts
//! against the memory budget, until [`Core::apply`].

use crate::mirror::{Effects, Entry, Mirror};
use bytes::Bytes;
use providers_sdk::{ProviderError, ProviderErrorKind};
use std::sync::Arc;

/// What an entry costs beside its bytes: map node, pointers, version. An estimate on purpose.
const ENTRY_OVERHEAD_BYTES: u64 = 96;

/// One operation on one key of a bucket.
#[derive(Debug)]
pub(crate) enum Operation {
    /// Writes over whatever is there.
    Set { key: Box<str>, value: Bytes },
    /// Deletes; an absent key is fine.
    Delete { key: Box<str> },
    /// Adds to a decimal integer.
    Increment { key: Box<str>, delta: i64 },
    /// Writes if the entry still has this version; 0 means absent.
    Swap { key: Box<str>, version: u64, value: Bytes },
}

/// What an operation answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing to say.
    Done,
    /// The new number.
    Number(i64),
    /// Whether the swap took place.
    Swapped(bool),
}

/// Effects decided but not yet durable.
#[derive(Default)]
pub(crate) struct Staged {
    /// By bucket and key; the last one counts.
    pub(crate) effects: Effects,
    bytes: i128,
    versions: u64,
}

/// What the one writer owns: the mirror, the budget and the version counter.
pub(crate) struct Core {
    pub(crate) mirror: Arc<Mirror>,
    /// Bytes in use, entry overhead included.
    pub(crate) used_bytes: u64,
    /// The budget.
    pub(crate) max_bytes: u64,
    /// The version of the next write.
    pub(crate) next_version: u64,
}

/// What an entry counts for.
pub(crate) fn cost_bytes(bucket: &str, key: &str, value: &[u8]) -> u64 {
    (bucket.len() + key.len() + value.len()) as u64 + ENTRY_OVERHEAD_BYTES
}

fn number(key: &str, value: &[u8]) -> Result<i64, ProviderError> {
    std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).ok_or_else(|| {
        ProviderError::new(
            ProviderErrorKind::Invalid,
            format!("increment: key {key:?} does not hold a decimal integer of 64 bits"),
        )
    })
}

impl Core {
    fn current<'a>(&'a self, staged: &'a Staged, at: &(Arc<str>, Box<str>)) -> Option<Entry> {
        match staged.effects.get(at) {
            Some(effect) => effect.clone(),
            None => self.mirror.get(&at.0, &at.1),
        }
    }

    /// Decides one operation.
    ///
    /// # Errors
    /// Over the memory budget, or a number that is none; nothing is staged then.
    pub(crate) fn stage(
        &self,
        staged: &mut Staged,
        bucket: &Arc<str>,
        operation: Operation,
    ) -> Result<Outcome, ProviderError> {
        match operation {
            Operation::Set { key, value } => {
                self.put(staged, (Arc::clone(bucket), key), Some(value))?;
                Ok(Outcome::Done)
            }
            Operation::Delete { key } => {
                self.put(staged, (Arc::clone(bucket), key), None)?;
                Ok(Outcome::Done)
            }
            Operation::Increment { key, delta } => {
                let at = (Arc::clone(bucket), key);
                let before = match self.current(staged, &at) {
                    Some(entry) => number(&at.1, &entry.value)?,
                    None => 0,
                };
                let after = before.checked_add(delta).ok_or_else(|| {
                    ProviderError::new(
                        ProviderErrorKind::Limit,
                        format!("increment: key {:?} would overflow 64 bits (got {before} + {delta})", at.1),
                    )
                })?;
                self.put(staged, at, Some(after.to_string().into()))?;
                Ok(Outcome::Number(after))
            }
            Operation::Swap { key, version, value } => {
                let at = (Arc::clone(bucket), key);
                let holds = self.current(staged, &at).map_or(0, |entry| entry.version) == version;
                if holds {
                    self.put(staged, at, Some(value))?;
                }
                Ok(Outcome::Swapped(holds))
            }
        }
    }

    fn put(
        &self,
        staged: &mut Staged,
        at: (Arc<str>, Box<str>),
        value: Option<Bytes>,
    ) -> Result<(), ProviderError> {
        let before = self.current(staged, &at);
        if before.is_none() && value.is_none() {
            return Ok(());
        }
        let cost = |value: &Bytes| i128::from(cost_bytes(&at.0, &at.1, value));
        let growth = value.as_ref().map_or(0, cost) - before.as_ref().map_or(0, |entry| cost(&entry.value));
        let total = i128::from(self.used_bytes) + staged.bytes + growth;
        if growth > 0 && total > i128::from(self.max_bytes) {
            return Err(ProviderError::new(
                ProviderErrorKind::Limit,
                format!(
                    "key-value store is full: key {:?} (got {total} bytes, limit {}); delete keys or raise max_bytes",
                    at.1, self.max_bytes
                ),
            ));
        }
        staged.bytes += growth;
        let version = self.next_version + staged.versions;
        staged.versions += 1;
        staged.effects.insert(at, value.map(|value| Entry { value, version }));
        Ok(())
    }

    /// Makes a batch visible, after it is durable.
    pub(crate) fn apply(&mut self, staged: Staged) {
        self.used_bytes = u64::try_from(i128::from(self.used_bytes) + staged.bytes).unwrap_or(0);
        self.next_version += staged.versions;
        self.mirror.apply(staged.effects);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn core(max_bytes: u64) -> Core {
        Core { mirror: Arc::default(), used_bytes: 0, max_bytes, next_version: 1 }
    }

    fn set(key: &str, value: &'static str) -> Operation {
        Operation::Set { key: key.into(), value: value.into() }
    }

    #[test]
    fn a_batch_sees_itself_and_readers_see_it_only_when_applied() {
        let mut core = core(10_000);
        let (bucket, mut staged) = (Arc::from("b"), Staged::default());
        core.stage(&mut staged, &bucket, set("n", "41")).unwrap();
        let add = Operation::Increment { key: "n".into(), delta: 1 };
        assert_eq!(core.stage(&mut staged, &bucket, add).unwrap(), Outcome::Number(42));
        assert_eq!(core.mirror.get("b", "n"), None);
        core.apply(staged);
        assert_eq!(core.mirror.get("b", "n").unwrap().value, "42");
    }

    #[test]
    fn a_swap_holds_only_for_the_version_it_was_read_at() {
        let mut core = core(10_000);
        let bucket = Arc::from("b");
        let swap = |version| Operation::Swap { key: "k".into(), version, value: "v".into() };
        let mut staged = Staged::default();
        assert_eq!(core.stage(&mut staged, &bucket, swap(0)).unwrap(), Outcome::Swapped(true));
        assert_eq!(core.stage(&mut staged, &bucket, swap(0)).unwrap(), Outcome::Swapped(false));
        core.apply(staged);
        let version = core.mirror.get("b", "k").unwrap().version;
        let mut staged = Staged::default();
        core.stage(&mut staged, &bucket, Operation::Delete { key: "k".into() }).unwrap();
        assert_eq!(core.stage(&mut staged, &bucket, swap(version)).unwrap(), Outcome::Swapped(false));
    }

    #[test]
    fn the_budget_counts_what_is_staged_and_gives_back_what_is_deleted() {
        let mut core = core(2 * cost_bytes("b", "k1", b"0123456789"));
        let bucket = Arc::from("b");
        let mut staged = Staged::default();
        core.stage(&mut staged, &bucket, set("k1", "0123456789")).unwrap();
        core.stage(&mut staged, &bucket, set("k2", "0123456789")).unwrap();
        let full = core.stage(&mut staged, &bucket, set("k3", "")).unwrap_err();
        assert_eq!(full.kind, ProviderErrorKind::Limit);
        core.stage(&mut staged, &bucket, set("k1", "short")).unwrap();
        core.stage(&mut staged, &bucket, Operation::Delete { key: "k2".into() }).unwrap();
        core.stage(&mut staged, &bucket, set("k3", "")).unwrap();
        core.apply(staged);
        assert_eq!(core.used_bytes, cost_bytes("b", "k1", b"short") + cost_bytes("b", "k3", b""));
    }

    #[test]
    fn an_increment_refuses_text_and_overflow_and_changes_nothing() {
        let core = core(10_000);
        let (bucket, mut staged) = (Arc::from("b"), Staged::default());
        core.stage(&mut staged, &bucket, set("t", "ten")).unwrap();
        core.stage(&mut staged, &bucket, set("m", "9223372036854775807")).unwrap();
        let add = |key: &str| Operation::Increment { key: key.into(), delta: 1 };
        assert_eq!(core.stage(&mut staged, &bucket, add("t")).unwrap_err().kind, ProviderErrorKind::Invalid);
        assert_eq!(core.stage(&mut staged, &bucket, add("m")).unwrap_err().kind, ProviderErrorKind::Limit);
        assert_eq!(staged.effects.len(), 2);
    }
}
