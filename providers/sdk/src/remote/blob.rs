//! Blobs over the lattice: the caller's half, and the process's.

use super::client::Remote;
use super::wire::{BlobAct, Operation, json, missing, text};
use crate::blob::{BlobStore, ObjectInfo};
use crate::{BoxFuture, CallContext, ProviderError};
use bytes::Bytes;
use futures::FutureExt;
use lattice_protocol::Report;
use lattice_protocol::provider::pack;

fn on(container: &str, act: BlobAct) -> Operation {
    Operation::Blob { container: container.to_owned(), act }
}

impl BlobStore for Remote {
    fn create_container<'a>(
        &'a self,
        cx: &'a CallContext,
        container: &'a str,
    ) -> BoxFuture<'a, Result<(), ProviderError>> {
        async move { self.tell(cx, on(container, BlobAct::Create), &[]).await }.boxed()
    }

    fn container_exists<'a>(
        &'a self,
        cx: &'a CallContext,
        container: &'a str,
    ) -> BoxFuture<'a, Result<bool, ProviderError>> {
        async move { self.json(cx, on(container, BlobAct::Exists), &[]).await }.boxed()
    }

    fn delete_container<'a>(
        &'a self,
        cx: &'a CallContext,
        container: &'a str,
    ) -> BoxFuture<'a, Result<(), ProviderError>> {
        async move { self.tell(cx, on(container, BlobAct::Drop), &[]).await }.boxed()
    }

    fn list<'a>(
        &'a self,
        cx: &'a CallContext,
        container: &'a str,
    ) -> BoxFuture<'a, Result<Vec<ObjectInfo>, ProviderError>> {
        async move { self.json(cx, on(container, BlobAct::List), &[]).await }.boxed()
    }

    fn info<'a>(
        &'a self,
        cx: &'a CallContext,
        container: &'a str,
        object: &'a str,
    ) -> BoxFuture<'a, Result<Option<ObjectInfo>, ProviderError>> {
        let act = BlobAct::Info { object: object.to_owned() };
        async move { self.json(cx, on(container, act), &[]).await }.boxed()
    }

    fn read<'a>(
        &'a self,
        cx: &'a CallContext,
        container: &'a str,
        object: &'a str,
        start: u64,
        end: u64,
    ) -> BoxFuture<'a, Result<Bytes, ProviderError>> {
        let act = BlobAct::Read { object: object.to_owned(), start, end };
        async move {
            let values = self.values(cx, on(container, act), (&[], 1)).await?;
            Ok(values.into_iter().next().flatten().unwrap_or_default())
        }
        .boxed()
    }

    fn write<'a>(
        &'a self,
        cx: &'a CallContext,
        container: &'a str,
        object: &'a str,
        data: Bytes,
    ) -> BoxFuture<'a, Result<(), ProviderError>> {
        let act = BlobAct::Write { object: object.to_owned() };
        async move { self.tell(cx, on(container, act), &[Some(data)]).await }.boxed()
    }

    fn delete<'a>(
        &'a self,
        cx: &'a CallContext,
        container: &'a str,
        objects: &'a [String],
    ) -> BoxFuture<'a, Result<(), ProviderError>> {
        let names: Vec<Option<Bytes>> = objects.iter().map(|name| Some(name.clone().into())).collect();
        async move { self.tell(cx, on(container, BlobAct::Delete), &names).await }.boxed()
    }
}

/// Carries one operation out, in the process.
pub(super) async fn perform(
    store: &dyn BlobStore,
    cx: &CallContext,
    (container, act): (&str, BlobAct),
    values: Vec<Option<Bytes>>,
) -> Result<Bytes, Report> {
    let done = |()| Bytes::new();
    Ok(match act {
        BlobAct::Create => store.create_container(cx, container).await.map(done)?,
        BlobAct::Exists => json(&store.container_exists(cx, container).await?)?,
        BlobAct::Drop => store.delete_container(cx, container).await.map(done)?,
        BlobAct::List => json(&store.list(cx, container).await?)?,
        BlobAct::Info { object } => json(&store.info(cx, container, &object).await?)?,
        BlobAct::Read { object, start, end } => {
            pack(&[Some(store.read(cx, container, &object, start, end).await?)]).into()
        }
        BlobAct::Write { object } => {
            let data = values.into_iter().next().flatten().ok_or_else(missing)?;
            store.write(cx, container, &object, data).await.map(done)?
        }
        BlobAct::Delete => {
            let objects = values.into_iter().map(text).collect::<Result<Vec<_>, _>>()?;
            store.delete(cx, container, &objects).await.map(done)?
        }
    })
}
