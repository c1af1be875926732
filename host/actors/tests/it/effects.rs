//! What leaves an actor: after it is durable, in order, once between actors, and again after a restart
//! until somebody has it.

use crate::support::{Host, Settings, T0, host, host_with, key, until};
use host_actors::aside::{Again, Why};
use lattice_protocol::{ErrorCode, Report};
use std::time::Duration;

async fn balance(host: &Host, actor: &str, expected: &str) {
    until(&format!("{actor} is {expected}"), async || {
        host.clock.advance(Duration::from_millis(50));
        host.query(actor, "balance").await.unwrap() == expected
    })
    .await;
}

#[tokio::test]
async fn messages_between_actors_arrive_once_and_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let host = host(directory.path());
    for n in 1..=10 {
        host.reply(n, "sum/a", "send", "sum/b add 1").await;
    }
    balance(&host, "sum/b", "10").await;
    let journal = host.door().journal(key("sum/b"), 1, 100).await.unwrap();
    let commands: Vec<String> = journal.into_iter().map(|commit| commit.command).collect();
    assert_eq!(commands, (1..=10).map(|n| format!("sum/a#{n}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_message_that_is_refused_is_kept_and_does_not_block_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let host = host(directory.path());
    host.reply(1, "sum/a", "send", "sum/b no").await;
    host.reply(2, "sum/a", "send", "sum/b trap").await;
    host.reply(3, "sum/a", "send", "sum/b add 1").await;
    balance(&host, "sum/b", "1").await;
    until("both are set aside", async || host.actors.set_aside().await.unwrap().len() == 2).await;
    let mut aside = host.actors.set_aside().await.unwrap();
    aside.sort_by_key(|aside| aside.name.clone());
    assert_eq!((aside[0].name.as_str(), aside[0].why), ("no", Why::Refused));
    assert_eq!((aside[1].name.as_str(), aside[1].why), ("trap", Why::Trapped));
}

#[tokio::test]
async fn what_left_is_repeated_after_a_restart_until_somebody_has_it_and_then_never_again() {
    let directory = tempfile::tempdir().unwrap();
    let first = host(directory.path());
    let down = Report::new(ErrorCode::Connection, "nobody there");
    *first.outside.refuses.lock().unwrap() = Some(down);
    first.reply(1, "sum/a", "publish", "edge.level 5").await;
    until("it was tried", async || !first.outside.left().is_empty()).await;
    first.end().await;
    let second = host(directory.path());
    until("it was repeated", async || !second.outside.left().is_empty()).await;
    assert_eq!(second.outside.left(), ["out edge.level 5 sum/a-1-0"], "under the same key");
    until("it was taken", async || second.door().list(None).await.unwrap().outbox == 0).await;
    // This carries the relay's position.
    second.reply(2, "sum/a", "add", "1").await;
    second.end().await;
    let third = host(directory.path());
    assert_eq!(third.query("sum/a", "balance").await.unwrap(), "1");
    third.reply(3, "sum/a", "publish", "edge.level 6").await;
    until("the next left", async || !third.outside.left().is_empty()).await;
    assert_eq!(third.outside.left(), ["out edge.level 6 sum/a-3-0"]);
}

#[tokio::test]
async fn a_message_that_nobody_takes_becomes_a_dead_letter() {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = Settings::default();
    settings.policy.relay.attempts = 3;
    let host = host_with(directory.path(), settings);
    let down = Report::new(ErrorCode::Connection, "nobody there");
    *host.outside.refuses.lock().unwrap() = Some(down);
    host.reply(1, "sum/a", "publish", "edge.level 5").await;
    until("it was given up", async || {
        host.clock.advance(Duration::from_millis(50));
        !host.actors.set_aside().await.unwrap().is_empty()
    })
    .await;
    let aside = host.actors.set_aside().await.unwrap().remove(0);
    assert_eq!((aside.why, aside.reference.as_str()), (Why::DeadLetter, "sum/a-1-0"));
    assert_eq!(host.outside.left().len(), 3);
    // A person sends it again, as it was.
    let (actor, again) = host.actors.again(&aside.id).await.unwrap();
    let message = Again::Message {
        link: "out".to_owned(),
        subject: "edge.level".to_owned(),
        body: "5".into(),
        key: "sum/a-1-0".to_owned(),
    };
    assert_eq!((actor, again), (key("sum/a"), message));
    assert!(host.actors.discard(&aside.id).await.unwrap());
    assert!(!host.actors.discard(&aside.id).await.unwrap());
}

#[tokio::test]
async fn a_call_is_answered_by_a_command_whatever_comes_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = Settings::default();
    settings.policy.relay.attempts = 2;
    let host = host_with(directory.path(), settings);
    host.reply(1, "sum/a", "call", "example:calc/sums.add [1]").await;
    let answered = async |n: usize| {
        until("it is answered", async || {
            host.clock.advance(Duration::from_millis(50));
            host.door().journal(key("sum/a"), 1, 10).await.unwrap().len() >= n
        })
        .await;
        let commit = host.door().journal(key("sum/a"), n as u64, 1).await.unwrap().remove(0);
        let payload = commit.events[0].payload.clone();
        (commit.command, String::from_utf8(base64(&payload)).unwrap())
    };
    assert_eq!(answered(2).await, ("answer 1.0".to_owned(), r#"{"ok":[1]}"#.to_owned()));
    *host.outside.refuses.lock().unwrap() = Some(Report::new(ErrorCode::Guest, "no"));
    host.reply(2, "sum/a", "call", "example:calc/sums.add [1]").await;
    let (command, body) = answered(4).await;
    assert_eq!(command, "answer 3.0");
    assert!(body.contains("E_GUEST"), "{body}");
    assert_eq!(host.outside.left().len(), 2, "the callee has answered: it is not asked again");
    *host.outside.refuses.lock().unwrap() = Some(Report::new(ErrorCode::Timeout, "late"));
    host.reply(3, "sum/a", "call", "example:calc/sums.add [1]").await;
    let (_, body) = answered(6).await;
    assert!(body.contains("E_TIMEOUT"), "{body}");
    assert_eq!(host.outside.left().len(), 4, "tried twice");
    let aside = host.actors.set_aside().await.unwrap().pop().unwrap();
    assert_eq!(aside.why, Why::DeadLetter);
    let refused = host.actors.again(&aside.id).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Usage, "its caller was answered: {refused}");
}

fn base64(text: &str) -> Vec<u8> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}

#[tokio::test]
async fn actors_of_other_kinds_are_reached_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    let host = host(directory.path());
    host.reply(1, "sum/a", "send", "gauge/g set 1").await;
    until("it left", async || !host.outside.left().is_empty()).await;
    assert_eq!(host.outside.left(), ["gauge/g set sum/a#1"]);
}

#[tokio::test]
async fn timers_fire_once_after_restarts_too_and_missed_ones_as_they_say() {
    let directory = tempfile::tempdir().unwrap();
    let first = host(directory.path());
    first.reply(1, "sum/a", "later", "one 1000 1").await;
    first.reply(2, "sum/a", "later", "two 100000 10").await;
    first.reply(3, "sum/a", "later-skip", "three 100000 100").await;
    first.clock.advance(Duration::from_millis(1_100));
    until("the first fired", async || first.query("sum/a", "balance").await.unwrap() == "1").await;
    first.end().await;
    let settings = Settings { at_ms: T0 + 200_000, ..Settings::default() };
    let second = host_with(directory.path(), settings);
    until("the second fired, late", async || second.query("sum/a", "balance").await.unwrap() == "11").await;
    until("the third was dropped", async || {
        second.door().journal(key("sum/a"), 1, 10).await.unwrap().len() == 6
    })
    .await;
    assert_eq!(second.query("sum/a", "balance").await.unwrap(), "11");
    assert_eq!(second.door().list(None).await.unwrap().actors[0].timers, 0);
}
