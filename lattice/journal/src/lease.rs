//! Who may act for a host: one lease per host session, renewed by compare-and-set.
//!
//! The lease is not the fence; the epoch is (see [`crate::chain`]). It keeps owners from working in
//! vain, and effects from being started by two. Two rules make it safe without any agreement on
//! time, as long as clocks run at about the same rate:
//!
//! - the holder counts from when it *sent* the renewal that succeeded, and stops itself
//!   [`LeasePolicy::margin_ms`] before the end;
//! - a watcher counts from when it *saw* the last renewal, which is later, waits the whole time, and then asks the
//!   leader whether that still is the last one: what it was told may be behind, or may never have come.
//!
//! ```text
//!             written                    renewed in time
//!  Unheld ─────────────▶ Held ──────────────────────────────▶ Held
//!                          │ margin reached, or somebody else's value
//!                          ▼
//!                        Ended (for ever: a new session begins anew)
//! ```

/// Times, milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeasePolicy {
    /// How long one renewal holds.
    pub ttl_ms: u64,
    /// How long after one renewal the next is sent.
    pub renew_ms: u64,
    /// How long before the end the holder stops: for clocks of different rate and for work that is
    /// being stopped.
    pub margin_ms: u64,
}

impl LeasePolicy {
    /// Fails over within seconds on a local network.
    pub const FAST: Self = Self { ttl_ms: 1_500, renew_ms: 400, margin_ms: 300 };
    /// Survives bad links: 30 s.
    pub const EDGE: Self = Self { ttl_ms: 30_000, renew_ms: 8_000, margin_ms: 3_000 };
}

/// What the shell is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseAction {
    /// Write the lease by compare-and-set; answer with [`Session::written`], [`Session::lost`] or
    /// [`Session::unknown`].
    Write {
        /// Stands in the value, so that it can be recognised when it is read back.
        attempt: u64,
    },
    /// Read the lease through the leader; answer with [`Session::read`].
    Read,
    /// It holds until then (monotonic): shards may work.
    Holds {
        /// Milliseconds.
        until_ms: u64,
    },
    /// It has ended: stop every shard now, start no effect.
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Unheld,
    Held { until_ms: u64 },
    Ended,
}

/// The holder's side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    policy: LeasePolicy,
    state: State,
    attempt: u64,
    /// The write under way: when it was sent, and whether its outcome is being read back.
    under_way: Option<(u64, bool)>,
    next_ms: u64,
}

impl Session {
    /// A new session; [`Session::tick`] begins it.
    #[must_use]
    pub fn new(policy: LeasePolicy) -> Self {
        Self { policy, state: State::Unheld, attempt: 0, under_way: None, next_ms: 0 }
    }

    /// May this host act at this moment? Ask before every effect, after every pause.
    #[must_use]
    pub fn holds(&self, now_ms: u64) -> bool {
        matches!(self.state, State::Held { until_ms } if now_ms < until_ms)
    }

    /// When [`Session::tick`] is due next.
    #[must_use]
    pub fn wake_ms(&self) -> Option<u64> {
        let next = self.under_way.is_none().then_some(self.next_ms);
        match self.state {
            State::Ended => None,
            State::Held { until_ms } => Some(next.map_or(until_ms, |next| next.min(until_ms))),
            State::Unheld => next,
        }
    }

    /// What the lease says is not what it shall say: the next tick renews it.
    pub fn renew(&mut self) {
        self.next_ms = 0;
    }

    /// Time has passed.
    pub fn tick(&mut self, now_ms: u64) -> Vec<LeaseAction> {
        if let Some(ended) = self.check_end(now_ms) {
            return vec![ended];
        }
        if self.state == State::Ended || self.under_way.is_some() || now_ms < self.next_ms {
            return Vec::new();
        }
        self.attempt += 1;
        self.under_way = Some((now_ms, false));
        vec![LeaseAction::Write { attempt: self.attempt }]
    }

