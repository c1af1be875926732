//! Memory that was given back to the allocator, and that it still holds.
//!
//! What one thread frees of another's is taken back by the owner, when it allocates next; an idle host's
//! threads hardly do. So each thread of the runtime is asked once, when it goes to sleep.

use lattice_io::TaskScope;
use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};

/// How often threads were asked.
static ROUND: AtomicU32 = AtomicU32::new(0);

thread_local! {
    /// The last round that this thread took part in.
    static SEEN: Cell<u32> = const { Cell::new(0) };
}

/// Has every thread of this runtime give back what it holds and does not use.
pub(super) fn let_go(scope: &TaskScope) {
    ROUND.fetch_add(1, Ordering::Relaxed);
    // Who sleeps is woken by work that somebody else has too much of, and then goes to sleep again.
    for _ in 0..tokio::runtime::Handle::current().metrics().num_workers() {
        scope.spawn_best_effort("heap", std::future::ready(()));
    }
    collect();
}

/// Called by a thread of the runtime that goes to sleep.
pub(super) fn sleeping() {
    let round = ROUND.load(Ordering::Relaxed);
    if SEEN.replace(round) != round {
        collect();
    }
}

fn collect() {
    #[allow(unsafe_code, reason = "the allocator's own function, which the crate does not give out")]
    unsafe extern "C" {
        safe fn mi_collect(force: bool);
    }
    mi_collect(true);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn resident_kib() -> u64 {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// One thread allocates, another frees: what the allocator holds then goes when the first sleeps.
    #[test]
    fn what_another_thread_freed_goes_when_its_owner_sleeps() {
        const BLOCKS: usize = 100_000;
        let (give, take) = std::sync::mpsc::sync_channel::<Vec<Vec<u8>>>(1);
        let (ask, asked) = std::sync::mpsc::sync_channel::<()>(1);
        let (done, ended) = std::sync::mpsc::sync_channel::<()>(1);
        let owner = std::thread::spawn(move || {
            give.send((0..BLOCKS).map(|_| vec![1; 200]).collect()).unwrap();
            asked.recv().unwrap();
            sleeping();
            done.send(()).unwrap();
            asked.recv().unwrap();
        });
        drop(take.recv().unwrap());
        let before = resident_kib();
        ROUND.fetch_add(1, Ordering::Relaxed);
        ask.send(()).unwrap();
        ended.recv().unwrap();
        let after = resident_kib();
        ask.send(()).unwrap();
        owner.join().unwrap();
        assert!(after + 10_000 < before, "{before} KiB before, {after} KiB after");
    }
}
