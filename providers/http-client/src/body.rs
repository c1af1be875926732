//! A response's body: it gives its connection back when it has been read to the end, and ends with
//! an error when the other side stops in the middle.

use crate::dial::Sender;
use crate::pool::{Key, Pool};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use providers_sdk::{ProviderError, ProviderErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// Between two pieces of a body that somebody waits for.
const STALL: Duration = Duration::from_secs(30);

/// A connection on loan.
pub(crate) struct Loan {
    pub(crate) pool: Arc<Pool>,
    pub(crate) key: Key,
    pub(crate) sender: Sender,
}

/// A response's body.
pub(crate) struct Download {
    body: Incoming,
    loan: Option<Loan>,
    alarm: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl Download {
    /// Of a response that came over this connection.
    pub(crate) fn new(body: Incoming, loan: Loan) -> Self {
        let mut download = Self { body, loan: Some(loan), alarm: None, waiting: false };
        if http_body::Body::is_end_stream(&download.body) {
            download.finish();
        }
        download
    }

    fn finish(&mut self) {
        if let Some(Loan { pool, key, sender }) = self.loan.take() {
            pool.give_back(key, sender);
        }
    }

    fn stalled(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.waiting {
            self.waiting = true;
            let at = Instant::now() + STALL;
            match &mut self.alarm {
                Some(alarm) => alarm.as_mut().reset(at),
                None => self.alarm = Some(Box::pin(tokio::time::sleep_until(at))),
            }
        }
        self.alarm.as_mut().is_some_and(|alarm| alarm.as_mut().poll(cx).is_ready())
    }
}

impl http_body::Body for Download {
    type Data = Bytes;
    type Error = ProviderError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ProviderError>>> {
        let download = self.get_mut();
        match Pin::new(&mut download.body).poll_frame(cx) {
            Poll::Pending if download.stalled(cx) => {
                download.loan = None;
                let message = format!("outgoing HTTP: response stopped for {} s", STALL.as_secs());
                Poll::Ready(Some(Err(ProviderError::new(ProviderErrorKind::Timeout, message))))
            }
            Poll::Pending => Poll::Pending,
            Poll::Ready(frame) => {
                download.waiting = false;
                Poll::Ready(match frame {
                    None => {
                        download.finish();
                        None
                    }
                    Some(Ok(frame)) => {
                        if http_body::Body::is_end_stream(&download.body) {
                            download.finish();
                        }
                        Some(Ok(frame))
                    }
                    Some(Err(error)) => {
                        download.loan = None;
                        let message = format!("outgoing HTTP: response broke off: {error}");
                        Some(Err(ProviderError::new(ProviderErrorKind::Failed, message)))
                    }
                })
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        http_body::Body::is_end_stream(&self.body)
    }

    fn size_hint(&self) -> SizeHint {
        http_body::Body::size_hint(&self.body)
    }
}
