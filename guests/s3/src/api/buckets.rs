//! Buckets, and the list of them.

use recoil_sdk::Mode;
use s3s::S3ErrorCode;
use s3s::dto::{Bucket as ListedBucket, CreateBucketInput, ListBucketsInput, ListBucketsOutput};

use super::access::{given_acl, shown_owner};
use super::session::{Session, unexpected};
use crate::data::access::{Owner, User};
use crate::data::command::{Answer, Command};
use crate::data::keys;
use crate::data::rows::{Bucket, Configuration, Place, State, Versioning};
use crate::fault::{Outcome, denied, fault, invalid, not_implemented};
use crate::front::time::timestamp;

/// Shards of a new bucket's index.
pub(super) const SHARDS: u16 = 16;
/// Buckets of a page.
const PAGE_MAX: i32 = 10_000;
/// How often a shard is asked to close that still has something to do.
const CLOSE_ATTEMPTS_MAX: u32 = 1000;

impl Session {
    /// Who asks, if it is somebody with a key.
    fn user(&self) -> Outcome<User> {
        self.caller().user.ok_or_else(|| denied("Access Denied"))
    }

    pub(super) fn create_bucket(&self, input: &mut CreateBucketInput) -> Outcome<()> {
        let user = self.user()?;
        if user.grants.read_only || !user.grants.buckets.is_empty() {
            return Err(denied("this key was made for certain buckets, or for reading, and makes no buckets"));
        }
        // As names of hosts, which buckets are too where the setting `domain` is given.
        if input.bucket.split('.').any(|label| label.starts_with('-') || label.ends_with('-')) {
            return Err(fault(S3ErrorCode::InvalidBucketName, "The specified bucket is not valid."));
        }
        let region = input.create_bucket_configuration.as_ref().and_then(|configuration| {
            let unsupported = configuration.bucket.is_some() || configuration.location.is_some();
            if unsupported {
                Some(Err(not_implemented("directory buckets")))
            } else {
                configuration.location_constraint.clone().map(Ok)
            }
        });
        if let Some(region) = region.transpose()?
            && !region.as_str().is_empty()
            && region.as_str() != self.region
        {
            let why = format!("The specified location-constraint is not valid: this is the region '{}'", self.region);
            return Err(fault(S3ErrorCode::InvalidLocationConstraint, why));
        }
        let lock = input.object_lock_enabled_for_bucket.unwrap_or(false);
        let acl = self.given_acl(&given_acl!(input, with_write), None)?.unwrap_or_default();
        let configuration = Configuration {
            acl: acl.of_owner(&user.owner),
            lock,
            versioning: if lock { Versioning::Enabled } else { Versioning::Off },
            ownership: input.object_ownership.as_ref().map(|ownership| ownership.as_str().to_owned()),
            ..Default::default()
        };
        if configuration.has_no_acls() && configuration.acl.is_shared() {
            return Err(shared_without_acls());
        }
        let new = Bucket {
            id: self.id(),
            name: input.bucket.clone(),
            owner: user.owner.clone(),
            region: self.region.clone(),
            created_us: 0,
            shards: SHARDS,
            state: State::Opening,
            epoch: 1,
            unsettled: false,
            configuration,
        };
        let wanted = new.configuration.clone();
        let create = Command::CreateBucket { bucket: Box::new(new) };
        let bucket = match self.write(keys::bucket_address(&input.bucket), &create)? {
            Answer::Bucket { bucket, .. } => bucket,
            other => return Err(unexpected(&other)),
        };
        if bucket.owner.id != user.owner.id {
            let why = format!("The requested bucket name is not available, somebody else has it: {}", bucket.name);
            return Err(fault(S3ErrorCode::BucketAlreadyExists, why));
        }
        if bucket.state == State::Open {
            return self.create_again(&bucket, &wanted);
        }
        self.open(*bucket)
    }

    /// Making a bucket that one has: in the first region that is no error, as it is none in S3,
    /// unless the new one would be another.
    fn create_again(&self, bucket: &Bucket, wanted: &Configuration) -> Outcome<()> {
        if self.region != "us-east-1" {
            let why = format!(
                "Your previous request to create the named bucket succeeded and you already own it: {}",
                bucket.name
            );
            return Err(fault(S3ErrorCode::BucketAlreadyOwnedByYou, why));
        }
        let known = &bucket.configuration;
        let is_same = known.acl == wanted.acl
            && (!wanted.lock || known.lock)
            && (wanted.ownership.is_none() || known.ownership == wanted.ownership);
        if is_same {
            return Ok(());
        }
        let why = format!("The bucket {} exists, with another access control list or other settings", bucket.name);
        Err(fault(S3ErrorCode::BucketAlreadyExists, why))
    }

