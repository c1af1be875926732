//! Providers and targets in memory, which note what reaches them and fail when told to.

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use host_runtime::wiring::{ActorTarget, BoundTarget};
use host_runtime::{Actor, CallInfo};
use lattice_protocol::invocation::Invocation;
use lattice_protocol::{ActorId, Report};
use providers_sdk::http::{Allowed, Body, HttpClient, full};
use providers_sdk::keyvalue::{KeyPage, KeyValue, Versioned};
use providers_sdk::messaging::{Message, MessageHandler, Messaging, SubscribeRequest, Subscription};
use providers_sdk::{CallContext, ProviderError, ProviderErrorKind};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

type Answer<'a, T> = BoxFuture<'a, Result<T, ProviderError>>;

/// Failures to come, and calls that came.
#[derive(Default)]
pub struct Script {
    failures: Mutex<Vec<Option<ProviderErrorKind>>>,
    calls: Mutex<Vec<String>>,
}

impl Script {
    /// The next calls fail in these ways, the first of them first.
    pub fn fail(&self, kinds: &[ProviderErrorKind]) {
        self.failures.lock().unwrap().extend(kinds.iter().rev().map(|kind| Some(*kind)));
    }
    /// The next call succeeds, the one after it fails in this way.
    pub fn fail_next_but_one(&self, kind: ProviderErrorKind) {
        *self.failures.lock().unwrap() = vec![Some(kind), None];
    }
    /// What came since the last time this was asked.
    pub fn calls(&self) -> Vec<String> {
        std::mem::take(&mut *self.calls.lock().unwrap())
    }
    fn call(&self, what: String) -> Result<(), ProviderError> {
        self.calls.lock().unwrap().push(what);
        match self.failures.lock().unwrap().pop() {
            Some(Some(kind)) => Err(ProviderError::new(kind, "as told")),
            Some(None) | None => Ok(()),
        }
    }
}

/// A key-value store.
#[derive(Default)]
pub struct Store {
    pub script: Script,
    values: Mutex<BTreeMap<(String, String), Bytes>>,
    /// Run when a bucket is opened.
    pub when_opened: Mutex<Option<Box<dyn Fn() + Send>>>,
}

impl Store {
    pub fn shared() -> Arc<Self> {
        Arc::default()
    }
    pub fn target(self: &Arc<Self>) -> BoundTarget {
        BoundTarget::KeyValue(Arc::clone(self) as Arc<dyn KeyValue>)
    }
    pub fn put(&self, bucket: &str, key: &str, value: &str) {
        self.values.lock().unwrap().insert((bucket.into(), key.into()), Bytes::from(value.to_owned()));
    }
    pub fn value(&self, bucket: &str, key: &str) -> Option<String> {
        let values = self.values.lock().unwrap();
        values.get(&(bucket.into(), key.into())).map(|value| String::from_utf8_lossy(value).into_owned())
    }
    fn done<'a, T: Send + 'a>(
        &self,
        what: String,
        act: impl FnOnce(&mut BTreeMap<(String, String), Bytes>) -> T,
    ) -> Answer<'a, T> {
        let outcome = self.script.call(what).map(|()| act(&mut self.values.lock().unwrap()));
        std::future::ready(outcome).boxed()
    }
}

fn at(bucket: &str, key: &str) -> (String, String) {
    (bucket.to_owned(), key.to_owned())
}

