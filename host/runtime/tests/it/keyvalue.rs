//! Key-value through links: counted, denied, narrowed, cut off while running, tried again.

use crate::support::fakes::Store;
use crate::support::{ask, get, guest, link, list, start, wiring};
use host_runtime::Actor;
use lattice_protocol::{ErrorCode, Grants, Report};
use providers_sdk::ProviderErrorKind::{Failed, Unreachable};
use std::sync::Arc;

fn denied(answer: Result<(u16, String), Report>) -> bool {
    match answer {
        Err(report) => {
            assert_eq!(report.what, "capability denied: wasmcloud:keyvalue");
            report.code == ErrorCode::CapabilityDenied
        }
        Ok(answer) => panic!("not denied: {answer:?}"),
    }
}

/// The guest's own answer to something that it was not granted.
async fn refused(actor: &Arc<Actor>, method: &str, target: &str) {
    let (status, body) = ask(actor, method, target, "x").await.unwrap();
    assert_eq!(status, 502, "{method} {target}: {body}");
    assert!(body.to_lowercase().contains("denied"), "{method} {target}: {body}");
}

#[tokio::test]
async fn a_counter_counts_in_the_links_bucket() {
    let store = Store::shared();
    let links = [link("counter", "wasi:keyvalue", store.target()).config("bucket", "edge-data")];
    let counter = start("counter", guest("kv-counter").await, links).await;
    assert_eq!(get(&counter, "/a").await, r#"{"key":"a","count":1}"#);
    assert_eq!(get(&counter, "/a").await, r#"{"key":"a","count":2}"#);
    assert_eq!(store.value("edge-data", "a").as_deref(), Some("2"));
}

#[tokio::test]
async fn without_a_link_the_call_ends_and_links_come_and_go_under_a_running_actor() {
    let store = Store::shared();
    let counter = start("counter", guest("kv-counter").await, []).await;
    assert!(denied(ask(&counter, "GET", "/a", "").await));
    let linked = || wiring("counter", [link("counter", "wasmcloud:keyvalue", store.target())]);
    counter.set_wiring(linked());
    assert_eq!(get(&counter, "/a").await, r#"{"key":"a","count":1}"#);
    counter.set_wiring(wiring("counter", []));
    assert!(denied(ask(&counter, "GET", "/a", "").await));
    counter.set_wiring(linked());
    assert_eq!(get(&counter, "/a").await, r#"{"key":"a","count":2}"#);
}

#[tokio::test]
async fn unlinking_ends_the_next_call_of_an_open_bucket() {
    let store = Store::shared();
    let counter =
        start("counter", guest("kv-counter").await, [link("counter", "wasi:keyvalue", store.target())]).await;
    let running = Arc::clone(&counter);
    *store.when_opened.lock().unwrap() = Some(Box::new(move || running.set_wiring(wiring("counter", []))));
    assert!(denied(ask(&counter, "GET", "/a", "").await));
    assert_eq!(store.script.calls(), ["open default"], "the increment must not arrive");
    *store.when_opened.lock().unwrap() = None;
}

#[tokio::test]
async fn a_link_to_one_interface_covers_no_other() {
    let store = Store::shared();
    let links = [link("counter", "wasi:keyvalue/store", store.target())];
    let counter = start("counter", guest("kv-counter").await, links).await;
    assert!(denied(ask(&counter, "GET", "/a", "").await), "atomics is not covered");
}

#[tokio::test]
async fn grants_narrow_buckets_keys_and_writing() {
    let store = Store::shared();
    let grants = Grants { buckets: list(&["mine"]), key_prefixes: list(&["users-"]), ..Grants::default() };
    let probe = start(
        "probe",
        guest("fixture-probe").await,
        [
            link("probe", "wasi:keyvalue", store.target()).grants(grants),
            link("probe", "wasi:keyvalue", store.target())
                .named("frozen")
                .grants(Grants { read_only: true, ..Grants::default() }),
        ],
    )
    .await;
    let default = |target: &str| format!("{target}?link=default");
    assert_eq!(ask(&probe, "PUT", &default("/kv/mine/users-1"), "x").await.unwrap().0, 204);
    assert_eq!(get(&probe, &default("/kv/mine/users-1")).await, "x");
    store.put("mine", "secret", "s");
    store.put("theirs", "users-1", "t");
    store.script.calls();
    refused(&probe, "GET", &default("/kv/theirs/users-1")).await;
    refused(&probe, "GET", &default("/kv/mine/secret")).await;
    refused(&probe, "PUT", &default("/kv/mine/secret")).await;
    refused(&probe, "DELETE", &default("/kv/mine/secret")).await;
    refused(&probe, "POST", &default("/kv/mine/secret")).await;
    assert!(store.script.calls().iter().all(|call| call == "open mine"), "nothing refused may arrive");
    assert_eq!(get(&probe, &default("/kv/mine")).await, r#"["users-1"]"#, "other keys are not listed");

    let frozen = |target: &str| format!("{target}?link=frozen");
    assert_eq!(get(&probe, &frozen("/kv/mine/secret")).await, "s");
    refused(&probe, "PUT", &frozen("/kv/mine/secret")).await;
    refused(&probe, "DELETE", &frozen("/kv/mine/secret")).await;
    refused(&probe, "POST", &frozen("/kv/mine/secret")).await;
}

#[tokio::test]
async fn a_guest_chooses_among_links_by_name() {
    let (main, backup) = (Store::shared(), Store::shared());
    let links = [
        link("probe", "wasi:keyvalue", main.target()).named("main"),
        link("probe", "wasi:keyvalue", backup.target()).named("backup"),
    ];
    let probe = start("probe", guest("fixture-probe").await, links).await;
    assert_eq!(ask(&probe, "PUT", "/kv/b/k?link=backup", "x").await.unwrap().0, 204);
    assert_eq!((main.value("b", "k"), backup.value("b", "k").as_deref()), (None, Some("x")));
    assert_eq!(ask(&probe, "GET", "/kv/b/k?link=main", "").await.unwrap().0, 404);
    let unnamed = ask(&probe, "GET", "/kv/b/k", "").await.unwrap_err();
    assert_eq!((unnamed.code, unnamed.what.as_str()), (ErrorCode::LinkNotFound, "link definition not found"));
    let unknown = ask(&probe, "GET", "/kv/b/k?link=other", "").await.unwrap_err();
    assert_eq!(unknown.code, ErrorCode::LinkNotFound);
    assert_eq!(get(&probe, "/kv/b/k?link=backup").await, "x", "a choice ends with its call");
}

#[tokio::test]
async fn batches_pages_and_flags_go_through() {
    let store = Store::shared();
    let probe =
        start("probe", guest("fixture-probe").await, [link("probe", "wasi:keyvalue", store.target())]).await;
    let (status, body) = ask(&probe, "POST", "/batch/b", r#"{"x":"1","y":"2"}"#).await.unwrap();
    assert_eq!((status, body.as_str()), (200, r#"{"absent":null,"x":"1","y":"2"}"#));
    for key in ["a", "b", "c", "d", "e"] {
        store.put("pages", key, "1");
    }
    store.script.calls();
    assert_eq!(get(&probe, "/kv/pages").await, r#"["a","b","c","d","e"]"#);
    let listed = store.script.calls().iter().filter(|call| *call == "list pages").count();
    assert_eq!(listed, 3, "three pages by two cursors");
    assert_eq!(ask(&probe, "HEAD", "/kv/pages/a", "").await.unwrap().0, 200);
    assert_eq!(ask(&probe, "HEAD", "/kv/pages/z", "").await.unwrap().0, 404);
}

#[tokio::test]
async fn only_what_is_safe_is_tried_again() {
    let store = Store::shared();
    store.put("default", "k", "1");
    let probe =
        start("probe", guest("fixture-probe").await, [link("probe", "wasi:keyvalue", store.target())]).await;
    let calls =
        |store: &Store, what: &str| store.script.calls().iter().filter(|call| call.starts_with(what)).count();

    store.script.fail(&[Unreachable, Failed]);
    // The open takes the first failure and is tried again, the get the second.
    assert_eq!(get(&probe, "/kv/default/k").await, "1");
    assert_eq!(calls(&store, ""), 4, "open twice, get twice");

    let links = [link("counter", "wasi:keyvalue", store.target())];
    let counter = start("counter", guest("kv-counter").await, links).await;
    let opened_then = |kind| {
        let weak = Arc::downgrade(&store);
        // The open succeeds; what follows it fails once.
        *store.when_opened.lock().unwrap() =
            Some(Box::new(move || weak.upgrade().unwrap().script.fail_next_but_one(kind)));
    };
    opened_then(Failed);
    let (status, body) = ask(&counter, "GET", "/n", "").await.unwrap();
    assert_eq!(status, 502, "{body}");
    assert_eq!(calls(&store, "increment"), 1, "an increment that may have happened is not repeated");
    opened_then(Unreachable);
    assert_eq!(get(&counter, "/n").await, r#"{"key":"n","count":1}"#);
    assert_eq!(calls(&store, "increment"), 2, "one that cannot have happened is");
}

#[tokio::test]
async fn a_store_that_fails_opens_the_circuit_and_the_guest_is_told() {
    let store = Store::shared();
    store.script.fail(&[Unreachable; 5]);
    let probe =
        start("probe", guest("fixture-probe").await, [link("probe", "wasi:keyvalue", store.target())]).await;
    assert_eq!(ask(&probe, "GET", "/kv/b/k", "").await.unwrap().0, 502);
    let (status, body) = ask(&probe, "GET", "/kv/b/k", "").await.unwrap();
    assert!(status == 502 && body.contains("E_CIRCUIT_OPEN"), "{status} {body}");
    assert_eq!(store.script.calls().len(), 5, "four attempts, one, and then none");
}

#[tokio::test]
async fn a_value_over_the_limit_is_refused_on_both_ways() {
    let store = Store::shared();
    let probe =
        start("probe", guest("fixture-probe").await, [link("probe", "wasi:keyvalue", store.target())]).await;
    store.put("b", "big", &"x".repeat((1 << 20) + 1));
    let (status, body) = ask(&probe, "GET", "/kv/b/big", "").await.unwrap();
    assert!(status == 502 && body.contains("E_LIMIT"), "{status} {body}");
}

#[tokio::test]
async fn configuration_is_the_actors_own_and_changes_under_it() {
    let probe = start("probe", guest("fixture-probe").await, []).await;
    assert_eq!(get(&probe, "/config").await, r#"{"colour":"green"}"#);
    probe.set_config([("colour".to_owned(), "red".to_owned())].into());
    assert_eq!(get(&probe, "/config?key=colour").await, "red");
    assert_eq!(ask(&probe, "GET", "/config?key=other", "").await.unwrap().0, 404);
    assert_eq!(ask(&probe, "POST", "/log?level=warn", "hello").await.unwrap().0, 204);
}
