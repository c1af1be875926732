//! Values to bytes. Every value is checked against its type on the way, so that nothing leaves
//! that the other side would refuse.

use super::{EncodeError, MAX_DEPTH, Type, Value};
use crate::leb;
use std::borrow::Borrow;

/// Appends one value.
///
/// # Errors
/// [`EncodeError`] when the value is not of the type; what was appended until then stays.
pub fn encode(value: &Value, ty: &Type, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    write(value, ty, out, MAX_DEPTH)
}

/// Encodes parameters or results: one after the other, nothing between.
///
/// # Errors
/// [`EncodeError`] when a value is not of its type, or there are not as many.
pub fn encode_all<'t, V: Borrow<Value>>(
    values: &[V],
    types: impl IntoIterator<Item = &'t Type, IntoIter: ExactSizeIterator>,
) -> Result<Vec<u8>, EncodeError> {
    let types = types.into_iter();
    if types.len() != values.len() {
        return Err(EncodeError::Count { expected: types.len(), got: values.len() });
    }
    let mut out = Vec::with_capacity(64);
    values.iter().zip(types).try_for_each(|(value, ty)| encode(value.borrow(), ty, &mut out))?;
    Ok(out)
}

fn mismatch(value: &Value, ty: &Type) -> EncodeError {
    EncodeError::Mismatch { expected: ty.to_string(), got: value.kind() }
}

fn write(value: &Value, ty: &Type, out: &mut Vec<u8>, depth: usize) -> Result<(), EncodeError> {
    match (value, ty) {
        (Value::Bool(truth), Type::Bool) => out.push(u8::from(*truth)),
        (Value::U8(number), Type::U8) => out.push(*number),
        (Value::S8(number), Type::S8) => out.extend_from_slice(&number.to_le_bytes()),
        (Value::U16(number), Type::U16) => leb::write_unsigned((*number).into(), out),
        (Value::U32(number), Type::U32) => leb::write_unsigned((*number).into(), out),
        (Value::U64(number), Type::U64) => leb::write_unsigned(*number, out),
        (Value::S16(number), Type::S16) => leb::write_signed((*number).into(), out),
        (Value::S32(number), Type::S32) => leb::write_signed((*number).into(), out),
        (Value::S64(number), Type::S64) => leb::write_signed(*number, out),
        (Value::F32(number), Type::F32) => {
            let bits = if number.is_nan() { CANONICAL_NAN_32 } else { number.to_bits() };
            out.extend_from_slice(&bits.to_le_bytes());
        }
        (Value::F64(number), Type::F64) => {
            let bits = if number.is_nan() { CANONICAL_NAN_64 } else { number.to_bits() };
            out.extend_from_slice(&bits.to_le_bytes());
        }
        (Value::Char(character), Type::Char) => {
            out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
        (Value::String(text), Type::String) => block(text.as_bytes(), out),
        (Value::Bytes(bytes), Type::List(element)) if **element == Type::U8 => block(bytes, out),
        (Value::Enum(case), Type::Enum(names)) if (*case as usize) < names.len() => {
            leb::write_unsigned((*case).into(), out);
        }
        (Value::Flags(flags), Type::Flags(names)) if flags.len() == names.len() => {
            out.extend(flags.chunks(8).map(|chunk| {
                chunk.iter().enumerate().fold(0_u8, |byte, (bit, set)| byte | (u8::from(*set) << bit))
            }));
        }
        _ => return nested(value, ty, out, depth),
    }
    Ok(())
}

/// The one NaN of each width that is ever on the wire.
pub(super) const CANONICAL_NAN_32: u32 = 0x7fc0_0000;
/// See [`CANONICAL_NAN_32`].
pub(super) const CANONICAL_NAN_64: u64 = 0x7ff8_0000_0000_0000;

fn block(bytes: &[u8], out: &mut Vec<u8>) {
    leb::write_unsigned(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn nested(value: &Value, ty: &Type, out: &mut Vec<u8>, depth: usize) -> Result<(), EncodeError> {
    let depth = depth.checked_sub(1).ok_or(EncodeError::Depth { limit: MAX_DEPTH })?;
    match (value, ty) {
        (Value::List(items), Type::List(element)) => {
            leb::write_unsigned(items.len() as u64, out);
            items.iter().try_for_each(|item| write(item, element, out, depth))
        }
        (Value::Record(values), Type::Record(fields)) if values.len() == fields.len() => {
            values.iter().zip(fields).try_for_each(|(value, field)| write(value, &field.ty, out, depth))
        }
        (Value::Tuple(values), Type::Tuple(types)) if values.len() == types.len() => {
            values.iter().zip(types).try_for_each(|(value, ty)| write(value, ty, out, depth))
        }
        (Value::Variant(case, payload), Type::Variant(cases)) => {
            let known = cases.get(*case as usize).ok_or_else(|| mismatch(value, ty))?;
            leb::write_unsigned((*case).into(), out);
            match (payload, &known.ty) {
                (None, None) => Ok(()),
                (Some(payload), Some(payload_type)) => write(payload, payload_type, out, depth),
                _ => Err(mismatch(value, ty)),
            }
        }
        (Value::Option(None), Type::Option(_)) => {
            out.push(0);
            Ok(())
        }
        (Value::Option(Some(payload)), Type::Option(some)) => {
            out.push(1);
            write(payload, some, out, depth)
        }
        (Value::Result(result), Type::Result { ok, err }) => {
            let (tag, payload, payload_type) = match result {
                Ok(payload) => (0, payload, ok),
                Err(payload) => (1, payload, err),
            };
            out.push(tag);
            match (payload, payload_type) {
                (None, None) => Ok(()),
                (Some(payload), Some(payload_type)) => write(payload, payload_type, out, depth),
                _ => Err(mismatch(value, ty)),
            }
        }
        _ => Err(mismatch(value, ty)),
    }
}
