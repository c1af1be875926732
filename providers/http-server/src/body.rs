//! Bodies of both directions: the request's with its limit and its pace, the answer's with what
//! it holds until it is sent.

use crate::activity::{Activity, Answering, Busy};
use crate::limits::Limits;
use crate::refusal::Refusal;
use crate::routes::Entered;
use crate::shared::Slot;
use bytes::{Buf, Bytes};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use providers_sdk::http::Body;
use providers_sdk::{ProviderError, ProviderErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// What came of a request's body, told to whoever writes the answer: an actor that swallows the
/// error must not turn half a body into a success.
#[derive(Debug, Clone, Default)]
pub(crate) struct Verdict(Arc<AtomicU8>);

const TOO_LARGE: u8 = 1;
const TOO_SLOW: u8 = 2;
const BROKEN: u8 = 3;
/// No verdict: the peer has not sent what was asked for, so far.
const WAITING: u8 = 4;

impl Verdict {
    fn give(&self, verdict: u8) -> ProviderError {
        self.0.store(verdict, Ordering::Relaxed);
        let kind = match verdict {
            TOO_LARGE => ProviderErrorKind::Limit,
            TOO_SLOW => ProviderErrorKind::Timeout,
            _ => ProviderErrorKind::Invalid,
        };
        let text = self.refusal().map_or("", |refusal| refusal.text);
        let message = text.split_once(": ").map_or(text, |(_, message)| message);
        ProviderError::new(kind, message.trim_end())
    }

    /// Is it the peer that keeps us waiting? Then a timeout is the peer's.
    pub(crate) fn is_waiting(&self) -> bool {
        self.0.load(Ordering::Relaxed) == WAITING
    }

    /// The answer to give instead of the actor's.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        match self.0.load(Ordering::Relaxed) {
            TOO_LARGE => Some(Refusal::BODY_TOO_LARGE),
            TOO_SLOW => Some(Refusal::BODY_TOO_SLOW),
            BROKEN => Some(Refusal::BODY),
            _ => None,
        }
    }
}

/// Time that the peer may keep us waiting: a grace, regained by every byte at the least rate. Time
/// in which nobody reads is not the peer's fault and not counted.
struct Pace {
    budget: Duration,
    grace: Duration,
    bytes_per_s: u64,
    waiting_since: Option<Instant>,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    /// Still nothing: has the budget run out? Registers the task to be woken when it does.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.waiting_since.is_none() {
            let now = Instant::now();
            self.waiting_since = Some(now);
            let at = now + self.budget;
            match &mut self.alarm {
                Some(alarm) => alarm.as_mut().reset(at),
                None => self.alarm = Some(Box::pin(tokio::time::sleep_until(at))),
            }
        }
        self.alarm.as_mut().map_or(Poll::Pending, |alarm| alarm.as_mut().poll(cx))
    }

    /// Bytes have come.
    fn received(&mut self, bytes: u64, now: Instant) {
        if let Some(since) = self.waiting_since.take() {
            self.budget = self.budget.saturating_sub(now.saturating_duration_since(since));
        }
        let earned = Duration::from_micros(bytes.saturating_mul(1_000_000) / self.bytes_per_s.max(1));
        self.budget = (self.budget + earned).min(self.grace);
    }
}

/// A request's body.
pub(crate) struct Upload {
    body: Incoming,
    left: u64,
    pace: Pace,
    verdict: Verdict,
}

impl Upload {
    /// Up to `max_bytes`, at the pace that the limits ask for.
    pub(crate) fn new(body: Incoming, max_bytes: u64, limits: &Limits, verdict: Verdict) -> Self {
        let pace = Pace {
            budget: limits.body_grace,
            grace: limits.body_grace,
            bytes_per_s: limits.body_bytes_per_s,
            waiting_since: None,
            alarm: None,
        };
        Self { body, left: max_bytes, pace, verdict }
    }
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = ProviderError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ProviderError>>> {
        let upload = self.get_mut();
        let frame = match Pin::new(&mut upload.body).poll_frame(cx) {
            Poll::Ready(frame) => {
                upload.verdict.0.store(0, Ordering::Relaxed);
                frame
            }
            Poll::Pending => {
                upload.verdict.0.store(WAITING, Ordering::Relaxed);
                ready!(upload.pace.wait(cx));
                return Poll::Ready(Some(Err(upload.verdict.give(TOO_SLOW))));
            }
        };
        Poll::Ready(match frame {
            None => None,
            Some(Err(error)) => {
                tracing::debug!(%error, "request body broke off");
                Some(Err(upload.verdict.give(BROKEN)))
            }
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, |data| data.remaining() as u64);
                upload.pace.received(bytes, Instant::now());
                match upload.left.checked_sub(bytes) {
                    Some(left) => {
                        upload.left = left;
                        Some(Ok(frame))
                    }
                    None => Some(Err(upload.verdict.give(TOO_LARGE))),
                }
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What a request holds until its answer is sent.
pub(crate) struct Held {
    /// Its place among the requests of its route.
    pub(crate) entered: Entered,
    /// Its place among the requests of the listener.
    pub(crate) _slot: Slot,
}

/// An answer's body.
pub(crate) struct Answer {
    body: Body,
    activity: Arc<Activity>,
    _answering: Answering,
    waiting: Option<Busy>,
    _held: Option<Held>,
}

impl Answer {
    /// Of this body; what is held goes when the last of it is taken.
    pub(crate) fn new(body: Body, activity: &Arc<Activity>, held: Option<Held>) -> Self {
        Self {
            body,
            activity: Arc::clone(activity),
            _answering: activity.answering(),
            waiting: None,
            _held: held,
        }
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = ProviderError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ProviderError>>> {
        let answer = self.get_mut();
        match Pin::new(&mut answer.body).poll_frame(cx) {
            Poll::Ready(frame) => {
                answer.waiting = None;
                answer.activity.advance();
                Poll::Ready(frame)
            }
            Poll::Pending => {
                if answer.waiting.is_none() {
                    answer.waiting = Some(answer.activity.busy());
                }
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_waiting_counts_and_bytes_earn_it_back_up_to_the_grace() {
        let (grace, second) = (Duration::from_secs(10), Duration::from_secs(1));
        let mut pace = Pace { budget: grace, grace, bytes_per_s: 1_000, waiting_since: None, alarm: None };
        let mut cx = Context::from_waker(std::task::Waker::noop());
        pace.received(0, Instant::now() + 60 * second);
        assert_eq!(pace.budget, grace, "nobody was reading");
        assert!(pace.wait(&mut cx).is_pending());
        let since = pace.waiting_since.unwrap();
        pace.received(2_000, since + 9 * second);
        assert_eq!(pace.budget, 3 * second);
        assert!(pace.wait(&mut cx).is_pending());
        let since = pace.waiting_since.unwrap();
        pace.received(0, since + 4 * second);
        assert_eq!(pace.budget, Duration::ZERO);
        std::future::poll_fn(|cx| pace.wait(cx)).await;
        pace.received(1_000_000, Instant::now());
        assert_eq!(pace.budget, grace);
    }
}
