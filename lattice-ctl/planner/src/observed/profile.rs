//! When silence and errors count.

/// When silence counts. Milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    /// Time between heartbeats.
    pub interval_ms: u64,
    /// How long a new controller listens before it decides. A host that lives has spoken by then.
    pub listen_ms: u64,
    /// Silence after which a host is suspect: it keeps what it has and gets nothing new.
    pub suspect_after_ms: u64,
    /// Silence after which a host is lost: what it has moves.
    pub lost_after_ms: u64,
    /// Errors of a host within a minute that make it unfit for anything new.
    pub max_errors: u64,
    /// Silence of a whole site after which its hosts count as lost rather than cut off.
    pub cut_off_ms: u64,
    /// Time that a host which has come back is the last choice for anything new; four times as long after each
    /// further return within `flap_window_ms`.
    pub hold_ms: u64,
    /// How long a return is remembered, and the longest hold.
    pub flap_window_ms: u64,
    /// A late host is asked for at the server: one whose connection has ended is lost as soon as it is
    /// suspect. Where links drop and come back, that would be a move for nothing.
    pub ask_for_late: bool,
}

/// Longest time between heartbeats that a host is believed, milliseconds.
const SLOWEST_MS: u64 = 30_000;

impl Profile {
    /// The same for a host that speaks so often: it is not late before one and a half of its own intervals, nor lost
    /// before three. Else one that was started with the default would be suspect between any two of its words.
    #[must_use]
    pub fn of(&self, interval_ms: u64) -> Self {
        let interval_ms = interval_ms.min(SLOWEST_MS);
        Self {
            suspect_after_ms: self.suspect_after_ms.max(interval_ms.saturating_mul(3) / 2),
            lost_after_ms: self.lost_after_ms.max(interval_ms.saturating_mul(3)),
            ..*self
        }
    }

    /// Gateways behind uplinks that drop: seed 004's 30 seconds.
    pub const EDGE: Self = Self {
        interval_ms: 5_000,
        listen_ms: 7_500,
        suspect_after_ms: 15_000,
        lost_after_ms: 30_000,
        max_errors: 5,
        cut_off_ms: 300_000,
        hold_ms: 5_000,
        flap_window_ms: 600_000,
        ask_for_late: false,
    };
    /// Sites joined by a wide-area network.
    pub const WAN: Self = Self {
        interval_ms: 1_000,
        listen_ms: 2_500,
        suspect_after_ms: 2_500,
        lost_after_ms: 5_000,
        max_errors: 5,
        cut_off_ms: 60_000,
        hold_ms: 1_000,
        flap_window_ms: 300_000,
        ask_for_late: false,
    };
    /// One process with its one host: nobody else is waited for.
    pub const ALONE: Self = Self { listen_ms: 0, ..Self::EDGE };
    /// One local network.
    pub const FAST: Self = Self {
        interval_ms: 250,
        listen_ms: 750,
        suspect_after_ms: 750,
        lost_after_ms: 1_500,
        max_errors: 5,
        cut_off_ms: 15_000,
        hold_ms: 250,
        flap_window_ms: 120_000,
        ask_for_late: true,
    };
}

impl Default for Profile {
    fn default() -> Self {
        Self::EDGE
    }
}
