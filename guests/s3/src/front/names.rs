//! Which query parameters and headers requests may have.
//!
//! A name that is not known is refused by name. What was ignored instead could mean the opposite of
//! what was asked: a `PUT key?renameObject` would overwrite the key, and a `DELETE
//! key?new-sub-resource` delete it. The exceptions are those that S3 ignores too: of requests that
//! only read, parameters with a value, since sub-resources have none; and headers whose names begin
//! like none of the API's own.

use super::authenticate::is_presigned_name;
use super::request::Head;
use crate::fault::{Outcome, fault, invalid, invalid_request, not_implemented};

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Service,
    Bucket,
    Object,
}

/// Parts of a bucket or an object with operations of their own; a request names one of them.
fn sub_resources(method: &str, target: Target) -> &'static [&'static str] {
    match (target, method) {
        (Target::Bucket, "GET" | "HEAD") => &[
            "accelerate",
            "acl",
            "cors",
            "encryption",
            "lifecycle",
            "location",
            "logging",
            "notification",
            "object-lock",
            "ownershipControls",
            "policy",
            "policyStatus",
            "publicAccessBlock",
            "replication",
            "requestPayment",
            "tagging",
            "uploads",
            "versioning",
            "versions",
            "website",
        ],
        (Target::Bucket, "PUT") => &[
            "acl",
            "cors",
            "lifecycle",
            "object-lock",
            "ownershipControls",
            "policy",
            "publicAccessBlock",
            "tagging",
            "versioning",
        ],
        (Target::Bucket, "DELETE") => {
            &["cors", "lifecycle", "ownershipControls", "policy", "publicAccessBlock", "tagging"]
        }
        (Target::Bucket, "POST") => &["delete"],
        (Target::Object, "GET" | "HEAD") => &["acl", "attributes", "legal-hold", "retention", "tagging", "uploadId"],
        (Target::Object, "PUT") => &["acl", "legal-hold", "retention", "tagging", "uploadId"],
        (Target::Object, "DELETE") => &["tagging", "uploadId"],
        (Target::Object, "POST") => &["uploads", "uploadId"],
        _ => &[],
    }
}

/// Parameters of operations.
fn parameters(method: &str, target: Target) -> &'static [&'static str] {
    match (target, method) {
        (Target::Service, _) => &["bucket-region", "continuation-token", "max-buckets", "prefix"],
        (Target::Bucket, "GET" | "HEAD") => &[
            "continuation-token",
            "delimiter",
            "encoding-type",
            "fetch-owner",
            "key-marker",
            "list-type",
            "marker",
            "max-keys",
            "max-uploads",
            "prefix",
            "start-after",
            "upload-id-marker",
            "version-id-marker",
        ],
        (Target::Object, "GET" | "HEAD") => &[
            "encoding-type",
            "max-parts",
            "part-number-marker",
            "partNumber",
            "response-cache-control",
            "response-content-disposition",
            "response-content-encoding",
            "response-content-language",
            "response-content-type",
            "response-expires",
            "versionId",
        ],
        (Target::Object, "PUT") => &["partNumber", "versionId"],
        (Target::Object, "DELETE") => &["versionId"],
        _ => &[],
    }
}

const HEADERS: &[&str] = &[
    "x-amz-acl",
    "x-amz-api-version",
    "x-amz-bucket-object-lock-enabled",
    "x-amz-bypass-governance-retention",
    "x-amz-checksum-algorithm",
    "x-amz-checksum-crc32",
    "x-amz-checksum-crc32c",
    "x-amz-checksum-crc64nvme",
    "x-amz-checksum-mode",
    "x-amz-checksum-sha1",
    "x-amz-checksum-sha256",
    "x-amz-checksum-type",
    "x-amz-confirm-remove-self-bucket-access",
    "x-amz-content-sha256",
    "x-amz-copy-source",
    "x-amz-copy-source-if-match",
    "x-amz-copy-source-if-modified-since",
    "x-amz-copy-source-if-none-match",
    "x-amz-copy-source-if-unmodified-since",
    "x-amz-copy-source-range",
    "x-amz-date",
    "x-amz-decoded-content-length",
    "x-amz-expected-bucket-owner",
    "x-amz-grant-full-control",
    "x-amz-grant-read",
    "x-amz-grant-read-acp",
    "x-amz-grant-write",
    "x-amz-grant-write-acp",
    "x-amz-if-match-last-modified-time",
    "x-amz-if-match-size",
    "x-amz-max-parts",
    "x-amz-metadata-directive",
    "x-amz-mp-object-size",
    "x-amz-object-attributes",
    "x-amz-object-lock-legal-hold",
    "x-amz-object-lock-mode",
    "x-amz-object-lock-retain-until-date",
    "x-amz-object-ownership",
    "x-amz-part-number-marker",
    "x-amz-request-payer",
    "x-amz-sdk-checksum-algorithm",
    "x-amz-source-expected-bucket-owner",
    "x-amz-storage-class",
    "x-amz-tagging",
    "x-amz-tagging-directive",
    "x-amz-trailer",
    "x-amz-user-agent",
];

