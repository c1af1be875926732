//! `wasi:blobstore` over a link to a [`BlobStore`].
//!
//! An object is gathered in the host and written whole when the guest finishes its outgoing value,
//! whether `write-data` named the object before the body was streamed or after: guests do both. A
//! value that is dropped unfinished is never written. Sizes are bounded by the actor's body limit.

use super::bindings::blobstore::wasi::blobstore::{blobstore, container, types};
use super::{interface, trap};
use crate::grants;
use crate::state::{CallScope, InstanceState};
use crate::wiring::{BoundLink, BoundTarget, Repeat};
use bytes::Bytes;
use lattice_protocol::{ErrorCode, Interface, Report};
use providers_sdk::blob::{BlobStore, ObjectInfo};
use std::sync::Arc;
use wasmtime::component::{HasSelf, Linker, Resource, ResourceTableError};
use wasmtime_wasi::p2::pipe::{MemoryInputPipe, MemoryOutputPipe};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream};

interface!(BLOBSTORE = "wasi:blobstore/blobstore@0.2.0-draft");
interface!(CONTAINER = "wasi:blobstore/container@0.2.0-draft");

pub(crate) fn link(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    types::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
    container::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
    blobstore::add_to_linker::<_, HasSelf<_>>(linker, |state| state)
}

/// A value being read: the bytes are in the host.
pub struct Incoming(Bytes);

/// A value being written.
pub struct Outgoing {
    body: MemoryOutputPipe,
    streamed: bool,
    /// Where `write-data` says that it goes.
    goes_to: Option<(Reach, String)>,
}

/// An opened container.
pub struct Container(Reach);

/// Names of a listing, not yet read.
pub struct Names(std::vec::IntoIter<String>);

/// A container by a link.
#[derive(Clone)]
struct Reach {
    link: Arc<BoundLink>,
    container: Arc<str>,
}

/// Why an operation was not carried out.
#[derive(Debug)]
pub enum Refusal {
    /// The guest is told.
    Guest(String),
    /// The call ends.
    Trap(wasmtime::Error),
}

impl From<ResourceTableError> for Refusal {
    fn from(error: ResourceTableError) -> Self {
        Self::Trap(error.into())
    }
}

impl From<Report> for Refusal {
    fn from(report: Report) -> Self {
        Self::Guest(report.to_string())
    }
}

fn unlinked(report: Report) -> Refusal {
    Refusal::Trap(trap(report))
}

type Answer<T> = Result<T, Refusal>;

impl Reach {
    fn store(&self) -> Result<&dyn BlobStore, Report> {
        match self.link.target() {
            BoundTarget::BlobStore(store) => Ok(store.as_ref()),
            _ => Err(self.link.mismatch(&BLOBSTORE)),
        }
    }
    fn object(&self, name: &str) -> Result<(), Report> {
        grants::key(self.link.definition(), name)
    }
    fn write(&self) -> Result<(), Report> {
        grants::write(self.link.definition())
    }
}

/// One guarded call of the store behind a [`Reach`].
macro_rules! ask {
    ($scope:expr, $reach:expr, |$store:ident, $cx:ident, $container:ident| $call:expr) => {{
        let $store = $reach.store()?;
        let $container: &str = &$reach.container;
        let (scope, link): (&CallScope, &BoundLink) = ($scope, &$reach.link);
        link.guarded(scope.info.deadline, Repeat::Freely, |until| {
            let context = link.context(scope, until);
            async move {
                let $cx = &context;
                $call.await
            }
        })
        .await
    }};
}

impl CallScope {
    fn container(&self, name: &str) -> Answer<Reach> {
        let link = self.resolve(&BLOBSTORE, None).map_err(unlinked)?;
        let container = grants::bucket(link.definition(), name)?;
        Ok(Reach { link, container: container.into() })
    }

    /// The same container, by the link that is in force now.
    fn again(&self, held: &Reach, interface: &Interface) -> Answer<Reach> {
        let link = self.still(&held.link, interface).map_err(unlinked)?;
        if !Arc::ptr_eq(&link, &held.link) {
            grants::bucket(link.definition(), &held.container)?;
        }
        Ok(Reach { link, container: Arc::clone(&held.container) })
    }

    async fn object_info(&self, reach: &Reach, name: &str) -> Result<Option<ObjectInfo>, Report> {
        reach.object(name)?;
        ask!(self, reach, |store, cx, container| store.info(cx, container, name))
    }

    async fn read(&self, reach: &Reach, name: &str, (start, end): (u64, u64)) -> Result<Bytes, Report> {
        let Some(info) = self.object_info(reach, name).await? else {
            return Err(no_object(&reach.container, name));
        };
        // Both ends are inclusive; what lies beyond the object does not count.
        let length = end.min(info.size.saturating_sub(1)).saturating_add(1).saturating_sub(start);
        self.fits("object", usize::try_from(length).unwrap_or(usize::MAX))?;
        let data = ask!(self, reach, |store, cx, container| store.read(cx, container, name, start, end))?;
        self.fits("object", data.len())?;
        Ok(data)
    }

