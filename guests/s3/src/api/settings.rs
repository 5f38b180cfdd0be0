//! What can be set of a bucket: versioning, access, policy, object lock, CORS, tags.

use recoil_sdk::Mode;
use s3s::S3ErrorCode;
use s3s::dto::{
    AccessControlPolicy, CORSRule, ObjectLockConfiguration, PublicAccessBlockConfiguration, Tag,
    VersioningConfiguration,
};

use super::access::GivenAcl;
use super::attributes::{BUCKET_TAGS_MAX, mode, shown_tags, tags};
use super::session::{Session, unexpected};
use crate::data::command::{Answer, Change, Command};
use crate::data::keys;
use crate::data::policy::{Question, Refusal, compile, is_public};
use crate::data::rows::{Bucket, Configuration, CorsRule, DefaultRetention, LockMode, PublicAccessBlock, Versioning};
use crate::fault::{Outcome, denied, fault, invalid_request, not_implemented};

/// Rules of CORS.
pub(super) const CORS_RULES_MAX: usize = 100;

pub(super) fn malformed(why: impl Into<String>) -> s3s::S3Error {
    fault(S3ErrorCode::MalformedXML, why)
}

impl Session {
    /// A bucket, for who may do `action` to it.
    pub(super) fn bucket_for(&self, name: &str, action: &str) -> Outcome<Bucket> {
        let bucket = self.bucket(name)?;
        let (caller, now_us) = (self.caller(), self.machine.now_us());
        let question = Question { bucket: &bucket, caller: &caller, action, key: None, object: None, now_us };
        if question.may() {
            return Ok(bucket);
        }
        Err(denied(format!("you are not allowed to {action}")))
    }

    /// Refuses a write before its body is read, so that its client need not send it. It is decided
    /// again where it is done.
    pub(super) fn must_write(&self, bucket: &Bucket, key: &str) -> Outcome<()> {
        let (caller, now_us) = (self.caller(), self.machine.now_us());
        let action = "s3:PutObject";
        let question = Question { bucket, caller: &caller, action, key: Some(key), object: None, now_us };
        if question.may() { Ok(()) } else { Err(denied(format!("you are not allowed to {action} here"))) }
    }

    /// Changes a bucket's configuration, in the directory and then in every shard.
    pub(super) fn configure(
        &self,
        name: &str,
        action: &str,
        change: impl FnOnce(&mut Configuration) -> Outcome<()>,
    ) -> Outcome<()> {
        let bucket = self.bucket_for(name, action)?;
        let mut configuration = bucket.configuration.clone();
        change(&mut configuration)?;
        let change = Box::new(Change { action: action.to_owned(), configuration, epoch: bucket.epoch });
        let command = Command::Configure { name: name.to_owned(), id: bucket.id, caller: self.caller(), change };
        let answer = self.call(recoil_sdk::Address::Key(keys::bucket_address(name)), &command, b"", Mode::Write)?.0;
        match answer {
            Answer::Bucket { bucket, .. } => self.settle(*bucket).map(drop),
            Answer::Absent => Err(fault(S3ErrorCode::NoSuchBucket, "The specified bucket does not exist")),
            other => Err(unexpected(&other)),
        }
    }

    pub(super) fn set_versioning(&self, name: &str, versioning: &VersioningConfiguration) -> Outcome<()> {
        if versioning.mfa_delete.as_ref().is_some_and(|delete| delete.as_str() != "Disabled") {
            return Err(not_implemented("MFA delete"));
        }
        let status = match versioning.status.as_ref().map(|status| status.as_str()) {
            Some("Enabled") => Versioning::Enabled,
            Some("Suspended") => Versioning::Suspended,
            _ => return Err(malformed("the Status of versioning is Enabled or Suspended")),
        };
        self.configure(name, "s3:PutBucketVersioning", |configuration| {
            if configuration.lock && status == Versioning::Suspended {
                let why = "An Object Lock configuration is present on this bucket, so the versioning state cannot be \
                    changed.";
                return Err(fault(S3ErrorCode::InvalidBucketState, why));
            }
            configuration.versioning = status;
            Ok(())
        })
    }

