//! Components of type `capability`: providers of a built-in kind.

use super::component::{PROPERTIES, image, scaler};
use super::{Trait, named_config, traits};
use crate::error::{ErrorCode, Report};
use crate::manifest::ProviderManifest;
use crate::manifest::kind::{kind_of_image, known_images};
use crate::manifest::reader::{Fields, Reader};
use crate::spec::ProviderMode;
use std::collections::BTreeMap;

/// Reads a provider.
pub(super) fn read(reader: &mut Reader, component: &Fields<'_>) -> Option<ProviderManifest> {
    let name = reader.required(component, "name").and_then(|at| reader.parsed(&at, ErrorCode::Name));
    let properties = reader.required(component, "properties");
    let properties = properties.and_then(|at| reader.fields(&at, PROPERTIES));
    placement(reader, component);
    let properties = properties?;
    let kind = kind(reader, &properties);
    let mut config = named_config(reader, properties.get("config"), properties.get("secrets"));
    let kind = kind?;
    if let Some(address) = config.remove("default_address") {
        config.entry("address".to_owned()).or_insert(address);
    }
    // Its own settings may be spelt as those of its links are.
    let mut settings = BTreeMap::new();
    if let Err(contradiction) = lift(kind, &mut config, &mut settings) {
        reader.problem(&component.at.spot(), contradiction.report());
    }
    config.extend(settings);
    Some(ProviderManifest { name: name?, kind: kind.to_owned(), config, mode: ProviderMode::InProcess })
}

fn kind(reader: &mut Reader, properties: &Fields<'_>) -> Option<&'static str> {
    let at = image(reader, properties)?;
    let image = reader.words(&at)?;
    let kind = kind_of_image(&image);
    if kind.is_none() {
        let shown: String = image.chars().take(120).collect();
        let report = Report::new(ErrorCode::ProviderNotFound, format!("provider not found: {shown}"));
        reader.problem(
            &at.spot(),
            report.hint(format!("images with a built-in counterpart: {}", known_images())),
        );
    }
    kind
}

/// A provider runs on every host that runs an actor linked to it; it has no placement of its own.
fn placement(reader: &mut Reader, component: &Fields<'_>) {
    for (kind, at) in traits(reader, component) {
        if kind == Trait::Link {
            continue;
        }
        let (_, spread) = scaler(reader, &at);
        if spread.iter().any(|share| !share.requirements.is_empty()) {
            let report = Report::new(ErrorCode::Manifest, "spread requirements of a provider");
            let hint = "a provider runs where the actors linked to it run: put the requirements there";
            reader.problem(&at.spot(), report.hint(hint));
        }
    }
}

/// `address: host:port`, as wasmCloud writes it, as an address and a port.
fn split_address(config: &mut BTreeMap<String, String>) {
    let Some(address) = config.get("address").cloned() else { return };
    let Some((host, port)) = address.rsplit_once(':') else { return };
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    if (bracketed.is_none() && host.contains(':')) || !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return;
    }
    config.insert("address".to_owned(), bracketed.unwrap_or(host).to_owned());
    config.insert("port".to_owned(), port.to_owned());
}

/// One setting with two values.
pub(super) struct Contradiction {
    key: &'static str,
    got: String,
    other: String,
}

impl Contradiction {
    /// For the place where the second value stands.
    pub fn report(self) -> Report {
        Report::new(ErrorCode::Link, format!("a provider cannot have two values of {}", self.key))
            .got(self.got)
            .limit(self.other)
            .hint("add a second provider for the second value")
    }
}

/// Moves settings that are the provider's own from a link's configuration to the provider's.
///
/// # Errors
/// The first [`Contradiction`]; the other settings are moved all the same.
pub(super) fn lift(
    kind: &str,
    link: &mut BTreeMap<String, String>,
    provider: &mut BTreeMap<String, String>,
) -> Result<(), Contradiction> {
    let keys: &[(&str, &'static str)] = match kind {
        "http-server" => {
            split_address(link);
            &[("address", "address"), ("port", "port")]
        }
        "keyvalue-redis" => &[("url", "url")],
        "keyvalue-nats" | "messaging-nats" => {
            &[("url", "url"), ("cluster_uri", "url"), ("cluster_uris", "url")]
        }
        _ => &[],
    };
    let mut result = Ok(());
    for (there, key) in keys {
        let Some(value) = link.remove(*there) else { continue };
        match provider.get(*key) {
            Some(other) if *other != value => {
                if result.is_ok() {
                    result = Err(Contradiction { key, got: value, other: other.clone() });
                }
            }
            _ => drop(provider.insert((*key).to_owned(), value)),
        }
    }
    result
}
