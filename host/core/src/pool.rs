//! Does a call get an instance, wait, or is it refused? One decision over four counters, so that
//! the runtime's pool is nothing but the counters and the slots.
//!
//! Invariants: no more calls in flight than the actor's concurrency, no more instances than it
//! may have, no more waiting than its queue; a newcomer never overtakes one who waits.

use lattice_protocol::{InstancePolicy, Limits};

/// What a pool holds at this moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolState {
    /// Instances that exist, busy or not.
    pub live: u32,
    /// Instances of those that can take one more call now.
    pub idle: u32,
    /// Calls being served.
    pub in_flight: u32,
    /// Calls waiting.
    pub queued: u32,
}

/// What a pool may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolLimits {
    /// Most instances.
    pub instances: u32,
    /// Most calls at once.
    pub in_flight: u32,
    /// Most calls waiting.
    pub queue: u32,
}

impl PoolLimits {
    /// The limits of an actor with this many replicas on this host: each replica adds its
    /// concurrency and its queue. An actor of no replicas takes no call.
    #[must_use]
    pub fn of(policy: &InstancePolicy, limits: &Limits, replicas: u32) -> Self {
        let in_flight = limits.concurrency.saturating_mul(replicas);
        let per_instance = match policy {
            InstancePolicy::PerCall => 1,
            InstancePolicy::Warm { max_concurrency, .. } => (*max_concurrency).max(1),
        };
        Self {
            instances: in_flight.div_ceil(per_instance),
            in_flight,
            queue: limits.queue.saturating_mul(replicas),
        }
    }
}

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// An idle instance serves it.
    Reuse,
    /// A new instance serves it.
    Instantiate,
    /// It waits.
    Queue,
    /// It is refused with `E_OVERLOADED`.
    Reject,
}

/// What happens to a call that has just arrived.
#[must_use]
pub fn decide(state: &PoolState, limits: &PoolLimits) -> Decision {
    if state.queued == 0
        && let Some(decision) = next(state, limits)
    {
        return decision;
    }
    if state.queued < limits.queue { Decision::Queue } else { Decision::Reject }
}

/// Can one more call be served now, by which means? For the one that has waited longest, when
/// another has ended.
#[must_use]
pub fn next(state: &PoolState, limits: &PoolLimits) -> Option<Decision> {
    if state.in_flight >= limits.in_flight {
        None
    } else if state.idle > 0 {
        Some(Decision::Reuse)
    } else if state.live < limits.instances {
        Some(Decision::Instantiate)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: PoolLimits = PoolLimits { instances: 2, in_flight: 2, queue: 1 };

    fn state(live: u32, idle: u32, in_flight: u32, queued: u32) -> PoolState {
        PoolState { live, idle, in_flight, queued }
    }

    #[test]
    fn an_idle_instance_first_then_a_new_one_then_the_queue_then_no() {
        assert_eq!(decide(&state(1, 1, 0, 0), &LIMITS), Decision::Reuse);
        assert_eq!(decide(&state(1, 0, 1, 0), &LIMITS), Decision::Instantiate);
        assert_eq!(decide(&state(2, 0, 2, 0), &LIMITS), Decision::Queue);
        assert_eq!(decide(&state(2, 0, 2, 1), &LIMITS), Decision::Reject);
    }

    #[test]
    fn nobody_overtakes_the_queue() {
        assert_eq!(decide(&state(2, 1, 1, 1), &PoolLimits { queue: 2, ..LIMITS }), Decision::Queue);
        assert_eq!(next(&state(2, 1, 1, 1), &LIMITS), Some(Decision::Reuse));
    }

    #[test]
    fn replicas_multiply_and_concurrent_instances_divide() {
        let limits = Limits { concurrency: 10, queue: 5, ..Limits::default() };
        let warm = InstancePolicy::Warm { max_calls: 1, max_concurrency: 4, idle_ms: 1 };
        assert_eq!(PoolLimits::of(&warm, &limits, 3), PoolLimits { instances: 8, in_flight: 30, queue: 15 });
        let none = PoolLimits::of(&InstancePolicy::PerCall, &limits, 0);
        assert_eq!(decide(&PoolState::default(), &none), Decision::Reject);
    }

    proptest! {
        /// However calls come and go, the pool stays within its limits and the queue drains.
        #[test]
        fn a_pool_stays_within_its_limits(
            events in proptest::collection::vec(any::<bool>(), 0..200),
            instances in 1u32..5, in_flight in 1u32..6, queue in 0u32..4,
        ) {
            let limits = PoolLimits { instances, in_flight, queue };
            let mut pool = PoolState::default();
            let take = |pool: &mut PoolState, decision| {
                if decision == Decision::Instantiate { pool.live += 1 } else { pool.idle -= 1 }
                pool.in_flight += 1;
            };
            for arrives in events {
                if arrives {
                    match decide(&pool, &limits) {
                        Decision::Queue => pool.queued += 1,
                        Decision::Reject => {}
                        decision => take(&mut pool, decision),
                    }
                } else if pool.in_flight > 0 {
                    pool.in_flight -= 1;
                    pool.idle += 1;
                }
                while pool.queued > 0 && let Some(decision) = next(&pool, &limits) {
                    pool.queued -= 1;
                    take(&mut pool, decision);
                }
                prop_assert!(pool.live <= instances && pool.in_flight <= in_flight && pool.queued <= queue);
                prop_assert!(pool.queued == 0 || pool.in_flight == in_flight.min(instances));
            }
        }
    }
}
