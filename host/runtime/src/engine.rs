//! Engines: one per profile, each with the linker that every component of it starts from, and the
//! ticker that lets busy guests be interrupted.
//!
//! Invariants: settings that compiled code depends on are made here and nowhere else; an engine of
//! the concurrent profile exists only once a component has needed it; epochs advance every
//! [`TICK`] for as long as the engines live.

pub(crate) mod sizing;

use crate::config::RuntimeConfig;
use crate::idle::Idles;
#[cfg(feature = "compiler")]
use crate::native::Native;
use crate::native::Target;
use crate::state::InstanceState;
use crate::{ambient, capabilities, component};
use lattice_protocol::{ErrorCode, Report};
use sizing::{Reservation, Sizing};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};
use wasmtime::component::Linker;
use wasmtime::{Config, Enabled, Engine, EngineWeak, InstanceAllocationStrategy, PoolingAllocationConfig};

/// The engine's version: compiled code of another is of no use.
const WASMTIME: &str = "48.0.8";
/// Counts the changes of [`settings`] that compiled code depends on.
const SETTINGS_VERSION: u32 = 2;
/// How often a running guest is asked to make way.
const TICK: Duration = Duration::from_millis(10);
/// Ticks between two looks at idle instances.
const REAP_TICKS: u32 = 50;
/// Components unloaded in a row: the ticker has the clock of all guests to keep.
const UNLOADS: u32 = 16;
/// What a slot keeps mapped between instances: faster than giving pages back and faulting them in.
const KEEP_MEMORY: usize = 256 << 10;
/// Zeroed after every call, used or not: about what calls use, and half of the first-level cache.
const KEEP_STACK: usize = 16 << 10;
/// One page: a table that fits is zeroed without asking the kernel what was written, and every
/// component has two (its own, and its adapter's).
const KEEP_TABLE: usize = 4 << 10;
/// Core instances, memories and tables of one component: generated adapters need a few each.
const CORE_INSTANCES: u32 = 32;
const MEMORIES: u32 = 8;
const TABLES: u32 = 8;
/// Elements of the largest table that any actor may ask for.
pub(crate) const MAX_TABLE_ELEMENTS: usize = 100_000;

/// Which kind of engine a component needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Profile {
    /// WASI 0.2 and plain calls; component concurrency off: a call costs a quarter.
    Plain,
    /// WASI 0.3: async functions, streams, futures. Created when the first such component is loaded.
    Concurrent,
}

/// One engine, with everything linked that does not depend on the component.
pub(crate) struct ProfileEngine {
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<InstanceState>,
    /// What code has to be compiled for.
    pub(crate) target: Target,
    /// Stands for everything that compiled code depends on but the component itself.
    pub(crate) fingerprint: [u8; 32],
    #[cfg(feature = "compiler")]
    pub(crate) compiler: Compiler,
    /// Largest linear memory that an instance can have, bytes.
    pub(crate) max_memory: u64,
}

/// The engines of one runtime.
pub(crate) struct Engines {
    plain: ProfileEngine,
    concurrent: OnceLock<ProfileEngine>,
    creating: Mutex<()>,
    ticking: Arc<Ticking>,
}

impl Engines {
    /// Creates the plain engine and starts the ticker.
    pub(crate) fn new(config: &RuntimeConfig) -> Result<Self, Report> {
        let plain = ProfileEngine::new(Profile::Plain, config)?;
        let ticking =
            Arc::new(Ticking { engines: Mutex::new(vec![plain.engine.weak()]), actors: Mutex::default() });
        Ticking::start(&ticking)?;
        Ok(Self { plain, concurrent: OnceLock::new(), creating: Mutex::new(()), ticking })
    }

    /// The engine of a profile, created if need be.
    pub(crate) fn get(&self, profile: Profile, config: &RuntimeConfig) -> Result<&ProfileEngine, Report> {
        if profile == Profile::Plain {
            return Ok(&self.plain);
        }
        let _one_at_a_time = self.creating.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = self.concurrent.get() {
            return Ok(engine);
        }
        let created = ProfileEngine::new(profile, config)?;
        self.ticking.add(created.engine.weak());
        Ok(self.concurrent.get_or_init(|| created))
    }

    /// What code has to be compiled for, in either profile.
    pub(crate) fn target(&self) -> &Target {
        &self.plain.target
    }

    /// Has an actor let go of what is idle for too long, for as long as it lives.
    pub(crate) fn watch<T: Idles + 'static>(&self, actor: &Arc<T>) {
        let actor: Weak<dyn Idles> = Arc::downgrade(actor) as _;
        self.ticking.actors.lock().unwrap_or_else(PoisonError::into_inner).push(actor);
    }
}

/// Advances the epochs of engines until they are gone, and now and then has actors let go of instances
/// and code that have been idle for too long.
struct Ticking {
    engines: Mutex<Vec<EngineWeak>>,
    actors: Mutex<Vec<Weak<dyn Idles>>>,
}

