//! An imported function as the engine is told of it: with as many core values as its type has, and otherwise
//! the same code for every type.

use super::arguments::Argument;
use super::route::Imported;
use super::values::{Answered, Given, MAX_FLAT_PARAMS, flat};
use crate::state::InstanceState;
use std::sync::Arc;
use wasmtime::Result;
use wasmtime::component::LinkerInstance;

/// Defines a function that callers wait for alone.
pub(super) fn define(
    instance: &mut LinkerInstance<'_, InstanceState>,
    imported: &Arc<Imported>,
) -> Result<()> {
    macro_rules! counted {
        ($($params:literal)*) => {
            match flat(imported.signature()) {
                $(
                    ($params, 0) => define_counted::<$params, 0>(instance, imported),
                    ($params, _) => define_counted::<$params, 1>(instance, imported),
                )*
                (params, _) => wasmtime::bail!("{params} core values, of at most {MAX_FLAT_PARAMS}"),
            }
        };
    }
    counted! { 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 }
}

fn define_counted<const PARAMS: usize, const RESULTS: usize>(
    instance: &mut LinkerInstance<'_, InstanceState>,
    imported: &Arc<Imported>,
) -> Result<()> {
    let imported = Arc::clone(imported);
    let name = imported.function().to_owned();
    instance.func_wrap_async(&name, move |store, Given(params): Given<PARAMS>| {
        let imported = Arc::clone(&imported);
        Box::new(async move {
            let arguments: Vec<Argument<'_>> =
                params.into_iter().map(|parameter| parameter.lend(&store)).collect::<Result<_>>()?;
            let outcome = imported.call(&store.data().call, &arguments).await;
            outcome.map(Answered::<RESULTS>).map_err(crate::capabilities::trap)
        })
    })
}
