//! Outgoing HTTP through links.

use crate::support::fakes::Client;
use crate::support::{ask, guest, link, list, start, wiring};
use lattice_protocol::{ErrorCode, Grants};
use providers_sdk::ProviderErrorKind::{Failed, Unreachable};

fn to(hosts: &[&str]) -> Grants {
    Grants { hosts: list(hosts), ..Grants::default() }
}

#[tokio::test]
async fn requests_leave_only_by_a_link_and_only_to_its_hosts() {
    let client = Client::shared();
    let probe = start("probe", guest("fixture-probe").await, []).await;
    let denied = ask(&probe, "GET", "/fetch?url=http://api.test/x", "").await.unwrap_err();
    assert_eq!(denied.code, ErrorCode::CapabilityDenied);
    assert_eq!(denied.what, "capability denied: wasmcloud:httpclient");

    let granted = link("probe", "wasmcloud:httpclient", client.target()).grants(to(&["api.test"]));
    probe.set_wiring(wiring("probe", [granted]));
    assert_eq!(
        ask(&probe, "POST", "/fetch?url=http://api.test/x", "body").await.unwrap(),
        (200, "body".into())
    );
    assert_eq!(client.script.calls(), ["POST http://api.test/x"]);
    let (status, body) = ask(&probe, "GET", "/fetch?url=http://other.test/x", "").await.unwrap();
    assert_eq!(status, 502, "{body}");
    assert_eq!(client.script.calls(), Vec::<String>::new());
}

#[tokio::test]
async fn a_link_without_hosts_reaches_none() {
    let client = Client::shared();
    let probe =
        start("probe", guest("fixture-probe").await, [link("probe", "wasi:http", client.target())]).await;
    assert_eq!(ask(&probe, "GET", "/fetch?url=http://api.test/x", "").await.unwrap().0, 502);
    assert_eq!(client.script.calls(), Vec::<String>::new());
}

#[tokio::test]
async fn only_requests_that_can_and_may_be_repeated_are() {
    let client = Client::shared();
    let granted = link("probe", "wasi:http", client.target()).grants(to(&["api.test"]));
    let probe = start("probe", guest("fixture-probe").await, [granted]).await;
    client.script.fail(&[Unreachable, Failed]);
    assert_eq!(ask(&probe, "GET", "/fetch?url=http://api.test/", "").await.unwrap().0, 200);
    assert_eq!(client.script.calls().len(), 3, "GET is repeated whatever happened");
    client.script.fail(&[Unreachable]);
    assert_eq!(ask(&probe, "POST", "/fetch?url=http://api.test/", "body").await.unwrap().0, 502);
    assert_eq!(client.script.calls().len(), 1, "a body is gone once it is sent");
    client.script.fail(&[Unreachable]);
    let (status, body) = ask(&probe, "PUT", "/fetch?url=http://api.test/", "small").await.unwrap();
    assert_eq!(
        (status, body.as_str(), client.script.calls().len()),
        (200, "small", 2),
        "a small one is kept"
    );
    client.script.fail(&[Unreachable]);
    let large = "x".repeat(100_000);
    assert_eq!(ask(&probe, "PUT", "/fetch?url=http://api.test/", &large).await.unwrap().0, 502);
    assert_eq!(client.script.calls().len(), 1, "a large one is not");
    assert_eq!(ask(&probe, "PUT", "/fetch?url=http://api.test/", &large).await.unwrap(), (200, large));
}
