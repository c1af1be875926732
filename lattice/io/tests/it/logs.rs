//! Logs of shards, held to their model, and what only concurrency and a lost server show.

use crate::{Fixture, SOON};
use anyhow::{Result, ensure};
use bytes::Bytes;
use lattice_io::log::{Log, LogError, LogOptions};
use lattice_io::{Replicas, StreamError};
use lattice_journal::Position;
use lattice_journal::append::AppendOutcome;
use lattice_journal::model::{Answer, ModelLog, Step, script};
use std::sync::Arc;

crate::conformance! {
    it_answers_as_the_model_does,
    of_two_who_expect_the_same_one_is_stored,
    what_is_stored_is_there_for_who_opens_it_again,
    without_a_server_nothing_is_stored_and_that_is_certain,
}

async fn open(fixture: &Fixture, name: &str) -> Result<Arc<dyn Log>> {
    let (subject, replicas) = (format!("shards.{name}"), Replicas::One);
    let options = LogOptions { name: name.to_owned(), subject, max_bytes: Some(16 << 20), replicas };
    Ok(fixture.lattice.logs.open(options).await?)
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
