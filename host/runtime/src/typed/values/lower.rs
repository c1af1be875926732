//! To a guest: [`Value`]s as core values, and into its memory.

use crate::typed::arguments::Argument;
use lattice_protocol::value::Value;
use std::mem::MaybeUninit;
use std::slice::IterMut;
use wasmtime::component::__internal::wasmtime_environ::component::VariantInfo;
use wasmtime::component::__internal::{CanonicalAbiInfo, InterfaceType, LowerContext};
use wasmtime::component::{ComponentType, Lower};
use wasmtime::{Result, ValRaw, bail, format_err};

/// A core value that says nothing.
pub(super) fn zero() -> ValRaw {
    ValRaw::u64(0)
}

/// Where a value goes.
pub(super) enum Target<'place, 'call> {
    /// Into the next core values, which are zero.
    Flat(&'place mut IterMut<'call, ValRaw>),
    /// Into the memory, at this offset, which is the guest's own for it.
    Memory(usize),
}

impl<'call> Target<'_, 'call> {
    /// Where the next one of several goes.
    fn next(&mut self, abi: &CanonicalAbiInfo) -> Target<'_, 'call> {
        match self {
            Self::Flat(slots) => Target::Flat(slots),
            Self::Memory(offset) => Target::Memory(abi.next_field32_size(offset)),
        }
    }
}

/// One value after the other.
pub(super) fn all<T>(
    cx: &mut LowerContext<'_, T>,
    types: &[InterfaceType],
    values: &[Value],
    to: Target<'_, '_>,
) -> Result<()> {
    fields(cx, types.iter().copied(), values, to)
}

