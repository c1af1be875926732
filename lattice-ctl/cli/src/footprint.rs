//! A host that has settled lets go of what only its start needed, and of what actors that nobody calls have left
//! behind: an idle host is then as large as what it does, which counts where a gateway's memory limit is a
//! few dozen MiB.
//!
//! [`mapped`] is code and constants, [`heap`] what the allocator holds. Neither is done again and again while
//! the host works: then it is its own code that it would miss.

mod heap;
mod mapped;

use host_daemon::control::Snapshot;
use lattice_io::TaskScope;
use lattice_protocol::Generation;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How often the host is looked at: without any change between two looks, it has settled.
const LOOK: Duration = Duration::from_secs(1);

/// How long it takes an idle host to go through all that it does: heartbeats, leases, looks for what may go.
const ROUND: Duration = Duration::from_secs(60);

/// Called by a thread of the runtime that goes to sleep.
pub fn sleeping() {
    heap::sleeping();
}

/// Lets go each time the host has settled on something new, or with fewer actors loaded, until it ends.
pub async fn watch(snapshots: watch::Receiver<Arc<Snapshot>>, scope: TaskScope) {
    let mut settling = Settling::default();
    let mut fine = None;
    // An error says that the host has ended.
    while snapshots.has_changed().is_ok() {
        tokio::time::sleep(LOOK).await;
        if settling.look(State::of(&snapshots.borrow())) {
            // A few thousand calls of the kernel: nothing for a thread that others wait for.
            let pieces = tokio::task::spawn_blocking(mapped::let_go).await;
            fine = pieces.ok().map(|pieces| (pieces, Instant::now() + ROUND));
            heap::let_go(&scope);
        } else if let Some((pieces, _)) = fine.take_if(|(_, end)| *end <= Instant::now()) {
            drop(tokio::task::spawn_blocking(move || pieces.join()).await);
        }
    }
}

/// What a host that runs all that it shall has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    generation: Generation,
    /// Actors whose code is in memory.
    loaded: usize,
}

impl State {
    fn of(snapshot: &Snapshot) -> Option<Self> {
        snapshot.is_settled().then(|| Self { generation: snapshot.generation, loaded: snapshot.loaded() })
    }
}

/// When to let go.
#[derive(Debug, Default)]
struct Settling {
    last: Option<State>,
    /// What it had come to when it let go last, or a larger one since.
    done: Option<State>,
}

impl Settling {
    /// One look: is it time?
    fn look(&mut self, now: Option<State>) -> bool {
        let before = std::mem::replace(&mut self.last, now);
        let Some(state) = now.filter(|_| before == now) else { return false };
        let known = self.done.filter(|done| done.generation == state.generation);
        self.done = Some(state);
        known.is_none_or(|done| state.loaded < done.loaded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(n: u64, loaded: usize) -> Option<State> {
        let mut snapshot = Snapshot::default();
        snapshot.generation.n = n;
        Some(State { generation: snapshot.generation, loaded })
    }

    /// What each of these looks says.
    fn looks<const N: usize>(states: [Option<State>; N]) -> [bool; N] {
        let mut settling = Settling::default();
        states.map(|state| settling.look(state))
    }

    #[test]
    fn it_lets_go_once_for_what_the_host_has_settled_on() {
        let (one, two) = (state(1, 3), state(2, 3));
        assert_eq!(looks([one, one, one, one]), [false, true, false, false]);
        assert_eq!(looks([None, one, None, one, one]), [false, false, false, false, true]);
        assert_eq!(looks([one, one, two, two, two]), [false, true, false, true, false]);
    }

    #[test]
    fn and_again_when_actors_have_been_unloaded() {
        let [all, some, none] = [state(1, 3), state(1, 2), state(1, 0)];
        assert_eq!(looks([all, all, some, none, none, none]), [false, true, false, false, true, false]);
        // What is loaded again is in use.
        assert_eq!(looks([none, none, all, all, none, none]), [false, true, false, false, false, true]);
    }
}
