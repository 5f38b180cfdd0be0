//! Paging, upload locations and versions: valid variants, and malformed ones.

use std::str::FromStr as _;

use super::*;

#[tokio::test]
async fn tags_come_in_pages_or_all_at_once() {
    let (fake, client, _) = with_package().await;
    let manifest = fake.state().manifests["1.0.0"].clone();
    for name in ["0.1.0", "0.2.0", "latest", "not a tag"] {
        fake.state().manifests.insert(name.to_owned(), manifest.clone());
    }
    let all: Vec<Tag> = ["0.1.0", "0.2.0", "1.0.0", "latest"].map(tag).into();
    for page in [None, Some(2), Some(5)] {
        fake.state().tags_page = page;
        assert_eq!(client.tags(&repository()).await.unwrap(), all, "{page:?}");
    }
}

/// A registry with versions 1.0.0 to 30.0.0 and others, three at a time.
async fn with_many_tags() -> (Fake, Registry) {
    let (fake, client, _) = with_package().await;
    {
        let mut state = fake.state();
        let manifest = state.manifests["1.0.0"].clone();
        state.manifests.extend((2..=30).map(|n| (format!("{n}.0.0"), manifest.clone())));
        state.manifests.extend(["latest", "a", "b"].map(|name| (name.to_owned(), manifest.clone())));
        state.tags_page = Some(3);
    }
    (fake, client)
}

#[tokio::test]
async fn pages_are_followed_by_their_links_to_the_end() {
    let (fake, client) = with_many_tags().await;
    let address = fake.address();
    let of_port = format!("http://{}/v2", address.split(':').next().unwrap());
    let own = format!("http://{address}/v2");
    // As registries write it: absolute, by its path, relative to the page, or with what speaks TLS
    // before it left out.
    for base in ["/v2/acme/greeter/tags/list".to_owned(), "list".to_owned(), String::new()].into_iter().chain(
        [own.as_str(), of_port.as_str(), "https://127.0.0.1:1/v2"].map(|base| format!("{base}/acme/greeter/tags/list")),
    ) {
        let written = base.clone();
        fake.state().next_link = Some(Box::new(move |from| format!("<{written}?from={from}>; rel=\"next\"")));
        let newest = client.resolve(&repository(), None).await.unwrap();
        assert_eq!(newest.tag, Some(tag("30.0.0")), "{base}: and not the newest of the first page");
        assert_eq!(client.tags(&repository()).await.unwrap().len(), 33, "{base}");
    }
}

#[tokio::test]
async fn pages_that_lead_nowhere_are_an_error_and_come_to_an_end() {
    let (fake, client) = with_many_tags().await;
    for (link, why) in [
        ("</v2/acme/greeter/tags/list?from=3>; rel=next", "in a circle"),
        ("<?n=1000>; rel=next", "in a circle"),
        ("<http://other.example/v2/acme/greeter/tags/list?from=3>; rel=next", "not the registry"),
        ("<//other.example/list>; rel=next", "not the registry"),
        ("<file:///etc/passwd>; rel=next", "not the registry"),
        ("<http://[/>; rel=next", "no URL"),
    ] {
        fake.state().requests.clear();
        fake.state().next_link = Some(Box::new(move |_| link.to_owned()));
        let error = client.resolve(&repository(), None).await.unwrap_err();
        assert!(matches!(error, RegistryError::Refused { .. }), "{link}: {error}");
        assert!(error.to_string().contains(why), "{link}: {error}");
        assert!(fake.state().requests.len() <= 2, "{link}: {:?}", fake.state().requests);
    }
}

#[tokio::test]
async fn pages_without_an_end_come_to_one() {
    let (fake, client) = with_many_tags().await;
    let count = std::sync::atomic::AtomicUsize::new(0);
    fake.state().next_link =
        Some(Box::new(move |_| format!("<?from=0&x={}>; rel=next", count.fetch_add(1, Ordering::Relaxed))));
    let error = client.tags(&repository()).await.unwrap_err();
    assert!(error.to_string().contains("more than 2000 pages"), "{error}");
    assert_eq!(fake.state().requests.len(), 2000);
}

#[tokio::test]
async fn a_location_may_be_relative_and_have_a_query_of_its_own() {
    let fake = Fake::start().await;
    let address = fake.address();
    let (archive, artifact) = package("1.0.0");
    let cases = [
        ("../../upload/1?_state=a%3Db%2Fc&x".to_owned(), "_state=a%3Db%2Fc&x&"),
        ("/v2/acme/greeter/upload/1?_state=c".to_owned(), "_state=c&"),
        ("/v2/acme/greeter/upload/1#part".to_owned(), ""),
        (format!("//{address}/v2/acme/greeter/upload/1"), ""),
        (format!("http://{address}/v2/acme/greeter/upload/1?a=b"), "a=b&"),
    ];
    for (location, query) in cases {
        fake.state().blobs.clear();
        fake.state().manifests.clear();
        fake.state().upload_queries.clear();
        fake.state().upload_location = Some(location.clone());
        let client = client(&fake, Credentials::Anonymous).await;
        client.push(&repository(), &tag("1.0.0"), &artifact, archive.clone(), false, &no_progress).await.unwrap();
        assert_eq!(fake.state().blobs[artifact.layer_digest.as_str()], archive, "{location}");
        let escaped = artifact.layer_digest.as_str().replace(':', "%3A");
        assert_eq!(fake.state().upload_queries[1], format!("{query}digest={escaped}"), "{location}");
    }
    for (location, why) in [("http://[/", "no URL"), ("ftp://127.0.0.1/x", "ftp is not accepted")] {
        fake.state().manifests.clear();
        fake.state().blobs.clear();
        fake.state().upload_location = Some(location.to_owned());
        let client = client(&fake, Credentials::Anonymous).await;
        let pushed = client.push(&repository(), &tag("1.0.0"), &artifact, archive.clone(), false, &no_progress).await;
        let error = pushed.unwrap_err();
        assert!(matches!(error, RegistryError::Refused { .. }) && error.to_string().contains(why), "{error}");
    }
}

#[tokio::test]
async fn a_build_of_a_version_is_published_and_found() {
    let (fake, client, _) = with_package().await;
    let (archive, artifact) = package("1.0.0+build.5");
    let built = Tag::of_version("1.0.0+build.5").unwrap();
    client.push(&repository(), &built, &artifact, archive.clone(), false, &no_progress).await.unwrap();
    assert_eq!(fake.state().manifests["1.0.0_build.5"], artifact.manifest);
    let newest = client.resolve(&repository(), None).await.unwrap();
    assert_eq!((newest.tag.as_ref(), &newest.digest), (Some(&built), &artifact.manifest_digest));
    let version = recoil_oci::PackageReference::from_str("acme/greeter@1.0.0+build.5").unwrap().version;
    assert_eq!(client.resolve(&repository(), version.as_ref()).await.unwrap(), newest);
    assert_eq!(client.pull(&newest, &no_progress).await.unwrap(), archive);
}
