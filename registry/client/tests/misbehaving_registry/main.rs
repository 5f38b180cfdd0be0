//! The client against a registry that does what registries and networks do wrong.

mod fake;
mod protocol;
mod signing_in;

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use fake::{Fake, Wants};
use recoil_oci::{Artifact, Descriptor, Reference, Repository, Tag};
use recoil_package::{ARCHIVE_BYTES_MAX, Manifest};
use recoil_registry_client::{Credentials, Registry, RegistryError, Resolved};

/// `Basic` and the text of `token:secret`.
const BASIC: &str = "Basic dG9rZW46c2VjcmV0";
const SIZE: usize = 300_000;

fn repository() -> Repository {
    "acme/greeter".parse().unwrap()
}

fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

fn version(text: &str) -> Option<Reference> {
    Some(text.parse().unwrap())
}

fn no_progress(_: u64, _: u64) {}

/// `operation`, which does not compile unless every thread may run it.
fn on_any_thread<O: Future + Send>(operation: O) -> O {
    operation
}

/// A package of some size, and what is pushed for it.
fn package(version: &str) -> (Bytes, Artifact) {
    let text = format!(r#"{{"name": "greeter", "version": "{version}"}}"#);
    let manifest = Manifest::from_json(text.as_bytes()).unwrap();
    let mut component = b"\0asm\x0d\0\x01\0".to_vec();
    // A custom section without a name, whose length takes three bytes of LEB128.
    let length = SIZE as u32;
    component.extend([0, (length & 0x7f) as u8 | 0x80, (length >> 7 & 0x7f) as u8 | 0x80, (length >> 14) as u8]);
    component.extend((0..SIZE).map(|index| if index == 0 { 0 } else { (index / 256) as u8 ^ index as u8 }));
    let archive = recoil_package::embed(&component, &manifest).unwrap();
    let artifact = recoil_oci::artifact(&archive, Some(&manifest), "greeter.wasm", None, &BTreeMap::new()).unwrap();
    (archive.into(), artifact)
}

async fn client(fake: &Fake, credentials: Credentials) -> Registry {
    on_any_thread(Registry::connect(&fake.address(), credentials)).await.unwrap()
}

/// A registry that has version 1.0.0, the bytes of it, and a client.
async fn with_package() -> (Fake, Registry, Bytes) {
    let fake = Fake::start().await;
    let (archive, artifact) = package("1.0.0");
    {
        let mut state = fake.state();
        state.blobs.insert(artifact.config_digest.to_string(), artifact.config.into());
        state.blobs.insert(artifact.layer_digest.to_string(), archive.clone());
        let manifest = Bytes::from(artifact.manifest);
        state.manifests.insert(artifact.manifest_digest.to_string(), manifest.clone());
        state.manifests.insert("1.0.0".to_owned(), manifest);
    }
    let client = client(&fake, Credentials::Anonymous).await;
    (fake, client, archive)
}

async fn resolved(client: &Registry) -> Resolved {
    client.resolve(&repository(), version("1.0.0").as_ref()).await.unwrap()
}

/// The requests for the component, as the registry saw them.
fn pulls(fake: &Fake) -> Vec<String> {
    let state = fake.state();
    let of_blobs = state.requests_with("GET").into_iter().filter(|request| request.contains("/blobs/"));
    of_blobs.map(|request| request.split_once("sha256:").unwrap().1[64..].trim().to_owned()).collect()
}

#[tokio::test]
async fn a_name_is_looked_at_and_its_component_pulled() {
    let (fake, client, archive) = with_package().await;
    let by_tag = client.resolve(&repository(), version("1.0.0").as_ref()).await.unwrap();
    let by_digest = client.resolve(&repository(), version(by_tag.digest.as_str()).as_ref()).await.unwrap();
    let newest = on_any_thread(client.resolve(&repository(), None)).await.unwrap();
    assert_eq!(newest, by_tag);
    assert_eq!((by_tag.tag.as_ref(), by_digest.tag.as_ref()), (Some(&tag("1.0.0")), None));
    assert_eq!(by_digest, Resolved { tag: None, ..by_tag.clone() });
    assert_eq!(by_tag.annotations["org.opencontainers.image.version"], "1.0.0");
    let told = Mutex::new(Vec::new());
    let pulled = client.pull(&by_tag, &|done, total| told.lock().unwrap().push((done, total))).await.unwrap();
    assert_eq!(pulled, archive);
    let told = told.into_inner().unwrap();
    assert!(told.is_sorted(), "{told:?}");
    assert_eq!(told.last(), Some(&(archive.len() as u64, archive.len() as u64)));
    assert_eq!(pulls(&fake), [""]);
}

#[tokio::test]
async fn a_broken_connection_is_continued_where_it_broke() {
    let (fake, client, archive) = with_package().await;
    let resolved = resolved(&client).await;
    // More often than attempts that bring nothing are made.
    fake.state().cuts = vec![30_000; 8];
    assert_eq!(on_any_thread(client.pull(&resolved, &no_progress)).await.unwrap(), archive);
    let mut expected: Vec<String> = (1..=8).map(|cut| format!("bytes={}-", cut * 30_000)).collect();
    expected.insert(0, String::new());
    assert_eq!(pulls(&fake), expected);
}

#[tokio::test]
async fn a_registry_that_cannot_continue_begins_anew() {
    let (fake, client, archive) = with_package().await;
    let resolved = resolved(&client).await;
    fake.state().cuts = vec![100_000];
    fake.state().knows_no_ranges = true;
    assert_eq!(client.pull(&resolved, &no_progress).await.unwrap(), archive);
    assert_eq!(pulls(&fake), ["", "bytes=100000-"]);
}

#[tokio::test]
async fn attempts_that_bring_nothing_come_to_an_end() {
    let (fake, client, _) = with_package().await;
    let resolved = resolved(&client).await;
    fake.state().cuts = [vec![0; 10], vec![100_000]].concat();
    let error = client.pull(&resolved, &no_progress).await.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("after 100000 of"), "{error}");
    assert_eq!(pulls(&fake), ["", "bytes=100000-", "bytes=100000-", "bytes=100000-", "bytes=100000-"]);
}

