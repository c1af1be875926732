//! A running actor.

use crate::call::CallInfo;
use crate::component::Component;
use crate::state::ActorShared;
use lattice_protocol::{ActorId, ErrorCode, Report};
use std::sync::Arc;
use wasmtime::component::Val;

/// A running actor: its component, its instances, its links.
pub struct Actor {
    pub(crate) component: Arc<Component>,
    pub(crate) shared: Arc<ActorShared>,
}

impl Actor {
    /// Who.
    #[must_use]
    pub fn id(&self) -> &ActorId {
        &self.shared.id
    }

    /// Calls one exported function with component-model values, in an instance of this actor.
    ///
    /// # Errors
    /// `E_NO_HANDLER` when there is no such export, else what the call ended with.
    pub(crate) async fn call_values(
        &self,
        interface: &str,
        function: &str,
        params: Vec<Val>,
        info: CallInfo,
    ) -> Result<Vec<Val>, Report> {
        let _ = (params, info);
        Err(Report::new(ErrorCode::Internal, "not serving yet").at(format!("{interface}.{function}")))
    }
}
