//! A loaded component: verified, checked, compiled (or taken from the cache), its imports
//! classified, everything linked that can be linked before an actor exists.
//!
//! What it *is* (claims, imports, exports, types of functions) stays for as long as it does; the
//! native code that it *runs on* ([`Code`]) may be let go while nobody calls it, and is loaded again for
//! the next call: an actor that waits costs a few KiB then.
//!
//! ```text
//! loaded ──▶ running ──(no instance, no call for a while: `unload`)──▶ unloaded ──(`code`)──▶ running
//! ```
//! Invariants: a [`Component`] is only made from claims that were verified for these very bytes, and
//! only code that was made of them comes back; code is let go only where it can be had again; an
//! instance holds the code that it was made of, so places are looked up in that and in no other.

pub(crate) mod check;
mod code;
mod imports;
mod nesting;

pub(crate) use code::{Code, HttpHandler, Place};
pub use imports::{Import, ImportClass};
pub use nesting::check_nesting;

use crate::cache::Used;
use crate::engine::{Profile, ProfileEngine};
use crate::runtime::Runtime;
use crate::typed;
use arc_swap::ArcSwapOption;
use bytes::Bytes;
use keys::{Claims, Verified};
use lattice_protocol::value::Signature;
use lattice_protocol::{Interface, Report};
use std::sync::Arc;
use wasmtime::ResourcesRequired;
use wasmtime::component::ComponentExportIndex;
use wasmtime::component::types::ComponentItem;

/// Raised when the checks become stricter, so that what passed the old ones is checked again.
pub(crate) const CHECKS_VERSION: u32 = 1;

/// Where a component's signed file can be read again, whenever its code was let go and is not in the
/// cache any more. Called on a thread that may block.
pub type Source = Arc<dyn Fn() -> Result<Bytes, Report> + Send + Sync>;

/// A component that was verified, checked and compiled.
pub struct Component {
    pub(crate) claims: Verified<Claims>,
    pub(crate) profile: Profile,
    /// Largest linear memory that its engine can give, bytes.
    pub(crate) max_memory: u64,
    /// What an instance begins with; none when it has core modules of others.
    pub(crate) needs: Option<ResourcesRequired>,
    pub(crate) handles: Handles,
    imports: Vec<Import>,
    exports: Vec<Interface>,
    functions: ExportedFunctions,
    from_cache: bool,
    /// Its compiled form stays in the cache for as long.
    kept: Option<Arc<Used>>,
    code: ArcSwapOption<Code>,
    /// One at a time loads it again.
    loading: tokio::sync::Mutex<()>,
    pub(crate) source: Option<Source>,
}

/// Every exported interface, in order. Small lists: they stay for as long as an actor does.
pub(crate) type ExportedFunctions = Vec<ExportedInterface>;

/// The functions of one exported interface.
pub(crate) struct ExportedInterface {
    pub(crate) interface: Interface,
    functions: Vec<ExportedFunction>,
}

/// One exported function.
pub(crate) struct ExportedFunction {
    name: String,
    /// Its type as other hosts understand it, or why it cannot be called by other actors.
    pub(crate) signature: Result<Signature, Box<Report>>,
    pub(crate) place: Place,
}

impl ExportedInterface {
    fn function(&self, name: &str) -> Option<&ExportedFunction> {
        self.functions.iter().find(|function| function.name == name)
    }
}

/// Which of the standard handlers a component exports.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Handles {
    pub(crate) http: Option<HttpWorld>,
    /// `wasmcloud:messaging/handler.handle-message`.
    pub(crate) message: Option<Place>,
    /// Both halves of a persistent actor.
    pub(crate) persistent: bool,
}

