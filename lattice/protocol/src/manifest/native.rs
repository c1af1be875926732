//! Our own form, `apiVersion: trellis.dev/v1`. The field lists here are the schema: a test holds
//! them against the published JSON Schema.

mod actor;
mod autoscale;
mod link;
mod rollout;

use super::ProviderManifest;
use super::draft::{Draft, Named};
use super::reader::{At, Fields, Reader};
use crate::error::ErrorCode;
use crate::spec::ProviderMode;
use std::collections::BTreeMap;

pub(super) use actor::{artifact, share};
#[cfg(test)]
pub(super) use {
    actor::{ACTOR, ISOLATION, LIMITS, PERSISTENT, PLACEMENT, RESOURCES, SNAPSHOTS, SPREAD, WARM},
    autoscale::AUTOSCALE,
    link::{GRANTS, LINK},
    rollout::{CHECK, GATE, ROLLOUT},
};

/// Fields at the top.
pub(super) const ROOT: &[&str] = &["apiVersion", "kind", "metadata", "spec"];
/// Fields of `metadata`.
pub(super) const METADATA: &[&str] = &["name", "version", "description", "labels"];
/// Fields of `spec`.
pub(super) const SPEC: &[&str] = &["actors", "providers", "rollout"];
/// Fields of a provider.
pub(super) const PROVIDER: &[&str] = &["name", "kind", "config", "run"];

/// Reads the whole form.
pub(super) fn read(reader: &mut Reader, root: &At<'_>) -> Option<Draft> {
    let root = reader.fields(root, ROOT)?;
    let metadata = reader.required(&root, "metadata");
    let metadata = metadata.and_then(|at| reader.fields(&at, METADATA));
    let name = metadata.as_ref().and_then(|fields| reader.required(fields, "name"));
    let name = name.and_then(|at| reader.parsed(&at, ErrorCode::Name));
    // Without a name the rest is read all the same, for its problems.
    let nameless = name.is_none();
    let mut draft = Draft::new(name.unwrap_or_else(crate::name::AppName::imperative));
    if let Some(fields) = &metadata {
        about(reader, fields, &mut draft);
    }
    let spec = reader.required(&root, "spec").and_then(|at| reader.fields(&at, SPEC));
    if let Some(spec) = spec {
        parts(reader, &spec, &mut draft);
        draft.application.rollout = spec.get("rollout").and_then(|at| rollout::read(reader, &at));
    }
    (!nameless).then_some(draft)
}

fn about(reader: &mut Reader, metadata: &Fields<'_>, draft: &mut Draft) {
    let application = &mut draft.application;
    if let Some(at) = metadata.get("version") {
        application.version = reader.text(&at).unwrap_or_default();
    }
    if let Some(at) = metadata.get("description") {
        application.description = reader.text(&at).unwrap_or_default();
    }
    if let Some(at) = metadata.get("labels") {
        application.labels = reader.labels(&at);
    }
}

fn parts(reader: &mut Reader, spec: &Fields<'_>, draft: &mut Draft) {
    let mut list = |name: &str, known: &[&str]| -> Vec<Fields<'_>> {
        let items = spec.get(name).map(|at| reader.items(&at)).unwrap_or_default();
        items.iter().filter_map(|at| reader.fields(at, known)).collect()
    };
    let actors = list("actors", actor::ACTOR);
    let providers = list("providers", PROVIDER);
    // Names first: a link may lead to a part that is written further down.
    for fields in &actors {
        draft.declare(reader, fields, Named::Actor);
    }
    for fields in &providers {
        draft.declare(reader, fields, Named::Provider);
    }
    for fields in &providers {
        if let Some(provider) = provider(reader, fields) {
            draft.application.providers.push(provider);
            draft.providers.push(fields.at.spot());
        }
    }
    for fields in &actors {
        let actor = actor::read(reader, fields);
        // Links are read for their problems even when their actor has some.
        let source = actor.as_ref().map(|actor| actor.name.clone());
        let (links, spots) = link::read_all(reader, fields, draft, source);
        if let Some(mut actor) = actor {
            actor.links = links;
            draft.application.actors.push(actor);
            draft.actors.push(fields.at.spot());
            draft.links.push(spots);
        }
    }
}

fn provider(reader: &mut Reader, fields: &Fields<'_>) -> Option<ProviderManifest> {
    let name = reader.required(fields, "name").and_then(|at| reader.parsed(&at, ErrorCode::Name));
    let kind = reader.required(fields, "kind").and_then(|at| reader.words(&at));
    let config = fields.get("config").map_or_else(BTreeMap::new, |at| reader.config(&at));
    let mode = match fields.get("run") {
        Some(at) => reader.one_of(&at, &ProviderMode::WORDS)?,
        None => ProviderMode::InProcess,
    };
    Some(ProviderManifest { name: name?, kind: kind?, config, mode })
}
