//! `trellis controller`: a controller in this terminal, until Ctrl-C. Any number may run.

use crate::args::Args;
use crate::commands::Outcome;
use crate::compose;
use crate::connect::Login;
use crate::lattice_dir::LatticeDir;
use crate::output;
use clap::ValueEnum;
use lattice_ctl_controller::api::ApiConfig;
use lattice_ctl_controller::{ControllerConfig, ControllerDeps, ControllerHandle};
use lattice_ctl_planner::Pace;
use lattice_ctl_planner::observed::Profile;
use lattice_io::{KvOptions, Lattice, SystemClock, TaskScope};
use lattice_protocol::subject::Subjects;
use lattice_protocol::{ErrorCode, LatticeName, Report};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the servers may be without a leader when a controller begins.
const LEADER: Duration = Duration::from_secs(60);
/// How often they are asked.
const PAUSE: Duration = Duration::from_millis(250);

/// Its arguments.
#[derive(Debug, clap::Args)]
pub struct ControllerArgs {
    /// The lattice's directory.
    #[arg(long, default_value = "trellis-lattice")]
    pub dir: PathBuf,
    /// When silence counts.
    #[arg(long, value_enum, default_value_t = Liveness::Edge)]
    pub profile: Liveness,
    /// Serve the API over HTTP as well, at this address and port (0: a free one).
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub api: Option<SocketAddr>,
}

/// When silence counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Liveness {
    /// A local network: lost after 1.5 s of silence; give hosts --heartbeat-ms 250.
    Fast,
    /// Sites joined by a wide-area network: lost after 5 s of silence.
    Wan,
    /// Bad uplinks: lost after 30 s of silence.
    Edge,
}

impl From<Liveness> for Profile {
    fn from(liveness: Liveness) -> Self {
        match liveness {
            Liveness::Fast => Self::FAST,
            Liveness::Wan => Self::WAN,
            Liveness::Edge => Self::EDGE,
        }
    }
}

/// Runs it.
pub async fn run(args: &Args, controller: &ControllerArgs) -> Outcome {
    let dir = LatticeDir::at(&controller.dir);
    let file = dir.file()?;
    let login = Login::of_dir(&dir, "controller")?.told(args);
    let nats = login.connect(false).await?;
    answering(args, &nats.lattice(), &file.lattice).await?;
    let scope = TaskScope::new("trellis");
    let signer = dir.controller_key()?;
    let running = start(
        file.lattice.clone(),
        signer,
        (controller.profile.into(), controller.api),
        nats.lattice(),
        &scope,
    )
    .await?;
    if let Some(address) = running.api() {
        output::say(args, format!("API: http://{address}/v1"));
    }
    output::say(args, format!("controller of lattice {} is up", file.lattice));
    tokio::select! {
        () = running.failed() => {}
        () = compose::asked_to_end() => {}
    }
    scope.shutdown(Duration::from_secs(5)).await;
    nats.close().await;
    Ok(())
}

/// Waits until the lattice's servers answer: those of a cluster that has just begun have no leader for a while.
async fn answering(args: &Args, lattice: &Lattice, name: &LatticeName) -> Result<(), Report> {
    let bucket = Subjects::new(name.clone()).lattice_bucket();
    let until = Instant::now() + LEADER;
    let mut said = false;
    loop {
        let report = match lattice.kv.open(&bucket, KvOptions::default()).await {
            Ok(_) => return Ok(()),
            Err(error) => Report::from(error),
        };
        let passes = matches!(report.code, ErrorCode::Connection | ErrorCode::Timeout);
        if !passes || Instant::now() >= until {
            return Err(report);
        }
        if !std::mem::replace(&mut said, true) {
            output::say(
                args,
                format!("waiting for the lattice's servers, {} s at most: {report}", LEADER.as_secs()),
            );
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Starts a controller in this process.
pub async fn start(
    lattice_name: LatticeName,
    signer: keys::KeyPair,
    (profile, api): (Profile, Option<SocketAddr>),
    lattice: Lattice,
    scope: &TaskScope,
) -> Result<ControllerHandle, Report> {
    let config = ControllerConfig {
        lattice: lattice_name,
        signer,
        profile,
        pace: Pace::default(),
        incarnation: 1,
        tick: Duration::from_millis(250),
        name: "controller".to_owned(),
        api: api.map(|listen| ApiConfig { listen }),
    };
    let clock = Arc::new(SystemClock::new());
    let deps = ControllerDeps { lattice, clock, boot_id: compose::boot_id()? };
    lattice_ctl_controller::start(config, deps, scope).await
}
