//! Requests to running actors: over HTTP in one process and in the lattice, over HTTP/2 in frames,
//! and as messages.

use super::{Played, words};
use crate::case::Case;
use crate::make;
use crate::wire;
use crate::world::{SOON, World};
use anyhow::{Context, Result, bail, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use lattice_io::{BusMessage, KvOptions};
use std::time::{Duration, Instant};
use tests_harness::{eventually, raw_http2, sizes};

/// Longer than any bound of the listener.
const PATIENCE: Duration = Duration::from_secs(60);
/// Commands of one kind sent at once.
const AT_ONCE: usize = 16;

/// `with`: host, method and path. The body is the case's file.
pub async fn ask(world: &World, case: &Case) -> Played {
    let (host, line) = case.with.split_once(' ').context("with: HOST METHOD PATH")?;
    let mut outcomes = Vec::new();
    for (variant, body) in bodies(case)? {
        outcomes.push((variant, wire::ask(world.lattice.address, host, line, &body).await?));
    }
    Ok(outcomes)
}

/// No file at all is no body, and not a component.
fn bodies(case: &Case) -> Result<make::Made> {
    if case.make.is_none() && case.text.is_none() {
        return Ok(vec![(String::new(), Vec::new())]);
    }
    make::inputs(case)
}

/// `with`: a subject. The body is the case's file; what is said is the answer.
pub async fn request(world: &World, case: &Case) -> Played {
    let client = world.lattice.connect("admin").await?;
    let bus = client.lattice().bus;
    let mut outcomes = Vec::new();
    for (variant, body) in bodies(case)? {
        let begin = Instant::now();
        let answer = bus.request(BusMessage::new(case.with.clone(), body), SOON).await;
        let said = match answer {
            Ok(answer) => String::from_utf8_lossy(&answer.payload).into_owned(),
            Err(error) => error.to_string(),
        };
        let mut outcome = words(0, said);
        outcome.took = begin.elapsed();
        outcomes.push((variant, outcome));
    }
    client.close().await;
    Ok(outcomes)
}

/// `with`: the name of a flood, or the header block of one request in hexadecimal.
pub async fn http2(world: &World, case: &Case) -> Played {
    let (bytes, one) = match case.with.as_str() {
        "rapid reset" => (raw_http2::rapid_reset(), false),
        "CONTINUATION flood" => (raw_http2::continuation_flood(), false),
        "empty DATA flood" => (raw_http2::empty_data_flood(), false),
        "SETTINGS flood" => (raw_http2::settings_flood(), false),
        "HPACK bomb" => (raw_http2::headers_bomb(), true),
        "window shut" => (raw_http2::shut_window(), false),
        "not HTTP/2 after all" => (b"PRI * HTTP/2.0\r\n\r\nXX".to_vec(), false),
        text => {
            let more = match text.strip_prefix("good ") {
                Some(more) => (raw_http2::GOOD_HEAD, more),
                None => (&b""[..], text),
            };
            let block = data_encoding::HEXLOWER.decode(more.1.replace(' ', "").as_bytes())?;
            (raw_http2::request(&[more.0, &block].concat()), true)
        }
    };
    let begin = Instant::now();
    let seen = raw_http2::watch(world.run.address, bytes, one, PATIENCE).await?;
    let status = i32::from(seen.status().unwrap_or(0));
    let mut outcome = words(
        status,
        format!(
            "ended {}, goaway {:?}, resets {}, answers {}",
            seen.ended, seen.goaway, seen.resets, seen.answers
        ),
    );
    outcome.took = begin.elapsed();
    Ok(vec![(String::new(), outcome)])
}

/// A message whose answer would delete a stream: the actor must not be made to send it.
pub async fn confused_deputy(world: &World, case: &Case) -> Played {
    let client = world.lattice.connect("admin").await?;
    let lattice = client.lattice();
    lattice.kv.open("victim", KvOptions::default()).await?;
    let message = BusMessage::new("app.probe.deputy", "x").with_reply(case.with.clone());
    lattice.bus.publish(message).await?;
    lattice.bus.flush().await?;
    let refused = eventually(SOON, "the host to refuse the reply", || async {
        let log = world.lattice.host_log()?;
        let line = log.lines().find(|line| line.contains("app.probe.deputy")).context("nothing said yet")?;
        Ok(line.to_owned())
    })
    .await?;
    ensure!(lattice.kv.lookup("victim").await?.is_some(), "the stream was deleted");
    client.close().await;
    Ok(vec![(String::new(), words(0, refused))])
}

/// What a guest publishes carries no header that means something to the server.
pub async fn guest_headers(world: &World, case: &Case) -> Played {
    let client = world.lattice.connect("admin").await?;
    let bus = client.lattice().bus;
    let mut heard = bus.subscribe("app.heard", None).await?;
    bus.flush().await?;
    let answer = wire::ask(world.lattice.address, "probe", &case.with, b"x").await?;
    ensure!(answer.status == Some(204), "{}", answer.said);
    let message = tokio::time::timeout(SOON, heard.next()).await?.context("the bus is closed")?;
    client.close().await;
    Ok(vec![(String::new(), words(0, format!("headers {:?}", message.headers)))])
}

/// One command, delivered many times: one effect.
pub async fn repeated_command(world: &World, case: &Case) -> Played {
    let client = world.lattice.connect("admin").await?;
    let bus = client.lattice().bus;
    let text = case.text.as_deref().context("text: the command")?;
    let times = sizes::pick(200, 1_000);
    let deliver = |_: usize| bus.request(BusMessage::new(case.with.clone(), text.to_owned()), SOON);
    let answers: Vec<BusMessage> =
        stream::iter(0..times).map(deliver).buffer_unordered(AT_ONCE).try_collect().await?;
    let mut kinds = std::collections::BTreeSet::new();
    for answer in answers {
        let answer: serde_json::Value = serde_json::from_slice(&answer.payload)?;
        kinds.insert(answer["pending_acks"].to_string());
        if answer.get("error").is_some() {
            bail!("a repetition was refused: {answer}");
        }
    }
    client.close().await;
    Ok(vec![(format!("{times} times"), words(0, format!("pending {kinds:?}")))])
}
