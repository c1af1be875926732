//! The kinds that run here: what decides, what carries effects out, and how they are treated.

use crate::policy::KindPolicy;
use bytes::Bytes;
use host_core::guest::GuestKind;
use lattice_io::BoxFuture;
use lattice_journal::Command;
use lattice_journal::shard::Submitted;
use lattice_protocol::{ActorId, EntityKey, ErrorCode, KindName, Report};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Carries out what leaves an actor by its links.
pub trait Effects: Send + Sync {
    /// Publishes, under a key that is the same on every attempt.
    fn publish<'a>(
        &'a self,
        link: &'a str,
        message: (&'a str, Bytes),
        key: &'a str,
        patience: Duration,
    ) -> BoxFuture<'a, Result<(), Report>>;
    /// Calls a function with JSON arguments: its results as JSON.
    fn call<'a>(
        &'a self,
        link: &'a str,
        call: (&'a str, Bytes),
        key: &'a str,
        patience: Duration,
    ) -> BoxFuture<'a, Result<Bytes, Report>>;
}

/// Reaches persistent actors that do not run here.
pub trait Peers: Send + Sync {
    /// Has an actor, wherever it is, carry out a command.
    fn submit(
        &self,
        key: EntityKey,
        command: Command,
        patience: Duration,
    ) -> BoxFuture<'_, Result<Submitted, Report>>;
}

/// Whether this host has room.
pub trait Room: Send + Sync {
    /// Can it take one more shard now?
    ///
    /// # Errors
    /// `E_INSUFFICIENT_RESOURCES`, with what there is too little of.
    fn check(&self) -> Result<(), Report>;
}

/// One kind on this host.
#[derive(Clone)]
pub struct Kind {
    /// The actor of the manifest that it is.
    pub actor: ActorId,
    /// What decides.
    pub guests: Arc<dyn GuestKind>,
    /// What carries effects out.
    pub effects: Arc<dyn Effects>,
    /// How it is treated.
    pub policy: KindPolicy,
}

/// Has a kind run, or run on with another component. One name is one actor's.
///
/// # Errors
/// `E_CONFLICT` when another actor has that kind; nothing is changed.
pub(crate) fn put(kinds: &mut BTreeMap<KindName, Kind>, name: &KindName, kind: &Kind) -> Result<(), Report> {
    if let Some(other) = kinds.get(name).filter(|other| other.actor != kind.actor) {
        return Err(Report::new(ErrorCode::Conflict, format!("kind {name} belongs to another actor"))
            .at(&kind.actor)
            .got(&other.actor)
            .hint("give it a kind of its own: persistent: {kind: …}"));
    }
    kinds.insert(name.clone(), kind.clone());
    Ok(())
}

impl fmt::Debug for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Kind").field("actor", &self.actor).finish_non_exhaustive()
    }
}
