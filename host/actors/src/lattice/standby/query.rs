//! A query that a standby answers.

use super::StaleAnswer;
use crate::activate::told;
use bytes::Bytes;
use host_core::guest::Guest;
use lattice_protocol::entity::Stale;
use lattice_protocol::{EntityKey, Report};
use std::sync::Arc;
use tokio::sync::oneshot;

/// See the module.
pub(super) struct Query {
    pub(super) key: EntityKey,
    pub(super) query: (String, Bytes),
    pub(super) reply: oneshot::Sender<Result<StaleAnswer, Report>>,
}

/// An actor that is folded: its guest, its last commit, and why it does nothing any more, if it does not.
pub(super) struct Found {
    pub(super) guest: Arc<dyn Guest>,
    pub(super) seq: u64,
    pub(super) ended: Option<Report>,
}

impl Query {
    /// Asks the actor, and tells whoever waits.
    pub(super) async fn answered(
        self,
        found: Result<Found, Report>,
        (epoch, stale): (u64, Stale),
        now_ms: u64,
    ) {
        let Self { key, query, reply } = self;
        let answer = ask(&key, query, found, now_ms).await;
        let answer = answer.map(|(reply, seq)| StaleAnswer { reply, seq, epoch, stale });
        // Whoever asked may have stopped waiting.
        drop(reply.send(answer));
    }
}

async fn ask(
    key: &EntityKey,
    query: (String, Bytes),
    found: Result<Found, Report>,
    now_ms: u64,
) -> Result<(Bytes, u64), Report> {
    let Found { guest, seq, ended } = found?;
    if let Some(report) = ended {
        return Err(report);
    }
    match told(|done| guest.query(now_ms, query, done)).await {
        Ok(answer) => Ok((answer.map_err(|report| report.at(key))?, seq)),
        Err(fault) => Err(fault.report().at(key)),
    }
}
