//! Starts the runtime once, when a component is made, and takes a snapshot of it: no instance starts it again.
//!
//! The joint module is run against a host that has nothing: the runtime is initialised with the assemblies it is given, the package's
//! class is made, and the SDK's warm-up goes the ways that calls will go. Then memory and globals become the module's initial
//! state (wasmtime-wizer). The table of functions never changes.
//!
//! The same sources give the same bytes: the clock counts how often it is read, and random numbers follow from the package's assembly. What is drawn from
//! them until the snapshot is the same in every instance: the seeds of hash codes, on which the tables in the snapshot depend, and
//! whatever the package has made itself. All that is drawn later is drawn from the host.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use parking_lot::Mutex;
use wasmtime::{Caller, Config, Engine, Instance, Linker, Memory, Module, Store, Trap, Val};
use wasmtime_wizer::{InstanceState, ModuleContext, SnapshotVal, Wizer};
use xxhash_rust::xxh3::xxh3_64;

/// Assemblies by their names, without `.dll`.
pub(crate) type Assemblies = BTreeMap<String, Vec<u8>>;

/// The module of WASI's functions.
const WASI: &str = "wasi_snapshot_preview1";
/// Where managed code is entered.
const NAMESPACE: &str = "Recoil.Runtime";
const CLASS: &str = "Guest";
/// What a method leaves in slot 0 when it has succeeded.
const DONE: i64 = 42;
/// Bytes of the block of slots.
const BLOCK_BYTES: usize = 4096;
/// The clocks while a component is made begin at 2026-01-01, in nanoseconds. Each reading moves them on, or whoever sleeps never wakes.
const FIRST_READING: u64 = 1_767_225_600_000_000_000;
const NANOSECONDS_PER_READING: u64 = 1_000;
/// Bytes that are kept of what is printed: the last ones.
const SAID_BYTES_MAX: usize = 64 << 10;
/// Rounds of the runtime's background work before the snapshot.
const BACKGROUND_ROUNDS_MAX: usize = 20;
/// The collector's young generation, and the size of the heap at which it works harder.
const COLLECTOR: &str = "nursery-size=256k,soft-heap-limit=256m";
/// Free memory is zeroed down to pieces of this size.
const ZEROED_BYTES_MIN: i32 = 512;
const ZEROED_BYTES_MAX: i32 = 1 << 20;

/// Why no snapshot can be taken.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The module does not compile, or cannot be made.
    #[error("the runtime cannot be started: {0}")]
    Start(String),
    /// The runtime has trapped, as it does when it cannot go on.
    #[error("the runtime has ended while the component was made, in {function}: {why}{said}")]
    Ended {
        /// Its function that was called.
        function: String,
        /// Why.
        why: String,
        /// What was printed until then.
        said: String,
    },
    /// The rehearsal, or an initializer of the package's, goes on and on.
    #[error("the package was not ready after {} s: what runs while the component is made, its rehearsal above all, must come to an end{said}", .limit.as_secs())]
    Endless {
        /// How long it had.
        limit: Duration,
        /// What was printed until then.
        said: String,
    },
    /// What is no assembly for the runtime.
    #[error("the runtime cannot load {0}.dll: the file is damaged, or its assembly has another name")]
    Unloadable(String),
    /// The package's assembly is not as the SDK makes it.
    #[error("the assembly has no {0}: it is compiled with the SDK's sources, as build.sh does")]
    Missing(String),
    /// The package refuses to become a component, in its own words.
    #[error("{0}")]
    Refused(String),
}

/// A module that can be started and taken a snapshot of.
pub(crate) struct Snapshots<'a> {
    wizer: Wizer,
    context: ModuleContext<'a>,
    module: Module,
    limit: Duration,
    /// Dropped, it ends the thread that waits for the limit.
    _running: mpsc::Sender<()>,
}

