//! The answering side: a provider of this process, served on its subjects.
//!
//! Tasks, in the scope given: *calls* (a queue group: processes of one name share them) with one
//! task per call in hand; *links* (every process gets each question), which owns the bindings.

use super::bindings::{Bindings, Made};
use super::wire::{Described, Description, Operation, Question, json, missing, proof};
use super::{MAX_IN_HAND, blob, http, keyvalue, messaging};
use crate::{CallContext, Provider};
use bytes::Bytes;
use lattice_io::call::answer_each;
use lattice_io::{Bus, BusMessage, Subscription, TaskScope};
use lattice_protocol::invocation::encode_reply;
use lattice_protocol::provider::{Place, ProviderCall, process_name};
use lattice_protocol::subject::{SERVE_GROUP, Subjects};
use lattice_protocol::{ErrorCode, LatticeName, ProviderId, Report};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest call, whatever its head says.
const MAX_PATIENCE: Duration = Duration::from_secs(600);
/// How often leases are looked at.
const SWEEP: Duration = Duration::from_secs(1);

/// A provider of this process, and as whom it is served.
pub struct Served {
    /// The lattice.
    pub lattice: LatticeName,
    /// Which provider.
    pub id: ProviderId,
    /// For one host, or for all.
    pub place: Place,
    /// It.
    pub provider: Provider,
    /// The process's own key, `V…`.
    pub key: keys::KeyPair,
}

/// Serves a provider until `scope` is shut down; calls in hand are then finished.
///
/// # Errors
/// What the bus says to the subscriptions.
pub async fn serve(served: Served, bus: &Arc<dyn Bus>, scope: &TaskScope) -> Result<Description, Report> {
    let subjects = Subjects::new(served.lattice.clone());
    let name = process_name(&served.id, &served.place);
    let calls = bus.subscribe(&subjects.provider_call(&name), Some(SERVE_GROUP)).await?;
    let questions = bus.subscribe(&subjects.provider_links(&name), None).await?;
    let description = Description::of(served.id.clone(), &served.provider, served.key.public());
    let (provider, max_body) = (served.provider.clone(), crate::forward::max_body(bus.max_payload()));
    let answer = move |frame: Bytes| {
        let provider = provider.clone();
        async move { perform(&provider, &frame, max_body).await }
    };
    let inner = scope.child("calls");
    let calls = answer_each(calls, Arc::clone(bus), inner.clone(), MAX_IN_HAND, answer);
    inner.spawn_until_cancelled("calls", calls);
    let links = Links {
        bindings: Bindings::new(served.provider, Arc::clone(bus), subjects),
        bus: Arc::clone(bus),
        lattice: served.lattice,
        description: description.clone(),
        key: served.key,
        scope: scope.child("links"),
    };
    scope.spawn_until_cancelled("links", links.run(questions));
    Ok(description)
}

/// Carries out one call.
async fn perform(provider: &Provider, frame: &Bytes, max_body: usize) -> Result<Bytes, Report> {
    let (call, values) = ProviderCall::<Operation>::decode(frame)?;
    let cx = CallContext {
        source: call.source,
        link: call.link,
        config: Arc::new(call.config),
        deadline: Instant::now() + Duration::from_millis(call.remaining_ms).min(MAX_PATIENCE),
        traceparent: call.traceparent.map(Arc::from),
    };
    let first = || values.first().cloned().flatten().ok_or_else(missing);
    match (provider, call.operation) {
        (Provider::KeyValue(store), Operation::KeyValue { bucket, act }) => {
            keyvalue::perform(&**store, &cx, (&bucket, act), values).await
        }
        (Provider::Messaging(broker), Operation::Publish) => {
            messaging::publish(&**broker, &cx, &first()?).await
        }
        (Provider::Messaging(broker), Operation::Request) => {
            messaging::request(&**broker, &cx, &first()?).await
        }
        (Provider::HttpClient(client), Operation::Send { allowed }) => {
            http::send(&**client, &cx, (&allowed, &first()?), max_body).await
        }
        (Provider::BlobStore(store), Operation::Blob { container, act }) => {
            blob::perform(&**store, &cx, (&container, act), values).await
        }
        _ => Err(Report::new(ErrorCode::Usage, "not an operation of this provider")),
    }
}

/// Owns the bindings, and answers who asks about them.
struct Links {
    bindings: Bindings,
    bus: Arc<dyn Bus>,
    lattice: LatticeName,
    description: Description,
    key: keys::KeyPair,
    /// What is being drained.
    scope: TaskScope,
}

impl Links {
    async fn run(mut self, mut questions: Subscription) {
        let mut sweep = tokio::time::interval(SWEEP);
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                question = questions.next() => match question {
                    Some(message) => self.answer(message).await,
                    None => return,
                },
                _ = sweep.tick() => {
                    let ended = self.bindings.sweep(Instant::now());
                    self.drain(ended, None);
                }
            }
        }
    }

    async fn answer(&mut self, message: BusMessage) {
        let question = serde_json::from_slice(&message.payload)
            .map_err(|error| Report::new(ErrorCode::Malformed, format!("question: {error}")));
        let result = match question {
            Err(report) => Err(report),
            Ok(Question::Describe { nonce }) => self.describe(&nonce),
            Ok(Question::Bind { lease, lease_ms, binding }) => {
                self.bindings.bind(lease, lease_ms, *binding).await.map(|()| Bytes::new())
            }
            Ok(Question::Unbind { lease }) => {
                let ended = self.bindings.unbind(&lease);
                return self.drain(ended, Some(message));
            }
            Ok(Question::Lag { lease }) => json(&self.bindings.lag(&lease).await),
        };
        reply(&*self.bus, &message, &result).await;
    }

    fn describe(&self, nonce: &str) -> Result<Bytes, Report> {
        let proof = proof(self.lattice.as_str(), nonce, &self.description);
        let signature = self.key.sign(proof.as_bytes()).iter().fold(String::new(), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        });
        json(&Described { description: self.description.clone(), signature })
    }

    /// Drains, and then answers who waits for it.
    fn drain(&self, ended: Vec<Made>, asked: Option<BusMessage>) {
        if ended.is_empty() && asked.is_none() {
            return;
        }
        let bus = Arc::clone(&self.bus);
        self.scope.spawn_best_effort("drain", async move {
            futures::future::join_all(ended.into_iter().map(Made::drain)).await;
            if let Some(message) = asked {
                reply(&*bus, &message, &Ok(Bytes::new())).await;
            }
        });
    }
}

async fn reply(bus: &dyn Bus, question: &BusMessage, result: &Result<Bytes, Report>) {
    if let Some(answer) = question.answer(encode_reply(result))
        && let Err(error) = bus.publish(answer).await
    {
        tracing::warn!(%error, "answer not sent");
    }
}
