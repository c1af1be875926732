//! Messages in and out: answered, refused by subject, never sent twice.

use crate::support::fakes::Broker;
use crate::support::{PATIENCE, ask, guest, link, list, start, wiring};
use host_runtime::CallInfo;
use lattice_protocol::{ErrorCode, Grants};
use providers_sdk::ProviderErrorKind::{Failed, Unreachable};
use providers_sdk::messaging::Message;

fn message(reply_to: Option<&str>) -> Message {
    Message {
        subject: "edge.sensor.x".into(),
        body: "hello".into(),
        reply_to: reply_to.map(str::to_owned),
        headers: Vec::new(),
    }
}

#[tokio::test]
async fn an_echo_answers_where_the_message_asks_for_it() {
    let broker = Broker::shared();
    let echo =
        start("echo", guest("messaging-echo").await, [link("echo", "wasmcloud:messaging", broker.target())])
            .await;
    echo.handle_message(message(Some("_INBOX.abc.1")), CallInfo::within(PATIENCE)).await.unwrap();
    echo.handle_message(message(Some("edge.replies")), CallInfo::within(PATIENCE)).await.unwrap();
    assert_eq!(broker.published(), ["_INBOX.abc.1 hello", "edge.replies hello"]);

    let unanswerable = echo.handle_message(message(None), CallInfo::within(PATIENCE)).await.unwrap_err();
    assert_eq!(unanswerable.code, ErrorCode::Guest);
    assert!(unanswerable.what.contains("no reply subject"), "{unanswerable}");
}

#[tokio::test]
async fn a_message_cannot_make_the_actor_publish_where_its_sender_may_not() {
    let broker = Broker::shared();
    let grants = Grants { publish: list(&["edge.>"]), ..Grants::default() };
    let links = [link("echo", "wasmcloud:messaging", broker.target()).grants(grants)];
    let echo = start("echo", guest("messaging-echo").await, links).await;
    for reply_to in ["$JS.API.STREAM.DELETE.x", "trellis.test.rpc.a.b", "_INBOX.>", "other.subject"] {
        let refused =
            echo.handle_message(message(Some(reply_to)), CallInfo::within(PATIENCE)).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::Guest, "{reply_to}: {refused}");
    }
    assert_eq!(broker.published(), Vec::<String>::new());
}

#[tokio::test]
async fn without_a_link_a_handler_cannot_answer() {
    let broker = Broker::shared();
    let echo = start("echo", guest("messaging-echo").await, []).await;
    let denied =
        echo.handle_message(message(Some("_INBOX.a")), CallInfo::within(PATIENCE)).await.unwrap_err();
    assert_eq!(denied.code, ErrorCode::CapabilityDenied);
    assert_eq!(denied.what, "capability denied: wasmcloud:messaging/consumer@0.2.0");
    echo.set_wiring(wiring("echo", [link("echo", "wasmcloud:messaging", broker.target())]));
    echo.handle_message(message(Some("_INBOX.a")), CallInfo::within(PATIENCE)).await.unwrap();
}

#[tokio::test]
async fn reserved_and_ungranted_subjects_are_refused() {
    let broker = Broker::shared();
    let grants = Grants { publish: list(&["edge.>", "_INBOX.>", "$SYS.>"]), ..Grants::default() };
    let links = [link("probe", "wasmcloud:messaging", broker.target()).grants(grants)];
    let probe = start("probe", guest("fixture-probe").await, links).await;
    for subject in ["$SYS.a", "$JS.API.x", "_INBOX.x", "trellis.test.evt.x", "edge.*", "edge..x", "other"] {
        for target in [
            format!("/publish?subject={subject}"),
            format!("/publish?subject=edge.x&reply={subject}"),
            format!("/request?subject={subject}&ms=100"),
        ] {
            let (status, body) = ask(&probe, "POST", &target, "x").await.unwrap();
            assert_eq!(status, 502, "{target}: {body}");
        }
    }
    assert_eq!(broker.script.calls(), Vec::<String>::new());
    assert_eq!(ask(&probe, "POST", "/publish?subject=edge.x", "x").await.unwrap().0, 204);
    assert_eq!(
        ask(&probe, "POST", "/request?subject=edge.x&ms=1000", "ask").await.unwrap(),
        (200, "ask".into())
    );
}

#[tokio::test]
async fn a_message_that_may_have_arrived_is_not_sent_again() {
    let broker = Broker::shared();
    let probe =
        start("probe", guest("fixture-probe").await, [link("probe", "wasmcloud:messaging", broker.target())])
            .await;
    broker.script.fail(&[Failed]);
    assert_eq!(ask(&probe, "POST", "/publish?subject=a", "x").await.unwrap().0, 502);
    assert_eq!(broker.script.calls().len(), 1);
    broker.script.fail(&[Unreachable]);
    assert_eq!(ask(&probe, "POST", "/publish?subject=a", "x").await.unwrap().0, 204);
    assert_eq!(broker.script.calls().len(), 2);
}
