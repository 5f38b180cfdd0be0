//! Building packages in a build script: every one of a folder, into a table of their archives.
//!
//! A package is a folder with a `recoil.toml`. The nested cargo has a target folder of its own, since the
//! outer one holds the lock of its own, and an environment without what belongs to the outer build: a package must come
//! out the same, whether `cargo build`, `cargo clippy` or a cross-compilation asked for it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context as _, bail, ensure};
use recoil_package::Manifest;

const TARGET: &str = "wasm32-wasip2";
const PROFILE: &str = "guest";

/// What to build.
pub(crate) struct Source {
    /// The folder of the workspace whose folders are packages.
    pub(crate) folder: &'static str,
    /// Files and folders that they are made of, beside the SDK and the contract.
    pub(crate) inputs: &'static [&'static str],
    /// The file in `OUT_DIR` that gets the table: an expression of type `&[Package]`, each with `name`, `version` and `archive`.
    pub(crate) table: &'static str,
}

/// Builds them, or ends the build with the reason.
pub(crate) fn run(source: Source) {
    if let Err(error) = build(&source) {
        eprintln!("{error:#}");
        std::process::exit(1);
    }
}

fn build(source: &Source) -> anyhow::Result<()> {
    let root = workspace_root()?;
    let common = [
        "sdk/rust/src",
        "sdk/rust/Cargo.toml",
        "registry/package/src",
        "registry/oci/src",
        "wit",
        "Cargo.toml",
        "Cargo.lock",
        "rust-toolchain.toml",
        "host/bins/build",
    ];
    for input in common.iter().chain(source.inputs) {
        println!("cargo:rerun-if-changed={}", root.join(input).display());
    }
    println!("cargo:rerun-if-changed=build.rs");
    let packages = packages(&root.join(source.folder))?;
    check_target()?;
    let out = PathBuf::from(env::var_os("OUT_DIR").context("cargo gives OUT_DIR")?);
    let target_dir = packages_target_dir(&out);
    compile(&root, &target_dir, &packages)?;
    let mut table = String::from("&[\n");
    for package in &packages {
        let wasm = target_dir.join(TARGET).join(PROFILE).join(format!("{}.wasm", package.crate_name.replace('-', "_")));
        let component = fs::read(&wasm).with_context(|| {
            format!(
                "package {} did not come out as {}: its Cargo.toml needs `crate-type = [\"cdylib\"]`",
                package.crate_name,
                wasm.display()
            )
        })?;
        let archive = recoil_package::embed(&component, &package.manifest)
            .with_context(|| format!("package {}", package.crate_name))?;
        let path = out.join(format!("{}.wasm", package.manifest.name));
        fs::write(&path, archive).with_context(|| format!("writing {}", path.display()))?;
        let (name, version) = (&package.manifest.name, &package.manifest.version);
        writeln!(table, "    Package {{ name: {name:?}, version: {version:?}, archive: include_bytes!({path:?}) }},")?;
    }
    table.push(']');
    fs::write(out.join(source.table), table).context("writing the table of packages")
}

struct Package {
    crate_name: String,
    manifest: Manifest,
}

/// The folders that hold a package, by name. Those without a Cargo.toml are built by other tool chains.
fn packages(guests: &Path) -> anyhow::Result<Vec<Package>> {
    let mut packages = Vec::new();
    for entry in fs::read_dir(guests).with_context(|| format!("reading {}", guests.display()))? {
        let folder = entry?.path();
        let manifest_path = folder.join("recoil.toml");
        if !manifest_path.is_file() || !folder.join("Cargo.toml").is_file() {
            continue;
        }
        let text =
            fs::read_to_string(&manifest_path).with_context(|| format!("reading {}", manifest_path.display()))?;
        let manifest =
            Manifest::from_toml(&text).with_context(|| format!("{} cannot be used", manifest_path.display()))?;
        // A package's crate has its name.
        let crate_name = manifest.name.clone();
        ensure!(
            packages.iter().all(|other: &Package| other.manifest.name != manifest.name),
            "two folders hold a package named {}: rename one",
            manifest.name
        );
        packages.push(Package { crate_name, manifest });
    }
    packages.sort_by(|a, b| a.manifest.name.cmp(&b.manifest.name));
    Ok(packages)
}

fn workspace_root() -> anyhow::Result<PathBuf> {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").context("cargo gives CARGO_MANIFEST_DIR")?);
    Ok(here.ancestors().nth(2).context("this crate lies two folders below the workspace")?.to_owned())
}

/// One line instead of a page of "can't find crate for `core`".
fn check_target() -> anyhow::Result<()> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).args(["--print", "sysroot"]).output().context("running rustc")?;
    let sysroot = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    if !sysroot.join("lib/rustlib").join(TARGET).is_dir() {
        bail!("the packages need Rust's {TARGET} target, which is not installed: run `rustup target add {TARGET}`");
    }
    Ok(())
}

/// Below the target folder, where debug and release builds share it; beside the generated files if that is not found.
fn packages_target_dir(out: &Path) -> PathBuf {
    out.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file()).unwrap_or(out).join("packages")
}

fn compile(root: &Path, target_dir: &Path, packages: &[Package]) -> anyhow::Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in env::vars_os() {
        if name.to_str().is_none_or(belongs_to_the_outer_build) {
            cargo.env_remove(name);
        }
    }
    cargo
        .current_dir(root)
        .args(["build", "--quiet", "--target", TARGET, "--profile", PROFILE, "--target-dir"])
        .arg(target_dir);
    for package in packages {
        cargo.args(["--package", &package.crate_name]);
    }
    let output = cargo.output().context("running cargo for the packages")?;
    if !output.status.success() {
        bail!("the packages do not build:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// Variables by which the outer build would change what the nested one makes.
fn belongs_to_the_outer_build(name: &str) -> bool {
    const KEPT: &[&str] = &["CARGO_HOME", "CARGO_MAKEFLAGS"];
    const KEPT_PREFIXES: &[&str] =
        &["CARGO_NET_", "CARGO_HTTP_", "CARGO_REGISTRIES_", "CARGO_REGISTRY_", "CARGO_SOURCE_"];
    const PREFIXES: &[&str] = &["CARGO_", "CLIPPY_", "RUSTC", "RUSTDOC", "CLIPPY"];
    const NAMES: &[&str] = &["RUSTFLAGS", "OUT_DIR", "TARGET", "HOST", "PROFILE", "DEBUG", "OPT_LEVEL", "NUM_JOBS"];
    let kept = KEPT.contains(&name) || KEPT_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    !kept && (NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
}
