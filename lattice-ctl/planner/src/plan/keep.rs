//! The first pass: what stays where it is. A replica stays while its host is alive or merely late
//! and still matches; it is displaced when its host cannot be relied on; it is released when the
//! rule no longer wants it there. For an actor whose hosts are as they were, all of it stays: that is
//! why nobody needs to look at it again.

use super::fit::tier;
use super::{Group, Input, Room, Task};
use crate::observed::Unfit;
use lattice_protocol::desired::Verdict;
use lattice_protocol::{Durability, HostId, Places};
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// What a host in the decision in force is good for now.
enum Standing {
    /// Its replicas stay.
    Stays,
    /// Its replicas should be elsewhere.
    Unreliable,
    /// The rule does not want them there.
    Unwanted,
}

/// Says what stays of an actor, and reserves for it. What is too much is trimmed when everybody has
/// been through this ([`settle`]): how full hosts are does not depend on who came first then.
pub(super) fn keep(task: &mut Task<'_>, input: &Input<'_>, room: &mut Room<'_, '_>) {
    for (host, count) in task.before.iter().filter(|_| task.artifact.is_some()) {
        match standing(task, input, room, host) {
            Standing::Stays => {
                // Of what its host has no room for only what runs all the same stays.
                let runs = input.observed.runs_only(host, &task.id, input.now_ms).unwrap_or(u32::MAX);
                task.stays.insert(host.clone(), runs.min(*count));
                if runs < *count {
                    task.displaced.insert(host.clone(), count - runs);
                }
            }
            Standing::Unreliable => drop(task.displaced.insert(host.clone(), *count)),
            Standing::Unwanted => {}
        }
    }
    let claim = task.claim();
    for host in task.before.keys() {
        room.set(host, (&task.id, &claim), task.stays.get(host).copied().unwrap_or(0));
    }
}

/// Keeps it all that it has, and lacks nothing? Then [`settle`] changes nothing, and its turn neither: each
/// share gets all that matches it, so nothing is trimmed, however full hosts are.
pub(super) fn rests(task: &Task<'_>, room: &Room<'_, '_>) -> bool {
    let is_as_before = task.artifact.is_some()
        && task.stays == *task.before
        && task.displaced.is_empty()
        && task.unplaced_before.is_none()
        && task.scaled.map(|(count, _)| count) == task.scaled_before;
    let mut left = task.stays.clone();
    is_as_before && task.groups.iter().all(|group| fills(group, &mut left, room)) && left.total() == 0
}

/// Is what is left and matches a share just as much as the share wants? Then it is gone from what is left.
fn fills(group: &Group, left: &mut Places, room: &Room<'_, '_>) -> bool {
    // Whoever is on every host has to look at every host.
    let Some(mut wanted) = group.count.map(u64::from) else { return false };
    for (host, count) in left.iter_mut() {
        if room.get(host).is_none_or(|host| group.admits(host.view.heartbeat)) {
            let Some(still) = wanted.checked_sub(u64::from(*count)) else { return false };
            (wanted, *count) = (still, 0);
        }
    }
    wanted == 0
}

/// Divides what stays among the shares of an actor, and releases what is too much.
pub(super) fn settle(task: &mut Task<'_>, room: &mut Room<'_, '_>) {
    if task.artifact.is_none() {
        return;
    }
    let mut stays = std::mem::take(&mut task.stays);
    let groups = std::mem::take(&mut task.groups);
    for group in &groups {
        keep_share(task, group, &mut stays, room);
    }
    task.groups = groups;
    let claim = task.claim();
    for host in stays.keys() {
        let count = task.placed.get(host).copied().unwrap_or(0);
        room.set(host, (&task.id, &claim), count);
    }
}

fn standing(task: &Task<'_>, input: &Input<'_>, room: &Room<'_, '_>, host: &HostId) -> Standing {
    let rule = &task.manifest.placement;
    let allowed = rule.hosts.is_empty() || rule.hosts.contains(host);
    // Of a host that was never heard of the labels are not known: the old decision is believed.
    let matches = |group: &Group| room.get(host).is_none_or(|host| group.admits(host.view.heartbeat));
    if !allowed || !task.groups.iter().any(matches) {
        return Standing::Unwanted;
    }
    if input.observed.runs_only(host, &task.id, input.now_ms) == Some(0) {
        return Standing::Unreliable;
    }
    let pinned = is_pinned(task);
    match (input.observed.judge(host, input.now_ms), is_daemon(task) || pinned) {
        (Verdict::Alive | Verdict::Suspect | Verdict::Rejoined | Verdict::CutOff, _)
        | (Verdict::Lost, true) => Standing::Stays,
        (Verdict::Leaving, _) if pinned => Standing::Stays,
        (Verdict::Lost | Verdict::Leaving, _) => Standing::Unreliable,
    }
}

/// Is its state on the one host that it runs on? Elsewhere it would begin anew, without its history.
pub(super) fn is_pinned(task: &Task<'_>) -> bool {
    task.manifest.persistent.as_ref().is_some_and(|kind| kind.durability == Durability::Device)
}

fn is_daemon(task: &Task<'_>) -> bool {
    task.groups.iter().all(|group| group.count.is_none())
}

/// Gives a group what it may keep of what stays, the worst placed released first; the rest of
/// `stays` is left for the next group.
fn keep_share(task: &mut Task<'_>, group: &Group, stays: &mut Places, room: &Room<'_, '_>) {
    let matches = |host: &HostId| room.get(host).is_none_or(|host| group.admits(host.view.heartbeat));
    let mut share: Places = stays
        .iter()
        .filter(|(host, count)| **count > 0 && matches(host))
        .map(|(host, count)| (host.clone(), if group.count.is_none() { 1 } else { *count }))
        .collect();
    if let Some(wanted) = group.count {
        trim(&mut share, wanted, |host, count| {
            let view = room.get(host).map(|host| host.view);
            let suspect = view.is_none_or(|view| matches!(view.unfit, Some(Unfit::Verdict(_))));
            let away = view.map(|view| tier(&task.manifest.placement, view));
            let count = if task.manifest.placement.pack { -i64::from(count) } else { count.into() };
            (suspect, away, count, room.get(host).map(|host| host.score()))
        });
    }
    task.kept.push(share.values().fold(0, |sum, count| sum.saturating_add(*count)));
    for (host, count) in share {
        if let Some(left) = stays.get_mut(&host) {
            *left = if group.count.is_none() { 0 } else { left.saturating_sub(count) };
        }
        task.placed.add(&host, count);
    }
}

/// Takes replicas away, one at a time from the worst, until at most `wanted` are left.
fn trim<K: Ord>(share: &mut Places, wanted: u32, worst: impl Fn(&HostId, u32) -> K) {
    let mut surplus = share.total().saturating_sub(wanted.into());
    if surplus == 0 {
        return;
    }
    let mut order: BTreeSet<(Reverse<K>, HostId)> =
        share.iter().map(|(host, count)| (Reverse(worst(host, *count)), host.clone())).collect();
    while surplus > 0 {
        let Some((_, host)) = order.pop_first() else { break };
        let Some(count) = share.get_mut(&host) else { continue };
        *count -= 1;
        surplus -= 1;
        if *count > 0 {
            order.insert((Reverse(worst(&host, *count)), host));
        } else {
            share.remove(&host);
        }
    }
}
