//! Which suites have passed as they are now.
//!
//! A suite is a test program of its own. It is identified by what it depends on: its program, the program `recoil` that the suites
//! start, the files of the clone that are no Rust code of the host (that is in the two programs), and what the environment asks for. After it has passed, the
//! fingerprint of all that is written to a file below `target/verify/passed`; the suite is skipped while the file says the same. A suite
//! whose program cargo does not name is never skipped.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, io};

use anyhow::{Context as _, bail};

use crate::root;

/// What the suites read of the environment.
const VARIABLES: &[&str] = &["RECOIL_FUZZ_SECONDS", "RECOIL_ALL_LANGUAGES", "RUSTFLAGS"];

/// The suites of the workspace.
pub(super) struct Suites {
    /// By name.
    fingerprints: BTreeMap<String, u64>,
    folder: PathBuf,
    began: Instant,
    took: Vec<(Duration, String)>,
}

impl Suites {
    /// Builds all tests with `build`, a `cargo test --no-run`, and takes the suites' fingerprints.
    #[allow(clippy::disallowed_methods)] // real time is what is measured
    pub(super) fn of(build: &mut Command, target_dir: &Path, languages: &str) -> anyhow::Result<Suites> {
        eprintln!("\n== building the tests");
        let output = build.stdout(Stdio::null()).stderr(Stdio::piped()).output().context("cannot run cargo")?;
        let said = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            eprint!("{said}");
            bail!("the tests cannot be built; what is printed above says why");
        }
        let mut common = DefaultHasher::new();
        languages.hash(&mut common);
        for name in VARIABLES {
            env::var_os(name).hash(&mut common);
        }
        hash_file(&target_dir.join("debug/recoil"), &mut common)?;
        for file in files()? {
            file.hash(&mut common);
            hash_file(&root().join(&file), &mut common)?;
        }
        let mut programs: BTreeMap<String, BTreeSet<PathBuf>> = BTreeMap::new();
        for (name, program) in said.lines().filter_map(suite) {
            programs.entry(name).or_default().insert(root().join(program));
        }
        let mut fingerprints = BTreeMap::new();
        for (name, programs) in programs {
            let mut fingerprint = common.clone();
            for program in programs {
                hash_file(&program, &mut fingerprint)?;
            }
            fingerprints.insert(name, fingerprint.finish());
        }
        if fingerprints.is_empty() {
            bail!("cargo names no test program: {said}");
        }
        Ok(Suites { fingerprints, folder: target_dir.join("verify/passed"), began: Instant::now(), took: Vec::new() })
    }

    /// The names of all suites.
    pub(super) fn names(&self) -> Vec<String> {
        self.fingerprints.keys().cloned().collect()
    }

    /// True if the suite has passed as it is now. Call this right before it is to run.
    #[allow(clippy::disallowed_methods)] // real time is what is measured
    pub(super) fn has_passed(&mut self, name: &str) -> bool {
        self.began = Instant::now();
        let recorded = fs::read_to_string(self.folder.join(name));
        let now = self.fingerprints.get(name).map(|fingerprint| format!("{fingerprint:016x}"));
        recorded.is_ok_and(|recorded| Some(recorded) == now)
    }

    /// Records that a suite has passed, and how long it took.
    pub(super) fn record(&mut self, name: &str) -> anyhow::Result<()> {
        self.took.push((self.began.elapsed(), name.to_owned()));
        let Some(fingerprint) = self.fingerprints.get(name) else { return Ok(()) };
        fs::create_dir_all(&self.folder)?;
        let path = self.folder.join(name);
        fs::write(&path, format!("{fingerprint:016x}")).with_context(|| format!("writing {}", path.display()))
    }

    /// Says which suites took longest.
    pub(super) fn print_times(&mut self) {
        self.took.sort_unstable_by(|a, b| b.cmp(a));
        if !self.took.is_empty() {
            eprintln!("\n== what took longest");
        }
        for (took, name) in self.took.iter().take(5) {
            eprintln!("{:>6} s  {name}", took.as_secs());
        }
    }
}

/// The suite's name and its program in a line of cargo's such as `  Executable tests/moves.rs (target/debug/deps/moves-1a2b)`.
fn suite(line: &str) -> Option<(String, PathBuf)> {
    let (source, program) = line.trim().strip_prefix("Executable ")?.strip_suffix(')')?.split_once(" (")?;
    let name = Path::new(source.strip_prefix("tests/")?);
    let name = match name.file_name()?.to_str()? {
        "main.rs" => name.parent()?.file_name()?,
        _ => name.file_stem()?,
    };
    Some((name.to_str()?.to_owned(), program.into()))
}

/// The files of the clone, those included that git does not know yet, but for the Rust code and the texts of the host.
fn files() -> anyhow::Result<Vec<String>> {
    let mut git = Command::new("git");
    git.current_dir(root()).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"]);
    let output = git.stderr(Stdio::inherit()).output().context("cannot run git")?;
    if !output.status.success() {
        bail!("git cannot list the files of this clone");
    }
    let listed = String::from_utf8(output.stdout).context("a file name that is not UTF-8")?;
    let is_in_programs = |file: &str| file.starts_with("host/") && (file.ends_with(".rs") || file.ends_with(".md"));
    Ok(listed.split_terminator('\0').filter(|file| !is_in_programs(file)).map(str::to_owned).collect())
}

fn hash_file(path: &Path, hasher: &mut DefaultHasher) -> anyhow::Result<()> {
    let file = match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => {
            fs::read_link(path)?.hash(hasher);
            return Ok(());
        }
        Ok(_) => fs::File::open(path),
        // Removed, and git has not been told.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => Err(error),
    };
    let read = file.and_then(|mut file| io::copy(&mut file, &mut Sink(hasher)));
    read.map(|_| ()).with_context(|| format!("reading {}", path.display()))
}

/// Hashes what is written to it.
struct Sink<'a>(&'a mut DefaultHasher);

impl io::Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails if a suite is not recognized in what cargo says, or if unit tests are taken for one.
    #[test]
    fn suites_are_found_in_what_cargo_says() {
        let program = PathBuf::from("target/debug/deps/x-1a");
        for (line, name) in [
            ("  Executable tests/moves.rs (target/debug/deps/x-1a)", Some("moves")),
            ("  Executable tests/engine/main.rs (target/debug/deps/x-1a)", Some("engine")),
            ("  Executable unittests src/lib.rs (target/debug/deps/x-1a)", None),
            ("    Finished `test` profile", None),
        ] {
            assert_eq!(suite(line), name.map(|name| (name.to_owned(), program.clone())), "{line}");
        }
    }

    /// Fails if a suite counts as passed that never has, or if what it depends on has changed since.
    #[test]
    #[allow(clippy::disallowed_methods)] // real time is what is measured
    fn a_suite_has_passed_only_as_it_was() {
        let folder = env::temp_dir().join(format!("recoil-verify-{}", std::process::id()));
        let at = |fingerprint| Suites {
            fingerprints: BTreeMap::from([("moves".to_owned(), fingerprint)]),
            folder: folder.clone(),
            began: Instant::now(),
            took: Vec::new(),
        };
        assert!(!at(1).has_passed("moves"));
        at(1).record("moves").unwrap();
        assert!(at(1).has_passed("moves") && !at(2).has_passed("moves") && !at(1).has_passed("disk"));
        fs::remove_dir_all(&folder).unwrap();
    }
}
