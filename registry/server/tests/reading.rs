//! What clients read, and what is not sent to those who have it: answers of the whole server, over
//! records in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use http_body_util::{BodyExt as _, Full};
use hyper::{HeaderMap, Request};
use recoil_oci::records::{Answer, Command, Content, Link, PAGE_MAX, Part, decode, encode};
use recoil_oci::{Algorithm, Digest, Manifest, Reference};
use recoil_registry_server::{Access, Body, BodyError, Builtin, Mode, Place, Registry, Store, StoreError};

const BLOB: &[u8] = b"0123456789";
const MANIFEST: &[u8] = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json"}"#;

/// A repository with one blob, one manifest, and tags that all point to it; and nothing is written.
#[derive(Default)]
struct Memory {
    tags: BTreeSet<String>,
}

fn digest(bytes: &[u8]) -> Digest {
    Algorithm::Sha256.digest(bytes)
}

#[async_trait]
impl Store for Memory {
    async fn prepare(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn ask(&self, place: Place, request: Vec<u8>, mode: Mode) -> Result<Option<Bytes>, StoreError> {
        assert_eq!(mode, Mode::Read, "nothing here writes");
        let (command, _) = decode::<Command>(&request).map_err(StoreError::Failed)?;
        let mut attachment = &b""[..];
        let answer = match command {
            Command::Find { digest: asked, .. } if asked == digest(BLOB) => {
                let link = Link {
                    digest: asked,
                    content: "c".into(),
                    token: "t".into(),
                    size: BLOB.len() as u64,
                    since_us: 0,
                };
                Answer::Link { link }
            }
            Command::Content { id } => {
                let parts = vec![Part { id: "p".into(), bytes: BLOB.len() as u64, reserved: 1 }];
                let repository = "acme/greeter".parse().unwrap();
                let content =
                    Content { id, repository, parts, sealed: true, going: None, holds: vec![], touched_us: 0 };
                Answer::Content { content, now_us: 0 }
            }
            Command::Manifest { reference, .. } => match reference {
                Reference::Digest(asked) if asked != digest(MANIFEST) => Answer::Absent,
                Reference::Tag(tag) if !self.tags.contains(tag.as_str()) => Answer::Absent,
                _ => {
                    attachment = MANIFEST;
                    Answer::Manifest { digest: digest(MANIFEST), manifest: Manifest::parse(MANIFEST, None).unwrap() }
                }
            },
            Command::Tags { after, limit, .. } => {
                let mut rest = self.tags.iter().filter(|tag| **tag > after).cloned();
                let tags = rest.by_ref().take(limit.min(PAGE_MAX) as usize).collect();
                Answer::Tags { tags, more: rest.next().is_some() }
            }
            Command::Repositories { after } => {
                let all = if place == Place::Partition(0) { ["acme/a", "acme/c"] } else { ["acme/b", "zeta/a"] };
                Answer::Repositories {
                    names: all.iter().filter(|name| ***name > *after).map(|&name| name.into()).collect(),
                }
            }
            _ => Answer::Absent,
        };
        Ok(Some(encode(&answer, attachment).into()))
    }

    async fn put_chunk(&self, _: Vec<u8>, _: Bytes) -> Result<(), StoreError> {
        unreachable!("nothing here writes")
    }

    async fn chunk(&self, _: Vec<u8>) -> Result<Option<Bytes>, StoreError> {
        Ok(Some(Bytes::from_static(BLOB)))
    }

    async fn remove_chunks(&self, _: Vec<Vec<u8>>) -> Result<(), StoreError> {
        unreachable!("nothing here writes")
    }

    fn random(&self) -> [u8; 16] {
        [0; 16]
    }

    fn partitions(&self) -> u32 {
        2
    }

    #[allow(clippy::disallowed_methods)]
    fn background(&self, work: BoxFuture<'static, ()>) {
        drop(tokio::spawn(work));
    }
}

fn registry(tags: &[&str]) -> Registry {
    let store = Memory { tags: tags.iter().map(|&tag| tag.to_owned()).collect() };
    let builtin = Builtin::new([("greeter".to_owned(), "1.0.0".to_owned(), Bytes::from_static(b"\0asm\x0d\0\x01\0"))]);
    Registry::new(Arc::new(store), builtin, Access::new(None))
}

/// Status, headers and body of an answer.
async fn ask(registry: &Registry, method: &str, path: &str, headers: &[(&str, &str)]) -> (u16, HeaderMap, Bytes) {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body: Body = Full::new(Bytes::new()).map_err(|never| -> BodyError { match never {} }).boxed_unsync();
    let answer = registry.respond("127.0.0.1:1".parse().unwrap(), request.body(body).unwrap()).await;
    let (head, body) = answer.into_parts();
    (head.status.as_u16(), head.headers, body.collect().await.unwrap().to_bytes())
}

/// Paths with the same: a manifest by tag and digest, a blob, and those of a package that comes
/// with the node.
async fn readable(registry: &Registry) -> Vec<String> {
    let mut paths = vec![
        "/v2/acme/greeter/manifests/1.0.0".to_owned(),
        format!("/v2/acme/greeter/manifests/{}", digest(MANIFEST)),
        format!("/v2/acme/greeter/blobs/{}", digest(BLOB)),
    ];
    let builtin = "/v2/recoil/greeter/manifests/1.0.0".to_owned();
    let (status, _, manifest) = ask(registry, "GET", &builtin, &[]).await;
    assert_eq!(status, 200);
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    paths.push(format!("/v2/recoil/greeter/blobs/{}", manifest["layers"][0]["digest"].as_str().unwrap()));
    paths.push(builtin);
    paths
}

#[tokio::test]
async fn what_the_client_has_is_not_sent_again() {
    let registry = registry(&["1.0.0"]);
    for path in readable(&registry).await {
        let (status, headers, body) = ask(&registry, "GET", &path, &[]).await;
        let tag = headers["etag"].to_str().unwrap().to_owned();
        assert_eq!(status, 200, "{path}");
        assert_eq!(tag.trim_matches('"'), digest(&body).as_str(), "{path}");
        for method in ["GET", "HEAD"] {
            for has in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
                let (status, headers, body) = ask(&registry, method, &path, &[("if-none-match", &has)]).await;
                assert_eq!((status, body.len()), (304, 0), "{method} {path} {has}");
                assert_eq!(headers["etag"], tag.as_str(), "{method} {path}");
                assert!(!headers.contains_key("content-length") && !headers.contains_key("content-type"), "{path}");
            }
            let has = [("if-none-match", "\"x\""), ("if-modified-since", "Wed, 21 Oct 2099 07:28:00 GMT")];
            let (status, headers, _) = ask(&registry, method, &path, &has).await;
            assert_eq!(status, 200, "{method} {path}");
            assert_eq!(headers["content-length"], body.len().to_string().as_str(), "{method} {path}");
            assert_eq!(ask(&registry, method, &path, &[("if-match", "\"x\"")]).await.0, 412, "{method} {path}");
            // A range of what the client has is nothing either.
            assert_eq!(ask(&registry, method, &path, &[("if-none-match", &tag), ("range", "bytes=0-1")]).await.0, 304);
        }
    }
    // What is not there is so whatever the condition.
    for path in ["/v2/acme/greeter/manifests/2.0.0".to_owned(), format!("/v2/acme/greeter/blobs/{}", digest(b""))] {
        assert_eq!(ask(&registry, "GET", &path, &[("if-none-match", "*")]).await.0, 404, "{path}");
    }
}

