//! The lattice as commands see it: records read, edited by compare-and-set, hosts asked.

use crate::args::Args;
use crate::context::Context;
use crate::{compose, home, output};
use bytes::Bytes;
use keys::Digest;
use lattice_ctl_planner::edit::Edited;
use lattice_io::nats::NatsLattice;
use lattice_io::{Blobs, BusMessage, Kv, KvOptions, Lattice, Replicas, events};
use lattice_protocol::desired::{DesiredApp, ObservedHost, Placement, Verdict};
use lattice_protocol::event::Happening;
use lattice_protocol::heartbeat::Heartbeat;
use lattice_protocol::invocation::decode_reply;
use lattice_protocol::subject::Subjects;
use lattice_protocol::{AppName, ErrorCode, HostId, LatticeName, Report};
use serde::de::DeserializeOwned;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Attempts of one edit while others edit the same application.
const MAX_ATTEMPTS: u32 = 10;
/// Longest time that hosts get to say that they are there.
const PING: Duration = Duration::from_millis(1_500);
/// Time without an answer after which nobody else is waited for, when no more are expected.
const PING_IDLE: Duration = Duration::from_millis(250);

/// A connection to the lattice.
pub struct Client {
    nats: Arc<NatsLattice>,
    /// The lattice.
    pub lattice: Lattice,
    /// Its subjects.
    pub subjects: Subjects,
    /// Its name.
    pub name: LatticeName,
    /// How it was found.
    pub context: Context,
}

/// A host, as it answered or as a controller saw it last.
#[derive(Debug, Clone)]
pub struct SeenHost {
    /// Its last statement.
    pub heartbeat: Heartbeat,
    /// Liveness.
    pub verdict: Verdict,
    /// It answered just now.
    pub answered: bool,
    /// A controller has heard of it, and places actors on it.
    pub observed: bool,
    /// Why it is not alive, as a controller said: `heartbeat timeout: 30000ms`.
    pub reason: Option<String>,
}

impl SeenHost {
    /// Seed 004's words for it.
    pub fn health(&self) -> &'static str {
        self.verdict.health(self.heartbeat.errors)
    }
}

/// A record after an imperative edit.
#[derive(Debug)]
pub struct Applied {
    /// The record, as it is in force now.
    pub record: DesiredApp,
    /// What the person should know besides.
    pub notes: Vec<String>,
}

