//! `wasi:keyvalue` (store, atomics, batch) over a link to a [`KeyValue`] store.
//!
//! A bucket handle remembers the link it was opened by; every operation on it asks whether that
//! link is still in force, so that unlinking ends the next operation, not the next instance.

use super::bindings::keyvalue::wasi::keyvalue::{atomics, batch, store};
use super::{interface, trap};
use crate::grants;
use crate::state::{CallScope, InstanceState};
use crate::wiring::{BoundLink, BoundTarget, Repeat};
use lattice_protocol::{ErrorCode, Interface, LinkName, Report};
use providers_sdk::keyvalue::KeyValue;
use std::collections::BTreeMap;
use std::sync::Arc;
use wasmtime::component::{HasSelf, Linker, Resource, ResourceTableError};

interface!(STORE = "wasi:keyvalue/store@0.2.0-draft");
interface!(ATOMICS = "wasi:keyvalue/atomics@0.2.0-draft");
interface!(BATCH = "wasi:keyvalue/batch@0.2.0-draft");

/// Keys of one batch call.
const MAX_BATCH: usize = 1_000;
/// Cursors that one bucket handle remembers.
const MAX_CURSORS: usize = 64;

pub(crate) fn link(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    store::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
    atomics::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
    batch::add_to_linker::<_, HasSelf<_>>(linker, |state| state)
}

/// An opened bucket.
pub struct Bucket {
    name: Arc<str>,
    link: Arc<BoundLink>,
    /// The interface counts its cursors, providers name theirs.
    cursors: BTreeMap<u64, String>,
    next_cursor: u64,
}

/// Why an operation was not carried out.
#[derive(Debug)]
pub enum Refusal {
    /// The guest is told.
    Guest(store::Error),
    /// The call ends.
    Trap(wasmtime::Error),
}

impl From<ResourceTableError> for Refusal {
    fn from(error: ResourceTableError) -> Self {
        Self::Trap(error.into())
    }
}

impl From<Report> for Refusal {
    /// Of a grant or a provider: something a guest can handle.
    fn from(report: Report) -> Self {
        Self::Guest(match report.code {
            ErrorCode::NotFound => store::Error::NoSuchStore,
            ErrorCode::CapabilityDenied | ErrorCode::Denied => store::Error::AccessDenied,
            _ => store::Error::Other(report.to_string()),
        })
    }
}

fn unlinked(report: Report) -> Refusal {
    Refusal::Trap(trap(report))
}

type Answer<T> = Result<T, Refusal>;

/// A bucket that may be used, by a link that is in force.
struct Reach {
    link: Arc<BoundLink>,
    bucket: Arc<str>,
}

impl Reach {
    fn store(&self, interface: &Interface) -> Answer<&dyn KeyValue> {
        match self.link.target() {
            BoundTarget::KeyValue(store) => Ok(store.as_ref()),
            _ => Err(self.link.mismatch(interface).into()),
        }
    }
    fn key(&self, key: &str) -> Answer<()> {
        Ok(grants::key(self.link.definition(), key)?)
    }
    fn write(&self) -> Answer<()> {
        Ok(grants::write(self.link.definition())?)
    }
}

/// One guarded call of the store behind a [`Reach`].
macro_rules! ask {
    ($scope:expr, $reach:expr, $interface:expr, $repeat:ident, |$store:ident, $cx:ident, $bucket:ident| $call:expr) => {{
        let $store = $reach.store($interface)?;
        let $bucket: &str = &$reach.bucket;
        let (scope, link): (&CallScope, &BoundLink) = ($scope, &$reach.link);
        link.guarded(scope.info.deadline, Repeat::$repeat, |until| {
            let context = link.context(scope, until);
            async move {
                let $cx = &context;
                $call.await
            }
        })
        .await
        .map_err(Refusal::from)
    }};
}

