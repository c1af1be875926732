//! BAD_INPUT.md as its users meet it: one runner over `cases/*.toml`, through the real `trellis`
//! binary, a real host on raw sockets, and a lattice on a real nats-server.
//!
//! ```text
//! cases/*.toml ─ read ─▶ Case ─ try it (command · socket · scenario) ─▶ Outcome ─ judge ─▶ wrong?
//!                                                                                  │
//!                       rows::NAMED ─ each is in a case, or in rows::ELSEWHERE ────┴─▶ table
//! ```
//! A case fails when the code, the exit status or the words are not as it says; and also, whatever
//! it says, when something panicked, hung, grew without bound, was not one line that begins with
//! its code, or showed a secret ([`judge()`]).
//!
//! | module | holds |
//! |---|---|
//! | [`case`] | the form of a case |
//! | [`make`] | inputs that a text cannot hold |
//! | [`desk`], [`world`] | where cases are tried |
//! | [`command`], [`wire`], [`scenarios`] | how they are tried |
//! | [`mod@judge`] | what is wrong with what came of it |
//! | [`rows`], [`table`] | which rows there are, and what became of each |

#![allow(clippy::indexing_slicing, reason = "a test that cannot go on should stop where it is")]

pub mod case;
pub mod command;
pub mod desk;
pub mod judge;
pub mod make;
pub mod rows;
pub mod runner;
pub mod scenarios;
pub mod table;
pub mod wire;
pub mod world;

pub use case::{Case, Expect};
pub use judge::{Outcome, judge};
