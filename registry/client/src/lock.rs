//! What a name meant the first time: the lock file.
//!
//! A tag can be moved, and a registry can be taken over. A project that keeps the digests of what it has used notices either: the file
//! is text beside the project's own files, meant to be committed with them.
//!
//! ```toml
//! [[package]]
//! reference = "acme/greeter@1.0.0"
//! registry = "registry.example"
//! manifest = "sha256:…"
//! component = "sha256:…"
//! ```
//!
//! Invariant: an entry is added, or taken out by a person; nothing here changes one. Where the package came from is kept for people: what
//! counts is what it was, so that a mirror may serve it too.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use recoil_oci::{Digest, PackageReference};
use serde::Deserialize;

const FIRST_LINE: &str =
    "# Written by recoilctl: which contents each package had when it was first used. Keep this file with the project.";

/// What packages were when they were first used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    packages: BTreeMap<String, Locked>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locked {
    /// The registry it came from, `host[:port]`.
    pub registry: String,
    /// The manifest's digest.
    pub manifest: Digest,
    /// The component's digest.
    pub component: Digest,
}

impl fmt::Display for Locked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "component {} of manifest {} from {}", self.component, self.manifest, self.registry)
    }
}

/// What a comparison with the lock came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pinned {
    /// It is the first time, and the lock has it now: write it.
    New,
    /// It is what it was.
    Same,
}

/// Why a lock file could not be used, or a package not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The file cannot be read or written.
    #[error("cannot {action} the lock file {}: {error}; check the folder and its permissions", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The file is not a lock file.
    #[error("the lock file {} cannot be understood: {why}; correct it, or take it back from version control", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Where and what.
        why: String,
    },
    /// A name means something else than it did.
    #[error(
        "{reference} is not what it was: {before} before, {now} now; if that is meant, remove the entry of {reference} from the \
         lock file and run the command again"
    )]
    Changed {
        /// The package.
        reference: String,
        /// What it was.
        before: Box<Locked>,
        /// What it is.
        now: Box<Locked>,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    package: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    reference: String,
    registry: String,
    manifest: Digest,
    component: Digest,
}

impl Lock {
    /// The lock at `path`, which is empty if there is no such file.
    pub fn read(path: &Path) -> Result<Lock, LockError> {
        match std::fs::read_to_string(path) {
            Ok(text) => Lock::parse(&text).map_err(|why| LockError::Unreadable { path: path.to_owned(), why }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Lock::default()),
            Err(error) => Err(LockError::File { action: "read", path: path.to_owned(), error }),
        }
    }

    fn parse(text: &str) -> Result<Lock, String> {
        let file: File = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
        let mut packages = BTreeMap::new();
        for Entry { reference, registry, manifest, component } in file.package {
            let package: PackageReference =
                reference.parse().map_err(|error: recoil_oci::InvalidName| error.to_string())?;
            if packages.insert(package.to_string(), Locked { registry, manifest, component }).is_some() {
                return Err(format!("it has two entries for {package}"));
            }
        }
        Ok(Lock { packages })
    }

    /// What `reference` was, if the lock knows it.
    pub fn get(&self, reference: &PackageReference) -> Option<&Locked> {
        self.packages.get(&reference.to_string())
    }

    /// Compares what `reference`, which names a version, is now with what it was; takes it up if it is new. The file is changed by
    /// [`Lock::write`] alone.
    pub fn check(
        &mut self,
        reference: &PackageReference,
        registry: &str,
        manifest: &Digest,
        component: &Digest,
    ) -> Result<Pinned, LockError> {
        let name = reference.to_string();
        let now = Locked { registry: registry.to_owned(), manifest: manifest.clone(), component: component.clone() };
        match self.packages.get(&name) {
            None => {
                self.packages.insert(name, now);
                Ok(Pinned::New)
            }
            Some(before) if before.manifest == now.manifest && before.component == now.component => Ok(Pinned::Same),
            Some(before) => {
                Err(LockError::Changed { reference: name, before: Box::new(before.clone()), now: Box::new(now) })
            }
        }
    }

    /// Writes the lock to `path`, whole or not at all, always in the same order.
    pub fn write(&self, path: &Path) -> Result<(), LockError> {
        self.replace(path).map_err(|error| LockError::File { action: "write", path: path.to_owned(), error })
    }

    fn replace(&self, path: &Path) -> io::Result<()> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = readable_by_others(folder)?;
        file.write_all(self.to_toml().as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    }

    fn to_toml(&self) -> String {
        let mut text = format!("{FIRST_LINE}\n");
        for (reference, Locked { registry, manifest, component }) in &self.packages {
            text += "\n[[package]]\n";
            for (name, value) in [
                ("reference", reference.as_str()),
                ("registry", registry),
                ("manifest", manifest.as_str()),
                ("component", component.as_str()),
            ] {
                text += &format!("{name} = {}\n", quoted(value));
            }
        }
        text
    }
}

