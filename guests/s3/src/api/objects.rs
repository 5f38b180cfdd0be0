//! Objects: put and delete.

use recoil_sdk::{Mode, RoutedCall};
use s3s::S3ErrorCode;
use s3s::dto::{
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject,
    Error as ListedError, ObjectIdentifier,
};

use super::given::{Given, check_key, condition, version};
use super::session::{Session, unexpected};
use super::transfer::{Purpose, Stored};
use crate::data::command::{Answer, Bytes, Condition, NewVersion, Operation, VersionName};
use crate::data::rows::{Attributes, Bucket, Details, Sum};
use crate::fault::{Outcome, fault, internal, invalid};
use crate::front::time::seconds;

/// Keys that one request may delete.
pub(super) const DELETED_MAX: usize = 1000;

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
        self.must_write(&bucket, key)?;
        let attributes = self.attributes(given, &bucket)?;
        let body = Box::new(self.take_body()?);
        let purpose = Purpose { bucket: &bucket, key, upload: None, condition };
        let stored = self.store(&purpose, body)?;
        let details = self.commit(&purpose, stored, attributes)?;
        Ok((bucket, details))
    }

    /// Makes a version of what was stored.
    pub(super) fn commit(&self, purpose: &Purpose<'_>, stored: Stored, attributes: Attributes) -> Outcome<Details> {
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

    pub(super) fn delete_object(&self, input: &DeleteObjectInput) -> Outcome<DeleteObjectOutput> {
        let bucket = self.bucket(&input.bucket)?;
        let mut condition = condition(input.if_match.as_ref(), None);
        condition.size = size(input.if_match_size)?;
        condition.modified_s = input.if_match_last_modified_time.as_ref().map(seconds);
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
        deleted_name(&self.key(bucket, key, delete, Mode::Write)?.0, version)
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
        let calls: Vec<Outcome<RoutedCall>> =
            objects.iter().map(|object| self.delete_listed(&bucket, object, bypass)).collect();
        let sent: Vec<RoutedCall> = calls.iter().filter_map(|call| call.as_ref().ok().cloned()).collect();
        let mut answers = self.write_many(&sent).into_iter();
        let (mut deleted, mut errors) = (Vec::new(), Vec::new());
        for (object, call) in objects.into_iter().zip(calls) {
            let answer = call.and_then(|_| answers.next().unwrap_or_else(|| Err(internal("an answer is missing"))));
            match answer.and_then(|answer| deleted_name(&answer, version(object.version_id.as_deref())?)) {
                Ok((marker, name)) if !quiet => deleted.push(DeletedObject {
                    delete_marker: marker.then_some(true),
                    delete_marker_version_id: name.filter(|_| marker),
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

    /// The call that deletes one of many.
    fn delete_listed(&self, bucket: &Bucket, object: &ObjectIdentifier, bypass: bool) -> Outcome<RoutedCall> {
        check_key(&object.key)?;
        let condition = Condition {
            matches: object.e_tag.as_ref().map(|etag| etag.value().to_owned()),
            none_matches: None,
            size: size(object.size)?,
            modified_s: object.last_modified_time.as_ref().map(seconds),
        };
        let version = version(object.version_id.as_deref())?;
        let delete = Operation::Delete { version, marker: self.id(), condition, bypass };
        self.key_call(bucket, &object.key, delete)
    }
}

fn size(size: Option<i64>) -> Outcome<Option<u64>> {
    size.map(|size| u64::try_from(size).map_err(|_| invalid("a size is negative"))).transpose()
}

/// Whether what was deleted, or what came to be, is a delete marker, and the version's name.
fn deleted_name(answer: &Answer, asked: Option<VersionName>) -> Outcome<(bool, Option<String>)> {
    match answer {
        Answer::Deleted { marker, version } => Ok((*marker, version.or(asked).map(VersionName::text))),
        other => Err(unexpected(other)),
    }
}
