//! The lattice as commands see it. Changes are asked of a controller, over NATS; where none answers, an
//! administrator's terminal makes the same edit itself (`lattice_ctl_controller::records` is the one
//! code of both). What there is, an administrator reads from the records; other users ask a controller.

use crate::args::Args;
use crate::connect::Identity;
use crate::context::Context;
use crate::{compose, home, output};
use bytes::Bytes;
use keys::Digest;
use lattice_ctl_controller::api::bus::PERSON;
use lattice_ctl_controller::api::operation::{self, Operation};
use lattice_ctl_controller::records::{self, Author, CHANGED, Records};
use lattice_ctl_planner::edit::Change;
use lattice_io::nats::NatsLattice;
use lattice_io::{Blobs, BusError, BusMessage, Lattice};
use lattice_protocol::desired::{DesiredApp, Placement};
use lattice_protocol::invocation::decode_reply;
use lattice_protocol::permission::PersonRole;
use lattice_protocol::subject::Subjects;
use lattice_protocol::{AppName, ErrorCode, HostId, Report};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub use lattice_ctl_controller::records::SeenHost;

/// Longest wait for a controller's answer: the longest work of one is a look at all hosts.
const PATIENCE: Duration = Duration::from_secs(5);

/// A connection to the lattice.
pub struct Client {
    nats: Arc<NatsLattice>,
    records: Records,
    identity: Identity,
    /// The lattice.
    pub lattice: Lattice,
    /// Its subjects.
    pub subjects: Subjects,
    /// How it was found.
    pub context: Context,
}

/// A record after a change.
#[derive(Debug)]
pub struct Applied {
    /// The record, as it is in force now.
    pub record: DesiredApp,
    /// What the person should know besides.
    pub notes: Vec<String>,
}

fn unreadable(error: &serde_json::Error) -> Report {
    Report::new(ErrorCode::Malformed, format!("controller gave no valid answer: {error}"))
        .hint("a controller of another version may have given it: update the older one")
}

impl Client {
    /// Connects as the command line, the environment or the context say.
    ///
    /// # Errors
    /// `NATS: connection refused` and the like.
    pub async fn connect(args: &Args) -> Result<Self, Report> {
        let context = Context::resolve(args)?;
        let nats = context.login.connect(false).await?;
        let name = context.lattice.clone();
        let records = Records::new(nats.lattice(), name);
        let identity = context.login.identity(&records.subjects)?;
        Ok(Self {
            lattice: nats.lattice(),
            subjects: records.subjects.clone(),
            nats,
            records,
            identity,
            context,
        })
    }

    /// May this user read and write records?
    pub fn is_admin(&self) -> bool {
        self.identity.role == PersonRole::Admin
    }

    /// Asks a controller; `None` when nobody is there to answer.
    ///
    /// # Errors
    /// The operation's own report; `E_OUTCOME_UNKNOWN` when a change that may have been made was not answered.
    pub async fn ask(&self, operation: &Operation, input: &Value) -> Result<Option<Value>, Report> {
        let Identity { role, user } = &self.identity;
        let subject = self.subjects.api(role.as_str(), user, operation.name);
        let body =
            serde_json::to_vec(input).map_err(|error| Report::new(ErrorCode::Internal, error.to_string()))?;
        let mut request = BusMessage::new(subject, body);
        if self.is_admin() {
            request = request.with_header(PERSON, home::who());
        }
        match self.lattice.bus.request(request, PATIENCE).await {
            Ok(answer) => {
                let answer = decode_reply(answer.payload)?;
                serde_json::from_slice(&answer).map(Some).map_err(|error| unreadable(&error))
            }
            Err(BusError::NoResponders { .. }) => Ok(None),
            Err(error) => {
                let what = "no controller answered: the change may have been made";
                Err(match error.outcome_unknown(what) {
                    Some(report) if operation.changes() => report
                        .at(operation.name)
                        .hint("see what is in force, then try again: trellis app history <app>"),
                    _ => error.into(),
                })
            }
        }
    }

    /// Asks a controller, and needs one.
    ///
    /// # Errors
    /// As [`Self::ask`]; `E_CONNECTION` when nobody is there.
    pub async fn need(&self, name: &str, input: &Value) -> Result<Value, Report> {
        let operation = operation::find(name)
            .ok_or_else(|| Report::new(ErrorCode::Internal, format!("no such operation: {name}")))?;
        self.ask(operation, input).await?.ok_or_else(|| no_controller(name))
    }

