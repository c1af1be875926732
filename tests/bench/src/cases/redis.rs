//! Gets from a real redis-server: guests through links, beside the client library alone. Both send
//! what is under way at once over one connection.

use super::Plan;
use crate::inside::{Inside, Loops, actor_id, link};
use crate::rates::Rates;
use crate::report::{Goal, Row};
use anyhow::{Result, bail, ensure};
use host_runtime::wiring::BoundTarget;
use lattice_protocol::{InstancePolicy, LinkName, LinkTarget};
use providers_keyvalue_redis::RedisKeyValueFactory;
use providers_sdk::{BuildContext, CallContext, Factory, Provider};
use redis::AsyncCommands;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tests_harness::RedisServer;
use tokio::task::JoinSet;

const AT_ONCE: u32 = 64;
/// Gets of one of them in a run.
const GETS: u32 = 2_000;
const VALUE: [u8; 200] = [b'v'; 200];
const GUEST: &str = "fixture-bench-loops";

/// Measures it, with warm instances.
pub async fn run(plan: &Plan) -> Result<Row> {
    let mut server = RedisServer::start().await?;
    let inside = Inside::new()?;
    let context = BuildContext {
        id: "bench/store".parse()?,
        data_dir: inside.dir().join("redis"),
        config: BTreeMap::from([("url".to_owned(), server.url())]),
    };
    let Provider::KeyValue(store) = RedisKeyValueFactory.build(context).await? else {
        bail!("the Redis store is no key-value store");
    };
    let call = CallContext {
        source: actor_id(GUEST)?,
        link: LinkName::default_name(),
        config: Arc::default(),
        deadline: Instant::now() + Duration::from_secs(600),
        traceparent: None,
    };
    store.open(&call, "bench").await?;
    store.set(&call, "bench", "key", VALUE.to_vec().into()).await?;
    let link = link(GUEST, "wasi:keyvalue", LinkTarget::Provider("bench/store".parse()?))?;
    let links = vec![(link, BoundTarget::KeyValue(store))];
    let loops = Loops(inside.start_guest(GUEST, InstancePolicy::warm(), links).await?);
    let mut plain = redis::Client::open(server.url())?.get_multiplexed_async_connection().await?;
    let () = plain.set("plain", &VALUE[..]).await?;
    // One warms up.
    guests(&loops).await?;
    alone(&plain).await?;
    let processes = [std::process::id(), server.process().id()];
    let (mut ours, mut reference) = (Rates::default(), Rates::default());
    for _ in 0..plan.runs {
        ours.run(&processes, guests(&loops)).await?;
        reference.run(&processes, alone(&plain)).await?;
    }
    let row = ours.row("keyvalue-redis", "gets/s", reference, Goal::RatioAtLeast(0.8))?;
    Ok(row.against("the redis crate, one multiplexed connection"))
}

async fn guests(loops: &Loops) -> Result<u32> {
    let one = |loops: Loops| async move { loops.run("keyvalue-get", GETS).await };
    let mut tasks: JoinSet<_> = (0..AT_ONCE).map(|_| one(loops.clone())).collect();
    while let Some(done) = tasks.join_next().await {
        ensure!(done??.1 == VALUE.len() as u64 * u64::from(GETS), "another value");
    }
    Ok(GETS * AT_ONCE)
}

async fn alone(connection: &redis::aio::MultiplexedConnection) -> Result<u32> {
    let one = |mut connection: redis::aio::MultiplexedConnection| async move {
        for _ in 0..GETS {
            let value: Vec<u8> = connection.get("plain").await?;
            ensure!(value.len() == VALUE.len(), "another value");
        }
        Ok(())
    };
    let mut tasks: JoinSet<Result<()>> = (0..AT_ONCE).map(|_| one(connection.clone())).collect();
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(GETS * AT_ONCE)
}