fn unreadable(bucket: &str, key: &str, error: &serde_json::Error) -> Report {
    Report::new(ErrorCode::Damaged, format!("record not readable: {error}"))
        .at(format!("{bucket}, key {key}"))
        .hint("a newer trellis may have written it: update this one")
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
        Ok(Self { lattice: nats.lattice(), nats, subjects: Subjects::new(name.clone()), name, context })
    }

    /// Writes down an administrative act: who (the NATS user, and the person on this machine), what,
    /// about what. The act is done by then: a failure is said, and undoes nothing.
    pub async fn audit(&self, kind: &'static str, about: &str, mut data: serde_json::Value) {
        if let Some(fields) = data.as_object_mut() {
            fields.insert("by".to_owned(), home::who().into());
        }
        let subject = Some(about.to_owned());
        let happening = Happening { kind, subject, data, at_unix_ms: home::now_unix_ms() };
        let recorded = match compose::boot_id() {
            Ok(id) => {
                let event = happening.into_event(&self.name, &self.context.login.name, id);
                events::record(&self.lattice, &self.subjects, &event).await
            }
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
        Ok(self.lattice.blobs.open(&self.subjects.artifact_store(), Replicas::One).await?)
    }

    /// Stores a signed file; gives its digest.
    pub async fn push(&self, file: Bytes) -> Result<Digest, Report> {
        let digest = Digest::of(&file);
        let size = file.len();
        self.artifacts().await?.put(digest, file).await?;
        self.audit("admin.artifact-push", &digest.to_string(), json!({ "bytes": size })).await;
        Ok(digest)
    }

    async fn desired(&self) -> Result<Arc<dyn Kv>, Report> {
        Ok(self.lattice.kv.open(&self.subjects.desired_bucket(), KvOptions::default()).await?)
    }

    /// Every record of a bucket by its key; none when the bucket is not there.
    async fn records<K, T>(&self, bucket: &str) -> Result<BTreeMap<K, T>, Report>
    where
        K: std::str::FromStr + Ord,
        T: DeserializeOwned,
    {
        let Some(kv) = self.lattice.kv.lookup(bucket).await? else { return Ok(BTreeMap::new()) };
        let mut found = BTreeMap::new();
        for key in kv.keys().await? {
            let (Ok(name), Some(entry)) = (key.parse(), kv.get_latest(&key).await?) else { continue };
            let record =
                serde_json::from_slice(&entry.value).map_err(|error| unreadable(bucket, &key, &error))?;
            found.insert(name, record);
        }
        Ok(found)
    }

    /// Every application.
    pub async fn apps(&self) -> Result<BTreeMap<AppName, DesiredApp>, Report> {
        self.records(&self.subjects.desired_bucket()).await
    }

    /// Every decision.
    pub async fn placements(&self) -> Result<BTreeMap<AppName, Placement>, Report> {
        self.records(&self.subjects.placement_bucket()).await
    }

    /// One application.
    ///
    /// # Errors
    /// `E_APP_NOT_FOUND`.
    pub async fn app(&self, name: &AppName) -> Result<DesiredApp, Report> {
        self.find_app(name).await?.ok_or_else(|| app_not_found(name))
    }

    async fn find_app(&self, name: &AppName) -> Result<Option<DesiredApp>, Report> {
        let bucket = self.subjects.desired_bucket();
        let Some(kv) = self.lattice.kv.lookup(&bucket).await? else { return Ok(None) };
        match kv.get_latest(name.as_str()).await? {
            Some(entry) => serde_json::from_slice(&entry.value)
                .map(Some)
                .map_err(|error| unreadable(&bucket, name.as_str(), &error)),
            None => Ok(None),
        }
    }

    /// Changes one application: reads, edits, writes if nobody else wrote meanwhile, else again.
    ///
    /// # Errors
    /// What the edit says, or `E_CONFLICT` after ten lost races.
    pub async fn edit(
        &self,
        name: &AppName,
        mut edit: impl FnMut(Option<&DesiredApp>) -> Result<DesiredApp, Report>,
    ) -> Result<DesiredApp, Report> {
        let kv = self.desired().await?;
        for _ in 0..MAX_ATTEMPTS {
            let entry = kv.get_latest(name.as_str()).await?;
            let have: Option<DesiredApp> = match &entry {
                Some(entry) => Some(
                    serde_json::from_slice(&entry.value)
                        .map_err(|error| unreadable(kv.bucket(), name.as_str(), &error))?,
                ),
                None => None,
            };
            let next = edit(have.as_ref())?;
            if have.as_ref() == Some(&next) {
                return Ok(next);
            }
            let value = serde_json::to_vec(&next)
                .map_err(|error| Report::new(ErrorCode::Internal, error.to_string()))?;
            let written = match &entry {
                Some(entry) => kv.update(name.as_str(), value.into(), entry.revision).await,
                None => kv.create(name.as_str(), value.into()).await,
            };
            match written {
                Ok(_) => {
                    let change = next.history.first().map(|past| past.change.clone());
                    let data = json!({ "version": next.version, "change": change });
                    self.audit("admin.app-change", name.as_str(), data).await;
                    return Ok(next);
                }
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Report::new(ErrorCode::Conflict, "others keep changing this application")
            .at(name)
            .got(format!("{MAX_ATTEMPTS} lost races"))
            .hint("try again"))
    }

    /// Changes an application that exists, and marks the change.
    pub async fn change(
        &self,
        name: &AppName,
        change: &str,
        edit: impl Fn(&mut DesiredApp) -> Result<(), Report>,
    ) -> Result<DesiredApp, Report> {
        self.edit(name, |have| {
            let mut next = have.cloned().ok_or_else(|| app_not_found(name))?;
            edit(&mut next)?;
            next.stamp(&home::who(), home::now_unix_ms(), change);
            Ok(next)
        })
        .await
    }

    /// Makes an imperative edit. The application of imperative commands comes into being by its
    /// first edit; any other must exist.
    pub async fn apply(
        &self,
        name: &AppName,
        edit: impl Fn(&DesiredApp) -> Result<Edited, Report>,
    ) -> Result<Applied, Report> {
        let mut notes = Vec::new();
        let record = self
            .edit(name, |have| {
                let base = match have {
                    Some(have) => have.clone(),
                    None if *name == AppName::imperative() => DesiredApp::empty(name.clone()),
                    None => return Err(app_not_found(name)),
                };
                let edited = edit(&base)?;
                notes = edited.notes;
                let mut next = edited.record;
                if Some(&next) != have {
                    next.stamp(&home::who(), home::now_unix_ms(), &edited.change);
                }
                Ok(next)
            })
            .await?;
        Ok(Applied { record, notes })
    }

    /// Hosts that commands may name: all but those that are lost.
    pub async fn known_hosts(&self) -> Result<BTreeSet<HostId>, Report> {
        let hosts = self.hosts().await?;
        Ok(hosts.into_iter().filter(|(_, seen)| seen.verdict != Verdict::Lost).map(|(id, _)| id).collect())
    }

    /// Forgets an application and its history.
    pub async fn delete_app(&self, name: &AppName) -> Result<(), Report> {
        self.app(name).await?;
        self.desired().await?.delete(name.as_str(), None).await?;
        self.audit("admin.app-delete", name.as_str(), json!({})).await;
        Ok(())
    }

    /// Every host: those that answer now, and those that a controller remembers.
    pub async fn hosts(&self) -> Result<BTreeMap<HostId, SeenHost>, Report> {
        let observed: BTreeMap<HostId, ObservedHost> = self.records(&self.subjects.observed_bucket()).await?;
        let expected =
            observed.iter().filter(|(_, host)| host.verdict == Verdict::Alive).map(|(id, _)| id.clone());
        let answers = self.ping(&expected.collect()).await?;
        let mut hosts: BTreeMap<HostId, SeenHost> = observed
            .into_iter()
            .map(|(id, host)| {
                let (heartbeat, verdict, reason) = (host.heartbeat, host.verdict, host.reason);
                (id, SeenHost { heartbeat, verdict, answered: false, observed: true, reason })
            })
            .collect();
        for heartbeat in answers {
            let verdict = if heartbeat.leaving { Verdict::Leaving } else { Verdict::Alive };
            let observed = hosts.contains_key(&heartbeat.host);
            let host = heartbeat.host.clone();
            hosts.insert(host, SeenHost { heartbeat, verdict, answered: true, observed, reason: None });
        }
        Ok(hosts)
    }

    /// Asks everybody at once, and takes what comes.
    async fn ping(&self, expected: &BTreeSet<HostId>) -> Result<Vec<Heartbeat>, Report> {
        let bus = &self.lattice.bus;
        let inbox = bus.new_inbox();
        let mut answers = bus.subscribe(&inbox, None).await?;
        bus.publish(BusMessage::new(self.subjects.hosts_ping(), Bytes::new()).with_reply(&inbox)).await?;
        let (end, mut missing, mut found) = (Instant::now() + PING, expected.clone(), Vec::new());
        loop {
            let patience = if missing.is_empty() { (Instant::now() + PING_IDLE).min(end) } else { end };
            let Ok(Some(answer)) = tokio::time::timeout_at(patience, answers.next()).await else { break };
            // "No responders" is an answer of the server, without a frame.
            let Ok(frame) = decode_reply(answer.payload) else { break };
            if let Ok(heartbeat) = serde_json::from_slice::<Heartbeat>(&frame)
                && heartbeat.lattice == self.name
            {
                missing.remove(&heartbeat.host);
                found.push(heartbeat);
            }
        }
        Ok(found)
    }
}

/// There is no application of this name.
pub fn app_not_found(name: &AppName) -> Report {
    Report::new(ErrorCode::AppNotFound, format!("application not found: {name}"))
        .hint("see: trellis app list")
}
