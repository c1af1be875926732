//! Runs a command so that a person sees its output as it comes, and we read it as well.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use anyhow::{Context, Result};

/// Lines that may wait to be shown; then the command waits.
const QUEUE_LINES: usize = 1024;

/// Shows every line of both outputs on our standard output, gives each to `read`, and waits for
/// the end. The command gets no input.
///
/// # Errors
/// It cannot be started.
pub fn run(command: &mut Command, mut read: impl FnMut(&str)) -> Result<ExitStatus> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take().context("its output is not piped")?;
    let stderr = child.stderr.take().context("its errors are not piped")?;
    let (lines, shown) = sync_channel(QUEUE_LINES);
    thread::scope(|scope| {
        let also = lines.clone();
        scope.spawn(move || forward(stdout, &lines));
        scope.spawn(move || forward(stderr, &also));
        for line in shown {
            println!("{line}");
            read(&line);
        }
    });
    Ok(child.wait()?)
}

/// Until the end of `from`. Bytes that are no UTF-8 are replaced, not fatal.
fn forward(from: impl Read, to: &SyncSender<String>) {
    for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).into_owned();
        if to.send(line).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_outputs_are_read_to_their_end() {
        let mut lines = Vec::new();
        let script = "echo one; echo two >&2; printf 'no \\377 newline'; exit 4";
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let status = run(&mut command, |line| lines.push(line.to_owned())).unwrap();
        lines.sort();
        assert_eq!(lines, ["no \u{fffd} newline", "one", "two"]);
        assert_eq!(status.code(), Some(4));
    }
}
