//! Copies, of objects and of parts.
//!
//! The bytes are read and stored again, on the cluster's side: a copy shares nothing with its
//! source, so neither has to know of the other.

use s3s::S3ErrorCode;
use s3s::dto::{
    CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopyPartResult, CopySource, ETag, ETagCondition, Timestamp,
    UploadPartCopyInput, UploadPartCopyOutput,
};

use super::given::{Given, check_key, etag, new_version_text, set_checksum, sum_text, sum_type, version, version_text};
use super::session::Session;
use super::transfer::{Bytestream, Copied, Download, Purpose};
use crate::data::command::{ByteRange, Found, VersionName, Wanted};
use crate::data::rows::{Attributes, Bucket};
use crate::digest::{Algorithm, Digests, base64, hex};
use crate::fault::{Outcome, fault, invalid, invalid_request, not_implemented};
use crate::front::time::{seconds, timestamp};

/// Bytes that one copy may have.
pub(super) const COPY_BYTES_MAX: u64 = 5 << 30;

/// Where a copy comes from.
struct Source {
    bucket: Bucket,
    key: String,
    found: Found,
    bytes: Vec<u8>,
    with_version: bool,
}

/// What must hold of the source.
struct SourceConditions<'a> {
    matches: Option<&'a ETagCondition>,
    none_match: Option<&'a ETagCondition>,
    modified_since: Option<&'a Timestamp>,
    unmodified_since: Option<&'a Timestamp>,
}

impl SourceConditions<'_> {
    fn check(&self, etag: &str, modified_s: i64) -> Outcome<()> {
        let is = |condition: &ETagCondition| match condition {
            ETagCondition::Any => true,
            ETagCondition::ETag(other) => other.value() == etag,
        };
        let holds = match (self.matches, self.unmodified_since) {
            (Some(condition), _) => is(condition),
            (None, Some(since)) => modified_s <= seconds(since),
            (None, None) => true,
        };
        let changed = match (self.none_match, self.modified_since) {
            (Some(condition), _) => !is(condition),
            (None, Some(since)) => modified_s > seconds(since),
            (None, None) => true,
        };
        if holds && changed {
            return Ok(());
        }
        Err(fault(
            S3ErrorCode::PreconditionFailed,
            "At least one of the pre-conditions you specified did not hold: of the source",
        ))
    }
}

impl Session {
    fn source(&self, source: &CopySource, wanted: Wanted, conditions: &SourceConditions<'_>) -> Outcome<Source> {
        let CopySource::Bucket { bucket, key, version_id } = source else {
            return Err(not_implemented("copying from an access point"));
        };
        check_key(key)?;
        let row = self.source_bucket(bucket)?;
        let name: Option<VersionName> = version(version_id.as_deref())?;
        let (found, bytes) = self.find(&row, key, name, None, wanted, false)?;
        let modified_s = i64::try_from(found.details.version.time_us / 1_000_000).unwrap_or(0);
        conditions.check(&found.details.version.etag.text(), modified_s)?;
        let size = found.details.version.size;
        if found.outside {
            return Err(fault(
                S3ErrorCode::InvalidRange,
                format!("The requested range is not satisfiable: the source has {size} bytes"),
            ));
        }
        if found.range.1 - found.range.0 > COPY_BYTES_MAX {
            let why = format!(
                "The specified copy source is larger than the maximum allowable size for a copy source: \
                    {COPY_BYTES_MAX}"
            );
            return Err(invalid_request(why));
        }
        Ok(Source { bucket: row, key: key.to_string(), found, bytes, with_version: name.is_some() })
    }

