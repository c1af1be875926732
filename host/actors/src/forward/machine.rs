//! What is done next, and what an answer means. Pure.
//!
//! ```text
//!            ┌──────────── conflict, no answer, an error (pause), the connection lost ───────────┐
//!            ▼                                                                                   │
//!  Unknown ─ ask ─▶ Seen ─ compare with this journal ─▶ Ready ─ send what follows ─▶ Ready ······┘
//!                      │ another journal begun here         ▲
//!                      ├───────────────── from its start ───┘
//!                      └ does not fit ─▶ Diverged (asks again after a while)
//! ```
//! The stream stores a frame only right behind the one that was its lane's last when this machine asked; so
//! what is sent twice, or by two, is stored once. Every answer but "stored" makes it ask again.

use super::ForwardPolicy;
use super::divergence::Divergence;
use super::frame::{Gap, Incarnation, Why};
use host_core::jitter;
use lattice_journal::{Hash, Position, RecordSeq};

/// Fewest bytes of one frame, on an uplink that takes none in time.
const LEAST_BYTES: usize = 4 << 10;
/// Pause before two histories are looked at again, milliseconds.
const DIVERGED_MS: u64 = 60_000;

/// This host's journal, now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Local {
    pub(super) incarnation: Incarnation,
    /// The first record that is kept.
    pub(super) first: RecordSeq,
    /// The last one.
    pub(super) last: RecordSeq,
    /// Bytes that wait, about.
    pub(super) waiting: u64,
}

/// The last record that has arrived, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) at: Position,
    pub(super) incarnation: Incarnation,
    pub(super) record: RecordSeq,
    pub(super) hash: Hash,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Ask for the lane's last message: [`Machine::seen`].
    Ask,
    /// Read the hash of this record of this journal, or, of the record behind it, what it follows:
    /// [`Machine::compared`].
    Compare { record: RecordSeq, through_next: bool },
    /// Send what begins with this record, as much as fits: [`Machine::sent`].
    Send(Send),
    /// Nothing waits.
    Idle,
    /// Nothing is done before this time (monotonic).
    Wait { until_ms: u64 },
}

/// A frame to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Send {
    /// The place of the lane's last message.
    pub(super) expected: Position,
    /// What is missing before it.
    pub(super) gap: Option<Gap>,
    /// The first record.
    pub(super) from: RecordSeq,
    /// Bytes of records, about.
    pub(super) bytes: usize,
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// It is stored, there; this was its last record.
    Stored { through: RecordSeq, at: Position },
    /// The lane's last message is another.
    Conflict,
    /// No answer, or one that says nothing.
    Unknown,
    /// It is certainly not stored.
    Failed,
    /// The records were let go before they were read.
    Gone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Unknown,
    Seen(Seen),
    Ready { at: Position, through: RecordSeq },
    Diverged(Divergence),
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    state: State,
    /// Nothing is asked or sent before this time (monotonic).
    not_before_ms: u64,
    /// Little is not sent before this time.
    linger_ms: u64,
    /// Bytes of one frame.
    bytes: usize,
    /// Attempts without success since the last one with.
    failures: u32,
    policy: ForwardPolicy,
    /// What had arrived was of another journal: this one was begun anew.
    anew: Option<Incarnation>,
}

impl Machine {
    /// Knows nothing yet.
    pub(super) fn new(policy: ForwardPolicy) -> Self {
        Self {
            state: State::Unknown,
            not_before_ms: 0,
            linger_ms: 0,
            bytes: policy.frame_bytes,
            failures: 0,
            policy,
            anew: None,
        }
    }

    /// The connection was lost, and is there again.
    pub(super) fn reconnected(&mut self, now_ms: u64, seed: u64) {
        self.state = State::Unknown;
        // Many hosts come back together: not all of them at once.
        self.not_before_ms = now_ms + seed % self.policy.pauses_ms.0.max(1);
    }

    /// What has arrived, if that is known.
    pub(super) fn through(&self) -> Option<RecordSeq> {
        match self.state {
            State::Ready { through, .. } => Some(through),
            _ => None,
        }
    }

    /// Do the two not fit together?
    pub(super) fn diverged(&self) -> Option<Divergence> {
        match self.state {
            State::Diverged(divergence) => Some(divergence),
            _ => None,
        }
    }

    /// The journal whose records had arrived before this one was begun; told once.
    pub(super) fn take_anew(&mut self) -> Option<Incarnation> {
        self.anew.take()
    }

