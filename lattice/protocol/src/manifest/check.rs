//! What must hold between the parts of an application, however it was made: read from a file,
//! edited by a command, or sent by a program. Nothing here needs the file.

use super::{
    ActorManifest, Application, KNOWN_KINDS, PlacementRule, ProviderManifest, Scale, Spread, config, kind,
    suggest,
};
use crate::error::{ErrorCode, Report};
use crate::link::{LinkDefinition, LinkTarget};
use crate::name::{ActorId, LinkName};
use crate::persistent::Durability;
use crate::spec::{InstancePolicy, ProviderMode};
use std::collections::{BTreeMap, BTreeSet};

/// A part of an application, by position: an actor, a provider, or a link of an actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Actor(usize),
    Provider(usize),
    Link(usize, usize),
}

impl std::fmt::Display for Part {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Actor(actor) => write!(formatter, "spec.actors[{actor}]"),
            Self::Provider(provider) => write!(formatter, "spec.providers[{provider}]"),
            Self::Link(actor, link) => write!(formatter, "spec.actors[{actor}].links[{link}]"),
        }
    }
}

/// Every problem of an application that was not read by [`super::parse`] (which checks all of
/// this itself): names, targets, conflicts, ranges, kinds, keys, secrets in plain text.
#[must_use]
pub fn check(application: &Application) -> Vec<Report> {
    let mut found = Vec::new();
    let mut report = |part: Part, mut report: Report| {
        let below = report.place.take().map(|field| format!(".{field}")).unwrap_or_default();
        found.push(report.at(format!("{part}{below}")));
    };
    duplicate_names(application, &mut report);
    missing_targets(application, &mut report);
    configuration(application, &mut report);
    relations(application, &mut report);
    found
}

/// Where problems go: the part, and a report whose place, if any, is a field of the part.
pub(super) type Sink<'s> = &'s mut dyn FnMut(Part, Report);

/// What [`super::parse`] has not already checked while it read.
pub(super) fn relations(application: &Application, report: Sink<'_>) {
    for (index, provider) in application.providers.iter().enumerate() {
        let part = Part::Provider(index);
        if provider.mode == ProviderMode::InProcess && !KNOWN_KINDS.contains(&provider.kind.as_str()) {
            report(part, unknown_kind(&provider.kind));
        }
        lattice_of_its_own(provider).into_iter().for_each(|found| report(part, found));
        port(&provider.kind, &provider.config).into_iter().for_each(|found| report(part, found));
    }
    for (index, actor) in application.actors.iter().enumerate() {
        let part = Part::Actor(index);
        if matches!(actor.scale, Scale::Replicas(count) if count > Scale::MAX_REPLICAS) {
            let Scale::Replicas(count) = actor.scale else { continue };
            report(part, out_of_range("replicas", count, 0, Scale::MAX_REPLICAS));
        }
        persistent(application, index).into_iter().for_each(|found| report(part, found));
        autoscale(actor).into_iter().for_each(|found| report(part, found));
        latency(&actor.placement).into_iter().for_each(|found| report(part, found));
        spread(&actor.placement.spread, &mut |found| report(part, found));
        links(application, index, report);
    }
}

/// A kind has one owner at a time, and what it is: its actors, not its replicas, are many.
fn persistent(application: &Application, index: usize) -> Vec<Report> {
    let Some(actor) = application.actors.get(index) else { return Vec::new() };
    let Some(persistent) = &actor.persistent else { return Vec::new() };
    let mut found = persistent.problems();
    let pinned = persistent.durability == Durability::Device;
    if pinned && !matches!(actor.scale, Scale::Replicas(0 | 1)) {
        let got = match actor.scale {
            Scale::Replicas(count) => count.to_string(),
            Scale::Daemon => "daemon: true".to_owned(),
        };
        let what = "a kind of durability device runs on one host";
        found.push(
            Report::new(ErrorCode::Manifest, what)
                .at("replicas")
                .got(got)
                .limit(1)
                .hint("its actors are many by their ids; durability: lattice spreads them over hosts"),
        );
    }
    if actor.instances != InstancePolicy::default() {
        let what = "instances say nothing of a persistent actor";
        found.push(Report::new(ErrorCode::Manifest, what).at("instances").hint("use persistent.isolation"));
    }
    if actor.rollout.as_ref().is_some_and(|policy| policy.gate.check.is_some()) {
        let what = "a persistent actor cannot be asked: it is many";
        let report = Report::new(ErrorCode::Manifest, what).at("rollout.gate.check");
        found.push(report.hint("remove the check; that of an application is for its other actors"));
    }
    let kind = persistent.kind_of(&actor.name);
    let of =
        |other: &crate::manifest::ActorManifest| other.persistent.as_ref().map(|p| p.kind_of(&other.name));
    let mut before = application.actors.iter().take(index);
    if let Some(other) = before.find(|other| of(other).as_ref() == Some(&kind)) {
        let what = format!("kind {kind} is that of {}", other.name);
        found.push(
            Report::new(ErrorCode::Manifest, what).at("persistent.kind").hint("give each its own kind"),
        );
    }
    found
}

