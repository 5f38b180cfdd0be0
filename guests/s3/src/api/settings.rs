//! What can be set of a bucket: versioning, access, policy, lifecycle, object lock, CORS, tags.

use recoil_sdk::Mode;
use s3s::S3ErrorCode;
use s3s::dto::{
    AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, CORSRule, ExpirationStatus, LifecycleExpiration,
    LifecycleRule as ShownRule, LifecycleRuleAndOperator, LifecycleRuleFilter, NoncurrentVersionExpiration,
    ObjectLockConfiguration, PublicAccessBlockConfiguration, Tag, VersioningConfiguration,
};

use super::attributes::{BUCKET_TAGS_MAX, mode, shown_tags, tags};
use super::session::{Session, unexpected};
use crate::data::command::{Answer, Change, Command};
use crate::data::keys;
use crate::data::policy::{compile, is_public, may};
use crate::data::rows::{
    Acl, Bucket, Configuration, CorsRule, DefaultRetention, LifecycleRule, LockMode, PublicAccessBlock, Versioning,
};
use crate::fault::{Outcome, denied, fault, invalid, invalid_request, not_implemented};
use crate::front::time::{microseconds, timestamp};

/// Rules of a lifecycle, and of CORS.
const LIFECYCLE_RULES_MAX: usize = 1000;
const CORS_RULES_MAX: usize = 100;

fn malformed(why: impl Into<String>) -> s3s::S3Error {
    fault(S3ErrorCode::MalformedXML, why)
}

