//! A controller's writes. Each is a compare-and-set on the revision that the decision was made
//! from; a lost race is no error: the winner's record comes through the watch and is planned from.

use crate::config::ControllerConfig;
use bytes::Bytes;
use lattice_ctl_planner::{Known, Revised};
use lattice_io::{Kv, KvError};
use lattice_protocol::desired::{ObservedHost, Placement};
use lattice_protocol::spec::HOST_SPEC_KIND;
use lattice_protocol::{AppName, ErrorCode, HostId, HostSpec, Report};
use serde::Serialize;
use std::sync::Arc;

/// The buckets a controller writes.
pub struct Buckets {
    /// Decisions.
    pub placement: Arc<dyn Kv>,
    /// Signed specs.
    pub specs: Arc<dyn Kv>,
    /// Verdicts.
    pub observed: Arc<dyn Kv>,
}

/// What became of a conditional write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It is in force, at this revision.
    At(u64),
    /// Somebody else was first, or the outcome is not known: the watch will tell.
    Lost,
}

fn json<T: Serialize>(value: &T) -> Result<Bytes, Report> {
    serde_json::to_vec(value)
        .map(Bytes::from)
        .map_err(|error| Report::new(ErrorCode::Internal, format!("record not serialisable: {error}")))
}

async fn cas(kv: &dyn Kv, key: &str, value: Bytes, expected: Option<u64>) -> Result<Written, Report> {
    let result = match expected {
        Some(revision) => kv.update(key, value, revision).await,
        None => kv.create(key, value).await,
    };
    match result {
        Ok(revision) => Ok(Written::At(revision)),
        Err(KvError::Conflict { .. } | KvError::Unknown { .. }) => Ok(Written::Lost),
        Err(error) => Err(error.into()),
    }
}

impl Buckets {
    /// Writes one decision, and takes it for known when it won.
    ///
    /// # Errors
    /// What KV says, but for a lost race.
    pub async fn place(&self, known: &mut Known, mut placement: Placement) -> Result<Written, Report> {
        let app = placement.app.clone();
        placement.origin = known.origin(&app);
        let expected = known.placements().get(&app).map(|have| have.revision);
        let written = cas(&*self.placement, app.as_str(), json(&placement)?, expected).await?;
        if let Written::At(revision) = written {
            known.place(&app, Some(Revised::new(placement, revision)));
        }
        Ok(written)
    }

    /// Takes a decision back: its application is gone.
    ///
    /// # Errors
    /// What KV says, but for a lost race.
    pub async fn unplace(&self, known: &mut Known, app: &AppName) -> Result<Written, Report> {
        let Some(have) = known.placements().get(app) else { return Ok(Written::Lost) };
        match self.placement.delete(app.as_str(), Some(have.revision)).await {
            Ok(()) => {
                known.place(app, None);
                Ok(Written::At(0))
            }
            Err(KvError::Conflict { .. } | KvError::Unknown { .. }) => Ok(Written::Lost),
            Err(error) => Err(error.into()),
        }
    }

    /// Signs and writes one host's spec.
    ///
    /// # Errors
    /// What KV says, but for a lost race.
    pub async fn tell(
        &self,
        known: &mut Known,
        config: &ControllerConfig,
        spec: HostSpec,
    ) -> Result<Written, Report> {
        let host = spec.host.clone();
        let expected = known.specs().get(&host).map(|have| have.revision);
        let payload = json(&spec)?.to_vec();
        let signed = keys::sign_document(HOST_SPEC_KIND, payload, &config.signer).map_err(|error| {
            Report::new(ErrorCode::Limit, error.to_string()).at(format!("spec of {host}"))
        })?;
        let written = cas(&*self.specs, host.as_str(), json(&signed)?, expected).await?;
        if let Written::At(revision) = written {
            known.tell(&host, Some(Revised::new(spec, revision)));
        }
        Ok(written)
    }

    /// Writes what was concluded about a host. Only for people: the last writer may win.
    ///
    /// # Errors
    /// What KV says.
    pub async fn conclude(&self, host: &HostId, observed: &ObservedHost) -> Result<(), Report> {
        self.observed.put(host.as_str(), json(observed)?).await.map(|_| ()).map_err(Report::from)
    }
}
