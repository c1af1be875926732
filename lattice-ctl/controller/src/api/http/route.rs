//! From a request to an operation and its input, and back.

use super::problem::{answer, json_answer, problem, problem_of, whole};
use super::{Body, Server};
use crate::api::caller::Caller;
use crate::api::openapi;
use crate::api::operation::{Body as Takes, Kind, OPERATIONS, Operation};
use ::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use keys::RequestToken;
use lattice_protocol::{ErrorCode, Report, manifest};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// Largest body, bytes: a manifest.
const MAX_BODY: usize = manifest::MAX_BYTES;
/// Time for a body to come.
const BODY: Duration = Duration::from_secs(10);
/// Time for an operation.
const OPERATION: Duration = Duration::from_secs(30);

/// What a manifest may say that it is.
const MANIFESTS: [&str; 4] = ["application/yaml", "application/x-yaml", "text/yaml", "application/json"];

/// A request that was read, and is for this operation.
struct Asked {
    operation: &'static Operation,
    method: Method,
    /// Path and query, as they came: what a token signs.
    target: String,
    query: String,
    members: Map<String, Value>,
    headers: HeaderMap,
    body: Bytes,
}

fn usage(what: impl Into<String>) -> Report {
    Report::new(ErrorCode::Usage, what)
}

impl Server {
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        match (request.method(), request.uri().path()) {
            (&Method::GET, "/healthz") => return json_answer(&json!({ "status": "ok" })),
            (&Method::GET, "/v1/openapi.json") => {
                return answer(StatusCode::OK, "application/json", whole(openapi::text()));
            }
            _ => {}
        }
        let (operation, members) = match find(request.method(), request.uri().path()) {
            Ok(found) => found,
            Err(response) => return *response,
        };
        match self.asked(request, operation, members).await {
            Ok(asked) => self.carry_out(asked).await,
            Err(response) => *response,
        }
    }

    async fn asked(
        &self,
        request: Request<Incoming>,
        operation: &'static Operation,
        members: Map<String, Value>,
    ) -> Result<Asked, Box<Response<Body>>> {
        let (head, body) = request.into_parts();
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        // What is no token at all is refused before its body is read.
        let refuse = |report: &Report| Box::new(problem(report));
        let token = token(&head.headers).map_err(|report| refuse(&report))?;
        RequestToken::parse(token).map_err(|error| refuse(&unauthenticated(&error.to_string())))?;
        let body = read(body, &head.headers).await.map_err(|report| {
            let late = report.code == ErrorCode::Timeout;
            Box::new(if late { problem_of(StatusCode::REQUEST_TIMEOUT, &report) } else { problem(&report) })
        })?;
        check_type(operation, &head.headers, &body)?;
        Ok(Asked {
            operation,
            method: head.method,
            target,
            query: head.uri.query().unwrap_or_default().to_owned(),
            members,
            headers: head.headers,
            body,
        })
    }

    async fn carry_out(&self, asked: Asked) -> Response<Body> {
        let operating = async {
            let parts = (asked.method.as_str(), asked.target.as_str(), &asked.body[..]);
            let token = token(&asked.headers)?;
            let caller = self.api.caller_of_token(token, parts, asked.operation.changes()).await?;
            let input = input(&asked)?;
            if asked.operation.stream {
                return self.stream(&caller, input, &asked.headers);
            }
            self.perform(asked.operation, &caller, input).await
        };
        let within = tokio::time::timeout(OPERATION, operating).await.unwrap_or_else(|_| {
            // A change may have been made: its history tells.
            let code = if asked.operation.changes() { ErrorCode::OutcomeUnknown } else { ErrorCode::Timeout };
            Err(Report::new(code, "not done in time").limit(format!("{} s", OPERATION.as_secs())))
        });
        within.unwrap_or_else(|report| problem(&report))
    }

    async fn perform(
        &self,
        operation: &Operation,
        caller: &Caller,
        input: Value,
    ) -> Result<Response<Body>, Report> {
        Ok(json_answer(&self.api.perform(operation, caller, input).await?))
    }

    fn stream(&self, caller: &Caller, input: Value, headers: &HeaderMap) -> Result<Response<Body>, Report> {
        if input.as_object().is_some_and(|input| !input.is_empty()) {
            return Err(usage("a stream takes no parameters"));
        }
        let last = match headers.get("last-event-id") {
            None => None,
            Some(text) => {
                let number = text.to_str().ok().and_then(|text| text.trim().parse::<u64>().ok());
                Some(number.ok_or_else(|| usage("Last-Event-ID is no id of this stream"))?)
            }
        };
        let place = std::sync::Arc::clone(&self.streams).try_acquire_owned().map_err(|_| {
            Report::new(ErrorCode::Overloaded, "too many streams at once").limit(super::MAX_STREAMS)
        })?;
        let body = super::stream::begin((&self.api, &self.scope), caller, last, place);
        Ok(answer(StatusCode::OK, "text/event-stream", body))
    }
}