/// A component's initial state.
pub(crate) struct Snapshot {
    /// The core module.
    pub(crate) module: Vec<u8>,
    /// The exports that the package implements: a bit for each, by its number.
    pub(crate) roles: u64,
    /// What the package printed.
    pub(crate) said: String,
}

/// The runtime, started.
struct Started {
    limit: Duration,
    store: Store<()>,
    instance: Instance,
    memory: Memory,
    said: Arc<Mutex<String>>,
    /// Where the slots are.
    block: i32,
    /// The method that exports enter by.
    dispatch: i32,
}

impl<'a> Snapshots<'a> {
    /// Compiles the joint module. All that runs of it has that long.
    pub(crate) fn new(joint: &'a [u8], limit: Duration) -> Result<Self, SnapshotError> {
        let failed = |error: wasmtime::Error| SnapshotError::Start(format!("{error:?}"));
        let engine = Engine::new(Config::new().epoch_interruption(true)).map_err(failed)?;
        let wizer = Wizer::new();
        let (context, instrumented) = wizer.instrument(joint).map_err(failed)?;
        let module = Module::new(&engine, &instrumented).map_err(failed)?;
        let (running, watched) = mpsc::channel();
        let watch = move || {
            if watched.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
                engine.increment_epoch();
            }
        };
        let watch = std::thread::Builder::new().name("limit".into()).spawn(watch);
        watch.map_err(|error| SnapshotError::Start(error.to_string()))?;
        Ok(Snapshots { wizer, context, module, limit, _running: running })
    }

    /// The assemblies that the package can reach, itself among them; the runtime knows, to which all are given.
    pub(crate) fn reachable(&self, assemblies: &Assemblies, package: &str) -> Result<BTreeSet<String>, SnapshotError> {
        let mut started = self.start(assemblies, package)?;
        started.run(package, "Closure")?;
        let said = started.said.lock();
        Ok(said.lines().filter_map(|line| line.strip_prefix("assembly ")).map(str::to_owned).collect())
    }

    /// Starts the runtime with these assemblies, warms the package up, and takes the snapshot.
    pub(crate) fn take(&self, assemblies: &Assemblies, package: &str) -> Result<Snapshot, SnapshotError> {
        let mut started = self.start(assemblies, package)?;
        started.run(package, "Init")?;
        let roles = started.slot(1)? as u64;
        // The way in that real calls take; no export has this number.
        for _ in 0..3 {
            started.set_slot(0, -1)?;
            started.call("mono_wasm_invoke_jsexport", &[started.dispatch, started.block])?;
        }
        for _ in 0..BACKGROUND_ROUNDS_MAX {
            if started.call("recoil-pump", &[])? == 0 {
                break;
            }
        }
        started.zero_free_memory()?;
        let module = pollster::block_on(self.wizer.snapshot(&self.context, &mut started));
        let module = module.map_err(|error| SnapshotError::Start(format!("{error:?}")))?;
        let said = std::mem::take(&mut *started.said.lock());
        Ok(Snapshot { module, roles, said })
    }

    fn start(&self, assemblies: &Assemblies, package: &str) -> Result<Started, SnapshotError> {
        let failed = |error: wasmtime::Error| SnapshotError::Start(format!("{error:?}"));
        let said = Arc::new(Mutex::new(String::new()));
        let mut linker = Linker::new(self.module.engine());
        // Not zero, from which xorshift does not come away.
        let seed = assemblies.get(package).map_or(1, |assembly| xxh3_64(assembly) | 1);
        define_wasi(&mut linker, seed, &said).map_err(failed)?;
        linker.define_unknown_imports_as_traps(&self.module).map_err(failed)?;
        let mut store = Store::new(self.module.engine(), ());
        store.set_epoch_deadline(1);
        let instance = linker.instantiate(&mut store, &self.module).map_err(failed)?;
        let memory = instance.get_memory(&mut store, "memory");
        let memory = memory.ok_or_else(|| SnapshotError::Start("it exports no memory".into()))?;
        let mut started = Started { limit: self.limit, store, instance, memory, said, block: 0, dispatch: 0 };
        started.initialise(assemblies, package)?;
        Ok(started)
    }
}

