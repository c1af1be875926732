//! On what a run was measured. What cannot be found out is `unknown`, never a failed run.

use serde::Serialize;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};
use tests_harness::{tools, workspace};

/// The machine, the versions, the commit.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    /// When, UTC.
    pub when: String,
    /// Short hash; `-dirty` when something tracked was not committed.
    pub commit: String,
    processor: String,
    cores: usize,
    memory_mib: u64,
    kernel: String,
    rustc: String,
    wasmtime: String,
    wrk: String,
    nats_server: String,
}

impl Machine {
    /// This one, now.
    pub fn here() -> Self {
        Self {
            when: keys::format_utc(now_unix()),
            commit: commit(),
            processor: proc_field("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: proc_field("/proc/meminfo", "MemTotal")
                .split(' ')
                .next()
                .and_then(|kib| kib.parse::<u64>().ok())
                .unwrap_or(0)
                / 1_024,
            kernel: read("/proc/sys/kernel/osrelease"),
            rustc: first_line("rustc", &["--version"]),
            wasmtime: locked("wasmtime"),
            wrk: first_line("wrk", &["-v"]),
            nats_server: tools::ensure_nats_server()
                .map_or_else(|_| unknown(), |path| first_line(path, &["--version"])),
        }
    }
}

/// Seconds since 1970.
pub fn now_unix() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    i64::try_from(since).unwrap_or(i64::MAX)
}

/// The load average of the last minute; 0 when unknown.
pub fn load_average() -> f64 {
    read("/proc/loadavg").split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0.0)
}

fn unknown() -> String {
    "unknown".to_owned()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).map_or_else(|_| unknown(), |text| text.trim().to_owned())
}

fn proc_field(path: &str, name: &str) -> String {
    let text = read(path);
    let found = text.lines().find_map(|line| line.strip_prefix(name)?.split_once(':'));
    found.map_or_else(unknown, |(_, value)| value.trim().to_owned())
}

/// The first line that a program prints, on either output (wrk says its version with an error).
fn first_line(program: impl AsRef<Path>, args: &[&str]) -> String {
    let Ok(output) = Command::new(program.as_ref()).args(args).output() else { return unknown() };
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).lines().next().map_or_else(unknown, |line| line.trim().to_owned())
}

fn commit() -> String {
    let git = |args: &[&str]| Command::new("git").current_dir(workspace::root()).args(args).output().ok();
    let Some(head) = git(&["rev-parse", "--short=12", "HEAD"]).filter(|output| output.status.success())
    else {
        return unknown();
    };
    let clean = git(&["diff", "--quiet", "HEAD"]).is_some_and(|output| output.status.success());
    let hash = String::from_utf8_lossy(&head.stdout).trim().to_owned();
    if clean { hash } else { format!("{hash}-dirty") }
}

/// The version of a crate in Cargo.lock.
fn locked(name: &str) -> String {
    let text = std::fs::read_to_string(workspace::root().join("Cargo.lock")).unwrap_or_default();
    let wanted = format!("name = \"{name}\"");
    let mut lines = text.lines().skip_while(|line| *line != wanted);
    let version = lines.nth(1).and_then(|line| line.strip_prefix("version = \"")?.strip_suffix('"'));
    version.map_or_else(unknown, str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_come_from_the_lock_file() {
        assert_eq!(locked("no-such-crate"), "unknown");
        let version = locked("wasmtime");
        assert!(version.starts_with(|first: char| first.is_ascii_digit()), "{version}");
    }
}