/// How headers begin that the API has, or is likely to get.
const FAMILIES: &[&str] = &[
    "x-amz-acl",
    "x-amz-bucket-",
    "x-amz-bypass-",
    "x-amz-checksum-",
    "x-amz-copy-source",
    "x-amz-create-",
    "x-amz-grant-",
    "x-amz-if-",
    "x-amz-metadata-",
    "x-amz-mfa",
    "x-amz-mp-",
    "x-amz-object-",
    "x-amz-optional-",
    "x-amz-rename-",
    "x-amz-restore-",
    "x-amz-server-side-",
    "x-amz-skip-",
    "x-amz-source-",
    "x-amz-tagging",
    "x-amz-transition-",
    "x-amz-website-",
    "x-amz-write-",
];

/// Headers beside those of S3 that a request has once.
const ONCE: &[&str] = &[
    "content-length",
    "content-md5",
    "content-type",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-unmodified-since",
    "range",
];

/// Refuses what the request has that is not known. `signed` if its sender is.
pub(crate) fn check(head: &Head, target: Target, signed: bool) -> Outcome<()> {
    let method = head.method.as_str();
    let mut parts: Vec<String> = Vec::new();
    let pairs = head.query_pairs()?;
    for (at, (name, _)) in pairs.iter().enumerate() {
        // Which of two values holds is nobody's guess: a DELETE of two versions would be one of none.
        if pairs[..at].iter().any(|(other, _)| other == name) {
            return Err(invalid(format!("the query parameter '{name}' is there more than once")));
        }
    }
    for (name, value) in pairs {
        // SDKs say by `x-id` which operation they mean.
        if name == "x-id" || is_presigned_name(&name) {
            continue;
        }
        if name.starts_with("response-") && !signed {
            return Err(invalid_request(
                "Request specific response headers cannot be used for anonymous GET requests.",
            ));
        }
        if sub_resources(method, target).contains(&name.as_str()) {
            parts.push(name);
        } else if !parameters(method, target).contains(&name.as_str()) {
            if matches!(method, "GET" | "HEAD") && !value.is_empty() {
                continue;
            }
            return Err(not_implemented(&format!("the query parameter '{name}' of {method}")));
        }
    }
    if let [first, second, ..] = parts.as_slice() {
        return Err(invalid(format!("a request is about one of '{first}' and '{second}'")));
    }
    let upload = ["partNumber", "uploadId"].map(|name| head.query(name).is_some());
    if method == "PUT" && target == Target::Object && upload[0] != upload[1] {
        return Err(invalid("partNumber and uploadId belong together"));
    }
    for (at, (name, value)) in head.headers.iter().enumerate() {
        let is_one = name.starts_with("x-amz-") || ONCE.contains(&name.as_str());
        if is_one && head.headers[..at].iter().any(|(other, _)| other == name) {
            return Err(invalid(format!("the header {name} is there more than once")));
        }
        check_header(name, value)?;
    }
    Ok(())
}

