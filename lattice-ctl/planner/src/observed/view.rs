//! One host as it is seen at one time, and why it gets nothing new.

use super::refusals::Refusals;
use lattice_protocol::desired::Verdict;
use lattice_protocol::heartbeat::Heartbeat;
use lattice_protocol::{ActorId, HostId};
use std::collections::BTreeMap;

/// Why a host gets nothing new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// Its verdict.
    Verdict(Verdict),
    /// Two live machines use its id.
    Conflict,
    /// It reports more used than it has.
    ImplausibleLoad,
    /// It has had this many errors within a minute.
    Errors(u64),
    /// It has come back this often lately.
    Flapping(u32),
}

impl std::fmt::Display for Unfit {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Verdict(Verdict::Alive) => formatter.write_str("alive"),
            Self::Verdict(Verdict::Suspect) => formatter.write_str("suspect"),
            Self::Verdict(Verdict::Lost) => formatter.write_str("lost"),
            Self::Verdict(Verdict::Leaving) => formatter.write_str("leaving"),
            Self::Verdict(Verdict::CutOff) => formatter.write_str("cut off with its site"),
            Self::Verdict(Verdict::Rejoined) => formatter.write_str("has just come back"),
            Self::Flapping(count) => write!(formatter, "flapping: came back {count} times lately"),
            Self::Conflict => formatter.write_str("host id in use"),
            Self::ImplausibleLoad => formatter.write_str("implausible load"),
            Self::Errors(count) => write!(formatter, "{count} errors within a minute"),
        }
    }
}

/// One host as it is seen at one time.
#[derive(Debug, Clone, Copy)]
pub struct HostView<'seen> {
    /// Who.
    pub id: &'seen HostId,
    /// Liveness.
    pub verdict: Verdict,
    /// Its last word.
    pub heartbeat: &'seen Heartbeat,
    /// Milliseconds since that word.
    pub silent_ms: u64,
    /// Why it gets nothing new; `None` when it may.
    pub unfit: Option<Unfit>,
    pub(super) recent_errors: u64,
    pub(super) max_errors: u64,
    pub(super) refusals: &'seen Refusals,
    pub(super) heard: u64,
    pub(super) now_ms: u64,
}

impl<'seen> HostView<'seen> {
    /// Differs when the host has said something since.
    pub(crate) fn word(&self) -> u64 {
        crate::plan::coin(self.heard.rotate_left(32) ^ self.heartbeat.seq, &self.heartbeat.boot_id)
    }

    /// Actors that it has refused more of not long ago, with the replicas that it runs all the same.
    pub(crate) fn refused(&self) -> impl Iterator<Item = (&'seen ActorId, u32)> {
        self.refusals.in_force(self.now_ms)
    }

    /// Seed 004's words: `HEALTHY`, `DEGRADED` (late, leaving, or errors within a minute),
    /// `UNHEALTHY` (lost, or too many of them).
    #[must_use]
    pub fn health(&self) -> &'static str {
        if self.recent_errors >= self.max_errors {
            "UNHEALTHY"
        } else {
            self.verdict.health(self.recent_errors)
        }
    }

    /// Has it just come back, or come back too often? Then it keeps what it has, and gets something
    /// new only when nobody else can take it.
    #[must_use]
    pub fn is_held(&self) -> bool {
        matches!(self.unfit, Some(Unfit::Verdict(Verdict::Rejoined) | Unfit::Flapping(_)))
    }

    /// Why it gets nothing new, not even when nobody else can take it.
    pub(crate) fn barred(&self) -> Option<Unfit> {
        self.unfit.filter(|_| !self.is_held())
    }

    /// Does it carry all of these labels?
    #[must_use]
    pub fn has_labels(&self, wanted: &BTreeMap<String, String>) -> bool {
        wanted.iter().all(|(key, value)| self.heartbeat.label(key) == Some(value))
    }

    /// Has it said, not long ago, that it has no room for this actor?
    #[must_use]
    pub fn has_refused(&self, actor: &ActorId) -> bool {
        self.refusals.runs_only(actor, self.now_ms).is_some()
    }
}
