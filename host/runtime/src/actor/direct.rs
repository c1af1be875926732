//! Calls of one exported function, with values of any type.

use super::Actor;
use crate::call::CallInfo;
use crate::component::Place;
use crate::engine::Profile;
use crate::instance::Instance;
use crate::typed::arguments::{self, Argument};
use crate::typed::convert;
use crate::typed::values::{Lent, Returned};
use crate::worker::Work;
use lattice_protocol::Report;
use lattice_protocol::value::{Signature, Value};
use std::sync::Arc;
use tokio::sync::oneshot;
use wasmtime::component::Val;

impl Actor {
    /// Calls the exported function at this place, which has this signature. In the plain profile the
    /// guest runs on the caller's own task; in the concurrent one values are the engine's own on the way.
    ///
    /// # Errors
    /// What the call ended with.
    pub(crate) async fn call_place(
        self: &Arc<Self>,
        place: Place,
        signature: &Signature,
        arguments: &[Argument<'_>],
        info: CallInfo,
    ) -> Result<Vec<Value>, Report> {
        match self.component.profile {
            Profile::Plain => self.call_directly(place, arguments, info).await,
            Profile::Concurrent => {
                let types = signature.params.iter().map(|(_, ty)| ty);
                let params = convert::to_vals(&arguments::values(arguments), types)?;
                let results = self.call_worker(place, params, info).await?;
                convert::from_vals(&results, &signature.results)
            }
        }
    }

    async fn call_directly(
        self: &Arc<Self>,
        place: Place,
        arguments: &[Argument<'_>],
        info: CallInfo,
    ) -> Result<Vec<Value>, Report> {
        let (info, began) = self.bounded(info);
        let call = async |instance: &mut Instance| {
            let Instance { code, store, instance, .. } = instance;
            let function = instance.get_typed_func::<Lent<'_>, Returned>(&mut *store, code.index(place)?)?;
            function.call_async(store, Lent(arguments)).await.map(Ok)
        };
        let outcome = self.with_instance(info, call).await;
        self.meters.count(began, &outcome);
        outcome.map(|Returned(values)| values)
    }

    async fn call_worker(
        self: &Arc<Self>,
        function: Place,
        params: Vec<Val>,
        info: CallInfo,
    ) -> Result<Vec<Val>, Report> {
        let (info, began) = self.bounded(info);
        let (answer, answered) = oneshot::channel();
        let work = Work::Call { function, params, answer };
        let outcome = self.ask_worker(info, work, answered).await.map(|(values, _lease)| values);
        self.meters.count(began, &outcome);
        outcome
    }
}
