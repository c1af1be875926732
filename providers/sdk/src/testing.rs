//! One suite for every key-value provider, so that a guest cannot tell them apart; and [`far`], by
//! which a suite is held in a process of its own as well (feature `testing`, for the providers' own
//! tests only).
//!
//! It panics with what was expected. It leaves keys behind: give it a store of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test suite: a panic is how it fails"
)]

mod far;

pub use far::{Linked, far, far_between};

use crate::keyvalue::KeyValue;
use crate::{CallContext, ProviderErrorKind};
use bytes::Bytes;
use lattice_protocol::LinkName;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Keys that a store's own syntax might trip over.
const AWKWARD: &[&str] = &[
    "plain",
    "a/b",
    "a.b",
    ".",
    "..",
    "a..b",
    "*",
    ">",
    "a b",
    " ",
    "a:b",
    "a=2Fb",
    "=",
    "{tag}",
    "%00",
    "ключ",
    "🦀",
    "a\nb",
    "[x]?",
    "\\",
    "'; DROP TABLE keys; --",
    "__proto__",
];

/// The circumstances of a call by `app/actor` (or whatever `source` says), with half a minute left.
#[must_use]
pub fn context(source: &str) -> CallContext {
    CallContext {
        source: source.parse().unwrap(),
        link: LinkName::default_name(),
        config: Arc::new(BTreeMap::new()),
        deadline: Instant::now() + Duration::from_secs(30),
        traceparent: None,
    }
}

/// Everything that [`KeyValue`] promises.
pub async fn keyvalue_suite(kv: &dyn KeyValue) {
    let cx = context("app/actor");
    for bucket in ["suite", "other", "suite:a", "awkward / ключ", &"x".repeat(200)] {
        kv.open(&cx, bucket).await.unwrap();
        kv.open(&cx, bucket).await.unwrap();
    }
    values(kv, &cx).await;
    awkward_keys(kv, &cx).await;
    buckets(kv, &cx).await;
    counting(kv, &cx).await;
    swapping(kv, &cx).await;
    many(kv, &cx).await;
    listing(kv, &cx).await;
}

async fn values(kv: &dyn KeyValue, cx: &CallContext) {
    let get = |key| async move { kv.get(cx, "suite", key).await.unwrap() };
    assert_eq!(get("k").await, None);
    assert!(!kv.exists(cx, "suite", "k").await.unwrap());
    kv.delete(cx, "suite", "k").await.expect("deleting an absent key is no error");
    let binary: Bytes = (0..=255_u8).collect();
    for value in [Bytes::from_static(b"1"), Bytes::new(), binary, vec![7; 100_000].into()] {
        kv.set(cx, "suite", "k", value.clone()).await.unwrap();
        assert_eq!(get("k").await, Some(value));
        assert!(kv.exists(cx, "suite", "k").await.unwrap());
    }
    kv.delete(cx, "suite", "k").await.unwrap();
    assert_eq!(get("k").await, None);
    assert!(!kv.exists(cx, "suite", "k").await.unwrap());
    kv.set(cx, "suite", "k", Bytes::from_static(b"back")).await.unwrap();
    assert_eq!(get("k").await, Some(Bytes::from_static(b"back")));
}

async fn awkward_keys(kv: &dyn KeyValue, cx: &CallContext) {
    let bucket = "awkward / ключ";
    let long = "k".repeat(1_024);
    let longest_encoded = "/".repeat(1_024);
    let keys: Vec<&str> = AWKWARD.iter().copied().chain([long.as_str(), longest_encoded.as_str()]).collect();
    for (n, key) in keys.iter().enumerate() {
        kv.set(cx, bucket, key, n.to_string().into())
            .await
            .unwrap_or_else(|error| panic!("{key:?}: {error}"));
    }
    for (n, key) in keys.iter().enumerate() {
        assert_eq!(kv.get(cx, bucket, key).await.unwrap(), Some(n.to_string().into()), "{key:?}");
    }
    let listed: BTreeSet<String> = all_keys(kv, cx, bucket).await.into_iter().collect();
    assert_eq!(listed, keys.iter().map(|key| (*key).to_owned()).collect(), "listed as they were set");
    for key in keys {
        kv.delete(cx, bucket, key).await.unwrap();
    }
    assert_eq!(all_keys(kv, cx, bucket).await, Vec::<String>::new());
}

/// Neither another bucket nor one whose name continues in the key is touched.
async fn buckets(kv: &dyn KeyValue, cx: &CallContext) {
    let set =
        |bucket, key, value: &'static str| kv.set(cx, bucket, key, Bytes::from_static(value.as_bytes()));
    set("suite", "a:b", "1").await.unwrap();
    set("suite:a", "b", "2").await.unwrap();
    set("other", "a:b", "3").await.unwrap();
    assert_eq!(kv.get(cx, "suite", "a:b").await.unwrap(), Some(Bytes::from_static(b"1")));
    assert_eq!(all_keys(kv, cx, "suite:a").await, ["b"]);
    kv.delete(cx, "suite:a", "b").await.unwrap();
    assert_eq!(kv.get(cx, "suite", "a:b").await.unwrap(), Some(Bytes::from_static(b"1")));
    assert_eq!(kv.get(cx, "other", "a:b").await.unwrap(), Some(Bytes::from_static(b"3")));
}

