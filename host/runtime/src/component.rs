//! A loaded component: verified, checked, compiled (or taken from the cache), its imports
//! classified, everything linked that can be linked before an actor exists.
//!
//! Invariant: a [`Component`] is only made from claims that were verified for these very bytes.

pub(crate) mod check;
mod imports;
mod nesting;

pub use imports::{Import, ImportClass};
pub use nesting::check_nesting;

use crate::engine::{Profile, ProfileEngine};
use crate::state::InstanceState;
use crate::{capabilities, persistent, typed};
use keys::{Claims, Verified};
use lattice_protocol::value::Signature;
use lattice_protocol::{ErrorCode, Interface, Report};
use std::collections::BTreeMap;
use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{ComponentExportIndex, InstancePre};

/// Raised when the checks become stricter, so that what passed the old ones is checked again.
pub(crate) const CHECKS_VERSION: u32 = 1;

/// A component that was verified, checked and compiled.
pub struct Component {
    pub(crate) claims: Verified<Claims>,
    pub(crate) profile: Profile,
    pub(crate) compiled: wasmtime::component::Component,
    pub(crate) pre: InstancePre<InstanceState>,
    pub(crate) handlers: Handlers,
    /// Largest linear memory that its engine can give, bytes.
    pub(crate) max_memory: u64,
    imports: Vec<Import>,
    exports: Vec<Interface>,
    functions: ExportedFunctions,
    from_cache: bool,
}

/// The functions of every exported interface.
pub(crate) type ExportedFunctions = BTreeMap<Interface, BTreeMap<String, ExportedFunction>>;

/// One exported function.
pub(crate) struct ExportedFunction {
    pub(crate) ty: ComponentFunc,
    /// Its type as other hosts understand it, or why it cannot be called by other actors.
    pub(crate) signature: Result<Signature, Report>,
    pub(crate) index: ComponentExportIndex,
}

/// Where an exported function lies in its component.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) index: ComponentExportIndex,
    /// How many results it has.
    pub(crate) results: usize,
}

impl ExportedFunction {
    pub(crate) fn place(&self) -> Place {
        Place { index: self.index, results: self.ty.results().len() }
    }
}

/// Which of the standard handlers a component exports.
#[derive(Default)]
pub(crate) struct Handlers {
    pub(crate) http: Option<HttpHandler>,
    /// `wasmcloud:messaging/handler.handle-message`.
    pub(crate) message: Option<ComponentExportIndex>,
    /// Both halves of a persistent actor.
    pub(crate) persistent: Option<persistent::Indices>,
}

/// The HTTP handler of either WASI.
pub(crate) enum HttpHandler {
    /// `wasi:http/incoming-handler` 0.2.
    Incoming(wasmtime_wasi_http::p2::bindings::ProxyIndices),
    /// `wasi:http/handler` 0.3.
    Service(wasmtime_wasi_http::p3::bindings::ServiceIndices),
}

impl Component {
    /// Links a compiled component.
    pub(crate) fn link(
        compiled: wasmtime::component::Component,
        claims: Verified<Claims>,
        engine: &ProfileEngine,
        profile: Profile,
    ) -> Result<Self, Report> {
        let imports = imports::classify(&compiled, profile, &claims)?;
        let pre = pre_link(&compiled, &imports, engine)?;
        let functions = exported_functions(&compiled);
        let exports = functions.keys().cloned().collect();
        let handlers = Handlers::find(&pre, &functions)?;
        let max_memory = engine.max_memory;
        Ok(Self {
            claims,
            profile,
            compiled,
            pre,
            handlers,
            max_memory,
            imports,
            exports,
            functions,
            from_cache: false,
        })
    }

    pub(crate) fn with_cache_hit(mut self, from_cache: bool) -> Self {
        self.from_cache = from_cache;
        self
    }

    /// What its issuer says about it.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        &self.claims
    }
    /// What it imports, but for its own instances.
    #[must_use]
    pub fn imports(&self) -> &[Import] {
        &self.imports
    }
    /// The interfaces it exports.
    #[must_use]
    pub fn exports(&self) -> &[Interface] {
        &self.exports
    }
    /// Was it compiled earlier, and only loaded now?
    #[must_use]
    pub fn from_cache(&self) -> bool {
        self.from_cache
    }
    /// Does it serve HTTP, in either WASI?
    #[must_use]
    pub fn serves_http(&self) -> bool {
        self.handlers.http.is_some()
    }
    /// Does it handle messages?
    #[must_use]
    pub fn serves_messages(&self) -> bool {
        self.handlers.message.is_some()
    }
    /// Is it a persistent actor: one whose state is folded from events?
    #[must_use]
    pub fn is_persistent(&self) -> bool {
        self.handlers.persistent.is_some()
    }

    /// An exported function. The interface is matched as the component model links versions.
    pub(crate) fn function(&self, interface: &str, function: &str) -> Option<&ExportedFunction> {
        let wanted: Interface = interface.parse().ok()?;
        let exact = self.functions.get(&wanted);
        let linking = || self.functions.iter().find(|(export, _)| wanted.links_to(export));
        exact.or_else(|| linking().map(|(_, functions)| functions))?.get(function)
    }
}

fn pre_link(
    compiled: &wasmtime::component::Component,
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

/// The functions of every exported interface.
fn exported_functions(compiled: &wasmtime::component::Component) -> ExportedFunctions {
    let component = compiled.component_type();
    let engine = compiled.engine();
    let mut found = BTreeMap::new();
    for (name, export) in component.exports(engine) {
        let (Ok(interface), ComponentItem::ComponentInstance(instance)) =
            (name.parse::<Interface>(), export.ty)
        else {
            continue;
        };
        let Some(at) = compiled.get_export_index(None, name) else { continue };
        let functions: BTreeMap<String, ExportedFunction> = instance
            .exports(engine)
            .filter_map(|(name, export)| match export.ty {
                ComponentItem::ComponentFunc(ty) => {
                    let index = compiled.get_export_index(Some(&at), name)?;
                    Some((
                        name.to_owned(),
                        ExportedFunction { signature: typed::signature_of(&ty), ty, index },
                    ))
                }
                _ => None,
            })
            .collect();
        found.insert(interface, functions);
    }
    found
}

impl Handlers {
    fn find(pre: &InstancePre<InstanceState>, functions: &ExportedFunctions) -> Result<Self, Report> {
        let unfit = |error: wasmtime::Error| Report::new(ErrorCode::Version, format!("{error:#}"));
        let mut handlers = Self { persistent: persistent::find(pre, functions)?, ..Self::default() };
        for (interface, functions) in functions {
            match (interface.package(), interface.name()) {
                ("wasi:http", "incoming-handler") => {
                    let indices = wasmtime_wasi_http::p2::bindings::ProxyIndices::new(pre).map_err(unfit)?;
                    handlers.http = Some(HttpHandler::Incoming(indices));
                }
                ("wasi:http", "handler") => {
                    let indices =
                        wasmtime_wasi_http::p3::bindings::ServiceIndices::new(pre).map_err(unfit)?;
                    handlers.http = Some(HttpHandler::Service(indices));
                }
                ("wasmcloud:messaging", "handler") => {
                    handlers.message = functions.get("handle-message").map(|function| function.index);
                }
                _ => {}
            }
        }
        Ok(handlers)
    }
}
