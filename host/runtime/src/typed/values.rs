//! Values of types that are known only when a component is loaded, between a guest and [`Value`]: a
//! `list<u8>` is copied as one block, and a record is the list of its fields. The engine's own generic
//! values have a node for each byte and a name for each field.
//!
//! The engine moves values of types that are known when it is compiled, by traits whose sizes are
//! constants. What is here says by its constant no more than how many core values of a call are its own,
//! and looks everything else up in the component's types while it walks along them.
//!
//! Invariants: nobody is believed, neither a guest (bounds, alignment, cases and characters are
//! checked, and what it makes the host allocate is counted) nor whoever made a value for it (each is
//! compared with its type); resources, streams and futures are refused.
#![allow(
    unsafe_code,
    reason = "the engine's traits for values are unsafe to implement; each says why it is sound"
)]

mod lift;
mod lower;

use super::arguments::{Argument, Parameter};
use lattice_protocol::value::{Signature, Type, Value};
use std::mem::MaybeUninit;
use wasmtime::component::__internal::wasmtime_environ::component::TypeTuple;
use wasmtime::component::__internal::{
    CanonicalAbiInfo, ComponentTypes, InstanceType, InterfaceType, LiftContext, LowerContext,
};
use wasmtime::component::{ComponentNamedList, ComponentType, Lift, Lower};
use wasmtime::{Result, ValRaw, bail};

/// Core values in which parameters are passed; more of them go through the memory.
pub(super) const MAX_FLAT_PARAMS: usize = 16;
/// Core values in which results are passed.
const MAX_FLAT_RESULTS: usize = 1;

/// Parameters of a function of the host, as a guest gave them: `FLAT` core values, or a place in its memory.
pub(super) struct Given<const FLAT: usize>(pub(super) Vec<Parameter>);

/// Results of a function of the host: `FLAT` core values, or a place in the guest's memory.
pub(super) struct Answered<const FLAT: usize>(pub(super) Vec<Value>);

/// Parameters for a guest's function.
pub(crate) struct Lent<'call>(pub(crate) &'call [Argument<'call>]);

/// Results of a guest's function.
pub(crate) struct Returned(pub(crate) Vec<Value>);

/// Core values of the parameters, and of the results, of a function that a guest imports; none where they
/// go through the memory.
pub(super) fn flat(signature: &Signature) -> (usize, usize) {
    let within = |count: usize, most: usize| if count <= most { count } else { 0 };
    let params = signature.params.iter().map(|(_, ty)| flat_count(ty)).sum();
    let results = signature.results.iter().map(flat_count).sum();
    (within(params, MAX_FLAT_PARAMS), within(results, MAX_FLAT_RESULTS))
}

fn flat_count(ty: &Type) -> usize {
    let largest = |payloads: &mut dyn Iterator<Item = &Type>| 1 + payloads.map(flat_count).max().unwrap_or(0);
    match ty {
        Type::String | Type::List(_) => 2,
        Type::Record(fields) => fields.iter().map(|field| flat_count(&field.ty)).sum(),
        Type::Tuple(items) => items.iter().map(flat_count).sum(),
        Type::Variant(cases) => largest(&mut cases.iter().filter_map(|case| case.ty.as_ref())),
        Type::Option(some) => 1 + flat_count(some),
        Type::Result { ok, err } => largest(&mut ok.iter().chain(err).map(|payload| &**payload)),
        Type::Flags(names) => names.len().div_ceil(32),
        _ => 1,
    }
}

/// Parameters and results are a tuple each.
fn tuple(types: &ComponentTypes, ty: InterfaceType) -> Result<&TypeTuple> {
    match ty {
        InterfaceType::Tuple(index) => Ok(&types[index]),
        other => bail!("a function's values are no tuple: {other:?}"),
    }
}

/// Where the engine's slice lies in the guest's memory: it is a part of it, and empty.
fn offset(part: &[u8], memory: &[u8]) -> usize {
    part.as_ptr().addr().saturating_sub(memory.as_ptr().addr())
}

/// When a call is linked: are there `flat` core values, or more than may be passed so?
fn counted(ty: &InterfaceType, types: &InstanceType<'_>, flat: usize, most: usize) -> Result<()> {
    match tuple(types.types, *ty)?.abi.flat_count(most) {
        Some(count) if count != flat => bail!("{count} core values where {flat} were counted"),
        _ => Ok(()),
    }
}

// SAFETY: it is as many core values as the engine found in the function's type, which `typecheck` compares; from
// memory it takes nothing itself (its size is 0), but only what it looks up and checks.
unsafe impl<const FLAT: usize> ComponentType for Given<FLAT> {
    type Lower = [ValRaw; FLAT];
    const ABI: CanonicalAbiInfo = CanonicalAbiInfo::ZERO;

    fn typecheck(ty: &InterfaceType, types: &InstanceType<'_>) -> Result<()> {
        counted(ty, types, FLAT, MAX_FLAT_PARAMS)
    }
}

// SAFETY: every read is of a core value of the call, or checked against the bounds of the memory.
unsafe impl<const FLAT: usize> Lift for Given<FLAT> {
    fn linear_lift_from_flat(
        cx: &mut LiftContext<'_>,
        ty: InterfaceType,
        flat: &[ValRaw; FLAT],
    ) -> Result<Self> {
        let tuple = tuple(cx.types, ty)?;
        lift::parameters(cx, &tuple.types, lift::Source::Flat(&mut flat.iter())).map(Self)
    }

    fn linear_lift_from_memory(cx: &mut LiftContext<'_>, ty: InterfaceType, part: &[u8]) -> Result<Self> {
        let (tuple, at) = (tuple(cx.types, ty)?, offset(part, cx.memory()));
        lift::parameters(cx, &tuple.types, lift::Source::Memory(at)).map(Self)
    }
}

// SAFETY: its typecheck holds it to a tuple.
unsafe impl<const FLAT: usize> ComponentNamedList for Given<FLAT> {}

// SAFETY: as for parameters; to memory it writes what the function's type says, at a place that the engine checked for
// that type.
unsafe impl<const FLAT: usize> ComponentType for Answered<FLAT> {
    type Lower = [ValRaw; FLAT];
    const ABI: CanonicalAbiInfo = CanonicalAbiInfo::ZERO;

    fn typecheck(ty: &InterfaceType, types: &InstanceType<'_>) -> Result<()> {
        counted(ty, types, FLAT, MAX_FLAT_RESULTS)
    }
}

// SAFETY: all core values are written before anything else is done.
unsafe impl<const FLAT: usize> Lower for Answered<FLAT> {
    fn linear_lower_to_flat<T>(
        &self,
        cx: &mut LowerContext<'_, T>,
        ty: InterfaceType,
        flat: &mut MaybeUninit<[ValRaw; FLAT]>,
    ) -> Result<()> {
        let flat = flat.write([lower::zero(); FLAT]);
        let tuple = tuple(cx.types, ty)?;
        lower::all(cx, &tuple.types, &self.0, lower::Target::Flat(&mut flat.iter_mut()))
    }

    fn linear_lower_to_memory<T>(
        &self,
        cx: &mut LowerContext<'_, T>,
        ty: InterfaceType,
        at: usize,
    ) -> Result<()> {
        let tuple = tuple(cx.types, ty)?;
        lower::all(cx, &tuple.types, &self.0, lower::Target::Memory(at))
    }
}

// SAFETY: its typecheck holds it to a tuple.
unsafe impl<const FLAT: usize> ComponentNamedList for Answered<FLAT> {}

// SAFETY: a function takes at most this many core values; whoever enters it reads those that it takes. One pointer
// is one of them.
unsafe impl ComponentType for Lent<'_> {
    type Lower = [ValRaw; MAX_FLAT_PARAMS];
    const ABI: CanonicalAbiInfo = CanonicalAbiInfo::ZERO;

    fn typecheck(ty: &InterfaceType, types: &InstanceType<'_>) -> Result<()> {
        tuple(types.types, *ty).map(drop)
    }
}

