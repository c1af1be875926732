//! Asking others over HTTP (`wasi:http/outgoing-handler`). Which hosts may be asked, the link's allow-list decides.

use thiserror::Error;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    Fields, FutureIncomingResponse, IncomingResponse, Method, OutgoingRequest, Scheme,
};

use super::body::{self, ReadError};
use super::url::{self, Url};
use super::{BODY_LIMIT, Headers, Request, Response};

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum FetchError {
    /// The request cannot be sent as it is.
    #[error("fetch {url}: {reason}")]
    Malformed {
        /// What should have been fetched.
        url: String,
        /// Which part of the request, and why.
        reason: String,
    },
    /// It was refused, or failed on the way.
    #[error("fetch {url}: {reason}")]
    Failed {
        /// What should have been fetched.
        url: String,
        /// The host's words.
        reason: String,
    },
    /// The answer is larger than [`BODY_LIMIT`].
    #[error("fetch {url}: answer too large (limit {limit} bytes)")]
    TooLarge {
        /// What was fetched.
        url: String,
        /// The limit in bytes.
        limit: usize,
    },
}

/// Sends a request whose target is a whole URL, and waits for the answer with its body (at most [`BODY_LIMIT`]
/// bytes). The link's timeout limits the wait.
///
/// # Errors
/// [`FetchError`]; an answer with status 500 is an answer, not an error.
pub fn fetch(request: Request) -> Result<Response, FetchError> {
    let place = request.target();
    let malformed = |reason: String| FetchError::Malformed { url: place.to_owned(), reason };
    let failed = |reason: String| FetchError::Failed { url: place.to_owned(), reason };
    let parts = url::parse(place).map_err(|reason| malformed(reason.to_owned()))?;
    let outgoing = prepare(&request, &parts).map_err(malformed)?;
    let contents = request.bytes().map_err(|error| malformed(error.to_string()))?;
    let body = outgoing.body().map_err(|()| malformed("its body was already taken".to_owned()))?;
    let pending = outgoing_handler::handle(outgoing, None).map_err(|code| failed(code.to_string()))?;
    // A server may answer without reading all: what it says counts more than that it stopped reading.
    let written = body::write(body, contents);
    let answer = wait(&pending).map_err(|reason| match &written {
        Err(stopped) => failed(format!("{reason} (request body: {stopped})")),
        Ok(()) => failed(reason),
    })?;
    let incoming = answer.consume().map_err(|()| failed("answer without a body".to_owned()))?;
    let headers = end_to_end(answer.headers().entries());
    match body::read(incoming, BODY_LIMIT) {
        Ok(body) => Ok(Response { status: answer.status(), headers, body }),
        Err(ReadError::TooLarge) => Err(FetchError::TooLarge { url: place.to_owned(), limit: BODY_LIMIT }),
        Err(ReadError::Broken(reason)) => Err(failed(format!("answer body: {reason}"))),
    }
}

/// Headers about the connection (RFC 9110, 7.6.1). They end with it: an actor that hands an answer on must not send
/// them, and the host would refuse them.
const HOP_BY_HOP: &[&str] =
    &["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"];

/// The headers that concern the message itself.
pub(super) fn end_to_end(mut entries: Vec<(String, Vec<u8>)>) -> Headers {
    entries.retain(|(name, _)| !HOP_BY_HOP.iter().any(|each| name.eq_ignore_ascii_case(each)));
    Headers(entries)
}

fn wait(pending: &FutureIncomingResponse) -> Result<IncomingResponse, String> {
    loop {
        match pending.get() {
            Some(Ok(Ok(answer))) => return Ok(answer),
            Some(Ok(Err(code))) => return Err(code.to_string()),
            Some(Err(())) => return Err("the answer was already taken".to_owned()),
            None => pending.subscribe().block(),
        }
    }
}

fn prepare(request: &Request, parts: &Url<'_>) -> Result<OutgoingRequest, String> {
    let fields = Fields::new();
    for (name, value) in request.headers().iter() {
        fields.append(name, value).map_err(|error| format!("header {name}: {error}"))?;
    }
    let outgoing = OutgoingRequest::new(fields);
    let scheme = if parts.secure { Scheme::Https } else { Scheme::Http };
    outgoing.set_method(&method(request.method())).map_err(|()| "method: not one".to_owned())?;
    outgoing.set_scheme(Some(&scheme)).map_err(|()| "scheme: not one".to_owned())?;
    outgoing
        .set_authority(Some(parts.authority))
        .map_err(|()| format!("host: not one (got {:?})", parts.authority))?;
    outgoing
        .set_path_with_query(Some(&parts.target))
        .map_err(|()| format!("path: not one (got {:?})", parts.target))?;
    Ok(outgoing)
}

fn method(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "CONNECT" => Method::Connect,
        "OPTIONS" => Method::Options,
        "TRACE" => Method::Trace,
        "PATCH" => Method::Patch,
        other => Method::Other(other.to_owned()),
    }
}
