//! The programs that checks and tests need: found, or installed, or named.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail, ensure};

const WASM_TARGET: &str = "wasm32-wasip2";
const DENY_VERSION: &str = "0.20.2";
/// The clients that tests are written with; wide enough for any Python in use.
const PYTHON_CLIENTS: [&str; 5] =
    ["redis>=5,<9", "boto3>=1.36,<2", "awscli>=1.37,<2", "minio>=7.2,<8", "s3cmd>=2.4,<3"];
const PYTHON_MODULES: &str = "import redis, boto3, awscli, minio, S3";

/// True if `program --version` works.
pub(crate) fn is_there(program: impl AsRef<Path>) -> bool {
    works(Command::new(program.as_ref()).arg("--version"))
}

pub(crate) fn works(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// rustfmt and clippy.
pub(crate) fn rust_components() -> anyhow::Result<()> {
    for (program, component) in [("cargo-fmt", "rustfmt"), ("cargo-clippy", "clippy")] {
        let found = is_there(program)
            || works(Command::new("rustup").args(["component", "add", component]).current_dir(crate::root()));
        ensure!(found, "{component} is missing: `rustup component add {component}`");
    }
    Ok(())
}

/// The target that packages are built for.
pub(crate) fn wasm_target() -> anyhow::Result<()> {
    let output = Command::new("rustc")
        .args(["--print", "sysroot"])
        .current_dir(crate::root())
        .output()
        .context("rustc is missing: see https://rustup.rs")?;
    let sysroot = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    let found = sysroot.join("lib/rustlib").join(WASM_TARGET).is_dir()
        || works(Command::new("rustup").args(["target", "add", WASM_TARGET]).current_dir(crate::root()));
    ensure!(found, "Rust's {WASM_TARGET} target is missing: `rustup target add {WASM_TARGET}`");
    Ok(())
}

/// A program that the tests run, from the Debian package of that name.
pub(crate) fn client(program: &str, package: &str) -> anyhow::Result<()> {
    if !is_there(program) {
        apt_install(package);
    }
    ensure!(
        is_there(program),
        "{program} is missing: `apt-get install {package}`, or the package of your system that has it"
    );
    Ok(())
}

/// Try, where apt is there and we may; whether it worked is seen by what comes after.
pub(crate) fn apt_install(package: &str) {
    if !rustix::process::geteuid().is_root() || !is_there("apt-get") {
        return;
    }
    eprintln!("installing {package}");
    let install = || {
        let mut apt = Command::new("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive").args([
            "install",
            "--yes",
            "--quiet",
            "--no-install-recommends",
            package,
        ]);
        works(&mut apt)
    };
    if !install() && works(Command::new("apt-get").args(["update", "--quiet"])) {
        install();
    }
}

/// A Python with the clients of the tests, in an environment of its own below `target/`; the interpreter's path.
pub(crate) fn python(target_dir: &Path) -> anyhow::Result<PathBuf> {
    let environment = target_dir.join("verify/python");
    let python = environment.join("bin/python3");
    let has_clients = || works(Command::new(&python).args(["-c", PYTHON_MODULES]));
    if has_clients() {
        return Ok(python);
    }
    eprintln!("making a Python environment with redis-py, boto3, the AWS CLI, minio-py and s3cmd");
    ensure!(
        is_there("python3"),
        "python3 is missing: `apt-get install python3 python3-venv`, or your system's package of Python"
    );
    let make = || works(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment));
    if !make() {
        apt_install("python3-venv");
        ensure!(make(), "Python cannot make environments here: `apt-get install python3-venv`");
    }
    works(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(PYTHON_CLIENTS));
    ensure!(
        has_clients(),
        "the tests' Python clients could not be installed: `{} -m pip install '{}'` says why",
        python.display(),
        PYTHON_CLIENTS.join("' '")
    );
    Ok(python)
}

/// cargo-deny: the one on the path, or one below `target/`.
pub(crate) fn cargo_deny(target_dir: &Path) -> anyhow::Result<PathBuf> {
    let tools = target_dir.join("verify/tools");
    let ours = tools.join("bin/cargo-deny");
    if is_there("cargo-deny") {
        return Ok("cargo-deny".into());
    }
    if is_there(&ours) {
        return Ok(ours);
    }
    let mut install = crate::cargo();
    install
        .args(["install", "--locked", "--no-default-features", "--version", DENY_VERSION, "--root"])
        .arg(&tools)
        .arg("cargo-deny");
    // Not in the clone, whose rust-toolchain.toml holds there anyway; its build files are of no further use.
    install.env_remove("CARGO_TARGET_DIR");
    crate::step("building cargo-deny (some minutes, once)", &mut install)?;
    if !is_there(&ours) {
        bail!("cargo-deny was built and does not run: `cargo install --locked cargo-deny` installs it by hand");
    }
    Ok(ours)
}
