//! Requests as clients sign them, and as attackers change them.

use super::*;
use crate::front::signature::hmac;
use crate::front::signature::tests::{ACCESS, EMPTY, SECRET, head, scope};

const NOW_S: i64 = 1_369_353_600;
const TIME: &str = "20130524T000000Z";

fn secret(key: &str) -> Outcome<Option<String>> {
    Ok((key == ACCESS).then(|| SECRET.to_owned()))
}

fn authenticate_at(head: &Head, now_s: i64) -> Outcome<Authenticated> {
    Verifier { secret: &secret, region: "us-east-1", now_s }.authenticate(head)
}

fn authenticate(head: &Head) -> Outcome<Authenticated> {
    authenticate_at(head, NOW_S)
}

fn code(outcome: Outcome<Authenticated>) -> String {
    outcome.unwrap_err().code().as_str().to_owned()
}

/// Signs as a client does, independently of [`Signed`]'s choice of forms.
fn sign(head: &mut Head, names: &str, payload: &str) {
    let canonical_headers: String =
        names.split(';').map(|name| format!("{name}:{}\n", head.header(name).unwrap_or(""))).collect();
    let canonical = format!("{}\n{}\n{}\n{canonical_headers}\n{names}\n{payload}", head.method, head.path, head.query);
    let digest = hex(&crate::digest::sha256(canonical.as_bytes()));
    let text = format!("{ALGORITHM}\n{TIME}\n{}\n{digest}", scope().text());
    let signature = hex(&hmac(&scope().key(SECRET), text.as_bytes()));
    let value =
        format!("{ALGORITHM} Credential={ACCESS}/{}, SignedHeaders={names}, Signature={signature}", scope().text());
    head.headers.push(("authorization".into(), value));
}

fn signed(method: &str, more: &[(&str, &str)], names: &str, payload: &str) -> Head {
    let common = [("host", "localhost"), ("x-amz-date", TIME), ("x-amz-content-sha256", payload)];
    let mut head = head(method, "/bucket/key", "", &[&common, more].concat());
    sign(&mut head, names, payload);
    head
}

const NAMES: &str = "host;x-amz-content-sha256;x-amz-date";

