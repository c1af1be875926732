//! What a persistent guest sees of the world: a clock that says what it is told, random numbers
//! that repeat, and output that is only heard while it decides.

use lattice_protocol::seeded;
use rand_core::TryRng;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use wasmtime_wasi::{HostMonotonicClock, HostWallClock};

/// What a persistent guest is doing: decides which imports answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Folding, loading, saving: nothing answers.
    Folding,
    /// Deciding, or answering a query: it may log and read its configuration.
    Deciding,
}

/// Shared by one store's clocks, random numbers and output.
#[derive(Debug, Default)]
pub(super) struct Ambient {
    now_ms: AtomicU64,
    random: AtomicU64,
    /// Is its output dropped?
    pub(super) quiet: Arc<AtomicBool>,
}

impl Ambient {
    /// From here on it is this time, random numbers follow from this seed, and output is heard or not.
    pub(super) fn set(&self, stage: Stage, now_ms: u64, seed: u64) {
        self.now_ms.store(now_ms, Ordering::Relaxed);
        self.random.store(seed, Ordering::Relaxed);
        self.quiet.store(stage == Stage::Folding, Ordering::Relaxed);
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.now_ms.load(Ordering::Relaxed))
    }

    fn next(&self) -> u64 {
        seeded::first(self.random.fetch_add(seeded::STEP, Ordering::Relaxed))
    }
}

/// The one clock, wall and monotonic: it stands still within an operation.
pub(super) struct Clock(pub(super) Arc<Ambient>);

impl HostWallClock for Clock {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }
    fn now(&self) -> Duration {
        self.0.now()
    }
}

impl HostMonotonicClock for Clock {
    fn resolution(&self) -> u64 {
        1_000_000
    }
    fn now(&self) -> u64 {
        u64::try_from(self.0.now().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Random numbers that repeat.
pub(super) struct Dice(pub(super) Arc<Ambient>);

impl TryRng for Dice {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        // The upper half.
        Ok(u32::try_from(self.0.next() >> 32).unwrap_or_default())
    }
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.0.next())
    }
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            chunk.iter_mut().zip(self.0.next().to_le_bytes()).for_each(|(to, from)| *to = from);
        }
        Ok(())
    }
}
