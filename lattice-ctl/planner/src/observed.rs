//! What heartbeats say, and what is concluded from them, by the receiver's own monotonic clock.
//!
//! ```text
//!            late              silent for the whole timeout, or not connected any more
//!  Alive ──────────▶ Suspect ──────────┬──────────────────────▶ Lost
//!   ▲ ▲ ▲               │              │ with its whole site     ▲ │
//!   │ │ └── heard of ───┘              └──▶ CutOff ── too long ──┘ │
//!   │ │  hold is over                          │                   │
//!   │ └──────────────── Rejoined ◀── heard of ─┴───────────────────┘
//!   │                      ▲ another boot
//!   └── started again ── Leaving ◀── said so
//! ```
//! Invariants: a heartbeat that is not newer than the last of its boot changes nothing; the times
//! in heartbeats are never compared; a host that was never heard of is not called lost before a
//! whole timeout has passed since this observer began, so a controller that has just started moves
//! nothing; a host that comes back keeps what it has at once and is the last choice for anything
//! new during a hold that grows with each return ([`returns`]); memory per host is bounded.

use lattice_protocol::desired::Verdict;
use lattice_protocol::heartbeat::{ActorStatus, Heartbeat};
use lattice_protocol::{ActorId, AppName, ErrorCode, HostId, Report};
use std::collections::BTreeMap;

mod boots;
mod judged;
mod profile;
mod refusals;
mod returns;
mod sites;
mod view;

use boots::Boots;
pub use boots::Conflict;
pub use profile::Profile;
use refusals::Refusals;
use returns::Returns;
pub use sites::SITE_LABEL;
use sites::Sites;
pub use view::{HostView, Unfit};

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

#[derive(Debug, Clone)]
struct Host {
    boots: Boots,
    /// Actors that it had no room for.
    refusals: Refusals,
    returns: Returns,
    /// Its site, and when it was heard last.
    site: Option<String>,
    heard_ms: u64,
    /// How often.
    heard: u64,
}

impl Host {
    /// When its silence counts.
    fn profile(&self, profile: &Profile) -> Profile {
        profile.of(self.boots.newest().interval_ms)
    }
}

/// Everything heard of, by host.
#[derive(Debug, Clone)]
pub struct Observed {
    profile: Profile,
    since_ms: u64,
    hosts: BTreeMap<HostId, Host>,
    sites: Sites,
    /// By application: refusals of what a decision up to this revision asked for do not count.
    forgiven: BTreeMap<AppName, u64>,
}

impl Observed {
    /// An observer that begins now.
    #[must_use]
    pub fn new(profile: Profile, now_ms: u64) -> Self {
        Self {
            profile,
            since_ms: now_ms,
            hosts: BTreeMap::new(),
            sites: Sites::default(),
            forgiven: BTreeMap::new(),
        }
    }

    /// The profile in force.
    #[must_use]
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Takes a heartbeat that has arrived now.
    pub fn apply(&mut self, heartbeat: Heartbeat, now_ms: u64) -> Applied {
        let site = heartbeat.labels.get(SITE_LABEL).cloned();
        let Some(host) = self.hosts.get_mut(&heartbeat.host) else {
            let id = heartbeat.host.clone();
            self.sites.hear(&id, None, site.as_deref(), now_ms);
            let mut host = Host {
                boots: Boots::new(heartbeat, now_ms),
                refusals: Refusals::default(),
                returns: Returns::default(),
                site,
                heard_ms: now_ms,
                heard: 1,
            };
            host.refusals.note(host.boots.newest(), &self.forgiven, now_ms);
            self.hosts.insert(id, host);
            return Applied::Joined;
        };
        let id = heartbeat.host.clone();
        // One that said that it would leave has kept its word: it did not flap.
        let went = host.boots.newest().leaving;
        let means = |beat: &Heartbeat| (beat.boot_id.clone(), beat.load.cpu_millis, beat.load.memory_mib);
        let before = means(host.boots.newest());
        let lost_after_ms = host.profile(&self.profile).lost_after_ms;
        let applied = host.boots.apply(heartbeat, now_ms, lost_after_ms);
        if applied == Applied::Stale {
            return applied;
        }
        if means(host.boots.newest()) != before {
            // What it had no room for before it may have room for now.
            host.refusals.clear();
        }
        host.refusals.note(host.boots.newest(), &self.forgiven, now_ms);
        if matches!(applied, Applied::Rejoined | Applied::Rebooted) && !went {
            host.returns.note(&self.profile, now_ms);
        }
        let before = host.site.as_deref().map(|site| (site, host.heard_ms));
        self.sites.hear(&id, before, site.as_deref(), now_ms);
        (host.site, host.heard_ms, host.heard) = (site, now_ms, host.heard.wrapping_add(1));
        applied
    }

