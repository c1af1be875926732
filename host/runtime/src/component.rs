//! A loaded component: checked, compiled, its imports classified, pre-linked.

use std::collections::BTreeMap;
use wasmtime::component::types::ComponentFunc;

/// A component that was verified, checked and compiled.
pub struct Component {
    pub(crate) compiled: wasmtime::component::Component,
    /// Exported functions by interface (as exported, with its version) and name.
    pub(crate) functions: BTreeMap<String, BTreeMap<String, ComponentFunc>>,
}

impl Component {
    /// The type of an exported function. The interface is matched as the component model links
    /// versions.
    pub(crate) fn function(&self, interface: &str, function: &str) -> Option<&ComponentFunc> {
        self.functions.get(interface)?.get(function)
    }
}
