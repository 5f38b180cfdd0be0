//! The operations by their names, as s3s calls them: a typed input, an operation of [`Session`], a
//! typed output.
//!
//! s3s answers NotImplemented, with the name, for every operation that is not here. The table in
//! the README is made of [`NAMES`].

use std::rc::Rc;

use s3s::dto::*;
use s3s::{S3, S3ErrorCode, S3Request, S3Response, S3Result};
use send_wrapper::SendWrapper;

use super::access::{given_acl, shown_grants, shown_object_acl, shown_owner};
use super::attributes::{legal_hold, retention, shown_tags};
use super::given::{condition, etag, given, new_version_text, set_checksum, sum_text, sum_type, version_text};
use super::lifecycle::{expiration, shown_lifecycle};
use super::session::Session;
use super::settings::{shown_cors, shown_lock};
use crate::data::command::AttributeChange;
use crate::data::policy::is_public;
use crate::data::rows::{LockMode, Versioning};
use crate::fault::{Outcome, fault, not_implemented};
use crate::front::time::header_timestamp;

/// One request's operations.
pub(crate) struct Operations(SendWrapper<Rc<Session>>);

impl Operations {
    pub(crate) fn new(session: Rc<Session>) -> Self {
        Operations(SendWrapper::new(session))
    }
}

/// Defines operations, and the list of their names.
macro_rules! operations {
    ($( $method:ident $name:ident ($input:ident) -> $output:ident |$session:ident, $given:ident| $body:expr; )*) => {
        /// The operations that there are. Forms become a PutObject before s3s sees them.
        #[cfg(test)]
        pub(crate) const NAMES: &[&str] = &["PostObject", $( stringify!($name) ),*];

        #[async_trait::async_trait]
        #[allow(unused_mut, unused_variables)]
        impl S3 for Operations {
            $(
                async fn $method(&self, request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                    let $session: &Session = &self.0;
                    let mut $given = request.input;
                    let output: Outcome<$output> = $body;
                    output.map(S3Response::new)
                }
            )*
        }
    };
}