    /// A late host was asked for, as of this word of it, and nobody listens in its name: the server has
    /// seen its connection end. The next heartbeat ends that.
    pub fn vanish(&mut self, host: &HostId, boot_id: &str, seq: u64) {
        if let Some(host) = self.hosts.get_mut(host) {
            host.boots.vanish(boot_id, seq);
        }
    }

    /// Would this heartbeat say anything new of its host, besides how busy it is?
    #[must_use]
    pub fn is_news(&self, heartbeat: &Heartbeat, now_ms: u64) -> bool {
        let Some(host) = self.hosts.get(&heartbeat.host) else { return true };
        let before = host.boots.newest();
        let told = |beat: &Heartbeat| (beat.generation, beat.leaving, beat.is_plausible());
        before.boot_id != heartbeat.boot_id
            || told(before) != told(heartbeat)
            || before.labels != heartbeat.labels
            || before.apps != heartbeat.apps
            || before.errors != heartbeat.errors
            || before.actors.len() != heartbeat.actors.len()
            || before.actors.iter().zip(&heartbeat.actors).any(|(before, now)| !is_same(before, now))
            || self.verdict(host, now_ms) != Verdict::Alive
    }

    /// Has this observer begun so lately that hosts which live may not have spoken yet? Whoever decides
    /// now decides among the few that happened to come first.
    #[must_use]
    pub fn is_listening(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.since_ms) < self.profile.listen_ms
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
            Some(host) => self.verdict(host, now_ms),
            None if now_ms.saturating_sub(self.since_ms) > self.profile.lost_after_ms => Verdict::Lost,
            None => Verdict::Suspect,
        }
    }

    fn verdict(&self, host: &Host, now_ms: u64) -> Verdict {
        match host.boots.judge(&host.profile(&self.profile), now_ms) {
            Verdict::Lost if self.cut_off_until(host, now_ms).is_some_and(|until| now_ms <= until) => {
                Verdict::CutOff
            }
            Verdict::Alive if host.returns.is_held(now_ms) => Verdict::Rejoined,
            verdict => verdict,
        }
    }

    fn cut_off_until(&self, host: &Host, now_ms: u64) -> Option<u64> {
        let site = host.site.as_deref().filter(|_| !host.boots.newest().leaving)?;
        self.sites.cut_off_until(site, host.heard_ms, &self.profile, now_ms)
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
        let verdict = self.verdict(host, now_ms);
        let lost_after_ms = host.profile(&self.profile).lost_after_ms;
        let (heartbeat, recent_errors) = host.boots.current(now_ms, lost_after_ms);
        // What is wrong with a host comes before what it is only held for: a held one may still be
        // the last choice.
        let unfit = if !matches!(verdict, Verdict::Alive | Verdict::Rejoined) {
            Some(Unfit::Verdict(verdict))
        } else if host.boots.conflict(now_ms, lost_after_ms).is_some() {
            Some(Unfit::Conflict)
        } else if !heartbeat.is_plausible() {
            Some(Unfit::ImplausibleLoad)
        } else if recent_errors >= self.profile.max_errors {
            Some(Unfit::Errors(recent_errors))
        } else if verdict == Verdict::Rejoined && host.returns.count() > 1 {
            Some(Unfit::Flapping(host.returns.count()))
        } else {
            (verdict == Verdict::Rejoined).then_some(Unfit::Verdict(verdict))
        };
        let silent_ms = host.boots.silent_ms(now_ms);
        let max_errors = self.profile.max_errors;
        let (refusals, heard) = (&host.refusals, host.heard);
        HostView {
            id,
            verdict,
            heartbeat,
            silent_ms,
            unfit,
            recent_errors,
            max_errors,
            refusals,
            heard,
            now_ms,
        }
    }

    /// Has this host said, not long ago, that it has no room for this actor?
    #[must_use]
    pub fn has_refused(&self, host: &HostId, actor: &ActorId, now_ms: u64) -> bool {
        self.runs_only(host, actor, now_ms).is_some()
    }

    /// If it has refused more of an actor not long ago: the replicas that it runs all the same.
    #[must_use]
    pub fn runs_only(&self, host: &HostId, actor: &ActorId, now_ms: u64) -> Option<u32> {
        self.hosts.get(host)?.refusals.runs_only(actor, now_ms)
    }

    /// What an application shall be has changed, after its decision of this revision: what hosts had no
    /// room for may not be what they will be asked for next.
    pub fn forgive(&mut self, app: &AppName, revision: u64) {
        self.forgiven.insert(app.clone(), revision);
        for host in self.hosts.values_mut() {
            host.refusals.forget(app);
        }
    }

    /// Host ids that two live machines use. The one that came later should be told
    /// `host id in use`; nothing is moved because of it.
    #[must_use]
    pub fn conflicts(&self, now_ms: u64) -> Vec<Conflict> {
        self.hosts
            .values()
            .filter_map(|host| host.boots.conflict(now_ms, host.profile(&self.profile).lost_after_ms))
            .collect()
    }

    /// Forgets a host that will not come back.
    pub fn forget(&mut self, host: &HostId) {
        if let Some(gone) = self.hosts.remove(host) {
            let before = gone.site.as_deref().map(|site| (site, gone.heard_ms));
            self.sites.forget(host, before);
        }
    }

    /// The earliest time after now at which time alone changes a verdict.
    #[must_use]
    pub fn next_change_ms(&self, now_ms: u64) -> Option<u64> {
        let unheard = self.since_ms.saturating_add(self.profile.lost_after_ms);
        let of_host = |host: &Host| {
            let Profile { suspect_after_ms, lost_after_ms, .. } = host.profile(&self.profile);
            let heard = now_ms.saturating_sub(host.boots.silent_ms(now_ms));
            // The last milliseconds of what it is.
            let suspect = heard.saturating_add(suspect_after_ms);
            let lost = heard.saturating_add(lost_after_ms);
            let held = host.returns.is_held(now_ms).then(|| host.returns.held_until_ms - 1);
            [Some(suspect), Some(lost), held, self.cut_off_until(host, now_ms)]
        };
        let of_hosts = self.hosts.values().flat_map(of_host).flatten();
        of_hosts.chain([unheard]).map(|last| last.saturating_add(1)).filter(|at| *at > now_ms).min()
    }

    /// The report of a host that fell silent: `heartbeat timeout: 30000ms`.
    #[must_use]
    pub fn timeout_report(&self, host: &HostId) -> Report {
        let profile = self.hosts.get(host).map_or(self.profile, |host| host.profile(&self.profile));
        let timeout = profile.lost_after_ms;
        Report::new(ErrorCode::HeartbeatTimeout, format!("heartbeat timeout: {timeout}ms"))
            .at(host)
            .hint("check the host's network and its trellis process")
    }
}

/// Does an actor stand as it did?
fn is_same(before: &ActorStatus, now: &ActorStatus) -> bool {
    let stands = |status: &ActorStatus| (status.replicas, status.state.clone());
    before.id == now.id
        && before.digest == now.digest
        && stands(before) == stands(now)
        && before.reason == now.reason
        && before.next == now.next
        && before.check == now.check
}

#[cfg(test)]
mod tests;
