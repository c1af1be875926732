//! Changes of applications and hosts.

use super::{json_of, parsed};
use crate::api::Api;
use crate::api::caller::Caller;
use crate::api::operation::Operation;
use crate::records::{Applied, app_not_found, as_seen};
use keys::Digest;
use lattice_ctl_planner::edit::Change;
use lattice_protocol::manifest::{self, Application};
use lattice_protocol::spec::Artifact;
use lattice_protocol::{ActorId, AppName, ErrorCode, HostId, Report};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// An application, and nothing else.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfApp {
    pub(super) app: AppName,
}

/// A host, and nothing else.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfHost {
    pub(super) host: HostId,
}

/// An application that is to be deleted.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Doomed {
    app: AppName,
    #[serde(default)]
    expect: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PlanInput {
    app: AppName,
    #[serde(default)]
    manifest: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PutInput {
    app: AppName,
    manifest: String,
    #[serde(default)]
    deploy: bool,
    #[serde(default)]
    expect: Option<u64>,
    /// Of components that the manifest does not name by digest.
    #[serde(default)]
    artifacts: BTreeMap<ActorId, Artifact>,
}

impl Api {
    pub(super) async fn change(
        &self,
        operation: &Operation,
        caller: &Caller,
        mut input: Value,
    ) -> Result<Value, Report> {
        let missing = || Report::new(ErrorCode::Usage, "input: expected an object with the member app");
        let fields = input.as_object_mut().ok_or_else(missing)?;
        let app: AppName = parsed(fields.remove("app").ok_or_else(missing)?)?;
        let expected: Option<u64> = parsed(fields.remove("expect").unwrap_or(Value::Null))?;
        fields.insert("change".to_owned(), operation.change.unwrap_or_default().into());
        let change: Change = parsed(input)?;
        self.make(caller, (&app, expected), &change).await
    }

    async fn make(
        &self,
        caller: &Caller,
        (app, expected): (&AppName, Option<u64>),
        change: &Change,
    ) -> Result<Value, Report> {
        let Applied { record, mut notes, changed, unheard } =
            self.records.change(&self.author(caller), (app, expected), change).await?;
        notes.extend(unheard.map(|report| format!("not in the audit stream: {report}")));
        Ok(json!({
            "app": app, "version": record.version, "deployed": record.deployed, "changed": changed,
            "notes": notes,
        }))
    }

    pub(super) async fn put_app(
        &self,
        operation: &Operation,
        caller: &Caller,
        input: Value,
    ) -> Result<Value, Report> {
        let input: PutInput = parsed(input)?;
        let application = read_manifest(&input.manifest, operation.name)?;
        let mut artifacts = input.artifacts;
        let store = self.records.artifacts().await?;
        for actor in &application.actors {
            let id = ActorId::new(application.name.clone(), actor.name.clone());
            let place = || format!("actor {}", actor.name);
            let named = artifacts.get(&id).map_or(actor.artifact.as_str(), |have| have.digest.as_str());
            let digest: Digest = named.parse().map_err(|error: keys::digest::DigestError| {
                Report::new(ErrorCode::ArtifactNotFound, format!("artifact is not named by digest: {error}"))
                    .at(place())
                    .got(named)
                    .hint("push the component (trellis push), and name it by what that prints: sha256:…")
            })?;
            if artifacts.contains_key(&id) {
                if !store.contains(digest).await? {
                    return Err(Report::new(ErrorCode::ArtifactNotFound, "artifact is not in the lattice")
                        .at(place())
                        .got(named));
                }
                continue;
            }
            let size = u64::try_from(store.get(digest).await?.len()).unwrap_or(u64::MAX);
            artifacts.insert(id, Artifact { digest: digest.to_string().into(), size });
        }
        let change = Change::Put { application: Box::new(application), artifacts, deploy: input.deploy };
        self.make(caller, (&input.app, input.expect), &change).await
    }

    pub(super) async fn delete_app(&self, caller: &Caller, doomed: Doomed) -> Result<Value, Report> {
        let Doomed { app, expect } = doomed;
        let unheard = self.records.delete_app(&self.author(caller), (&app, expect)).await?;
        let notes: Vec<String> =
            unheard.map(|report| format!("not in the audit stream: {report}")).into_iter().collect();
        Ok(json!({ "app": app, "deleted": true, "notes": notes }))
    }

    pub(super) async fn stop_host(&self, caller: &Caller, OfHost { host }: OfHost) -> Result<Value, Report> {
        self.records.stop_host(&host).await?;
        let audited =
            self.records.audit(&self.author(caller), "admin.host-stop", host.as_str(), json!({})).await;
        let notes: Vec<String> =
            audited.err().map(|report| format!("not in the audit stream: {report}")).into_iter().collect();
        Ok(json!({ "host": host, "leaving": true, "notes": notes }))
    }

    pub(super) async fn plan(&self, input: PlanInput) -> Result<Value, Report> {
        let application = match &input.manifest {
            Some(text) => Some(read_manifest(text, "app.plan")?),
            None => None,
        };
        if let Some(application) = application.as_ref().filter(|application| application.name != input.app) {
            return Err(Report::new(ErrorCode::Manifest, "manifest of another application")
                .at("metadata.name")
                .got(&application.name)
                .limit(&input.app));
        }
        let records = &self.records;
        let (apps, placements) = (records.apps().await?, records.placements().await?);
        let seen = as_seen(apps, placements, &records.hosts().await?);
        let steps = seen.plan(&input.app, application).ok_or_else(|| app_not_found(&input.app))?;
        Ok(json!({ "app": input.app, "steps": json_of(&steps)? }))
    }
}

/// Every problem of a manifest in one report: its first, and how many more there are with their words.
fn read_manifest(text: &str, place: &str) -> Result<Application, Report> {
    manifest::parse_bytes(text.as_bytes(), place).map_err(|problems| {
        let count = problems.len();
        let mut problems = problems.into_iter();
        let first = problems.next();
        let first = first.unwrap_or_else(|| Report::new(ErrorCode::Manifest, "manifest not readable"));
        let rest: Vec<String> = problems.map(|problem| problem.to_string()).collect();
        if rest.is_empty() { first } else { first.hint(format!("{} more: {}", count - 1, rest.join(" | "))) }
    })
}
