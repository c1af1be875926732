//! Capacity and use of this host, from `/proc`: what heartbeats carry and the planner counts on.

use lattice_protocol::heartbeat::Load;
use std::time::Instant;

/// Measures use between two questions.
pub struct LoadMeter {
    cpu_millis: u32,
    memory_bytes: u64,
    last: Option<(Instant, u64)>,
}

const MIB: u64 = 1 << 20;
/// `/proc/self/stat` counts in these, on every Linux that we know (USER_HZ).
const TICKS_PER_SECOND: u64 = 100;

impl LoadMeter {
    /// Of a host that offers this much.
    #[must_use]
    pub fn new(cpu_millis: u32, memory_bytes: u64) -> Self {
        Self { cpu_millis, memory_bytes, last: None }
    }

    /// Use since the last question (CPU), and now (memory). Where `/proc` is missing, use is 0.
    pub fn measure(&mut self) -> Load {
        let now = Instant::now();
        let ticks =
            std::fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(cpu_ticks).unwrap_or(0);
        let used = self.last.map_or(0, |(then, before)| {
            let elapsed_ms = u64::try_from(now.duration_since(then).as_millis()).unwrap_or(u64::MAX).max(1);
            let cpu_ms = ticks.saturating_sub(before) * (1_000 / TICKS_PER_SECOND);
            cpu_ms.saturating_mul(1_000) / elapsed_ms
        });
        self.last = Some((now, ticks));
        let resident = resident_bytes();
        Load {
            cpu_millis: self.cpu_millis,
            // A busy sample may exceed what is offered; a heartbeat never says more than all.
            cpu_used_millis: u32::try_from(used).unwrap_or(u32::MAX).min(self.cpu_millis),
            memory_mib: u32::try_from(self.memory_bytes / MIB).unwrap_or(u32::MAX),
            memory_used_mib: u32::try_from(resident.min(self.memory_bytes) / MIB).unwrap_or(u32::MAX),
        }
    }
}

/// Memory that this process uses, bytes; 0 where `/proc` is missing.
pub(crate) fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status");
    status.ok().as_deref().and_then(resident_kib).unwrap_or(0).saturating_mul(1_024)
}

/// User and system time of `/proc/self/stat`: fields 14 and 15, counted after the command name,
/// which may itself hold spaces and parentheses.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

fn resident_kib(status: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "42 (a) b (c) S 1 1 1 0 -1 0 1 2 3 4 700 300 0 0 20 0 1 0";
        assert_eq!(cpu_ticks(stat), Some(1_000));
    }

    #[test]
    fn use_is_never_more_than_capacity() {
        let mut meter = LoadMeter::new(1, MIB);
        for _ in 0..2 {
            let load = meter.measure();
            assert!(load.cpu_used_millis <= load.cpu_millis && load.memory_used_mib <= load.memory_mib);
        }
    }
}
