//! Outgoing HTTP: a request leaves only through a link to an [`HttpClient`], within the hosts and
//! methods that the link names.
//!
//! Without a link the call ends (`capability denied: wasmcloud:httpclient`); what a link does not
//! grant, and what the network does, the guest sees as error codes of `wasi:http`.
//!
//! A body is a stream and is gone once sent. Requests that may be repeated therefore have theirs
//! gathered first, when it is small (most guests open a body even for a GET); others are sent once.

use super::{interface, trap};
use crate::engine::Profile;
use crate::grants;
use crate::state::{CallScope, InstanceState};
use crate::wiring::{BoundLink, BoundTarget, Repeat};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt, BodyStream, Limited, StreamBody};
use lattice_protocol::{ErrorCode, Report};
use providers_sdk::http::{Body, HttpClient, full};
use providers_sdk::{ProviderError, ProviderErrorKind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use wasmtime::component::{Accessor, Linker, Resource};
use wasmtime_wasi_http::p2::bindings as p2;
use wasmtime_wasi_http::p2::types::{HostFutureIncomingResponse, HostOutgoingRequest};
use wasmtime_wasi_http::p3::bindings as p3;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttp, WasiHttpHooks, WasiHttpView};

/// Largest request body that is kept for another attempt, bytes.
const MAX_GATHERED: usize = 64 << 10;

const OUTGOING_NAME: &str = "wasi:http/outgoing-handler@0.2.12";
const CLIENT_NAME: &str = "wasi:http/client@0.3.0";
interface!(OUTGOING = OUTGOING_NAME);
interface!(CLIENT = CLIENT_NAME);

/// Defines all of `wasi:http` that components import. The functions that send are replaced by ones
/// that ask for a link first: the generated ones can only answer, not end the call.
pub(crate) fn link(linker: &mut Linker<InstanceState>, profile: Profile) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let options = p2::LinkOptions::default();
    p2::http::types::add_to_linker::<_, WasiHttp>(linker, &(&options).into(), InstanceState::http)?;
    p2::http::outgoing_handler::add_to_linker::<_, WasiHttp>(linker, InstanceState::http)?;
    linker.instance(OUTGOING_NAME)?.func_wrap("handle", handle)?;
    if profile == Profile::Concurrent {
        p3::http::types::add_to_linker::<_, WasiHttp>(linker, InstanceState::http)?;
        p3::http::client::add_to_linker::<_, WasiHttp>(linker, InstanceState::http)?;
        linker.instance(CLIENT_NAME)?.func_wrap_concurrent("send", |store, (request,)| {
            Box::pin(async move { Ok((send(store, request).await?,)) })
        })?;
    }
    linker.allow_shadowing(false);
    Ok(())
}

type Handled = Result<Resource<HostFutureIncomingResponse>, p2::http::types::ErrorCode>;

/// `wasi:http/outgoing-handler.handle`.
fn handle(
    mut store: wasmtime::StoreContextMut<'_, InstanceState>,
    (request, options): (Resource<HostOutgoingRequest>, Option<Resource<RequestOptions>>),
) -> wasmtime::Result<(Handled,)> {
    let state = store.data_mut();
    state.call.resolve(&OUTGOING, None).map_err(trap)?;
    match p2::http::outgoing_handler::Host::handle(&mut state.http(), request, options) {
        Ok(response) => Ok((Ok(response),)),
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}

/// `wasi:http/client.send`.
async fn send(
    store: &Accessor<InstanceState>,
    request: Resource<wasmtime_wasi_http::p3::Request>,
) -> wasmtime::Result<Result<Resource<wasmtime_wasi_http::p3::Response>, p3::http::types::ErrorCode>> {
    store.with(|mut access| access.get().call.resolve(&CLIENT, None).map(drop)).map_err(trap)?;
    let store = store.with_getter::<WasiHttp>(InstanceState::http);
    match <WasiHttp as p3::http::client::HostWithStore<InstanceState>>::send(&store, request).await {
        Ok(response) => Ok(Ok(response)),
        Err(error) => Ok(Err(error.downcast()?)),
    }
}

type Sent = Box<dyn Future<Output = Sending<()>> + Send>;
type Sending<T> = Result<T, Error>;

impl WasiHttpHooks for CallScope {
    /// Called in the same step as the router above, so that the link it found is found again.
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Sent,
    ) -> Box<dyn Future<Output = Sending<(http::Response<WasiBody>, Sent)>> + Send> {
        let admitted = self.admit_request(&request, options);
        Box::new(async move {
            let response = admitted?.send(request).await?;
            Ok((response, Box::new(std::future::ready(Ok(()))) as Sent))
        })
    }
}

/// A request that may leave. It holds what it needs of the call, because it may be sent by a task
/// of its own.
struct Admitted {
    link: Arc<BoundLink>,
    client: Arc<dyn HttpClient>,
    context: providers_sdk::CallContext,
    actor: lattice_protocol::ActorId,
    response_limit: usize,
}

