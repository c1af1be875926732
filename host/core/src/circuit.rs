//! A breaker in front of one target: after several failures in a row calls are refused at once,
//! and one probe at a time finds out whether the target is back. A target may have several members, of which
//! one has vanished and still gets its share of calls: so it stays shut only when several probes fail.
//!
//! ```text
//!            failures in a row                     pause over: one probe
//!  Closed ───────────────────────▶ Open ─────────────────────────────────▶ HalfOpen
//!    ▲                              ▲                                        │  │
//!    │                              └───────────── probes failed (longer) ───┘  │
//!    └───────────────────────────────────────────── the probe succeeded ────────┘
//! ```
//! Invariants: a result counts only for the state in which its call was admitted, so late answers
//! of calls from before neither close nor open anything; a probe whose result never comes (a
//! cancelled call) is given up after [`CircuitPolicy::probe_ms`].

use crate::jitter;

/// When a breaker opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CircuitPolicy {
    /// Failures in a row that open it.
    pub failures: u32,
    /// Failed probes in a row that keep it open.
    pub probes: u32,
    /// First time it stays open, milliseconds; doubles each time its probes have failed.
    pub open_ms: u64,
    /// Longest time it stays open, milliseconds.
    pub max_open_ms: u64,
    /// Time after which a probe without a result makes room for another, milliseconds.
    pub probe_ms: u64,
}

impl Default for CircuitPolicy {
    fn default() -> Self {
        Self { failures: 5, probes: 3, open_ms: 1_000, max_open_ms: 10_000, probe_ms: 10_000 }
    }
}

/// Proof that a call was admitted; it goes back with the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    round: u64,
}

/// May a call go to the target?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It may.
    Admitted(Ticket),
    /// Not now: `E_CIRCUIT_OPEN`.
    Refused {
        /// Earliest time at which it is worth trying, milliseconds from now.
        retry_after_ms: u64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed {
        failures: u32,
    },
    /// So many probes have failed since the pause was over.
    Open {
        until_ms: u64,
        failed: u32,
    },
    HalfOpen {
        until_ms: u64,
        failed: u32,
    },
}

/// One breaker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circuit {
    policy: CircuitPolicy,
    state: State,
    /// Times it was opened since it was last closed.
    opened: u32,
    /// Counts changes of state: tickets of earlier rounds are void.
    round: u64,
}

impl Circuit {
    /// A closed breaker.
    #[must_use]
    pub fn new(policy: CircuitPolicy) -> Self {
        Self { policy, state: State::Closed { failures: 0 }, opened: 0, round: 0 }
    }

    /// Are calls refused or probed rather than simply let through?
    #[must_use]
    pub fn is_open(&self) -> bool {
        !matches!(self.state, State::Closed { .. })
    }

    /// May a call go to the target now?
    pub fn admit(&mut self, now_ms: u64) -> Admission {
        match self.state {
            State::Closed { .. } => Admission::Admitted(Ticket { round: self.round }),
            State::Open { until_ms, .. } | State::HalfOpen { until_ms, .. } if now_ms < until_ms => {
                Admission::Refused { retry_after_ms: until_ms - now_ms }
            }
            State::Open { failed, .. } | State::HalfOpen { failed, .. } => {
                self.enter(State::HalfOpen { until_ms: now_ms.saturating_add(self.policy.probe_ms), failed });
                Admission::Admitted(Ticket { round: self.round })
            }
        }
    }

    /// The target has answered a call (whatever it said).
    pub fn succeeded(&mut self, ticket: Ticket) {
        if ticket.round != self.round {
            return;
        }
        if let State::Closed { failures } = &mut self.state {
            *failures = 0;
        } else {
            self.opened = 0;
            self.enter(State::Closed { failures: 0 });
        }
    }

    /// The target did not answer a call.
    pub fn failed(&mut self, ticket: Ticket, now_ms: u64) {
        if ticket.round != self.round {
            return;
        }
        match self.state {
            State::Closed { failures } => {
                let failures = failures.saturating_add(1);
                self.state = State::Closed { failures };
                if failures >= self.policy.failures {
                    self.open(now_ms);
                }
            }
            State::HalfOpen { failed, .. } if failed.saturating_add(1) < self.policy.probes => {
                let failed = failed.saturating_add(1);
                self.enter(State::Open { until_ms: now_ms, failed });
            }
            State::HalfOpen { .. } => self.open(now_ms),
            State::Open { .. } => {}
        }
    }