    /// A write succeeded.
    pub fn written(&mut self, attempt: u64, now_ms: u64) -> Vec<LeaseAction> {
        let Some((sent_ms, _)) = self.under_way.filter(|_| attempt == self.attempt) else {
            return Vec::new();
        };
        self.under_way = None;
        self.next_ms = sent_ms.saturating_add(self.policy.renew_ms);
        if let Some(ended) = self.check_end(now_ms) {
            return vec![ended];
        }
        let until_ms = sent_ms.saturating_add(self.policy.ttl_ms).saturating_sub(self.policy.margin_ms);
        if self.state == State::Ended {
            return Vec::new();
        }
        self.state = State::Held { until_ms };
        // The first answer may come so late that the lease is over already.
        self.check_end(now_ms).map_or_else(|| vec![LeaseAction::Holds { until_ms }], |ended| vec![ended])
    }

    /// A write was refused: the value is somebody else's.
    pub fn lost(&mut self) -> Vec<LeaseAction> {
        self.under_way = None;
        self.end().into_iter().collect()
    }

    /// Nobody knows whether a write succeeded.
    pub fn unknown(&mut self, attempt: u64, now_ms: u64) -> Vec<LeaseAction> {
        match &mut self.under_way {
            Some((_, reading)) if attempt == self.attempt => {
                *reading = true;
                self.check_end(now_ms).map_or_else(|| vec![LeaseAction::Read], |ended| vec![ended])
            }
            _ => Vec::new(),
        }
    }

    /// What the lease says: the attempt, if the value is this session's; none, if it is another's.
    pub fn read(&mut self, attempt: Option<u64>, now_ms: u64) -> Vec<LeaseAction> {
        match (attempt, self.under_way) {
            (None, _) => self.lost(),
            (Some(attempt), Some((_, true))) if attempt == self.attempt => self.written(attempt, now_ms),
            (Some(_), Some((_, true))) => {
                // The write did not happen: at once again.
                self.under_way = None;
                self.next_ms = now_ms;
                self.tick(now_ms)
            }
            _ => Vec::new(),
        }
    }

    fn check_end(&mut self, now_ms: u64) -> Option<LeaseAction> {
        match self.state {
            State::Held { until_ms } if now_ms >= until_ms => self.end(),
            _ => None,
        }
    }

    fn end(&mut self) -> Option<LeaseAction> {
        let before = std::mem::replace(&mut self.state, State::Ended);
        (before != State::Ended).then_some(LeaseAction::Ended)
    }
}

/// A watcher's side: when a lease was last seen to be renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sighting {
    revision: u64,
    at_ms: u64,
}

impl Sighting {
    /// Seen for the first time, at this revision of its value.
    #[must_use]
    pub fn new(revision: u64, now_ms: u64) -> Self {
        Self { revision, at_ms: now_ms }
    }

    /// Seen again; is it a sign of life? An older revision, or the same one told again after a
    /// reconnection, is none.
    pub fn saw(&mut self, revision: u64, now_ms: u64) -> bool {
        let newer = revision > self.revision;
        if newer {
            *self = Self::new(revision, now_ms);
        }
        newer
    }

    /// When the lease has ended for this watcher, unless it is seen again before, milliseconds.
    #[must_use]
    pub fn ends_ms(&self, policy: &LeasePolicy) -> u64 {
        self.at_ms.saturating_add(policy.ttl_ms)
    }

    /// May its holder still act? Until it may not, nobody takes over from it. The time, milliseconds, is that at which
    /// the leader was asked whether this still is the last revision: while it answered another one may have come.
    #[must_use]
    pub fn lives(&self, policy: &LeasePolicy, now_ms: u64) -> bool {
        now_ms < self.ends_ms(policy)
    }

    /// How long ago that was, milliseconds.
    #[must_use]
    pub fn age_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.at_ms)
    }
}

#[cfg(test)]
mod tests;
