//! HTTP as an actor sees it: a [`Request`] to answer, a [`Response`] to give, and [`fetch`] for asking others.
//! Both are plain values, so a handler is tested without a host: [`Request::new`] makes one from nothing.
//! What comes from the host is read when it is asked for: a handler that never looks at the body never copies it.

use std::cell::{OnceCell, RefCell};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;

mod body;
pub mod incoming;
mod outgoing;
#[cfg(test)]
mod tests;
mod url;

pub use outgoing::{FetchError, fetch};

/// The body limit of [`Request::bytes`], in bytes. [`Request::bytes_up_to`] takes another.
pub const BODY_LIMIT: usize = 8 * 1024 * 1024;

/// Header names and values, in order. Names compare without regard to case; a value that is not UTF-8 is kept, and
/// not shown by [`Headers::get`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, Vec<u8>)>);

impl Headers {
    /// The first value under `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(each, _)| each.eq_ignore_ascii_case(name))
            .and_then(|(_, value)| std::str::from_utf8(value).ok())
    }

    /// Names with values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// Replaces every value under `name`.
    pub fn set(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        self.0.retain(|(each, _)| !each.eq_ignore_ascii_case(name));
        self.0.push((name.to_ascii_lowercase(), value.into()));
    }

    /// Adds a value, after those already there.
    pub fn append(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        self.0.push((name.to_ascii_lowercase(), value.into()));
    }
}

/// A request: one that came in, or one to [`fetch`].
#[derive(Debug, Default)]
pub struct Request {
    source: RefCell<incoming::Source>,
    method: OnceCell<String>,
    target: OnceCell<String>,
    headers: OnceCell<Headers>,
    body: OnceCell<Vec<u8>>,
}

impl Request {
    /// A request without headers and body. `target` is a path with query for a handler's test, and a whole URL
    /// (`http://host:port/path?query`) for [`fetch`].
    pub fn new(method: &str, target: &str) -> Self {
        let request = Self::default();
        let _ = request.method.set(method.to_ascii_uppercase());
        let _ = request.target.set(target.to_owned());
        request
    }

    /// `GET` of a URL.
    pub fn get(url: &str) -> Self {
        Self::new("GET", url)
    }

    /// `POST` to a URL.
    pub fn post(url: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::new("POST", url).with_body(body)
    }

    /// With this body instead.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = OnceCell::from(body.into());
        self
    }

    /// With this header, in place of others of the name.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        let mut headers = self.headers().clone();
        headers.set(name, value);
        self.headers = OnceCell::from(headers);
        self
    }

    /// The method in capitals: `"GET"`.
    pub fn method(&self) -> &str {
        self.method.get_or_init(|| self.source.borrow().method())
    }

    /// Path and query as sent: `/devices/7?full=1`.
    pub fn target(&self) -> &str {
        self.target.get_or_init(|| self.source.borrow().target())
    }

    /// The path as sent, before any `?`, with its percent-encoding.
    pub fn path(&self) -> &str {
        url::split_query(self.target()).0
    }

    /// The path's segments, percent-decoded: `/devices/a%20b` gives `devices`, `a b`. Empty ones are left out.
    pub fn segments(&self) -> Vec<String> {
        self.path().split('/').filter(|part| !part.is_empty()).map(url::percent_decode).collect()
    }

    /// The first value of `name` in the query, percent-decoded (`+` is a space).
    pub fn query(&self, name: &str) -> Option<String> {
        url::query_value(url::split_query(self.target()).1, name)
    }

    /// The headers.
    pub fn headers(&self) -> &Headers {
        self.headers.get_or_init(|| Headers(self.source.borrow().headers()))
    }

    /// The body, at most [`BODY_LIMIT`] bytes. Read from the host at the first call, kept for the next.
    ///
    /// # Errors
    /// 413 when it is larger; 400 when the client stopped sending.
    pub fn bytes(&self) -> Result<&[u8], Error> {
        self.bytes_up_to(BODY_LIMIT)
    }

    /// The body, at most `limit` bytes.
    ///
    /// # Errors
    /// As [`Request::bytes`].
    pub fn bytes_up_to(&self, limit: usize) -> Result<&[u8], Error> {
        if self.body.get().is_none() {
            let read = self.source.borrow_mut().read_body(limit)?;
            let _ = self.body.set(read);
        }
        let bytes = self.body.get().map_or(&[][..], Vec::as_slice);
        if bytes.len() > limit {
            return Err(Error::too_large("body", limit));
        }
        Ok(bytes)
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// As [`Request::bytes`]; 400 with line and column when it is not a `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(self.bytes()?).map_err(|error| Error::bad_request(format!("body: {error}")))
    }
}

/// An answer: one to give, or one that [`fetch`] brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    status: u16,
    headers: Headers,
    body: Vec<u8>,
}

impl Response {
    /// An answer with a status and nothing else.
    pub fn new(status: u16) -> Self {
        Self { status, headers: Headers::default(), body: Vec::new() }
    }

    /// 200 with plain text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::new(200).with_header("content-type", "text/plain; charset=utf-8").with_body(text.into())
    }

    /// 200 with JSON.
    ///
    /// # Errors
    /// 500 when `value` has no JSON form (a map with keys that are no text).
    pub fn json<T: Serialize>(value: &T) -> Result<Self, Error> {
        Ok(Self::new(200)
            .with_header("content-type", "application/json")
            .with_body(serde_json::to_vec(value)?))
    }

    /// With this status instead.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// With this header, in place of others of the name.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.set(name, value);
        self
    }

    /// With this body instead.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The headers.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The body.
    pub fn bytes(&self) -> &[u8] {
        &self.body
    }

    /// The body as text; what is no UTF-8 is replaced.
    pub fn text_lossy(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// 502 with line and column when it is not a `T`: the other side sent it.
    pub fn read_json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|error| Error::upstream(format!("response body: {error}")))
    }
}

/// What a handler may return.
pub trait IntoResponse {
    /// The answer it stands for.
    fn into_response(self) -> Response;
}

impl IntoResponse for Response {
    fn into_response(self) -> Response {
        self
    }
}

impl IntoResponse for &str {
    fn into_response(self) -> Response {
        Response::text(self)
    }
}

impl IntoResponse for String {
    fn into_response(self) -> Response {
        Response::text(self)
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        Response::text(format!("{self}\n")).with_status(self.status())
    }
}

impl<T: IntoResponse, E: Into<Error>> IntoResponse for Result<T, E> {
    fn into_response(self) -> Response {
        match self {
            Ok(answer) => answer.into_response(),
            Err(error) => error.into().into_response(),
        }
    }
}
