//! An actor's links, bound to what answers them on this host: outbound ones become its
//! [`Wiring`], inbound ones become routes and subscriptions at the providers that call it.

use crate::directory::Directory;
use crate::egress::LinkedActor;
use crate::entities::{Entities, LinkedKind};
use crate::ingress::Inbound;
use crate::secrets::Secrets;
use host_runtime::wiring::{BoundTarget, SecretSource};
use host_runtime::{Actor, Wiring};
use lattice_io::Bus;
use lattice_protocol::manifest::secret_ref;
use lattice_protocol::subject::{Subjects, encode_token};
use lattice_protocol::{
    ActorId, ErrorCode, Interface, KindName, LinkDefinition, LinkTarget, ProviderId, Report,
};
use providers_sdk::Provider;
use providers_sdk::http::{Route, RouteRequest};
use providers_sdk::messaging::{Durable, SubscribeRequest, Subscription};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;
use zeroize::Zeroizing;

/// Messages handled at once by one link when it does not say.
const MAX_IN_FLIGHT: usize = 64;

/// What binding needs besides the links.
pub struct Binder<'host> {
    /// Running providers.
    pub providers: &'host BTreeMap<ProviderId, Provider>,
    /// Why others do not run.
    pub failures: &'host BTreeMap<ProviderId, Report>,
    /// Persistent actors.
    pub entities: &'host Entities,
    /// Running actors.
    pub directory: &'host Arc<Directory>,
    /// The bus, for actors elsewhere.
    pub bus: &'host Arc<dyn Bus>,
    /// Subjects of the lattice.
    pub subjects: &'host Subjects,
    /// Secrets that actors' configurations name.
    pub secrets: &'host Arc<Secrets>,
    /// Secrets that links name.
    pub revealed: &'host BTreeMap<String, Result<Zeroizing<String>, Report>>,
}

/// The package by whose interface persistent actors are asked.
const PERSISTENT: &str = "trellis:actor";

/// The kind that a link leads to: its configuration says, or it is named as the actor is.
fn kind_of(actor: &ActorId, link: &LinkDefinition) -> Result<KindName, Report> {
    match link.config.get("kind") {
        Some(kind) => Ok(kind.parse()?),
        None => Ok(KindName::from(&actor.name)),
    }
}

/// What a provider holds for an actor: dropped, it is taken back.
pub enum InboundBinding {
    /// An HTTP route.
    Route(Box<dyn Route>),
    /// A subscription.
    Subscription(Arc<dyn Subscription>),
}

/// A binding, and what it was made from: kept for as long as neither changes.
pub struct Bound {
    /// The link.
    pub link: LinkDefinition,
    /// Which start of its provider.
    pub incarnation: u64,
    /// What the provider holds; none when the link asks it for nothing (it only publishes).
    pub binding: Option<InboundBinding>,
}

impl InboundBinding {
    /// The subscription, for whoever wants to know of it without holding it.
    #[must_use]
    pub fn subscription(&self) -> Option<Weak<dyn Subscription>> {
        match self {
            Self::Route(_) => None,
            Self::Subscription(subscription) => Some(Arc::downgrade(subscription)),
        }
    }

    /// Takes no more, and waits for what is in hand.
    pub async fn drain(&self) {
        match self {
            Self::Route(route) => route.drain().await,
            Self::Subscription(subscription) => subscription.drain().await,
        }
    }
}

