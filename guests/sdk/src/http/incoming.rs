//! A request from the host, and the answer back to it: the only place of the SDK that exports HTTP.

use wasip2::http::types::{ErrorCode, Fields, IncomingRequest, Method, OutgoingResponse, ResponseOutparam};

use super::body::{self, ReadError};
use super::{IntoResponse, Request, Response};
use crate::Error;

/// Where a request's parts come from: the host, or nowhere.
#[derive(Debug, Default)]
pub(super) struct Source(Option<IncomingRequest>);

impl Source {
    pub(super) fn method(&self) -> String {
        self.0.as_ref().map_or_else(|| "GET".to_owned(), |request| method_name(request.method()))
    }

    pub(super) fn target(&self) -> String {
        self.0.as_ref().and_then(IncomingRequest::path_with_query).unwrap_or_else(|| "/".to_owned())
    }

    pub(super) fn headers(&self) -> Vec<(String, Vec<u8>)> {
        self.0.as_ref().map(|request| request.headers().entries()).unwrap_or_default()
    }

    /// The body, once; after that it is empty.
    pub(super) fn read_body(&mut self, limit: usize) -> Result<Vec<u8>, Error> {
        let Some(request) = &self.0 else { return Ok(Vec::new()) };
        let Ok(incoming) = request.consume() else { return Ok(Vec::new()) };
        body::read(incoming, limit).map_err(|error| match error {
            ReadError::TooLarge => Error::too_large("body", limit),
            ReadError::Broken(reason) => Error::bad_request(format!("body: {reason}")),
        })
    }
}

fn method_name(method: Method) -> String {
    match method {
        Method::Get => "GET".to_owned(),
        Method::Head => "HEAD".to_owned(),
        Method::Post => "POST".to_owned(),
        Method::Put => "PUT".to_owned(),
        Method::Delete => "DELETE".to_owned(),
        Method::Connect => "CONNECT".to_owned(),
        Method::Options => "OPTIONS".to_owned(),
        Method::Trace => "TRACE".to_owned(),
        Method::Patch => "PATCH".to_owned(),
        Method::Other(name) => name,
    }
}

/// What the exported handler does: calls the actor's function and sends its answer.
#[doc(hidden)]
pub fn answer<R: IntoResponse>(
    incoming: IncomingRequest,
    out: ResponseOutparam,
    handler: impl FnOnce(Request) -> R,
) {
    let request = Request { source: Source(Some(incoming)).into(), ..Request::default() };
    send(out, handler(request).into_response());
}

/// Sends an answer. When it cannot be sent whole, the host sees a body that was never finished and ends the
/// connection: there is nobody left to tell.
fn send(out: ResponseOutparam, response: Response) {
    let outgoing = match prepare(&response) {
        Ok(outgoing) => outgoing,
        Err(reason) => {
            return ResponseOutparam::set(out, Err(ErrorCode::InternalError(Some(reason))));
        }
    };
    let body = outgoing.body();
    ResponseOutparam::set(out, Ok(outgoing));
    if let Ok(body) = body {
        let _client_has_gone = body::write(body, &response.body);
    }
}

/// Status and headers; the length is added where the handler gave none.
fn prepare(response: &Response) -> Result<OutgoingResponse, String> {
    let fields = Fields::new();
    for (name, value) in response.headers.iter() {
        fields.append(name, value).map_err(|error| format!("header {name}: {error}"))?;
    }
    if response.headers.get("content-length").is_none() && may_have_body(response.status) {
        let length = response.body.len().to_string();
        fields
            .append("content-length", length.as_bytes())
            .map_err(|error| format!("header content-length: {error}"))?;
    }
    let outgoing = OutgoingResponse::new(fields);
    outgoing
        .set_status_code(response.status)
        .map_err(|()| format!("status {}: not an HTTP status", response.status))?;
    Ok(outgoing)
}

/// RFC 9110, 6.4.1: no content with these.
fn may_have_body(status: u16) -> bool {
    !matches!(status, 100..=199 | 204 | 304)
}
