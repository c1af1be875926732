//! When an answer is written: after whatever else is ready on its thread.
//!
//! A server that is slower than its clients finds them asleep: the write of each answer then wakes one, and the
//! processor goes back and forth between the two. So an HTTP/1 answer that is ready lets the scheduler go round
//! first, which polls every other connection that has something, and looks at the sockets; then all their answers
//! are written in a row, and a client that was woken by the first finds the others when it reads. On two cores that
//! wrk shares with the host: a quarter of the processor time of a request, and of its latency.
//!
//! Who is alone is not kept waiting: with one connection there is nobody to wait for. With more of them, of which
//! the others are silent, a round is one look at the sockets. It is never longer than what the scheduler polls
//! between two looks (61 tasks; guests make way after 10 ms each, and with calls that take long `host_runtime`'s
//! overload line has them go round sooner).

use crate::shared::Shared;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// The turn of one connection's writes.
pub(crate) struct Turn {
    shared: Arc<Shared>,
    passed: bool,
}

impl Turn {
    /// Of a connection of this listener.
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, passed: false }
    }

    /// Ready once everybody else had a turn since the last [`Self::taken`].
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.passed || !self.shared.has_company() {
            return Poll::Ready(());
        }
        self.passed = true;
        // Its first poll hands the waker to the scheduler, which wakes it when it has been round.
        let round = pin!(tokio::task::yield_now());
        round.poll(cx)
    }

    /// Something was written: the next write waits anew.
    pub(crate) fn taken(&mut self) {
        self.passed = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use std::cell::RefCell;
    use std::future::poll_fn;
    use std::net::{IpAddr, Ipv4Addr};

    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[tokio::test]
    async fn who_is_alone_writes_at_once() {
        let shared = Arc::new(Shared::new(Limits::default()));
        let _seat = shared.seat(PEER);
        let mut turn = Turn::new(shared);
        assert!(turn.poll(&mut Context::from_waker(std::task::Waker::noop())).is_ready());
    }

    #[tokio::test]
    async fn answers_of_who_is_not_alone_are_written_in_a_row_each_time() {
        let shared = Arc::new(Shared::new(Limits::default()));
        let _seats = (shared.seat(PEER), shared.seat(PEER));
        let done = RefCell::new(Vec::new());
        let answer = || {
            let (mut turn, done) = (Turn::new(Arc::clone(&shared)), &done);
            async move {
                done.borrow_mut().push("computed");
                poll_fn(|cx| turn.poll(cx)).await;
                assert!(poll_fn(|cx| Poll::Ready(turn.poll(cx))).await.is_ready(), "nothing written yet");
                done.borrow_mut().push("written");
                turn.taken();
                turn
            }
        };
        let (mut turn, ..) = tokio::join!(answer(), answer(), answer());
        assert_eq!(done.into_inner(), [["computed"; 3], ["written"; 3]].concat());
        assert!(poll_fn(|cx| Poll::Ready(turn.poll(cx))).await.is_pending(), "the next write waits anew");
    }
}
