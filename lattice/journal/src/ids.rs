//! Numbers and hashes that order a journal. Each is a type of its own: a record's sequence is never
//! taken for an actor's, nor either of them for a place in a stream.

use lattice_protocol::EntityKey;
use std::fmt;

/// Shards of a lattice unless its operator says otherwise. It never changes afterwards: it decides
/// which stream an actor's history is in.
pub const DEFAULT_SHARDS: u16 = 64;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u64);

        impl $name {
            /// The one after it.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, formatter)
            }
        }
    };
}

number!(
    /// A valid record's place in its shard: 1, 2, 3 … without a gap; 0 is "none yet".
    RecordSeq
);
number!(
    /// A commit's place in its actor's history: 1, 2, 3 … without a gap; 0 is "none yet".
    ActorSeq
);
number!(
    /// Who may write a shard: each owner has a higher one than all before it. 0 is "nobody yet".
    Epoch
);
number!(
    /// A message's place in the stream or file that stores a shard, invalid records included. Only
    /// the log gives it; 0 is "before the first".
    Position
);

/// One of a lattice's shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ShardId(pub u16);

impl ShardId {
    /// The shard of an actor in a lattice of so many shards. The same on every machine, for ever.
    #[must_use]
    pub fn of(key: &EntityKey, shards: u16) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(key.kind.as_str().as_bytes()).update(b"/").update(key.id.as_str().as_bytes());
        let mut first = [0; 8];
        hasher.finalize_xof().fill(&mut first);
        let shard = u64::from_le_bytes(first) % u64::from(shards.max(1));
        // Below `shards`, which is 16 bits.
        Self(u16::try_from(shard).unwrap_or_default())
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

/// A BLAKE3 hash: of a record, of an actor's history up to a commit, of a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// What precedes the first record of a shard, and the first commit of an actor.
    pub const ZERO: Self = Self([0; 32]);

    /// Of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// Of these bytes, one after the other.
    #[must_use]
    pub fn of_parts(parts: &[&[u8]]) -> Self {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if length <= blake3::BLOCK_LEN * 4 {
            // A hasher is larger than what most of them hash.
            let mut all = Vec::with_capacity(length);
            parts.iter().for_each(|part| all.extend_from_slice(part));
            return Self::of(&all);
        }
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            hasher.update(part);
        }
        Self(*hasher.finalize().as_bytes())
    }

    /// Its first eight bytes: enough to find an accident, not a forger.
    #[must_use]
    pub fn short(&self) -> [u8; 8] {
        let mut short = [0; 8];
        short.iter_mut().zip(self.0).for_each(|(to, from)| *to = from);
        short
    }
}

impl fmt::Display for Hash {
    /// Sixteen hexadecimal digits: enough to tell two apart in a log.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.short().iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Time as the state machines take it: both clocks at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Milliseconds from an arbitrary start, never back: leases and deadlines.
    pub monotonic_ms: u64,
    /// Milliseconds since 1970, which may jump: ages of command ids, times in commits.
    pub unix_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shard_of_an_actor_never_changes() {
        // Golden: to change these is to lose every actor's history.
        let shard = |key: &str| ShardId::of(&key.parse().unwrap(), DEFAULT_SHARDS).0;
        assert_eq!(["meter/m-1", "meter/m-2", "battery/b"].map(shard), [31, 35, 23]);
    }

    #[test]
    fn actors_spread_over_all_shards() {
        let mut counts = [0; 64];
        for n in 0..6_400 {
            let key = format!("meter/m-{n}").parse().unwrap();
            counts[usize::from(ShardId::of(&key, 64).0)] += 1;
        }
        assert!(counts.iter().all(|count| (50..=160).contains(count)), "{counts:?}");
        assert_eq!(ShardId::of(&"a/b".parse().unwrap(), 0), ShardId(0));
    }
}
