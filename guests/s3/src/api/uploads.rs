//! Uploads in parts.

use recoil_sdk::Mode;
use s3s::dto::{
    CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CompletedPart, CreateMultipartUploadOutput, ETag,
    ListPartsInput, ListPartsOutput, Part, StorageClass, UploadPartInput, UploadPartOutput,
};

use super::access::shown_owner;
use super::given::{
    Given, check_key, condition, etag, named_checksum, new_version_text, set_checksum, sum_text, sum_type,
};
use super::lists::{algorithm_name, checksum_type, initiator};
use super::session::{Session, unexpected};
use super::transfer::{Bytestream, Purpose};
use crate::data::command::{Answer, Bytes, Condition, ListedPart, Operation};
use crate::data::rows::{Bucket, Id, Piece, Upload, UploadedPart};
use crate::digest::{Algorithm, base64, hex, unhex};
use crate::fault::{Outcome, fault, invalid, invalid_request};
use crate::front::time::timestamp;

/// Parts of a page.
const PAGE_MAX: i32 = 1000;

pub(super) fn part_number(number: i32) -> Outcome<u16> {
    let found = u16::try_from(number).ok().filter(|number| (1..=crate::handler::PARTS_MAX).contains(number));
    found.ok_or_else(|| {
        invalid(format!("Part number must be an integer between 1 and 10000, inclusive: it is {number}"))
    })
}

pub(super) fn upload_id(text: &str) -> Outcome<Id> {
    let why = "The specified multipart upload does not exist. The upload ID may be invalid, or the upload may have \
        been aborted or completed.";
    unhex(text).ok_or_else(|| fault(s3s::S3ErrorCode::NoSuchUpload, why))
}

/// A checksum's value; what is behind a hyphen is the number of parts, which is compared by itself.
fn checksum(named: [(Algorithm, Option<&str>); 5]) -> Outcome<Option<(Algorithm, Vec<u8>)>> {
    let mut found = named.into_iter().filter_map(|(algorithm, text)| Some((algorithm, text?)));
    let Some((algorithm, text)) = found.next() else { return Ok(None) };
    if found.next().is_some() {
        return Err(invalid_request(
            "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
        ));
    }
    let value = algorithm.parse(text.split('-').next().unwrap_or(text));
    let wrong = || {
        let why = format!("Value for {} is invalid: nothing has this checksum.", algorithm.header());
        fault(s3s::S3ErrorCode::BadDigest, why)
    };
    let value = value.ok_or_else(wrong)?;
    Ok(Some((algorithm, value)))
}

impl Session {
    pub(super) fn create_upload(
        &self,
        bucket: &str,
        key: &str,
        given: Given,
        algorithm: Option<&str>,
        kind: Option<&str>,
    ) -> Outcome<CreateMultipartUploadOutput> {
        check_key(key)?;
        let row = self.bucket(bucket)?;
        let algorithm = algorithm.map(crate::front::payload::algorithm).transpose()?;
        let composite = match (algorithm, kind) {
            (None, None) => None,
            (None, Some(_)) => {
                return Err(invalid_request(
                    "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.",
                ));
            }
            (Some(Algorithm::Crc64Nvme), None | Some("FULL_OBJECT")) => Some(false),
            (Some(algorithm), Some("FULL_OBJECT")) if algorithm.combines() => Some(false),
            (Some(algorithm), None | Some("COMPOSITE")) if algorithm != Algorithm::Crc64Nvme => Some(true),
            (Some(algorithm), Some(kind)) => {
                let name = algorithm.name();
                return Err(invalid_request(format!(
                    "The {kind} checksum type cannot be used with the {name} checksum algorithm."
                )));
            }
            (Some(_), None) => Some(true),
        };
        let upload = Upload {
            key: key.to_owned(),
            id: self.id(),
            initiated_us: 0,
            attributes: self.attributes(given, &row)?,
            owner: None,
            initiator: None,
            checksum: algorithm.zip(composite),
        };
        let id = upload.id;
        self.key(&row, key, Operation::CreateUpload(Box::new(upload)), Mode::Write)?;
        Ok(CreateMultipartUploadOutput {
            bucket: Some(bucket.to_owned()),
            key: Some(key.to_owned()),
            upload_id: Some(hex(&id)),
            checksum_algorithm: algorithm.map(algorithm_name),
            checksum_type: composite.map(checksum_type),
            ..Default::default()
        })
    }

    pub(super) fn upload_part(&self, input: &UploadPartInput) -> Outcome<UploadPartOutput> {
        let number = part_number(input.part_number)?;
        let (bucket, upload) = (self.bucket(&input.bucket)?, upload_id(&input.upload_id)?);
        self.must_write(&bucket, &input.key)?;
        let body = Box::new(self.take_body()?);
        let part = self.store_part(&bucket, &input.key, upload, number, body)?;
        let mut output = UploadPartOutput { e_tag: Some(ETag::Strong(hex(&part.md5))), ..Default::default() };
        if let Some((algorithm, value)) = &part.checksum {
            set_checksum!(output, algorithm, base64(value));
        }
        Ok(output)
    }

