//! Calls from actor to actor by any WIT interface.

use crate::actor::Actor;
use crate::call::CallInfo;
use crate::state::InstanceState;
use bytes::Bytes;
use lattice_protocol::{ErrorCode, Interface, Report};
use wasmtime::component::Linker;

/// Defines the imports of one component that are neither WASI nor a capability: each call of them
/// resolves its link anew. Called once per component.
pub(crate) fn link(
    _linker: &mut Linker<InstanceState>,
    _component: &wasmtime::component::Component,
    imports: &[Interface],
) -> Result<(), Report> {
    match imports.first() {
        Some(import) => Err(Report::new(ErrorCode::UnknownImport, import.to_string())),
        None => Ok(()),
    }
}

/// Serves a call that arrived from another host: values in, values out.
pub(crate) async fn call_export(
    actor: &Actor,
    interface: &str,
    function: &str,
    _params: Bytes,
    info: CallInfo,
) -> Result<Bytes, Report> {
    actor.call_values(interface, function, Vec::new(), info).await.map(|_| Bytes::new())
}