    async fn write_object(&self, reach: &Reach, name: &str, data: Bytes) -> Result<(), Report> {
        reach.write()?;
        reach.object(name)?;
        self.fits("object", data.len())?;
        let data = &data;
        ask!(self, reach, |store, cx, container| store.write(cx, container, name, data.clone()))
    }

    async fn delete_named(&self, reach: &Reach, names: &[String]) -> Result<(), Report> {
        reach.write()?;
        names.iter().try_for_each(|name| reach.object(name))?;
        ask!(self, reach, |store, cx, container| store.delete(cx, container, names))
    }

    /// Names of the objects that the link grants.
    async fn list(&self, reach: &Reach) -> Result<Vec<String>, Report> {
        let objects = ask!(self, reach, |store, cx, container| store.list(cx, container))?;
        let granted = |name: &String| grants::in_prefix(reach.link.definition(), name);
        Ok(objects.into_iter().map(|object| object.name).filter(granted).collect())
    }

    async fn copy(&self, source: &types::ObjectId, target: &types::ObjectId) -> Answer<()> {
        let (from, to) = (self.container(&source.container)?, self.container(&target.container)?);
        to.write()?;
        let data = self.read(&from, &source.object, (0, u64::MAX)).await?;
        Ok(self.write_object(&to, &target.object, data).await?)
    }
}

fn no_object(container: &str, name: &str) -> Report {
    Report::new(ErrorCode::NotFound, "no such object").at(format!("{container}/{name}"))
}

impl blobstore::Host for InstanceState {
    async fn create_container(&mut self, name: String) -> Answer<Resource<Container>> {
        let reach = self.call.container(&name)?;
        reach.write()?;
        ask!(&self.call, reach, |store, cx, container| store.create_container(cx, container))?;
        Ok(self.table.push(Container(reach))?)
    }

    async fn get_container(&mut self, name: String) -> Answer<Resource<Container>> {
        let reach = self.call.container(&name)?;
        if ask!(&self.call, reach, |store, cx, container| store.container_exists(cx, container))? {
            return Ok(self.table.push(Container(reach))?);
        }
        Err(Report::new(ErrorCode::NotFound, "no such container").at(&reach.container).into())
    }

    async fn delete_container(&mut self, name: String) -> Answer<()> {
        let reach = self.call.container(&name)?;
        reach.write()?;
        Ok(ask!(&self.call, reach, |store, cx, container| store.delete_container(cx, container))?)
    }

    async fn container_exists(&mut self, name: String) -> Answer<bool> {
        let reach = self.call.container(&name)?;
        Ok(ask!(&self.call, reach, |store, cx, container| store.container_exists(cx, container))?)
    }

    async fn copy_object(&mut self, source: types::ObjectId, target: types::ObjectId) -> Answer<()> {
        self.call.copy(&source, &target).await
    }

    async fn move_object(&mut self, source: types::ObjectId, target: types::ObjectId) -> Answer<()> {
        self.call.copy(&source, &target).await?;
        let from = self.call.container(&source.container)?;
        Ok(self.call.delete_named(&from, &[source.object]).await?)
    }
}

impl InstanceState {
    fn opened(&self, handle: &Resource<Container>) -> Answer<Reach> {
        self.call.again(&self.table.get(handle)?.0, &CONTAINER)
    }
}

impl container::Host for InstanceState {}

impl container::HostContainer for InstanceState {
    async fn name(&mut self, handle: Resource<Container>) -> Answer<String> {
        Ok(self.table.get(&handle)?.0.container.to_string())
    }

    async fn info(&mut self, handle: Resource<Container>) -> Answer<container::ContainerMetadata> {
        // Stores do not record when a container was made.
        Ok(container::ContainerMetadata { name: self.opened(&handle)?.container.to_string(), created_at: 0 })
    }

    async fn get_data(
        &mut self,
        handle: Resource<Container>,
        name: String,
        start: u64,
        end: u64,
    ) -> Answer<Resource<Incoming>> {
        let reach = self.opened(&handle)?;
        let data = self.call.read(&reach, &name, (start, end)).await?;
        Ok(self.table.push(Incoming(data))?)
    }

    async fn write_data(
        &mut self,
        handle: Resource<Container>,
        name: String,
        data: Resource<Outgoing>,
    ) -> Answer<()> {
        let reach = self.opened(&handle)?;
        reach.write()?;
        reach.object(&name)?;
        self.table.get_mut(&data)?.goes_to = Some((reach, name));
        Ok(())
    }

    async fn list_objects(&mut self, handle: Resource<Container>) -> Answer<Resource<Names>> {
        let reach = self.opened(&handle)?;
        let names = self.call.list(&reach).await?;
        Ok(self.table.push(Names(names.into_iter()))?)
    }

