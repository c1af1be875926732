//! Key-value over the lattice: the caller's half, and the process's.

use super::client::Remote;
use super::wire::{KeyValueAct, Operation, json, missing, text};
use crate::keyvalue::{KeyPage, KeyValue, Versioned};
use crate::{BoxFuture, CallContext, ProviderError};
use bytes::Bytes;
use futures::FutureExt;
use lattice_protocol::Report;
use lattice_protocol::provider::pack;

fn on(bucket: &str, act: KeyValueAct) -> Operation {
    Operation::KeyValue { bucket: bucket.to_owned(), act }
}

fn names(names: &[String]) -> Vec<Option<Bytes>> {
    names.iter().map(|name| Some(Bytes::from(name.clone()))).collect()
}

fn owned(key: &str) -> String {
    key.to_owned()
}

impl KeyValue for Remote {
    fn open<'a>(&'a self, cx: &'a CallContext, bucket: &'a str) -> BoxFuture<'a, Result<(), ProviderError>> {
        async move { self.tell(cx, on(bucket, KeyValueAct::Open), &[]).await }.boxed()
    }

    fn get<'a>(
        &'a self,
        cx: &'a CallContext,
        bucket: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<Bytes>, ProviderError>> {
        async move {
            let act = KeyValueAct::Get { key: owned(key) };
            let values = self.values(cx, on(bucket, act), (&[], 1)).await?;
            Ok(values.into_iter().next().flatten())
        }
        .boxed()
    }

    fn set<'a>(
        &'a self,
        cx: &'a CallContext,
        bucket: &'a str,
        key: &'a str,
        value: Bytes,
    ) -> BoxFuture<'a, Result<(), ProviderError>> {
        async move { self.tell(cx, on(bucket, KeyValueAct::Set { key: owned(key) }), &[Some(value)]).await }
            .boxed()
    }

    fn delete<'a>(
        &'a self,
        cx: &'a CallContext,
        bucket: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<(), ProviderError>> {
        async move { self.tell(cx, on(bucket, KeyValueAct::Delete { key: owned(key) }), &[]).await }.boxed()
    }

    fn exists<'a>(
        &'a self,
        cx: &'a CallContext,
        bucket: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<bool, ProviderError>> {
        async move { self.json(cx, on(bucket, KeyValueAct::Exists { key: owned(key) }), &[]).await }.boxed()
    }

    fn list_keys<'a>(
        &'a self,
        cx: &'a CallContext,
        bucket: &'a str,
        cursor: Option<&'a str>,
    ) -> BoxFuture<'a, Result<KeyPage, ProviderError>> {
        let act = KeyValueAct::List { cursor: cursor.map(str::to_owned) };
        async move { self.json(cx, on(bucket, act), &[]).await }.boxed()
    }

    fn increment<'a>(
        &'a self,
        cx: &'a CallContext,
        bucket: &'a str,
        key: &'a str,
        delta: i64,
    ) -> BoxFuture<'a, Result<i64, ProviderError>> {
        let act = KeyValueAct::Increment { key: owned(key), delta };
        async move { self.json(cx, on(bucket, act), &[]).await }.boxed()
    }

    fn current<'a>(
        &'a self,
        cx: &'a CallContext,
        bucket: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Versioned, ProviderError>> {
        async move {
            let act = KeyValueAct::Current { key: owned(key) };
            let mut values = self.values(cx, on(bucket, act), (&[], 2)).await?.into_iter();
            let version = values.next().flatten().unwrap_or_default().to_vec();
            Ok(Versioned { value: values.next().flatten(), version })
        }
        .boxed()
    }

    fn swap<'a>(
        &'a self,
        cx: &'a CallContext,
        bucket: &'a str,
        key: &'a str,
        version: &'a [u8],
        value: Bytes,
    ) -> BoxFuture<'a, Result<bool, ProviderError>> {
        let values = [Some(Bytes::copy_from_slice(version)), Some(value)];
        async move { self.json(cx, on(bucket, KeyValueAct::Swap { key: owned(key) }), &values).await }.boxed()
    }

    fn get_many<'a>(
        &'a self,
        cx: &'a CallContext,
        bucket: &'a str,
        keys: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, ProviderError>> {
        async move { self.values(cx, on(bucket, KeyValueAct::GetMany), (&names(keys), keys.len())).await }
            .boxed()
    }

    fn set_many<'a>(
        &'a self,
        cx: &'a CallContext,
        bucket: &'a str,
        pairs: Vec<(String, Bytes)>,
    ) -> BoxFuture<'a, Result<(), ProviderError>> {
        let values: Vec<Option<Bytes>> =
            pairs.into_iter().flat_map(|(key, value)| [Some(Bytes::from(key)), Some(value)]).collect();
        async move { self.tell(cx, on(bucket, KeyValueAct::SetMany), &values).await }.boxed()
    }

    fn delete_many<'a>(
        &'a self,
        cx: &'a CallContext,
        bucket: &'a str,
        keys: &'a [String],
    ) -> BoxFuture<'a, Result<(), ProviderError>> {
        async move { self.tell(cx, on(bucket, KeyValueAct::DeleteMany), &names(keys)).await }.boxed()
    }
}

/// Carries one operation out, in the process.
pub(super) async fn perform(
    store: &dyn KeyValue,
    cx: &CallContext,
    (bucket, act): (&str, KeyValueAct),
    values: Vec<Option<Bytes>>,
) -> Result<Bytes, Report> {
    let mut values = values.into_iter();
    let done = |()| Bytes::new();
    Ok(match act {
        KeyValueAct::Open => store.open(cx, bucket).await.map(done)?,
        KeyValueAct::Get { key } => pack(&[store.get(cx, bucket, &key).await?]).into(),
        KeyValueAct::Set { key } => {
            let value = values.next().flatten().ok_or_else(missing)?;
            store.set(cx, bucket, &key, value).await.map(done)?
        }
        KeyValueAct::Delete { key } => store.delete(cx, bucket, &key).await.map(done)?,
        KeyValueAct::Exists { key } => json(&store.exists(cx, bucket, &key).await?)?,
        KeyValueAct::List { cursor } => json(&store.list_keys(cx, bucket, cursor.as_deref()).await?)?,
        KeyValueAct::Increment { key, delta } => json(&store.increment(cx, bucket, &key, delta).await?)?,
        KeyValueAct::Current { key } => {
            let now = store.current(cx, bucket, &key).await?;
            pack(&[Some(now.version.into()), now.value]).into()
        }
        KeyValueAct::Swap { key } => {
            let version = values.next().flatten().ok_or_else(missing)?;
            let value = values.next().flatten().ok_or_else(missing)?;
            json(&store.swap(cx, bucket, &key, &version, value).await?)?
        }
        KeyValueAct::GetMany => {
            let keys = values.map(text).collect::<Result<Vec<_>, _>>()?;
            pack(&store.get_many(cx, bucket, &keys).await?).into()
        }
        KeyValueAct::SetMany => {
            let mut pairs = Vec::new();
            while let Some(key) = values.next() {
                pairs.push((text(key)?, values.next().flatten().ok_or_else(missing)?));
            }
            store.set_many(cx, bucket, pairs).await.map(done)?
        }
        KeyValueAct::DeleteMany => {
            let keys = values.map(text).collect::<Result<Vec<_>, _>>()?;
            store.delete_many(cx, bucket, &keys).await.map(done)?
        }
    })
}