impl Started {
    fn initialise(&mut self, assemblies: &Assemblies, package: &str) -> Result<(), SnapshotError> {
        self.call("__wasm_call_ctors", &[])?;
        // No code is made at run time.
        for option in ["traces", "interp-entry", "jit-call", "backward-branches"] {
            let option = self.text(&format!("--no-jiterpreter-{option}-enabled"))?;
            self.call("mono_jiterp_parse_option", &[option])?;
        }
        for (name, value) in [
            ("DOTNET_SYSTEM_GLOBALIZATION_INVARIANT", "1"),
            ("MONO_GC_PARAMS", COLLECTOR),
            // What is free is zeroed, which compresses and is not part of the snapshot.
            ("MONO_GC_DEBUG", "clear-at-gc"),
        ] {
            let (name, value) = (self.text(name)?, self.text(value)?);
            self.call("mono_wasm_setenv", &[name, value])?;
        }
        for (name, assembly) in assemblies {
            let bytes = self.bytes(16, assembly)?;
            let name = self.text(&format!("{name}.dll"))?;
            self.call("mono_wasm_add_assembly", &[name, bytes, assembly.len() as i32])?;
        }
        let (mut names, mut values) = (Vec::new(), Vec::new());
        for (name, value) in [
            ("APP_CONTEXT_BASE_DIRECTORY", "/"),
            ("RUNTIME_IDENTIFIER", "browser-wasm"),
            ("System.Globalization.Invariant", "true"),
            ("System.Diagnostics.Debugger.IsSupported", "false"),
            ("System.Diagnostics.Tracing.EventSource.IsSupported", "false"),
            // A method that is invoked by reflection for the second time would be compiled, for 6 ms, by an instance that calls it once.
            ("Switch.System.Reflection.ForceInterpretedInvoke", "true"),
        ] {
            names.push(self.text(name)?);
            values.push(self.text(value)?);
        }
        let count = names.len() as i32;
        let (names, values) = (self.words(&names)?, self.words(&values)?);
        self.call("mono_wasm_load_runtime", &[0, count, names, values])?;
        self.dispatch = self.method(package, "Dispatch")?;
        self.block = self.bytes(16, &[0; BLOCK_BYTES])?;
        let name = self.text(package)?;
        self.set_slot(0, name.into())?;
        self.call("recoil-init", &[self.dispatch, self.block])?;
        Ok(())
    }

    /// Runs a method of the SDK's that tells in slot 0 whether it has succeeded.
    fn run(&mut self, package: &str, method: &str) -> Result<(), SnapshotError> {
        let method = self.method(package, method)?;
        self.call("mono_wasm_invoke_jsexport", &[method, self.block])?;
        if self.slot(0)? == DONE {
            return Ok(());
        }
        Err(SnapshotError::Refused(self.said.lock().trim_end().to_owned()))
    }

    fn method(&mut self, package: &str, method: &str) -> Result<i32, SnapshotError> {
        let missing = |what: String| move || SnapshotError::Missing(what);
        let found = |handle: i32| (handle != 0).then_some(handle);
        let name = self.text(package)?;
        let assembly = found(self.call("mono_wasm_assembly_load", &[name])?);
        let assembly = assembly.ok_or_else(|| SnapshotError::Unloadable(package.to_owned()))?;
        let (namespace, class) = (self.text(NAMESPACE)?, self.text(CLASS)?);
        let class = found(self.call("mono_wasm_assembly_find_class", &[assembly, namespace, class])?);
        let class = class.ok_or_else(missing(format!("class {NAMESPACE}.{CLASS}")))?;
        let name = self.text(method)?;
        let found = found(self.call("mono_wasm_assembly_find_method", &[class, name, -1])?);
        found.ok_or_else(missing(format!("method {NAMESPACE}.{CLASS}.{method}")))
    }

