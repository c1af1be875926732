//! Messaging on a real nats-server and on the in-process bus: the same cases on both.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests: a panic is how they fail")]

use anyhow::{Context, Result, ensure};
use hand::{Hand, hand};
use lattice_io::memory::Memory;
use lattice_io::nats::{NatsLattice, NatsOptions, connect};
use lattice_io::{BusMessage, Lattice, TaskScope};
use lattice_protocol::LinkName;
use providers_sdk::messaging::{
    Durable, Handled, KEY_HEADER, Message, MessageHandler, Messaging, SubscribeRequest, Subscription,
};
use providers_sdk::over_lattice::{LatticeMessaging, StreamSpec};
use providers_sdk::testing::{Linked, far};
use providers_sdk::{CallContext, Provider, ProviderError, ProviderErrorKind};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tests_harness::{ChaosProxy, NatsServer};

mod factory;
mod hand;

/// Longer than anything here takes on a busy machine.
const SOON: Duration = Duration::from_secs(20);
/// Long enough to show that nothing comes, where nothing must.
const BRIEFLY: Duration = Duration::from_millis(100);

struct Fixture {
    lattice: Lattice,
    /// The broker itself, in this process.
    broker: Arc<LatticeMessaging>,
    /// What is tested: the broker, or the same one called in a process of its own.
    messaging: Arc<dyn Messaging>,
    /// Where that is served.
    far: Option<TaskScope>,
    backend: Backend,
}

enum Backend {
    Memory(Memory),
    Nats { proxy: ChaosProxy, _server: Box<NatsServer>, _client: Arc<NatsLattice> },
}

impl Fixture {
    fn new(lattice: Lattice, backend: Backend) -> Self {
        let broker = Arc::new(LatticeMessaging::new(&lattice, TaskScope::new("test")));
        Self { lattice, messaging: Arc::clone(&broker) as _, broker, far: None, backend }
    }

    /// The same broker, called over the lattice.
    async fn far(mut self) -> Result<Self> {
        let scope = TaskScope::new("far");
        let far = far(Provider::Messaging(self.messaging), &self.lattice.bus, &scope).await;
        let Provider::Messaging(messaging) = far else { anyhow::bail!("no broker came back") };
        (self.messaging, self.far) = (messaging, Some(scope));
        Ok(self)
    }

    fn memory() -> Self {
        let memory = Memory::new();
        Self::new(memory.lattice(), Backend::Memory(memory))
    }

    async fn nats() -> Result<Self> {
        let server = NatsServer::start(tests_harness::NatsOptions::default()).await?;
        let proxy = ChaosProxy::start(server.address()).await?;
        let client = connect(NatsOptions::new(format!("nats://{}", proxy.address()))).await?;
        Ok(Self::new(client.lattice(), Backend::Nats { proxy, _server: Box::new(server), _client: client }))
    }

    /// Takes the connection away for a moment.
    async fn interrupt(&self) -> Result<()> {
        use lattice_io::BusStatus::{Connected, Disconnected};
        let mut status = self.lattice.bus.status();
        match &self.backend {
            Backend::Memory(memory) => memory.set_connected(false),
            Backend::Nats { proxy, .. } => proxy.cut(),
        }
        tokio::time::timeout(SOON, status.wait_for(|now| *now == Disconnected)).await??;
        match &self.backend {
            Backend::Memory(memory) => memory.set_connected(true),
            Backend::Nats { proxy, .. } => proxy.heal(),
        }
        tokio::time::timeout(SOON, status.wait_for(|now| *now == Connected)).await??;
        Ok(())
    }

    async fn orders(&self) -> Result<()> {
        let stream = StreamSpec { name: "ORDERS".to_owned(), subjects: vec!["orders.>".to_owned()] };
        Ok(self.broker.ensure_streams(&[stream]).await?)
    }

    async fn publish(&self, subject: &str, body: &str) -> Result<()> {
        Ok(self.messaging.publish(&context(), message(subject, body)).await?)
    }

    async fn subscribe(&self, request: SubscribeRequest, hand: &Hand) -> Result<Box<dyn Subscription>> {
        let mut handler: Arc<dyn MessageHandler> = Arc::new(hand.clone());
        if let Some(scope) = &self.far {
            static NAMES: AtomicUsize = AtomicUsize::new(0);
            let name = format!("actor{}", NAMES.fetch_add(1, Ordering::SeqCst));
            handler = Linked::messages(&name, &self.lattice.bus, scope, handler).await;
        }
        Ok(self.messaging.subscribe(request, handler).await?)
    }
}

fn context() -> CallContext {
    CallContext {
        source: "app/actor".parse().unwrap(),
        link: LinkName::default_name(),
        config: Arc::new(BTreeMap::new()),
        deadline: Instant::now() + SOON,
        traceparent: None,
    }
}

