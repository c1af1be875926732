//! Engines: one per profile, and their linkers.

/// Which kind of engine a component needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Profile {
    /// WASI 0.2 and plain calls; component concurrency off: a call costs a quarter.
    Plain,
    /// WASI 0.3: async functions, streams, futures. Created when the first such component is loaded.
    Concurrent,
}
