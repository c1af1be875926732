//! What a call allocates, held to what it allocated when it was last looked at. A number that grows
//! makes every call slower on every machine; lower the bound when it shrinks.

use crate::support::counting::{Counting, allocations};
use crate::support::{PATIENCE, RUNTIME, guest, id, wiring};
use host_runtime::actor::ActorOptions;
use host_runtime::{Actor, CallInfo};
use http_body_util::BodyExt;
use lattice_protocol::{InstancePolicy, Limits};
use providers_sdk::http::full;
use std::collections::BTreeMap;
use std::sync::Arc;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const CALLS: u64 = 50;

async fn hello(policy: InstancePolicy) -> Arc<Actor> {
    let options = ActorOptions {
        id: id("hello"),
        lattice: "test".parse().unwrap(),
        host: "NTEST".parse().unwrap(),
        policy,
        limits: Limits::default(),
        replicas: 1,
        config: BTreeMap::new(),
    };
    let component = guest("http-hello-raw").await;
    Actor::start(&RUNTIME, component, options, wiring("hello", [])).await.unwrap()
}

/// Allocations of one request on this thread, once everything that is kept has been made.
async fn per_request(actor: &Arc<Actor>) -> u64 {
    let mut begun = 0;
    for call in 0..2 * CALLS {
        if call == CALLS {
            begun = allocations();
        }
        let request = http::Request::builder().uri("http://test.local/").body(full("")).unwrap();
        let response = actor.handle_http(request, CallInfo::within(PATIENCE)).await.unwrap();
        assert_eq!(response.status(), 200);
        drop(response.into_body().collect().await.unwrap());
    }
    // A stray one in all of them is none of theirs.
    (allocations() - begun) / CALLS
}

/// More than the bound is a regression; much less means that the bound is stale.
fn hold(what: &str, found: u64, bound: u64) {
    assert!(found <= bound, "{what}: {found} allocations a call, at most {bound} before");
    assert!(found * 10 >= bound * 8, "{what}: {found} allocations a call; lower the bound from {bound}");
}

#[tokio::test]
async fn a_request_allocates_no_more_than_it_did() {
    hold("warm", per_request(&hello(InstancePolicy::warm()).await).await, 49);
    hold("fresh", per_request(&hello(InstancePolicy::PerCall).await).await, 95);
}
