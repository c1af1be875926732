//! The order of `guests/fixtures/order-intake`, and the server that does with it what that guest does, natively:
//! parse, store, read back, announce, answer. One connection to Redis and one to NATS, as a host has them.

use crate::native;
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use lattice_io::{Bus, BusMessage};
use redis::AsyncCommands;
use std::path::PathBuf;
use std::sync::Arc;

#[path = "../../../guests/fixtures/order-intake/src/order.rs"]
mod order;

pub use order::SUBJECT;
use order::{Customer, Line, Order};

/// Lines of the order that makes 10 KB.
const LINES: u32 = 90;

/// An order of 10 KB as JSON.
pub fn body() -> Result<String> {
    let lines = (0..LINES).map(|number| Line {
        sku: format!("SKU-{:05}", number * 7),
        name: format!("Hexagon bolt M{}, zinc plated, {number} mm", number % 24 + 1),
        quantity: number % 9 + 1,
        price_cents: u64::from(number * 13 % 997 + 3),
        weight_kg: f64::from(number % 16 + 1) / 8.0,
    });
    let customer = Customer {
        name: "Müller & Söhne".to_owned(),
        address: ["Werkstraße 17", "70435 Stuttgart", "Germany"].map(str::to_owned).into(),
        express: true,
    };
    let order = Order { id: "2026-11-29-000417".to_owned(), customer, lines: lines.collect() };
    Ok(serde_json::to_string(&order)?)
}

/// What the native server needs.
pub struct Backends {
    /// The NATS server.
    pub url: String,
    /// An administrator's `.creds` file.
    pub credentials: PathBuf,
    /// First token of answers.
    pub inbox: String,
    /// The Redis server.
    pub redis: String,
}

#[derive(Clone)]
struct Intake {
    redis: redis::aio::MultiplexedConnection,
    bus: Arc<dyn Bus>,
}

/// Serves on this port of loopback until the process ends; prints the address first.
pub fn serve(port: u16, backends: Backends) -> Result<()> {
    native::workers()?.block_on(async move {
        let Backends { url, credentials, inbox, redis } = backends;
        // The connection ends with its last handle.
        let nats = native::connect(&url, &credentials, inbox).await?;
        let redis = redis::Client::open(redis)?.get_multiplexed_async_connection().await?;
        let intake = Intake { redis, bus: nats.lattice().bus };
        native::accept(port, move |request| {
            let intake = intake.clone();
            async move { intake.answer(request).await.unwrap_or_else(failed) }
        })
        .await
    })
}

fn failed(error: anyhow::Error) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(format!("{error:#}\n").into()));
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}

impl Intake {
    async fn answer(mut self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>> {
        let body = request.into_body().collect().await?.to_bytes();
        let order: Order = serde_json::from_slice(&body)?;
        if let Some(fault) = order.fault() {
            bail!(fault);
        }
        let key = format!("native:orders:{}", order.id);
        let () = self.redis.set(&key, &*body).await?;
        let stored: Option<Vec<u8>> = self.redis.get(&key).await?;
        let stored = stored.with_context(|| format!("order {}: not there after it was stored", order.id))?;
        let taken = order.taken(stored.len());
        self.bus.publish(BusMessage::new(SUBJECT, serde_json::to_vec(&taken)?)).await?;
        let mut response = Response::new(Full::new(serde_json::to_vec(&taken)?.into()));
        let json = http::HeaderValue::from_static("application/json");
        response.headers_mut().insert(http::header::CONTENT_TYPE, json);
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_ten_kilobytes() {
        let bytes = body().unwrap().len();
        assert!((10_000..10_300).contains(&bytes), "{bytes}");
    }
}
