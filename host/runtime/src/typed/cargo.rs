//! What a typed call carries. Any signature can be carried as generic values, one `Val` for each
//! byte of a `list<u8>`; the common ones that carry bytes are carried as they are.

use super::convert;
use super::route::Imported;
use crate::actor::Actor;
use crate::call::CallInfo;
use crate::state::InstanceState;
use lattice_protocol::value::{Type, Value};
use lattice_protocol::{ErrorCode, Report};
use std::marker::PhantomData;
use std::sync::Arc;
use wasmtime::component::{ComponentNamedList, Lift, LinkerInstance, Lower, Val};

/// Parameters on their way to a callee, and the results on their way back.
pub(super) trait Cargo: Send + Sync {
    /// What comes back.
    type Results: Send;
    /// Calls an actor of this host.
    fn call(
        &self,
        actor: &Arc<Actor>,
        imported: &Imported,
        info: CallInfo,
    ) -> impl Future<Output = Result<Self::Results, Report>> + Send;
    /// The parameters for another host.
    fn values(&self, imported: &Imported) -> Result<Vec<Value>, Report>;
    /// The results of another host.
    fn results(imported: &Imported, values: Vec<Value>) -> Result<Self::Results, Report>;
}

/// Any values.
pub(super) struct Generic<'call>(pub(super) &'call [Val]);

impl Cargo for Generic<'_> {
    type Results = Vec<Val>;

    async fn call(
        &self,
        actor: &Arc<Actor>,
        imported: &Imported,
        info: CallInfo,
    ) -> Result<Vec<Val>, Report> {
        actor.call_values(imported.interface_text(), imported.function(), self.0, info).await
    }
    fn values(&self, imported: &Imported) -> Result<Vec<Value>, Report> {
        convert::from_vals(self.0, imported.signature().params.iter().map(|(_, ty)| ty))
    }
    fn results(imported: &Imported, values: Vec<Value>) -> Result<Vec<Val>, Report> {
        convert::to_vals(values, &imported.signature().results)
    }
}

/// Values of types known here.
struct Known<P, R>(P, PhantomData<fn() -> R>);

impl<P: List, R: List> Cargo for Known<P, R> {
    type Results = R;

    async fn call(&self, actor: &Arc<Actor>, imported: &Imported, info: CallInfo) -> Result<R, Report> {
        let (interface, function) = (imported.interface_text(), imported.function());
        if actor.serves_directly() {
            return actor.call_direct(interface, function, self.0.clone(), info).await;
        }
        let signature = imported.signature();
        let params = convert::to_vals(self.values(imported)?, signature.params.iter().map(|(_, ty)| ty))?;
        let results = actor.call_values(interface, function, &params, info).await?;
        Self::results(imported, convert::from_vals(&results, &signature.results)?)
    }
    fn values(&self, _: &Imported) -> Result<Vec<Value>, Report> {
        Ok(self.0.clone().into_values())
    }
    fn results(imported: &Imported, values: Vec<Value>) -> Result<R, Report> {
        R::from_values(values).ok_or_else(|| {
            Report::new(ErrorCode::Internal, "values are not of their types").limit(imported.signature())
        })
    }
}

/// One type known here.
trait Item: Sized {
    fn ty() -> Type;
    fn into_value(self) -> Value;
    fn from_value(value: Value) -> Option<Self>;
}

impl Item for Vec<u8> {
    fn ty() -> Type {
        Type::list(Type::U8)
    }
    fn into_value(self) -> Value {
        Value::Bytes(self.into())
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
    fn into_value(self) -> Value {
        Value::String(self)
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
    fn into_value(self) -> Value {
        Value::Option(self.map(|value| Box::new(value.into_value())))
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
    fn into_value(self) -> Value {
        Value::Result(match self {
            Ok(value) => Ok(Some(Box::new(value.into_value()))),
            Err(error) => Err(Some(Box::new(error.into_value()))),
        })
    }
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Result(Ok(Some(value))) => T::from_value(*value).map(Ok),
            Value::Result(Err(Some(error))) => E::from_value(*error).map(Err),
            _ => None,
        }
    }
}

/// Parameters or results known here.
trait List: ComponentNamedList + Lift + Lower + Clone + Send + Sync + 'static {
    fn types() -> Vec<Type>;
    fn into_values(self) -> Vec<Value>;
    fn from_values(values: Vec<Value>) -> Option<Self>;
}

macro_rules! lists {
    ($(($($item:ident),*);)*) => {$(
        impl<$($item),*> List for ($($item,)*)
        where
            $($item: Item + Lift + Lower + Clone + Send + Sync + 'static,)*
        {
            fn types() -> Vec<Type> {
                vec![$($item::ty()),*]
            }
            #[allow(non_snake_case, reason = "the type's name stands for its value")]
            fn into_values(self) -> Vec<Value> {
                let ($($item,)*) = self;
                vec![$($item.into_value()),*]
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

/// Defines a function whose signature is one of the known ones. Gives `false` when it is not.
pub(super) fn define(
    instance: &mut LinkerInstance<'_, InstanceState>,
    imported: &Arc<Imported>,
) -> wasmtime::Result<bool> {
    macro_rules! known {
        ($($params:ty => $($results:ty)|*;)*) => {$($(
            if fits::<$params, $results>(imported) {
                return define_known::<$params, $results>(instance, imported).map(|()| true);
            }
        )*)*};
    }
    known! {
        () => (Octets,) | (Option<Octets>,) | (Result<Octets, String>,);
        (String,) => (Octets,) | (Option<Octets>,) | (Result<Octets, String>,);
        (Octets,) => () | (Octets,) | (String,) | (Result<Octets, String>,);
        (String, Octets) => () | (Octets,) | (Result<Octets, String>,);
    }
    Ok(false)
}

fn fits<P: List, R: List>(imported: &Imported) -> bool {
    let signature = imported.signature();
    signature.results == R::types() && signature.param_types() == P::types()
}

fn define_known<P: List, R: List>(
    instance: &mut LinkerInstance<'_, InstanceState>,
    imported: &Arc<Imported>,
) -> wasmtime::Result<()> {
    let imported = Arc::clone(imported);
    let name = imported.function().to_owned();
    instance.func_wrap_async(&name, move |store, params: P| {
        let imported = Arc::clone(&imported);
        Box::new(async move {
            let cargo = Known::<P, R>(params, PhantomData);
            imported.call(&store.data().call, &cargo).await.map_err(crate::capabilities::trap)
        })
    })
}
