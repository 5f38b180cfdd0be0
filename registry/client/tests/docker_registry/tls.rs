//! Over TLS: who is believed, who is not, and what is said then.

use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use recoil_oci::Repository;
use recoil_registry_client::{Credentials, Pushed, Registry, RegistryError};

use crate::{DOCKER_AUTH, DockerRegistry, no_progress, package};

/// Says that a process has the environment that these tests want, and where its home is.
const HOME_OF_TEST: &str = "RECOIL_TEST_HOME";

/// The home of a test that may write into it. The environment is the whole process's, so another process runs the test that has the
/// given name; there is none for the one that started it, whose part is done then.
fn home(test: &str) -> Option<PathBuf> {
    if let Some(home) = std::env::var_os(HOME_OF_TEST) {
        return Some(home.into());
    }
    let home = tempfile::tempdir().unwrap();
    let mut other = Command::new(std::env::current_exe().unwrap());
    other.args(["--exact", &format!("tls::{test}")]);
    for proxy in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "XDG_CONFIG_HOME", "SSL_CERT_DIR"] {
        other.env_remove(proxy);
    }
    std::fs::write(of_system(home.path()), authority("Somebody").pem()).unwrap();
    other.env("HOME", home.path()).env(HOME_OF_TEST, home.path()).env("SSL_CERT_FILE", of_system(home.path()));
    let output = other.output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    None
}

/// The certificates of the system, as this process is told.
fn of_system(home: &Path) -> PathBuf {
    home.join("system.crt")
}

/// Has Docker, which runs without root, believe `text` for a registry.
fn believe(home: &Path, address: &str, text: &str) {
    let folder = home.join(".config/docker/certs.d").join(address);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("ca.crt"), text).unwrap();
}

/// A new one each time, whatever its name.
fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut wanted = CertificateParams::new([]).unwrap();
    wanted.distinguished_name.push(DnType::CommonName, name);
    wanted.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(wanted, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for `name`, and its key.
fn certificate(name: &str, authority: &CertifiedIssuer<'static, KeyPair>) -> (String, String) {
    changed_certificate(name, authority, |_| {})
}

fn changed_certificate(
    name: &str,
    authority: &CertifiedIssuer<'static, KeyPair>,
    change: impl Fn(&mut CertificateParams),
) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut wanted = CertificateParams::new([name.to_owned()]).unwrap();
    change(&mut wanted);
    (wanted.signed_by(&key, authority).unwrap().pem(), key.serialize_pem())
}

fn repository() -> Repository {
    "acme/greeter".parse().unwrap()
}

async fn push(client: &Registry) -> Result<Pushed, RegistryError> {
    let (archive, artifact) = package("1.0.0");
    client.push(&repository(), &"1.0.0".parse().unwrap(), &artifact, archive, false, &no_progress).await
}

async fn pull(client: &Registry) -> Result<Bytes, RegistryError> {
    let found = client.resolve(&repository(), None).await?;
    Ok(client.pull(&found, &no_progress).await?.into())
}

/// The machine itself, by an address that the client does not know to be that, so that it speaks TLS whatever it believes.
fn from_elsewhere(registry: &DockerRegistry) -> String {
    registry.address.replace("127.0.0.1", "127.1")
}

/// What a registry is told that has no reason to be believed; `why` and `remedy` are parts of it.
async fn assert_untrusted(registry: &DockerRegistry, why: &str, remedy: &str) {
    let client = registry.client_of(&from_elsewhere(registry), Some(DOCKER_AUTH)).await.unwrap();
    for error in [push(&client).await.unwrap_err(), pull(&client).await.unwrap_err()] {
        assert!(matches!(error, RegistryError::Untrusted { .. }) && !error.is_retryable(), "{error}");
        let said = error.to_string();
        assert!(said.starts_with(&from_elsewhere(registry)) && said.contains(why) && said.contains(remedy), "{said}");
    }
}

#[tokio::test]
async fn packages_go_there_and_come_back_over_tls() {
    let Some(home) = home("packages_go_there_and_come_back_over_tls") else { return };
    let authority = authority("Acme");
    let registry = DockerRegistry::start_with(Some(certificate("127.0.0.1", &authority))).await;
    // On this machine, believing someone is what says that TLS is spoken.
    for address in [&registry.address, &from_elsewhere(&registry)] {
        believe(&home, address, &authority.pem());
    }
    let nobody = registry.client(None).await;
    for error in [push(&nobody).await.unwrap_err(), pull(&nobody).await.unwrap_err()] {
        assert!(matches!(error, RegistryError::Unauthorized { .. }), "{error}");
    }
    let client = registry.client(Some(DOCKER_AUTH)).await;
    assert!(push(&client).await.unwrap().sent_bytes > 0);
    let elsewhere = registry.client_of(&from_elsewhere(&registry), Some(DOCKER_AUTH)).await.unwrap();
    assert!(push(&elsewhere).await.unwrap().was_there);
    for client in [client, elsewhere] {
        assert_eq!(pull(&client).await.unwrap(), package("1.0.0").0);
    }
}

