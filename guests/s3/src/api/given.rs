//! What requests give of an object, and what answers show of one.

use std::collections::HashMap;

use s3s::S3ErrorCode;
use s3s::dto::{ChecksumType, ETag, ETagCondition, Timestamp};

use super::access::GivenAcl;
use super::session::Session;
use crate::data::access::Acl;
use crate::data::command::{Condition, VersionName};
use crate::data::rows::{Attributes, Bucket, Details, Sum, Versioning};
use crate::digest::base64;
use crate::fault::{Outcome, fault, invalid};
use crate::front::request::KEY_BYTES_MAX;
use crate::front::time::microseconds;

/// Bytes of all names and values of an object's metadata.
pub(super) const METADATA_BYTES_MAX: usize = 2048;

/// What a client says about an object that it puts, copies or begins to upload.
#[derive(Default)]
pub(super) struct Given {
    pub(super) acl: GivenAcl,
    pub(super) cache_control: Option<String>,
    pub(super) content_disposition: Option<String>,
    pub(super) content_encoding: Option<String>,
    pub(super) content_language: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) expires: Option<Timestamp>,
    pub(super) metadata: Option<HashMap<String, String>>,
    pub(super) tagging: Option<String>,
    pub(super) lock_mode: Option<String>,
    pub(super) lock_until: Option<Timestamp>,
    pub(super) legal_hold: Option<String>,
}

/// The fields of an input that [`Given`] takes.
macro_rules! given {
    ($input:expr) => {
        $crate::api::given::Given {
            acl: $crate::api::access::given_acl!($input),
            cache_control: $input.cache_control.take(),
            content_disposition: $input.content_disposition.take(),
            content_encoding: $input.content_encoding.take(),
            content_language: $input.content_language.take(),
            content_type: $input.content_type.take(),
            expires: $input.expires.take(),
            metadata: $input.metadata.take(),
            tagging: $input.tagging.take(),
            lock_mode: $input.object_lock_mode.take().map(|mode| mode.as_str().to_owned()),
            lock_until: $input.object_lock_retain_until_date.take(),
            legal_hold: $input.object_lock_legal_hold_status.take().map(|status| status.as_str().to_owned()),
        }
    };
}
pub(super) use given;

impl Session {
    /// What an object in this bucket is going to have.
    pub(super) fn attributes(&self, given: Given, bucket: &Bucket) -> Outcome<Attributes> {
        let mut named = given.acl.clone();
        // A grant that says nothing of an object, which s3s does not read but lists show.
        let write = |(name, value): &(String, String)| (name == "s3:x-amz-grant-write").then(|| value.clone());
        named.write = named.write.or_else(|| self.caller().facts.iter().find_map(write));
        let acl = self.given_acl(&named, Some(&bucket.owner))?;
        given.attributes(acl)
    }
}

impl Given {
    fn attributes(self, acl: Option<Acl>) -> Outcome<Attributes> {
        let mut headers = Vec::new();
        let mut keep = |name: &str, value: Option<String>| {
            headers.extend(value.filter(|value| !value.is_empty()).map(|value| (name.to_owned(), value)))
        };
        keep("cache-control", self.cache_control);
        keep("content-disposition", self.content_disposition);
        keep("content-encoding", self.content_encoding.and_then(|value| without_chunked(&value)));
        keep("content-language", self.content_language);
        keep("content-type", self.content_type);
        keep("expires", self.expires.as_ref().map(|at| microseconds(at).to_string()));
        let mut metadata: Vec<(String, String)> = self.metadata.into_iter().flatten().collect();
        metadata.sort();
        let bytes: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
        if bytes > METADATA_BYTES_MAX {
            let why = format!(
                "Your metadata headers exceed the maximum allowed metadata size: they have {bytes} bytes, and \
                    {METADATA_BYTES_MAX} are allowed"
            );
            return Err(fault(S3ErrorCode::MetadataTooLarge, why));
        }
        let tags = self.tagging.map(|text| super::attributes::parse_tagging(&text)).transpose()?.unwrap_or_default();
        let retention = super::attributes::retention(self.lock_mode.as_deref(), self.lock_until.as_ref())?;
        let legal_hold = super::attributes::legal_hold(self.legal_hold.as_deref())?;
        Ok(Attributes { headers, metadata, tags, acl, retention, legal_hold })
    }
}

