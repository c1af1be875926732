//! `trellis host`: a host in this terminal, until Ctrl-C. It starts whether or not the lattice can
//! be reached, and runs what it ran before.

use crate::args::Args;
use crate::commands::Outcome;
use crate::compose;
use crate::connect::Login;
use crate::keyfile;
use crate::lattice_dir::LatticeDir;
use crate::output;
use host_daemon::{ForwardPolicy, HostConfig, Stands, WhenFull};
use lattice_io::{Replicas, SystemClock, TaskScope};
use lattice_protocol::{ErrorCode, HostId, LatticeName, Report};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Its arguments.
#[derive(Debug, clap::Args)]
pub struct HostArgs {
    /// The lattice's directory, or this host's bundle of it.
    #[arg(long, default_value = "trellis-lattice")]
    pub dir: PathBuf,
    /// Its id, as enrolled.
    #[arg(long, value_name = "ID")]
    pub host_id: HostId,
    /// Build the journal of its actors of durability device anew from what it had forwarded into the lattice, and
    /// end: for a host whose journal is damaged or lost.
    #[arg(long)]
    pub rebuild_journal: bool,
    /// How it runs.
    #[command(flatten)]
    pub flags: HostFlags,
}

/// How a host runs, whatever starts it.
#[derive(Debug, clap::Args)]
pub struct HostFlags {
    /// A label for placement; may be repeated.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    pub labels: Vec<(String, String)>,
    /// Where it keeps its files.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Secrets of this host alone: a directory of files of mode 0600, each a secret by its name.
    #[arg(long, value_name = "DIR")]
    pub secrets_dir: Option<PathBuf>,
    /// Encrypts snapshots of persistent actors: a file of mode 0600 with 64 hexadecimal digits (make it:
    /// openssl rand -hex 32). Kinds of durability lattice need the same one on each of their hosts.
    #[arg(long, value_name = "FILE")]
    pub snapshot_key: Option<PathBuf>,
    /// Address that its HTTP servers listen on when a manifest names none.
    #[arg(long, default_value = "127.0.0.1")]
    pub listen: IpAddr,
    /// Executables of provider kinds that are not built in (`run: process`): files named as the kind,
    /// each with its claims beside it (`claim sign --provider`).
    #[arg(long, value_name = "DIR")]
    pub provider_dir: Option<PathBuf>,
    /// Milliseconds between heartbeats. Default: 5000; of `trellis up`, whose controller expects them more often, 1000.
    #[arg(long, value_name = "MS")]
    pub heartbeat_ms: Option<u64>,
    /// Memory for actors, MiB.
    #[arg(long, default_value_t = 512)]
    pub memory_mib: u64,
    /// Calls over HTTP that may wait for each processor when there is more to compute than they can. Of more
    /// the oldest are refused with 503, and the newest served first, until nobody waits.
    #[arg(long, default_value_t = 32, value_name = "CALLS")]
    pub max_waiting: u32,
    /// Longest wait of such a call, milliseconds; then it is refused with 503.
    #[arg(long, default_value_t = 1_000, value_name = "MILLISECONDS")]
    pub max_wait_ms: u64,
    /// Seconds without a call after which an actor lets go of its compiled code, to be loaded again for the next
    /// call: less memory for what waits, half a millisecond more for who comes first (more for interpreters). 0: never.
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    pub unload_after_s: u64,
    /// Compile nothing: run the code that `trellis compile` has left in the lattice, signed by a compiler key of
    /// trust.json. A program without compiler does so anyway.
    #[arg(long)]
    pub no_compiler: bool,
    /// Records of actors of durability device that are kept until they have been forwarded into the lattice,
    /// MiB; 0: nothing is forwarded.
    #[arg(long, default_value_t = 256, value_name = "MIB")]
    pub forward_buffer_mib: u64,
    /// What happens when more than that waits: let the oldest go, counted and as a gap, or refuse commands.
    #[arg(long, value_enum, default_value_t = ForwardFull::DropOldest, value_name = "WHAT")]
    pub forward_full: ForwardFull,
    /// Most MiB of the stream that all hosts forward to, when this host is the first and makes it; and a quarter of it
    /// for their checkpoints. When it is full it refuses, and hosts keep their records.
    #[arg(long, default_value_t = 1_024, value_name = "MIB")]
    pub forward_stream_mib: u64,
    /// Servers that keep a copy of both: 1 or 3. Streams that are there and have fewer are refused.
    #[arg(long, default_value = "1", value_parser = ["1", "3"], value_name = "SERVERS")]
    pub forward_replicas: String,
}

/// What happens when too much waits to be forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ForwardFull {
    /// Records that no actor needs go before they have arrived, oldest first. Actors work on.
    DropOldest,
    /// Commands are refused until there is room.
    Refuse,
}

/// Time between heartbeats, unless it is told.
const HEARTBEAT_MS: u64 = 5_000;

