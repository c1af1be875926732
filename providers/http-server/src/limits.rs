//! Every bound of a listener, with its default.

use std::time::Duration;

/// Bounds of one listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once; more are answered 503 and closed.
    pub max_connections: usize,
    /// Connections at once from one address (IPv6: from one /64).
    pub max_connections_per_address: usize,
    /// Requests at once; more are answered 503.
    pub max_requests: usize,
    /// Until a connection's first byte, and for the TLS handshake.
    pub first_byte: Duration,
    /// Until a request's head is complete, and between requests; the connection ends after three
    /// to four quarters of it.
    pub idle: Duration,
    /// A peer that takes nothing of its answer for so long is cut off.
    pub stall: Duration,
    /// A body may keep us waiting so long in all, …
    pub body_grace: Duration,
    /// … and earns time by bytes at this rate.
    pub body_bytes_per_s: u64,
    /// For requests in hand when the listener goes.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 4_096,
            // One address (a proxy, a NAT) may have half of them, and never all.
            max_connections_per_address: 2_048,
            max_requests: 4_096,
            first_byte: Duration::from_secs(5),
            idle: Duration::from_secs(10),
            stall: Duration::from_secs(30),
            body_grace: Duration::from_secs(10),
            body_bytes_per_s: 1_024,
            drain: Duration::from_secs(10),
        }
    }
}
