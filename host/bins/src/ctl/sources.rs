//! Where packages come from: files, the cluster's own registry, and other registries.
//!
//! A name is looked for in the cluster's registry first and then in those that the operator's own file lists, in its order; the first
//! that has it gives it. The node takes what is in the cluster's registry by itself; everything else is fetched here, with
//! the operator's credentials, checked, and handed to the node, so that a cluster needs no way to the outside.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use recoil_gateway::api::{AdminErrorCode, PackageSummary, PullRequest};
use recoil_oci::{Algorithm, Digest, PackageReference, Reference, Repository, Tag};
use recoil_registry_client::{Credentials, Lock, Registry, RegistryError, Resolved};
use serde::{Deserialize, Serialize};

use super::VerbError;
use crate::client::{Client, ClientError};

/// Names the operator's file, if it is not at its usual place.
const FILE_VARIABLE: &str = "RECOIL_REGISTRIES";
/// A token for one registry, in place of Docker's credentials.
const TOKEN_VARIABLE: &str = "RECOIL_REGISTRY_TOKEN";
/// The registry that the token is for, `host[:port]`. Without it, the token is for the cluster's own.
const TOKEN_HOST_VARIABLE: &str = "RECOIL_REGISTRY_TOKEN_HOST";
/// How registries outside the cluster are written.
pub(super) const OCI: &str = "oci://";

/// A registry in the operator's file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Source {
    /// `host[:port]`.
    pub(super) address: String,
    /// What stands before the names there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) prefix: Option<Repository>,
    /// The namespaces that are looked for there; all if none are named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) namespaces: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default, rename = "registry")]
    registries: Vec<Source>,
}

impl Source {
    /// Where a package is there, if it may be.
    fn repository(&self, name: &Repository) -> Result<Option<Repository>, VerbError> {
        let namespace = name.as_str().split('/').next().unwrap_or_default();
        if !self.namespaces.is_empty() && !self.namespaces.iter().any(|known| known == namespace) {
            return Ok(None);
        }
        let full = self.prefix.as_ref().map_or(name.to_string(), |prefix| format!("{prefix}/{name}"));
        full.parse().map(Some).map_err(local)
    }
}

pub(super) fn local(error: impl ToString) -> VerbError {
    VerbError::Local(error.to_string())
}

/// The operator's file, whether it is there or not.
pub(super) fn file() -> Option<PathBuf> {
    let folder = || {
        let config = std::env::var_os("XDG_CONFIG_HOME").filter(|folder| !folder.is_empty()).map(PathBuf::from);
        config.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".config")))
    };
    let named = std::env::var_os(FILE_VARIABLE).filter(|file| !file.is_empty()).map(PathBuf::from);
    named.or_else(|| Some(folder()?.join("recoil/registries.toml")))
}

/// The registries in the operator's file, in their order; none if there is no file.
pub(super) fn read() -> Result<Vec<Source>, VerbError> {
    let Some(file) = file() else { return Ok(vec![]) };
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
        Err(error) => return Err(local(format!("cannot read {}: {error}", file.display()))),
    };
    let read: Result<File, _> = toml::from_str(&text);
    let read = read.map_err(|error| local(format!("{} cannot be used: {error}", file.display())))?;
    Ok(read.registries)
}

/// Who to be at the registry at `address`.
pub(super) fn credentials(address: &str, client: &Client) -> Result<Credentials, VerbError> {
    let set = |name: &str| match std::env::var(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(std::env::VarError::NotPresent) => Ok(None),
        // The error would show the token.
        Err(std::env::VarError::NotUnicode(_)) => Err(local(format!("{name} cannot be used: it is not text in UTF-8"))),
    };
    credentials_with(set(TOKEN_VARIABLE)?, set(TOKEN_HOST_VARIABLE)?, address, client.server())
}

/// A token goes to the registry that it was given for, and to no other that may ask for one.
fn credentials_with(
    token: Option<String>,
    host: Option<String>,
    address: &str,
    server: &str,
) -> Result<Credentials, VerbError> {
    let Some(token) = token else { return Ok(Credentials::Docker { config: None }) };
    if let Some(host) = &host {
        // Looked at by itself, so that what is wrong with it is not said of the registry.
        Credentials::with_token_of(host, String::new(), host)
            .map_err(|error| local(format!("{TOKEN_HOST_VARIABLE} cannot be used: {error}")))?;
    }
    Credentials::with_token_of(host.as_deref().unwrap_or(server), token, address).map_err(local)
}

/// A package in a registry outside the cluster: `oci://registry.example/acme/greeter:1.0.0`, also by digest, or without a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outside {
    pub(super) address: String,
    pub(super) repository: Repository,
    pub(super) version: Option<Reference>,
}

