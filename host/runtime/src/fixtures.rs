//! What this crate's tests stand on: signed components, from the guests that `cargo xtask` builds
//! or written as text, and actors of them.

use crate::{Actor, ActorOptions, Component, Runtime, RuntimeConfig, Wiring};
use bytes::Bytes;
use keys::{ClaimRequest, Claims, KeyKind, KeyPair, TrustAnchors, Verified, VerifyPolicy};
use lattice_protocol::{InstancePolicy, Limits, Report};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

/// A day in 2026: tests have no clock.
const NOW: i64 = 1_790_000_000;

/// Everything that the fixtures use.
pub(crate) const ALL: &[&str] = &[
    "wasi:http",
    "wasi:keyvalue",
    "wasmcloud:messaging",
    "wasi:blobstore",
    "wasi:config",
    "wasi:logging",
    "wasmcloud:bus",
    "wasmcloud:secrets",
    "example:probe",
];

/// A guest of this repository, compiled.
pub(crate) fn guest(name: &str) -> Vec<u8> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let path = root.join(format!("../../guests/target/wasm32-wasip2/release/{name}.wasm"));
    std::fs::read(&path).unwrap_or_else(|error| {
        panic!("{}: {error}; build the guests: cargo build --release in guests/", path.display())
    })
}

/// Signs a component as a trusted issuer would, and verifies it as a host would.
pub(crate) fn signed(component: &[u8], capabilities: &[&str]) -> (Verified<Claims>, Bytes) {
    let issuer = KeyPair::from_entropy(KeyKind::Account, [7; 32]);
    let subject = KeyPair::from_entropy(KeyKind::Module, [9; 32]).public();
    let mut request = ClaimRequest::new(subject, "fixture");
    request.capabilities = capabilities.iter().map(|name| (*name).to_owned()).collect();
    let file = keys::sign_component(component, &request, &issuer, NOW).unwrap();
    let anchors = TrustAnchors::new(BTreeSet::from([issuer.public()]), BTreeMap::new()).unwrap();
    let claims = keys::verify(&file, &anchors, NOW, &VerifyPolicy::ACTOR).unwrap();
    (claims, file.into())
}

/// A runtime for tests: few instances, no cache.
pub(crate) fn runtime() -> Arc<Runtime> {
    runtime_with(RuntimeConfig::default())
}

pub(crate) fn runtime_with(config: RuntimeConfig) -> Arc<Runtime> {
    Runtime::new(RuntimeConfig { max_instances: 64, ..config }).unwrap()
}

/// Loads a component that may use everything.
pub(crate) async fn load(runtime: &Runtime, component: &[u8]) -> Result<Arc<Component>, Report> {
    let (claims, file) = signed(component, ALL);
    runtime.load(claims, file).await
}

pub(crate) fn options() -> ActorOptions {
    ActorOptions {
        id: "test/actor".parse().unwrap(),
        lattice: "test".parse().unwrap(),
        host: "NTEST".parse().unwrap(),
        policy: InstancePolicy::PerCall,
        limits: Limits::default(),
        replicas: 1,
        config: BTreeMap::new(),
    }
}

pub(crate) const WARM: InstancePolicy =
    InstancePolicy::Warm { max_calls: 1_000, max_concurrency: 1, idle_ms: 60_000 };

/// An actor of a component, without links.
pub(crate) async fn start(component: &[u8], options: ActorOptions) -> Result<Arc<Actor>, Report> {
    let runtime = runtime();
    let component = load(&runtime, component).await?;
    Actor::start(&runtime, component, options, Arc::new(Wiring::default())).await
}

/// A component of one core module: `core` is its text, `functions` the signatures it exports in
/// `example:probe/probe@0.1.0`, like `(func $count (result u32) …)`.
pub(crate) fn probe(core: &str, functions: &[(&str, &str)]) -> Vec<u8> {
    probe_with("", core, functions)
}

/// The same with something that makes it need the concurrent engine.
pub(crate) fn concurrent_probe(core: &str, functions: &[(&str, &str)]) -> Vec<u8> {
    probe_with("(type (stream u8))", core, functions)
}

fn probe_with(more: &str, core: &str, functions: &[(&str, &str)]) -> Vec<u8> {
    let mut lifted = String::new();
    let mut exported = String::new();
    for (name, signature) in functions {
        lifted += &format!(r#"(func ${name} {signature} (canon lift (core func $core "{name}")))"#);
        exported += &format!(r#"(export "{name}" (func ${name}))"#);
    }
    let text = format!(
        r#"(component {more}
            (core module $module {core})
            (core instance $core (instantiate $module))
            {lifted}
            (instance $probe {exported})
            (export "example:probe/probe@0.1.0" (instance $probe)))"#
    );
    wat::parse_str(text).unwrap()
}
