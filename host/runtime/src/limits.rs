//! What one store may use. A denial is remembered and named, so that the trap it leads to can say
//! which limit was hit rather than `unreachable`.

use lattice_protocol::{ErrorCode, Limits, Report};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use wasmtime::ResourceLimiter;

/// Component and core instances of one store.
const MAX_INSTANCES: usize = 32;
/// Tables of one store, and memories of one store.
const MAX_TABLES: usize = 8;
const MAX_MEMORIES: usize = 8;

/// Linear memory of all instances of a runtime together.
#[derive(Debug)]
pub(crate) struct MemoryBudget {
    limit: u64,
    used: AtomicU64,
}

impl MemoryBudget {
    /// A budget of this many bytes.
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, used: AtomicU64::new(0) }
    }

    /// Bytes in use.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// The whole budget, bytes.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    fn take(&self, bytes: u64) -> bool {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        let fits = before.saturating_add(bytes) <= self.limit;
        if !fits {
            self.give_back(bytes);
        }
        fits
    }

    fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The limits of one store, and what was denied.
#[derive(Debug)]
pub(crate) struct Limiter {
    memory_bytes: usize,
    table_elements: usize,
    budget: Arc<MemoryBudget>,
    /// What this store holds of the budget, bytes.
    taken: u64,
    denied: Option<Report>,
}

impl Limiter {
    /// The limits of an actor, within the budget of its host.
    pub(crate) fn new(limits: &Limits, budget: Arc<MemoryBudget>) -> Self {
        Self {
            memory_bytes: usize::try_from(limits.memory_bytes).unwrap_or(usize::MAX),
            table_elements: usize::try_from(limits.table_elements).unwrap_or(usize::MAX),
            budget,
            taken: 0,
            denied: None,
        }
    }

    /// The first limit that was hit, if any.
    pub(crate) fn take_denied(&mut self) -> Option<Report> {
        self.denied.take()
    }

    fn deny(&mut self, report: Report) -> bool {
        self.denied.get_or_insert(report);
        false
    }
}

impl Drop for Limiter {
    fn drop(&mut self) {
        self.budget.give_back(self.taken);
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if desired > self.memory_bytes {
            let limit = self.memory_bytes;
            return Ok(self.deny(
                Report::new(ErrorCode::Memory, "memory over the limit")
                    .got(format!("{desired} bytes"))
                    .limit(format!("at most {limit} bytes"))
                    .hint("raise limits.memoryBytes, or use less"),
            ));
        }
        let more = u64::try_from(desired.saturating_sub(current)).unwrap_or(u64::MAX);
        if self.budget.take(more) {
            self.taken += more;
            return Ok(true);
        }
        let limit = self.budget.limit;
        Ok(self.deny(
            Report::new(ErrorCode::InsufficientResources, "insufficient resources: memory of this host")
                .got(format!("{more} bytes more"))
                .limit(format!("at most {limit} bytes for all instances"))
                .hint("lower the actors' concurrency, or raise the host's memory budget"),
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
        MAX_TABLES
    }
    fn memories(&self) -> usize {
        MAX_MEMORIES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_shared_and_given_back() {
        let budget = Arc::new(MemoryBudget::new(100));
        let limits = Limits { memory_bytes: 80, ..Limits::default() };
        let mut one = Limiter::new(&limits, Arc::clone(&budget));
        let mut two = Limiter::new(&limits, Arc::clone(&budget));
        assert!(one.memory_growing(0, 60, None).unwrap());
        assert!(!two.memory_growing(0, 60, None).unwrap());
        assert_eq!(two.take_denied().unwrap().code, ErrorCode::InsufficientResources);
        assert!(!one.memory_growing(60, 90, None).unwrap());
        assert_eq!(one.take_denied().unwrap().code, ErrorCode::Memory);
        drop(one);
        assert!(two.memory_growing(0, 60, None).unwrap());
        drop(two);
        assert_eq!(budget.used(), 0);
    }
}