fn message(subject: &str, body: &str) -> Message {
    Message { subject: subject.to_owned(), body: body.to_owned().into(), reply_to: None, headers: Vec::new() }
}

fn plain(subject: &str, max_in_flight: usize) -> SubscribeRequest {
    let group = Some("serve".to_owned());
    SubscribeRequest { subjects: vec![subject.to_owned()], group, durable: None, max_in_flight }
}

fn durable(max_in_flight: usize) -> SubscribeRequest {
    let durable =
        Durable { stream: "ORDERS".to_owned(), name: "workers".to_owned(), max_deliver: 3, ack_wait: SOON };
    SubscribeRequest {
        subjects: vec!["orders.new".to_owned()],
        group: None,
        durable: Some(durable),
        max_in_flight,
    }
}

macro_rules! conformance {
    ($($case:ident,)*) => {
        mod memory {
            $(#[tokio::test]
            async fn $case() {
                super::$case(&super::Fixture::memory()).await.unwrap();
            })*
        }
        mod nats {
            $(#[tokio::test]
            async fn $case() {
                super::$case(&super::Fixture::nats().await.unwrap()).await.unwrap();
            })*
        }
    };
}

/// In a process of its own: what does not hang on the order of messages handled at the same time,
/// nor on a cut that hits the broker and its caller alike.
macro_rules! far_conformance {
    ($($case:ident,)*) => {
        mod far_in_memory {
            $(#[tokio::test]
            async fn $case() {
                super::$case(&super::Fixture::memory().far().await.unwrap()).await.unwrap();
            })*
        }
        mod far_on_nats {
            $(#[tokio::test]
            async fn $case() {
                super::$case(&super::Fixture::nats().await.unwrap().far().await.unwrap()).await.unwrap();
            })*
        }
    };
}

far_conformance! {
    a_message_is_handled_once_per_group_without_reserved_headers,
    a_request_is_answered_through_its_reply_subject,
    a_request_without_answer_says_whether_it_was_heard,
    draining_finishes_what_is_in_hand_and_takes_no_more,
    a_dropped_subscription_finishes_what_is_in_hand,
    a_stored_message_comes_again_until_it_is_done,
    a_stored_message_waits_for_a_free_hand_with_the_broker,
    a_publish_returns_when_the_stream_has_it,
    what_is_sent_again_under_its_key_is_stored_once,
    a_subscription_that_cannot_be_is_refused,
}

conformance! {
    a_message_is_handled_once_per_group_without_reserved_headers,
    never_more_handlers_than_allowed,
    a_request_is_answered_through_its_reply_subject,
    a_request_without_answer_says_whether_it_was_heard,
    draining_finishes_what_is_in_hand_and_takes_no_more,
    a_dropped_subscription_finishes_what_is_in_hand,
    a_stored_message_comes_again_until_it_is_done,
    a_stored_message_waits_for_a_free_hand_with_the_broker,
    a_consumer_goes_on_after_an_interruption_and_after_its_stream_was_made_anew,
    a_publish_returns_when_the_stream_has_it,
    what_is_sent_again_under_its_key_is_stored_once,
    a_subscription_that_cannot_be_is_refused,
}

async fn a_message_is_handled_once_per_group_without_reserved_headers(fixture: &Fixture) -> Result<()> {
    let ((one, mut told), (audit, mut audited)) = (hand(), hand());
    let _members = (
        fixture.subscribe(plain("edge.*", 4), &one).await?,
        fixture.subscribe(plain("edge.temp", 4), &one).await?,
    );
    let everyone = SubscribeRequest { group: None, ..plain("edge.>", 4) };
    let _audit = fixture.subscribe(everyone, &audit).await?;
    let mut sent = message("edge.temp", "21");
    sent.headers = vec![
        ("Nats-Msg-Id".to_owned(), "1".to_owned()),
        ("nats-rollup".to_owned(), "all".to_owned()),
        ("Unit".to_owned(), "C".to_owned()),
    ];
    fixture.messaging.publish(&context(), sent.clone()).await?;
    sent.headers = vec![("Unit".to_owned(), "C".to_owned())];
    assert_eq!(told.begins().await?, sent);
    assert_eq!(audited.begins().await?, sent);
    ensure!(told.nothing_begins().await, "one member of the group");
    Ok(())
}

