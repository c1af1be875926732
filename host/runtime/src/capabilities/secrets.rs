//! `wasmcloud:secrets`. A key that the actor's configuration gives as `{secretRef: <name>}` is that
//! secret of the lattice, as the host can open it: the manifest's line is the grant. Any other key is
//! read over a link to a key-value store, from the link's bucket. Either way a secret is fetched at
//! each `get`, stays in the host behind a handle, and reaches the guest's memory only by `reveal`.
//! Secrets never appear in `wasi:config`, environment, logs or error texts.

use super::bindings::secrets::wasmcloud::secrets::{reveal, store};
use super::{interface, trap};
use crate::grants;
use crate::state::{CallScope, InstanceState};
use crate::wiring::{BoundLink, BoundTarget, Repeat};
use bytes::Bytes;
use lattice_protocol::manifest::secret_ref;
use lattice_protocol::{ErrorCode, Report};
use std::sync::Arc;
use wasmtime::component::{HasSelf, Linker, Resource};

interface!(SECRETS = "wasmcloud:secrets/store@0.1.0-draft");

/// A secret's value, kept in the host.
pub struct Secret(Bytes);

pub(crate) fn link(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    store::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
    reveal::add_to_linker::<_, HasSelf<_>>(linker, |state| state)
}

impl CallScope {
    /// The secret that the actor's configuration names under this key.
    async fn configured_secret(&self, key: &str) -> Option<Result<Bytes, Report>> {
        let name = secret_ref(self.actor.config.load().get(key)?)?.to_owned();
        let source = self.actor.wiring.load().secrets().map(Arc::clone)?;
        let revealed = match tokio::time::timeout_at(self.info.deadline.into(), source.reveal(&name)).await {
            Ok(revealed) => revealed,
            Err(_) => Err(Report::new(ErrorCode::Timeout, "secret not fetched by the deadline").at(&name)),
        };
        Some(revealed.and_then(|value| self.fits("secret", value.len()).map(|()| value)))
    }

    async fn secret(&self, link: &BoundLink, key: &str) -> Result<Option<Bytes>, Report> {
        let bucket = grants::bucket(link.definition(), "")?;
        grants::key(link.definition(), key)?;
        let BoundTarget::KeyValue(store) = link.target() else { return Err(link.mismatch(&SECRETS)) };
        let (scope, bucket) = (self, bucket.as_str());
        let value = link
            .guarded(scope.info.deadline, Repeat::Freely, |until| {
                let context = link.context(scope, until);
                async move { store.get(&context, bucket, key).await }
            })
            .await?;
        if let Some(value) = &value {
            scope.fits("secret", value.len())?;
        }
        Ok(value)
    }
}

impl store::Host for InstanceState {
    async fn get(&mut self, key: String) -> wasmtime::Result<Result<Resource<Secret>, store::SecretsError>> {
        let found = match self.call.configured_secret(&key).await {
            Some(found) => found.map(Some),
            None => {
                let link = self.call.resolve(&SECRETS, None).map_err(trap)?;
                self.call.secret(&link, &key).await
            }
        };
        match found {
            Ok(Some(value)) => Ok(Ok(self.table.push(Secret(value))?)),
            Ok(None) => Ok(Err(store::SecretsError::NotFound)),
            Err(report) if matches!(report.code, ErrorCode::NotFound | ErrorCode::SecretNotFound) => {
                Ok(Err(store::SecretsError::NotFound))
            }
            Err(report) => Ok(Err(store::SecretsError::Upstream(report.to_string()))),
        }
    }
}

impl store::HostSecret for InstanceState {
    async fn drop(&mut self, secret: Resource<Secret>) -> wasmtime::Result<()> {
        self.table.delete(secret)?;
        Ok(())
    }
}

impl reveal::Host for InstanceState {
    async fn reveal(&mut self, secret: Resource<Secret>) -> wasmtime::Result<reveal::SecretValue> {
        let value = &self.table.get(&secret)?.0;
        Ok(match std::str::from_utf8(value) {
            Ok(text) => reveal::SecretValue::String(text.to_owned()),
            Err(_) => reveal::SecretValue::Bytes(value.to_vec()),
        })
    }
}
