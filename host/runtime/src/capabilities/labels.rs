//! Named imports of capabilities: `import primary: wasi:keyvalue/store;` asks for the link named
//! `primary`. The component model writes such an import under its label, with the interface as
//! `implements`.
//!
//! Key-value and messaging have labels, and so has every interface of another actor (`typed`).

use super::bindings::keyvalue::wasi::keyvalue::{atomics, batch, store};
use super::bindings::messaging::wasmcloud::messaging::types;
use super::keyvalue::Refusal;
use crate::state::InstanceState;
use crate::typed;
use lattice_protocol::{Interface, LinkName};
use wasmtime::component::{Component, HasSelf, Linker, LinkerInstance};

/// Defines every labelled import of one component.
pub(crate) fn link_labels(linker: &mut Linker<InstanceState>, component: &Component) -> wasmtime::Result<()> {
    let engine = linker.engine().clone();
    let ty = component.component_type();
    for (name, import) in ty.imports(&engine) {
        let Some(implements) = import.implements else { continue };
        let label = LinkName::new(name).map_err(wasmtime::Error::new)?;
        let interface: Interface = implements.parse().map_err(wasmtime::Error::new)?;
        // The labelled instance is made like the plain one, and what chooses a link is replaced.
        linker.allow_shadowing(true);
        let defined = link_label(linker, &label, &interface);
        linker.allow_shadowing(false);
        if !defined? {
            typed::link_label(linker, component, &label, &interface).map_err(wasmtime::Error::new)?;
        }
    }
    Ok(())
}

/// Gives `false` when the interface is not a capability that can be labelled.
fn link_label(
    linker: &mut Linker<InstanceState>,
    label: &LinkName,
    interface: &Interface,
) -> wasmtime::Result<bool> {
    let mut instance = linker.instance(label.as_str())?;
    match interface.unversioned().as_str() {
        "wasi:keyvalue/store" => label_store(&mut instance, label)?,
        // Their functions take a bucket, and a bucket knows its link.
        "wasi:keyvalue/atomics" => {
            atomics::add_to_linker_instance::<_, HasSelf<_>>(&mut instance, |state| state)?;
        }
        "wasi:keyvalue/batch" => {
            batch::add_to_linker_instance::<_, HasSelf<_>>(&mut instance, |state| state)?;
        }
        "wasmcloud:messaging/consumer" => label_consumer(&mut instance, label)?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn label_store(instance: &mut LinkerInstance<'_, InstanceState>, label: &LinkName) -> wasmtime::Result<()> {
    store::add_to_linker_instance::<_, HasSelf<_>>(instance, |state| state)?;
    let label = label.clone();
    instance.func_wrap_async("open", move |mut store, (identifier,): (String,)| {
        let label = label.clone();
        Box::new(async move {
            match store.data_mut().open_bucket(Some(&label), &identifier).await {
                Ok(bucket) => Ok((Ok(bucket),)),
                Err(Refusal::Guest(error)) => Ok((Err(error),)),
                Err(Refusal::Trap(error)) => Err(error),
            }
        })
    })
}

fn label_consumer(
    instance: &mut LinkerInstance<'_, InstanceState>,
    label: &LinkName,
) -> wasmtime::Result<()> {
    let name = label.clone();
    instance.func_wrap_async("publish", move |mut store, (message,): (types::BrokerMessage,)| {
        let label = name.clone();
        Box::new(async move { Ok((store.data_mut().publish_message(Some(&label), message).await?,)) })
    })?;
    let name = label.clone();
    instance.func_wrap_async("request", move |mut store, request: (String, Vec<u8>, u32)| {
        let label = name.clone();
        Box::new(async move { Ok((store.data_mut().request_message(Some(&label), request).await?,)) })
    })
}
