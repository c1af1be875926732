//! What one store holds: the guest's WASI worlds, its limits, and the call it is serving.
//!
//! [`CallScope`] is also the hook for outgoing HTTP (`impl WasiHttpHooks for CallScope` is in
//! `capabilities::http`): whatever a guest does, it does on behalf of its present call.
//!
//! Invariants: a store serves one actor for all its life, and (but for concurrent components) one
//! call at a time; [`CallScope::info`] is that call's. Nothing here is shared between stores but
//! [`ActorShared`], which guests can only read through host functions.

use crate::call::CallInfo;
use crate::limits::Limiter;
use crate::persistent::Stage;
use crate::stdio::GuestLog;
use crate::wiring::Wiring;
use arc_swap::ArcSwap;
use lattice_protocol::{ActorId, HostId, LatticeName, Limits, LinkName};
use std::collections::BTreeMap;
use std::sync::Arc;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

/// The data of every store.
pub(crate) struct InstanceState {
    pub(crate) wasi: WasiCtx,
    pub(crate) table: ResourceTable,
    pub(crate) http: WasiHttpCtx,
    pub(crate) limits: Limiter,
    pub(crate) call: CallScope,
}

/// Who is running, and on whose behalf.
#[derive(Clone)]
pub(crate) struct CallScope {
    /// The actor this store belongs to.
    pub(crate) actor: Arc<ActorShared>,
    /// The call being served.
    pub(crate) info: CallInfo,
    /// Link names chosen with `wasmcloud:bus/lattice.set-link-name`, by unversioned interface
    /// (`wasi:keyvalue/store`). Cleared when the next call begins.
    pub(crate) selected_link: BTreeMap<String, LinkName>,
    /// What the guest of a persistent actor is doing; none for every other.
    pub(crate) stage: Option<Stage>,
    /// Reply subject of the message being handled: the one inbox this call may publish to.
    pub(crate) reply_to: Option<String>,
}

/// What all instances of one actor share.
pub(crate) struct ActorShared {
    /// Who.
    pub(crate) id: ActorId,
    /// Its links, swapped whole: every import call loads the current ones.
    pub(crate) wiring: ArcSwap<Wiring>,
    /// Its configuration (`wasi:config`).
    pub(crate) config: ArcSwap<BTreeMap<String, String>>,
    /// Its limits.
    pub(crate) limits: Limits,
    /// Where what the guest logs or prints goes.
    pub(crate) log: GuestLog,
}

impl ActorShared {
    /// Of an actor on this host of that lattice.
    pub(crate) fn new(
        id: ActorId,
        (lattice, host): (LatticeName, HostId),
        limits: Limits,
        config: BTreeMap<String, String>,
        wiring: Arc<Wiring>,
    ) -> Arc<Self> {
        Arc::new(Self {
            log: GuestLog::new(id.clone(), lattice, host),
            id,
            wiring: ArcSwap::new(wiring),
            config: ArcSwap::from_pointee(config),
            limits,
        })
    }
}

impl WasiView for InstanceState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for InstanceState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        // Outgoing requests are decided by the call's own links (`capabilities::http`).
        WasiHttpCtxView { hooks: &mut self.call, table: &mut self.table, ctx: &mut self.http }
    }
}
