//! The client against Docker's registry, which wants a password, without TLS and with it.

mod tls;

use std::collections::BTreeMap;
use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use recoil_oci::{Artifact, PackageReference, Repository, Tag};
use recoil_package::Manifest;
use recoil_registry_client::{Credentials, Lock, Pinned, Registry, RegistryError};
use tempfile::TempDir;

/// The user `builder` with the password `open-sesame`.
const HTPASSWD: &str = "builder:$2b$05$abcdefghijklmnopqrstuutXu9KzOt.1yBoZUeFWoT/914/JfszCO\n";
/// The same, as `docker login` writes it: the text of `builder:open-sesame`.
const DOCKER_AUTH: &str = "YnVpbGRlcjpvcGVuLXNlc2FtZQ==";

/// Docker's registry, until it is dropped.
struct DockerRegistry {
    folder: TempDir,
    address: String,
    process: Child,
}

impl DockerRegistry {
    /// Over plain HTTP.
    async fn start() -> Self {
        DockerRegistry::start_with(None).await
    }

    /// With the certificate and the key that are given, over TLS.
    async fn start_with(certificate: Option<(String, String)>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let config = write_config(folder.path(), &address, certificate);
        let log = File::create(folder.path().join("log")).unwrap();
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("cannot start docker-registry: {error}; install it: apt-get install docker-registry")
            });
        let mut registry = DockerRegistry { folder, address, process };
        registry.wait_until_ready().await;
        registry
    }

    async fn wait_until_ready(&mut self) {
        for _ in 0..300 {
            if tokio::net::TcpStream::connect(&self.address).await.is_ok() {
                return;
            }
            if let Some(status) = self.process.try_wait().unwrap() {
                panic!("docker-registry ended with {status}: {}", self.log());
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!("docker-registry does not answer: {}", self.log());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// As after `docker login`, or without any.
    async fn client(&self, auth: Option<&str>) -> Registry {
        self.client_of(&self.address, auth).await.unwrap()
    }

    /// The same, by another of its addresses.
    async fn client_of(&self, address: &str, auth: Option<&str>) -> Result<Registry, RegistryError> {
        let folder = self.folder.path().join("docker");
        std::fs::create_dir_all(&folder).unwrap();
        let auths = auth.map(|auth| format!(r#""{address}": {{"auth": "{auth}"}}"#)).unwrap_or_default();
        std::fs::write(folder.join("config.json"), format!(r#"{{"auths": {{{auths}}}}}"#)).unwrap();
        Registry::connect(address, Credentials::Docker { config: Some(folder) }).await
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn write_config(folder: &Path, address: &str, certificate: Option<(String, String)>) -> std::path::PathBuf {
    let htpasswd = folder.join("htpasswd");
    std::fs::write(&htpasswd, HTPASSWD).unwrap();
    let tls = certificate.map(|(certificate, key)| {
        let write = |name: &str, text: String| {
            std::fs::write(folder.join(name), text).unwrap();
            folder.join(name).display().to_string()
        };
        let (certificate, key) = (write("registry.crt", certificate), write("registry.key", key));
        format!("  tls:\n    certificate: {certificate}\n    key: {key}\n")
    });
    let config = folder.join("config.yml");
    let text = format!(
        "version: 0.1\n\
         storage:\n  filesystem:\n    rootdirectory: {}\n\
         http:\n  addr: {address}\n{}\
         auth:\n  htpasswd:\n    realm: test\n    path: {}\n",
        folder.join("contents").display(),
        tls.unwrap_or_default(),
        htpasswd.display()
    );
    std::fs::write(&config, text).unwrap();
    config
}

fn package(version: &str) -> (Bytes, Artifact) {
    let text = format!(r#"{{"name": "greeter", "version": "{version}", "license": "Apache-2.0"}}"#);
    let manifest = Manifest::from_json(text.as_bytes()).unwrap();
    let archive = recoil_package::embed(b"\0asm\x0d\0\x01\0", &manifest).unwrap();
    let artifact = recoil_oci::artifact(&archive, Some(&manifest), "greeter.wasm", None, &BTreeMap::new()).unwrap();
    (archive.into(), artifact)
}

fn no_progress(_: u64, _: u64) {}

#[tokio::test]
async fn packages_go_there_and_come_back() {
    let registry = DockerRegistry::start().await;
    let client = registry.client(Some(DOCKER_AUTH)).await;
    let repository: Repository = "acme/greeter".parse().unwrap();
    let push = async |version: &str, tag: &str| {
        let (archive, artifact) = package(version);
        client.push(&repository, &tag.parse().unwrap(), &artifact, archive, false, &no_progress).await
    };
    for version in ["1.9.0", "1.10.0", "2.0.0-rc.1"] {
        let pushed = push(version, version).await.unwrap();
        assert!(!pushed.was_there && pushed.sent_bytes > 0, "{pushed:?}");
    }
    assert_eq!(push("1.10.0", "latest").await.unwrap().sent_bytes, 0, "it is there under another tag");
    assert!(push("1.10.0", "latest").await.unwrap().was_there);
    let error = push("1.9.0", "latest").await.unwrap_err();
    assert!(matches!(error, RegistryError::Exists { .. }), "{error}");

    let tags: Vec<Tag> = ["1.10.0", "1.9.0", "2.0.0-rc.1", "latest"].map(|tag| tag.parse().unwrap()).into();
    assert_eq!(client.tags(&repository).await.unwrap(), tags);
    let (archive, artifact) = package("1.10.0");
    let newest = client.resolve(&repository, None).await.unwrap();
    assert_eq!((newest.tag.as_ref(), &newest.digest), (Some(&tags[0]), &artifact.manifest_digest));
    assert_eq!(newest.layer.digest, artifact.layer_digest);
    assert_eq!(client.pull(&newest, &no_progress).await.unwrap(), archive);

    let error = client.resolve(&repository, Some(&"3.0.0".parse().unwrap())).await.unwrap_err();
    assert!(matches!(error, RegistryError::NotFound { .. }), "{error}");
    let error = client.tags(&"acme/other".parse().unwrap()).await.unwrap_err();
    assert!(matches!(error, RegistryError::NotFound { .. }), "{error}");

    let mut lock = Lock::default();
    let reference: PackageReference = "acme/greeter@1.10.0".parse().unwrap();
    for pinned in [Pinned::New, Pinned::Same] {
        let checked = lock.check(&reference, client.address(), &newest.digest, &newest.layer.digest).unwrap();
        assert_eq!(checked, pinned);
    }
}

#[tokio::test]
async fn who_has_not_logged_in_does_not_get_in() {
    let registry = DockerRegistry::start().await;
    let repository: Repository = "acme/greeter".parse().unwrap();
    // The second is the text of `builder:wrong`.
    for auth in [None, Some("YnVpbGRlcjp3cm9uZw==")] {
        let client = registry.client(auth).await;
        let (archive, artifact) = package("1.0.0");
        let pushed = client.push(&repository, &"1.0.0".parse().unwrap(), &artifact, archive, false, &no_progress).await;
        for error in [pushed.unwrap_err(), client.tags(&repository).await.unwrap_err()] {
            assert!(matches!(error, RegistryError::Unauthorized { .. }), "{auth:?}: {error}");
            assert!(error.to_string().contains(&format!("docker login {}", registry.address)), "{error}");
        }
    }
}
