//! Where the programs under test are.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

/// The clone.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// Path of `recoil`, `recoilctl` or `recoil_simulator`, built from the sources as they are.
pub fn program(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(programs).join(name)
}

/// A Python that has redis-py: the one that `cargo verify` makes, or the system's.
pub fn python() -> PathBuf {
    python_with("redis")
}

/// A Python that has a module, one of those that `cargo verify` installs.
pub fn python_with(module: &str) -> PathBuf {
    let made = profile_folder()
        .parent()
        .map(|target| target.join("verify/python/bin/python3"))
        .filter(|python| python.exists());
    let python = std::env::var_os("RECOIL_TEST_PYTHON").map(PathBuf::from).or(made).unwrap_or_else(|| "python3".into());
    let import = format!("import {module}");
    let has_it = Command::new(&python).args(["-c", &import]).output().is_ok_and(|output| output.status.success());
    assert!(has_it, "{} has no {module}: `cargo verify` makes a Python that has it", python.display());
    python
}

/// `target/debug` or `target/release`: a test program lies in its `deps`, any other program in itself.
pub(crate) fn profile_folder() -> PathBuf {
    let here = std::env::current_exe().expect("the path of this program");
    let folder = here.parent().expect("programs lie in cargo's target folder");
    let outer = folder.parent().filter(|_| folder.ends_with("deps"));
    outer.unwrap_or(folder).to_owned()
}

/// `cargo test --workspace` has built the programs before it runs any test. Running these tests alone does not, so what is
/// missing or older than its sources is built here.
fn programs() -> PathBuf {
    let folder = profile_folder();
    // The other two names of the program do not change with the sources.
    let names = ["recoilctl", "recoil_simulator"];
    let built = folder.join("recoil").metadata().and_then(|file| file.modified()).ok();
    let built = built.filter(|_| names.iter().all(|name| folder.join(name).exists()));
    let newest =
        ["host", "registry", "sdk", "guests", "wit"].iter().filter_map(|room| newest_source(&root().join(room))).max();
    if built.is_some() && built >= newest {
        return folder;
    }
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(root())
        .args(["build", "--quiet", "--package", "recoil", "--bins", "--target-dir"])
        .arg(folder.parent().expect("target"));
    if folder.ends_with("release") {
        cargo.arg("--release");
    }
    let status = cargo.status().expect("cargo runs");
    assert!(status.success(), "the programs do not build: `cargo build` says why");
    folder
}

/// When anything that the programs are made of was last changed. Tests do not count.
fn newest_source(folder: &Path) -> Option<SystemTime> {
    let entries = std::fs::read_dir(folder).ok()?.flatten();
    let times = entries.filter_map(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return if path.ends_with("tests") || path.ends_with("target") { None } else { newest_source(&path) };
        }
        let counts = path
            .extension()
            .is_some_and(|kind| ["rs", "toml", "wit", "wat", "template"].iter().any(|known| kind == *known));
        if counts && !path.ends_with("tests.rs") { path.metadata().and_then(|file| file.modified()).ok() } else { None }
    });
    times.max()
}
