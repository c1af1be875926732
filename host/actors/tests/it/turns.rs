//! Commands and queries: acknowledged ones survive, repeated ones are answered alike, what traps
//! harms nobody else.

use crate::support::{Settings, Sums, host, host_with, key};
use host_actors::KindPolicy;
use host_actors::aside::{Again, Why};
use host_actors::inspect::Moment;
use host_store::JournalOptions;
use lattice_journal::shard::ShardPolicy;
use lattice_protocol::ErrorCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart_and_a_repetition_gets_the_first_answer() {
    let directory = tempfile::tempdir().unwrap();
    let first = host(directory.path());
    assert_eq!(first.reply(1, "sum/a", "add", "5").await, "5");
    assert_eq!(first.reply(2, "sum/b", "add", "1").await, "1");
    assert_eq!(first.reply(3, "sum/a", "add", "7").await, "12");
    first.end().await;
    let second = host(directory.path());
    assert_eq!(second.query("sum/a", "balance").await.unwrap(), "12");
    let again = second.command(3, "sum/a", "add", "7").await.unwrap();
    assert!(again.repeated && again.reply == "12" && again.seq.0 == 2, "{again:?}");
    assert!(again.epoch.0 > 1, "each start is an epoch of its own");
    assert_eq!(second.command(3, "sum/a", "add", "8").await.unwrap_err().code, ErrorCode::IdReused);
    assert_eq!(second.reply(4, "sum/b", "add", "1").await, "2");
    second.end().await;
    let third = host(directory.path());
    assert_eq!(third.query("sum/b", "balance").await.unwrap(), "2");
    assert_eq!(
        third.query("sum/c", "balance").await.unwrap(),
        "0",
        "an actor without a history is in its first state"
    );
}

#[tokio::test]
async fn a_refusal_stores_nothing_and_is_decided_anew() {
    let directory = tempfile::tempdir().unwrap();
    let host = host(directory.path());
    let no = host.command(1, "sum/a", "no", "").await.unwrap_err();
    assert_eq!((no.code, no.what.as_str()), (ErrorCode::Guest, "the actor says no"));
    assert_eq!(host.command(1, "sum/a", "no", "").await.unwrap_err().code, ErrorCode::Guest);
    assert_eq!(host.query("sum/a", "nonsense").await.unwrap_err().code, ErrorCode::Guest);
    assert_eq!(host.command(1, "gauge/a", "add", "1").await.unwrap_err().code, ErrorCode::ActorNotFound);
    assert_eq!(host.reply(2, "sum/a", "add", "1").await, "1");
    let journal = host.door().journal(key("sum/a"), 1, 10).await.unwrap();
    assert_eq!(journal.len(), 1);
}