/// The same with what is lent from a caller's memory.
pub(super) fn arguments<T>(
    cx: &mut LowerContext<'_, T>,
    types: &[InterfaceType],
    arguments: &[Argument<'_>],
    to: Target<'_, '_>,
) -> Result<()> {
    each(cx, types.iter().copied(), arguments, to, argument)
}

fn argument<T>(
    cx: &mut LowerContext<'_, T>,
    ty: InterfaceType,
    argument: &Argument<'_>,
    to: Target<'_, '_>,
) -> Result<()> {
    match (ty, argument) {
        (_, Argument::Value(one)) => value(cx, ty, one, to),
        (InterfaceType::String, Argument::Text(text)) => pair(cx, ty, &**text, to),
        (InterfaceType::List(index), Argument::Octets(octets))
            if cx.types[index].element == InterfaceType::U8 =>
        {
            pair(cx, ty, *octets, to)
        }
        (ty, argument) => bail!("a {} where the type is {ty:?}", argument.value().kind()),
    }
}

fn fields<T>(
    cx: &mut LowerContext<'_, T>,
    types: impl ExactSizeIterator<Item = InterfaceType>,
    values: &[Value],
    to: Target<'_, '_>,
) -> Result<()> {
    each(cx, types, values, to, value)
}

fn each<T, V>(
    cx: &mut LowerContext<'_, T>,
    types: impl ExactSizeIterator<Item = InterfaceType>,
    values: &[V],
    mut to: Target<'_, '_>,
    one: impl Fn(&mut LowerContext<'_, T>, InterfaceType, &V, Target<'_, '_>) -> Result<()>,
) -> Result<()> {
    if types.len() != values.len() {
        bail!("{} values where the type has {}", values.len(), types.len());
    }
    for (ty, value) in types.zip(values) {
        let place = to.next(cx.types.canonical_abi(&ty));
        one(cx, ty, value, place)?;
    }
    Ok(())
}

fn value<T>(
    cx: &mut LowerContext<'_, T>,
    ty: InterfaceType,
    value: &Value,
    to: Target<'_, '_>,
) -> Result<()> {
    let types = cx.types;
    match (ty, value) {
        (InterfaceType::Bool, Value::Bool(value)) => plain(cx, ty, value, to),
        (InterfaceType::S8, Value::S8(value)) => plain(cx, ty, value, to),
        (InterfaceType::U8, Value::U8(value)) => plain(cx, ty, value, to),
        (InterfaceType::S16, Value::S16(value)) => plain(cx, ty, value, to),
        (InterfaceType::U16, Value::U16(value)) => plain(cx, ty, value, to),
        (InterfaceType::S32, Value::S32(value)) => plain(cx, ty, value, to),
        (InterfaceType::U32, Value::U32(value)) => plain(cx, ty, value, to),
        (InterfaceType::S64, Value::S64(value)) => plain(cx, ty, value, to),
        (InterfaceType::U64, Value::U64(value)) => plain(cx, ty, value, to),
        (InterfaceType::Float32, Value::F32(value)) => plain(cx, ty, value, to),
        (InterfaceType::Float64, Value::F64(value)) => plain(cx, ty, value, to),
        (InterfaceType::Char, Value::Char(value)) => plain(cx, ty, value, to),
        (InterfaceType::String, Value::String(text)) => pair(cx, ty, text.as_str(), to),
        (InterfaceType::List(index), Value::Bytes(octets)) if types[index].element == InterfaceType::U8 => {
            pair(cx, ty, &**octets, to)
        }
        (InterfaceType::List(index), Value::List(items)) => list(cx, types[index].element, items, to),
        (InterfaceType::Record(index), Value::Record(values)) => {
            fields(cx, types[index].fields.iter().map(|field| field.ty), values, to)
        }
        (InterfaceType::Tuple(index), Value::Tuple(values)) => {
            fields(cx, types[index].types.iter().copied(), values, to)
        }
        (InterfaceType::Variant(index), Value::Variant(number, payload)) => {
            let ty = &types[index];
            let known = ty.cases.get_index(usize::try_from(*number)?).map(|(_, payload)| *payload);
            case(cx, (&ty.abi, &ty.info), (*number, known), payload.as_deref(), to)
        }
        (InterfaceType::Enum(index), Value::Enum(number)) => {
            let ty = &types[index];
            let known = (usize::try_from(*number)? < ty.names.len()).then_some(None);
            case(cx, (&ty.abi, &ty.info), (*number, known), None, to)
        }
        (InterfaceType::Option(index), Value::Option(some)) => {
            let ty = &types[index];
            let number = u32::from(some.is_some());
            case(cx, (&ty.abi, &ty.info), (number, Some(some.as_ref().map(|_| ty.ty))), some.as_deref(), to)
        }
        (InterfaceType::Result(index), Value::Result(outcome)) => {
            let ty = &types[index];
            let (number, known, payload) = match outcome {
                Ok(payload) => (0, ty.ok, payload),
                Err(payload) => (1, ty.err, payload),
            };
            case(cx, (&ty.abi, &ty.info), (number, Some(known)), payload.as_deref(), to)
        }
        (InterfaceType::Flags(index), Value::Flags(set)) if set.len() == types[index].names.len() => {
            flags(cx, set, &types[index].abi, to)
        }
        (ty, value) => bail!("a {} where the type is {ty:?}", value.kind()),
    }
}

fn next<'slot>(slots: &mut IterMut<'slot, ValRaw>) -> Result<&'slot mut ValRaw> {
    slots.next().ok_or_else(|| format_err!("no room for a core value"))
}

/// A value that is one core value.
fn plain<T, V: Lower + ComponentType<Lower = ValRaw>>(
    cx: &mut LowerContext<'_, T>,
    ty: InterfaceType,
    value: &V,
    to: Target<'_, '_>,
) -> Result<()> {
    match to {
        Target::Flat(slots) => {
            let mut raw = MaybeUninit::new(zero());
            value.linear_lower_to_flat(cx, ty, &mut raw)?;
            // SAFETY: it was written when it was made.
            *next(slots)? = unsafe { raw.assume_init() };
            Ok(())
        }
        Target::Memory(at) => value.linear_lower_to_memory(cx, ty, at),
    }
}

/// A value that is a pointer and a length.
fn pair<T, V: Lower + ComponentType<Lower = [ValRaw; 2]> + ?Sized>(
    cx: &mut LowerContext<'_, T>,
    ty: InterfaceType,
    value: &V,
    to: Target<'_, '_>,
) -> Result<()> {
    match to {
        Target::Flat(slots) => {
            let mut raw = MaybeUninit::new([zero(); 2]);
            value.linear_lower_to_flat(cx, ty, &mut raw)?;
            // SAFETY: it was written when it was made.
            let [pointer, length] = unsafe { raw.assume_init() };
            *next(slots)? = pointer;
            *next(slots)? = length;
            Ok(())
        }
        Target::Memory(at) => value.linear_lower_to_memory(cx, ty, at),
    }
}

