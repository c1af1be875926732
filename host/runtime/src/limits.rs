//! What one store may use. A denial is counted and named, so that the trap it leads to can say
//! which limit was hit rather than `out of bounds`.

use lattice_protocol::{ErrorCode, Limits, Report};
use wasmtime::ResourceLimiter;

/// Component and core instances of one store.
const MAX_INSTANCES: usize = 32;
/// Tables and memories of one store.
const MAX_MEMORIES: usize = 8;

/// The limits of one store, and what was denied.
#[derive(Debug)]
pub(crate) struct Limiter {
    memory_bytes: usize,
    table_elements: usize,
    denied: Option<Report>,
}

impl Limiter {
    /// The limits of an actor.
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            memory_bytes: usize::try_from(limits.memory_bytes).unwrap_or(usize::MAX),
            table_elements: usize::try_from(limits.table_elements).unwrap_or(usize::MAX),
            denied: None,
        }
    }

    /// The first limit that was hit, if any.
    pub(crate) fn take_denied(&mut self) -> Option<Report> {
        self.denied.take()
    }

    fn deny(&mut self, report: Report) -> bool {
        if self.denied.is_none() {
            self.denied = Some(report);
        }
        false
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if desired <= self.memory_bytes {
            return Ok(true);
        }
        let limit = self.memory_bytes;
        Ok(self.deny(
            Report::new(ErrorCode::Memory, "memory over the limit")
                .got(format!("{desired} bytes"))
                .limit(format!("at most {limit} bytes"))
                .hint("raise limits.memoryBytes, or use less"),
        ))
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if desired <= self.table_elements {
            return Ok(true);
        }
        let limit = self.table_elements;
        Ok(self.deny(
            Report::new(ErrorCode::Table, "table over the limit")
                .got(format!("{desired} elements"))
                .limit(format!("at most {limit} elements"))
                .hint("raise limits.tableElements"),
        ))
    }

    fn instances(&self) -> usize {
        MAX_INSTANCES
    }
    fn tables(&self) -> usize {
        MAX_MEMORIES
    }
    fn memories(&self) -> usize {
        MAX_MEMORIES
    }
}
