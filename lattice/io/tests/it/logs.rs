//! Logs of shards, held to their model, and what only concurrency and a lost server show.

use crate::{Fixture, SOON};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures::StreamExt;
use lattice_io::log::{Log, LogError, LogOptions};
use lattice_io::{Replicas, StreamError};
use lattice_journal::Position;
use lattice_journal::append::AppendOutcome;
use lattice_journal::model::{Answer, ModelLog, Step, script};
use std::sync::Arc;

crate::conformance! {
    in a domain:
    it_answers_as_the_model_does,
    of_two_who_expect_the_same_one_is_stored,
    what_is_stored_is_there_for_who_opens_it_again,
    without_a_server_nothing_is_stored_and_that_is_certain,
    who_follows_gets_what_is_there_and_what_comes_until_the_server_goes,
    a_log_that_is_not_there_is_not_made_by_looking_for_it,
}

fn options(name: &str) -> LogOptions {
    let (subject, replicas) = (format!("shards.{name}"), Replicas::One);
    LogOptions { name: name.to_owned(), subject, max_bytes: Some(16 << 20), replicas }
}

async fn open(fixture: &Fixture, name: &str) -> Result<Arc<dyn Log>> {
    Ok(fixture.lattice.logs.open(options(name)).await?)
}

async fn perform(log: &dyn Log, last: Position, step: &Step) -> Result<Answer> {
    Ok(match step {
        Step::Append { behind, entry } => {
            let expected = Position(last.0.saturating_sub(*behind));
            Answer::Appended(log.append(expected, entry.clone(), SOON).await?)
        }
        Step::Read { after, most } => match log.read(*after, *most).await {
            Ok(back) => Answer::Read(back),
            Err(LogError::Trimmed { first }) => Answer::Trimmed { first },
            Err(error) => return Err(error.into()),
        },
        Step::Trim { through } => {
            log.trim(*through).await?;
            Answer::Done
        }
    })
}

async fn it_answers_as_the_model_does(fixture: &Fixture) -> Result<()> {
    for seed in 0..tests_harness::sizes::pick(3, 100) {
        let log = open(fixture, &format!("SHARD_{seed}")).await?;
        let mut model = ModelLog::default();
        for (at, step) in script(seed, 120).iter().enumerate() {
            let ours = perform(&*log, model.last(), step).await?;
            let expected = model.perform(step);
            ensure!(ours == expected, "seed {seed}, step {at} {step:?}: {ours:?}, the model {expected:?}");
        }
    }
    Ok(())
}

async fn of_two_who_expect_the_same_one_is_stored(fixture: &Fixture) -> Result<()> {
    let (one, other) = (open(fixture, "SHARD").await?, open(fixture, "SHARD").await?);
    for place in 0..20 {
        let append = |log: &Arc<dyn Log>, text: &'static str| {
            let log = log.clone();
            async move { log.append(Position(place), Bytes::from_static(text.as_bytes()), SOON).await }
        };
        let (left, right) = tokio::join!(append(&one, "left"), append(&other, "right"));
        let outcomes = [left?, right?];
        let stored = AppendOutcome::Stored(Position(place + 1));
        ensure!(outcomes.contains(&stored) && outcomes.contains(&AppendOutcome::Conflict), "{outcomes:?}");
    }
    let back = one.read(Position(0), 100).await?;
    assert_eq!((back.entries.len(), back.complete), (20, true));
    Ok(())
}

async fn what_is_stored_is_there_for_who_opens_it_again(fixture: &Fixture) -> Result<()> {
    let log = open(fixture, "SHARD").await?;
    for (place, text) in ["a", "b", "c"].into_iter().enumerate() {
        log.append(Position(place as u64), text.into(), SOON).await?;
    }
    log.trim(Position(1)).await?;
    let again = open(fixture, "SHARD").await?;
    let back = again.read(Position(1), 1).await?;
    assert_eq!((back.entries, back.complete), (vec![(Position(2), "b".into())], false));
    assert_eq!(again.read(Position(0), 1).await.unwrap_err(), LogError::Trimmed { first: Position(2) });
    Ok(())
}

async fn without_a_server_nothing_is_stored_and_that_is_certain(fixture: &Fixture) -> Result<()> {
    let log = open(fixture, "SHARD").await?;
    fixture.cut().await?;
    let error = log.append(Position(0), "x".into(), SOON).await.unwrap_err();
    ensure!(error.is_unsent() && matches!(error, StreamError::Bus(_)), "{error}");
    ensure!(log.read(Position(0), 1).await.is_err());
    fixture.heal().await?;
    assert_eq!(log.append(Position(0), "x".into(), SOON).await?, AppendOutcome::Stored(Position(1)));
    Ok(())
}

async fn who_follows_gets_what_is_there_and_what_comes_until_the_server_goes(
    fixture: &Fixture,
) -> Result<()> {
    let log = open(fixture, "SHARD").await?;
    // More than one pull.
    let entries = || (0..600_u64).map(|place| (Position(place + 1), Bytes::from(place.to_string())));
    let append = |place: u64| log.append(Position(place), Bytes::from(place.to_string()), SOON);
    for place in 0..300 {
        append(place).await?;
    }
    let mut following = log.follow(Position(5)).await?;
    let mut next = async || tokio::time::timeout(SOON, following.next()).await;
    for expected in entries().skip(5).take(295) {
        assert_eq!(next().await?, Some(expected));
    }
    for expected in entries().skip(300) {
        append(expected.0.0 - 1).await?;
        assert_eq!(next().await?, Some(expected));
    }
    fixture.cut().await?;
    assert_eq!(next().await?, None, "it ends");
    ensure!(log.follow(Position(0)).await.is_err());
    fixture.heal().await?;
    // What was trimmed is left out: that is seen by the places.
    log.trim(Position(200)).await?;
    let mut following = log.follow(Position(100)).await?;
    let first = tokio::time::timeout(SOON, following.next()).await?.context("an entry")?;
    assert_eq!(Some(first), entries().nth(200));
    Ok(())
}

async fn a_log_that_is_not_there_is_not_made_by_looking_for_it(fixture: &Fixture) -> Result<()> {
    for _ in 0..2 {
        ensure!(fixture.lattice.logs.find(options("SHARD")).await?.is_none());
    }
    let log = open(fixture, "SHARD").await?;
    log.append(Position(0), "a".into(), SOON).await?;
    let found = fixture.lattice.logs.find(options("SHARD")).await?.context("it is there")?;
    assert_eq!(found.read(Position(0), 1).await?.entries, vec![(Position(1), "a".into())]);
    Ok(())
}
