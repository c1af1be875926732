//! The calling side: one request per operation, with the caller's deadline.

use super::wire::{
    Capability, Described, Description, Operation, Question, from_json, json, no_answer, proof,
};
use crate::{CallContext, Provider, ProviderError, ProviderErrorKind};
use bytes::Bytes;
use lattice_io::{Bus, BusMessage, TaskScope};
use lattice_protocol::invocation::decode_reply;
use lattice_protocol::provider::{MAX_VALUES, Place, ProviderCall, process_name, unpack};
use lattice_protocol::subject::Subjects;
use lattice_protocol::{ErrorCode, LatticeName, ProviderId, Report};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Counts the ends of a supervised process: a call in hand when it ends has no answer to wait for.
pub type Ends = watch::Receiver<u64>;

/// A provider in another process, by its subjects. Cheap to clone; it stays good over restarts of
/// the process, and over restarts of NATS.
#[derive(Clone)]
pub struct Remote {
    pub(super) bus: Arc<dyn Bus>,
    pub(super) calls: Arc<str>,
    pub(super) links: Arc<str>,
    pub(super) id: ProviderId,
    /// Where leases are renewed.
    pub(super) scope: TaskScope,
    ends: Option<Ends>,
    listen: Option<SocketAddr>,
}

/// Asks a provider's processes what they are; the first answer that proves its key counts.
/// With `expected`, only the process that holds this key does.
///
/// # Errors
/// Nobody answers, or not as one that may.
pub async fn describe(
    bus: &dyn Bus,
    lattice: &LatticeName,
    name: &str,
    expected: Option<keys::PublicKey>,
    patience: Duration,
) -> Result<Description, ProviderError> {
    let nonce = bus.new_inbox();
    let subject = Subjects::new(lattice.clone()).provider_links(name);
    let question = json(&Question::Describe { nonce: nonce.clone() })?;
    let answer = bus.request(BusMessage::new(subject, question), patience).await?;
    let described: Described = from_json(&decode_reply(answer.payload)?)?;
    let description = described.description;
    let signed = proof(lattice.as_str(), &nonce, &description);
    let signature = decode_signature(&described.signature).ok_or_else(|| no_answer("signature"))?;
    description.key.verify(signed.as_bytes(), &signature).map_err(no_answer)?;
    match expected {
        Some(key) if key != description.key => Err(ProviderError::new(
            ProviderErrorKind::Denied,
            format!("another key answers for it: {}, expected {key}", description.key),
        )),
        _ => Ok(description),
    }
}

