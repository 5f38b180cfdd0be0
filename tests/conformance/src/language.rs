//! The languages: folders in `packages/`.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use recoil_cluster_tests::{program, root};
use recoil_package::Source;

/// A package is compiled, or tested, within this time, its tools' first installation included.
const BUILD_SECONDS_MAX: &str = "1200";
/// The SDKs whose tool chains are there, joined by commas, where somebody knows; `cargo verify` sets it. Other languages are left out.
const AVAILABLE: &str = "RECOIL_TEST_LANGUAGES";
/// Of what a command that failed printed, the end is shown.
const LINES_SHOWN: usize = 12;

/// False for an SDK whose tool chain is known to be missing.
pub fn is_available(sdk: &str) -> bool {
    std::env::var(AVAILABLE).map_or(true, |known| known.split(',').any(|name| name == sdk))
}

/// A language, and the conformance package in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Language {
    /// Its folder's name.
    pub name: String,
    folder: PathBuf,
    has_tests: bool,
}

impl Language {
    /// All whose tool chains are not known to be missing, by name.
    pub fn all() -> Result<Vec<Language>, String> {
        let packages = root().join("tests/conformance/packages");
        let failed = |error: std::io::Error| format!("{}: {error}", packages.display());
        let mut languages = Vec::new();
        for entry in std::fs::read_dir(&packages).map_err(failed)? {
            let folder = entry.map_err(failed)?.path();
            let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            let Ok(manifest) = std::fs::read_to_string(folder.join("recoil.toml")) else { continue };
            // Packages are built by their SDK's script, but for Rust's, which cargo builds.
            let sdk = manifest.split_once("/sdk/").and_then(|(_, rest)| rest.split('/').next()).unwrap_or("rust");
            let source = Source::from_toml(&manifest).map_err(|error| format!("{}: {error}", folder.display()))?;
            let has_tests = source.build.is_some_and(|build| build.test.is_some());
            if is_available(sdk) {
                languages.push(Language { name, folder, has_tests });
            }
        }
        languages.sort();
        Ok(languages)
    }

    /// The package's name.
    pub fn package(&self) -> String {
        format!("conformance-{}", self.name)
    }

    /// Builds the package as its author does; the file. A tool chain that is missing is named by the build itself.
    pub fn build(&self) -> Result<PathBuf, String> {
        self.recoilctl("build").map(|()| self.folder.join(format!("{}.wasm", self.package())))
    }

    /// Runs the package's own tests as its author does; false if it has none.
    pub fn test(&self) -> Result<bool, String> {
        if self.has_tests {
            self.recoilctl("test")?;
        }
        Ok(self.has_tests)
    }

    /// The end of what it printed, if it failed.
    fn recoilctl(&self, verb: &str) -> Result<(), String> {
        let mut command = Command::new("timeout");
        command.arg(BUILD_SECONDS_MAX).arg(program("recoilctl")).args([verb, "--path"]).arg(&self.folder);
        let failed = |why: String| format!("recoilctl {verb} of {}: {why}", self.name);
        let output = command.stdin(Stdio::null()).output().map_err(|error| failed(format!("timeout: {error}")))?;
        if output.status.success() {
            return Ok(());
        }
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        let lines: Vec<&str> = said.trim_end().lines().collect();
        Err(failed(lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n")))
    }
}
