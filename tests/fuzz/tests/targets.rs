//! Every target: its corpus, then mutations of it for some seconds.
//!
//! Seen red, each with one thing broken: `calls` (an answer's first byte not written), `group_entry` (a chain number cut to 24 bits
//! when read), `log_recovery` (no largest index: the next one overflows), `meta` (a removed readiness row not written), `package` (a panic
//! on a second manifest), `raft_message` (no largest term and index), `resp` (commands of 120 MiB allowed: memory),
//! `snapshot_chunk` (a key without its first byte), `registry_names` (".." allowed between words), `registry_records` (an attachment cut short),
//! `log_records` (a truncation's index cut to 32 bits), `manifest` (a description without the blanks at its end), `peer_stream` (a body without
//! its last byte), `requests` (a flag read the wrong way round), `session` (a client's error is the listener's).

#![allow(clippy::disallowed_methods)] // the time that a run may take is the wall's

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use recoil_fuzz::{BYTES_PER_INPUT_BYTE, Mutator, TARGETS, Target};

/// How long each target is tried, unless `RECOIL_FUZZ_SECONDS` says otherwise.
const SECONDS: u64 = 3;

/// Counts what a thread holds, and the most it held.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    HELD.set(HELD.get() + bytes);
    PEAK.set(PEAK.get().max(HELD.get()));
}

// SAFETY: every call goes on to the system's allocator as it came. Counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises are the ones asked for.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's promises are the ones asked for.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn corpus(target: &Target) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let read = |path: PathBuf| (path.clone(), std::fs::read(&path).unwrap_or_else(|error| panic!("{path:?}: {error}")));
    files.into_iter().map(read).collect()
}

/// Runs the target once. When it fails, keeps the input and names it.
fn run(target: &Target, input: &[u8]) {
    PEAK.set(HELD.get());
    let before = HELD.get();
    let outcome = std::panic::catch_unwind(|| (target.run)(input));
    let used = (PEAK.get() - before).max(0) as usize;
    let allowed = target.memory_bytes + BYTES_PER_INPUT_BYTE * input.len();
    if outcome.is_ok() && used <= allowed {
        return;
    }
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{}", target.name, std::process::id()));
    std::fs::write(&kept, input).unwrap();
    let what =
        if outcome.is_ok() { format!("it used {used} bytes; {allowed} are allowed") } else { "see above".into() };
    panic!(
        "{} fails on {} bytes, kept in {}: {what}. Mend it, and put the input into tests/fuzz/corpus/{}",
        target.name,
        input.len(),
        kept.display(),
        target.name
    );
}

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number")))
}

fn fuzz(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target");
    let files = corpus(target);
    assert!(!files.is_empty(), "a target without a corpus finds little");
    for (_, input) in &files {
        run(target, input);
    }
    let seeds: Vec<Vec<u8>> = files.into_iter().map(|(_, input)| input).collect();
    let mut mutator = Mutator::new(setting("RECOIL_FUZZ_SEED", 1));
    let end = Instant::now() + Duration::from_secs(setting("RECOIL_FUZZ_SECONDS", SECONDS));
    let mut runs = 0u64;
    while Instant::now() < end {
        run(target, &mutator.input(&seeds));
        runs += 1;
    }
    println!("{name}: {runs} runs on mutations of {} inputs", seeds.len());
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(#[test] fn $name() { fuzz(stringify!($name)); })*

        #[test]
        fn every_target_is_here_and_has_a_program_for_cargo_fuzz() {
            let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
            let manifest = include_str!("../Cargo.toml");
            for name in names {
                assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
                let program = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fuzz_targets/{name}.rs"));
                assert!(std::fs::read_to_string(program).unwrap().contains(&format!("run(\"{name}\", input)")), "{name}");
            }
        }
    };
}

targets! {
    resp requests session dump peer_stream calls meta group_entry raft_message snapshot_chunk log_records log_recovery package
    manifest registry_names registry_records
}
