//! Many worlds, on several threads: each thread takes the next seed. A world is its seed's alone, so
//! how many threads there are changes nothing but the time it takes.

use crate::{Failure, Sizes, run};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// Worlds in which every law held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct All {
    /// How often each kind of fault happened.
    pub faults: BTreeMap<&'static str, u64>,
    /// How long each took to heal, the shortest first, milliseconds.
    pub healed_ms: Vec<u64>,
    /// Digest of all traces, in whichever order they ran.
    pub trace: u64,
}

/// Runs the worlds of these seeds.
///
/// # Errors
/// The failure of the least seed that has one. No seed after it is begun.
pub fn run_all(seeds: Range<u64>, sizes: &Sizes, threads: usize) -> Result<All, Box<Failure>> {
    let next = AtomicU64::new(seeds.start);
    let end = AtomicU64::new(seeds.end);
    let work = || {
        let mut all = All::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end.load(Ordering::Relaxed) {
                return Ok(all);
            }
            match run(seed, sizes) {
                Ok(outcome) => {
                    for (kind, count) in outcome.faults {
                        *all.faults.entry(kind).or_default() += count;
                    }
                    all.healed_ms.push(outcome.healed_ms);
                    all.trace ^= outcome.trace;
                }
                Err(failure) => {
                    end.fetch_min(seed, Ordering::Relaxed);
                    return Err(failure);
                }
            }
        }
    };
    let results: Vec<Result<All, Box<Failure>>> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        // A thread that panics takes the whole run with it, as it would without threads.
        running
            .into_iter()
            .map(|one| one.join().unwrap_or_else(|what| std::panic::resume_unwind(what)))
            .collect()
    });
    let mut all = All::default();
    let mut failed: Option<Box<Failure>> = None;
    for result in results {
        match result {
            Ok(part) => {
                for (kind, count) in part.faults {
                    *all.faults.entry(kind).or_default() += count;
                }
                all.healed_ms.extend(part.healed_ms);
                all.trace ^= part.trace;
            }
            Err(failure) if failed.as_ref().is_none_or(|first| failure.seed < first.seed) => {
                failed = Some(failure);
            }
            Err(_) => {}
        }
    }
    all.healed_ms.sort_unstable();
    failed.map_or(Ok(all), Err)
}
