//! Reading objects: GET and HEAD, their conditions, ranges and parts.

use recoil_sdk::Mode;
use s3s::dto::{
    ETagCondition, GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, ObjectLockLegalHoldStatus,
    ObjectLockMode, Range,
};
use s3s::{S3Error, S3ErrorCode};

use super::given::{etag, set_checksum, sum_text, sum_type, version, version_text};
use super::session::{Session, unexpected};
use super::transfer::Download;
use crate::data::command::{Answer, ByteRange, Found, Operation, VersionName, Wanted};
use crate::data::rows::{Bucket, LockMode, Sum, Version};
use crate::digest::base64;
use crate::fault::{Outcome, fault};
use crate::front::time::{header_timestamp, seconds};

/// An answer's head for an object, the same for GET and HEAD.
macro_rules! describe {
    ($output:expr, $bucket:expr, $found:expr, $with_checksum:expr) => {{
        let details = &$found.details;
        $output.accept_ranges = Some("bytes".to_owned());
        $output.content_length = Some(i64::try_from($found.range.1 - $found.range.0).unwrap_or(i64::MAX));
        $output.e_tag = Some(etag(details));
        $output.last_modified = Some(header_timestamp(details.version.time_us));
        $output.version_id = version_text($bucket, details);
        $output.expiration = crate::api::lifecycle::expiration($bucket, details);
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
                Some(ObjectLockLegalHoldStatus::from_static(ObjectLockLegalHoldStatus::ON));
        }
        if let Some(retention) = &details.attributes.retention {
            let mode = match retention.mode {
                LockMode::Governance => ObjectLockMode::GOVERNANCE,
                LockMode::Compliance => ObjectLockMode::COMPLIANCE,
            };
            $output.object_lock_mode = Some(ObjectLockMode::from_static(mode));
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
        self.find_by(bucket, key, Operation::Get { action: None, version, part, wanted, with_parts })
    }

    /// What a [`Operation::Get`] finds.
    pub(super) fn find_by(&self, bucket: &Bucket, key: &str, get: Operation) -> Outcome<(Found, Vec<u8>)> {
        match self.key(bucket, key, get, Mode::Read)? {
            (Answer::Found(found), bytes) => Ok((*found, bytes)),
            (Answer::Absent, _) => Err(no_such_key(key)),
            (Answer::Marker { version, named }, _) => Err(self.is_marker(key, &version, named)),
            (other, _) => Err(unexpected(&other)),
        }
    }

    pub(super) fn is_marker(&self, key: &str, version: &Version, named: bool) -> S3Error {
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
        let with_sums = part.is_some() && input.checksum_mode.is_some();
        let (found, bytes) = self.find(&bucket, &input.key, version, part, wanted, with_sums)?;
        self.check_read(&found, &conditions)?;
        let mut output = GetObjectOutput::default();
        let whole = found.range == (0, found.details.version.size);
        let with_checksum = input.checksum_mode.is_some() && (whole || part.is_none());
        describe!(output, &bucket, found, with_checksum && whole);
        (output.content_range, output.parts_count) = shown(&found, wanted, part);
        if let Some((sum, value)) = part_sum(&found, part) {
            output.checksum_type = Some(sum_type(sum));
            set_checksum!(output, sum.algorithm, base64(value));
        }
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
        let tags = found.details.attributes.tags.len();
        if tags > 0 {
            self.headers.borrow_mut().push(("x-amz-tagging-count", tags.to_string()));
        }
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
}

/// The checksum of a part, and that of the object which says what it is.
fn part_sum(found: &Found, part: Option<u16>) -> Option<(&Sum, &[u8])> {
    let row = found.parts.iter().find(|row| Some(row.number) == part)?;
    Some((found.details.checksum.as_ref()?, row.checksum.as_deref()?))
}

fn byte_range(range: &Range) -> ByteRange {
    match range {
        Range::Int { first, last } => ByteRange::From { first: *first, last: *last },
        Range::Suffix { length } => ByteRange::Suffix { length: *length },
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
    use s3s::dto::ETag;

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
}
