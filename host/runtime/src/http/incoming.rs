//! `wasi:http/incoming-handler` 0.2 in an instance of the plain profile.
//!
//! The guest runs on the task that asked: first until it has given a response's head, then, if it
//! is not done by then, whenever the body is read ([`Streaming`]). Most guests are done at once:
//! then the instance is back in the pool before the first byte is sent.

use super::body::{self, RequestBody, Rest, Streaming};
use super::check_length;
use crate::actor::Actor;
use crate::call::CallInfo;
use crate::component::HttpHandler;
use crate::instance::Instance;
use http_body_util::BodyExt;
use lattice_protocol::{ErrorCode, Report};
use providers_sdk::http::Body;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode as GuestError, Scheme};
use wasmtime_wasi_http::{WasiBody, WasiHttpView};

/// The head that a guest has given, or its error.
type Head = Result<http::Response<WasiBody>, GuestError>;

/// Where a guest's head is put while it runs.
#[derive(Clone, Default)]
struct HeadSlot(Arc<Mutex<Option<Head>>>);

impl HeadSlot {
    fn take(&self) -> Option<Head> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
    fn put(&self, head: Head) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(head);
    }
}

/// Serves one request.
pub(crate) async fn handle(
    actor: &Arc<Actor>,
    request: http::Request<Body>,
    info: CallInfo,
) -> Result<http::Response<Body>, Report> {
    let limit = actor.limits().body_bytes;
    check_length(request.headers(), limit)?;
    let (parts, inner) = request.into_parts();
    let (inner, exceeded) = RequestBody::new(inner, limit);
    let head = HeadSlot::default();
    let request = http::Request::from_parts(parts, inner);
    let mut guest: Rest = Box::pin(run(Arc::clone(actor), request, info, head.clone()));
    let (given, outcome) = std::future::poll_fn(|context| {
        let outcome = guest.as_mut().poll(context);
        match (head.take(), outcome) {
            (None, Poll::Pending) => Poll::Pending,
            (given, Poll::Pending) => Poll::Ready((given, None)),
            (given, Poll::Ready(outcome)) => Poll::Ready((given, Some(outcome))),
        }
    })
    .await;
    if exceeded.load(Ordering::Relaxed) {
        return Err(body::too_large("request body", limit.saturating_add(1), limit).at(actor.id()));
    }
    if let Some(Err(report)) = outcome {
        return Err(report);
    }
    let response = match given {
        Some(Ok(response)) => response,
        Some(Err(error)) => return Err(guest_error(actor, &error)),
        None => {
            return Err(Report::new(ErrorCode::Guest, "guest gave no response").at(actor.id()));
        }
    };
    let (parts, inner) = response.into_parts();
    let body = match outcome {
        Some(_) => body::finished(inner, limit).map_err(|report| report.at(actor.id()))?,
        None => {
            let tasks = actor.tasks().clone();
            Streaming { inner, left: limit, rest: Some(guest), tasks }.boxed_unsync()
        }
    };
    Ok(http::Response::from_parts(parts, body))
}

fn guest_error(actor: &Actor, error: &GuestError) -> Report {
    Report::new(ErrorCode::Guest, format!("guest answered with error {error:?}")).at(actor.id())
}

/// The whole life of the guest's call.
async fn run(
    actor: Arc<Actor>,
    request: http::Request<RequestBody>,
    info: CallInfo,
    head: HeadSlot,
) -> Result<(), Report> {
    let scheme = match request.uri().scheme_str() {
        Some("https") => Scheme::Https,
        _ => Scheme::Http,
    };
    actor
        .with_instance(info, async move |instance| {
            let Instance { code, store, instance, .. } = instance;
            let Some(HttpHandler::Incoming(indices)) = &code.http else {
                return Ok(Err(Report::new(ErrorCode::NoHandler, "export wasi:http/incoming-handler")));
            };
            let proxy = indices.load(&mut *store, &*instance)?;
            let request = store.data_mut().http().new_incoming_request(scheme, request)?;
            let given = move |given| head.put(given);
            let out = store.data_mut().http().new_response_outparam_from_callback(given)?;
            proxy.wasi_http_incoming_handler().call_handle(&mut *store, request, out).await?;
            Ok(Ok(()))
        })
        .await
}