fn out_of_range(field: &str, got: u32, low: u32, high: u32) -> Report {
    Report::new(ErrorCode::Manifest, "out of range").at(field).got(got).limit(format!("{low}..{high}"))
}

/// Between its least and its most there must be room, and one on every host cannot be more.
fn autoscale(actor: &ActorManifest) -> Option<Report> {
    let rule = actor.autoscale.as_ref()?;
    let field = "autoscale.max";
    match actor.scale {
        Scale::Daemon => {
            let report = Report::new(ErrorCode::Manifest, "daemon and autoscale exclude each other");
            Some(report.at("autoscale").hint("a daemon runs once on every host: remove one of the two"))
        }
        Scale::Replicas(least) if !(least.max(1)..=Scale::MAX_REPLICAS).contains(&rule.max) => {
            let report = out_of_range(field, rule.max, least.max(1), Scale::MAX_REPLICAS);
            Some(report.hint("replicas is the least, autoscale.max the most"))
        }
        Scale::Replicas(_) if rule.target == 0 => Some(out_of_range("autoscale.target", 0, 1, 1_000_000_000)),
        Scale::Replicas(_) => None,
    }
}

fn unknown_kind(kind: &str) -> Report {
    let kind: String = kind.chars().take(80).collect();
    let report = Report::new(ErrorCode::Manifest, format!("unknown provider kind {kind:?}")).at("kind");
    match suggest::closest(&kind, KNOWN_KINDS.iter().copied()) {
        Some(meant) => report.hint(format!("did you mean {meant:?}?")),
        None => report.hint(format!(
            "known: {}; one of your own needs run: process or run: remote",
            KNOWN_KINDS.join(", ")
        )),
    }
}

/// The NATS user of a provider's process reaches that provider's subjects and no bucket: a store
/// on NATS needs a user of its own there.
fn lattice_of_its_own(provider: &ProviderManifest) -> Option<Report> {
    let named = ["url", "cluster_uri"].iter().any(|key| provider.config.contains_key(*key));
    let lacks = provider.kind == "keyvalue-nats" && provider.mode == ProviderMode::Process && !named;
    lacks.then(|| {
        Report::new(ErrorCode::Config, "a keyvalue-nats process needs a server and a user of its own")
            .at("config.url")
            .hint("name url and credentials, or leave out run: process")
    })
}

fn port(kind: &str, config: &BTreeMap<String, String>) -> Option<Report> {
    let (key, port) =
        config.iter().find(|(key, _)| kind == "http-server" && key.eq_ignore_ascii_case("port"))?;
    let valid = port.parse::<u16>().is_ok_and(|port| port > 0);
    (!valid).then(|| {
        let got: String = port.chars().take(40).collect();
        let report = Report::new(ErrorCode::Config, "not a port").at(format!("config.{key}"));
        report.got(format!("{got:?}")).limit("1..65535")
    })
}

fn latency(rule: &PlacementRule) -> Option<Report> {
    let field = "placement.maxLatencyMs";
    let bound = rule.max_latency_ms?;
    if !(1..=PlacementRule::MAX_LATENCY_MS).contains(&bound) {
        return Some(out_of_range(field, bound, 1, PlacementRule::MAX_LATENCY_MS));
    }
    let nowhere = rule.preferred_region.as_ref().is_none_or(String::is_empty);
    nowhere.then(|| {
        let report = Report::new(ErrorCode::Manifest, "a latency from nowhere").at(field);
        report.hint("it is measured from preferredRegion: name one")
    })
}

fn spread(shares: &[Spread], report: &mut dyn FnMut(Report)) {
    let mut seen = BTreeMap::new();
    for (index, share) in shares.iter().enumerate() {
        let field = format!("placement.spread[{index}]");
        if !(1..=Spread::MAX_WEIGHT).contains(&share.weight) {
            report(out_of_range(&format!("{field}.weight"), share.weight, 1, Spread::MAX_WEIGHT));
        }
        if let Some(first) = seen.insert(&share.requirements, index) {
            let what = format!("the same group of hosts as spread[{first}]");
            report(
                Report::new(ErrorCode::Manifest, what).at(field).hint("join the two, adding their weights"),
            );
        }
    }
}

