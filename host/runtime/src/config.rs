//! What a host gives the runtime. Every value has a default that suits a small server; a gateway
//! lowers the budget and the number of instances.

use crate::native::Elsewhere;
use std::path::PathBuf;
use std::time::Duration;

/// Settings of one [`crate::Runtime`].
#[derive(Debug, Clone)]
pub struct RuntimeConfig {
    /// Where compiled components are kept; none = they are compiled at every start.
    pub cache_dir: Option<PathBuf>,
    /// This host's own key: authenticates what is in [`Self::cache_dir`].
    pub cache_key: [u8; 32],
    /// Most bytes in the cache; the entries unused for longest go first.
    pub cache_bytes: u64,
    /// Linear memory of all instances together, bytes.
    pub memory_budget_bytes: u64,
    /// Instances of all actors together, per engine profile.
    pub max_instances: u32,
    /// Largest linear memory that any actor may ask for, bytes.
    pub max_memory_bytes: u64,
    /// Where code comes from on a host that compiles nothing; none = it is compiled here.
    pub elsewhere: Option<Elsewhere>,
    /// Longest compilation, milliseconds. Interpreters packed into a component take tens of seconds.
    pub compile_ms: u64,
    /// Longest instantiation (start functions included), milliseconds.
    pub start_ms: u64,
    /// An actor without an instance that nobody has called for so long lets go of its code, milliseconds; 0 =
    /// never. Only of components whose file can be read again.
    pub unload_ms: u64,
    /// Components compiled at once: more would starve the actors that run.
    pub compilations: usize,
    /// Calls over HTTP that may wait for each processor when there is more to compute than they can; of more the
    /// oldest are refused.
    pub max_waiting: u32,
    /// Longest wait of such a call, milliseconds.
    pub max_wait_ms: u64,
    /// Largest component file, bytes.
    pub max_artifact_bytes: usize,
}

impl Default for RuntimeConfig {
    fn default() -> Self {
        Self {
            cache_dir: None,
            cache_key: [0; 32],
            cache_bytes: 1 << 30,
            memory_budget_bytes: machine_memory_bytes() / 2,
            max_instances: 1_000,
            max_memory_bytes: 1 << 30,
            elsewhere: None,
            compile_ms: 60_000,
            start_ms: 1_000,
            unload_ms: 30_000,
            compilations: 1,
            max_waiting: 32,
            max_wait_ms: 1_000,
            max_artifact_bytes: keys::section::MAX_COMPONENT_BYTES,
        }
    }
}

/// The machine's memory as Linux tells it; 2 GiB where it does not.
fn machine_memory_bytes() -> u64 {
    std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        })
        .map_or(2 << 30, |kib| kib.saturating_mul(1_024))
}

impl RuntimeConfig {
    /// How long what nobody calls is kept.
    pub(crate) fn unload_after(&self) -> Duration {
        match self.unload_ms {
            0 => Duration::MAX,
            unload_ms => Duration::from_millis(unload_ms),
        }
    }
}
