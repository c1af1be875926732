//! What a request must be before it is routed: pure checks on its head.
//!
//! The parser has made sure that the head is well-formed; here it gets one meaning: one authority,
//! one path in normal form, a method that is served. What does not is refused with the status of
//! BAD_INPUT rows 96, 97, 99 and 100.

use crate::refusal::Refusal;
use http::header::{CONTENT_LENGTH, HOST, UPGRADE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method, Uri, Version, request};

/// Longest request target.
const MAX_TARGET_BYTES: usize = 8 << 10;
/// All header names and values together.
pub(crate) const MAX_HEADERS_BYTES: usize = 16 << 10;

/// How the connection was made.
#[derive(Debug, Clone)]
pub struct Origin {
    /// `http` or `https`.
    pub scheme: Scheme,
    /// Stands in for the authority that HTTP/1.0 may leave out.
    pub local: Authority,
}

/// Checks a head and gives its URI scheme, authority and path in normal form.
///
/// # Errors
/// The [`Refusal`] to answer with.
pub fn admit(parts: &mut request::Parts, origin: &Origin) -> Result<(), Refusal> {
    method(parts)?;
    sizes(parts)?;
    let authority = authority(parts, origin)?;
    let path = match parts.uri.path_and_query() {
        Some(path) => normal_path(path)?,
        // Absolute form without a path means the root (RFC 9112 §3.2.2).
        None => PathAndQuery::from_static("/"),
    };
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(origin.scheme.clone());
    uri.authority = Some(authority);
    uri.path_and_query = Some(path);
    parts.uri = Uri::from_parts(uri).map_err(|_| Refusal::TARGET)?;
    Ok(())
}

fn method(parts: &mut request::Parts) -> Result<(), Refusal> {
    if parts.method == Method::TRACE || parts.method == Method::CONNECT {
        return Err(Refusal::METHOD);
    }
    match parts.headers.get(UPGRADE) {
        None => Ok(()),
        // Clients that would like HTTP/2 ask so on plain text and take no for an answer.
        Some(value) if value.as_bytes().eq_ignore_ascii_case(b"h2c") => {
            parts.headers.remove(UPGRADE);
            Ok(())
        }
        Some(_) => Err(Refusal::UPGRADE),
    }
}

fn sizes(parts: &request::Parts) -> Result<(), Refusal> {
    let target = parts.uri.path_and_query().map_or(0, |path| path.as_str().len());
    if target > MAX_TARGET_BYTES {
        return Err(Refusal::TARGET_TOO_LONG);
    }
    let bytes: usize = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if bytes > MAX_HEADERS_BYTES {
        return Err(Refusal::HEADERS_TOO_LARGE);
    }
    Ok(())
}

/// The one authority of the request: from `Host`, from the target, or both and then equal.
fn authority(parts: &request::Parts, origin: &Origin) -> Result<Authority, Refusal> {
    let target = parts.uri.authority();
    if target.is_some() && parts.uri.scheme().is_none() {
        // A word without a slash; only CONNECT may send that.
        return Err(Refusal::TARGET);
    }
    if parts.uri.scheme().is_some_and(|scheme| *scheme != origin.scheme) {
        return Err(Refusal::SCHEME);
    }
    let host = single(&parts.headers)?;
    match (host, target) {
        (Some(host), Some(target)) => {
            let host = parse_authority(host)?;
            if !host.as_str().eq_ignore_ascii_case(target.as_str()) {
                return Err(Refusal::HOST_DIFFERS);
            }
            Ok(host)
        }
        (Some(host), None) => parse_authority(host),
        (None, Some(target)) if parts.version == Version::HTTP_2 => {
            parse_authority(target.as_str().as_bytes())
        }
        (None, None) if parts.version == Version::HTTP_10 => Ok(origin.local.clone()),
        (None, _) => Err(Refusal::HOST_MISSING),
    }
}

fn single(headers: &HeaderMap) -> Result<Option<&[u8]>, Refusal> {
    let mut values = headers.get_all(HOST).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(Refusal::HOST_TWICE);
    }
    Ok(first.map(http::HeaderValue::as_bytes))
}

