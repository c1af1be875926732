//! `wasmcloud:messaging/handler`: messages that come in. An error of the guest's own is
//! `E_GUEST`: whoever delivered the message decides whether it comes again.

use crate::component::{Code, Place};
use crate::instance::Instance;
use crate::state::InstanceState;
use crate::worker::Answer;
use lattice_protocol::{ErrorCode, Report};
use providers_sdk::messaging::Message;
use wasmtime::component::{Accessor, ComponentType, Lift, Lower, TypedFunc};

/// `wasmcloud:messaging/types.broker-message`.
#[derive(ComponentType, Lower, Lift)]
#[component(record)]
struct BrokerMessage {
    subject: String,
    body: Vec<u8>,
    #[component(name = "reply-to")]
    reply_to: Option<String>,
}

type Handler = TypedFunc<(BrokerMessage,), (Result<(), String>,)>;

impl From<Message> for BrokerMessage {
    fn from(message: Message) -> Self {
        Self { subject: message.subject, body: message.body.into(), reply_to: message.reply_to }
    }
}

/// Has the guest handle a message.
pub(crate) async fn handle(
    instance: &mut Instance,
    handler: Place,
    message: Message,
) -> wasmtime::Result<Result<(), Report>> {
    let Instance { code, store, instance, .. } = instance;
    store.data_mut().call.reply_to.clone_from(&message.reply_to);
    let handler: Handler = instance.get_typed_func(&mut *store, code.index(handler)?)?;
    let subject = message.subject.clone();
    let (answer,) = handler.call_async(store, (message.into(),)).await?;
    Ok(answer.map_err(|words| refused(&subject, &words)))
}

/// The same in a concurrent instance.
pub(crate) async fn handle_concurrent(
    accessor: &Accessor<InstanceState>,
    (code, guest): (&Code, wasmtime::component::Instance),
    handler: Place,
    message: Message,
    answer: Answer<()>,
) -> wasmtime::Result<()> {
    let handler: Handler = accessor.with(|mut access| {
        access.data_mut().call.reply_to.clone_from(&message.reply_to);
        guest.get_typed_func(&mut access, code.index(handler)?)
    })?;
    let subject = message.subject.clone();
    let (outcome,) = handler.call_concurrent(accessor, (message.into(),)).await?;
    // Whoever delivered it may have stopped waiting.
    let _ = answer.send(outcome.map_err(|words| refused(&subject, &words)));
    Ok(())
}

fn refused(subject: &str, words: &str) -> Report {
    let words: String = words.chars().take(1_000).collect();
    Report::new(ErrorCode::Guest, words).at(format!("message on {subject}"))
}