// SAFETY: all core values are written before anything else is done.
unsafe impl Lower for Lent<'_> {
    fn linear_lower_to_flat<T>(
        &self,
        cx: &mut LowerContext<'_, T>,
        ty: InterfaceType,
        flat: &mut MaybeUninit<[ValRaw; MAX_FLAT_PARAMS]>,
    ) -> Result<()> {
        let flat = flat.write([lower::zero(); MAX_FLAT_PARAMS]);
        let tuple = tuple(cx.types, ty)?;
        if tuple.abi.flat_count(MAX_FLAT_PARAMS).is_some() {
            return lower::arguments(cx, &tuple.types, self.0, lower::Target::Flat(&mut flat.iter_mut()));
        }
        let at = cx.realloc(0, 0, tuple.abi.align32, usize::try_from(tuple.abi.size32)?)?;
        if let Some(pointer) = flat.first_mut() {
            *pointer = ValRaw::u64(u64::try_from(at)?);
        }
        lower::arguments(cx, &tuple.types, self.0, lower::Target::Memory(at))
    }

    fn linear_lower_to_memory<T>(
        &self,
        cx: &mut LowerContext<'_, T>,
        ty: InterfaceType,
        at: usize,
    ) -> Result<()> {
        let tuple = tuple(cx.types, ty)?;
        lower::arguments(cx, &tuple.types, self.0, lower::Target::Memory(at))
    }
}

// SAFETY: its typecheck holds it to a tuple.
unsafe impl ComponentNamedList for Lent<'_> {}

// SAFETY: a function gives at most one core value; where it gives none, the storage holds the first of its
// parameters, which is written, and it is not read.
unsafe impl ComponentType for Returned {
    type Lower = [ValRaw; MAX_FLAT_RESULTS];
    const ABI: CanonicalAbiInfo = CanonicalAbiInfo::ZERO;

    fn typecheck(ty: &InterfaceType, types: &InstanceType<'_>) -> Result<()> {
        tuple(types.types, *ty).map(drop)
    }
}

// SAFETY: every read is of a core value of the call, or checked against the bounds of the memory.
unsafe impl Lift for Returned {
    fn linear_lift_from_flat(
        cx: &mut LiftContext<'_>,
        ty: InterfaceType,
        flat: &[ValRaw; MAX_FLAT_RESULTS],
    ) -> Result<Self> {
        let tuple = tuple(cx.types, ty)?;
        if tuple.abi.flat_count(MAX_FLAT_RESULTS).is_some() {
            return lift::all(cx, &tuple.types, lift::Source::Flat(&mut flat.iter())).map(Self);
        }
        let [pointer] = flat;
        let at = usize::try_from(pointer.get_u32())?;
        lift::aligned(at, &tuple.abi)?;
        lift::all(cx, &tuple.types, lift::Source::Memory(at)).map(Self)
    }

    fn linear_lift_from_memory(cx: &mut LiftContext<'_>, ty: InterfaceType, part: &[u8]) -> Result<Self> {
        let (tuple, at) = (tuple(cx.types, ty)?, offset(part, cx.memory()));
        lift::all(cx, &tuple.types, lift::Source::Memory(at)).map(Self)
    }
}

// SAFETY: its typecheck holds it to a tuple.
unsafe impl ComponentNamedList for Returned {}