/// `name`, `name:port`, `[v6]` or `[v6]:port`; no user information, no port over 65535.
fn parse_authority(bytes: &[u8]) -> Result<Authority, Refusal> {
    let (host, port) = match bytes.iter().rposition(|byte| *byte == b':') {
        Some(colon) if !bytes.ends_with(b"]") => {
            (bytes.get(..colon).unwrap_or_default(), bytes.get(colon + 1..))
        }
        _ => (bytes, None),
    };
    let named = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    let good_host = match host.strip_prefix(b"[").and_then(|inner| inner.strip_suffix(b"]")) {
        Some(inner) => {
            std::str::from_utf8(inner).is_ok_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok())
        }
        None => !host.is_empty() && host.len() <= 255 && host.iter().all(named),
    };
    let good_port = port.is_none_or(|port| {
        port.iter().all(u8::is_ascii_digit)
            && std::str::from_utf8(port).is_ok_and(|text| text.parse::<u16>().is_ok())
    });
    if !good_host || !good_port {
        return Err(Refusal::HOST_INVALID);
    }
    Authority::try_from(bytes).map_err(|_| Refusal::HOST_INVALID)
}

/// The path in normal form: absolute, without empty or dot segments, one decoding of each escape
/// in mind. Escapes stay as written: the actor decodes, once.
fn normal_path(path: &PathAndQuery) -> Result<PathAndQuery, Refusal> {
    let text = path.path();
    if !text.starts_with('/') {
        // `*` (OPTIONS) belongs to the server as a whole; no route owns it.
        return Err(Refusal::TARGET);
    }
    let suspicious = memchr::memchr3(b'%', b'\\', 0x7f, text.as_bytes()).is_some()
        || text.bytes().zip(text.bytes().skip(1)).any(|pair| matches!(pair, (b'/', b'/' | b'.')))
        || !text.is_ascii();
    if !suspicious {
        return Ok(path.clone());
    }
    text.split('/').try_for_each(segment)?;
    if !text.contains("//") {
        return Ok(path.clone());
    }
    let mut normal = String::with_capacity(path.as_str().len());
    for part in text.split('/').filter(|part| !part.is_empty()) {
        normal.push('/');
        normal.push_str(part);
    }
    if text.ends_with('/') {
        normal.push('/');
    }
    if let Some(query) = path.query() {
        normal.push('?');
        normal.push_str(query);
    }
    PathAndQuery::try_from(normal).map_err(|_| Refusal::TARGET)
}

/// No segment may be, or be read after decoding as, `.` or `..`, or hold a control character.
fn segment(text: &str) -> Result<(), Refusal> {
    let decoded = decode(text.as_bytes()).ok_or(Refusal::TARGET)?;
    let control = |byte: &u8| byte.is_ascii_control();
    let dots = |part: &[u8]| part == b"." || part == b"..";
    if decoded.iter().any(control) || decoded.split(|byte| matches!(byte, b'/' | b'\\')).any(dots) {
        return Err(Refusal::TARGET);
    }
    Ok(())
}

/// Percent-decodes once; none when an escape is broken.
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = text.iter().copied();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => digit(bytes.next())? << 4 | digit(bytes.next())?,
            other => other,
        });
    }
    Some(decoded)
}

