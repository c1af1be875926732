//! Grants, case by case.

use super::*;
use lattice_protocol::{CallPolicy, Grants, LinkName};
use std::collections::BTreeMap;

fn link(config: &[(&str, &str)], grants: Grants) -> LinkDefinition {
    LinkDefinition {
        source: "shop/cart".parse().unwrap(),
        name: LinkName::default_name(),
        interface: "wasi:keyvalue".parse().unwrap(),
        target: lattice_protocol::LinkTarget::Provider("shop/kv".parse().unwrap()),
        config: config
            .iter()
            .map(|(key, value)| ((*key).into(), (*value).into()))
            .collect::<BTreeMap<_, _>>(),
        policy: CallPolicy::default(),
        grants,
    }
}

fn list(items: &[&str]) -> Vec<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

#[test]
fn the_links_bucket_answers_to_default_and_others_must_be_granted() {
    let own = link(&[("bucket", "edge-data")], Grants::default());
    for asked in ["", "default", "edge-data"] {
        assert_eq!(bucket(&own, asked).unwrap(), "edge-data");
    }
    assert_eq!(bucket(&own, "other").unwrap_err().what, "capability denied: bucket other");

    let listed = link(&[], Grants { buckets: list(&["a", "b"]), ..Grants::default() });
    assert_eq!(bucket(&listed, "").unwrap(), "a");
    assert_eq!(bucket(&listed, "b").unwrap(), "b");
    assert_eq!(bucket(&listed, "c").unwrap_err().code, ErrorCode::CapabilityDenied);
    assert_eq!(bucket(&listed, "default").unwrap_err().code, ErrorCode::CapabilityDenied);

    let free = link(&[], Grants::default());
    assert_eq!(bucket(&free, "").unwrap(), "default");
    assert_eq!(bucket(&free, "mine").unwrap(), "mine");
    for bad in ["a\nb", &"x".repeat(201)] {
        assert_eq!(bucket(&free, bad).unwrap_err().code, ErrorCode::Name);
    }
}

#[test]
fn keys_stay_within_their_prefix() {
    let narrow = link(&[], Grants { key_prefixes: list(&["users/", "carts/"]), ..Grants::default() });
    for good in ["users/1", "carts/x", "users/a..b"] {
        assert!(key(&narrow, good).is_ok(), "{good}");
    }
    for bad in ["admin/1", "users", "users/../admin", "users/./x", "/users/1", "../users/1"] {
        assert_eq!(key(&narrow, bad).unwrap_err().code, ErrorCode::CapabilityDenied, "{bad}");
    }
    let free = link(&[], Grants::default());
    for bad in ["", "a\0b", &"k".repeat(1_025)] {
        assert_eq!(key(&free, bad).unwrap_err().code, ErrorCode::Name, "{bad:?}");
    }
}

#[test]
fn reserved_subjects_are_refused_whatever_is_granted() {
    let wide = link(&[], Grants { publish: list(&[">"]), ..Grants::default() });
    for bad in ["$SYS.a", "$JS.API.STREAM.DELETE.x", "_INBOX.x", "trellis.a.rpc.b.c", "a.*", "a.>", "a..b"] {
        assert!(publish(&wide, bad).is_err(), "{bad}");
    }
    assert!(publish(&wide, "edge.alert.x").is_ok());
    let narrow = link(&[], Grants { publish: list(&["edge.alert.*"]), ..Grants::default() });
    assert!(publish(&narrow, "edge.alert.x").is_ok());
    assert_eq!(publish(&narrow, "edge.other").unwrap_err().what, "capability denied: publish edge.other");
}

#[test]
fn an_inbox_may_be_answered_and_no_other_reserved_subject() {
    let narrow = link(&[], Grants { publish: list(&["edge.>"]), ..Grants::default() });
    for good in ["_INBOX.abc.1", "_INBOX_host1.abc", "edge.replies"] {
        assert!(reply(&narrow, good).is_ok(), "{good}");
    }
    for bad in
        ["$JS.API.STREAM.DELETE.x", "trellis.a.rpc.b.c", "other.replies", "_INBOX", "_INBOX.*", "_INBOX.>"]
    {
        assert!(reply(&narrow, bad).is_err(), "{bad}");
    }
}

#[test]
fn hosts_must_be_named_and_methods_may_be() {
    let may = |hosts: &[&str], methods: &[&str], method: &str, uri: &str| {
        let grants = Grants { hosts: list(hosts), methods: list(methods), ..Grants::default() };
        request(&link(&[], grants), method, &uri.parse().unwrap()).is_ok()
    };
    assert!(!may(&[], &[], "GET", "https://a.test/"), "no host named, none allowed");
    for (granted, uri, yes) in [
        ("api.test", "https://api.test/x", true),
        ("API.test", "https://api.TEST/x", true),
        ("api.test:8443", "https://api.test:8443/", true),
        ("api.test:8443", "https://api.test/", false),
        ("api.test:443", "https://api.test/", true),
        ("*.api.test", "https://a.api.test/", true),
        ("*.api.test", "https://api.test/", false),
        ("*.api.test", "https://evilapi.test/", false),
        ("private", "https://private/", false),
        ("[::1]:8080", "http://[::1]:8080/", true),
        ("api.test", "https://user@other.test/", false),
    ] {
        assert_eq!(may(&[granted], &[], "GET", uri), yes, "{granted} {uri}");
    }
    assert!(may(&["a.test"], &["get"], "GET", "https://a.test/"));
    assert!(!may(&["a.test"], &["GET"], "POST", "https://a.test/"));
}

#[test]
fn read_only_means_no_change() {
    assert!(write(&link(&[], Grants::default())).is_ok());
    let frozen = link(&[], Grants { read_only: true, ..Grants::default() });
    assert_eq!(write(&frozen).unwrap_err().what, "capability denied: the link is read-only");
}
