//! `etcd-load`, a program of this folder, as the load for etcd.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, bail, ensure};
use recoil_cluster_tests::{root, run};

use crate::load::{KEYS, Seen, VALUE_BYTES, parse_csv};

/// Clients, in two sizes.
pub(crate) const CLIENTS: [usize; 2] = [64, 512];

/// Puts to the leader among these members, by so many clients.
pub(crate) fn put(members: &[String], clients: usize, seconds: u64) -> anyhow::Result<Seen> {
    let numbers = [clients as u64, seconds, VALUE_BYTES as u64, KEYS].map(|number| number.to_string());
    let [clients, seconds, value_bytes, keys] = &numbers;
    let options = ["--clients", clients, "--seconds", seconds, "--value-bytes", value_bytes, "--keys", keys];
    let members = members.join(",");
    let ran = run(program()?, &[&["--members", members.as_str()], &options[..]].concat());
    if ran.code != Some(0) {
        bail!("etcd-load: {}{}", ran.stdout, ran.stderr);
    }
    parse_csv(&ran.stdout, None).with_context(|| format!("etcd-load: {}{}", ran.stdout, ran.stderr))
}

/// Builds it beside this program.
fn program() -> anyhow::Result<PathBuf> {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    if let Some(program) = PROGRAM.get() {
        return Ok(program.clone());
    }
    let here = std::env::current_exe().context("the path of this program")?;
    let folder = here.parent().context("programs lie in cargo's target folder")?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root()).args(["build", "--quiet", "--package", "recoil-bench-etcd", "--target-dir"]);
    cargo.arg(folder.parent().context("programs lie in cargo's target folder")?);
    if folder.ends_with("release") {
        cargo.arg("--release");
    }
    ensure!(cargo.status().context("cargo runs")?.success(), "etcd-load does not build: cargo says why");
    Ok(PROGRAM.get_or_init(|| folder.join("etcd-load")).clone())
}