impl KeyValue for Store {
    fn open<'a>(&'a self, _: &'a CallContext, bucket: &'a str) -> Answer<'a, ()> {
        if let Some(act) = &*self.when_opened.lock().unwrap() {
            act();
        }
        self.done(format!("open {bucket}"), |_| ())
    }
    fn get<'a>(&'a self, _: &'a CallContext, bucket: &'a str, key: &'a str) -> Answer<'a, Option<Bytes>> {
        self.done(format!("get {bucket}/{key}"), |values| values.get(&at(bucket, key)).cloned())
    }
    fn set<'a>(&'a self, _: &'a CallContext, bucket: &'a str, key: &'a str, value: Bytes) -> Answer<'a, ()> {
        self.done(format!("set {bucket}/{key}"), |values| {
            values.insert(at(bucket, key), value);
        })
    }
    fn delete<'a>(&'a self, _: &'a CallContext, bucket: &'a str, key: &'a str) -> Answer<'a, ()> {
        self.done(format!("delete {bucket}/{key}"), |values| {
            values.remove(&at(bucket, key));
        })
    }
    fn exists<'a>(&'a self, _: &'a CallContext, bucket: &'a str, key: &'a str) -> Answer<'a, bool> {
        self.done(format!("exists {bucket}/{key}"), |values| values.contains_key(&at(bucket, key)))
    }
    fn list_keys<'a>(
        &'a self,
        _: &'a CallContext,
        bucket: &'a str,
        cursor: Option<&'a str>,
    ) -> Answer<'a, KeyPage> {
        // Pages of two, so that a cursor is needed soon.
        self.done(format!("list {bucket}"), |values| {
            let after = |key: &&String| cursor.is_none_or(|cursor| key.as_str() > cursor);
            let mut keys: Vec<String> = values
                .keys()
                .filter(|(of, _)| of == bucket)
                .map(|(_, key)| key)
                .filter(after)
                .cloned()
                .collect();
            let more = keys.len() > 2;
            keys.truncate(2);
            KeyPage { cursor: keys.last().filter(|_| more).cloned(), keys }
        })
    }
    fn increment<'a>(
        &'a self,
        _: &'a CallContext,
        bucket: &'a str,
        key: &'a str,
        delta: i64,
    ) -> Answer<'a, i64> {
        self.done(format!("increment {bucket}/{key}"), |values| {
            let value = values.entry(at(bucket, key)).or_insert_with(|| Bytes::from_static(b"0"));
            let sum = std::str::from_utf8(value).unwrap().parse::<i64>().unwrap() + delta;
            *value = Bytes::from(sum.to_string());
            sum
        })
    }
    fn current<'a>(&'a self, _: &'a CallContext, bucket: &'a str, key: &'a str) -> Answer<'a, Versioned> {
        self.done(format!("current {bucket}/{key}"), |values| {
            let value = values.get(&at(bucket, key)).cloned();
            Versioned { version: value.clone().unwrap_or_default().to_vec(), value }
        })
    }
    fn swap<'a>(
        &'a self,
        _: &'a CallContext,
        bucket: &'a str,
        key: &'a str,
        version: &'a [u8],
        value: Bytes,
    ) -> Answer<'a, bool> {
        self.done(format!("swap {bucket}/{key}"), |values| {
            let same = values.get(&at(bucket, key)).map_or(&[][..], |held| held) == version;
            if same {
                values.insert(at(bucket, key), value);
            }
            same
        })
    }
    fn get_many<'a>(
        &'a self,
        _: &'a CallContext,
        bucket: &'a str,
        keys: &'a [String],
    ) -> Answer<'a, Vec<Option<Bytes>>> {
        self.done(format!("get-many {bucket}"), |values| {
            keys.iter().map(|key| values.get(&at(bucket, key)).cloned()).collect()
        })
    }
    fn set_many<'a>(
        &'a self,
        _: &'a CallContext,
        bucket: &'a str,
        pairs: Vec<(String, Bytes)>,
    ) -> Answer<'a, ()> {
        self.done(format!("set-many {bucket}"), |values| {
            values.extend(pairs.into_iter().map(|(key, value)| (at(bucket, &key), value)));
        })
    }
    fn delete_many<'a>(&'a self, _: &'a CallContext, bucket: &'a str, keys: &'a [String]) -> Answer<'a, ()> {
        self.done(format!("delete-many {bucket}"), |values| {
            keys.iter().for_each(|key| drop(values.remove(&at(bucket, key))));
        })
    }
}

/// A broker that answers every request with its own body.
#[derive(Default)]
pub struct Broker {
    pub script: Script,
    published: Mutex<Vec<Message>>,
}

