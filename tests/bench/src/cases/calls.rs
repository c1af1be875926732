//! Calls and starts inside one process, by the same interface of the runtime that a host uses.
//!
//! What a guest does inside a call is measured by a loop in the guest ([`Loops::over_bare`]).

use super::Plan;
use crate::inside::{Inside, Loops, actor_id, link};
use crate::report::{Goal, Measured, Row};
use crate::samples::{median, micros, millis};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use host_runtime::CallInfo;
use host_runtime::wiring::BoundTarget;
use http_body_util::BodyExt;
use lattice_protocol::{InstancePolicy, LinkName, LinkTarget};
use providers_keyvalue_embedded::EmbeddedKeyValueFactory;
use providers_sdk::http::full;
use providers_sdk::keyvalue::KeyValue;
use providers_sdk::{BuildContext, CallContext, Factory, Provider};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Turns of one loop.
const TURNS: u32 = 20_000;
/// Samples of a single call in one run.
const SAMPLES: u32 = 5_000;
/// Starts in one run.
const STARTS: u32 = 100;
const GUEST: &str = "fixture-bench-loops";
/// What is read by `keyvalue-get`.
const VALUE: [u8; 200] = [b'v'; 200];

/// The middle of many single calls of the empty loop, microseconds.
pub(super) async fn single_call(loops: &Loops) -> Result<f64> {
    let mut samples = Vec::new();
    for _ in 0..SAMPLES {
        samples.push(micros(loops.run("empty", 1).await?.0));
    }
    median(samples).context("no sample")
}

pub(super) fn row(
    case: &'static str,
    unit: &'static str,
    (ours, reference): (Vec<f64>, Vec<f64>),
    goal: Goal,
) -> Result<Row> {
    let (ours, reference) = (median(ours).context("no run")?, median(reference).context("no run")?);
    Ok(Row::new(case, unit, Measured { ours, reference }, goal))
}

/// A get of 200 bytes from the embedded store, through a link.
pub async fn keyvalue_get(plan: &Plan) -> Result<Row> {
    let inside = Inside::new()?;
    let context = BuildContext {
        id: "bench/store".parse()?,
        data_dir: inside.dir().join("kv"),
        config: BTreeMap::new(),
    };
    let Provider::KeyValue(store) = EmbeddedKeyValueFactory.build(context).await? else {
        anyhow::bail!("the embedded store is no key-value store");
    };
    let call = CallContext {
        source: actor_id(GUEST)?,
        link: LinkName::default_name(),
        config: Arc::new(BTreeMap::new()),
        deadline: Instant::now() + Duration::from_secs(600),
        traceparent: None,
    };
    store.open(&call, "bench").await?;
    store.set(&call, "bench", "key", Bytes::from_static(&VALUE)).await?;
    let link = link(GUEST, "wasi:keyvalue", LinkTarget::Provider("bench/store".parse()?))?;
    let links = vec![(link, BoundTarget::KeyValue(Arc::clone(&store)))];
    let loops = Loops(inside.start_guest(GUEST, InstancePolicy::warm(), links).await?);
    let mut samples = (Vec::new(), Vec::new());
    for _ in 0..plan.runs {
        samples.0.push(loops.over_bare("keyvalue-get", TURNS, VALUE.len() as u64).await?);
        samples.1.push(bare_get(&*store, &call).await?);
    }
    Ok(row("keyvalue-get", "us", samples, Goal::AtMost(3.0))?.against("the same get without a guest"))
}

async fn bare_get(store: &dyn KeyValue, call: &CallContext) -> Result<f64> {
    let began = Instant::now();
    for _ in 0..TURNS {
        let value = store.get(call, "bench", "key").await?;
        ensure!(value.is_some_and(|value| value.len() == VALUE.len()), "the key is gone");
    }
    Ok(micros(began.elapsed()) / f64::from(TURNS))
}

/// A call of an actor whose every call has an instance of its own.
pub async fn instantiate(plan: &Plan) -> Result<Row> {
    let inside = Inside::new()?;
    let component = inside.load(inside.signed(GUEST)?).await?;
    let fresh = inside.start("fresh", Arc::clone(&component), InstancePolicy::PerCall, Vec::new()).await?;
    let warm = inside.start("warm", component, InstancePolicy::warm(), Vec::new()).await?;
    let (fresh, warm) = (Loops(fresh), Loops(warm));
    let mut samples = (Vec::new(), Vec::new());
    for _ in 0..plan.runs {
        samples.0.push(single_call(&fresh).await?);
        samples.1.push(single_call(&warm).await?);
    }
    Ok(row("instantiate-fresh", "us", samples, Goal::AtMost(6.0))?.against("the same call, warm, p50"))
}

/// Read the file, verify the claims, load from the cache, start, and answer one HTTP request.
pub async fn signed_start(plan: &Plan) -> Result<Row> {
    let inside = Inside::new()?;
    let path = inside.dir().join("hello.wasm");
    std::fs::write(&path, inside.signed("http-hello-raw")?)?;
    let first = inside.load(std::fs::read(&path)?.into()).await?;
    ensure!(!first.from_cache(), "the cache was not empty");
    let mut samples = (Vec::new(), Vec::new());
    for _ in 0..plan.runs {
        let (mut starts, mut answers) = (Vec::new(), Vec::new());
        for _ in 0..STARTS {
            let began = Instant::now();
            let component = inside.load(std::fs::read(&path)?.into()).await?;
            ensure!(component.from_cache(), "not from the cache");
            let actor = inside.start("hello", component, InstancePolicy::PerCall, Vec::new()).await?;
            answer(&actor).await?;
            starts.push(millis(began.elapsed()));
            let began = Instant::now();
            answer(&actor).await?;
            answers.push(millis(began.elapsed()));
            actor.stop(Duration::from_secs(1)).await;
        }
        samples.0.push(median(starts).context("no start")?);
        samples.1.push(median(answers).context("no answer")?);
    }
    Ok(row("signed-start", "ms", samples, Goal::AtMost(0.5))?.against("an answer of the started actor"))
}

async fn answer(actor: &Arc<host_runtime::Actor>) -> Result<()> {
    let request =
        http::Request::builder().uri("http://bench/").header("host", "bench").body(full(Bytes::new()))?;
    let response = actor.handle_http(request, CallInfo::within(Duration::from_secs(30))).await?;
    ensure!(response.status() == 200, "answered {}", response.status());
    let body = response.into_body().collect().await?.to_bytes();
    ensure!(body == crate::HELLO.as_bytes(), "answered {body:?}");
    Ok(())
}
