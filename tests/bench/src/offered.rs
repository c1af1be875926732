//! HTTP load on a schedule that does not wait for answers, and the same load in a closed loop: one thread of this
//! process, so that both cost the machine the same for a request.
//!
//! A latency counts from the moment at which the request was due, also when all connections were busy then: a queue
//! outside the server is a queue too.

use crate::outside::processor_us;
use crate::samples::micros;
use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HOST, RETRY_AFTER};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, LocalSet};

/// What is asked for, how often, for how long.
#[derive(Debug, Clone)]
pub struct Offer {
    /// Who.
    pub address: SocketAddr,
    /// What.
    pub path: &'static str,
    /// Connections at most.
    pub connections: u32,
    /// Requests a second; none: each connection asks as soon as it is answered.
    pub per_second: Option<f64>,
    /// Before what counts, so that queues are as full as they get.
    pub lead: Duration,
    /// What counts.
    pub time: Duration,
}

/// What became of the requests that were due in the time that counts.
#[derive(Debug, Default)]
pub struct Answers {
    /// Latencies of those that were served, microseconds.
    pub served: Vec<f64>,
    /// Served within the time that counts, whenever they were due.
    pub in_time: usize,
    /// Not served.
    pub refused: usize,
    /// Of those, refused with 503 and `Retry-After`.
    pub told: usize,
    /// Processors that this process kept busy, on average.
    pub processors: f64,
}

/// Offers it, on a thread of its own.
pub async fn offer(offer: Offer) -> Result<Answers> {
    tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (began, used) = (Instant::now(), processor_us(std::process::id())?);
        let mut answers = LocalSet::new().block_on(&runtime, all(offer))?;
        answers.processors = (processor_us(std::process::id())? - used) / micros(began.elapsed());
        Ok(answers)
    })
    .await?
}

/// Who asks next, and when.
struct Schedule {
    offer: Offer,
    began: Instant,
    next: Cell<u32>,
}

impl Schedule {
    /// Waits until the next request is due; when that was, or none when all have been sent.
    async fn next(&self) -> Option<Instant> {
        let end = self.offer.lead + self.offer.time;
        let Some(per_second) = self.offer.per_second else {
            return (self.began.elapsed() < end).then(Instant::now);
        };
        let number = self.next.replace(self.next.get() + 1);
        let after = Duration::from_secs_f64(f64::from(number) / per_second);
        if after >= end {
            return None;
        }
        let due = self.began + after;
        let late = due < Instant::now();
        tokio::time::sleep_until(due.into()).await;
        // A timer may come a millisecond after its time, which is not the server's doing.
        Some(if late { due } else { Instant::now() })
    }
}

async fn all(offer: Offer) -> Result<Answers> {
    let connections = offer.connections;
    let schedule = Rc::new(Schedule { offer, began: Instant::now(), next: Cell::new(0) });
    let mut asking = JoinSet::new();
    for _ in 0..connections {
        asking.spawn_local(connection(Rc::clone(&schedule)));
    }
    let mut all = Answers::default();
    while let Some(one) = asking.join_next().await {
        let one = one??;
        all.served.extend(one.served);
        all.in_time += one.in_time;
        all.refused += one.refused;
        all.told += one.told;
    }
    Ok(all)
}

/// Sends what is due next, again and again.
async fn connection(schedule: Rc<Schedule>) -> Result<Answers> {
    let Offer { address, path, lead, time, .. } = schedule.offer;
    let host = address.to_string();
    let counts = schedule.began + lead..schedule.began + lead + time;
    let mut answers = Answers::default();
    let mut kept: Option<SendRequest<Empty<Bytes>>> = None;
    while let Some(due) = schedule.next().await {
        let mut sender = match kept.take() {
            Some(sender) if !sender.is_closed() => sender,
            _ => connect(address).await?,
        };
        let request = Request::get(path).header(HOST, &host).body(Empty::new())?;
        let answer = sender.send_request(request).await.context("the host broke a connection off")?;
        let (head, body) = answer.into_parts();
        body.collect().await?;
        kept = Some(sender);
        let (now, good) = (Instant::now(), head.status == StatusCode::OK);
        answers.in_time += usize::from(good && counts.contains(&now));
        if !counts.contains(&due) {
            continue;
        }
        if good {
            answers.served.push(micros(now.duration_since(due)));
            continue;
        }
        answers.refused += 1;
        let told = head.headers.contains_key(RETRY_AFTER);
        answers.told += usize::from(told && head.status == StatusCode::SERVICE_UNAVAILABLE);
    }
    Ok(answers)
}

async fn connect(address: SocketAddr) -> Result<SendRequest<Empty<Bytes>>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| anyhow!(error))?;
    // Its end is told to whoever sends.
    tokio::task::spawn_local(async move { drop(connection.await) });
    Ok(sender)
}
