//! What a component runs on: native code, linked, with the places of what it exports.

use super::{ExportedFunctions, ExportedInterface, Handles, HttpWorld, Import, ImportClass};
use crate::engine::ProfileEngine;
use crate::state::InstanceState;
use crate::{capabilities, persistent, typed};
use lattice_protocol::{ErrorCode, Interface, Report};
use wasmtime::component::{Component, ComponentExportIndex, InstancePre};

/// Native code, and all that is found in it once. A component that is loaded again gets another:
/// an index of one means nothing in the other.
pub(crate) struct Code {
    pub(crate) compiled: Component,
    pub(crate) pre: InstancePre<InstanceState>,
    pub(crate) http: Option<HttpHandler>,
    pub(crate) persistent: Option<persistent::Indices>,
    /// Of each exported function, by its number.
    indices: Vec<ComponentExportIndex>,
}

/// An exported function, in whatever code its component has: its number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(super) number: usize,
    /// How many results it has.
    pub(crate) results: usize,
}

/// The HTTP handler of either WASI.
pub(crate) enum HttpHandler {
    /// `wasi:http/incoming-handler` 0.2.
    Incoming(wasmtime_wasi_http::p2::bindings::ProxyIndices),
    /// `wasi:http/handler` 0.3.
    Service(wasmtime_wasi_http::p3::bindings::ServiceIndices),
}

impl Code {
    /// Links compiled code with everything that it imports.
    pub(super) fn link(
        compiled: Component,
        indices: Vec<ComponentExportIndex>,
        imports: &[Import],
        functions: &ExportedFunctions,
        engine: &ProfileEngine,
    ) -> Result<Self, Report> {
        let pre = pre_link(&compiled, imports, engine)?;
        let persistent = persistent::find(&pre, functions)?;
        let http = http_handler(&pre, functions)?;
        Ok(Self { compiled, pre, http, persistent, indices })
    }

    /// What of it is a standard handler.
    pub(super) fn handles(&self, functions: &ExportedFunctions) -> Handles {
        let http = self.http.as_ref().map(|handler| match handler {
            HttpHandler::Incoming(_) => HttpWorld::Incoming,
            HttpHandler::Service(_) => HttpWorld::Service,
        });
        let message = named(functions, "wasmcloud:messaging", "handler")
            .and_then(|exported| exported.function("handle-message"))
            .map(|function| function.place);
        Handles { http, message, persistent: self.persistent.is_some() }
    }

    /// Where a function of its component lies in it.
    ///
    /// # Errors
    /// The place is of another component.
    pub(crate) fn index(&self, place: Place) -> wasmtime::Result<ComponentExportIndex> {
        let index = self.indices.get(place.number).copied();
        index.ok_or_else(|| wasmtime::format_err!("no function {} in this component", place.number))
    }
}

/// What is exported under this name, whatever its version; of several the last.
fn named<'found>(
    functions: &'found ExportedFunctions,
    package: &str,
    name: &str,
) -> Option<&'found ExportedInterface> {
    let called = |interface: &Interface| interface.package() == package && interface.name() == name;
    functions.iter().rfind(|exported| called(&exported.interface))
}

fn http_handler(
    pre: &InstancePre<InstanceState>,
    functions: &ExportedFunctions,
) -> Result<Option<HttpHandler>, Report> {
    let unfit = |error: wasmtime::Error| Report::new(ErrorCode::Version, format!("{error:#}"));
    if named(functions, "wasi:http", "incoming-handler").is_some() {
        let indices = wasmtime_wasi_http::p2::bindings::ProxyIndices::new(pre).map_err(unfit)?;
        return Ok(Some(HttpHandler::Incoming(indices)));
    }
    if named(functions, "wasi:http", "handler").is_some() {
        let indices = wasmtime_wasi_http::p3::bindings::ServiceIndices::new(pre).map_err(unfit)?;
        return Ok(Some(HttpHandler::Service(indices)));
    }
    Ok(None)
}

fn pre_link(
    compiled: &Component,
    imports: &[Import],
    engine: &ProfileEngine,
) -> Result<InstancePre<InstanceState>, Report> {
    let unlinked = |error: wasmtime::Error| {
        Report::new(ErrorCode::UnknownImport, format!("{error:#}"))
            .hint("an interface of this name exists, but not with these functions or types")
    };
    let labels: Vec<&Import> = imports.iter().filter(|import| import.label.is_some()).collect();
    let actors: Vec<Interface> = imports
        .iter()
        .filter(|import| import.class == ImportClass::Actor && import.label.is_none())
        .map(|import| import.interface.clone())
        .collect();
    if labels.is_empty() && actors.is_empty() {
        return engine.linker.instantiate_pre(compiled).map_err(unlinked);
    }
    let mut linker = engine.linker.clone();
    if !labels.is_empty() {
        capabilities::link_labels(&mut linker, compiled).map_err(unlinked)?;
    }
    if !actors.is_empty() {
        typed::link(&mut linker, compiled, &actors)?;
    }
    linker.instantiate_pre(compiled).map_err(unlinked)
}