/// A temporary file, which is otherwise for its owner alone, as the user wants files to be.
fn readable_by_others(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    use std::os::unix::fs::PermissionsExt as _;

    let permissions = std::fs::Permissions::from_mode(0o666);
    tempfile::Builder::new().prefix(".recoil-lock-").permissions(permissions).tempfile_in(folder)
}

/// A TOML basic string, which is a JSON string but for one character more that has to be escaped.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

#[cfg(test)]
mod tests {
    use super::*;
    use recoil_oci::Algorithm;

    fn digest(text: &str) -> Digest {
        Algorithm::Sha256.digest(text.as_bytes())
    }

    fn reference(text: &str) -> PackageReference {
        text.parse().unwrap()
    }

    fn of(packages: &[&str]) -> Lock {
        let mut lock = Lock::default();
        for package in packages {
            let (manifest, component) = (digest("manifest"), digest("component"));
            let pinned = lock.check(&reference(package), "registry.example", &manifest, &component).unwrap();
            assert_eq!(pinned, Pinned::New);
        }
        lock
    }

    #[test]
    fn what_is_written_is_read_again_in_the_same_order_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recoil.lock");
        assert_eq!(Lock::read(&path).unwrap(), Lock::default(), "no file");
        let lock = of(&["acme/greeter@1.0.0", "redis-server@1.2.0", "acme/aaa@2.0.0"]);
        lock.write(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(Lock::read(&path).unwrap(), lock);
        of(&["redis-server@1.2.0", "acme/aaa@2.0.0", "acme/greeter@1.0.0"]).write(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        assert!(text.starts_with("# Written by recoilctl"), "{text}");
        let entry = format!(
            "[[package]]\nreference = \"acme/greeter@1.0.0\"\nregistry = \"registry.example\"\nmanifest = \"{}\"\ncomponent = \"{}\"\n",
            digest("manifest"),
            digest("component")
        );
        assert!(text.contains(&entry), "{text}");
        assert!(text.find("acme/aaa") < text.find("acme/greeter") && text.find("acme/greeter") < text.find("recoil/"));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn what_has_changed_is_refused_and_the_lock_stays_as_it_was() {
        let mut lock = of(&["acme/greeter@1.0.0"]);
        let before = lock.clone();
        let greeter = reference("acme/greeter@1.0.0");
        let mut check = |registry, manifest, component| {
            lock.check(&greeter, registry, &digest(manifest), &digest(component)).map_err(|error| error.to_string())
        };
        assert_eq!(check("registry.example", "manifest", "component"), Ok(Pinned::Same));
        assert_eq!(check("mirror.example", "manifest", "component"), Ok(Pinned::Same));
        let error = check("mirror.example", "manifest", "other").unwrap_err();
        for part in
            [digest("component").as_str(), digest("other").as_str(), "mirror.example", "registry.example", "remove"]
        {
            assert!(error.contains(part), "{part}: {error}");
        }
        let error = check("registry.example", "other", "component").unwrap_err();
        assert!(error.contains(digest("other").as_str()) && error.contains(digest("manifest").as_str()), "{error}");
        assert_eq!(lock, before);
        assert_eq!(lock.get(&greeter).unwrap().component, digest("component"));
    }

    #[test]
    fn a_file_that_is_no_lock_is_told_where() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recoil.lock");
        let entry = of(&["acme/greeter@1.0.0"]).to_toml();
        let twice = format!("{entry}{entry}");
        let cases = [
            ("[[package]", "recoil.lock"),
            ("[[package]]\nreference = \"a/b@1.0.0\"\n", "registry"),
            (&entry.replace("sha256:", "sha256:0"), "sha256:0"),
            (&entry.replace("acme/", "Acme/"), "Acme/greeter"),
            (&entry.replace("registry =", "unknown = 1\nregistry ="), "unknown"),
            (&twice, "two entries for acme/greeter@1.0.0"),
        ];
        for (text, why) in cases {
            std::fs::write(&path, text).unwrap();
            let error = Lock::read(&path).unwrap_err().to_string();
            assert!(error.contains(why) && error.contains("cannot be understood"), "{text}: {error}");
        }
    }

    #[test]
    fn any_text_is_quoted() {
        let odd = "a\"b\\c\n\u{7f}é\u{1}";
        let read: toml::Table = toml::from_str(&format!("x = {}", quoted(odd))).unwrap();
        assert_eq!(read["x"].as_str(), Some(odd));
    }

    #[test]
    fn a_folder_that_is_not_there_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let error = Lock::default().write(&folder.path().join("missing/recoil.lock")).unwrap_err().to_string();
        assert!(error.contains("cannot write the lock file") && error.contains("missing/recoil.lock"), "{error}");
    }
}
