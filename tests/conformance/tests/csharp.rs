//! What making a component of C# promises beyond what every language does: the same bytes from the same sources. It needs the tools for C#.

use std::path::{Path, PathBuf};
use std::process::Command;

use recoil_cluster_tests::program;
use recoil_conformance::is_available;

const HANDLER: &str = "public byte[] Handle(Recoil.Transaction transaction, byte[] request) => request;";

/// Makes a package in a folder, with one source.
fn package(folder: &Path, source: &str) -> PathBuf {
    let made = author(folder, &["new", "sample", "--lang", "csharp"]);
    assert!(made.is_ok(), "{made:?}");
    let package = folder.join("sample");
    std::fs::remove_dir_all(package.join("src")).unwrap();
    std::fs::create_dir(package.join("src")).unwrap();
    std::fs::write(package.join("src/Sample.cs"), source).unwrap();
    // One that exports its handler only.
    let manifest = std::fs::read_to_string(package.join("recoil.toml")).unwrap();
    let (before, after) = (manifest.find("[[listener]]").unwrap(), manifest.find("[[setting]]").unwrap());
    std::fs::write(package.join("recoil.toml"), [&manifest[..before], &manifest[after..]].concat()).unwrap();
    package
}

fn author(folder: &Path, words: &[&str]) -> Result<(), String> {
    let output = Command::new("timeout").arg("900").arg(program("recoilctl")).args(words).current_dir(folder).output();
    let output = output.expect("recoilctl runs");
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

#[test]
fn the_same_sources_make_the_same_bytes_wherever_they_lie() {
    if !is_available("csharp") {
        return;
    }
    let source = format!(
        "public sealed class Sample : Recoil.IHandler, Recoil.IRehearsed {{ {HANDLER}
            static readonly System.Random random = new System.Random();
            static readonly System.Guid guid = System.Guid.NewGuid();
            static readonly int hash = System.HashCode.Combine(guid, random.Next(), System.DateTime.Now, \"a\".GetHashCode());
            public static string Path([System.Runtime.CompilerServices.CallerFilePath] string path = \"\") => path;
            public void Rehearse() => Path(); }}"
    );
    let folder = tempfile::tempdir().unwrap();
    let archives = ["here", "there with blanks"].map(|place| {
        let place = folder.path().join(place);
        std::fs::create_dir(&place).unwrap();
        let package = package(&place, &source);
        assert_eq!(author(&package, &["build"]), Ok(()));
        std::fs::read(package.join("sample.wasm")).unwrap()
    });
    assert!(archives[0] == archives[1], "{} and {} bytes", archives[0].len(), archives[1].len());
}
