//! The only crate that names wasmtime: engines, component cache, instances, limits, capabilities.
