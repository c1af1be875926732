//! Hosts: those that answer now, and those that a controller remembers.

use super::Records;
use bytes::Bytes;
use lattice_ctl_planner::dry_run::Seen;
use lattice_io::{BusError, BusMessage};
use lattice_protocol::desired::{DesiredApp, ObservedHost, Placement, Verdict};
use lattice_protocol::heartbeat::Heartbeat;
use lattice_protocol::invocation::decode_reply;
use lattice_protocol::{AppName, ErrorCode, HostId, Report};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

/// Longest time that hosts get to say that they are there.
const PING: Duration = Duration::from_millis(1_500);
/// Time without an answer after which nobody else is waited for, when no more are expected.
const PING_IDLE: Duration = Duration::from_millis(250);
/// Longest wait for a host to say that it is leaving.
const PATIENCE: Duration = Duration::from_secs(5);

/// A host, as it answered or as a controller saw it last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SeenHost {
    /// Its last statement.
    pub heartbeat: Heartbeat,
    /// Liveness.
    pub verdict: Verdict,
    /// It answered just now.
    pub answered: bool,
    /// A controller has heard of it, and places actors on it.
    pub observed: bool,
    /// Why it is not alive, as a controller said: `heartbeat timeout: 30000ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl SeenHost {
    /// Seed 004's words for it.
    #[must_use]
    pub fn health(&self) -> &'static str {
        self.verdict.health(self.heartbeat.errors)
    }
}

/// The lattice as it is now, for a dry run.
#[must_use]
pub fn as_seen(
    apps: BTreeMap<AppName, DesiredApp>,
    placements: BTreeMap<AppName, Placement>,
    hosts: &BTreeMap<HostId, SeenHost>,
) -> Seen {
    Seen::new(apps, placements, hosts.values().map(|host| (host.heartbeat.clone(), host.verdict)))
}

impl Records {
    /// Every host: those that answer now, and those that a controller remembers.
    ///
    /// # Errors
    /// What KV or the bus says.
    pub async fn hosts(&self) -> Result<BTreeMap<HostId, SeenHost>, Report> {
        let observed: BTreeMap<HostId, ObservedHost> = self.all(&self.subjects.observed_bucket()).await?;
        let expected =
            observed.iter().filter(|(_, host)| host.verdict == Verdict::Alive).map(|(id, _)| id.clone());
        let answers = self.ping(&expected.collect()).await?;
        let mut hosts: BTreeMap<HostId, SeenHost> = observed
            .into_iter()
            .map(|(id, host)| {
                let (heartbeat, verdict, reason) = (host.heartbeat, host.verdict, host.reason);
                (id, SeenHost { heartbeat, verdict, answered: false, observed: true, reason })
            })
            .collect();
        for heartbeat in answers {
            let verdict = if heartbeat.leaving { Verdict::Leaving } else { Verdict::Alive };
            let observed = hosts.contains_key(&heartbeat.host);
            let host = heartbeat.host.clone();
            hosts.insert(host, SeenHost { heartbeat, verdict, answered: true, observed, reason: None });
        }
        Ok(hosts)
    }

    /// Asks everybody at once, and takes what comes.
    async fn ping(&self, expected: &BTreeSet<HostId>) -> Result<Vec<Heartbeat>, Report> {
        let bus = &self.lattice.bus;
        let inbox = bus.new_inbox();
        let mut answers = bus.subscribe(&inbox, None).await?;
        bus.publish(BusMessage::new(self.subjects.hosts_ping(), Bytes::new()).with_reply(&inbox)).await?;
        let (end, mut missing, mut found) = (Instant::now() + PING, expected.clone(), Vec::new());
        loop {
            // Where nobody is expected there is somebody all the same: else the server had said so.
            let all_heard = missing.is_empty() && !found.is_empty();
            let patience = if all_heard { (Instant::now() + PING_IDLE).min(end) } else { end };
            let Ok(Some(answer)) = tokio::time::timeout_at(patience, answers.next()).await else { break };
            // "No responders" is an answer of the server, without a frame.
            let Ok(frame) = decode_reply(answer.payload) else { break };
            if let Ok(heartbeat) = serde_json::from_slice::<Heartbeat>(&frame)
                && heartbeat.lattice == self.name
            {
                missing.remove(&heartbeat.host);
                found.push(heartbeat);
            }
        }
        Ok(found)
    }

    /// Asks a host to leave: it finishes what it has in hand, and ends.
    ///
    /// # Errors
    /// `host not found: …`, or what the bus says.
    pub async fn stop_host(&self, host: &HostId) -> Result<(), Report> {
        let question = BusMessage::new(self.subjects.host(host, "stop"), Bytes::new());
        let answer = self.lattice.bus.request(question, PATIENCE).await.map_err(|error| match error {
            BusError::NoResponders { .. } => host_not_found(host),
            other => other.into(),
        })?;
        decode_reply(answer.payload).map(drop)
    }
}

/// There is no host of this id.
#[must_use]
pub fn host_not_found(host: &HostId) -> Report {
    Report::new(ErrorCode::HostNotFound, format!("host not found: {host}")).hint("see: trellis get hosts")
}
