//! One runtime, components signed by a key of the tests' own, actors with links, and a request in
//! one line.

pub mod counting;
pub mod fakes;

use bytes::Bytes;
use host_runtime::actor::ActorOptions;
use host_runtime::config::RuntimeConfig;
use host_runtime::runtime::Runtime;
use host_runtime::wiring::BoundTarget;
use host_runtime::{Actor, CallInfo, Component, Wiring};
use http_body_util::BodyExt;
use keys::{ClaimRequest, Claims, KeyKind, KeyPair, TrustAnchors, Verified, VerifyPolicy};
use lattice_protocol::{
    ActorId, CallPolicy, Grants, InstancePolicy, Limits, LinkDefinition, LinkName, LinkTarget, Report,
};
use providers_sdk::http::{Body, full};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::sync::Mutex;

pub const PATIENCE: Duration = Duration::from_secs(30);
const NOW: i64 = 1_800_000_000;

/// Everything that any test component may be linked to.
const CAPABILITIES: [&str; 8] = [
    "wasi:keyvalue",
    "wasi:blobstore",
    "wasi:http",
    "wasmcloud:messaging",
    "wasmcloud:secrets",
    "trellis:actor",
    "example:pong",
    "example:loop",
];

pub static RUNTIME: LazyLock<Arc<Runtime>> = LazyLock::new(|| {
    let config = RuntimeConfig { max_instances: 200, start_ms: 20_000, ..RuntimeConfig::default() };
    Runtime::new(config).unwrap()
});
static COMPONENTS: LazyLock<Mutex<BTreeMap<String, Arc<Component>>>> = LazyLock::new(Mutex::default);

/// Signs a component with all of [`CAPABILITIES`] and loads it.
pub async fn load(body: &[u8]) -> Result<Arc<Component>, Report> {
    let (claims, file) = signed(body);
    RUNTIME.load(claims, file).await
}

/// Signs a component with all of [`CAPABILITIES`]; the claims are verified.
pub fn signed(body: &[u8]) -> (Verified<Claims>, Bytes) {
    let issuer = KeyPair::from_entropy(KeyKind::Account, [7; 32]);
    let subject = KeyPair::from_entropy(KeyKind::Module, [8; 32]).public();
    let mut request = ClaimRequest::new(subject, "test");
    request.capabilities = CAPABILITIES.map(str::to_owned).into();
    let file = keys::sign_component(body, &request, &issuer, NOW).unwrap();
    let anchors = TrustAnchors::new(BTreeSet::from([issuer.public()]), BTreeMap::new()).unwrap();
    let claims = keys::verify(&file, &anchors, NOW, &VerifyPolicy::ACTOR).unwrap();
    (claims, file.into())
}

/// A guest of `guests/`, compiled once.
pub async fn guest(name: &str) -> Arc<Component> {
    let mut components = COMPONENTS.lock().await;
    if let Some(component) = components.get(name) {
        return Arc::clone(component);
    }
    let body = std::fs::read(tests_harness::fixtures::guest(name).unwrap()).unwrap();
    let component = load(&body).await.unwrap();
    components.insert(name.to_owned(), Arc::clone(&component));
    component
}

/// A component written as text.
pub async fn text(text: &str) -> Result<Arc<Component>, Report> {
    load(&wat::parse_str(text).unwrap()).await
}

/// A link of `test/<source>` in the making.
pub struct Link {
    definition: LinkDefinition,
    target: BoundTarget,
}

/// A link by its default name, impatient of failures: no pauses between attempts.
pub fn link(source: &str, interface: &str, target: BoundTarget) -> Link {
    Link {
        definition: LinkDefinition {
            source: id(source),
            name: LinkName::default_name(),
            interface: interface.parse().unwrap(),
            target: LinkTarget::Provider("test/target".parse().unwrap()),
            config: BTreeMap::new(),
            policy: CallPolicy { retry_delay_ms: 0, ..CallPolicy::default() },
            grants: Grants::default(),
        },
        target,
    }
}

impl Link {
    pub fn named(mut self, name: &str) -> Self {
        self.definition.name = name.parse().unwrap();
        self
    }
    pub fn config(mut self, key: &str, value: &str) -> Self {
        self.definition.config.insert(key.into(), value.into());
        self
    }
    pub fn grants(mut self, grants: Grants) -> Self {
        self.definition.grants = grants;
        self
    }
    pub fn timeout_ms(mut self, timeout_ms: u64) -> Self {
        self.definition.policy.timeout_ms = timeout_ms;
        self
    }
}

pub fn id(name: &str) -> ActorId {
    format!("test/{name}").parse().unwrap()
}

pub fn wiring(source: &str, links: impl IntoIterator<Item = Link>) -> Arc<Wiring> {
    let links = links.into_iter().map(|link| (link.definition, link.target)).collect();
    Arc::new(Wiring::new(&id(source), links))
}

/// Starts `test/<name>`, warm: what changes under it changes under a running instance.
pub async fn start(
    name: &str,
    component: Arc<Component>,
    links: impl IntoIterator<Item = Link>,
) -> Arc<Actor> {
    let options = ActorOptions {
        id: id(name),
        lattice: "test".parse().unwrap(),
        host: "NTEST".parse().unwrap(),
        policy: InstancePolicy::Warm { max_calls: 1_000, max_concurrency: 1, idle_ms: 60_000 },
        limits: Limits::default(),
        replicas: 1,
        config: BTreeMap::from([("colour".into(), "green".into())]),
    };
    Actor::start(&RUNTIME, component, options, wiring(name, links)).await.unwrap()
}

/// What came of one request: the status and the body, or the report that ended the call.
pub type Answer = Result<(u16, String), Report>;

/// Sends one request to an actor.
pub async fn ask(actor: &Arc<Actor>, method: &str, target: &str, body: &str) -> Answer {
    let request = http::Request::builder()
        .method(method)
        .uri(format!("http://test.local{target}"))
        .header("host", "test.local")
        .body(full(body.to_owned()))
        .unwrap();
    let response = actor.handle_http(request, CallInfo::within(PATIENCE)).await?;
    let status = response.status().as_u16();
    Ok((status, String::from_utf8_lossy(&collect(response.into_body()).await?).into_owned()))
}

async fn collect(body: Body) -> Result<Bytes, Report> {
    Ok(body.collect().await.map_err(Report::from)?.to_bytes())
}

/// The body of an answer that must be a success.
pub async fn get(actor: &Arc<Actor>, target: &str) -> String {
    let (status, body) = ask(actor, "GET", target, "").await.unwrap();
    assert_eq!(status, 200, "{target}: {body}");
    body
}

pub fn list(items: &[&str]) -> Vec<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}