impl CallScope {
    fn admit_request(
        &self,
        request: &http::Request<WasiBody>,
        options: Option<RequestOptions>,
    ) -> Sending<Admitted> {
        // Either version's interface leads to the same selector (`wasi:http`, `wasmcloud:httpclient`).
        let link = self.resolve(&OUTGOING, None).or_else(|_| self.resolve(&CLIENT, None));
        let link = link.map_err(|report| refused(&self.actor.id, &report))?;
        let BoundTarget::HttpClient(client) = link.target() else {
            return Err(refused(&self.actor.id, &link.mismatch(&OUTGOING)));
        };
        grants::request(link.definition(), request.method().as_str(), request.uri())
            .map_err(|report| refused(&self.actor.id, &report))?;
        let patience = options.and_then(|options| options.first_byte_timeout);
        let deadline = match patience {
            Some(patience) => self.info.deadline.min(Instant::now() + patience),
            None => self.info.deadline,
        };
        Ok(Admitted {
            context: link.context(self, deadline),
            client: Arc::clone(client),
            actor: self.actor.id.clone(),
            response_limit: self.payload_limit(),
            link,
        })
    }
}

/// The guest gets a code without words; the words are for the operator.
fn refused(actor: &lattice_protocol::ActorId, report: &Report) -> Error {
    tracing::debug!(%actor, %report, "outgoing request refused");
    Error::HttpRequestDenied
}

impl Admitted {
    async fn send(self, request: http::Request<WasiBody>) -> Sending<http::Response<WasiBody>> {
        let (parts, body) = request.into_parts();
        let deadline = tokio::time::Instant::from_std(self.context.deadline);
        let payload = match parts.method.is_idempotent() {
            true => tokio::time::timeout_at(deadline, gather(body))
                .await
                .map_err(|_| Error::ConnectionWriteTimeout)??,
            false => Payload::of(body),
        };
        let (repeat, whole, body) = match payload {
            Payload::Whole(bytes) if parts.method.is_idempotent() => (Repeat::Freely, bytes, None),
            Payload::Whole(bytes) => (Repeat::Unsent, bytes, None),
            Payload::Stream(body) => (Repeat::Never, Bytes::new(), Some(body)),
        };
        // A stream is taken by the only attempt.
        let body = Mutex::new(body);
        let (parts, body, whole, client) = (&parts, &body, &whole, self.client.as_ref());
        let outcome = self
            .link
            .guarded(self.context.deadline, repeat, |until| {
                let mut context = self.context.clone();
                context.deadline = until;
                let allowed = self.link.allowed();
                let taken = body.lock().unwrap_or_else(PoisonError::into_inner).take();
                async move {
                    let body = taken.unwrap_or_else(|| full(whole.clone()));
                    let request = http::Request::from_parts(parts.clone(), body);
                    client.send(&context, allowed, request).await
                }
            })
            .await;
        match outcome {
            Ok(response) => {
                let limit = self.response_limit;
                Ok(response.map(|body| Limited::new(body, limit).map_err(from_limited).boxed_unsync()))
            }
            Err(report) => {
                tracing::debug!(actor = %self.actor, %report, "outgoing request failed");
                Err(error_of(&report))
            }
        }
    }
}

/// A request body on its way out.
enum Payload {
    /// All of it: can be sent again.
    Whole(Bytes),
    /// Still being written.
    Stream(Body),
}

impl Payload {
    /// Without waiting for the guest to write.
    fn of(body: WasiBody) -> Self {
        if body.is_end_stream() { Self::Whole(Bytes::new()) } else { Self::Stream(to_provider(body)) }
    }
}

/// Reads a body until its end, or until it is known not to be a small one.
async fn gather(mut body: WasiBody) -> Sending<Payload> {
    let mut held = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame?;
        match frame.into_data() {
            Ok(data) if held.len() + data.len() <= MAX_GATHERED => held.extend_from_slice(&data),
            Ok(data) => return Ok(Payload::Stream(behind(held, Frame::data(data), body))),
            Err(trailers) => return Ok(Payload::Stream(behind(held, trailers, body))),
        }
    }
    Ok(Payload::Whole(held.freeze()))
}

/// What was read, then one more frame, then the rest.
fn behind(held: BytesMut, next: Frame<Bytes>, rest: WasiBody) -> Body {
    let read = futures::stream::iter([Ok(Frame::data(held.freeze())), Ok(next)]);
    StreamBody::new(read.chain(BodyStream::new(to_provider(rest)))).boxed_unsync()
}

/// The guest's body as a provider reads it.
fn to_provider(body: WasiBody) -> Body {
    body.map_err(|error| ProviderError::new(ProviderErrorKind::Failed, format!("request body: {error}")))
        .boxed_unsync()
}

fn from_limited(error: Box<dyn std::error::Error + Send + Sync>) -> Error {
    if error.is::<http_body_util::LengthLimitError>() {
        return Error::HttpResponseBodySize(None);
    }
    match error.downcast::<ProviderError>() {
        Ok(error) if error.kind == ProviderErrorKind::Timeout => Error::ConnectionReadTimeout,
        _ => Error::HttpResponseIncomplete,
    }
}

fn error_of(report: &Report) -> Error {
    match report.code {
        ErrorCode::CapabilityDenied | ErrorCode::Denied => Error::HttpRequestDenied,
        ErrorCode::Connection => Error::ConnectionRefused,
        ErrorCode::Timeout => Error::HttpResponseTimeout,
        ErrorCode::NotFound => Error::DestinationNotFound,
        ErrorCode::CircuitOpen => Error::DestinationUnavailable,
        ErrorCode::Limit | ErrorCode::TooLarge => Error::HttpResponseBodySize(None),
        _ => Error::InternalError(Some(report.to_string())),
    }
}
