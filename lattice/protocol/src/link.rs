//! Links: which provider or actor answers an actor's import (or calls its export), under which
//! name, with which configuration, patience and grants.
//!
//! Deny by default: [`LinkTable::resolve`] is the only way from an import to a target. No link
//! that covers the interface is `capability denied: <interface>`; links that cover it, but none of
//! the name asked for, is `link definition not found`.

mod subscriptions;

use crate::error::{ErrorCode, Report};
use crate::interface::{Interface, Selector, contract_of};
use crate::name::{ActorId, LinkName, ProviderId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How patient a link is. Every link has all of these; the defaults are seed 004's numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct CallPolicy {
    /// Patience per attempt, milliseconds, 1 to 600 000.
    pub timeout_ms: u64,
    /// Further attempts after the first, 0 to 100; only where that is safe (DESIGN §4).
    pub retries: u32,
    /// Pause before a further attempt, milliseconds, 0 to 60 000, doubled each time and jittered.
    pub retry_delay_ms: u64,
    /// The target may be called twice with the same request without harm.
    pub idempotent: bool,
}

impl Default for CallPolicy {
    fn default() -> Self {
        Self { timeout_ms: 5_000, retries: 3, retry_delay_ms: 1_000, idempotent: false }
    }
}

impl CallPolicy {
    /// Longest patience, milliseconds.
    pub const MAX_TIMEOUT_MS: u64 = 600_000;
    /// Most further attempts.
    pub const MAX_RETRIES: u32 = 100;
    /// Longest pause, milliseconds.
    pub const MAX_RETRY_DELAY_MS: u64 = 60_000;

    /// Every value out of range, each as a report that names the field.
    #[must_use]
    pub fn problems(&self) -> Vec<Report> {
        let mut found = Vec::new();
        let mut range = |field: &str, got: u64, low: u64, high: u64| {
            if !(low..=high).contains(&got) {
                found.push(
                    Report::new(ErrorCode::Link, "out of range")
                        .at(field)
                        .got(got)
                        .limit(format!("{low}..{high}")),
                );
            }
        };
        range("timeoutMs", self.timeout_ms, 1, Self::MAX_TIMEOUT_MS);
        range("retries", self.retries.into(), 0, Self::MAX_RETRIES.into());
        range("retryDelayMs", self.retry_delay_ms, 0, Self::MAX_RETRY_DELAY_MS);
        found
    }
}

/// What a link narrows its capability to. An empty list narrows nothing (the link itself is the
/// grant), but for outgoing HTTP, where hosts must be named.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Grants {
    /// Key-value buckets and blob containers the guest may open.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub buckets: Vec<String>,
    /// Keys must begin with one of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub key_prefixes: Vec<String>,
    /// Subjects the guest may publish to (NATS wildcards).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub publish: Vec<String>,
    /// Subjects whose messages the guest may be handed (NATS wildcards).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subscribe: Vec<String>,
    /// `host`, `host:port` or `*.domain` that outgoing HTTP may reach; an IP literal or `private`
    /// lifts the ban on private addresses for what it names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// HTTP methods.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// Nothing that changes anything: key-value reads only.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
}

/// Where a link leads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LinkTarget {
    /// A capability provider.
    Provider(ProviderId),
    /// Another actor's export.
    Actor(ActorId),
}

impl std::fmt::Display for LinkTarget {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Provider(id) => write!(formatter, "{id}"),
            Self::Actor(id) => write!(formatter, "{id}"),
        }
    }
}

/// One link. For what an actor *exports* (HTTP and message handlers), the target is the provider
/// that may call it: the actor is the source either way, as people write it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LinkDefinition {
    /// The actor.
    pub source: ActorId,
    /// Which of several links of one interface.
    pub name: LinkName,
    /// The interface or package.
    pub interface: Selector,
    /// The other end.
    pub target: LinkTarget,
    /// Values for the target: bucket, subscription, path, port, …
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config: BTreeMap<String, String>,
    /// Patience.
    #[serde(default)]
    pub policy: CallPolicy,
    /// What it is narrowed to.
    #[serde(default)]
    pub grants: Grants,
}

