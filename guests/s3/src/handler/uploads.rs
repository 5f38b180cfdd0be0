//! Uploads in parts.
//!
//! Each attempt at a part has a content of its own, so an attempt that comes late changes nothing
//! of what another one has counted. Completing is one transaction: contents move from parts to the
//! manifest, those of parts that are not used become tombstones, the upload goes and what it came
//! to is kept for a day, for whoever asks again. So nothing can free a part that an object refers
//! to.

use recoil_sdk::{Error, StorageExt as _, Transaction};
use s3s::S3ErrorCode;

use super::objects::Written;
use super::{Context, lifecycle, read, space, write};
use crate::data::command::{Answer, Condition, ListedPart, refuse};
use crate::data::keys;
use crate::data::policy::Object;
use crate::data::rows::{self, Completed, Details, ETag, Id, PartRow, Piece, Place, Sum, Upload, UploadedPart};
use crate::digest::{Algorithm, Checksum, hex, md5};

/// Bytes that every part but the last has at least.
pub(crate) const PART_BYTES_MIN: u64 = 5 << 20;
/// Parts of an upload.
pub(crate) const PARTS_MAX: u16 = 10_000;
/// Bytes of an object.
pub(crate) const OBJECT_BYTES_MAX: u64 = 5 << 40;

/// What a client says an upload comes to.
pub(super) struct Completion {
    pub(super) version: Id,
    pub(super) parts: Vec<ListedPart>,
    pub(super) checksum: Option<(Algorithm, Vec<u8>)>,
    pub(super) size: Option<u64>,
    pub(super) condition: Condition,
}

fn invalid_part(number: u16, why: &str) -> Error {
    refuse(
        S3ErrorCode::InvalidPart,
        &format!("One or more of the specified parts could not be found: part {number} {why}"),
    )
}