fn check_header(name: &str, value: &str) -> Outcome<()> {
    if !name.starts_with("x-amz-") || name.starts_with("x-amz-meta-") {
        return Ok(());
    }
    match (name, value) {
        ("x-amz-security-token", _) => Err(fault(
            s3s::S3ErrorCode::InvalidToken,
            "The provided token is malformed or otherwise invalid: there are no temporary credentials",
        )),
        ("x-amz-storage-class", value) if value != "STANDARD" => Err(fault(
            s3s::S3ErrorCode::InvalidStorageClass,
            format!("there is no storage class '{value}': use STANDARD"),
        )),
        (name, _) if HEADERS.contains(&name) || !FAMILIES.iter().any(|family| name.starts_with(family)) => Ok(()),
        (name, _) => Err(not_implemented(&format!("the header {name}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::front::signature::tests::head;

    fn code(method: &str, target: Target, query: &str, headers: &[(&str, &str)]) -> Option<String> {
        let checked = check(&head(method, "/b/k", query, headers), target, true);
        checked.err().map(|error| error.code().as_str().to_owned())
    }

    /// Fails if a sub-resource that is not known falls through to the operation on the whole.
    #[test]
    fn what_is_not_known_is_refused_by_name() {
        for (method, target, query) in [
            ("PUT", Target::Object, "renameObject"),
            ("DELETE", Target::Object, "new"),
            ("DELETE", Target::Bucket, "inventory"),
            ("GET", Target::Bucket, "analytics"),
            ("PUT", Target::Bucket, "replication"),
            ("POST", Target::Object, "select&select-type=2"),
            ("GET", Target::Object, "torrent"),
        ] {
            assert_eq!(code(method, target, query, &[]).as_deref(), Some("NotImplemented"), "{method} {query}");
        }
        let why = check(&head("PUT", "/b/k", "renameObject", &[]), Target::Object, true).unwrap_err();
        assert!(why.message().unwrap().contains("renameObject"));
        assert_eq!(code("GET", Target::Bucket, "inventory&id=a", &[]).as_deref(), Some("NotImplemented"));
        assert_eq!(code("GET", Target::Bucket, "key=value&prefix=a", &[]), None, "S3 ignores it as well");
        assert_eq!(code("DELETE", Target::Object, "key=value", &[]).as_deref(), Some("NotImplemented"));
        assert_eq!(code("GET", Target::Object, "acl&tagging", &[]).as_deref(), Some("InvalidArgument"));
        assert_eq!(code("PUT", Target::Object, "partNumber=1", &[]).as_deref(), Some("InvalidArgument"));
        assert_eq!(code("GET", Target::Bucket, "list-type=2&prefix=a&x-id=ListObjectsV2", &[]), None);
        assert_eq!(code("PUT", Target::Object, "partNumber=1&uploadId=a", &[]), None);
        assert_eq!(code("DELETE", Target::Object, "versionId=a&versionId=b", &[]).as_deref(), Some("InvalidArgument"));
        let twice = [("x-amz-acl", "private"), ("x-amz-acl", "public-read")];
        assert_eq!(code("PUT", Target::Object, "", &twice).as_deref(), Some("InvalidArgument"));
        let anonymous = check(&head("GET", "/b/k", "response-content-type=a", &[]), Target::Object, false);
        assert_eq!(anonymous.unwrap_err().code().as_str(), "InvalidRequest");
    }

    #[test]
    fn headers_are_known_or_refused() {
        let header = |name: &str, value: &str| code("PUT", Target::Object, "", &[(name, value)]);
        assert_eq!(header("x-amz-meta-anything", "a"), None);
        assert_eq!(header("x-amz-acl", "private"), None);
        assert_eq!(header("x-amz-foo", "bar"), None, "S3 ignores it as well");
        for unsupported in ["x-amz-write-offset-bytes", "x-amz-mfa", "x-amz-website-redirect-location"] {
            assert_eq!(header(unsupported, "1").as_deref(), Some("NotImplemented"), "{unsupported}");
        }
        assert_eq!(header("x-amz-server-side-encryption", "AES256").as_deref(), Some("NotImplemented"));
        assert_eq!(header("x-amz-grant-read", "id=a"), None);
        assert_eq!(header("x-amz-storage-class", "GLACIER").as_deref(), Some("InvalidStorageClass"));
        assert_eq!(header("x-amz-storage-class", "STANDARD"), None);
        assert_eq!(header("x-amz-security-token", "a").as_deref(), Some("InvalidToken"));
    }
}
