//! Real guests in real actors.

mod unload;

use super::*;
use crate::fixtures::{self, WARM, concurrent_probe, guest, options, probe, start};
use crate::typed::arguments::Argument;
use http_body_util::BodyExt;
use lattice_protocol::invocation::MAX_CALL_DEPTH;
use lattice_protocol::value::Value;
use providers_sdk::http::full;

const PROBE: &str = "example:probe/probe@0.1.0";
const COUNTER: &str = r#"
    (global $n (mut i32) (i32.const 0))
    (func (export "count") (result i32)
        (global.set $n (i32.add (global.get $n) (i32.const 1))) (global.get $n))
    (func (export "boom") unreachable)
    (func (export "spin") (loop $again (br $again)))"#;

impl Actor {
    /// Calls a function by its name.
    async fn call_values(
        self: &Arc<Self>,
        interface: &str,
        function: &str,
        params: &[Value],
        info: CallInfo,
    ) -> Result<Vec<Value>, Report> {
        let exported = self.component.function(interface, function).unwrap();
        let signature = exported.signature.as_ref().unwrap();
        let arguments: Vec<_> = params.iter().cloned().map(Argument::Value).collect();
        self.call_place(exported.place, signature, &arguments, info).await
    }
}

fn counter() -> Vec<u8> {
    probe(COUNTER, &[("count", "(result u32)"), ("boom", ""), ("spin", "")])
}

fn concurrent_counter() -> Vec<u8> {
    concurrent_probe(COUNTER, &[("count", "(result u32)"), ("boom", ""), ("spin", "")])
}

fn soon() -> CallInfo {
    CallInfo::within(Duration::from_secs(20))
}

fn get(path: &str) -> http::Request<Body> {
    http::Request::get(format!("http://test.local{path}")).body(full("")).unwrap()
}

