//! Hosts by site (their label `site`). When all hosts of a site fall silent together, it is more
//! probable that the site's uplink is down than that every one of them died at once: they are *cut
//! off*, go on serving their site, and are given longer before what they have moves.
//!
//! Together means: nobody of the site is heard for as long as makes one suspect, and the last two
//! to be heard were heard within that time. A host that fell silent before is not part of it; it
//! is lost.

use super::Profile;
use lattice_protocol::HostId;
use std::collections::{BTreeMap, BTreeSet};

/// The label that names a host's site.
pub const SITE_LABEL: &str = "site";

/// When each host of each site was heard last.
#[derive(Debug, Clone, Default)]
pub(super) struct Sites {
    by_name: BTreeMap<String, BTreeSet<(u64, HostId)>>,
}

impl Sites {
    /// A host of this site was heard now; `before` is where and when it was heard last.
    pub(super) fn hear(
        &mut self,
        host: &HostId,
        before: Option<(&str, u64)>,
        site: Option<&str>,
        now_ms: u64,
    ) {
        self.forget(host, before);
        if let Some(site) = site {
            self.by_name.entry(site.to_owned()).or_default().insert((now_ms, host.clone()));
        }
    }

    pub(super) fn forget(&mut self, host: &HostId, before: Option<(&str, u64)>) {
        let Some((site, heard_ms)) = before else { return };
        let Some(hosts) = self.by_name.get_mut(site) else { return };
        hosts.remove(&(heard_ms, host.clone()));
        if hosts.is_empty() {
            self.by_name.remove(site);
        }
    }

    /// Until when a silent host of this site, last heard at `heard_ms`, counts as cut off.
    pub(super) fn cut_off_until(
        &self,
        site: &str,
        heard_ms: u64,
        profile: &Profile,
        now_ms: u64,
    ) -> Option<u64> {
        let mut latest = self.by_name.get(site)?.iter().rev().map(|(heard, _)| *heard);
        let last = latest.next()?;
        let together = |heard: u64| last.saturating_sub(heard) <= profile.suspect_after_ms;
        let all_silent = now_ms.saturating_sub(last) > profile.suspect_after_ms;
        let cut_off = all_silent && together(latest.next()?) && together(heard_ms);
        cut_off.then(|| last.saturating_add(profile.cut_off_ms))
    }
}