impl HostFlags {
    /// The configuration of a host of this lattice, by the directory (or bundle) of its lattice.
    pub fn config(&self, host: &HostId, dir: &LatticeDir) -> Result<HostConfig, Report> {
        let (file, trust) = (dir.file()?, dir.trust()?);
        let data_dir = dir.path().join("data").join(host.as_str());
        let mut config = self.config_of(file.lattice, host, data_dir);
        config.trust = compose::anchors(&trust)?;
        config.controllers = trust.counting(&trust.controllers);
        config.compilers = trust.counting(&trust.compilers);
        config.secrets.key = dir.curve_key(host)?;
        config.snapshot_key = self.snapshot_key.as_deref().map(keyfile::read_snapshot_key).transpose()?;
        Ok(config)
    }

    /// The configuration of a host that trusts nobody yet.
    pub fn config_of(&self, lattice: LatticeName, host: &HostId, data_dir: PathBuf) -> HostConfig {
        let data_dir = self.data_dir.clone().unwrap_or(data_dir);
        let mut config = HostConfig::new(lattice, host.clone(), data_dir);
        config.labels = self.labels.iter().cloned().collect();
        config.heartbeat = Duration::from_millis(self.heartbeat_ms.unwrap_or(HEARTBEAT_MS));
        config.listen = self.listen;
        config.memory_bytes = self.memory_mib.saturating_mul(1 << 20);
        config.max_waiting = self.max_waiting;
        config.max_wait = Duration::from_millis(self.max_wait_ms);
        config.unload_after = Duration::from_secs(self.unload_after_s);
        config.compiles &= !self.no_compiler;
        config.secrets.dir.clone_from(&self.secrets_dir);
        config.forward = self.forward();
        config
    }
}

impl HostFlags {
    fn forward(&self) -> Option<ForwardPolicy> {
        let full = match self.forward_full {
            ForwardFull::DropOldest => WhenFull::DropOldest,
            ForwardFull::Refuse => WhenFull::Refuse,
        };
        let keep_bytes = self.forward_buffer_mib.saturating_mul(1 << 20);
        let stream_bytes = self.forward_stream_mib.max(1).saturating_mul(1 << 20);
        let replicas = if self.forward_replicas == "3" { Replicas::Three } else { Replicas::One };
        let states_bytes = stream_bytes.div_ceil(4);
        let policy = ForwardPolicy {
            keep_bytes,
            full,
            stream_bytes,
            states_bytes,
            replicas,
            ..ForwardPolicy::default()
        };
        (keep_bytes > 0).then_some(policy)
    }
}

/// `key=value`, both non-empty.
pub fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() && !value.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("want key=value".to_owned()),
    }
}

/// Runs it.
pub async fn run(args: &Args, host: &HostArgs) -> Outcome {
    let dir = LatticeDir::at(&host.dir);
    let config = host.flags.config(&host.host_id, &dir)?;
    let login = Login::of_dir(&dir, host.host_id.as_str())?.told(args);
    if !dir.creds(host.host_id.as_str()).exists() {
        return Err(Report::new(ErrorCode::HostNotFound, format!("host not found: {}", host.host_id))
            .at(host.dir.display())
            .hint(format!("enrol it: trellis lattice enroll {}", host.host_id)));
    }
    if host.rebuild_journal {
        return rebuild_journal(args, &config, &login).await;
    }
    let nats = login.connect(true).await?;
    let scope = TaskScope::new("trellis");
    let processes = compose::processes(&dir, &login.url, host.flags.provider_dir.clone())?;
    let running = compose::host(config, nats.lattice(), Some(processes), &scope).await?;
    output::say(args, format!("host {} is up", host.host_id));
    let ended = compose::until_gone(args, &host.host_id, running).await;
    scope.shutdown(Duration::from_secs(5)).await;
    nats.close().await;
    ended
}

/// `--rebuild-journal`.
async fn rebuild_journal(args: &Args, config: &HostConfig, login: &Login) -> Outcome {
    let nats = login.connect(false).await?;
    let clock = SystemClock::new();
    let rebuilt = host_daemon::rebuild_journal(config, &nats.lattice(), &clock).await;
    nats.close().await;
    let rebuilt = rebuilt?;
    let (first, last) = (rebuilt.first, rebuilt.last);
    if args.output == output::Format::Json {
        output::json(&serde_json::json!({
            "host": config.host, "first": first.0, "last": last.0, "fromLattice": rebuilt.from_copy,
            "fromDisk": rebuilt.from_disk, "lostAtLeast": rebuilt.lost_at_least, "setAside": rebuilt.aside,
            "checkpoint": match rebuilt.stands {
                Stands::Nothing => None,
                Stands::Disk => Some("disk"),
                Stands::Forwarded => Some("lattice"),
            },
        }));
        return Ok(());
    }
    output::say(args, format!("journal of {} built anew: records {first} to {last}", config.host));
    let before = first.0 - 1;
    match rebuilt.stands {
        Stands::Nothing => {}
        Stands::Disk => {
            output::say(args, format!("the checkpoint on the disk stands for records 1 to {before}"))
        }
        Stands::Forwarded => {
            output::say(args, format!("the checkpoint that was forwarded stands for records 1 to {before}"));
        }
    }
    output::say(
        args,
        format!(
            "{} from the lattice, {} still readable on the disk; lost: what was acknowledged after record {last} (at \
             least {} records)",
            rebuilt.from_copy, rebuilt.from_disk, rebuilt.lost_at_least
        ),
    );
    output::say(args, format!("what was there is in {}", rebuilt.aside.display()));
    Ok(())
}
