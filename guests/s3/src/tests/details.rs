//! Details of the API that clients have been seen to depend on.

use std::rc::Rc;

use super::*;
use crate::digest::{Algorithm, Checksum, base64};
use crate::front::payload::Source;

/// A checksum of a request that completes an upload is the object's, and not that of the document.
#[test]
fn the_checksum_of_a_completed_upload_is_the_objects() {
    let store = Store::with("bucket");
    let begin = ask("POST", "/bucket/key?uploads", b"").header("x-amz-checksum-algorithm", "SHA256");
    let upload = store.ask(begin).ok().element("UploadId").unwrap();
    let part = store.ask(
        ask("PUT", &format!("/bucket/key?uploadId={upload}&partNumber=1"), b"text")
            .header("x-amz-sdk-checksum-algorithm", "SHA256"),
    );
    let etag = part.ok().header("etag").unwrap().to_owned();
    let sum = Checksum::of(Algorithm::Sha256, b"text");
    let whole = format!("{}-1", base64(&Checksum::of(Algorithm::Sha256, &sum)));
    let document = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag><ChecksumSHA256>{}\
         </ChecksumSHA256></Part></CompleteMultipartUpload>",
        base64(&sum)
    );
    let complete = |sum: &str| {
        let asking = ask("POST", &format!("/bucket/key?uploadId={upload}"), document.as_bytes());
        store.ask(asking.header("x-amz-checksum-sha256", sum))
    };
    complete(&base64(&sum)).refused(400, "BadDigest");
    complete("bad").refused(400, "BadDigest");
    assert_eq!(complete(&whole).ok().element("ChecksumSHA256"), Some(whole));
    let of_part = ask("GET", "/bucket/key?partNumber=1", b"").header("x-amz-checksum-mode", "ENABLED");
    let of_part = store.ask(of_part).ok();
    assert_eq!(of_part.header("x-amz-checksum-sha256"), Some(base64(&sum).as_str()));
    assert_eq!(of_part.header("x-amz-checksum-type"), Some("COMPOSITE"));
}

/// SDKs name all attributes in one header, or each in its own.
#[test]
fn attributes_are_named_in_one_header() {
    let store = Store::with("bucket");
    store.send("PUT", "/bucket/key", b"text").ok();
    let all = ask("GET", "/bucket/key?attributes", b"");
    let all =
        store.ask(all.header("x-amz-object-attributes", "ETag,Checksum, ObjectSize,StorageClass,ObjectParts")).ok();
    assert_eq!(
        (all.element("ObjectSize").as_deref(), all.element("StorageClass").as_deref()),
        (Some("4"), Some("STANDARD"))
    );
    let one = store.ask(ask("GET", "/bucket/key?attributes", b"").header("x-amz-object-attributes", "ObjectSize")).ok();
    assert_eq!((one.element("ObjectSize").as_deref(), one.element("ETag")), (Some("4"), None));
    assert_eq!(all.element("ETag"), Some(hex(&crate::digest::md5(b"text"))), "without quotes, here alone");
}

/// A body that nobody may ask for.
struct Untouched;

impl Source for Untouched {
    fn read(&mut self, _limit: usize) -> Result<Vec<u8>, String> {
        panic!("the body was read, and so its client was told to send it")
    }
}

/// A client that waits for `100 Continue` learns of a refusal without having sent anything.
#[test]
fn a_write_that_is_not_allowed_is_refused_before_its_body() {
    let store = Store::with("bucket");
    for target in ["/bucket/key", "/bucket/key?uploadId=00000000000000000000000000000000&partNumber=1"] {
        let mut asking = ask("PUT", target, b"").anonymous();
        asking.head.headers[1].1 = "123".to_owned();
        let mut response = Response::default();
        let router: Rc<dyn recoil_sdk::Router> = store.cluster.clone();
        serve(asking.head, Box::new(Untouched), &mut response, router, store.clock.clone());
        response.refused(403, "AccessDenied");
    }
}

#[test]
fn a_script_of_another_origin_reads_refusals_too() {
    let store = Store::with("bucket");
    let rules = "<CORSConfiguration><CORSRule><AllowedOrigin>*.a.com</AllowedOrigin><AllowedMethod>GET</AllowedMethod>\
        </CORSRule></CORSConfiguration>";
    store.send("PUT", "/bucket?cors", rules.as_bytes()).ok();
    let get = |origin: &str| store.ask(ask("GET", "/bucket/absent", b"").header("origin", origin));
    let absent = get("https://x.a.com").refused(404, "NoSuchKey");
    assert_eq!(absent.header("access-control-allow-origin"), Some("https://x.a.com"));
    assert_eq!(get("https://b.com").refused(404, "NoSuchKey").header("access-control-allow-origin"), None);
    let anonymous = ask("GET", "/bucket/key", b"").anonymous().header("origin", "https://x.a.com");
    assert!(store.ask(anonymous).refused(403, "AccessDenied").header("access-control-allow-origin").is_some());
}

