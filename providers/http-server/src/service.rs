//! One request: check its head, find its route, bound its body, hand it over, tidy the answer.
//!
//! No task is spawned and no lock taken on the way.

use crate::activity::Activity;
use crate::body::{Answer, Held, Upload, Verdict};
use crate::refusal::Refusal;
use crate::request::{Origin, admit, declared_length};
use crate::routes::Entered;
use crate::shared::Shared;
use bytes::Bytes;
use http::header::{CONNECTION, HeaderName, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, Request, Response, StatusCode, Version, request};
use http_body::Body as _;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use providers_sdk::http::Body;
use std::sync::Arc;

/// Headers that belong to this connection, not to the answer.
const HOP_BY_HOP: [HeaderName; 5] = [
    CONNECTION,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// One connection's circumstances.
pub(crate) struct Link {
    pub(crate) shared: Arc<Shared>,
    pub(crate) activity: Arc<Activity>,
    pub(crate) origin: Origin,
}

impl Link {
    /// Answers one request. Always an answer.
    pub(crate) async fn respond(&self, request: Request<Incoming>) -> Response<Answer> {
        let _busy = self.activity.busy();
        let (mut parts, body) = request.into_parts();
        let may_close = parts.version != Version::HTTP_2;
        match self.accept(&mut parts) {
            Ok(held) => self.hand_over(parts, body, held, may_close).await,
            Err(refusal) => self.refuse(refusal, may_close, None),
        }
    }

    fn accept(&self, parts: &mut request::Parts) -> Result<Held, Refusal> {
        admit(parts, &self.origin)?;
        let entered: Entered = match self.shared.table().find(&parts.uri) {
            None => return Err(Refusal::NO_ROUTE),
            Some(gate) => gate.enter().ok_or(Refusal::DRAINING)?,
        };
        let slot = self.shared.slot().ok_or(Refusal::OVERLOADED)?;
        if declared_length(&parts.headers).is_some_and(|length| length > entered.max_body_bytes) {
            return Err(Refusal::BODY_TOO_LARGE);
        }
        Ok(Held { entered, _slot: slot })
    }

    async fn hand_over(
        &self,
        parts: request::Parts,
        body: Incoming,
        held: Held,
        may_close: bool,
    ) -> Response<Answer> {
        let (body, verdict) = if body.is_end_stream() {
            (empty(), None)
        } else {
            let verdict = Verdict::default();
            let upload = Upload::new(body, held.entered.max_body_bytes, &self.shared.limits, verdict.clone());
            (Body::new(upload), Some(verdict))
        };
        let response = held.entered.handler.handle(Request::from_parts(parts, body)).await;
        if let Some(refusal) = verdict.as_ref().and_then(Verdict::refusal) {
            return self.refuse(refusal, may_close, Some(held));
        }
        // The actor's time was over before the peer's, and it was the peer that it waited for.
        if response.status() == StatusCode::GATEWAY_TIMEOUT
            && verdict.is_some_and(|verdict| verdict.is_waiting())
        {
            return self.refuse(Refusal::BODY_TOO_SLOW, may_close, Some(held));
        }
        if response.status().is_informational() {
            return self.refuse(Refusal::STATUS, may_close, Some(held));
        }
        let (mut parts, body) = response.into_parts();
        strip(&mut parts.headers);
        Response::from_parts(parts, Answer::new(body, &self.activity, Some(held)))
    }

    fn refuse(&self, refusal: Refusal, may_close: bool, held: Option<Held>) -> Response<Answer> {
        tracing::debug!(status = refusal.status.as_u16(), text = refusal.text.trim_end(), "request refused");
        refusal.response(may_close).map(|body| Answer::new(body, &self.activity, held))
    }
}

fn strip(headers: &mut HeaderMap) {
    if !headers.is_empty() {
        for name in &HOP_BY_HOP {
            headers.remove(name);
        }
    }
}

/// Takes no memory: a box of nothing is none.
fn empty() -> Body {
    Body::new(Empty::<Bytes>::new().map_err(|never| match never {}))
}
