//! Bytes to values. The bytes come from another machine: nothing here allocates more than the
//! input can fill, recurses deeper than the limits, or accepts a second form of a value.

use super::encode::{CANONICAL_NAN_32, CANONICAL_NAN_64};
use super::{DecodeError, Limits, MAX_DEPTH, Type, Value};
use crate::leb::{self, LebError};
use bytes::Bytes;

/// Reads one value, which must be the whole input.
///
/// # Errors
/// [`DecodeError`].
pub fn decode(ty: &Type, input: &[u8], limits: &Limits) -> Result<Value, DecodeError> {
    let mut decoder = Decoder::new(input, limits);
    let value = decoder.value(ty, limits.max_depth.min(MAX_DEPTH))?;
    decoder.finish()?;
    Ok(value)
}

/// Reads one value of each type, which together must be the whole input.
///
/// # Errors
/// [`DecodeError`].
pub fn decode_all<'t>(
    types: impl IntoIterator<Item = &'t Type>,
    input: &[u8],
    limits: &Limits,
) -> Result<Vec<Value>, DecodeError> {
    let mut decoder = Decoder::new(input, limits);
    let depth = limits.max_depth.min(MAX_DEPTH);
    let values = types.into_iter().map(|ty| decoder.value(ty, depth)).collect::<Result<_, _>>()?;
    decoder.finish()?;
    Ok(values)
}

/// Room reserved for a list before its elements are there.
const FIRST_RESERVATION: usize = 1_024;

struct Decoder<'input> {
    input: &'input [u8],
    rest: &'input [u8],
    nodes_left: usize,
    limits: &'input Limits,
}

impl<'input> Decoder<'input> {
    fn new(input: &'input [u8], limits: &'input Limits) -> Self {
        Self { input, rest: input, nodes_left: limits.max_nodes, limits }
    }

    fn offset(&self) -> usize {
        self.input.len() - self.rest.len()
    }

    fn invalid(&self, what: &'static str) -> DecodeError {
        DecodeError::Invalid { what, offset: self.offset() }
    }

