//! What travels between cloud and edge: an envelope with subject, payload and headers. The messaging interface of
//! today carries subject, body and reply subject; headers and time stay with the sender until it can carry them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::subject;

/// An envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgeMessage {
    /// Where it goes.
    pub subject: String,
    /// What it says.
    pub payload: Vec<u8>,
    /// Where an acknowledgement is awaited.
    pub reply_to: Option<String>,
    /// What is said about it: `source-node`, `content-type`.
    pub headers: BTreeMap<String, String>,
    /// When it was made, in seconds since 1970.
    pub timestamp: u64,
}

impl EdgeMessage {
    /// A JSON message of a node, which awaits acknowledgement on the node's own subject.
    pub fn from_node(node: &str, subject: &str, payload: Vec<u8>, timestamp: u64) -> Self {
        let headers = [("source-node", node), ("content-type", "application/json")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self {
            subject: subject.to_owned(),
            payload,
            reply_to: Some(subject::acknowledgement(node)),
            headers: headers.into(),
            timestamp,
        }
    }

    /// The line for the log once it is sent.
    pub fn published(&self) -> String {
        format!("Published: {} ({} bytes)", self.subject, self.payload.len())
    }
}

/// How much was sent, and how much is still to be acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BridgeStats {
    /// Messages published.
    pub delivered: u64,
    /// Migrations accepted and not yet acknowledged.
    pub pending_acks: u64,
}

impl std::fmt::Display for BridgeStats {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Stats: delivered={}, pending_acks={}", self.delivered, self.pending_acks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_envelope_is_that_of_the_pattern() {
        let payload = br#"{"device":"sensor-001","temp":92.5}"#.to_vec();
        let message = EdgeMessage::from_node("edge-ap-east-1", "edge.sensor.ap-east-1", payload, 7);
        assert_eq!(message.published(), "Published: edge.sensor.ap-east-1 (35 bytes)");
        assert_eq!(message.reply_to.as_deref(), Some("edge.ack.edge-ap-east-1"));
        assert_eq!(message.headers["source-node"], "edge-ap-east-1");
        assert_eq!(message.headers["content-type"], "application/json");
        let stats = BridgeStats { delivered: 1, pending_acks: 0 };
        assert_eq!(stats.to_string(), "Stats: delivered=1, pending_acks=0");
    }
}
