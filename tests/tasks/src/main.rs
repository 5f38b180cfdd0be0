//! `cargo demo` and `cargo verify`: what a developer types, through the aliases of `.cargo/config.toml`.
//!
//! Invariant: `verify` changes nothing in the clone but `target/`. What it needs and can install, it installs (a Rust target,
//! redis-tools where apt is there and allowed, a Python environment and cargo-deny below `target/`); what it cannot is
//! named in one line, with the way to install it.

mod demo;
mod languages;
mod markdown;
mod tools;
mod verify;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context as _, bail};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let result = match arguments.next().as_deref() {
        Some("demo") => demo::run(arguments),
        Some("verify") => verify::run(arguments),
        other => {
            eprintln!("'{}' is no task here: use `cargo demo` or `cargo verify`", other.unwrap_or(""));
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\n{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The clone.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// Where cargo builds: this program lies in it, in the folder of its profile.
fn target_dir() -> anyhow::Result<PathBuf> {
    let here = std::env::current_exe().context("finding the target folder")?;
    let folder = here.ancestors().nth(2).filter(|folder| folder.join("debug/deps").is_dir());
    Ok(folder
        .context("this program is not in cargo's target folder: run it with `cargo demo` or `cargo verify`")?
        .to_owned())
}

/// The cargo that runs us, in the clone.
fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    // What `cargo run` says about this program must not reach the build of others.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| {
            name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") || name == "CARGO_CRATE_NAME"
        }) {
            command.env_remove(name);
        }
    }
    command
}

/// Say what is run, run it, say how long it took, and fail if it fails.
#[allow(clippy::disallowed_methods)] // real time is what is measured
fn step(what: &str, command: &mut Command) -> anyhow::Result<()> {
    eprintln!("\n== {what}");
    let began = Instant::now();
    let status = command.status().with_context(|| format!("{what}: cannot run {}", command.get_program().display()))?;
    if !status.success() {
        bail!("{what} failed ({status}); what is printed above says why");
    }
    let seconds = began.elapsed().as_secs();
    if seconds >= 10 {
        eprintln!("== took {} min {} s", seconds / 60, seconds % 60);
    }
    Ok(())
}
