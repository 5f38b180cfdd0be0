//! Tags, access and retention of objects.

use recoil_sdk::Mode;
use s3s::S3ErrorCode;
use s3s::dto::{AccessControlPolicy, Grant, Grantee, Owner, Permission, Tag, Timestamp, Type};

use super::given::version_text;
use super::session::{Session, unexpected};
use crate::data::command::{Answer, AttributeChange, Found, Operation, VersionName, Wanted};
use crate::data::policy::owner_id;
use crate::data::rows::{Acl, Bucket, LockMode, Retention};
use crate::fault::{Outcome, fault, invalid, not_implemented, other};
use crate::front::request::Head;
use crate::front::time::microseconds;

const ALL_USERS: &str = "http://acs.amazonaws.com/groups/global/AllUsers";
/// Tags of an object, and of a bucket.
const OBJECT_TAGS_MAX: usize = 10;
pub(super) const BUCKET_TAGS_MAX: usize = 50;

/// A canned access control list.
pub(super) fn acl(text: Option<&str>) -> Outcome<Option<Acl>> {
    match text {
        None => Ok(None),
        // Everything belongs to one owner, so these give nobody anything.
        Some("private" | "bucket-owner-read" | "bucket-owner-full-control") => Ok(Some(Acl::Private)),
        Some("public-read") => Ok(Some(Acl::PublicRead)),
        Some("public-read-write") => Ok(Some(Acl::PublicReadWrite)),
        Some(name @ ("authenticated-read" | "aws-exec-read" | "log-delivery-write")) => {
            Err(not_implemented(&format!("the access control list {name}")))
        }
        Some(other) => Err(invalid(format!("there is no access control list '{other}': use {}", Acl::NAMES))),
    }
}

fn owner() -> Owner {
    Owner { display_name: Some("root".to_owned()), id: Some(owner_id()) }
}

/// An access control list as it is shown.
pub(super) fn grants(acl: Acl) -> (Vec<Grant>, Owner) {
    let to = |grantee: Grantee, permission: &'static str| Grant {
        grantee: Some(grantee),
        permission: Some(Permission::from_static(permission)),
    };
    let all = || Grantee {
        display_name: None,
        email_address: None,
        id: None,
        type_: Type::from_static(Type::GROUP),
        uri: Some(ALL_USERS.to_owned()),
    };
    let user = Grantee {
        display_name: Some("root".to_owned()),
        email_address: None,
        id: Some(owner_id()),
        type_: Type::from_static(Type::CANONICAL_USER),
        uri: None,
    };
    let mut grants = vec![to(user, Permission::FULL_CONTROL)];
    if acl.is_public() {
        grants.push(to(all(), Permission::READ));
    }
    if acl == Acl::PublicReadWrite {
        grants.push(to(all(), Permission::WRITE));
    }
    (grants, owner())
}

/// The canned list that grants come to; others are refused.
pub(super) fn acl_of(policy: &AccessControlPolicy) -> Outcome<Acl> {
    let (mut read, mut write) = (false, false);
    for grant in policy.grants.iter().flatten() {
        let permission = grant.permission.as_ref().map_or("", Permission::as_str);
        let grantee =
            grant.grantee.as_ref().ok_or_else(|| fault(S3ErrorCode::MalformedACLError, "a grant has no grantee"))?;
        match (grantee.uri.as_deref(), grantee.id.as_deref(), permission) {
            (Some(ALL_USERS), _, Permission::READ) => read = true,
            (Some(ALL_USERS), _, Permission::WRITE) => write = true,
            (None, Some(id), _) if id == owner_id() => {}
            _ => {
                return Err(not_implemented(
                    "an access control list that is none of private, public-read and public-read-write",
                ));
            }
        }
    }
    match (read, write) {
        (false, false) => Ok(Acl::Private),
        (true, false) => Ok(Acl::PublicRead),
        (true, true) => Ok(Acl::PublicReadWrite),
        (false, true) => Err(not_implemented("an access control list that lets all users write and not read")),
    }
}

/// What is set by a header, or else by a body.
pub(super) fn chosen_acl(canned: Option<&str>, policy: Option<&AccessControlPolicy>) -> Outcome<Acl> {
    match (acl(canned)?, policy) {
        (Some(_), Some(_)) => Err(fault(
            S3ErrorCode::UnexpectedContent,
            "an access control list is set by the header x-amz-acl or by the body",
        )),
        (Some(acl), None) => Ok(acl),
        (None, Some(policy)) => acl_of(policy),
        (None, None) => {
            Err(fault(S3ErrorCode::MissingSecurityHeader, "the request has neither the header x-amz-acl nor a body"))
        }
    }
}

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
        return Err(other("BadRequest", 400, format!("tags cannot be more than {limit}")));
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
        if !crate::data::policy::may(&row.configuration, bucket, &self.caller(), action, Some((key, Acl::Private))) {
            return Err(crate::fault::denied(format!("you are not allowed to {action} here")));
        }
        let (found, _) = self.find(&row, key, name, None, Wanted::Nothing, true)?;
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
        assert!(parse_tagging(&many.join("&")).is_err() && parse_tagging(&many[1..].join("&")).is_ok());
        assert!(parse_tagging(&format!("{}=1", "k".repeat(129))).is_err());
        assert!(parse_tagging(&format!("k={}", "v".repeat(257))).is_err());
    }

    /// Fails if a list that is put comes back as another one.
    #[test]
    fn lists_of_access_survive_and_others_are_refused() {
        for list in [Acl::Private, Acl::PublicRead, Acl::PublicReadWrite] {
            let (grants, owner) = grants(list);
            assert_eq!(acl_of(&AccessControlPolicy { grants: Some(grants), owner: Some(owner) }).unwrap(), list);
        }
        let (mut other, _) = grants(Acl::PublicRead);
        other[1].permission = Some(Permission::from_static(Permission::FULL_CONTROL));
        assert_eq!(
            acl_of(&AccessControlPolicy { grants: Some(other), owner: None }).unwrap_err().code().as_str(),
            "NotImplemented"
        );
        assert!(acl(Some("authenticated-read")).is_err() && acl(Some("x")).is_err());
        assert!(retention(Some("GOVERNANCE"), None).is_err());
    }
}
