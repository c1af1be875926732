//! Component-model values: what crosses between hosts in a typed call.
//!
//! [`Type`] is the shape, [`Value`] the value; a value alone is not self-describing, so both ends
//! encode and decode against a type, and compare [`Signature::fingerprint`]s before they do.
//! The encoding is that of the component model's own value definitions (Binary.md):
//!
//! | type | bytes |
//! |---|---|
//! | bool | one, 0 or 1 |
//! | u8, s8 | one |
//! | u16 … u64 | unsigned LEB128, shortest form |
//! | s16 … s64 | signed LEB128, shortest form |
//! | f32, f64 | little-endian; every NaN is the canonical one |
//! | char | its UTF-8 bytes |
//! | string | length as LEB128, UTF-8 bytes |
//! | list | length as LEB128, elements |
//! | record, tuple | fields in order |
//! | variant, enum | case as LEB128, payload |
//! | option | 0, or 1 and the payload |
//! | result | 0 and the ok payload, or 1 and the error payload |
//! | flags | one bit each, lowest first, in ⌈n/8⌉ bytes |
//!
//! Decoding is strict: one value has exactly one encoding, so equal values are equal bytes.
//! It is bounded by [`Limits`] and by the input: no length is believed before the bytes are there.

mod call;
mod decode;
mod encode;
mod error;
mod json;
mod shape;

#[cfg(test)]
mod tests;

pub use call::{
    decode_call, decode_json_answer, encode_call, encode_json_call, json_call, read_json_call,
    write_json_answer,
};
pub use decode::{decode, decode_all};
pub use encode::{encode, encode_all};
pub use error::{DecodeError, EncodeError, JsonError, JsonProblem};
pub use json::{from_json, params_from_json, to_json};
pub use shape::{Case, Field, Signature, Type};

use bytes::Bytes;

/// Deepest nesting of a value, whatever its limits say.
pub const MAX_DEPTH: usize = 64;

/// What a decoder accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Nesting, at most [`MAX_DEPTH`].
    pub max_depth: usize,
    /// Values in all, nested ones included; a `list<u8>` counts as one.
    pub max_nodes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_depth: MAX_DEPTH, max_nodes: 1 << 20 }
    }
}

/// A value. Names (of fields, cases, flags) are in its [`Type`]; here are only positions.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `bool`
    Bool(bool),
    /// `s8`
    S8(i8),
    /// `u8`
    U8(u8),
    /// `s16`
    S16(i16),
    /// `u16`
    U16(u16),
    /// `s32`
    S32(i32),
    /// `u32`
    U32(u32),
    /// `s64`
    S64(i64),
    /// `u64`
    U64(u64),
    /// `f32`
    F32(f32),
    /// `f64`
    F64(f64),
    /// `char`
    Char(char),
    /// `string`
    String(String),
    /// `list<T>`, any element but `u8` when decoded.
    List(Vec<Value>),
    /// `list<u8>`: the fast path, copied as a block.
    Bytes(Bytes),
    /// `record`: every field, in the type's order.
    Record(Vec<Value>),
    /// `tuple`
    Tuple(Vec<Value>),
    /// `variant`: the case's position, and its payload when the case has one.
    Variant(u32, Option<Box<Value>>),
    /// `enum`: the position of the name.
    Enum(u32),
    /// `option<T>`
    Option(Option<Box<Value>>),
    /// `result<T, E>`: payloads as far as the type has them.
    Result(Result<Option<Box<Value>>, Option<Box<Value>>>),
    /// `flags`: one truth value per name.
    Flags(Vec<bool>),
}

impl Value {
    /// The WIT word for what this is, for messages.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Bool(_) => "bool",
            Self::S8(_) => "s8",
            Self::U8(_) => "u8",
            Self::S16(_) => "s16",
            Self::U16(_) => "u16",
            Self::S32(_) => "s32",
            Self::U32(_) => "u32",
            Self::S64(_) => "s64",
            Self::U64(_) => "u64",
            Self::F32(_) => "f32",
            Self::F64(_) => "f64",
            Self::Char(_) => "char",
            Self::String(_) => "string",
            Self::List(_) => "list",
            Self::Bytes(_) => "list<u8>",
            Self::Record(_) => "record",
            Self::Tuple(_) => "tuple",
            Self::Variant(..) => "variant",
            Self::Enum(_) => "enum",
            Self::Option(_) => "option",
            Self::Result(_) => "result",
            Self::Flags(_) => "flags",
        }
    }
}
