//! Capabilities, and the times at which claims hold.

use super::*;
use crate::fixtures::{NOW, key};

fn claims(capabilities: &[&str]) -> Claims {
    Claims {
        issuer: key(KeyKind::Account, 1).public(),
        subject: key(KeyKind::Module, 2).public(),
        name: "actor".into(),
        version: "1.0.0".into(),
        revision: 1,
        capabilities: capabilities.iter().map(|c| (*c).to_owned()).collect(),
        digest: Digest::of(b""),
        issued_at: NOW,
        not_before: None,
        expires: None,
        jti: "id".into(),
        tags: BTreeSet::new(),
        alias: None,
    }
}

#[test]
fn capabilities_cover_interfaces_packages_and_contracts() {
    for (held, interface, may) in [
        ("wasi:keyvalue/store", "wasi:keyvalue/store@0.2.0-draft", true),
        ("wasi:keyvalue/store", "wasi:keyvalue/atomics@0.2.0-draft", false),
        ("wasi:keyvalue", "wasi:keyvalue/atomics", true),
        ("wasmcloud:keyvalue", "wasi:keyvalue/batch@0.2.0-draft", true),
        ("wasmcloud:keyvalue", "wasi:keyvalue-extra/batch", false),
        ("wasmcloud:httpserver", "wasi:http/incoming-handler@0.2.3", true),
        ("wasmcloud:httpserver", "wasi:http/outgoing-handler@0.2.3", false),
        ("wasmcloud:httpserver", "wasi:http/types@0.2.3", true),
        ("wasmcloud:httpclient", "wasi:http/outgoing-handler@0.2.3", true),
        ("wasmcloud:httpclient", "wasi:http/incoming-handler@0.2.3", false),
        ("wasmcloud:httpclient", "wasi:http/client@0.3.0", true),
        ("wasmcloud:keyvalue", "wasi:http/types@0.2.3", false),
        ("wasmcloud:messaging", "wasmcloud:messaging/consumer@0.2.0", true),
        ("wasmcloud:messaging/consumer", "wasmcloud:messaging/types@0.2.0", true),
        ("wasmcloud:messaging/consumer", "wasmcloud:messaging/handler@0.2.0", false),
        ("wasmcloud:blobstore", "wasi:blobstore/container@0.2.0-draft", true),
        ("example:pong/pingpong", "example:pong/pingpong", true),
        ("example:pong/pingpong", "example:pong/other", false),
    ] {
        assert_eq!(claims(&[held]).may_use(interface), may, "{held} → {interface}");
        assert!(!claims(&[]).may_use(interface));
    }
    assert_eq!(contract_of("wasi:config/runtime"), None);
    assert_eq!(contract_of("wasi:http/types"), None);
}

#[test]
fn capability_names_are_canonical() {
    for (given, canonical) in [
        ("wasi:http/outgoing-handler@0.2.3", Some("wasi:http/outgoing-handler")),
        ("wasi:keyvalue", Some("wasi:keyvalue")),
        ("wasmcloud:builtin:logging", Some("wasmcloud:builtin:logging")),
        ("", None),
        ("keyvalue", None),
        (":x", None),
        ("x:", None),
        ("a:b/", None),
        ("a:*", None),
        ("a:b\n", None),
    ] {
        assert_eq!(capability(given).ok().as_deref(), canonical, "{given:?}");
    }
    let error = claims(&["wasi:http/types@0.2.0"]).check().unwrap_err();
    assert!(error.to_string().contains("without a version"), "{error}");
}

#[test]
fn times_hold_from_and_until_with_skew() {
    let mut held = claims(&[]);
    held.not_before = Some(NOW + 1_000);
    held.expires = Some(NOW + 2_000);
    held.check().unwrap();
    for (now, ok) in [
        (NOW + 939, false),
        (NOW + 940, true),
        (NOW + 2_059, true),
        (NOW + 2_060, false),
        (i64::MIN, false),
        (i64::MAX, false),
    ] {
        assert_eq!(held.check_time(now, 60).is_ok(), ok, "{now}");
    }
    let late = held.check_time(NOW + 2_000 + 3 * 3_600, 60).unwrap_err();
    assert_eq!(late.to_string(), "expired 3 h ago (2026-01-01T00:33:20Z); sign it again");
    let early = held.check_time(NOW + 1_000 - 3 * 86_400, 60).unwrap_err();
    assert_eq!(early.to_string(), "valid from 2026-01-01T00:16:40Z; check this host's clock (offset 3 d)");
    // Issued ten years ahead, with no not-before.
    let mut ahead = claims(&[]);
    ahead.issued_at = NOW + 10 * 365 * 86_400;
    assert!(matches!(ahead.check_time(NOW, 60), Err(ClaimsError::NotYetValid { .. })));
}

#[test]
fn claims_that_make_no_sense_are_refused() {
    type Change = fn(&mut Claims);
    let cases: [(Change, &str); 10] = [
        (|c| c.issuer = key(KeyKind::Operator, 1).public(), "claim iss: nkey: wrong kind"),
        (|c| c.subject = key(KeyKind::Account, 1).public(), "claim sub: nkey: wrong kind"),
        (|c| c.name.clear(), "claim name: empty"),
        (|c| c.name = "a\u{1b}[2J".into(), "claim name: control characters"),
        (|c| c.version = "1".repeat(129), "claim version: got 129 bytes, limit 128"),
        (|c| c.revision = u64::MAX, "claim revision: more than 63 bits"),
        (|c| c.expires = Some(c.issued_at), "claim exp: not after iat"),
        (|c| c.issued_at = -1, "claim iat: not an integer second"),
        (|c| c.expires = Some(i64::MAX), "claim exp: not an integer second"),
        (|c| c.tags = (0..257).map(|n| n.to_string()).collect(), "claim tags: got 257 entries"),
    ];
    for (change, words) in cases {
        let mut wrong = claims(&[]);
        wrong.check().unwrap();
        change(&mut wrong);
        let text = wrong.check().unwrap_err().to_string();
        assert!(text.contains(words), "{text:?} lacks {words:?}");
    }
}
