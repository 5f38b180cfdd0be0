//! Tags and retention of objects, and changes of objects that are there.

use recoil_sdk::Mode;
use s3s::S3ErrorCode;
use s3s::dto::{Tag, Timestamp};

use super::given::version_text;
use super::session::{Session, unexpected};
use crate::data::command::{Answer, AttributeChange, Found, Operation, VersionName, Wanted};
use crate::data::rows::{Bucket, LockMode, Retention};
use crate::fault::{Outcome, fault, invalid};
use crate::front::request::Head;
use crate::front::time::microseconds;

/// Tags of an object, and of a bucket.
pub(super) const OBJECT_TAGS_MAX: usize = 10;
pub(super) const BUCKET_TAGS_MAX: usize = 50;

pub(super) fn mode(text: &str) -> Outcome<LockMode> {
    match text {
        "GOVERNANCE" => Ok(LockMode::Governance),
        "COMPLIANCE" => Ok(LockMode::Compliance),
        other => Err(invalid(format!("Unknown wormMode directive: '{other}'; use GOVERNANCE or COMPLIANCE"))),
    }
}

pub(super) fn retention(mode_text: Option<&str>, until: Option<&Timestamp>) -> Outcome<Option<Retention>> {
    match (mode_text, until) {
        (None, None) => Ok(None),
        (Some(text), Some(until)) => Ok(Some(Retention { mode: mode(text)?, until_us: microseconds(until) })),
        _ => Err(invalid("x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied")),
    }
}

pub(super) fn legal_hold(text: Option<&str>) -> Outcome<bool> {
    match text {
        None | Some("OFF") => Ok(false),
        Some("ON") => Ok(true),
        Some(other) => Err(invalid(format!("Legal hold status is '{other}': use ON or OFF"))),
    }
}

/// The header `x-amz-tagging`: `a=b&c=d`.
pub(super) fn parse_tagging(text: &str) -> Outcome<Vec<(String, String)>> {
    let head = Head { query: text.to_owned(), ..Default::default() };
    let tags = head.query_pairs().map_err(|_| {
        invalid(
            "The header 'x-amz-tagging' shall be encoded as UTF-8 then \
        URLEncoded URL query parameters without tag name duplicates.",
        )
    })?;
    check_tags(tags, OBJECT_TAGS_MAX)
}

/// Tags as XML has them.
pub(super) fn tags(set: Vec<Tag>, limit: usize) -> Outcome<Vec<(String, String)>> {
    let tags = set.into_iter().map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default()));
    check_tags(tags.collect(), limit)
}

fn check_tags(tags: Vec<(String, String)>, limit: usize) -> Outcome<Vec<(String, String)>> {
    if tags.len() > limit {
        return Err(fault(S3ErrorCode::InvalidTag, format!("there are {} tags, and may be {limit}", tags.len())));
    }
    for (at, (name, value)) in tags.iter().enumerate() {
        if name.is_empty() || name.chars().count() > 128 {
            return Err(fault(
                S3ErrorCode::InvalidTag,
                "The TagKey you have provided is invalid: it has 1 to 128 characters",
            ));
        }
        if value.chars().count() > 256 {
            return Err(fault(
                S3ErrorCode::InvalidTag,
                "The TagValue you have provided is invalid: it has at most 256 characters",
            ));
        }
        if tags[..at].iter().any(|(other, _)| other == name) {
            return Err(fault(
                S3ErrorCode::InvalidTag,
                format!("Cannot provide multiple Tags with the same key: {name}"),
            ));
        }
    }
    // Shown in the order of their keys, as by S3.
    let mut tags = tags;
    tags.sort();
    Ok(tags)
}

pub(super) fn shown_tags(tags: &[(String, String)]) -> Vec<Tag> {
    tags.iter().map(|(name, value)| Tag { key: Some(name.clone()), value: Some(value.clone()) }).collect()
}

impl Session {
    /// An object, for who may do `action` to it.
    pub(super) fn look_at(
        &self,
        bucket: &str,
        key: &str,
        version: Option<&str>,
        action: &str,
    ) -> Outcome<(Bucket, Found)> {
        let row = self.bucket(bucket)?;
        let name: Option<VersionName> = super::given::version(version)?;
        let get = Operation::Get {
            action: Some(action.to_owned()),
            version: name,
            part: None,
            wanted: Wanted::Nothing,
            with_parts: true,
        };
        let (found, _) = self.find_by(&row, key, get)?;
        Ok((row, found))
    }

    /// Changes a version; the version's name.
    pub(super) fn set_attributes(
        &self,
        bucket: &str,
        key: &str,
        version: Option<&str>,
        change: AttributeChange,
        bypass: bool,
    ) -> Outcome<Option<String>> {
        let row = self.bucket(bucket)?;
        let version = super::given::version(version)?;
        let set = Operation::SetAttributes { version, change, bypass };
        match self.key(&row, key, set, Mode::Write)?.0 {
            Answer::Found(found) => Ok(version_text(&row, &found.details)),
            Answer::Absent => Err(fault(S3ErrorCode::NoSuchKey, format!("The specified key does not exist: {key}"))),
            Answer::Marker { version, named } => Err(self.is_marker(key, &version, named)),
            other => Err(unexpected(&other)),
        }
    }

    pub(super) fn set_tags(
        &self,
        bucket: &str,
        key: &str,
        version: Option<&str>,
        set: Vec<Tag>,
    ) -> Outcome<Option<String>> {
        let tags = tags(set, OBJECT_TAGS_MAX)?;
        self.set_attributes(bucket, key, version, AttributeChange::Tags(tags), false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_checked() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(parse_tagging("a=b%20c&d=").unwrap(), [pair("a", "b c"), pair("d", "")]);
        assert!(parse_tagging("a=1&a=2").is_err() && parse_tagging("=1").is_err() && parse_tagging("a=%zz").is_err());
        let many: Vec<String> = (0..11).map(|n| format!("t{n}=1")).collect();
        assert_eq!(parse_tagging(&many.join("&")).unwrap_err().code().as_str(), "InvalidTag");
        assert!(parse_tagging(&many[1..].join("&")).is_ok());
        assert!(parse_tagging(&format!("{}=1", "k".repeat(129))).is_err());
        assert!(parse_tagging(&format!("k={}", "v".repeat(257))).is_err());
    }

    #[test]
    fn a_retention_has_a_mode_and_an_end() {
        assert!(retention(Some("GOVERNANCE"), None).is_err() && retention(None, None).unwrap().is_none());
        assert!(mode("governance").is_err() && legal_hold(Some("on")).is_err());
    }
}