impl InstanceState {
    fn reach(&self, bucket: &Resource<Bucket>, interface: &Interface) -> Answer<Reach> {
        let held = self.table.get(bucket)?;
        let link = self.call.still(&held.link, interface).map_err(unlinked)?;
        if Arc::ptr_eq(&link, &held.link) {
            return Ok(Reach { link, bucket: Arc::clone(&held.name) });
        }
        // Another definition under the same name: its grants are asked again.
        grants::bucket(link.definition(), &held.name)?;
        Ok(Reach { link, bucket: Arc::clone(&held.name) })
    }

    /// Opens a bucket by the link that this label (or the default) leads to.
    pub(crate) async fn open_bucket(
        &mut self,
        label: Option<&LinkName>,
        identifier: &str,
    ) -> Answer<Resource<Bucket>> {
        let link = self.call.resolve(&STORE, label).map_err(unlinked)?;
        let name = grants::bucket(link.definition(), identifier)?;
        let reach = Reach { link, bucket: name.into() };
        ask!(&self.call, reach, &STORE, Freely, |store, cx, bucket| store.open(cx, bucket))?;
        let Reach { link, bucket } = reach;
        Ok(self.table.push(Bucket { name: bucket, link, cursors: BTreeMap::new(), next_cursor: 0 })?)
    }
}

impl store::Host for InstanceState {
    async fn open(&mut self, identifier: String) -> Answer<Resource<Bucket>> {
        self.open_bucket(None, &identifier).await
    }

    fn convert_error(&mut self, refusal: Refusal) -> wasmtime::Result<store::Error> {
        match refusal {
            Refusal::Guest(error) => Ok(error),
            Refusal::Trap(error) => Err(error),
        }
    }
}