impl Binder<'_> {
    /// The wiring of one actor.
    #[must_use]
    pub fn wiring(&self, actor: &ActorId, links: &[LinkDefinition]) -> Wiring {
        let bound = links.iter().map(|link| match self.opened(link) {
            Ok(opened) => (opened.into_owned(), self.target(link)),
            Err(report) => (link.clone(), BoundTarget::Unavailable(report)),
        });
        let source: Arc<dyn SecretSource> = Arc::clone(self.secrets) as Arc<dyn SecretSource>;
        Wiring::new(actor, bound.collect()).with_secrets(source)
    }

    /// The link with its secrets in its configuration. It goes to where calls are made, and nowhere
    /// that it is compared, shown or stored.
    fn opened<'link>(&self, link: &'link LinkDefinition) -> Result<Cow<'link, LinkDefinition>, Report> {
        let mut opened = Cow::Borrowed(link);
        for (key, value) in &link.config {
            let Some(name) = secret_ref(value) else { continue };
            let secret = match self.revealed.get(name) {
                Some(Ok(secret)) => secret.as_str().to_owned(),
                Some(Err(report)) => return Err(report.clone()),
                None => {
                    let what = format!("secret not fetched yet: {name}");
                    return Err(Report::new(ErrorCode::SecretNotFound, what).at(link));
                }
            };
            opened.to_mut().config.insert(key.clone(), secret);
        }
        Ok(opened)
    }

    fn target(&self, link: &LinkDefinition) -> BoundTarget {
        match &link.target {
            LinkTarget::Actor(id) if link.interface.package() == PERSISTENT => match kind_of(id, link) {
                Ok(kind) => BoundTarget::Entities(Arc::new(LinkedKind {
                    app: id.app.clone(),
                    kind,
                    entities: self.entities.clone(),
                })),
                Err(report) => BoundTarget::Unavailable(report.at(link)),
            },
            LinkTarget::Actor(id) => BoundTarget::Actor(Arc::new(LinkedActor::new(
                id.clone(),
                Arc::clone(self.directory),
                Arc::clone(self.bus),
                self.subjects,
            ))),
            LinkTarget::Provider(id) => match self.providers.get(id) {
                Some(Provider::KeyValue(store)) => BoundTarget::KeyValue(Arc::clone(store)),
                Some(Provider::Messaging(broker)) => BoundTarget::Messaging(Arc::clone(broker)),
                Some(Provider::HttpClient(client)) => BoundTarget::HttpClient(Arc::clone(client)),
                Some(Provider::BlobStore(store)) => BoundTarget::BlobStore(Arc::clone(store)),
                Some(Provider::HttpServer(_)) => BoundTarget::Inbound,
                None => BoundTarget::Unavailable(self.failures.get(id).cloned().unwrap_or_else(|| {
                    Report::new(ErrorCode::ProviderNotFound, format!("provider not found: {id}"))
                })),
            },
        }
    }

    /// The route or subscription that one link asks its provider for, if any.
    ///
    /// # Errors
    /// What the provider refuses.
    pub async fn inbound(
        &self,
        actor: &Actor,
        link: &LinkDefinition,
        body_bytes: u64,
    ) -> Result<Option<InboundBinding>, Report> {
        let LinkTarget::Provider(id) = &link.target else { return Ok(None) };
        let opened = self.opened(link)?;
        let link = opened.as_ref();
        let handler = || Arc::new(Inbound::new(Arc::clone(self.directory), link));
        match self.providers.get(id) {
            Some(Provider::HttpServer(server)) => {
                if !exports(actor, link, "wasi:http") {
                    return Err(Report::new(ErrorCode::NoHandler, "component exports no HTTP handler")
                        .at(link)
                        .limit("export wasi:http/incoming-handler"));
                }
                let route = server.add_route(route_request(link, body_bytes), handler()).await?;
                Ok(Some(InboundBinding::Route(route)))
            }
            Some(Provider::Messaging(broker)) if exports(actor, link, "wasmcloud:messaging") => {
                let Some(request) = subscribe_request(link)? else { return Ok(None) };
                let subscription = broker.subscribe(request, handler()).await?;
                Ok(Some(InboundBinding::Subscription(Arc::from(subscription))))
            }
            _ => Ok(None),
        }
    }
}

/// Does the actor export a handler of this package that the link covers?
fn exports(actor: &Actor, link: &LinkDefinition, package: &str) -> bool {
    let handler = |interface: &&Interface| {
        interface.package() == package && matches!(interface.name(), "handler" | "incoming-handler")
    };
    actor.exports().iter().filter(handler).any(|interface| link.interface.covers(interface))
}

