//! What was set aside, sent again: by the host that set it aside, to wherever its actor is by now.

use super::{Entities, submitted};
use bytes::Bytes;
use host_actors::aside::Again;
use lattice_journal::Command;
use lattice_protocol::entity::{CommandBy, EntityAnswer, EntityAsk, EntityCall};
use lattice_protocol::{EntityKey, ErrorCode, Report};
use providers_sdk::BoxFuture;
use std::time::Duration;

impl Entities {
    /// Sends again what was set aside here. When it has arrived it is set aside no more.
    pub(super) fn replay(
        &self,
        id: String,
        patience: Duration,
    ) -> BoxFuture<'_, Result<(EntityAnswer, Bytes), Report>> {
        Box::pin(async move {
            let (key, again) = self.device.again(&id).await?;
            let answer = match again {
                Again::Command(command) => self.command_again(key, command, patience).await?,
                Again::Message { link, subject, body, key: same } => {
                    let effects = match self.lattice.of(&key.kind) {
                        Some(actors) => actors.effects(&key.kind),
                        None => self.device.effects(&key.kind),
                    };
                    let effects = effects.ok_or_else(|| not_here(&key))?;
                    effects.publish(&link, (&subject, body), &same, patience).await?;
                    (EntityAnswer::default(), Bytes::new())
                }
            };
            self.device.discard(&id).await?;
            Ok(answer)
        })
    }

    async fn command_again(
        &self,
        key: EntityKey,
        command: Command,
        patience: Duration,
    ) -> Result<(EntityAnswer, Bytes), Report> {
        let Some(actors) = self.lattice.of(&key.kind) else {
            let door = self.device.door()?;
            door.forgive(key.clone());
            return submitted(door.submit(key, command, patience).await?);
        };
        if let Some(door) = actors.door(&key) {
            door.forgive(key.clone());
        }
        let Command { reference, name, body } = command;
        let call = EntityCall {
            kind: key.kind.clone(),
            app: None,
            ask: EntityAsk::Command { key: key.clone(), name, by: CommandBy::Id(reference.to_string()) },
            remaining_ms: u64::try_from(patience.as_millis()).unwrap_or(u64::MAX),
            traceparent: None,
        };
        self.find(&actors, &key, call, body).await
    }
}

fn not_here(key: &EntityKey) -> Report {
    Report::new(ErrorCode::ActorNotFound, format!("kind {} does not run on this host any more", key.kind))
        .at(key)
        .hint(
            "a message goes out by the links of its actor: place the kind on this host again, or discard it",
        )
}
