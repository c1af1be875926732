//! Links as a running actor sees them: each definition bound to what answers it on this host.
//!
//! [`Wiring`] is immutable and is swapped whole, so an import call reads it without a lock and a
//! link that was put or deleted holds from the next call on. [`Wiring::resolve`] is the only way
//! from an import to a target: no link is `capability denied`, and that is all a guest without
//! links can get. Calls go through [`BoundLink::guarded`], which owns patience, retries and the
//! circuit breaker.

mod guard;

pub(crate) use guard::{Failure, Repeat, behind};

use crate::actor::Actor;
use futures::future::BoxFuture;
use host_core::{Circuit, CircuitPolicy, RetryPolicy};
use lattice_protocol::invocation::Invocation;
use lattice_protocol::link::{LinkKey, resolve_among};
use lattice_protocol::{ActorId, EntityId, ErrorCode, Interface, LinkDefinition, LinkName, Report};
use providers_sdk::blob::BlobStore;
use providers_sdk::http::{Allowed, HttpClient};
use providers_sdk::keyvalue::KeyValue;
use providers_sdk::messaging::Messaging;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// What answers a link on this host.
#[derive(Clone)]
pub enum BoundTarget {
    /// `wasi:keyvalue` (and `wasmcloud:secrets`, read from a bucket).
    KeyValue(Arc<dyn KeyValue>),
    /// `wasmcloud:messaging`.
    Messaging(Arc<dyn Messaging>),
    /// Outgoing `wasi:http`.
    HttpClient(Arc<dyn HttpClient>),
    /// `wasi:blobstore`.
    BlobStore(Arc<dyn BlobStore>),
    /// Another actor, by any interface that it exports.
    Actor(Arc<dyn ActorTarget>),
    /// Persistent actors of one kind.
    Entities(Arc<dyn EntityTarget>),
    /// The provider calls the actor's export (HTTP server, subscription); nothing to import.
    Inbound,
    /// The target does not run, or did not start: every call gets this.
    Unavailable(Report),
}

impl BoundTarget {
    fn word(&self) -> &'static str {
        match self {
            Self::KeyValue(_) => "a key-value store",
            Self::Messaging(_) => "a message broker",
            Self::HttpClient(_) => "an HTTP client",
            Self::BlobStore(_) => "a blob store",
            Self::Actor(_) => "an actor",
            Self::Entities(_) => "persistent actors",
            Self::Inbound => "a provider that calls the actor",
            Self::Unavailable(_) => "nothing that runs",
        }
    }
}

/// Another actor, wherever it runs: on this host first.
pub trait ActorTarget: Send + Sync {
    /// Who.
    fn id(&self) -> &ActorId;
    /// The actor, when it runs on this host.
    fn local(&self) -> Option<Arc<Actor>>;
    /// Calls it on another host; the payload is component-model values. Nobody there is
    /// `E_CONNECTION`, no answer in time `E_TIMEOUT`; every other report is the actor's own.
    fn remote<'a>(
        &'a self,
        call: Invocation,
        payload: bytes::Bytes,
    ) -> BoxFuture<'a, Result<bytes::Bytes, Report>>;
}

/// What a persistent actor answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntityReply {
    /// Its words.
    pub reply: bytes::Bytes,
    /// In which commit.
    pub seq: u64,
    /// Was the command carried out before?
    pub repeated: bool,
}

/// Persistent actors of one kind, wherever they run.
pub trait EntityTarget: Send + Sync {
    /// Has the actor of this id carry out a command (name, body, its id), or, without a command id,
    /// answer a query. Nobody there is `E_CONNECTION`, a command that may be carried out
    /// `E_OUTCOME_UNKNOWN`; every other report is the owner's own.
    fn ask<'a>(
        &'a self,
        id: EntityId,
        ask: (&'a str, bytes::Bytes, Option<String>),
        until: Instant,
    ) -> BoxFuture<'a, Result<EntityReply, Report>>;
}

/// Where the secrets of this host come from.
pub trait SecretSource: Send + Sync {
    /// The value of a secret by its name, as it is now. The error never holds any of it.
    fn reveal<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<bytes::Bytes, Report>>;
}

/// One link of a running actor.
pub struct BoundLink {
    definition: Arc<LinkDefinition>,
    target: BoundTarget,
    config: Arc<BTreeMap<String, String>>,
    allowed: Allowed,
    retry: RetryPolicy,
    circuit: Mutex<Circuit>,
}