impl std::fmt::Display for LinkDefinition {
    /// Seed 004's line: `Link: {actor} -> {provider} [{contract}:{link_name}]`.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Link: {} -> {} [{}:{}]", self.source, self.target, self.interface, self.name)
    }
}

/// What makes a link one and the same: its source, name and interface.
pub type LinkKey = (ActorId, LinkName, Selector);

impl LinkDefinition {
    /// The key.
    #[must_use]
    pub fn key(&self) -> LinkKey {
        (self.source.clone(), self.name.clone(), self.interface.clone())
    }
}

/// Why an import leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// No link of this actor covers the interface.
    #[error("capability denied: {}", shown(.interface))]
    Denied {
        /// What was asked for.
        interface: Interface,
        /// By whom.
        source_actor: ActorId,
    },
    /// Links cover the interface, but none has the name.
    #[error("link definition not found")]
    NotFound {
        /// What was asked for.
        interface: Interface,
        /// By whom.
        source_actor: ActorId,
        /// Under which name; none means several links and no `default`.
        name: Option<LinkName>,
    },
}

fn shown(interface: &Interface) -> String {
    contract_of(interface).map_or_else(|| interface.to_string(), str::to_owned)
}

impl From<ResolveError> for Report {
    fn from(error: ResolveError) -> Self {
        let what = error.to_string();
        match error {
            ResolveError::Denied { interface, source_actor } => Self::new(ErrorCode::CapabilityDenied, what)
                .at(format!("{source_actor} importing {interface}"))
                .hint(format!(
                    "add a link: trellis link put {source_actor} <provider> {}",
                    shown(&interface)
                )),
            ResolveError::NotFound { interface, source_actor, name } => {
                let place = match &name {
                    Some(name) => format!("{source_actor} importing {interface} by link name {name}"),
                    None => {
                        format!("{source_actor} importing {interface}: several links, none named default")
                    }
                };
                Self::new(ErrorCode::LinkNotFound, what).at(place).hint("see: trellis get links")
            }
        }
    }
}

/// Every link of one host, by source. Immutable: a change makes a new table.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LinkTable {
    by_source: BTreeMap<ActorId, Vec<Arc<LinkDefinition>>>,
}

impl LinkTable {
    /// Builds a table. Of two links with one key the later wins; manifests refuse that earlier.
    #[must_use]
    pub fn new(links: impl IntoIterator<Item = LinkDefinition>) -> Self {
        let unique: BTreeMap<LinkKey, LinkDefinition> =
            links.into_iter().map(|link| (link.key(), link)).collect();
        let mut by_source: BTreeMap<ActorId, Vec<Arc<LinkDefinition>>> = BTreeMap::new();
        for link in unique.into_values() {
            by_source.entry(link.source.clone()).or_default().push(Arc::new(link));
        }
        Self { by_source }
    }

    /// The links of one actor.
    #[must_use]
    pub fn of(&self, source: &ActorId) -> &[Arc<LinkDefinition>] {
        self.by_source.get(source).map_or(&[], Vec::as_slice)
    }

    /// All links.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<LinkDefinition>> {
        self.by_source.values().flatten()
    }

    /// Where an import leads. With no name: the only link that covers the interface, else the one
    /// named `default`; of several selectors that cover it, the most exact.
    ///
    /// # Errors
    /// [`ResolveError`], which says whether a link or just its name is missing.
    pub fn resolve(
        &self,
        source: &ActorId,
        name: Option<&LinkName>,
        interface: &Interface,
    ) -> Result<&Arc<LinkDefinition>, ResolveError> {
        resolve_among(self.of(source), source, name, interface)
    }
}