fn list<T>(
    cx: &mut LowerContext<'_, T>,
    element: InterfaceType,
    items: &[Value],
    to: Target<'_, '_>,
) -> Result<()> {
    let abi = cx.types.canonical_abi(&element);
    let size = usize::try_from(abi.size32)?.saturating_mul(items.len());
    let at = cx.realloc(0, 0, abi.align32, size)?;
    fields(cx, std::iter::repeat_n(element, items.len()), items, Target::Memory(at))?;
    let (at, length) = (u32::try_from(at)?, u32::try_from(items.len())?);
    match to {
        Target::Flat(slots) => {
            *next(slots)? = ValRaw::u32(at);
            *next(slots)? = ValRaw::u32(length);
        }
        Target::Memory(place) => {
            at.linear_lower_to_memory(cx, InterfaceType::U32, place)?;
            length.linear_lower_to_memory(cx, InterfaceType::U32, place.saturating_add(4))?;
        }
    }
    Ok(())
}

/// A case and its payload. `known` is what the type says of the case: no case, or its payload's type.
fn case<T>(
    cx: &mut LowerContext<'_, T>,
    (abi, info): (&CanonicalAbiInfo, &VariantInfo),
    (number, known): (u32, Option<Option<InterfaceType>>),
    payload: Option<&Value>,
    to: Target<'_, '_>,
) -> Result<()> {
    let payload = match (known, payload) {
        (Some(Some(ty)), Some(payload)) => Some((ty, payload)),
        (Some(None), None) => None,
        (None, _) => bail!("there is no case {number}"),
        _ => bail!("case {number} with a payload that its type has not, or without one that it has"),
    };
    let mut inside = |to: Target<'_, '_>| payload.map_or(Ok(()), |(ty, payload)| value(cx, ty, payload, to));
    match to {
        Target::Flat(slots) => {
            let left = slots.len().checked_sub(abi.flat_count(usize::MAX).unwrap_or(0));
            *next(slots)? = ValRaw::u32(number);
            inside(Target::Flat(slots))?;
            // All cases take as many core values as the largest.
            while left.is_some_and(|left| slots.len() > left) {
                next(slots)?;
            }
        }
        Target::Memory(at) => {
            inside(Target::Memory(at.saturating_add(usize::try_from(info.payload_offset32)?)))?;
            match usize::from(info.size) {
                1 => u8::try_from(number)?.linear_lower_to_memory(cx, InterfaceType::U8, at)?,
                2 => u16::try_from(number)?.linear_lower_to_memory(cx, InterfaceType::U16, at)?,
                _ => number.linear_lower_to_memory(cx, InterfaceType::U32, at)?,
            }
        }
    }
    Ok(())
}

fn flags<T>(
    cx: &mut LowerContext<'_, T>,
    set: &[bool],
    abi: &CanonicalAbiInfo,
    to: Target<'_, '_>,
) -> Result<()> {
    let octet = |bits: &[bool]| bits.iter().rev().fold(0u8, |octet, bit| octet << 1 | u8::from(*bit));
    match to {
        Target::Flat(slots) => {
            for word in set.chunks(32) {
                let word = word.chunks(8).rev().fold(0u32, |word, bits| word << 8 | u32::from(octet(bits)));
                *next(slots)? = ValRaw::u32(word);
            }
        }
        Target::Memory(at) => {
            let place = cx.as_slice_mut().get_mut(at..).and_then(|rest| rest.get_mut(..abi.size32 as usize));
            let place = place.ok_or_else(|| format_err!("pointer out of bounds of memory"))?;
            let octets = set.chunks(8).map(octet).chain(std::iter::repeat(0));
            place.iter_mut().zip(octets).for_each(|(place, octet)| *place = octet);
        }
    }
    Ok(())
}