    pub(super) fn set_bucket_acl(
        &self,
        name: &str,
        given: &GivenAcl,
        policy: Option<AccessControlPolicy>,
    ) -> Outcome<()> {
        // Decided before anybody is looked up for somebody who may not ask, and again in the change.
        let bucket = self.bucket_for(name, "s3:PutBucketAcl")?;
        let acl = self.chosen_acl(given, policy, &bucket.owner, None)?;
        if let Some((code, why)) = bucket.acl_refusal(&acl) {
            return Err(fault(code, why));
        }
        let acl = acl.of_owner(&bucket.owner);
        self.configure(name, "s3:PutBucketAcl", |configuration| {
            configuration.acl = acl;
            Ok(())
        })
    }

    pub(super) fn set_policy(&self, name: &str, policy: Option<&str>) -> Outcome<()> {
        let action = if policy.is_some() { "s3:PutBucketPolicy" } else { "s3:DeleteBucketPolicy" };
        self.configure(name, action, |configuration| {
            let compiled = policy.map(|text| Ok((text.to_owned(), compile(name, text)?))).transpose();
            let compiled = compiled.map_err(|refusal: Refusal| match refusal {
                Refusal::Malformed(why) => fault(S3ErrorCode::MalformedPolicy, why),
                Refusal::NotImplemented(why) => fault(S3ErrorCode::NotImplemented, why),
            })?;
            let blocked = configuration.public_access.is_some_and(|block| block.block_policy);
            if blocked && compiled.as_ref().is_some_and(|(_, statements)| is_public(statements)) {
                return Err(denied("the bucket's public access block refuses public policies"));
            }
            configuration.policy = compiled;
            Ok(())
        })
    }

    pub(super) fn set_public_access(&self, name: &str, block: Option<&PublicAccessBlockConfiguration>) -> Outcome<()> {
        self.configure(name, "s3:PutBucketPublicAccessBlock", |configuration| {
            configuration.public_access = block.map(|block| PublicAccessBlock {
                block_acls: block.block_public_acls.unwrap_or(false),
                ignore_acls: block.ignore_public_acls.unwrap_or(false),
                block_policy: block.block_public_policy.unwrap_or(false),
                restrict: block.restrict_public_buckets.unwrap_or(false),
            });
            Ok(())
        })
    }

    pub(super) fn set_bucket_tags(&self, name: &str, set: Vec<Tag>) -> Outcome<()> {
        let tags = tags(set, BUCKET_TAGS_MAX)?;
        self.configure(name, "s3:PutBucketTagging", |configuration| {
            configuration.tags = tags;
            Ok(())
        })
    }

    pub(super) fn bucket_tags(&self, name: &str) -> Outcome<Vec<Tag>> {
        let bucket = self.bucket_for(name, "s3:GetBucketTagging")?;
        if bucket.configuration.tags.is_empty() {
            return Err(fault(S3ErrorCode::NoSuchTagSet, "The TagSet does not exist"));
        }
        Ok(shown_tags(&bucket.configuration.tags))
    }

    pub(super) fn set_cors(&self, name: &str, rules: Vec<CORSRule>) -> Outcome<()> {
        if rules.len() > CORS_RULES_MAX {
            return Err(malformed(format!("a CORS configuration has at most {CORS_RULES_MAX} rules")));
        }
        let rules = rules.into_iter().map(cors_rule).collect::<Outcome<Vec<_>>>()?;
        self.configure(name, "s3:PutBucketCORS", |configuration| {
            configuration.cors = rules;
            Ok(())
        })
    }

