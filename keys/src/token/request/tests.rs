//! What a request's token must say, and every way in which it is refused.

use super::*;
use crate::fixtures::{NOW, key};
use proptest::prelude::*;

const NONCE: &str = "0123456789abcdef";

fn user() -> KeyPair {
    key(KeyKind::User, 7)
}

fn put() -> RequestParts<'static> {
    RequestParts { lattice: "prod", method: "PUT", target: "/v1/apps/shop?x=1", body: b"{}" }
}

fn token() -> String {
    sign_request(&user(), &put(), (NOW, NOW + 30), NONCE).unwrap()
}

fn verdict(parts: &RequestParts<'_>, now: i64) -> String {
    match RequestToken::parse(&token()).unwrap().verify(parts, now) {
        Ok(claims) => claims.nonce.clone(),
        Err(error) => error.to_string(),
    }
}

/// A token of these very texts, properly signed.
fn signed(header: &str, claims: &str) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(user().sign(message.as_bytes())))
}

fn claims_json() -> String {
    let token = token();
    String::from_utf8(URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

#[test]
fn it_is_good_for_this_request_while_it_lives() {
    assert_eq!(RequestToken::parse(&token()).unwrap().user(), user().public());
    for now in [NOW - MAX_SKEW_S, NOW, NOW + 29] {
        assert_eq!(verdict(&put(), now), NONCE);
    }
}

#[test]
fn another_request_another_time_and_another_lattice_are_refused_by_name() {
    assert!(verdict(&put(), NOW + 30).starts_with("token expired 0 s ago"));
    assert!(verdict(&put(), NOW - MAX_SKEW_S - 1).starts_with("token is from the future (31 s)"));
    for (parts, word) in [
        (RequestParts { lattice: "test", ..put() }, "lattice"),
        (RequestParts { method: "DELETE", ..put() }, "method"),
        (RequestParts { target: "/v1/apps/shop?x=2", ..put() }, "target"),
        (RequestParts { target: "/v1/apps/shop", ..put() }, "target"),
        (RequestParts { body: b"{ }", ..put() }, "body"),
    ] {
        let refused = verdict(&parts, NOW);
        assert!(refused.starts_with(&format!("token is for another request: {word} (signed ")), "{refused}");
    }
}

#[test]
fn only_a_user_signs_and_only_for_a_minute() {
    let refusal =
        |key: &KeyPair, times, nonce: &str| sign_request(key, &put(), times, nonce).unwrap_err().to_string();
    let times = (NOW, NOW + 30);
    assert!(refusal(&key(KeyKind::Account, 1), times, NONCE).starts_with("claim iss: nkey: wrong kind"));
    assert!(refusal(&user(), (NOW, NOW + 61), NONCE).starts_with("token lives 61 s (limit 60)"));
    assert!(refusal(&user(), (NOW, NOW), NONCE).starts_with("token lives 0 s"));
    for bad in ["short", "0123456789abcde ", &"x".repeat(65)] {
        assert!(refusal(&user(), times, bad).starts_with("claim jti: expected 16 to 64"), "{bad}");
    }
}

#[test]
fn the_form_is_the_strict_one() {
    let refusal = |text: &str| RequestToken::parse(text).map(|_| ()).unwrap_err().to_string();
    let claims = claims_json();
    RequestToken::parse(&signed(HEADER_JSON, &claims)).unwrap();
    for (text, words) in [
        (signed(r#"{"typ":"JWT","alg":"EdDSA"}"#, &claims), "header typ: expected \"trellis-request\""),
        (signed(r#"{"typ":"trellis-request","alg":"none"}"#, &claims), "algorithm \"none\" not allowed"),
        (signed(r#"{"typ":"trellis-request","alg":"EdDSA","kid":"x"}"#, &claims), "header field \"kid\""),
        (signed(HEADER_JSON, &claims.replace("\"aud\"", "\"scope\"")), "claim aud: missing"),
        (
            signed(HEADER_JSON, &claims.replace("{\"aud\"", "{\"role\":\"admin\",\"aud\"")),
            "claim \"role\": unknown",
        ),
        (
            signed(HEADER_JSON, &claims.replace("{\"aud\"", "{\"aud\":\"x\",\"aud\"")),
            "token claims: key \"aud\" given twice",
        ),
        (
            signed(HEADER_JSON, &claims.replace("\"exp\":", "\"exp\":1e9,\"x\":")),
            "claim exp: not an integer second",
        ),
        ("a.b".to_owned(), "token: got 2 segments"),
        ("x".repeat(MAX_REQUEST_TOKEN_BYTES + 1), "token too long"),
        (format!("{}=", token()), "token signature: not canonical base64url"),
    ] {
        let got = refusal(&text);
        assert!(got.starts_with(words), "{got} / {words}");
    }
}

#[test]
fn a_changed_token_does_not_verify() {
    let swapped = signed(
        HEADER_JSON,
        &claims_json().replace(user().public().as_str(), key(KeyKind::User, 8).public().as_str()),
    );
    let refused = RequestToken::parse(&swapped).unwrap().verify(&put(), NOW).unwrap_err();
    assert!(matches!(refused, RequestError::Form(ClaimsError::Signature { .. })), "{refused}");
}

proptest! {
    #[test]
    fn no_text_panics_and_no_flipped_byte_passes(at in 0usize..400, bit in 0u8..7, noise in ".{0,80}") {
        let _ = RequestToken::parse(&noise).map(drop);
        let mut bytes = token().into_bytes();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        if let Ok(text) = std::str::from_utf8(&bytes)
            && let Ok(parsed) = RequestToken::parse(text)
        {
            prop_assert!(parsed.verify(&put(), NOW).is_err());
        }
    }
}
