//! What persistent actors reach and are reached by: effects through links, actors of other hosts, kinds that
//! others are linked to; and whether this host has room for more of them.

use super::Entities;
use bytes::Bytes;
use host_actors::{Effects, Peers, Room};
use host_runtime::PersistentKind;
use host_runtime::wiring::{EntityReply, EntityTarget};
use lattice_io::Bus;
use lattice_io::call::ask_entity;
use lattice_journal::command::CommandRef;
use lattice_journal::shard::Submitted;
use lattice_journal::{ActorSeq, Command, Epoch};
use lattice_protocol::entity::{CommandBy, EntityAsk, EntityCall};
use lattice_protocol::subject::Subjects;
use lattice_protocol::{AppName, EntityId, EntityKey, ErrorCode, KindName, Report};
use providers_sdk::BoxFuture;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Effects go through the links of the actor that the kind is.
pub(super) struct ThroughLinks(pub(super) Arc<PersistentKind>);

impl Effects for ThroughLinks {
    fn publish<'a>(
        &'a self,
        link: &'a str,
        message: (&'a str, Bytes),
        key: &'a str,
        patience: Duration,
    ) -> BoxFuture<'a, Result<(), Report>> {
        Box::pin(self.0.publish(link, message, key, patience))
    }
    fn call<'a>(
        &'a self,
        link: &'a str,
        call: (&'a str, Bytes),
        key: &'a str,
        patience: Duration,
    ) -> BoxFuture<'a, Result<Bytes, Report>> {
        Box::pin(self.0.call(link, call, key, patience))
    }
}

/// Persistent actors on other hosts.
pub struct OverBus {
    /// The bus.
    pub bus: Arc<dyn Bus>,
    /// Subjects of the lattice.
    pub subjects: Subjects,
}

impl Peers for OverBus {
    fn submit(
        &self,
        key: EntityKey,
        command: Command,
        patience: Duration,
    ) -> BoxFuture<'_, Result<Submitted, Report>> {
        Box::pin(async move {
            let Command { reference, name, body } = command;
            let by = match reference {
                CommandRef::Sent { from, sequence } => CommandBy::Actor { from, sequence },
                CommandRef::Id(id) => CommandBy::Id(id.to_string()),
                CommandRef::Timer { .. } | CommandRef::Answer { .. } => {
                    return Err(Report::new(ErrorCode::Internal, "timers and answers stay with their actor"));
                }
            };
            let call = EntityCall {
                kind: key.kind.clone(),
                app: None,
                ask: EntityAsk::Command { key, name, by },
                remaining_ms: u64::try_from(patience.as_millis()).unwrap_or(u64::MAX),
                traceparent: None,
            };
            let (answer, reply) = ask_entity((&*self.bus, &self.subjects), None, &call, &body).await?;
            Ok(Submitted {
                reply,
                seq: ActorSeq(answer.seq),
                epoch: Epoch(answer.epoch),
                repeated: answer.repeated,
                refused: None,
            })
        })
    }
}

/// Room in what the host offers of its memory.
pub struct MemoryRoom {
    /// What it offers, bytes.
    pub bytes: u64,
}

/// How much of it may be in use when a further shard comes, percent.
const FULL_PERCENT: u64 = 90;

impl Room for MemoryRoom {
    fn check(&self) -> Result<(), Report> {
        let (used, most) = (crate::load::resident_bytes(), self.bytes / 100 * FULL_PERCENT);
        if used <= most {
            return Ok(());
        }
        Err(Report::new(ErrorCode::InsufficientResources, "the host has no memory for a further shard")
            .got(format!("{} MiB in use", used >> 20))
            .limit(format!("{} MiB", most >> 20))
            .hint("nothing was moved; name another host, or give it more: --memory-mib"))
    }
}

/// A kind that another actor is linked to: this host first, then whoever runs it.
pub struct LinkedKind {
    pub(crate) app: AppName,
    pub(crate) kind: KindName,
    pub(crate) entities: Entities,
}

impl EntityTarget for LinkedKind {
    fn ask<'a>(
        &'a self,
        id: EntityId,
        (name, body, command_id): (&'a str, Bytes, Option<String>),
        until: Instant,
    ) -> BoxFuture<'a, Result<EntityReply, Report>> {
        let key = EntityKey::new(self.kind.clone(), id);
        let ask = match command_id {
            Some(id) => EntityAsk::Command { key, name: name.to_owned(), by: CommandBy::Id(id) },
            None => EntityAsk::Query { key, name: name.to_owned(), stale: false },
        };
        let left = until.saturating_duration_since(Instant::now());
        let call = EntityCall {
            kind: self.kind.clone(),
            app: Some(self.app.clone()),
            ask,
            remaining_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
            traceparent: None,
        };
        Box::pin(async move {
            let entities = &self.entities;
            let (answer, reply) = if entities.kind(&self.kind).is_some() {
                entities.answer(call, body).await?
            } else {
                ask_entity((&*entities.bus, &entities.subjects), None, &call, &body).await?
            };
            Ok(EntityReply { reply, seq: answer.seq, repeated: answer.repeated })
        })
    }
}
