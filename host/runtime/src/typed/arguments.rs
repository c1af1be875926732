//! Parameters of a typed call on their way: values, which were copied out of the caller's memory; and lists
//! of bytes and texts, which are lent from it.
//!
//! The caller stands still until its call is over, so its memory is lent to every attempt: between
//! caller and callee on one host, bytes are copied once, by the engine, into the callee's memory. Only a
//! parameter itself is lent; what lies deeper, in a record or a list, is a part of a value.

use crate::state::InstanceState;
use bytes::Bytes;
use lattice_protocol::value::Value;
use std::borrow::Cow;
use wasmtime::component::{WasmList, WasmStr};
use wasmtime::{Result, StoreContextMut};

/// One parameter as a guest gave it.
pub(super) enum Parameter {
    /// Copied out of the guest's memory.
    Value(Value),
    /// Where it lies there.
    Octets(WasmList<u8>),
    /// Where it lies there.
    Text(WasmStr),
}

impl Parameter {
    /// Lends what lies in the memory of the guest whose store this is.
    ///
    /// # Errors
    /// When a text is none.
    pub(super) fn lend<'caller>(
        self,
        caller: &'caller StoreContextMut<'_, InstanceState>,
    ) -> Result<Argument<'caller>> {
        Ok(match self {
            Self::Value(value) => Argument::Value(value),
            Self::Octets(list) => Argument::Octets(list.as_le_slice(caller)),
            Self::Text(text) => Argument::Text(text.to_str(caller)?),
        })
    }
}

/// One parameter on its way to a callee.
pub(crate) enum Argument<'caller> {
    /// Any value.
    Value(Value),
    /// A `list<u8>`, as it lies in the caller's memory.
    Octets(&'caller [u8]),
    /// A `string`, as it lies in the caller's memory where that is UTF-8.
    Text(Cow<'caller, str>),
}

impl Argument<'_> {
    /// It as a value: for another host, or an instance of the concurrent profile.
    pub(crate) fn value(&self) -> Cow<'_, Value> {
        match self {
            Self::Value(value) => Cow::Borrowed(value),
            Self::Octets(octets) => Cow::Owned(Value::Bytes(Bytes::copy_from_slice(octets))),
            Self::Text(text) => Cow::Owned(Value::String(text.clone().into_owned())),
        }
    }
}

/// Nothing is lent.
pub(super) fn owned(values: Vec<Value>) -> Vec<Argument<'static>> {
    values.into_iter().map(Argument::Value).collect()
}

/// All of them as values.
pub(crate) fn values<'argument>(arguments: &'argument [Argument<'_>]) -> Vec<Cow<'argument, Value>> {
    arguments.iter().map(Argument::value).collect()
}