    pub(super) fn next(&mut self, now_ms: u64, local: Local) -> Next {
        if now_ms < self.not_before_ms {
            return Next::Wait { until_ms: self.not_before_ms };
        }
        if let State::Diverged(_) = self.state {
            self.state = State::Unknown;
        }
        if let State::Seen(seen) = self.state {
            match compare(seen, local) {
                Ok(step) => return step,
                Err(state) => self.settle(state, seen, local, now_ms),
            }
        }
        match self.state {
            State::Unknown | State::Seen(_) => Next::Ask,
            State::Diverged(_) => Next::Wait { until_ms: self.not_before_ms },
            State::Ready { at, through } => self.send(now_ms, local, (at, through)),
        }
    }

    fn send(&self, now_ms: u64, local: Local, (at, through): (Position, RecordSeq)) -> Next {
        if local.last <= through {
            return Next::Idle;
        }
        if local.waiting < self.policy.linger_bytes && now_ms < self.linger_ms {
            return Next::Wait { until_ms: self.linger_ms };
        }
        let from = through.next().max(local.first);
        let why = if through == RecordSeq(0) { Why::Before } else { Why::Dropped };
        let gap =
            (from > through.next()).then(|| Gap { first: through.next(), last: RecordSeq(from.0 - 1), why });
        Next::Send(Send { expected: at, gap, from, bytes: self.bytes })
    }

    /// The lane's last message; an error, and it is asked for again later.
    pub(super) fn seen(&mut self, seen: Result<Option<Seen>, ()>, now_ms: u64, seed: u64) {
        match seen {
            Ok(Some(seen)) => self.state = State::Seen(seen),
            Ok(None) => self.state = State::Ready { at: Position(0), through: RecordSeq(0) },
            Err(()) => self.pause(now_ms, seed),
        }
    }

    /// The hash that was asked for; none: the record is not there (any more).
    pub(super) fn compared(&mut self, hash: Option<Hash>, local: Local, now_ms: u64) {
        let State::Seen(seen) = self.state else { return };
        match hash {
            Some(hash) if hash == seen.hash => {
                self.state = State::Ready { at: seen.at, through: seen.record };
            }
            Some(_) if seen.incarnation == local.incarnation => {
                self.settle(State::Diverged(Divergence::Fork { record: seen.record }), seen, local, now_ms);
            }
            Some(_) => self.settle(State::Ready { at: seen.at, through: RecordSeq(0) }, seen, local, now_ms),
            // It was trimmed meanwhile: the next look sees that.
            None => {}
        }
    }

    fn settle(&mut self, state: State, seen: Seen, local: Local, now_ms: u64) {
        if let State::Diverged(_) = state {
            self.not_before_ms = now_ms + DIVERGED_MS;
        }
        if seen.incarnation != local.incarnation
            && matches!(state, State::Ready { through: RecordSeq(0), .. })
        {
            self.anew = Some(seen.incarnation);
        }
        self.state = state;
    }

    /// What became of the frame.
    pub(super) fn sent(&mut self, sent: Sent, now_ms: u64, seed: u64) {
        match sent {
            Sent::Stored { through, at } => {
                self.state = State::Ready { at, through };
                self.bytes = self.bytes.saturating_mul(2).min(self.policy.frame_bytes);
                self.linger_ms = now_ms + self.policy.linger_ms;
                self.failures = 0;
            }
            Sent::Gone => {}
            Sent::Conflict | Sent::Failed => self.pause(now_ms, seed),
            Sent::Unknown => {
                // It may have been too much for the uplink.
                self.bytes = (self.bytes / 2).max(LEAST_BYTES);
                self.pause(now_ms, seed);
            }
        }
    }

    fn pause(&mut self, now_ms: u64, seed: u64) {
        self.state = State::Unknown;
        self.failures = self.failures.saturating_add(1);
        let (base_ms, most_ms) = self.policy.pauses_ms;
        let longest = jitter::doubled(base_ms, self.failures, most_ms);
        self.not_before_ms = now_ms.saturating_add(jitter::spread(longest, seed));
    }
}

/// What has to be read of this journal to know whether it goes on from there; or what is known without.
fn compare(seen: Seen, local: Local) -> Result<Next, State> {
    let record = seen.record;
    if record > local.last {
        return Err(if seen.incarnation == local.incarnation {
            State::Diverged(Divergence::Ahead { arrived: record, last: local.last })
        } else {
            // Begun anew; what had arrived of the other one stays.
            State::Ready { at: seen.at, through: RecordSeq(0) }
        });
    }
    if record >= local.first {
        return Ok(Next::Compare { record, through_next: false });
    }
    if record.next() == local.first {
        return Ok(Next::Compare { record, through_next: true });
    }
    // What is between was let go: nothing on this host says what came before that.
    let through = if seen.incarnation == local.incarnation { record } else { RecordSeq(0) };
    Err(State::Ready { at: seen.at, through })
}

#[cfg(test)]
mod tests;
