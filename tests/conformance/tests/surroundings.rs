//! Where a package is built and what is set there makes no difference: folders with odd names, a home that cannot be written, variables and
//! workspaces of other projects, no network once the tools are installed.
//!
//! In the languages whose tools allow it, the same sources make the same bytes: the snapshots that components of JavaScript and Python begin
//! with hold random seeds, and the symbols of Rust the path of the folder.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use recoil_cluster_tests::program;
use recoil_conformance::is_available;

/// As `recoilctl new --lang` has them, whose tool chain they need, and whether the same sources make the same bytes.
const LANGUAGES: [(&str, &str, bool); 8] = [
    ("c", "c", true),
    ("csharp", "csharp", true),
    ("go", "go", true),
    ("java", "java", true),
    ("js", "js", false),
    ("python", "python", false),
    ("rust", "rust", false),
    ("ts", "js", false),
];

/// A folder's name with what shells and compilers may trip over.
const ODD: &str = "it's a größe, 100% x=y";
/// Where nobody listens.
const DEAD_PROXY: &str = "http://127.0.0.1:9";
/// What is set for other programs or projects, and would end or change a build that heeded it.
const HOSTILE: [(&str, &str); 26] = [
    ("CARGO_BUILD_TARGET", "x86_64-unknown-none"),
    ("CARGO_NET_OFFLINE", "true"),
    ("CDPATH", ".:.."),
    ("CPATH", "/nowhere"),
    ("GO111MODULE", "off"),
    ("GOFLAGS", "-mod=vendor -race"),
    ("GOPROXY", "off"),
    ("HOME", "/dev/null/a home"),
    ("HTTP_PROXY", DEAD_PROXY),
    ("HTTPS_PROXY", DEAD_PROXY),
    ("http_proxy", DEAD_PROXY),
    ("https_proxy", DEAD_PROXY),
    ("JAVA_TOOL_OPTIONS", "-Dfile.encoding=ISO-8859-1 -Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort=9"),
    ("LC_ALL", "C"),
    ("LIBRARY_PATH", "/nowhere"),
    ("NODE_ENV", "production"),
    ("PIP_NO_INDEX", "1"),
    ("PIP_USER", "1"),
    ("PYTHONHASHSEED", "7"),
    ("RUSTFLAGS", "-C link-arg=--no-such-option"),
    ("SOURCE_DATE_EPOCH", "1"),
    ("TZ", "Asia/Kathmandu"),
    ("npm_config_ignore_scripts", "true"),
    ("npm_config_offline", "true"),
    ("npm_config_omit", "optional"),
    ("npm_config_production", "true"),
];

/// Where tools keep what they have fetched, for a home that is another one.
fn caches() -> Vec<(&'static str, PathBuf)> {
    let home = PathBuf::from(std::env::var_os("HOME").expect("HOME"));
    let or_home = |variable: &str, below: &str| std::env::var_os(variable).map_or(home.join(below), PathBuf::from);
    vec![
        ("CARGO_HOME", or_home("CARGO_HOME", ".cargo")),
        ("RUSTUP_HOME", or_home("RUSTUP_HOME", ".rustup")),
        ("RECOIL_TOOLS", or_home("RECOIL_TOOLS", ".cache/recoil/tools")),
        ("GOPATH", or_home("GOPATH", "go")),
        ("GOCACHE", or_home("GOCACHE", ".cache/go-build")),
        ("PYENV_ROOT", or_home("PYENV_ROOT", ".pyenv")),
    ]
}

struct Author {
    environment: Vec<(&'static str, PathBuf)>,
}

impl Author {
    fn run(&self, folder: &Path, words: &[&str]) -> Result<String, String> {
        let mut command = Command::new("timeout");
        command.arg("900").arg(program("recoilctl")).args(words).current_dir(folder).stdin(Stdio::null());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let output = command.output().map_err(|error| error.to_string())?;
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        let what = format!("{} in {}: {said}", words.join(" "), folder.display());
        if output.status.success() { Ok(what) } else { Err(what) }
    }

    fn build(&self, package: &Path) -> Result<Vec<u8>, String> {
        self.run(package, &["build"])?;
        std::fs::read(package.join("sample.wasm")).map_err(|error| error.to_string())
    }
}

/// The sources of a package, without what was built.
fn copy(package: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-R").arg(package).arg(to).status().expect("cp runs");
    assert!(copied.success());
    for made in ["target", "build", "sample.wasm"] {
        let made = to.join(package.file_name().expect("a name")).join(made);
        let _ = std::fs::remove_dir_all(&made).or_else(|_| std::fs::remove_file(&made));
    }
}

/// Builds a package here and in a folder with an odd name, with all that is set there.
fn builds_alike(folder: &Path, language: &str, is_same: bool) -> Result<(), String> {
    let here = Author { environment: Vec::new() };
    here.run(folder, &["new", "sample", "--lang", language])?;
    let first = here.build(&folder.join("sample"))?;

    // Rust's own linker for build scripts, rust-lld, cannot write below a folder with a percent sign.
    let odd = folder.join(if language == "rust" { ODD.replace('%', "") } else { ODD.to_owned() });
    let temporary = odd.join("temporary files");
    std::fs::create_dir_all(&temporary).map_err(|error| error.to_string())?;
    // Workspaces of others above it.
    std::fs::write(odd.join("go.work"), "go 1.26\n").map_err(|error| error.to_string())?;
    std::fs::write(odd.join("package.json"), "{\"type\": \"commonjs\", \"workspaces\": [\"*\"]}\n")
        .map_err(|error| error.to_string())?;
    std::fs::write(odd.join("Cargo.toml"), "[workspace]\nmembers = [\"nothing\"]\n")
        .map_err(|error| error.to_string())?;
    copy(&folder.join("sample"), &odd);
    let mut environment = caches();
    environment.push(("TMPDIR", temporary));
    environment.extend(HOSTILE.iter().map(|(name, value)| (*name, PathBuf::from(value))));
    let there = Author { environment };
    let second = there.build(&odd.join("sample"))?;
    if !is_same || first == second {
        return Ok(());
    }
    let at = first.iter().zip(&second).position(|(one, other)| one != other);
    Err(format!("{language}: {} and {} bytes, which differ at {at:?}", first.len(), second.len()))
}

#[test]
fn packages_are_built_wherever_they_lie_and_whatever_is_set() {
    let mut failures = Vec::new();
    for (language, _, is_same) in LANGUAGES.into_iter().filter(|(_, sdk, _)| is_available(sdk)) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        println!("{language}");
        failures.extend(builds_alike(folder.path(), language, is_same).err());
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}
