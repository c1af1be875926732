//! Lanes: each subject of a stream is a log of its own, whatever others do in the same stream.

use crate::{Fixture, SOON};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures::StreamExt;
use lattice_io::lane::{Kept, Lane, LaneInfo, LaneOptions};
use lattice_io::{Replicas, StreamError};
use lattice_journal::Position;
use lattice_journal::append::AppendOutcome;
use std::sync::Arc;
use tests_harness::eventually;

crate::conformance! {
    in a domain:
    each_lane_has_its_own_end,
    a_repetition_stores_nothing,
    of_two_who_expect_the_same_end_one_is_stored,
    without_a_server_nothing_is_stored_and_that_is_certain,
    who_follows_gets_its_own_lane_and_what_comes,
    a_lane_that_is_not_there_is_not_made_by_looking_for_it,
    an_entry_that_is_erased_leaves_the_others_and_their_order,
    a_cell_holds_what_was_put_last_and_can_be_cleared,
}

fn options(lane: &str) -> LaneOptions {
    LaneOptions {
        stream: "LANES".to_owned(),
        subjects: "lanes.*".to_owned(),
        subject: format!("lanes.{lane}"),
        max_bytes: Some(16 << 20),
        replicas: Replicas::One,
        kept: Kept::All,
    }
}

async fn open(fixture: &Fixture, lane: &str) -> Result<Arc<dyn Lane>> {
    Ok(fixture.lattice.lanes.open(options(lane)).await?)
}

async fn stored(lane: &dyn Lane, expected: Position, text: &str) -> Result<Position> {
    match lane.append(expected, text, Bytes::copy_from_slice(text.as_bytes()), SOON).await? {
        AppendOutcome::Stored(at) => Ok(at),
        other => anyhow::bail!("{text}: {other:?}"),
    }
}

async fn each_lane_has_its_own_end(fixture: &Fixture) -> Result<()> {
    let (one, other) = (open(fixture, "one").await?, open(fixture, "other").await?);
    ensure!(one.last().await?.is_none() && other.last().await?.is_none());
    let (mut mine, mut theirs) = (Position(0), Position(0));
    for n in 0..5 {
        mine = stored(&*one, mine, &format!("one {n}")).await?;
        theirs = stored(&*other, theirs, &format!("other {n}")).await?;
    }
    assert_eq!(one.last().await?, Some((mine, "one 4".into())));
    assert_eq!(other.last().await?, Some((theirs, "other 4".into())));
    // The place of another lane is none of this one.
    assert_eq!(one.append(theirs, "x", "x".into(), SOON).await?, AppendOutcome::Conflict);
    let lanes = fixture.lattice.lanes.list("LANES", "lanes.*").await?;
    let info = |name: &str| LaneInfo { subject: format!("lanes.{name}"), entries: 5 };
    assert_eq!(lanes, [info("one"), info("other")]);
    assert_eq!(fixture.lattice.lanes.list("LANES", "lanes.other").await?, [info("other")]);
    Ok(())
}

async fn a_repetition_stores_nothing(fixture: &Fixture) -> Result<()> {
    let lane = open(fixture, "one").await?;
    let first = stored(&*lane, Position(0), "a").await?;
    // The same message again, and what a sender that forgot the end would make of it.
    for expected in [Position(0), first] {
        let again = lane.append(expected, "a", "a".into(), SOON).await?;
        ensure!(!matches!(again, AppendOutcome::Stored(_)), "{again:?}");
    }
    // Another id, and the old end: a repetition long after the ids are forgotten.
    assert_eq!(lane.append(Position(0), "a2", "a".into(), SOON).await?, AppendOutcome::Conflict);
    assert_eq!(lane.last().await?, Some((first, "a".into())));
    assert_eq!(fixture.lattice.lanes.list("LANES", "lanes.*").await?.len(), 1);
    stored(&*lane, first, "b").await?;
    Ok(())
}

async fn of_two_who_expect_the_same_end_one_is_stored(fixture: &Fixture) -> Result<()> {
    let (one, other) = (open(fixture, "one").await?, open(fixture, "one").await?);
    let mut end = Position(0);
    for n in 0..20 {
        let append = |lane: &Arc<dyn Lane>, id: String| {
            let lane = lane.clone();
            async move { lane.append(end, &id, Bytes::from(id.clone()), SOON).await }
        };
        let (left, right) =
            tokio::join!(append(&one, format!("left {n}")), append(&other, format!("right {n}")));
        let outcomes = [left?, right?];
        ensure!(outcomes.contains(&AppendOutcome::Conflict), "{outcomes:?}");
        let stored = outcomes.iter().find_map(|outcome| match outcome {
            AppendOutcome::Stored(at) => Some(*at),
            _ => None,
        });
        end = stored.context("one is stored")?;
    }
    Ok(())
}