    /// Calls an export of numbers; what it answers, or 0.
    fn call(&mut self, function: &str, arguments: &[i32]) -> Result<i32, SnapshotError> {
        let (said, limit) = (self.said.clone(), self.limit);
        let said = || match said.lock().trim_end() {
            "" => String::new(),
            said => format!("\n{said}"),
        };
        let failed = |why: String| SnapshotError::Ended { function: function.to_owned(), why, said: said() };
        let export = self.instance.get_func(&mut self.store, function);
        let export = export.ok_or_else(|| failed("the runtime does not have it".into()))?;
        let mut results = vec![Val::I32(0); export.ty(&self.store).results().len()];
        let arguments: Vec<Val> = arguments.iter().map(|value| Val::I32(*value)).collect();
        // Without the backtrace, which is the interpreter's own.
        let called = export.call(&mut self.store, &arguments, &mut results);
        called.map_err(|error| match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => SnapshotError::Endless { limit, said: said() },
            _ => failed(error.root_cause().to_string()),
        })?;
        Ok(results.first().and_then(Val::i32).unwrap_or(0))
    }

    fn bytes(&mut self, align: i32, bytes: &[u8]) -> Result<i32, SnapshotError> {
        let at = self.call("memalign", &[align, bytes.len() as i32])?;
        let written = self.memory.write(&mut self.store, at as usize, bytes);
        written
            .map_err(|error| SnapshotError::Start(format!("{} bytes do not fit its memory: {error}", bytes.len())))?;
        Ok(at)
    }

    fn text(&mut self, text: &str) -> Result<i32, SnapshotError> {
        self.bytes(1, &[text.as_bytes(), &[0]].concat())
    }

    fn words(&mut self, words: &[i32]) -> Result<i32, SnapshotError> {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.bytes(4, &bytes)
    }

    fn slot(&mut self, slot: usize) -> Result<i64, SnapshotError> {
        let mut bytes = [0; 8];
        let read = self.memory.read(&self.store, self.block as usize + 8 * slot, &mut bytes);
        read.map_err(|error| SnapshotError::Start(error.to_string()))?;
        Ok(i64::from_le_bytes(bytes))
    }

    fn set_slot(&mut self, slot: usize, value: i64) -> Result<(), SnapshotError> {
        let written = self.memory.write(&mut self.store, self.block as usize + 8 * slot, &value.to_le_bytes());
        written.map_err(|error| SnapshotError::Start(error.to_string()))
    }

    /// Free memory is full of what lay there once: all of it is taken, zeroed and given back, so that it is not part of the snapshot.
    fn zero_free_memory(&mut self) -> Result<(), SnapshotError> {
        self.call("recoil-growth", &[1])?;
        let mut taken = Vec::new();
        let mut size = ZEROED_BYTES_MAX;
        while size >= ZEROED_BYTES_MIN {
            let at = self.call("malloc", &[size])?;
            if at == 0 {
                size /= 2;
                continue;
            }
            taken.push(at);
            let piece = self.memory.data_mut(&mut self.store).get_mut(at as usize..at as usize + size as usize);
            piece.ok_or_else(|| SnapshotError::Start("it allocates outside of its memory".into()))?.fill(0);
        }
        for at in taken {
            self.call("free", &[at])?;
        }
        self.call("recoil-growth", &[0])?;
        Ok(())
    }
}

impl InstanceState for Started {
    async fn global_get(&mut self, name: &str, _: wasmtime_wizer::ValType) -> SnapshotVal {
        let global = self.instance.get_global(&mut self.store, name).expect("wizer has exported it");
        match global.get(&mut self.store) {
            Val::I32(value) => SnapshotVal::I32(value),
            Val::I64(value) => SnapshotVal::I64(value),
            Val::F32(value) => SnapshotVal::F32(value),
            Val::F64(value) => SnapshotVal::F64(value),
            other => unreachable!("wizer takes no global like {other:?}"),
        }
    }