    pub(super) fn set_lock(&self, name: &str, lock: Option<&ObjectLockConfiguration>) -> Outcome<()> {
        let lock = lock.ok_or_else(|| malformed("the request has no object lock configuration"))?;
        if lock.object_lock_enabled.as_ref().is_none_or(|enabled| enabled.as_str() != "Enabled") {
            return Err(malformed("ObjectLockEnabled is 'Enabled'"));
        }
        let default = match &lock.rule {
            None => None,
            Some(rule) => {
                let retention =
                    rule.default_retention.as_ref().ok_or_else(|| malformed("a rule has a DefaultRetention"))?;
                let mode = mode(retention.mode.as_ref().map_or("", |mode| mode.as_str()))
                    .map_err(|_| malformed("a DefaultRetention's Mode is GOVERNANCE or COMPLIANCE"))?;
                let (count, in_years) = match (retention.days, retention.years) {
                    (Some(days), None) => (days, false),
                    (None, Some(years)) => (years, true),
                    _ => return Err(malformed("a DefaultRetention has Days or Years")),
                };
                let days = u32::try_from(count).ok().filter(|count| (1..=36_500).contains(count));
                let days = days.ok_or_else(|| {
                    crate::fault::other(
                        "InvalidRetentionPeriod",
                        400,
                        "Default retention period must be a positive integer value.",
                    )
                })?;
                Some(DefaultRetention { mode, days, in_years })
            }
        };
        self.configure(name, "s3:PutBucketObjectLockConfiguration", |configuration| {
            if configuration.versioning != Versioning::Enabled {
                let why = "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration";
                return Err(fault(S3ErrorCode::InvalidBucketState, why));
            }
            configuration.lock = true;
            configuration.default_retention = default;
            Ok(())
        })
    }
}

pub(super) fn shown_lock(configuration: &Configuration) -> Outcome<ObjectLockConfiguration> {
    use s3s::dto::{DefaultRetention as Shown, ObjectLockEnabled, ObjectLockRetentionMode, ObjectLockRule};
    if !configuration.lock {
        let why = "Object Lock configuration does not exist for this bucket";
        return Err(fault(S3ErrorCode::ObjectLockConfigurationNotFoundError, why));
    }
    let rule = configuration.default_retention.map(|default| {
        let mode = match default.mode {
            LockMode::Governance => ObjectLockRetentionMode::GOVERNANCE,
            LockMode::Compliance => ObjectLockRetentionMode::COMPLIANCE,
        };
        let count = i32::try_from(default.days).ok();
        let (days, years) = if default.in_years { (None, count) } else { (count, None) };
        ObjectLockRule {
            default_retention: Some(Shown { days, mode: Some(ObjectLockRetentionMode::from_static(mode)), years }),
        }
    });
    Ok(ObjectLockConfiguration {
        object_lock_enabled: Some(ObjectLockEnabled::from_static(ObjectLockEnabled::ENABLED)),
        rule,
    })
}

fn cors_rule(rule: CORSRule) -> Outcome<CorsRule> {
    for method in &rule.allowed_methods {
        if !["GET", "PUT", "HEAD", "POST", "DELETE"].contains(&method.as_str()) {
            let why = format!("Found unsupported HTTP method in CORS config. Unsupported method is {method}");
            return Err(invalid_request(why));
        }
    }
    let headers = rule.allowed_headers.unwrap_or_default();
    if rule.allowed_origins.iter().chain(&headers).any(|pattern| pattern.matches('*').count() > 1) {
        return Err(invalid_request("AllowedOrigin and AllowedHeader can not have more than one wildcard."));
    }
    if rule.allowed_methods.is_empty() || rule.allowed_origins.is_empty() {
        return Err(malformed("a CORS rule has an AllowedMethod and an AllowedOrigin"));
    }
    Ok(CorsRule {
        id: rule.id,
        origins: rule.allowed_origins,
        methods: rule.allowed_methods,
        headers,
        expose: rule.expose_headers.unwrap_or_default(),
        max_age_s: rule.max_age_seconds,
    })
}

pub(super) fn shown_cors(rule: &CorsRule) -> CORSRule {
    let list = |list: &Vec<String>| (!list.is_empty()).then(|| list.clone());
    CORSRule {
        allowed_headers: list(&rule.headers),
        allowed_methods: rule.methods.clone(),
        allowed_origins: rule.origins.clone(),
        expose_headers: list(&rule.expose),
        id: rule.id.clone(),
        max_age_seconds: rule.max_age_s,
    }
}
