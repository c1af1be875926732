//! The lattice's records as people see and change them: read, edited by compare-and-set, hosts asked.
//! The controllers' API works on them, and so does the command line where no controller answers: a
//! change is one edit of the desired state either way, and whoever plans sees it.

mod hosts;

pub use hosts::{SeenHost, as_seen, host_not_found};

use bytes::Bytes;
use lattice_ctl_planner::edit::{Change, Circumstances, Edited, carry_out};
use lattice_io::{Blobs, Kv, KvOptions, Lattice, Replicas, events};
use lattice_protocol::desired::{DesiredApp, Placement, Verdict};
use lattice_protocol::event::Happening;
use lattice_protocol::subject::Subjects;
use lattice_protocol::{AppName, ErrorCode, HostId, LatticeName, Report};
use serde::de::DeserializeOwned;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Attempts of one edit while others edit the same application.
pub const MAX_ATTEMPTS: u32 = 10;
/// What is said when the application is not at the version that a change was meant for.
pub const CHANGED: &str = "application changed meanwhile";

/// The records of one lattice.
#[derive(Clone)]
pub struct Records {
    /// Where they are.
    pub lattice: Lattice,
    /// Their names.
    pub subjects: Subjects,
    /// The lattice's name.
    pub name: LatticeName,
}

/// Who makes a change, and when: for histories and the audit stream.
#[derive(Debug, Clone)]
pub struct Author {
    /// In words, for people.
    pub by: String,
    /// The NATS user that stores the event.
    pub origin: String,
    /// Unique per event.
    pub event_id: String,
    /// Unix milliseconds.
    pub now_unix_ms: u64,
    /// What else the event shall say: by which way it came, in which role.
    pub details: serde_json::Value,
}

/// A record after an edit.
#[derive(Debug)]
pub struct Applied {
    /// The record, as it is in force now.
    pub record: DesiredApp,
    /// What the person should know besides.
    pub notes: Vec<String>,
    /// Was there anything to do?
    pub changed: bool,
    /// The event that could not be stored, and why: the change is done all the same.
    pub unheard: Option<Report>,
}

fn unreadable(bucket: &str, key: &str, error: &serde_json::Error) -> Report {
    Report::new(ErrorCode::Damaged, format!("record not readable: {error}"))
        .at(format!("{bucket}, key {key}"))
        .hint("a newer trellis may have written it: update this one")
}

/// There is no application of this name.
#[must_use]
pub fn app_not_found(name: &AppName) -> Report {
    Report::new(ErrorCode::AppNotFound, format!("application not found: {name}"))
        .hint("see: trellis app list")
}

/// Is the application at the version that whoever asks has seen? Version 0: there is none.
fn expect(app: &AppName, have: Option<&DesiredApp>, expected: Option<u64>) -> Result<(), Report> {
    let have = have.map_or(0, |have| have.version);
    match expected {
        Some(expected) if expected != have => Err(Report::new(ErrorCode::Conflict, CHANGED)
            .at(app)
            .got(format!("version {have}"))
            .limit(format!("version {expected}"))
            .hint("read it again, and repeat the change")),
        _ => Ok(()),
    }
}

/// Whoever changes an application was overtaken each time.
#[must_use]
pub fn races_lost(app: &AppName) -> Report {
    Report::new(ErrorCode::Conflict, "others keep changing this application")
        .at(app)
        .got(format!("{MAX_ATTEMPTS} lost races"))
        .hint("try again")
}

/// An application, and its revision in the bucket.
async fn read(desired: &dyn Kv, app: &AppName) -> Result<Option<(DesiredApp, u64)>, Report> {
    let Some(entry) = desired.get_latest(app.as_str()).await? else { return Ok(None) };
    let have = serde_json::from_slice(&entry.value)
        .map_err(|error| unreadable(desired.bucket(), app.as_str(), &error))?;
    Ok(Some((have, entry.revision)))
}

impl Records {
    /// Of this lattice.
    #[must_use]
    pub fn new(lattice: Lattice, name: LatticeName) -> Self {
        Self { lattice, subjects: Subjects::new(name.clone()), name }
    }

    /// Writes down an administrative act. It is done by then: a failure undoes nothing.
    ///
    /// # Errors
    /// Not stored, or not known to be.
    pub async fn audit(
        &self,
        author: &Author,
        kind: &'static str,
        about: &str,
        mut data: serde_json::Value,
    ) -> Result<(), Report> {
        if let Some(fields) = data.as_object_mut() {
            fields.insert("by".to_owned(), author.by.clone().into());
            let details = author.details.as_object().into_iter().flatten();
            fields.extend(details.map(|(key, value)| (key.clone(), value.clone())));
        }
        let subject = Some(about.to_owned());
        let happening = Happening { kind, subject, data, at_unix_ms: author.now_unix_ms };
        let event = happening.into_event(&self.name, &author.origin, author.event_id.clone());
        events::record(&self.lattice, &self.subjects, &event).await
    }

    /// The lattice's artifacts.
    ///
    /// # Errors
    /// What the store says.
    pub async fn artifacts(&self) -> Result<Arc<dyn Blobs>, Report> {
        Ok(self.lattice.blobs.open(&self.subjects.artifact_store(), Replicas::One).await?)
    }

    async fn desired(&self) -> Result<Arc<dyn Kv>, Report> {
        Ok(self.lattice.kv.open(&self.subjects.desired_bucket(), KvOptions::default()).await?)
    }