#[tokio::test]
async fn only_a_get_has_a_range_and_only_of_what_was_begun() {
    let registry = registry(&["1.0.0"]);
    for path in readable(&registry).await.into_iter().filter(|path| path.contains("/blobs/")) {
        let (_, headers, body) = ask(&registry, "GET", &path, &[]).await;
        let (tag, length) = (headers["etag"].to_str().unwrap(), body.len().to_string());
        for headers in [&[("range", "bytes=2-4")][..], &[("range", "bytes=2-4"), ("if-range", tag)]] {
            let (status, answered, part) = ask(&registry, "GET", &path, headers).await;
            assert_eq!((status, &part[..]), (206, &body[2..5]), "{path}");
            assert_eq!(answered["content-range"], format!("bytes 2-4/{length}").as_str(), "{path}");
        }
        let old = [("range", "bytes=2-4"), ("if-range", "\"x\"")];
        assert_eq!(ask(&registry, "GET", &path, &old).await, (200, headers.clone(), body.clone()), "{path}");
        for range in ["bytes=2-4", "bytes=5000-"] {
            let (status, head, nothing) = ask(&registry, "HEAD", &path, &[("range", range)]).await;
            assert_eq!((status, nothing.len()), (200, 0), "{path} {range}");
            assert_eq!(head, headers, "{path} {range}: as those of the whole");
        }
        assert_eq!(ask(&registry, "GET", &path, &[("range", "bytes=5000-")]).await.0, 416, "{path}");
        assert_eq!(ask(&registry, "GET", &path, &[("range", "bytes=5000-"), ("if-range", "\"x\"")]).await.0, 200);
    }
}

