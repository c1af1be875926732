//! `trellis down`: ends what `trellis up` started in this directory, all of it and nothing else.

use crate::args::Args;
use crate::commands::Outcome;
use crate::nats_server::signal;
use crate::output;
use crate::up_state::{Process, UpDir};
use lattice_protocol::{ErrorCode, Report};
use rustix::process::Signal;
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::Instant;

/// Time for calls in hand, the goodbye and the server.
const PATIENCE: Duration = Duration::from_secs(45);
/// Time for a process that was killed to be gone.
const GONE: Duration = Duration::from_secs(5);

/// Its arguments.
#[derive(Debug, clap::Args)]
pub struct DownArgs {
    /// The lattice's directory.
    #[arg(long, default_value = "trellis-lattice")]
    pub dir: PathBuf,
}

/// Runs it.
pub async fn run(args: &Args, down: &DownArgs) -> Outcome {
    let place = UpDir::of(&down.dir);
    let note = place.note();
    let mut ended = Vec::new();
    if place.is_held() {
        let note = note.as_ref().ok_or_else(|| {
            Report::new(ErrorCode::Conflict, "trellis up is starting here").hint("try again in a moment")
        })?;
        if !end(args, note.up).await {
            return Err(Report::new(ErrorCode::Timeout, "trellis up does not end")
                .got(format!("process {}", note.up.pid)));
        }
        ended.push(note.up.pid);
    }
    // A server whose `up` was killed.
    if let Some(nats) = note.and_then(|note| note.nats).filter(|nats| nats.runs()) {
        if !end(args, nats).await {
            return Err(Report::new(ErrorCode::Timeout, "nats-server does not end")
                .got(format!("process {}", nats.pid)));
        }
        ended.push(nats.pid);
    }
    place.clear();
    output::say(
        args,
        match ended.is_empty() {
            true => format!("nothing is up in {}", down.dir.display()),
            false => format!("down; what it stored stays in {} (again: trellis up)", down.dir.display()),
        },
    );
    if args.output == output::Format::Json {
        output::json(&json!({ "dir": down.dir, "ended": ended }));
    }
    Ok(())
}

/// Asks one process to end, and makes it when it does not.
async fn end(args: &Args, process: Process) -> bool {
    let bar = output::spinner(args, format!("waiting for process {} to end", process.pid));
    let mut gone = true;
    for (how, patience) in [(Signal::TERM, PATIENCE), (Signal::KILL, GONE)] {
        gone = !process.runs();
        if gone {
            break;
        }
        signal(process.pid, how);
        let end = Instant::now() + patience;
        while process.runs() && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        gone = !process.runs();
    }
    bar.finish_and_clear();
    gone
}
