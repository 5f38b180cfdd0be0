//! A simulated cluster under faults: real nodes, real Raft, real log, real guests; simulated clocks, disks and network. One seed makes
//! one run, always the same one.
//!
//! Invariant: everything happens on one thread, and whatever could make two runs of a seed differ enters through [`entropy`],
//! [`chance`] and the simulated clocks.

mod chance;
mod checks;
mod clients;
mod entropy;
mod guest;
mod history;
mod machine;
mod many;
mod members;
mod nemesis;
mod network;
mod plan;
mod trace;
mod watch;
mod world;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use clap::Parser;
use recoil_engine::AppCode;
use recoil_node::{Shared, SharedOptions};

use crate::plan::{Focus, Plan};
use crate::trace::Detail;
use crate::world::{Failure, Summary, World};

#[derive(Parser)]
#[command(about = "Runs simulated clusters under faults and checks what their clients saw")]
struct Arguments {
    /// One run; the same number makes the same run
    #[arg(long, conflicts_with = "seeds", required_unless_present = "seeds")]
    seed: Option<u64>,
    /// Many runs: FROM..TO, TO excluded
    #[arg(long, value_parser = range)]
    seeds: Option<Range<u64>>,
    /// Calls of all clients together in a run
    #[arg(long, default_value_t = 400)]
    steps: u64,
    /// What runs are about. Part of what a seed means: a replay must name it, too
    #[arg(long, value_enum, default_value_t)]
    focus: Focus,
    /// Print what happens: calls, faults, the steps of moves on every node, changes of members; `messages` also prints every message
    #[arg(long, num_args = 0..=1, default_missing_value = "events", value_parser = ["events", "messages"])]
    trace: Option<String>,
    /// Print the nodes' own log lines of this filter, as in RUST_LOG
    #[arg(long)]
    log: Option<String>,
    /// Runs at a time
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Where compiled code is kept between runs
    #[arg(long, hide = true)]
    code: Option<PathBuf>,
}

fn range(text: &str) -> Result<Range<u64>, String> {
    let (from, to) = text.split_once("..").ok_or("expected FROM..TO")?;
    let number = |text: &str| text.parse().map_err(|error| format!("{text}: {error}"));
    Ok(number(from)?..number(to)?)
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match (arguments.seed, arguments.seeds.clone()) {
        (Some(seed), _) => one(seed, arguments),
        (None, Some(seeds)) => many::run(seeds, arguments.steps, arguments.focus, arguments.jobs),
        (None, None) => Ok(true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// One run, on a thread whose randomness is the seed's from its first breath.
fn one(seed: u64, arguments: Arguments) -> Result<bool> {
    let folder = tempfile::Builder::new().prefix(&format!("recoil-simulation-{}-", std::process::id())).tempdir()?;
    let path = folder.path().to_owned();
    let (steps, focus) = (arguments.steps, arguments.focus);
    let thread = std::thread::Builder::new().name("simulation".into()).stack_size(64 << 20).spawn(move || {
        entropy::seed(seed);
        chance::seed(seed);
        simulate(&path, arguments)
    })?;
    let outcome = thread.join().map_err(|_| anyhow!("the simulation itself panicked"))??;
    let (hash, events) = trace::hash();
    match outcome {
        Ok(summary) => {
            let Summary { calls, answered, unknown, faults, healed_ms, simulated_ms } = summary;
            println!(
                "seed {seed} ok: {calls} calls, {answered} answered, {unknown} unknown, {faults} faults, healed in {healed_ms} ms, {} s \
                 simulated, {events} events, trace {hash:016x}",
                simulated_ms / 1000
            );
            Ok(true)
        }
        Err(Failure { check, what }) => {
            println!("seed {seed} FAILED {check} at {} ms, trace {hash:016x}: {what}", trace::now_ms());
            let about = if focus == Focus::Any { String::new() } else { format!(" --focus {}", focus.name()) };
            println!("replay: cargo sim --seed {seed} --steps {steps}{about} --trace");
            Ok(false)
        }
    }
}

fn simulate(folder: &Path, arguments: Arguments) -> Result<Result<Summary, Failure>> {
    let detail = match arguments.trace.as_deref() {
        None => Detail::Silent,
        Some("messages") => Detail::Messages,
        Some(_) => Detail::Events,
    };
    trace::begin(detail);
    if let Some(filter) = &arguments.log {
        tracing_subscriber::fmt().with_env_filter(filter).without_time().with_writer(std::io::stdout).init();
    }
    std::panic::set_hook(Box::new(|panic| {
        let text = format!("on node {}: {panic}", machine::running());
        trace::event(Detail::Events, format_args!("panic   {text}"));
        world::PANICS.lock().push(text);
    }));
    recoil_base::simulation::begin(|thread| Duration::from_millis(nemesis::work_ms(machine::running(), thread)));
    let (archive, shared, _code) = prepare(arguments.code)?;
    let plan = Plan::draw(arguments.steps, arguments.focus, archive);
    trace::note!(
        "plan    {} nodes and {} that stand by, {} keys, {:?}, moves {:?} met by {} %, strays {} %, members {:?}, lost after {} s, {:?}",
        plan.nodes,
        plan.spares,
        plan.keys,
        plan.faults,
        plan.moves_every_ms,
        plan.strikes_percent,
        plan.strays_percent,
        plan.members_every_ms,
        plan.repair_after_s,
        plan.log
    );
    let mut world = World::new(plan, folder, shared);
    let outcome = world.run();
    // Ends the nodes before their ground.
    for place in 0..world.machines.len() {
        world.end(place, machine::End::Killed);
    }
    Ok(outcome)
}

/// Builds and loads the guest on a thread of its own: whether it is compiled or found in the cache must not show in the main
/// thread's hash maps.
fn prepare(code: Option<PathBuf>) -> Result<(&'static [u8], Arc<Shared>, Arc<AppCode>)> {
    #[allow(clippy::disallowed_methods)] // a program, not a node
    let prepared = std::thread::spawn(move || {
        let archive: &'static [u8] = Box::leak(guest::archive().context("building the guest")?.into_boxed_slice());
        // The engine's own evaluation threads do nothing: each node has its own.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
        let _entered = runtime.enter();
        let shared = Shared::new(SharedOptions { code_cache: code, eval_threads: Some(1) })?;
        let code = shared.load(archive)?;
        Ok((archive, shared, code))
    });
    prepared.join().map_err(|_| anyhow!("preparing the guest panicked"))?
}
