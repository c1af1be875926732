//! What a typed call carries: values of any type, which are copied on their way; and, for the common
//! signatures that carry bytes, what is lent from the caller's memory.

use super::route::Imported;
use super::values::{Answered, Given, MAX_FLAT_PARAMS, flat};
use crate::actor::Actor;
use crate::call::CallInfo;
use crate::component::Place;
use crate::state::InstanceState;
use bytes::Bytes;
use lattice_protocol::value::{Type, Value};
use lattice_protocol::{ErrorCode, Report};
use std::borrow::Cow;
use std::marker::PhantomData;
use std::sync::Arc;
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentNamedList, Lift, LinkerInstance, Lower, WasmList, WasmStr};

/// Parameters on their way to a callee, and the results on their way back.
pub(super) trait Cargo: Send + Sync {
    /// What comes back.
    type Results: Send;
    /// Calls an actor of this host, whose function lies there.
    fn call(
        &self,
        callee: (&Arc<Actor>, Place),
        imported: &Imported,
        info: CallInfo,
    ) -> impl Future<Output = Result<Self::Results, Report>> + Send;
    /// The parameters, for another host or an instance of the concurrent profile.
    fn values(&self) -> Cow<'_, [Value]>;
    /// The results that came back from there.
    fn results(imported: &Imported, values: Vec<Value>) -> Result<Self::Results, Report>;
}

/// Any values.
pub(super) struct Generic(pub(super) Vec<Value>);

impl Cargo for Generic {
    type Results = Vec<Value>;

    async fn call(
        &self,
        (actor, place): (&Arc<Actor>, Place),
        imported: &Imported,
        info: CallInfo,
    ) -> Result<Vec<Value>, Report> {
        actor.call_place(place, imported.signature(), &self.0, info).await
    }
    fn values(&self) -> Cow<'_, [Value]> {
        Cow::Borrowed(&self.0)
    }
    fn results(_: &Imported, values: Vec<Value>) -> Result<Vec<Value>, Report> {
        Ok(values)
    }
}

/// Parameters of types known here, as they lie in the caller's memory; results of such types.
///
/// The caller stands still until its call is over, so its memory is lent to every attempt: between
/// caller and callee on one host, bytes are copied once, by the engine, into the callee's memory.
struct Known<'caller, P: Params, R>(P::Read<'caller>, PhantomData<fn() -> R>);

impl<P: Params, R: Answer> Cargo for Known<'_, P, R> {
    type Results = R;

    async fn call(
        &self,
        (actor, place): (&Arc<Actor>, Place),
        imported: &Imported,
        info: CallInfo,
    ) -> Result<R, Report> {
        if actor.serves_directly() {
            return actor.call_direct(place, P::lend(&self.0), info).await;
        }
        let results = actor.call_place(place, imported.signature(), &P::values(&self.0), info).await?;
        Self::results(imported, results)
    }
    fn values(&self) -> Cow<'_, [Value]> {
        Cow::Owned(P::values(&self.0))
    }
    fn results(imported: &Imported, values: Vec<Value>) -> Result<R, Report> {
        R::from_values(values).ok_or_else(|| {
            Report::new(ErrorCode::Internal, "values are not of their types").limit(imported.signature())
        })
    }
}

/// One parameter known here, where it lies.
trait Param: Lift + Send + Sync + 'static {
    /// How it is read there, and given to a callee.
    type Read: ToOwned<Owned: Send + Sync> + Lower + Send + Sync + ?Sized + 'static;
    fn ty() -> Type;
    fn read<'caller>(&self, caller: &'caller Caller<'_>) -> wasmtime::Result<Cow<'caller, Self::Read>>;
    fn value(read: &Self::Read) -> Value;
}

/// The caller's store during its call.
type Caller<'store> = StoreContextMut<'store, InstanceState>;

impl Param for WasmList<u8> {
    type Read = [u8];

    fn ty() -> Type {
        Type::list(Type::U8)
    }
    fn read<'caller>(&self, caller: &'caller Caller<'_>) -> wasmtime::Result<Cow<'caller, [u8]>> {
        Ok(Cow::Borrowed(self.as_le_slice(caller)))
    }
    fn value(read: &[u8]) -> Value {
        Value::Bytes(Bytes::copy_from_slice(read))
    }
}

impl Param for WasmStr {
    type Read = str;

    fn ty() -> Type {
        Type::String
    }
    fn read<'caller>(&self, caller: &'caller Caller<'_>) -> wasmtime::Result<Cow<'caller, str>> {
        self.to_str(caller)
    }
    fn value(read: &str) -> Value {
        Value::String(read.to_owned())
    }
}

/// One result known here.
trait Item: Sized {
    fn ty() -> Type;
    fn from_value(value: Value) -> Option<Self>;
}

impl Item for Vec<u8> {
    fn ty() -> Type {
        Type::list(Type::U8)
    }
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Bytes(bytes) => Some(bytes.into()),
            _ => None,
        }
    }
}

impl Item for String {
    fn ty() -> Type {
        Type::String
    }
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }
}

impl<T: Item> Item for Option<T> {
    fn ty() -> Type {
        Type::option(T::ty())
    }
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Option(None) => Some(None),
            Value::Option(Some(value)) => T::from_value(*value).map(Some),
            _ => None,
        }
    }
}

