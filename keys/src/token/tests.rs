//! Rows 26–31 and 35–41 of BAD_INPUT.md at the level of the token, and fuzzing.

use super::*;
use crate::fixtures::{NOW, issuer, key, request};
use crate::sign_detached;
use crate::{ClaimsError, KeyKind};
use proptest::prelude::*;

fn token() -> String {
    sign_detached(&crate::fixtures::component(), &request(), &issuer(), NOW).unwrap()
}

fn claims_json() -> String {
    let token = token();
    let payload = token.split('.').nth(1).unwrap();
    String::from_utf8(URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

/// A token over these very texts, properly signed by the trusted issuer.
fn signed(header: &str, claims: &str) -> String {
    let header = URL_SAFE_NO_PAD.encode(header);
    let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(issuer().sign(message.as_bytes()));
    format!("{message}.{signature}")
}

fn refusal(token: &str) -> String {
    parse(token).map(|t| t.claims).unwrap_err().to_string()
}

#[test]
fn what_was_signed_is_read_back() {
    let token = token();
    let read = parse(&token).unwrap();
    read.check_signature().unwrap();
    assert_eq!(read.claims.name, "edge-processor");
    assert_eq!(read.claims.jti.len(), 32);
    assert_eq!(sign(&read.claims, &issuer()).unwrap(), token, "signing is deterministic");
    parse(&signed(HEADER_JSON, &claims_json())).unwrap();
    parse(&signed(r#" {"alg":"EdDSA", "typ":"JWT"}"#, &claims_json())).unwrap();
}

#[test]
fn everything_optional_survives() {
    let mut full = request();
    full.not_before = Some(NOW + 5);
    full.tags = ["a", "b"].map(String::from).into();
    full.alias = Some("edge".to_owned());
    full.revision = i64::MAX as u64;
    let token = sign_detached(&crate::fixtures::component(), &full, &issuer(), NOW).unwrap();
    let claims = parse(&token).unwrap().claims;
    assert_eq!(claims.not_before, full.not_before);
    assert_eq!(claims.tags, full.tags);
    assert_eq!(claims.alias, full.alias);
    assert_eq!(claims.revision, full.revision);
}

#[test]
fn only_the_issuers_own_key_signs() {
    let token = token();
    let claims = parse(&token).unwrap().claims;
    let error = sign(&claims, &key(KeyKind::Account, 9)).unwrap_err();
    assert!(matches!(error, ClaimsError::Signature { .. }));
}

#[test]
fn one_algorithm_and_no_other_header() {
    for (header, words) in [
        (r#"{"typ":"JWT","alg":"none"}"#, r#"algorithm "none" not allowed"#),
        (r#"{"typ":"JWT","alg":"HS256"}"#, r#"algorithm "HS256" not allowed"#),
        (r#"{"typ":"JWT","alg":"RS256"}"#, r#"algorithm "RS256" not allowed"#),
        (r#"{"typ":"JWT","alg":"Ed25519"}"#, r#"algorithm "Ed25519" not allowed"#),
        (r#"{"typ":"JWT","alg":"eddsa"}"#, r#"algorithm "eddsa" not allowed"#),
        (r#"{"typ":"JWT","alg":"EdDSA "}"#, r#"algorithm "EdDSA " not allowed"#),
        (r#"{"typ":"JWT","alg":"ed25519 "}"#, r#"algorithm "ed25519 " not allowed"#),
        (r#"{"typ":"JWT","alg":"ed25519-nkey"}"#, r#"algorithm "ed25519-nkey" not allowed"#),
        (r#"{"typ":"JWT"}"#, r#"algorithm "" not allowed"#),
        (r#"{"typ":"JWT","alg":null}"#, r#"algorithm "" not allowed"#),
        (r#"{"typ":"JWT","alg":"EdDSA","alg":"none"}"#, r#"algorithm "given twice" not allowed"#),
        (r#"{"alg":"EdDSA"}"#, "header typ"),
        (r#"{"typ":"jwt","alg":"EdDSA"}"#, "header typ"),
        (r#"{"typ":"JWT","typ":"JWT","alg":"EdDSA"}"#, r#"key "typ" given twice"#),
        (r#"{"typ":"JWT","alg":"EdDSA","kid":"../../key"}"#, r#"header field "kid" not allowed"#),
        (r#"{"typ":"JWT","alg":"EdDSA","jku":"http://x"}"#, r#"header field "jku" not allowed"#),
        (r#"{"typ":"JWT","alg":"EdDSA","jwk":{"kty":"OKP"}}"#, r#"header field "jwk" not allowed"#),
        ("[]", "token header: not a JSON object"),
        ("", "token header: not a JSON object"),
    ] {
        let text = refusal(&signed(header, &claims_json()));
        assert!(text.contains(words), "{header}: {text:?} lacks {words:?}");
    }
}

#[test]
fn times_are_whole_seconds() {
    let exp = format!("\"exp\":{}", NOW + 86_400);
    for bad in [
        "1e308",
        "-1",
        "1.5",
        "1.0",
        "\"1767225600\"",
        "18446744073709551616",
        "9223372036854775807",
        "null",
        "[]",
    ] {
        let json = claims_json().replace(&exp, &format!("\"exp\":{bad}"));
        assert_ne!(json, claims_json());
        let text = refusal(&signed(HEADER_JSON, &json));
        assert!(text.starts_with("claim exp: not an integer second"), "{bad}: {text}");
    }
}

#[test]
fn members_are_known_unique_and_of_their_type() {
    let json = claims_json();
    let subject = parse(&token()).unwrap().claims.subject.to_string();
    let account = issuer().public().to_string();
    let replaced = |from: &str, to: &str| {
        let changed = json.replacen(from, to, 1);
        assert_ne!(changed, json, "{from} is not in {json}");
        changed
    };
    let cases = [
        (replaced("{", r#"{"name":"x","#), r#"token claims: key "name" given twice"#),
        (replaced("{", r#"{"adm":{"a":1,"a":2},"#), r#"token claims: key "a" given twice"#),
        (replaced("{", r#"{"admin":true,"#), r#"claim "admin": unknown"#),
        (replaced("\"name\":\"edge-processor\",", ""), "claim name: missing"),
        (replaced("\"edge-processor\"", "7"), "claim name: not a string"),
        (replaced("\"revision\":1", "\"revision\":-1"), "claim revision: negative"),
        (replaced("\"revision\":1", "\"revision\":1.5"), "claim revision: not a 63-bit integer"),
        (replaced("[\"wasi:keyvalue/store\"]", "\"all\""), "claim capabilities: not a list"),
        (replaced("[\"wasi:keyvalue/store\"]", "[1]"), "claim capabilities: not a list of strings"),
        (
            replaced("[\"wasi:keyvalue/store\"]", "[\"a:b\",\"a:b\"]"),
            "claim capabilities: \"a:b\" given twice",
        ),
        (replaced("sha256:", "sha512:"), "claim digest: digest: expected sha256:"),
        (replaced(&subject, &account), "claim sub: nkey: wrong kind (got account key"),
        (replaced(&subject, &subject.to_lowercase()), "claim sub: nkey: lower case"),
        (replaced(&subject, &subject.replace(&subject[20..24], "AAAA")), "claim sub: nkey: checksum"),
        (replaced(&account, &key(KeyKind::Operator, 1).public().to_string()), "claim iss: nkey: wrong kind"),
        ("{}".to_owned(), "claim iss: missing"),
        (format!("{json}x"), "token claims: not a JSON object"),
    ];
    for (json, words) in cases {
        let text = refusal(&signed(HEADER_JSON, &json));
        assert!(text.contains(words), "{text:?} lacks {words:?}");
    }
}

#[test]
fn segments_and_base64_are_exact() {
    let good = token();
    let segments: Vec<&str> = good.split('.').collect();
    let [h, c, s] = segments[..] else { panic!() };
    let last = s.chars().next_back().unwrap();
    // 64 bytes leave four unused bits in the last character; each other value is non-canonical.
    let dirty = char::from(last as u8 + 1);
    let short = &s[..s.len() - 4];
    for (token, words) in [
        (format!("{h}.{c}"), "got 2 segments, expected 3"),
        (format!("{good}.{s}"), "got 4 segments, expected 3"),
        (String::new(), "got 1 segments, expected 3"),
        ("..".to_owned(), "token header: not a JSON object"),
        (format!("{h}=.{c}.{s}"), "token header: not canonical base64url"),
        (format!("{h}.{c}.{s}=="), "token signature: not canonical base64url"),
        (format!("{h}.{c}.{s}\n"), "token signature: not canonical base64url"),
        (format!(" {h}.{c}.{s}"), "token header: not canonical base64url"),
        (format!("{h}.{c}.+{}", &s[1..]), "token signature: not canonical base64url"),
        (format!("{h}.{c}.{}{dirty}", &s[..s.len() - 1]), "token signature: not canonical base64url"),
        (format!("{h}.{c}.{short}"), "token signature: not canonical base64url"),
        (format!("{h}.{c}."), "token signature: not canonical base64url"),
        ("x".repeat(1 << 20), "token too long: got 1048576, limit 16384 bytes"),
    ] {
        let text = refusal(&token);
        assert!(text.contains(words), "{text:?} lacks {words:?}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "[A-Za-z0-9_.=-]{0,200}|\\PC{0,60}") {
        prop_assert!(parse(&text).is_err());
    }

    #[test]
    fn no_signed_json_makes_the_reader_panic(header in "\\PC{0,40}", claims in "\\PC{0,80}") {
        prop_assert!(parse(&signed(&header, &claims)).is_err());
        let _ = parse(&signed(HEADER_JSON, &claims));
    }
}