async fn what_is_sent_again_under_its_key_is_stored_once(fixture: &Fixture) -> Result<()> {
    fixture.orders().await?;
    let keyed = |subject: &str, body: &str| Message {
        headers: vec![(KEY_HEADER.to_owned(), "account/a-1-3-0".to_owned())],
        ..message(subject, body)
    };
    for _ in 0..3 {
        fixture.messaging.publish(&context(), keyed("orders.new", "1")).await?;
    }
    fixture.publish("orders.new", "2").await?;
    let (hand, mut told) = hand();
    let _subscription = fixture.subscribe(durable(1), &hand).await?;
    assert_eq!(told.body().await?, "1");
    told.do_it(Handled::Done);
    assert_eq!(told.body().await?, "2", "the first one is there once");
    told.do_it(Handled::Done);
    // Whoever stores it later, elsewhere, knows it by the same key.
    let (plain_hand, mut plainly) = self::hand();
    let _plain = fixture.subscribe(plain("edge.temp", 1), &plain_hand).await?;
    fixture.messaging.publish(&context(), keyed("edge.temp", "21")).await?;
    let headers = plainly.begins().await?.headers;
    assert_eq!(headers, [("Nats-Msg-Id".to_owned(), "account/a-1-3-0".to_owned())]);
    Ok(())
}

async fn never_more_handlers_than_allowed(fixture: &Fixture) -> Result<()> {
    let (hand, mut told) = hand();
    let _subscription = fixture.subscribe(plain("work", 2), &hand).await?;
    for n in 0..4 {
        fixture.publish("work", &n.to_string()).await?;
    }
    let first = [told.body().await?, told.body().await?];
    assert_eq!(first, ["0", "1"]);
    ensure!(told.nothing_begins().await, "two are in hand");
    told.do_it(Handled::Done);
    assert_eq!(told.body().await?, "2");
    ensure!(told.nothing_begins().await, "two again");
    Ok(())
}

async fn a_request_is_answered_through_its_reply_subject(fixture: &Fixture) -> Result<()> {
    let (hand, mut told) = hand();
    let _subscription = fixture.subscribe(plain("ask", 1), &hand).await?;
    let cx = context();
    let asked = fixture.messaging.request(&cx, message("ask", "2+2"));
    let answering = async {
        let question = told.begins().await?;
        let reply_to = question.reply_to.context("a reply subject")?;
        fixture.publish(&reply_to, "4").await
    };
    let (answer, answered) = tokio::join!(asked, answering);
    answered?;
    assert_eq!(answer?.body, "4");
    Ok(())
}

async fn a_request_without_answer_says_whether_it_was_heard(fixture: &Fixture) -> Result<()> {
    let error = fixture.messaging.request(&context(), message("nobody", "")).await.unwrap_err();
    ensure!(error.kind == ProviderErrorKind::Unreachable && error.is_unsent(), "{error:?}");
    ensure!(error.message.contains("NATS: subscription timeout"), "{error}");
    let (hand, _told) = hand();
    let _subscription = fixture.subscribe(plain("deaf", 1), &hand).await?;
    let mut hurry = context();
    hurry.deadline = Instant::now() + BRIEFLY;
    let error = fixture.messaging.request(&hurry, message("deaf", "")).await.unwrap_err();
    assert_eq!(error.kind, ProviderErrorKind::Timeout);
    Ok(())
}

async fn draining_finishes_what_is_in_hand_and_takes_no_more(fixture: &Fixture) -> Result<()> {
    let (hand, mut told) = hand();
    let subscription = fixture.subscribe(plain("work", 1), &hand).await?;
    fixture.publish("work", "1").await?;
    assert_eq!(told.body().await?, "1");
    let drained = subscription.drain();
    let finishing = async {
        ensure!(tokio::time::timeout(BRIEFLY, told.done.recv()).await.is_err(), "still at work");
        told.do_it(Handled::Done);
        Ok(())
    };
    let ((), finished) = tokio::join!(drained, finishing);
    finished?;
    ensure!(told.done.try_recv().is_ok(), "it was finished before the drain returned");
    let gone = fixture.lattice.bus.request(BusMessage::new("work", "2"), SOON).await;
    ensure!(gone.is_err() && told.nothing_begins().await, "nobody is subscribed");
    Ok(())
}

async fn a_dropped_subscription_finishes_what_is_in_hand(fixture: &Fixture) -> Result<()> {
    let (hand, mut told) = hand();
    let subscription = fixture.subscribe(plain("work", 1), &hand).await?;
    fixture.publish("work", "1").await?;
    assert_eq!(told.body().await?, "1");
    drop(subscription);
    tests_harness::eventually(SOON, "the subscription to end", || async {
        let outcome = fixture.lattice.bus.request(BusMessage::new("work", "x"), BRIEFLY).await;
        ensure!(matches!(outcome, Err(lattice_io::BusError::NoResponders { .. })), "{outcome:?}");
        Ok(())
    })
    .await?;
    told.do_it(Handled::Done);
    tokio::time::timeout(SOON, told.done.recv()).await?.context("it was finished")?;
    Ok(())
}