    async fn need_as<T: DeserializeOwned>(&self, name: &str, input: &Value) -> Result<T, Report> {
        serde_json::from_value(self.need(name, input).await?).map_err(|error| unreadable(&error))
    }

    fn author(&self) -> Result<Author, Report> {
        Ok(Author {
            by: home::who(),
            origin: self.context.login.name.clone(),
            event_id: compose::boot_id()?,
            now_unix_ms: home::now_unix_ms(),
            details: json!({ "user": self.identity.user, "role": self.identity.role, "via": "records" }),
        })
    }

    /// Writes down an administrative act: who (the NATS user, and the person on this machine), what,
    /// about what. The act is done by then: a failure is said, and undoes nothing. Users who may not
    /// speak in the lattice's stream leave that to the controller.
    pub async fn audit(&self, kind: &'static str, about: &str, data: Value) {
        if !self.is_admin() {
            return;
        }
        let recorded = match self.author() {
            Ok(author) => self.records.audit(&author, kind, about, data).await,
            Err(report) => Err(report),
        };
        if let Err(report) = recorded {
            output::warn(format!("not in the audit stream: {report}"));
        }
    }

    /// Sends what is under way and disconnects.
    pub async fn close(&self) {
        self.nats.close().await;
    }

    /// The connection itself.
    pub fn nats(&self) -> &NatsLattice {
        &self.nats
    }

    /// The lattice's artifacts.
    pub async fn artifacts(&self) -> Result<Arc<dyn Blobs>, Report> {
        self.records.artifacts().await
    }

    /// Stores a signed file; gives its digest.
    pub async fn push(&self, file: Bytes) -> Result<Digest, Report> {
        let digest = Digest::of(&file);
        let size = file.len();
        self.artifacts().await?.put(digest, file).await?;
        self.audit("admin.artifact-push", &digest.to_string(), json!({ "bytes": size })).await;
        Ok(digest)
    }

    /// Stores a file again if it has gone since it was pushed, once a record names it: it may have been pruned between
    /// the two (`trellis artifact prune`), and from now on it is not.
    pub async fn hold(&self, file: &Bytes) -> Result<(), Report> {
        self.artifacts().await?.put(Digest::of(file), file.clone()).await.map_err(Report::from)
    }

    /// Every application.
    pub async fn apps(&self) -> Result<BTreeMap<AppName, DesiredApp>, Report> {
        if self.is_admin() {
            return self.records.apps().await;
        }
        let mut found = BTreeMap::new();
        for name in self.names().await? {
            if let Some(record) = missing_is_none(self.app(&name).await)? {
                found.insert(name, record);
            }
        }
        Ok(found)
    }

    async fn names(&self) -> Result<Vec<AppName>, Report> {
        #[derive(serde::Deserialize)]
        struct Named {
            name: AppName,
        }
        let all: Vec<Named> = self.need_as("app.list", &json!({})).await?;
        Ok(all.into_iter().map(|one| one.name).collect())
    }

    /// Every decision.
    pub async fn placements(&self) -> Result<BTreeMap<AppName, Placement>, Report> {
        if self.is_admin() {
            return self.records.placements().await;
        }
        let mut found = BTreeMap::new();
        for name in self.names().await? {
            let placement = self.need_as("app.placement", &json!({ "app": name })).await;
            if let Some(placement) = missing_is_none(placement)? {
                found.insert(name, placement);
            }
        }
        Ok(found)
    }

    /// One application.
    ///
    /// # Errors
    /// `E_APP_NOT_FOUND`.
    pub async fn app(&self, name: &AppName) -> Result<DesiredApp, Report> {
        if self.is_admin() {
            return self.records.app(name).await;
        }
        self.need_as("app.get", &json!({ "app": name })).await
    }