    fn finish(&self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Trailing { count: self.rest.len() }) }
    }

    fn take(&mut self, count: usize) -> Result<&'input [u8], DecodeError> {
        let (taken, rest) =
            self.rest.split_at_checked(count).ok_or(DecodeError::Truncated { offset: self.input.len() })?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) =
            self.rest.split_first_chunk::<N>().ok_or(DecodeError::Truncated { offset: self.input.len() })?;
        self.rest = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// A byte that is 0 or 1.
    fn bit(&mut self, what: &'static str) -> Result<bool, DecodeError> {
        match self.rest.first() {
            Some(byte @ (0 | 1)) => {
                let set = *byte == 1;
                self.take(1)?;
                Ok(set)
            }
            Some(_) => Err(self.invalid(what)),
            None => Err(DecodeError::Truncated { offset: self.input.len() }),
        }
    }

    fn leb<N, W: TryInto<N>>(&mut self, read: leb::Read<W>) -> Result<N, DecodeError> {
        let (wide, taken) = read(self.rest).map_err(|error| match error {
            LebError::Truncated => DecodeError::Truncated { offset: self.input.len() },
            LebError::Overlong => self.invalid("number longer than its shortest form"),
            LebError::TooBig => self.invalid("number out of range"),
        })?;
        let number = wide.try_into().map_err(|_| self.invalid("number out of range"))?;
        self.take(taken)?;
        Ok(number)
    }

    fn unsigned<N>(&mut self) -> Result<N, DecodeError>
    where
        u64: TryInto<N>,
    {
        self.leb(leb::read_unsigned)
    }

    fn signed<N>(&mut self) -> Result<N, DecodeError>
    where
        i64: TryInto<N>,
    {
        self.leb(leb::read_signed)
    }

    fn block(&mut self) -> Result<&'input [u8], DecodeError> {
        let length = self.unsigned::<usize>()?;
        self.take(length)
    }

    fn value(&mut self, ty: &Type, depth: usize) -> Result<Value, DecodeError> {
        self.nodes_left =
            self.nodes_left.checked_sub(1).ok_or(DecodeError::Nodes { limit: self.limits.max_nodes })?;
        Ok(match ty {
            Type::Bool => Value::Bool(self.bit("truth value that is neither 0 nor 1")?),
            Type::U8 => Value::U8(self.byte()?),
            Type::S8 => Value::S8(i8::from_le_bytes(self.array()?)),
            Type::U16 => Value::U16(self.unsigned()?),
            Type::U32 => Value::U32(self.unsigned()?),
            Type::U64 => Value::U64(self.unsigned()?),
            Type::S16 => Value::S16(self.signed()?),
            Type::S32 => Value::S32(self.signed()?),
            Type::S64 => Value::S64(self.signed()?),
            Type::F32 => Value::F32(self.float32()?),
            Type::F64 => Value::F64(self.float64()?),
            Type::Char => Value::Char(self.char()?),
            Type::String => {
                let text =
                    std::str::from_utf8(self.block()?).map_err(|_| self.invalid("text that is not UTF-8"))?;
                Value::String(text.to_owned())
            }
            Type::List(element) if **element == Type::U8 => {
                Value::Bytes(Bytes::copy_from_slice(self.block()?))
            }
            Type::Enum(names) => Value::Enum(self.case(names.len())?),
            Type::Flags(names) => Value::Flags(self.flags(names.len())?),
            _ => {
                let depth = depth
                    .checked_sub(1)
                    .ok_or(DecodeError::Depth { limit: self.limits.max_depth.min(MAX_DEPTH) })?;
                self.nested(ty, depth)?
            }
        })
    }

    fn nested(&mut self, ty: &Type, depth: usize) -> Result<Value, DecodeError> {
        Ok(match ty {
            Type::List(element) => Value::List(self.list(element, depth)?),
            Type::Record(fields) => Value::Record(
                fields.iter().map(|field| self.value(&field.ty, depth)).collect::<Result<_, _>>()?,
            ),
            Type::Tuple(types) => {
                Value::Tuple(types.iter().map(|ty| self.value(ty, depth)).collect::<Result<_, _>>()?)
            }
            Type::Variant(cases) => {
                let case = self.case(cases.len())?;
                let payload = cases.get(case as usize).and_then(|case| case.ty.as_ref());
                Value::Variant(case, self.payload(payload, depth)?)
            }
            Type::Option(some) => {
                let present = self.bit("option that is neither 0 nor 1")?;
                Value::Option(self.payload(present.then_some(&**some), depth)?)
            }
            Type::Result { ok, err } => {
                if self.bit("result that is neither 0 nor 1")? {
                    Value::Result(Err(self.payload(err.as_deref(), depth)?))
                } else {
                    Value::Result(Ok(self.payload(ok.as_deref(), depth)?))
                }
            }
            // Every other type is a leaf and was read by `value`.
            _ => return Err(self.invalid("not a nested type")),
        })
    }

    fn payload(&mut self, ty: Option<&Type>, depth: usize) -> Result<Option<Box<Value>>, DecodeError> {
        ty.map(|ty| self.value(ty, depth).map(Box::new)).transpose()
    }

    fn list(&mut self, element: &Type, depth: usize) -> Result<Vec<Value>, DecodeError> {
        let start = self.offset();
        let count = self.unsigned::<usize>()?;
        if count > self.rest.len() && !element.may_be_empty() {
            return Err(DecodeError::Invalid { what: "list longer than the input", offset: start });
        }
        let mut items = Vec::with_capacity(count.min(FIRST_RESERVATION));
        for _ in 0..count {
            items.push(self.value(element, depth)?);
        }
        Ok(items)
    }

    fn case(&mut self, count: usize) -> Result<u32, DecodeError> {
        let start = self.offset();
        let case = self.unsigned::<u32>()?;
        if (case as usize) < count {
            Ok(case)
        } else {
            Err(DecodeError::Invalid { what: "case that the type does not have", offset: start })
        }
    }

    fn flags(&mut self, count: usize) -> Result<Vec<bool>, DecodeError> {
        let start = self.offset();
        let bytes = self.take(count.div_ceil(8))?;
        let mut bits = bytes.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1));
        let flags = bits.by_ref().take(count).collect();
        if bits.any(|set| set) {
            return Err(DecodeError::Invalid { what: "flag that the type does not have", offset: start });
        }
        Ok(flags)
    }

    fn float32(&mut self) -> Result<f32, DecodeError> {
        let start = self.offset();
        let number = f32::from_le_bytes(self.array()?);
        if number.is_nan() && number.to_bits() != CANONICAL_NAN_32 {
            return Err(DecodeError::Invalid { what: "NaN that is not the canonical one", offset: start });
        }
        Ok(number)
    }

    fn float64(&mut self) -> Result<f64, DecodeError> {
        let start = self.offset();
        let number = f64::from_le_bytes(self.array()?);
        if number.is_nan() && number.to_bits() != CANONICAL_NAN_64 {
            return Err(DecodeError::Invalid { what: "NaN that is not the canonical one", offset: start });
        }
        Ok(number)
    }

    fn char(&mut self) -> Result<char, DecodeError> {
        let length = match self.rest.first() {
            None => return Err(DecodeError::Truncated { offset: self.input.len() }),
            Some(0x00..=0x7f) => 1,
            Some(0xc2..=0xdf) => 2,
            Some(0xe0..=0xef) => 3,
            Some(0xf0..=0xf4) => 4,
            Some(_) => return Err(self.invalid("character that is not UTF-8")),
        };
        let start = self.offset();
        std::str::from_utf8(self.take(length)?)
            .ok()
            .and_then(|text| text.chars().next())
            .ok_or(DecodeError::Invalid { what: "character that is not UTF-8", offset: start })
    }
}
