//! The runtime of one host: its engines, its cache, and what all its actors share.

use crate::cache::Cache;
use crate::component::{Code, Component, Source, check};
use crate::config::RuntimeConfig;
use crate::engine::{Engines, ProfileEngine};
use crate::idle::Idles;
use crate::limits::MemoryBudget;
use crate::native::{self, For, Target};
use crate::overload::Entrance;
use bytes::Bytes;
use keys::{Claims, Digest, Verified};
use lattice_protocol::{ErrorCode, Report};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Loads components and lends engines to actors.
pub struct Runtime {
    pub(crate) config: RuntimeConfig,
    pub(crate) budget: Arc<MemoryBudget>,
    pub(crate) entrance: Arc<Entrance>,
    engines: Engines,
    cache: Option<Cache>,
    #[cfg_attr(not(feature = "compiler"), allow(dead_code, reason = "only compilation takes turns"))]
    compilations: Arc<Semaphore>,
}

impl Runtime {
    /// Creates the engine for WASI 0.2 and opens the cache. A cache that cannot be opened is
    /// reported and done without. Calls over HTTP wait for as many processors as the runtime of tasks has
    /// threads in which this is called.
    ///
    /// # Errors
    /// `E_INTERNAL` when there can be no engine on this machine.
    pub fn new(config: RuntimeConfig) -> Result<Arc<Self>, Report> {
        let engines = Engines::new(&config)?;
        let cache = config.cache_dir.as_deref().and_then(|directory| {
            Cache::open(directory, config.cache_key, config.cache_bytes)
                .inspect_err(|error| {
                    tracing::warn!(directory = %directory.display(), %error, "no cache of compiled components");
                })
                .ok()
        });
        let threads =
            tokio::runtime::Handle::try_current().map_or(1, |runtime| runtime.metrics().num_workers());
        let patience = Duration::from_millis(config.max_wait_ms);
        Ok(Arc::new(Self {
            entrance: Entrance::new(threads, config.max_waiting, patience),
            budget: Arc::new(MemoryBudget::new(config.memory_budget_bytes)),
            compilations: Arc::new(Semaphore::new(config.compilations.max(1))),
            engines,
            cache,
            config,
        }))
    }

