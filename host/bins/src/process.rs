//! What a program is to the operating system: its log, its signals, its limits, its runtime.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use recoil_base::Shutdown;
use recoil_node::BundledPackage;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::exit;
use crate::packages::{CONTRACT, PACKAGES, Package};
use crate::say::complain;

/// How a program logs.
#[derive(Clone, Debug, clap::Args)]
pub struct Log {
    /// What is logged, to stderr: a level (error, warn, info, debug, trace), or levels by module, as in
    /// `warn,recoil_consensus=debug`.
    #[arg(long = "log", global = true, env = "RECOIL_LOG", value_name = "LEVELS", value_parser = levels)]
    levels: Option<String>,
    /// How log lines are written.
    #[arg(long = "log-format", global = true, value_enum, default_value_t = LogFormat::Text)]
    format: LogFormat,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum LogFormat {
    /// Time in UTC, level, module, message and fields, for people.
    Text,
    /// One JSON object a line, with the same, for programs.
    Json,
}

/// The level of what a program logs of its own, unless it is told otherwise; of the libraries that it uses, warnings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Also the events of a node's life.
    Info,
    /// Only what an operator should look at.
    Warn,
}

fn levels(text: &str) -> Result<String, String> {
    match text.parse::<EnvFilter>() {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => {
            Err(format!("{error}; write a level such as info, or levels by module such as warn,recoil_node=debug"))
        }
    }
}

/// Run a program's `main` to its exit code: failures are printed as one sentence.
pub fn run<F>(program: &str, log: &Log, level: LogLevel, main: F) -> ExitCode
where
    F: Future<Output = anyhow::Result<()>>,
{
    log.start(level);
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name(program).build();
    let result =
        runtime.context("the system gave no threads to run on; raise its limits (`ulimit -u`)").and_then(|runtime| {
            let result = runtime.block_on(main);
            // What still blocks (a terminal's read) must not keep a finished program.
            runtime.shutdown_background();
            result
        });
    match result {
        Ok(()) => ExitCode::from(exit::OK),
        Err(error) => {
            complain(format!("{program}: {error:#}"));
            ExitCode::from(exit::FAILED)
        }
    }
}

impl Log {
    fn start(&self, level: LogLevel) {
        let own = match level {
            LogLevel::Info => "info",
            LogLevel::Warn => "warn",
        };
        // openraft warns of each message that meets a node which is not up yet; the node itself logs which nodes are down.
        let levels = self.levels.clone().filter(|levels| !levels.is_empty());
        let filter = EnvFilter::new(levels.unwrap_or_else(|| format!("warn,recoil={own},openraft=error")));
        let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
        let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
        // A second initialisation only happens in tests, where the first one serves.
        // A line that cannot be written is lost: reporting that on stderr panics.
        let lines = lines.log_internal_errors(false);
        let _ = match self.format {
            LogFormat::Text => lines.with_ansi(ansi).try_init(),
            LogFormat::Json => {
                lines.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
            }
        };
    }
}

/// Every connection is a file to the system, and the usual soft limit of 1,024 is less than one app's connections.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!("the limit of open files stays at {:?}: {error}", limit.current);
        }
    }
}

/// Trigger `shutdown` at the first SIGINT or SIGTERM; leave at once at the second. Call inside the runtime.
pub fn stop_on_signals(shutdown: &Shutdown) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?;
    let shutdown = shutdown.clone();
    recoil_base::task::spawn_detached(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if shutdown.is_triggered() {
                // Somebody insists. What was acknowledged is on disk, so that nothing is lost.
                complain("stopping at once");
                std::process::exit(130);
            }
            shutdown.trigger();
        }
    });
    Ok(())
}

/// Another of the names of this program, where this one is.
///
/// # Errors
/// The system does not say where this program is.
pub fn under_name(name: &str) -> std::io::Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name(name))
}

/// The packages that come with the programs, as nodes take them.
pub fn node_packages() -> Vec<BundledPackage> {
    let packages = PACKAGES.iter().chain([&CONTRACT]);
    packages.map(|&Package { name, version, archive }| BundledPackage { name, version, archive }).collect()
}

/// The token in a file: its text, without white space around it.
pub fn read_token(file: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read the token in {}", file.display()))?;
    let token = text.trim();
    ensure!(!token.is_empty() && !token.contains(char::is_whitespace), "{} holds no token: one word", file.display());
    Ok(token.to_owned())
}

/// The sentence by which a node says that it serves.
pub fn hosting_sentence(id: recoil_base::NodeId, hosting: &recoil_node::Hosting) -> String {
    let verb = if hosting.bootstrapped { "bootstrapped" } else { "joined" };
    format!("Recoil node {id} {verb} cluster hosting {} partitions", hosting.partitions)
}
