//! Browsers' forms: who signed them, what their policies allow, and what their senders get.

use super::*;
use crate::digest::base64;
use crate::front::signature::hmac_sha1;

fn body(fields: &[(&str, &str)], file: &str) -> Vec<u8> {
    let field = |(name, value): &(&str, &str)| {
        format!("--edge\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let mut body: String = fields.iter().map(field).collect();
    body.push_str("--edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"dir/a.txt\"\r\n");
    body.push_str(&format!("Content-Type: text/plain\r\n\r\n{file}\r\n--edge--\r\n"));
    body.into_bytes()
}

fn post(store: &Store, bucket: &str, fields: &[(&str, &str)], file: &str) -> Response {
    let posting = ask("POST", &format!("/{bucket}"), &body(fields, file)).anonymous();
    store.ask(posting.header("content-type", "multipart/form-data; boundary=edge"))
}

/// A form with a policy for keys that begin with `user/`, and more fields, signed with version 4.
fn signed(store: &Store, key: &str, sign_with: &str, more: &[(&str, &str)]) -> Response {
    let now_s = i64::try_from(store.clock.now_us.get() / 1_000_000).unwrap();
    let time = time::compact(now_s);
    let scope = Scope { date: time[..8].to_owned(), region: "us-east-1".to_owned(), service: "s3".to_owned() };
    let credential = format!("{ACCESS}/{}", scope.text());
    let covered: String = more.iter().map(|(name, _)| format!(r#",["starts-with","${name}",""]"#)).collect();
    let policy = format!(
        r#"{{"expiration":"2099-01-01T00:00:00.000Z","conditions":[{{"bucket":"bucket"}},["starts-with","$key","user/"],
        {{"x-amz-algorithm":"AWS4-HMAC-SHA256"}},{{"x-amz-credential":"{credential}"}},{{"x-amz-date":"{time}"}}{covered}]}}"#
    );
    let policy = base64(policy.as_bytes());
    let signature = hex(&hmac(&scope.key(sign_with), policy.as_bytes()));
    let mut fields = vec![
        ("key", key),
        ("policy", policy.as_str()),
        ("x-amz-algorithm", "AWS4-HMAC-SHA256"),
        ("x-amz-credential", credential.as_str()),
        ("x-amz-date", time.as_str()),
        ("X-Amz-Signature", signature.as_str()),
    ];
    fields.extend(more);
    post(store, "bucket", &fields, "from a form")
}

#[test]
fn a_form_is_taken_with_a_policy_that_the_owner_signed() {
    let store = Store::with("bucket");
    signed(&store, "user/a", "another-secret", &[]).refused(403, "SignatureDoesNotMatch");
    signed(&store, "other/a", SECRET, &[]).refused(403, "AccessDenied");
    assert_eq!(store.rows(b'O'), 0);
    let done = signed(&store, "user/${filename}", SECRET, &[]).ok();
    assert_eq!((done.status, done.header("location")), (204, Some("http://localhost:9000/bucket/user/a.txt")));
    assert_eq!(store.send("GET", "/bucket/user/a.txt", b"").ok().text(), "from a form");
    post(&store, "bucket", &[("key", "k")], "x").refused(403, "AccessDenied");
    post(&store, "bucket", &[("key", "k"), ("signature", "s")], "x").refused(400, "InvalidArgument");
    post(&store, "bucket", &[("key", "k"), ("policy", "e30=")], "x").refused(400, "InvalidArgument");
    assert_eq!(store.rows(b'O'), 1);
}

#[test]
fn the_fields_of_a_form_say_what_headers_would() {
    let store = Store::with("bucket");
    let tagging = "<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag></TagSet></Tagging>";
    let fields = [
        ("content-type", "text/x"),
        ("x-amz-meta-name", "value"),
        ("tagging", tagging),
        ("acl", "public-read"),
        ("success_action_status", "201"),
    ];
    let done = signed(&store, "user/a&b", SECRET, &fields).ok();
    assert_eq!((done.status, done.element("Key").as_deref()), (201, Some("user/a&amp;b")));
    let got = store.ask(ask("GET", "/bucket/user/a%26b", b"").anonymous()).ok();
    assert_eq!((got.header("content-type"), got.header("x-amz-meta-name")), (Some("text/x"), Some("value")));
    assert_eq!(got.header("x-amz-tagging-count"), Some("1"));
    let redirect = [("success_action_redirect", "http://a/b?c=1")];
    let sent = signed(&store, "user/r", SECRET, &redirect);
    let etag = store.send("GET", "/bucket/user/r", b"").ok().header("etag").unwrap().replace('"', "%22");
    let expected = format!("http://a/b?c=1&bucket=bucket&key=user%2Fr&etag={etag}");
    assert_eq!((sent.status, sent.header("location")), (303, Some(expected.as_str())));
    let odd = signed(&store, "user/o", SECRET, &[("x-amz-server-side-encryption", "AES256")]);
    odd.refused(501, "NotImplemented");
    signed(&store, "user/m", SECRET, &[("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")]).refused(400, "BadDigest");
}

#[test]
fn a_policy_may_be_signed_as_in_version_2_and_by_any_key() {
    let store = Store::with("bucket");
    store.user("alice", "");
    store.user("bob", "--bucket bucket");
    let policy = base64(
        br#"{"expiration":"2099-01-01T00:00:00Z","conditions":[{"bucket":"bucket"},{"key":"k"},["content-length-range",1,3]]}"#,
    );
    let by = |access: &str, secret: &str, file: &str| {
        let signature = base64(&hmac_sha1(secret.as_bytes(), policy.as_bytes()));
        let fields = [("key", "k"), ("AWSAccessKeyId", access), ("signature", &signature), ("policy", &policy)];
        post(&store, "bucket", &fields, file)
    };
    by("alice", "alice-secret", "x").refused(403, "AccessDenied");
    by("carol", "carol-secret", "x").refused(403, "InvalidAccessKeyId");
    by("bob", "alice-secret", "x").refused(403, "SignatureDoesNotMatch");
    by("bob", "bob-secret", "long").refused(400, "EntityTooLarge");
    by("bob", "bob-secret", "").refused(400, "EntityTooSmall");
    by("bob", "bob-secret", "x").ok();
    by(ACCESS, SECRET, "y").ok();
    assert_eq!(store.send("GET", "/bucket/k", b"").ok().text(), "y");
}

#[test]
fn a_form_without_a_policy_is_anonymous() {
    let store = Store::with("bucket");
    post(&store, "bucket", &[("key", "k"), ("acl", "public-read")], "x").refused(403, "AccessDenied");
    store.ask(ask("PUT", "/bucket?acl", b"").header("x-amz-acl", "public-read-write")).ok();
    post(&store, "bucket", &[("key", "k"), ("acl", "public-read")], "x").ok();
    assert_eq!(store.ask(ask("GET", "/bucket/k", b"").anonymous()).ok().text(), "x");
    post(&store, "bucket", &[("acl", "public-read")], "x").refused(400, "InvalidArgument");
    post(&store, "absent", &[("key", "k")], "x").refused(404, "NoSuchBucket");
    let other = ask("POST", "/bucket", b"rubbish").anonymous();
    store.ask(other.header("content-type", "multipart/form-data; boundary=b")).refused(400, "MalformedPOSTRequest");
}
