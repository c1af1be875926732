//! Imperative commands as changes of what is desired, so that they survive the host, the
//! controller and the one who typed them. Each takes the record and gives the next one, or a report
//! in the seeds' words; nothing is done in part.
//!
//! The version, author and history of a record are its writer's business: an edit changes only
//! the application and its artifacts, and says in words what it did.

use lattice_protocol::desired::DesiredApp;
use lattice_protocol::manifest::{self, ActorManifest, Application};
use lattice_protocol::name::ActorName;
use lattice_protocol::{ErrorCode, HostId, LinkName, Report};
use std::collections::BTreeSet;

mod actor;
mod change;
mod domain;
mod link;
mod provider;
mod rollout;

pub use actor::{ScaleActor, StartActor, StopActor, scale_actor, start_actor, stop_actor};
pub use change::{Change, Circumstances, carry_out, put};
pub use link::{DeleteLink, PutLink, delete_link, put_link};
pub use provider::{StartProvider, start_provider, stop_provider};
pub use rollout::{finalise, pause, resume, rollback};

/// A record after an edit.
#[derive(Debug, Clone, PartialEq)]
pub struct Edited {
    /// The record; equal to the one before when there was nothing to do.
    pub record: DesiredApp,
    /// What was done, for its history: `scale actor web 3`.
    pub change: String,
    /// What the person should know besides.
    pub notes: Vec<String>,
}

impl Edited {
    /// Checks the application as a whole, as a manifest would be.
    fn new(record: DesiredApp, change: String) -> Result<Self, Report> {
        match manifest::check(&record.application).into_iter().next() {
            None => Ok(Self { record, change, notes: Vec::new() }),
            Some(problem) => Err(problem),
        }
    }
    fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }
}

/// Every host that a command names must be known: a typing error must not wait for ever.
fn check_hosts(named: &[HostId], known: &BTreeSet<HostId>) -> Result<(), Report> {
    match named.iter().find(|host| !known.contains(*host)) {
        None => Ok(()),
        Some(host) => {
            let report = Report::new(ErrorCode::HostNotFound, format!("host not found: {host}"));
            let names = known.iter().map(HostId::as_str);
            Err(match manifest::closest(host.as_str(), names) {
                Some(meant) => report.hint(format!("did you mean {meant}? see: trellis get hosts")),
                None => report.hint("see: trellis get hosts"),
            })
        }
    }
}

fn actor_mut<'app>(
    application: &'app mut Application,
    name: &ActorName,
) -> Result<&'app mut ActorManifest, Report> {
    let app = application.name.clone();
    let names: Vec<String> = application.actors.iter().map(|actor| actor.name.to_string()).collect();
    application.actors.iter_mut().find(|actor| actor.name == *name).ok_or_else(|| {
        let report = Report::new(ErrorCode::ActorNotFound, format!("actor not found: {name}"))
            .at(format!("application {app}"));
        match manifest::closest(name.as_str(), names.iter().map(String::as_str)) {
            Some(meant) => report.hint(format!("did you mean {meant}?")),
            None => report.hint("see: trellis get actors"),
        }
    })
}

/// Where the link name that `start … --link-name` gave is kept: links that are put without one
/// take it.
fn link_name_label(part: &str) -> String {
    format!("link-name.{part}")
}

fn remember_link_name(application: &mut Application, part: &str, name: Option<&LinkName>) {
    if let Some(name) = name {
        application.labels.insert(link_name_label(part), name.to_string());
    }
}

#[cfg(test)]
mod tests;
