//! What all connections of one listener share: the routes, and counts against its limits.

use crate::limits::Limits;
use crate::routes::{Gate, RouteError, Table};
use arc_swap::{ArcSwap, Guard};
use providers_sdk::http::{HttpHandler, RouteRequest};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The state of one listener.
pub(crate) struct Shared {
    pub(crate) limits: Limits,
    table: ArcSwap<Table>,
    /// Serialises changes of the table; readers never take it.
    changing: Mutex<()>,
    requests: AtomicUsize,
    connections: AtomicUsize,
    addresses: Mutex<BTreeMap<IpAddr, usize>>,
}

/// One request's place; dropping it frees it.
pub(crate) struct Slot(Arc<Shared>);

/// One connection's place; dropping it frees it.
pub(crate) struct Seat {
    shared: Arc<Shared>,
    address: IpAddr,
}

impl Shared {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            table: ArcSwap::default(),
            changing: Mutex::new(()),
            requests: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            addresses: Mutex::default(),
        }
    }

    /// The routes as they are now.
    pub(crate) fn table(&self) -> Guard<Arc<Table>> {
        self.table.load()
    }

    /// Adds a route.
    ///
    /// # Errors
    /// [`RouteError`].
    pub(crate) fn add_route(
        &self,
        request: &RouteRequest,
        handler: Arc<dyn HttpHandler>,
    ) -> Result<Arc<Gate>, RouteError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let (next, gate) = self.table.load().with(request, handler)?;
        self.table.store(Arc::new(next));
        Ok(gate)
    }

    /// Takes a route away.
    pub(crate) fn remove_route(&self, gate: &Arc<Gate>) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let next = self.table.load().without(gate);
        self.table.store(Arc::new(next));
    }

    /// A place for one more request; none at the limit.
    pub(crate) fn slot(self: &Arc<Self>) -> Option<Slot> {
        let slot = Slot(Arc::clone(self));
        let before = self.requests.fetch_add(1, Ordering::Relaxed);
        (before < self.limits.max_requests).then_some(slot)
    }

    /// A place for one more connection; none at either limit.
    pub(crate) fn seat(self: &Arc<Self>, peer: IpAddr) -> Option<Seat> {
        let address = network(peer);
        *self.addresses.lock().unwrap_or_else(PoisonError::into_inner).entry(address).or_default() += 1;
        let before = self.connections.fetch_add(1, Ordering::Relaxed);
        let seat = Seat { shared: Arc::clone(self), address };
        let of_address = self.of_address(address);
        let fits =
            before < self.limits.max_connections && of_address <= self.limits.max_connections_per_address;
        fits.then_some(seat)
    }

    /// Is there more than one connection?
    pub(crate) fn has_company(&self) -> bool {
        self.connections.load(Ordering::Relaxed) > 1
    }

    fn of_address(&self, address: IpAddr) -> usize {
        let addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        addresses.get(&address).copied().unwrap_or(0)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.shared.connections.fetch_sub(1, Ordering::Relaxed);
        let mut addresses = self.shared.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = addresses.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&self.address);
            }
        }
    }
}

/// Who an address is counted as: one customer usually has a whole /64 of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_and_slots_are_counted_and_given_back() {
        let limits = Limits {
            max_connections: 3,
            max_connections_per_address: 2,
            max_requests: 1,
            ..Limits::default()
        };
        let shared = Arc::new(Shared::new(limits));
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let one = shared.seat(address("10.0.0.1"));
        let _two = shared.seat(address("::ffff:10.0.0.1"));
        assert!(one.is_some() && shared.seat(address("10.0.0.1")).is_none());
        let _three = shared.seat(address("2001:db8::1"));
        assert!(shared.seat(address("10.0.0.2")).is_none(), "the total");
        drop(one);
        let again = shared.seat(address("2001:db8::ffff"));
        assert!(again.is_some() && shared.seat(address("2001:db8::2")).is_none());
        let slot = shared.slot();
        assert!(slot.is_some() && shared.slot().is_none());
        drop(slot);
        assert!(shared.slot().is_some());
    }
}
