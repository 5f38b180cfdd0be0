//! Buckets: making and removing them, what can be set of them, who may use them.

use super::*;
use recoil_sdk::CallError;

#[test]
fn a_bucket_is_made_listed_and_removed() {
    let store = Store::with("photos");
    store.send("PUT", "/films", b"").ok();
    store.send("PUT", "/photos", b"").ok();
    store.ask(ask("PUT", "/photos", b"").header("x-amz-acl", "public-read")).refused(409, "BucketAlreadyExists");
    set_setting("region", "eu-west-1");
    let elsewhere = ask("PUT", "/photos", b"").in_region("eu-west-1");
    store.ask(elsewhere).refused(409, "BucketAlreadyOwnedByYou");
    set_setting("region", "");
    assert_eq!(store.send("GET", "/", b"").ok().elements("Name"), ["films", "photos"]);
    let page = store.send("GET", "/?max-buckets=1", b"").ok();
    assert_eq!(
        (page.elements("Name"), page.element("ContinuationToken")),
        (vec!["films".to_owned()], Some("films".into()))
    );
    assert_eq!(store.send("HEAD", "/photos", b"").ok().header("x-amz-bucket-region"), Some("us-east-1"));
    assert_eq!(store.send("HEAD", "/absent", b"").status, 404);
    assert!(store.send("GET", "/photos?location", b"").ok().text().contains("LocationConstraint"));
    store.send("PUT", "/photos/key", b"x").ok();
    store.send("POST", "/films/key?uploads", b"").ok();
    store.send("DELETE", "/photos", b"").refused(409, "BucketNotEmpty");
    store.send("PUT", "/photos/other", b"x").ok();
    store.send("DELETE", "/films", b"").ok();
    store.send("DELETE", "/films", b"").refused(404, "NoSuchBucket");
    store.send("PUT", "/films/key", b"x").refused(404, "NoSuchBucket");
    assert_eq!(store.send("GET", "/", b"").ok().elements("Name"), ["photos"]);
    assert_eq!((store.rows(b'S'), store.rows(b'U')), (16, 0));
    store.send("PUT", "/films", b"").ok();
    assert_eq!(store.list("films", "").0.len(), 0, "the new bucket is another one");
    store.send("PUT", "/No_Name", b"").refused(400, "InvalidBucketName");
    let region =
        "<CreateBucketConfiguration><LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>";
    store.send("PUT", "/europe", region.as_bytes()).refused(400, "InvalidLocationConstraint");
}

/// A bucket of which only a part was made, or removed, is neither there nor lost.
#[test]
fn what_was_half_done_is_finished_by_asking_again() {
    for (method, expected) in [("PUT", "/bucket"), ("DELETE", "/bucket")] {
        for id in 0..PARTITIONS {
            let store = if method == "PUT" { Store::new() } else { Store::with("bucket") };
            store.cluster.fail_partition(id, Some(CallError::Unavailable("down".into())));
            let failed = store.send(method, expected, b"");
            store.cluster.fail_partition(id, None);
            if failed.status == 503 {
                let again = store.send(method, expected, b"");
                assert!(again.status == 200 || again.status == 204, "{method} {id}: {} {}", again.status, again.text());
            }
            let (status, shards) = if method == "PUT" { (200, 16) } else { (404, 0) };
            assert_eq!(
                (store.send("HEAD", "/bucket", b"").status, store.rows(b'S')),
                (status, shards),
                "{method} {id}"
            );
            assert_eq!(store.send("GET", "/", b"").ok().elements("Name").len(), usize::from(method == "PUT"));
        }
    }
}