/// A Content-Encoding without `aws-chunked`, which says how a request was sent and not what an
/// object is.
fn without_chunked(value: &str) -> Option<String> {
    let rest: Vec<&str> =
        value.split(',').map(str::trim).filter(|coding| !coding.eq_ignore_ascii_case("aws-chunked")).collect();
    (!rest.is_empty()).then(|| rest.join(", "))
}

/// The condition of a write.
pub(super) fn condition(matches: Option<&ETagCondition>, none_match: Option<&ETagCondition>) -> Condition {
    let text = |condition: &ETagCondition| match condition {
        ETagCondition::Any => "*".to_owned(),
        ETagCondition::ETag(etag) => etag.value().to_owned(),
    };
    let (matches, none_matches) = (matches.map(text), none_match.map(text));
    Condition { matches, none_matches, ..Default::default() }
}

pub(super) fn version(text: Option<&str>) -> Outcome<Option<VersionName>> {
    let wrong = |text: &str| invalid(format!("Invalid version id specified: '{text}'"));
    text.map(|text| VersionName::parse(text).ok_or_else(|| wrong(text))).transpose()
}

/// The name of a version where answers name one.
pub(super) fn version_text(bucket: &Bucket, details: &Details) -> Option<String> {
    let off = bucket.configuration.versioning == Versioning::Off;
    (!off || !details.version.null).then(|| VersionName::of(&details.version).text())
}

/// The name of a version where the answer to the write that made it names one: not that of one named
/// null, which a bucket whose versioning is suspended makes.
pub(super) fn new_version_text(details: &Details) -> Option<String> {
    (!details.version.null).then(|| VersionName::of(&details.version).text())
}

pub(super) fn etag(details: &Details) -> ETag {
    ETag::Strong(details.version.etag.text())
}

/// The one checksum that an input names.
macro_rules! named_checksum {
    ($input:expr) => {
        [
            ($crate::digest::Algorithm::Crc32, $input.checksum_crc32.as_deref()),
            ($crate::digest::Algorithm::Crc32c, $input.checksum_crc32c.as_deref()),
            ($crate::digest::Algorithm::Crc64Nvme, $input.checksum_crc64nvme.as_deref()),
            ($crate::digest::Algorithm::Sha1, $input.checksum_sha1.as_deref()),
            ($crate::digest::Algorithm::Sha256, $input.checksum_sha256.as_deref()),
        ]
    };
}
pub(super) use named_checksum;

/// Sets the checksum fields of an output.
macro_rules! set_checksum {
    ($output:expr, $algorithm:expr, $text:expr) => {
        match $algorithm {
            $crate::digest::Algorithm::Crc32 => $output.checksum_crc32 = Some($text),
            $crate::digest::Algorithm::Crc32c => $output.checksum_crc32c = Some($text),
            $crate::digest::Algorithm::Crc64Nvme => $output.checksum_crc64nvme = Some($text),
            $crate::digest::Algorithm::Sha1 => $output.checksum_sha1 = Some($text),
            $crate::digest::Algorithm::Sha256 => $output.checksum_sha256 = Some($text),
        }
    };
}
pub(super) use set_checksum;

/// A checksum as it is written, with the number of parts behind it if it is one of theirs.
pub(super) fn sum_text(sum: &Sum) -> String {
    match sum.composite {
        None => base64(&sum.value),
        Some(parts) => format!("{}-{parts}", base64(&sum.value)),
    }
}

pub(super) fn sum_type(sum: &Sum) -> ChecksumType {
    let name = if sum.composite.is_some() { ChecksumType::COMPOSITE } else { ChecksumType::FULL_OBJECT };
    ChecksumType::from_static(name)
}

/// Keys from XML, which no path has limited.
pub(super) fn check_key(key: &str) -> Outcome<()> {
    if key.is_empty() {
        return Err(invalid("a key has at least one byte"));
    }
    if key.len() > KEY_BYTES_MAX {
        return Err(fault(S3ErrorCode::KeyTooLongError, "Your key is too long"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_coding_of_a_request_is_not_the_objects() {
        assert_eq!(without_chunked("aws-chunked"), None);
        assert_eq!(without_chunked("gzip, aws-chunked"), Some("gzip".into()));
        assert_eq!(without_chunked("aws-chunked,gzip,br"), Some("gzip, br".into()));
    }
}
