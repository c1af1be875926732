//! Resolution and the guard, without any wasm.

use super::*;
use lattice_protocol::{CallPolicy, Grants, LinkTarget};
use providers_sdk::{ProviderError, ProviderErrorKind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

fn definition(name: &str, interface: &str, policy: CallPolicy) -> LinkDefinition {
    LinkDefinition {
        source: "shop/cart".parse().unwrap(),
        name: name.parse().unwrap(),
        interface: interface.parse().unwrap(),
        target: LinkTarget::Provider("shop/kv".parse().unwrap()),
        config: BTreeMap::new(),
        policy,
        grants: Grants::default(),
    }
}

fn link(policy: CallPolicy) -> BoundLink {
    BoundLink::new(Arc::new(definition("default", "wasi:keyvalue", policy)), BoundTarget::Inbound)
}

/// Retries without pauses, so that no test waits.
fn eager() -> CallPolicy {
    CallPolicy { retry_delay_ms: 0, ..CallPolicy::default() }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn failed(kind: ProviderErrorKind) -> Result<u32, ProviderError> {
    Err(ProviderError::new(kind, "as told"))
}

/// Attempts made when every one fails in this way.
async fn attempts(policy: CallPolicy, repeat: Repeat, kind: ProviderErrorKind) -> (u32, ErrorCode) {
    let tried = AtomicU32::new(0);
    let report = link(policy)
        .guarded(soon(), repeat, |_| {
            tried.fetch_add(1, Ordering::Relaxed);
            async move { failed(kind) }
        })
        .await
        .unwrap_err();
    (tried.into_inner(), report.code)
}

#[tokio::test]
async fn retries_happen_only_when_they_are_safe() {
    use ProviderErrorKind::{Denied, Failed, Unreachable};
    assert_eq!(attempts(eager(), Repeat::Unsent, Unreachable).await, (4, ErrorCode::Connection));
    assert_eq!(
        attempts(eager(), Repeat::Unsent, Failed).await,
        (1, ErrorCode::Provider),
        "may have happened"
    );
    assert_eq!(attempts(eager(), Repeat::Freely, Failed).await, (4, ErrorCode::Provider));
    assert_eq!(attempts(eager(), Repeat::Freely, Denied).await, (1, ErrorCode::Denied), "an answer is final");
    assert_eq!(attempts(eager(), Repeat::Never, Unreachable).await, (1, ErrorCode::Connection));
    let marked = CallPolicy { idempotent: true, ..eager() };
    assert_eq!(attempts(marked, Repeat::Unsent, Failed).await, (4, ErrorCode::Provider));
}

#[tokio::test]
async fn a_later_attempt_may_succeed() {
    let tried = AtomicU32::new(0);
    let value = link(eager())
        .guarded(soon(), Repeat::Unsent, |_| {
            let number = tried.fetch_add(1, Ordering::Relaxed);
            async move { if number < 2 { failed(ProviderErrorKind::Unreachable) } else { Ok(number) } }
        })
        .await;
    assert_eq!(value, Ok(2));
}

#[tokio::test]
async fn five_failures_open_the_circuit_and_then_nothing_is_sent() {
    let link = link(CallPolicy { retries: 0, ..eager() });
    for _ in 0..5 {
        let outcome =
            link.guarded(soon(), Repeat::Freely, |_| async { failed(ProviderErrorKind::Unreachable) });
        assert_eq!(outcome.await.unwrap_err().code, ErrorCode::Connection);
    }
    let sent = AtomicU32::new(0);
    let refused = link
        .guarded(soon(), Repeat::Freely, |_| {
            sent.fetch_add(1, Ordering::Relaxed);
            async { Ok::<_, ProviderError>(0) }
        })
        .await
        .unwrap_err();
    assert_eq!(refused.code, ErrorCode::CircuitOpen);
    assert_eq!(sent.into_inner(), 0);
}

#[tokio::test]
async fn answers_that_are_errors_do_not_open_the_circuit() {
    let link = link(eager());
    for _ in 0..20 {
        let outcome = link.guarded(soon(), Repeat::Freely, |_| async { failed(ProviderErrorKind::NotFound) });
        assert_eq!(outcome.await.unwrap_err().code, ErrorCode::NotFound);
    }
}

#[tokio::test]
async fn an_attempt_ends_with_the_links_patience_and_all_of_them_with_the_callers() {
    let never = |_| std::future::pending::<Result<u32, ProviderError>>();
    let impatient = link(CallPolicy { timeout_ms: 5, retries: 0, ..eager() });
    let report = impatient.guarded(soon(), Repeat::Freely, never).await.unwrap_err();
    assert_eq!((report.code, report.limit.as_deref()), (ErrorCode::Timeout, Some("5 ms")));

    let patient = link(CallPolicy { timeout_ms: 600_000, retries: 100, ..eager() });
    let deadline = Instant::now() + Duration::from_millis(20);
    assert_eq!(patient.guarded(deadline, Repeat::Freely, never).await.unwrap_err().code, ErrorCode::Timeout);

    let seen = link(CallPolicy { timeout_ms: 600_000, ..eager() });
    let told = seen.guarded(deadline + Duration::from_secs(5), Repeat::Never, |until| async move {
        Ok::<_, ProviderError>(until)
    });
    assert!(
        told.await.unwrap() <= deadline + Duration::from_secs(5),
        "an attempt is told the caller's deadline"
    );

    let past = Instant::now();
    let report =
        patient.guarded(past, Repeat::Freely, |_| async { Ok::<_, ProviderError>(0) }).await.unwrap_err();
    assert_eq!(report.code, ErrorCode::Timeout);
}

#[test]
fn what_failed_behind_an_actor_never_looks_unsent_to_its_caller() {
    let unsent = Report::new(ErrorCode::Connection, "nobody there");
    let report = behind(unsent);
    assert_eq!(report.code, ErrorCode::Provider);
    assert!(report.what.contains("E_CONNECTION: nobody there"), "{report}");
    let denied = Report::new(ErrorCode::CapabilityDenied, "capability denied: x");
    assert_eq!(behind(denied.clone()), denied);
}

#[test]
fn only_the_actors_own_links_count_and_unavailable_targets_say_why() {
    let actor: ActorId = "shop/cart".parse().unwrap();
    let foreign =
        LinkDefinition { source: "other/app".parse().unwrap(), ..definition("a", "wasi:keyvalue", eager()) };
    let down = Report::new(ErrorCode::ProviderStart, "port taken");
    let wiring = Wiring::new(
        &actor,
        vec![
            (foreign, BoundTarget::Inbound),
            (definition("main", "wasi:keyvalue", eager()), BoundTarget::Unavailable(down)),
        ],
    );
    assert_eq!(wiring.links().len(), 1);
    let store: Interface = "wasi:keyvalue/store@0.2.0-draft".parse().unwrap();
    let link = wiring.resolve(&actor, None, &store).unwrap();
    let report = link.mismatch(&store);
    assert_eq!((report.code, report.what.as_str()), (ErrorCode::ProviderStart, "port taken"));
    assert!(report.place.unwrap().contains("shop/cart -> shop/kv"));

    let other: Interface = "wasi:blobstore/blobstore@0.2.0-draft".parse().unwrap();
    let denied = wiring.resolve(&actor, None, &other).map(drop).unwrap_err();
    assert_eq!(denied.what, "capability denied: wasmcloud:blobstore");
    let named: LinkName = "backup".parse().unwrap();
    let missing = wiring.resolve(&actor, Some(&named), &store).map(drop).unwrap_err();
    assert_eq!(missing.what, "link definition not found");
}