impl<T: Item, E: Item> Item for Result<T, E> {
    fn ty() -> Type {
        Type::result(Some(T::ty()), Some(E::ty()))
    }
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Result(Ok(Some(value))) => T::from_value(*value).map(Ok),
            Value::Result(Err(Some(error))) => E::from_value(*error).map(Err),
            _ => None,
        }
    }
}

/// Parameters known here.
trait Params: ComponentNamedList + Lift + Send + Sync + 'static {
    /// Read where they lie.
    type Read<'caller>: Send + Sync;
    /// What a callee is given.
    type Lent<'read>: ComponentNamedList + Lower + Send + Sync;
    fn types() -> Vec<Type>;
    fn read<'caller>(&self, caller: &'caller Caller<'_>) -> wasmtime::Result<Self::Read<'caller>>;
    fn lend<'read>(read: &'read Self::Read<'_>) -> Self::Lent<'read>;
    fn values(read: &Self::Read<'_>) -> Vec<Value>;
}

/// Results known here.
trait Answer: ComponentNamedList + Lift + Lower + Send + Sync + 'static {
    fn types() -> Vec<Type>;
    fn from_values(values: Vec<Value>) -> Option<Self>;
}

macro_rules! lists {
    ($(($($item:ident),*);)*) => {$(
        #[allow(non_snake_case, reason = "the type's name stands for its value")]
        #[allow(unused_variables, clippy::unused_unit, reason = "for no items")]
        impl<$($item: Param),*> Params for ($($item,)*) {
            type Read<'caller> = ($(Cow<'caller, $item::Read>,)*);
            type Lent<'read> = ($(&'read $item::Read,)*);
            fn types() -> Vec<Type> {
                vec![$($item::ty()),*]
            }
            fn read<'caller>(&self, caller: &'caller Caller<'_>) -> wasmtime::Result<Self::Read<'caller>> {
                let ($($item,)*) = self;
                Ok(($($item.read(caller)?,)*))
            }
            fn lend<'read>(read: &'read Self::Read<'_>) -> Self::Lent<'read> {
                let ($($item,)*) = read;
                ($(&**$item,)*)
            }
            fn values(read: &Self::Read<'_>) -> Vec<Value> {
                let ($($item,)*) = read;
                vec![$($item::value($item)),*]
            }
        }

        impl<$($item: Item + Lift + Lower + Send + Sync + 'static),*> Answer for ($($item,)*) {
            fn types() -> Vec<Type> {
                vec![$($item::ty()),*]
            }
            #[allow(unused_mut, unused_variables, reason = "for no items")]
            fn from_values(values: Vec<Value>) -> Option<Self> {
                let mut values = values.into_iter();
                Some(($($item::from_value(values.next()?)?,)*))
            }
        }
    )*};
}
lists! { (); (A); (A, B); }

type Octets = Vec<u8>;
type OctetsIn = WasmList<u8>;

/// Defines a function: one whose signature is known by that, any other by what its values are like.
pub(super) fn define(
    instance: &mut LinkerInstance<'_, InstanceState>,
    imported: &Arc<Imported>,
) -> wasmtime::Result<()> {
    macro_rules! known {
        ($($params:ty => $($results:ty)|*;)*) => {$($(
            if fits::<$params, $results>(imported) {
                return define_known::<$params, $results>(instance, imported);
            }
        )*)*};
    }
    known! {
        () => (Octets,) | (String,) | (Option<Octets>,) | (Result<Octets, String>,);
        (WasmStr,) => (Octets,) | (String,) | (Option<Octets>,) | (Result<Octets, String>,);
        (OctetsIn,) => () | (Octets,) | (String,) | (Result<Octets, String>,);
        (WasmStr, OctetsIn) => () | (Octets,) | (Result<Octets, String>,);
    }
    macro_rules! any {
        ($($params:literal)*) => {
            match flat(imported.signature()) {
                $(
                    ($params, 0) => define_any::<$params, 0>(instance, imported),
                    ($params, _) => define_any::<$params, 1>(instance, imported),
                )*
                (params, _) => wasmtime::bail!("{params} core values, of at most {MAX_FLAT_PARAMS}"),
            }
        };
    }
    any! { 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 }
}

/// Defines a function of any signature, with as many core values as it has.
fn define_any<const PARAMS: usize, const RESULTS: usize>(
    instance: &mut LinkerInstance<'_, InstanceState>,
    imported: &Arc<Imported>,
) -> wasmtime::Result<()> {
    let imported = Arc::clone(imported);
    let name = imported.function().to_owned();
    instance.func_wrap_async(&name, move |store, given: Given<PARAMS>| {
        let imported = Arc::clone(&imported);
        Box::new(async move {
            let outcome = imported.call(&store.data().call, &Generic(given.0)).await;
            outcome.map(Answered::<RESULTS>).map_err(crate::capabilities::trap)
        })
    })
}

fn fits<P: Params, R: Answer>(imported: &Imported) -> bool {
    let signature = imported.signature();
    signature.results == R::types() && signature.param_types() == P::types()
}

fn define_known<P: Params, R: Answer>(
    instance: &mut LinkerInstance<'_, InstanceState>,
    imported: &Arc<Imported>,
) -> wasmtime::Result<()> {
    let imported = Arc::clone(imported);
    let name = imported.function().to_owned();
    instance.func_wrap_async(&name, move |store, params: P| {
        let imported = Arc::clone(&imported);
        Box::new(async move {
            let cargo = Known::<P, R>(params.read(&store)?, PhantomData);
            imported.call(&store.data().call, &cargo).await.map_err(crate::capabilities::trap)
        })
    })
}