#[tokio::test]
async fn bytes_that_are_not_those_of_the_digest_are_not_handed_out() {
    let (fake, client, archive) = with_package().await;
    let resolved = resolved(&client).await;
    let name = resolved.layer.digest.to_string();
    let mut wrong = archive.to_vec();
    wrong[200_000] ^= 1;
    let more = [&archive[..], b"x"].concat();
    let cases = [
        ("as many", wrong, "and not sha256:"),
        ("more", more, "it has more than"),
        ("fewer", archive[..200_000].to_vec(), "416"),
    ];
    for (case, bytes, why) in cases {
        fake.state().blobs.insert(name.clone(), bytes.into());
        let error = client.pull(&resolved, &no_progress).await.unwrap_err();
        assert!(matches!(error, RegistryError::Damaged { .. }), "{case}: {error}");
        assert!(error.to_string().contains(why), "{case}: {error}");
    }
    fake.state().blobs.insert(name, archive.clone());
    assert_eq!(client.pull(&resolved, &no_progress).await.unwrap(), archive, "nothing wrong is kept");
}

#[tokio::test]
async fn bytes_that_come_in_pieces_are_checked_as_a_whole() {
    let (fake, client, archive) = with_package().await;
    let resolved = resolved(&client).await;
    let mut wrong = archive.to_vec();
    wrong[0] ^= 1;
    fake.state().blobs.insert(resolved.layer.digest.to_string(), wrong.into());
    fake.state().cuts = vec![100_000];
    let error = client.pull(&resolved, &no_progress).await.unwrap_err();
    assert!(matches!(error, RegistryError::Damaged { .. }), "{error}");
}

#[tokio::test]
async fn what_is_too_large_is_not_asked_for() {
    let (fake, client, _) = with_package().await;
    let resolved = resolved(&client).await;
    let layer = Descriptor { size: ARCHIVE_BYTES_MAX as u64 + 1, ..resolved.layer.clone() };
    let error = client.pull(&Resolved { layer, ..resolved }, &no_progress).await.unwrap_err();
    assert!(matches!(error, RegistryError::Unsuitable { .. }), "{error}");
    assert_eq!(pulls(&fake), [""; 0]);
}

