//! Stored publishes and durable consumers.

use crate::{BRIEFLY, Fixture, SOON};
use anyhow::{Context, Result, ensure};
use lattice_io::stream::{Pull, Retention};
use lattice_io::{
    BusMessage, Clock, Consumer, ConsumerOptions, Delivery, ReadFrom, StreamError, StreamOptions,
};
use std::sync::Arc;
use std::time::Duration;

crate::conformance! {
    a_message_with_a_known_id_is_stored_once,
    the_stream_of_a_subject_is_found,
    what_the_bus_carries_is_stored_too,
    a_message_that_is_not_done_comes_again,
    a_message_that_is_never_done_is_given_up,
    no_more_is_under_way_than_allowed,
    a_consumer_goes_on_where_it_stopped,
    two_who_pull_share_the_work,
    a_work_queue_forgets_what_is_done,
    what_waits_is_counted,
    a_pull_ends_when_its_time_is_over,
    a_pull_ends_with_its_stream,
    a_reader_takes_nothing_away_and_begins_where_it_is_told,
}

fn options(durable: &str) -> ConsumerOptions {
    ConsumerOptions {
        durable: durable.to_owned(),
        filter_subjects: Vec::new(),
        max_ack_pending: 100,
        max_deliver: 5,
        ack_wait: SOON,
    }
}

async fn orders(fixture: &Fixture) -> Result<()> {
    let options = StreamOptions::new("ORDERS", vec!["orders.>".to_owned()]);
    fixture.lattice.streams.ensure(options.clone()).await?;
    fixture.lattice.streams.ensure(options).await?;
    Ok(())
}

async fn what_waits_is_counted(fixture: &Fixture) -> Result<()> {
    orders(fixture).await?;
    let only = ConsumerOptions { filter_subjects: vec!["orders.eu".to_owned()], ..options("counted") };
    let consumer = consumer(fixture, only).await?;
    ensure!(consumer.waiting().await? == 0);
    for (subject, body) in [("orders.eu", "1"), ("orders.us", "2"), ("orders.eu", "3")] {
        publish(fixture, subject, body).await?;
    }
    ensure!(consumer.waiting().await? == 2);
    let mut pull = consumer.pull(1, SOON).await?;
    // What is in hand does not wait.
    one(&mut pull).await?.ack().await?;
    ensure!(consumer.waiting().await? == 1);
    let reader = fixture.lattice.streams.read("ORDERS", ReadFrom::All).await?;
    ensure!(reader.waiting().await? == 3);
    ensure!(fixture.lattice.streams.delete("ORDERS").await?);
    ensure!(consumer.waiting().await.is_err());
    Ok(())
}

async fn publish(fixture: &Fixture, subject: &str, body: &str) -> Result<u64> {
    let message = BusMessage::new(subject, body.to_owned());
    Ok(fixture.lattice.streams.publish(message, None, SOON).await?.sequence)
}

async fn consumer(fixture: &Fixture, options: ConsumerOptions) -> Result<Arc<dyn Consumer>> {
    Ok(fixture.lattice.streams.consumer("ORDERS", options).await?)
}

async fn one(pull: &mut Pull) -> Result<Delivery> {
    tokio::time::timeout(SOON, pull.next()).await?.context("the pull ended")
}

fn body(delivery: &Delivery) -> &str {
    std::str::from_utf8(&delivery.message.payload).unwrap()
}

async fn a_message_with_a_known_id_is_stored_once(fixture: &Fixture) -> Result<()> {
    orders(fixture).await?;
    let streams = &fixture.lattice.streams;
    let send = || streams.publish(BusMessage::new("orders.new", "x"), Some("id-1"), SOON);
    let (first, second) = (send().await?, send().await?);
    assert_eq!((first.stream.as_str(), first.sequence, first.duplicate), ("ORDERS", 1, false));
    assert_eq!((second.sequence, second.duplicate), (1, true));
    assert_eq!(publish(fixture, "orders.new", "y").await?, 2);
    let error = publish(fixture, "elsewhere", "x").await.unwrap_err();
    let error = error.downcast::<StreamError>()?;
    assert_eq!(error, StreamError::NotFound { what: "elsewhere".to_owned() });
    Ok(())
}

async fn the_stream_of_a_subject_is_found(fixture: &Fixture) -> Result<()> {
    orders(fixture).await?;
    let streams = &fixture.lattice.streams;
    assert_eq!(streams.find("orders.a.b").await?.as_deref(), Some("ORDERS"));
    assert_eq!(streams.find("orders").await?, None);
    ensure!(streams.delete("ORDERS").await? && !streams.delete("ORDERS").await?);
    assert_eq!(streams.find("orders.a.b").await?, None);
    let gone = streams.consumer("ORDERS", options("c")).await;
    ensure!(matches!(gone.err(), Some(StreamError::NotFound { .. })));
    Ok(())
}

