//! Kinds, order of shutdown, panics, restarts. Pauses are milliseconds, and no test depends on how long anything takes.

use super::supervise::next_pause;
use super::*;
use std::collections::VecDeque;
use tokio::sync::{mpsc, oneshot};

fn scope() -> TaskScope {
    TaskScope::new("test")
}

fn quick(max_restarts: u32) -> RestartPolicy {
    RestartPolicy { max_restarts, pause_min: Duration::from_millis(1), ..RestartPolicy::default() }
}

#[tokio::test]
async fn an_essential_task_that_ends_fails_its_scope_and_the_scopes_above() {
    let root = scope();
    let child = root.child("links");
    child.spawn_essential("watch", |_| async { Err::<(), _>("bucket gone") });
    let failure = root.failed().await;
    assert_eq!(failure.to_string(), "task watch of test/links: bucket gone");
    assert_eq!(child.failed().await, failure);
}

#[tokio::test]
async fn an_essential_task_that_is_told_to_stop_fails_nothing() {
    let root = scope();
    root.spawn_essential("serve", |token| async move { token.cancelled().await });
    assert_eq!(root.shutdown(Duration::from_secs(5)).await, ShutdownReport::default());
    assert!(root.failure().borrow().is_none());
    assert!(root.is_empty());
}

#[tokio::test]
async fn shutdown_goes_in_reverse_order_of_start_through_children_too() {
    let root = scope();
    let (log, mut seen) = mpsc::channel(16);
    let start = |scope: &TaskScope, name: &'static str| {
        let log = log.clone();
        scope.spawn_essential(name, move |token| async move {
            token.cancelled().await;
            // Others get a chance to stop first, if they were told to.
            tokio::task::yield_now().await;
            log.try_send(name).ok();
        });
    };
    start(&root, "store");
    let child = root.child("actors");
    start(&child, "pool");
    start(&child, "calls");
    start(&root, "ingress");
    root.shutdown(Duration::from_secs(5)).await;
    drop(log);
    let mut order = Vec::new();
    while let Some(name) = seen.recv().await {
        order.push(name);
    }
    assert_eq!(order, ["ingress", "calls", "pool", "store"]);
}

#[tokio::test]
async fn what_does_not_stop_is_aborted_and_named() {
    let root = scope();
    let (alive, gone) = oneshot::channel::<()>();
    root.spawn_best_effort("stuck", async move {
        let _alive = alive;
        std::future::pending::<()>().await;
    });
    let report = root.shutdown(Duration::from_millis(5)).await;
    assert_eq!(report.aborted, ["test/stuck"]);
    assert!(gone.await.is_err(), "its future was dropped");
}

#[tokio::test]
async fn work_in_hand_is_finished_by_a_shutdown() {
    let root = scope();
    let (begin, begun) = oneshot::channel::<()>();
    let (done, finished) = oneshot::channel();
    root.spawn_best_effort("request", async move {
        begun.await.ok();
        done.send("answer").ok();
    });
    let shutdown = root.shutdown(Duration::from_secs(5));
    let (report, ()) = tokio::join!(shutdown, async {
        begin.send(()).ok();
    });
    assert_eq!(report, ShutdownReport::default());
    assert_eq!(finished.await, Ok("answer"));
}

#[tokio::test]
async fn a_panic_is_a_failure_and_a_restart_heals_it() {
    let root = scope();
    let (log, mut seen) = mpsc::channel(16);
    let mut starts = 0;
    root.spawn("flaky", Kind::Restart(quick(10)), move |_| {
        starts += 1;
        let (start, log) = (starts, log.clone());
        async move {
            log.try_send(start).ok();
            assert!(start >= 3, "not yet");
        }
    });
    for expected in 1..=3 {
        assert_eq!(seen.recv().await, Some(expected));
    }
    assert_eq!(seen.recv().await, None, "it is done after the third start");
    assert!(root.failure().borrow().is_none());
}

#[tokio::test]
async fn too_many_restarts_fail_the_scope() {
    let root = scope();
    root.spawn("broken", Kind::Restart(quick(2)), |_| async { Err::<(), _>("no") });
    let failure = root.failed().await;
    assert_eq!(failure.reason, "failed 3 times in 300s: no");
}

#[test]
fn pauses_double_to_their_limit_and_old_restarts_are_forgotten() {
    let policy = RestartPolicy {
        max_restarts: 4,
        period: Duration::from_secs(10),
        pause_min: Duration::from_secs(1),
        pause_max: Duration::from_secs(3),
    };
    let (mut restarts, now) = (VecDeque::new(), Instant::now());
    let mut at = |seconds| next_pause(&policy, &mut restarts, now + Duration::from_secs(seconds), 0);
    let seconds = |s| Some(Duration::from_secs(s));
    assert_eq!([at(0), at(1), at(2), at(3), at(4)], [seconds(1), seconds(2), seconds(3), seconds(3), None]);
    assert_eq!(at(13), seconds(1), "those of 0 to 3 s are over");
}

#[tokio::test]
async fn a_scope_that_is_shut_down_starts_nothing_more() {
    let root = scope();
    root.shutdown(Duration::ZERO).await;
    let (alive, gone) = oneshot::channel::<()>();
    root.child("late").spawn_best_effort("late", async move { drop(alive) });
    assert!(gone.await.is_err());
    assert!(root.is_empty());
}

#[tokio::test]
async fn finished_tasks_and_children_leave_nothing_behind() {
    let root = scope();
    for _ in 0..10 {
        let (done, finished) = oneshot::channel();
        root.spawn_best_effort("request", async move { done.send(()).ok() }.map(drop_some));
        finished.await.unwrap();
        root.child("link").shutdown(Duration::from_secs(1)).await;
    }
    while !root.is_empty() {
        tokio::task::yield_now().await;
    }
}

use futures::FutureExt;
fn drop_some(_: Option<()>) {}
