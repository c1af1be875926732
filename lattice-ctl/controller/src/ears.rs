//! Time as a controller may count it. A host's silence says something only while the controller itself
//! can hear; so the clock that hosts are judged by stands still while it cannot: while the server
//! does not answer, and for a moment after a connection was lost, in which hosts connect anew as well.
//!
//! ```text
//!              no echo, or not connected
//!  hearing ────────────────────────────────▶ deaf
//!     ▲                                        │ an echo
//!     ├──────────── the connection held ───────┤
//!     └── after a moment ── waiting ◀── it had been lost
//! ```
//! Without this a server that restarts, or a cut between it and the controller, looks like the end of
//! every host at once.
//!
//! Task: *echo*, which asks the server for a sign of life a few times a second.

use lattice_io::{Bus, BusStatus, Clock, TaskScope};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Time between two echoes.
const ECHO_EVERY: Duration = Duration::from_millis(200);
/// An echo that is older than this is no sign of hearing. Machines that are busy are slow, not deaf.
const ECHO_LATE_MS: u64 = 1_000;
/// Longest time that hosts need to connect to a server that is there again.
const RECONNECT_MS: u64 = 5_000;

/// The hearing of one controller.
pub(crate) struct Ears {
    clock: Arc<dyn Clock>,
    status: watch::Receiver<BusStatus>,
    echoed: watch::Receiver<u64>,
    hearing: Hearing,
}

impl Ears {
    /// Begins to listen. After a lost connection hosts are given `patience_ms`, though no longer than
    /// they need.
    pub(crate) fn open(
        bus: Arc<dyn Bus>,
        clock: Arc<dyn Clock>,
        patience_ms: u64,
        scope: &TaskScope,
    ) -> Self {
        let now_ms = clock.monotonic_ms();
        let (sender, echoed) = watch::channel(now_ms);
        let status = bus.status();
        let of_echo = Arc::clone(&clock);
        scope.spawn_until_cancelled("echo", async move {
            loop {
                // An error, or none for long, is the silence that is looked for.
                if bus.flush().await.is_ok() {
                    sender.send_replace(of_echo.monotonic_ms());
                }
                tokio::time::sleep(ECHO_EVERY).await;
            }
        });
        let hearing = Hearing::new(now_ms, patience_ms.min(RECONNECT_MS));
        Self { clock, status, echoed, hearing }
    }

    /// Now, on the clock by which hosts are judged.
    pub(crate) fn now_ms(&mut self) -> u64 {
        // A connection that was lost and is there again between two looks was lost all the same.
        let was_lost = self.status.has_changed().unwrap_or(true);
        let is_connected = *self.status.borrow_and_update() == BusStatus::Connected;
        let line = match (is_connected, was_lost) {
            (true, false) => Line::Held,
            (true, true) => Line::New,
            (false, _) => Line::Lost,
        };
        self.hearing.now_ms(self.clock.monotonic_ms(), line, *self.echoed.borrow())
    }

    /// Can anything be heard now?
    pub(crate) fn hear(&self) -> bool {
        self.hearing.state == State::Hearing
    }
}

/// How the connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// As before.
    Held,
    /// There, and not the one from before.
    New,
    /// Not there.
    Lost,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Hearing,
    /// Since there was no echo; was the connection lost as well?
    Deaf {
        lost: bool,
    },
    /// Until then hosts connect anew.
    Waiting {
        until_ms: u64,
    },
}

/// The same, without a clock of its own.
#[derive(Debug)]
struct Hearing {
    state: State,
    patience_ms: u64,
    /// The time that counts, and when it was told.
    counted_ms: u64,
    told_ms: u64,
}

impl Hearing {
    fn new(now_ms: u64, patience_ms: u64) -> Self {
        Self { state: State::Hearing, patience_ms, counted_ms: now_ms, told_ms: now_ms }
    }

    fn now_ms(&mut self, now_ms: u64, line: Line, echoed_ms: u64) -> u64 {
        let heard = self.state == State::Hearing;
        let echoes = now_ms.saturating_sub(echoed_ms) <= ECHO_LATE_MS;
        let lost = line != Line::Held;
        self.state = match self.state {
            State::Deaf { lost: before } if line == Line::Lost || !echoes => {
                State::Deaf { lost: before || lost }
            }
            State::Hearing | State::Waiting { .. } if line == Line::Lost || !echoes => State::Deaf { lost },
            State::Deaf { lost: before } if before || lost => self.waiting(now_ms),
            State::Hearing | State::Waiting { .. } if lost => self.waiting(now_ms),
            State::Waiting { until_ms } if now_ms < until_ms => State::Waiting { until_ms },
            State::Waiting { .. } | State::Deaf { .. } | State::Hearing => State::Hearing,
        };
        if heard && self.state == State::Hearing {
            self.counted_ms = self.counted_ms.saturating_add(now_ms.saturating_sub(self.told_ms));
        }
        self.told_ms = now_ms;
        self.counted_ms
    }

    fn waiting(&self, now_ms: u64) -> State {
        State::Waiting { until_ms: now_ms.saturating_add(self.patience_ms) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_stands_still_while_nothing_can_be_heard() {
        let mut hearing = Hearing::new(100, 1_500);
        assert_eq!(hearing.now_ms(200, Line::Held, 200), 200);
        // The server is gone, and comes back after three seconds.
        assert_eq!(hearing.now_ms(300, Line::Lost, 200), 200);
        assert_eq!(hearing.now_ms(3_300, Line::Lost, 200), 200);
        assert_eq!(hearing.now_ms(3_400, Line::New, 3_400), 200, "hosts have not connected yet");
        assert_eq!(hearing.now_ms(4_800, Line::Held, 4_800), 200);
        assert_eq!(hearing.now_ms(4_900, Line::Held, 4_900), 200);
        assert_eq!(hearing.now_ms(5_000, Line::Held, 5_000), 300, "from here on silence counts again");
        // It was lost and is there again between two looks.
        assert_eq!(hearing.now_ms(5_100, Line::New, 5_100), 300);
        assert_eq!(hearing.now_ms(6_600, Line::Held, 6_600), 300);
        assert_eq!(hearing.now_ms(6_700, Line::Held, 6_700), 400);
    }

    #[test]
    fn a_cut_that_the_connection_survives_costs_no_more_than_it_lasts() {
        let mut hearing = Hearing::new(0, 1_500);
        assert_eq!(hearing.now_ms(1_000, Line::Held, 0), 1_000, "slow is not deaf");
        assert_eq!(hearing.now_ms(1_100, Line::Held, 0), 1_000);
        assert_eq!(hearing.now_ms(4_000, Line::Held, 0), 1_000);
        assert_eq!(hearing.now_ms(4_100, Line::Held, 4_100), 1_000);
        assert_eq!(hearing.now_ms(4_200, Line::Held, 4_100), 1_100);
    }
}
