//! A provider as a process of its own serves it, and a host that calls it, over whatever bus: so
//! that one suite holds for a provider in process and over the lattice.

use crate::http::{Body, HttpHandler};
use crate::inbound::InboundTarget;
use crate::messaging::{Handled, Message, MessageHandler};
use crate::remote::{Remote, Served, serve};
use crate::{BoxFuture, Provider, forward};
use bytes::Bytes;
use lattice_io::call::answer_each;
use lattice_io::{Bus, TaskScope};
use lattice_protocol::invocation::Invocation;
use lattice_protocol::provider::Place;
use lattice_protocol::subject::{SERVE_GROUP, Subjects};
use lattice_protocol::{ErrorCode, LinkName, Report};
use std::sync::Arc;

/// The same provider, called over this bus. It is served until `scope` is shut down.
pub async fn far(provider: Provider, bus: &Arc<dyn Bus>, scope: &TaskScope) -> Provider {
    far_between(provider, (bus, bus), scope).await
}

/// The same, served by one connection and called by another.
pub async fn far_between(
    provider: Provider,
    (there, here): (&Arc<dyn Bus>, &Arc<dyn Bus>),
    scope: &TaskScope,
) -> Provider {
    let lattice: lattice_protocol::LatticeName = "test".parse().unwrap();
    let id = "shop/far".parse().unwrap();
    let key = keys::KeyPair::from_entropy(keys::KeyKind::Provider, [7; 32]);
    let served = Served { lattice: lattice.clone(), id, place: Place::Shared, provider, key };
    let description = serve(served, there, scope).await.unwrap();
    let subjects = Subjects::new(lattice);
    Remote::new(Arc::clone(here), &subjects, &description.id, &Place::Shared, scope.clone())
        .provider(&description)
}

/// A handler that another process can call: it stands behind the subject of an actor of this name.
pub struct Linked<H: ?Sized> {
    target: InboundTarget,
    handler: Arc<H>,
}

fn target(name: &str) -> InboundTarget {
    InboundTarget {
        actor: format!("shop/{name}").parse().unwrap(),
        link: LinkName::default_name(),
        interface: "wasmcloud:messaging".to_owned(),
        timeout_ms: 20_000,
    }
}

impl Linked<dyn MessageHandler> {
    /// Answers for the actor as a host would.
    pub async fn messages(
        name: &str,
        bus: &Arc<dyn Bus>,
        scope: &TaskScope,
        handler: Arc<dyn MessageHandler>,
    ) -> Arc<Self> {
        let inner = Arc::clone(&handler);
        answer(name, bus, scope, move |payload| {
            let handler = Arc::clone(&inner);
            Box::pin(async move {
                match handler.handle(forward::read_message(&payload)?).await {
                    Handled::Done => Ok(Bytes::new()),
                    Handled::Again(_) => Err(Report::new(ErrorCode::Overloaded, "again")),
                    Handled::Never(why) => Err(Report::new(ErrorCode::Guest, why)),
                }
            })
        })
        .await;
        Arc::new(Self { target: target(name), handler })
    }
}

impl Linked<dyn HttpHandler> {
    /// Answers for the actor as a host would.
    pub async fn http(
        name: &str,
        bus: &Arc<dyn Bus>,
        scope: &TaskScope,
        handler: Arc<dyn HttpHandler>,
    ) -> Arc<Self> {
        let (inner, limit) = (Arc::clone(&handler), forward::max_body(bus.max_payload()));
        answer(name, bus, scope, move |payload| {
            let handler = Arc::clone(&inner);
            Box::pin(async move {
                let response = handler.handle(forward::read_request(&payload)?).await;
                forward::write_response(response, limit).await
            })
        })
        .await;
        Arc::new(Self { target: target(name), handler })
    }
}

async fn answer(
    name: &str,
    bus: &Arc<dyn Bus>,
    scope: &TaskScope,
    act: impl Fn(Bytes) -> BoxFuture<'static, Result<Bytes, Report>> + Send + Sync + 'static,
) {
    let subject = Subjects::new("test".parse().unwrap()).actor_call(&target(name).actor);
    let calls = bus.subscribe(&subject, Some(SERVE_GROUP)).await.unwrap();
    let act = Arc::new(act);
    let answering = answer_each(calls, Arc::clone(bus), scope.clone(), 1_024, move |frame: Bytes| {
        let act = Arc::clone(&act);
        async move {
            let (_, at) = Invocation::decode(&frame)?;
            act(frame.slice(at..)).await
        }
    });
    scope.spawn_until_cancelled("actor", answering);
}

impl MessageHandler for Linked<dyn MessageHandler> {
    fn handle(&self, message: Message) -> BoxFuture<'_, Handled> {
        self.handler.handle(message)
    }
    fn target(&self) -> Option<InboundTarget> {
        Some(self.target.clone())
    }
}

impl HttpHandler for Linked<dyn HttpHandler> {
    fn handle(&self, request: http::Request<Body>) -> BoxFuture<'_, http::Response<Body>> {
        self.handler.handle(request)
    }
    fn target(&self) -> Option<InboundTarget> {
        Some(self.target.clone())
    }
}
