//! The socket as the HTTP parser sees it: what was read to tell the protocol comes first, and
//! every byte of an HTTP/1 request passes the strict [`Framing`].
//!
//! At a violation the parser gets a NUL in place of the offending byte, the end of a head (it looks
//! at none before that) and the end of the stream: no grammar allows a NUL there, so the parser
//! answers 400 and closes, in every state.

use crate::activity::Activity;
use crate::framing::Framing;
use crate::turn::Turn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

/// How HTTP/2 begins, as far as it takes to tell it from any method served here.
pub(crate) const HTTP2_BEGIN: &[u8; 4] = b"PRI ";
/// What the parser is given after a violation.
const END_OF_HEAD: &[u8] = b"\r\n\r\n";
/// Pings, settings and window updates are no more than this, and no progress.
const CONTROL_BYTES: usize = 64;
/// After our last word, time and bytes for the peer to hear it: closing a socket with unread
/// bytes in it would destroy what is under way.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 << 10;

/// What was read before the protocol was known.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Begin {
    bytes: [u8; HTTP2_BEGIN.len()],
    length: usize,
    given: usize,
}

impl Begin {
    /// Reads until it is clear which protocol this is. The end of the stream is HTTP/1.
    ///
    /// # Errors
    /// The socket's.
    pub(crate) async fn read(io: &mut (impl AsyncRead + Unpin)) -> io::Result<(Self, bool)> {
        let mut begin = Self::default();
        loop {
            let Some(room) = begin.bytes.get_mut(begin.length..).filter(|room| !room.is_empty()) else {
                return Ok((begin, true));
            };
            let read = io.read(room).await?;
            begin.length += read;
            let so_far = begin.bytes.get(..begin.length).unwrap_or_default();
            if read == 0 || !HTTP2_BEGIN.starts_with(so_far) {
                return Ok((begin, false));
            }
        }
    }

    /// Gives what fits of what is left; none when nothing is.
    fn give(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let left = self.bytes.get(self.given..self.length).unwrap_or_default();
        let Some(part) = left.get(..left.len().min(buffer.remaining())).filter(|part| !part.is_empty())
        else {
            return false;
        };
        buffer.put_slice(part);
        self.given += part.len();
        true
    }
}

/// A connection.
pub(crate) struct Io<S> {
    socket: S,
    begin: Begin,
    framing: Option<Framing>,
    /// Of HTTP/1; what HTTP/2 writes is several streams' already.
    turn: Option<Turn>,
    activity: Arc<Activity>,
    /// After a violation: what is left to give of [`END_OF_HEAD`].
    refused: Option<&'static [u8]>,
    peer_closed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Io<S> {
    /// For HTTP/2, which has its own framing.
    pub(crate) fn new(socket: S, begin: Begin, activity: Arc<Activity>) -> Self {
        Self { socket, begin, framing: None, turn: None, activity, refused: None, peer_closed: false }
    }

    /// For HTTP/1.
    pub(crate) fn strict(self, turn: Turn) -> Self {
        Self { framing: Some(Framing::default()), turn: Some(turn), ..self }
    }

    /// Says that nothing follows, and gives the peer a moment to hear it.
    pub(crate) async fn close(mut self) {
        let said = async {
            // A peer that is gone needs no farewell.
            if self.socket.shutdown().await.is_err() || self.peer_closed {
                return;
            }
            let (mut scrap, mut left) = ([0; 4 << 10], LINGER_BYTES);
            while let Ok(read @ 1..) = self.socket.read(&mut scrap).await {
                left = left.saturating_sub(read);
                if left == 0 {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(LINGER, said).await;
    }

    fn check(&mut self, buffer: &mut ReadBuf<'_>, before: usize) {
        let new = buffer.filled().get(before..).unwrap_or_default();
        self.peer_closed |= new.is_empty();
        let Some(framing) = &mut self.framing else { return };
        let Err(violation) = framing.feed(new) else { return };
        tracing::debug!(what = violation.what, "request refused");
        let at = before + violation.at;
        if let Some(byte) = buffer.filled_mut().get_mut(at) {
            *byte = 0;
            buffer.set_filled(at + 1);
        }
        self.refused = Some(END_OF_HEAD);
    }

    /// Writes when it is this connection's turn.
    fn write(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Some(turn) = &mut self.turn {
            ready!(turn.poll(cx));
        }
        let result = write(Pin::new(&mut self.socket), cx);
        match &result {
            Poll::Ready(Ok(bytes)) => {
                if let Some(turn) = &mut self.turn {
                    turn.taken();
                }
                self.activity.write_blocked(false);
                if *bytes > CONTROL_BYTES {
                    self.activity.advance();
                }
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.activity.write_blocked(true),
        }
        result
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Io<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let io = self.get_mut();
        if let Some(left) = &mut io.refused {
            let (now, later) = left.split_at(left.len().min(buffer.remaining()));
            buffer.put_slice(now);
            *left = later;
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        if !io.begin.give(buffer) {
            ready!(Pin::new(&mut io.socket).poll_read(cx, buffer))?;
        }
        io.check(buffer, before);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Io<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().write(cx, |socket, cx| socket.poll_write(cx, data))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().write(cx, |socket, cx| socket.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}
