//! Calls from actor to actor: here and elsewhere the same, refused where they must be.

use crate::support::fakes::Peer;
use crate::support::{PATIENCE, ask, get, guest, id, link, start, text, wiring};
use bytes::Bytes;
use host_runtime::{Actor, CallInfo};
use lattice_protocol::invocation::MAX_CALL_DEPTH;
use lattice_protocol::value::{Signature, Type, Value, decode_all, encode_call};
use lattice_protocol::{ErrorCode, Report};
use std::sync::Arc;

const PONG: &str = "example:pong";

async fn pong() -> Arc<Actor> {
    start("pong", guest("pong").await, []).await
}

/// `ping`, linked to a peer.
async fn ping(peer: &Arc<Peer>) -> Arc<Actor> {
    start("ping", guest("ping").await, [link("ping", PONG, peer.target())]).await
}

#[tokio::test]
async fn every_kind_of_value_comes_back_equal_here_and_from_elsewhere() {
    let pong = pong().await;
    let (here, elsewhere) = (ping(&Peer::local(&pong)).await, ping(&Peer::remote(&pong)).await);
    assert_eq!(get(&here, "/").await, "ping pong\n");
    assert_eq!(get(&elsewhere, "/").await, "ping pong\n");
    let shapes = get(&here, "/shapes").await;
    assert!(shapes.contains(r#""changed":[]"#) && !shapes.contains(r#""tried":0"#), "{shapes}");
    assert_eq!(get(&elsewhere, "/shapes").await, shapes);
}

#[tokio::test]
async fn without_a_link_the_call_is_denied_by_the_interfaces_name() {
    let pong = pong().await;
    let ping = start("ping", guest("ping").await, []).await;
    let denied = ask(&ping, "GET", "/", "").await.unwrap_err();
    assert_eq!(denied.code, ErrorCode::CapabilityDenied);
    assert_eq!(denied.what, "capability denied: example:pong/pingpong@0.1.0");
    ping.set_wiring(wiring("ping", [link("ping", "example:pong/pingpong", Peer::local(&pong).target())]));
    assert_eq!(get(&ping, "/").await, "ping pong\n");
    let other = ask(&ping, "GET", "/shapes", "").await.unwrap_err();
    assert_eq!(other.what, "capability denied: example:pong/shapes@0.1.0");
}

#[tokio::test]
async fn a_callee_that_traps_is_named_and_its_caller_lives() {
    let pong = pong().await;
    for peer in [Peer::local(&pong), Peer::remote(&pong)] {
        let ping = ping(&peer).await;
        let failed = ask(&ping, "GET", "/trap", "").await.unwrap_err();
        assert_eq!(failed.code, ErrorCode::Trap, "{failed}");
        assert!(failed.what.starts_with("callee test/pong: "), "{failed}");
        assert_eq!(get(&ping, "/").await, "ping pong\n");
    }
}

#[tokio::test]
async fn a_remote_call_is_repeated_only_when_nobody_can_have_received_it() {
    let pong = pong().await;
    let peer = Peer::remote(&pong);
    let ping = ping(&peer).await;
    let report = |code| Report::new(code, "as told");
    peer.fail([report(ErrorCode::Connection), report(ErrorCode::Connection)].into_iter());
    assert_eq!(get(&ping, "/").await, "ping pong\n");
    {
        let calls = std::mem::take(&mut *peer.invocations.lock().unwrap());
        assert_eq!(calls.len(), 3);
        let key = calls[0].idempotency_key.clone().expect("a key");
        assert!(
            calls.iter().all(|call| call.idempotency_key.as_ref() == Some(&key)),
            "one key for all attempts"
        );
        assert_eq!((calls[0].depth, calls[0].caller.clone()), (1, Some(id("ping"))));
        assert!(calls[0].remaining_ms <= 5_000, "no longer than the link: {}", calls[0].remaining_ms);
    }
    peer.fail([report(ErrorCode::Timeout)].into_iter());
    let late = ask(&ping, "GET", "/", "").await.unwrap_err();
    assert_eq!(late.code, ErrorCode::Timeout);
    assert_eq!(peer.invocations.lock().unwrap().len(), 1, "it may have been carried out");
}

#[tokio::test]
async fn what_the_callee_could_not_reach_does_not_look_unsent_to_the_outermost_caller() {
    let pong = pong().await;
    let peer = Peer::remote(&pong);
    let ping = ping(&peer).await;
    peer.fail(std::iter::repeat_n(Report::new(ErrorCode::Connection, "nobody there"), 4));
    let failed = ask(&ping, "GET", "/", "").await.unwrap_err();
    assert_eq!(failed.code, ErrorCode::Provider, "{failed}");
    assert!(failed.what.contains("nobody there"), "{failed}");
}

/// Exports what it imports: a call goes round for ever, if it may.
const LOOP: &str = r#"(component
    (import "example:loop/round@0.1.0" (instance $i (export "go" (func))))
    (core func $go (canon lower (func $i "go")))
    (core module $m (import "" "go" (func $go)) (func (export "go") call $go))
    (core instance $c (instantiate $m (with "" (instance (export "go" (func $go))))))
    (func $exported (canon lift (core func $c "go")))
    (instance $e (export "go" (func $exported)))
    (export "example:loop/round@0.1.0" (instance $e)))"#;

fn nullary() -> Bytes {
    encode_call::<Value>(&Signature::default(), &[]).unwrap().into()
}

#[tokio::test]
async fn a_circle_of_calls_ends_at_the_depth_limit() {
    let component = text(LOOP).await.unwrap();
    for here in [true, false] {
        let name = if here { "circle" } else { "far-circle" };
        let circle = start(name, Arc::clone(&component), []).await;
        let peer = if here { Peer::local(&circle) } else { Peer::remote(&circle) };
        circle.set_wiring(wiring(name, [link(name, "example:loop", peer.target()).timeout_ms(60_000)]));
        let info = CallInfo::within(PATIENCE);
        let ended = circle.call("example:loop/round@0.1.0", "go", nullary(), info).await.unwrap_err();
        assert_eq!(ended.code, ErrorCode::CallDepth, "{ended}");
        assert_eq!(ended.limit.as_deref(), Some("16"));
        let deeper = CallInfo { depth: MAX_CALL_DEPTH + 1, ..CallInfo::within(PATIENCE) };
        let refused = circle.call("example:loop/round@0.1.0", "go", nullary(), deeper).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::CallDepth);
        circle.set_wiring(wiring(name, []));
    }
}

