//! May a host get a replica of an actor? Every rule that does not depend on what else is placed;
//! room is another question. Each refusal says itself in words.

use super::room::HostRoom;
use super::{Group, Input, Task};
use crate::observed::{HostView, Unfit};
use lattice_protocol::ActorId;
use lattice_protocol::manifest::{ActorManifest, PlacementRule};

/// A rule of the lattice beside those of manifests: security policy, maintenance windows, quotas.
/// Pure: the same question has the same answer for as long as one plan takes.
pub trait Policy: std::fmt::Debug + Sync {
    /// Why this host may not get this actor, in words; `None` when it may.
    fn refusal(&self, actor: &ActorId, manifest: &ActorManifest, host: &HostView<'_>) -> Option<String>;
}

/// The policy that refuses nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPolicy;

impl Policy for NoPolicy {
    fn refusal(&self, _: &ActorId, _: &ActorManifest, _: &HostView<'_>) -> Option<String> {
        None
    }
}

/// Why a host gets no replica of an actor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The rule names other hosts.
    NotNamed,
    /// It lacks a label: key and value.
    Label(String, String),
    /// It gets nothing new.
    Unfit(Unfit),
    /// It said that it has no room for this actor.
    OwnAccount,
    /// It cannot run a provider that the actor is linked to.
    Provider(String),
    /// It is farther from the preferred region than the actor bears, milliseconds.
    Latency {
        /// Its distance.
        got_ms: u32,
        /// The bound.
        limit_ms: u32,
    },
    /// A policy forbids it.
    Policy(String),
    /// It has no room: what is free, thousandths of a core and MiB.
    Room {
        /// CPU.
        cpu_millis: u64,
        /// Memory.
        memory_mib: u64,
    },
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotNamed => formatter.write_str("not among the hosts that the rule names"),
            Self::Label(key, value) => write!(formatter, "lacks {key}={value}"),
            Self::Unfit(unfit) => write!(formatter, "{unfit}"),
            Self::OwnAccount => formatter.write_str("no room by its own account"),
            Self::Provider(kind) => write!(formatter, "has no provider of kind {kind}"),
            Self::Latency { got_ms, limit_ms } => {
                write!(formatter, "{got_ms} ms from the preferred region, at most {limit_ms}")
            }
            Self::Policy(words) => write!(formatter, "policy: {words}"),
            Self::Room { cpu_millis, memory_mib } => {
                write!(formatter, "{cpu_millis} millicores and {memory_mib} MiB free")
            }
        }
    }
}

/// Is this host one that the rule names, whatever its health?
pub(super) fn matches(task: &Task<'_>, group: &Group, host: &HostRoom<'_, '_>) -> bool {
    is_named(&task.manifest.placement, host) && group.admits(host.view.heartbeat)
}

fn is_named(rule: &PlacementRule, host: &HostRoom<'_, '_>) -> bool {
    rule.hosts.is_empty() || rule.hosts.contains(host.view.id)
}

/// Why this host may not get a replica that it does not have; `None` when it may, if it has room.
pub(super) fn refusal(
    task: &Task<'_>,
    group: &Group,
    host: &HostRoom<'_, '_>,
    input: &Input<'_>,
) -> Option<Refusal> {
    if !is_named(&task.manifest.placement, host) {
        return Some(Refusal::NotNamed);
    }
    if let Some((key, value)) = group.lacking(host.view.heartbeat) {
        return Some(Refusal::Label(key.clone(), value.clone()));
    }
    standing(task.manifest, &task.id, host.view, input).or_else(|| {
        task.kinds.iter().find(|kind| !host.runs(kind)).map(|kind| Refusal::Provider((*kind).to_owned()))
    })
}

/// The part of it that the independent check reads too: nothing here is about groups or rooms.
fn standing(
    manifest: &ActorManifest,
    id: &ActorId,
    view: &HostView<'_>,
    input: &Input<'_>,
) -> Option<Refusal> {
    if let Some(unfit) = view.barred() {
        return Some(Refusal::Unfit(unfit));
    }
    if view.has_refused(id) {
        return Some(Refusal::OwnAccount);
    }
    if let (Some(limit_ms), Distance::Known(got_ms)) =
        (manifest.placement.max_latency_ms, distance(&manifest.placement, view))
        && got_ms > limit_ms
    {
        return Some(Refusal::Latency { got_ms, limit_ms });
    }
    input.policy.refusal(id, manifest, view).map(Refusal::Policy)
}

/// How far a host is from the region that an actor prefers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Distance {
    /// In it, or there is no such region.
    Here,
    /// So many milliseconds away.
    Known(u32),
    /// Away; nobody has measured how far.
    Unknown,
}

/// How far is a host from the region that the rule prefers?
pub(crate) fn distance(rule: &PlacementRule, view: &HostView<'_>) -> Distance {
    let Some(region) = rule.preferred_region.as_deref().filter(|region| !region.is_empty()) else {
        return Distance::Here;
    };
    if view.heartbeat.label("region") == Some(region) {
        return Distance::Here;
    }
    view.heartbeat.latency_ms.get(region).copied().map_or(Distance::Unknown, Distance::Known)
}

/// Classes of hosts, best first: in the preferred region; away; away and, where there is a bound,
/// nobody knows how far; then the same three of hosts that are held after their return.
pub(super) fn tier(rule: &PlacementRule, view: &HostView<'_>) -> u8 {
    let distance = match distance(rule, view) {
        Distance::Here => 0,
        Distance::Unknown if rule.max_latency_ms.is_some() => 2,
        Distance::Known(_) | Distance::Unknown => 1,
    };
    distance + if view.is_held() { HELD } else { 0 }
}

/// The first class of hosts that are held.
pub(super) const HELD: u8 = 3;

/// Every class there may be for an actor, best first.
pub(super) fn tiers(rule: &PlacementRule) -> impl Iterator<Item = u8> {
    let distances = if rule.preferred_region.is_some() { 3 } else { 1 };
    (0..distances).chain((0..distances).map(|distance| distance + HELD))
}