#[test]
fn what_is_deleted_already_meets_every_condition() {
    let store = Store::with("bucket");
    let delete = |name: &str, value: &str| store.ask(ask("DELETE", "/bucket/key", b"").header(name, value));
    delete("if-match", "\"a\"").ok();
    delete("x-amz-if-match-size", "7").ok();
    store.send("PUT", "/bucket/key", b"text").ok();
    delete("if-match", "\"a\"").refused(412, "PreconditionFailed");
    delete("x-amz-if-match-size", "5").refused(412, "PreconditionFailed");
    delete("x-amz-if-match-size", "-1").refused(400, "InvalidArgument");
    delete("x-amz-if-match-last-modified-time", "Sun, 15 Jun 2025 15:06:39 GMT").refused(412, "PreconditionFailed");
    let modified = store.send("HEAD", "/bucket/key", b"").header("last-modified").unwrap().to_owned();
    delete("x-amz-if-match-last-modified-time", &modified).ok();
    assert_eq!(store.send("HEAD", "/bucket/key", b"").status, 404);
    let versioned = b"<VersioningConfiguration><Status>Enabled</Status><MfaDelete>Disabled</MfaDelete>\
        </VersioningConfiguration>";
    store.send("PUT", "/bucket?versioning", versioned).ok();
    delete("if-match", "*").ok();
    assert_eq!(store.rows(b'V'), 0, "nothing was there to be marked as deleted");
    store.send("PUT", "/bucket/key", b"text").ok();
    delete("x-amz-if-match-size", "4").ok();
    delete("x-amz-if-match-size", "4").refused(412, "PreconditionFailed");
    delete("if-match", "*").ok();
    let listed = "<Delete><Object><Key>key</Key><Size>4</Size></Object><Object><Key>absent</Key><Size>1</Size></Object>\
        </Delete>";
    let deleted = store.send("POST", "/bucket?delete", listed.as_bytes()).ok();
    assert_eq!(deleted.elements("Code"), ["PreconditionFailed"]);
}

#[test]
fn answers_say_what_is_known_of_an_object() {
    let store = Store::with("bucket");
    let rule = |filter: &str| {
        format!(
            "<LifecycleConfiguration><Rule>{filter}<Status>Enabled</Status><Expiration><Days>1</Days></Expiration></Rule>\
             </LifecycleConfiguration>"
        )
    };
    let tag = "<Filter><Tag><Key>a</Key><Value>1</Value></Tag></Filter>";
    store.send("PUT", "/bucket?lifecycle", rule(tag).as_bytes()).ok();
    let id = store.send("GET", "/bucket?lifecycle", b"").ok().element("ID").expect("every rule has a name");
    assert_eq!(store.send("PUT", "/bucket/key", b"x").ok().header("x-amz-expiration"), None);
    let tagged = store.ask(ask("PUT", "/bucket/key", b"x").header("x-amz-tagging", "b=2&a=1")).ok();
    // It was Sunday, 15:06 o'clock.
    let expected = format!("expiry-date=\"Tue, 17 Jun 2025 00:00:00 GMT\", rule-id=\"{id}\"");
    assert_eq!(tagged.header("x-amz-expiration"), Some(expected.as_str()));
    let head = store.send("HEAD", "/bucket/key", b"");
    assert_eq!(head.header("x-amz-expiration"), Some(expected.as_str()));
    assert_eq!(head.header("x-amz-tagging-count"), Some("2"));
    assert_eq!(store.send("GET", "/bucket/key?tagging", b"").ok().elements("Key"), ["a", "b"]);
    let coded = ask("PUT", "/bucket/key", b"x").header("content-encoding", "deflate, aws-chunked, gzip");
    store.ask(coded).ok();
    assert_eq!(store.send("HEAD", "/bucket/key", b"").header("content-encoding"), Some("deflate, gzip"));
}

/// The operator may try rules out with shorter days.
#[test]
fn a_day_may_be_made_short() {
    let store = Store::with("bucket");
    set_setting("lifecycle-day-seconds", "10");
    let rule = "<LifecycleConfiguration><Rule><Prefix>a</Prefix><Status>Enabled</Status><Expiration><Days>1</Days>\
        </Expiration></Rule></LifecycleConfiguration>";
    store.send("PUT", "/bucket?lifecycle", rule.as_bytes()).ok();
    store.send("PUT", "/bucket/a", b"x").ok();
    store.send("PUT", "/bucket/b", b"x").ok();
    for _ in 0..9 {
        store.pass(1);
    }
    assert_eq!(store.list("bucket", "").0, ["a", "b"]);
    for _ in 0..30 {
        store.pass(1);
    }
    set_setting("lifecycle-day-seconds", "");
    assert_eq!(store.list("bucket", "").0, ["b"]);
}

