//! What comes by HTTP.

use std::collections::BTreeMap;

use edge_model::AlertLevel;
use edge_model::message::BridgeStats;
use edge_model::token::is_token;
use serde::Serialize;
use trellis_guest::{Error, Request, Response};

use crate::readings;
use crate::settings::Node;

/// The largest reading, in bytes.
const READING_LIMIT: usize = 64 * 1024;

/// The answer of `GET /stats`.
#[derive(Serialize)]
struct Stats {
    #[serde(flatten)]
    levels: BTreeMap<&'static str, u64>,
    #[serde(flatten)]
    bridge: BridgeStats,
}

/// Answers one request.
///
/// # Errors
/// As the status says.
pub fn answer(request: &Request) -> Result<Response, Error> {
    let segments = request.segments();
    let path: Vec<&str> = segments.iter().map(String::as_str).collect();
    match (request.method(), path.as_slice()) {
        ("POST", ["readings"]) => {
            let body = request.bytes_up_to(READING_LIMIT)?;
            Response::json(&readings::accept(&Node::load()?, body, None)?)
        }
        ("GET", ["devices", id]) => device(id),
        ("GET", ["stats"]) => stats(),
        (method, ["readings"]) => Err(Error::method_not_allowed(method, "POST")),
        (method, ["devices", _] | ["stats"]) => Err(Error::method_not_allowed(method, "GET")),
        _ => Err(Error::not_found(format!(
            "path {}: unknown; use POST /readings, GET /devices/<id> or GET /stats",
            request.path()
        ))),
    }
}

fn device(id: &str) -> Result<Response, Error> {
    if !is_token(id) {
        return Err(Error::bad_request("device_id: only A-Za-z0-9_-, 1..64"));
    }
    match readings::last(&Node::load()?, id)? {
        Some(json) => Ok(Response::new(200).with_header("content-type", "application/json").with_body(json)),
        None => Err(Error::not_found(format!("device {id}: no reading so far"))),
    }
}

fn stats() -> Result<Response, Error> {
    let node = Node::load()?;
    let levels = AlertLevel::ALL
        .into_iter()
        .map(|level| Ok((level.name(), readings::count(&node, level)?)))
        .collect::<Result<_, Error>>()?;
    Response::json(&Stats { levels, bridge: readings::own_stats(&node)? })
}
