//! Links of our own form.

use super::actor::set;
use crate::error::ErrorCode;
use crate::link::{CallPolicy, Grants, LinkDefinition};
use crate::manifest::draft::{Draft, Named};
use crate::manifest::reader::{At, Fields, Reader, Spot};
use crate::name::{ActorId, ActorName, LinkName};
use std::collections::BTreeMap;

/// Fields of a link.
pub(in crate::manifest) const LINK: &[&str] =
    &["to", "interface", "name", "config", "timeoutMs", "retries", "retryDelayMs", "idempotent", "grants"];
/// Fields of `grants`.
pub(in crate::manifest) const GRANTS: &[&str] =
    &["buckets", "keyPrefixes", "publish", "subscribe", "hosts", "methods", "readOnly"];

/// Reads the links of an actor, and where each stands. Without a source they are read for their
/// problems only.
pub(super) fn read_all(
    reader: &mut Reader,
    actor: &Fields<'_>,
    draft: &Draft,
    source: Option<ActorName>,
) -> (Vec<LinkDefinition>, Vec<Spot>) {
    let items = actor.get("links").map(|at| reader.items(&at)).unwrap_or_default();
    let known = source.is_some();
    let name = source.or_else(|| ActorName::new("unnamed").ok());
    let Some(name) = name else { return (Vec::new(), Vec::new()) };
    let source = ActorId::new(draft.application.name.clone(), name);
    let read = items.iter().filter_map(|at| Some((read(reader, at, draft, &source)?, at.spot())));
    let links: (Vec<_>, Vec<_>) = read.unzip();
    if known { links } else { (Vec::new(), Vec::new()) }
}

fn read(reader: &mut Reader, at: &At<'_>, draft: &Draft, source: &ActorId) -> Option<LinkDefinition> {
    let fields = reader.fields(at, LINK)?;
    let interface = reader.required(&fields, "interface");
    let interface = interface.and_then(|at| reader.parsed(&at, ErrorCode::Link));
    let target = reader.required(&fields, "to").and_then(|at| match &interface {
        Some(interface) => draft.target(reader, &at, Named::target_of(interface)),
        None => None,
    });
    let name = match fields.get("name") {
        Some(at) => reader.parsed(&at, ErrorCode::Name),
        None => Some(LinkName::default_name()),
    };
    let config = fields.get("config").map_or_else(BTreeMap::new, |at| reader.config(&at));
    let mut policy = CallPolicy::default();
    set(reader, &fields, "timeoutMs", 1..=CallPolicy::MAX_TIMEOUT_MS, &mut policy.timeout_ms);
    set(reader, &fields, "retries", 0..=CallPolicy::MAX_RETRIES.into(), &mut policy.retries);
    set(reader, &fields, "retryDelayMs", 0..=CallPolicy::MAX_RETRY_DELAY_MS, &mut policy.retry_delay_ms);
    if let Some(at) = fields.get("idempotent") {
        policy.idempotent = reader.flag(&at).unwrap_or_default();
    }
    let grants = fields.get("grants").map(|at| grants(reader, &at)).unwrap_or_default();
    Some(LinkDefinition {
        source: source.clone(),
        name: name?,
        interface: interface?,
        target: target?,
        config,
        policy,
        grants,
    })
}

fn grants(reader: &mut Reader, at: &At<'_>) -> Grants {
    let Some(fields) = reader.fields(at, GRANTS) else { return Grants::default() };
    let mut list = |name: &str| fields.get(name).map(|at| reader.texts(&at)).unwrap_or_default();
    let mut grants = Grants {
        buckets: list("buckets"),
        key_prefixes: list("keyPrefixes"),
        publish: list("publish"),
        subscribe: list("subscribe"),
        hosts: list("hosts"),
        methods: list("methods"),
        read_only: false,
    };
    if let Some(at) = fields.get("readOnly") {
        grants.read_only = reader.flag(&at).unwrap_or_default();
    }
    grants
}
