//! wasmCloud 1.x application manifests (`core.oam.dev/v1beta1`), read into the same
//! [`Application`](super::Application) as our own form.
//!
//! | there | here |
//! |---|---|
//! | component of type `component` (or `actor`) | actor; `image` `oci://ref`, bare ref or `file://…` is its artifact |
//! | component of type `capability` | provider of the built-in kind its image is known for |
//! | `spreadscaler` `instances` (or `replicas`) | replicas; on a capability nothing: a provider runs where its actors run |
//! | `daemonscaler` | daemon |
//! | `link` of an actor | a link for each interface, `target` its other end, with `target` config |
//! | `link` of a capability to an actor | the same link, turned round: the actor is the source, with `source` config |
//! | named config | its properties, in the order named |
//! | secret | `secret:<name>` under its name |
//!
//! The settings that wasmCloud keeps on a link though they are the provider's own (the listener's
//! address, Redis' URL) move to the provider. What has no counterpart here (shared providers,
//! spread requirements of a provider) is refused by name, never dropped.

mod component;
mod link;
mod provider;

use super::draft::{Draft, Named};
use super::reader::{At, Fields, Reader};
use crate::error::{ErrorCode, Report};
use std::collections::BTreeMap;

const ROOT: &[&str] = &["apiVersion", "kind", "metadata", "spec"];
const METADATA: &[&str] = &["name", "namespace", "annotations", "labels"];
const SPEC: &[&str] = &["components", "policies"];
const COMPONENT: &[&str] = &["name", "type", "properties", "traits"];
const POLICY: &[&str] = &["name", "type", "properties"];
const SECRET_POLICY: &str = "policy.secret.wasmcloud.dev/v1alpha1";

/// A component and what it becomes.
struct Part<'n> {
    fields: Fields<'n>,
    named: Named,
}

/// Reads the whole form.
pub(super) fn read(reader: &mut Reader, root: &At<'_>) -> Option<Draft> {
    let root = reader.fields(root, ROOT)?;
    let metadata = reader.required(&root, "metadata");
    let metadata = metadata.and_then(|at| reader.fields(&at, METADATA));
    let name = metadata.as_ref().and_then(|fields| reader.required(fields, "name"));
    let name = name.and_then(|at| reader.parsed(&at, ErrorCode::Name));
    let nameless = name.is_none();
    let mut draft = Draft::new(name.unwrap_or_else(crate::name::AppName::imperative));
    if let Some(fields) = &metadata {
        about(reader, fields, &mut draft);
    }
    let spec = reader.required(&root, "spec").and_then(|at| reader.fields(&at, SPEC));
    if let Some(spec) = spec {
        policies(reader, &spec);
        components(reader, &spec, &mut draft);
    }
    (!nameless).then_some(draft)
}

fn about(reader: &mut Reader, metadata: &Fields<'_>, draft: &mut Draft) {
    let application = &mut draft.application;
    if let Some(at) = metadata.get("annotations") {
        let mut annotations = reader.labels(&at);
        application.version = annotations.remove("version").unwrap_or_default();
        application.description = annotations.remove("description").unwrap_or_default();
    }
    if let Some(at) = metadata.get("labels") {
        application.labels = reader.labels(&at);
    }
}

/// A policy says which backend keeps secrets; here the host's configuration does.
fn policies(reader: &mut Reader, spec: &Fields<'_>) {
    let items = spec.get("policies").map(|at| reader.items(&at)).unwrap_or_default();
    for at in items {
        let Some(fields) = reader.fields(&at, POLICY) else { continue };
        if let Some(at) = reader.required(&fields, "type") {
            reader.one_of(&at, &[(SECRET_POLICY, ())]);
        }
    }
}

fn components(reader: &mut Reader, spec: &Fields<'_>, draft: &mut Draft) {
    const TYPES: &[(&str, Named)] =
        &[("component", Named::Actor), ("actor", Named::Actor), ("capability", Named::Provider)];
    let items = spec.get("components").map(|at| reader.items(&at)).unwrap_or_default();
    let mut parts = Vec::new();
    for at in &items {
        let Some(fields) = reader.fields(at, COMPONENT) else { continue };
        let named = reader.required(&fields, "type").and_then(|at| reader.one_of(&at, TYPES));
        let Some(named) = named else { continue };
        draft.declare(reader, &fields, named);
        parts.push(Part { fields, named });
    }
    for part in &parts {
        match part.named {
            Named::Actor => {
                if let Some(actor) = component::read(reader, &part.fields) {
                    draft.application.actors.push(actor);
                    draft.actors.push(part.fields.at.spot());
                    draft.links.push(Vec::new());
                }
            }
            Named::Provider => {
                if let Some(provider) = provider::read(reader, &part.fields) {
                    draft.application.providers.push(provider);
                    draft.providers.push(part.fields.at.spot());
                }
            }
        }
    }
    for part in &parts {
        link::read_all(reader, part, draft);
    }
}

/// The traits of a component, by type: each with its properties.
fn traits<'n>(reader: &mut Reader, component: &Fields<'n>) -> Vec<(Trait, At<'n>)> {
    const TYPES: &[(&str, Trait)] =
        &[("spreadscaler", Trait::Spread), ("daemonscaler", Trait::Daemon), ("link", Trait::Link)];
    let items = component.get("traits").map(|at| reader.items(&at)).unwrap_or_default();
    let mut found = Vec::new();
    for at in &items {
        let Some(fields) = reader.fields(at, &["type", "properties"]) else { continue };
        let kind = reader.required(&fields, "type").and_then(|at| reader.one_of(&at, TYPES));
        let properties = reader.required(&fields, "properties");
        found.extend(kind.zip(properties));
    }
    found
}

/// What a trait is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trait {
    Spread,
    Daemon,
    Link,
}

/// A list of named configurations, joined in their order, and of secrets, by name.
fn named_config(
    reader: &mut Reader,
    config: Option<At<'_>>,
    secrets: Option<At<'_>>,
) -> BTreeMap<String, String> {
    let mut joined = BTreeMap::new();
    for at in config.map(|at| reader.items(&at)).unwrap_or_default() {
        let Some(fields) = reader.fields(&at, &["name", "properties"]) else { continue };
        match fields.get("properties") {
            Some(at) => joined.extend(reader.config(&at)),
            None => {
                let report = Report::new(ErrorCode::Manifest, "named config without properties");
                reader
                    .problem(&at.spot(), report.hint("write its properties here: there is no config store"));
            }
        }
    }
    for at in secrets.map(|at| reader.items(&at)).unwrap_or_default() {
        let Some(fields) = reader.fields(&at, &["name", "properties"]) else { continue };
        let Some(name) = reader.required(&fields, "name") else { continue };
        if let Some(name) = reader.parsed::<SecretName>(&name, ErrorCode::Name) {
            joined.insert(name.0.clone(), format!("{}{}", super::SECRET_PREFIX, name.0));
        }
    }
    joined
}

/// The name of a secret: one token.
struct SecretName(String);

impl std::str::FromStr for SecretName {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let shown: String = text.chars().take(80).collect();
        if crate::name::is_token(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("secret name: only A-Za-z0-9_-, 1..64 (got {shown:?})"))
        }
    }
}
