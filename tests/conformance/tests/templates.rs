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

/// Names that mean something else to a language's tools: packages of its own, of the SDK or of others, words, folders and versions.
const TAKEN: [(&str, &str, &[&str]); 8] = [
    ("rust", "rust", &["acme/core", "acme/test", "acme/fn", "recoil/recoil-sdk"]),
    ("go", "go", &["acme/fmt", "acme/cmd", "acme/internal", "acme/vendor", "con/v1"]),
    ("js", "js", &["acme/fs", "acme/esbuild"]),
    ("ts", "js", &["acme/typescript"]),
    ("python", "python", &["acme/recoil", "acme/types"]),
    ("java", "java", &["recoil/recoil-package", "acme/class"]),
    ("csharp", "csharp", &["acme/system"]),
    ("c", "c", &["acme/main"]),
];

#[test]
fn a_package_may_be_called_as_something_else_is() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut failures = Vec::new();
    for (language, _, packages) in TAKEN.into_iter().filter(|(_, sdk, _)| is_available(sdk)) {
        let folder = folder.path().join(language);
        std::fs::create_dir(&folder).expect("a folder");
        for package in packages {
            println!("{package} in {language}");
            let (_, name) = package.split_once('/').expect("a namespace");
            let made = author(&folder, &["new", package, "--lang", language])
                .and_then(|_| author(&folder.join(name), &["test"]))
                .and_then(|_| author(&folder.join(name), &["build"]));
            failures.extend(made.err());
            // Disk is for one at a time.
            std::fs::remove_dir_all(folder.join(name)).expect("it is there");
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
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