#[tokio::test]
async fn who_shared_an_instance_with_a_trap_is_folded_again_and_answers() {
    let directory = tempfile::tempdir().unwrap();
    let host = host(directory.path());
    assert_eq!(host.reply(1, "sum/a", "add", "5").await, "5");
    host.sums.lose_all();
    assert_eq!(host.reply(2, "sum/a", "add", "5").await, "10");
    host.sums.lose_all();
    assert_eq!(host.query("sum/a", "balance").await.unwrap(), "10");
    assert_eq!(host.sums.opened.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_command_that_keeps_trapping_is_set_aside_and_replayed_by_another_component() {
    let directory = tempfile::tempdir().unwrap();
    let host = host(directory.path());
    assert_eq!(host.reply(1, "sum/a", "add", "5").await, "5");
    for _ in 0..3 {
        assert_eq!(host.command(2, "sum/a", "trap", "poison").await.unwrap_err().code, ErrorCode::Trap);
    }
    assert_eq!(host.command(2, "sum/a", "trap", "poison").await.unwrap_err().code, ErrorCode::Quarantined);
    assert_eq!(host.reply(3, "sum/a", "add", "5").await, "10", "the actor lives on");
    crate::support::until("set aside", async || host.actors.set_aside().await.unwrap().len() == 1).await;
    let aside = host.actors.set_aside().await.unwrap().remove(0);
    assert_eq!((aside.why, aside.name.as_str(), &aside.actor), (Why::Trapped, "trap", &key("sum/a")));
    assert!(aside.report.unwrap().what.contains("unreachable"));
    host.put(Arc::new(Sums { component: 1, tame: true, ..Sums::default() }), KindPolicy::default());
    let (actor, again) = host.actors.again(&aside.id).await.unwrap();
    let Again::Command(command) = again else { panic!("a command, not {again:?}") };
    host.door().forgive(actor.clone());
    assert!(!host.door().submit(actor, command, crate::support::PATIENCE).await.unwrap().repeated);
    assert_eq!(host.query("sum/a", "balance").await.unwrap(), "10");
    let journal = host.door().journal(key("sum/a"), 3, 10).await.unwrap();
    assert_ne!(journal[0].component, host.door().journal(key("sum/a"), 1, 1).await.unwrap()[0].component);
}

#[tokio::test]
async fn an_actor_that_traps_at_every_command_is_left_alone_for_a_while() {
    let directory = tempfile::tempdir().unwrap();
    let host = host(directory.path());
    for n in 0..5 {
        assert_eq!(host.command(n, "sum/a", "trap", "").await.unwrap_err().code, ErrorCode::Trap);
    }
    assert_eq!(host.command(9, "sum/a", "add", "1").await.unwrap_err().code, ErrorCode::CrashLooping);
    assert_eq!(host.reply(9, "sum/b", "add", "1").await, "1", "others do not wait with it");
    host.clock.advance(std::time::Duration::from_secs(60));
    assert_eq!(host.reply(9, "sum/a", "add", "1").await, "1");
}

#[tokio::test]
async fn an_actor_that_has_ended_answers_only_what_it_answered_before() {
    let directory = tempfile::tempdir().unwrap();
    let host = host(directory.path());
    host.reply(1, "sum/a", "stop", "").await;
    assert_eq!(host.command(2, "sum/a", "add", "1").await.unwrap_err().code, ErrorCode::ActorNotFound);
    assert_eq!(host.query("sum/a", "balance").await.unwrap_err().code, ErrorCode::ActorNotFound);
    assert!(host.command(1, "sum/a", "stop", "").await.unwrap().repeated);
}

#[tokio::test]
async fn more_actors_than_fit_into_memory_take_turns_there() {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = Settings::default();
    settings.policy.shard = ShardPolicy { actors: 4, ..ShardPolicy::default() };
    let host = host_with(directory.path(), settings);
    for round in 1..=3_u8 {
        for n in 0..20 {
            let sum = host.reply(round, &format!("sum/a-{n}"), "add", "1").await;
            assert_eq!(sum, round.to_string());
        }
    }
    let listing = host.door().list(None).await.unwrap();
    assert_eq!(listing.actors.len(), 20);
    assert!(listing.actors.iter().filter(|line| line.active).count() <= 4);
}

#[tokio::test]
async fn a_full_disk_acknowledges_nothing_and_what_was_acknowledged_is_there_when_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    let small = JournalOptions { segment_bytes: 16 << 10, max_segments: 2, ..JournalOptions::default() };
    let host = host_with(directory.path(), Settings { journal: small, ..Settings::default() });
    let mut acknowledged = 0;
    let refused = loop {
        let n = u8::try_from(acknowledged % 200).unwrap();
        let actor = format!("sum/a-{}", acknowledged / 200);
        match host.command_within(std::time::Duration::from_secs(2), (n, &actor, "many", "20")).await {
            Ok(_) => acknowledged += 1,
            Err(report) => break report,
        }
    };
    assert!(acknowledged > 10, "{acknowledged}");
    assert!(
        matches!(refused.code, ErrorCode::OutcomeUnknown | ErrorCode::InsufficientResources),
        "{refused}"
    );
    let again = host.command(201, "sum/z", "add", "1").await.unwrap_err();
    assert_eq!(again.code, ErrorCode::InsufficientResources, "{again}");
    host.end().await;
    let host = crate::support::host(directory.path());
    let mut there = 0;
    for actor in 0..=acknowledged / 200 {
        there += host.query(&format!("sum/a-{actor}"), "count").await.unwrap().parse::<i32>().unwrap() / 20;
    }
    assert_eq!(there, acknowledged);
}

#[tokio::test]
async fn a_journal_that_cannot_be_written_any_more_is_closed_read_anew_and_says_what_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let small = JournalOptions { segment_bytes: 8 << 10, ..JournalOptions::default() };
    let host = host_with(directory.path(), Settings { journal: small, ..Settings::default() });
    host.reply(1, "sum/a", "many", "20").await;
    // The file that is open goes on, the next one cannot be begun.
    std::fs::remove_dir_all(directory.path().join("journal")).unwrap();
    let mut n = 0;
    crate::support::until("it was read anew", async || {
        n += 1;
        let patience = std::time::Duration::from_millis(100);
        drop(host.command_within(patience, (n % 250, "sum/b", "many", "20")).await);
        host.actors.door().err().is_some_and(|report| report.code == ErrorCode::Damaged)
    })
    .await;
    host.end().await;
}

#[tokio::test]
async fn histories_are_read_back_at_any_moment_and_verified() {
    let directory = tempfile::tempdir().unwrap();
    let host = host(directory.path());
    for n in 1..=5 {
        host.clock.advance(std::time::Duration::from_secs(1));
        host.reply(n, "sum/a", "add", "10").await;
        if n == 3 {
            host.reply(9, "sum/a", "snapshot", "").await;
        }
    }
    let door = host.door();
    let state = |moment| door.state_at(key("sum/a"), moment);
    assert_eq!(state(Moment::Last).await.unwrap().seq, 6);
    assert_eq!(state(Moment::Seq(2)).await.unwrap().seq, 2);
    let early = state(Moment::Time(crate::support::T0 + 2_500)).await.unwrap();
    assert_eq!((early.seq, early.at_ms), (2, crate::support::T0 + 2_000));
    assert_eq!(state(Moment::Seq(2)).await.unwrap().state, early.state);
    assert_eq!(state(Moment::Time(0)).await.unwrap_err().code, ErrorCode::ActorNotFound);
    let verified = host.door().verify(key("sum/a")).await.unwrap();
    assert_eq!(verified.commits, (1, 6));
    let journal = host.door().journal(key("sum/a"), 4, 1).await.unwrap();
    assert_eq!((journal[0].seq, journal[0].effects.as_slice()), (4, ["snapshot".to_owned()].as_slice()));
}