async fn a_stored_message_comes_again_until_it_is_done(fixture: &Fixture) -> Result<()> {
    fixture.orders().await?;
    let (hand, mut told) = hand();
    fixture.publish("orders.new", "poison").await?;
    fixture.publish("orders.other", "not for us").await?;
    fixture.publish("orders.new", "refused").await?;
    let subscription = fixture.subscribe(durable(1), &hand).await?;
    told.do_it(Handled::Again(Duration::from_millis(1)));
    assert_eq!(told.body().await?, "poison");
    // What comes again and what is new may come in either order.
    let mut seen = Vec::new();
    for outcome in [Handled::Never("malformed".to_owned()), Handled::Never("malformed".to_owned())] {
        told.do_it(outcome);
        seen.push(told.body().await?);
    }
    seen.sort();
    assert_eq!(seen, ["poison", "refused"]);
    fixture.publish("orders.new", "good").await?;
    told.do_it(Handled::Done);
    assert_eq!(told.body().await?, "good");
    subscription.drain().await;
    // A new subscription goes on behind what is done.
    fixture.publish("orders.new", "later").await?;
    let _again = fixture.subscribe(durable(1), &hand).await?;
    assert_eq!(told.body().await?, "later");
    Ok(())
}

async fn a_stored_message_waits_for_a_free_hand_with_the_broker(fixture: &Fixture) -> Result<()> {
    fixture.orders().await?;
    let ((slow, mut slow_told), (other, mut other_told)) = (hand(), hand());
    let _slow = fixture.subscribe(durable(1), &slow).await?;
    fixture.publish("orders.new", "1").await?;
    assert_eq!(slow_told.body().await?, "1");
    fixture.publish("orders.new", "2").await?;
    ensure!(slow_told.nothing_begins().await, "one hand only");
    // It was not taken by the busy one, so a member of the group gets it.
    let _other = fixture.subscribe(durable(1), &other).await?;
    assert_eq!(other_told.body().await?, "2");
    Ok(())
}

async fn a_consumer_goes_on_after_an_interruption_and_after_its_stream_was_made_anew(
    fixture: &Fixture,
) -> Result<()> {
    fixture.orders().await?;
    let (hand, mut told) = hand();
    for _ in 0..4 {
        told.do_it(Handled::Done);
    }
    let _subscription = fixture.subscribe(durable(4), &hand).await?;
    fixture.publish("orders.new", "1").await?;
    assert_eq!(told.body().await?, "1");
    fixture.interrupt().await?;
    fixture.publish("orders.new", "2").await?;
    assert_eq!(told.body().await?, "2");
    ensure!(fixture.lattice.streams.delete("ORDERS").await?);
    fixture.orders().await?;
    // The publisher remembers the stream; the consumer has to be made again.
    fixture.publish("orders.new", "3").await?;
    assert_eq!(told.body().await?, "3");
    Ok(())
}

async fn a_publish_returns_when_the_stream_has_it(fixture: &Fixture) -> Result<()> {
    fixture.orders().await?;
    fixture.publish("orders.new", "1").await?;
    let options = lattice_io::ConsumerOptions {
        durable: "look".to_owned(),
        filter_subjects: Vec::new(),
        max_ack_pending: 1,
        max_deliver: 1,
        ack_wait: SOON,
    };
    let consumer = fixture.lattice.streams.consumer("ORDERS", options).await?;
    let delivery = consumer.pull(1, SOON).await?.next().await.context("the message")?;
    assert_eq!(delivery.message.payload, "1");
    // Without its stream the subject is a plain one again.
    fixture.lattice.streams.delete("ORDERS").await?;
    let mut heard = fixture.lattice.bus.subscribe("orders.new", None).await?;
    let mut hurry = context();
    hurry.deadline = Instant::now() + BRIEFLY;
    // Somebody hears it, but no stream confirms it: where that is waited for, it is not known.
    if let Err(error) = fixture.messaging.publish(&hurry, message("orders.new", "2")).await {
        assert_eq!(error.kind, ProviderErrorKind::Timeout);
    }
    fixture.publish("orders.new", "3").await?;
    for body in ["2", "3"] {
        assert_eq!(tokio::time::timeout(SOON, heard.next()).await?.context("heard")?.payload, body);
    }
    Ok(())
}

async fn a_subscription_that_cannot_be_is_refused(fixture: &Fixture) -> Result<()> {
    let (hand, _told) = hand();
    let none = SubscribeRequest { subjects: Vec::new(), ..plain("a", 1) };
    for bad in [plain("a", 0), plain("a", 10_001), plain("a b", 1), none] {
        let refused = fixture.subscribe(bad, &hand).await.err().context("refused")?;
        assert_eq!(refused.downcast::<ProviderError>()?.kind, ProviderErrorKind::Invalid);
    }
    let missing = fixture.subscribe(durable(1), &hand).await.err().context("no such stream")?;
    assert_eq!(missing.downcast::<ProviderError>()?.kind, ProviderErrorKind::NotFound);
    Ok(())
}