    async fn memory_contents(&mut self, name: &str, take: impl FnOnce(&[u8]) + Send) {
        let memory = self.instance.get_memory(&mut self.store, name).expect("wizer has exported it");
        take(memory.data(&self.store));
    }
}

/// Appends, and drops what is too much from the beginning.
fn keep_last(said: &mut String, text: &str) {
    said.push_str(text);
    if let Some(start) = (said.len().saturating_sub(SAID_BYTES_MAX)..).find(|at| said.is_char_boundary(*at)) {
        said.drain(..start);
    }
}

/// The memory of the module that calls.
fn memory_of<'a>(caller: &'a mut Caller<'_, ()>) -> wasmtime::Result<&'a mut [u8]> {
    let memory = caller.get_export("memory").and_then(wasmtime::Extern::into_memory);
    Ok(memory.ok_or_else(|| wasmtime::Error::msg("it exports no memory"))?.data_mut(caller))
}

/// A range of a module's memory that it names itself.
fn range(memory: &mut [u8], at: i32, length: usize) -> wasmtime::Result<&mut [u8]> {
    let start = at as u32 as usize;
    let range = memory.get_mut(start..start.saturating_add(length));
    range.ok_or_else(|| wasmtime::Error::msg("an address outside of its memory"))
}

fn word(memory: &mut [u8], at: i32) -> wasmtime::Result<i32> {
    Ok(i32::from_le_bytes(range(memory, at, 4)?.try_into()?))
}

