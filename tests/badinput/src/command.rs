//! Runs `trellis` as its user does, and measures it: output, exit status, time, peak memory.

use crate::judge::Outcome;
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tests_harness::fixtures;

/// Killed after this: a command that hangs is a failure, not the end of the run.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time between two looks at a running command.
const LOOK: Duration = Duration::from_millis(2);
/// What a command that does nothing takes, KiB: the binary's own pages.
const IDLE_KIB: u64 = 24 << 10;
/// Variables of the developer's own that would change what a command does.
const FOREIGN: [&str; 8] = [
    "RUST_LOG",
    "RUST_BACKTRACE",
    "CLUSTER_URI",
    "TRELLIS_NATS_URL",
    "TRELLIS_NATS_CREDS",
    "TRELLIS_LATTICE",
    "TRELLIS_CONTEXT",
    "TRELLIS_DATA_DIR",
];

/// Runs one command line in `dir`, with a home of its own there. Blocks.
///
/// # Errors
/// The program is not built, or cannot be started.
pub fn trellis(dir: &Path, line: &str, env: &[(&str, &str)]) -> Result<Outcome> {
    let program = fixtures::program("trellis")?;
    let (out, err) = (tempfile::NamedTempFile::new()?, tempfile::NamedTempFile::new()?);
    let mut command = Command::new(program);
    command.args(words(line)).current_dir(dir).stdin(Stdio::null());
    for name in FOREIGN {
        command.env_remove(name);
    }
    command.env("TRELLIS_HOME", dir.join("home")).envs(env.iter().copied());
    // Files, not pipes: nothing stops while nobody reads.
    command.stdout(File::create(out.path())?).stderr(File::create(err.path())?);
    let begin = Instant::now();
    let mut child = command.spawn().with_context(|| format!("trellis {line}"))?;
    let (status, peak_kib) = watch(&mut child, begin)?;
    let said = String::from_utf8_lossy(&fs::read(err.path())?).into_owned();
    let aside = String::from_utf8_lossy(&fs::read(out.path())?).into_owned();
    Ok(Outcome {
        status: status.and_then(|status| status.code()),
        said,
        aside,
        took: begin.elapsed(),
        grew_kib: peak_kib.saturating_sub(IDLE_KIB),
        is_command: true,
    })
}

/// Words of a command line: at spaces, but not within `'…'`.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in line.split('\'').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

/// Waits for the end; none when it had to be killed. The peak is the last that the kernel said.
fn watch(child: &mut Child, begin: Instant) -> Result<(Option<ExitStatus>, u64)> {
    let mut peak_kib = 0;
    loop {
        peak_kib = peak_kib.max(memory_kib(child.id(), "VmHWM").unwrap_or(0));
        if let Some(status) = child.try_wait()? {
            return Ok((Some(status), peak_kib));
        }
        if begin.elapsed() > PATIENCE {
            child.kill()?;
            child.wait()?;
            return Ok((None, peak_kib));
        }
        std::thread::sleep(LOOK);
    }
}

/// One figure of a process, KiB: `VmHWM` (peak) or `VmRSS` (now).
#[must_use]
pub fn memory_kib(pid: u32, figure: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(figure))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_words_stay_together_and_may_be_empty() {
        assert_eq!(words("a 'b c'  d ''"), ["a", "b c", "d", ""]);
    }

    #[test]
    fn our_own_peak_is_known() {
        assert!(memory_kib(std::process::id(), "VmHWM").unwrap() > 1_000);
    }
}
