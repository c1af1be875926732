//! `trellis:actor/client`: persistent actors of the kind that a link leads to, wherever they run.
//! A command has its id before its first attempt, so every attempt is safe.

use super::bindings::entities::trellis::actor::client::{Done, Failure, Host};
use super::bindings::entities::trellis::actor::types::Command;
use super::{interface, trap};
use crate::state::{CallScope, InstanceState};
use crate::wiring::{self, BoundLink, BoundTarget, EntityReply, EntityTarget, Repeat};
use lattice_protocol::entity::Attempts;
use lattice_protocol::{EntityId, Report};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wasmtime::component::{HasSelf, Linker};

interface!(CLIENT = "trellis:actor/client@0.1.0");

pub(crate) fn link(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    super::bindings::entities::trellis::actor::client::add_to_linker::<_, HasSelf<_>>(linker, |state| state)
}

fn target(link: &BoundLink) -> Result<&dyn EntityTarget, Report> {
    match link.target() {
        BoundTarget::Entities(target) => Ok(target.as_ref()),
        _ => Err(link.mismatch(&CLIENT)),
    }
}

fn failure(report: Report) -> Failure {
    let own = report.code == lattice_protocol::ErrorCode::Guest;
    let refusal = if own { report.got.clone() } else { None };
    let message = if own { report.what } else { report.to_string() };
    Failure { code: report.code.to_string(), refusal, message }
}

/// What is known of a call's attempts. One is under way at a time; the lock lets it go on on another thread.
#[derive(Default)]
struct Attempted(Mutex<Attempts>);

impl Attempted {
    fn lock(&self) -> MutexGuard<'_, Attempts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CallScope {
    fn entity(&self, id: &str) -> Result<(Arc<BoundLink>, EntityId), Report> {
        // The link first: without one, no more is said than that.
        let link = self.resolve(&CLIENT, None)?;
        Ok((link, id.parse()?))
    }

    async fn ask_entity(
        &self,
        (link, id): (Arc<BoundLink>, EntityId),
        ask: (&str, Vec<u8>, Option<String>),
    ) -> Result<EntityReply, Report> {
        let (name, body, command_id) = ask;
        self.fits("command", body.len())?;
        let target = target(&link)?;
        let body = bytes::Bytes::from(body);
        let is_command = command_id.is_some();
        let attempts = Attempted::default();
        let asked = link
            .guarded(self.info.deadline, Repeat::Freely, |until| {
                let (id, body, command_id) = (id.clone(), body.clone(), command_id.clone());
                let attempts = &attempts;
                async move {
                    attempts.lock().begin();
                    let asked = target.ask(id, (name, body, command_id), until).await;
                    asked.map_err(|report| match is_command {
                        true => wiring::Failure::of_command(attempts.lock().told(report)),
                        false => report.into(),
                    })
                }
            })
            .await;
        asked.map_err(|report| if is_command { attempts.lock().given_up(report) } else { report })
    }
}

impl Host for InstanceState {
    async fn submit(
        &mut self,
        id: String,
        command: Command,
        command_id: Option<String>,
    ) -> wasmtime::Result<Result<Done, Failure>> {
        let found = match self.call.entity(&id) {
            Ok(found) => found,
            Err(report) if report.code == lattice_protocol::ErrorCode::Name => {
                return Ok(Err(failure(report)));
            }
            Err(report) => return Err(trap(report)),
        };
        let command_id = match command_id.map_or_else(new_id, Ok) {
            Ok(command_id) => command_id,
            Err(report) => return Err(trap(report)),
        };
        let answer = self.call.ask_entity(found, (&command.name, command.body, Some(command_id))).await;
        Ok(answer
            .map(|answer| Done { reply: answer.reply.into(), seq: answer.seq, repeated: answer.repeated })
            .map_err(failure))
    }

    async fn query(
        &mut self,
        id: String,
        name: String,
        body: Vec<u8>,
    ) -> wasmtime::Result<Result<Vec<u8>, Failure>> {
        let found = match self.call.entity(&id) {
            Ok(found) => found,
            Err(report) if report.code == lattice_protocol::ErrorCode::Name => {
                return Ok(Err(failure(report)));
            }
            Err(report) => return Err(trap(report)),
        };
        let answer = self.call.ask_entity(found, (&name, body, None)).await;
        Ok(answer.map(|answer| answer.reply.into()).map_err(failure))
    }
}

fn new_id() -> Result<String, Report> {
    let mut entropy = [0; 10];
    getrandom::fill(&mut entropy).map_err(|error| {
        Report::new(lattice_protocol::ErrorCode::Internal, format!("no random numbers: {error}"))
    })?;
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let unix_ms = u64::try_from(since.as_millis()).unwrap_or_default();
    Ok(lattice_journal::CommandId::new(unix_ms, entropy).to_string())
}
