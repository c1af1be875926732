//! The parts of HTTP that need no host.

use super::url::{self, Url};
use super::*;

#[test]
fn a_request_is_taken_apart() {
    let request = Request::new("get", "/devices/a%20b//x%2Fy?full=1&name=J%C3%BCrg+K&full=2&bare");
    assert_eq!(request.method(), "GET");
    assert_eq!(request.path(), "/devices/a%20b//x%2Fy");
    assert_eq!(request.segments(), ["devices", "a b", "x/y"]);
    assert_eq!(request.query("full").as_deref(), Some("1"));
    assert_eq!(request.query("name").as_deref(), Some("Jürg K"));
    assert_eq!(request.query("bare").as_deref(), Some(""));
    assert_eq!(request.query("absent"), None);
}

#[test]
fn what_is_no_escape_stays() {
    for (written, read) in [("%", "%"), ("%4", "%4"), ("%zz", "%zz"), ("%%41", "%A"), ("%ff", "\u{fffd}")] {
        assert_eq!(url::percent_decode(written), read, "{written}");
    }
}

#[test]
fn headers_have_no_case_and_one_value_after_set() {
    let request = Request::new("GET", "/").with_header("X-Node", "a").with_header("x-node", "b");
    assert_eq!(request.headers().get("X-NODE"), Some("b"));
    assert_eq!(request.headers().iter().count(), 1);
    let mut headers = Headers::default();
    headers.append("via", "1");
    headers.append("Via", "2");
    headers.append("bin", vec![0xff]);
    assert_eq!(headers.get("via"), Some("1"));
    assert_eq!(headers.get("bin"), None);
    assert_eq!(headers.iter().count(), 3);
}

#[test]
fn a_body_over_the_limit_is_413_and_a_wrong_one_is_400() {
    let request = Request::new("POST", "/").with_body("[1, 2]");
    assert_eq!(request.bytes_up_to(6).unwrap(), b"[1, 2]");
    assert_eq!(request.bytes_up_to(5).unwrap_err().status(), 413);
    assert_eq!(request.json::<Vec<u8>>().unwrap(), [1, 2]);
    let error = request.json::<String>().unwrap_err();
    assert_eq!(error.status(), 400);
    assert!(error.message().starts_with("body: invalid type"), "{error}");
}

#[test]
fn whatever_a_handler_returns_becomes_an_answer() {
    assert_eq!("hi".into_response(), Response::text("hi"));
    let refused: Result<Response, Error> = Err(Error::not_found("device x: unknown"));
    let response = refused.into_response();
    assert_eq!(response.status(), 404);
    assert_eq!(response.bytes(), b"device x: unknown\n");
    let json = Response::json(&[1, 2]).unwrap().with_status(201);
    assert_eq!(json.headers().get("content-type"), Some("application/json"));
    assert_eq!((json.status(), json.read_json::<Vec<u8>>().unwrap()), (201, vec![1, 2]));
}

#[test]
fn urls_are_split_or_refused() {
    let parsed = |secure, authority, target: &str| Ok(Url { secure, authority, target: target.to_owned() });
    assert_eq!(url::parse("http://a"), parsed(false, "a", "/"));
    assert_eq!(url::parse("HTTPS://a:8443/x/y?z=1#f"), parsed(true, "a:8443", "/x/y?z=1"));
    assert_eq!(url::parse("http://[::1]:80?q"), parsed(false, "[::1]:80", "/?q"));
    for wrong in ["", "a", "/x", "ftp://a", "http://", "http:///x", "http://me:pw@a/"] {
        assert!(url::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn headers_of_the_connection_are_not_handed_on() {
    let entries = ["Connection", "x-kept", "transfer-encoding", "Upgrade"];
    let entries = entries.map(|name| (name.to_owned(), b"1".to_vec())).to_vec();
    let kept = super::outgoing::end_to_end(entries);
    assert_eq!(kept.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["x-kept"]);
}
