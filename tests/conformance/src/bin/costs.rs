//! What a language costs a node: `cargo run --release -p recoil-conformance --bin costs`, or with the names of some languages behind `--`.
//!
//! Each package is built and then run on an engine of its own, on one thread, without a cluster: no storage, network or consensus is
//! measured. Times are medians. The handler call is `bump` with a key of 16 bytes and a value of 128: it gets the key, puts the value and
//! answers what was there. Beside it is `echo` of the same value, which is the call and the protocol alone.

// Measured against the clock on the wall.
#![allow(clippy::disallowed_methods)]

use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use recoil_base::{Clock, Digest};
use recoil_conformance::{Language, Rows, Table, list, transaction};
use recoil_engine::call::relative_key;
use recoil_engine::{AppLog, AppLogOptions, Engine, EngineOptions, Environment, HandlerInstance, Limits};

const KEY: &[u8; 16] = b"key:000000000001";
static VALUE: [u8; 128] = [b'x'; 128];

/// Instances made one after another, and alive at a time.
const INSTANCES: usize = 100;
const INSTANCES_ALIVE: usize = 20;
/// Calls before any are measured: collectors of garbage have done their work a few times by then.
const CALLS_BEFORE: usize = 20_000;
const ROUNDS: usize = 15;
const CALLS: usize = 5_000;

fn main() -> ExitCode {
    if cfg!(debug_assertions) {
        eprintln!("this is a debug build, which compiles and calls more slowly: use `cargo run --release`");
    }
    let names: Vec<String> = std::env::args().skip(1).collect();
    match Language::all() {
        Ok(all) => measure_all(all.into_iter().filter(|language| names.is_empty() || names.contains(&language.name))),
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn measure_all(languages: impl Iterator<Item = Language>) -> ExitCode {
    let headings = [
        "language",
        "component, KB",
        "compile, ms",
        "instantiate, µs",
        "first call, µs",
        "call, µs",
        "echo, µs",
        "instance, KiB",
    ];
    let mut table = Table::new(headings.map(str::to_owned));
    let mut code = ExitCode::SUCCESS;
    for language in languages {
        eprintln!("{} …", language.name);
        let costs = language.build().map_err(anyhow::Error::msg).and_then(|file| Costs::measure(&file));
        match costs {
            Ok(costs) => table.row(costs.cells(language.name)),
            Err(why) => {
                eprintln!("{}: {why:#}", language.name);
                table.row([language.name, "failed".to_owned()]);
                code = ExitCode::FAILURE;
            }
        }
    }
    print!("{table}");
    code
}

/// What one language costs.
struct Costs {
    component_bytes: usize,
    compile: Duration,
    instantiate: Duration,
    first_call: Duration,
    call: Duration,
    echo: Duration,
    instance_bytes: usize,
}

impl Costs {
    fn measure(file: &Path) -> anyhow::Result<Self> {
        let archive = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
        let manifest = recoil_package::read(&archive)?;
        let engine = Engine::new(EngineOptions { instances_max: 512, ..EngineOptions::default() })?;
        let begun = Instant::now();
        let code = engine.load(Digest::of(&archive), &archive, &manifest.permissions)?;
        let compile = begun.elapsed();

        let mut limits = Limits::default();
        for (name, value) in &manifest.limits.0 {
            limits.set(name, *value);
        }
        let log = AppLog::new(Clock::system(), AppLogOptions::default());
        let environment = Environment { app: "costs".into(), log, limits, settings: Default::default() };
        let new = || code.new_handler(environment.clone()).map_err(anyhow::Error::from);

        let (bump, echo) = (Asked::bump(), Asked::echo());
        // The first of all is not like the others: pages of the code are read, and the pool's first slot is made.
        bump.call(&mut new()?)?;
        let (mut instantiate, mut first_call) = (Vec::new(), Vec::new());
        for _ in 0..INSTANCES {
            let begun = Instant::now();
            let mut instance = new()?;
            instantiate.push(begun.elapsed());
            let begun = Instant::now();
            bump.call(&mut instance)?;
            first_call.push(begun.elapsed());
        }
        Ok(Costs {
            component_bytes: archive.len(),
            compile,
            instantiate: median(instantiate),
            first_call: median(first_call),
            call: bump.steady_call(&mut new()?)?,
            echo: echo.steady_call(&mut new()?)?,
            instance_bytes: memory_of_one(new, &bump)?,
        })
    }

    fn cells(&self, language: String) -> [String; 8] {
        let us = |time: Duration| match time.as_secs_f64() * 1e6 {
            us if us < 100.0 => format!("{us:.1}"),
            us => format!("{us:.0}"),
        };
        [
            language,
            self.component_bytes.div_ceil(1000).to_string(),
            self.compile.as_millis().to_string(),
            us(self.instantiate),
            us(self.first_call),
            us(self.call),
            us(self.echo),
            self.instance_bytes.div_ceil(1024).to_string(),
        ]
    }
}

/// Memory that an instance has for itself once it has answered a call. What all instances of an app share is not counted.
fn memory_of_one(new: impl Fn() -> anyhow::Result<HandlerInstance>, asked: &Asked) -> anyhow::Result<usize> {
    let before = private_bytes()?;
    let mut alive = Vec::with_capacity(INSTANCES_ALIVE);
    for _ in 0..INSTANCES_ALIVE {
        let mut instance = new()?;
        asked.call(&mut instance)?;
        alive.push(instance);
    }
    Ok(private_bytes()?.saturating_sub(before) / INSTANCES_ALIVE)
}

/// Pages that this process has written to and shares with nobody.
fn private_bytes() -> anyhow::Result<usize> {
    let path = "/proc/self/smaps_rollup";
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Private_Dirty:")).context("no Private_Dirty")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<usize>()? * 1024)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// A request, and the answer that it must have.
struct Asked {
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Asked {
    fn bump() -> Self {
        let before = [b"+", &VALUE[..]].concat();
        Asked { request: list(&[&b"bump"[..], KEY, &VALUE]), answer: list(&[before]) }
    }

    fn echo() -> Self {
        Asked { request: list(&[&b"echo"[..], &VALUE]), answer: list(&[VALUE]) }
    }

    /// One call, in a transaction of its own that comes to nothing.
    fn call(&self, instance: &mut HandlerInstance) -> anyhow::Result<()> {
        static ROW: LazyLock<Arc<Rows>> =
            LazyLock::new(|| Arc::new(Rows(Some((relative_key(KEY), Bytes::from_static(&VALUE))))));
        let (_, answer) = instance.handle(transaction(&ROW), &self.request);
        let answer = answer?;
        ensure!(answer == self.answer, "the answer is {answer:?}, not {:?}", self.answer);
        Ok(())
    }

    fn steady_call(&self, instance: &mut HandlerInstance) -> anyhow::Result<Duration> {
        for _ in 0..CALLS_BEFORE {
            self.call(instance)?;
        }
        let round = |_| {
            let begun = Instant::now();
            for _ in 0..CALLS {
                self.call(instance)?;
            }
            Ok(begun.elapsed() / CALLS as u32)
        };
        Ok(median((0..ROUNDS).map(round).collect::<anyhow::Result<_>>()?))
    }
}
