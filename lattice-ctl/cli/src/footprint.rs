//! A host that has settled lets go of the code that only its start needed.
//!
//! Linux maps code in around each first use, 64 KiB at a time, and a start goes through much of the
//! program: argument parsing, the compiler, TLS, every provider's set-up. None of it is written, so
//! nothing is lost by unmapping it: what is used again is mapped again from the page cache, in about a
//! microsecond for 64 KiB. An idle host is then as large as what it does (18 MiB of code before, 5
//! after), which counts where a gateway's memory limit is a few dozen MiB.

use host_daemon::control::Snapshot;
use lattice_protocol::Generation;
use std::fs;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Without any change for so long, a host has settled.
const SETTLED: Duration = Duration::from_secs(1);

/// Lets go once each time the host has settled on something new, until it ends: not again and again
/// while it works, for then it is its own code that it would miss.
pub async fn watch(snapshots: watch::Receiver<Arc<Snapshot>>) {
    each_settled(snapshots, SETTLED, || {
        // Without /proc there is nothing to learn from, and nothing is worse than before.
        if let Some(code) = fs::read_to_string("/proc/self/maps").ok().and_then(|maps| code(&maps, &exe()?)) {
            let_go(&code);
        }
    })
    .await;
}

async fn each_settled(
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    quiet: Duration,
    mut then: impl FnMut(),
) {
    while let Some(generation) = settled(&mut snapshots, quiet).await {
        then();
        let changed = snapshots.wait_for(|now| !now.is_settled() || now.generation != generation);
        if changed.await.is_err() {
            return;
        }
    }
}

/// What the host has settled on, `quiet` after its last change; none when it has ended.
async fn settled(snapshots: &mut watch::Receiver<Arc<Snapshot>>, quiet: Duration) -> Option<Generation> {
    loop {
        let generation = snapshots.wait_for(|now| now.is_settled()).await.ok()?.generation;
        match tokio::time::timeout(quiet, snapshots.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return None,
            Err(_) => return Some(generation),
        }
    }
}

fn exe() -> Option<String> {
    fs::read_link("/proc/self/exe").ok()?.to_str().map(str::to_owned)
}

/// Where this program's code is mapped: readable and executable, never writable.
fn code(maps: &str, exe: &str) -> Option<std::ops::Range<usize>> {
    let line = maps.lines().find(|line| line.ends_with(exe) && line.contains(" r-xp "))?;
    let (from, to) = line.split_whitespace().next()?.split_once('-')?;
    let address = |text| usize::from_str_radix(text, 16).ok();
    let range = address(from)?..address(to)?;
    range.contains(&own_address()).then_some(range)
}

/// An address that lies in this program's code, whatever the map says.
fn own_address() -> usize {
    code as fn(&str, &str) -> Option<std::ops::Range<usize>> as usize
}

fn let_go(code: &std::ops::Range<usize>) {
    let start = std::ptr::with_exposed_provenance_mut(code.start);
    #[allow(
        unsafe_code,
        reason = "a private file mapping that nobody can write: what is read next is the same"
    )]
    // SAFETY: the range is one mapping of this program's own file, executable and not writable, so no
    // page of it differs from the file; the kernel maps it in again at the next use.
    let done = unsafe { rustix::mm::madvise(start, code.len(), rustix::mm::Advice::LinuxDontNeed) };
    match done {
        Ok(()) => tracing::debug!(bytes = code.len(), "code of the start let go"),
        Err(error) => tracing::debug!(%error, "code of the start stays mapped"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resident_kib() -> u64 {
        let exe = exe().unwrap();
        let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
        let ours = smaps.lines().skip_while(|line| !(line.ends_with(&exe) && line.contains(" r-xp ")));
        let line = ours.into_iter().find(|line| line.starts_with("Rss:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    #[test]
    fn code_that_was_let_go_is_not_resident_and_runs_as_before() {
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let range = code(&maps, &exe().unwrap()).unwrap();
        let page = |at: usize| {
            // Reading the code maps it in, as running it does.
            let bytes: *const u8 = std::ptr::with_exposed_provenance(at);
            #[allow(unsafe_code, reason = "a byte of this program's own code")]
            // SAFETY: inside a readable mapping that is never unmapped.
            unsafe {
                bytes.read_volatile()
            }
        };
        let sum = |range: &std::ops::Range<usize>| {
            range.clone().step_by(4096).map(|at| u64::from(page(at))).sum::<u64>()
        };
        let before = sum(&range);
        let full = resident_kib();
        let_go(&range);
        let after = resident_kib();
        assert!(after * 2 < full, "{full} KiB before, {after} KiB after");
        assert_eq!(sum(&range), before);
    }

    #[tokio::test]
    async fn it_lets_go_once_for_what_the_host_has_settled_on_however_often_that_is_said() {
        const QUIET: Duration = Duration::from_millis(5);
        let settled_on = |n| {
            let mut snapshot = Snapshot::default();
            snapshot.generation.n = n;
            Arc::new(snapshot)
        };
        let (said, snapshots) = watch::channel(settled_on(1));
        let (times, mut counted) = watch::channel(0);
        let watching = each_settled(snapshots, QUIET, || times.send_modify(|times| *times += 1));
        let saying = async {
            for n in 1..=2 {
                said.send_replace(settled_on(n));
                counted.wait_for(|times| *times == n).await.unwrap();
                // The host says the same again and again.
                for _ in 0..3 {
                    said.send_replace(settled_on(n));
                    tokio::time::sleep(QUIET * 5).await;
                }
                assert_eq!(*counted.borrow(), n);
            }
            drop(said);
        };
        tokio::join!(watching, saying);
    }

    #[test]
    fn only_code_of_this_very_program_is_named() {
        let here = own_address() & !0xfff;
        let line = |rights: &str, exe: &str| {
            format!("{here:x}-{:x} {rights} 00001000 fe:00 42   {exe}\n", here + 0x2000)
        };
        assert_eq!(code(&line("r-xp", "/bin/trellis"), "/bin/trellis"), Some(here..here + 0x2000));
        assert_eq!(code(&line("rwxp", "/bin/trellis"), "/bin/trellis"), None);
        assert_eq!(code(&line("r--p", "/bin/trellis"), "/bin/trellis"), None);
        assert_eq!(code(&line("r-xp", "/bin/other"), "/bin/trellis"), None);
        assert_eq!(
            code("1000-3000 r-xp 0 fe:00 42 /bin/trellis\n", "/bin/trellis"),
            None,
            "not where we are"
        );
    }
}
