//! A new package in every language: made, tested and built as its author types it. Rust's, which is also installed, pushed and changed
//! while it runs, is in `tests/cluster/tests/packages.rs`.

use std::path::Path;
use std::process::{Command, Stdio};

use recoil_cluster_tests::program;
use recoil_conformance::is_available;

/// As `recoilctl new --lang` has them, and whose tool chain they need.
const LANGUAGES: [(&str, &str); 7] = [
    ("c", "c"),
    ("csharp", "csharp"),
    ("go", "go"),
    ("java", "java"),
    ("js", "js"),
    ("ts", "js"),
    ("python", "python"),
];

/// Runs recoilctl; the first build installs tools.
fn author(folder: &Path, words: &[&str]) -> Result<String, String> {
    let mut command = Command::new("timeout");
    command.arg("900").arg(program("recoilctl")).args(words).current_dir(folder).stdin(Stdio::null());
    let output = command.output().map_err(|error| error.to_string())?;
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    let what = format!("{} in {}: {said}", words.join(" "), folder.display());
    if output.status.success() { Ok(what) } else { Err(what) }
}

fn new_package(folder: &Path, language: &str, kind: &str) -> Result<(), String> {
    let name = format!("{language}-{kind}");
    author(folder, &["new", &name, "--lang", language, "--kind", kind])?;
    let package = folder.join(&name);
    author(&package, &["test"])?;
    let built = author(&package, &["build"])?;
    let role = if kind == "http" { "http-handler" } else { "tcp-listener" };
    for expected in [format!("{name}.wasm"), format!("exports  recoil:plugin/{role}@0.1.0"), "(storage)".to_owned()] {
        if !built.contains(&expected) {
            return Err(format!("{expected} is not in what this printed: {built}"));
        }
    }
    Ok(())
}

#[test]
fn a_new_package_is_tested_and_built_in_every_language() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut failures = Vec::new();
    for (language, sdk) in LANGUAGES.into_iter().filter(|(_, sdk)| is_available(sdk)) {
        for kind in ["http", "tcp"] {
            println!("{language}, {kind} ({sdk})");
            failures.extend(new_package(folder.path(), language, kind).err());
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}