impl Outside {
    /// Reads what follows `oci://`.
    pub(super) fn parse(text: &str) -> Result<Self, VerbError> {
        let wrong =
            || local(format!("'{OCI}{text}' is no package: write it as {OCI}registry.example/acme/greeter:1.0.0"));
        let (address, rest) = text.split_once('/').ok_or_else(wrong)?;
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse::<Digest>().map_err(local)?)),
            None => (rest, None),
        };
        let (repository, tag) = match rest.split_once(':') {
            Some((repository, tag)) => (repository, Some(Tag::of_version(tag).map_err(local)?)),
            None => (rest, None),
        };
        let version = digest.map(Reference::Digest).or(tag.map(Reference::Tag));
        Ok(Outside { address: address.to_owned(), repository: repository.parse().map_err(local)?, version })
    }
}

/// What a package was found as.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Found {
    /// What the node has of it.
    #[serde(flatten)]
    pub(super) package: PackageSummary,
    /// Where it came from, for people.
    pub(super) from: String,
}

/// Finds a package and has the node keep it.
pub(super) async fn fetch(client: &Client, text: &str, lock: Option<&Path>) -> Result<Found, VerbError> {
    if is_file(text) {
        return Ok(Found { package: upload_file(client, text).await?, from: text.to_owned() });
    }
    if let Some(outside) = text.strip_prefix(OCI) {
        let outside = Outside::parse(outside)?;
        let registry =
            Registry::connect(&outside.address, credentials(&outside.address, client)?).await.map_err(local)?;
        let resolved = registry.resolve(&outside.repository, outside.version.as_ref()).await.map_err(local)?;
        // Under this name the lock knows it, wherever its registry is.
        let name = PackageReference { repository: outside.repository, version: outside.version };
        return fetch_from(client, &registry, &resolved, &name, lock).await;
    }
    let name: PackageReference = text.parse().map_err(local)?;
    if lock.is_some() && name.version.is_none() {
        return Err(local(format!("a lock is of versions: name one, such as {name}@1.0.0")));
    }
    let absent = match from_cluster(client, &name, lock).await {
        Err(VerbError::Client(ClientError::Refused(error))) if error.code == AdminErrorCode::NotFound => error,
        found => return found,
    };
    let mut looked = Vec::new();
    for source in read()? {
        let Some(repository) = source.repository(&name.repository)? else { continue };
        let registry =
            Registry::connect(&source.address, credentials(&source.address, client)?).await.map_err(local)?;
        match registry.resolve(&repository, name.version.as_ref()).await {
            Ok(resolved) => return fetch_from(client, &registry, &resolved, &name, lock).await,
            Err(RegistryError::NotFound { .. }) => looked.push(format!("{}/{repository}", source.address)),
            Err(error) => return Err(local(error)),
        }
    }
    if looked.is_empty() {
        return Err(ClientError::Refused(absent).into());
    }
    Err(local(format!("{}, nor at {}: see recoilctl registry list", absent.message, looked.join(", "))))
}

async fn from_cluster(client: &Client, name: &PackageReference, lock: Option<&Path>) -> Result<Found, VerbError> {
    let request = serde_json::to_vec(&PullRequest { name: name.to_string() }).map_err(local)?;
    let package: PackageSummary = client.post("/v1/packages/pull", request).await?;
    if let Some(artifact) = &package.artifact {
        let manifest = artifact.parse().map_err(local)?;
        check_lock(lock, name, client.server(), &manifest, &package.digest.to_string().parse().map_err(local)?)?;
    }
    Ok(Found { package, from: format!("{name} in the cluster's registry") })
}

async fn fetch_from(
    client: &Client,
    registry: &Registry,
    resolved: &Resolved,
    name: &PackageReference,
    lock: Option<&Path>,
) -> Result<Found, VerbError> {
    let progress = Progress::new("fetching");
    let archive = registry.pull(resolved, &|done, total| progress.show(done, total)).await.map_err(local)?;
    drop(progress);
    // The layer may be named by another algorithm than the one that names packages.
    let component = Algorithm::Sha256.digest(&archive);
    check_lock(lock, name, registry.address(), &resolved.digest, &component)?;
    let from = format!("{}/{resolved}", registry.address());
    recoil_package::read(&archive).map_err(|error| local(format!("{from} is not a package: {error}")))?;
    Ok(Found { package: upload(client, archive.into()).await?, from })
}

/// Compares with what was installed before, and remembers it.
fn check_lock(
    lock: Option<&Path>,
    name: &PackageReference,
    registry: &str,
    manifest: &Digest,
    component: &Digest,
) -> Result<(), VerbError> {
    let Some(path) = lock else { return Ok(()) };
    let mut known = Lock::read(path).map_err(local)?;
    known.check(name, registry, manifest, component).map_err(local)?;
    known.write(path).map_err(local)
}

/// Names have no dots before a version, and do not begin with one or with a slash.
pub(super) fn is_file(text: &str) -> bool {
    !text.starts_with(OCI) && (text.starts_with(['.', '/', '~']) || text.ends_with(".wasm"))
}

async fn upload_file(client: &Client, path: &str) -> Result<PackageSummary, VerbError> {
    let archive = read_archive(Path::new(path)).await.map_err(|why| local(format!("cannot install {path}: {why}")))?;
    upload(client, archive).await
}