impl Broker {
    pub fn shared() -> Arc<Self> {
        Arc::default()
    }
    pub fn target(self: &Arc<Self>) -> BoundTarget {
        BoundTarget::Messaging(Arc::clone(self) as Arc<dyn Messaging>)
    }
    /// Messages that arrived, as `subject body`.
    pub fn published(&self) -> Vec<String> {
        let messages = std::mem::take(&mut *self.published.lock().unwrap());
        messages
            .into_iter()
            .map(|message| format!("{} {}", message.subject, String::from_utf8_lossy(&message.body)))
            .collect()
    }
}

impl Messaging for Broker {
    fn publish<'a>(&'a self, _: &'a CallContext, message: Message) -> Answer<'a, ()> {
        let outcome = self.script.call(format!("publish {}", message.subject));
        if outcome.is_ok() {
            self.published.lock().unwrap().push(message);
        }
        std::future::ready(outcome).boxed()
    }
    fn request<'a>(&'a self, _: &'a CallContext, message: Message) -> Answer<'a, Message> {
        let outcome = self.script.call(format!("request {}", message.subject));
        std::future::ready(outcome.map(|()| message)).boxed()
    }
    fn subscribe<'a>(
        &'a self,
        _: SubscribeRequest,
        _: Arc<dyn MessageHandler>,
    ) -> Answer<'a, Box<dyn Subscription>> {
        std::future::ready(Err(ProviderError::new(ProviderErrorKind::Invalid, "not here"))).boxed()
    }
}

/// An HTTP client that answers with what it was asked.
#[derive(Default)]
pub struct Client {
    pub script: Script,
}

impl Client {
    pub fn shared() -> Arc<Self> {
        Arc::default()
    }
    pub fn target(self: &Arc<Self>) -> BoundTarget {
        BoundTarget::HttpClient(Arc::clone(self) as Arc<dyn HttpClient>)
    }
}

impl HttpClient for Client {
    fn send<'a>(
        &'a self,
        _: &'a CallContext,
        _: &'a Allowed,
        request: http::Request<Body>,
    ) -> Answer<'a, http::Response<Body>> {
        use http_body_util::BodyExt;
        async move {
            self.script.call(format!("{} {}", request.method(), request.uri()))?;
            let body = request.into_body().collect().await?.to_bytes();
            Ok(http::Response::new(full(body)))
        }
        .boxed()
    }
}

/// Another actor: on this host, or as if on another (encoded there and back).
pub struct Peer {
    actor: Arc<Actor>,
    here: bool,
    failures: Mutex<Vec<Report>>,
    pub invocations: Mutex<Vec<Invocation>>,
}

impl Peer {
    pub fn local(actor: &Arc<Actor>) -> Arc<Self> {
        Self::new(actor, true)
    }
    pub fn remote(actor: &Arc<Actor>) -> Arc<Self> {
        Self::new(actor, false)
    }
    fn new(actor: &Arc<Actor>, here: bool) -> Arc<Self> {
        let actor = Arc::clone(actor);
        Arc::new(Self { actor, here, failures: Mutex::default(), invocations: Mutex::default() })
    }
    pub fn target(self: &Arc<Self>) -> BoundTarget {
        BoundTarget::Actor(Arc::clone(self) as Arc<dyn ActorTarget>)
    }
    /// The next remote calls fail in these ways, the first of them first.
    pub fn fail(&self, reports: impl DoubleEndedIterator<Item = Report>) {
        self.failures.lock().unwrap().extend(reports.rev());
    }
}

impl ActorTarget for Peer {
    fn id(&self) -> &ActorId {
        self.actor.id()
    }
    fn local(&self) -> Option<Arc<Actor>> {
        self.here.then(|| Arc::clone(&self.actor))
    }
    /// What two hosts do between them, without the wire.
    fn remote<'a>(&'a self, call: Invocation, payload: Bytes) -> BoxFuture<'a, Result<Bytes, Report>> {
        async move {
            self.invocations.lock().unwrap().push(call.clone());
            if let Some(report) = self.failures.lock().unwrap().pop() {
                return Err(report);
            }
            let info = CallInfo {
                depth: call.depth,
                caller: call.caller,
                ..CallInfo::within(Duration::from_millis(call.remaining_ms))
            };
            self.actor.call(&call.interface, &call.function, payload, info).await
        }
        .boxed()
    }
}