async fn text(response: http::Response<Body>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

async fn ask(actor: &Arc<Actor>, path: &str) -> Result<String, Report> {
    let response = actor.handle_http(get(path), soon()).await?;
    Ok(text(response).await)
}

async fn count(actor: &Arc<Actor>) -> u32 {
    let values = actor.call_values(PROBE, "count", &[], soon()).await.unwrap();
    match values.as_slice() {
        [Value::U32(count)] => *count,
        other => panic!("{other:?}"),
    }
}

fn warm() -> ActorOptions {
    ActorOptions { policy: WARM, ..options() }
}

#[tokio::test]
async fn a_hello_of_either_wasi_answers() {
    let hello = start(&guest("http_hello"), options()).await.unwrap();
    assert_eq!(ask(&hello, "/x").await.unwrap(), "Hello from Trellis at /x\n");
    for name in ["http_hello_raw", "http_hello_p3"] {
        for options in [options(), warm()] {
            let actor = start(&guest(name), options).await.unwrap();
            for _ in 0..3 {
                let response = actor.handle_http(get("/"), soon()).await.unwrap();
                assert_eq!(response.headers()["content-length"], "12");
                assert_eq!(text(response).await, "Hello World\n");
            }
            let stats = actor.stats();
            assert_eq!((stats.calls, stats.errors, stats.in_flight), (3, 0, 0), "{name}");
        }
    }
}

#[tokio::test]
async fn a_concurrent_instance_serves_many_at_once() {
    let policy = InstancePolicy::Warm { max_calls: 1_000, max_concurrency: 16, idle_ms: 60_000 };
    let actor = start(&guest("http_hello_p3"), ActorOptions { policy, ..options() }).await.unwrap();
    let responses = futures::future::join_all((0..16).map(|_| actor.handle_http(get("/"), soon()))).await;
    // Nobody has read a body yet, but each is there whole: the instances are free for others.
    assert_eq!(actor.stats().in_flight, 0);
    assert!(actor.stats().instances <= 16);
    for response in responses {
        assert_eq!(text(response.unwrap()).await, "Hello World\n");
    }
    assert_eq!(actor.stats().in_flight, 0);
    let before = actor.stats().instances;
    ask(&actor, "/").await.unwrap();
    assert_eq!(actor.stats().instances, before);
}

#[tokio::test]
async fn concurrent_instances_are_fresh_or_warm_and_end_with_a_trap() {
    let fresh = start(&concurrent_counter(), options()).await.unwrap();
    assert_eq!(fresh.component().profile, Profile::Concurrent);
    assert_eq!((count(&fresh).await, count(&fresh).await), (1, 1));
    let warm = start(&concurrent_counter(), warm()).await.unwrap();
    assert_eq!((count(&warm).await, count(&warm).await), (1, 2));
    let report = warm.call_values(PROBE, "boom", &[], soon()).await.unwrap_err();
    assert_eq!(report.code, ErrorCode::Trap, "{report}");
    assert!(report.what.contains("unreachable"), "{report}");
    assert_eq!(count(&warm).await, 1);
    warm.stop(Duration::from_secs(5)).await;
    fresh.stop(Duration::from_secs(5)).await;
    assert_eq!((warm.stats().instances, fresh.stats().instances), (0, 0));
}

#[tokio::test]
async fn a_concurrent_guest_that_spins_ends_at_its_deadline() {
    let limits = Limits { call_ms: 100, ..Limits::default() };
    let actor = start(&concurrent_counter(), ActorOptions { limits, ..warm() }).await.unwrap();
    let report = actor.call_values(PROBE, "spin", &[], soon()).await.unwrap_err();
    assert_eq!(report.code, ErrorCode::Timeout, "{report}");
    assert_eq!(count(&actor).await, 1);
    actor.stop(Duration::from_secs(5)).await;
    assert_eq!(actor.stats().instances, 0);
}

#[tokio::test]
async fn fresh_instances_share_nothing_and_warm_ones_are_used_again() {
    let fresh = start(&counter(), options()).await.unwrap();
    assert_eq!((count(&fresh).await, count(&fresh).await), (1, 1));
    assert_eq!(fresh.stats().instances, 0);
    let warm = start(&counter(), warm()).await.unwrap();
    assert_eq!((count(&warm).await, count(&warm).await, count(&warm).await), (1, 2, 3));
    assert_eq!(warm.stats().instances, 1);
}

#[tokio::test]
async fn a_warm_instance_is_replaced_after_its_calls_and_after_a_trap() {
    let policy = InstancePolicy::Warm { max_calls: 2, max_concurrency: 1, idle_ms: 60_000 };
    let actor = start(&counter(), ActorOptions { policy, ..options() }).await.unwrap();
    assert_eq!((count(&actor).await, count(&actor).await, count(&actor).await), (1, 2, 1));
    let report = actor.call_values(PROBE, "boom", &[], soon()).await.unwrap_err();
    assert_eq!(report.code, ErrorCode::Trap);
    assert!(report.what.contains("unreachable"), "{report}");
    assert_eq!(count(&actor).await, 1);
    assert_eq!(actor.stats().errors, 1);
}

#[tokio::test]
async fn an_idle_instance_is_let_go() {
    let policy = InstancePolicy::Warm { max_calls: 100, max_concurrency: 1, idle_ms: 50 };
    let actor = start(&counter(), ActorOptions { policy, ..options() }).await.unwrap();
    assert_eq!(count(&actor).await, 1);
    actor.reap(Instant::now());
    actor.reap(Instant::now() + Duration::from_millis(60));
    assert_eq!(actor.stats().instances, 0);
    assert_eq!(count(&actor).await, 1);
}

#[tokio::test]
async fn a_guest_that_spins_ends_at_its_deadline() {
    let limits = Limits { call_ms: 100, ..Limits::default() };
    let actor = start(&counter(), ActorOptions { limits: limits.clone(), ..warm() }).await.unwrap();
    let report = actor.call_values(PROBE, "spin", &[], soon()).await.unwrap_err();
    assert_eq!(report.code, ErrorCode::Timeout);
    // Its instance went with it.
    assert_eq!((count(&actor).await, actor.stats().instances), (1, 1));
    let hostile = start(&guest("fixture_hostile"), ActorOptions { limits, ..options() }).await.unwrap();
    for path in ["/spin", "/sleep", "/chatty"] {
        assert_eq!(ask(&hostile, path).await.unwrap_err().code, ErrorCode::Timeout, "{path}");
    }
}

#[tokio::test]
async fn a_spinning_guest_leaves_the_thread_to_others() {
    // One thread: if the guest never yielded, the good call could not be made before the deadline.
    let spinner = start(&counter(), options()).await.unwrap();
    let good = start(&counter(), options()).await.unwrap();
    let spinning = spinner.call_values(PROBE, "spin", &[], CallInfo::within(Duration::from_secs(5)));
    let answering = async {
        for _ in 0..10 {
            tokio::task::yield_now().await;
            assert_eq!(count(&good).await, 1);
        }
    };
    tokio::select! {
        biased;
        outcome = spinning => panic!("it ended first: {outcome:?}"),
        () = answering => {}
    }
}

#[tokio::test]
async fn what_hostile_guests_do_becomes_an_error_and_nothing_else() {
    let limits = Limits { memory_bytes: 16 << 20, ..Limits::default() };
    let actor = start(&guest("fixture_hostile"), ActorOptions { limits, ..options() }).await.unwrap();
    for (path, code, words) in [
        ("/trap", ErrorCode::Trap, "unreachable"),
        ("/panic", ErrorCode::Trap, "unreachable"),
        ("/exit", ErrorCode::Trap, "exited"),
        ("/recurse", ErrorCode::Trap, "stack"),
        ("/alloc", ErrorCode::Memory, "memory over the limit"),
        ("/no-answer", ErrorCode::Guest, "no response"),
        ("/error", ErrorCode::Guest, "the guest says so"),
        ("/random", ErrorCode::Trap, ""),
        ("/handles", ErrorCode::Trap, ""),
    ] {
        let report = ask(&actor, path).await.unwrap_err();
        assert_eq!(report.code, code, "{path}: {report}");
        assert!(report.to_string().contains(words), "{path}: {report}");
        // A good call between them, so that the actor is not paused.
        assert_eq!(ask(&actor, "/leak").await.unwrap(), "1", "after {path}");
    }
}

#[tokio::test]
async fn an_actor_that_fails_at_every_call_is_paused() {
    let actor = start(&counter(), options()).await.unwrap();
    for _ in 0..5 {
        let report = actor.call_values(PROBE, "boom", &[], soon()).await.unwrap_err();
        assert_eq!(report.code, ErrorCode::Trap);
    }
    let report = actor.call_values(PROBE, "count", &[], soon()).await.unwrap_err();
    assert_eq!(report.code, ErrorCode::CrashLooping);
}

#[tokio::test]
async fn bodies_are_bounded_both_ways() {
    let limits = Limits { body_bytes: 100_000, ..Limits::default() };
    let actor = start(&guest("fixture_hostile"), ActorOptions { limits, ..options() }).await.unwrap();
    // It says so: refused before the guest exists.
    let said = http::Request::post("http://test.local/x")
        .header("content-length", "100001")
        .body(full(vec![0; 100_001]))
        .unwrap();
    assert_eq!(actor.handle_http(said, soon()).await.unwrap_err().code, ErrorCode::TooLarge);
    // The guest's answer is cut where the limit is.
    let response = actor.handle_http(get("/big-body"), soon()).await.unwrap();
    let mut body = response.into_body();
    let mut seen = 0;
    let error = loop {
        match body.frame().await.expect("an error before the end") {
            Ok(frame) => seen += frame.data_ref().map_or(0, Bytes::len),
            Err(error) => break error,
        }
    };
    assert!(error.message.contains("over the limit"), "{error}");
    assert!(seen <= 100_000, "{seen}");
}

#[tokio::test]
async fn a_body_streams_while_the_guest_runs() {
    let limits = Limits { body_bytes: 100 << 20, ..Limits::default() };
    let actor = start(&guest("fixture_hostile"), ActorOptions { limits, ..options() }).await.unwrap();
    let response = actor.handle_http(get("/big-body"), soon()).await.unwrap();
    assert_eq!(actor.stats().in_flight, 1);
    let length = text(response).await.len();
    assert_eq!(length, 64 << 20);
    assert_eq!(actor.stats().in_flight, 0);
}

#[tokio::test]
async fn a_client_that_goes_away_ends_an_endless_body() {
    let limits = Limits { call_ms: 10_000, ..Limits::default() };
    let actor = start(&guest("fixture_hostile"), ActorOptions { limits, ..options() }).await.unwrap();
    let mut body = actor.handle_http(get("/endless-body"), soon()).await.unwrap().into_body();
    assert!(body.frame().await.unwrap().is_ok());
    drop(body);
    actor.stop(Duration::from_secs(5)).await;
    assert_eq!(actor.stats().in_flight, 0);
}

#[tokio::test]
async fn what_is_too_much_waits_and_then_is_refused() {
    let limits = Limits { concurrency: 1, queue: 1, call_ms: 200, ..Limits::default() };
    let actor = start(&counter(), ActorOptions { limits, ..options() }).await.unwrap();
    let spin = || actor.call_values(PROBE, "spin", &[], soon());
    let (one, two, three) = tokio::join!(spin(), spin(), spin());
    let codes: Vec<_> = [one, two, three].into_iter().map(|outcome| outcome.unwrap_err().code).collect();
    assert_eq!(codes[0], ErrorCode::Timeout);
    assert_eq!(codes[2], ErrorCode::Overloaded);
    let stats = actor.stats();
    assert_eq!((stats.in_flight, stats.queued, stats.instances), (0, 0, 0));
    assert_eq!(count(&actor).await, 1);
}

#[tokio::test]
async fn a_stopped_actor_takes_no_calls_and_finishes_those_it_has() {
    let actor = start(&counter(), warm()).await.unwrap();
    assert_eq!(count(&actor).await, 1);
    actor.stop(Duration::from_secs(1)).await;
    let report = actor.call_values(PROBE, "count", &[], soon()).await.unwrap_err();
    assert_eq!(report.code, ErrorCode::ActorNotFound);
    assert_eq!(actor.stats().instances, 0);
}

#[tokio::test]
async fn the_sandbox_shows_nothing_of_the_host() {
    let actor = start(&guest("fixture_env_probe"), options()).await.unwrap();
    let reached: serde_json::Value = serde_json::from_str(&ask(&actor, "/").await.unwrap()).unwrap();
    for list in ["environment", "arguments", "preopens", "open"] {
        assert_eq!(reached[list], serde_json::json!([]), "{list}: {reached}");
    }
}

#[tokio::test]
async fn messages_reach_a_handler_and_other_components_say_that_they_have_none() {
    let message = || Message {
        subject: "a.b".to_owned(),
        body: Bytes::from_static(b"hello"),
        reply_to: None,
        headers: vec![],
    };
    let hello = start(&guest("http_hello"), options()).await.unwrap();
    let report = hello.handle_message(message(), soon()).await.unwrap_err();
    assert_eq!(report.code, ErrorCode::NoHandler);
    let echo = start(&guest("messaging_echo"), options()).await.unwrap();
    // Without a reply subject there is nothing to publish, so no link is needed.
    let outcome = echo.handle_message(message(), soon()).await;
    assert!(outcome.is_ok() || outcome.as_ref().unwrap_err().code == ErrorCode::Guest, "{outcome:?}");
}

#[tokio::test]
async fn starts_that_cannot_be_are_refused_with_what_is_wrong() {
    let slow = probe(r#"(func $spin (loop $again (br $again))) (start $spin)"#, &[]);
    let runtime = fixtures::runtime_with(crate::RuntimeConfig { start_ms: 50, ..Default::default() });
    let component = fixtures::load(&runtime, &slow).await.unwrap();
    let report =
        Actor::start(&runtime, component, options(), Arc::default()).await.err().expect("it never starts");
    assert_eq!(report.code, ErrorCode::StartTimeout, "{report}");
    assert!(report.what.starts_with("actor start failed: "), "{report}");

    let limits = Limits { memory_bytes: 1 << 20, ..Limits::default() };
    let greedy = probe(r#"(memory 32)"#, &[]);
    let report = start(&greedy, ActorOptions { limits, ..options() }).await.err().unwrap();
    assert_eq!(report.code, ErrorCode::Memory);
    assert!(report.to_string().contains("min 32 pages, expected limit 16 pages"), "{report}");

    let report = start(&probe("(func (export \"x\") unreachable) (start 0)", &[("x", "")]), options()).await;
    assert_eq!(report.err().unwrap().code, ErrorCode::Trap);
}

#[tokio::test]
async fn a_call_too_deep_is_refused() {
    let actor = start(&counter(), options()).await.unwrap();
    let info = CallInfo { depth: MAX_CALL_DEPTH + 1, ..soon() };
    let report = actor.call_values(PROBE, "count", &[], info).await.unwrap_err();
    assert_eq!(report.code, ErrorCode::CallDepth);
}
