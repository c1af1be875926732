//! JetStream domains of a connection: the same client, and another prefix of JetStream's API.

use super::core::{ApiError, Core};
use super::lattice_of;
use crate::bus::BusError;
use crate::domain::{DomainError, Domains};
use crate::{BoxFuture, Lattice};
use futures::FutureExt;
use lattice_protocol::DomainName;
use serde_json::Value;
use std::sync::Arc;

pub(super) struct NatsDomains {
    core: Arc<Core>,
}

impl NatsDomains {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    async fn check_now(&self) -> Result<(), DomainError> {
        let domain = self.core.domain.clone();
        match self.core.api::<Value>("INFO", &Value::Null).await {
            Ok(_) => Ok(()),
            Err(ApiError::Refused { description, .. }) => {
                Err(DomainError::Refused { domain, reason: description })
            }
            Err(ApiError::Bus(BusError::Denied { .. })) => Err(DomainError::Denied { domain }),
            // The connection stands, and nobody answers over it: there, or on the way there.
            Err(ApiError::Bus(BusError::NoResponders { .. } | BusError::Timeout { .. })) => {
                Err(DomainError::Silent { domain, server: self.core.server.clone() })
            }
            Err(ApiError::Bus(error)) => Err(error.into()),
        }
    }
}

impl Domains for NatsDomains {
    fn enter(&self, lattice: &Lattice, domain: &DomainName) -> Lattice {
        let core = Arc::new(self.core.in_domain(domain.clone()));
        Lattice { bus: Arc::clone(&lattice.bus), ..lattice_of(&core) }
    }

    fn check(&self) -> BoxFuture<'_, Result<(), DomainError>> {
        self.check_now().boxed()
    }
}
