//! Actors of our own form.

use super::{autoscale, rollout};
use crate::error::{ErrorCode, Report};
use crate::manifest::reader::{At, Fields, Reader};
use crate::manifest::{ActorManifest, PlacementRule, Resources, Scale, Spread};
use crate::persistent::{Durability, Persistent};
use crate::spec::{InstancePolicy, Limits};
use std::collections::BTreeMap;

/// Fields of an actor.
pub(in crate::manifest) const ACTOR: &[&str] = &[
    "name",
    "artifact",
    "replicas",
    "daemon",
    "instances",
    "persistent",
    "limits",
    "config",
    "placement",
    "links",
    "rollout",
    "autoscale",
];
/// Fields of `limits`.
pub(in crate::manifest) const LIMITS: &[&str] =
    &["memoryMib", "tableElements", "callMs", "concurrency", "queue", "bodyKib"];
/// Fields of `instances.warm`.
pub(in crate::manifest) const WARM: &[&str] = &["maxCalls", "maxConcurrency", "idleMs"];
/// Fields of `persistent`.
pub(in crate::manifest) const PERSISTENT: &[&str] = &[
    "kind",
    "durability",
    "domain",
    "replicas",
    "isolation",
    "turnMs",
    "snapshots",
    "retainHours",
    "retainMib",
    "idleSeconds",
];
/// Fields of `persistent.isolation`.
pub(in crate::manifest) const ISOLATION: &[&str] = &["shared"];
/// Fields of `persistent.snapshots`.
pub(in crate::manifest) const SNAPSHOTS: &[&str] = &["events", "seconds", "replayMs"];
/// Fields of `placement`.
pub(in crate::manifest) const PLACEMENT: &[&str] = &[
    "requirements",
    "hosts",
    "spread",
    "strategy",
    "preferredRegion",
    "maxLatencyMs",
    "resources",
    "priority",
];
/// Fields of `placement.resources`.
pub(in crate::manifest) const RESOURCES: &[&str] = &["cpuMillis", "memoryMib"];
/// Fields of one share of `placement.spread`.
pub(in crate::manifest) const SPREAD: &[&str] = &["name", "requirements", "weight"];

/// Reads an actor without its links.
pub(super) fn read(reader: &mut Reader, fields: &Fields<'_>) -> Option<ActorManifest> {
    let name = reader.required(fields, "name").and_then(|at| reader.parsed(&at, ErrorCode::Name));
    let artifact = reader.required(fields, "artifact").and_then(|at| artifact(reader, &at));
    let scale = scale(reader, fields);
    let instances = fields.get("instances").map(|at| instances(reader, &at));
    let persistent = fields.get("persistent").map(|at| Box::new(persistent(reader, &at)));
    let limits = fields.get("limits").map(|at| limits(reader, &at));
    let config = fields.get("config").map_or_else(BTreeMap::new, |at| reader.config(&at));
    let placement = fields.get("placement").map(|at| placement(reader, &at));
    let rollout = fields.get("rollout").and_then(|at| rollout::read(reader, &at)).map(Box::new);
    let autoscale = fields.get("autoscale").and_then(|at| autoscale::read(reader, &at)).map(Box::new);
    Some(ActorManifest {
        scale,
        instances: instances.unwrap_or_default(),
        limits: limits.unwrap_or_default(),
        persistent,
        config,
        placement: placement.unwrap_or_default(),
        rollout,
        autoscale,
        ..ActorManifest::new(name?, artifact?)
    })
}

/// Where a component comes from: a path, or one of three schemes.
pub(in crate::manifest) fn artifact(reader: &mut Reader, at: &At<'_>) -> Option<String> {
    let text = reader.words(at)?;
    let digest = text.strip_prefix("sha256:").map(|hex| {
        hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    });
    let scheme =
        text.split_once("://").map(|(scheme, rest)| matches!(scheme, "file" | "oci") && !rest.is_empty());
    if text.contains(char::is_control) || digest == Some(false) || scheme == Some(false) {
        let got: String = text.chars().take(80).collect();
        let report = Report::new(ErrorCode::Manifest, "not an artifact").got(format!("{got:?}"));
        let limit = "a path, file://…, oci://… or sha256:<64 hex digits>";
        reader.problem(&at.spot(), report.limit(limit));
        return None;
    }
    Some(text)
}

