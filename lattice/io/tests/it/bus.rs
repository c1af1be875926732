//! Publish, request, subscribe: what every bus does.

use crate::{BRIEFLY, Fixture, SOON, next};
use anyhow::{Context, Result, ensure};
use lattice_io::{BusError, BusMessage, Subscription};
use std::time::Duration;

crate::conformance! {
    a_message_reaches_all_who_match_and_nobody_else,
    one_of_a_queue_group_receives_each_message,
    a_request_is_answered_with_headers,
    a_request_without_subscriber_fails_at_once,
    a_request_that_nobody_answers_times_out,
    a_message_over_the_limit_never_leaves,
    what_would_break_the_protocol_is_refused,
    a_dropped_subscription_is_gone,
    a_drained_subscription_yields_what_came_and_ends,
    without_a_server_everything_fails_at_once_and_comes_back,
    a_closed_bus_stays_closed,
}

async fn nothing(subscription: &mut Subscription) -> bool {
    tokio::time::timeout(BRIEFLY, subscription.next()).await.is_err()
}

async fn a_message_reaches_all_who_match_and_nobody_else(fixture: &Fixture) -> Result<()> {
    let bus = &fixture.lattice.bus;
    let mut exact = bus.subscribe("edge.a.temp", None).await?;
    let mut star = bus.subscribe("edge.*.temp", None).await?;
    let mut rest = bus.subscribe("edge.>", None).await?;
    let mut other = bus.subscribe("edge.b.*", None).await?;
    let message = BusMessage::new("edge.a.temp", "21").with_header("Unit", "C").with_reply("answers.here");
    bus.publish(message.clone()).await?;
    for subscription in [&mut exact, &mut star, &mut rest] {
        assert_eq!(next(subscription).await, message);
    }
    assert!(nothing(&mut other).await);
    Ok(())
}

async fn one_of_a_queue_group_receives_each_message(fixture: &Fixture) -> Result<()> {
    let bus = &fixture.lattice.bus;
    // A group is its name: members with other patterns belong to it too.
    let mut members = vec![
        bus.subscribe("work.a", Some("serve")).await?,
        bus.subscribe("work.*", Some("serve")).await?,
        bus.subscribe("work.>", Some("serve")).await?,
    ];
    let mut audit = bus.subscribe("work.a", None).await?;
    for n in 0..60 {
        bus.publish(BusMessage::new("work.a", format!("{n}"))).await?;
    }
    for n in 0..60 {
        assert_eq!(next(&mut audit).await.payload, format!("{n}"));
    }
    bus.flush().await?;
    let mut counts = Vec::new();
    for member in &mut members {
        let mut count = 0;
        while !nothing(member).await {
            count += 1;
        }
        counts.push(count);
    }
    ensure!(counts.iter().sum::<i32>() == 60 && counts.iter().all(|count| *count > 0), "{counts:?}");
    Ok(())
}

async fn a_request_is_answered_with_headers(fixture: &Fixture) -> Result<()> {
    let bus = &fixture.lattice.bus;
    let mut served = bus.subscribe("echo", Some("serve")).await?;
    let server = async {
        let request = next(&mut served).await;
        let answer = request.answer(request.payload.clone()).context("a reply subject")?;
        let trace = request.header("TRACEPARENT").context("the header")?.to_owned();
        bus.publish(answer.with_header("Seen", trace)).await?;
        Ok::<_, anyhow::Error>(())
    };
    let asked = bus.request(BusMessage::new("echo", "hi").with_header("traceparent", "00-1"), SOON);
    let (answer, served) = tokio::join!(asked, server);
    served?;
    let answer = answer?;
    assert_eq!((&answer.payload[..], answer.header("seen")), (&b"hi"[..], Some("00-1")));
    Ok(())
}

async fn a_request_without_subscriber_fails_at_once(fixture: &Fixture) -> Result<()> {
    let error = fixture.lattice.bus.request(BusMessage::new("nobody", ""), SOON).await.unwrap_err();
    assert_eq!(error, BusError::NoResponders { subject: "nobody".to_owned() });
    assert!(error.is_unsent());
    Ok(())
}