impl store::HostBucket for InstanceState {
    async fn get(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<Option<Vec<u8>>> {
        let reach = self.reach(&bucket, &STORE)?;
        reach.key(&key)?;
        let key = key.as_str();
        let value = ask!(&self.call, reach, &STORE, Freely, |store, cx, bucket| store.get(cx, bucket, key))?;
        if let Some(value) = &value {
            self.call.fits("value", value.len())?;
        }
        Ok(value.map(Vec::from))
    }

    async fn set(&mut self, bucket: Resource<Bucket>, key: String, value: Vec<u8>) -> Answer<()> {
        let reach = self.reach(&bucket, &STORE)?;
        reach.write()?;
        reach.key(&key)?;
        self.call.fits("value", value.len())?;
        let (key, value) = (key.as_str(), bytes::Bytes::from(value));
        let value = &value;
        ask!(&self.call, reach, &STORE, Freely, |store, cx, bucket| store.set(cx, bucket, key, value.clone()))
    }

    async fn delete(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<()> {
        let reach = self.reach(&bucket, &STORE)?;
        reach.write()?;
        reach.key(&key)?;
        let key = key.as_str();
        ask!(&self.call, reach, &STORE, Freely, |store, cx, bucket| store.delete(cx, bucket, key))
    }

    async fn exists(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<bool> {
        let reach = self.reach(&bucket, &STORE)?;
        reach.key(&key)?;
        let key = key.as_str();
        ask!(&self.call, reach, &STORE, Freely, |store, cx, bucket| store.exists(cx, bucket, key))
    }

    async fn list_keys(
        &mut self,
        bucket: Resource<Bucket>,
        cursor: Option<u64>,
    ) -> Answer<store::KeyResponse> {
        let reach = self.reach(&bucket, &STORE)?;
        let begin = match cursor {
            None => None,
            Some(number) => {
                let known = self.table.get(&bucket)?.cursors.get(&number).cloned();
                Some(known.ok_or_else(|| {
                    Refusal::Guest(store::Error::Other(format!("E_NOT_FOUND: no such cursor (got {number})")))
                })?)
            }
        };
        let begin = begin.as_deref();
        let page =
            ask!(&self.call, reach, &STORE, Freely, |store, cx, bucket| store.list_keys(cx, bucket, begin))?;
        let keys = page.keys.into_iter().filter(|key| grants::in_prefix(reach.link.definition(), key));
        let keys = keys.collect();
        let held = self.table.get_mut(&bucket)?;
        Ok(store::KeyResponse { keys, cursor: page.cursor.map(|cursor| held.remember(cursor)) })
    }

    async fn drop(&mut self, bucket: Resource<Bucket>) -> wasmtime::Result<()> {
        self.table.delete(bucket)?;
        Ok(())
    }
}

impl Bucket {
    fn remember(&mut self, cursor: String) -> u64 {
        self.next_cursor += 1;
        self.cursors.insert(self.next_cursor, cursor);
        if self.cursors.len() > MAX_CURSORS {
            self.cursors.pop_first();
        }
        self.next_cursor
    }
}

impl atomics::Host for InstanceState {
    async fn increment(&mut self, bucket: Resource<Bucket>, key: String, delta: u64) -> Answer<u64> {
        let reach = self.reach(&bucket, &ATOMICS)?;
        reach.write()?;
        reach.key(&key)?;
        let delta = i64::try_from(delta).map_err(|_| out_of_range("delta", delta))?;
        let key = key.as_str();
        let value = ask!(&self.call, reach, &ATOMICS, Unsent, |store, cx, bucket| {
            store.increment(cx, bucket, key, delta)
        })?;
        u64::try_from(value).map_err(|_| out_of_range("value", value))
    }
}

fn out_of_range(what: &str, got: impl std::fmt::Display) -> Refusal {
    Report::new(ErrorCode::Limit, format!("{what} out of range"))
        .got(got)
        .limit(format!("0..{}", i64::MAX))
        .into()
}

fn batch_size(count: usize) -> Answer<()> {
    if count <= MAX_BATCH {
        return Ok(());
    }
    Err(Report::new(ErrorCode::Limit, "batch too large").got(count).limit(MAX_BATCH).into())
}

impl batch::Host for InstanceState {
    async fn get_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> Answer<Vec<Option<(String, Vec<u8>)>>> {
        let reach = self.reach(&bucket, &BATCH)?;
        batch_size(keys.len())?;
        keys.iter().try_for_each(|key| reach.key(key))?;
        let wanted = keys.as_slice();
        let values = ask!(&self.call, reach, &BATCH, Freely, |store, cx, bucket| {
            store.get_many(cx, bucket, wanted)
        })?;
        self.call.fits("values", values.iter().flatten().map(bytes::Bytes::len).sum())?;
        let pairs = keys.into_iter().zip(values);
        Ok(pairs.map(|(key, value)| value.map(|value| (key, Vec::from(value)))).collect())
    }

    async fn set_many(&mut self, bucket: Resource<Bucket>, key_values: Vec<(String, Vec<u8>)>) -> Answer<()> {
        let reach = self.reach(&bucket, &BATCH)?;
        reach.write()?;
        batch_size(key_values.len())?;
        key_values.iter().try_for_each(|(key, _)| reach.key(key))?;
        self.call.fits("values", key_values.iter().map(|(_, value)| value.len()).sum())?;
        let pairs: Vec<_> =
            key_values.into_iter().map(|(key, value)| (key, bytes::Bytes::from(value))).collect();
        let pairs = &pairs;
        ask!(&self.call, reach, &BATCH, Freely, |store, cx, bucket| {
            store.set_many(cx, bucket, pairs.clone())
        })
    }

    async fn delete_many(&mut self, bucket: Resource<Bucket>, keys: Vec<String>) -> Answer<()> {
        let reach = self.reach(&bucket, &BATCH)?;
        reach.write()?;
        batch_size(keys.len())?;
        keys.iter().try_for_each(|key| reach.key(key))?;
        let keys = keys.as_slice();
        ask!(&self.call, reach, &BATCH, Freely, |store, cx, bucket| { store.delete_many(cx, bucket, keys) })
    }
}