    fn open(&mut self, now_ms: u64) {
        self.opened = self.opened.saturating_add(1);
        let pause = jitter::doubled(self.policy.open_ms, self.opened, self.policy.max_open_ms);
        self.enter(State::Open { until_ms: now_ms.saturating_add(pause), failed: 0 });
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.round = self.round.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn admitted(circuit: &mut Circuit, now_ms: u64) -> Ticket {
        match circuit.admit(now_ms) {
            Admission::Admitted(ticket) => ticket,
            Admission::Refused { retry_after_ms } => panic!("refused for {retry_after_ms} ms"),
        }
    }

    fn opened_at(now_ms: u64) -> Circuit {
        let mut circuit = Circuit::new(CircuitPolicy::default());
        for _ in 0..5 {
            let ticket = admitted(&mut circuit, now_ms);
            circuit.failed(ticket, now_ms);
        }
        circuit
    }

    #[test]
    fn five_failures_in_a_row_open_it_and_one_success_between_does_not() {
        let mut circuit = Circuit::new(CircuitPolicy::default());
        for round in 0..20 {
            let ticket = admitted(&mut circuit, 0);
            if round % 5 == 4 { circuit.succeeded(ticket) } else { circuit.failed(ticket, 0) }
        }
        assert!(!circuit.is_open());
        assert_eq!(opened_at(100).admit(100), Admission::Refused { retry_after_ms: 1_000 });
    }

    #[test]
    fn one_probe_at_a_time_and_its_success_closes() {
        let mut circuit = opened_at(0);
        let probe = admitted(&mut circuit, 1_000);
        assert!(matches!(circuit.admit(1_000), Admission::Refused { .. }));
        circuit.succeeded(probe);
        assert!(!circuit.is_open());
        admitted(&mut circuit, 1_000);
    }

    #[test]
    fn three_failed_probes_double_the_pause_up_to_the_longest() {
        let mut circuit = opened_at(0);
        let (mut now, mut pauses) = (1_000, Vec::new());
        for _ in 0..6 {
            for _ in 0..3 {
                let probe = admitted(&mut circuit, now);
                circuit.failed(probe, now);
            }
            let Admission::Refused { retry_after_ms } = circuit.admit(now) else { panic!("closed") };
            pauses.push(retry_after_ms);
            now += retry_after_ms;
        }
        assert_eq!(pauses, [2_000, 4_000, 8_000, 10_000, 10_000, 10_000]);
    }

    #[test]
    fn a_target_one_of_whose_members_has_vanished_is_reached_by_the_next_probe() {
        let mut circuit = opened_at(0);
        let probe = admitted(&mut circuit, 1_000);
        circuit.failed(probe, 1_500);
        let probe = admitted(&mut circuit, 1_500);
        circuit.succeeded(probe);
        assert!(!circuit.is_open());
    }

    #[test]
    fn late_answers_of_earlier_calls_change_nothing() {
        let mut circuit = Circuit::new(CircuitPolicy::default());
        let late = admitted(&mut circuit, 0);
        for _ in 0..5 {
            let ticket = admitted(&mut circuit, 0);
            circuit.failed(ticket, 0);
        }
        circuit.succeeded(late);
        assert!(circuit.is_open(), "an old success must not close it");
        let probe = admitted(&mut circuit, 1_000);
        circuit.failed(late, 1_000);
        circuit.succeeded(probe);
        assert!(!circuit.is_open(), "an old failure must not fail the probe");
    }

    #[test]
    fn a_probe_without_a_result_makes_room_for_another() {
        let mut circuit = opened_at(0);
        admitted(&mut circuit, 1_000);
        assert_eq!(circuit.admit(2_000), Admission::Refused { retry_after_ms: 9_000 });
        admitted(&mut circuit, 11_000);
    }

    proptest! {
        /// Whatever happens, a target that has come back is reached again within the longest pause.
        #[test]
        fn it_never_stays_shut(results in proptest::collection::vec(any::<bool>(), 0..100)) {
            let policy = CircuitPolicy::default();
            let mut circuit = Circuit::new(policy);
            let mut now = 0;
            for good in results {
                if let Admission::Admitted(ticket) = circuit.admit(now) {
                    if good { circuit.succeeded(ticket) } else { circuit.failed(ticket, now) }
                }
                now += 700;
            }
            let back = now + policy.max_open_ms.max(policy.probe_ms);
            let probe = admitted(&mut circuit, back);
            circuit.succeeded(probe);
            prop_assert!(!circuit.is_open());
        }
    }
}