async fn without_a_server_nothing_is_stored_and_that_is_certain(fixture: &Fixture) -> Result<()> {
    let lane = open(fixture, "one").await?;
    fixture.cut().await?;
    let error = lane.append(Position(0), "x", "x".into(), SOON).await.unwrap_err();
    ensure!(error.is_unsent() && matches!(error, StreamError::Bus(_)), "{error}");
    ensure!(lane.last().await.is_err() && lane.follow(Position(0)).await.is_err());
    fixture.heal().await?;
    stored(&*lane, Position(0), "x").await?;
    Ok(())
}

async fn who_follows_gets_its_own_lane_and_what_comes(fixture: &Fixture) -> Result<()> {
    let (one, other) = (open(fixture, "one").await?, open(fixture, "other").await?);
    let (mut places, mut theirs) = (Vec::new(), Position(0));
    let from = 4;
    for n in 0..300 {
        places.push(stored(&*one, places.last().copied().unwrap_or_default(), &format!("one {n}")).await?);
        theirs = stored(&*other, theirs, &format!("other {n}")).await?;
    }
    let mut following = one.follow(*places.get(from).context("nothing is stored")?).await?;
    let mut next = async || tokio::time::timeout(SOON, following.next()).await;
    for (n, place) in places.iter().enumerate().skip(from + 1) {
        assert_eq!(next().await?, Some((*place, Bytes::from(format!("one {n}")))));
    }
    stored(&*other, theirs, "not mine").await?;
    let place = stored(&*one, places.last().copied().unwrap_or_default(), "mine").await?;
    assert_eq!(next().await?, Some((place, Bytes::from_static(b"mine"))));
    fixture.cut().await?;
    assert_eq!(next().await?, None, "it ends");
    Ok(())
}

async fn a_lane_that_is_not_there_is_not_made_by_looking_for_it(fixture: &Fixture) -> Result<()> {
    for _ in 0..2 {
        ensure!(fixture.lattice.lanes.find(options("one")).await?.is_none());
    }
    ensure!(fixture.lattice.lanes.list("LANES", "lanes.*").await?.is_empty());
    let place = stored(&*open(fixture, "one").await?, Position(0), "a").await?;
    let found = fixture.lattice.lanes.find(options("one")).await?.context("it is there")?;
    assert_eq!(found.last().await?, Some((place, "a".into())));
    Ok(())
}

async fn an_entry_that_is_erased_leaves_the_others_and_their_order(fixture: &Fixture) -> Result<()> {
    let (one, other) = (open(fixture, "one").await?, open(fixture, "other").await?);
    let first = stored(&*one, Position(0), "one 1").await?;
    let second = stored(&*one, first, "one 2").await?;
    let third = stored(&*one, second, "one 3").await?;
    let theirs = stored(&*other, Position(0), "other").await?;
    ensure!(one.erase(second).await?, "it was there");
    ensure!(!one.erase(second).await?, "and is not any more");
    let mut following = one.follow(Position(0)).await?;
    for (place, text) in [(first, "one 1"), (third, "one 3")] {
        let next = tokio::time::timeout(SOON, following.next()).await?;
        assert_eq!(next, Some((place, Bytes::from(text))));
    }
    assert_eq!(one.last().await?, Some((third, "one 3".into())));
    assert_eq!(other.last().await?, Some((theirs, "other".into())));
    // It goes on behind its last entry, as if nothing were missing.
    stored(&*one, third, "one 4").await?;
    Ok(())
}

async fn a_cell_holds_what_was_put_last_and_can_be_cleared(fixture: &Fixture) -> Result<()> {
    let cells = LaneOptions { stream: "CELLS".to_owned(), kept: Kept::Last, ..options("a") };
    let cells = LaneOptions { subjects: "cells.>".to_owned(), subject: "cells.a.1".to_owned(), ..cells };
    let (a, lanes) = (fixture.lattice.lanes.open(cells).await?, &fixture.lattice.lanes);
    let b = a.beside("cells.b.1")?;
    let first = stored(&*a, Position(0), "first").await?;
    stored(&*b, Position(0), "other").await?;
    let second = stored(&*a, first, "second").await?;
    assert_eq!(a.append(first, "late", "late".into(), SOON).await?, AppendOutcome::Conflict);
    assert_eq!(a.last().await?, Some((second, "second".into())));
    let info = |subject: &str| LaneInfo { subject: subject.to_owned(), entries: 1 };
    assert_eq!(lanes.list("CELLS", "cells.>").await?, [info("cells.a.1"), info("cells.b.1")]);
    assert_eq!(lanes.list("CELLS", "cells.b.>").await?, [info("cells.b.1")]);
    a.clear(SOON).await?;
    ensure!(a.last().await?.is_none_or(|(_, bytes)| bytes.is_empty()), "nothing of it is there");
    eventually(SOON, "a cleared cell goes", || async {
        ensure!(lanes.list("CELLS", "cells.a.>").await?.is_empty());
        Ok(())
    })
    .await?;
    assert_eq!(b.last().await?.map(|(_, bytes)| bytes), Some("other".into()));
    stored(&*a, Position(0), "third").await?;
    Ok(())
}
