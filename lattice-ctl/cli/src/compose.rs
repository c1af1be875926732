//! Putting processes together: which providers are built in, and how a host is made from what the command line says.

use crate::args::Args;
use crate::footprint;
use crate::lattice_dir::{LatticeDir, TrustFile};
use crate::output;
use host_daemon::{HostConfig, HostDeps, HostHandle, Memberships, Processes};
use keys::TrustAnchors;
use lattice_io::{Clock, Lattice, SystemClock, TaskScope};
use lattice_protocol::permission::ProviderRole;
use lattice_protocol::subject::Subjects;
use lattice_protocol::{ErrorCode, HostId, LatticeName, Report};
use providers_sdk::Factory;
use providers_sdk::process::Membership;
use std::path::PathBuf;
use std::sync::Arc;

/// The providers that this build can run in the host's process. Their tasks hang in `scope`.
pub fn factories(lattice: &Lattice, name: &LatticeName, scope: &TaskScope) -> Vec<Arc<dyn Factory>> {
    let subjects = Subjects::new(name.clone());
    vec![
        Arc::new(providers_http_server::HttpServerFactory),
        Arc::new(providers_http_client::HttpClientFactory),
        Arc::new(providers_keyvalue_embedded::EmbeddedKeyValueFactory),
        Arc::new(providers_keyvalue_redis::RedisKeyValueFactory),
        Arc::new(providers_keyvalue_nats::NatsKeyValueFactory::new(Arc::clone(&lattice.kv), subjects)),
        Arc::new(providers_messaging_embedded::EmbeddedMessagingFactory::new(
            scope.child("messaging-embedded"),
        )),
        Arc::new(providers_messaging_nats::NatsMessagingFactory::new(
            lattice.clone(),
            scope.child("messaging-nats"),
        )),
        Arc::new(providers_blobstore_embedded::EmbeddedBlobStoreFactory),
    ]
}

/// 16 random hexadecimal digits: which start of a process this is.
pub fn boot_id() -> Result<String, Report> {
    let mut entropy = [0u8; 8];
    getrandom::fill(&mut entropy)
        .map_err(|error| Report::new(ErrorCode::Io, format!("no entropy: {error}")))?;
    Ok(format!("{:016x}", u64::from_be_bytes(entropy)))
}

/// The anchors of a trust file.
pub fn anchors(trust: &TrustFile) -> Result<TrustAnchors, Report> {
    TrustAnchors::new(trust.issuers.clone(), trust.revoked.clone())
        .map_err(|error| Report::new(ErrorCode::Config, error.to_string()).at("trust.json"))
}

/// What a host needs to run providers in processes: this program, and the directory or bundle that
/// makes NATS users for them at `url`.
pub fn processes(dir: &LatticeDir, url: &str, executables: Option<PathBuf>) -> Result<Processes, Report> {
    struct Users(LatticeDir, String);
    impl Memberships for Users {
        fn membership(&self, role: ProviderRole, name: &str) -> Result<Membership, Report> {
            self.0.membership(role, name, &self.1)
        }
    }
    let program = std::env::current_exe()
        .map_err(|error| Report::new(ErrorCode::Io, format!("find this program: {error}")))?;
    Ok(Processes { program, executables, memberships: Arc::new(Users(dir.clone(), url.to_owned())) })
}

/// Starts a host in this process.
pub async fn host(
    config: HostConfig,
    lattice: Lattice,
    processes: Option<Processes>,
    scope: &TaskScope,
) -> Result<HostHandle, Report> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let factories = factories(&lattice, &config.lattice, scope);
    let deps = HostDeps { lattice, factories, processes, clock, boot_id: boot_id()? };
    let host = host_daemon::start(config, deps, scope).await?;
    scope.spawn_best_effort("footprint", footprint::watch(host.snapshot(), scope.clone()));
    Ok(host)
}

/// Waits until a host is to leave: asked by the lattice, or by whoever ends this process. Then it hands
/// over what it runs, and ends; asked once more, it ends at once.
///
/// # Errors
/// What the host's end says.
pub async fn until_gone(args: &Args, id: &HostId, running: HostHandle) -> Result<(), Report> {
    tokio::select! {
        () = running.leaving() => {}
        () = asked_to_end() => {}
    }
    output::say(args, format!("host {id} is leaving"));
    tokio::select! {
        () = running.hand_over() => {}
        () = asked_to_end() => {}
    }
    running.shutdown().await
}

/// Ends when the process is asked to: Ctrl-C or SIGTERM.
pub async fn asked_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        // Without a handler the default action ends the process.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
