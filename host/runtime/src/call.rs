//! The circumstances of one call into an actor: until when, how deep, by whom.

use lattice_protocol::ActorId;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What travels along with a call, from its ingress through every actor it reaches.
#[derive(Debug, Clone)]
pub struct CallInfo {
    /// When the caller stops waiting. Calls made on behalf of this one never outlast it.
    pub deadline: Instant,
    /// How deep this call is nested; the outermost is 0.
    pub depth: u8,
    /// The calling actor, when one calls.
    pub caller: Option<ActorId>,
    /// W3C traceparent.
    pub traceparent: Option<Arc<str>>,
    /// Stable over every retry of one call.
    pub idempotency_key: Option<Arc<str>>,
}

impl CallInfo {
    /// An outermost call that may take this long from now.
    #[must_use]
    pub fn within(patience: Duration) -> Self {
        Self {
            deadline: Instant::now() + patience,
            depth: 0,
            caller: None,
            traceparent: None,
            idempotency_key: None,
        }
    }

    /// Time left; zero when it has passed.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}
