//! Placement, without IO: what is desired and what is observed in, a plan and host specs out.
//!
//! Pure: no clock, no randomness, no task. Times are monotonic milliseconds of the controller and
//! the seed is an argument; the same input gives the same plan, byte for byte.
//!
//! | module | holds |
//! |---|---|
//! | [`known`] | the records, and what of them has changed |
//! | [`observed`] | heartbeats in, liveness out |
//! | [`pace`] | how fast things may move |
//! | [`plan`] | which host runs how many of what, and why |
//! | [`rollout`] | new versions, a few hosts at a time |
//! | [`scaling`] | how many replicas at which load |
//! | [`specs`] | what follows from that for each host |
//! | [`table`] | records by application, as somebody else keeps them |
//! | [`check`] | an independent judge of plans |
//! | [`dry_run`] | what a plan would do, for people |
//! | [`edit`] | imperative commands as changes of what is desired |

pub mod check;
pub mod dry_run;
pub mod edit;
pub mod known;
pub mod observed;
mod outline;
pub mod pace;
pub mod plan;
pub mod rollout;
pub mod scaling;
mod sorted;
pub mod specs;
pub mod table;

#[cfg(test)]
mod fixtures;

pub use check::{Violation, check};
pub use known::{Known, Moment, Revised, Told, ToldActor};
pub use observed::{Applied, HostView, Observed, Profile};
pub use pace::{Pace, Pacer};
pub use plan::{Allowance, Input, NoPolicy, Plan, Planner, Policy, Step, Turn, plan};
pub use rollout::{Decision, Trials};
pub use scaling::Scaling;
pub use specs::{SpecInput, host_specs};
pub use table::Table;