impl Ticking {
    fn add(&self, engine: EngineWeak) {
        self.engines.lock().unwrap_or_else(PoisonError::into_inner).push(engine);
    }

    fn start(ticking: &Arc<Self>) -> Result<(), Report> {
        let ticking = Arc::downgrade(ticking);
        std::thread::Builder::new()
            .name("epoch".to_owned())
            .spawn(move || {
                let mut ticks: u32 = 0;
                while Self::tick(&ticking, ticks) {
                    std::thread::sleep(TICK);
                    ticks = ticks.wrapping_add(1);
                }
            })
            .map(drop)
            .map_err(|error| Report::new(ErrorCode::Internal, "no thread for the epoch ticker").got(error))
    }

    /// One tick; `false` when the engines are gone.
    fn tick(ticking: &Weak<Self>, ticks: u32) -> bool {
        let Some(ticking) = ticking.upgrade() else { return false };
        let engines = ticking.engines.lock().unwrap_or_else(PoisonError::into_inner);
        engines.iter().filter_map(EngineWeak::upgrade).for_each(|engine| engine.increment_epoch());
        drop(engines);
        if ticks.is_multiple_of(REAP_TICKS) {
            ticking.reap();
        }
        true
    }

    fn reap(&self) {
        let mut actors = self.actors.lock().unwrap_or_else(PoisonError::into_inner);
        actors.retain(|actor| actor.strong_count() > 0);
        let alive: Vec<_> = actors.iter().filter_map(Weak::upgrade).collect();
        drop(actors);
        let (now, mut unloaded) = (Instant::now(), 0);
        for actor in alive {
            actor.reap(now);
            if unloaded < UNLOADS {
                unloaded += u32::from(actor.unload_unused(now));
            }
        }
    }
}

impl ProfileEngine {
    fn new(profile: Profile, config: &RuntimeConfig) -> Result<Self, Report> {
        let internal = |error: wasmtime::Error| {
            Report::new(ErrorCode::Internal, format!("no engine: {error:#}")).at(format!("{profile:?}"))
        };
        let pooled = pooled(profile, config).map_err(internal)?;
        let linker = base_linker(&pooled.engine, profile).map_err(internal)?;
        let Pooled { engine, reservation, max_memory } = pooled;
        #[cfg(feature = "compiler")]
        let compiler = Compiler { settings: reserving(settings(profile), reservation) };
        let target = Target::here(reservation);
        let fingerprint = fingerprint(profile, &target);
        Ok(Self {
            engine,
            #[cfg(feature = "compiler")]
            compiler,
            linker,
            target,
            fingerprint,
            max_memory,
        })
    }
}

/// Compiles for one engine, in another with the same settings that is gone afterwards: an engine keeps what its
/// compiler has worked with, megabytes for each thread, for as long as it lives.
#[cfg(feature = "compiler")]
#[derive(Clone)]
pub(crate) struct Compiler {
    settings: Config,
}

#[cfg(feature = "compiler")]
impl Compiler {
    /// For hosts of this target, as plain as any of them may be: nobody knows what else their processors can.
    pub(crate) fn of_target(profile: Profile, target: &Target) -> wasmtime::Result<Self> {
        let mut settings = reserving(settings(profile), target.reservation());
        settings.target(&target.triple())?;
        Ok(Self { settings })
    }

    /// Compiles a component.
    pub(crate) fn compile(&self, component: &[u8]) -> wasmtime::Result<Native> {
        Engine::new(&self.settings)?.precompile_component(component).map(Native::compiled)
    }
}

/// Which compiled code an engine takes, in a build without a compiler as in one with: the engine says it of itself only
/// in the latter, and checks all of it, and the processor, when it loads code.
pub(crate) fn fingerprint(profile: Profile, target: &Target) -> [u8; 32] {
    let Reservation { bytes, guard } = target.reservation();
    let what = format!(
        "wasmtime {WASMTIME}, settings {SETTINGS_VERSION}, checks {}, {} linux, {profile:?}, {bytes} + {guard}",
        component::CHECKS_VERSION,
        target.arch(),
    );
    *blake3::hash(what.as_bytes()).as_bytes()
}

/// An engine, and what its memories are.
struct Pooled {
    engine: Engine,
    /// Addresses of each memory.
    reservation: Reservation,
    /// Largest memory, bytes.
    max_memory: u64,
}

/// An engine with a pool, or without one where addresses do not suffice.
fn pooled(profile: Profile, config: &RuntimeConfig) -> wasmtime::Result<Pooled> {
    let space = sizing::address_space();
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let processors = u32::try_from(processors).unwrap_or(u32::MAX);
    let Some(sizing) = sizing::size(space, processors, config.max_instances, config.max_memory_bytes) else {
        return on_demand(profile, config, &format!("{space} bytes of addresses are too few"));
    };
    let reservation = sizing.reservation;
    let mut settings = reserving(settings(profile), reservation);
    settings.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(sizing, config)));
    match Engine::new(&settings) {
        Ok(engine) => {
            tracing::debug!(
                ?profile,
                instances = sizing.instances,
                reservation = reservation.bytes,
                max_memory = sizing.max_memory,
                "instance pool"
            );
            Ok(Pooled { engine, reservation, max_memory: sizing.max_memory })
        }
        Err(error) => on_demand(profile, config, &format!("{error:#}")),
    }
}