/// A clock that moves when it is read, random numbers that are the same for the same seed, no environment, and what is printed is kept.
fn define_wasi(linker: &mut Linker<()>, seed: u64, said: &Arc<Mutex<String>>) -> wasmtime::Result<()> {
    let said = said.clone();
    let write =
        move |mut caller: Caller<'_, ()>, _: i32, pieces: i32, count: i32, written: i32| -> wasmtime::Result<i32> {
            let memory = memory_of(&mut caller)?;
            let mut total = 0i32;
            for piece in 0..count {
                let piece = pieces.wrapping_add(piece.wrapping_mul(8));
                let (at, length) = (word(memory, piece)?, word(memory, piece.wrapping_add(4))?);
                let text = String::from_utf8_lossy(range(memory, at, length as u32 as usize)?).into_owned();
                keep_last(&mut said.lock(), &text);
                total = total.wrapping_add(length);
            }
            range(memory, written, 4)?.copy_from_slice(&total.to_le_bytes());
            Ok(0)
        };
    linker.func_wrap(WASI, "fd_write", write)?;
    let readings = AtomicU64::new(FIRST_READING);
    let now = move |mut caller: Caller<'_, ()>, _: i32, _: i64, result: i32| -> wasmtime::Result<i32> {
        let now = readings.fetch_add(NANOSECONDS_PER_READING, Relaxed);
        range(memory_of(&mut caller)?, result, 8)?.copy_from_slice(&now.to_le_bytes());
        Ok(0)
    };
    linker.func_wrap(WASI, "clock_time_get", now)?;
    let state = AtomicU64::new(seed);
    let random = move |mut caller: Caller<'_, ()>, at: i32, length: i32| -> wasmtime::Result<i32> {
        for byte in range(memory_of(&mut caller)?, at, length as u32 as usize)? {
            // Xorshift: Marsaglia, "Xorshift RNGs", 2003.
            let mut next = state.load(Relaxed);
            next ^= next << 13;
            next ^= next >> 7;
            next ^= next << 17;
            state.store(next, Relaxed);
            *byte = (next >> 32) as u8;
        }
        Ok(0)
    };
    linker.func_wrap(WASI, "random_get", random)?;
    let sizes = |mut caller: Caller<'_, ()>, count: i32, bytes: i32| -> wasmtime::Result<i32> {
        let memory = memory_of(&mut caller)?;
        range(memory, count, 4)?.fill(0);
        range(memory, bytes, 4)?.fill(0);
        Ok(0)
    };
    linker.func_wrap(WASI, "environ_sizes_get", sizes)?;
    linker.func_wrap(WASI, "environ_get", |_: i32, _: i32| 0i32)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A module that asks its host for what its exports are called.
    const ASKING: &str = r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
        (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 64) "\48\00\00\00\05\00\00\00hello")
        (func (export "write") (param i32 i32 i32) (result i32)
            (call $write (i32.const 1) (local.get 0) (local.get 1) (local.get 2)))
        (func (export "clock") (param i32) (result i32) (call $clock (i32.const 0) (i64.const 1) (local.get 0)))
        (func (export "random") (param i32 i32) (result i32) (call $random (local.get 0) (local.get 1)))
        (func (export "sizes") (param i32 i32) (result i32) (call $sizes (local.get 0) (local.get 1))))"#;

    fn asking(seed: u64) -> Started {
        let engine = Engine::default();
        let module = Module::new(&engine, wat::parse_str(ASKING).unwrap()).unwrap();
        let mut linker = Linker::new(&engine);
        let said = Arc::default();
        define_wasi(&mut linker, seed, &said).unwrap();
        let mut store = Store::new(&engine, ());
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        Started { limit: Duration::ZERO, store, instance, memory, said, block: 0, dispatch: 0 }
    }

    #[test]
    fn the_world_is_the_same_for_the_same_seed() {
        let see = |seed| {
            let mut asking = asking(seed);
            for (function, arguments) in
                [("clock", &[0][..]), ("clock", &[8]), ("random", &[16, 8]), ("sizes", &[24, 28])]
            {
                assert_eq!(asking.call(function, arguments).unwrap(), 0);
            }
            [0, 1, 2, 3].map(|slot| asking.slot(slot).unwrap())
        };
        let seen = see(1);
        assert_eq!(seen, see(1));
        assert!(seen[0] < seen[1], "time passes");
        assert_ne!(seen[2], see(2)[2]);
        assert_eq!(seen[3], 0, "there is no environment");
    }

    #[test]
    fn what_is_printed_is_kept_and_addresses_outside_of_memory_are_refused() {
        let mut asking = asking(1);
        asking.call("write", &[64, 1, 0]).unwrap();
        assert_eq!(*asking.said.lock(), "hello");
        for [list, count, total] in [[65_532, 1, 0], [-1, 1, 0], [64, 20_000, 0], [64, 1, -1], [i32::MAX - 3, 2, 0]] {
            let error = asking.call("write", &[list, count, total]).unwrap_err().to_string();
            assert!(error.contains("an address outside of its memory") && error.contains("hello"), "{error}");
        }
        for (function, arguments) in [("clock", &[-8][..]), ("random", &[0, -1]), ("sizes", &[0, 65_534])] {
            assert!(asking.call(function, arguments).is_err(), "{function}");
        }
        assert!(asking.call("absent", &[]).is_err());
    }

    #[test]
    fn a_beginning_without_end_is_given_up() {
        let endless = wat::parse_str(
            r#"(module (memory (export "memory") 1) (func (export "__wasm_call_ctors") (loop $again (br $again))))"#,
        );
        let endless = endless.unwrap();
        let snapshots = Snapshots::new(&endless, Duration::from_millis(50)).unwrap();
        let error = snapshots.take(&Assemblies::new(), "package").err().unwrap();
        assert!(matches!(error, SnapshotError::Endless { .. }), "{error}");
    }

    #[test]
    fn only_the_end_of_much_output_is_kept() {
        let mut said = String::new();
        for _ in 0..SAID_BYTES_MAX {
            keep_last(&mut said, "\u{e9}x");
        }
        assert!(said.len() <= SAID_BYTES_MAX && said.ends_with('x'), "{}", said.len());
    }
}