/// [`LinkTable::resolve`] over the links of one source.
///
/// # Errors
/// See [`LinkTable::resolve`].
pub fn resolve_among<'links>(
    links: &'links [Arc<LinkDefinition>],
    source: &ActorId,
    name: Option<&LinkName>,
    interface: &Interface,
) -> Result<&'links Arc<LinkDefinition>, ResolveError> {
    let covering = || links.iter().filter(|link| link.interface.covers(interface));
    let mut names: Vec<&LinkName> = covering().map(|link| &link.name).collect();
    names.sort_unstable();
    names.dedup();
    let default = LinkName::default_name();
    let wanted = match (name, names.as_slice()) {
        (_, []) => {
            return Err(ResolveError::Denied { interface: interface.clone(), source_actor: source.clone() });
        }
        (Some(name), _) => name,
        (None, [only]) => only,
        (None, _) => &default,
    };
    covering().filter(|link| link.name == *wanted).max_by_key(|link| link.interface.exactness()).ok_or_else(
        || ResolveError::NotFound {
            interface: interface.clone(),
            source_actor: source.clone(),
            name: name.cloned(),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str, interface: &str, target: &str) -> LinkDefinition {
        LinkDefinition {
            source: "shop/cart".parse().unwrap(),
            name: name.parse().unwrap(),
            interface: interface.parse().unwrap(),
            target: LinkTarget::Provider(target.parse().unwrap()),
            config: BTreeMap::new(),
            policy: CallPolicy::default(),
            grants: Grants::default(),
        }
    }

    fn target(table: &LinkTable, name: Option<&str>, interface: &str) -> Result<String, String> {
        let name = name.map(|name| name.parse().unwrap());
        table
            .resolve(&"shop/cart".parse().unwrap(), name.as_ref(), &interface.parse().unwrap())
            .map(|link| link.target.to_string())
            .map_err(|error| error.to_string())
    }

    const STORE: &str = "wasi:keyvalue/store@0.2.0-draft";

    #[test]
    fn nothing_is_granted_without_a_link() {
        let table = LinkTable::default();
        assert_eq!(target(&table, None, STORE), Err("capability denied: wasmcloud:keyvalue".into()));
        assert_eq!(
            target(&table, None, "example:pong/pingpong@0.1.0"),
            Err("capability denied: example:pong/pingpong@0.1.0".into())
        );
    }

    #[test]
    fn one_link_needs_no_name_and_several_do() {
        let table = LinkTable::new([link("main", "wasi:keyvalue", "shop/a")]);
        assert_eq!(target(&table, None, STORE), Ok("shop/a".into()));
        assert_eq!(target(&table, Some("other"), STORE), Err("link definition not found".into()));

        let table = LinkTable::new([
            link("main", "wasi:keyvalue", "shop/a"),
            link("backup", "wasi:keyvalue", "shop/b"),
        ]);
        assert_eq!(target(&table, None, STORE), Err("link definition not found".into()));
        assert_eq!(target(&table, Some("backup"), STORE), Ok("shop/b".into()));

        let table = LinkTable::new([
            link("default", "wasi:keyvalue", "shop/a"),
            link("backup", "wasi:keyvalue", "shop/b"),
        ]);
        assert_eq!(target(&table, None, STORE), Ok("shop/a".into()));
    }

    #[test]
    fn the_most_exact_selector_wins() {
        let table = LinkTable::new([
            link("default", "wasi:keyvalue", "shop/a"),
            link("default", "wasi:keyvalue/store", "shop/b"),
        ]);
        assert_eq!(target(&table, None, STORE), Ok("shop/b".into()));
        assert_eq!(target(&table, None, "wasi:keyvalue/atomics@0.2.0-draft"), Ok("shop/a".into()));
    }

    #[test]
    fn a_policy_out_of_range_names_each_field() {
        let policy = CallPolicy { timeout_ms: 0, retries: 101, retry_delay_ms: 60_001, idempotent: false };
        let places: Vec<_> = policy.problems().into_iter().filter_map(|report| report.place).collect();
        assert_eq!(places, ["timeoutMs", "retries", "retryDelayMs"]);
        assert!(CallPolicy::default().problems().is_empty());
    }
}