impl Context<'_> {
    pub(super) fn upload(&self, id: &Id) -> Result<Upload, Error> {
        let row: Option<Upload> = read(self.transaction, &keys::upload(&self.place, self.key.as_bytes(), id))?;
        let why = "The specified multipart upload does not exist. The upload ID may be invalid, or the upload may have \
            been aborted or completed.";
        row.ok_or_else(|| refuse(S3ErrorCode::NoSuchUpload, why))
    }

    /// Refuses what the caller may not do, to an upload that belongs to whoever began it.
    fn must_or_began(&self, action: &str, upload: &Upload) -> Result<(), Error> {
        self.must_to_object(action, Object { owner: upload.initiator.as_ref(), acl: None, tags: &[] })
    }

    pub(super) fn create_upload(&mut self, mut upload: Upload) -> Result<Answer, Error> {
        self.must("s3:PutObject")?;
        let row = keys::upload(&self.place, self.key.as_bytes(), &upload.id);
        if read::<Upload>(self.transaction, &row)?.is_some() {
            return Ok(Answer::Done);
        }
        // What would be refused when it is completed is refused now.
        let etag = ETag { md5: [0; 16], parts: None };
        let owner = self.new_owner(upload.attributes.acl.as_ref());
        self.new_details(upload.id, etag, 0, owner.clone(), upload.attributes.clone(), None)?;
        upload.owner = owner;
        let initiator = self.caller.user.as_ref().map(|user| user.owner.clone());
        upload.initiator = initiator.filter(|initiator| initiator.id != self.bucket.owner.id);
        upload.initiated_us = self.transaction.now_us();
        write(self.transaction, &row, &upload)?;
        Ok(Answer::Done)
    }

    pub(super) fn put_part(&mut self, id: &Id, mut part: UploadedPart) -> Result<Answer, Error> {
        self.must("s3:PutObject")?;
        let upload = self.upload(id)?;
        let row = keys::part(id, part.number);
        let before: Option<UploadedPart> = read(self.transaction, &row)?;
        if before.as_ref().is_some_and(|before| before.piece.content == part.piece.content) {
            return Ok(Answer::Done);
        }
        if let Some((wanted, _)) = upload.checksum
            && part.checksum.as_ref().is_some_and(|(found, _)| *found != wanted)
        {
            let found = part.checksum.as_ref().map_or("none", |(found, _)| found.name());
            let why = format!(
                "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {found}",
                wanted.name()
            );
            return Err(refuse(S3ErrorCode::InvalidRequest, &why));
        }
        if part.piece.length > 0 {
            part.piece = self.take(&part.piece.content, part.piece.length)?;
        }
        part.time_us = self.transaction.now_us();
        if let Some(before) = before.filter(|before| before.piece.length > 0) {
            space::free(self.transaction, &before.piece.content, None, vec![before.piece])?;
        }
        write(self.transaction, &row, &part)?;
        Ok(Answer::Done)
    }

    pub(super) fn parts(&self, id: &Id, after: u16, limit: u32) -> Result<Answer, Error> {
        let upload = self.upload(id)?;
        self.must_or_began("s3:ListMultipartUploadParts", &upload)?;
        let mut within = keys::upload_parts(id);
        if let Some(next) = after.checked_add(1) {
            within.start = keys::part(id, next);
        }
        let mut parts = Vec::new();
        for entry in self.transaction.entries(within) {
            if parts.len() >= limit as usize {
                return Ok(Answer::Parts { upload: Box::new(upload), parts, more: true });
            }
            parts.push(rows::decode(&entry?.value)?);
        }
        Ok(Answer::Parts { upload: Box::new(upload), parts, more: false })
    }

    pub(super) fn abort(&mut self, id: &Id) -> Result<Answer, Error> {
        let upload = self.upload(id)?;
        self.must_or_began("s3:AbortMultipartUpload", &upload)?;
        remove(self.transaction, &self.place, &upload, &[])?;
        Ok(Answer::Done)
    }

    pub(super) fn complete(&mut self, id: &Id, completion: Completion) -> Result<Answer, Error> {
        self.must("s3:PutObject")?;
        let completed: Option<Completed> = read(self.transaction, &keys::completed(id))?;
        if let Some(completed) = completed.filter(|completed| self.is_mine(&completed.details)) {
            return Ok(Answer::Written { details: Box::new(completed.details) });
        }
        let upload = self.upload(id)?;
        self.check(&completion.condition, self.current()?.as_ref())?;
        let uploaded = self.uploaded(id)?;
        let used = choose(&completion.parts, &uploaded)?;
        let size: u64 = used.iter().map(|part| part.piece.length).sum();
        if size > OBJECT_BYTES_MAX {
            return Err(refuse(S3ErrorCode::EntityTooLarge, "the object would have more than 5 TiB"));
        }
        if completion.size.is_some_and(|said| said != size) {
            let why = format!("the header x-amz-mp-object-size is not the size of the object, which is {size}");
            return Err(refuse(S3ErrorCode::InvalidRequest, &why));
        }
        let checksum = whole_checksum(&upload, &used)?;
        compare(&completion.checksum, checksum.as_ref())?;
        let md5s: Vec<u8> = used.iter().flat_map(|part| part.md5).collect();
        let etag = ETag { md5: md5(&md5s), parts: Some(used.len() as u32) };
        let (owner, attributes) = (upload.owner.clone(), upload.attributes.clone());
        let details = self.new_details(completion.version, etag, size, owner, attributes, checksum)?;
        let manifest = used.iter().map(|part| part.piece).filter(|piece| piece.length > 0).collect();
        let parts = used.iter().map(|part| PartRow {
            number: part.number,
            size: part.piece.length,
            checksum: part.checksum.as_ref().map(|(_, value)| value.clone()),
        });
        let written = Written { details, manifest, inline: vec![], parts: parts.collect() };
        let answer = self.write_version(written)?;
        remove(self.transaction, &self.place, &upload, &used)?;
        if let Answer::Written { details } = &answer {
            let expires_us = self.transaction.now_us() + lifecycle::DAY_US;
            let completed = Completed { upload: *id, expires_us, details: details.as_ref().clone() };
            write(self.transaction, &keys::completed(id), &completed)?;
            space::arm(self.transaction)?;
        }
        Ok(answer)
    }

    fn is_mine(&self, details: &Details) -> bool {
        details.place == self.place && details.key == self.key
    }

    fn uploaded(&self, id: &Id) -> Result<Vec<UploadedPart>, Error> {
        self.transaction.entries(keys::upload_parts(id)).map(|entry| rows::decode(&entry?.value)).collect()
    }
}

