//! An application while it is read: what is there so far, and where each part stood, so that
//! problems between parts can still name a line.

use super::check::Part;
use super::reader::{At, Fields, Reader, Spot};
use super::suggest::closest;
use super::{Application, kind};
use crate::error::{ErrorCode, Report};
use crate::interface::Selector;
use crate::link::LinkTarget;
use crate::name::{ActorId, AppName, ProviderId};
use std::collections::BTreeMap;

/// What a name of the manifest stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    Actor,
    Provider,
}

impl Named {
    /// What a link of this interface most probably leads to.
    pub fn target_of(selector: &Selector) -> Self {
        if kind::is_capability(selector) { Self::Provider } else { Self::Actor }
    }
}

/// The application so far.
#[derive(Debug)]
pub(super) struct Draft {
    pub application: Application,
    /// Every name that is written, of parts with other problems too, so that one mistake is
    /// reported once.
    pub names: BTreeMap<String, Named>,
    pub actors: Vec<Spot>,
    pub providers: Vec<Spot>,
    pub links: Vec<Vec<Spot>>,
}

impl Draft {
    pub fn new(name: AppName) -> Self {
        Self {
            application: Application::empty(name),
            names: BTreeMap::new(),
            actors: Vec::new(),
            providers: Vec::new(),
            links: Vec::new(),
        }
    }

    /// Notes a name before its part is read. Two parts of one name are reported here: even when
    /// the parts themselves cannot be read.
    pub fn declare(&mut self, reader: &mut Reader, fields: &Fields<'_>, named: Named) {
        // Other problems of the name are reported when the part is read.
        let Some(at) = fields.get("name") else { return };
        let super::yaml::Data::Scalar { text, .. } = &at.node.data else { return };
        if self.names.insert(text.clone(), named).is_some() {
            let report = Report::new(ErrorCode::Manifest, format!("two parts named {text:?}"));
            reader.problem(&at.spot(), report.hint("actors and providers share their names: rename one"));
        }
    }

    /// Where a part stood.
    pub fn spot(&self, part: Part) -> Option<&Spot> {
        match part {
            Part::Actor(actor) => self.actors.get(actor),
            Part::Provider(provider) => self.providers.get(provider),
            Part::Link(actor, link) => self.links.get(actor)?.get(link),
        }
    }

    /// What a link's `to` leads to: a provider or actor of this manifest, or `app/name` elsewhere,
    /// which then is what is `wanted`.
    pub fn target(&self, reader: &mut Reader, to: &At<'_>, wanted: Named) -> Option<LinkTarget> {
        let text = reader.words(to)?;
        let app = &self.application.name;
        let found = match text.split_once('/') {
            // What another application has is not known here: a provider serves capabilities.
            Some((other, _)) if other != app.as_str() => match wanted {
                Named::Provider => text.parse().map(LinkTarget::Provider),
                Named::Actor => text.parse().map(LinkTarget::Actor),
            },
            split => {
                let name = split.map_or(text.as_str(), |(_, name)| name);
                let Some(named) = self.names.get(name) else {
                    reader.problem(&to.spot(), self.unknown_target(name, wanted));
                    return None;
                };
                match named {
                    Named::Actor => {
                        name.parse().map(|name| LinkTarget::Actor(ActorId::new(app.clone(), name)))
                    }
                    Named::Provider => {
                        name.parse().map(|name| LinkTarget::Provider(ProviderId::new(app.clone(), name)))
                    }
                }
            }
        };
        match found {
            Ok(target) => Some(target),
            Err(error) => {
                reader.problem(&to.spot(), Report::new(ErrorCode::Name, error.to_string()));
                None
            }
        }
    }

    fn unknown_target(&self, name: &str, wanted: Named) -> Report {
        let name: String = name.chars().take(80).collect();
        let report = match wanted {
            Named::Provider => {
                Report::new(ErrorCode::ProviderNotFound, format!("provider not found: {name}"))
            }
            Named::Actor => {
                let what = format!("link definition not found: no actor or provider named {name:?}");
                Report::new(ErrorCode::LinkNotFound, what)
            }
        };
        if looks_like_a_key(&name) {
            return report.hint("a link names its target as this manifest does, not by a public key");
        }
        let mut known: Vec<&str> = self.names.keys().map(String::as_str).collect();
        match closest(&name, known.iter().copied()) {
            Some(meant) => report.hint(format!("did you mean {meant:?}?")),
            None => {
                known.retain(|name| self.names.get(*name) == Some(&wanted));
                let word = if wanted == Named::Provider { "providers" } else { "actors" };
                match known.as_slice() {
                    [] => report.hint(format!("this manifest has no {word}: add one")),
                    known => report.hint(format!("{word} of this manifest: {}", known.join(", "))),
                }
            }
        }
    }
}

/// Seed 004 names actors and providers by public keys (`M…`, `V…`), some not valid ones.
fn looks_like_a_key(name: &str) -> bool {
    name.len() >= 32
        && name.starts_with(['M', 'V'])
        && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}