#[tokio::test]
async fn who_the_system_believes_is_believed() {
    let Some(home) = home("who_the_system_believes_is_believed") else { return };
    let authority = authority("Acme");
    std::fs::write(of_system(&home), authority.pem()).unwrap();
    let registry = DockerRegistry::start_with(Some(certificate("127.0.0.1", &authority))).await;
    let client = registry.client_of(&from_elsewhere(&registry), Some(DOCKER_AUTH)).await.unwrap();
    assert!(push(&client).await.unwrap().sent_bytes > 0);
    assert_eq!(pull(&client).await.unwrap(), package("1.0.0").0);
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_told_and_what_to_do() {
    let Some(home) = home("a_certificate_of_an_unknown_authority_is_told_and_what_to_do") else { return };
    let registry = DockerRegistry::start_with(Some(certificate("127.0.0.1", &authority("Acme")))).await;
    let remedy = format!("/etc/docker/certs.d/{}/ca.crt", from_elsewhere(&registry));
    let why = "the certificate of 127.0.0.1 is signed by an authority that this machine does not trust";
    assert_untrusted(&registry, why, &remedy).await;
    believe(&home, &from_elsewhere(&registry), &authority("Acme").pem());
    assert_untrusted(&registry, "by another of the same name", "SSL_CERT_FILE").await;
    let log = registry.log();
    assert!(!log.contains("GET /v2/"), "it was asked something: {log}");
}

#[tokio::test]
async fn a_certificate_that_is_not_the_registrys_is_told_and_what_to_do() {
    let Some(home) = home("a_certificate_that_is_not_the_registrys_is_told_and_what_to_do") else { return };
    let authority = authority("Acme");
    std::fs::write(of_system(&home), authority.pem()).unwrap();
    let other = DockerRegistry::start_with(Some(certificate("registry.example", &authority))).await;
    assert_untrusted(
        &other,
        "is not for 127.0.0.1: it is for registry.example;",
        "address the registry by a name of its",
    )
    .await;
    let old = changed_certificate("127.0.0.1", &authority, |wanted| {
        wanted.not_before = rcgen::date_time_ymd(2020, 1, 1);
        wanted.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    let old = DockerRegistry::start_with(Some(old)).await;
    assert_untrusted(&old, "the certificate of 127.0.0.1 has expired", "this machine's clock").await;
    let own = changed_certificate("127.0.0.1", &authority, |wanted| {
        wanted.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    let own = DockerRegistry::start_with(Some(own)).await;
    assert_untrusted(&own, "is that of an authority", "CA:FALSE").await;
}

#[tokio::test]
async fn a_registry_without_tls_is_told_and_what_to_do() {
    let Some(_) = home("a_registry_without_tls_is_told_and_what_to_do") else { return };
    let registry = DockerRegistry::start().await;
    assert_untrusted(&registry, "127.0.0.1 does not answer with TLS", "only localhost is spoken to without").await;
}

#[tokio::test]
async fn a_registry_on_this_machine_that_wants_tls_is_told_and_what_to_do() {
    let Some(_) = home("a_registry_on_this_machine_that_wants_tls_is_told_and_what_to_do") else { return };
    let registry = DockerRegistry::start_with(Some(certificate("127.0.0.1", &authority("Acme")))).await;
    let client = registry.client(Some(DOCKER_AUTH)).await;
    for error in [push(&client).await.unwrap_err(), pull(&client).await.unwrap_err()] {
        let said = error.to_string();
        let remedy = format!("into /etc/docker/certs.d/{}/ca.crt", registry.address);
        assert!(said.contains("it speaks TLS") && said.contains(&remedy), "{said}");
    }
}

#[tokio::test]
async fn certificates_that_cannot_be_used_are_told_before_anything_is_asked() {
    let Some(home) = home("certificates_that_cannot_be_used_are_told_before_anything_is_asked") else { return };
    believe(&home, "registry.example:5000", "nothing");
    let error = Registry::connect("registry.example:5000", Credentials::Anonymous).await.unwrap_err();
    assert!(matches!(error, RegistryError::BadCertificates { .. }), "{error}");
    assert!(
        error.to_string().contains("docker/certs.d/registry.example:5000/ca.crt: it has no certificate"),
        "{error}"
    );
    std::fs::write(of_system(&home), "").unwrap();
    believe(&home, "registry.example:5000", &authority("Acme").pem());
    let error = Registry::connect("registry.example:5000", Credentials::Anonymous).await.unwrap_err();
    assert!(matches!(error, RegistryError::NoClient { .. }), "{error}");
}
