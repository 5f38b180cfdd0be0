//! The SDKs' own tests, in the words of their READMEs, and those of the conformance packages, as `recoilctl test` runs them. Rust's SDK is
//! a member of the workspace.

use std::path::Path;
use std::process::{Command, Stdio};

use recoil_cluster_tests::root;
use recoil_conformance::{Language, is_available};

/// By SDK, what runs its tests in its folder.
const TESTS: [(&str, &str); 6] = [
    ("c", "sh test.sh target/sdk_test tests/sdk_test.c"),
    ("csharp", "sh test.sh"),
    ("go", "go vet ./... && GOOS=wasip1 GOARCH=wasm go vet ./... && go test ./..."),
    ("java", "mvn -q -B -ntp test"),
    ("js", "node --test test/*.test.js"),
    ("python", "PYTHONPATH=. python3 -B -m unittest discover -s tests"),
];

fn run(folder: &Path, command: &mut Command) -> Result<(), String> {
    let output = command.current_dir(folder).stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    if output.status.success() { Ok(()) } else { Err(format!("{command:?} in {}: {said}", folder.display())) }
}

#[test]
fn every_sdk_passes_its_own_tests() {
    // In a copy: what lies in `sdk/` goes into the programs.
    let folder = tempfile::tempdir().expect("a temporary folder");
    for part in ["sdk", "wit"] {
        let mut copy = Command::new("cp");
        copy.arg("-R").arg(root().join(part)).arg(folder.path());
        run(folder.path(), &mut copy).expect("a copy of the SDKs");
    }
    let failures = TESTS.into_iter().filter(|(sdk, _)| is_available(sdk)).filter_map(|(sdk, tests)| {
        run(&folder.path().join("sdk").join(sdk), Command::new("timeout").args(["900", "sh", "-c", tests])).err()
    });
    let failures: Vec<String> = failures.collect();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn conformance_packages_pass_their_own_tests() {
    let tested: Vec<_> = Language::all().expect("the languages").iter().map(Language::test).collect();
    assert!(tested.contains(&Ok(true)), "Rust's has tests: {tested:?}");
    let failures: Vec<String> = tested.into_iter().filter_map(Result::err).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}
