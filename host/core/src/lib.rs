//! The host's decisions, without IO: what to start and stop, what to admit, when to try again.
//!
//! Pure: no clock, no randomness, no task. Times are monotonic milliseconds (`u64`, any origin)
//! and seeds are arguments; every function gives the same answer for the same arguments, so all
//! of it is tested without a host.
//!
//! | module | decides |
//! |---|---|
//! | [`accept`] | which of two host specs wins |
//! | [`admit`] | whether an actor may start on this host |
//! | [`reconcile`] | what leads from what runs to what shall run |
//! | [`overload`] | which calls begin, wait or are refused when the processors cannot keep up |
//! | [`pool`] | whether a call gets an instance, waits, or is refused |
//! | [`retry`] | whether and when an attempt at a call is repeated |
//! | [`jitter`] | how long a pause really is, so that not all come back together |
//! | [`circuit`] | whether a target that fails often is tried at all |
//! | [`guest`] | (nothing: the boundary to what runs persistent actors' guests) |
//! | [`leave`] | what a host that leaves goes on running, and when it is let go |
//! | [`supervise`] | when something that failed is started again |

#[cfg(test)]
mod fixtures;

pub mod accept;
pub mod admit;
pub mod circuit;
pub mod guest;
pub mod jitter;
pub mod leave;
pub mod overload;
pub mod pool;
pub mod reconcile;
pub mod retry;
pub mod supervise;

pub use accept::{Verdict, accept};
pub use admit::{Capacity, admit_links, admit_memory};
pub use circuit::{Admission, Circuit, CircuitPolicy, Ticket};
pub use overload::{Line, OverloadLimits};
pub use pool::{Decision, PoolLimits, PoolState};
pub use reconcile::{Action, ActorNow, Changes, Inventory, Phase, ProviderNow, Steps, links_of, reconcile};
pub use retry::{Attempt, Outcome, Retry, RetryPolicy};
pub use supervise::{Restart, RestartPolicy, Supervisor};
