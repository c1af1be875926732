//! Messaging over the lattice: the caller's half, and the process's.

use super::client::Remote;
use super::wire::{Operation, Wanted, no_answer};
use crate::forward::{read_message, write_message};
use crate::messaging::{Message, MessageHandler, Messaging, SubscribeRequest, Subscription};
use crate::{BoxFuture, CallContext, ProviderError};
use bytes::Bytes;
use futures::FutureExt;
use lattice_protocol::Report;
use std::sync::Arc;

impl Messaging for Remote {
    fn publish<'a>(
        &'a self,
        cx: &'a CallContext,
        message: Message,
    ) -> BoxFuture<'a, Result<(), ProviderError>> {
        async move { self.tell(cx, Operation::Publish, &[Some(write_message(message)?)]).await }.boxed()
    }

    fn request<'a>(
        &'a self,
        cx: &'a CallContext,
        message: Message,
    ) -> BoxFuture<'a, Result<Message, ProviderError>> {
        async move {
            let answer = self.call(cx, Operation::Request, &[Some(write_message(message)?)]).await?;
            read_message(&answer).map_err(|report| no_answer(report.what))
        }
        .boxed()
    }

    fn subscribe<'a>(
        &'a self,
        request: SubscribeRequest,
        handler: Arc<dyn MessageHandler>,
    ) -> BoxFuture<'a, Result<Box<dyn Subscription>, ProviderError>> {
        async move {
            let lease = self.lease(handler.target(), Wanted::Subscription(request)).await?;
            Ok(Box::new(lease) as Box<dyn Subscription>)
        }
        .boxed()
    }
}

/// Publishes, in the process.
pub(super) async fn publish(
    broker: &dyn Messaging,
    cx: &CallContext,
    message: &Bytes,
) -> Result<Bytes, Report> {
    broker.publish(cx, read_message(message)?).await?;
    Ok(Bytes::new())
}

/// Asks, in the process.
pub(super) async fn request(
    broker: &dyn Messaging,
    cx: &CallContext,
    message: &Bytes,
) -> Result<Bytes, Report> {
    write_message(broker.request(cx, read_message(message)?).await?)
}
