//! Actors of this process: the runtime with a host's settings, components signed and verified as
//! everywhere, links bound to what the case gives.

use crate::samples::micros;
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use host_runtime::wiring::{ActorTarget, BoundTarget};
use host_runtime::{Actor, ActorOptions, CallInfo, Component, Runtime, RuntimeConfig, Wiring};
use keys::{ClaimRequest, Digest, KeyKind, KeyPair, TrustAnchors, VerifyPolicy};
use lattice_protocol::invocation::Invocation;
use lattice_protocol::value::{Limits as ValueLimits, Signature, Type, Value, decode_all, encode_call};
use lattice_protocol::{
    ActorId, CallPolicy, ErrorCode, Grants, InstancePolicy, Limits, LinkDefinition, LinkName, LinkTarget,
    Report,
};
use providers_sdk::BoxFuture;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longest call of a measurement.
const PATIENCE: Duration = Duration::from_secs(30);
/// The interface of the guest that loops.
const LOOPS: &str = "bench:loops/run@0.1.0";

/// A runtime, and whom its components are signed by.
pub struct Inside {
    /// The runtime, with a cache of compiled components on disk.
    pub runtime: Arc<Runtime>,
    issuer: KeyPair,
    anchors: TrustAnchors,
    dir: TempDir,
}

/// Signs a component as the issuer: its own module key, and all that it may be linked to.
pub fn sign(body: &[u8], name: &str, issuer: &KeyPair) -> Result<Vec<u8>> {
    let subject = KeyPair::from_entropy(KeyKind::Module, *Digest::of(body).as_bytes()).public();
    let mut request = ClaimRequest::new(subject, name);
    request.capabilities =
        ["wasi:http", "wasi:keyvalue", "wasmcloud:messaging", "example:pong", "bench:loops"]
            .map(str::to_owned)
            .into();
    Ok(keys::sign_component(body, &request, issuer, crate::machine::now_unix())?)
}

/// A guest of `guests/`, as it was built.
pub fn guest(name: &str) -> Result<Vec<u8>> {
    let path = tests_harness::fixtures::guest(name)?;
    std::fs::read(&path).with_context(|| path.display().to_string())
}

/// `bench/<name>`.
pub fn actor_id(name: &str) -> Result<ActorId> {
    Ok(format!("bench/{name}").parse()?)
}

/// A link of `bench/<source>` with the defaults of a manifest that says no more.
pub fn link(source: &str, interface: &str, target: LinkTarget) -> Result<LinkDefinition> {
    Ok(LinkDefinition {
        source: actor_id(source)?,
        name: LinkName::default_name(),
        interface: interface.parse()?,
        target,
        config: BTreeMap::new(),
        policy: CallPolicy::default(),
        grants: Grants::default(),
    })
}

impl Inside {
    /// A runtime as a host of 512 MiB makes it.
    pub fn new() -> Result<Self> {
        Self::of_memory(512 << 20)
    }

    /// A runtime as a host of so many bytes makes it.
    pub fn of_memory(memory_budget_bytes: u64) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("bench-").tempdir()?;
        let config = RuntimeConfig {
            cache_dir: Some(dir.path().join("compiled")),
            cache_key: [1; 32],
            memory_budget_bytes,
            ..RuntimeConfig::default()
        };
        let issuer = KeyPair::from_entropy(KeyKind::Account, [7; 32]);
        let anchors = TrustAnchors::new(BTreeSet::from([issuer.public()]), BTreeMap::new())?;
        Ok(Self { runtime: Runtime::new(config)?, issuer, anchors, dir })
    }

    /// A directory that goes when this does.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The signed file of a guest.
    pub fn signed(&self, name: &str) -> Result<Bytes> {
        self.signed_as(&guest(name)?, name)
    }

    /// A component signed under this name.
    pub fn signed_as(&self, body: &[u8], name: &str) -> Result<Bytes> {
        Ok(sign(body, name, &self.issuer)?.into())
    }

    /// Verifies a signed file and loads it: from the cache, when it was loaded before.
    pub async fn load(&self, file: Bytes) -> Result<Arc<Component>> {
        let claims = keys::verify(&file, &self.anchors, crate::machine::now_unix(), &VerifyPolicy::ACTOR)?;
        Ok(self.runtime.load(claims, file).await?)
    }

    /// Starts `bench/<name>` with the default limits.
    pub async fn start(
        &self,
        name: &str,
        component: Arc<Component>,
        policy: InstancePolicy,
        links: Vec<(LinkDefinition, BoundTarget)>,
    ) -> Result<Arc<Actor>> {
        let id = actor_id(name)?;
        let wiring = Arc::new(Wiring::new(&id, links));
        let options = ActorOptions {
            id,
            lattice: "bench".parse()?,
            host: "bench".parse()?,
            policy,
            limits: Limits::default(),
            replicas: 1,
            config: BTreeMap::new(),
        };
        Ok(Actor::start(&self.runtime, component, options, wiring).await?)
    }

    /// Loads and starts a guest.
    pub async fn start_guest(
        &self,
        name: &str,
        policy: InstancePolicy,
        links: Vec<(LinkDefinition, BoundTarget)>,
    ) -> Result<Arc<Actor>> {
        self.start(name, self.load(self.signed(name)?).await?, policy, links).await
    }
}

/// The looping guest, called from this process.
#[derive(Clone)]
pub struct Loops(pub Arc<Actor>);

impl Loops {
    /// Has it do something so many times; the time it took, and how much came of it.
    pub async fn run(&self, function: &str, times: u32) -> Result<(Duration, u64)> {
        let signature = Signature { params: vec![("times".to_owned(), Type::U32)], results: vec![Type::U64] };
        let payload = Bytes::from(encode_call(&signature, &[Value::U32(times)])?);
        let began = Instant::now();
        let answer = self.0.call(LOOPS, function, payload, CallInfo::within(PATIENCE)).await?;
        let took = began.elapsed();
        match decode_all(&signature.results, &answer, &ValueLimits::default())?.as_slice() {
            [Value::U64(sum)] => Ok((took, *sum)),
            other => anyhow::bail!("{function}: not one u64: {other:?}"),
        }
    }

    /// Microseconds of one turn of `function`: the time of a loop that does it, less the time of the
    /// same loop without it, divided by the turns. Every turn must have given `each`.
    pub async fn over_bare(&self, function: &str, turns: u32, each: u64) -> Result<f64> {
        let (bare, _) = self.run("empty", turns).await?;
        let (took, sum) = self.run(function, turns).await?;
        ensure!(sum == each * u64::from(turns), "{function}: {sum} instead of {each} a turn");
        Ok(micros(took.saturating_sub(bare)) / f64::from(turns))
    }
}

/// An actor of this process as a link's target.
pub struct Local(pub Arc<Actor>);

impl ActorTarget for Local {
    fn id(&self) -> &ActorId {
        self.0.id()
    }
    fn local(&self) -> Option<Arc<Actor>> {
        Some(Arc::clone(&self.0))
    }
    fn remote<'a>(&'a self, _: Invocation, _: Bytes) -> BoxFuture<'a, Result<Bytes, Report>> {
        Box::pin(async { Err(Report::new(ErrorCode::Connection, "this actor is only here")) })
    }
}