    /// Every record of a bucket by its key; none when the bucket is not there.
    ///
    /// # Errors
    /// What KV says; `E_DAMAGED` for a record that is none.
    pub async fn all<K, T>(&self, bucket: &str) -> Result<BTreeMap<K, T>, Report>
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

    /// One record of a bucket.
    ///
    /// # Errors
    /// As [`Self::all`].
    pub async fn one<T: DeserializeOwned>(&self, bucket: &str, key: &str) -> Result<Option<T>, Report> {
        let Some(kv) = self.lattice.kv.lookup(bucket).await? else { return Ok(None) };
        match kv.get_latest(key).await? {
            Some(entry) => serde_json::from_slice(&entry.value)
                .map(Some)
                .map_err(|error| unreadable(bucket, key, &error)),
            None => Ok(None),
        }
    }

    /// Every application.
    ///
    /// # Errors
    /// As [`Self::all`].
    pub async fn apps(&self) -> Result<BTreeMap<AppName, DesiredApp>, Report> {
        self.all(&self.subjects.desired_bucket()).await
    }

    /// Every decision.
    ///
    /// # Errors
    /// As [`Self::all`].
    pub async fn placements(&self) -> Result<BTreeMap<AppName, Placement>, Report> {
        self.all(&self.subjects.placement_bucket()).await
    }

    /// The decision about one application, if there is one.
    ///
    /// # Errors
    /// As [`Self::all`].
    pub async fn placement(&self, name: &AppName) -> Result<Option<Placement>, Report> {
        self.one(&self.subjects.placement_bucket(), name.as_str()).await
    }

    /// One application.
    ///
    /// # Errors
    /// `E_APP_NOT_FOUND`.
    pub async fn app(&self, name: &AppName) -> Result<DesiredApp, Report> {
        let found = self.one(&self.subjects.desired_bucket(), name.as_str()).await?;
        found.ok_or_else(|| app_not_found(name))
    }

    /// Makes a change: reads, edits, writes if nobody else wrote meanwhile, else again.
    ///
    /// # Errors
    /// What the edit says; `E_CONFLICT` after ten lost races, or when the application is not at the
    /// expected version.
    pub async fn change(
        &self,
        author: &Author,
        (app, expected): (&AppName, Option<u64>),
        change: &Change,
    ) -> Result<Applied, Report> {
        let known = if change.names_hosts() { self.known_hosts().await? } else { BTreeSet::new() };
        for _ in 0..MAX_ATTEMPTS {
            let placement = if change.needs_placement() { self.placement(app).await? } else { None };
            let cx = Circumstances { known: &known, placement: placement.as_ref() };
            let edit = |have: Option<&DesiredApp>| {
                expect(app, have, expected)?;
                carry_out(app, have, change, cx)
            };
            if let Some(applied) = self.attempt(author, app, edit).await? {
                return Ok(applied);
            }
        }
        Err(races_lost(app))
    }

    /// One read and one conditional write; `None` when somebody else was first.
    async fn attempt(
        &self,
        author: &Author,
        app: &AppName,
        edit: impl FnOnce(Option<&DesiredApp>) -> Result<Edited, Report>,
    ) -> Result<Option<Applied>, Report> {
        let kv = self.desired().await?;
        let (have, revision) = read(&*kv, app).await?.unzip();
        let Edited { mut record, change, notes } = edit(have.as_ref())?;
        if have.as_ref() == Some(&record) {
            return Ok(Some(Applied { record, notes, changed: false, unheard: None }));
        }
        record.stamp(&author.by, author.now_unix_ms, &change);
        let value: Bytes = serde_json::to_vec(&record)
            .map_err(|error| Report::new(ErrorCode::Internal, error.to_string()))?
            .into();
        let written = match revision {
            Some(revision) => kv.update(app.as_str(), value, revision).await,
            None => kv.create(app.as_str(), value).await,
        };
        match written {
            Ok(_) => {
                let data = json!({ "version": record.version, "change": change });
                let unheard = self.audit(author, "admin.app-change", app.as_str(), data).await.err();
                Ok(Some(Applied { record, notes, changed: true, unheard }))
            }
            Err(error) if error.is_conflict() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Forgets an application and its history, as it was read: whatever is written meanwhile is looked
    /// at again. Gives the event that could not be stored.
    ///
    /// # Errors
    /// `E_APP_NOT_FOUND`; `E_CONFLICT` when it is not at the expected version, or after ten lost races.
    pub async fn delete_app(
        &self,
        author: &Author,
        (name, expected): (&AppName, Option<u64>),
    ) -> Result<Option<Report>, Report> {
        let kv = self.desired().await?;
        for _ in 0..MAX_ATTEMPTS {
            let (have, revision) = read(&*kv, name).await?.ok_or_else(|| app_not_found(name))?;
            expect(name, Some(&have), expected)?;
            match kv.delete(name.as_str(), Some(revision)).await {
                Ok(()) => {
                    return Ok(self.audit(author, "admin.app-delete", name.as_str(), json!({})).await.err());
                }
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(races_lost(name))
    }

    /// Hosts that commands may name: all but those that are lost.
    ///
    /// # Errors
    /// As [`Self::hosts`].
    pub async fn known_hosts(&self) -> Result<BTreeSet<HostId>, Report> {
        let hosts = self.hosts().await?;
        Ok(hosts.into_iter().filter(|(_, seen)| seen.verdict != Verdict::Lost).map(|(id, _)| id).collect())
    }
}
