//! Generated from `wit/trellis-actor`, which guests are built against too.

use crate::component::ExportedFunctions;
use crate::state::InstanceState;
use lattice_protocol::{ErrorCode, Interface, Report};
use wasmtime::component::{HasSelf, InstancePre, Linker};

wasmtime::component::bindgen!({
    path: "../../wit/trellis-actor",
    world: "trellis:actor/persistent-actor",
    exports: { default: async },
});

pub(super) use trellis::actor::types;

/// Where a component's two halves are.
pub(crate) type Indices = PersistentActorIndices;

impl types::Host for InstanceState {}

/// Defines the types' interface, of which there is nothing to call.
pub(crate) fn link(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    types::add_to_linker::<_, HasSelf<_>>(linker, |state| state)
}

/// The halves of a component that exports both.
///
/// # Errors
/// `E_NO_HANDLER` when it exports only one, `E_VERSION` when they are of other types.
pub(crate) fn find(
    pre: &InstancePre<InstanceState>,
    exports: &ExportedFunctions,
) -> Result<Option<Indices>, Report> {
    let has = |name: &str| {
        let called =
            |interface: &Interface| interface.package() == "trellis:actor" && interface.name() == name;
        exports.iter().any(|exported| called(&exported.interface))
    };
    match (has("entity"), has("behaviour")) {
        (false, false) => Ok(None),
        (true, true) => {
            Indices::new(pre).map(Some).map_err(|error| Report::new(ErrorCode::Version, format!("{error:#}")))
        }
        (entity, _) => {
            let lacks = if entity { "behaviour" } else { "entity" };
            Err(Report::new(ErrorCode::NoHandler, format!("export trellis:actor/{lacks}"))
                .hint("a persistent actor exports both entity and behaviour"))
        }
    }
}
