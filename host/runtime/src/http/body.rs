//! Bodies on their way through an actor: bounded, and (for responses) carrying whatever of the
//! guest still runs, so that most calls need no task of their own.

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use lattice_protocol::{ErrorCode, Report};
use providers_sdk::http::{Body, full};
use providers_sdk::{ProviderError, ProviderErrorKind};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use tokio_util::task::TaskTracker;
use wasmtime_wasi_http::{Error, WasiBody};

/// The report of a body over its limit.
pub(crate) fn too_large(what: &str, got: u64, limit: u64) -> Report {
    Report::new(ErrorCode::TooLarge, format!("{what} over the limit"))
        .got(format!("{got} bytes"))
        .limit(format!("at most {limit} bytes"))
        .hint("send less, or raise limits.bodyBytes")
}

/// A request's body as the guest reads it: at most so many bytes, then an error.
pub(crate) struct RequestBody {
    inner: Body,
    limit: u64,
    seen: u64,
    exceeded: Arc<AtomicBool>,
}

impl RequestBody {
    /// Bounds a body; the flag tells that more than `limit` bytes came.
    pub(crate) fn new(inner: Body, limit: u64) -> (Self, Arc<AtomicBool>) {
        let exceeded = Arc::new(AtomicBool::new(false));
        (Self { inner, limit, seen: 0, exceeded: Arc::clone(&exceeded) }, exceeded)
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.exceeded.load(Ordering::Relaxed) {
            return Poll::Ready(None);
        }
        let frame = match std::task::ready!(Pin::new(&mut self.inner).poll_frame(context)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Poll::Ready(Some(Err(Error::InternalError(Some(error.message))))),
            None => return Poll::Ready(None),
        };
        let length = frame.data_ref().map_or(0, Bytes::len);
        self.seen = self.seen.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
        if self.seen > self.limit {
            self.exceeded.store(true, Ordering::Relaxed);
            return Poll::Ready(Some(Err(Error::HttpRequestBodySize(Some(self.limit)))));
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn failed(words: String) -> ProviderError {
    ProviderError::new(ProviderErrorKind::Failed, words)
}

/// What of a call goes on after its response began.
pub(crate) type Rest = BoxFuture<'static, Result<(), Report>>;

/// What a guest may write before its response is passed on, bytes: most responses are then whole, and
/// go out in one piece, without the guest's store being asked again.
const AHEAD_BYTES: u64 = 64 << 10;
/// Times that everything else may run before a body that is not there is passed on as a stream.
const AHEAD_TURNS: u32 = 2;

/// The beginning of a guest's body, perhaps all of it.
pub(crate) struct Ahead {
    frames: VecDeque<Frame<Bytes>>,
    length: u64,
    /// Nothing but data so far.
    plain: bool,
    ended: bool,
    rest: WasiBody,
}

impl Ahead {
    /// Nothing of it yet.
    pub(crate) fn new(rest: WasiBody) -> Self {
        Self { frames: VecDeque::new(), length: 0, plain: true, ended: false, rest }
    }

    /// What the guest writes before it waits for somebody, or ends. The guest's store runs meanwhile.
    ///
    /// # Errors
    /// `E_GUEST`: the body broke off.
    pub(crate) async fn read(rest: WasiBody) -> Result<Self, Report> {
        let mut ahead = Self::new(rest);
        for _ in 0..AHEAD_TURNS {
            let mut pause = std::pin::pin!(tokio::task::yield_now());
            let enough = std::future::poll_fn(|context| match ahead.take(context, AHEAD_BYTES) {
                Err(report) => Poll::Ready(Err(report)),
                Ok(()) if ahead.ended || ahead.length > AHEAD_BYTES => Poll::Ready(Ok(true)),
                Ok(()) => pause.as_mut().poll(context).map(|()| Ok(false)),
            });
            if enough.await? {
                break;
            }
        }
        Ok(ahead)
    }

    /// Is it all there?
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// Takes what is there now, until it is more than `bytes`.
    fn take(&mut self, context: &mut Context<'_>, bytes: u64) -> Result<(), Report> {
        while !self.ended && self.length <= bytes {
            match Pin::new(&mut self.rest).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.plain &= frame.is_data();
                    self.length = self.length.saturating_add(length(&frame));
                    self.frames.push_back(frame);
                }
                Poll::Ready(Some(Err(error))) => {
                    return Err(Report::new(ErrorCode::Guest, format!("response body: {error}")));
                }
                Poll::Ready(None) => self.ended = true,
                Poll::Pending => break,
            }
        }
        Ok(())
    }

    /// As whoever answers reads it: of known length when all is there, else a stream that holds
    /// `held` until it has been read or dropped.
    ///
    /// # Errors
    /// `E_TOO_LARGE`: more than `limit` bytes.
    pub(crate) fn into_body<T: Unpin + Send + 'static>(self, limit: u64, held: T) -> Result<Body, Report> {
        let Self { frames, length, plain, ended, rest } = self;
        let Some(left) = limit.checked_sub(length) else {
            return Err(too_large("response body", length, limit));
        };
        if !(ended && plain) {
            return Ok(Replay { frames, rest, left, _held: held }.boxed_unsync());
        }
        let mut parts = frames.into_iter().filter_map(|frame| frame.into_data().ok());
        let first = parts.next().unwrap_or_default();
        let Some(second) = parts.next() else { return Ok(full(first)) };
        let mut joined = BytesMut::with_capacity(usize::try_from(length).unwrap_or(0));
        [first, second].into_iter().chain(parts).for_each(|part| joined.extend_from_slice(&part));
        Ok(full(joined.freeze()))
    }
}

