//! What others may ask this host directly: who it is, and to leave.

use crate::heartbeat::Pulse;
use lattice_io::task::CancellationToken;
use lattice_io::{Bus, BusMessage, Subscription};
use lattice_protocol::invocation::encode_reply;
use lattice_protocol::{ErrorCode, Report};
use std::sync::Arc;

/// Answers `hosts.ping` and `host.<id>.{inventory,probe,stop}`.
pub struct Requests {
    /// Says who we are.
    pub pulse: Arc<Pulse>,
    /// Where answers go.
    pub bus: Arc<dyn Bus>,
    /// Cancelled when somebody asks the host to leave.
    pub leave: CancellationToken,
}

impl Requests {
    /// Answers one subscription until it ends.
    pub async fn run(self: Arc<Self>, mut questions: Subscription) {
        while let Some(question) = questions.next().await {
            let operation = question.subject.rsplit('.').next().unwrap_or_default();
            let result = match operation {
                "ping" | "inventory" | "probe" => Ok(self.pulse.bytes(false).into()),
                "stop" => {
                    tracing::info!("asked to leave");
                    self.leave.cancel();
                    Ok(self.pulse.bytes(true).into())
                }
                other => Err(Report::new(ErrorCode::Usage, format!("Unknown command: {other}"))
                    .limit("ping, inventory, probe or stop")),
            };
            self.answer(&question, &encode_reply(&result)).await;
        }
    }

    async fn answer(&self, question: &BusMessage, frame: &[u8]) {
        if let Some(answer) = question.answer(frame.to_vec())
            && let Err(error) = self.bus.publish(answer).await
        {
            tracing::debug!(%error, "answer not sent");
        }
    }
}
