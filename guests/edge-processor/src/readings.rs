//! One reading: judged, published if alarming, kept, counted; in this order, so that a call that fails half-way and
//! is tried again repeats an alert rather than losing one.

use edge_model::alert::{self, AlertLevel, ProcessedResult};
use edge_model::message::{BridgeStats, EdgeMessage};
use edge_model::reading::{self, Received};
use edge_model::{NodeState, subject};
use trellis_guest::{Error, Message, log};

use crate::commands;
use crate::settings::{self, Node};

/// The counter of messages published.
const DELIVERED: &str = "delivered";

/// Judges the reading in `body`. `subject_region` is set when it came by message.
///
/// # Errors
/// 400 when it is no reading; 502 when the store or the bus fails.
pub fn accept(node: &Node, body: &[u8], subject_region: Option<&str>) -> Result<ProcessedResult, Error> {
    let now = settings::now();
    let received = Received { subject_region, default_region: &node.region, now };
    let data = reading::parse(body, received).map_err(|error| Error::bad_request(error.to_string()))?;
    let thresholds = node.thresholds()?;
    let result = alert::process(&data, &thresholds, &node.id);
    if alert::is_alert(&result, &thresholds) {
        publish(node, &data.region, &result, now)?;
    }
    node.bucket.set_json(&result.device_id, &result)?;
    node.bucket.increment(&counter(result.alert_level), 1)?;
    Ok(result)
}

fn publish(node: &Node, region: &str, result: &ProcessedResult, now: u64) -> Result<(), Error> {
    let envelope =
        EdgeMessage::from_node(&node.id, &subject::alert(region), serde_json::to_vec(result)?, now);
    let line = envelope.published();
    let reply_to = envelope.reply_to.filter(|_| node.request_ack);
    Message { subject: envelope.subject, body: envelope.payload, reply_to }.publish()?;
    node.bucket.increment(DELIVERED, 1)?;
    log::info!("{line}");
    Ok(())
}

/// Readings of a level so far.
///
/// # Errors
/// The store's.
pub fn count(node: &Node, level: AlertLevel) -> Result<u64, Error> {
    Ok(node.bucket.count(&counter(level))?)
}

/// What the bridge has sent, and what it awaits for this node.
///
/// # Errors
/// The store's.
pub fn stats(node: &Node, state: &NodeState) -> Result<BridgeStats, Error> {
    Ok(BridgeStats { delivered: node.bucket.count(DELIVERED)?, pending_acks: state.pending_acks() })
}

/// The last result of a device, as JSON.
///
/// # Errors
/// The store's.
pub fn last(node: &Node, device: &str) -> Result<Option<Vec<u8>>, Error> {
    Ok(node.bucket.get(device)?)
}

/// This node's own stats, in the log too.
///
/// # Errors
/// The store's.
pub fn own_stats(node: &Node) -> Result<BridgeStats, Error> {
    let stats = stats(node, &commands::state(node, &node.id)?)?;
    log::info!("{stats}");
    Ok(stats)
}

fn counter(level: AlertLevel) -> String {
    format!("alerts.{level}")
}
