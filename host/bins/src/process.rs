//! What a program is to the operating system: its log, its signals, its limits, its runtime.

use std::future::Future;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use recoil_base::Shutdown;
use recoil_node::BundledPackage;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

use crate::exit;
use crate::packages::{CONTRACT, PACKAGES, Package};

/// Run a program's `main` to its exit code: failures are printed as one sentence.
pub fn run<F>(program: &str, main: F) -> ExitCode
where
    F: Future<Output = anyhow::Result<()>>,
{
    log_to_stderr();
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
            eprintln!("{program}: {error:#}");
            ExitCode::from(exit::FAILED)
        }
    }
}

/// Warnings are for operators; those of openraft tell every message that meets a node not yet up, which is no news.
const LOG_DEFAULT: &str = "warn,openraft=error";

/// Log lines go to stderr: those of [`LOG_DEFAULT`], or what RUST_LOG says.
fn log_to_stderr() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOG_DEFAULT));
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
    // A second initialisation only happens in tests, where the first one serves.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi).try_init();
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
                eprintln!("stopping at once");
                std::process::exit(130);
            }
            shutdown.trigger();
        }
    });
    Ok(())
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
