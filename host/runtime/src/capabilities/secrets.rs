//! `wasmcloud:secrets` over a link to a key-value store: a secret is read from the link's bucket at
//! each `get`, stays in the host behind a handle, and reaches the guest's memory only by `reveal`.
//! Secrets never appear in configuration, environment, logs or error texts.

use super::bindings::secrets::wasmcloud::secrets::{reveal, store};
use super::{interface, trap};
use crate::grants;
use crate::state::{CallScope, InstanceState};
use crate::wiring::{BoundLink, BoundTarget, Repeat};
use bytes::Bytes;
use lattice_protocol::{ErrorCode, Report};
use wasmtime::component::{HasSelf, Linker, Resource};

interface!(SECRETS = "wasmcloud:secrets/store@0.1.0-draft");

/// A secret's value, kept in the host.
pub struct Secret(Bytes);

pub(crate) fn link(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    store::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
    reveal::add_to_linker::<_, HasSelf<_>>(linker, |state| state)
}

impl CallScope {
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
        let link = self.call.resolve(&SECRETS, None).map_err(trap)?;
        match self.call.secret(&link, &key).await {
            Ok(Some(value)) => Ok(Ok(self.table.push(Secret(value))?)),
            Ok(None) => Ok(Err(store::SecretsError::NotFound)),
            Err(report) if report.code == ErrorCode::NotFound => Ok(Err(store::SecretsError::NotFound)),
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