#[tokio::test]
async fn a_manifest_that_cannot_be_a_packages_is_told() {
    let (fake, client, _) = with_package().await;
    let told = async |manifest: Bytes| {
        fake.state().manifests.insert("2.0.0".to_owned(), manifest);
        client.resolve(&repository(), None).await.unwrap_err()
    };
    let large = told(format!("{{\"x\": \"{}\"}}", "x".repeat(5 << 20)).into()).await;
    assert!(matches!(large, RegistryError::Unsuitable { .. }), "{large}");
    assert!(large.to_string().contains("its manifest has more than the 4194304 bytes"), "{large}");
    let index = told(r#"{"schemaVersion": 2, "manifests": []}"#.into()).await;
    assert!(matches!(index, RegistryError::Unsuitable { .. }), "{index}");
}

#[tokio::test]
async fn a_manifest_that_is_not_that_of_the_digest_is_refused() {
    let (fake, client, _) = with_package().await;
    let resolved = resolved(&client).await;
    fake.state().manifests.insert(resolved.digest.to_string(), "{}".into());
    let error = client.resolve(&repository(), version(resolved.digest.as_str()).as_ref()).await.unwrap_err();
    assert!(matches!(error, RegistryError::Damaged { .. }), "{error}");
}

#[tokio::test]
async fn a_registry_that_is_busy_is_asked_again() {
    let (fake, client, archive) = with_package().await;
    // The client asks `/v2/` first, and only once.
    fake.state().unavailable = 4;
    let resolved = resolved(&client).await;
    assert_eq!(fake.state().requests_with("GET").len(), 1);
    fake.state().unavailable = 4;
    assert_eq!(client.pull(&resolved, &no_progress).await.unwrap(), archive);
    fake.state().unavailable = 100;
    let error = client.tags(&repository()).await.unwrap_err();
    assert!(matches!(error, RegistryError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("come back later"), "{error}");
}

#[tokio::test]
async fn what_a_refusal_of_a_blob_says_is_not_read_without_end() {
    let (fake, client, _) = with_package().await;
    let resolved = resolved(&client).await;
    for (status, expected) in [(403, "docker login"), (404, "has no the component"), (400, "HTTP status 400")] {
        fake.state().refuses_blobs = Some((status, 128 << 20));
        let error = client.pull(&resolved, &no_progress).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{status}: {error}");
        let made = fake.state().refusal_bytes.swap(0, Ordering::Relaxed);
        assert!(made < 64 << 20, "{status}: {made} bytes were taken");
    }
}

#[tokio::test]
async fn a_registry_that_is_not_there_is_told() {
    let fake = Fake::start().await;
    let address = fake.address();
    drop(fake);
    let client = Registry::connect(&address, Credentials::Anonymous).await.unwrap();
    let error = client.tags(&repository()).await.unwrap_err();
    assert!(matches!(error, RegistryError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains(&address), "{error}");
}

#[tokio::test]
async fn what_is_not_there_is_told() {
    let (fake, client, _) = with_package().await;
    let missing = [
        client.resolve(&repository(), version("3.0.0").as_ref()).await.unwrap_err(),
        client.resolve(&"acme/other".parse().unwrap(), None).await.unwrap_err(),
    ];
    for error in missing {
        assert!(matches!(error, RegistryError::NotFound { .. }), "{error}");
    }
    let manifest = fake.state().manifests.remove("1.0.0").unwrap();
    fake.state().manifests.insert("latest".to_owned(), manifest);
    let error = client.resolve(&repository(), None).await.unwrap_err();
    assert!(matches!(error, RegistryError::NotFound { .. }), "{error}");
    assert!(error.to_string().contains("(its tags: latest)"), "{error}");
}

#[tokio::test]
async fn a_package_is_pushed_once() {
    let fake = Fake::start().await;
    let client = client(&fake, Credentials::Anonymous).await;
    let (archive, artifact) = package("1.0.0");
    let size = (archive.len() + artifact.config.len()) as u64;
    let told = Mutex::new(Vec::new());
    let push = async |name: &str| {
        let progress = |done, total| told.lock().unwrap().push((done, total));
        client.push(&repository(), &tag(name), &artifact, archive.clone(), false, &progress).await.unwrap()
    };
    let first = push("1.0.0").await;
    assert_eq!((first.sent_bytes, first.was_there), (size, false));
    assert_eq!(first.digest, artifact.manifest_digest);
    {
        let told = told.lock().unwrap();
        assert!(told.is_sorted() && told[0].0 < size, "{told:?}");
        assert_eq!(told.last(), Some(&(size, size)));
    }
    assert_eq!(fake.state().blobs[artifact.layer_digest.as_str()], archive);
    assert_eq!(fake.state().blobs[artifact.config_digest.as_str()], artifact.config);
    assert_eq!(fake.state().manifests["1.0.0"], artifact.manifest);

    fake.state().requests.clear();
    let again = push("1.0.0").await;
    assert_eq!((again.sent_bytes, again.was_there), (0, true));
    assert_eq!(fake.state().requests, ["HEAD /v2/acme/greeter/manifests/1.0.0"]);

    fake.state().requests.clear();
    let other = push("1.0").await;
    assert_eq!((other.sent_bytes, other.was_there), (0, false));
    assert_eq!(fake.state().requests_with("POST"), [""; 0]);
    assert_eq!(fake.state().requests_with("PUT"), ["PUT /v2/acme/greeter/manifests/1.0"]);
}

#[tokio::test]
async fn only_what_is_missing_is_sent() {
    let (fake, client, archive) = with_package().await;
    let (_, artifact) = package("1.0.0");
    fake.state().blobs.remove(artifact.config_digest.as_str());
    fake.state().manifests.clear();
    let (repository, tag) = (repository(), tag("1.0.0"));
    let push = client.push(&repository, &tag, &artifact, archive, false, &no_progress);
    let pushed = on_any_thread(push).await.unwrap();
    assert_eq!(pushed.sent_bytes, artifact.config.len() as u64);
    assert_eq!(fake.state().requests_with("POST").len(), 1);
    assert_eq!(fake.state().blobs[artifact.config_digest.as_str()], artifact.config);
}

#[tokio::test]
async fn a_version_does_not_change_its_meaning_unless_that_is_wanted() {
    let (fake, client, _) = with_package().await;
    let (archive, artifact) = package("2.0.0");
    let before = fake.state().manifests["1.0.0"].clone();
    let push = async |replace| {
        client.push(&repository(), &tag("1.0.0"), &artifact, archive.clone(), replace, &no_progress).await
    };
    let error = push(false).await.unwrap_err();
    assert!(matches!(error, RegistryError::Exists { .. }), "{error}");
    assert!(error.to_string().contains(artifact.manifest_digest.as_str()), "{error}");
    assert_eq!(fake.state().manifests["1.0.0"], before);
    assert_eq!(fake.state().requests_with("POST"), [""; 0]);
    push(true).await.unwrap();
    assert_eq!(fake.state().manifests["1.0.0"], artifact.manifest);
}

#[tokio::test]
async fn a_push_is_tried_again_while_the_registry_is_busy() {
    let fake = Fake::start().await;
    let client = client(&fake, Credentials::Anonymous).await;
    let (archive, artifact) = package("1.0.0");
    // In the middle of it: while the config is sent.
    let begun = AtomicBool::new(false);
    let progress = |_, _| {
        if !begun.swap(true, Ordering::Relaxed) {
            fake.state().unavailable = 3;
        }
    };
    client.push(&repository(), &tag("1.0.0"), &artifact, archive.clone(), false, &progress).await.unwrap();
    assert_eq!((begun.into_inner(), fake.state().unavailable), (true, 0));
    assert_eq!(fake.state().blobs[artifact.layer_digest.as_str()], archive);
    assert_eq!(fake.state().manifests["1.0.0"], artifact.manifest);
}

#[tokio::test]
async fn a_registry_that_forgets_what_it_took_is_told() {
    let fake = Fake::start().await;
    fake.state().forgets_manifests = true;
    let client = client(&fake, Credentials::Anonymous).await;
    let (archive, artifact) = package("1.0.0");
    let error = client.push(&repository(), &tag("1.0.0"), &artifact, archive, false, &no_progress).await.unwrap_err();
    assert!(matches!(error, RegistryError::Damaged { .. }), "{error}");
}

/// The environment is the whole process's: another one runs a test of this file.
#[test]
fn no_proxy_is_used_on_this_machine() {
    let nothing_listens = "http://127.0.0.1:1";
    let other = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_name_is_looked_at_and_its_component_pulled"])
        .env("HTTP_PROXY", nothing_listens)
        .env("http_proxy", nothing_listens)
        .env("ALL_PROXY", nothing_listens)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&other.stdout);
    assert!(other.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test]
async fn what_is_no_address_is_refused() {
    for connected in [
        Registry::connect("http://localhost:5000", Credentials::Anonymous).await,
        Registry::connect_plain("a/b", Credentials::Anonymous).await,
    ] {
        assert!(matches!(connected.unwrap_err(), RegistryError::BadAddress { .. }));
    }
}
