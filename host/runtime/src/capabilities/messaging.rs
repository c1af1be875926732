//! `wasmcloud:messaging/consumer` over a link to a [`Messaging`] broker.
//!
//! What a guest names is checked before it leaves: subjects are literal and never the server's or
//! the lattice's own, a reply subject counts as a publish, and no guest sets a header. The one
//! inbox a call may publish to is the one that the message it handles asks to be answered at.

use super::bindings::messaging::wasmcloud::messaging::{consumer, types};
use super::{interface, trap};
use crate::grants;
use crate::state::{CallScope, InstanceState};
use crate::wiring::{BoundLink, BoundTarget, Repeat};
use lattice_protocol::{LinkName, Report};
use providers_sdk::messaging::{KEY_HEADER, Message, Messaging};
use std::sync::Arc;
use std::time::{Duration, Instant};
use wasmtime::component::{HasSelf, Linker};

interface!(CONSUMER = "wasmcloud:messaging/consumer@0.2.0");

pub(crate) fn link(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    types::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
    consumer::add_to_linker::<_, HasSelf<_>>(linker, |state| state)
}

impl types::Host for InstanceState {}

/// Publishes by a link of this name, under a key that is the same on every attempt.
///
/// # Errors
/// No such link, not granted, or what the broker says.
pub(crate) async fn publish_keyed(
    scope: &CallScope,
    link: &LinkName,
    message: (&str, bytes::Bytes),
    key: &str,
) -> Result<(), Report> {
    let link = scope.resolve(&CONSUMER, Some(link))?;
    scope.publish_under(link, message, key).await
}

type Answer<T> = wasmtime::Result<Result<T, String>>;

/// What a guest may be told as text.
fn told<T>(result: Result<T, Report>) -> Answer<T> {
    Ok(result.map_err(|report| report.to_string()))
}

fn broker(link: &BoundLink) -> Result<&dyn Messaging, Report> {
    match link.target() {
        BoundTarget::Messaging(broker) => Ok(broker.as_ref()),
        _ => Err(link.mismatch(&CONSUMER)),
    }
}

impl CallScope {
    fn may_publish(&self, link: &BoundLink, subject: &str) -> Result<(), Report> {
        if self.reply_to.as_deref() == Some(subject) {
            grants::reply(link.definition(), subject)
        } else {
            grants::publish(link.definition(), subject)
        }
    }

    async fn publish_by(&self, link: Arc<BoundLink>, message: types::BrokerMessage) -> Result<(), Report> {
        self.may_publish(&link, &message.subject)?;
        if let Some(reply_to) = &message.reply_to {
            self.may_publish(&link, reply_to)?;
        }
        self.fits("message", message.body.len())?;
        let broker = broker(&link)?;
        let message = Message {
            subject: message.subject,
            body: message.body.into(),
            reply_to: message.reply_to,
            headers: Vec::new(),
        };
        let (scope, link, message) = (self, &*link, &message);
        link.guarded(scope.info.deadline, Repeat::Unsent, |until| {
            let context = link.context(scope, until);
            async move { broker.publish(&context, message.clone()).await }
        })
        .await
    }

    async fn publish_under(
        &self,
        link: Arc<BoundLink>,
        (subject, body): (&str, bytes::Bytes),
        key: &str,
    ) -> Result<(), Report> {
        grants::publish(link.definition(), subject)?;
        self.fits("message", body.len())?;
        let broker = broker(&link)?;
        let headers = vec![(KEY_HEADER.to_owned(), key.to_owned())];
        let message = Message { subject: subject.to_owned(), body, reply_to: None, headers };
        let (scope, link, message) = (self, &*link, &message);
        // Whoever repeats it under the same key does no harm.
        link.guarded(scope.info.deadline, Repeat::Freely, |until| {
            let context = link.context(scope, until);
            async move { broker.publish(&context, message.clone()).await }
        })
        .await
    }

    async fn request_by(
        &self,
        link: Arc<BoundLink>,
        subject: String,
        body: Vec<u8>,
        timeout_ms: u32,
    ) -> Result<types::BrokerMessage, Report> {
        self.may_publish(&link, &subject)?;
        self.fits("message", body.len())?;
        let broker = broker(&link)?;
        let message = Message { subject, body: body.into(), reply_to: None, headers: Vec::new() };
        let patience = Instant::now() + Duration::from_millis(timeout_ms.into());
        let deadline = self.info.deadline.min(patience);
        let (scope, link, message) = (self, &*link, &message);
        let answer = link
            .guarded(deadline, Repeat::Unsent, |until| {
                let context = link.context(scope, until);
                async move { broker.request(&context, message.clone()).await }
            })
            .await?;
        self.fits("answer", answer.body.len())?;
        Ok(types::BrokerMessage {
            subject: answer.subject,
            body: answer.body.into(),
            reply_to: answer.reply_to,
        })
    }
}

impl InstanceState {
    /// `consumer.publish` by the link that this label (or the default) leads to.
    pub(crate) async fn publish_message(
        &mut self,
        label: Option<&LinkName>,
        message: types::BrokerMessage,
    ) -> Answer<()> {
        let link = self.call.resolve(&CONSUMER, label).map_err(trap)?;
        told(self.call.publish_by(link, message).await)
    }

    /// `consumer.request` by the link that this label (or the default) leads to.
    pub(crate) async fn request_message(
        &mut self,
        label: Option<&LinkName>,
        (subject, body, timeout_ms): (String, Vec<u8>, u32),
    ) -> Answer<types::BrokerMessage> {
        let link = self.call.resolve(&CONSUMER, label).map_err(trap)?;
        told(self.call.request_by(link, subject, body, timeout_ms).await)
    }
}

impl consumer::Host for InstanceState {
    async fn request(
        &mut self,
        subject: String,
        body: Vec<u8>,
        timeout_ms: u32,
    ) -> Answer<types::BrokerMessage> {
        self.request_message(None, (subject, body, timeout_ms)).await
    }

    async fn publish(&mut self, message: types::BrokerMessage) -> Answer<()> {
        self.publish_message(None, message).await
    }
}
