//! Why a call ended without an answer, in words for people. Three kinds are told apart: what a
//! host function decided (it carries a [`Report`]), a limit that was hit, and the guest's own trap.

use crate::state::InstanceState;
use lattice_protocol::{ActorId, ErrorCode, Report};
use wasmtime::{PoolConcurrencyLimitError, Store, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

/// The report of a call that ended with an error of the engine.
pub(crate) fn report(error: &wasmtime::Error, store: &mut Store<InstanceState>) -> Report {
    let denied = store.data_mut().limits.take_denied();
    let actor = store.data().call.actor.id.clone();
    explain(error, denied, &actor)
}

/// As [`report`], where the store cannot be reached.
pub(crate) fn explain(error: &wasmtime::Error, denied: Option<Report>, actor: &ActorId) -> Report {
    if let Some(report) = error.downcast_ref::<Report>() {
        return report.clone();
    }
    if let Some(denied) = denied {
        return denied.at(actor);
    }
    if let Some(full) = error.downcast_ref::<PoolConcurrencyLimitError>() {
        return Report::new(ErrorCode::Overloaded, format!("no room for another instance: {full}"))
            .at(actor)
            .hint("try again, or run it on more hosts");
    }
    let what = match (error.downcast_ref::<I32Exit>(), error.downcast_ref::<Trap>()) {
        (Some(exit), _) => format!("guest exited with status {}", exit.0),
        (None, Some(trap)) => format!("guest trapped: {trap}"),
        (None, None) => format!("guest trapped: {}", error.root_cause()),
    };
    let place = match error.downcast_ref::<WasmBacktrace>().and_then(innermost) {
        Some(function) => format!("{actor} in {function}"),
        None => actor.to_string(),
    };
    Report::new(ErrorCode::Trap, what).at(place).hint("see the guest's log")
}

/// The innermost function that has a name.
fn innermost(backtrace: &WasmBacktrace) -> Option<String> {
    let name = backtrace.frames().iter().find_map(|frame| frame.func_name())?;
    Some(name.chars().take(120).collect())
}

/// Of an actor that did not start.
pub(crate) fn start_failed(report: Report, actor: &ActorId) -> Report {
    let report = if report.place.is_none() { report.at(actor) } else { report };
    report.during("actor start failed")
}

/// A call whose deadline passed.
pub(crate) fn deadline_passed(actor: &ActorId) -> Report {
    Report::new(ErrorCode::Timeout, "deadline passed")
        .at(actor)
        .hint("raise limits.callMs or the link's timeout, or do less in one call")
}