async fn counting(kv: &dyn KeyValue, cx: &CallContext) {
    let add = |key, delta| kv.increment(cx, "suite", key, delta);
    assert_eq!(add("n", 5).await.unwrap(), 5, "an absent key counts as 0");
    assert_eq!(add("n", -7).await.unwrap(), -2);
    assert_eq!(kv.get(cx, "suite", "n").await.unwrap(), Some(Bytes::from_static(b"-2")), "decimal text");
    kv.set(cx, "suite", "n", Bytes::from_static(b"41")).await.unwrap();
    assert_eq!(add("n", 1).await.unwrap(), 42);
    assert_eq!(add("n", 0).await.unwrap(), 42);
    kv.set(cx, "suite", "text", Bytes::from_static(b"no number")).await.unwrap();
    assert_eq!(add("text", 1).await.unwrap_err().kind, ProviderErrorKind::Invalid);
    assert_eq!(kv.get(cx, "suite", "text").await.unwrap(), Some(Bytes::from_static(b"no number")));
    kv.set(cx, "suite", "max", i64::MAX.to_string().into()).await.unwrap();
    let error = add("max", 1).await.expect_err("an overflow is an error");
    assert!(matches!(error.kind, ProviderErrorKind::Invalid | ProviderErrorKind::Limit), "{error:?}");
    assert_eq!(kv.get(cx, "suite", "max").await.unwrap(), Some(i64::MAX.to_string().into()));

    let at_once = (0..8).map(|_| async {
        for _ in 0..10 {
            add("together", 1).await.unwrap();
        }
    });
    futures::future::join_all(at_once).await;
    assert_eq!(add("together", 0).await.unwrap(), 80, "no increment is lost");
}

async fn swapping(kv: &dyn KeyValue, cx: &CallContext) {
    let current = |key| async move { kv.current(cx, "suite", key).await.unwrap() };
    let absent = current("swap").await;
    assert_eq!(absent.value, None);
    let swap = |version: Vec<u8>, value: &'static str| async move {
        kv.swap(cx, "suite", "swap", &version, Bytes::from_static(value.as_bytes())).await.unwrap()
    };
    assert!(swap(absent.version.clone(), "1").await, "absent, as it was");
    assert!(!swap(absent.version.clone(), "x").await, "it is there now");
    let one = current("swap").await;
    assert_eq!(one.value, Some(Bytes::from_static(b"1")));
    assert!(swap(one.version.clone(), "2").await);
    assert!(!swap(one.version.clone(), "x").await, "somebody was first");
    let two = current("swap").await;
    assert_eq!(two.value, Some(Bytes::from_static(b"2")));
    kv.set(cx, "suite", "swap", Bytes::from_static(b"3")).await.unwrap();
    assert!(!swap(two.version, "x").await, "a plain write counts");
    let three = current("swap").await;
    kv.delete(cx, "suite", "swap").await.unwrap();
    assert!(!swap(three.version, "x").await, "so does a deletion");
    let gone = current("swap").await;
    assert_eq!(gone.value, None);
    assert!(swap(gone.version, "4").await, "a deleted key is absent");
    assert_eq!(kv.get(cx, "suite", "swap").await.unwrap(), Some(Bytes::from_static(b"4")));
}

async fn many(kv: &dyn KeyValue, cx: &CallContext) {
    let name = |n: usize| format!("many-{n}");
    let pairs = (0..20).map(|n| (name(n), Bytes::from(n.to_string()))).collect();
    kv.set_many(cx, "other", pairs).await.unwrap();
    let asked = vec![name(3), "absent".to_owned(), name(0), name(3)];
    let got = kv.get_many(cx, "other", &asked).await.unwrap();
    let text = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
    assert_eq!(got, [text("3"), None, text("0"), text("3")]);
    kv.delete_many(cx, "other", &[name(3), "absent".to_owned()]).await.unwrap();
    let got = kv.get_many(cx, "other", &[name(3), name(4)]).await.unwrap();
    assert_eq!(got, [None, text("4")]);
    assert_eq!(kv.get_many(cx, "other", &[]).await.unwrap(), Vec::<Option<Bytes>>::new());
    kv.set_many(cx, "other", Vec::new()).await.unwrap();
    kv.delete_many(cx, "other", &[]).await.unwrap();
}

async fn listing(kv: &dyn KeyValue, cx: &CallContext) {
    let bucket = "x".repeat(200);
    let expected: BTreeSet<String> = (0..2_100).map(|n| format!("key/{n}")).collect();
    for chunk in expected.iter().cloned().collect::<Vec<_>>().chunks(300) {
        let pairs = chunk.iter().map(|key| (key.clone(), Bytes::from_static(b"v"))).collect();
        kv.set_many(cx, &bucket, pairs).await.unwrap();
    }
    let listed = all_keys(kv, cx, &bucket).await;
    assert_eq!(listed.len(), expected.len(), "each key once");
    assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), expected);
}

/// Every key, page by page.
async fn all_keys(kv: &dyn KeyValue, cx: &CallContext, bucket: &str) -> Vec<String> {
    let mut keys = Vec::new();
    let mut cursor = None;
    for _ in 0..10_000 {
        let page = kv.list_keys(cx, bucket, cursor.as_deref()).await.unwrap();
        assert!(page.keys.len() <= 1_000, "a page of {} keys", page.keys.len());
        keys.extend(page.keys);
        cursor = page.cursor;
        if cursor.is_none() {
            return keys;
        }
    }
    panic!("the listing of {bucket} never ends");
}