fn on_demand(profile: Profile, config: &RuntimeConfig, why: &str) -> wasmtime::Result<Pooled> {
    tracing::warn!(?profile, why, "no instance pool: instances are allocated on demand, which is slower");
    let reservation = Reservation::small(config.max_memory_bytes);
    let engine = Engine::new(&reserving(settings(profile), reservation))?;
    Ok(Pooled { engine, reservation, max_memory: reservation.bytes })
}

/// The settings with so many addresses for a memory and behind it.
fn reserving(mut settings: Config, Reservation { bytes, guard }: Reservation) -> Config {
    settings.memory_reservation(bytes).memory_guard_size(guard);
    settings
}

/// Everything that compiled code depends on, but for the reservation. Whoever changes it raises
/// [`SETTINGS_VERSION`].
fn settings(profile: Profile) -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .concurrency_support(profile == Profile::Concurrent)
        .relaxed_simd_deterministic(true)
        .wasm_component_model_implements(true)
        .wasm_memory64(false)
        .async_stack_zeroing(true);
    #[cfg(feature = "compiler")]
    config
        .cranelift_opt_level(wasmtime::OptLevel::Speed)
        .parallel_compilation(true)
        // Nobody reads them: a trap names its functions without the one, and the engine walks stacks without the other.
        // A sixth of what an idle actor keeps in memory.
        .generate_address_map(false)
        .native_unwind_info(false)
        // x86-64 and aarch64 make different not-a-numbers; a fold must come to the same state on both.
        .cranelift_nan_canonicalization(true);
    config
}

fn pool(sizing: Sizing, config: &RuntimeConfig) -> PoolingAllocationConfig {
    // What idle slots may keep mapped is a quarter of the budget at most. Each keeps the image of the component that
    // was in it last: with fewer of them than actors in use, each call maps another image.
    let slot = u64::try_from(KEEP_MEMORY + KEEP_STACK + KEEP_TABLE).unwrap_or(u64::MAX);
    let warm = (config.memory_budget_bytes / 4 / slot).clamp(1, u64::from(sizing.slots.max(1)));
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(sizing.instances)
        .total_core_instances(sizing.instances.saturating_mul(4))
        .total_memories(sizing.slots)
        .total_tables(sizing.instances.saturating_mul(2))
        .total_stacks(sizing.instances)
        .max_core_instances_per_component(CORE_INSTANCES)
        .max_memories_per_component(MEMORIES)
        .max_tables_per_component(TABLES)
        .table_elements(MAX_TABLE_ELEMENTS)
        .max_memory_size(usize::try_from(sizing.max_memory).unwrap_or(usize::MAX))
        .max_unused_warm_slots(u32::try_from(warm).unwrap_or(1))
        .linear_memory_keep_resident(KEEP_MEMORY)
        .table_keep_resident(KEEP_TABLE)
        .async_stack_keep_resident(KEEP_STACK)
        .decommit_batch_size(16)
        .pagemap_scan(Enabled::Auto);
    pool
}

/// Everything a component may import that does not depend on the component.
fn base_linker(engine: &Engine, profile: Profile) -> wasmtime::Result<Linker<InstanceState>> {
    let mut linker = Linker::new(engine);
    ambient::link(&mut linker, profile)?;
    capabilities::link(&mut linker, profile)?;
    Ok(linker)
}

#[cfg(all(test, feature = "compiler"))]
mod tests {
    use super::*;
    use wasmtime::{Instance, Module, Store};

    #[test]
    fn the_version_that_compiled_code_is_kept_under_is_the_one_that_is_built_in() {
        let manifest = include_str!("../../../Cargo.toml");
        assert!(manifest.contains(&format!("wasmtime = {{ version = \"={WASMTIME}\"")), "{WASMTIME}");
    }

    #[test]
    fn not_a_number_is_the_same_on_every_machine() {
        for profile in [Profile::Plain, Profile::Concurrent] {
            let engine = Engine::new(&settings(profile)).unwrap();
            let text = r#"(module (func (export "bits") (param f64) (result i64)
                (i64.reinterpret_f64 (f64.div (local.get 0) (local.get 0)))))"#;
            let module = Module::new(&engine, wat::parse_str(text).unwrap()).unwrap();
            let mut store = Store::new(&engine, ());
            store.set_epoch_deadline(1_000_000);
            let instance = Instance::new(&mut store, &module, &[]).unwrap();
            let bits = instance.get_typed_func::<f64, i64>(&mut store, "bits").unwrap();
            // Without it x86-64 sets the sign, and aarch64 does not.
            assert_eq!(bits.call(&mut store, 0.0).unwrap(), 0x7ff8_0000_0000_0000, "{profile:?}");
        }
    }
}
