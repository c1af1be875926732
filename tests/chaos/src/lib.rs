//! Says from a history of a run whether anything was lost, doubled, or out of order.
//!
//! A run under faults writes down, in the order in which it saw them, what clients asked and were told, what is in the
//! journal, and what came out at the sinks ([`history`]). [`check()`] holds these three against each other:
//!
//! | module | finds |
//! |---|---|
//! | [`check::chain`](check) | damage, broken chains, epochs that do not rise, forks; by a replay rule of its own |
//! | [`check::actor`](check) | gaps, broken histories, commands that were lost, doubled, altered, or never given |
//! | [`check::order`](check) | commands and reads out of their order in time, with the journal as the witness |
//! | [`check::linear`](check) | the same without the journal: is there any order that explains what clients saw? |
//! | [`check::effects`](check) | effects that were lost, doubled, out of nowhere, or by an owner that was none any more |
//!
//! A client that got no answer does not know what became of its command: it may have happened at any time since, once,
//! or never. Lost commands are counted apart by where they are missing: before everything else of their actor (prefix),
//! after it (postfix: a tail cut off), or between (middle: the worst, as no cut explains it).
//!
//! [`generate`] makes histories of a simulated lattice that is right, with concurrency, takeovers, fenced owners, lost
//! answers and retries; [`plant`] puts one bug into such a history. The tests hold the checker to both: nothing found
//! in what is right, and every planted bug found.
//!
//! Pure, and deterministic from a seed: no clock, no network.

pub mod check;
pub mod finding;
pub mod generate;
pub mod history;
pub mod model;
pub mod plant;

pub use check::check;
pub use finding::{Finding, Kind, Verdict};
pub use history::{Entry, History, Outcome};

#[cfg(test)]
mod tests;
