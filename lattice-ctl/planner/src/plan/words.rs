//! Why something could not be placed, in the seeds' words. The text depends only on what is known
//! of the hosts, so that it stays the same while nothing changes.

use super::fill::Filling;
use super::fit::{Refusal, matches, refusal};
use super::room::HostRoom;
use super::{Group, Task};
use lattice_protocol::HostId;

pub(super) fn no_artifact(task: &Task<'_>) -> String {
    format!("artifact not found: {}", task.manifest.artifact)
}

/// Why `missing` replicas of a group found no host; `held` of them stay on hosts that are lost.
pub(super) fn shortage(
    task: &Task<'_>,
    group: &Group,
    (missing, held): (u32, u32),
    filling: &Filling<'_, '_>,
) -> String {
    if held > 0 {
        return "failover failed: no healthy target".to_owned();
    }
    let unknown = unknown_hosts(task, filling);
    if !unknown.is_empty() {
        return format!("host not found: {}", unknown.join(", "));
    }
    let matching: Vec<HostRoom<'_, '_>> =
        filling.room.iter().filter(|host| matches(task, group, host)).collect();
    let refusals = matching.iter().map(|host| (host.view.id, refusal(task, group, host, filling.input)));
    let refusals: Vec<(&HostId, Option<Refusal>)> = refusals.collect();
    let why = if matching.is_empty() {
        format!("0 hosts match {}", wanted(group))
    } else if refusals.iter().all(|(_, refusal)| refusal.is_some()) {
        let states = refusals.iter().filter_map(|(id, refusal)| Some(format!("{id}: {}", refusal.as_ref()?)));
        format!("0 of {} matching hosts are fit ({})", matching.len(), listed(states))
    } else {
        let need = &task.manifest.placement.resources;
        let refusing = refusing(task, group, filling);
        let by_its_own_account = match refusing.as_slice() {
            [] => String::new(),
            some => format!("; {} said so", listed(some.iter().cloned())),
        };
        format!(
            "{missing} replicas not placed, no matching host has {} millicores and {} MiB free{by_its_own_account}",
            need.cpu_millis, need.memory_mib
        )
    };
    format!("insufficient resources: {why}")
}

/// The first few, and how many more there are.
fn listed(words: impl Iterator<Item = String>) -> String {
    const SHOWN: usize = 5;
    let all: Vec<String> = words.collect();
    let shown = all.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match all.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Hosts that would be fit, and have said that they have no room for this actor.
pub(super) fn refusing(task: &Task<'_>, group: &Group, filling: &Filling<'_, '_>) -> Vec<String> {
    let fit = filling.room.iter().filter(|host| matches(task, group, host) && host.view.barred().is_none());
    fit.filter(|host| host.view.has_refused(&task.id)).map(|host| host.view.id.to_string()).collect()
}

/// Hosts that the rule names and nobody has heard of, when none of those named can take it.
fn unknown_hosts(task: &Task<'_>, filling: &Filling<'_, '_>) -> Vec<String> {
    let named = &task.manifest.placement.hosts;
    let unknown = |host: &&HostId| !filling.input.observed.knows(host);
    named.iter().filter(unknown).map(ToString::to_string).collect()
}

fn wanted(group: &Group) -> String {
    if group.labels.is_empty() {
        return "anything: none has joined the lattice".to_owned();
    }
    let pairs: Vec<String> = group.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(", ")
}