    pub(super) fn store_part(
        &self,
        bucket: &Bucket,
        key: &str,
        upload: Id,
        number: u16,
        body: Box<dyn Bytestream + '_>,
    ) -> Outcome<UploadedPart> {
        let purpose = Purpose { bucket, key, upload: Some(upload), condition: Condition::default() };
        let stored = self.store(&purpose, body)?;
        let Bytes::Content(content) = stored.bytes else {
            return Err(crate::fault::internal("a part is not in chunks"));
        };
        let part = UploadedPart {
            number,
            md5: stored.digested.md5,
            time_us: self.machine.now_us(),
            piece: Piece { content, length: stored.digested.length },
            checksum: stored.digested.checksum,
        };
        let put = Operation::PutPart { upload, part: Box::new(part.clone()) };
        if let Err(error) = self.key(bucket, key, put, Mode::Write) {
            self.discard(&purpose, content);
            return Err(error);
        }
        Ok(part)
    }

    pub(super) fn complete_upload(
        &self,
        input: &CompleteMultipartUploadInput,
    ) -> Outcome<CompleteMultipartUploadOutput> {
        let (bucket, upload) = (self.bucket(&input.bucket)?, upload_id(&input.upload_id)?);
        let listed = input.multipart_upload.as_ref().and_then(|upload| upload.parts.as_ref());
        let parts = listed.into_iter().flatten().map(listed_part).collect::<Outcome<Vec<_>>>()?;
        let size = input
            .mpu_object_size
            .map(|size| u64::try_from(size).map_err(|_| invalid("the size of an object is negative")));
        let complete = Operation::Complete {
            upload,
            version: self.id(),
            parts,
            checksum: checksum(named_checksum!(input))?,
            size: size.transpose()?,
            condition: condition(input.if_match.as_ref(), input.if_none_match.as_ref()),
        };
        let details = match self.key(&bucket, &input.key, complete, Mode::Write)?.0 {
            Answer::Written { details } => details,
            other => return Err(unexpected(&other)),
        };
        let mut output = CompleteMultipartUploadOutput {
            bucket: Some(input.bucket.clone()),
            key: Some(input.key.clone()),
            e_tag: Some(etag(&details)),
            location: Some(format!("/{}/{}", input.bucket, crate::front::signature::encode(&input.key, true))),
            version_id: new_version_text(&details),
            ..Default::default()
        };
        if let Some(sum) = &details.checksum {
            output.checksum_type = Some(sum_type(sum));
            set_checksum!(output, sum.algorithm, sum_text(sum));
        }
        Ok(output)
    }

    pub(super) fn abort_upload(&self, bucket: &str, key: &str, upload: &str) -> Outcome<()> {
        let upload = upload_id(upload)?;
        let bucket = self.bucket(bucket)?;
        self.key(&bucket, key, Operation::Abort { upload }, Mode::Write).map(drop)
    }

    pub(super) fn list_parts(&self, input: ListPartsInput) -> Outcome<ListPartsOutput> {
        let (row, upload) = (self.bucket(&input.bucket)?, upload_id(&input.upload_id)?);
        let negative =
            |value: i32| invalid(format!("Argument must be an integer between 0 and 2147483647: it is {value}"));
        let limit = match input.max_parts.unwrap_or(PAGE_MAX) {
            limit if limit < 0 => return Err(negative(limit)),
            limit => limit.min(PAGE_MAX),
        };
        let marker = input.part_number_marker.unwrap_or(0);
        if marker < 0 {
            return Err(negative(marker));
        }
        let after = u16::try_from(marker).unwrap_or(u16::MAX);
        let operation = Operation::Parts { upload, after, limit: limit as u32 };
        let (upload, parts, more) = match self.key(&row, &input.key, operation, Mode::Read)?.0 {
            Answer::Parts { upload, parts, more } => (upload, parts, more),
            other => return Err(unexpected(&other)),
        };
        let last = parts.last().map_or(marker, |part| i32::from(part.number));
        let listed = parts.into_iter().map(|part| {
            let mut shown = Part {
                e_tag: Some(ETag::Strong(hex(&part.md5))),
                last_modified: Some(timestamp(part.time_us)),
                part_number: Some(i32::from(part.number)),
                size: i64::try_from(part.piece.length).ok(),
                ..Default::default()
            };
            if let Some((algorithm, value)) = &part.checksum {
                set_checksum!(shown, algorithm, base64(value));
            }
            shown
        });
        Ok(ListPartsOutput {
            bucket: Some(input.bucket),
            checksum_algorithm: upload.checksum.map(|(algorithm, _)| algorithm_name(algorithm)),
            checksum_type: upload.checksum.map(|(_, composite)| checksum_type(composite)),
            initiator: Some(initiator(&row, &upload)),
            is_truncated: Some(more && limit > 0),
            key: Some(input.key),
            max_parts: Some(limit),
            next_part_number_marker: Some(last),
            owner: Some(shown_owner(upload.owner.as_ref().unwrap_or(&row.owner))),
            part_number_marker: Some(marker),
            parts: Some(listed.collect()),
            storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
            upload_id: Some(input.upload_id),
            ..Default::default()
        })
    }
}

fn listed_part(part: &CompletedPart) -> Outcome<ListedPart> {
    let malformed = |what: &str| fault(s3s::S3ErrorCode::MalformedXML, format!("a part has no {what}"));
    let number = part_number(part.part_number.ok_or_else(|| malformed("PartNumber"))?)?;
    let etag = part.e_tag.as_ref().ok_or_else(|| malformed("ETag"))?.value().to_owned();
    Ok(ListedPart { number, etag, checksum: checksum(named_checksum!(part))? })
}
