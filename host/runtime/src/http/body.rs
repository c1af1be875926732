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

/// The body of a response whose guest has finished: everything is there. One frame, the common
/// case, becomes a body of known length.
pub(crate) fn finished(mut body: WasiBody, limit: u64) -> Result<Body, Report> {
    let mut frames = VecDeque::new();
    let mut context = Context::from_waker(Waker::noop());
    let mut whole = true;
    let mut length: u64 = 0;
    loop {
        match Pin::new(&mut body).poll_frame(&mut context) {
            Poll::Ready(Some(Ok(frame))) => {
                whole &= frame.is_data();
                let more = frame.data_ref().map_or(0, Bytes::len);
                length = length.saturating_add(u64::try_from(more).unwrap_or(u64::MAX));
                frames.push_back(frame);
            }
            Poll::Ready(Some(Err(error))) => {
                return Err(Report::new(ErrorCode::Guest, format!("response body: {error}")));
            }
            Poll::Ready(None) => break,
            Poll::Pending => {
                // Its end is not here: the guest left it open.
                whole = false;
                break;
            }
        }
    }
    if length > limit {
        return Err(too_large("response body", length, limit));
    }
    if !whole {
        return Ok(Replay { frames, rest: body, left: limit - length }.boxed_unsync());
    }
    let mut parts = frames.into_iter().filter_map(|frame| frame.into_data().ok());
    let first = parts.next().unwrap_or_default();
    let Some(second) = parts.next() else { return Ok(full(first)) };
    let mut joined = BytesMut::with_capacity(usize::try_from(length).unwrap_or(0));
    [first, second].into_iter().chain(parts).for_each(|part| joined.extend_from_slice(&part));
    Ok(full(joined.freeze()))
}

/// Frames that were read ahead, then the rest.
struct Replay {
    frames: VecDeque<Frame<Bytes>>,
    rest: WasiBody,
    left: u64,
}

impl HttpBody for Replay {
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
    let length = u64::try_from(frame.data_ref().map_or(0, Bytes::len)).unwrap_or(u64::MAX);
    match left.checked_sub(length) {
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

/// A guest's body that holds something until it has been read or dropped.
pub(crate) struct Holding<T> {
    pub(crate) inner: WasiBody,
    pub(crate) left: u64,
    pub(crate) _held: T,
}

impl<T: Unpin> HttpBody for Holding<T> {
    type Data = Bytes;
    type Error = ProviderError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ProviderError>>> {
        let this = &mut *self;
        poll_bounded(&mut this.inner, &mut this.left, context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests;