fn length(frame: &Frame<Bytes>) -> u64 {
    u64::try_from(frame.data_ref().map_or(0, Bytes::len)).unwrap_or(u64::MAX)
}

/// The body of a response whose guest has finished: everything is there.
pub(crate) fn finished(body: WasiBody, limit: u64) -> Result<Body, Report> {
    let mut ahead = Ahead::new(body);
    ahead.take(&mut Context::from_waker(Waker::noop()), limit)?;
    ahead.into_body(limit, ())
}

/// Frames that were read ahead, then the rest; holds something until it has been read or dropped.
struct Replay<T> {
    frames: VecDeque<Frame<Bytes>>,
    rest: WasiBody,
    left: u64,
    _held: T,
}

impl<T: Unpin> HttpBody for Replay<T> {
    type Data = Bytes;
    type Error = ProviderError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ProviderError>>> {
        if let Some(frame) = self.frames.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        let this = &mut *self;
        poll_bounded(&mut this.rest, &mut this.left, context)
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.frames.is_empty() { self.rest.size_hint() } else { SizeHint::default() }
    }
}

/// The next frame of a guest's body, if it is within what is left of the limit.
fn poll_bounded(
    body: &mut WasiBody,
    left: &mut u64,
    context: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, ProviderError>>> {
    let frame = match std::task::ready!(Pin::new(body).poll_frame(context)) {
        Some(Ok(frame)) => frame,
        Some(Err(error)) => return Poll::Ready(Some(Err(failed(format!("response body: {error}"))))),
        None => return Poll::Ready(None),
    };
    match left.checked_sub(length(&frame)) {
        Some(rest) => {
            *left = rest;
            Poll::Ready(Some(Ok(frame)))
        }
        None => Poll::Ready(Some(Err(failed("response body over the limit".to_owned())))),
    }
}

/// The body of a response whose guest still runs: reading the body is what drives the guest. When
/// the body ends or is dropped first, the guest finishes on a task of its own.
pub(crate) struct Streaming {
    pub(crate) inner: WasiBody,
    pub(crate) left: u64,
    pub(crate) rest: Option<Rest>,
    pub(crate) tasks: TaskTracker,
}

impl HttpBody for Streaming {
    type Data = Bytes;
    type Error = ProviderError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ProviderError>>> {
        let this = &mut *self;
        if let Some(rest) = &mut this.rest
            && let Poll::Ready(outcome) = rest.as_mut().poll(context)
        {
            this.rest = None;
            if let Err(report) = outcome {
                return Poll::Ready(Some(Err(failed(report.to_string()))));
            }
        }
        poll_bounded(&mut this.inner, &mut this.left, context)
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        if let Some(rest) = self.rest.take()
            && tokio::runtime::Handle::try_current().is_ok()
        {
            self.tasks.spawn(async move {
                if let Err(report) = rest.await {
                    tracing::debug!(%report, "guest failed after its response");
                }
            });
        }
    }
}

#[cfg(test)]
mod tests;
