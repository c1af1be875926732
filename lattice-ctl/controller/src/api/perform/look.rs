//! Operations that only look.

use super::apps::{OfApp, OfHost};
use super::{json_of, parsed};
use crate::api::Api;
use crate::api::caller::Caller;
use crate::api::operation::Operation;
use crate::records::{SeenHost, as_seen, host_not_found};
use crate::views::{actors_of, overall};
use lattice_io::ReadFrom;
use lattice_protocol::desired::DesiredApp;
use lattice_protocol::event::CloudEvent;
use lattice_protocol::{ActorId, ActorName, AppName, ErrorCode, HostId, Report};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// Most events in one answer.
const MAX_EVENTS: usize = 1_000;
/// Events asked for at once.
const BATCH: usize = 500;
/// Silence after which what was there has been read.
const IDLE: Duration = Duration::from_millis(500);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfActor {
    app: AppName,
    name: ActorName,
}

/// Which events.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct WhichEvents {
    #[serde(default)]
    since: Option<u64>,
    #[serde(default)]
    limit: Option<usize>,
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    about: Option<String>,
}

impl WhichEvents {
    fn wants(&self, event: &CloudEvent) -> bool {
        let kind = self.kind.as_ref().is_none_or(|kind| event.short_kind().starts_with(kind.as_str()));
        kind && self.about.as_ref().is_none_or(|about| event.subject.as_ref() == Some(about))
    }
}

impl Api {
    pub(super) async fn look(&self, operation: &Operation, input: Value) -> Result<Value, Report> {
        match operation.name {
            "app.list" => self.list_apps(parsed(input)?).await,
            "app.get" => json_of(&self.records.app(&parsed::<OfApp>(input)?.app).await?),
            "app.history" => Ok(history(&self.records.app(&parsed::<OfApp>(input)?.app).await?)),
            "app.status" => self.status(parsed(input)?).await,
            "app.placement" => self.placement(parsed(input)?).await,
            "actor.list" => self.list_actors(parsed(input)?).await,
            "actor.why" => self.why(parsed(input)?).await,
            "link.list" => self.list_links(parsed(input)?).await,
            "host.list" => self.list_hosts(parsed(input)?).await,
            "host.get" => self.host(parsed(input)?).await,
            "claim.list" => self.list_claims(parsed(input)?).await,
            "event.list" => self.list_events(parsed(input)?).await,
            "event.stream" => Err(Report::new(ErrorCode::Usage, "a stream is served over HTTP only")
                .hint("over NATS subscribe to the lattice's events, or ask for event.list")),
            other => Err(Report::new(ErrorCode::Internal, format!("operation without a body: {other}"))),
        }
    }

    pub(super) async fn lattice(&self, caller: &Caller, Nothing {}: Nothing) -> Result<Value, Report> {
        Ok(json!({
            "lattice": self.records.name, "version": env!("CARGO_PKG_VERSION"), "controller": self.origin,
            "user": caller.user, "role": caller.role,
        }))
    }

    async fn list_apps(&self, Nothing {}: Nothing) -> Result<Value, Report> {
        let (apps, placements) = (self.records.apps().await?, self.records.placements().await?);
        let hosts = if apps.is_empty() { BTreeMap::new() } else { self.records.hosts().await? };
        let summary = |(name, record): (&AppName, &DesiredApp)| {
            let views = actors_of(record, placements.get(name), &hosts);
            json!({
                "name": name, "version": record.version, "state": overall(record, &views),
                "deployed": record.deployed, "running": views.iter().map(|view| view.running).sum::<u32>(),
                "wanted": views.iter().map(|view| view.wanted).sum::<u32>(), "atUnixMs": record.at_unix_ms,
                "by": record.by, "description": record.application.description,
            })
        };
        Ok(apps.iter().map(summary).collect())
    }

    async fn status(&self, OfApp { app }: OfApp) -> Result<Value, Report> {
        let record = self.records.app(&app).await?;
        let (placement, hosts) = (self.records.placement(&app).await?, self.records.hosts().await?);
        let views = actors_of(&record, placement.as_ref(), &hosts);
        let rollout = placement.and_then(|placement| placement.rollout);
        Ok(json!({
            "app": app, "version": record.version, "deployed": record.deployed,
            "state": overall(&record, &views), "actors": json_of(&views)?,
            "rollout": rollout.map(|rollout| rollout.phase.word()),
        }))
    }

    async fn placement(&self, OfApp { app }: OfApp) -> Result<Value, Report> {
        match self.records.placement(&app).await? {
            Some(placement) => json_of(&placement),
            None => {
                // No such application, or none that a controller has decided about.
                self.records.app(&app).await?;
                Err(Report::new(ErrorCode::NotFound, format!("nothing is decided yet: {app}"))
                    .hint("a controller decides: trellis controller"))
            }
        }
    }

