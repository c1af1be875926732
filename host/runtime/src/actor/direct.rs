//! Calls of one exported function: with generic values, or, for types that are known when this crate
//! is compiled, without them between caller and callee. `crate::typed` says which signatures those are.

use super::Actor;
use crate::call::CallInfo;
use crate::component::{Component, Place};
use crate::engine::Profile;
use crate::instance::Instance;
use crate::worker::Work;
use lattice_protocol::Report;
use std::sync::Arc;
use tokio::sync::oneshot;
use wasmtime::component::{ComponentNamedList, Lift, Lower, Val};

impl Actor {
    /// Can [`Self::call_direct`] serve this actor? Concurrent instances run on tasks of their own
    /// and take generic values.
    pub(crate) fn serves_directly(&self) -> bool {
        self.component.profile == Profile::Plain
    }

    /// Calls the exported function at this place with component-model values. In the plain profile
    /// the guest runs on the caller's own task.
    ///
    /// # Errors
    /// What the call ended with.
    pub(crate) async fn call_place(
        self: &Arc<Self>,
        Place { index, results }: Place,
        params: &[Val],
        info: CallInfo,
    ) -> Result<Vec<Val>, Report> {
        let (info, began) = self.bounded(info);
        let outcome = if self.serves_directly() {
            let call = async |_: &Component, instance: &mut Instance| {
                let Instance { store, instance, .. } = instance;
                let function = instance
                    .get_func(&mut *store, index)
                    .ok_or_else(|| wasmtime::Error::msg("export is gone"))?;
                let mut values = vec![Val::Bool(false); results];
                function.call_async(store, params, &mut values).await?;
                Ok(Ok(values))
            };
            self.with_instance(info, call).await
        } else {
            let (answer, answered) = oneshot::channel();
            let work = Work::Call { function: index, params: params.to_vec(), results, answer };
            self.ask_worker(info, work, answered).await.map(|(values, _lease)| values)
        };
        self.meters.count(began, &outcome);
        outcome
    }

    /// The same for a function of exactly this type, in the plain profile.
    ///
    /// # Errors
    /// What the call ended with.
    pub(crate) async fn call_direct<P, R>(
        self: &Arc<Self>,
        Place { index, .. }: Place,
        params: P,
        info: CallInfo,
    ) -> Result<R, Report>
    where
        P: ComponentNamedList + Lower + Send + Sync,
        R: ComponentNamedList + Lift + Send + Sync + 'static,
    {
        let (info, began) = self.bounded(info);
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