/// Selectors may be spelt in two ways (`wasmcloud:keyvalue`, `wasi:keyvalue`) and mean one link.
type LinkIdentity<'l> = (&'l LinkName, &'l str, Option<&'l str>);

fn links(application: &Application, actor: usize, report: Sink<'_>) {
    let mut seen: BTreeMap<LinkIdentity<'_>, (usize, &LinkDefinition)> = BTreeMap::new();
    let links = application.actors.get(actor).map(|actor| actor.links.as_slice()).unwrap_or_default();
    for (index, link) in links.iter().enumerate() {
        let part = Part::Link(actor, index);
        link.policy.problems().into_iter().for_each(|found| report(part, found));
        if link.interface.package() == "wasmcloud:messaging"
            && let Err(found) = link.subscriptions()
        {
            report(part, found.at("config.subscription"));
        }
        let identity = (&link.name, link.interface.package(), link.interface.interface());
        match seen.get(&identity) {
            Some((first, other)) if *other != link => report(part, conflict(link, *first)),
            _ => drop(seen.insert(identity, (index, link))),
        }
        if let LinkTarget::Provider(id) = &link.target
            && id.app == application.name
            && let Some(provider) = application.provider(&id.name)
        {
            provider_link(link, &provider.kind).into_iter().for_each(|found| report(part, found));
        }
    }
}

fn conflict(link: &LinkDefinition, first: usize) -> Report {
    let (name, interface) = (&link.name, &link.interface);
    let what = format!("conflict: a second link [{interface}:{name}] with other values than links[{first}]");
    Report::new(ErrorCode::Link, what).hint("give it a name of its own, or remove one")
}

fn provider_link(link: &LinkDefinition, kind: &str) -> Vec<Report> {
    let mut found = Vec::new();
    if !kind::kind_serves(kind, &link.interface) {
        let what = format!("a provider of kind {kind} does not serve {}", link.interface);
        found.push(Report::new(ErrorCode::Link, what).at("to").hint("link to a provider that does"));
    }
    if kind == "http-client" && link.grants.hosts.is_empty() {
        let report =
            Report::new(ErrorCode::Link, "a link to http-client that reaches no host").at("grants.hosts");
        found.push(report.hint("name the hosts: grants: {hosts: [api.example.com]}"));
    }
    found.extend(port(kind, &link.config));
    found
}

fn duplicate_names(application: &Application, report: Sink<'_>) {
    let actors = application.actors.iter().map(|actor| actor.name.as_str()).enumerate();
    let providers = application.providers.iter().map(|provider| provider.name.as_str()).enumerate();
    let parts = actors
        .map(|(index, name)| (Part::Actor(index), name))
        .chain(providers.map(|(index, name)| (Part::Provider(index), name)));
    let mut seen = BTreeSet::new();
    for (part, name) in parts {
        if !seen.insert(name) {
            report(part, Report::new(ErrorCode::Manifest, format!("two parts named {name:?}")).at("name"));
        }
    }
}

fn missing_targets(application: &Application, report: Sink<'_>) {
    for (actor_index, actor) in application.actors.iter().enumerate() {
        let source = ActorId::new(application.name.clone(), actor.name.clone());
        for (index, link) in actor.links.iter().enumerate() {
            let part = Part::Link(actor_index, index);
            if link.source != source {
                let report_of = Report::new(ErrorCode::Link, "a link of another actor").at("source");
                report(part, report_of.got(&link.source).limit(&source));
            }
            match &link.target {
                LinkTarget::Provider(id)
                    if id.app == application.name && application.provider(&id.name).is_none() =>
                {
                    let what = format!("provider not found: {}", id.name);
                    report(part, Report::new(ErrorCode::ProviderNotFound, what).at("to"));
                }
                LinkTarget::Actor(id)
                    if id.app == application.name && application.actor(&id.name).is_none() =>
                {
                    let what = format!("link definition not found: no actor named {}", id.name);
                    report(part, Report::new(ErrorCode::LinkNotFound, what).at("to"));
                }
                _ => {}
            }
        }
    }
}

fn configuration(application: &Application, report: Sink<'_>) {
    let mut map = |part: Part, config: &BTreeMap<String, String>| {
        for (key, value) in config {
            let found = config::key_problem(key).or_else(|| config::value_problem(key, value));
            if let Some(found) = found {
                report(part, found.at("config"));
            }
        }
    };
    for (index, provider) in application.providers.iter().enumerate() {
        map(Part::Provider(index), &provider.config);
    }
    for (actor_index, actor) in application.actors.iter().enumerate() {
        map(Part::Actor(actor_index), &actor.config);
        for (index, link) in actor.links.iter().enumerate() {
            map(Part::Link(actor_index, index), &link.config);
        }
    }
}
