//! What lies in files that nobody writes to: code and constants of the program and its libraries.
//!
//! Linux maps a file in around each first use, 64 KiB at a time, and a start goes through much of the
//! program: argument parsing, the compiler, TLS, every provider's set-up, and the loader reads all that it
//! relocates. None of it is written, so nothing is lost by unmapping it: what is used again is mapped
//! again from the page cache, in about a microsecond for 64 KiB. (`MADV_RANDOM` does not make the
//! kernel map less around a use: tried.)

use std::fs;
use std::ops::Range;

/// Unmaps it, as far as it can be told from `/proc`: without that nothing is worse than before.
pub(super) fn let_go() {
    let smaps = fs::read_to_string("/proc/self/smaps").unwrap_or_default();
    exe().map(|exe| unwritten(&smaps, &exe)).unwrap_or_default().iter().for_each(unmap);
}

/// What of this process lies in files that nobody writes to, and can be read from them again: code and constants of the
/// program and of its libraries, as `/proc/self/smaps` tells them. A mapping of which a page differs from the
/// file (relocated addresses, whether in memory or swapped out) is none of them.
fn unwritten(smaps: &str, exe: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut mapping = None;
    let (mut resident, mut own) = (0, 0);
    // One line more, so that the last mapping ends as the others do.
    for line in smaps.lines().chain(["0-0 ---p 0 0:0 0"]) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["Rss:", kib, "kB"] => resident = kib.parse().unwrap_or(0),
            ["Anonymous:" | "Swap:", kib, "kB"] => own += kib.parse().unwrap_or(1),
            [range, rights, _, _, _, path @ ..] if range.contains('-') => {
                if let Some(range) = mapping.take().filter(|_| resident > 0 && own == 0) {
                    found.push(range);
                }
                (resident, own) = (0, 0);
                mapping = match path {
                    [file] if matches!(*rights, "r-xp" | "r--p") && (*file == exe || is_library(file)) => {
                        addresses(range)
                    }
                    _ => None,
                };
            }
            _ => {}
        }
    }
    found
}

/// `/lib/x86_64-linux-gnu/libc.so.6`, and nothing that is called so and is no file.
fn is_library(file: &str) -> bool {
    let name = file.starts_with('/').then(|| file.rsplit('/').next()).flatten();
    name.is_some_and(|name| name.ends_with(".so") || name.contains(".so."))
}

fn addresses(range: &str) -> Option<Range<usize>> {
    let (from, to) = range.split_once('-')?;
    let address = |text| usize::from_str_radix(text, 16).ok();
    Some(address(from)?..address(to)?)
}

fn exe() -> Option<String> {
    fs::read_link("/proc/self/exe").ok()?.to_str().map(str::to_owned)
}

fn unmap(part: &Range<usize>) {
    let start = std::ptr::with_exposed_provenance_mut(part.start);
    #[allow(
        unsafe_code,
        reason = "a private file mapping that nobody can write: what is read next is the same"
    )]
    // SAFETY: the range is one mapping of a file of code, not writable, and no page of it differs from the file; what
    // the kernel lets go of it, it maps in again at the next use.
    let done = unsafe { rustix::mm::madvise(start, part.len(), rustix::mm::Advice::LinuxDontNeed) };
    match done {
        Ok(()) => tracing::debug!(bytes = part.len(), "code and constants of the start let go"),
        Err(error) => tracing::debug!(%error, "code and constants of the start stay mapped"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Vec<Range<usize>> {
        unwritten(&fs::read_to_string("/proc/self/smaps").unwrap(), &exe().unwrap())
    }

    /// Resident of the mapping that begins there, KiB.
    fn resident_kib(part: &Range<usize>) -> u64 {
        let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
        let begin = format!("{:x}-", part.start);
        let ours = smaps.lines().skip_while(|line| !line.starts_with(&begin));
        let line = ours.into_iter().find(|line| line.starts_with("Rss:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    #[test]
    fn what_was_let_go_is_not_resident_and_is_the_same_as_before() {
        let here = own as fn() -> Vec<Range<usize>> as usize;
        let all = own();
        let code = all.iter().find(|part| part.contains(&here)).unwrap().clone();
        let constants = all.iter().find(|part| part.contains(&BIG.as_ptr().addr())).unwrap().clone();
        for part in [code, constants] {
            let page = |at: usize| {
                // Reading maps it in, as running it does.
                let bytes: *const u8 = std::ptr::with_exposed_provenance(at);
                #[allow(unsafe_code, reason = "a byte of this program's own file")]
                // SAFETY: inside a readable mapping that is never unmapped.
                unsafe {
                    bytes.read_volatile()
                }
            };
            let sum = || part.clone().step_by(4096).map(|at| u64::from(page(at))).sum::<u64>();
            let before = sum();
            let full = resident_kib(&part);
            unmap(&part);
            let after = resident_kib(&part);
            assert!(after * 2 < full, "{full} KiB before, {after} KiB after");
            assert_eq!(sum(), before);
        }
    }

    /// Constants, so that there are some.
    static BIG: [u8; 1 << 20] = [7; 1 << 20];

    #[test]
    fn only_what_nobody_can_have_changed_is_let_go() {
        let mapping = |rights: &str, file: &str, more: &str| {
            format!("1000-3000 {rights} 00001000 fe:00 42   {file}\nRss:   8 kB\nAnonymous:  0 kB\n{more}\n")
        };
        let found = |rights: &str, file: &str, more: &str| {
            let all = mapping(rights, file, more) + &mapping("rw-p", "/bin/trellis", "");
            unwritten(&all, "/bin/trellis")
        };
        let whole = Vec::from_iter(addresses("1000-3000"));
        assert_eq!(found("r-xp", "/bin/trellis", ""), whole);
        assert_eq!(found("r--p", "/bin/trellis", "Swap:   0 kB"), whole);
        assert_eq!(found("r-xp", "/lib/libc.so.6", ""), whole);
        assert_eq!(unwritten(&mapping("r-xp", "/bin/trellis", ""), "/bin/trellis"), whole, "the last one");
        for (rights, file, more) in [
            ("rwxp", "/bin/trellis", ""),
            ("r--s", "/bin/trellis", ""),
            ("r--p", "/bin/other", ""),
            ("r--p", "/bin/trellis (deleted)", ""),
            ("r--p", "[libc.so.6]", ""),
            ("r--p", "", ""),
            ("r--p", "/bin/trellis", "Anonymous:   4 kB"),
            ("r--p", "/bin/trellis", "Swap:   4 kB"),
            ("r--p", "/bin/trellis", "Swap:   what kB"),
            ("r--p", "/bin/trellis", "Rss:   0 kB"),
        ] {
            assert!(found(rights, file, more).is_empty(), "{rights} {file} {more}");
        }
    }
}
