//! What heartbeats say, and what is concluded from them, by the receiver's own monotonic clock.
//!
//! ```text
//!            late                  silent for the whole timeout
//!  Alive ──────────▶ Suspect ─────────────────────────────────────▶ Lost
//!    ▲  ▲               │                                             │
//!    │  └── heard of ───┴─────────────── heard of ────────────────────┘
//!    └─ heard of (another boot) ── Leaving ◀── said so
//! ```
//! Invariants: a heartbeat that is not newer than the last of its boot changes nothing; the times
//! in heartbeats are never compared; a host that was never heard of is not called lost before a
//! whole timeout has passed since this observer began, so a controller that has just started moves
//! nothing; memory per host is bounded.

use lattice_protocol::desired::Verdict;
use lattice_protocol::heartbeat::{Heartbeat, RunState};
use lattice_protocol::{ActorId, ErrorCode, HostId, Report};
use std::collections::BTreeMap;

mod boots;

use boots::Boots;
pub use boots::Conflict;

/// Time after which a placement that a host had no room for may be tried there again.
const REFUSAL_MS: u64 = 300_000;

/// When silence counts. Milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    /// Time between heartbeats.
    pub interval_ms: u64,
    /// Silence after which a host is suspect: it keeps what it has and gets nothing new.
    pub suspect_after_ms: u64,
    /// Silence after which a host is lost: what it has moves.
    pub lost_after_ms: u64,
    /// Errors of a host within a minute that make it unfit for anything new.
    pub max_errors: u64,
}

impl Profile {
    /// Gateways behind uplinks that drop: seed 004's 30 seconds.
    pub const EDGE: Self =
        Self { interval_ms: 5_000, suspect_after_ms: 15_000, lost_after_ms: 30_000, max_errors: 5 };
    /// Sites joined by a wide-area network.
    pub const WAN: Self =
        Self { interval_ms: 1_000, suspect_after_ms: 2_500, lost_after_ms: 5_000, max_errors: 5 };
    /// One local network.
    pub const FAST: Self =
        Self { interval_ms: 250, suspect_after_ms: 750, lost_after_ms: 1_500, max_errors: 5 };
}

impl Default for Profile {
    fn default() -> Self {
        Self::EDGE
    }
}

/// What a heartbeat did to the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// A host that was never heard of.
    Joined,
    /// A host that was lost.
    Rejoined,
    /// A known host has started again.
    Rebooted,
    /// The newest word of a host.
    Heard,
    /// A repeated or overtaken heartbeat: ignored.
    Stale,
    /// Two live machines use one host id; see [`Observed::conflicts`].
    Conflict,
}

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
}

impl std::fmt::Display for Unfit {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Verdict(Verdict::Alive) => formatter.write_str("alive"),
            Self::Verdict(Verdict::Suspect) => formatter.write_str("suspect"),
            Self::Verdict(Verdict::Lost) => formatter.write_str("lost"),
            Self::Verdict(Verdict::Leaving) => formatter.write_str("leaving"),
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
    recent_errors: u64,
    max_errors: u64,
}

impl HostView<'_> {
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

    /// Does it carry all of these labels?
    #[must_use]
    pub fn has_labels(&self, wanted: &BTreeMap<String, String>) -> bool {
        wanted.iter().all(|(key, value)| self.heartbeat.labels.get(key) == Some(value))
    }
}

#[derive(Debug, Clone)]
struct Host {
    boots: Boots,
    /// Actors that it had no room for, and until when that counts.
    refusals: BTreeMap<ActorId, u64>,
}

/// Everything heard of, by host.
#[derive(Debug, Clone)]
pub struct Observed {
    profile: Profile,
    since_ms: u64,
    hosts: BTreeMap<HostId, Host>,
}

impl Observed {
    /// An observer that begins now.
    #[must_use]
    pub fn new(profile: Profile, now_ms: u64) -> Self {
        Self { profile, since_ms: now_ms, hosts: BTreeMap::new() }
    }

    /// The profile in force.
    #[must_use]
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Takes a heartbeat that has arrived now.
    pub fn apply(&mut self, heartbeat: Heartbeat, now_ms: u64) -> Applied {
        let lost_after_ms = self.profile.lost_after_ms;
        let Some(host) = self.hosts.get_mut(&heartbeat.host) else {
            let id = heartbeat.host.clone();
            let mut host = Host { boots: Boots::new(heartbeat, now_ms), refusals: BTreeMap::new() };
            host.note_refusals(now_ms);
            self.hosts.insert(id, host);
            return Applied::Joined;
        };
        let applied = host.boots.apply(heartbeat, now_ms, lost_after_ms);
        if applied != Applied::Stale {
            host.note_refusals(now_ms);
        }
        applied
    }

