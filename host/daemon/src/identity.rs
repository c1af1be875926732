//! Is this host the only one of its id? Asked once the lattice can be reached for the first time,
//! and before this host says anything in its own name: whoever answers was there before, and this
//! one ends. Until then it runs what its disk says: a host starts offline.
//!
//! A host that was cut off while another took its id is not found here, but by the controller,
//! which hears both and moves nothing.

use crate::heartbeat::Pulse;
use crate::measured::{Regions, answer_probes};
use crate::requests::Requests;
use bytes::Bytes;
use lattice_io::task::CancellationToken;
use lattice_io::{Bus, BusMessage, BusStatus, TaskScope};
use lattice_protocol::heartbeat::Heartbeat;
use lattice_protocol::invocation::decode_reply;
use lattice_protocol::subject::{Subjects, region_group};
use lattice_protocol::{ErrorCode, HostId, Report};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Time for the answer of whoever has this id. Nobody there is known at once.
const PATIENCE: Duration = Duration::from_secs(1);

/// What announcing a host needs.
pub(crate) struct Identity {
    pub(crate) pulse: Arc<Pulse>,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) subjects: Subjects,
    pub(crate) host: HostId,
    /// How far other regions are.
    pub(crate) regions: Regions,
    /// Cancelled when the host has to end.
    pub(crate) leave: CancellationToken,
    /// Cancelled when requests are heard.
    pub(crate) announced: CancellationToken,
    /// Why it has to.
    pub(crate) refused: Arc<OnceLock<Report>>,
    /// Where its tasks hang.
    pub(crate) scope: TaskScope,
}

impl Identity {
    /// Waits for the lattice, makes sure of the id, and then speaks and listens in its name.
    pub(crate) async fn announce(self) {
        let mut status = self.bus.status();
        // An error means that the bus is gone for good, and with it everybody to ask.
        if status.wait_for(|status| *status == BusStatus::Connected).await.is_err() {
            return;
        }
        if let Some(holder) = self.holder().await {
            let report = in_use(&self.host, &holder);
            tracing::error!(error = %report, "this host ends");
            // Set once: this is the only place.
            let _ = self.refused.set(report);
            self.leave.cancel();
            return;
        }
        if let Err(report) = self.listen().await {
            tracing::error!(error = %report, "host does not hear requests");
        }
        if let Some(region) = self.regions.own().map(str::to_owned) {
            match self.bus.subscribe(&self.subjects.regions_probe(), Some(&region_group(&region))).await {
                Ok(probes) => {
                    let answering = answer_probes(Arc::clone(&self.bus), probes, region);
                    self.scope.spawn_until_cancelled("region probes", answering);
                }
                Err(error) => tracing::error!(%error, "host does not say how far it is"),
            }
        }
        self.scope.spawn_until_cancelled("regions", self.regions.run());
        let (bus, subjects) = (Arc::clone(&self.bus), self.subjects.clone());
        self.scope.spawn_until_cancelled("heartbeat", Arc::clone(&self.pulse).run(bus, subjects));
        self.announced.cancel();
    }

    /// Another one that answers to this id and is not about to leave.
    async fn holder(&self) -> Option<Heartbeat> {
        let question = BusMessage::new(self.subjects.host(&self.host, "probe"), Bytes::new());
        // No answer is the good case: nobody is there.
        let answer = self.bus.request(question, PATIENCE).await.ok()?;
        let holder: Heartbeat = serde_json::from_slice(&decode_reply(answer.payload).ok()?).ok()?;
        (!holder.leaving).then_some(holder)
    }

    async fn listen(&self) -> Result<(), Report> {
        let requests = Arc::new(Requests {
            pulse: Arc::clone(&self.pulse),
            bus: Arc::clone(&self.bus),
            leave: self.leave.clone(),
        });
        for subject in [self.subjects.hosts_ping(), self.subjects.host_all(&self.host)] {
            let questions = self.bus.subscribe(&subject, None).await.map_err(Report::from)?;
            self.scope.spawn_until_cancelled("requests", Arc::clone(&requests).run(questions));
        }
        Ok(())
    }
}

fn in_use(host: &HostId, holder: &Heartbeat) -> Report {
    Report::new(ErrorCode::HostIdInUse, format!("host id in use: {host}"))
        .got(format!("boot {} answers, up for {} s", holder.boot_id, holder.uptime_s))
        .hint("stop that one, or give this machine an id of its own: trellis lattice enroll")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_names_the_id_and_says_what_to_do() {
        let holder: Heartbeat = serde_json::from_value(serde_json::json!({
            "lattice": "l", "host": "H1", "bootId": "b", "seq": 1, "intervalMs": 1, "atUnixMs": 0, "version": "1",
            "arch": "a", "labels": {}, "generation": { "incarnation": 0, "n": 0 }, "apps": {}, "actors": [],
            "providers": [], "uptimeS": 7, "errors": 0,
            "load": { "cpuMillis": 0, "cpuUsedMillis": 0, "memoryMib": 0, "memoryUsedMib": 0 },
        }))
        .unwrap();
        let line = in_use(&holder.host, &holder).to_string();
        assert!(
            line.starts_with("E_HOST_ID_IN_USE: host id in use: H1 (got boot b answers, up for 7 s); "),
            "{line}"
        );
    }
}
