//! The host side of every standard interface that is not WASI's own.

use crate::engine::Profile;
use crate::state::InstanceState;
use wasmtime::component::Linker;

pub(crate) mod http;

/// Every interface that [`link`] defines, as a component imports it (`wasi:keyvalue/store@0.2.0-draft`).
pub(crate) const INTERFACES: &[&str] = &[];

/// Defines every capability interface. Called once per engine profile.
pub(crate) fn link(_linker: &mut Linker<InstanceState>, _profile: Profile) -> wasmtime::Result<()> {
    Ok(())
}
