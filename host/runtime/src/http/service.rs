//! HTTP in an instance of the concurrent profile: `wasi:http/handler` 0.3, and 0.2's
//! `incoming-handler` where the rest of the component is concurrent.

use super::body::{self, Ahead, RequestBody};
use super::check_length;
use crate::actor::Actor;
use crate::call::CallInfo;
use crate::component::{Code, HttpHandler};
use crate::state::InstanceState;
use crate::worker::{Answer, Work};
use futures::future::BoxFuture;
use lattice_protocol::{ErrorCode, Report};
use providers_sdk::http::Body;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::oneshot;
use wasmtime::component::{Accessor, Instance};
use wasmtime_wasi_http::p2::bindings::ProxyIndices;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::p3::Request;
use wasmtime_wasi_http::p3::bindings::ServiceIndices;
use wasmtime_wasi_http::{Error, WasiHttpView};

/// A request, and where its response goes.
pub(crate) struct Exchange {
    request: http::Request<RequestBody>,
    answer: Answer<http::Response<Ahead>>,
    /// Closed when the response's body has been read or dropped.
    read: oneshot::Receiver<()>,
}

/// Serves one request.
pub(crate) async fn handle(
    actor: &Arc<Actor>,
    request: http::Request<Body>,
    info: CallInfo,
) -> Result<http::Response<Body>, Report> {
    let limit = actor.limits().body_bytes;
    check_length(request.headers(), limit)?;
    let (request, exceeded) = {
        let (parts, inner) = request.into_parts();
        let (inner, exceeded) = RequestBody::new(inner, limit);
        (http::Request::from_parts(parts, inner), exceeded)
    };
    let (reading, read) = oneshot::channel();
    let (answer, answered) = oneshot::channel();
    let exchange = Box::new(Exchange { request, answer, read });
    let asked = actor.ask_worker(info, Work::Http(exchange), answered).await;
    if exceeded.load(Ordering::Relaxed) {
        return Err(body::too_large("request body", limit.saturating_add(1), limit).at(actor.id()));
    }
    let (response, lease) = asked?;
    let (parts, ahead) = response.into_parts();
    // The call lasts until its body has been read: so does its place in the pool.
    let body = ahead.into_body(limit, (reading, lease)).map_err(|report| report.at(actor.id()))?;
    Ok(http::Response::from_parts(parts, body))
}

/// The worker's half.
pub(crate) async fn serve(
    accessor: &Accessor<InstanceState>,
    (code, guest): (&Code, Instance),
    exchange: Exchange,
    deadline: Instant,
) -> wasmtime::Result<()> {
    let Exchange { request, answer, read } = exchange;
    match &code.http {
        Some(HttpHandler::Service(indices)) => {
            if service(accessor, indices, guest, (request, answer)).await? {
                return Ok(());
            }
        }
        Some(HttpHandler::Incoming(indices)) => incoming(accessor, indices, guest, (request, answer)).await?,
        None => {
            // Whoever asked may have stopped waiting.
            let _ = answer.send(Err(Report::new(ErrorCode::NoHandler, "export wasi:http/handler")));
        }
    }
    // The store must live while the guest writes the body.
    let _ = tokio::time::timeout_at(deadline.into(), read).await;
    Ok(())
}

type Asked = (http::Request<RequestBody>, Answer<http::Response<Ahead>>);

/// True when the response went out whole: nobody reads of the store any more.
async fn service(
    accessor: &Accessor<InstanceState>,
    indices: &ServiceIndices,
    guest: Instance,
    (request, answer): Asked,
) -> wasmtime::Result<bool> {
    let (service, request, sent) = accessor.with(|mut access| {
        let service = indices.load(&mut access, &guest)?;
        let (request, sent) = Request::from_http(access.data_mut().http().hooks, request);
        // Boxed, because its type borrows the hooks although it does not.
        let sent: BoxFuture<'static, Result<(), Error>> = Box::pin(sent);
        wasmtime::error::Ok((service, request, sent))
    })?;
    let response = match service.handle(accessor, request).await? {
        Ok(response) => {
            let (parts, body) = accessor.with(|access| response.into_http(access, sent))?.into_parts();
            Ahead::read(body).await.map(|ahead| http::Response::from_parts(parts, ahead))
        }
        Err(error) => Err(Report::new(ErrorCode::Guest, format!("guest answered with error {error:?}"))),
    };
    let whole = response.as_ref().is_ok_and(|response| response.body().ended());
    // Whoever asked may have stopped waiting.
    let _ = answer.send(response);
    Ok(whole)
}

async fn incoming(
    accessor: &Accessor<InstanceState>,
    indices: &ProxyIndices,
    guest: Instance,
    (request, answer): Asked,
) -> wasmtime::Result<()> {
    let answer = Arc::new(Mutex::new(Some(answer)));
    let take =
        |answer: &Mutex<Option<Answer<_>>>| answer.lock().unwrap_or_else(PoisonError::into_inner).take();
    let given = Arc::clone(&answer);
    let (proxy, request, out) = accessor.with(|mut access| {
        let proxy = indices.load(&mut access, &guest)?;
        let mut http = access.data_mut().http();
        let request = http.new_incoming_request(Scheme::Http, request)?;
        let out = http.new_response_outparam_from_callback(move |head| {
            if let Some(answer) = take(&given) {
                let head = head.map_err(|error| {
                    Report::new(ErrorCode::Guest, format!("guest answered with error {error:?}"))
                });
                let _ = answer.send(head.map(|response| response.map(Ahead::new)));
            }
        })?;
        wasmtime::error::Ok((proxy, request, out))
    })?;
    proxy.wasi_http_incoming_handler().func_handle().call_concurrent(accessor, (request, out)).await?;
    if let Some(answer) = take(&answer) {
        let _ = answer.send(Err(Report::new(ErrorCode::Guest, "guest gave no response")));
    }
    Ok(())
}
