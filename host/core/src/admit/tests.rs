//! What claims and memory let start.

use super::*;
use crate::fixtures::{actor, link};
use keys::{Digest, KeyKind, KeyPair};

fn claims(capabilities: &[&str]) -> Claims {
    Claims {
        issuer: KeyPair::from_entropy(KeyKind::Account, [1; 32]).public(),
        subject: KeyPair::from_entropy(KeyKind::Module, [2; 32]).public(),
        name: "web".into(),
        version: "1.0.0".into(),
        revision: 1,
        capabilities: capabilities.iter().map(|held| (*held).to_owned()).collect(),
        digest: Digest::of(b""),
        issued_at: 0,
        not_before: None,
        expires: None,
        jti: "1".into(),
        tags: Default::default(),
        alias: None,
    }
}

fn admitted(capabilities: &[&str], interface: &str) -> Result<(), String> {
    let links = [link("shop/web", interface, "shop/target")];
    admit_links(&actor("shop/web", "aa"), &claims(capabilities), &links).map_err(|report| report.to_string())
}

#[test]
fn a_link_within_the_claims_is_admitted() {
    for (capability, interface) in [
        ("wasi:keyvalue/store", "wasi:keyvalue/store@0.2.0-draft"),
        ("wasi:keyvalue", "wasi:keyvalue/atomics"),
        ("wasmcloud:keyvalue", "wasi:keyvalue/store"),
        ("wasi:keyvalue/store", "wasmcloud:keyvalue"),
        ("wasi:keyvalue/store", "wasi:keyvalue"),
        ("wasi:http/incoming-handler", "wasmcloud:httpserver"),
        ("wasi:http/handler", "wasmcloud:httpserver"),
        ("wasmcloud:httpserver", "wasi:http/incoming-handler"),
        ("wasmcloud:httpserver", "wasmcloud:httpserver"),
        ("wasmcloud:messaging", "wasmcloud:messaging/handler@0.2.0"),
        ("example:pong/pingpong", "example:pong/pingpong@0.1.0"),
    ] {
        assert_eq!(admitted(&[capability], interface), Ok(()), "{capability} for {interface}");
    }
}

#[test]
fn a_link_beyond_the_claims_is_denied_by_name() {
    for (capabilities, interface) in [
        (&["wasi:keyvalue/atomics"][..], "wasi:keyvalue/store"),
        (&["wasmcloud:httpserver"], "wasi:http/outgoing-handler"),
        (&["wasi:http/incoming-handler"], "wasmcloud:httpclient"),
        (&["wasi:keyvalue"], "wasi:blobstore"),
        (&[], "wasmcloud:messaging"),
    ] {
        let refused = admitted(capabilities, interface).unwrap_err();
        assert!(refused.starts_with("E_CAPABILITY_DENIED: capability denied: "), "{refused}");
    }
    assert_eq!(
        admitted(&["wasmcloud:httpserver"], "wasi:keyvalue/store").unwrap_err(),
        "E_CAPABILITY_DENIED: capability denied: wasmcloud:keyvalue: link default of shop/web \
         (got claims wasmcloud:httpserver); \
         sign the component with capability wasi:keyvalue/store, or delete the link"
    );
}

fn sized(id: &str, mib: u64, replicas: u32) -> ActorSpec {
    let mut spec = actor(id, "aa");
    spec.limits.memory_bytes = mib << 20;
    spec.replicas = replicas;
    spec
}

#[test]
fn memory_is_promised_up_to_the_overcommitment() {
    let capacity = Capacity { memory_bytes: 256 << 20, overcommit: 2 };
    let running = [sized("a/one", 128, 2), sized("a/two", 128, 1)];
    let admit = |spec| admit_memory(&spec, &running, &capacity).map_err(|report| report.to_string());
    assert_eq!(admit(sized("a/new", 128, 1)), Ok(()));
    assert_eq!(
        admit(sized("a/new", 128, 2)).unwrap_err(),
        "E_INSUFFICIENT_RESOURCES: insufficient resources: memory for a/new \
         (got 256 MiB, expected at most 128 MiB); reduce limits.memoryMib or replicas, or add hosts"
    );
    assert_eq!(admit(sized("a/one", 128, 3)), Ok(()), "an update replaces its own share");
    assert_eq!(
        admit(sized("a/one", 128, 4)).unwrap_err(),
        "E_INSUFFICIENT_RESOURCES: insufficient resources: memory for a/one \
         (got 512 MiB, expected at most 384 MiB); reduce limits.memoryMib or replicas, or add hosts",
        "more replicas of one that runs need room as its first did"
    );
}

#[test]
fn one_instance_must_fit_whatever_is_promised() {
    let capacity = Capacity { memory_bytes: 64 << 20, overcommit: 8 };
    assert!(admit_memory(&sized("a/big", 65, 1), [], &capacity).is_err());
    assert!(admit_memory(&sized("a/fits", 64, 1), [], &capacity).is_ok());
    let all = Capacity { memory_bytes: u64::MAX, overcommit: u32::MAX };
    assert!(admit_memory(&sized("a/many", 1 << 20, u32::MAX), [], &all).is_ok(), "no overflow");
}
