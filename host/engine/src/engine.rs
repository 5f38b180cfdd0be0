//! The engine: one per process, shared by its nodes. It owns wasmtime's configuration, the pool that instances live in, the
//! ticker behind deadlines, and the code that is loaded.
//!
//! Invariant: what it hands out keeps the ticker alive; the ticker ends with the last of it. Code is compiled once, however
//! many nodes ask for it at the same time.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use recoil_base::{Digest, task};
use recoil_package::Permission;
use wasmtime::{Config, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::code::{AppCode, cache::CodeCache};
use crate::limits::{STACK_BYTES_MAX, TABLE_ELEMENTS_MAX};
use crate::listener::courtesy::Shares;
use crate::ticker::Ticker;

/// Areas of address space (VMAs) that one instance may take, and the share of the system's limit that instances may use.
const AREAS_PER_INSTANCE: u32 = 6;
/// Fewer instances than this are not worth running.
const INSTANCES_MIN: u32 = 64;

/// How an engine is set up.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Folder for compiled code, made if absent; none: code is compiled anew by every process.
    pub code_cache: Option<PathBuf>,
    /// Instances alive at a time, handlers and connections together. Lowered to what the system's `vm.max_map_count` bears.
    pub instances_max: u32,
    /// Linear memory that any app may be allowed, bytes; at most 4 GiB.
    pub memory_bytes_max: usize,
    /// Native stack of a guest, bytes.
    pub stack_bytes: usize,
}

impl Default for EngineOptions {
    fn default() -> Self {
        EngineOptions {
            code_cache: None,
            instances_max: 2000,
            memory_bytes_max: 1 << 30,
            stack_bytes: 2 * STACK_BYTES_MAX,
        }
    }
}

/// Why the engine or a component could not be used.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The engine itself could not be set up.
    #[error("the WebAssembly engine cannot be set up: {0}")]
    Setup(String),
    /// The bytes are not those the digest names.
    #[error(
        "the component's bytes have digest {found}, not {expected}: the copy is damaged; install the package again"
    )]
    Digest {
        /// What was asked for.
        expected: Digest,
        /// What the bytes are.
        found: Digest,
    },
    /// Not a component that this version can run.
    #[error(
        "not a valid WebAssembly component: {0}; build it for wasm32-wasip2, or with the tool chain of its language"
    )]
    Invalid(String),
    /// A component that lacks what makes it a package.
    #[error(
        "the component exports no recoil:plugin/handler@0.1: a package needs one, but for a scheduler; it exports {exports}"
    )]
    NoHandler {
        /// What it exports.
        exports: String,
    },
    /// An export whose functions are not those of the contract.
    #[error(
        "the component's export {export} does not match the contract: {why}; generate its bindings from recoil:plugin@0.1.0"
    )]
    Mismatch {
        /// The export.
        export: String,
        /// The difference.
        why: String,
    },
    /// Imports of something that is neither the contract's nor WASI's.
    #[error(
        "the component imports {imports}, which Recoil does not have: build it against recoil:plugin@0.1.0 and WASI 0.2, and compose into it \
         whatever else it needs"
    )]
    Imports {
        /// Their names.
        imports: String,
    },
    /// An import that can neither be provided nor refused.
    #[error("the component cannot be linked: {0}")]
    Link(String),
}

/// Counters since the engine was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EngineStats {
    /// Components compiled.
    pub compiled: u64,
    /// Components taken from the code cache.
    pub cache_hits: u64,
    /// Cached code thrown away because it was damaged or made by another version.
    pub cache_refused: u64,
}

/// Compiles components and runs their instances. See the module's text.
pub struct Engine {
    wasmtime: wasmtime::Engine,
    cache: Option<CodeCache>,
    loaded: Mutex<HashMap<Digest, Arc<Mutex<Weak<AppCode>>>>>,
    memory_bytes_max: usize,
    shares: Arc<Shares>,
    behind: Arc<task::BehindOthers>,
    compiled: AtomicU64,
    cache_hits: AtomicU64,
    cache_refused: AtomicU64,
    ticker: Ticker,
}

impl Engine {
    /// Sets up the engine and starts its ticker.
    pub fn new(options: EngineOptions) -> Result<Arc<Engine>, EngineError> {
        let instances_max = bearable_instances(options.instances_max);
        let wasmtime = wasmtime::Engine::new(&config(&options, instances_max))
            .map_err(|error| EngineError::Setup(format!("{error:#}")))?;
        let cache = options
            .code_cache
            .map(|folder| CodeCache::open(folder, &wasmtime))
            .transpose()
            .map_err(EngineError::Setup)?;
        task::use_small_pages();
        let ticker = Ticker::start(wasmtime.clone());
        Ok(Arc::new(Engine {
            wasmtime,
            cache,
            loaded: Mutex::default(),
            memory_bytes_max: options.memory_bytes_max,
            shares: Arc::new(Shares::new()),
            behind: Arc::new(task::BehindOthers::start()),
            compiled: AtomicU64::new(0),
            cache_hits: AtomicU64::new(0),
            cache_refused: AtomicU64::new(0),
            ticker,
        }))
    }