#[test]
fn small_things_are_as_in_s3() {
    let store = Store::with("bucket");
    store.send("PUT", "/bucket/key", b"x").ok();
    let page = store.send("GET", "/bucket?list-type=2&continuation-token=", b"").ok();
    assert_eq!((page.elements("Key").len(), page.element("IsTruncated").as_deref()), (1, Some("false")));
    for name in ["a-.b", "a.-b"] {
        store.send("PUT", &format!("/{name}"), b"").refused(400, "InvalidBucketName");
    }
    for query in ["retention", "legal-hold"] {
        store.send("GET", &format!("/bucket/key?{query}"), b"").refused(400, "InvalidRequest");
    }
    assert_eq!(store.send("GET", "/bucket?policyStatus", b"").ok().element("IsPublic").as_deref(), Some("false"));
    store.ask(ask("PUT", "/bucket?acl", b"").header("x-amz-acl", "authenticated-read")).ok();
    assert_eq!(store.send("GET", "/bucket?policyStatus", b"").ok().element("IsPublic").as_deref(), Some("true"));
}

#[test]
fn every_answer_has_a_name_and_only_some_have_a_body() {
    let store = Store::with("bucket");
    let mut ids = std::collections::BTreeSet::new();
    let mut check = |answer: Response, with_body: bool| {
        assert_eq!(answer.body.is_empty(), !with_body, "{} {}", answer.status, answer.text());
        assert!(ids.insert(answer.header("x-amz-request-id").expect("a name").to_owned()), "names are used once");
    };
    check(store.send("PUT", "/bucket/key", b""), false);
    check(store.send("GET", "/bucket/key", b""), false);
    check(store.ask(ask("GET", "/bucket/key", b"").header("if-none-match", "*")), false);
    check(store.send("HEAD", "/bucket/absent", b""), false);
    check(store.send("GET", "/bucket/absent", b""), true);
    check(store.ask(ask("GET", "/bucket/key", b"").anonymous()), true);
    check(store.send("DELETE", "/bucket/key", b""), false);
    check(store.send("GET", "/bucket?torrent", b""), true);
}

/// Clients disagree about what they encode before they sign, and each is right about itself.
#[test]
fn a_signature_may_be_of_the_path_as_it_was_sent() {
    let store = Store::with("bucket");
    for target in ["/bucket/a+b(c)'!*", "/bucket/a%2bb%2f", "/bucket/%61"] {
        store.send("PUT", target, b"x").ok();
    }
    assert_eq!(store.list("bucket", "").0, ["a", "a+b(c)&apos;!*", "a+b/"]);
    assert_eq!(store.list("bucket", "prefix=a%2bb%2f").0, ["a+b/"]);
}

#[test]
fn etags_are_taken_in_every_form() {
    let store = Store::with("bucket");
    let etag = store.send("PUT", "/bucket/key", b"").ok().header("etag").unwrap().to_owned();
    assert!(etag.starts_with('"') && etag.ends_with('"'));
    let bare = etag.trim_matches('"');
    for form in [etag.clone(), bare.to_owned(), format!("W/{etag}")] {
        let get = |name: &str| store.ask(ask("GET", "/bucket/key", b"").header(name, &form));
        assert_eq!((get("if-match").status, get("if-none-match").status), (200, 304), "{form}, of no bytes");
    }
    let range = store.ask(ask("GET", "/bucket/key", b"").header("range", "bytes=0-1"));
    assert_eq!(range.refused(416, "InvalidRange").header("content-range"), Some("bytes */0"));
}

#[test]
fn metadata_survive() {
    let store = Store::with("bucket");
    let put = ask("PUT", "/bucket/key", b"").header("x-amz-meta-name", "caf\u{e9}");
    store.ask(put.header("x-amz-meta-plain", "a b")).ok();
    let got = store.send("HEAD", "/bucket/key", b"");
    assert_eq!(got.header("x-amz-meta-name"), Some(format!("=?UTF-8?B?{}?=", base64("caf\u{e9}".as_bytes())).as_str()));
    assert_eq!(got.header("x-amz-meta-plain"), Some("a b"));
}

#[test]
fn an_address_is_no_bucket() {
    let store = Store::with("bucket");
    set_setting("domain", "0.1");
    let mut asking = ask("GET", "/bucket?list-type=2", b"");
    asking.head.headers[0].1 = "127.0.0.1:9000".to_owned();
    let answer = store.ask(asking);
    set_setting("domain", "");
    assert_eq!(answer.ok().element("Name").as_deref(), Some("bucket"));
}
