//! Calls from actor to actor by any WIT interface: an import that is neither WASI's nor a
//! capability leads, by a link, to another actor's export of the same interface.
//!
//! On this host the values go to the callee's instance as they are read from the caller's; to another host
//! they go in the component model's binary encoding. Either way the caller sees the same: the results, or the end
//! of its own call with a report that says which side failed.
//!
//! Invariants: the link is resolved at every call, so links can change under a running actor; a
//! callee sees one level more of depth and never more time than its caller has; caller and callee
//! know the function by the same type or the call is refused; only values cross (resources,
//! streams and futures belong to one store, and are refused when the component is linked).

pub(crate) mod arguments;
pub(crate) mod convert;
mod import;
mod route;
pub(crate) mod values;

pub(crate) use convert::signature_of;

use crate::actor::Actor;
use crate::call::CallInfo;
use crate::component::Place;
use crate::state::{CallScope, InstanceState};
use arguments::owned;
use bytes::Bytes;
use lattice_protocol::invocation::MAX_CALL_DEPTH;
use lattice_protocol::value::{
    Limits, Signature, decode_call, encode_all, json_call, read_json_call, write_json_answer,
};
use lattice_protocol::{ErrorCode, Interface, LinkName, Report};
use route::Imported;
use std::sync::Arc;
use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{Component, Linker, LinkerInstance, Val};

/// Defines the imports of one component that are neither WASI nor a capability. Called once per
/// component.
///
/// # Errors
/// `E_FEATURE` when an interface has something that cannot cross between actors.
pub(crate) fn link(
    linker: &mut Linker<InstanceState>,
    component: &Component,
    imports: &[Interface],
) -> Result<(), Report> {
    for interface in imports {
        define(linker, component, &interface.to_string(), (interface, None))?;
    }
    Ok(())
}

/// Defines one labelled import (`import primary: example:pong/pingpong`): its link is named by it.
pub(crate) fn link_label(
    linker: &mut Linker<InstanceState>,
    component: &Component,
    label: &LinkName,
    interface: &Interface,
) -> Result<(), Report> {
    define(linker, component, label.as_str(), (interface, Some(label)))
}

fn define(
    linker: &mut Linker<InstanceState>,
    component: &Component,
    import: &str,
    (interface, label): (&Interface, Option<&LinkName>),
) -> Result<(), Report> {
    let engine = linker.engine().clone();
    let ty = component.component_type();
    let found = ty.get_import(&engine, import).map(|found| found.ty);
    let Some(ComponentItem::ComponentInstance(instance)) = found else {
        return Err(Report::new(ErrorCode::UnknownImport, "not an interface").at(import));
    };
    let unlinked = |error: wasmtime::Error| Report::new(ErrorCode::Internal, format!("{error:#}")).at(import);
    let mut defined = linker.instance(import).map_err(unlinked)?;
    for (name, item) in instance.exports(&engine) {
        match item.ty {
            ComponentItem::ComponentFunc(function) => {
                let signature =
                    signature_of(&function).map_err(|report| report.at(format!("{import}.{name}")))?;
                let imported = Imported::new(interface.clone(), name, label.cloned(), signature);
                define_function(&mut defined, name, &function, imported).map_err(unlinked)?;
            }
            ComponentItem::Type(_) => {}
            _ => {
                return Err(Report::new(ErrorCode::Feature, "resources cannot cross between actors")
                    .at(format!("{import}.{name}"))
                    .hint("pass values, or an id that the callee understands"));
            }
        }
    }
    Ok(())
}

fn define_function(
    instance: &mut LinkerInstance<'_, InstanceState>,
    name: &str,
    function: &ComponentFunc,
    imported: Imported,
) -> wasmtime::Result<()> {
    let imported = Arc::new(imported);
    if function.async_() {
        return instance.func_new_concurrent(name, move |accessor, _, params, results| {
            let imported = Arc::clone(&imported);
            Box::pin(async move {
                let scope = accessor.with(|mut access| access.get().call.clone());
                settle(concurrently(&imported, &scope, params).await, results)
            })
        });
    }
    import::define(instance, &imported)
}

/// A call whose caller waits for it with others: its values are the engine's own.
async fn concurrently(imported: &Imported, scope: &CallScope, params: &[Val]) -> Result<Vec<Val>, Report> {
    let signature = imported.signature();
    let params = convert::from_vals(params, signature.params.iter().map(|(_, ty)| ty))?;
    let results = imported.call(scope, &owned(params)).await?;
    convert::to_vals(&results, &signature.results)
}

/// Results into their slots; a report ends the caller's call.
fn settle(outcome: Result<Vec<Val>, Report>, results: &mut [Val]) -> wasmtime::Result<()> {
    let values = outcome.map_err(crate::capabilities::trap)?;
    if values.len() != results.len() {
        wasmtime::bail!("a typed call gave {} results instead of {}", values.len(), results.len());
    }
    results.iter_mut().zip(values).for_each(|(slot, value)| *slot = value);
    Ok(())
}

/// Serves a call that arrived from another host: what [`encode_call`](lattice_protocol::value::encode_call)
/// made in, the results' encoding out.
///
/// # Errors
/// `E_CALL_DEPTH`, `E_NO_HANDLER`, `E_VERSION`, `E_MALFORMED`, or what the call ended with.
pub(crate) async fn call_export(
    actor: &Arc<Actor>,
    interface: &str,
    function: &str,
    params: Bytes,
    info: CallInfo,
) -> Result<Bytes, Report> {
    if info.depth > MAX_CALL_DEPTH {
        return Err(too_deep(&format!("{interface}.{function}")));
    }
    let (place, signature) = route::exported(actor, interface, function)?;
    if let Some(arguments) = json_call(&params) {
        return call_json((actor, place), (signature, arguments), info).await;
    }
    let params = decode_call(signature, &params, &Limits::default())?;
    let results = actor.call_place(place, signature, &owned(params), info).await?;
    Ok(encode_all(&results, &signature.results)?.into())
}

/// The same with JSON on both sides: for callers that know the function only by its name.
async fn call_json(
    (actor, place): (&Arc<Actor>, Place),
    (signature, arguments): (&Signature, &[u8]),
    info: CallInfo,
) -> Result<Bytes, Report> {
    let params = read_json_call(signature, arguments)?;
    let results = actor.call_place(place, signature, &owned(params), info).await?;
    Ok(write_json_answer(signature, &results)?.into())
}

fn too_deep(place: &str) -> Report {
    Report::new(ErrorCode::CallDepth, "calls nested too deep")
        .at(place)
        .limit(MAX_CALL_DEPTH)
        .hint("break the cycle of links, or pass the work on by a message")
}