async fn a_request_that_nobody_answers_times_out(fixture: &Fixture) -> Result<()> {
    let bus = &fixture.lattice.bus;
    let _deaf = bus.subscribe("deaf", None).await?;
    let error = bus.request(BusMessage::new("deaf", ""), Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(error, BusError::Timeout { subject: "deaf".to_owned(), waited_ms: 50 });
    assert!(!error.is_unsent());
    Ok(())
}

async fn a_message_over_the_limit_never_leaves(fixture: &Fixture) -> Result<()> {
    let bus = &fixture.lattice.bus;
    let mut all = bus.subscribe("big", None).await?;
    let limit = bus.max_payload();
    assert_eq!(limit, 1 << 20);
    let over = BusMessage::new("big", vec![0; limit + 1]);
    let error = bus.publish(over.clone()).await.unwrap_err();
    assert_eq!(error, BusError::TooLarge { subject: "big".to_owned(), size: limit + 1, limit });
    assert_eq!(bus.request(over, SOON).await.unwrap_err(), error);
    let with_header = BusMessage::new("big", vec![0; limit]).with_header("A", "b");
    ensure!(matches!(bus.publish(with_header).await, Err(BusError::TooLarge { .. })), "headers count");
    bus.publish(BusMessage::new("big", vec![0; limit])).await?;
    assert_eq!(next(&mut all).await.payload.len(), limit);
    assert!(nothing(&mut all).await);
    Ok(())
}

async fn what_would_break_the_protocol_is_refused(fixture: &Fixture) -> Result<()> {
    let bus = &fixture.lattice.bus;
    let invalid = |result: Result<(), BusError>| matches!(result, Err(BusError::Invalid { .. }));
    for subject in ["", "a b", "a..b", "a.*", "a.>", "a\r\nPUB b 0\r\n"] {
        ensure!(invalid(bus.publish(BusMessage::new(subject, "")).await), "{subject:?}");
    }
    ensure!(invalid(bus.publish(BusMessage::new("a", "").with_header("A", "b\r\nC: d")).await), "header");
    ensure!(invalid(bus.publish(BusMessage::new("a", "").with_reply("a b")).await), "reply");
    ensure!(bus.subscribe("a.>.b", None).await.is_err() && bus.subscribe("a", Some("q q")).await.is_err());
    bus.flush().await?;
    Ok(())
}

async fn a_dropped_subscription_is_gone(fixture: &Fixture) -> Result<()> {
    let bus = &fixture.lattice.bus;
    drop(bus.subscribe("gone", None).await?);
    tests_harness::eventually(SOON, "nobody to be subscribed", || async {
        let outcome = bus.request(BusMessage::new("gone", ""), BRIEFLY).await;
        ensure!(matches!(outcome, Err(BusError::NoResponders { .. })), "{outcome:?}");
        Ok(())
    })
    .await
}

async fn a_drained_subscription_yields_what_came_and_ends(fixture: &Fixture) -> Result<()> {
    let bus = &fixture.lattice.bus;
    let mut subscription = bus.subscribe("drained", None).await?;
    bus.publish(BusMessage::new("drained", "1")).await?;
    bus.flush().await?;
    subscription.drain().await?;
    assert_eq!(next(&mut subscription).await.payload, "1");
    let end = tokio::time::timeout(SOON, subscription.next()).await?;
    assert_eq!(end, None);
    Ok(())
}

async fn without_a_server_everything_fails_at_once_and_comes_back(fixture: &Fixture) -> Result<()> {
    let bus = &fixture.lattice.bus;
    let mut before = bus.subscribe("back", None).await?;
    fixture.cut().await?;
    let mut during = bus.subscribe("back", None).await?;
    let disconnected = |error: BusError| matches!(&error, BusError::Disconnected { .. }) && error.is_unsent();
    ensure!(disconnected(bus.publish(BusMessage::new("back", "lost")).await.unwrap_err()));
    ensure!(disconnected(bus.request(BusMessage::new("back", "lost"), SOON).await.unwrap_err()));
    ensure!(disconnected(bus.flush().await.unwrap_err()));
    fixture.heal().await?;
    bus.flush().await?;
    bus.publish(BusMessage::new("back", "again")).await?;
    for subscription in [&mut before, &mut during] {
        assert_eq!(next(subscription).await.payload, "again");
    }
    Ok(())
}

async fn a_closed_bus_stays_closed(fixture: &Fixture) -> Result<()> {
    let bus = &fixture.lattice.bus;
    let mut subscription = bus.subscribe("a", None).await?;
    bus.close().await;
    assert_eq!(tokio::time::timeout(SOON, subscription.next()).await?, None);
    assert_eq!(bus.publish(BusMessage::new("a", "")).await, Err(BusError::Closed));
    ensure!(matches!(bus.subscribe("a", None).await, Err(BusError::Closed)));
    Ok(())
}