operations! {
    list_buckets ListBuckets(ListBucketsInput) -> ListBucketsOutput |session, input| session.list_buckets(input);
    create_bucket CreateBucket(CreateBucketInput) -> CreateBucketOutput |session, input| {
        let location = Some(format!("/{}", input.bucket));
        session.create_bucket(&mut input).map(|()| CreateBucketOutput { location })
    };
    delete_bucket DeleteBucket(DeleteBucketInput) -> DeleteBucketOutput |session, input| {
        session.delete_bucket(&input.bucket).map(|()| Default::default())
    };
    head_bucket HeadBucket(HeadBucketInput) -> HeadBucketOutput |session, input| {
        let found = session.bucket_for(&input.bucket, "s3:ListBucket");
        found.map(|bucket| HeadBucketOutput { bucket_region: Some(bucket.region), ..Default::default() })
    };
    get_bucket_location GetBucketLocation(GetBucketLocationInput) -> GetBucketLocationOutput |session, input| {
        let found = session.bucket_for(&input.bucket, "s3:GetBucketLocation");
        // The first region has no name.
        let name = |region: String| (region != "us-east-1").then(|| BucketLocationConstraint::from(region));
        found.map(|bucket| GetBucketLocationOutput { location_constraint: name(bucket.region) })
    };

    put_object PutObject(PutObjectInput) -> PutObjectOutput |session, input| {
        let (bucket, key) = (input.bucket.clone(), input.key.clone());
        let wanted = condition(input.if_match.as_ref(), input.if_none_match.as_ref());
        session.put_object(&bucket, &key, given!(input), wanted).map(|(bucket, details)| {
            let mut output = PutObjectOutput { e_tag: Some(etag(&details)), ..Default::default() };
            output.version_id = new_version_text(&details);
            output.expiration = expiration(&bucket, &details);
            if let Some(sum) = &details.checksum {
                output.checksum_type = Some(sum_type(sum));
                set_checksum!(output, sum.algorithm, sum_text(sum));
            }
            output
        })
    };
    get_object GetObject(GetObjectInput) -> GetObjectOutput |session, input| session.get_object(&input);
    head_object HeadObject(HeadObjectInput) -> HeadObjectOutput |session, input| {
        session.head_object(&input).map(|(output, partial)| {
            session.partial.set(partial);
            output
        })
    };
    delete_object DeleteObject(DeleteObjectInput) -> DeleteObjectOutput |session, input| session.delete_object(&input);
    delete_objects DeleteObjects(
        DeleteObjectsInput
    ) -> DeleteObjectsOutput |session, input| session.delete_objects(input);
    copy_object CopyObject(CopyObjectInput) -> CopyObjectOutput |session, input| {
        let given = given!(input);
        session.copy_object(&input, given)
    };
    get_object_attributes GetObjectAttributes(GetObjectAttributesInput) -> GetObjectAttributesOutput |session, input| {
        session.object_attributes(&input)
    };
    list_objects ListObjects(ListObjectsInput) -> ListObjectsOutput |session, input| session.list_objects(input);
    list_objects_v2 ListObjectsV2(
        ListObjectsV2Input
    ) -> ListObjectsV2Output |session, input| session.list_objects_v2(input);
    list_object_versions ListObjectVersions(ListObjectVersionsInput) -> ListObjectVersionsOutput |session, input| {
        session.list_object_versions(input)
    };

    create_multipart_upload CreateMultipartUpload(
        CreateMultipartUploadInput
    ) -> CreateMultipartUploadOutput |session, input| {
        let (bucket, key) = (input.bucket.clone(), input.key.clone());
        let algorithm = input.checksum_algorithm.as_ref().map(|algorithm| algorithm.as_str().to_owned());
        let kind = input.checksum_type.as_ref().map(|kind| kind.as_str().to_owned());
        session.create_upload(&bucket, &key, given!(input), algorithm.as_deref(), kind.as_deref())
    };
    upload_part UploadPart(UploadPartInput) -> UploadPartOutput |session, input| session.upload_part(&input);
    upload_part_copy UploadPartCopy(
        UploadPartCopyInput
    ) -> UploadPartCopyOutput |session, input| session.copy_part(&input);
    complete_multipart_upload CompleteMultipartUpload(
        CompleteMultipartUploadInput
    ) -> CompleteMultipartUploadOutput |session, input| {
        session.complete_upload(&input)
    };
    abort_multipart_upload AbortMultipartUpload(
        AbortMultipartUploadInput
    ) -> AbortMultipartUploadOutput |session, input| {
        session.abort_upload(&input.bucket, &input.key, &input.upload_id).map(|()| Default::default())
    };
    list_parts ListParts(ListPartsInput) -> ListPartsOutput |session, input| session.list_parts(input);
    list_multipart_uploads ListMultipartUploads(
        ListMultipartUploadsInput
    ) -> ListMultipartUploadsOutput |session, input| {
        session.list_multipart_uploads(input)
    };

    get_object_tagging GetObjectTagging(GetObjectTaggingInput) -> GetObjectTaggingOutput |session, input| {
        let found = session.look_at(&input.bucket, &input.key, input.version_id.as_deref(), "s3:GetObjectTagging");
        found.map(|(bucket, found)| GetObjectTaggingOutput {
            tag_set: shown_tags(&found.details.attributes.tags),
            version_id: version_text(&bucket, &found.details),
        })
    };
    put_object_tagging PutObjectTagging(PutObjectTaggingInput) -> PutObjectTaggingOutput |session, input| {
        let set = session.set_tags(&input.bucket, &input.key, input.version_id.as_deref(), input.tagging.tag_set);
        set.map(|version_id| PutObjectTaggingOutput { version_id })
    };
    delete_object_tagging DeleteObjectTagging(DeleteObjectTaggingInput) -> DeleteObjectTaggingOutput |session, input| {
        let set = session.set_tags(&input.bucket, &input.key, input.version_id.as_deref(), vec![]);
        set.map(|version_id| DeleteObjectTaggingOutput { version_id })
    };
    get_object_acl GetObjectAcl(GetObjectAclInput) -> GetObjectAclOutput |session, input| {
        session.look_at(&input.bucket, &input.key, input.version_id.as_deref(), "s3:GetObjectAcl").map(|(bucket, found)| {
            let (grants, owner) = shown_object_acl(&bucket, &found.details);
            GetObjectAclOutput { grants: Some(grants), owner: Some(owner), request_charged: None }
        })
    };
    put_object_acl PutObjectAcl(PutObjectAclInput) -> PutObjectAclOutput |session, input| {
        let given = given_acl!(input, with_write);
        let (policy, version) = (input.access_control_policy.take(), input.version_id.as_deref());
        session.set_object_acl(&input.bucket, &input.key, version, &given, policy).map(|()| Default::default())
    };
    get_object_retention GetObjectRetention(GetObjectRetentionInput) -> GetObjectRetentionOutput |session, input| {
        let found = session.look_at(&input.bucket, &input.key, input.version_id.as_deref(), "s3:GetObjectRetention");
        found.and_then(|(bucket, found)| {
            must_have_lock(&bucket)?;
            let missing = || fault(S3ErrorCode::NoSuchObjectLockConfiguration, "The specified object does not have a \
                ObjectLock configuration");
            let retention = found.details.attributes.retention.ok_or_else(missing)?;
            let mode = match retention.mode {
                LockMode::Governance => ObjectLockRetentionMode::GOVERNANCE,
                LockMode::Compliance => ObjectLockRetentionMode::COMPLIANCE,
            };
            let (mode, until) = (ObjectLockRetentionMode::from_static(mode), header_timestamp(retention.until_us));
            let shown = ObjectLockRetention { mode: Some(mode), retain_until_date: Some(until) };
            Ok(GetObjectRetentionOutput { retention: Some(shown) })
        })
    };
    put_object_retention PutObjectRetention(PutObjectRetentionInput) -> PutObjectRetentionOutput |session, input| {
        let wanted = input.retention.as_ref();
        let mode = wanted.and_then(|wanted| wanted.mode.as_ref()).map(|mode| mode.as_str());
        let until = wanted.and_then(|wanted| wanted.retain_until_date.as_ref());
        let bypass = input.bypass_governance_retention.unwrap_or(false);
        let wanted = retention(mode, until).map_err(|error| fault(S3ErrorCode::MalformedXML, message(&error)));
        let set = wanted.and_then(|retention| {
            let change = AttributeChange::Retention(retention);
            session.set_attributes(&input.bucket, &input.key, input.version_id.as_deref(), change, bypass)
        });
        set.map(|_| Default::default())
    };
    get_object_legal_hold GetObjectLegalHold(GetObjectLegalHoldInput) -> GetObjectLegalHoldOutput |session, input| {
        let found = session.look_at(&input.bucket, &input.key, input.version_id.as_deref(), "s3:GetObjectLegalHold");
        found.and_then(|(bucket, found)| {
            must_have_lock(&bucket)?;
            let held = found.details.attributes.legal_hold;
            let status = if held { ObjectLockLegalHoldStatus::ON } else { ObjectLockLegalHoldStatus::OFF };
            let status = Some(ObjectLockLegalHoldStatus::from_static(status));
            Ok(GetObjectLegalHoldOutput { legal_hold: Some(ObjectLockLegalHold { status }) })
        })
    };
    put_object_legal_hold PutObjectLegalHold(PutObjectLegalHoldInput) -> PutObjectLegalHoldOutput |session, input| {
        let status = input.legal_hold.as_ref().and_then(|hold| hold.status.as_ref()).map(|status| status.as_str());
        let status = status.ok_or_else(|| fault(S3ErrorCode::MalformedXML, "the request has no Status"));
        let wanted = status.and_then(|status| {
            legal_hold(Some(status)).map_err(|error| fault(S3ErrorCode::MalformedXML, message(&error)))
        });
        let set = wanted.and_then(|hold| {
            let change = AttributeChange::LegalHold(hold);
            session.set_attributes(&input.bucket, &input.key, input.version_id.as_deref(), change, false)
        });
        set.map(|_| Default::default())
    };

    get_bucket_versioning GetBucketVersioning(GetBucketVersioningInput) -> GetBucketVersioningOutput |session, input| {
        session.bucket_for(&input.bucket, "s3:GetBucketVersioning").map(|bucket| {
            let status = match bucket.configuration.versioning {
                Versioning::Off => None,
                Versioning::Enabled => Some(BucketVersioningStatus::ENABLED),
                Versioning::Suspended => Some(BucketVersioningStatus::SUSPENDED),
            };
            GetBucketVersioningOutput { mfa_delete: None, status: status.map(BucketVersioningStatus::from_static) }
        })
    };
    put_bucket_versioning PutBucketVersioning(PutBucketVersioningInput) -> PutBucketVersioningOutput |session, input| {
        session.set_versioning(&input.bucket, &input.versioning_configuration).map(|()| Default::default())
    };
    get_bucket_acl GetBucketAcl(GetBucketAclInput) -> GetBucketAclOutput |session, input| {
        session.bucket_for(&input.bucket, "s3:GetBucketAcl").map(|bucket| {
            let grants = Some(shown_grants(&bucket.configuration.acl, &bucket.owner));
            GetBucketAclOutput { grants, owner: Some(shown_owner(&bucket.owner)) }
        })
    };
    put_bucket_acl PutBucketAcl(PutBucketAclInput) -> PutBucketAclOutput |session, input| {
        let given = given_acl!(input, with_write);
        let policy = input.access_control_policy.take();
        session.set_bucket_acl(&input.bucket, &given, policy).map(|()| Default::default())
    };
    get_bucket_policy GetBucketPolicy(GetBucketPolicyInput) -> GetBucketPolicyOutput |session, input| {
        session.bucket_for(&input.bucket, "s3:GetBucketPolicy").and_then(|bucket| {
            let missing = || fault(S3ErrorCode::NoSuchBucketPolicy, "The bucket policy does not exist");
            let (text, _) = bucket.configuration.policy.ok_or_else(missing)?;
            Ok(GetBucketPolicyOutput { policy: Some(text) })
        })
    };
    put_bucket_policy PutBucketPolicy(PutBucketPolicyInput) -> PutBucketPolicyOutput |session, input| {
        session.set_policy(&input.bucket, Some(&input.policy)).map(|()| Default::default())
    };
    delete_bucket_policy DeleteBucketPolicy(DeleteBucketPolicyInput) -> DeleteBucketPolicyOutput |session, input| {
        session.set_policy(&input.bucket, None).map(|()| Default::default())
    };
    get_bucket_policy_status GetBucketPolicyStatus(
        GetBucketPolicyStatusInput
    ) -> GetBucketPolicyStatusOutput |session, input| {
        session.bucket_for(&input.bucket, "s3:GetBucketPolicyStatus").map(|bucket| {
            let configuration = &bucket.configuration;
            let by_policy = configuration.policy.iter().any(|(_, statements)| is_public(statements));
            let by_list = !configuration.has_no_acls() && configuration.acl.is_public();
            let status = PolicyStatus { is_public: Some(by_policy || by_list) };
            GetBucketPolicyStatusOutput { policy_status: Some(status) }
        })
    };
    get_bucket_cors GetBucketCors(GetBucketCorsInput) -> GetBucketCorsOutput |session, input| {
        session.bucket_for(&input.bucket, "s3:GetBucketCORS").and_then(|bucket| {
            let rules: Vec<CORSRule> = bucket.configuration.cors.iter().map(shown_cors).collect();
            if rules.is_empty() {
                return Err(fault(S3ErrorCode::NoSuchCORSConfiguration, "The CORS configuration does not exist"));
            }
            Ok(GetBucketCorsOutput { cors_rules: Some(rules) })
        })
    };
    put_bucket_cors PutBucketCors(PutBucketCorsInput) -> PutBucketCorsOutput |session, input| {
        session.set_cors(&input.bucket, input.cors_configuration.cors_rules).map(|()| Default::default())
    };
    delete_bucket_cors DeleteBucketCors(DeleteBucketCorsInput) -> DeleteBucketCorsOutput |session, input| {
        session.set_cors(&input.bucket, vec![]).map(|()| Default::default())
    };
    get_bucket_lifecycle_configuration GetBucketLifecycleConfiguration(
        GetBucketLifecycleConfigurationInput
    ) -> GetBucketLifecycleConfigurationOutput |session, input| {
        session.bucket_for(&input.bucket, "s3:GetLifecycleConfiguration").and_then(|bucket| {
            let rules: Vec<LifecycleRule> = bucket.configuration.lifecycle.iter().map(shown_lifecycle).collect();
            if rules.is_empty() {
                return Err(fault(S3ErrorCode::NoSuchLifecycleConfiguration, "The lifecycle configuration does not \
                    exist"));
            }
            Ok(GetBucketLifecycleConfigurationOutput { rules: Some(rules), ..Default::default() })
        })
    };
    put_bucket_lifecycle_configuration PutBucketLifecycleConfiguration(
        PutBucketLifecycleConfigurationInput
    ) -> PutBucketLifecycleConfigurationOutput |session, input| {
        session.set_lifecycle(&input.bucket, input.lifecycle_configuration).map(|()| Default::default())
    };
    delete_bucket_lifecycle DeleteBucketLifecycle(
        DeleteBucketLifecycleInput
    ) -> DeleteBucketLifecycleOutput |session, input| {
        session.set_lifecycle(&input.bucket, None).map(|()| Default::default())
    };
    get_bucket_tagging GetBucketTagging(GetBucketTaggingInput) -> GetBucketTaggingOutput |session, input| {
        session.bucket_tags(&input.bucket).map(|tag_set| GetBucketTaggingOutput { tag_set })
    };
    put_bucket_tagging PutBucketTagging(PutBucketTaggingInput) -> PutBucketTaggingOutput |session, input| {
        session.set_bucket_tags(&input.bucket, input.tagging.tag_set).map(|()| Default::default())
    };
    delete_bucket_tagging DeleteBucketTagging(DeleteBucketTaggingInput) -> DeleteBucketTaggingOutput |session, input| {
        session.set_bucket_tags(&input.bucket, vec![]).map(|()| Default::default())
    };
    get_public_access_block GetPublicAccessBlock(
        GetPublicAccessBlockInput
    ) -> GetPublicAccessBlockOutput |session, input| {
        session.bucket_for(&input.bucket, "s3:GetBucketPublicAccessBlock").and_then(|bucket| {
            let why = "The public access block configuration was not found";
            let missing = || crate::fault::other("NoSuchPublicAccessBlockConfiguration", 404, why);
            let block = bucket.configuration.public_access.ok_or_else(missing)?;
            let shown = PublicAccessBlockConfiguration {
                block_public_acls: Some(block.block_acls),
                block_public_policy: Some(block.block_policy),
                ignore_public_acls: Some(block.ignore_acls),
                restrict_public_buckets: Some(block.restrict),
            };
            Ok(GetPublicAccessBlockOutput { public_access_block_configuration: Some(shown) })
        })
    };
    put_public_access_block PutPublicAccessBlock(
        PutPublicAccessBlockInput
    ) -> PutPublicAccessBlockOutput |session, input| {
        let block = &input.public_access_block_configuration;
        session.set_public_access(&input.bucket, Some(block)).map(|()| Default::default())
    };
    delete_public_access_block DeletePublicAccessBlock(
        DeletePublicAccessBlockInput
    ) -> DeletePublicAccessBlockOutput |session, input| {
        session.set_public_access(&input.bucket, None).map(|()| Default::default())
    };
    get_object_lock_configuration GetObjectLockConfiguration(
        GetObjectLockConfigurationInput
    ) -> GetObjectLockConfigurationOutput |session, input| {
        let found = session.bucket_for(&input.bucket, "s3:GetBucketObjectLockConfiguration");
        let shown = found.and_then(|bucket| shown_lock(&bucket.configuration));
        shown.map(|shown| GetObjectLockConfigurationOutput { object_lock_configuration: Some(shown) })
    };
    put_object_lock_configuration PutObjectLockConfiguration(
        PutObjectLockConfigurationInput
    ) -> PutObjectLockConfigurationOutput |session, input| {
        session.set_lock(&input.bucket, input.object_lock_configuration.as_ref()).map(|()| Default::default())
    };
    get_bucket_ownership_controls GetBucketOwnershipControls(
        GetBucketOwnershipControlsInput
    ) -> GetBucketOwnershipControlsOutput |session, input| {
        session.bucket_for(&input.bucket, "s3:GetBucketOwnershipControls").and_then(|bucket| {
            let missing = || fault(S3ErrorCode::OwnershipControlsNotFoundError, "The bucket ownership controls were \
                not found");
            let object_ownership = ObjectOwnership::from(bucket.configuration.ownership.ok_or_else(missing)?);
            let rules = vec![OwnershipControlsRule { object_ownership }];
            Ok(GetBucketOwnershipControlsOutput { ownership_controls: Some(OwnershipControls { rules }) })
        })
    };
    put_bucket_ownership_controls PutBucketOwnershipControls(
        PutBucketOwnershipControlsInput
    ) -> PutBucketOwnershipControlsOutput |session, input| {
        session.set_ownership(&input.bucket, Some(&input.ownership_controls)).map(|()| Default::default())
    };
    delete_bucket_ownership_controls DeleteBucketOwnershipControls(
        DeleteBucketOwnershipControlsInput
    ) -> DeleteBucketOwnershipControlsOutput |session, input| {
        session.set_ownership(&input.bucket, None).map(|()| Default::default())
    };

    // What cannot be set is absent, and says so as the API does.
    get_bucket_encryption GetBucketEncryption(GetBucketEncryptionInput) -> GetBucketEncryptionOutput |session, input| {
        let found = session.bucket_for(&input.bucket, "s3:GetEncryptionConfiguration");
        let code = "ServerSideEncryptionConfigurationNotFoundError";
        let missing = || crate::fault::other(code, 404, "The server side encryption configuration was not found");
        found.and_then(|_| Err(missing()))
    };
    get_bucket_website GetBucketWebsite(GetBucketWebsiteInput) -> GetBucketWebsiteOutput |session, input| {
        let found = session.bucket_for(&input.bucket, "s3:GetBucketWebsite");
        found.and_then(|_| Err(fault(S3ErrorCode::NoSuchWebsiteConfiguration, "The specified bucket does not have a \
            website configuration")))
    };
    get_bucket_replication GetBucketReplication(
        GetBucketReplicationInput
    ) -> GetBucketReplicationOutput |session, input| {
        let found = session.bucket_for(&input.bucket, "s3:GetReplicationConfiguration");
        found.and_then(|_| Err(fault(S3ErrorCode::ReplicationConfigurationNotFoundError, "The replication \
            configuration was not found")))
    };
    get_bucket_logging GetBucketLogging(GetBucketLoggingInput) -> GetBucketLoggingOutput |session, input| {
        session.bucket_for(&input.bucket, "s3:GetBucketLogging").map(|_| Default::default())
    };
    get_bucket_notification_configuration GetBucketNotificationConfiguration(
        GetBucketNotificationConfigurationInput
    ) -> GetBucketNotificationConfigurationOutput |session, input| {
        session.bucket_for(&input.bucket, "s3:GetBucketNotification").map(|_| Default::default())
    };
    get_bucket_accelerate_configuration GetBucketAccelerateConfiguration(
        GetBucketAccelerateConfigurationInput
    ) -> GetBucketAccelerateConfigurationOutput |session, input| {
        session.bucket_for(&input.bucket, "s3:GetAccelerateConfiguration").map(|_| Default::default())
    };
    get_bucket_request_payment GetBucketRequestPayment(
        GetBucketRequestPaymentInput
    ) -> GetBucketRequestPaymentOutput |session, input| {
        let found = session.bucket_for(&input.bucket, "s3:GetBucketRequestPayment");
        found.map(|_| GetBucketRequestPaymentOutput { payer: Some(Payer::from_static(Payer::BUCKET_OWNER)) })
    };
}

