//! `trellis up`: on a developer's machine a whole lattice in one process tree (a nats-server under
//! supervision, a controller and a host); with `--nats-host` a host of a lattice that is elsewhere.
//!
//! ```text
//! trellis up ─┬─ controller, host (tasks)
//!             └─ nats-server (child; started again when it dies)
//! ```
//! Everything is below the lattice's directory: keys and users as `trellis lattice init` makes them,
//! and `up/` with the server's store, the logs, and what `trellis down` needs.

mod join;
mod local;

use crate::args::Args;
use crate::commands::Outcome;
use crate::commands::host::HostFlags;
use crate::output::{self, io_report};
use crate::up_state::{Note, UpDir};
use lattice_protocol::{ErrorCode, HostId, Report};
use serde_json::json;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::time::Instant;

/// Longest time until others hear of the host, once it serves: whoever reads that it is up asks for it next.
const ANNOUNCED: Duration = Duration::from_secs(5);
/// Longest time until everything serves.
const READY: Duration = Duration::from_secs(60);
/// Tells the process that `--detached` starts that it is that one.
const CHILD: &str = "TRELLIS_UP_CHILD";

/// Its arguments.
#[derive(Debug, clap::Args)]
pub struct UpArgs {
    /// The lattice's directory; made if it is not there.
    #[arg(long, default_value = "trellis-lattice")]
    pub dir: PathBuf,
    /// Leave it running in the background, with its log in the directory; see: trellis down.
    #[arg(long, short)]
    pub detached: bool,
    /// Join the lattice of this NATS server as a host, instead of making one here.
    #[arg(long, value_name = "URL")]
    pub nats_host: Option<String>,
    /// The host's NATS user: a file of a seed (SU…), or a `.creds` file.
    #[arg(long, value_name = "FILE", requires = "nats_host")]
    pub nats_nseed: Option<PathBuf>,
    /// Its id. Default: the only enrolled one; `local` for a lattice made here.
    #[arg(long, value_name = "ID")]
    pub host_id: Option<HostId>,
    /// Run components of this account (`A…`); may be repeated. Default: as the directory says.
    #[arg(long = "trust-issuer", value_name = "KEY", requires = "nats_host")]
    pub issuers: Vec<String>,
    /// Obey this controller (`A…`); may be repeated. Default: as the directory says.
    #[arg(long = "trust-controller", value_name = "KEY", requires = "nats_host")]
    pub controllers: Vec<String>,
    /// Port of the NATS server, when a lattice is made. Default: 4222, or a free one.
    #[arg(long, conflicts_with = "nats_host", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// The nats-server program. Default: on PATH, or in $TRELLIS_HOME/bin.
    #[arg(long, value_name = "FILE", env = "TRELLIS_NATS_SERVER")]
    pub nats_server: Option<PathBuf>,
    /// Serve the controllers' API over HTTP as well, at this address and port (0: a free one).
    #[arg(long, value_name = "ADDRESS:PORT", conflicts_with = "nats_host")]
    pub api: Option<SocketAddr>,
    /// How the host runs.
    #[command(flatten)]
    pub flags: HostFlags,
}

/// Runs it.
pub async fn run(args: &Args, up: &UpArgs) -> Outcome {
    let place = UpDir::of(&up.dir);
    if up.detached && std::env::var_os(CHILD).is_none() {
        return detach(args, up, &place).await;
    }
    let held = place.hold()?;
    let result = match &up.nats_host {
        Some(server) => join::run(args, up, (&place, server)).await,
        None => local::run(args, up, &place).await,
    };
    place.clear();
    drop(held);
    result
}

/// Starts the same command again, without a terminal, and waits until it serves.
async fn detach(args: &Args, up: &UpArgs, place: &UpDir) -> Outcome {
    // What is wrong is said here, not in a log.
    drop(place.hold()?);
    if up.nats_host.is_none() {
        crate::nats_server::find(up.nats_server.as_deref()).await?;
    }
    let program = std::env::current_exe().map_err(|error| io_report("find this program", &error))?;
    let log = place.join("up.log");
    let file = std::fs::File::create(&log).map_err(|error| output::file_report("write", &log, &error))?;
    let errors = file.try_clone().map_err(|error| io_report("share the log", &error))?;
    let mut command = tokio::process::Command::new(program);
    command.args(std::env::args_os().skip(1)).env(CHILD, "1");
    command.stdin(Stdio::null()).stdout(file).stderr(errors).process_group(0);
    let mut child = command.spawn().map_err(|error| io_report("start in the background", &error))?;
    let bar = output::spinner(args, "starting");
    let end = Instant::now() + READY;
    loop {
        if let Some(note) = place.note().filter(|note| note.ready && Some(note.up.pid) == child.id()) {
            bar.finish_and_clear();
            say_ready(args, &note, Some(&log));
            return Ok(());
        }
        let ended = child.try_wait().map_err(|error| io_report("watch the background", &error))?;
        if ended.is_some() || Instant::now() >= end {
            bar.finish_and_clear();
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            let last = text.lines().last().unwrap_or("nothing in its log").to_owned();
            // The child's own report, code included, when it gave one.
            return Err(relayed(&last).unwrap_or_else(|| {
                Report::new(ErrorCode::Timeout, "not up in time")
                    .at(log.display())
                    .got(last)
                    .limit(format!("{} s", READY.as_secs()))
                    .hint("see the log; end what is left: trellis down")
            }));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn relayed(line: &str) -> Option<Report> {
    if let Ok(report) = serde_json::from_str(line) {
        return Some(report);
    }
    let (code, text) = line.split_once(": ")?;
    Some(Report::new(ErrorCode::parse(code)?, text))
}

fn say_ready(args: &Args, note: &Note, log: Option<&std::path::Path>) {
    output::say(
        args,
        format!("lattice {} is up: host {}, NATS at {}", note.lattice, note.host, note.nats_url),
    );
    match log {
        Some(log) => output::say(args, format!("  it runs in the background; its log: {}", log.display())),
        None => output::say(args, "  Ctrl-C ends it"),
    }
    for (what, command) in [
        ("see it:      ", "trellis get hosts"),
        ("deploy:      ", "trellis app deploy app.yaml --sign"),
        ("begin an app:", "trellis new hello"),
        ("end it:      ", "trellis down"),
    ] {
        output::say(args, format!("  {what} {command}"));
    }
    if args.output == output::Format::Json {
        output::json(&json!({
            "lattice": note.lattice, "host": note.host, "natsUrl": note.nats_url, "pid": note.up.pid,
            "natsPid": note.nats.map(|nats| nats.pid), "log": log,
        }));
    }
}