async fn what_the_bus_carries_is_stored_too(fixture: &Fixture) -> Result<()> {
    orders(fixture).await?;
    let message = BusMessage::new("orders.plain", "x").with_header("A", "b");
    fixture.lattice.bus.publish(message).await?;
    let answer = fixture.lattice.bus.request(BusMessage::new("orders.asked", "y"), SOON).await?;
    ensure!(std::str::from_utf8(&answer.payload)?.contains("ORDERS"), "a stream confirms to whoever asks");
    let mut pull = consumer(fixture, options("c")).await?.pull(2, SOON).await?;
    let first = one(&mut pull).await?;
    assert_eq!((first.message.subject.as_str(), body(&first), first.sequence), ("orders.plain", "x", 1));
    assert_eq!((first.message.header("a"), &first.message.reply), (Some("b"), &None));
    assert_eq!(body(&one(&mut pull).await?), "y");
    Ok(())
}

async fn a_message_that_is_not_done_comes_again(fixture: &Fixture) -> Result<()> {
    orders(fixture).await?;
    publish(fixture, "orders.a", "1").await?;
    publish(fixture, "orders.b", "2").await?;
    let filtered = ConsumerOptions {
        filter_subjects: vec!["orders.a".to_owned(), "orders.c".to_owned()],
        ack_wait: Duration::from_millis(200),
        ..options("c")
    };
    let mut pull = consumer(fixture, filtered).await?.pull(10, SOON).await?;
    let first = one(&mut pull).await?;
    assert_eq!((body(&first), first.attempt), ("1", 1));
    first.again(Duration::from_millis(1)).await?;
    let second = one(&mut pull).await?;
    assert_eq!((body(&second), second.attempt, second.sequence), ("1", 2, first.sequence));
    // Not answered at all: it comes again when the time for an answer is over.
    let third = one(&mut pull).await?;
    assert_eq!((body(&third), third.attempt), ("1", 3));
    third.ack().await?;
    fixture.lattice.bus.flush().await?;
    publish(fixture, "orders.c", "3").await?;
    assert_eq!(body(&one(&mut pull).await?), "3");
    Ok(())
}

async fn a_message_that_is_never_done_is_given_up(fixture: &Fixture) -> Result<()> {
    orders(fixture).await?;
    publish(fixture, "orders.poison", "1").await?;
    publish(fixture, "orders.refused", "2").await?;
    let strict = ConsumerOptions { max_deliver: 2, max_ack_pending: 1, ..options("c") };
    let mut pull = consumer(fixture, strict).await?.pull(10, SOON).await?;
    for attempt in 1..=2 {
        let delivery = one(&mut pull).await?;
        assert_eq!((body(&delivery), delivery.attempt), ("1", attempt));
        delivery.again(Duration::from_millis(1)).await?;
    }
    let refused = one(&mut pull).await?;
    assert_eq!((body(&refused), refused.attempt), ("2", 1));
    refused.never().await?;
    publish(fixture, "orders.good", "3").await?;
    assert_eq!(body(&one(&mut pull).await?), "3");
    Ok(())
}

async fn no_more_is_under_way_than_allowed(fixture: &Fixture) -> Result<()> {
    orders(fixture).await?;
    for n in 0..3 {
        publish(fixture, "orders.new", &n.to_string()).await?;
    }
    let narrow = ConsumerOptions { max_ack_pending: 2, ..options("c") };
    let mut pull = consumer(fixture, narrow).await?.pull(10, SOON).await?;
    let (first, _second) = (one(&mut pull).await?, one(&mut pull).await?);
    ensure!(tokio::time::timeout(BRIEFLY, pull.next()).await.is_err(), "two are under way");
    first.working().await?;
    ensure!(tokio::time::timeout(BRIEFLY, pull.next()).await.is_err(), "still two");
    first.ack().await?;
    assert_eq!(body(&one(&mut pull).await?), "2");
    Ok(())
}