/// An operation, and the members of its path.
type Route = (&'static Operation, Map<String, Value>);

/// The operation of a route.
fn find(method: &Method, path: &str) -> Result<Route, Box<Response<Body>>> {
    let not_found = || {
        let report = Report::new(ErrorCode::NotFound, "no such path")
            .got(path.chars().take(200).collect::<String>())
            .hint("see: GET /v1/openapi.json");
        Box::new(problem(&report))
    };
    let segments = path.strip_prefix('/').ok_or_else(not_found)?;
    let segments: Option<Vec<String>> = segments.split('/').map(decode).collect();
    let segments = segments.ok_or_else(|| {
        Box::new(problem(
            &usage("path is not percent-encoded UTF-8").got(path.chars().take(200).collect::<String>()),
        ))
    })?;
    let here: Vec<_> =
        OPERATIONS.iter().filter_map(|operation| Some((operation, operation.matches(&segments)?))).collect();
    if here.is_empty() {
        return Err(not_found());
    }
    let allowed: Vec<&str> = here.iter().map(|(operation, _)| operation.method).collect();
    let allowed = allowed.join(", ");
    let found = here.into_iter().find(|(operation, _)| operation.method == method.as_str());
    found.ok_or_else(|| {
        let report = usage("method not allowed").got(method).limit(&allowed);
        let mut response = problem_of(StatusCode::METHOD_NOT_ALLOWED, &report);
        if let Ok(value) = HeaderValue::from_str(&allowed) {
            response.headers_mut().insert(header::ALLOW, value);
        }
        Box::new(response)
    })
}

/// Percent-decodes one segment or value; `None` for what is not UTF-8, or holds a control character.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let value = digit(rest.next())? * 16 + digit(rest.next())?;
        bytes.push(u8::try_from(value).ok()?);
    }
    String::from_utf8(bytes).ok().filter(|text| !text.chars().any(char::is_control))
}

fn unauthenticated(what: &str) -> Report {
    Report::new(ErrorCode::Unauthenticated, what)
        .hint("sign each request: Authorization: Bearer $(trellis user token <method> <path>)")
}

/// The token of a request.
fn token(headers: &HeaderMap) -> Result<&str, Report> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => {
            let text = value.to_str().map_err(|_| unauthenticated("authorization is not text"))?;
            let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
            if scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() {
                return Ok(token.trim());
            }
            Err(unauthenticated("authorization is not a bearer token"))
        }
        (None, _) => Err(unauthenticated("no authorization")),
        (Some(_), Some(_)) => Err(unauthenticated("authorization given twice")),
    }
}

/// The whole body, within the limits of size and time.
async fn read(body: Incoming, headers: &HeaderMap) -> Result<Bytes, Report> {
    let too_large = |got: Option<&str>| {
        let report =
            Report::new(ErrorCode::TooLarge, "body over the limit").limit(format!("{MAX_BODY} bytes"));
        got.map_or_else(|| report.clone(), |got| report.clone().got(format!("{got} bytes")))
    };
    let said = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if said.and_then(|text| text.parse::<u64>().ok()).is_some_and(|said| said > MAX_BODY as u64) {
        return Err(too_large(said));
    }
    match tokio::time::timeout(BODY, Limited::new(body, MAX_BODY).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_large(None)),
        Ok(Err(error)) => Err(usage(format!("body did not come whole: {error}"))),
        Err(_) => Err(Report::new(ErrorCode::Timeout, "body did not come in time")
            .limit(format!("{} s", BODY.as_secs()))),
    }
}