fn values(link: &LinkDefinition, keys: &[&str]) -> Vec<String> {
    let text = keys.iter().find_map(|key| link.config.get(*key)).map_or("", String::as_str);
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

fn route_request(link: &LinkDefinition, body_bytes: u64) -> RouteRequest {
    RouteRequest {
        hosts: values(link, &["hosts", "host"]),
        path: link.config.get("path").cloned().unwrap_or_else(|| "/".to_owned()),
        max_body_bytes: body_bytes,
    }
}

/// What a messaging link subscribes to; none when it names no subject (it only publishes).
fn subscribe_request(link: &LinkDefinition) -> Result<Option<SubscribeRequest>, Report> {
    let subjects = link.subscriptions().map_err(|report| report.at(link))?;
    if subjects.is_empty() {
        return Ok(None);
    }
    let number = |key: &str, default: u64| -> Result<u64, Report> {
        match link.config.get(key) {
            None => Ok(default),
            Some(text) => text.parse().map_err(|_| {
                Report::new(ErrorCode::Config, "not a number").at(format!("{link}: {key}")).got(text)
            }),
        }
    };
    let in_flight = usize::try_from(number("max_in_flight", MAX_IN_FLIGHT as u64)?).unwrap_or(usize::MAX);
    let shared = link.config.get("group").map(String::as_str) != Some("none");
    // Replicas of an actor are one consumer: the group is the actor's own name.
    let group = format!("{}-{}-{}", link.source.app, link.source.name, link.name);
    let durable = match link.config.get("stream") {
        None => None,
        Some(stream) => Some(Durable {
            stream: stream.clone(),
            name: link.config.get("consumer").cloned().unwrap_or_else(|| encode_token(&group)),
            max_deliver: u32::try_from(number("max_deliver", 3)?).unwrap_or(u32::MAX),
            ack_wait: Duration::from_millis(link.policy.timeout_ms.saturating_add(5_000)),
        }),
    };
    Ok(Some(SubscribeRequest {
        subjects,
        group: shared.then_some(group),
        durable,
        max_in_flight: in_flight.clamp(1, 10_000),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lattice_protocol::{CallPolicy, Grants};

    fn link(config: &[(&str, &str)], subscribe: &[&str]) -> LinkDefinition {
        LinkDefinition {
            source: "edge/processor".parse().unwrap(),
            name: "cloud-sync".parse().unwrap(),
            interface: "wasmcloud:messaging".parse().unwrap(),
            target: LinkTarget::Provider("edge/nats".parse().unwrap()),
            config: config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            policy: CallPolicy::default(),
            grants: Grants {
                subscribe: subscribe.iter().map(|text| (*text).to_owned()).collect(),
                ..Grants::default()
            },
        }
    }

    #[test]
    fn replicas_share_one_group_and_a_link_without_subject_only_publishes() {
        let request = subscribe_request(&link(&[("subscription", "edge.sensor.*, cloud.cmd.a")], &[]))
            .unwrap()
            .unwrap();
        assert_eq!(request.subjects, ["edge.sensor.*", "cloud.cmd.a"]);
        assert_eq!(request.group.as_deref(), Some("edge-processor-cloud-sync"));
        assert!(subscribe_request(&link(&[], &[])).unwrap().is_none());
    }

    #[test]
    fn a_link_subscribes_to_nothing_reserved_and_nothing_beyond_its_grant() {
        for subject in [">", "$SYS.>", "_INBOX.>", "trellis.x.rpc.>"] {
            assert!(subscribe_request(&link(&[("subscription", subject)], &[])).is_err(), "{subject}");
        }
        assert!(subscribe_request(&link(&[("subscription", "edge.cmd.a")], &["edge.sensor.*"])).is_err());
        assert!(subscribe_request(&link(&[("subscription", "edge.sensor.a")], &["edge.sensor.*"])).is_ok());
    }
}