impl BoundLink {
    fn new(definition: Arc<LinkDefinition>, target: BoundTarget) -> Self {
        Self {
            config: Arc::new(definition.config.clone()),
            allowed: Allowed {
                hosts: definition.grants.hosts.clone(),
                methods: definition.grants.methods.clone(),
            },
            retry: RetryPolicy::from(&definition.policy),
            circuit: Mutex::new(Circuit::new(CircuitPolicy::default())),
            definition,
            target,
        }
    }

    /// What was asked for.
    #[must_use]
    pub fn definition(&self) -> &LinkDefinition {
        &self.definition
    }

    /// What answers it.
    #[must_use]
    pub fn target(&self) -> &BoundTarget {
        &self.target
    }

    /// What outgoing HTTP may do through it.
    pub(crate) fn allowed(&self) -> &Allowed {
        &self.allowed
    }

    /// The error for an interface that the target cannot answer.
    pub(crate) fn mismatch(&self, interface: &Interface) -> Report {
        if let BoundTarget::Unavailable(report) = &self.target {
            return report.clone().at(&*self.definition);
        }
        Report::new(ErrorCode::Link, format!("link does not lead to anything that answers {interface}"))
            .at(&*self.definition)
            .got(self.target.word())
            .hint("link it to a provider of that capability")
    }
}

/// Every link of one actor, bound to its targets. Immutable: a change makes a new one.
#[derive(Default)]
pub struct Wiring {
    /// Side by side with `links`, in the form [`resolve_among`] reads.
    definitions: Vec<Arc<LinkDefinition>>,
    links: Vec<Arc<BoundLink>>,
    secrets: Option<Arc<dyn SecretSource>>,
}

impl Wiring {
    /// Binds the links of this actor; links of any other source are left out. Of two links with
    /// one key the later wins, as in [`lattice_protocol::LinkTable`].
    #[must_use]
    pub fn new(actor: &ActorId, links: Vec<(LinkDefinition, BoundTarget)>) -> Self {
        let unique: BTreeMap<LinkKey, (LinkDefinition, BoundTarget)> = links
            .into_iter()
            .filter(|(definition, _)| definition.source == *actor)
            .map(|(definition, target)| (definition.key(), (definition, target)))
            .collect();
        let mut wiring = Self::default();
        for (definition, target) in unique.into_values() {
            let definition = Arc::new(definition);
            wiring.definitions.push(Arc::clone(&definition));
            wiring.links.push(Arc::new(BoundLink::new(definition, target)));
        }
        wiring
    }

    /// With a source for the secrets that the actor's own configuration names.
    #[must_use]
    pub fn with_secrets(mut self, source: Arc<dyn SecretSource>) -> Self {
        self.secrets = Some(source);
        self
    }

    /// Where secrets come from, if from anywhere.
    pub(crate) fn secrets(&self) -> Option<&Arc<dyn SecretSource>> {
        self.secrets.as_ref()
    }

    /// The links, by key.
    #[must_use]
    pub fn links(&self) -> &[Arc<BoundLink>] {
        &self.links
    }

    /// Where an import of this actor leads.
    ///
    /// # Errors
    /// `E_CAPABILITY_DENIED` when no link covers the interface, `E_LINK_NOT_FOUND` when none of
    /// those that do has the name.
    pub fn resolve(
        &self,
        actor: &ActorId,
        name: Option<&LinkName>,
        interface: &Interface,
    ) -> Result<&Arc<BoundLink>, Report> {
        // Nearly always one link covers the interface, and it is the one that is meant.
        let mut covering = self.links.iter().filter(|link| link.definition.interface.covers(interface));
        if let (Some(only), None) = (covering.next(), covering.next())
            && name.is_none_or(|name| *name == only.definition.name)
        {
            return Ok(only);
        }
        let found = resolve_among(&self.definitions, actor, name, interface)?;
        self.links
            .iter()
            .find(|link| Arc::ptr_eq(&link.definition, found))
            .ok_or_else(|| Report::new(ErrorCode::Internal, "link without a target").at(&**found))
    }

    /// Is this very link still in force?
    pub(crate) fn holds(&self, link: &Arc<BoundLink>) -> bool {
        self.links.iter().any(|held| Arc::ptr_eq(held, link))
    }
}

#[cfg(test)]
mod tests;