async fn a_consumer_goes_on_where_it_stopped(fixture: &Fixture) -> Result<()> {
    orders(fixture).await?;
    for n in 0..4 {
        publish(fixture, "orders.new", &n.to_string()).await?;
    }
    let mut pull = consumer(fixture, options("c")).await?.pull(2, SOON).await?;
    for expected in ["0", "1"] {
        let delivery = one(&mut pull).await?;
        assert_eq!(body(&delivery), expected);
        delivery.ack().await?;
    }
    ensure!(tokio::time::timeout(SOON, pull.next()).await?.is_none(), "two were asked for");
    let mut pull = consumer(fixture, options("c")).await?.pull(2, SOON).await?;
    assert_eq!(body(&one(&mut pull).await?), "2");
    let mut other = consumer(fixture, options("another")).await?.pull(1, SOON).await?;
    assert_eq!(body(&one(&mut other).await?), "0");
    Ok(())
}

async fn two_who_pull_share_the_work(fixture: &Fixture) -> Result<()> {
    orders(fixture).await?;
    let (left, right) = (consumer(fixture, options("c")).await?, consumer(fixture, options("c")).await?);
    let mut seen = Vec::new();
    for n in 0..10 {
        publish(fixture, "orders.new", &n.to_string()).await?;
    }
    for _ in 0..5 {
        for consumer in [&left, &right] {
            let mut pull = consumer.pull(1, SOON).await?;
            let delivery = one(&mut pull).await?;
            seen.push(body(&delivery).parse::<u32>()?);
            delivery.ack().await?;
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..10).collect::<Vec<_>>());
    Ok(())
}

async fn a_work_queue_forgets_what_is_done(fixture: &Fixture) -> Result<()> {
    let queue = StreamOptions {
        retention: Retention::WorkQueue,
        ..StreamOptions::new("ORDERS", vec!["orders.>".to_owned()])
    };
    fixture.lattice.streams.ensure(queue).await?;
    publish(fixture, "orders.new", "1").await?;
    let workers = consumer(fixture, options("workers")).await?;
    let second = fixture.lattice.streams.consumer("ORDERS", options("others")).await;
    ensure!(matches!(second.err(), Some(StreamError::Refused { .. })), "one consumer per work queue");
    one(&mut workers.pull(1, SOON).await?).await?.ack().await?;
    publish(fixture, "orders.new", "2").await?;
    assert_eq!(body(&one(&mut workers.pull(1, SOON).await?).await?), "2");
    Ok(())
}

async fn a_pull_ends_when_its_time_is_over(fixture: &Fixture) -> Result<()> {
    orders(fixture).await?;
    let mut pull = consumer(fixture, options("c")).await?.pull(5, BRIEFLY).await?;
    ensure!(tokio::time::timeout(SOON, pull.next()).await?.is_none());
    publish(fixture, "orders.new", "1").await?;
    let mut pull = consumer(fixture, options("c")).await?.pull(5, SOON).await?;
    assert_eq!(body(&one(&mut pull).await?), "1");
    Ok(())
}

async fn a_pull_ends_with_its_stream(fixture: &Fixture) -> Result<()> {
    orders(fixture).await?;
    let mut pull = consumer(fixture, options("c")).await?.pull(5, 2 * SOON).await?;
    ensure!(tokio::time::timeout(BRIEFLY, pull.next()).await.is_err());
    fixture.lattice.streams.delete("ORDERS").await?;
    ensure!(tokio::time::timeout(SOON, pull.next()).await?.is_none());
    Ok(())
}

async fn a_reader_takes_nothing_away_and_begins_where_it_is_told(fixture: &Fixture) -> Result<()> {
    orders(fixture).await?;
    let streams = &fixture.lattice.streams;
    publish(fixture, "orders.a", "1").await?;
    // Times are in milliseconds: let one pass between the two.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let between = lattice_io::SystemClock::new().unix_ms();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let fresh = streams.read("ORDERS", ReadFrom::Now).await?;
    publish(fixture, "orders.b", "2").await?;
    for (from, expected) in [
        (ReadFrom::All, &["1", "2"][..]),
        (ReadFrom::All, &["1", "2"]),
        (ReadFrom::Since(between), &["2"]),
        (ReadFrom::Sequence(0), &["1", "2"]),
        (ReadFrom::Sequence(2), &["2"]),
    ] {
        let mut pull = streams.read("ORDERS", from).await?.pull(expected.len(), SOON).await?;
        for body_expected in expected {
            assert_eq!(body(&one(&mut pull).await?), *body_expected, "{from:?}");
        }
    }
    assert_eq!(body(&one(&mut fresh.pull(1, SOON).await?).await?), "2");
    let missing = streams.read("NOWHERE", ReadFrom::All).await;
    ensure!(matches!(missing.err(), Some(StreamError::NotFound { .. })));
    Ok(())
}
