//! A controller over the lives of its lattice: in each one the loop of [`crate::run`] with all that it
//! has seen. When the next life begins (a restore from a backup), what was seen belongs to another
//! lattice: revisions have begun anew. So the loop is ended and begun again, with nothing.
//!
//! Tasks: *lives* (essential), *incarnation*, and those of the API, which holds nothing and stays.

use crate::aged::Held;
use crate::api::{self, Api};
use crate::config::{ControllerConfig, ControllerDeps};
use crate::incarnation;
use crate::records::Records;
use crate::run;
use lattice_io::TaskScope;
use lattice_protocol::Report;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Longest time for the end of one life.
const END: Duration = Duration::from_secs(5);

/// A running controller; it ends with the scope it was started in.
pub struct ControllerHandle {
    scope: TaskScope,
    api: Option<SocketAddr>,
}

impl ControllerHandle {
    /// Done when the controller has failed for good.
    pub async fn failed(&self) {
        let failure = self.scope.failed().await;
        tracing::error!(error = %failure, "controller failed");
    }

    /// Where its API listens, if it does.
    #[must_use]
    pub fn api(&self) -> Option<SocketAddr> {
        self.api
    }
}

/// Opens the lattice's buckets (making them if need be) and starts to control, and to answer.
///
/// # Errors
/// What KV or the bus says; `E_IO` when the API's port is taken.
pub async fn start(
    config: ControllerConfig,
    deps: ControllerDeps,
    parent: &TaskScope,
) -> Result<ControllerHandle, Report> {
    let scope = parent.child("controller");
    let config = Arc::new(config);
    let records = Records::new(deps.lattice.clone(), config.lattice.clone());
    let mut life = incarnation::follow(&records, config.signer.public(), &scope).await?;
    let mut now = config.incarnation.max(*life.borrow_and_update());
    let (holding, held) = watch::channel(None);
    let mut inner = run::begin(Arc::clone(&config), now, deps.clone(), (&scope, holding.clone())).await?;
    let api = serve(&config, &deps, (records, held), &scope).await?;
    let lives = scope.clone();
    scope.spawn_essential("lives", move |stop| async move {
        loop {
            let next = tokio::select! {
                next = life.wait_for(|next| *next > now) => next.map(|next| *next),
                () = stop.cancelled() => return,
            };
            // The sender lives as long as the scope.
            let Ok(next) = next else { return };
            tracing::warn!(from = now, to = next, "the lattice begins a new life: starting from its records");
            inner.shutdown(END).await;
            now = next;
            match run::begin(Arc::clone(&config), now, deps.clone(), (&lives, holding.clone())).await {
                Ok(begun) => inner = begun,
                Err(report) => {
                    tracing::error!(error = %report, "controller not started again");
                    return;
                }
            }
        }
    });
    Ok(ControllerHandle { scope, api })
}

async fn serve(
    config: &ControllerConfig,
    deps: &ControllerDeps,
    (records, held): (Records, Held),
    scope: &TaskScope,
) -> Result<Option<SocketAddr>, Report> {
    // Changes have ids of their own: `<boot id>-api-<n>`.
    let boot_id = format!("{}-refused", deps.boot_id);
    let (events, publisher) = lattice_io::events::channel(
        config.lattice.clone(),
        config.name.clone(),
        boot_id,
        Arc::clone(&deps.clock),
    );
    scope.spawn_until_cancelled("api events", publisher.run(deps.lattice.clone()));
    let origin = (config.name.clone(), deps.boot_id.clone());
    let api = Arc::new(Api::new((records, held), Arc::clone(&deps.clock), origin, events));
    api::bus::serve(Arc::clone(&api), scope).await?;
    match config.api {
        Some(listen) => api::http::serve(api, listen, scope).await.map(Some),
        None => Ok(None),
    }
}