    fn copied(&self, source: &Source, bytes: Vec<u8>, checksum: Option<Algorithm>) -> Box<dyn Bytestream + '_> {
        let Found { details, range, pieces_from, pieces, .. } = &source.found;
        let download = if pieces.is_empty() {
            Download::inline(bytes)
        } else {
            Download::chunks(
                source.bucket.clone(),
                source.key.clone(),
                details.version.id,
                *range,
                *pieces_from,
                pieces.clone(),
            )
        };
        Box::new(Copied { session: self, download, ready: vec![], digests: Digests::new(false, checksum) })
    }

    pub(super) fn copy_object(&self, input: &CopyObjectInput, given: Given) -> Outcome<CopyObjectOutput> {
        check_key(&input.key)?;
        let conditions = SourceConditions {
            matches: input.copy_source_if_match.as_ref(),
            none_match: input.copy_source_if_none_match.as_ref(),
            modified_since: input.copy_source_if_modified_since.as_ref(),
            unmodified_since: input.copy_source_if_unmodified_since.as_ref(),
        };
        let bucket = self.bucket(&input.bucket)?;
        let mut source = self.source(&input.copy_source, Wanted::All, &conditions)?;
        let replaces = directive(
            input.metadata_directive.as_ref().map(|directive| directive.as_str()),
            "x-amz-metadata-directive",
        )?;
        let replaces_tags =
            directive(input.tagging_directive.as_ref().map(|directive| directive.as_str()), "x-amz-tagging-directive")?;
        let itself = source.bucket.id == bucket.id && source.key == input.key;
        if itself && !source.with_version && !replaces && !replaces_tags && input.checksum_algorithm.is_none() {
            let why = "This copy request is illegal because it is trying to copy an object to itself without changing \
                the object's metadata, storage class, website redirect location or encryption attributes.";
            return Err(invalid_request(why));
        }
        let old = source.found.details.attributes.clone();
        let mut new: Attributes = self.attributes(given, &bucket)?;
        if !replaces {
            (new.headers, new.metadata) = (old.headers, old.metadata);
        }
        if !replaces_tags {
            new.tags = old.tags;
        }
        let asked = input
            .checksum_algorithm
            .as_ref()
            .map(|algorithm| crate::front::payload::algorithm(algorithm.as_str()))
            .transpose()?;
        let checksum = asked.or(source.found.details.version.checksum.map(|(algorithm, _)| algorithm));
        let purpose =
            Purpose { bucket: &bucket, key: &input.key, upload: None, condition: self.copy_condition.borrow().clone() };
        let bytes = std::mem::take(&mut source.bytes);
        let stored = self.store(&purpose, self.copied(&source, bytes, checksum))?;
        let details = self.commit(&purpose, stored, new)?;
        let mut result = CopyObjectResult {
            e_tag: Some(etag(&details)),
            last_modified: Some(timestamp(details.version.time_us)),
            ..Default::default()
        };
        if let Some(sum) = &details.checksum {
            result.checksum_type = Some(sum_type(sum));
            set_checksum!(result, sum.algorithm, sum_text(sum));
        }
        Ok(CopyObjectOutput {
            copy_object_result: Some(result),
            copy_source_version_id: version_text(&source.bucket, &source.found.details),
            version_id: new_version_text(&details),
            ..Default::default()
        })
    }

    pub(super) fn copy_part(&self, input: &UploadPartCopyInput) -> Outcome<UploadPartCopyOutput> {
        let number = super::uploads::part_number(input.part_number)?;
        let upload = super::uploads::upload_id(&input.upload_id)?;
        let conditions = SourceConditions {
            matches: input.copy_source_if_match.as_ref(),
            none_match: input.copy_source_if_none_match.as_ref(),
            modified_since: input.copy_source_if_modified_since.as_ref(),
            unmodified_since: input.copy_source_if_unmodified_since.as_ref(),
        };
        let bucket = self.bucket(&input.bucket)?;
        let range = input.copy_source_range.as_deref().map(copy_range).transpose()?;
        let wanted =
            range.map_or(Wanted::All, |(first, last)| Wanted::Range(ByteRange::From { first, last: Some(last) }));
        let mut source = self.source(&input.copy_source, wanted, &conditions)?;
        if let Some((_, last)) = range
            && last >= source.found.details.version.size
        {
            let size = source.found.details.version.size;
            let why = format!("Range specified is not valid for source object of size: {size}");
            return Err(fault(S3ErrorCode::InvalidRange, why));
        }
        let bytes = std::mem::take(&mut source.bytes);
        let part = self.store_part(&bucket, &input.key, upload, number, self.copied(&source, bytes, None))?;
        let mut result = CopyPartResult {
            e_tag: Some(ETag::Strong(hex(&part.md5))),
            last_modified: Some(timestamp(part.time_us)),
            ..Default::default()
        };
        if let Some((algorithm, value)) = &part.checksum {
            set_checksum!(result, algorithm, base64(value));
        }
        Ok(UploadPartCopyOutput {
            copy_part_result: Some(result),
            copy_source_version_id: version_text(&source.bucket, &source.found.details),
            ..Default::default()
        })
    }
}

/// True for REPLACE.
fn directive(text: Option<&str>, name: &str) -> Outcome<bool> {
    match text {
        None | Some("COPY") => Ok(false),
        Some("REPLACE") => Ok(true),
        Some(other) => Err(invalid(format!("the header {name} is '{other}': use COPY or REPLACE"))),
    }
}

/// `bytes=0-9`, with both ends.
fn copy_range(text: &str) -> Outcome<(u64, u64)> {
    let ends = text.strip_prefix("bytes=").and_then(|range| range.split_once('-'));
    let ends = ends.and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
    let wrong = || {
        invalid(
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the \
                zero-based offsets of the first and last bytes to copy",
        )
    };
    ends.filter(|(first, last): &(u64, u64)| first <= last).ok_or_else(wrong)
}
