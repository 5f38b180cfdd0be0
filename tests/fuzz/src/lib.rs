//! Fuzz targets for everything that reads what others wrote: clients, other nodes, operators, a damaged disk.
//!
//! A target is a function of bytes that panics when a promise is broken: decoders answer or refuse, never panic, use memory in
//! proportion to the input, and what they accept survives being written and read again. The functions stand in the rooms
//! whose decoders they reach (`fuzzing` modules); here they get their names.
//!
//! Two drivers run them, on one corpus (`corpus/<target>/`):
//! - `cargo test -p recoil-fuzz`, part of `cargo verify`: the corpus, then mutations of it from a seeded generator ([`Mutator`]), some
//!   seconds each; `RECOIL_FUZZ_SECONDS=60` gives each a minute, `RECOIL_FUZZ_SEED=N` another course. No nightly compiler and no tool.
//! - `cargo fuzz run --fuzz-dir tests/fuzz --features libfuzzer --sanitizer none <target>`, by hand: libFuzzer, led by
//!   coverage. It wants cargo-fuzz and a C++ compiler, and works on the pinned stable compiler.
//!
//! An input that breaks a target goes into its corpus together with the fix, and is tried by both ever after.

#![allow(clippy::disallowed_methods)] // the time that a run may take is the wall's

mod mutate;
mod packages;
mod registry;

pub use mutate::Mutator;

/// A target, and what it may need.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, and its corpus' folder.
    pub name: &'static str,
    /// Panics if a promise is broken.
    pub run: fn(&[u8]),
    /// Bytes of memory it may use beside [`BYTES_PER_INPUT_BYTE`] for each byte of the input.
    pub memory_bytes: usize,
}

/// Bytes of memory for each byte of an input: a value of a byte or two becomes an enum with room for the largest.
pub const BYTES_PER_INPUT_BYTE: usize = 256;

const SMALL: usize = 1 << 20;
/// Room for the largest command, twice.
const SESSION: usize = 64 << 20;

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "resp", run: redis_server::fuzzing::resp, memory_bytes: SESSION },
    Target { name: "requests", run: redis_server::fuzzing::requests, memory_bytes: SESSION },
    Target { name: "session", run: redis_server::fuzzing::session, memory_bytes: SESSION },
    Target { name: "dump", run: redis_server::fuzzing::dump, memory_bytes: SESSION },
    Target { name: "peer_stream", run: recoil_cluster::fuzzing::stream, memory_bytes: SMALL },
    Target { name: "calls", run: recoil_cluster::fuzzing::calls, memory_bytes: SMALL },
    Target { name: "meta", run: recoil_cluster::fuzzing::meta, memory_bytes: SMALL },
    Target { name: "group_entry", run: recoil_consensus::fuzzing::command, memory_bytes: SMALL },
    Target { name: "raft_message", run: recoil_consensus::fuzzing::message, memory_bytes: SMALL },
    Target { name: "snapshot_chunk", run: recoil_consensus::fuzzing::chunk, memory_bytes: SMALL },
    Target { name: "log_records", run: recoil_storage::log::fuzzing::records, memory_bytes: SMALL },
    Target { name: "log_recovery", run: recoil_storage::log::fuzzing::recovery, memory_bytes: 16 << 20 },
    Target { name: "package", run: packages::archive, memory_bytes: SMALL },
    Target { name: "manifest", run: packages::manifest, memory_bytes: SMALL },
    Target { name: "registry_names", run: registry::names, memory_bytes: SMALL },
    Target { name: "registry_records", run: registry::records, memory_bytes: SMALL },
];

/// Runs the target of this name once. Panics if there is none.
pub fn run(name: &str, input: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    (target.unwrap_or_else(|| panic!("there is no target {name}")).run)(input);
}