    /// Changes an application. A controller is told which version the change is meant for: one that
    /// does not answer in time may still make it, but never upon what came after; so an administrator's
    /// terminal can then make it itself.
    ///
    /// # Errors
    /// What the edit says; `E_CONFLICT` after ten lost races; `E_OUTCOME_UNKNOWN` when no controller
    /// answered in time and the change may have been made.
    pub async fn change(&self, name: &AppName, change: &Change) -> Result<Applied, Report> {
        let (operation, input) = operation::of_change(name, change)?;
        for _ in 0..records::MAX_ATTEMPTS {
            let version = missing_is_none(self.app(name).await)?.map_or(0, |record| record.version);
            let unknown = match self.ask_for_version(operation, &input, version).await {
                Ok(Some(notes)) => return Ok(Applied { record: self.app(name).await?, notes }),
                Ok(None) => None,
                Err(report) if report.code == ErrorCode::OutcomeUnknown => Some(report),
                Err(report) if is_lost(&report) => continue,
                Err(report) => return Err(report),
            };
            if !self.is_admin() {
                return Err(unknown.unwrap_or_else(|| no_controller(operation.name)));
            }
            match self.records.change(&self.author()?, (name, Some(version)), change).await {
                Ok(records::Applied { record, notes, unheard, .. }) => {
                    warn_of_unheard(unheard);
                    return Ok(Applied { record, notes });
                }
                // Whoever did not answer may have made it after all.
                Err(report) if is_lost(&report) => {
                    if let Some(unknown) = unknown {
                        return Err(unknown);
                    }
                }
                Err(report) => return Err(report),
            }
        }
        Err(records::races_lost(name))
    }

    /// The notes of the controller that made it; `None` when nobody is there to answer.
    async fn ask_for_version(
        &self,
        operation: &Operation,
        input: &Value,
        version: u64,
    ) -> Result<Option<Vec<String>>, Report> {
        #[derive(serde::Deserialize)]
        struct Changed {
            notes: Vec<String>,
        }
        let mut input = input.clone();
        if let Some(fields) = input.as_object_mut() {
            fields.insert("expect".to_owned(), version.into());
        }
        let Some(answer) = self.ask(operation, &input).await? else { return Ok(None) };
        let changed: Changed = serde_json::from_value(answer).map_err(|error| unreadable(&error))?;
        Ok(Some(changed.notes))
    }

    /// Forgets an application and its history.
    pub async fn delete_app(&self, name: &AppName) -> Result<(), Report> {
        if self.ask_named("app.delete", &json!({ "app": name })).await? {
            return Ok(());
        }
        warn_of_unheard(self.records.delete_app(&self.author()?, (name, None)).await?);
        Ok(())
    }

    /// Asks a host to leave.
    pub async fn stop_host(&self, host: &HostId) -> Result<(), Report> {
        if self.ask_named("host.stop", &json!({ "host": host })).await? {
            return Ok(());
        }
        self.records.stop_host(host).await?;
        self.audit("admin.host-stop", host.as_str(), json!({})).await;
        Ok(())
    }

    /// Did a controller do it? If none is there, the caller may do it itself.
    async fn ask_named(&self, name: &str, input: &Value) -> Result<bool, Report> {
        let operation = operation::find(name)
            .ok_or_else(|| Report::new(ErrorCode::Internal, format!("no such operation: {name}")))?;
        if self.ask(operation, input).await?.is_some() {
            return Ok(true);
        }
        self.must_be_admin(name)?;
        Ok(false)
    }

    fn must_be_admin(&self, name: &str) -> Result<(), Report> {
        if self.is_admin() { Ok(()) } else { Err(no_controller(name)) }
    }

    /// Every host: those that answer now, and those that a controller remembers.
    pub async fn hosts(&self) -> Result<BTreeMap<HostId, SeenHost>, Report> {
        #[derive(serde::Deserialize)]
        struct Listed {
            host: HostId,
            #[serde(flatten)]
            seen: SeenHost,
        }
        if self.is_admin() {
            return self.records.hosts().await;
        }
        let all: Vec<Listed> = self.need_as("host.list", &json!({})).await?;
        Ok(all.into_iter().map(|one| (one.host, one.seen)).collect())
    }

    /// May this user read the audit stream itself? Else it asks a controller.
    pub fn reads_stream(&self) -> bool {
        self.is_admin()
    }
}

fn missing_is_none<T>(result: Result<T, Report>) -> Result<Option<T>, Report> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(report) if matches!(report.code, ErrorCode::AppNotFound | ErrorCode::NotFound) => Ok(None),
        Err(report) => Err(report),
    }
}

/// The application is not at the version any more that the change was meant for.
fn is_lost(report: &Report) -> bool {
    report.code == ErrorCode::Conflict && report.what == CHANGED
}

fn warn_of_unheard(unheard: Option<Report>) {
    if let Some(report) = unheard {
        output::warn(format!("not in the audit stream: {report}"));
    }
}

fn no_controller(operation: &str) -> Report {
    Report::new(ErrorCode::Connection, "no controller answers")
        .at(operation)
        .hint("start one: trellis controller; only an administrator can do without")
}