#[test]
fn a_policy_is_enforced_where_the_data_are() {
    let store = Store::with("bucket");
    store.send("PUT", "/bucket/pub/a", b"open").ok();
    store.send("PUT", "/bucket/b", b"closed").ok();
    let read = |key: &str| store.ask(ask("GET", &format!("/bucket/{key}"), b"").anonymous());
    read("pub/a").refused(403, "AccessDenied");
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject",
        "Resource":"arn:aws:s3:::bucket/pub/*"}]}"#;
    store.send("PUT", "/bucket?policy", policy.as_bytes()).ok();
    assert_eq!(store.send("GET", "/bucket?policy", b"").ok().text(), policy);
    assert_eq!(store.send("GET", "/bucket?policyStatus", b"").ok().element("IsPublic").as_deref(), Some("true"));
    assert_eq!(read("pub/a").ok().text(), "open");
    read("b").refused(403, "AccessDenied");
    read("pub/absent").refused(403, "AccessDenied");
    store.ask(ask("PUT", "/bucket/pub/a", b"x").anonymous()).refused(403, "AccessDenied");
    store.ask(ask("GET", "/bucket?list-type=2", b"").anonymous()).refused(403, "AccessDenied");
    let with = |condition: &str| policy.replace("GetObject\"", &format!("GetObject\",\"Condition\":{condition}"));
    let odd = with(r#"{"StringEquals":{"s3:unknown":"a"}}"#);
    store.send("PUT", "/bucket?policy", odd.as_bytes()).refused(400, "MalformedPolicy");
    for operator in ["IpAddress", "NotIpAddress"] {
        let by_address = with(&format!(r#"{{"{operator}":{{"aws:SourceIp":"10.0.0.0/8"}}}}"#));
        let refused = store.send("PUT", "/bucket?policy", by_address.as_bytes()).refused(501, "NotImplemented");
        assert!(refused.text().contains(&format!("{operator} of aws:SourceIp")), "{}", refused.text());
    }
    assert_eq!(store.send("GET", "/bucket?policy", b"").ok().text(), policy, "what was refused changes nothing");
    let block = "<PublicAccessBlockConfiguration><RestrictPublicBuckets>true</RestrictPublicBuckets>\
        <BlockPublicPolicy>true</BlockPublicPolicy></PublicAccessBlockConfiguration>";
    store.send("PUT", "/bucket?publicAccessBlock", block.as_bytes()).ok();
    read("pub/a").refused(403, "AccessDenied");
    store.send("PUT", "/bucket?policy", policy.as_bytes()).refused(403, "AccessDenied");
    store.send("DELETE", "/bucket?publicAccessBlock", b"").ok();
    read("pub/a").ok();
    store.send("DELETE", "/bucket?policy", b"").ok();
    read("pub/a").refused(403, "AccessDenied");
    store.send("GET", "/bucket?policy", b"").refused(404, "NoSuchBucketPolicy");
}

#[test]
fn a_public_bucket_is_listed_and_written_by_anybody() {
    let store = Store::with("bucket");
    let anonymous = |method: &str, target: &str| store.ask(ask(method, target, b"x").anonymous());
    store.ask(ask("PUT", "/bucket?acl", b"").header("x-amz-acl", "public-read")).ok();
    anonymous("GET", "/bucket?list-type=2").ok();
    anonymous("PUT", "/bucket/key").refused(403, "AccessDenied");
    store.ask(ask("PUT", "/bucket?acl", b"").header("x-amz-acl", "public-read-write")).ok();
    anonymous("PUT", "/bucket/key").ok();
    assert!(store.send("GET", "/bucket?acl", b"").ok().text().contains("WRITE"));
    let shown = store.send("GET", "/bucket?acl", b"").ok();
    store.send("PUT", "/bucket?acl", &shown.body).ok();
    anonymous("DELETE", "/bucket/key").ok();
    store.ask(ask("PUT", "/bucket?acl", b"").header("x-amz-acl", "aws-exec-read")).refused(501, "NotImplemented");
}

#[test]
fn what_is_set_is_what_is_shown_and_what_is_not_there_says_so() {
    let store = Store::with("bucket");
    for (query, status, code) in [
        ("cors", 404, "NoSuchCORSConfiguration"),
        ("lifecycle", 404, "NoSuchLifecycleConfiguration"),
        ("policy", 404, "NoSuchBucketPolicy"),
        ("tagging", 404, "NoSuchTagSet"),
        ("encryption", 404, "ServerSideEncryptionConfigurationNotFoundError"),
        ("website", 404, "NoSuchWebsiteConfiguration"),
        ("replication", 404, "ReplicationConfigurationNotFoundError"),
        ("publicAccessBlock", 404, "NoSuchPublicAccessBlockConfiguration"),
        ("object-lock", 404, "ObjectLockConfigurationNotFoundError"),
        ("ownershipControls", 404, "OwnershipControlsNotFoundError"),
        ("analytics", 501, "NotImplemented"),
    ] {
        store.send("GET", &format!("/bucket?{query}"), b"").refused(status, code);
    }
    for query in ["versioning", "logging", "notification", "accelerate", "requestPayment", "acl"] {
        store.send("GET", &format!("/bucket?{query}"), b"").ok();
    }
    let tagging = "<Tagging><TagSet><Tag><Key>team</Key><Value>a</Value></Tag></TagSet></Tagging>";
    store.send("PUT", "/bucket?tagging", tagging.as_bytes()).ok();
    assert_eq!(store.send("GET", "/bucket?tagging", b"").ok().elements("Key"), ["team"]);
    store.send("DELETE", "/bucket?tagging", b"").ok();
    store.send("GET", "/bucket?tagging", b"").refused(404, "NoSuchTagSet");
    store.send("PUT", "/bucket?encryption", b"<x/>").refused(501, "NotImplemented");
    store.send("PUT", "/bucket?versioning", b"nonsense").refused(400, "MalformedXML");
}

#[test]
fn other_origins_may_do_what_a_rule_allows() {
    let store = Store::with("bucket");
    store.send("PUT", "/bucket/key", b"x").ok();
    let preflight = |origin: &str, method: &str| {
        let asking = ask("OPTIONS", "/bucket/key", b"").anonymous().header("origin", origin);
        store.ask(
            asking
                .header("access-control-request-method", method)
                .header("access-control-request-headers", "x-amz-date"),
        )
    };
    preflight("https://a.com", "PUT").refused(403, "AccessForbidden");
    let rules = "<CORSConfiguration><CORSRule><AllowedOrigin>https://a.com</AllowedOrigin>\
        <AllowedMethod>PUT</AllowedMethod><AllowedMethod>GET</AllowedMethod><AllowedHeader>*</AllowedHeader>\
        <ExposeHeader>ETag</ExposeHeader></CORSRule></CORSConfiguration>";
    store.send("PUT", "/bucket?cors", rules.as_bytes()).ok();
    let allowed = preflight("https://a.com", "PUT").ok();
    assert_eq!(allowed.header("access-control-allow-origin"), Some("https://a.com"));
    assert_eq!(allowed.header("access-control-allow-headers"), Some("x-amz-date"));
    preflight("https://a.com", "DELETE").refused(403, "AccessForbidden");
    preflight("https://b.com", "PUT").refused(403, "AccessForbidden");
    let got = store.ask(ask("GET", "/bucket/key", b"").header("origin", "https://a.com")).ok();
    assert_eq!((got.header("access-control-expose-headers"), got.header("vary").is_some()), (Some("ETag"), true));
    assert_eq!(
        store
            .ask(ask("GET", "/bucket/key", b"").header("origin", "https://b.com"))
            .ok()
            .header("access-control-allow-origin"),
        None
    );
}

#[test]
fn a_bucket_may_be_named_by_the_host() {
    let store = Store::with("bucket");
    set_setting("domain", "s3.example.com");
    let mut asking = ask("PUT", "/dir/key", b"x");
    asking.head.headers[0].1 = "Bucket.s3.example.com:9000".to_owned();
    store.ask(asking).ok();
    set_setting("domain", "");
    assert_eq!(store.list("bucket", "").0, ["dir/key"]);
}

/// Fails if a version of one bucket can be read by way of another that happens to share a partition.
#[test]
fn a_version_is_its_buckets_only() {
    let store = Store::new();
    let versioned = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    for bucket in ["open", "shut"] {
        store.send("PUT", &format!("/{bucket}"), b"").ok();
        store.send("PUT", &format!("/{bucket}?versioning"), versioned).ok();
    }
    let policy = r#"{"Statement":{"Effect":"Allow","Principal":"*","Action":"s3:GetObjectVersion",
        "Resource":"arn:aws:s3:::open/*"}}"#;
    store.send("PUT", "/open?policy", policy.as_bytes()).ok();
    for n in 0..60 {
        let key = format!("key-{n}");
        let put = store.send("PUT", &format!("/shut/{key}"), b"secret").ok();
        let version = put.header("x-amz-version-id").unwrap();
        let reading = ask("GET", &format!("/open/{key}?versionId={version}"), b"").anonymous();
        store.ask(reading).refused(404, "NoSuchVersion");
    }
}

#[test]
fn a_bucket_without_access_control_lists_takes_none() {
    let store = Store::with("bucket");
    store.ask(ask("PUT", "/bucket/key", b"x").header("x-amz-acl", "public-read")).ok();
    let read = || store.ask(ask("GET", "/bucket/key", b"").anonymous());
    read().ok();
    let controls =
        "<OwnershipControls><Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule></OwnershipControls>";
    store.send("PUT", "/bucket?ownershipControls", controls.as_bytes()).ok();
    read().refused(403, "AccessDenied");
    let public = |target: &str| store.ask(ask("PUT", target, b"").header("x-amz-acl", "public-read"));
    for target in ["/bucket?acl", "/bucket/key?acl", "/bucket/other"] {
        public(target).refused(400, "AccessControlListNotSupported");
    }
    store.send("DELETE", "/bucket?ownershipControls", b"").ok();
    read().ok();
}
