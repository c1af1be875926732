//! `link put`, `link del`.

use super::{Edited, actor_mut, link_name_label, provider};
use lattice_protocol::desired::DesiredApp;
use lattice_protocol::manifest::{Application, KNOWN_KINDS, kind_serves};
use lattice_protocol::name::ActorName;
use lattice_protocol::{
    ActorId, CallPolicy, ErrorCode, Grants, LinkDefinition, LinkName, LinkTarget, ProviderId, Report,
    Selector,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `link put <actor> <target> <contract> [<link name>] [--bucket …] [--timeout …] …`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PutLink {
    /// The actor that imports (or exports) the interface.
    pub actor: ActorName,
    /// The other end: a provider by name, kind or image, an actor by name, or `app/name`.
    pub target: String,
    /// Interface, package, or contract id.
    pub contract: Selector,
    /// Its name; otherwise the one that `start … --link-name` gave, otherwise `default`.
    #[serde(default)]
    pub name: Option<LinkName>,
    /// Values, under keys in either case (`BUCKET`, `bucket`).
    #[serde(default)]
    pub config: BTreeMap<String, String>,
    /// Patience.
    #[serde(default)]
    pub policy: CallPolicy,
    /// What it is narrowed to.
    #[serde(default)]
    pub grants: Grants,
    /// Put it in the place of one with other values.
    #[serde(default)]
    pub replace: bool,
}

/// Puts a link. The same link again changes nothing. Values that belong to the provider rather
/// than to one link (the port of an HTTP server, the address of a broker) are put there.
///
/// # Errors
/// `actor not found: …`, `provider not found: …`; `E_CONFLICT` when there is such a link with
/// other values; `E_LINK` for a target that does not serve the interface, or numbers out of range.
pub fn put_link(record: &DesiredApp, command: &PutLink) -> Result<Edited, Report> {
    let mut next = record.clone();
    let app = next.application.name.clone();
    actor_mut(&mut next.application, &command.actor)?;
    let target = resolve(&next.application, &command.target, &command.contract)?;
    let name = command.name.clone().unwrap_or_else(|| default_name(&next.application, &target));
    let lower = command.config.iter().map(|(key, value)| (key.to_ascii_lowercase(), value.clone()));
    let (of_provider, config) =
        lower.partition(|(key, _)| belongs_to_provider(&next.application, &target, key));
    let link = LinkDefinition {
        source: ActorId::new(app, command.actor.clone()),
        name,
        interface: command.contract.clone(),
        target,
        config,
        policy: command.policy.clone(),
        grants: command.grants.clone(),
    };
    configure(&mut next.application, &link.target, of_provider, command.replace)?;
    let change = format!("link put {} -> {} [{}:{}]", command.actor, link.target, link.interface, link.name);
    let actor = actor_mut(&mut next.application, &command.actor)?;
    match actor.links.iter_mut().find(|have| is_same(have, &link.interface, &link.name)) {
        None => actor.links.push(link),
        Some(have) if *have == link || command.replace => *have = link,
        Some(have) => {
            return Err(Report::new(ErrorCode::Conflict, "there is such a link with other values")
                .at(&*have)
                .hint("delete it first, give this one another name, or add --replace"));
        }
    }
    Edited::new(next, change)
}

/// Are both the same link? A contract id and the package that took its place mean one.
fn is_same(link: &LinkDefinition, contract: &Selector, name: &LinkName) -> bool {
    let identity =
        |selector: &Selector| (selector.package().to_owned(), selector.interface().map(str::to_owned));
    link.name == *name && identity(&link.interface) == identity(contract)
}

fn resolve(application: &Application, text: &str, contract: &Selector) -> Result<LinkTarget, Report> {
    let in_app = text.strip_prefix(&format!("{}/", application.name)).unwrap_or(text);
    if let Some(provider) = provider::find(application, in_app) {
        return Ok(LinkTarget::Provider(ProviderId::new(application.name.clone(), provider.name.clone())));
    }
    if let Some(actor) = application.actors.iter().find(|actor| actor.name.as_str() == in_app) {
        return Ok(LinkTarget::Actor(ActorId::new(application.name.clone(), actor.name.clone())));
    }
    if !in_app.contains('/') || provider::kind_of(in_app).is_some() {
        return Err(provider::not_found(application, in_app));
    }
    // In another application: what serves a capability is a provider, anything else an actor.
    let name = |error: lattice_protocol::name::NameError| Report::new(ErrorCode::Name, error.to_string());
    if KNOWN_KINDS.iter().any(|kind| kind_serves(kind, contract)) {
        in_app.parse().map(LinkTarget::Provider).map_err(name)
    } else {
        in_app.parse().map(LinkTarget::Actor).map_err(name)
    }
}

fn default_name(application: &Application, target: &LinkTarget) -> LinkName {
    let part = match target {
        LinkTarget::Provider(id) if id.app == application.name => id.name.as_str(),
        LinkTarget::Actor(id) if id.app == application.name => id.name.as_str(),
        _ => return LinkName::default_name(),
    };
    let label = application.labels.get(&link_name_label(part));
    label.and_then(|name| LinkName::new(name).ok()).unwrap_or_else(LinkName::default_name)
}

/// Keys of seed 004's links that say what a provider as a whole does, by kind.
fn belongs_to_provider(application: &Application, target: &LinkTarget, key: &str) -> bool {
    let LinkTarget::Provider(id) = target else { return false };
    let kind = application.provider(&id.name).filter(|_| id.app == application.name);
    match kind.map(|provider| provider.kind.as_str()) {
        Some("http-server") => matches!(key, "port" | "address"),
        Some("messaging-nats" | "keyvalue-nats" | "keyvalue-redis") => matches!(key, "url" | "cluster_uri"),
        _ => false,
    }
}

fn configure(
    application: &mut Application,
    target: &LinkTarget,
    values: BTreeMap<String, String>,
    replace: bool,
) -> Result<(), Report> {
    let LinkTarget::Provider(id) = target else { return Ok(()) };
    let Some(provider) = application.providers.iter_mut().find(|provider| provider.name == id.name) else {
        return Ok(());
    };
    for (key, value) in values {
        let key = if key == "cluster_uri" { "url".to_owned() } else { key };
        match provider.config.get(&key) {
            Some(have) if *have != value && !replace => {
                return Err(Report::new(
                    ErrorCode::Conflict,
                    format!("provider {} has another {key}", id.name),
                )
                .got(value)
                .limit(have)
                .hint("start another provider, or add --replace to change it for all its links"));
            }
            _ => drop(provider.config.insert(key, value)),
        }
    }
    Ok(())
}

/// `link del <actor> <contract> [<link name>]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeleteLink {
    /// The actor.
    pub actor: ActorName,
    /// Interface, package, or contract id.
    pub contract: Selector,
    /// Its name; otherwise the only one of this interface, otherwise `default`.
    #[serde(default)]
    pub name: Option<LinkName>,
}

/// Deletes a link.
///
/// # Errors
/// `actor not found: …`, `link definition not found`.
pub fn delete_link(record: &DesiredApp, command: &DeleteLink) -> Result<Edited, Report> {
    let mut next = record.clone();
    let actor = actor_mut(&mut next.application, &command.actor)?;
    let of_contract: Vec<LinkName> = actor
        .links
        .iter()
        .filter(|link| is_same(link, &command.contract, &link.name))
        .map(|link| link.name.clone())
        .collect();
    let name = match (&command.name, of_contract.as_slice()) {
        (Some(name), _) | (None, [name]) => name.clone(),
        (None, _) => LinkName::default_name(),
    };
    if !of_contract.contains(&name) {
        return Err(Report::new(ErrorCode::LinkNotFound, "link definition not found")
            .at(format!("{} [{}:{name}]", command.actor, command.contract))
            .hint("see: trellis get links"));
    }
    actor.links.retain(|link| !is_same(link, &command.contract, &name));
    Edited::new(next, format!("link del {} [{}:{name}]", command.actor, command.contract))
}