    async fn delete_object(&mut self, handle: Resource<Container>, name: String) -> Answer<()> {
        self.delete_objects(handle, vec![name]).await
    }

    async fn delete_objects(&mut self, handle: Resource<Container>, names: Vec<String>) -> Answer<()> {
        let reach = self.opened(&handle)?;
        Ok(self.call.delete_named(&reach, &names).await?)
    }

    async fn has_object(&mut self, handle: Resource<Container>, name: String) -> Answer<bool> {
        let reach = self.opened(&handle)?;
        Ok(self.call.object_info(&reach, &name).await?.is_some())
    }

    async fn object_info(
        &mut self,
        handle: Resource<Container>,
        name: String,
    ) -> Answer<container::ObjectMetadata> {
        let reach = self.opened(&handle)?;
        match self.call.object_info(&reach, &name).await? {
            Some(info) => Ok(container::ObjectMetadata {
                name: info.name,
                container: reach.container.to_string(),
                created_at: info.created_at,
                size: info.size,
            }),
            None => Err(no_object(&reach.container, &name).into()),
        }
    }

    async fn clear(&mut self, handle: Resource<Container>) -> Answer<()> {
        let reach = self.opened(&handle)?;
        reach.write()?;
        let names = self.call.list(&reach).await?;
        Ok(self.call.delete_named(&reach, &names).await?)
    }

    async fn drop(&mut self, handle: Resource<Container>) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}

impl container::HostStreamObjectNames for InstanceState {
    async fn read_stream_object_names(
        &mut self,
        handle: Resource<Names>,
        count: u64,
    ) -> Answer<(Vec<String>, bool)> {
        let names = &mut self.table.get_mut(&handle)?.0;
        let taken = names.by_ref().take(usize::try_from(count).unwrap_or(usize::MAX)).collect();
        Ok((taken, names.as_slice().is_empty()))
    }

    async fn skip_stream_object_names(&mut self, handle: Resource<Names>, count: u64) -> Answer<(u64, bool)> {
        let names = &mut self.table.get_mut(&handle)?.0;
        let skipped = names.by_ref().take(usize::try_from(count).unwrap_or(usize::MAX)).count();
        Ok((u64::try_from(skipped).unwrap_or(u64::MAX), names.as_slice().is_empty()))
    }

    async fn drop(&mut self, handle: Resource<Names>) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}

impl types::Host for InstanceState {
    fn convert_error(&mut self, refusal: Refusal) -> wasmtime::Result<String> {
        match refusal {
            Refusal::Guest(text) => Ok(text),
            Refusal::Trap(error) => Err(error),
        }
    }
}

impl types::HostOutgoingValue for InstanceState {
    async fn new_outgoing_value(&mut self) -> wasmtime::Result<Resource<Outgoing>> {
        let body = MemoryOutputPipe::new(self.call.payload_limit());
        Ok(self.table.push(Outgoing { body, streamed: false, goes_to: None })?)
    }

    async fn outgoing_value_write_body(
        &mut self,
        value: Resource<Outgoing>,
    ) -> wasmtime::Result<Result<Resource<DynOutputStream>, ()>> {
        let outgoing = self.table.get_mut(&value)?;
        if std::mem::replace(&mut outgoing.streamed, true) {
            return Ok(Err(()));
        }
        let stream: DynOutputStream = Box::new(outgoing.body.clone());
        Ok(Ok(self.table.push_child(stream, &value)?))
    }

    async fn finish(&mut self, value: Resource<Outgoing>) -> Answer<()> {
        let Outgoing { body, goes_to, .. } = self.table.delete(value)?;
        let Some((held, name)) = goes_to else { return Ok(()) };
        let reach = self.call.again(&held, &CONTAINER)?;
        Ok(self.call.write_object(&reach, &name, body.contents()).await?)
    }

    async fn drop(&mut self, value: Resource<Outgoing>) -> wasmtime::Result<()> {
        self.table.delete(value)?;
        Ok(())
    }
}

impl types::HostIncomingValue for InstanceState {
    async fn incoming_value_consume_sync(&mut self, value: Resource<Incoming>) -> Answer<Vec<u8>> {
        Ok(self.table.delete(value)?.0.into())
    }

    async fn incoming_value_consume_async(
        &mut self,
        value: Resource<Incoming>,
    ) -> Answer<Resource<DynInputStream>> {
        let Incoming(bytes) = self.table.delete(value)?;
        let stream: DynInputStream = Box::new(MemoryInputPipe::new(bytes));
        Ok(self.table.push(stream)?)
    }

    async fn size(&mut self, value: Resource<Incoming>) -> wasmtime::Result<u64> {
        Ok(u64::try_from(self.table.get(&value)?.0.len()).unwrap_or(u64::MAX))
    }

    async fn drop(&mut self, value: Resource<Incoming>) -> wasmtime::Result<()> {
        self.table.delete(value)?;
        Ok(())
    }
}