#[tokio::test]
async fn caller_and_callee_must_know_the_function_by_one_type() {
    let callee = text(
        r#"(component
        (core module $m (func (export "go") (param i32)))
        (core instance $c (instantiate $m))
        (func $go (param "x" u32) (canon lift (core func $c "go")))
        (instance $e (export "go" (func $go)))
        (export "example:loop/round@0.1.0" (instance $e)))"#,
    );
    let callee = start("callee", callee.await.unwrap(), []).await;
    for peer in [Peer::local(&callee), Peer::remote(&callee)] {
        let links = [link("caller", "example:loop", peer.target())];
        let caller = start("caller", text(LOOP).await.unwrap(), links).await;
        let info = CallInfo::within(PATIENCE);
        let refused = caller.call("example:loop/round@0.1.0", "go", nullary(), info).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::Version, "{refused}");
    }
}

#[tokio::test]
async fn a_callee_of_another_type_is_refused_after_one_of_the_right_type_too() {
    let callee = async |name: &str, params: &str, core: &str| {
        let component = format!(
            r#"(component
            (core module $m (func (export "go") {core}))
            (core instance $c (instantiate $m))
            (func $go {params} (canon lift (core func $c "go")))
            (instance $e (export "go" (func $go)))
            (export "example:loop/round@0.1.0" (instance $e)))"#
        );
        start(name, text(&component).await.unwrap(), []).await
    };
    let right = callee("right", "", "").await;
    let wrong = callee("wrong", r#"(param "x" u32)"#, "(param i32)").await;
    let caller = start("caller", text(LOOP).await.unwrap(), []).await;
    let go = async |peer: &Arc<Peer>| {
        caller.set_wiring(wiring("caller", [link("caller", "example:loop", peer.target())]));
        caller.call("example:loop/round@0.1.0", "go", nullary(), CallInfo::within(PATIENCE)).await
    };
    let (right, wrong) = (Peer::local(&right), Peer::local(&wrong));
    for _ in 0..2 {
        go(&right).await.unwrap();
        assert_eq!(go(&wrong).await.unwrap_err().code, ErrorCode::Version);
    }
}

#[tokio::test]
async fn a_text_that_is_none_ends_the_call_that_passes_it() {
    let caller = text(
        r#"(component
        (import "example:loop/words@0.1.0"
            (instance $i (export "go" (func (param "x" string) (result string)))))
        (core module $lib
            (memory (export "memory") 1) (data (i32.const 0) "\ff\fe")
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024))
        (core instance $lib (instantiate $lib))
        (core func $go (canon lower (func $i "go")
            (memory (core memory $lib "memory")) (realloc (core func $lib "realloc"))))
        (core module $m
            (import "" "go" (func $go (param i32 i32 i32)))
            (func (export "go") (call $go (i32.const 0) (i32.const 2) (i32.const 512))))
        (core instance $c (instantiate $m (with "" (instance (export "go" (func $go))))))
        (func $exported (canon lift (core func $c "go")))
        (instance $e (export "go" (func $exported)))
        (export "example:loop/round@0.1.0" (instance $e)))"#,
    );
    let caller = start("mumbler", caller.await.unwrap(), []).await;
    let info = CallInfo::within(PATIENCE);
    let ended = caller.call("example:loop/round@0.1.0", "go", nullary(), info).await.unwrap_err();
    assert_eq!(ended.code, ErrorCode::Trap, "{ended}");
    assert!(ended.to_string().contains("utf-8"), "{ended}");
}