    /// Is this host known at all?
    #[must_use]
    pub fn knows(&self, host: &HostId) -> bool {
        self.hosts.contains_key(host)
    }

    /// Liveness of one host, heard of or not.
    #[must_use]
    pub fn judge(&self, host: &HostId, now_ms: u64) -> Verdict {
        match self.hosts.get(host) {
            Some(host) => host.boots.judge(&self.profile, now_ms),
            None if now_ms.saturating_sub(self.since_ms) > self.profile.lost_after_ms => Verdict::Lost,
            None => Verdict::Suspect,
        }
    }

    /// One host as it is seen now; `None` if it was never heard of.
    #[must_use]
    pub fn view(&self, host: &HostId, now_ms: u64) -> Option<HostView<'_>> {
        let (id, host) = self.hosts.get_key_value(host)?;
        Some(self.view_of(id, host, now_ms))
    }

    /// Every host that was ever heard of, as it is seen now, by id.
    pub fn views(&self, now_ms: u64) -> impl Iterator<Item = HostView<'_>> {
        self.hosts.iter().map(move |(id, host)| self.view_of(id, host, now_ms))
    }

    fn view_of<'seen>(&self, id: &'seen HostId, host: &'seen Host, now_ms: u64) -> HostView<'seen> {
        let verdict = host.boots.judge(&self.profile, now_ms);
        let (heartbeat, recent_errors) = host.boots.current(now_ms, self.profile.lost_after_ms);
        let unfit = if verdict != Verdict::Alive {
            Some(Unfit::Verdict(verdict))
        } else if host.boots.conflict(now_ms, self.profile.lost_after_ms).is_some() {
            Some(Unfit::Conflict)
        } else if !heartbeat.is_plausible() {
            Some(Unfit::ImplausibleLoad)
        } else {
            (recent_errors >= self.profile.max_errors).then_some(Unfit::Errors(recent_errors))
        };
        let silent_ms = host.boots.silent_ms(now_ms);
        let max_errors = self.profile.max_errors;
        HostView { id, verdict, heartbeat, silent_ms, unfit, recent_errors, max_errors }
    }

    /// Has this host said, not long ago, that it has no room for this actor?
    #[must_use]
    pub fn has_refused(&self, host: &HostId, actor: &ActorId, now_ms: u64) -> bool {
        let until = self.hosts.get(host).and_then(|host| host.refusals.get(actor));
        until.is_some_and(|until| now_ms < *until)
    }

    /// Host ids that two live machines use. The one that came later should be told
    /// `host id in use`; nothing is moved because of it.
    #[must_use]
    pub fn conflicts(&self, now_ms: u64) -> Vec<Conflict> {
        self.hosts
            .values()
            .filter_map(|host| host.boots.conflict(now_ms, self.profile.lost_after_ms))
            .collect()
    }

    /// Forgets a host that will not come back.
    pub fn forget(&mut self, host: &HostId) {
        self.hosts.remove(host);
    }

    /// The earliest time after now at which silence alone changes a verdict.
    #[must_use]
    pub fn next_change_ms(&self, now_ms: u64) -> Option<u64> {
        let Profile { suspect_after_ms, lost_after_ms, .. } = self.profile;
        let unheard = self.since_ms.saturating_add(lost_after_ms);
        self.hosts
            .values()
            .map(|host| now_ms.saturating_sub(host.boots.silent_ms(now_ms)))
            .flat_map(|heard| [heard.saturating_add(suspect_after_ms), heard.saturating_add(lost_after_ms)])
            .chain([unheard])
            .map(|last_quiet| last_quiet.saturating_add(1))
            .filter(|at| *at > now_ms)
            .min()
    }

    /// The report of a host that fell silent: `heartbeat timeout: 30000ms`.
    #[must_use]
    pub fn timeout_report(&self, host: &HostId) -> Report {
        let timeout = self.profile.lost_after_ms;
        Report::new(ErrorCode::HeartbeatTimeout, format!("heartbeat timeout: {timeout}ms"))
            .at(host)
            .hint("check the host's network and its trellis process")
    }
}

impl Host {
    fn note_refusals(&mut self, now_ms: u64) {
        self.refusals.retain(|_, until| now_ms < *until);
        for actor in &self.boots.newest().actors {
            let refused = actor.state != RunState::Running
                && actor.reason.as_deref().is_some_and(|reason| {
                    reason.contains("insufficient resources")
                        || reason.contains(ErrorCode::InsufficientResources.as_str())
                });
            if refused {
                self.refusals.insert(actor.id.clone(), now_ms.saturating_add(REFUSAL_MS));
            }
        }
    }
}

#[cfg(test)]
mod tests;
