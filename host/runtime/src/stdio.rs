//! Where a guest's words go: stdout, stderr and `wasi:logging`, line by line, into the host's log.
//!
//! Invariants: a line is at most 8 KiB, an actor writes at most 100 lines a second (then one line
//! says how many were suppressed), and no control character passes: a guest cannot forge a line or
//! colour a terminal. Writing never waits.

use crate::state::ActorShared;
use bytes::Bytes;
use lattice_protocol::{ActorId, HostId, LatticeName};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::AsyncWrite;
use tracing::Level;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// Longest line, bytes; what is beyond is cut off.
const MAX_LINE: usize = 8 << 10;
/// Lines of one actor in one [`WINDOW`].
const MAX_LINES: u32 = 100;
const WINDOW: Duration = Duration::from_secs(1);
/// What a guest may hand over in one write.
const MAX_WRITE: usize = 64 << 10;

/// The bounded line logger of one actor.
pub(crate) struct GuestLog {
    actor: ActorId,
    lattice: LatticeName,
    host: HostId,
    window: Mutex<Window>,
}

#[derive(Debug, PartialEq, Eq)]
struct Window {
    since: Instant,
    lines: u32,
    suppressed: u64,
}

impl Window {
    /// May one more line pass, and how many were suppressed before it?
    fn admit(&mut self, now: Instant) -> (bool, u64) {
        let mut missed = 0;
        if now.saturating_duration_since(self.since) >= WINDOW {
            missed = self.suppressed;
            *self = Self { since: now, lines: 0, suppressed: 0 };
        }
        if self.lines < MAX_LINES {
            self.lines += 1;
            return (true, missed);
        }
        self.suppressed += 1;
        (false, missed)
    }
}

impl GuestLog {
    /// The logger of this actor.
    pub(crate) fn new(actor: ActorId, lattice: LatticeName, host: HostId) -> Self {
        let window = Mutex::new(Window { since: Instant::now(), lines: 0, suppressed: 0 });
        Self { actor, lattice, host, window }
    }

    /// Writes one line. `context` is the guest's own word for where it comes from, or the stream.
    pub(crate) fn line(&self, level: Level, context: &str, message: &str) {
        let (admitted, missed) =
            self.window.lock().unwrap_or_else(PoisonError::into_inner).admit(Instant::now());
        if missed > 0 {
            tracing::warn!(target: "guest", actor = %self.actor, "suppressed {missed} lines");
        }
        if !admitted {
            return;
        }
        let (context, line) = (printable(context), printable(message));
        let Self { actor, lattice, host, .. } = self;
        macro_rules! said {
            ($level:ident) => {
                tracing::$level!(target: "guest", %actor, %lattice, %host, context, "{line}")
            };
        }
        match level {
            Level::ERROR => said!(error),
            Level::WARN => said!(warn),
            Level::INFO => said!(info),
            Level::DEBUG => said!(debug),
            _ => said!(trace),
        }
    }
}

/// The text without control characters, at most [`MAX_LINE`] bytes of it.
fn printable(text: &str) -> String {
    let mut line = String::with_capacity(text.len().min(MAX_LINE));
    for character in text.chars() {
        if line.len() + character.len_utf8() > MAX_LINE {
            break;
        }
        match character {
            '\t' => line.push(' '),
            other if other.is_control() => {}
            other => line.push(other),
        }
    }
    line
}

/// Which of the two output streams.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stream {
    Out,
    Err,
}

/// Stdout or stderr of a guest.
pub(crate) struct GuestStream {
    pub(crate) actor: Arc<ActorShared>,
    pub(crate) stream: Stream,
    /// Set while what it says is not to be heard; none: never.
    pub(crate) quiet: Option<Arc<AtomicBool>>,
}

impl IsTerminal for GuestStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for GuestStream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.writer())
    }
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.writer())
    }
}

impl GuestStream {
    fn writer(&self) -> LineWriter {
        let (stream, quiet) = (self.stream, self.quiet.clone());
        LineWriter { actor: Arc::clone(&self.actor), stream, quiet, line: Vec::new() }
    }
}

/// Collects bytes into lines.
struct LineWriter {
    actor: Arc<ActorShared>,
    stream: Stream,
    quiet: Option<Arc<AtomicBool>>,
    line: Vec<u8>,
}

impl LineWriter {
    fn take(&mut self, bytes: &[u8]) {
        if self.quiet.as_ref().is_some_and(|quiet| quiet.load(Ordering::Relaxed)) {
            return;
        }
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (head, tail) = rest.split_at(end);
            self.append(head);
            self.emit();
            rest = tail.get(1..).unwrap_or_default();
        }
        self.append(rest);
    }

    fn append(&mut self, bytes: &[u8]) {
        let room = MAX_LINE.saturating_sub(self.line.len());
        self.line.extend_from_slice(bytes.get(..room.min(bytes.len())).unwrap_or_default());
    }

    fn emit(&mut self) {
        let line = std::mem::take(&mut self.line);
        let (level, context) = match self.stream {
            Stream::Out => (Level::INFO, "stdout"),
            Stream::Err => (Level::WARN, "stderr"),
        };
        self.actor.log.line(level, context, &String::from_utf8_lossy(&line));
    }
}

impl Drop for LineWriter {
    fn drop(&mut self) {
        if !self.line.is_empty() {
            self.emit();
        }
    }
}

impl Pollable for LineWriter {
    // Written out because one method does not justify a macro crate.
    fn ready<'life, 'async_trait>(&'life mut self) -> Pin<Box<dyn Future<Output = ()> + Send + 'async_trait>>
    where
        'life: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async {})
    }
}

impl OutputStream for LineWriter {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.take(&bytes);
        Ok(())
    }
    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }
    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(MAX_WRITE)
    }
}

impl AsyncWrite for LineWriter {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_lines_a_second_and_then_a_count() {
        let start = Instant::now();
        let mut window = Window { since: start, lines: 0, suppressed: 0 };
        let passed = (0..150).filter(|_| window.admit(start).0).count();
        assert_eq!(passed, 100);
        assert_eq!(window.admit(start + WINDOW), (true, 50));
    }

    #[test]
    fn control_characters_do_not_pass_and_lines_end() {
        assert_eq!(printable("a\u{1b}[31m\tb\r\n"), "a[31m b");
        assert_eq!(printable(&"x".repeat(MAX_LINE + 5)).len(), MAX_LINE);
        assert_eq!(printable(&"€".repeat(MAX_LINE)).len(), MAX_LINE - MAX_LINE % 3);
    }
}