impl Session {
    /// A bucket, for who may do `action` to it.
    pub(super) fn bucket_for(&self, name: &str, action: &str) -> Outcome<Bucket> {
        let bucket = self.bucket(name)?;
        if may(&bucket.configuration, name, &self.caller(), action, None) {
            return Ok(bucket);
        }
        Err(denied(format!("you are not allowed to {action}")))
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
        if versioning.mfa_delete.is_some() {
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

    pub(super) fn set_bucket_acl(&self, name: &str, acl: Acl) -> Outcome<()> {
        self.configure(name, "s3:PutBucketAcl", |configuration| {
            if let Some((code, why)) = configuration.acl_refusal(acl) {
                return Err(fault(code, why));
            }
            configuration.acl = acl;
            Ok(())
        })
    }

    pub(super) fn set_policy(&self, name: &str, policy: Option<&str>) -> Outcome<()> {
        let action = if policy.is_some() { "s3:PutBucketPolicy" } else { "s3:DeleteBucketPolicy" };
        self.configure(name, action, |configuration| {
            let compiled = policy.map(|text| Ok((text.to_owned(), compile(name, text)?))).transpose();
            let compiled = compiled.map_err(|why: String| fault(S3ErrorCode::MalformedPolicy, why))?;
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

    pub(super) fn set_lifecycle(&self, name: &str, lifecycle: Option<BucketLifecycleConfiguration>) -> Outcome<()> {
        let rules = lifecycle.map(|lifecycle| lifecycle.rules).unwrap_or_default();
        if rules.len() > LIFECYCLE_RULES_MAX {
            return Err(malformed(format!("a lifecycle has at most {LIFECYCLE_RULES_MAX} rules")));
        }
        let rules = rules.into_iter().map(lifecycle_rule).collect::<Outcome<Vec<_>>>()?;
        for (at, rule) in rules.iter().enumerate() {
            if rule.id.is_some() && rules[..at].iter().any(|other| other.id == rule.id) {
                return Err(invalid(format!(
                    "Rule ID must be unique. Found same ID for more than one rule: {:?}",
                    rule.id
                )));
            }
        }
        self.configure(name, "s3:PutLifecycleConfiguration", |configuration| {
            configuration.lifecycle = rules;
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

fn lifecycle_rule(rule: ShownRule) -> Outcome<LifecycleRule> {
    if rule.transitions.is_some_and(|list| !list.is_empty())
        || rule.noncurrent_version_transitions.is_some_and(|list| !list.is_empty())
    {
        return Err(not_implemented("a lifecycle transition to another storage class"));
    }
    let enabled = match rule.status.as_str() {
        "Enabled" => true,
        "Disabled" => false,
        _ => return Err(malformed("a rule's Status is Enabled or Disabled")),
    };
    if rule.id.as_ref().is_some_and(|id| id.len() > 255) {
        return Err(invalid("ID length should not exceed allowed limit of 255"));
    }
    let mut new = LifecycleRule {
        id: rule.id,
        enabled,
        prefix: rule.prefix.clone().unwrap_or_default(),
        old_prefix: rule.prefix.is_some(),
        tags: vec![],
        size_above: None,
        size_below: None,
        and: false,
        days: None,
        date_us: None,
        expired_markers: false,
        noncurrent_days: None,
        noncurrent_kept: None,
        abort_days: None,
    };
    if let Some(filter) = rule.filter {
        set_filter(&mut new, filter)?;
    }
    if let Some(expiration) = rule.expiration {
        set_expiration(&mut new, &expiration)?;
    }
    if let Some(noncurrent) = rule.noncurrent_version_expiration {
        new.noncurrent_days = days(noncurrent.noncurrent_days, "NoncurrentDays")?;
        new.noncurrent_kept = days(noncurrent.newer_noncurrent_versions, "NewerNoncurrentVersions")?;
        if new.noncurrent_days.is_none() {
            return Err(malformed("a NoncurrentVersionExpiration has NoncurrentDays"));
        }
    }
    if let Some(abort) = rule.abort_incomplete_multipart_upload {
        new.abort_days = days(abort.days_after_initiation, "DaysAfterInitiation")?;
        // What is being uploaded has neither yet.
        if !new.tags.is_empty() || new.size_above.is_some() || new.size_below.is_some() {
            let why = "AbortIncompleteMultipartUpload cannot be specified with Tags or sizes.";
            return Err(invalid_request(why));
        }
    }
    let removes_objects = new.days.is_some() || new.date_us.is_some() || new.expired_markers;
    if !removes_objects && new.noncurrent_days.is_none() && new.abort_days.is_none() {
        return Err(invalid_request("At least one action needs to be specified in a rule"));
    }
    Ok(new)
}

fn days(days: Option<i32>, what: &str) -> Outcome<Option<u32>> {
    match days {
        None => Ok(None),
        Some(days) if days >= 1 => Ok(Some(days as u32)),
        Some(_) => Err(invalid(format!("'{what}' must be a positive integer"))),
    }
}

fn set_filter(rule: &mut LifecycleRule, filter: LifecycleRuleFilter) -> Outcome<()> {
    if rule.old_prefix {
        return Err(malformed("a rule has a Filter or a Prefix"));
    }
    let LifecycleRuleFilter { and, object_size_greater_than, object_size_less_than, prefix, tag } = filter;
    let (above, below, set) = match and {
        Some(and) => {
            rule.and = true;
            rule.prefix = and.prefix.unwrap_or_default();
            (and.object_size_greater_than, and.object_size_less_than, and.tags.unwrap_or_default())
        }
        None => {
            rule.prefix = prefix.unwrap_or_default();
            (object_size_greater_than, object_size_less_than, tag.into_iter().collect())
        }
    };
    let size =
        |size: Option<i64>| size.map(|size| u64::try_from(size).map_err(|_| invalid("a size is negative"))).transpose();
    (rule.size_above, rule.size_below) = (size(above)?, size(below)?);
    rule.tags = tags(set, 10)?;
    Ok(())
}

fn set_expiration(rule: &mut LifecycleRule, expiration: &LifecycleExpiration) -> Outcome<()> {
    rule.days = days(expiration.days, "Days")?;
    rule.date_us = expiration.date.as_ref().map(microseconds);
    rule.expired_markers = expiration.expired_object_delete_marker.unwrap_or(false);
    let given = [rule.days.is_some(), rule.date_us.is_some(), rule.expired_markers];
    if given.into_iter().filter(|given| *given).count() > 1 {
        return Err(malformed("an Expiration has one of Days, Date and ExpiredObjectDeleteMarker"));
    }
    if rule.date_us.is_some_and(|date_us| !date_us.is_multiple_of(crate::handler::DAY_US)) {
        return Err(invalid("'Date' must be at midnight GMT"));
    }
    Ok(())
}

pub(super) fn shown_lifecycle(rule: &LifecycleRule) -> ShownRule {
    let size = |size: Option<u64>| size.and_then(|size| i64::try_from(size).ok());
    let days = |days: Option<u32>| days.and_then(|days| i32::try_from(days).ok());
    let (above, below) = (size(rule.size_above), size(rule.size_below));
    let set = shown_tags(&rule.tags);
    let prefix = Some(rule.prefix.clone()).filter(|prefix| !prefix.is_empty());
    let filter = if rule.old_prefix {
        None
    } else if rule.and {
        let tags = (!set.is_empty()).then_some(set);
        let and =
            LifecycleRuleAndOperator { object_size_greater_than: above, object_size_less_than: below, prefix, tags };
        Some(LifecycleRuleFilter { and: Some(and), ..Default::default() })
    } else {
        let tag = set.into_iter().next();
        let plain = above.is_none() && below.is_none() && tag.is_none();
        let prefix = if plain { Some(rule.prefix.clone()) } else { prefix };
        Some(LifecycleRuleFilter {
            and: None,
            object_size_greater_than: above,
            object_size_less_than: below,
            prefix,
            tag,
        })
    };
    let expiration =
        (rule.days.is_some() || rule.date_us.is_some() || rule.expired_markers).then(|| LifecycleExpiration {
            date: rule.date_us.map(timestamp),
            days: days(rule.days),
            expired_object_delete_marker: rule.expired_markers.then_some(true),
        });
    let noncurrent = rule.noncurrent_days.map(|_| NoncurrentVersionExpiration {
        newer_noncurrent_versions: days(rule.noncurrent_kept),
        noncurrent_days: days(rule.noncurrent_days),
    });
    ShownRule {
        abort_incomplete_multipart_upload: rule
            .abort_days
            .map(|_| AbortIncompleteMultipartUpload { days_after_initiation: days(rule.abort_days) }),
        expiration,
        filter,
        id: rule.id.clone(),
        noncurrent_version_expiration: noncurrent,
        noncurrent_version_transitions: None,
        prefix: rule.old_prefix.then(|| rule.prefix.clone()),
        status: ExpirationStatus::from_static(if rule.enabled {
            ExpirationStatus::ENABLED
        } else {
            ExpirationStatus::DISABLED
        }),
        transitions: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(filter: Option<LifecycleRuleFilter>, days: Option<i32>) -> ShownRule {
        ShownRule {
            abort_incomplete_multipart_upload: None,
            expiration: Some(LifecycleExpiration { days, ..Default::default() }),
            filter,
            id: Some("a".into()),
            noncurrent_version_expiration: None,
            noncurrent_version_transitions: None,
            prefix: None,
            status: ExpirationStatus::from_static(ExpirationStatus::ENABLED),
            transitions: None,
        }
    }

    #[test]
    fn a_rule_that_is_put_is_the_one_that_is_shown() {
        let tag = Tag { key: Some("k".into()), value: Some("v".into()) };
        let and = LifecycleRuleAndOperator {
            prefix: Some("p".into()),
            tags: Some(vec![tag.clone()]),
            object_size_greater_than: Some(5),
            ..Default::default()
        };
        for filter in [
            LifecycleRuleFilter { prefix: Some(String::new()), ..Default::default() },
            LifecycleRuleFilter { prefix: Some("p".into()), ..Default::default() },
            LifecycleRuleFilter { tag: Some(tag), ..Default::default() },
            LifecycleRuleFilter { and: Some(and), ..Default::default() },
        ] {
            let put = rule(Some(filter), Some(3));
            assert!(shown_lifecycle(&lifecycle_rule(put.clone()).unwrap()) == put);
        }
        assert!(lifecycle_rule(rule(None, Some(0))).is_err());
        assert!(lifecycle_rule(rule(None, None)).is_err(), "it does nothing");
        let tag = Tag { key: Some("k".into()), value: Some("v".into()) };
        let mut aborts = rule(Some(LifecycleRuleFilter { tag: Some(tag), ..Default::default() }), Some(1));
        aborts.abort_incomplete_multipart_upload =
            Some(AbortIncompleteMultipartUpload { days_after_initiation: Some(1) });
        assert_eq!(lifecycle_rule(aborts).unwrap_err().code().as_str(), "InvalidRequest");
        let mut moves = rule(None, Some(1));
        moves.transitions = Some(vec![Default::default()]);
        assert_eq!(lifecycle_rule(moves).unwrap_err().code().as_str(), "NotImplemented");
    }
}
