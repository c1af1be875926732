//! The entrance with a clock that stands still: who enters, who waits, who is refused, and when.

use super::*;
use futures::poll;
use std::future::pending;
use std::pin::Pin;
use tokio::task::JoinSet;

type Entering = Pin<Box<dyn Future<Output = Result<Option<Permit>, Report>>>>;

const PATIENCE: Duration = Duration::from_secs(1);

/// One thread, and so many that may wait.
fn entrance(waiting: u32) -> Arc<Entrance> {
    USE.set(Use::after(Duration::ZERO));
    Entrance::new(1, waiting, PATIENCE)
}

/// The same where a round was late.
fn guarded(waiting: u32) -> Arc<Entrance> {
    let entrance = entrance(waiting);
    entrance.lock().round(micros(LATE) + 1);
    entrance.guarded.store(true, Ordering::Relaxed);
    entrance
}

fn entering(entrance: &Arc<Entrance>) -> Entering {
    let (entrance, actor) = (Arc::clone(entrance), "test/actor".parse().unwrap());
    let deadline = std::time::Instant::now() + Duration::from_secs(3_600);
    Box::pin(async move { entrance.enter(&actor, deadline).await })
}

/// One who waits already.
async fn waiting(entrance: &Arc<Entrance>) -> Entering {
    let mut entering = entering(entrance);
    assert!(poll!(&mut entering).is_pending());
    entering
}

fn granted(outcome: Poll<Result<Option<Permit>, Report>>) -> Permit {
    match outcome {
        Poll::Ready(Ok(Some(permit))) => permit,
        Poll::Ready(Ok(None)) => panic!("calm"),
        Poll::Ready(Err(report)) => panic!("{report}"),
        Poll::Pending => panic!("waits"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_calm_entrance_is_passed_at_once_and_goes_round_once_a_quantum() {
    let entrance = entrance(1);
    assert!(matches!(poll!(entering(&entrance)), Poll::Ready(Ok(None))));
    spend(QUANTUM);
    let round = waiting(&entrance).await;
    tokio::time::advance(LATE).await;
    assert!(matches!(round.await, Ok(None)));
    assert!(!entrance.is_guarded());
    spend(LATE - Duration::from_micros(1));
    assert!(
        matches!(poll!(entering(&entrance)), Poll::Ready(Ok(None))),
        "guests may have as long as the round took"
    );
    spend(Duration::from_micros(1));
    drop(waiting(&entrance).await);
}

#[tokio::test(start_paused = true)]
async fn a_late_round_guards_it_for_those_who_went_round_too_and_a_prompt_one_frees_it() {
    let entrance = entrance(1);
    spend(QUANTUM);
    let (first, second) = (waiting(&entrance).await, waiting(&entrance).await);
    tokio::time::advance(LATE + Duration::from_micros(1)).await;
    let permit = granted(Poll::Ready(first.await));
    assert!(entrance.is_guarded());
    let mut second = second;
    assert!(poll!(&mut second).is_pending());
    drop(permit);
    drop(granted(poll!(&mut second)));
    spend(LATE);
    drop(granted(Poll::Ready(entering(&entrance).await)));
    assert!(!entrance.is_guarded());
}

#[tokio::test(start_paused = true)]
async fn a_full_line_refuses_who_came_first_and_serves_who_came_last() {
    let entrance = guarded(9);
    let permit = granted(poll!(entering(&entrance)));
    let mut waits = Vec::new();
    for _ in 0..10 {
        waits.push(waiting(&entrance).await);
    }
    let (mut newest, mut older) = (waits.pop().unwrap(), waits.pop().unwrap());
    for oldest in waits {
        let report = oldest.await.err().unwrap();
        assert_eq!(report.code, ErrorCode::Overloaded);
        assert!(report.to_string().contains("2 waiting"), "{report}");
    }
    drop(permit);
    assert!(poll!(&mut older).is_pending());
    drop(granted(poll!(&mut newest)));
    drop(granted(poll!(&mut older)));
    drop(granted(poll!(entering(&entrance))));
}

#[tokio::test(start_paused = true)]
async fn who_waits_longer_than_may_be_is_refused() {
    let entrance = guarded(8);
    let permit = granted(poll!(entering(&entrance)));
    let late = waiting(&entrance).await;
    let began = Instant::now();
    assert_eq!(late.await.err().unwrap().code, ErrorCode::Overloaded);
    assert!(began.elapsed() >= PATIENCE);
    assert_eq!(entrance.lock().waiting(), 0);
    drop(permit);
}

#[tokio::test]
async fn a_permit_whose_caller_has_gone_goes_to_the_next() {
    let entrance = guarded(8);
    let permit = granted(poll!(entering(&entrance)));
    let (first, gone, mut last) =
        (waiting(&entrance).await, waiting(&entrance).await, waiting(&entrance).await);
    drop(gone);
    drop(permit);
    drop(first);
    drop(granted(poll!(&mut last)));
}

#[tokio::test]
async fn a_call_that_waits_gives_its_permit_to_the_next() {
    let entrance = guarded(8);
    let permit = granted(poll!(entering(&entrance)));
    let mut next = waiting(&entrance).await;
    let mut call = Box::pin(begin(Some(permit), pending::<()>()));
    assert!(poll!(&mut next).is_pending());
    assert!(poll!(&mut call).is_pending());
    drop(granted(poll!(&mut next)));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_computes_on_keeps_its_permit_for_its_time() {
    let entrance = guarded(8);
    let permit = granted(poll!(entering(&entrance)));
    let mut next = waiting(&entrance).await;
    let call = async {
        make_way().await;
        let mut computing = pin!(tokio::time::advance(HOLD));
        assert!(poll!(&mut computing).is_pending());
        make_way().await;
        pending::<()>().await;
    };
    let mut call = Box::pin(begin(Some(permit), call));
    for _ in 0..2 {
        assert!(poll!(&mut call).is_pending());
        assert!(poll!(&mut next).is_pending());
    }
    assert!(poll!(&mut call).is_pending());
    drop(granted(poll!(&mut next)));
}

#[tokio::test]
async fn who_makes_way_goes_behind_what_is_ready() {
    let order = Arc::new(Mutex::new(Vec::new()));
    let say = |what: &'static str| {
        let order = Arc::clone(&order);
        move || order.lock().unwrap().push(what)
    };
    let (busy, other) = (say("busy"), say("other"));
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        make_way().await;
        busy();
    });
    tasks.spawn(async move {
        tokio::task::yield_now().await;
        other();
    });
    tasks.join_all().await;
    assert_eq!(*order.lock().unwrap(), ["other", "busy"]);
}
