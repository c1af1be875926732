//! What a host needs to know before it starts. Checked all at once ([`HostConfig::problems`]);
//! nothing here touches the disk or the network.

use crate::secrets::SecretsConfig;
use host_actors::ForwardPolicy;
use host_runtime::Runtime;
use host_store::SnapshotKey;
use keys::{PublicKey, TrustAnchors};
use lattice_protocol::{ErrorCode, HostId, LatticeName, Report};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A host's configuration.
#[derive(Debug, Clone)]
pub struct HostConfig {
    /// Its id, unique in the lattice.
    pub host: HostId,
    /// The lattice it joins.
    pub lattice: LatticeName,
    /// Labels for placement.
    pub labels: BTreeMap<String, String>,
    /// Round trip to other regions, milliseconds, as far as it is known: for latency bounds.
    pub latency_ms: BTreeMap<String, u32>,
    /// Where its durable files are.
    pub data_dir: PathBuf,
    /// Whose components it runs.
    pub trust: TrustAnchors,
    /// Whose host specs it obeys.
    pub controllers: BTreeSet<PublicKey>,
    /// Who may compile for it, where it compiles nothing itself.
    pub compilers: BTreeSet<PublicKey>,
    /// Does it compile components? If not, and always in a build that cannot, it runs what a compiler has left for
    /// it in the lattice.
    pub compiles: bool,
    /// Time between heartbeats.
    pub heartbeat: Duration,
    /// Address that HTTP servers listen on when their configuration names none.
    pub listen: IpAddr,
    /// Memory for actors, bytes; what the host admits against.
    pub memory_bytes: u64,
    /// Calls over HTTP that may wait for each processor when there is more to compute than they can.
    pub max_waiting: u32,
    /// Longest wait of such a call.
    pub max_wait: Duration,
    /// An actor that nobody has called for so long lets go of its code, and loads it again for the next call;
    /// zero: never.
    pub unload_after: Duration,
    /// CPU it offers, thousandths of a core.
    pub cpu_millis: u32,
    /// Longest time that a leaving host waits for others to run what it runs.
    pub handover: Duration,
    /// Longest time that calls in hand get when an actor or the host stops.
    pub drain: Duration,
    /// Largest artifact, bytes.
    pub max_artifact_bytes: u64,
    /// Where secrets come from.
    pub secrets: SecretsConfig,
    /// What snapshots of persistent actors are encrypted with, if they are. Those of durability `lattice`
    /// are read by every host that runs the kind: they need the same key.
    pub snapshot_key: Option<SnapshotKey>,
    /// How the journal of actors of durability `device` is forwarded into the lattice, if it is.
    pub forward: Option<ForwardPolicy>,
}

impl HostConfig {
    /// A configuration with our defaults, trusting nobody.
    #[must_use]
    pub fn new(lattice: LatticeName, host: HostId, data_dir: PathBuf) -> Self {
        Self {
            host,
            lattice,
            labels: BTreeMap::new(),
            latency_ms: BTreeMap::new(),
            data_dir,
            trust: TrustAnchors::default(),
            controllers: BTreeSet::new(),
            compilers: BTreeSet::new(),
            compiles: Runtime::has_compiler(),
            heartbeat: Duration::from_secs(5),
            listen: IpAddr::from([127, 0, 0, 1]),
            memory_bytes: 512 << 20,
            max_waiting: 32,
            max_wait: Duration::from_secs(1),
            unload_after: Duration::from_secs(30),
            cpu_millis: default_cpu_millis(),
            handover: Duration::from_secs(15),
            drain: Duration::from_secs(10),
            max_artifact_bytes: 32 << 20,
            secrets: SecretsConfig::default(),
            snapshot_key: None,
            forward: None,
        }
    }

    /// Everything that is wrong, each with the field it is about.
    #[must_use]
    pub fn problems(&self) -> Vec<Report> {
        let mut found = Vec::new();
        let mut refuse = |field: &str, what: &str, hint: &str| {
            found.push(Report::new(ErrorCode::Config, what).at(field).hint(hint));
        };
        if self.trust.issuers().is_empty() {
            refuse(
                "trust.issuers",
                "no issuer is trusted, so nothing could run",
                "name the account key (A…) with --trust-issuer",
            );
        }
        if self.controllers.is_empty() {
            refuse(
                "controllers",
                "no controller is trusted, so no spec would be obeyed",
                "name its key with --trust-controller",
            );
        }
        if !self.compiles && self.compilers.is_empty() {
            refuse(
                "compilers",
                "this host compiles nothing and trusts no compiler, so nothing could run",
                "name the compiler's key (A…) under compilers in trust.json: trellis lattice init adds it, where \
                 the directory of the lattice is",
            );
        }
        if self.heartbeat < Duration::from_millis(100) || self.heartbeat > Duration::from_secs(300) {
            refuse("heartbeat", "out of range", "between 100 ms and 300 s");
        }
        if self.memory_bytes < 16 << 20 {
            refuse("memory", "less than 16 MiB", "give the host at least 16 MiB for actors");
        }
        if self.max_waiting > 1_000_000 {
            refuse("max-waiting", "more than a million", "a line that long serves nobody in time");
        }
        if self.max_wait > Duration::from_secs(600) {
            refuse("max-wait", "longer than ten minutes", "no caller waits that long");
        }
        if self.forward.is_some_and(|forward| forward.keep_bytes < 1 << 20) {
            refuse(
                "forward-buffer-mib",
                "less than 1 MiB",
                "give it at least 1 MiB, or 0: nothing is forwarded",
            );
        }
        for (key, value) in &self.labels {
            let plain =
                |text: &str| !text.is_empty() && text.len() <= 256 && !text.chars().any(char::is_control);
            if !plain(key) || key.contains('=') || !plain(value) {
                refuse("labels", &format!("label {key:?} is not plain text"), "use --label key=value");
            }
        }
        found
    }
}

fn default_cpu_millis() -> u32 {
    std::thread::available_parallelism()
        .map_or(1_000, |cores| u32::try_from(cores.get()).unwrap_or(1).saturating_mul(1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_trusts_nobody_is_refused_with_both_reasons() {
        let config = HostConfig::new("t".parse().unwrap(), "h".parse().unwrap(), "/nonexistent".into());
        let places: Vec<_> = config.problems().into_iter().filter_map(|report| report.place).collect();
        assert_eq!(places, ["trust.issuers", "controllers"]);
    }
}