fn message(error: &s3s::S3Error) -> String {
    error.message().unwrap_or_default().to_owned()
}

fn must_have_lock(bucket: &crate::data::rows::Bucket) -> Outcome<()> {
    if bucket.configuration.lock {
        return Ok(());
    }
    Err(fault(S3ErrorCode::InvalidRequest, "Bucket is missing Object Lock Configuration"))
}

impl Session {
    fn set_ownership(&self, name: &str, controls: Option<&OwnershipControls>) -> Outcome<()> {
        let ownership = match controls.map(|controls| controls.rules.as_slice()) {
            None => None,
            Some([rule]) => match rule.object_ownership.as_str() {
                known @ ("BucketOwnerEnforced" | "BucketOwnerPreferred" | "ObjectWriter") => Some(known.to_owned()),
                other => return Err(not_implemented(&format!("the object ownership '{other}'"))),
            },
            Some(_) => return Err(fault(S3ErrorCode::MalformedXML, "ownership controls have one rule")),
        };
        self.configure(name, "s3:PutBucketOwnershipControls", |configuration| {
            if ownership.as_deref() == Some("BucketOwnerEnforced") && configuration.acl.is_shared() {
                return Err(super::buckets::shared_without_acls());
            }
            configuration.ownership = ownership;
            Ok(())
        })
    }