#[test]
fn a_signed_request_is_its_signers() {
    let found = authenticate(&signed("GET", &[], NAMES, EMPTY)).unwrap();
    assert_eq!((found.access_key.as_deref(), found.payload), (Some(ACCESS), Payload::Whole(unhex(EMPTY).unwrap())));
    let found = authenticate(&signed("PUT", &[], NAMES, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER")).unwrap();
    assert_eq!(found.payload, Payload::Chunks { trailer: true });
    let found = authenticate(&head("GET", "/", "", &[("host", "localhost")])).unwrap();
    assert_eq!((found.access_key, found.payload), (None, Payload::Unsigned));
}

/// Fails if a header that is not signed can change what a signed request does.
#[test]
fn every_amz_header_is_signed() {
    let copy = ("x-amz-copy-source", "/secrets/key");
    assert_eq!(code(authenticate(&signed("PUT", &[copy], NAMES, EMPTY))), "AccessDenied");
    let names = "host;x-amz-content-sha256;x-amz-copy-source;x-amz-date";
    assert!(authenticate(&signed("PUT", &[copy], names, EMPTY)).is_ok());
    let why = authenticate(&signed("PUT", &[("x-amz-acl", "public-read")], NAMES, EMPTY)).unwrap_err();
    assert!(why.message().unwrap().contains("x-amz-acl"), "{why:?}");
    assert_eq!(code(authenticate(&signed("GET", &[], "x-amz-content-sha256;x-amz-date", EMPTY))), "AccessDenied");
}

#[test]
fn what_was_changed_or_is_old_is_refused() {
    let good = signed("PUT", &[("content-type", "a/b")], "content-type;host;x-amz-content-sha256;x-amz-date", EMPTY);
    assert!(authenticate(&good).is_ok());
    let changed = |change: &dyn Fn(&mut Head)| {
        let mut head = good.clone();
        change(&mut head);
        code(authenticate(&head))
    };
    assert_eq!(changed(&|head| head.path = "/bucket/other".into()), "SignatureDoesNotMatch");
    assert_eq!(changed(&|head| head.method = "DELETE".into()), "SignatureDoesNotMatch");
    assert_eq!(changed(&|head| head.query = "acl".into()), "SignatureDoesNotMatch");
    assert_eq!(changed(&|head| head.headers[3].1 = "c/d".into()), "SignatureDoesNotMatch");
    assert_eq!(changed(&|head| head.headers[2].1 = UNSIGNED_PAYLOAD.into()), "SignatureDoesNotMatch");
    assert_eq!(changed(&|head| head.headers[4].1 = head.headers[4].1.replace(ACCESS, "other")), "InvalidAccessKeyId");
    assert_eq!(
        changed(&|head| head.headers[4].1 = head.headers[4].1.replace("us-east-1", "eu-1")),
        "AuthorizationHeaderMalformed"
    );
    assert_eq!(
        changed(&|head| head.headers[4].1 = head.headers[4].1.replace("Signature=", "Sign=")),
        "AuthorizationHeaderMalformed"
    );
    assert_eq!(changed(&|head| head.headers[4].1 = format!("AWS {ACCESS}:abc=")), "InvalidRequest");
    assert_eq!(code(authenticate_at(&good, NOW_S + SKEW_MAX_S + 1)), "RequestTimeTooSkewed");
    assert_eq!(code(authenticate_at(&good, NOW_S - SKEW_MAX_S - 1)), "RequestTimeTooSkewed");
    assert!(authenticate_at(&good, NOW_S + SKEW_MAX_S).is_ok());
}

fn presigned(more: &[(&str, &str)], expires: &str) -> Head {
    let query = format!(
        "X-Amz-Algorithm={ALGORITHM}&X-Amz-Credential={ACCESS}%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&\
         X-Amz-Date={TIME}&X-Amz-Expires={expires}&X-Amz-SignedHeaders=host"
    );
    let mut head = head("GET", "/test.txt", &query, &[&[("host", "examplebucket.s3.amazonaws.com")], more].concat());
    let canonical = format!("GET\n/test.txt\n{query}\nhost:examplebucket.s3.amazonaws.com\n\nhost\n{UNSIGNED_PAYLOAD}");
    let text =
        format!("{ALGORITHM}\n{TIME}\n{}\n{}", scope().text(), hex(&crate::digest::sha256(canonical.as_bytes())));
    head.query.push_str(&format!("&X-Amz-Signature={}", hex(&hmac(&scope().key(SECRET), text.as_bytes()))));
    head
}

/// The signature of the first is the reference's.
#[test]
fn a_presigned_request_holds_until_it_expires() {
    let good = presigned(&[], "86400");
    assert!(good.query.ends_with("aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"), "{}", good.query);
    assert_eq!(authenticate(&good).unwrap().access_key.as_deref(), Some(ACCESS));
    assert!(authenticate_at(&good, NOW_S + 86_400).is_ok());
    assert_eq!(code(authenticate_at(&good, NOW_S + 86_401)), "AccessDenied");
    assert_eq!(code(authenticate_at(&good, NOW_S - SKEW_MAX_S - 1)), "AccessDenied");
    assert_eq!(code(authenticate(&presigned(&[], "604801"))), "AccessDenied");
    assert_eq!(code(authenticate(&presigned(&[], "0"))), "AccessDenied");
    let copy = presigned(&[("x-amz-copy-source", "/secrets/key")], "60");
    assert_eq!(code(authenticate(&copy)), "AccessDenied");
    let mut partly = good.clone();
    partly.query = "X-Amz-Credential=a".into();
    assert_eq!(code(authenticate(&partly)), "AuthorizationQueryParametersError");
    let mut token = good.clone();
    token.query.push_str("&X-Amz-Security-Token=a");
    assert_eq!(code(authenticate(&token)), "InvalidToken");
    let mut twice = good;
    twice.headers.push(("authorization".into(), "AWS4-HMAC-SHA256 Credential=a".into()));
    assert_eq!(code(authenticate(&twice)), "InvalidArgument");
    assert_eq!(code(authenticate(&head("GET", "/", "AWSAccessKeyId=a&Signature=b&Expires=1", &[]))), "InvalidRequest");
    let chunks = head("PUT", "/b/k", "", &[("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")]);
    assert_eq!(code(authenticate(&chunks)), "AccessDenied");
}
