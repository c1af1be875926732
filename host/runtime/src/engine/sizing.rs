//! How large the instance pool is: a pure decision from the address space and the settings.
//!
//! With full reservations (4 GiB of addresses for each memory) compiled code needs no bounds
//! checks. Where the address space is too small for that (39 bits on many ARM kernels, a limit on
//! the process), each memory reserves just what it may grow to, and code checks bounds. Compiled
//! code depends on this choice, so it is part of the cache key.

use std::fs;

/// Largest memory of an instance where addresses are short.
const SMALL_MEMORY: u64 = 128 << 20;
/// The engine parts its slots among this many processors at most.
const MAX_PARTS: u32 = 16;
/// Fewer instances than this are not worth a pool.
const FEWEST: u64 = 16;

/// Addresses of one memory, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Reservation {
    /// Reserved for the memory.
    pub(crate) bytes: u64,
    /// Unmapped behind it.
    pub(crate) guard: u64,
}

impl Reservation {
    /// Of a memory whose code checks no bounds.
    pub(crate) const FULL: Self = Self { bytes: 4 << 30, guard: 32 << 20 };

    /// Of a memory of so many bytes, whose code checks bounds. Whole MiB, so that there are few kinds of
    /// hosts to compile for.
    pub(crate) fn small(bytes: u64) -> Self {
        Self { bytes: bytes.clamp(1, SMALL_MEMORY).next_multiple_of(1 << 20), guard: 64 << 10 }
    }

    fn total(self) -> u64 {
        self.bytes + self.guard
    }
}

/// The dimensions of one engine's pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizing {
    /// Instances.
    pub(crate) instances: u32,
    /// Slots for their memories. Each processor looks for a slot among its own first, and a slot is the faster for the
    /// component that was in it last: so where addresses allow it, each has enough for all instances.
    pub(crate) slots: u32,
    /// Addresses of each memory.
    pub(crate) reservation: Reservation,
    /// Largest memory, bytes.
    pub(crate) max_memory: u64,
}

/// Sizes the pool of one of two engines for `address_space` bytes; none when even a small pool
/// does not fit, so that instances are allocated on demand.
pub(crate) fn size(
    address_space: u64,
    processors: u32,
    max_instances: u32,
    max_memory: u64,
) -> Option<Sizing> {
    // Two engines, and as much again for everything else.
    let share = address_space / 4;
    let wanted = u64::from(max_instances.max(1));
    let slots = |instances: u64, reserved: u64| {
        let slots = instances.saturating_mul(u64::from(processors.clamp(1, MAX_PARTS))).min(share / reserved);
        u32::try_from(slots.max(instances)).unwrap_or(u32::MAX)
    };
    let full = Reservation::FULL;
    if wanted.saturating_mul(full.total()) <= share {
        return Some(Sizing {
            instances: max_instances.max(1),
            slots: slots(wanted, full.total()),
            reservation: full,
            max_memory: max_memory.min(full.bytes),
        });
    }
    let small = Reservation::small(max_memory);
    let instances = wanted.min(share / small.total());
    (instances >= FEWEST.min(wanted)).then(|| Sizing {
        instances: u32::try_from(instances).unwrap_or(max_instances),
        slots: slots(instances, small.total()),
        reservation: small,
        max_memory: small.bytes,
    })
}

/// Bytes of addresses this process can have: what the kernel's layout shows, or the process limit.
pub(crate) fn address_space() -> u64 {
    let layout = fs::read_to_string("/proc/self/maps").ok().and_then(|maps| highest_address(&maps));
    let limit = fs::read_to_string("/proc/self/limits").ok().and_then(|limits| process_limit(&limits));
    layout.unwrap_or(1 << 39).min(limit.unwrap_or(u64::MAX))
}

/// The stack lies at the top of the address space: its end, rounded up, is the size of it.
fn highest_address(maps: &str) -> Option<u64> {
    maps.lines()
        .filter(|line| line.ends_with("[stack]"))
        .filter_map(|line| line.split(['-', ' ']).nth(1))
        .filter_map(|end| u64::from_str_radix(end, 16).ok())
        .max()?
        .checked_next_power_of_two()
}

fn process_limit(limits: &str) -> Option<u64> {
    let line = limits.lines().find(|line| line.starts_with("Max address space"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_address_space_gets_full_reservations() {
        let sizing = size(1 << 47, 2, 1_000, 1 << 30).unwrap();
        assert_eq!((sizing.instances, sizing.slots, sizing.reservation), (1_000, 2_000, Reservation::FULL));
    }

    #[test]
    fn a_39_bit_kernel_gets_small_memories_and_enough_instances() {
        let sizing = size(1 << 39, 4, 1_000, 1 << 30).unwrap();
        assert_eq!((sizing.instances, sizing.max_memory), (1_000, SMALL_MEMORY));
        let total = u64::from(sizing.slots) * sizing.reservation.total();
        assert!(total <= (1 << 39) / 4, "{total}");
    }

    #[test]
    fn a_tiny_address_space_gets_no_pool() {
        assert_eq!(size(4 << 30, 2, 1_000, 1 << 30), None);
        let sizing = size(64 << 30, 2, 1_000, 1 << 30).unwrap();
        assert!(sizing.instances < 1_000 && sizing.slots == sizing.instances, "{sizing:?}");
    }

    #[test]
    fn the_layout_and_the_limit_are_read_as_linux_writes_them() {
        let maps = "7ffd1c000000-7ffd1c021000 rw-p 00000000 00:00 0   [stack]\n\
                    ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]\n";
        assert_eq!(highest_address(maps), Some(1 << 47));
        assert_eq!(highest_address("7ff0000000-7fffff0000 rw-p 0 0 0 [stack]"), Some(1 << 39));
        let limits = "Max address space         8589934592           unlimited            bytes\n";
        assert_eq!(process_limit(limits), Some(8 << 30));
        assert_eq!(process_limit("Max address space  unlimited  unlimited  bytes"), None);
        assert!(address_space() >= 1 << 30);
    }
}
