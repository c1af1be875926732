//! What lies in files that nobody writes to: code and constants of the program and its libraries.
//!
//! A start goes through much of the program: argument parsing, the compiler, TLS, every provider's set-up,
//! and the loader reads all that it relocates. None of it is written, so nothing is lost by unmapping it: what is
//! used again is mapped again from the page cache, in less than a microsecond.
//!
//! Linux then maps not one page but 64 KiB around each use (`fault_around_bytes`), and an idle host goes through
//! some hundred places of its program: nine tenths of what comes back is never used. How much is mapped around a use ends
//! where the mapping ends (`should_fault_around`, `filemap_map_pages`), and nothing else bounds it; `MADV_RANDOM`
//! does not. So the mappings are [`split`] into many small ones: by giving every other piece one more attribute, the
//! only one of all that means nothing for code, not to be in core dumps, where what comes from files is not anyway.
//! For the first minute the pieces are as small as [`PIECES`] allows, so that what the idle host does comes back alone;
//! then they are joined to [`COARSE`] ones ([`Fine::join`]), as each costs the kernel some 200 bytes. What a program under
//! load uses is mapped after a few hundred faults more than before.

use rustix::mm::Advice;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::ops::Range;

/// How many pieces there are at most, or few more; a process may have 65 530 mappings (`vm.max_map_count`).
const PIECES: usize = 4096;

/// Bytes of a piece when what the idle host does has been mapped.
const COARSE: usize = 16 * 1024;

/// What was unmapped, in its small pieces.
pub(super) struct Fine(Vec<Range<usize>>);

/// Unmaps it, as far as it can be told from `/proc`: without that nothing is worse than before. What is used again comes
/// back in small pieces.
pub(super) fn let_go() -> Fine {
    let parts = own();
    let bytes: usize = parts.iter().map(ExactSizeIterator::len).sum();
    let fine = bytes.div_ceil(PIECES).next_power_of_two().max(rustix::param::page_size());
    for part in &parts {
        split(part, fine);
        unmap(part);
    }
    Fine(parts)
}

impl Fine {
    /// What is used has been mapped: larger pieces, and fewer, from now on.
    pub(super) fn join(&self) {
        let coarse = COARSE.max(rustix::param::page_size());
        self.0.iter().for_each(|part| split(part, coarse));
    }
}

/// This process' own mappings of that kind; none if they can't be told.
fn own() -> Vec<Range<usize>> {
    let smaps = File::open("/proc/self/smaps").map(|file| BufReader::new(file).lines().map_while(Result::ok));
    match (smaps, fs::read_link("/proc/self/exe")) {
        (Ok(lines), Ok(exe)) => exe.to_str().map(|exe| unwritten(lines, exe)).unwrap_or_default(),
        _ => Vec::new(),
    }
}

