//! The packages that come with the programs, as repositories of the namespace [`NAMESPACE`].
//!
//! They are the node's own bytes, so they are there before anything was ever written, and a node of a later version has the later
//! packages. The namespace is theirs: nothing else can be pushed into it, so what a short name means cannot be changed by a push.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use bytes::Bytes;
use recoil_oci::{Digest, Manifest, NAMESPACE, Reference, Repository, Tag, artifact};

/// True if a repository is of the namespace that is never written.
pub(crate) fn is_reserved(name: &Repository) -> bool {
    name.as_str().split('/').next() == Some(NAMESPACE)
}

struct Version {
    tag: Tag,
    digest: Digest,
    manifest: Manifest,
    bytes: Bytes,
    blobs: BTreeMap<Digest, Bytes>,
}

/// See the module's essay.
#[derive(Default)]
pub struct Builtin {
    packages: Vec<(String, String, Bytes)>,
    /// Made when they are first looked for: hashing takes a while.
    repositories: OnceLock<BTreeMap<String, Version>>,
}

impl Builtin {
    /// Packages by name, version and archive.
    pub fn new(packages: impl IntoIterator<Item = (String, String, Bytes)>) -> Self {
        Builtin { packages: packages.into_iter().collect(), repositories: OnceLock::new() }
    }

    fn all(&self) -> &BTreeMap<String, Version> {
        self.repositories.get_or_init(|| {
            let made = self.packages.iter().filter_map(|(name, version, archive)| {
                let made = make(name, version, archive);
                if let Err(error) = &made {
                    tracing::error!(name, error, "a package that comes with this program is not in the registry");
                }
                Some((format!("{NAMESPACE}/{name}"), made.ok()?))
            });
            made.collect()
        })
    }

    fn version(&self, name: &Repository) -> Option<&Version> {
        self.all().get(name.as_str())
    }

    pub(crate) fn blob(&self, name: &Repository, digest: &Digest) -> Option<Bytes> {
        self.version(name)?.blobs.get(digest).cloned()
    }

    pub(crate) fn manifest(&self, name: &Repository, reference: &Reference) -> Option<(Digest, Manifest, Bytes)> {
        let version = self.version(name)?;
        let meant = match reference {
            Reference::Tag(tag) => *tag == version.tag,
            Reference::Digest(digest) => *digest == version.digest,
        };
        meant.then(|| (version.digest.clone(), version.manifest.clone(), version.bytes.clone()))
    }

    pub(crate) fn tags(&self, name: &Repository) -> Option<Vec<String>> {
        self.version(name).map(|version| vec![version.tag.to_string()])
    }

    pub(crate) fn repositories(&self) -> impl Iterator<Item = &str> {
        self.all().keys().map(String::as_str)
    }
}

fn make(name: &str, version: &str, archive: &Bytes) -> Result<Version, String> {
    // A WIT package is one that has no manifest of ours.
    let package = recoil_package::read(archive).ok();
    let annotations = BTreeMap::from([("org.opencontainers.image.version".to_owned(), version.to_owned())]);
    let made = artifact(archive, package.as_ref(), &format!("{name}.wasm"), None, &annotations)
        .map_err(|error| error.to_string())?;
    let manifest = Manifest::parse(&made.manifest, None).map_err(|error| error.to_string())?;
    let blobs = BTreeMap::from([(made.config_digest, made.config.into()), (made.layer_digest, archive.clone())]);
    let tag = Tag::of_version(version).map_err(|error| error.to_string())?;
    Ok(Version { tag, digest: made.manifest_digest, manifest, bytes: made.manifest.into(), blobs })
}