/// All of a list, page by page, by its links.
async fn all(registry: &Registry, first: &str, field: &str) -> (Vec<String>, usize) {
    let (mut found, mut pages, mut path) = (vec![], 0, Some(first.to_owned()));
    while let Some(next) = path {
        let (status, headers, body) = ask(registry, "GET", &next, &[]).await;
        assert_eq!(status, 200, "{next}");
        let list: BTreeMap<String, serde_json::Value> = serde_json::from_slice(&body).unwrap();
        found.extend(list[field].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()));
        let link = headers.get("link").map(|link| link.to_str().unwrap().to_owned());
        path = link.map(|link| link.strip_prefix('<').unwrap().split_once('>').unwrap().0.to_owned());
        pages += 1;
    }
    (found, pages)
}

#[tokio::test]
async fn tags_are_listed_without_regard_to_case_page_by_page() {
    let tags = ["RC-1", "rc-2", "Rc-3", "alpha", "Beta", "1.0.0", "_x", "latest", "LATEST", "v1", "V2"];
    let registry = registry(&tags);
    let ordered = ["1.0.0", "_x", "alpha", "Beta", "LATEST", "latest", "RC-1", "rc-2", "Rc-3", "v1", "V2"];
    let path = "/v2/acme/greeter/tags/list";
    assert_eq!(all(&registry, path, "tags").await, (ordered.map(str::to_owned).into(), 1));
    for n in [1, 2, 3, 10, 11] {
        let (found, pages) = all(&registry, &format!("{path}?n={n}"), "tags").await;
        assert_eq!((found, pages), (ordered.map(str::to_owned).into(), ordered.len().div_ceil(n)), "{n}");
    }
    // Behind a tag that is there, in other letters, and between two.
    for (last, next) in [("latest", "RC-1"), ("LATEST", "latest"), ("beta", "LATEST"), ("b", "Beta"), ("RC-2", "rc-2")]
    {
        let (found, _) = all(&registry, &format!("{path}?n=100&last={last}"), "tags").await;
        assert_eq!(found.first().map(String::as_str), Some(next), "{last}");
    }
    assert_eq!(all(&registry, &format!("{path}?last=w"), "tags").await.0, [""; 0]);
}

#[tokio::test]
async fn more_tags_than_the_records_answer_at_once_are_in_one_order() {
    let tags: Vec<String> = (0..3 * PAGE_MAX).map(|n| format!("{}{n}", if n % 2 == 0 { "T" } else { "t" })).collect();
    let registry = registry(&tags.iter().map(String::as_str).collect::<Vec<_>>());
    let mut ordered = tags.clone();
    ordered.sort_by_key(|tag| tag.to_ascii_lowercase());
    let path = "/v2/acme/greeter/tags/list";
    assert_eq!(all(&registry, path, "tags").await.0, ordered);
    assert_eq!(all(&registry, &format!("{path}?n=700"), "tags").await, (ordered, 5));
}

#[tokio::test]
async fn the_catalog_goes_on_in_the_same_order() {
    let registry = registry(&[]);
    let ordered = ["acme/a", "acme/b", "acme/c", "recoil/greeter", "zeta/a"];
    for n in [1, 2, 5] {
        assert_eq!(all(&registry, &format!("/v2/_catalog?n={n}"), "repositories").await.0, ordered, "{n}");
    }
    let (found, _) = all(&registry, "/v2/_catalog?last=Acme/B", "repositories").await;
    assert_eq!(found, ordered[2..], "in any case");
}

#[tokio::test]
async fn a_write_with_a_condition_is_refused_before_anything_is_written() {
    let registry = registry(&["1.0.0"]);
    for (method, header) in [("PUT", "if-none-match"), ("DELETE", "if-match")] {
        let (status, _, body) = ask(&registry, method, "/v2/acme/greeter/manifests/1.0.0", &[(header, "*")]).await;
        assert_eq!(status, 400);
        assert!(String::from_utf8_lossy(&body).contains(header), "{body:?}");
    }
}
