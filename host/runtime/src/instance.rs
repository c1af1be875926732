//! One instance: a store and what lives in it. Made fresh for one call or kept warm for several.
//!
//! Invariant: an instance whose call ended in any error of the engine is never used again: it is
//! dropped, not returned.

use crate::call::CallInfo;
use crate::component::Code;
use crate::limits::{Limiter, MemoryBudget};
use crate::state::{ActorShared, CallScope, InstanceState};
use crate::stdio::{GuestStream, Stream};
use crate::{fault, overload};
use lattice_protocol::Report;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use wasmtime::component::ResourceTable;
use wasmtime::{Store, UpdateDeadline};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder};
use wasmtime_wasi_http::WasiHttpCtx;

/// Resources that the host keeps for one store.
const MAX_RESOURCES: usize = 1_024;
/// Handles that components of one store may hold.
const MAX_HANDLES: usize = 4_096;
/// Random bytes in one call.
const MAX_RANDOM: u64 = 64 << 10;
/// Header fields of one message, bytes in memory.
const MAX_FIELDS: usize = 32 << 10;
/// What passing one byte of a generic list is charged by the engine, about.
const FUEL_PER_BYTE: usize = 40;

/// A store and the instance in it.
pub(crate) struct Instance {
    /// What it was made of.
    pub(crate) code: Arc<Code>,
    pub(crate) store: Store<InstanceState>,
    pub(crate) instance: wasmtime::component::Instance,
    /// Calls it has served.
    pub(crate) calls: u32,
    /// When it was last used.
    pub(crate) used: Instant,
}

impl Instance {
    /// Instantiates for a first call. Time is bounded by the caller.
    pub(crate) async fn create(
        code: Arc<Code>,
        actor: &Arc<ActorShared>,
        budget: &Arc<MemoryBudget>,
        info: CallInfo,
    ) -> Result<Self, Report> {
        let mut store = new_store(&code, actor, budget, info);
        match code.pre.instantiate_async(&mut store).await {
            Ok(instance) => Ok(Self { code, store, instance, calls: 0, used: Instant::now() }),
            Err(error) => Err(fault::report(&error, &mut store)),
        }
    }

    /// Turns to the next call: nothing of the last one's circumstances remains.
    pub(crate) fn begin(&mut self, info: CallInfo) {
        self.calls = self.calls.saturating_add(1);
        let call = &mut self.store.data_mut().call;
        call.info = info;
        call.selected_link.clear();
        call.reply_to = None;
    }
}

/// A store with every limit set.
pub(crate) fn new_store(
    code: &Code,
    actor: &Arc<ActorShared>,
    budget: &Arc<MemoryBudget>,
    info: CallInfo,
) -> Store<InstanceState> {
    let state = InstanceState {
        wasi: wasi(actor, None).build(),
        table: resources(),
        http: http(),
        limits: Limiter::new(&actor.limits, Arc::clone(budget)),
        call: CallScope {
            actor: Arc::clone(actor),
            info,
            selected_link: BTreeMap::new(),
            stage: None,
            reply_to: None,
        },
    };
    let mut store = Store::new(code.compiled.engine(), state);
    store.limiter(|state| &mut state.limits);
    // At each tick a busy guest makes way, and whoever waits for it looks at its deadline.
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|_| Ok(UpdateDeadline::YieldCustom(1, Box::pin(overload::make_way()))));
    let payload = usize::try_from(actor.limits.body_bytes).unwrap_or(usize::MAX);
    store.set_hostcall_fuel(payload.saturating_mul(FUEL_PER_BYTE).max(1 << 20));
    store.set_max_component_handles(MAX_HANDLES);
    store
}

fn resources() -> ResourceTable {
    let mut table = ResourceTable::new();
    table.set_max_capacity(MAX_RESOURCES);
    table
}

fn http() -> WasiHttpCtx {
    let mut context = WasiHttpCtx::new();
    context.set_field_size_limit(MAX_FIELDS);
    context
}

/// No files, no sockets, no names, no environment, no arguments; words go to the actor's log, but
/// while `quiet` says so.
pub(crate) fn wasi(actor: &Arc<ActorShared>, quiet: Option<&Arc<AtomicBool>>) -> WasiCtxBuilder {
    let stream = |stream| GuestStream { actor: Arc::clone(actor), stream, quiet: quiet.cloned() };
    let mut wasi = WasiCtx::builder();
    wasi.stdout(stream(Stream::Out))
        .stderr(stream(Stream::Err))
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .max_random_size(MAX_RANDOM);
    wasi
}