fn decode_signature(text: &str) -> Option<[u8; 64]> {
    let digit = |at: usize| text.get(2 * at..2 * at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let mut signature = [0; 64];
    for (at, byte) in signature.iter_mut().enumerate() {
        *byte = digit(at)?;
    }
    (text.len() == 128).then_some(signature)
}

impl Remote {
    /// The processes of this provider at this place.
    #[must_use]
    pub fn new(
        bus: Arc<dyn Bus>,
        subjects: &Subjects,
        id: &ProviderId,
        place: &Place,
        scope: TaskScope,
    ) -> Self {
        let name = process_name(id, place);
        Self {
            bus,
            calls: subjects.provider_call(&name).into(),
            links: subjects.provider_links(&name).into(),
            id: id.clone(),
            scope,
            ends: None,
            listen: None,
        }
    }

    /// Fails what is in hand as soon as the process ends.
    #[must_use]
    pub fn ending_with(mut self, ends: Ends) -> Self {
        self.ends = Some(ends);
        self
    }

    /// The provider as a host binds it.
    #[must_use]
    pub fn provider(mut self, description: &Description) -> Provider {
        self.listen = description.listen;
        match description.capability {
            Capability::KeyValue => Provider::KeyValue(Arc::new(self)),
            Capability::Messaging => Provider::Messaging(Arc::new(self)),
            Capability::HttpServer => Provider::HttpServer(Arc::new(self)),
            Capability::HttpClient => Provider::HttpClient(Arc::new(self)),
            Capability::BlobStore => Provider::BlobStore(Arc::new(self)),
        }
    }

    pub(super) fn listens_on(&self) -> SocketAddr {
        self.listen.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)))
    }

    /// Largest body that fits a call.
    pub(super) fn max_body(&self) -> usize {
        crate::forward::max_body(self.bus.max_payload())
    }

    /// One call: the answer's bytes.
    pub(super) async fn call(
        &self,
        cx: &CallContext,
        operation: Operation,
        values: &[Option<Bytes>],
    ) -> Result<Bytes, ProviderError> {
        if values.len() > MAX_VALUES {
            return Err(Report::new(ErrorCode::TooLarge, "too many values in one call")
                .got(values.len())
                .limit(MAX_VALUES)
                .into());
        }
        let remaining = cx.remaining();
        let call = ProviderCall {
            source: cx.source.clone(),
            link: cx.link.clone(),
            config: (*cx.config).clone(),
            remaining_ms: u64::try_from(remaining.as_millis()).unwrap_or(u64::MAX),
            traceparent: cx.traceparent.as_deref().map(str::to_owned),
            operation,
        };
        let message = BusMessage::new(&*self.calls, call.encode(values)?);
        self.ask(message, remaining).await
    }

    /// Sends one request. Nobody there, or not connected, is [`ProviderErrorKind::Unreachable`]:
    /// nothing was received, so it may be repeated.
    pub(super) async fn ask(&self, message: BusMessage, patience: Duration) -> Result<Bytes, ProviderError> {
        if patience.is_zero() {
            return Err(self.failed(ProviderErrorKind::Timeout, "no time left"));
        }
        let answer = tokio::select! {
            biased;
            answer = self.bus.request(message, patience) => answer,
            () = self.ended() => {
                return Err(self.failed(ProviderErrorKind::Failed, "its process ended during the call"));
            }
        };
        match answer {
            Ok(answer) => decode_reply(answer.payload).map_err(|report| match report.code {
                ErrorCode::Malformed => no_answer(report.what),
                _ => report.into(),
            }),
            Err(lattice_io::BusError::NoResponders { .. }) => {
                Err(self.failed(ProviderErrorKind::Unreachable, "no process of it runs"))
            }
            Err(lattice_io::BusError::Timeout { waited_ms, .. }) => {
                Err(self.failed(ProviderErrorKind::Timeout, &format!("no answer within {waited_ms} ms")))
            }
            Err(other) => Err(other.into()),
        }
    }

    fn failed(&self, kind: ProviderErrorKind, what: &str) -> ProviderError {
        ProviderError::new(kind, format!("provider {}: {what}", self.id))
    }

    async fn ended(&self) {
        if let Some(ends) = &self.ends {
            let mut ends = ends.clone();
            ends.mark_unchanged();
            if ends.changed().await.is_ok() {
                return;
            }
        }
        // Nobody watches it: the answer, or the deadline.
        std::future::pending().await
    }

    /// A call whose answer says nothing.
    pub(super) async fn tell(
        &self,
        cx: &CallContext,
        operation: Operation,
        values: &[Option<Bytes>],
    ) -> Result<(), ProviderError> {
        match self.call(cx, operation, values).await?.len() {
            0 => Ok(()),
            other => Err(no_answer(format!("{other} bytes where none are due"))),
        }
    }

    /// A call whose answer is JSON.
    pub(super) async fn json<T: serde::de::DeserializeOwned>(
        &self,
        cx: &CallContext,
        operation: Operation,
        values: &[Option<Bytes>],
    ) -> Result<T, ProviderError> {
        from_json(&self.call(cx, operation, values).await?)
    }

    /// A call whose answer is this many values.
    pub(super) async fn values(
        &self,
        cx: &CallContext,
        operation: Operation,
        (values, expected): (&[Option<Bytes>], usize),
    ) -> Result<Vec<Option<Bytes>>, ProviderError> {
        let answer = self.call(cx, operation, values).await?;
        let values = unpack(&answer).map_err(|report| no_answer(report.what))?;
        if values.len() != expected {
            return Err(no_answer(format!("{} values where {expected} are due", values.len())));
        }
        Ok(values)
    }
}
