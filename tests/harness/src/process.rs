//! A child process of a test: its output in a file, its life bound to ours.
//!
//! Invariants:
//! * Standard output and error go to one log file, never to a pipe that could fill and stop the
//!   child; what it said is in every error about it.
//! * Dropping the handle kills the child and reaps it. If this whole process dies first (a test
//!   that aborts, a runner that kills it) the kernel kills the child: `setpriv --pdeathsig`, which
//!   replaces itself by the program, so the process id is the program's own. The signal follows
//!   the *thread* that spawned, so one thread that lives as long as the process does all spawning.
//! * Signals go to the child by its id only, and only while it has not been reaped.

mod log;
mod spawner;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::eventually;
pub use log::LogMark;

/// How many lines of the log an error shows.
const TAIL_LINES: usize = 20;

/// What to start. Build it with [`ProcessSpec::new`] and the methods below.
#[derive(Debug, Clone)]
pub struct ProcessSpec {
    name: String,
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    clear_env: bool,
    current_dir: Option<PathBuf>,
    log: PathBuf,
}

impl ProcessSpec {
    /// `name` is for people, in errors; `log` is the file that receives the output (appended to).
    pub fn new(name: &str, program: impl AsRef<OsStr>, log: impl Into<PathBuf>) -> Self {
        Self {
            name: name.to_owned(),
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            clear_env: false,
            current_dir: None,
            log: log.into(),
        }
    }

    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    #[must_use]
    pub fn args<I, S>(mut self, args: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    #[must_use]
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((key.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Start from an environment that holds `PATH` only, so that a developer's own variables
    /// cannot change what a test sees.
    #[must_use]
    pub fn clear_env(mut self) -> Self {
        self.clear_env = true;
        self
    }

    #[must_use]
    pub fn current_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.current_dir = Some(dir.into());
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// `setpriv` (package util-linux) is missing, or the log file cannot be opened. A program that
    /// cannot be executed ends at once with status 127 and says so in the log.
    pub fn spawn(self) -> Result<Process> {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]);
        command.arg(&self.program).args(&self.args);
        if self.clear_env {
            command.env_clear();
            if let Some(path) = std::env::var_os("PATH") {
                command.env("PATH", path);
            }
        }
        command.envs(self.env.iter().map(|(key, value)| (key, value)));
        if let Some(dir) = &self.current_dir {
            command.current_dir(dir);
        }
        log::redirect(&mut command, &self.log)?;
        let child = spawner::spawn(command)
            .with_context(|| format!("{}: setpriv cannot be started; install util-linux", self.name))?;
        Ok(Process { name: self.name, child, log: self.log })
    }
}

/// A running (or ended) child. Killed on drop.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// The operating system's process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file with everything it has printed.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// The present end of the log: a place to wait *from*.
    pub fn mark(&self) -> LogMark {
        LogMark::end_of(&self.log)
    }

    /// The last lines of the log, for an error text.
    pub fn log_tail(&self) -> String {
        log::tail(&self.log, TAIL_LINES)
    }

    /// The exit status, if it has ended.
    ///
    /// # Errors
    /// The operating system refuses the question.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// The first whole line, from the beginning of the log, that contains `needle`.
    ///
    /// # Errors
    /// The deadline passed, or the process ended without printing it; the log's tail is shown.
    pub async fn wait_for_line(&mut self, needle: &str, deadline: Duration) -> Result<String> {
        self.wait_for_line_since(LogMark::START, needle, deadline).await
    }

    /// As [`Process::wait_for_line`], for lines printed after `since`.
    ///
    /// # Errors
    /// As [`Process::wait_for_line`].
    pub async fn wait_for_line_since(
        &mut self,
        since: LogMark,
        needle: &str,
        deadline: Duration,
    ) -> Result<String> {
        let log = self.log.clone();
        let what = format!("{} to print {needle:?}", self.name);
        let found = self
            .while_running(deadline, &what, || {
                log::find(&log, since, needle).ok_or_else(|| anyhow!("not printed yet"))
            })
            .await;
        found.with_context(|| format!("log of {}:\n{}", self.name, self.log_tail()))
    }

    /// Asks `check` until it holds; ends early when the process ends without it.
    async fn while_running<T>(
        &mut self,
        deadline: Duration,
        what: &str,
        mut check: impl FnMut() -> Result<T>,
    ) -> Result<T> {
        let outcome = eventually(deadline, what, || {
            // The order matters: a process may do its work and end between the two questions.
            let ended = self.child.try_wait();
            let answer = match (check(), ended) {
                (Ok(value), _) => Ok(Ok(value)),
                (Err(_), Ok(Some(status))) => Ok(Err(status)),
                (Err(reason), _) => Err(reason),
            };
            std::future::ready(answer)
        })
        .await?;
        outcome.map_err(|status| anyhow!("{} ended first ({status})", self.name))
    }

    /// Waits for it to end by itself.
    ///
    /// # Errors
    /// Still running at the deadline; the log's tail is shown.
    pub async fn wait_for_exit(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let what = format!("{} to end", self.name);
        eventually(deadline, &what, || {
            std::future::ready(match self.child.try_wait() {
                Ok(Some(status)) => Ok(status),
                Ok(None) => Err(anyhow!("still running")),
                Err(error) => Err(error.into()),
            })
        })
        .await
        .with_context(|| format!("log of {}:\n{}", self.name, self.log_tail()))
    }

    /// SIGTERM: asks it to end. Wait with [`Process::wait_for_exit`].
    ///
    /// # Errors
    /// It has already ended.
    pub fn terminate(&mut self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// SIGSTOP: it keeps its sockets and memory and does nothing.
    ///
    /// # Errors
    /// It has already ended.
    pub fn freeze(&mut self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT: undoes [`Process::freeze`].
    ///
    /// # Errors
    /// It has already ended.
    pub fn thaw(&mut self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// SIGKILL, and waits until it is gone. No error if it has already ended.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.child.kill()?;
        Ok(self.child.wait()?)
    }

    fn signal(&mut self, signal: Signal) -> Result<()> {
        // Once reaped, the id may belong to somebody else: ask first, and never signal then.
        if let Some(status) = self.child.try_wait()? {
            bail!("{} has already ended ({status})", self.name);
        }
        let id = i32::try_from(self.child.id()).context("process id")?;
        let id = Pid::from_raw(id).context("process id")?;
        kill_process(id, signal).with_context(|| format!("{signal:?} to {}", self.name))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error means that it is gone already, which is what is wanted.
        let _ = self.kill();
    }
}

#[cfg(test)]
mod tests;
