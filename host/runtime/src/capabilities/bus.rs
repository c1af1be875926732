//! `wasmcloud:bus/lattice`: a guest chooses by which of several links of one interface its next
//! calls go. The choice lasts until its present call ends.

use super::bindings::{bus, bus_2};
use super::trap;
use crate::state::InstanceState;
use lattice_protocol::{ErrorCode, Interface, LinkName, Report};
use wasmtime::component::{HasSelf, Linker, Resource};

/// Interfaces one call may choose links for.
const MAX_SELECTED: usize = 64;

/// An interface that a link is chosen for.
pub struct Selected(Result<Interface, Report>);

pub(crate) fn link(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    bus::wasmcloud::bus::lattice::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
    bus_2::wasmcloud::bus::lattice::add_to_linker::<_, HasSelf<_>>(linker, |state| state)
}

impl InstanceState {
    fn name_interface(
        &mut self,
        namespace: &str,
        package: &str,
        interface: &str,
    ) -> wasmtime::Result<Resource<Selected>> {
        let parsed = format!("{namespace}:{package}/{interface}").parse().map_err(
            |error: lattice_protocol::interface::InterfaceError| {
                Report::new(ErrorCode::Name, error.to_string())
            },
        );
        Ok(self.table.push(Selected(parsed))?)
    }

    /// Chooses a link name for these interfaces. The handles are given up either way.
    fn choose(
        &mut self,
        name: &str,
        interfaces: Vec<Resource<Selected>>,
    ) -> wasmtime::Result<Result<Vec<Interface>, Report>> {
        let mut chosen = Vec::with_capacity(interfaces.len().min(MAX_SELECTED));
        for handle in interfaces {
            chosen.push(self.table.delete(handle)?.0);
        }
        Ok(self.choose_parsed(name, chosen))
    }

    fn choose_parsed(
        &mut self,
        name: &str,
        chosen: Vec<Result<Interface, Report>>,
    ) -> Result<Vec<Interface>, Report> {
        let name = LinkName::new(name).map_err(|error| Report::new(ErrorCode::Name, error.to_string()))?;
        let chosen = chosen.into_iter().collect::<Result<Vec<_>, _>>()?;
        if self.call.selected_link.len() + chosen.len() > MAX_SELECTED {
            return Err(Report::new(ErrorCode::Limit, "too many link names chosen").limit(MAX_SELECTED));
        }
        for interface in &chosen {
            self.call.selected_link.insert(interface.unversioned(), name.clone());
        }
        Ok(chosen)
    }
}

impl bus::wasmcloud::bus::lattice::Host for InstanceState {
    /// Version 1 has no way to refuse: a link that is missing shows at the call.
    fn set_link_name(&mut self, name: String, interfaces: Vec<Resource<Selected>>) -> wasmtime::Result<()> {
        self.choose(&name, interfaces)?.map(drop).map_err(trap)
    }
}

impl bus_2::wasmcloud::bus::lattice::Host for InstanceState {
    fn set_link_name(
        &mut self,
        name: String,
        interfaces: Vec<Resource<Selected>>,
    ) -> wasmtime::Result<Result<(), String>> {
        let outcome = self.choose(&name, interfaces)?.and_then(|chosen| {
            chosen.iter().try_for_each(|interface| self.call.resolve(interface, None).map(drop))
        });
        Ok(outcome.map_err(|report| report.to_string()))
    }
}

macro_rules! interface_handles {
    ($($resource:path;)*) => {$(
        impl $resource for InstanceState {
            fn new(&mut self, namespace: String, package: String, interface: String) -> wasmtime::Result<Resource<Selected>> {
                self.name_interface(&namespace, &package, &interface)
            }
            fn drop(&mut self, handle: Resource<Selected>) -> wasmtime::Result<()> {
                self.table.delete(handle)?;
                Ok(())
            }
        }
    )*};
}
interface_handles! {
    bus::wasmcloud::bus::lattice::HostCallTargetInterface;
    bus_2::wasmcloud::bus::lattice::HostCallTargetInterface;
}
