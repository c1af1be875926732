//! Which hosts have the new version next. Only hosts that are heard of are picked, so that each
//! shows something; those that are not follow with the last wave, whenever they come back.

use super::gate::is_heard;
use crate::plan::{Input, coin};
use lattice_protocol::rollout::{Progress, Share, Strategy};
use lattice_protocol::{ActorId, HostId, Places};
use std::collections::BTreeSet;

/// What is known when hosts are picked for one actor.
pub(super) struct Picking<'p> {
    pub(super) id: &'p ActorId,
    /// Replicas that there shall be; `None`: as many as there are hosts.
    pub(super) wanted: Option<u32>,
    /// Replicas by host, as they will be.
    pub(super) placed: &'p Places,
    /// As they were.
    pub(super) before: &'p Places,
    pub(super) passed: &'p BTreeSet<HostId>,
    pub(super) prefer: &'p BTreeSet<HostId>,
    pub(super) input: &'p Input<'p>,
}

impl Picking<'_> {
    /// The hosts that join those that have it.
    pub(super) fn next(&self, strategy: &Strategy, progress: &Progress) -> BTreeSet<HostId> {
        match strategy {
            Strategy::Rolling { max_unavailable, max_surge } => {
                self.roll(*max_unavailable, *max_surge, progress)
            }
            Strategy::Canary { .. } | Strategy::BlueGreen => self.wave(strategy, progress),
        }
    }

    fn is_heard(&self, host: &HostId) -> bool {
        is_heard(self.input.observed, host, self.input.now_ms)
    }

    /// Did it have replicas before?
    fn is_old(&self, host: &HostId) -> bool {
        self.before.contains_key(host)
    }

    /// Hosts without it that are heard of: new ones, which have nothing to lose, those that were
    /// picked before, then those with least.
    fn candidates(&self, progress: &Progress) -> Vec<(&HostId, u32)> {
        let without = self.placed.iter().filter(|(host, _)| !progress.updated.contains(*host));
        let mut found: Vec<(&HostId, u32)> =
            without.filter(|(host, _)| self.is_heard(host)).map(|(host, count)| (host, *count)).collect();
        let seed = coin(self.input.seed, self.id.name.as_str());
        found.sort_by_key(|(host, count)| {
            (self.is_old(host), !self.prefer.contains(*host), *count, coin(seed, host.as_str()))
        });
        found
    }

    fn wave(&self, strategy: &Strategy, progress: &Progress) -> BTreeSet<HostId> {
        let have = progress.updated.iter().filter(|host| self.is_heard(host)).count();
        let quota = if progress.wave >= strategy.last_wave() {
            usize::MAX
        } else {
            strategy.hosts_in(progress.wave, self.placed.len()).saturating_sub(have)
        };
        let chosen = self.candidates(progress).into_iter().take(quota);
        chosen.map(|(host, _)| host.clone()).collect()
    }

    /// As many as leave enough replicas on hosts that are good; one host at least, when nothing is
    /// under way. New hosts of a surge have the new version from the start.
    fn roll(&self, max_unavailable: Share, max_surge: Share, progress: &Progress) -> BTreeSet<HostId> {
        let wide = |count: u32| u64::from(count);
        let heard = || self.placed.iter().filter(|(host, _)| self.is_heard(host));
        let total: u64 = heard().map(|(_, count)| wide(*count)).sum();
        let bound = u32::try_from(total).unwrap_or(u32::MAX).min(self.wanted.unwrap_or(u32::MAX));
        let least = wide(bound).saturating_sub(wide(max_unavailable.at_most(bound)));
        let is_good = |host: &HostId| self.passed.contains(host) || !progress.updated.contains(host);
        let mut good: u64 = heard().filter(|(host, _)| is_good(host)).map(|(_, count)| wide(*count)).sum();
        let mut under_way = heard().any(|(host, _)| !is_good(host));
        let mut picked = BTreeSet::new();
        let mut surge = wide(max_surge.at_least(bound));
        for (host, count) in self.candidates(progress) {
            let count = wide(count);
            if !self.is_old(host) && count <= surge {
                surge -= count;
            } else if under_way && good.saturating_sub(count) < least {
                continue;
            }
            under_way = true;
            good = good.saturating_sub(count);
            picked.insert(host.clone());
        }
        picked
    }
}