fn scale(reader: &mut Reader, fields: &Fields<'_>) -> Scale {
    let replicas = fields.get("replicas");
    let daemon = fields.get("daemon");
    let is_daemon = daemon.as_ref().and_then(|at| reader.flag(at)).unwrap_or(false);
    match replicas {
        Some(at) if is_daemon => {
            let report = Report::new(ErrorCode::Manifest, "replicas and daemon exclude each other");
            reader
                .problem(&at.spot(), report.hint("daemon runs one on every host that the placement admits"));
            Scale::Daemon
        }
        None if is_daemon => Scale::Daemon,
        Some(at) => Scale::Replicas(reader.number(&at, 0..=Scale::MAX_REPLICAS.into()).unwrap_or(1)),
        None => Scale::Replicas(1),
    }
}

fn instances(reader: &mut Reader, at: &At<'_>) -> InstancePolicy {
    use crate::manifest::yaml::Data;
    if let Data::Scalar { .. } = &at.node.data {
        let words = [("per-call", InstancePolicy::PerCall), ("warm", InstancePolicy::warm())];
        return reader.one_of(at, &words).unwrap_or_default();
    }
    let warm = reader.fields(at, &["warm"]).and_then(|fields| reader.required(&fields, "warm"));
    let Some(fields) = warm.and_then(|at| reader.fields(&at, WARM)) else { return InstancePolicy::default() };
    let mut policy = InstancePolicy::warm();
    if let InstancePolicy::Warm { max_calls, max_concurrency, idle_ms } = &mut policy {
        set(reader, &fields, "maxCalls", 1..=1_000_000_000, max_calls);
        set(reader, &fields, "maxConcurrency", 1..=10_000, max_concurrency);
        set(reader, &fields, "idleMs", 0..=86_400_000, idle_ms);
    }
    policy
}

/// Sets a number when its field is there and in range.
pub(in crate::manifest) fn set<N: TryFrom<u64>>(
    reader: &mut Reader,
    fields: &Fields<'_>,
    name: &str,
    range: std::ops::RangeInclusive<u64>,
    value: &mut N,
) {
    if let Some(at) = fields.get(name)
        && let Some(number) = reader.number(&at, range)
    {
        *value = number;
    }
}

fn limits(reader: &mut Reader, at: &At<'_>) -> Limits {
    let mut limits = Limits::default();
    let Some(fields) = reader.fields(at, LIMITS) else { return limits };
    let mut memory_mib = limits.memory_bytes >> 20;
    set(reader, &fields, "memoryMib", 1..=4_096, &mut memory_mib);
    limits.memory_bytes = memory_mib << 20;
    let mut body_kib = limits.body_bytes >> 10;
    set(reader, &fields, "bodyKib", 1..=1_048_576, &mut body_kib);
    limits.body_bytes = body_kib << 10;
    set(reader, &fields, "tableElements", 1..=10_000_000, &mut limits.table_elements);
    set(reader, &fields, "callMs", 1..=3_600_000, &mut limits.call_ms);
    set(reader, &fields, "concurrency", 1..=65_536, &mut limits.concurrency);
    set(reader, &fields, "queue", 0..=1_000_000, &mut limits.queue);
    limits
}