/// Whose HTTP handler it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HttpWorld {
    /// `wasi:http/incoming-handler` 0.2.
    Incoming,
    /// `wasi:http/handler` 0.3.
    Service,
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
        let needs = compiled.resources_required();
        let (functions, indices) = exported_functions(&compiled);
        let code = Code::link(compiled, indices, &imports, &functions, engine)?;
        Ok(Self {
            claims,
            profile,
            max_memory: engine.max_memory,
            needs,
            handles: code.handles(&functions),
            exports: functions.iter().map(|exported| exported.interface.clone()).collect(),
            imports,
            functions,
            from_cache: false,
            kept: None,
            code: ArcSwapOption::from_pointee(code),
            loading: tokio::sync::Mutex::default(),
            source: None,
        })
    }

    /// The same code once more, of the same bytes.
    pub(crate) fn relink(
        &self,
        compiled: wasmtime::component::Component,
        engine: &ProfileEngine,
    ) -> Result<Code, Report> {
        let (_, indices) = exported_functions(&compiled);
        Code::link(compiled, indices, &self.imports, &self.functions, engine)
    }

    /// What it runs on, loaded again if it was let go.
    ///
    /// # Errors
    /// It is neither in the cache any more nor to be had from its source, or cannot be compiled.
    pub(crate) async fn code(&self, runtime: &Runtime) -> Result<Arc<Code>, Report> {
        if let Some(code) = self.code.load_full() {
            return Ok(code);
        }
        let _turn = self.loading.lock().await;
        if let Some(code) = self.code.load_full() {
            return Ok(code);
        }
        let code = Arc::new(runtime.reload(self).await?);
        self.code.store(Some(Arc::clone(&code)));
        Ok(code)
    }

    /// Is what it runs on in memory?
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        self.code.load().is_some()
    }

    /// Lets go of what it runs on, when that can be had again; true if something went. Instances that
    /// exist keep theirs.
    pub(crate) fn unload(&self) -> bool {
        self.source.is_some() && self.code.swap(None).is_some()
    }

    /// Its code may be let go from now on: this is where it comes from.
    pub(crate) fn with_source(mut self, source: Option<Source>) -> Self {
        self.source = source;
        self
    }

    pub(crate) fn with_cache_hit(mut self, from_cache: bool) -> Self {
        self.from_cache = from_cache;
        self
    }

    pub(crate) fn with_kept(mut self, kept: Option<Arc<Used>>) -> Self {
        self.kept = kept;
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
        self.handles.http.is_some()
    }
    /// Does it handle messages?
    #[must_use]
    pub fn serves_messages(&self) -> bool {
        self.handles.message.is_some()
    }
    /// Is it a persistent actor: one whose state is folded from events?
    #[must_use]
    pub fn is_persistent(&self) -> bool {
        self.handles.persistent
    }

    /// An exported function. The interface is matched as the component model links versions.
    pub(crate) fn function(&self, interface: &str, function: &str) -> Option<&ExportedFunction> {
        let wanted: Interface = interface.parse().ok()?;
        let exact = self.functions.iter().find(|exported| exported.interface == wanted);
        let linking = || self.functions.iter().find(|exported| wanted.links_to(&exported.interface));
        exact.or_else(linking)?.function(function)
    }
}

/// The functions of every exported interface, numbered, and where each number lies. The same bytes
/// give the same numbers.
fn exported_functions(
    compiled: &wasmtime::component::Component,
) -> (ExportedFunctions, Vec<ComponentExportIndex>) {
    let component = compiled.component_type();
    let engine = compiled.engine();
    let (mut found, mut indices) = (Vec::new(), Vec::new());
    for (name, export) in component.exports(engine) {
        let (Ok(interface), ComponentItem::ComponentInstance(instance)) =
            (name.parse::<Interface>(), export.ty)
        else {
            continue;
        };
        let Some(at) = compiled.get_export_index(None, name) else { continue };
        let mut functions = Vec::new();
        for (name, export) in instance.exports(engine) {
            let ComponentItem::ComponentFunc(ty) = export.ty else { continue };
            let Some(index) = compiled.get_export_index(Some(&at), name) else { continue };
            let place = Place { number: indices.len(), results: ty.results().len() };
            indices.push(index);
            let signature = typed::signature_of(&ty).map_err(Box::new);
            functions.push(ExportedFunction { name: name.to_owned(), signature, place });
        }
        functions.shrink_to_fit();
        found.push(ExportedInterface { interface, functions });
    }
    found.sort_by(|one, other| one.interface.cmp(&other.interface));
    (found, indices)
}