    /// The code of the component `wasm`, whose SHA-256 is `digest`: the one already loaded, the one in the code cache, or
    /// compiled now, which takes a second of all cores for a large component. What it may call is `granted`, and goes with the
    /// digest: the manifest is part of the bytes. Blocks.
    pub fn load(
        self: &Arc<Self>,
        digest: Digest,
        wasm: &[u8],
        granted: &BTreeSet<Permission>,
    ) -> Result<Arc<AppCode>, EngineError> {
        let slot = {
            let mut loaded = self.loaded.lock();
            loaded.retain(|_, slot| {
                Arc::strong_count(slot) > 1 || slot.try_lock().is_none_or(|code| code.strong_count() > 0)
            });
            loaded.entry(digest).or_default().clone()
        };
        // Whoever else wants this code waits here and then finds it.
        let mut slot = slot.lock();
        if let Some(code) = slot.upgrade() {
            return Ok(code);
        }
        let found = Digest::of(wasm);
        if found != digest {
            return Err(EngineError::Digest { expected: digest, found });
        }
        let code = Arc::new(AppCode::new(self.clone(), digest, self.component(digest, wasm)?, granted)?);
        *slot = Arc::downgrade(&code);
        Ok(code)
    }

    /// Counters.
    pub fn stats(&self) -> EngineStats {
        EngineStats {
            compiled: self.compiled.load(Ordering::Relaxed),
            cache_hits: self.cache_hits.load(Ordering::Relaxed),
            cache_refused: self.cache_refused.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.wasmtime
    }

    pub(crate) fn shares(&self) -> &Arc<Shares> {
        &self.shares
    }

    pub(crate) fn behind(&self) -> &Arc<task::BehindOthers> {
        &self.behind
    }

    pub(crate) fn ticker(&self) -> &Ticker {
        &self.ticker
    }

    pub(crate) fn memory_bytes_max(&self) -> usize {
        self.memory_bytes_max
    }

    fn component(&self, digest: Digest, wasm: &[u8]) -> Result<wasmtime::component::Component, EngineError> {
        if let Some(cache) = &self.cache {
            match cache.get(digest, &self.wasmtime) {
                Ok(Some(component)) => {
                    self.cache_hits.fetch_add(1, Ordering::Relaxed);
                    return Ok(component);
                }
                Ok(None) => {}
                Err(why) => {
                    self.cache_refused.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(%digest, %why, "compiled code in the cache cannot be used; compiling again");
                }
            }
        }
        let component = wasmtime::component::Component::from_binary(&self.wasmtime, wasm)
            .map_err(|error| EngineError::Invalid(format!("{error:#}")))?;
        self.compiled.fetch_add(1, Ordering::Relaxed);
        if let Some(cache) = &self.cache
            && let Err(why) = cache.put(digest, &component)
        {
            tracing::warn!(%digest, %why, "compiled code cannot be kept; the next start compiles again");
        }
        Ok(component)
    }
}

fn config(options: &EngineOptions, instances_max: u32) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    // A component may bring several core modules (adapters, shims) and tables.
    pool.total_component_instances(instances_max)
        .total_core_instances(instances_max.saturating_mul(4))
        .total_memories(instances_max)
        .total_tables(instances_max.saturating_mul(3))
        .total_stacks(instances_max)
        .table_elements(TABLE_ELEMENTS_MAX)
        .max_memory_size(options.memory_bytes_max)
        .max_unused_warm_slots(128);
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .concurrency_support(false)
        .epoch_interruption(true)
        .memory_init_cow(true)
        // Snapshotted guests bring large images: mapped, not copied.
        .memory_guaranteed_dense_image_size(64 << 20)
        .max_wasm_stack(options.stack_bytes / 2)
        .async_stack_size(options.stack_bytes)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

/// Instances that the system's limit on areas of address space bears, with a third of it left to everything else.
fn bearable_instances(wanted: u32) -> u32 {
    let limit =
        std::fs::read_to_string("/proc/sys/vm/max_map_count").ok().and_then(|text| text.trim().parse::<u32>().ok());
    let Some(limit) = limit else { return wanted };
    let bearable = (limit / 3 * 2 / AREAS_PER_INSTANCE).max(INSTANCES_MIN);
    if bearable < wanted {
        tracing::warn!(wanted, bearable, limit, "vm.max_map_count is low: fewer instances may run at a time");
    }
    wanted.min(bearable)
}
