//! Why something could not be placed, in the seeds' words. The text depends only on what is known
//! of the hosts, so that it stays the same while nothing changes.

use super::fill::{Filling, is_candidate, matches};
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
    let matching: Vec<&HostRoom<'_>> =
        filling.room.iter().filter(|host| matches(task, group, host)).collect();
    let healthy = matching.iter().filter(|host| is_candidate(task, group, host, filling.input)).count();
    let why = if matching.is_empty() {
        format!("0 hosts match {}", wanted(group))
    } else if healthy == 0 {
        let states: Vec<String> = matching.iter().map(|host| state(task, host, filling)).collect();
        format!("0 of {} matching hosts are fit ({})", matching.len(), states.join(", "))
    } else {
        let need = &task.manifest.placement.resources;
        let refusing = refusing(task, group, filling);
        let by_its_own_account = match refusing.as_slice() {
            [] => String::new(),
            some => format!("; {} said so", some.join(", ")),
        };
        format!(
            "{missing} replicas not placed, no matching host has {} millicores and {} MiB free{by_its_own_account}",
            need.cpu_millis, need.memory_mib
        )
    };
    format!("insufficient resources: {why}")
}

/// Hosts that would be fit, and have said that they have no room for this actor.
pub(super) fn refusing(task: &Task<'_>, group: &Group, filling: &Filling<'_, '_>) -> Vec<String> {
    let input = filling.input;
    let refuses = |host: &&HostRoom<'_>| input.observed.has_refused(host.view.id, &task.id, input.now_ms);
    let fit = filling.room.iter().filter(|host| matches(task, group, host) && host.view.unfit.is_none());
    fit.filter(refuses).map(|host| host.view.id.to_string()).collect()
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

fn state(task: &Task<'_>, host: &HostRoom<'_>, filling: &Filling<'_, '_>) -> String {
    let id = host.view.id;
    match host.view.unfit {
        Some(unfit) => format!("{id}: {unfit}"),
        None if filling.input.observed.has_refused(id, &task.id, filling.input.now_ms) => {
            format!("{id}: no room by its own account")
        }
        None => format!("{id}: alive"),
    }
}