/// What of this process lies in files that nobody writes to, and can be read from them again: code and constants of the
/// program and of its libraries, as `/proc/self/smaps` tells them; what lies one behind the other is one. A mapping
/// of which a page differs from the file (relocated addresses, whether in memory or swapped out) is none of them.
fn unwritten(smaps: impl Iterator<Item = String>, exe: &str) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut mapping = None;
    let mut own = 0;
    // One line more, so that the last mapping ends as the others do.
    for line in smaps.chain(["0-0 ---p 0 0:0 0".to_owned()]) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["Anonymous:" | "Swap:", kib, "kB"] => own += kib.parse().unwrap_or(1),
            [range, rights, _, _, _, path @ ..] if range.contains('-') => {
                match (mapping.take().filter(|_| own == 0), found.last_mut()) {
                    (Some(Range { start, end }), Some(last)) if last.end == start => last.end = end,
                    (Some(range), _) => found.push(range),
                    (None, _) => {}
                }
                own = 0;
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

/// Makes mappings of so many bytes of it, a power of two and at least a page, whatever they were before.
fn split(part: &Range<usize>, size: usize) {
    let first = part.start / size;
    for piece in first..part.end.div_ceil(size) {
        let within = (piece * size).max(part.start)..((piece + 1) * size).min(part.end);
        // The first stays as it is: by the head of a file a core dump tells which it was.
        let one = if (piece - first).is_multiple_of(2) { Advice::LinuxDoDump } else { Advice::LinuxDontDump };
        if let Err(error) = advise(&within, one) {
            // There are as many mappings as there may be.
            return tracing::debug!(%error, "code is mapped in larger pieces than it could be");
        }
    }
}

fn unmap(part: &Range<usize>) {
    match advise(part, Advice::LinuxDontNeed) {
        Ok(()) => tracing::debug!(bytes = part.len(), "code and constants of the start let go"),
        Err(error) => tracing::debug!(%error, "code and constants of the start stay mapped"),
    }
}

fn advise(part: &Range<usize>, advice: Advice) -> rustix::io::Result<()> {
    let start = std::ptr::with_exposed_provenance_mut(part.start);
    #[allow(
        unsafe_code,
        reason = "a private file mapping that nobody can write: what is read next is the same"
    )]
    // SAFETY: the range is of mappings of files of code, not writable, of which no page differs from its file: what
    // the kernel lets go of it, it maps in again at the next use. What is dumped has no part in what is read.
    unsafe {
        rustix::mm::madvise(start, part.len(), advice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Resident within it, KiB.
    fn resident_kib(part: &Range<usize>) -> u64 {
        let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
        let (mut inside, mut sum) = (false, 0);
        for line in smaps.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[0] {
                "Rss:" if inside => sum += words[1].parse::<u64>().unwrap(),
                range if range.contains('-') => {
                    let range = addresses(range).unwrap();
                    inside = part.start <= range.start && range.end <= part.end;
                }
                _ => {}
            }
        }
        sum
    }

    fn mappings() -> usize {
        fs::read_to_string("/proc/self/maps").unwrap().lines().count()
    }

    /// Reading maps it in, as running it does.
    fn byte(at: usize) -> u8 {
        let bytes: *const u8 = std::ptr::with_exposed_provenance(at);
        #[allow(unsafe_code, reason = "a byte of this program's own file")]
        // SAFETY: inside a readable mapping that is never unmapped.
        unsafe {
            bytes.read_volatile()
        }
    }

    #[test]
    fn what_was_let_go_is_not_resident_and_is_the_same_as_before() {
        let here = own as fn() -> Vec<Range<usize>> as usize;
        let all = own();
        for inside in [here, BIG.as_ptr().addr()] {
            let part = all.iter().find(|part| part.contains(&inside)).unwrap();
            let sum = || part.clone().step_by(4096).map(|at| u64::from(byte(at))).sum::<u64>();
            let before = sum();
            let full = resident_kib(part);
            unmap(part);
            let after = resident_kib(part);
            assert!(after * 2 < full, "{full} KiB before, {after} KiB after");
            assert_eq!(sum(), before);
        }
    }

    #[test]
    fn around_a_use_no_more_comes_back_than_its_piece() {
        let piece = 4 * rustix::param::page_size();
        // In the middle of its file, with nothing of it in use by anybody else.
        let start = (BIG.as_ptr().addr() + BIG.len() / 4).next_multiple_of(piece);
        let part = start..start + BIG.len() / 2;
        let before = mappings();
        split(&part, piece);
        let fine = mappings();
        assert!(fine >= before + part.len() / piece - 8, "{before} mappings before, {fine} after");
        unmap(&part);
        assert_eq!(resident_kib(&part), 0);
        for place in part.clone().step_by(4 * piece) {
            assert_eq!(byte(place + 5000), 7);
        }
        let (back, places) = (resident_kib(&part), part.len() / (4 * piece));
        assert!(back as usize <= places * piece / 1024, "{back} KiB around {places} uses");
        // Joined again, and what lies in them is the same.
        split(&part, part.len().next_power_of_two());
        assert!(mappings() <= before + 8, "{before} mappings before, {} after", mappings());
        assert!(part.step_by(4096).all(|at| byte(at) == 7));
    }

    /// Constants, so that there are some.
    static BIG: [u8; 1 << 20] = [7; 1 << 20];

    #[test]
    fn only_what_nobody_can_have_changed_is_let_go() {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>().into_iter();
        let mapping = |range: &str, rights: &str, file: &str, more: &str| {
            format!("{range} {rights} 00001000 fe:00 42   {file}\nRss:   8 kB\nAnonymous:  0 kB\n{more}\n")
        };
        let found = |rights: &str, file: &str, more: &str| {
            let all =
                mapping("1000-3000", rights, file, more) + &mapping("9000-a000", "rw-p", "/bin/trellis", "");
            unwritten(lines(&all), "/bin/trellis")
        };
        let whole = Vec::from_iter(addresses("1000-3000"));
        assert_eq!(found("r-xp", "/bin/trellis", ""), whole);
        assert_eq!(found("r--p", "/bin/trellis", "Swap:   0 kB"), whole);
        assert_eq!(found("r--p", "/bin/trellis", "Rss:   0 kB"), whole);
        assert_eq!(found("r-xp", "/lib/libc.so.6", ""), whole);
        let last = mapping("1000-3000", "r-xp", "/bin/trellis", "");
        assert_eq!(unwritten(lines(&last), "/bin/trellis"), whole, "the last one");
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
        ] {
            assert!(found(rights, file, more).is_empty(), "{rights} {file} {more}");
        }
        let pieces = [
            ("1000-3000", ""),
            ("3000-4000", ""),
            ("4000-5000", "Swap: 4 kB"),
            ("5000-6000", ""),
            ("7000-8000", ""),
        ];
        let all: String =
            pieces.iter().map(|(range, more)| mapping(range, "r-xp", "/bin/trellis", more)).collect();
        assert_eq!(unwritten(lines(&all), "/bin/trellis"), [0x1000..0x4000, 0x5000..0x6000, 0x7000..0x8000]);
    }
}
