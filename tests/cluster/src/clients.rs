//! Clients in languages whose tool chains need not be there: each is made ready once, below `target/`, from its folder in
//! `clients/`, or the reason why it cannot be is returned, for a test to say and to pass over.
//!
//! Versions are pinned by lock files, so a client changes with a commit and not with the day. Only what is not there, or
//! cannot be fetched, is a reason: a client that does not compile fails its test.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::programs::profile_folder;
use crate::run_within;

/// Fetching a few dozen packages, and compiling them.
const LIMIT: Duration = Duration::from_secs(600);

/// The script `s3.mjs` beside the packages that it imports, for `node`.
///
/// # Errors
/// A sentence, if node or npm is missing or npm cannot fetch the packages.
pub fn javascript_client() -> Result<PathBuf, String> {
    must_run("node", &["--version"])?;
    must_run("npm", &["--version"])?;
    let (source, made) = folders("js");
    for name in ["package.json", "package-lock.json", "s3.mjs"] {
        std::fs::copy(source.join(name), made.join(name))
            .map_err(|error| format!("{name} cannot be copied: {error}"))?;
    }
    let lock = std::fs::read(source.join("package-lock.json")).map_err(|error| error.to_string())?;
    let installed = made.join("installed");
    if std::fs::read(&installed).ok().as_ref() != Some(&lock) {
        let folder = made.display().to_string();
        let words = ["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", &folder];
        let ran = run_within(LIMIT, "npm", &words);
        if ran.code != Some(0) {
            return Err(format!("npm cannot fetch the packages: {}", ran.stderr.trim()));
        }
        std::fs::write(&installed, lock).map_err(|error| error.to_string())?;
    }
    Ok(made.join("s3.mjs"))
}

/// A program.
///
/// # Errors
/// A sentence, if go is missing or cannot fetch the modules.
///
/// # Panics
/// If the client does not compile.
pub fn go_client() -> Result<PathBuf, String> {
    must_run("go", &["version"])?;
    let (source, made) = folders("go");
    let source = source.display().to_string();
    let ran = run_within(LIMIT, "go", &["-C", &source, "mod", "download"]);
    if ran.code != Some(0) {
        return Err(format!("go cannot fetch the modules: {}", ran.stderr.trim()));
    }
    let program = made.join("client");
    let out = program.display().to_string();
    run_within(LIMIT, "go", &["-C", &source, "build", "-mod=readonly", "-o", &out, "."]).ok();
    Ok(program)
}

/// Where a client's sources are, and where it is made.
fn folders(language: &str) -> (PathBuf, PathBuf) {
    let profile = profile_folder();
    let made = profile.parent().unwrap_or(&profile).join("verify/clients").join(language);
    std::fs::create_dir_all(&made).unwrap_or_else(|error| panic!("{}: {error}", made.display()));
    (Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(language), made)
}

fn must_run(program: impl AsRef<OsStr>, words: &[&str]) -> Result<(), String> {
    let program = program.as_ref();
    let works = Command::new(program).args(words).output().is_ok_and(|output| output.status.success());
    if works { Ok(()) } else { Err(format!("there is no {}", program.display())) }
}