/// The parts that the client lists, in its order.
fn choose(listed: &[ListedPart], uploaded: &[UploadedPart]) -> Result<Vec<UploadedPart>, Error> {
    if listed.is_empty() {
        return Err(refuse(S3ErrorCode::MalformedXML, "You must specify at least one part"));
    }
    if listed.windows(2).any(|pair| pair[0].number >= pair[1].number) {
        let why = "The list of parts was not in ascending order. Parts must be ordered by part number.";
        return Err(refuse(S3ErrorCode::InvalidPartOrder, why));
    }
    let mut used = Vec::with_capacity(listed.len());
    for part in listed {
        let at = uploaded.binary_search_by_key(&part.number, |uploaded| uploaded.number);
        let found = &uploaded[at.map_err(|_| invalid_part(part.number, "was not uploaded"))?];
        if hex(&found.md5) != part.etag {
            return Err(invalid_part(part.number, "has another ETag"));
        }
        if part.checksum.is_some() && found.checksum.is_some() && part.checksum != found.checksum {
            return Err(invalid_part(part.number, "has another checksum"));
        }
        used.push(found.clone());
    }
    let (_, all_but_last) = used.split_last().unwrap_or((&used[0], &[]));
    if let Some(small) = all_but_last.iter().find(|part| part.piece.length < PART_BYTES_MIN) {
        let why = format!(
            "Your proposed upload is smaller than the minimum allowed size: part {} has {} bytes, and every part but \
                the last must have {PART_BYTES_MIN}",
            small.number, small.piece.length
        );
        return Err(refuse(S3ErrorCode::EntityTooSmall, &why));
    }
    Ok(used)
}

/// The checksum of an object from those of its parts.
fn whole_checksum(upload: &Upload, used: &[UploadedPart]) -> Result<Option<Sum>, Error> {
    let Some((algorithm, composite)) = upload.checksum else { return Ok(None) };
    let value = |part: &UploadedPart| match &part.checksum {
        Some((_, value)) => Ok((value.clone(), part.piece.length)),
        None => Err(invalid_part(part.number, "has no checksum, and the upload was created with one")),
    };
    let values = used.iter().map(value).collect::<Result<Vec<_>, Error>>()?;
    if composite {
        let all: Vec<u8> = values.iter().flat_map(|(value, _)| value.iter().copied()).collect();
        let composite = Some(used.len() as u32);
        return Ok(Some(Sum { algorithm, value: Checksum::of(algorithm, &all), composite }));
    }
    let mut whole = Checksum::of(algorithm, b"");
    for (value, length) in &values {
        let combined = algorithm.combine(&whole, value, *length);
        whole = combined.ok_or_else(|| Error::new("the checksums of parts do not combine"))?;
    }
    Ok(Some(Sum { algorithm, value: whole, composite: None }))
}

fn compare(said: &Option<(Algorithm, Vec<u8>)>, found: Option<&Sum>) -> Result<(), Error> {
    let (Some((algorithm, value)), Some(found)) = (said, found) else { return Ok(()) };
    if *algorithm == found.algorithm && *value == found.value {
        return Ok(());
    }
    let name = algorithm.name();
    Err(refuse(S3ErrorCode::BadDigest, &format!("The {name} you specified did not match the calculated checksum.")))
}

/// Removes an upload and its parts. The bytes of those that are not `used` become free.
pub(super) fn remove(
    transaction: &mut dyn Transaction,
    place: &Place,
    upload: &Upload,
    used: &[UploadedPart],
) -> Result<(), Error> {
    let mut freed: Vec<Piece> = Vec::new();
    for entry in transaction.entries(keys::upload_parts(&upload.id)) {
        let part: UploadedPart = rows::decode(&entry?.value)?;
        let is_used = used.binary_search_by_key(&part.number, |used| used.number).is_ok();
        if !is_used && part.piece.length > 0 {
            freed.push(part.piece);
        }
    }
    if !freed.is_empty() {
        space::free(transaction, &upload.id, None, freed)?;
    }
    transaction.remove_range(&keys::upload_parts(&upload.id))?;
    Ok(transaction.remove(&keys::upload(place, upload.key.as_bytes(), &upload.id))?)
}