/// A package file, checked. Fails with why it cannot be used.
pub(super) async fn read_archive(path: &Path) -> Result<Bytes, String> {
    let size = tokio::fs::metadata(path).await.map_err(|error| error.to_string())?.len();
    let limit = recoil_package::ARCHIVE_BYTES_MAX;
    if size > limit as u64 {
        return Err(format!("it has {size} bytes, and a package may have {limit}"));
    }
    let archive = tokio::fs::read(path).await.map_err(|error| error.to_string())?;
    // The node checks it too; here the answer comes before 64 MiB were sent.
    recoil_package::read(&archive).map_err(|error| error.to_string())?;
    Ok(archive.into())
}

async fn upload(client: &Client, archive: Bytes) -> Result<PackageSummary, VerbError> {
    Ok(client.post("/v1/packages", archive).await?)
}

const SPIN_EVERY: Duration = Duration::from_millis(200);

/// A bar that shows how far something is, on a terminal, once it has taken a while.
pub(super) struct Progress(ProgressBar);

impl Progress {
    pub(super) fn new(what: &'static str) -> Self {
        // Draws nothing where stderr is no terminal.
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let style =
            ProgressStyle::with_template("{prefix} [{bar:40}] {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
        bar.set_prefix(what);
        Progress(bar)
    }

    /// Something whose end is not known: that it goes on is shown.
    pub(super) fn waiting(what: &'static str) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.set_style(ProgressStyle::default_spinner());
        bar.set_message(what);
        bar.enable_steady_tick(SPIN_EVERY);
        Progress(bar)
    }

    pub(super) fn show(&self, done: u64, total: u64) {
        self.0.set_length(total);
        self.0.set_position(done);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_a_file_a_name_or_a_registrys() {
        for file in ["./a.wasm", "a.wasm", "/a", "../b/c"] {
            assert!(is_file(file), "{file}");
        }
        for other in ["redis-server", "acme/greeter@1.0.0", "oci://h/a/b:1.0.0"] {
            assert!(!is_file(other), "{other}");
        }
        let outside = Outside::parse("localhost:5000/acme/greeter:1.0.0").unwrap();
        assert_eq!((outside.address.as_str(), outside.repository.as_str()), ("localhost:5000", "acme/greeter"));
        assert_eq!(outside.version.map(|version| version.to_string()).as_deref(), Some("1.0.0"));
        let digest = Algorithm::Sha256.digest(b"");
        let by_digest = Outside::parse(&format!("h/a/b:1.0.0@{digest}")).unwrap();
        assert_eq!(by_digest.version, Some(Reference::Digest(digest)), "the digest says more than the tag");
        let built = Outside::parse("h/a/b:1.0.0+build.5").unwrap();
        assert_eq!(built.version.map(|version| version.to_string()).as_deref(), Some("1.0.0_build.5"));
        for wrong in ["h", "h/A", "h/a:.x", "h/a@sha256:1"] {
            assert!(Outside::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_token_goes_to_the_registry_that_it_was_given_for() {
        let goes = |host: Option<&str>, address: &str| {
            let token = Some("secret".to_owned());
            let credentials = credentials_with(token, host.map(str::to_owned), address, "localhost:7400").unwrap();
            credentials == Credentials::Token("secret".to_owned())
        };
        assert!(goes(None, "localhost:7400") && !goes(None, "registry.example") && !goes(None, "localhost:5000"));
        let host = Some("registry.example");
        assert!(goes(host, "registry.example") && !goes(host, "mirror.example") && !goes(host, "localhost:7400"));
        let wrong = credentials_with(Some("secret".to_owned()), Some("https://h".to_owned()), "h", "localhost:7400");
        let wrong = wrong.unwrap_err().to_string();
        assert!(
            wrong.contains(TOKEN_HOST_VARIABLE) && wrong.contains("scheme") && !wrong.contains("secret"),
            "{wrong}"
        );
        let none = credentials_with(None, Some("https://h".to_owned()), "h", "localhost:7400").unwrap();
        assert_eq!(none, Credentials::Docker { config: None });
    }

    #[test]
    fn a_registry_is_asked_for_its_namespaces_below_its_prefix() {
        let text =
            "[[registry]]\naddress = 'h'\nprefix = 'teams/x'\nnamespaces = ['acme']\n[[registry]]\naddress = 'i:1'\n";
        let file: File = toml::from_str(text).unwrap();
        let at = |source: &Source, name: &str| source.repository(&name.parse().unwrap()).unwrap().map(String::from);
        assert_eq!(at(&file.registries[0], "acme/greeter").as_deref(), Some("teams/x/acme/greeter"));
        assert_eq!(at(&file.registries[0], "other/greeter"), None);
        assert_eq!(at(&file.registries[1], "other/greeter").as_deref(), Some("other/greeter"));
        assert!(toml::from_str::<File>("[[registry]]\nadress = 'h'\n").is_err());
    }
}
