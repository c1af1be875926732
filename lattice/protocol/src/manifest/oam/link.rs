//! Traits of type `link`, in the newer form (`source: {config}`, `target: {name, config}`) and the
//! older one (`source_config`, `target_config`, a target that is just a name).

use super::provider::lift;
use super::{Part, Trait, named_config, traits};
use crate::error::{ErrorCode, Report};
use crate::interface::Selector;
use crate::link::{CallPolicy, Grants, LinkDefinition, LinkTarget};
use crate::manifest::draft::{Draft, Named};
use crate::manifest::reader::{At, Fields, Reader, Spot};
use crate::manifest::yaml::Data;
use crate::name::{ActorId, LinkName, ProviderId};
use std::collections::BTreeMap;

const LINK: &[&str] =
    &["namespace", "package", "interfaces", "name", "source", "target", "source_config", "target_config"];
const END: &[&str] = &["name", "config", "secrets"];

/// What a link is once both its ends are known.
struct Ends {
    source: ActorId,
    target: LinkTarget,
    config: BTreeMap<String, String>,
}

/// Reads the links of a component into the draft's actors.
pub(super) fn read_all(reader: &mut Reader, part: &Part<'_>, draft: &mut Draft) {
    let Some(name) = part.fields.get("name") else { return };
    let Data::Scalar { text: name, .. } = &name.node.data else { return };
    // Other traits, and misspelt ones, were reported with the part itself.
    let mut silent = Reader::new("");
    for (kind, at) in traits(&mut silent, &part.fields) {
        if kind == Trait::Link {
            read(reader, part.named, name, &at, draft);
        }
    }
}

fn read(reader: &mut Reader, named: Named, owner: &str, at: &At<'_>, draft: &mut Draft) {
    let Some(fields) = reader.fields(at, LINK) else { return };
    let selectors = selectors(reader, &fields);
    let name = match fields.get("name") {
        Some(at) => reader.parsed(&at, ErrorCode::Name),
        None => Some(LinkName::default_name()),
    };
    let Some(first) = selectors.first() else { return };
    let wanted = if named == Named::Provider { Named::Actor } else { Named::target_of(first) };
    let Some(target) = target(reader, &fields, draft, wanted) else { return };
    let config = config(reader, &fields);
    let Some(name) = name else { return };
    let Some(mut ends) = ends(reader, &at.spot(), draft, (named, owner, target)) else { return };
    ends.config = config;
    move_settings(reader, &at.spot(), draft, &mut ends);
    for interface in selectors {
        add(draft, &ends, &name, interface, at.spot());
    }
}

fn selectors(reader: &mut Reader, fields: &Fields<'_>) -> Vec<Selector> {
    let namespace = reader.required(fields, "namespace").and_then(|at| reader.words(&at));
    let package = reader.required(fields, "package").and_then(|at| reader.words(&at));
    let interfaces = reader.required(fields, "interfaces");
    let interfaces = interfaces.map(|at| (at.spot(), reader.texts(&at)));
    let (Some(namespace), Some(package), Some((spot, interfaces))) = (namespace, package, interfaces) else {
        return Vec::new();
    };
    if interfaces.is_empty() {
        reader.problem(&spot, Report::new(ErrorCode::Link, "no interface named"));
    }
    let mut selectors = Vec::with_capacity(interfaces.len());
    for interface in interfaces {
        match format!("{namespace}:{package}/{interface}").parse() {
            Ok(selector) => selectors.push(selector),
            Err(error) => reader.problem(&spot, Report::new(ErrorCode::Link, format!("{error}"))),
        }
    }
    selectors
}

/// The other end: text, or a mapping with its name.
fn target(reader: &mut Reader, link: &Fields<'_>, draft: &Draft, wanted: Named) -> Option<LinkTarget> {
    let at = reader.required(link, "target")?;
    let at = match &at.node.data {
        Data::Mapping(_) => {
            let fields = reader.fields(&at, END)?;
            reader.required(&fields, "name")?
        }
        _ => at,
    };
    draft.target(reader, &at, wanted)
}

/// Configuration of both ends as one: there is one map per link here.
fn config(reader: &mut Reader, link: &Fields<'_>) -> BTreeMap<String, String> {
    let mut joined = BTreeMap::new();
    for (end, older) in [("source", "source_config"), ("target", "target_config")] {
        joined.extend(named_config(reader, link.get(older), None));
        let Some(at) = link.get(end) else { continue };
        if let Data::Mapping(_) = &at.node.data
            && let Some(fields) = reader.fields(&at, END)
        {
            joined.extend(named_config(reader, fields.get("config"), fields.get("secrets")));
        }
    }
    if let Some(subjects) = joined.remove("subscriptions") {
        joined.insert("subscription".to_owned(), subjects);
    }
    joined
}

/// Turns a provider's link round: here the actor is always the source.
fn ends(
    reader: &mut Reader,
    spot: &Spot,
    draft: &Draft,
    (named, owner, target): (Named, &str, LinkTarget),
) -> Option<Ends> {
    let app = draft.application.name.clone();
    let config = BTreeMap::new();
    match (named, target) {
        (Named::Actor, target) => {
            Some(Ends { source: ActorId::new(app, owner.parse().ok()?), target, config })
        }
        (Named::Provider, LinkTarget::Actor(source)) if source.app == app => {
            let target = LinkTarget::Provider(ProviderId::new(app, owner.parse().ok()?));
            Some(Ends { source, target, config })
        }
        (Named::Provider, target) => {
            let report =
                Report::new(ErrorCode::Link, "a provider's link leads to an actor of its application");
            reader.problem(spot, report.at("target").got(target));
            None
        }
    }
}

fn move_settings(reader: &mut Reader, spot: &Spot, draft: &mut Draft, ends: &mut Ends) {
    let LinkTarget::Provider(id) = &ends.target else { return };
    let provider = draft.application.providers.iter_mut().find(|provider| provider.name == id.name);
    let Some(provider) = provider else { return };
    let kind = provider.kind.clone();
    if let Err(contradiction) = lift(&kind, &mut ends.config, &mut provider.config) {
        reader.problem(spot, contradiction.report());
    }
}

fn add(draft: &mut Draft, ends: &Ends, name: &LinkName, interface: Selector, spot: Spot) {
    let actors = draft.application.actors.iter_mut().zip(&mut draft.links);
    let owner = actors.into_iter().find(|(actor, _)| actor.name == ends.source.name);
    // An actor that could not be read was reported; its links go with it.
    let Some((actor, spots)) = owner else { return };
    let mut config = ends.config.clone();
    let hosts = config.remove("allowed_hosts").unwrap_or_default();
    let hosts = hosts.split(',').map(str::trim).filter(|host| !host.is_empty()).map(str::to_owned);
    actor.links.push(LinkDefinition {
        source: ends.source.clone(),
        name: name.clone(),
        interface,
        target: ends.target.clone(),
        config,
        policy: CallPolicy::default(),
        grants: Grants { hosts: hosts.collect(), ..Grants::default() },
    });
    spots.push(spot);
}
