//! An order of 10 KB as JSON, parsed, stored in Redis, read back, announced over NATS, answered: by an actor
//! through its links, and by a native server in a process of its own, on the same two backends. wrk with 64
//! connections on each in turn. All share the machine's processors.

use super::Plan;
use super::http::{Loaded, in_turn};
use crate::native;
use crate::orders::{SUBJECT, body};
use crate::outside::{Outside, Planned, To, free_address};
use crate::report::{Goal, Row};
use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use lattice_io::Bus;
use lattice_protocol::InstancePolicy;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tests_harness::{Process, ProcessSpec, RedisServer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const GUEST: &str = "fixture-order-intake";
const PATIENCE: Duration = Duration::from_secs(300);
const PAUSE: Duration = Duration::from_millis(20);

/// Measures it, with warm instances or a new one per request.
pub async fn run(plan: &Plan, warm: bool) -> Result<Row> {
    let redis = RedisServer::start().await?;
    let (name, instances) = if warm {
        ("json-order-warm", InstancePolicy::warm())
    } else {
        ("json-order", InstancePolicy::PerCall)
    };
    let intake = Planned {
        name: "intake".to_owned(),
        guest: GUEST,
        instances,
        links: vec![
            ("wasi:http", To::Path("/".to_owned())),
            ("wasi:keyvalue", To::Redis(redis.url())),
            ("wasmcloud:messaging", To::Publish),
        ],
        own_file: false,
    };
    let outside = Outside::prepare(&plan.trellis, &[intake]).await?;
    let mut host = outside.start()?;
    let (url, credentials, inbox) = outside.administrator();
    let (address, files) = (free_address()?, tempfile::tempdir()?);
    let mut plain = ProcessSpec::new("native orders", std::env::current_exe()?, files.path().join("native"))
        .args(["orders", &address.port().to_string(), &url, &credentials.to_string_lossy(), inbox])
        .arg(redis.url())
        .spawn()?;

    let order = body()?;
    let listener = native::connect(&url, &credentials, inbox.to_owned()).await?;
    let bus = listener.lattice().bus;
    let ours = announced(&*bus, &mut host, outside.address, &order).await?;
    let theirs = announced(&*bus, &mut plain, address, &order).await?;
    listener.close().await;
    ensure!(ours == theirs, "not the same work: {ours:?} and {theirs:?}");

    let script = files.path().join("post.lua");
    std::fs::write(&script, post_lua(&order))?;
    let mut servers = [
        Loaded::new("trellis", host, outside.address).by(&script),
        Loaded::new("native orders", plain, address).by(&script),
    ];
    let row = in_turn(&mut servers, plan, (name, Goal::RatioAtLeast(0.4)))?;
    Ok(row.against("the same on native hyper, same Redis and NATS"))
}

/// For wrk: every request posts the order.
fn post_lua(order: &str) -> String {
    format!(
        "wrk.method = \"POST\"\nwrk.headers[\"content-type\"] = \"application/json\"\nwrk.body = [==[{order}]==]\n"
    )
}

/// Posts the order until it is taken; gives what was announced, which is what was answered.
async fn announced(bus: &dyn Bus, process: &mut Process, address: SocketAddr, order: &str) -> Result<Bytes> {
    let mut heard = bus.subscribe(SUBJECT, None).await?;
    let began = Instant::now();
    let answer = loop {
        let answer = post(address, order).await.unwrap_or_default();
        if answer.starts_with(b"HTTP/1.1 200") {
            break answer;
        }
        if process.try_wait()?.is_some() || began.elapsed() > PATIENCE {
            let answer = String::from_utf8_lossy(&answer);
            bail!("{} takes no order: {answer}\n{}", process.name(), process.log_tail());
        }
        tokio::time::sleep(PAUSE).await;
    };
    let message = tokio::time::timeout(PATIENCE, heard.next()).await?.context("no subscription")?;
    let text = String::from_utf8_lossy(&answer);
    ensure!(answer.ends_with(&message.payload), "answered {text}, announced {:?}", message.payload);
    Ok(message.payload)
}

async fn post(address: SocketAddr, order: &str) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    let head = format!(
        "POST / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        order.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(order.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}