/// The declared length of the body, if any; the parser has made sure that it is a number.
pub(crate) fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin() -> Origin {
        Origin { scheme: Scheme::HTTP, local: Authority::from_static("127.0.0.1:80") }
    }

    fn admitted(target: &str, hosts: &[&str]) -> Result<String, u16> {
        let mut request = http::Request::builder().uri(target);
        for host in hosts {
            request = request.header("host", *host);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        admit(&mut parts, &origin()).map_err(|refusal| refusal.status.as_u16())?;
        Ok(parts.uri.to_string())
    }

    #[test]
    fn a_path_has_one_normal_form_or_none() {
        let rows: &[(&str, Result<&str, u16>)] = &[
            ("/", Ok("/")),
            ("/a/b/", Ok("/a/b/")),
            ("/a//b///c?x=//", Ok("/a/b/c?x=//")),
            ("//", Ok("/")),
            ("/a;b/c", Ok("/a;b/c")),
            ("/a%20b", Ok("/a%20b")),
            ("/a%2fb", Ok("/a%2fb")),
            ("/%252e%252e/x", Ok("/%252e%252e/x")),
            ("/.well-known/x", Ok("/.well-known/x")),
            ("/a..b/...", Ok("/a..b/...")),
            ("/..", Err(400)),
            ("/a/../b", Err(400)),
            ("/a/./b", Err(400)),
            ("/%2e%2e/x", Err(400)),
            ("/.%2E/x", Err(400)),
            ("/a%2f..%2fb", Err(400)),
            ("/a\\..\\b", Err(400)),
            ("/a%5c..%5cb", Err(400)),
            ("/%00", Err(400)),
            ("/a%0d%0ab", Err(400)),
            ("/a%7f", Err(400)),
            ("/%", Err(400)),
            ("/%g0", Err(400)),
            ("*", Err(400)),
        ];
        for (path, expected) in rows {
            let expected = expected.map(|path| format!("http://a{path}"));
            assert_eq!(admitted(path, &["a"]), expected, "{path}");
        }
    }

    #[test]
    fn there_is_one_authority_or_none() {
        let rows: &[(&str, &[&str], Result<&str, u16>)] = &[
            ("/", &["Shop.Example:8080"], Ok("http://Shop.Example:8080/")),
            ("/", &["[::1]:80"], Ok("http://[::1]:80/")),
            ("/", &["[::1]"], Ok("http://[::1]/")),
            ("http://a/x", &["A"], Ok("http://A/x")),
            ("http://a", &["a"], Ok("http://a/")),
            ("http://a/", &["b"], Err(400)),
            ("https://a/", &["a"], Err(400)),
            ("http://u@a/", &["a"], Err(400)),
            ("http://a/", &[], Err(400)),
            ("/", &[], Err(400)),
            ("/", &["a", "a"], Err(400)),
            ("/", &[""], Err(400)),
            ("/", &["u@a"], Err(400)),
            ("/", &["a:99999"], Err(400)),
            ("/", &["a:"], Err(400)),
            ("/", &["a:+1"], Err(400)),
            ("/", &["a/b"], Err(400)),
            ("/", &["a b"], Err(400)),
            ("/", &["a,b"], Err(400)),
            ("/", &["::1"], Err(400)),
            ("/", &["[::1"], Err(400)),
        ];
        for (target, hosts, expected) in rows {
            assert_eq!(admitted(target, hosts), expected.map(str::to_owned), "{target} {hosts:?}");
        }
    }

    #[test]
    fn http_1_0_may_leave_the_host_out() {
        let request = http::Request::builder().version(Version::HTTP_10).uri("/x").body(()).unwrap();
        let (mut parts, ()) = request.into_parts();
        assert!(admit(&mut parts, &origin()).is_ok());
        assert_eq!(parts.uri, "http://127.0.0.1:80/x");
    }

    #[test]
    fn methods_that_tunnel_or_echo_and_other_protocols_are_refused_but_h2c_is_ignored() {
        let status = |method: &str, upgrade: Option<&str>| {
            let mut request = http::Request::builder().method(method).uri("/").header("host", "a");
            if let Some(upgrade) = upgrade {
                request = request.header("upgrade", upgrade);
            }
            let (mut parts, ()) = request.body(()).unwrap().into_parts();
            admit(&mut parts, &origin()).map_or_else(|refusal| refusal.status.as_u16(), |()| 200)
        };
        assert_eq!(status("TRACE", None), 405);
        assert_eq!(status("CONNECT", None), 405);
        assert_eq!(status("GET", Some("websocket")), 501);
        assert_eq!(status("GET", Some("h2c")), 200);
        assert_eq!(status("PROPFIND", None), 200);
    }
}