    /// Makes a bucket's shards, or opens them again.
    fn open(&self, bucket: Bucket) -> Outcome<()> {
        let was_closing = bucket.state == State::Closing;
        let bucket = self.settle(bucket)?;
        if was_closing {
            self.reopen(&bucket)?;
        }
        let (name, id, created_us) = (bucket.name.clone(), bucket.id, bucket.created_us);
        let owner = bucket.owner.id.clone();
        self.write(keys::list_address(), &Command::List { owner, name: name.clone(), id, created_us })?;
        let open = Command::SetState { name, id, state: State::Open };
        self.write(keys::bucket_address(&bucket.name), &open).map(drop)
    }

    fn reopen(&self, bucket: &Bucket) -> Outcome<()> {
        for shard in 0..bucket.shards {
            let place = Place { bucket: bucket.id, shard };
            self.write(keys::shard_address(&place), &Command::Reopen { place })?;
        }
        Ok(())
    }

    pub(super) fn delete_bucket(&self, name: &str) -> Outcome<()> {
        let bucket = self.bucket_for(name, "s3:DeleteBucket")?;
        let id = bucket.id;
        let closing = Command::SetState { name: name.to_owned(), id, state: State::Closing };
        self.write(keys::bucket_address(name), &closing)?;
        for shard in 0..bucket.shards {
            if !self.close(Place { bucket: id, shard })? {
                self.reopen(&bucket)?;
                let open = Command::SetState { name: name.to_owned(), id, state: State::Open };
                self.write(keys::bucket_address(name), &open)?;
                let why = "The bucket you tried to delete is not empty. You must delete all versions in the bucket.";
                return Err(fault(S3ErrorCode::BucketNotEmpty, why));
            }
        }
        let owner = bucket.owner.id.clone();
        self.write(keys::list_address(), &Command::Unlist { owner, name: name.to_owned(), id })?;
        for shard in 0..bucket.shards {
            let place = Place { bucket: id, shard };
            self.write(keys::shard_address(&place), &Command::Drop { place })?;
        }
        self.write(keys::bucket_address(name), &Command::RemoveBucket { name: name.to_owned(), id }).map(drop)
    }

    fn close(&self, place: Place) -> Outcome<bool> {
        for _ in 0..CLOSE_ATTEMPTS_MAX {
            match self.write(keys::shard_address(&place), &Command::Close { place })? {
                Answer::Closed { again: true, .. } => {}
                Answer::Closed { closed, .. } => return Ok(closed),
                other => return Err(unexpected(&other)),
            }
        }
        Err(fault(
            S3ErrorCode::OperationAborted,
            "the bucket has too many uploads under way to remove it at once; try again",
        ))
    }

    pub(super) fn list_buckets(&self, input: ListBucketsInput) -> Outcome<ListBucketsOutput> {
        let user = self.user()?;
        let limit = input.max_buckets.unwrap_or(PAGE_MAX);
        if !(1..=PAGE_MAX).contains(&limit) {
            return Err(invalid(format!("Argument max-buckets must be an integer between 1 and {PAGE_MAX}")));
        }
        let prefix = input.prefix.clone().unwrap_or_default();
        let after = input.continuation_token.unwrap_or_default();
        let (mut names, mut more) = self.owned_names(&user.owner, &prefix, &after, limit)?;
        if !user.grants.buckets.is_empty() {
            let granted = user.grants.buckets.iter().filter(|name| name.starts_with(&prefix) && **name > after);
            names.extend(granted.filter_map(|name| Some((name.clone(), self.bucket(name).ok()?.created_us))));
            names.sort();
            names.dedup();
            more |= names.len() > limit as usize;
            names.truncate(limit as usize);
        }
        let continuation_token = names.last().filter(|_| more).map(|(name, _)| name.clone());
        let with_region = input.max_buckets.is_some() || input.bucket_region.is_some();
        let wanted = input.bucket_region.is_none_or(|region| region == self.region);
        let buckets = names.into_iter().filter(|_| wanted).map(|(name, created_us)| ListedBucket {
            bucket_region: with_region.then(|| self.region.clone()),
            creation_date: Some(timestamp(created_us)),
            name: Some(name),
        });
        Ok(ListBucketsOutput {
            buckets: Some(buckets.collect()),
            continuation_token,
            owner: Some(shown_owner(&user.owner)),
            prefix: input.prefix,
        })
    }

    /// Names and births of somebody's buckets, and whether there are more of them.
    fn owned_names(&self, owner: &Owner, prefix: &str, after: &str, limit: i32) -> Outcome<(Vec<(String, u64)>, bool)> {
        let (prefix, after) = (prefix.to_owned(), after.to_owned());
        let command = Command::Names { owner: owner.id.clone(), prefix, after, limit: limit as u32 };
        let (answer, _) = self.call(recoil_sdk::Address::Key(keys::list_address()), &command, b"", Mode::Read)?;
        match answer {
            Answer::Names { names, more } => Ok((names, more)),
            other => Err(unexpected(&other)),
        }
    }
}

/// A bucket's list gives something to others, and lists are to be turned off.
pub(super) fn shared_without_acls() -> s3s::S3Error {
    let why = "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting";
    crate::fault::other("InvalidBucketAclWithObjectOwnership", 400, why)
}
