//! Capabilities without any wasm: the generated traits, called on a store's data as a guest would.

use super::bindings::blobstore::wasi::blobstore::{blobstore, container, types};
use super::bindings::bus_2::wasmcloud::bus::lattice;
use super::bindings::secrets::wasmcloud::secrets::{reveal, store};
use super::*;
use crate::call::CallInfo;
use crate::limits::{Limiter, MemoryBudget};
use crate::state::ActorShared;
use crate::wiring::{BoundTarget, Wiring};
use blobstore::Host as _;
use bytes::Bytes;
use container::{HostContainer as _, HostStreamObjectNames as _};
use futures::FutureExt;
use futures::future::BoxFuture;
use lattice_protocol::{ActorId, CallPolicy, ErrorCode, Grants, Limits, LinkDefinition, LinkTarget, Report};
use providers_sdk::blob::{BlobStore, ObjectInfo};
use providers_sdk::keyvalue::{KeyPage, KeyValue, Versioned};
use providers_sdk::{CallContext, ProviderError, ProviderErrorKind};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;
use types::{HostIncomingValue as _, HostOutgoingValue as _};
use wasmtime::component::{Resource, ResourceTable};

#[test]
fn every_interface_listed_reads_as_one() {
    for name in INTERFACES {
        assert!(name.parse::<Interface>().is_ok(), "{name}");
    }
}

fn actor() -> ActorId {
    "shop/cart".parse().unwrap()
}

fn definition(name: &str, interface: &str, grants: Grants) -> LinkDefinition {
    LinkDefinition {
        source: actor(),
        name: name.parse().unwrap(),
        interface: interface.parse().unwrap(),
        target: LinkTarget::Provider("shop/target".parse().unwrap()),
        config: BTreeMap::new(),
        policy: CallPolicy { retry_delay_ms: 0, ..CallPolicy::default() },
        grants,
    }
}

fn state(links: Vec<(LinkDefinition, BoundTarget)>) -> InstanceState {
    let limits = Limits { body_bytes: 64, ..Limits::default() };
    let place = ("test".parse().unwrap(), "NTEST".parse().unwrap());
    let wiring = Arc::new(Wiring::new(&actor(), links));
    let shared = ActorShared::new(actor(), place, limits.clone(), BTreeMap::new(), wiring);
    InstanceState {
        wasi: wasmtime_wasi::WasiCtx::default(),
        table: ResourceTable::new(),
        http: wasmtime_wasi_http::WasiHttpCtx::new(),
        limits: Limiter::new(&limits, Arc::new(MemoryBudget::new(1 << 20))),
        call: CallScope {
            actor: shared,
            info: CallInfo::within(Duration::from_secs(60)),
            selected_link: BTreeMap::new(),
            stage: None,
            reply_to: None,
        },
    }
}

/// Objects by container and name.
#[derive(Default)]
struct Blobs(Mutex<BTreeMap<String, BTreeMap<String, Bytes>>>);

type Answer<'a, T> = BoxFuture<'a, Result<T, ProviderError>>;

impl Blobs {
    fn done<'a, T: Send + 'a>(
        &self,
        act: impl FnOnce(&mut BTreeMap<String, BTreeMap<String, Bytes>>) -> T,
    ) -> Answer<'a, T> {
        std::future::ready(Ok(act(&mut self.0.lock().unwrap()))).boxed()
    }
}

fn info(name: &str, data: &Bytes) -> ObjectInfo {
    ObjectInfo { name: name.to_owned(), size: data.len() as u64, created_at: 1 }
}

impl BlobStore for Blobs {
    fn create_container<'a>(&'a self, _: &'a CallContext, container: &'a str) -> Answer<'a, ()> {
        self.done(|all| {
            all.entry(container.to_owned()).or_default();
        })
    }
    fn container_exists<'a>(&'a self, _: &'a CallContext, container: &'a str) -> Answer<'a, bool> {
        self.done(|all| all.contains_key(container))
    }
    fn delete_container<'a>(&'a self, _: &'a CallContext, container: &'a str) -> Answer<'a, ()> {
        self.done(|all| drop(all.remove(container)))
    }
    fn list<'a>(&'a self, _: &'a CallContext, container: &'a str) -> Answer<'a, Vec<ObjectInfo>> {
        self.done(|all| {
            all.get(container).into_iter().flatten().map(|(name, data)| info(name, data)).collect()
        })
    }
    fn info<'a>(
        &'a self,
        _: &'a CallContext,
        container: &'a str,
        object: &'a str,
    ) -> Answer<'a, Option<ObjectInfo>> {
        self.done(|all| all.get(container)?.get(object).map(|data| info(object, data)))
    }
    fn read<'a>(
        &'a self,
        _: &'a CallContext,
        container: &'a str,
        object: &'a str,
        start: u64,
        end: u64,
    ) -> Answer<'a, Bytes> {
        self.done(|all| {
            let data = &all[container][object];
            let end = usize::try_from(end).unwrap_or(usize::MAX).saturating_add(1).min(data.len());
            data.slice(usize::try_from(start).unwrap().min(end)..end)
        })
    }
    fn write<'a>(
        &'a self,
        _: &'a CallContext,
        container: &'a str,
        object: &'a str,
        data: Bytes,
    ) -> Answer<'a, ()> {
        self.done(|all| drop(all.entry(container.to_owned()).or_default().insert(object.to_owned(), data)))
    }
    fn delete<'a>(&'a self, _: &'a CallContext, container: &'a str, objects: &'a [String]) -> Answer<'a, ()> {
        self.done(|all| {
            let held = all.entry(container.to_owned()).or_default();
            objects.iter().for_each(|object| drop(held.remove(object)));
        })
    }
}

