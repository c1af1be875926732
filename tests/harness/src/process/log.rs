//! A child's log file: redirect into it, search it, show its end.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

/// A position in a log, in bytes from its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogMark(u64);

impl LogMark {
    /// The beginning of the log.
    pub const START: Self = Self(0);

    /// The present end of the log at `path`; its start if there is none yet.
    pub fn end_of(path: &Path) -> Self {
        Self(path.metadata().map_or(0, |meta| meta.len()))
    }
}

/// Sends both outputs of `command` to `path`, appending, and gives it no input.
pub(super) fn redirect(command: &mut Command, path: &Path) -> Result<()> {
    let open = || {
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .with_context(|| format!("log file {}", path.display()))
    };
    command.stdin(Stdio::null()).stdout(open()?).stderr(open()?);
    Ok(())
}

/// The first complete line after `since` that contains `needle`.
pub(super) fn find(path: &Path, since: LogMark, needle: &str) -> Option<String> {
    let text = read_from(path, since)?;
    text.split_inclusive('\n')
        .filter_map(|line| line.strip_suffix('\n'))
        .find(|line| line.contains(needle))
        .map(str::to_owned)
}

/// The last `count` lines, or a word about why there are none.
pub(super) fn tail(path: &Path, count: usize) -> String {
    let Some(text) = read_from(path, LogMark::START) else {
        return format!("(no log at {})", path.display());
    };
    let lines: Vec<&str> = text.lines().collect();
    let skip = lines.len().saturating_sub(count);
    match lines.get(skip..) {
        Some(last) if !last.is_empty() => last.join("\n"),
        _ => "(empty)".to_owned(),
    }
}

fn read_from(path: &Path, since: LogMark) -> Option<String> {
    let mut file = File::open(path).ok()?;
    file.seek(SeekFrom::Start(since.0)).ok()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
