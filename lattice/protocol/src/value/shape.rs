//! Types of values, and the text and the hash by which two hosts see that they mean the same type.
//!
//! The canonical text names every field, case and flag, so that a reordered record is another
//! type. WIT names are words of letters, digits and hyphens: the separators cannot occur in them.

use sha2::{Digest, Sha256};
use std::fmt;

/// One field of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: Type,
}

/// One case of a variant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// Its payload, when it has one.
    pub ty: Option<Type>,
}

/// The type of a value. Resources, streams and futures are not values: they do not leave a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// `bool`
    Bool,
    /// `s8`
    S8,
    /// `u8`
    U8,
    /// `s16`
    S16,
    /// `u16`
    U16,
    /// `s32`
    S32,
    /// `u32`
    U32,
    /// `s64`
    S64,
    /// `u64`
    U64,
    /// `f32`
    F32,
    /// `f64`
    F64,
    /// `char`
    Char,
    /// `string`
    String,
    /// `list<T>`
    List(Box<Type>),
    /// `record { … }`
    Record(Vec<Field>),
    /// `tuple<…>`
    Tuple(Vec<Type>),
    /// `variant { … }`
    Variant(Vec<Case>),
    /// `enum { … }`
    Enum(Vec<String>),
    /// `option<T>`
    Option(Box<Type>),
    /// `result<T, E>`
    Result {
        /// Payload of success.
        ok: Option<Box<Type>>,
        /// Payload of failure.
        err: Option<Box<Type>>,
    },
    /// `flags { … }`
    Flags(Vec<String>),
}

impl Type {
    /// `list<T>`.
    #[must_use]
    pub fn list(element: Self) -> Self {
        Self::List(Box::new(element))
    }
    /// `option<T>`.
    #[must_use]
    pub fn option(some: Self) -> Self {
        Self::Option(Box::new(some))
    }
    /// `result<T, E>`.
    #[must_use]
    pub fn result(ok: Option<Self>, err: Option<Self>) -> Self {
        Self::Result { ok: ok.map(Box::new), err: err.map(Box::new) }
    }
    /// `record { name: type, … }`.
    #[must_use]
    pub fn record<'n>(fields: impl IntoIterator<Item = (&'n str, Self)>) -> Self {
        Self::Record(fields.into_iter().map(|(name, ty)| Field { name: name.to_owned(), ty }).collect())
    }
    /// `variant { name, name(type), … }`.
    #[must_use]
    pub fn variant<'n>(cases: impl IntoIterator<Item = (&'n str, Option<Self>)>) -> Self {
        Self::Variant(cases.into_iter().map(|(name, ty)| Case { name: name.to_owned(), ty }).collect())
    }
    /// Hash of the canonical text ([`fmt::Display`]).
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        hash("type", &self.to_string())
    }
    /// Could a value of this type take no bytes at all? Only what WIT itself forbids (a record
    /// without fields, flags without names), but types come from other people's binaries.
    pub(crate) fn may_be_empty(&self) -> bool {
        match self {
            Self::Record(fields) => fields.iter().all(|field| field.ty.may_be_empty()),
            Self::Tuple(items) => items.iter().all(Self::may_be_empty),
            Self::Flags(names) => names.is_empty(),
            _ => false,
        }
    }
}

fn hash(what: &str, text: &str) -> [u8; 32] {
    Sha256::new().chain_update(format!("trellis {what} 1\n")).chain_update(text).finalize().into()
}

fn separated<T>(
    formatter: &mut fmt::Formatter<'_>,
    items: &[T],
    mut write: impl FnMut(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    items.iter().enumerate().try_for_each(|(index, item)| {
        if index > 0 {
            formatter.write_str(", ")?;
        }
        write(formatter, item)
    })
}

fn names(formatter: &mut fmt::Formatter<'_>, word: &str, names: &[String]) -> fmt::Result {
    write!(formatter, "{word} {{")?;
    separated(formatter, names, |formatter, name| formatter.write_str(name))?;
    formatter.write_str("}")
}

impl fmt::Display for Type {
    /// WIT's notation, in one line: `record {a: u32, b: list<u8>}`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => formatter.write_str("bool"),
            Self::S8 => formatter.write_str("s8"),
            Self::U8 => formatter.write_str("u8"),
            Self::S16 => formatter.write_str("s16"),
            Self::U16 => formatter.write_str("u16"),
            Self::S32 => formatter.write_str("s32"),
            Self::U32 => formatter.write_str("u32"),
            Self::S64 => formatter.write_str("s64"),
            Self::U64 => formatter.write_str("u64"),
            Self::F32 => formatter.write_str("f32"),
            Self::F64 => formatter.write_str("f64"),
            Self::Char => formatter.write_str("char"),
            Self::String => formatter.write_str("string"),
            Self::List(element) => write!(formatter, "list<{element}>"),
            Self::Option(some) => write!(formatter, "option<{some}>"),
            Self::Enum(cases) => names(formatter, "enum", cases),
            Self::Flags(flags) => names(formatter, "flags", flags),
            Self::Tuple(items) => {
                formatter.write_str("tuple<")?;
                separated(formatter, items, |formatter, ty| write!(formatter, "{ty}"))?;
                formatter.write_str(">")
            }
            Self::Record(fields) => {
                formatter.write_str("record {")?;
                separated(formatter, fields, |formatter, field| {
                    write!(formatter, "{}: {}", field.name, field.ty)
                })?;
                formatter.write_str("}")
            }
            Self::Variant(cases) => {
                formatter.write_str("variant {")?;
                separated(formatter, cases, |formatter, case| match &case.ty {
                    Some(ty) => write!(formatter, "{}({ty})", case.name),
                    None => formatter.write_str(&case.name),
                })?;
                formatter.write_str("}")
            }
            Self::Result { ok: None, err: None } => formatter.write_str("result"),
            Self::Result { ok: Some(ok), err: None } => write!(formatter, "result<{ok}>"),
            Self::Result { ok: None, err: Some(err) } => write!(formatter, "result<_, {err}>"),
            Self::Result { ok: Some(ok), err: Some(err) } => write!(formatter, "result<{ok}, {err}>"),
        }
    }
}

/// What a function takes and gives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signature {
    /// Parameters, by name, in order.
    pub params: Vec<(String, Type)>,
    /// Results: none or one, as WIT has it today.
    pub results: Vec<Type>,
}

impl Signature {
    /// Types of the parameters.
    #[must_use]
    pub fn param_types(&self) -> Vec<Type> {
        self.params.iter().map(|(_, ty)| ty.clone()).collect()
    }
    /// Hash by which caller and callee compare what they were compiled against. Names of
    /// parameters are not on the wire and not in the hash.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut text = String::new();
        for (_, ty) in &self.params {
            text.push_str(&format!("param {ty}\n"));
        }
        for ty in &self.results {
            text.push_str(&format!("result {ty}\n"));
        }
        hash("function", &text)
    }
}

impl fmt::Display for Signature {
    /// `func(a: u32) -> string`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("func(")?;
        separated(formatter, &self.params, |formatter, (name, ty)| write!(formatter, "{name}: {ty}"))?;
        formatter.write_str(")")?;
        match self.results.as_slice() {
            [] => Ok(()),
            [only] => write!(formatter, " -> {only}"),
            several => {
                formatter.write_str(" -> (")?;
                separated(formatter, several, |formatter, ty| write!(formatter, "{ty}"))?;
                formatter.write_str(")")
            }
        }
    }
}
