//! Calls of one exported function: with values of any type, or with those of types that are known when
//! this crate is compiled. `crate::typed` says which signatures those are.

use super::Actor;
use crate::call::CallInfo;
use crate::component::Place;
use crate::engine::Profile;
use crate::instance::Instance;
use crate::typed::{convert, values};
use crate::worker::Work;
use lattice_protocol::Report;
use lattice_protocol::value::{Signature, Value};
use std::sync::Arc;
use tokio::sync::oneshot;
use wasmtime::component::{ComponentNamedList, Lift, Lower};

impl Actor {
    /// Can [`Self::call_direct`] serve this actor? Concurrent instances run on tasks of their own
    /// and take generic values.
    pub(crate) fn serves_directly(&self) -> bool {
        self.component.profile == Profile::Plain
    }

    /// Calls the exported function at this place, which has this signature. In the plain profile the
    /// guest runs on the caller's own task; in the concurrent one values are the engine's own on the way.
    ///
    /// # Errors
    /// What the call ended with.
    pub(crate) async fn call_place(
        self: &Arc<Self>,
        place: Place,
        signature: &Signature,
        params: &[Value],
        info: CallInfo,
    ) -> Result<Vec<Value>, Report> {
        if self.serves_directly() {
            let returned: values::Returned = self.call_direct(place, values::Lent(params), info).await?;
            return Ok(returned.0);
        }
        let params = convert::to_vals(params, signature.params.iter().map(|(_, ty)| ty))?;
        let (info, began) = self.bounded(info);
        let (answer, answered) = oneshot::channel();
        let work = Work::Call { function: place, params, answer };
        let outcome = self.ask_worker(info, work, answered).await.map(|(values, _lease)| values);
        self.meters.count(began, &outcome);
        convert::from_vals(&outcome?, &signature.results)
    }

    /// The same for a function of exactly this type, in the plain profile.
    ///
    /// # Errors
    /// What the call ended with.
    pub(crate) async fn call_direct<P, R>(
        self: &Arc<Self>,
        place: Place,
        params: P,
        info: CallInfo,
    ) -> Result<R, Report>
    where
        P: ComponentNamedList + Lower + Send + Sync,
        R: ComponentNamedList + Lift + Send + Sync + 'static,
    {
        let (info, began) = self.bounded(info);
        let call = async |instance: &mut Instance| {
            let Instance { code, store, instance, .. } = instance;
            let function = instance.get_typed_func::<P, R>(&mut *store, code.index(place)?)?;
            function.call_async(store, params).await.map(Ok)
        };
        let outcome = self.with_instance(info, call).await;
        self.meters.count(began, &outcome);
        outcome
    }
}
