//! Encodes the contract as a WIT package, the form in which tools fetch it from a registry.

use std::path::PathBuf;
use std::{env, fs};

use anyhow::Context as _;
use wit_parser::Resolve;

/// Writes the package and its version, or ends the build with the reason.
pub(crate) fn run() {
    if let Err(error) = encode() {
        eprintln!("{error:#}");
        std::process::exit(1);
    }
}

fn encode() -> anyhow::Result<()> {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").context("cargo gives CARGO_MANIFEST_DIR")?);
    let wit = here.ancestors().nth(2).context("this crate lies two folders below the workspace")?.join("wit");
    println!("cargo:rerun-if-changed={}", wit.display());
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(&wit).with_context(|| format!("reading {}", wit.display()))?;
    let version = resolve.packages[package].name.version.clone().context("the contract has a version")?;
    let encoded = wit_component::encode(&resolve, package).context("encoding the contract")?;
    let out = PathBuf::from(env::var_os("OUT_DIR").context("cargo gives OUT_DIR")?);
    fs::write(out.join("contract.wasm"), encoded).context("writing the contract")?;
    fs::write(out.join("contract-version"), version.to_string()).context("writing the contract's version")
}