fn persistent(reader: &mut Reader, at: &At<'_>) -> Persistent {
    use crate::manifest::yaml::Data;
    let mut persistent = Persistent::default();
    // `persistent: true` is the defaults.
    if let Data::Scalar { quoted: false, text } = &at.node.data
        && text == "true"
    {
        return persistent;
    }
    let Some(fields) = reader.fields(at, PERSISTENT) else { return persistent };
    if let Some(at) = fields.get("kind") {
        persistent.kind = reader.parsed(&at, ErrorCode::Name);
    }
    if let Some(at) = fields.get("durability") {
        persistent.durability = reader.one_of(&at, &Durability::WORDS).unwrap_or_default();
    }
    if let Some(at) = fields.get("domain") {
        persistent.domain = reader.parsed(&at, ErrorCode::Name);
    }
    set(reader, &fields, "replicas", 1..=3, &mut persistent.replicas);
    if let Some(at) = fields.get("isolation") {
        isolation(reader, &at, &mut persistent.states);
    }
    set(reader, &fields, "turnMs", 1..=Persistent::MAX_TURN_MS, &mut persistent.turn_ms);
    set(reader, &fields, "retainHours", 0..=Persistent::MAX_RETAIN_HOURS, &mut persistent.retain_hours);
    set(reader, &fields, "retainMib", 0..=Persistent::MAX_RETAIN_MIB, &mut persistent.retain_mib);
    set(reader, &fields, "idleSeconds", 1..=Persistent::MAX_IDLE_SECONDS, &mut persistent.idle_seconds);
    if let Some(fields) = fields.get("snapshots").and_then(|at| reader.fields(&at, SNAPSHOTS)) {
        let Persistent { snapshot_events, snapshot_seconds, snapshot_replay_ms, .. } = &mut persistent;
        set(reader, &fields, "events", 1..=Persistent::MAX_SNAPSHOT_EVENTS, snapshot_events);
        set(reader, &fields, "seconds", 1..=Persistent::MAX_SNAPSHOT_SECONDS, snapshot_seconds);
        set(reader, &fields, "replayMs", 1..=Persistent::MAX_SNAPSHOT_REPLAY_MS, snapshot_replay_ms);
    }
    persistent
}

fn isolation(reader: &mut Reader, at: &At<'_>, states: &mut u32) {
    use crate::manifest::yaml::Data;
    if let Data::Scalar { .. } = &at.node.data {
        let words = [("shared", Persistent::default().states), ("instance", 1)];
        *states = reader.one_of(at, &words).unwrap_or(*states);
    } else if let Some(fields) = reader.fields(at, ISOLATION) {
        reader.required(&fields, "shared");
        set(reader, &fields, "shared", 2..=Persistent::MAX_STATES.into(), states);
    }
}

fn placement(reader: &mut Reader, at: &At<'_>) -> PlacementRule {
    let mut rule = PlacementRule::default();
    let Some(fields) = reader.fields(at, PLACEMENT) else { return rule };
    if let Some(at) = fields.get("requirements") {
        rule.requirements = reader.labels(&at);
    }
    if let Some(at) = fields.get("hosts") {
        let items = reader.items(&at);
        rule.hosts = items.iter().filter_map(|at| reader.parsed(at, ErrorCode::Name)).collect();
    }
    if let Some(at) = fields.get("spread") {
        let items = reader.items(&at);
        rule.spread = items.iter().filter_map(|at| share(reader, at)).collect();
    }
    if let Some(at) = fields.get("strategy") {
        rule.pack = reader.one_of(&at, &[("spread", false), ("pack", true)]).unwrap_or_default();
    }
    if let Some(at) = fields.get("preferredRegion") {
        rule.preferred_region = reader.words(&at);
    }
    if let Some(at) = fields.get("maxLatencyMs") {
        rule.max_latency_ms = reader.number(&at, 1..=PlacementRule::MAX_LATENCY_MS.into());
    }
    if let Some(at) = fields.get("resources")
        && let Some(fields) = reader.fields(&at, RESOURCES)
    {
        let Resources { cpu_millis, memory_mib } = &mut rule.resources;
        set(reader, &fields, "cpuMillis", 0..=1_000_000, cpu_millis);
        set(reader, &fields, "memoryMib", 0..=16_777_216, memory_mib);
    }
    set(reader, &fields, "priority", 0..=255, &mut rule.priority);
    rule
}

/// One share of a spread: the same in both forms.
pub(in crate::manifest) fn share(reader: &mut Reader, at: &At<'_>) -> Option<Spread> {
    let fields = reader.fields(at, SPREAD)?;
    let mut weight = Spread::DEFAULT_WEIGHT;
    set(reader, &fields, "weight", 1..=Spread::MAX_WEIGHT.into(), &mut weight);
    let name = fields.get("name").and_then(|at| reader.text(&at)).unwrap_or_default();
    let requirements = fields.get("requirements").map_or_else(BTreeMap::new, |at| reader.labels(&at));
    Some(Spread { name, requirements, weight })
}