#[tokio::test]
async fn calls_from_outside_are_read_strictly() {
    let pong = pong().await;
    let signature = Signature { params: vec![("value".into(), Type::U8)], results: vec![Type::U8] };
    let payload = encode_call(&signature, &[Value::U8(7)]).unwrap();
    let call = async |interface: &str, function: &str, payload: &[u8]| {
        let payload = Bytes::copy_from_slice(payload);
        pong.call(interface, function, payload, CallInfo::within(PATIENCE)).await
    };
    let shapes = "example:pong/shapes@0.1.0";
    let answer = call(shapes, "echo-u8", &payload).await.unwrap();
    assert_eq!(decode_all(&signature.results, &answer, &Default::default()).unwrap(), [Value::U8(7)]);
    let longer = [payload.as_slice(), b"x"].concat();
    let code =
        async |interface, function, payload| call(interface, function, payload).await.unwrap_err().code;
    assert_eq!(code(shapes, "echo-u16", &payload).await, ErrorCode::Version);
    assert_eq!(code(shapes, "echo-u8", &payload[..32]).await, ErrorCode::Malformed);
    assert_eq!(code(shapes, "echo-u8", b"").await, ErrorCode::Malformed);
    assert_eq!(code(shapes, "echo-u8", &longer).await, ErrorCode::Trailing);
    assert_eq!(code(shapes, "absent", &payload).await, ErrorCode::NoHandler);
    assert_eq!(code("example:pong/absent@0.1.0", "echo-u8", &payload).await, ErrorCode::NoHandler);
}

#[tokio::test]
async fn resources_are_refused_when_the_component_is_loaded() {
    let report = text(
        r#"(component (import "example:loop/things@0.1.0" (instance
            (export "thing" (type (sub resource))))))"#,
    );
    let report = report.await.map(drop).unwrap_err();
    assert_eq!(report.code, ErrorCode::Feature, "{report}");
}

/// One function by two labels: each goes by the link of its name.
const LABELLED: &str = r#"(component
    (import "near" (implements "example:loop/round@0.1.0") (instance $near (export "go" (func))))
    (import "far" (implements "example:loop/round@0.1.0") (instance $far (export "go" (func))))
    (core func $near (canon lower (func $near "go")))
    (core func $far (canon lower (func $far "go")))
    (core module $m
        (import "" "near" (func $near)) (import "" "far" (func $far))
        (func (export "near") call $near) (func (export "far") call $far))
    (core instance $c (instantiate $m
        (with "" (instance (export "near" (func $near)) (export "far" (func $far))))))
    (func $near-up (canon lift (core func $c "near")))
    (func $far-up (canon lift (core func $c "far")))
    (instance $e (export "near" (func $near-up)) (export "far" (func $far-up)))
    (export "example:loop/chosen@0.1.0" (instance $e)))"#;

#[tokio::test]
async fn a_named_import_goes_by_the_link_of_its_name() {
    let end = text(
        r#"(component
        (core module $m (func (export "go")))
        (core instance $c (instantiate $m))
        (func $go (canon lift (core func $c "go")))
        (instance $e (export "go" (func $go)))
        (export "example:loop/round@0.1.0" (instance $e)))"#,
    );
    let end = start("end", end.await.unwrap(), []).await;
    let (near, far) = (Peer::remote(&end), Peer::remote(&end));
    let labelled = start(
        "labelled",
        text(LABELLED).await.unwrap(),
        [
            link("labelled", "example:loop", near.target()).named("near"),
            link("labelled", "example:loop", far.target()).named("far"),
        ],
    )
    .await;
    let call = async |function: &str| {
        labelled.call("example:loop/chosen@0.1.0", function, nullary(), CallInfo::within(PATIENCE)).await
    };
    let seen = || (near.invocations.lock().unwrap().len(), far.invocations.lock().unwrap().len());
    call("far").await.unwrap();
    assert_eq!(seen(), (0, 1));
    call("near").await.unwrap();
    assert_eq!(seen(), (1, 1));
    labelled.set_wiring(wiring("labelled", [link("labelled", "example:loop", near.target()).named("near")]));
    assert_eq!(call("far").await.unwrap_err().code, ErrorCode::LinkNotFound);
}
