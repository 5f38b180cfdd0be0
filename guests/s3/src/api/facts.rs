//! What conditions of policies may look at in a request.
//!
//! What depends on the caller or the object is added where the decision is made.

use crate::data::condition::Facts;
use crate::front::authenticate::is_presigned_name;
use crate::front::request::{Head, decode_path};

/// Headers that are facts by their own names.
const HEADERS: &[&str] = &[
    "x-amz-acl",
    "x-amz-content-sha256",
    "x-amz-grant-full-control",
    "x-amz-grant-read",
    "x-amz-grant-read-acp",
    "x-amz-grant-write",
    "x-amz-grant-write-acp",
    "x-amz-metadata-directive",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-storage-class",
    "x-amz-website-redirect-location",
];

/// The facts in a request's head.
pub(super) fn of(head: &Head, signed: bool) -> Facts {
    let mut facts: Facts = Vec::new();
    let mut add = |name: &str, value: &str| facts.push((name.to_owned(), value.to_owned()));
    for (name, value) in &head.headers {
        match name.as_str() {
            "referer" => add("aws:referer", value),
            "user-agent" => add("aws:useragent", value),
            "x-amz-copy-source" => add("s3:x-amz-copy-source", &copy_source(value)),
            "x-amz-object-lock-mode" => add("s3:object-lock-mode", value),
            "x-amz-object-lock-legal-hold" => add("s3:object-lock-legal-hold", value),
            "x-amz-tagging" => add_tags(value, &mut add),
            name if HEADERS.contains(&name) => add(&format!("s3:{name}"), value),
            _ => {}
        }
    }
    let pairs = head.query_pairs().unwrap_or_default();
    for (name, value) in &pairs {
        match name.as_str() {
            "delimiter" => add("s3:delimiter", value),
            "max-keys" => add("s3:max-keys", value),
            "prefix" => add("s3:prefix", value),
            "versionId" => add("s3:versionid", value),
            _ => {}
        }
    }
    if signed {
        let in_query = pairs.iter().any(|(name, _)| is_presigned_name(name));
        add("s3:authtype", if in_query { "REST-QUERY-STRING" } else { "REST-HEADER" });
        add("s3:signatureversion", crate::front::signature::ALGORITHM);
    }
    facts
}

/// `BUCKET/KEY`, however it was written.
fn copy_source(value: &str) -> String {
    let path = value.split_once("?versionId=").map_or(value, |(path, _)| path);
    let decoded = decode_path(path).unwrap_or_else(|_| path.to_owned());
    decoded.strip_prefix('/').unwrap_or(&decoded).to_owned()
}

fn add_tags(value: &str, add: &mut impl FnMut(&str, &str)) {
    let head = Head { query: value.to_owned(), ..Default::default() };
    for (name, value) in head.query_pairs().unwrap_or_default() {
        add(&format!("s3:requestobjecttag/{name}"), &value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::front::signature::tests::head;

    #[test]
    fn a_request_shows_what_policies_ask_about() {
        let headers = [("x-amz-copy-source", "/b/a%20b?versionId=x"), ("x-amz-tagging", "Team=a&b"), ("referer", "r")];
        let facts = of(&head("PUT", "/b/k", "prefix=p%2F&max-keys=5", &headers), true);
        let fact = |name: &str| facts.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        assert_eq!(fact("s3:x-amz-copy-source"), Some("b/a b"));
        assert_eq!(fact("s3:requestobjecttag/Team"), Some("a"));
        assert_eq!((fact("s3:prefix"), fact("s3:max-keys"), fact("aws:referer")), (Some("p/"), Some("5"), Some("r")));
        assert_eq!((fact("s3:authtype"), fact("s3:x-amz-acl")), (Some("REST-HEADER"), None));
        assert!(of(&head("GET", "/b", "", &[]), false).is_empty());
    }
}