fn blobs(grants: Grants) -> (InstanceState, Arc<Blobs>) {
    let blobs = Arc::new(Blobs::default());
    let target = BoundTarget::BlobStore(Arc::clone(&blobs) as Arc<dyn BlobStore>);
    (state(vec![(definition("default", "wasi:blobstore", grants), target)]), blobs)
}

/// Writes an object as guests do; `named_first` says whether `write-data` comes before the bytes.
async fn write(
    state: &mut InstanceState,
    handle: &Resource<super::blobstore::Container>,
    (name, data): (&str, &str),
    named_first: bool,
) -> Result<(), super::blobstore::Refusal> {
    let value = state.new_outgoing_value().await.unwrap();
    let again = || Resource::new_own(value.rep());
    if named_first {
        state.write_data(Resource::new_own(handle.rep()), name.into(), again()).await?;
    }
    let stream = state.outgoing_value_write_body(again()).await.unwrap().unwrap();
    assert!(state.outgoing_value_write_body(again()).await.unwrap().is_err(), "one stream for each value");
    state.table.get_mut(&stream).unwrap().write(Bytes::from(data.to_owned())).unwrap();
    state.table.delete(stream).unwrap();
    if !named_first {
        state.write_data(Resource::new_own(handle.rep()), name.into(), again()).await?;
    }
    state.finish(value).await
}

fn words(refusal: super::blobstore::Refusal) -> String {
    match refusal {
        super::blobstore::Refusal::Guest(words) => words,
        super::blobstore::Refusal::Trap(error) => format!("trap: {error:#}"),
    }
}

#[tokio::test]
async fn objects_are_written_when_they_are_finished_and_read_in_part() {
    let (mut state, blobs) = blobs(Grants::default());
    let container = state.create_container("photos".into()).await.unwrap();
    let again = || Resource::new_own(container.rep());
    write(&mut state, &container, ("a", "first"), true).await.unwrap();
    write(&mut state, &container, ("b", "second"), false).await.unwrap();
    assert_eq!(blobs.0.lock().unwrap()["photos"].len(), 2);

    let dropped = state.new_outgoing_value().await.unwrap();
    state.write_data(again(), "never".into(), Resource::new_own(dropped.rep())).await.unwrap();
    types::HostOutgoingValue::drop(&mut state, dropped).await.unwrap();
    assert!(!state.has_object(again(), "never".into()).await.unwrap(), "unfinished is unwritten");

    let part = state.get_data(again(), "b".into(), 1, 3).await.unwrap();
    assert_eq!(state.size(Resource::new_own(part.rep())).await.unwrap(), 3);
    assert_eq!(state.incoming_value_consume_sync(part).await.unwrap(), b"eco");
    let absent = state.get_data(again(), "z".into(), 0, u64::MAX).await.unwrap_err();
    assert!(words(absent).contains("no such object"));

    let names = state.list_objects(again()).await.unwrap();
    let read = state.read_stream_object_names(Resource::new_own(names.rep()), 1).await.unwrap();
    assert_eq!(read, (vec!["a".to_owned()], false));
    assert_eq!(state.skip_stream_object_names(Resource::new_own(names.rep()), 9).await.unwrap(), (1, true));

    let at = |object: &str| types::ObjectId { container: "photos".into(), object: object.into() };
    state.move_object(at("a"), at("c")).await.unwrap();
    assert!(!state.has_object(again(), "a".into()).await.unwrap());
    assert_eq!(state.object_info(again(), "c".into()).await.unwrap().size, 5);
    container::HostContainer::clear(&mut state, again()).await.unwrap();
    assert!(blobs.0.lock().unwrap()["photos"].is_empty());
}