    async fn list_actors(&self, Nothing {}: Nothing) -> Result<Value, Report> {
        let (apps, placements) = (self.records.apps().await?, self.records.placements().await?);
        let hosts = self.records.hosts().await?;
        let views = apps.iter().flat_map(|(name, record)| actors_of(record, placements.get(name), &hosts));
        json_of(&views.collect::<Vec<_>>())
    }

    async fn why(&self, OfActor { app, name }: OfActor) -> Result<Value, Report> {
        let record = self.records.app(&app).await?;
        if record.application.actor(&name).is_none() {
            return Err(Report::new(ErrorCode::ActorNotFound, format!("actor not found: {name}"))
                .at(format!("application {app}"))
                .hint("see: trellis get actors"));
        }
        let (apps, placements) = (self.records.apps().await?, self.records.placements().await?);
        let seen = as_seen(apps, placements, &self.records.hosts().await?);
        let id = ActorId::new(app, name);
        let unplaced = seen.placements.get(&id.app).and_then(|placement| placement.unplaced.get(&id));
        Ok(json!({ "actor": id, "unplaced": unplaced, "hosts": json_of(&seen.consider(&id))? }))
    }

    async fn list_links(&self, Nothing {}: Nothing) -> Result<Value, Report> {
        let apps = self.records.apps().await?;
        let links =
            apps.values().flat_map(|record| &record.application.actors).flat_map(|actor| &actor.links);
        json_of(&links.collect::<Vec<_>>())
    }

    async fn list_hosts(&self, Nothing {}: Nothing) -> Result<Value, Report> {
        let hosts = self.records.hosts().await?;
        hosts.iter().map(|(host, seen)| host_view(host, seen)).collect()
    }

    async fn host(&self, OfHost { host }: OfHost) -> Result<Value, Report> {
        let hosts = self.records.hosts().await?;
        host_view(&host, hosts.get(&host).ok_or_else(|| host_not_found(&host))?)
    }

    async fn list_claims(&self, Nothing {}: Nothing) -> Result<Value, Report> {
        let hosts = self.records.hosts().await?;
        let mut seen = BTreeSet::new();
        let mut claims = Vec::new();
        for actor in hosts.values().flat_map(|host| &host.heartbeat.actors) {
            let Some(said) = &actor.claims else { continue };
            if seen.insert((&actor.id, &said.subject, said.revision)) {
                claims.push(json!({ "actor": actor.id, "digest": actor.digest, "claims": said }));
            }
        }
        Ok(claims.into())
    }

    async fn list_events(&self, which: WhichEvents) -> Result<Value, Report> {
        let limit = which.limit.unwrap_or(100);
        if !(1..=MAX_EVENTS).contains(&limit) {
            return Err(Report::new(ErrorCode::Limit, "limit out of range")
                .got(limit)
                .limit(format!("1 to {MAX_EVENTS}")));
        }
        let from = which.since.map_or(ReadFrom::All, ReadFrom::Since);
        let streams = &self.records.lattice.streams;
        let audit = match streams.read(&self.records.subjects.audit_stream(), from).await {
            Ok(audit) => audit,
            Err(lattice_io::StreamError::NotFound { .. }) => return Ok(json!([])),
            Err(error) => return Err(error.into()),
        };
        let mut found = VecDeque::new();
        loop {
            let (mut pull, mut seen) = (audit.pull(BATCH, IDLE).await?, 0);
            while let Some(delivery) = pull.next().await {
                seen += 1;
                let event = self.event(&delivery.message);
                let Some(event) = event.filter(|event| which.wants(event)) else { continue };
                if found.len() >= limit {
                    found.pop_front();
                }
                found.push_back(event);
            }
            if seen < BATCH {
                return json_of(&found);
            }
        }
    }

    /// An event, if it is one and is from whom it says: the server holds users to their own subject.
    pub(in crate::api) fn event(&self, message: &lattice_io::BusMessage) -> Option<CloudEvent> {
        let event: CloudEvent = serde_json::from_slice(&message.payload).ok()?;
        let its_own = self.records.subjects.event(event.origin(), event.short_kind());
        (its_own == message.subject).then_some(event)
    }
}

fn history(record: &DesiredApp) -> Value {
    let versions = record.history.iter().map(|past| {
        json!({
            "version": past.version, "atUnixMs": past.at_unix_ms, "by": past.by, "change": past.change,
            "kept": past.content.is_some(),
        })
    });
    versions.collect()
}

/// A host, as it is listed.
pub(in crate::api) fn host_view(host: &HostId, seen: &SeenHost) -> Result<Value, Report> {
    let mut view = json_of(seen)?;
    if let Some(fields) = view.as_object_mut() {
        fields.insert("host".to_owned(), host.as_str().into());
        fields.insert("health".to_owned(), seen.health().into());
    }
    Ok(view)
}