    pub(crate) fn watch<T: Idles + 'static>(&self, actor: &Arc<T>) {
        self.engines.watch(actor);
    }

    /// Linear memory in use by all instances, and the budget, bytes.
    #[must_use]
    pub fn memory(&self) -> (u64, u64) {
        (self.budget.used(), self.budget.limit())
    }

    /// Loads a component whose claims were verified: checks it, compiles it or takes the compiled
    /// form from the cache, and links it.
    ///
    /// # Errors
    /// The codes of BAD_INPUT rows A: what is wrong with the file, or what it asks for too much.
    pub async fn load(&self, claims: Verified<Claims>, file: Bytes) -> Result<Arc<Component>, Report> {
        self.load_from(claims, file, None).await
    }

    /// The same for a component whose file can be read again: its code is let go when no call has come for
    /// [`RuntimeConfig::unload_ms`], and loaded again for the next.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub async fn load_from(
        &self,
        claims: Verified<Claims>,
        file: Bytes,
        source: Option<Source>,
    ) -> Result<Arc<Component>, Report> {
        let body = self.body(&claims, &file)?;
        crate::component::check_nesting(&body)?;
        let profile = check::profile(&body)?;
        let engine = self.engines.get(profile, &self.config)?;
        let cached = self.cached(engine, claims.digest).await?;
        let from_cache = cached.is_some();
        let compiled = match cached {
            Some(compiled) => compiled,
            None => self.code_of(engine, body, claims.digest).await?,
        };
        let kept = self.cache.as_ref().map(|cache| cache.keep(&engine.fingerprint, &claims.digest));
        let component = Component::link(compiled, claims, engine, profile)?;
        Ok(Arc::new(component.with_cache_hit(from_cache).with_source(source).with_kept(kept)))
    }

    /// Loads a component's code once more: from the cache, or else from its source.
    pub(crate) async fn reload(&self, component: &Component) -> Result<Code, Report> {
        let engine = self.engines.get(component.profile, &self.config)?;
        let digest = component.claims.digest;
        let cached = self.cached(engine, digest);
        let compiled = match (cached.await?, &component.source) {
            (Some(compiled), _) => compiled,
            (None, Some(source)) => {
                let source = Arc::clone(source);
                let file = blocking(move || source()).await??;
                self.code_of(engine, self.body(&component.claims, &file)?, digest).await?
            }
            (None, None) => return Err(Report::new(ErrorCode::Internal, "no source of a component's code")),
        };
        component.relink(compiled, engine)
    }

    /// What code has to be compiled for where this host compiles none: `trellis compile --target`. None when it
    /// compiles by itself.
    #[must_use]
    pub fn code_for(&self) -> Option<&Target> {
        (self.config.elsewhere.is_some() || !Self::has_compiler()).then(|| self.engines.target())
    }

    /// What the cache has. Read on a thread of its own kind: interpreters have tens of megabytes of code; and
    /// what a component's code is made of lies apart from what stays, so that its memory is whole again when it goes.
    async fn cached(
        &self,
        engine: &ProfileEngine,
        digest: Digest,
    ) -> Result<Option<wasmtime::component::Component>, Report> {
        let Some(cache) = self.cache.clone() else { return Ok(None) };
        let (of_engine, fingerprint) = (engine.engine.clone(), engine.fingerprint);
        blocking(move || cache.load(&of_engine, &fingerprint, &digest)).await
    }

    /// The component in a signed file, which is the one that was verified.
    fn body(&self, claims: &Claims, file: &Bytes) -> Result<Bytes, Report> {
        let max_bytes = self.config.max_artifact_bytes;
        let length = keys::split(file, max_bytes).map_err(|error| claims_report(&error))?.body.len();
        let body = file.slice(..length);
        let digest = Digest::of(&body);
        if digest != claims.digest {
            let error = keys::ClaimsError::DigestMismatch { signed: claims.digest, file: digest };
            return Err(claims_report(&error));
        }
        Ok(body)
    }

    /// The code of a checked component, compiled here or elsewhere, and kept.
    async fn code_of(
        &self,
        engine: &ProfileEngine,
        body: Bytes,
        component: Digest,
    ) -> Result<wasmtime::component::Component, Report> {
        let table_elements = u64::try_from(crate::engine::MAX_TABLE_ELEMENTS).unwrap_or(u64::MAX);
        let bounds = check::Bounds { memory_bytes: engine.max_memory, table_elements };
        let wanted = For { component, target: &engine.target, fingerprint: &engine.fingerprint };
        let Some(elsewhere) = &self.config.elsewhere else {
            return self.compile(engine, (body, bounds), wanted).await;
        };
        let fetched = (elsewhere.fetch)(wanted.name()).await?.ok_or_else(|| wanted.missing())?;
        let (compilers, target) = (elsewhere.compilers.clone(), engine.target.clone());
        let (cache, fingerprint, of_engine) = (self.cache.clone(), engine.fingerprint, engine.engine.clone());
        blocking(move || {
            let wanted = For { component, target: &target, fingerprint: &fingerprint };
            let native = native::open(&fetched, &compilers, wanted)?;
            check::check(&body, bounds)?;
            if let Some(cache) = cache {
                cache.store(native.bytes(), &fingerprint, &component);
            }
            native.load(&of_engine).map_err(|error| {
                Report::new(ErrorCode::Version, format!("compiled code does not load: {error:#}"))
                    .at(component)
                    .hint("compile it with the version of trellis that this host has: trellis compile")
            })
        })
        .await?
    }

    /// Compiles on a thread of its own, within the time allowed. A compilation that takes too long
    /// cannot be stopped: it keeps its turn until it ends, so that there is never more than
    /// `compilations` of them.
    #[cfg(feature = "compiler")]
    async fn compile(
        &self,
        engine: &ProfileEngine,
        (body, bounds): (Bytes, check::Bounds),
        wanted: For<'_>,
    ) -> Result<wasmtime::component::Component, Report> {
        let patience = Duration::from_millis(self.config.compile_ms);
        let too_long = || {
            Report::new(ErrorCode::CompileTimeout, "compilation took too long")
                .limit(format!("{} ms", self.config.compile_ms))
                .hint("have it compiled elsewhere: trellis host --no-compiler, and trellis compile")
        };
        let turns = Arc::clone(&self.compilations);
        let (compiler, of_engine) = (engine.compiler.clone(), engine.engine.clone());
        let (cache, fingerprint, digest) = (self.cache.clone(), engine.fingerprint, wanted.component);
        let compiling = async move {
            let turn = turns.acquire_owned().await;
            tokio::task::spawn_blocking(move || {
                let _turn = turn;
                check::check(&body, bounds)?;
                let native = compiler.compile(&body).map_err(|error| check::explain(&error))?;
                if let Some(cache) = cache {
                    cache.store(native.bytes(), &fingerprint, &digest);
                }
                native.load(&of_engine).map_err(|error| check::explain(&error))
            })
            .await
            .map_err(|error| Report::new(ErrorCode::Internal, format!("the compiler failed: {error}")))?
        };
        tokio::time::timeout(patience, compiling).await.map_err(|_| too_long())?
    }

    #[cfg(not(feature = "compiler"))]
    #[allow(clippy::unused_async, reason = "the same shape as with a compiler")]
    async fn compile(
        &self,
        _engine: &ProfileEngine,
        _checked: (Bytes, check::Bounds),
        wanted: For<'_>,
    ) -> Result<wasmtime::component::Component, Report> {
        Err(wanted.missing())
    }

    /// Can this build compile components, or only load what was compiled elsewhere?
    #[must_use]
    pub fn has_compiler() -> bool {
        cfg!(feature = "compiler")
    }
}

/// Something that takes its time, on a thread that may.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Report> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| {
        Report::new(ErrorCode::Internal, format!("a component is not loaded again: {error}"))
    })
}

/// A refusal of the claims as everyone sees it.
pub(crate) fn claims_report(error: &keys::ClaimsError) -> Report {
    let code = ErrorCode::parse(error.code()).unwrap_or(ErrorCode::Claim);
    Report::new(code, format!("invalid claim: {error}"))
}
