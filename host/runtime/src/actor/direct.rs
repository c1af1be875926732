//! Typed calls whose types are known when this crate is compiled: no generic values between caller
//! and callee. `crate::typed` says which signatures those are.

use super::Actor;
use crate::call::CallInfo;
use crate::component::Component;
use crate::engine::Profile;
use crate::instance::Instance;
use lattice_protocol::Report;
use std::sync::Arc;
use wasmtime::component::{ComponentNamedList, Lift, Lower};

impl Actor {
    /// Can [`Self::call_direct`] serve this actor? Concurrent instances run on tasks of their own
    /// and take generic values.
    pub(crate) fn serves_directly(&self) -> bool {
        self.component.profile == Profile::Plain
    }

    /// As `call_values`, for a function of exactly this type.
    ///
    /// # Errors
    /// As `call_values`.
    pub(crate) async fn call_direct<P, R>(
        self: &Arc<Self>,
        interface: &str,
        function: &str,
        params: P,
        info: CallInfo,
    ) -> Result<R, Report>
    where
        P: ComponentNamedList + Lower + Send + Sync + 'static,
        R: ComponentNamedList + Lift + Send + Sync + 'static,
    {
        let (info, began) = self.bounded(info);
        let Some(found) = self.component.function(interface, function) else {
            return Err(self.no_handler(&format!("{interface}.{function}")));
        };
        let index = found.index;
        let call = async |_: &Component, instance: &mut Instance| {
            let Instance { store, instance, .. } = instance;
            let function = instance.get_typed_func::<P, R>(&mut *store, index)?;
            function.call_async(store, params).await.map(Ok)
        };
        let outcome = self.with_instance(info, call).await;
        self.meters.count(began, &outcome);
        outcome
    }
}