fn check_type(operation: &Operation, headers: &HeaderMap, body: &Bytes) -> Result<(), Box<Response<Body>>> {
    if body.is_empty() {
        return Ok(());
    }
    let said = headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
    let media = said.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let allowed: &[&str] = match operation.body {
        Takes::None => {
            return Err(Box::new(problem(&usage(format!("{} takes no body", operation.name)))));
        }
        Takes::Json(_) => &["application/json"],
        Takes::Manifest { .. } => &MANIFESTS,
    };
    if allowed.contains(&media.as_str()) {
        return Ok(());
    }
    let report = usage("content type not taken")
        .got(if media.is_empty() { "none" } else { media.as_str() })
        .limit(allowed.join(", "));
    Err(Box::new(problem_of(StatusCode::UNSUPPORTED_MEDIA_TYPE, &report)))
}

/// Path, query and body as one object.
fn input(asked: &Asked) -> Result<Value, Report> {
    let mut input = asked.members.clone();
    let mut add = |name: String, value: Value| match input.insert(name.clone(), value) {
        None => Ok(()),
        Some(_) => Err(usage(format!("{name} given twice"))),
    };
    for pair in asked.query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let text = |part: &str| decode(&part.replace('+', " ")).ok_or_else(|| usage("query is not UTF-8"));
        let (name, value) = (text(name)?, text(value)?);
        let known = asked.operation.query.iter().find(|query| query.name == name);
        let known = known.ok_or_else(|| {
            let names: Vec<&str> = asked.operation.query.iter().map(|query| query.name).collect();
            usage(format!("unknown parameter {name:?}")).limit(if names.is_empty() {
                "none".to_owned()
            } else {
                names.join(", ")
            })
        })?;
        add(name, typed(known.kind, known.name, value)?)?;
    }
    match asked.operation.body {
        Takes::None => {}
        Takes::Manifest { optional: true } if asked.body.is_empty() => {}
        Takes::Manifest { .. } => {
            let text = std::str::from_utf8(&asked.body).map_err(|_| usage("manifest is not UTF-8"))?;
            add("manifest".to_owned(), text.into())?;
        }
        // All members of such a body may be left out, or their absence is said by name.
        Takes::Json(_) if asked.body.is_empty() => {}
        Takes::Json(_) => {
            let body = keys::read_object(&asked.body)
                .map_err(|error| usage(format!("body is not a JSON object: {error}")))?;
            for (name, value) in body {
                add(name, value)?;
            }
        }
    }
    Ok(input.into())
}

fn typed(kind: Kind, name: &str, value: String) -> Result<Value, Report> {
    let wrong = |expected: &str| usage(format!("parameter {name}")).got(&value).limit(expected);
    match kind {
        Kind::Text => Ok(value.into()),
        Kind::Number => value.parse::<u64>().map(Value::from).map_err(|_| wrong("a whole number")),
        Kind::Flag => match value.as_str() {
            "true" | "" => Ok(true.into()),
            "false" => Ok(false.into()),
            _ => Err(wrong("true or false")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_decoded_once_and_must_be_text() {
        assert_eq!(decode("a%2Fb%20c").as_deref(), Some("a/b c"));
        assert_eq!(decode("%252e").as_deref(), Some("%2e"));
        for bad in ["%", "%2", "%zz", "%ff", "%00", "a%0ab", "%+1"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_route_is_found_by_path_and_method() {
        let found = |method: Method, path: &str| match find(&method, path) {
            Ok((operation, _)) => operation.name.to_owned(),
            Err(response) => response.status().as_u16().to_string(),
        };
        assert_eq!(found(Method::GET, "/v1/apps"), "app.list");
        assert_eq!(found(Method::DELETE, "/v1/apps/shop"), "app.delete");
        assert_eq!(found(Method::PATCH, "/v1/apps/shop"), "405");
        for path in ["/", "/v1", "/v1/apps/", "//v1/apps", "/v1/apps/a/../b", "/v2/apps"] {
            assert_eq!(found(Method::GET, path), "404", "{path}");
        }
        assert_eq!(found(Method::GET, "/v1/apps/%ff"), "400");
    }
}
