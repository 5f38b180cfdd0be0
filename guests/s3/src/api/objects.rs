//! Objects: put, get, head, delete.

use std::collections::HashMap;

use recoil_sdk::Mode;
use s3s::dto::{
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, ETag, ETagCondition,
    Error as ListedError, GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, ObjectIdentifier,
    Timestamp,
};
use s3s::{S3Error, S3ErrorCode};

use super::session::{Session, unexpected};
use super::transfer::{Download, Purpose};
use crate::data::command::{Answer, ByteRange, Bytes, Condition, Found, NewVersion, Operation, VersionName, Wanted};
use crate::data::rows::{Attributes, Bucket, Details, LockMode, Sum};
use crate::digest::base64;
use crate::fault::{Outcome, fault, invalid, not_implemented};
use crate::front::time::{header_timestamp, microseconds, seconds};

/// Keys that one request may delete.
const DELETED_MAX: usize = 1000;
/// Bytes of all names and values of an object's metadata.
const METADATA_BYTES_MAX: usize = 2048;

/// What a client says about an object that it puts, copies or begins to upload.
#[derive(Default)]
pub(super) struct Given {
    pub(super) acl: Option<String>,
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
        $crate::api::objects::Given {
            acl: $input.acl.take().map(|acl| acl.as_str().to_owned()),
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

impl Given {
    pub(super) fn attributes(self) -> Outcome<Attributes> {
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
        let acl = super::attributes::acl(self.acl.as_deref())?.unwrap_or_default();
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
    (!rest.is_empty()).then(|| rest.join(","))
}

/// The condition of a write.
pub(super) fn condition(matches: Option<&ETagCondition>, none_match: Option<&ETagCondition>) -> Outcome<Condition> {
    let absent = match none_match {
        None => false,
        Some(ETagCondition::Any) => true,
        Some(ETagCondition::ETag(_)) => {
            return Err(not_implemented("If-None-Match with an ETag in a request that writes"));
        }
    };
    let matches = matches.map(|condition| match condition {
        ETagCondition::Any => "*".to_owned(),
        ETagCondition::ETag(etag) => etag.value().to_owned(),
    });
    Ok(Condition { matches, absent })
}

pub(super) fn version(text: Option<&str>) -> Outcome<Option<VersionName>> {
    let wrong = |text: &str| invalid(format!("Invalid version id specified: '{text}'"));
    text.map(|text| VersionName::parse(text).ok_or_else(|| wrong(text))).transpose()
}

/// The name of a version where answers name one.
pub(super) fn version_text(bucket: &Bucket, details: &Details) -> Option<String> {
    let off = bucket.configuration.versioning == crate::data::rows::Versioning::Off;
    (!off || !details.version.null).then(|| VersionName::of(&details.version).text())
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

pub(super) fn sum_type(sum: &Sum) -> s3s::dto::ChecksumType {
    let name =
        if sum.composite.is_some() { s3s::dto::ChecksumType::COMPOSITE } else { s3s::dto::ChecksumType::FULL_OBJECT };
    s3s::dto::ChecksumType::from_static(name)
}

/// An answer's head for an object, the same for GET and HEAD.
macro_rules! describe {
    ($output:expr, $bucket:expr, $found:expr, $with_checksum:expr) => {{
        let details = &$found.details;
        $output.accept_ranges = Some("bytes".to_owned());
        $output.content_length = Some(i64::try_from($found.range.1 - $found.range.0).unwrap_or(i64::MAX));
        $output.e_tag = Some(etag(details));
        $output.last_modified = Some(header_timestamp(details.version.time_us));
        $output.version_id = version_text($bucket, details);
        for (name, value) in &details.attributes.headers {
            match name.as_str() {
                "cache-control" => $output.cache_control = Some(value.clone()),
                "content-disposition" => $output.content_disposition = Some(value.clone()),
                "content-encoding" => $output.content_encoding = Some(value.clone()),
                "content-language" => $output.content_language = Some(value.clone()),
                "content-type" => $output.content_type = Some(value.clone()),
                "expires" => $output.expires = value.parse().ok().map(header_timestamp),
                _ => {}
            }
        }
        $output.content_type.get_or_insert_with(|| "binary/octet-stream".to_owned());
        $output.metadata = Some(details.attributes.metadata.iter().cloned().collect());
        if details.attributes.legal_hold {
            $output.object_lock_legal_hold_status =
                Some(s3s::dto::ObjectLockLegalHoldStatus::from_static(s3s::dto::ObjectLockLegalHoldStatus::ON));
        }
        if let Some(retention) = &details.attributes.retention {
            let mode = match retention.mode {
                LockMode::Governance => s3s::dto::ObjectLockMode::GOVERNANCE,
                LockMode::Compliance => s3s::dto::ObjectLockMode::COMPLIANCE,
            };
            $output.object_lock_mode = Some(s3s::dto::ObjectLockMode::from_static(mode));
            $output.object_lock_retain_until_date = Some(header_timestamp(retention.until_us));
        }
        if let Some(sum) = details.checksum.as_ref().filter(|_| $with_checksum) {
            $output.checksum_type = Some(sum_type(sum));
            set_checksum!($output, sum.algorithm, sum_text(sum));
        }
    }};
}

/// What a read depends on.
struct Conditions<'a> {
    matches: Option<&'a ETagCondition>,
    none_match: Option<&'a ETagCondition>,
    modified_since: Option<i64>,
    unmodified_since: Option<i64>,
}

impl Conditions<'_> {
    /// As RFC 9110 orders them: an ETag's condition makes that of a time moot.
    fn check(&self, etag: &str, modified_s: i64) -> Outcome<()> {
        let is = |condition: &ETagCondition| match condition {
            ETagCondition::Any => true,
            ETagCondition::ETag(other) => other.value() == etag,
        };
        let failed =
            || fault(S3ErrorCode::PreconditionFailed, "At least one of the pre-conditions you specified did not hold");
        match (self.matches, self.unmodified_since) {
            (Some(condition), _) if !is(condition) => return Err(failed()),
            (None, Some(since)) if modified_s > since => return Err(failed()),
            _ => {}
        }
        match (self.none_match, self.modified_since) {
            (Some(condition), _) if is(condition) => Err(fault(S3ErrorCode::NotModified, "Not Modified")),
            (None, Some(since)) if modified_s <= since => Err(fault(S3ErrorCode::NotModified, "Not Modified")),
            _ => Ok(()),
        }
    }
}

fn no_such_key(key: &str) -> S3Error {
    fault(S3ErrorCode::NoSuchKey, format!("The specified key does not exist: {key}"))
}

impl Session {
    pub(super) fn put_object(
        &self,
        bucket: &str,
        key: &str,
        given: Given,
        condition: Condition,
    ) -> Outcome<(Bucket, Details)> {
        check_key(key)?;
        let bucket = self.bucket(bucket)?;
        let attributes = given.attributes()?;
        let body = Box::new(self.take_body()?);
        let purpose = Purpose { bucket: &bucket, key, upload: None, condition };
        let stored = self.store(&purpose, body)?;
        let details = self.commit(&purpose, stored, attributes)?;
        Ok((bucket, details))
    }

    /// Makes a version of what was stored.
    pub(super) fn commit(
        &self,
        purpose: &Purpose<'_>,
        stored: super::transfer::Stored,
        attributes: Attributes,
    ) -> Outcome<Details> {
        let checksum = stored.digested.checksum.map(|(algorithm, value)| Sum { algorithm, value, composite: None });
        let new = NewVersion {
            id: self.id(),
            size: stored.digested.length,
            md5: stored.digested.md5,
            attributes,
            checksum,
            bytes: stored.bytes.clone(),
            condition: purpose.condition.clone(),
        };
        let put = Operation::Put(Box::new(new));
        match self.key_with(purpose.bucket, purpose.key, put, &stored.attached, Mode::Write) {
            Ok((Answer::Written { details }, _)) => Ok(*details),
            Ok((other, _)) => Err(unexpected(&other)),
            Err(error) => {
                if let Bytes::Content(content) = stored.bytes {
                    self.discard(purpose, content);
                }
                Err(error)
            }
        }
    }

    /// An object that is there, and its bytes if they are few.
    pub(super) fn find(
        &self,
        bucket: &Bucket,
        key: &str,
        version: Option<VersionName>,
        part: Option<u16>,
        wanted: Wanted,
        with_parts: bool,
    ) -> Outcome<(Found, Vec<u8>)> {
        let get = Operation::Get { version, part, wanted, with_parts };
        match self.key(bucket, key, get, Mode::Read)? {
            (Answer::Found(found), bytes) => Ok((*found, bytes)),
            (Answer::Absent, _) => Err(no_such_key(key)),
            (Answer::Marker { version, named }, _) => Err(self.is_marker(key, &version, named)),
            (other, _) => Err(unexpected(&other)),
        }
    }

    pub(super) fn is_marker(&self, key: &str, version: &crate::data::rows::Version, named: bool) -> S3Error {
        let mut headers = self.headers.borrow_mut();
        headers.push(("x-amz-delete-marker", "true".to_owned()));
        headers.push(("x-amz-version-id", VersionName::of(version).text()));
        if named {
            headers.push(("allow", "DELETE".to_owned()));
            return fault(
                S3ErrorCode::MethodNotAllowed,
                "The specified method is not allowed against this resource: it is a delete marker.",
            );
        }
        drop(headers);
        no_such_key(key)
    }

    pub(super) fn get_object(&self, input: &GetObjectInput) -> Outcome<GetObjectOutput> {
        let bucket = self.bucket(&input.bucket)?;
        let conditions = Conditions {
            matches: input.if_match.as_ref(),
            none_match: input.if_none_match.as_ref(),
            modified_since: input.if_modified_since.as_ref().map(seconds),
            unmodified_since: input.if_unmodified_since.as_ref().map(seconds),
        };
        let wanted = input.range.as_ref().map_or(Wanted::All, |range| Wanted::Range(byte_range(range)));
        let version = version(input.version_id.as_deref())?;
        let part = self.part(input.part_number, wanted != Wanted::All)?;
        let (found, bytes) = self.find(&bucket, &input.key, version, part, wanted, false)?;
        self.check_read(&found, &conditions)?;
        let mut output = GetObjectOutput::default();
        let whole = found.range == (0, found.details.version.size);
        let with_checksum = input.checksum_mode.is_some() && (whole || part.is_none());
        describe!(output, &bucket, found, with_checksum && whole);
        (output.content_range, output.parts_count) = shown(&found, wanted, part);
        let tags = found.details.attributes.tags.len();
        output.tag_count = (tags > 0).then(|| i32::try_from(tags).unwrap_or(i32::MAX));
        let download = if found.pieces.is_empty() {
            Download::inline(bytes)
        } else {
            let id = found.details.version.id;
            Download::chunks(bucket, input.key.clone(), id, found.range, found.pieces_from, found.pieces)
        };
        *self.download.borrow_mut() = Some(download);
        Ok(output)
    }

    pub(super) fn head_object(&self, input: &HeadObjectInput) -> Outcome<(HeadObjectOutput, bool)> {
        let bucket = self.bucket(&input.bucket)?;
        let conditions = Conditions {
            matches: input.if_match.as_ref(),
            none_match: input.if_none_match.as_ref(),
            modified_since: input.if_modified_since.as_ref().map(seconds),
            unmodified_since: input.if_unmodified_since.as_ref().map(seconds),
        };
        let wanted = input.range.as_ref().map_or(Wanted::Nothing, |range| Wanted::Range(byte_range(range)));
        let version = version(input.version_id.as_deref())?;
        let part = self.part(input.part_number, wanted != Wanted::Nothing)?;
        let (found, _) = self.find(&bucket, &input.key, version, part, wanted, false)?;
        self.check_read(&found, &conditions)?;
        let mut output = HeadObjectOutput::default();
        let whole = found.range == (0, found.details.version.size);
        describe!(output, &bucket, found, input.checksum_mode.is_some() && whole);
        (output.content_range, output.parts_count) = shown(&found, wanted, part);
        let partial = output.content_range.is_some();
        Ok((output, partial))
    }

    fn part(&self, number: Option<i32>, with_range: bool) -> Outcome<Option<u16>> {
        let Some(number) = number else { return Ok(None) };
        if with_range {
            return Err(crate::fault::invalid_request(
                "Cannot specify both Range header and partNumber query parameter",
            ));
        }
        super::uploads::part_number(number).map(Some)
    }

    fn check_read(&self, found: &Found, conditions: &Conditions<'_>) -> Outcome<()> {
        let etag = found.details.version.etag.text();
        let checked = conditions.check(&etag, i64::try_from(found.details.version.time_us / 1_000_000).unwrap_or(0));
        if checked.as_ref().is_err_and(|error| *error.code() == S3ErrorCode::NotModified) {
            self.headers.borrow_mut().push(("etag", format!("\"{etag}\"")));
        }
        checked?;
        if found.outside {
            let size = found.details.version.size;
            self.headers.borrow_mut().push(("content-range", format!("bytes */{size}")));
            return Err(fault(
                S3ErrorCode::InvalidRange,
                format!("The requested range is not satisfiable: the object has {size} bytes"),
            ));
        }
        Ok(())
    }

    pub(super) fn delete_object(&self, input: &DeleteObjectInput) -> Outcome<DeleteObjectOutput> {
        if input.if_match_last_modified_time.is_some() || input.if_match_size.is_some() {
            return Err(not_implemented("deleting by size or time"));
        }
        let bucket = self.bucket(&input.bucket)?;
        let condition = condition(input.if_match.as_ref(), None)?;
        let bypass = input.bypass_governance_retention.unwrap_or(false);
        let version = version(input.version_id.as_deref())?;
        let (marker, name) = self.delete(&bucket, &input.key, version, condition, bypass)?;
        Ok(DeleteObjectOutput { delete_marker: marker.then_some(true), version_id: name, ..Default::default() })
    }

    /// Whether what was deleted, or what came to be, is a delete marker, and the version's name.
    fn delete(
        &self,
        bucket: &Bucket,
        key: &str,
        version: Option<VersionName>,
        condition: Condition,
        bypass: bool,
    ) -> Outcome<(bool, Option<String>)> {
        let delete = Operation::Delete { version, marker: self.id(), condition, bypass };
        match self.key(bucket, key, delete, Mode::Write)?.0 {
            Answer::Deleted { marker, version: found } => Ok((marker, found.or(version).map(VersionName::text))),
            other => Err(unexpected(&other)),
        }
    }

    pub(super) fn delete_objects(&self, input: DeleteObjectsInput) -> Outcome<DeleteObjectsOutput> {
        let bucket = self.bucket(&input.bucket)?;
        let objects = input.delete.objects;
        if objects.is_empty() || objects.len() > DELETED_MAX {
            let why = format!("a request deletes 1 to {DELETED_MAX} keys, and this one names {}", objects.len());
            return Err(fault(S3ErrorCode::MalformedXML, why));
        }
        let bypass = input.bypass_governance_retention.unwrap_or(false);
        let quiet = input.delete.quiet.unwrap_or(false);
        let (mut deleted, mut errors) = (Vec::new(), Vec::new());
        for object in objects {
            match self.delete_listed(&bucket, &object, bypass) {
                Ok((marker, name)) if !quiet => deleted.push(DeletedObject {
                    delete_marker: marker.then_some(true),
                    delete_marker_version_id: name.clone().filter(|_| marker),
                    version_id: object.version_id.clone(),
                    key: Some(object.key),
                }),
                Ok(_) => {}
                Err(error) => errors.push(ListedError {
                    code: Some(error.code().as_str().to_owned()),
                    message: error.message().map(str::to_owned),
                    key: Some(object.key),
                    version_id: object.version_id,
                }),
            }
        }
        Ok(DeleteObjectsOutput { deleted: Some(deleted), errors: Some(errors), ..Default::default() })
    }

    fn delete_listed(
        &self,
        bucket: &Bucket,
        object: &ObjectIdentifier,
        bypass: bool,
    ) -> Outcome<(bool, Option<String>)> {
        if object.last_modified_time.is_some() || object.size.is_some() {
            return Err(not_implemented("deleting by size or time"));
        }
        check_key(&object.key)?;
        let matches = object.e_tag.as_ref().map(|etag| etag.value().to_owned());
        let condition = Condition { matches, absent: false };
        self.delete(bucket, &object.key, version(object.version_id.as_deref())?, condition, bypass)
    }
}

/// Keys from XML, which no path has limited.
pub(super) fn check_key(key: &str) -> Outcome<()> {
    if key.is_empty() {
        return Err(invalid("a key has at least one byte"));
    }
    if key.len() > crate::front::request::KEY_BYTES_MAX {
        return Err(fault(S3ErrorCode::KeyTooLongError, "Your key is too long"));
    }
    Ok(())
}

fn byte_range(range: &s3s::dto::Range) -> ByteRange {
    match range {
        s3s::dto::Range::Int { first, last } => ByteRange::From { first: *first, last: *last },
        s3s::dto::Range::Suffix { length } => ByteRange::Suffix { length: *length },
    }
}

/// Content-Range and the number of parts, where an answer has them.
fn shown(found: &Found, wanted: Wanted, part: Option<u16>) -> (Option<String>, Option<i32>) {
    let (start, end) = found.range;
    let size = found.details.version.size;
    let partial = matches!(wanted, Wanted::Range(_)) || (part.is_some() && start < end);
    let range = partial.then(|| format!("bytes {start}-{}/{size}", end.saturating_sub(1)));
    let parts = part.and(found.details.parts).and_then(|parts| i32::try_from(parts).ok());
    (range, parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_of_reads_are_taken_in_their_order() {
        let etag = |text: &str| ETagCondition::ETag(ETag::Strong(text.to_owned()));
        let (same, other) = (etag("a"), etag("b"));
        let check =
            |matches: Option<&ETagCondition>, none_match: Option<&ETagCondition>, modified_since, unmodified_since| {
                let conditions = Conditions { matches, none_match, modified_since, unmodified_since };
                conditions.check("a", 100).err().map(|error| error.code().as_str().to_owned())
            };
        let (failed, unchanged) = (Some("PreconditionFailed".to_owned()), Some("NotModified".to_owned()));
        assert_eq!(check(Some(&same), None, None, Some(50)), None, "If-Match makes If-Unmodified-Since moot");
        assert_eq!(check(Some(&other), None, None, None), failed);
        assert_eq!(check(None, None, None, Some(99)), failed);
        assert_eq!(check(None, None, None, Some(100)), None);
        assert_eq!(check(None, Some(&same), None, None), unchanged);
        assert_eq!(check(None, Some(&other), Some(100), None), None, "If-None-Match makes If-Modified-Since moot");
        assert_eq!(check(None, None, Some(100), None), unchanged);
        assert_eq!(check(None, None, Some(99), None), None);
        assert_eq!(check(Some(&ETagCondition::Any), Some(&ETagCondition::Any), None, None), unchanged);
    }

    #[test]
    fn the_coding_of_a_request_is_not_the_objects() {
        assert_eq!(without_chunked("aws-chunked"), None);
        assert_eq!(without_chunked("gzip, aws-chunked"), Some("gzip".into()));
        assert_eq!(without_chunked("aws-chunked,gzip,br"), Some("gzip,br".into()));
    }
}