#[tokio::test]
async fn blobs_are_narrowed_bounded_and_cut_off() {
    let grants =
        Grants { buckets: vec!["photos".into()], key_prefixes: vec!["mine/".into()], ..Grants::default() };
    let (mut state, blobs) = blobs(grants.clone());
    assert!(
        words(state.create_container("other".into()).await.unwrap_err())
            .contains("capability denied: bucket other")
    );
    let container = state.create_container("photos".into()).await.unwrap();
    blobs.0.lock().unwrap().entry("photos".into()).or_default().insert("theirs".into(), "x".into());
    for name in ["theirs", "mine/../theirs"] {
        let refused = write(&mut state, &container, (name, "x"), true).await.unwrap_err();
        assert!(words(refused).contains("capability denied: key"), "{name}");
    }
    let names = state.list_objects(Resource::new_own(container.rep())).await.unwrap();
    assert_eq!(state.read_stream_object_names(names, 9).await.unwrap(), (Vec::new(), true));

    let value = state.new_outgoing_value().await.unwrap();
    let stream = state.outgoing_value_write_body(value).await.unwrap().unwrap();
    let too_much = Bytes::from(vec![0; 65]);
    assert!(state.table.get_mut(&stream).unwrap().write(too_much).is_err(), "64 bytes and no more");
    blobs.0.lock().unwrap().get_mut("photos").unwrap().insert("mine/big".into(), vec![0; 65].into());
    let big = state.get_data(Resource::new_own(container.rep()), "mine/big".into(), 0, u64::MAX).await;
    assert!(words(big.unwrap_err()).contains("E_LIMIT"));
    assert!(state.get_data(Resource::new_own(container.rep()), "mine/big".into(), 10, 19).await.is_ok());

    state.call.actor.wiring.store(Arc::default());
    let cut = state.has_object(container, "mine/big".into()).await.unwrap_err();
    assert!(words(cut).starts_with("trap: E_CAPABILITY_DENIED: capability denied: wasmcloud:blobstore"));

    let target = BoundTarget::BlobStore(blobs as Arc<dyn BlobStore>);
    let frozen = definition("default", "wasi:blobstore", Grants { read_only: true, ..grants });
    state.call.actor.wiring.store(Arc::new(Wiring::new(&actor(), vec![(frozen, target)])));
    assert!(words(state.create_container("photos".into()).await.unwrap_err()).contains("read-only"));
}

#[tokio::test]
async fn a_guest_error_is_told_and_a_trap_is_not_hidden() {
    let mut state = state(Vec::new());
    let told = types::Host::convert_error(&mut state, super::blobstore::Refusal::Guest("words".into()));
    assert_eq!(told.unwrap(), "words");
    let report = Report::new(ErrorCode::CapabilityDenied, "capability denied: x");
    let refusal = super::blobstore::Refusal::Trap(trap(report.clone()));
    let ended = types::Host::convert_error(&mut state, refusal).unwrap_err();
    assert_eq!(ended.downcast_ref::<Report>(), Some(&report));
}

#[tokio::test]
async fn a_link_name_is_chosen_for_the_interfaces_named_and_checked() {
    let nobody = || BoundTarget::Inbound;
    let mut state = state(vec![
        (definition("main", "wasi:keyvalue", Grants::default()), nobody()),
        (definition("backup", "wasi:keyvalue", Grants::default()), nobody()),
    ]);
    let store: Interface = "wasi:keyvalue/store@0.2.0-draft".parse().unwrap();
    assert_eq!(state.call.resolve(&store, None).map(drop).unwrap_err().code, ErrorCode::LinkNotFound);
    let mut choose = |name: &str, interface: &str| {
        let handle = lattice::HostCallTargetInterface::new(
            &mut state,
            "wasi".into(),
            "keyvalue".into(),
            interface.into(),
        );
        lattice::Host::set_link_name(&mut state, name.into(), vec![handle.unwrap()]).unwrap()
    };
    choose("backup", "store").unwrap();
    assert!(choose("absent", "atomics").unwrap_err().contains("link definition not found"));
    assert!(choose("not a name", "store").unwrap_err().contains("E_NAME"));
    assert!(choose("backup", "no word").unwrap_err().contains("E_NAME"));
    let found = state.call.resolve(&store, None).unwrap();
    assert_eq!(found.definition().name.as_str(), "backup");
    let label: LinkName = "main".parse().unwrap();
    let by_label = state.call.resolve(&store, Some(&label)).unwrap();
    assert_eq!(by_label.definition().name.as_str(), "main", "a label is the component's own choice");
}

