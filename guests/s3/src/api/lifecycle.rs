//! The rules of a bucket's lifecycle, as requests give them and answers show them.

#[cfg(test)]
use s3s::dto::Tag;
use s3s::dto::{
    AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, ExpirationStatus, LifecycleExpiration,
    LifecycleRule as ShownRule, LifecycleRuleAndOperator, LifecycleRuleFilter, NoncurrentVersionExpiration,
};

use super::attributes::{shown_tags, tags};
use super::session::Session;
use super::settings::malformed;
use crate::data::rows::{Bucket, Details, LifecycleRule};
use crate::fault::{Outcome, invalid, invalid_request, not_implemented};
use crate::front::time::{http_date, microseconds, timestamp};
use crate::handler::day_after;

/// Rules of a lifecycle.
pub(super) const RULES_MAX: usize = 1000;

impl Session {
    pub(super) fn set_lifecycle(&self, name: &str, lifecycle: Option<BucketLifecycleConfiguration>) -> Outcome<()> {
        let rules = lifecycle.map(|lifecycle| lifecycle.rules).unwrap_or_default();
        if rules.len() > RULES_MAX {
            return Err(malformed(format!("a lifecycle has at most {RULES_MAX} rules")));
        }
        let mut rules = rules.into_iter().map(lifecycle_rule).collect::<Outcome<Vec<_>>>()?;
        // Answers name the rule that will remove an object, so that each has a name.
        for rule in rules.iter_mut().filter(|rule| rule.id.is_none()) {
            rule.id = Some(crate::digest::hex(&self.id()));
        }
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
}

/// When an object will be removed, and by which rule, as answers say it.
pub(super) fn expiration(bucket: &Bucket, details: &Details) -> Option<String> {
    let version = &details.version;
    let rules = bucket.configuration.lifecycle.iter().filter(|rule| rule.enabled);
    let matching = rules.filter(|rule| rule.is_about(&details.key, version.size, &details.attributes.tags));
    let ends = matching.filter_map(|rule| {
        let end_us = rule.days.map(|days| day_after(version.time_us, days)).or(rule.date_us)?;
        Some((end_us, rule.id.as_deref().unwrap_or("")))
    });
    let (end_us, id) = ends.min_by_key(|(end_us, _)| *end_us)?;
    let date = http_date(i64::try_from(end_us / 1_000_000).ok()?)?;
    Some(format!("expiry-date=\"{date}\", rule-id=\"{}\"", crate::front::signature::encode(id, false)))
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
