//! What is this provider's own; the behaviour of messages is tested with `messaging-nats`.

use super::*;
use anyhow::{Context, Result, bail, ensure};
use lattice_protocol::LinkName;
use providers_sdk::CallContext;
use providers_sdk::messaging::{Durable, Handled, Message, MessageHandler, Messaging, SubscribeRequest};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(20);

/// Passes on what it is handed.
struct Seen(tokio::sync::mpsc::Sender<Message>);

impl MessageHandler for Seen {
    fn handle(&self, message: Message) -> BoxFuture<'_, Handled> {
        self.0.try_send(message).ok();
        Box::pin(std::future::ready(Handled::Done))
    }
}

async fn build(config: &[(&str, &str)]) -> Result<Arc<dyn Messaging>> {
    let config = config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let context = BuildContext { id: "app/bus".parse()?, data_dir: std::path::PathBuf::new(), config };
    let built = EmbeddedMessagingFactory::new(TaskScope::new("test")).build(context).await?;
    let Provider::Messaging(messaging) = built else { bail!("messaging") };
    Ok(messaging)
}

fn context() -> CallContext {
    CallContext {
        source: "app/actor".parse().unwrap(),
        link: LinkName::default_name(),
        config: Arc::default(),
        deadline: Instant::now() + SOON,
        traceparent: None,
    }
}

fn message(subject: &str, size: usize) -> Message {
    let body = vec![b'x'; size].into();
    Message { subject: subject.to_owned(), body, reply_to: None, headers: Vec::new() }
}

fn request(durable: Option<Durable>) -> SubscribeRequest {
    SubscribeRequest { subjects: vec!["orders.>".to_owned()], group: None, durable, max_in_flight: 8 }
}

#[tokio::test]
async fn messages_reach_who_subscribes_to_the_same_provider_and_no_other() -> Result<()> {
    let (one, other) = (build(&[]).await?, build(&[]).await?);
    let (seen, mut messages) = tokio::sync::mpsc::channel(16);
    let (seen_other, mut none) = tokio::sync::mpsc::channel(16);
    let _subscription = one.subscribe(request(None), Arc::new(Seen(seen))).await?;
    let _other = other.subscribe(request(None), Arc::new(Seen(seen_other))).await?;
    one.publish(&context(), message("orders.new", 3)).await?;
    let got = tokio::time::timeout(SOON, messages.recv()).await?.context("a message")?;
    assert_eq!(got, message("orders.new", 3));
    ensure!(none.try_recv().is_err());
    Ok(())
}

#[tokio::test]
async fn a_configured_stream_keeps_messages_for_who_comes_later() -> Result<()> {
    let messaging = build(&[("streams", "ORDERS=orders.>")]).await?;
    messaging.publish(&context(), message("orders.new", 3)).await?;
    let durable =
        Durable { stream: "ORDERS".to_owned(), name: "workers".to_owned(), max_deliver: 3, ack_wait: SOON };
    let (seen, mut messages) = tokio::sync::mpsc::channel(16);
    let _subscription = messaging.subscribe(request(Some(durable)), Arc::new(Seen(seen))).await?;
    let got = tokio::time::timeout(SOON, messages.recv()).await?.context("a message")?;
    assert_eq!(got.subject, "orders.new");
    Ok(())
}

/// Never done with what it is handed.
struct Stuck;

impl MessageHandler for Stuck {
    fn handle(&self, _: Message) -> providers_sdk::BoxFuture<'_, Handled> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn a_durable_subscription_says_what_waits_for_it_and_a_plain_one_does_not() -> Result<()> {
    let messaging = build(&[("streams", "ORDERS=orders.>")]).await?;
    let durable =
        Durable { stream: "ORDERS".to_owned(), name: "slow".to_owned(), max_deliver: 3, ack_wait: SOON };
    let slow = SubscribeRequest { max_in_flight: 1, ..request(Some(durable)) };
    let subscription = messaging.subscribe(slow, Arc::new(Stuck)).await?;
    let plain = messaging.subscribe(request(None), Arc::new(Stuck)).await?;
    for _ in 0..4 {
        messaging.publish(&context(), message("orders.new", 3)).await?;
    }
    // One of four is in hand.
    let three = async {
        while subscription.lag().await != Some(3) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, three).await?;
    assert_eq!(plain.lag().await, None);
    Ok(())
}

#[tokio::test]
async fn a_message_over_the_configured_limit_is_refused() -> Result<()> {
    let messaging = build(&[("max_payload_bytes", "2000")]).await?;
    messaging.publish(&context(), message("a", 2_000)).await?;
    let error = messaging.publish(&context(), message("a", 2_001)).await.unwrap_err();
    assert_eq!(
        (error.kind, error.message.as_str()),
        (ProviderErrorKind::TooLarge, "payload 2001 bytes, limit 2000 bytes: a")
    );
    Ok(())
}

#[test]
fn every_problem_of_a_configuration_is_told() {
    let config = BTreeMap::from([
        ("max_payload_bytes".to_owned(), "1".to_owned()),
        ("streams".to_owned(), "X=>".to_owned()),
        ("url".to_owned(), "nats://x".to_owned()),
    ]);
    let problems = EmbeddedMessagingFactory::new(TaskScope::new("test")).check(&config);
    assert_eq!(problems.len(), 3, "{problems:#?}");
}