#[tokio::test]
async fn secrets_need_a_link_of_their_own_and_a_store() {
    let mut state =
        state(vec![(definition("default", "wasi:keyvalue", Grants::default()), BoundTarget::Inbound)]);
    let ended = store::Host::get(&mut state, "password".into()).await.unwrap_err();
    let report = ended.downcast_ref::<Report>().unwrap();
    assert_eq!(report.what, "capability denied: wasmcloud:secrets/store@0.1.0-draft");
    let broken = definition("default", "wasmcloud:secrets", Grants::default());
    state.call.actor.wiring.store(Arc::new(Wiring::new(&actor(), vec![(broken, BoundTarget::Inbound)])));
    assert!(matches!(
        store::Host::get(&mut state, "password".into()).await.unwrap(),
        Err(store::SecretsError::Upstream(words)) if words.contains("E_LINK")
    ));
}

/// A key-value store of one secret, which nobody may write.
struct Vault;

fn refused<'a, T: Send + 'a>() -> Answer<'a, T> {
    std::future::ready(Err(ProviderError::new(ProviderErrorKind::Invalid, "only read"))).boxed()
}

impl KeyValue for Vault {
    fn open<'a>(&'a self, _: &'a CallContext, _: &'a str) -> Answer<'a, ()> {
        refused()
    }
    fn get<'a>(&'a self, _: &'a CallContext, bucket: &'a str, key: &'a str) -> Answer<'a, Option<Bytes>> {
        let held = ((bucket, key) == ("vault", "password")).then(|| Bytes::from("canary"));
        std::future::ready(Ok(held)).boxed()
    }
    fn set<'a>(&'a self, _: &'a CallContext, _: &'a str, _: &'a str, _: Bytes) -> Answer<'a, ()> {
        refused()
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

#[tokio::test]
async fn a_secret_is_read_at_each_get_and_shown_only_by_reveal() {
    let grants = Grants { key_prefixes: vec!["pass".into(), "abs".into()], ..Grants::default() };
    let mut vault = definition("default", "wasmcloud:secrets", grants);
    vault.config.insert("bucket".into(), "vault".into());
    let mut state = state(vec![(vault, BoundTarget::KeyValue(Arc::new(Vault)))]);
    let secret = store::Host::get(&mut state, "password".into()).await.unwrap().unwrap();
    let shown = reveal::Host::reveal(&mut state, secret).await.unwrap();
    assert!(matches!(shown, reveal::SecretValue::String(text) if text == "canary"));
    let absent = store::Host::get(&mut state, "absent".into()).await.unwrap();
    assert!(matches!(absent, Err(store::SecretsError::NotFound)));
    let foreign = store::Host::get(&mut state, "token".into()).await.unwrap();
    assert!(
        matches!(foreign, Err(store::SecretsError::Upstream(words)) if words.contains("capability denied"))
    );
}

/// Secrets of the lattice, as a host would open them.
struct Opened;

impl crate::wiring::SecretSource for Opened {
    fn reveal<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Bytes, Report>> {
        std::future::ready(match name {
            "redis" => Ok(Bytes::from("canary")),
            _ => Err(Report::new(ErrorCode::SecretNotFound, format!("secret not found: {name}"))),
        })
        .boxed()
    }
}

#[tokio::test]
async fn a_secret_that_the_configuration_names_needs_no_link_and_is_no_configuration() {
    use super::bindings::config::wasi::config::store::Host as _;
    let mut state = state(Vec::new());
    let config = [("password", "secret:redis"), ("token", "secret:gone"), ("plain", "x")];
    let config = config.map(|(key, value)| (key.to_owned(), value.to_owned()));
    state.call.actor.config.store(Arc::new(config.into()));
    let wiring = Wiring::new(&actor(), Vec::new()).with_secrets(Arc::new(Opened));
    state.call.actor.wiring.store(Arc::new(wiring));
    let secret = store::Host::get(&mut state, "password".into()).await.unwrap().unwrap();
    let shown = reveal::Host::reveal(&mut state, secret).await.unwrap();
    assert!(matches!(shown, reveal::SecretValue::String(text) if text == "canary"));
    let gone = store::Host::get(&mut state, "token".into()).await.unwrap();
    assert!(matches!(gone, Err(store::SecretsError::NotFound)));
    // What the configuration does not give as a secret still needs a link.
    assert!(store::Host::get(&mut state, "plain".into()).await.is_err());
    assert_eq!(state.get("password".into()).unwrap().unwrap(), None);
    assert_eq!(state.get_all().unwrap().unwrap(), [("plain".to_owned(), "x".to_owned())]);
}
