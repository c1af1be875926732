//! A store that does what its keys say, and buses to reach it by.

use anyhow::Result;
use bytes::Bytes;
use lattice_io::memory::Memory;
use lattice_io::nats::{NatsLattice, NatsOptions, connect};
use lattice_io::{Bus, TaskScope};
use lattice_protocol::provider::{Place, process_name};
use lattice_protocol::subject::Subjects;
use providers_sdk::keyvalue::{KeyPage, KeyValue, Versioned};
use providers_sdk::remote::{Capability, Description, Ends, Remote};
use providers_sdk::{BoxFuture, CallContext, Provider, ProviderError, ProviderErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tests_harness::NatsServer;

/// Longer than anything here takes on a busy machine.
pub const SOON: Duration = Duration::from_secs(20);

/// A bus, and what keeps it.
pub struct Fixture {
    pub bus: Arc<dyn Bus>,
    pub scope: TaskScope,
    _keep: Option<(Box<NatsServer>, Arc<NatsLattice>)>,
}

impl Fixture {
    pub fn memory() -> Self {
        Self { bus: Memory::new().lattice().bus, scope: TaskScope::new("test"), _keep: None }
    }

    pub async fn nats() -> Result<Self> {
        let server = NatsServer::start(tests_harness::NatsOptions::default()).await?;
        let client = connect(NatsOptions::new(server.url())).await?;
        let bus = client.lattice().bus;
        Ok(Self { bus, scope: TaskScope::new("test"), _keep: Some((Box::new(server), client)) })
    }

    /// The subjects of the provider `shop/store`, which nobody need serve.
    pub fn subject(&self) -> String {
        Subjects::new("test".parse().unwrap())
            .provider_call(&process_name(&"shop/store".parse().unwrap(), &Place::Shared))
    }

    /// The same provider as a host calls it.
    pub fn store(&self, ends: Option<Ends>) -> Arc<dyn KeyValue> {
        let (subjects, id) = (Subjects::new("test".parse().unwrap()), "shop/store".parse().unwrap());
        let mut remote =
            Remote::new(Arc::clone(&self.bus), &subjects, &id, &Place::Shared, self.scope.clone());
        if let Some(ends) = ends {
            remote = remote.ending_with(ends);
        }
        let key = keys::KeyPair::from_entropy(keys::KeyKind::Provider, [7; 32]).public();
        let description = Description { id, capability: Capability::KeyValue, listen: None, key };
        let Provider::KeyValue(store) = remote.provider(&description) else { unreachable!() };
        store
    }
}

/// A call by `shop/cart` with this much time.
pub fn within(patience: Duration) -> CallContext {
    CallContext { deadline: Instant::now() + patience, ..providers_sdk::testing::context("shop/cart") }
}

/// `get` gives as many bytes as the key says; every write is counted.
#[derive(Default)]
pub struct Sized {
    pub writes: AtomicUsize,
}

type Answer<'a, T> = BoxFuture<'a, Result<T, ProviderError>>;

fn refused<'a, T: Send + 'a>() -> Answer<'a, T> {
    Box::pin(std::future::ready(Err(ProviderError::new(ProviderErrorKind::Conflict, "only get and set"))))
}

impl KeyValue for Sized {
    fn open<'a>(&'a self, cx: &'a CallContext, bucket: &'a str) -> Answer<'a, ()> {
        // Says back what it was told of the call.
        let told = format!("{} {} {} {:?}", cx.source, cx.link, bucket, cx.config.get("prefix"));
        Box::pin(async move { Err(ProviderError::new(ProviderErrorKind::Denied, told)) })
    }
    fn get<'a>(&'a self, _: &'a CallContext, _: &'a str, key: &'a str) -> Answer<'a, Option<Bytes>> {
        Box::pin(async move { Ok(Some(vec![b'v'; key.parse().unwrap()].into())) })
    }
    fn set<'a>(&'a self, _: &'a CallContext, _: &'a str, _: &'a str, _: Bytes) -> Answer<'a, ()> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        Box::pin(std::future::ready(Ok(())))
    }
    fn delete<'a>(&'a self, _: &'a CallContext, _: &'a str, _: &'a str) -> Answer<'a, ()> {
        refused()
    }
    fn exists<'a>(&'a self, _: &'a CallContext, _: &'a str, _: &'a str) -> Answer<'a, bool> {
        refused()
    }
    fn list_keys<'a>(&'a self, _: &'a CallContext, _: &'a str, _: Option<&'a str>) -> Answer<'a, KeyPage> {
        refused()
    }
    fn increment<'a>(&'a self, _: &'a CallContext, _: &'a str, _: &'a str, _: i64) -> Answer<'a, i64> {
        refused()
    }
    fn current<'a>(&'a self, _: &'a CallContext, _: &'a str, _: &'a str) -> Answer<'a, Versioned> {
        refused()
    }
    fn swap<'a>(
        &'a self,
        _: &'a CallContext,
        _: &'a str,
        _: &'a str,
        _: &'a [u8],
        _: Bytes,
    ) -> Answer<'a, bool> {
        refused()
    }
    fn get_many<'a>(
        &'a self,
        _: &'a CallContext,
        _: &'a str,
        _: &'a [String],
    ) -> Answer<'a, Vec<Option<Bytes>>> {
        refused()
    }
    fn set_many<'a>(&'a self, _: &'a CallContext, _: &'a str, _: Vec<(String, Bytes)>) -> Answer<'a, ()> {
        refused()
    }
    fn delete_many<'a>(&'a self, _: &'a CallContext, _: &'a str, _: &'a [String]) -> Answer<'a, ()> {
        refused()
    }
}
