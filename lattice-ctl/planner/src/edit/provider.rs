//! `start provider`, `stop provider`. A provider is named by its kind (`keyvalue-redis`) or by an
//! image of older wasmCloud (`wasmcloud.azurecr.io/kvredis:0.27.0`), for which a built-in kind
//! stands in.

use super::{Edited, check_hosts, link_name_label, remember_link_name};
use lattice_protocol::desired::DesiredApp;
use lattice_protocol::manifest::{Application, KNOWN_KINDS, ProviderManifest, closest, kind_of_image};
use lattice_protocol::name::ProviderName;
use lattice_protocol::spec::ProviderMode;
use lattice_protocol::{ErrorCode, HostId, LinkName, LinkTarget, Report};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// `start provider <kind or image> [--hosts A,B] [--link-name L]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StartProvider {
    /// Kind, or image.
    pub reference: String,
    /// Its name; otherwise its kind.
    #[serde(default)]
    pub name: Option<ProviderName>,
    /// Hosts; checked, and otherwise without effect: see the note that comes with the answer.
    #[serde(default)]
    pub hosts: Vec<HostId>,
    /// The link name that later links to it take by default.
    #[serde(default)]
    pub link_name: Option<LinkName>,
    /// Its configuration.
    #[serde(default)]
    pub config: BTreeMap<String, String>,
}

/// Adds a provider, or changes the configuration of one.
///
/// # Errors
/// `provider start failed: …` for an image that no kind stands in for; `host not found: …`;
/// `E_CONFLICT` when the name belongs to a provider of another kind.
pub fn start_provider(
    record: &DesiredApp,
    command: &StartProvider,
    known: &BTreeSet<HostId>,
) -> Result<Edited, Report> {
    check_hosts(&command.hosts, known)?;
    let kind = kind_of(&command.reference).ok_or_else(|| unknown_image(&command.reference))?;
    let name = match &command.name {
        Some(name) => name.clone(),
        None => ProviderName::new(kind).map_err(|error| Report::new(ErrorCode::Name, error.to_string()))?,
    };
    let mut next = record.clone();
    match next.application.providers.iter_mut().find(|provider| provider.name == name) {
        Some(provider) if provider.kind != kind => {
            return Err(Report::new(ErrorCode::Conflict, format!("provider {name} is of another kind"))
                .got(kind)
                .limit(&provider.kind)
                .hint("give the new one a name of its own: --name <name>"));
        }
        Some(provider) => provider.config.extend(command.config.clone()),
        None => next.application.providers.push(ProviderManifest {
            name: name.clone(),
            kind: kind.to_owned(),
            config: command.config.clone(),
            mode: ProviderMode::InProcess,
        }),
    }
    next.deployed = true;
    remember_link_name(&mut next.application, name.as_str(), command.link_name.as_ref());
    let edited = Edited::new(next, format!("start provider {name}"))?;
    let note = "a provider runs on every host that runs an actor linked to it, and only there";
    Ok(if command.hosts.is_empty() { edited } else { edited.note(note) })
}

/// Removes a provider that nothing is linked to.
///
/// # Errors
/// `provider not found: …`; `E_CONFLICT` while links lead to it.
pub fn stop_provider(record: &DesiredApp, reference: &str) -> Result<Edited, Report> {
    let mut next = record.clone();
    let name = find(&next.application, reference).map(|provider| provider.name.clone());
    let name = name.ok_or_else(|| not_found(&next.application, reference))?;
    let leads = |target: &LinkTarget| matches!(target, LinkTarget::Provider(id) if id.app == next.application.name && id.name == name);
    let links = next.application.actors.iter().flat_map(|actor| &actor.links);
    if let Some(link) = links.into_iter().find(|link| leads(&link.target)) {
        return Err(Report::new(ErrorCode::Conflict, format!("provider {name} is linked to"))
            .at(link)
            .hint("delete its links first: trellis link del …"));
    }
    next.application.providers.retain(|provider| provider.name != name);
    next.application.labels.remove(&link_name_label(name.as_str()));
    Edited::new(next, format!("stop provider {name}"))
}

/// The built-in kind that a kind or an image means.
pub(super) fn kind_of(reference: &str) -> Option<&'static str> {
    KNOWN_KINDS.iter().find(|kind| **kind == reference).copied().or_else(|| kind_of_image(reference))
}

/// The provider that a person means: by name, or by kind or image when there is one of that kind.
pub(super) fn find<'app>(application: &'app Application, reference: &str) -> Option<&'app ProviderManifest> {
    let named = application.providers.iter().find(|provider| provider.name.as_str() == reference);
    named.or_else(|| {
        let kind = kind_of(reference)?;
        let mut of_kind = application.providers.iter().filter(|provider| provider.kind == kind);
        of_kind.next().filter(|_| of_kind.next().is_none())
    })
}

/// `provider not found: …`, and why, as far as it can be seen.
pub(super) fn not_found(application: &Application, reference: &str) -> Report {
    let shown: String = reference.chars().take(80).collect();
    let report = Report::new(ErrorCode::ProviderNotFound, format!("provider not found: {shown}"));
    let names: Vec<&str> = application.providers.iter().map(|provider| provider.name.as_str()).collect();
    if looks_like_key(reference) {
        report.hint(match reference.len() {
            56 => "no provider here has this key; use its name: trellis get inventory".to_owned(),
            length => {
                format!("not a provider key either: one has 56 characters of A-Z and 2-7, this has {length}")
            }
        })
    } else if let Some(meant) = closest(reference, names.iter().copied()) {
        report.hint(format!("did you mean {meant}?"))
    } else {
        report.hint("start it first: trellis start provider <kind>")
    }
}

fn looks_like_key(text: &str) -> bool {
    text.len() >= 32
        && text.starts_with('V')
        && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

fn unknown_image(reference: &str) -> Report {
    let shown: String = reference.chars().take(120).collect();
    Report::new(
        ErrorCode::ProviderStart,
        "provider start failed: image pull: no built-in provider stands in for it",
    )
    .at(shown)
    .hint(format!("use one of {}", KNOWN_KINDS.join(", ")))
}
