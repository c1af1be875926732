//! Server-sent events: what happens (CloudEvents of the audit stream, whose place in it is their id) and
//! what changes (records of applications, decisions and hosts; the present ones first).
//!
//! ```text
//! id: 4710                      id: 4711                      event: desired
//! event: open                   event: cloudevent             data: {"key":"shop","value":{…}}
//! data: {}                      data: {"specversion":"1.0",…}
//! ```
//! The first of them says where events begin, so that one that breaks off before any has come loses none
//! either. With `Last-Event-ID` events go on behind that one; of records a stream always begins with all there
//! are, and `event: current` says that they have been told. A reader that does not keep up loses its
//! connection and nothing else.
//!
//! Tasks: *stream*, one for each; it ends with the connection, or when its user is taken out of the list.

use super::Body;
use crate::api::Api;
use crate::api::caller::Caller;
use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use lattice_io::events::audit_options;
use lattice_io::{Consumer, KvEvent, ReadFrom, TaskScope, WatchKeys};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::Instant;

/// Messages that wait for a reader.
const QUEUE: usize = 1_024;
/// Longest wait for a reader that has so many waiting.
const PATIENCE: Duration = Duration::from_secs(10);
/// A sign of life; and the user is looked up again.
const ALIVE: Duration = Duration::from_secs(15);
/// Events asked for at once, and how long one question waits.
const PULL: (usize, Duration) = (256, Duration::from_secs(20));
/// Pause before the audit stream is opened again.
const AGAIN: Duration = Duration::from_secs(1);

/// Begins a stream for somebody who is known.
pub(super) fn begin(
    (api, scope): (&Arc<Api>, &TaskScope),
    caller: &Caller,
    last: Option<u64>,
    place: OwnedSemaphorePermit,
) -> Body {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let out = Out(sender);
    let (user, api) = (caller.user.clone(), Arc::clone(api));
    scope.spawn_until_cancelled("stream", async move {
        tokio::select! {
            () = events(&api, last, &out) => {}
            () = records(&api, &user, &out) => {}
        }
        drop(place);
    });
    let frames = futures::stream::unfold(receiver, |mut receiver| async move {
        let bytes: Bytes = receiver.recv().await?;
        Some((Ok::<_, Infallible>(Frame::data(bytes)), receiver))
    });
    StreamBody::new(frames).boxed_unsync()
}

/// The reader's end; gone when it does not keep up.
struct Out(mpsc::Sender<Bytes>);

struct Gone;

impl Out {
    async fn send(&self, text: String) -> Result<(), Gone> {
        self.0.send_timeout(text.into(), PATIENCE).await.map_err(|_| Gone)
    }

    async fn record(&self, kind: &str, key: &str, value: &Value) -> Result<(), Gone> {
        self.send(format!("event: {kind}\ndata: {}\n\n", json!({ "key": key, "value": value }))).await
    }
}

/// `last` is the event after which to begin; none is whatever is the last one now.
async fn events(api: &Api, mut last: Option<u64>, out: &Out) {
    let mut is_open = false;
    while !out.0.is_closed() {
        if let Some((audit, after)) = open(api, last).await {
            last = Some(after);
            if !is_open && out.send(format!("id: {after}\nevent: open\ndata: {{}}\n\n")).await.is_err() {
                return;
            }
            is_open = true;
            if pass_on(api, audit, &mut last, out).await.is_err() {
                return;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => {}
            () = out.0.closed() => return,
        }
    }
}

/// The events after one of them, and after which.
async fn open(api: &Api, last: Option<u64>) -> Option<(Arc<dyn Consumer>, u64)> {
    let (streams, subjects) = (&api.records.lattice.streams, &api.records.subjects);
    let options = audit_options(subjects);
    let name = options.name.clone();
    // A lattice without streams has no events to follow; its records are told all the same.
    streams.ensure(options).await.ok()?;
    let last = match last {
        Some(last) => last,
        None => streams.last(&name).await.ok()?,
    };
    let audit = streams.read(&name, ReadFrom::Sequence(last.saturating_add(1))).await.ok()?;
    Some((audit, last))
}

/// Passes on what comes, until the reader is gone or the stream has to be opened again.
async fn pass_on(api: &Api, audit: Arc<dyn Consumer>, last: &mut Option<u64>, out: &Out) -> Result<(), Gone> {
    loop {
        let began = Instant::now();
        let Ok(mut pull) = audit.pull(PULL.0, PULL.1).await else { return Ok(()) };
        let mut some = false;
        loop {
            let delivery = tokio::select! {
                delivery = pull.next() => delivery,
                () = out.0.closed() => return Err(Gone),
            };
            let Some(delivery) = delivery else { break };
            some = true;
            *last = Some(delivery.sequence);
            if let Some(event) = api.event(&delivery.message) {
                let data = json!(event);
                out.send(format!("id: {}\nevent: cloudevent\ndata: {data}\n\n", delivery.sequence)).await?;
            }
        }
        // Over too soon, and nothing came: the connection or the reader is gone.
        if !some && began.elapsed() < PULL.1 {
            return Ok(());
        }
    }
}

async fn records(api: &Api, user: &str, out: &Out) {
    let (kv, subjects) = (&api.records.lattice.kv, &api.records.subjects);
    let buckets = [subjects.desired_bucket(), subjects.placement_bucket(), subjects.observed_bucket()];
    let [Ok(desired), Ok(placement), Ok(observed)] = buckets.each_ref().map(|bucket| kv.assume(bucket))
    else {
        return;
    };
    let mut desired = desired.watch(WatchKeys::All);
    let mut placement = placement.watch(WatchKeys::All);
    let mut observed = observed.watch(WatchKeys::All);
    let mut alive = tokio::time::interval(ALIVE);
    let mut current = 0;
    loop {
        let (kind, event) = tokio::select! {
            event = desired.next() => ("desired", event),
            event = placement.next() => ("placement", event),
            event = observed.next() => ("host", event),
            _ = alive.tick() => {
                if out.send(": alive\n\n".to_owned()).await.is_err() || !is_known(api, user).await {
                    return;
                }
                continue;
            }
            () = out.0.closed() => return,
        };
        let sent = match event {
            None => return,
            Some(KvEvent::Current) => {
                current += 1;
                if current == 3 { out.send("event: current\ndata: {}\n\n".to_owned()).await } else { Ok(()) }
            }
            Some(KvEvent::Put(entry)) => {
                let Ok(mut value) = serde_json::from_slice::<Value>(&entry.value) else { continue };
                if let Some(fields) = value.as_object_mut() {
                    // Long, and to be had by app.history.
                    fields.remove("history");
                }
                out.record(kind, &entry.key, &value).await
            }
            Some(KvEvent::Deleted { key, .. }) => out.record(kind, &key, &Value::Null).await,
        };
        if sent.is_err() {
            return;
        }
    }
}

/// Whoever was taken out of the list hears no more. When that cannot be looked up, the stream goes on.
async fn is_known(api: &Api, user: &str) -> bool {
    match api.users().await {
        Ok(users) => users.values().any(|known| known.name == user),
        Err(_) => true,
    }
}