    fn object_attributes(&self, input: &GetObjectAttributesInput) -> Outcome<GetObjectAttributesOutput> {
        let found = self.look_at(&input.bucket, &input.key, input.version_id.as_deref(), "s3:GetObjectAttributes");
        let (bucket, found) = found?;
        // One header names them all, or each its own.
        let names = input.object_attributes.iter().flat_map(|attributes| attributes.as_str().split(','));
        let names: Vec<&str> = names.map(str::trim).collect();
        let wants = |name: &str| names.contains(&name);
        let details = &found.details;
        let mut output = GetObjectAttributesOutput {
            last_modified: Some(header_timestamp(details.version.time_us)),
            version_id: version_text(&bucket, details),
            ..Default::default()
        };
        output.e_tag = wants("ETag").then(|| etag(details));
        output.object_size = i64::try_from(details.version.size).ok().filter(|_| wants("ObjectSize"));
        output.storage_class = wants("StorageClass").then(|| StorageClass::from_static(StorageClass::STANDARD));
        if let Some(sum) = details.checksum.as_ref().filter(|_| wants("Checksum")) {
            let mut checksum = Checksum { checksum_type: Some(sum_type(sum)), ..Default::default() };
            set_checksum!(checksum, sum.algorithm, sum_text(sum));
            output.checksum = Some(checksum);
        }
        if wants("ObjectParts") && details.parts.is_some() {
            let marker = input.part_number_marker.unwrap_or(0).max(0);
            let limit = usize::try_from(input.max_parts.unwrap_or(1000)).unwrap_or(0).min(1000);
            let algorithm = details.checksum.as_ref().map(|sum| sum.algorithm);
            let rest: Vec<_> = found.parts.iter().filter(|part| i32::from(part.number) > marker).collect();
            let shown = rest.iter().take(limit).map(|part| {
                let mut shown = ObjectPart {
                    part_number: Some(part.number.into()),
                    size: i64::try_from(part.size).ok(),
                    ..Default::default()
                };
                if let (Some(algorithm), Some(value)) = (algorithm, &part.checksum) {
                    set_checksum!(shown, algorithm, crate::digest::base64(value));
                }
                shown
            });
            let shown: Vec<ObjectPart> = shown.collect();
            output.object_parts = Some(GetObjectAttributesParts {
                is_truncated: Some(rest.len() > limit),
                max_parts: i32::try_from(limit).ok(),
                next_part_number_marker: shown.last().and_then(|part| part.part_number),
                part_number_marker: Some(marker),
                parts: Some(shown),
                total_parts_count: details.parts.and_then(|parts| i32::try_from(parts).ok()),
            });
        }
        Ok(output)
    }
}
