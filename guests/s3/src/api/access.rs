//! Access control lists as requests give them, and as answers show them.

use s3s::S3ErrorCode;
use s3s::dto::Permission as ShownPermission;
use s3s::dto::{AccessControlPolicy, Grant as ShownGrant, Grantee as ShownGrantee, Owner as ShownOwner, Type};

use super::session::{Session, unexpected};
use crate::data::access::{Acl, GRANTS_MAX, Grant, Grantee, Owner, Permission};
use crate::data::command::{Answer, AttributeChange, Command};
use crate::data::keys;
use crate::data::rows::{Bucket, Details};
use crate::fault::{Outcome, denied, fault, invalid, invalid_request, not_implemented};

const ALL_USERS: &str = "http://acs.amazonaws.com/groups/global/AllUsers";
const AUTHENTICATED_USERS: &str = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers";
const LOG_DELIVERY: &str = "http://acs.amazonaws.com/groups/s3/LogDelivery";
const CANNED: &str =
    "private, public-read, public-read-write, authenticated-read, bucket-owner-read, bucket-owner-full-control";

/// What a request says about access: by the name of a list, or by headers with grants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct GivenAcl {
    pub(super) canned: Option<String>,
    pub(super) full_control: Option<String>,
    pub(super) read: Option<String>,
    pub(super) write: Option<String>,
    pub(super) read_acp: Option<String>,
    pub(super) write_acp: Option<String>,
}

/// The fields of an input that [`GivenAcl`] takes, of an object's and of a bucket's.
macro_rules! given_acl {
    ($input:expr) => {
        $crate::api::access::GivenAcl {
            canned: $input.acl.take().map(|acl| acl.as_str().to_owned()),
            full_control: $input.grant_full_control.take(),
            read: $input.grant_read.take(),
            write: None,
            read_acp: $input.grant_read_acp.take(),
            write_acp: $input.grant_write_acp.take(),
        }
    };
    ($input:expr, with_write) => {
        $crate::api::access::GivenAcl { write: $input.grant_write.take(), ..$crate::api::access::given_acl!($input) }
    };
}
pub(super) use given_acl;

/// Somebody whom a grant names.
enum Named {
    Id(String),
    Email(String),
    Group(Grantee),
}

pub(super) fn shown_owner(owner: &Owner) -> ShownOwner {
    ShownOwner { display_name: Some(owner.name.clone()), id: Some(owner.id.clone()) }
}

/// The grants of a list as they are shown: groups first.
pub(super) fn shown_grants(acl: &Acl, owner: &Owner) -> Vec<ShownGrant> {
    let group = |uri: &str| ShownGrantee {
        display_name: None,
        email_address: None,
        id: None,
        type_: Type::from_static(Type::GROUP),
        uri: Some(uri.to_owned()),
    };
    let user = |user: &Owner| ShownGrantee {
        display_name: Some(user.name.clone()),
        email_address: None,
        id: Some(user.id.clone()),
        type_: Type::from_static(Type::CANONICAL_USER),
        uri: None,
    };
    let mut grants: Vec<&Grant> = acl.0.iter().collect();
    grants.sort_by_key(|grant| !matches!(grant.grantee, Grantee::All | Grantee::Authenticated));
    let shown = grants.into_iter().map(|grant| ShownGrant {
        grantee: Some(match &grant.grantee {
            Grantee::Owner => user(owner),
            Grantee::User(other) => user(other),
            Grantee::All => group(ALL_USERS),
            Grantee::Authenticated => group(AUTHENTICATED_USERS),
        }),
        permission: Some(ShownPermission::from_static(match grant.permission {
            Permission::Read => ShownPermission::READ,
            Permission::Write => ShownPermission::WRITE,
            Permission::ReadAcp => ShownPermission::READ_ACP,
            Permission::WriteAcp => ShownPermission::WRITE_ACP,
            Permission::Full => ShownPermission::FULL_CONTROL,
        })),
    });
    shown.collect()
}

/// The grants of an object's list, and the owner, as they are shown.
pub(super) fn shown_object_acl(bucket: &Bucket, details: &Details) -> (Vec<ShownGrant>, ShownOwner) {
    let without = bucket.configuration.has_no_acls();
    let owner = details.version.owner.as_ref().filter(|_| !without).unwrap_or(&bucket.owner);
    let acl = details.attributes.acl.clone().filter(|_| !without).unwrap_or_default();
    (shown_grants(&acl, owner), shown_owner(owner))
}

fn permission(text: &str) -> Outcome<Permission> {
    match text {
        "READ" => Ok(Permission::Read),
        "WRITE" => Ok(Permission::Write),
        "READ_ACP" => Ok(Permission::ReadAcp),
        "WRITE_ACP" => Ok(Permission::WriteAcp),
        "FULL_CONTROL" => Ok(Permission::Full),
        other => Err(fault(S3ErrorCode::MalformedACLError, format!("there is no permission '{other}'"))),
    }
}

fn group(uri: &str) -> Outcome<Grantee> {
    match uri {
        ALL_USERS => Ok(Grantee::All),
        AUTHENTICATED_USERS => Ok(Grantee::Authenticated),
        LOG_DELIVERY => Err(not_implemented("the group of log delivery in an access control list")),
        _ => Err(invalid("Invalid group uri")),
    }
}

/// A canned list. `owners_bucket` is whose bucket an object lies in.
fn canned(name: &str, owners_bucket: Option<&Owner>) -> Outcome<Acl> {
    let mut acl = Acl::default();
    let mut give = |grantee, permission| acl.0.push(Grant::new(grantee, permission));
    match (name, owners_bucket) {
        ("private", _) => {}
        ("public-read", _) => give(Grantee::All, Permission::Read),
        ("public-read-write", _) => {
            give(Grantee::All, Permission::Read);
            give(Grantee::All, Permission::Write);
        }
        ("authenticated-read", _) => give(Grantee::Authenticated, Permission::Read),
        ("bucket-owner-read", Some(owner)) => give(Grantee::User(owner.clone()), Permission::Read),
        ("bucket-owner-full-control", Some(owner)) => give(Grantee::User(owner.clone()), Permission::Full),
        // Of a bucket, the API ignores these two.
        ("bucket-owner-read" | "bucket-owner-full-control", None) => {}
        ("aws-exec-read" | "log-delivery-write", _) => {
            return Err(not_implemented(&format!("the access control list {name}")));
        }
        (other, _) => return Err(invalid(format!("there is no access control list '{other}': use {CANNED}"))),
    }
    Ok(acl)
}

/// The grantees of a header: `id="…", emailAddress="…", uri="…"`.
fn header_grantees(text: &str) -> Outcome<Vec<Named>> {
    let one = |piece: &str| {
        let wrong = || invalid(format!("'{piece}' is no grantee: use id=, emailAddress= or uri="));
        let (kind, value) = piece.trim().split_once('=').ok_or_else(wrong)?;
        let value = value.trim().trim_matches('"').to_owned();
        match kind.trim().to_ascii_lowercase().as_str() {
            "id" => Ok(Named::Id(value)),
            "emailaddress" => Ok(Named::Email(value)),
            "uri" => group(&value).map(Named::Group),
            _ => Err(wrong()),
        }
    };
    text.split(',').map(one).collect()
}

fn body_grantee(grantee: ShownGrantee) -> Outcome<Named> {
    match (grantee.uri, grantee.id, grantee.email_address) {
        (Some(uri), None, None) => group(&uri).map(Named::Group),
        (None, Some(id), _) => Ok(Named::Id(id)),
        (None, None, Some(email)) => Ok(Named::Email(email)),
        _ => Err(fault(S3ErrorCode::MalformedACLError, "a grantee has one of ID, EmailAddress and URI")),
    }
}

impl Session {
    /// The list that headers name; none if they do not. `owner` is the owner of what it is for, who
    /// need not have a key any more.
    pub(super) fn given_acl(&self, given: &GivenAcl, bucket_owner: Option<&Owner>) -> Outcome<Option<Acl>> {
        let headers = [
            (&given.read, Permission::Read),
            (&given.write, Permission::Write),
            (&given.read_acp, Permission::ReadAcp),
            (&given.write_acp, Permission::WriteAcp),
            (&given.full_control, Permission::Full),
        ];
        let has_grants = headers.iter().any(|(header, _)| header.is_some());
        if let Some(name) = &given.canned {
            if has_grants {
                return Err(invalid_request("Specifying both Canned ACLs and Header Grants is not allowed"));
            }
            return canned(name, bucket_owner).map(Some);
        }
        if !has_grants {
            return Ok(None);
        }
        let mut wanted = Vec::new();
        for (header, permission) in headers {
            for grantee in header.as_deref().map(header_grantees).transpose()?.unwrap_or_default() {
                wanted.push((grantee, permission));
            }
        }
        self.resolve(wanted, bucket_owner).map(Some)
    }

    /// The list that a request sets, by headers or by its body.
    pub(super) fn chosen_acl(
        &self,
        given: &GivenAcl,
        policy: Option<AccessControlPolicy>,
        owner: &Owner,
        bucket_owner: Option<&Owner>,
    ) -> Outcome<Acl> {
        match (self.given_acl(given, bucket_owner)?, policy) {
            (Some(_), Some(_)) => {
                Err(fault(S3ErrorCode::UnexpectedContent, "an access control list is set by headers or by the body"))
            }
            (Some(acl), None) => Ok(acl),
            (None, Some(policy)) => {
                let named = policy.owner.as_ref().and_then(|owner| owner.id.as_deref());
                if named.is_some_and(|id| id != owner.id) {
                    return Err(denied("the owner of an access control list cannot be changed"));
                }
                let mut wanted = Vec::new();
                for grant in policy.grants.unwrap_or_default() {
                    let malformed = |what| fault(S3ErrorCode::MalformedACLError, format!("a grant has no {what}"));
                    let grantee = body_grantee(grant.grantee.ok_or_else(|| malformed("Grantee"))?)?;
                    let given = grant.permission.ok_or_else(|| malformed("Permission"))?;
                    wanted.push((grantee, permission(given.as_str())?));
                }
                self.resolve(wanted, Some(owner))
            }
            (None, None) => Err(fault(
                S3ErrorCode::MissingSecurityHeader,
                "the request has neither the header x-amz-acl, nor grants, nor a body",
            )),
        }
    }

    /// Sets the list of an object.
    pub(super) fn set_object_acl(
        &self,
        bucket: &str,
        key: &str,
        version: Option<&str>,
        given: &GivenAcl,
        policy: Option<AccessControlPolicy>,
    ) -> Outcome<()> {
        // Whether that is allowed is decided here, and again where it is done.
        let (row, found) = self.look_at(bucket, key, version, "s3:PutObjectAcl")?;
        let owner = found.details.version.owner.as_ref().unwrap_or(&row.owner);
        let acl = self.chosen_acl(given, policy, owner, Some(&row.owner))?;
        self.set_attributes(bucket, key, version, AttributeChange::Acl(acl), false).map(drop)
    }

    /// Finds out whom grants name. `known` is somebody who need not have a key.
    fn resolve(&self, wanted: Vec<(Named, Permission)>, known: Option<&Owner>) -> Outcome<Acl> {
        if wanted.len() > GRANTS_MAX {
            let why = format!("an access control list has at most {GRANTS_MAX} grants");
            return Err(fault(S3ErrorCode::MalformedACLError, why));
        }
        let root = Owner::root();
        let user = self.caller().user;
        let at_hand = [known, Some(&root), user.as_ref().map(|user| &user.owner)];
        let find_id = |id: &str| at_hand.into_iter().flatten().find(|owner| owner.id == id).cloned();
        let (mut ids, mut emails) = (Vec::new(), Vec::new());
        for (named, _) in &wanted {
            match named {
                Named::Id(id) if find_id(id).is_none() => ids.push(id.clone()),
                Named::Email(email) => emails.push(email.clone()),
                Named::Id(_) | Named::Group(_) => {}
            }
        }
        let found = self.find_users(ids.clone(), emails.clone())?;
        let (by_id, by_email) = found.split_at(ids.len().min(found.len()));
        let position = |list: &[String], value: &str| list.iter().position(|other| other == value);
        let mut acl = Acl(Vec::new());
        for (named, permission) in wanted {
            let grantee = match named {
                Named::Group(grantee) => grantee,
                Named::Id(id) => {
                    let listed = || by_id.get(position(&ids, &id)?).cloned().flatten();
                    Grantee::User(find_id(&id).or_else(listed).ok_or_else(|| invalid("Invalid id"))?)
                }
                Named::Email(email) => {
                    let unknown = || {
                        let why = "The e-mail address you provided does not match any account on record.";
                        fault(S3ErrorCode::UnresolvableGrantByEmailAddress, why)
                    };
                    let owner = position(&emails, &email).and_then(|at| by_email.get(at).cloned().flatten());
                    Grantee::User(owner.ok_or_else(unknown)?)
                }
            };
            acl.0.push(Grant::new(grantee, permission));
        }
        Ok(acl)
    }

    fn find_users(&self, ids: Vec<String>, emails: Vec<String>) -> Outcome<Vec<Option<Owner>>> {
        if ids.is_empty() && emails.is_empty() {
            return Ok(vec![]);
        }
        match self.read(keys::users_address(), &Command::FindUsers { ids, emails })? {
            Answer::Users(users) => Ok(users),
            other => Err(unexpected(&other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(id: &str) -> Owner {
        Owner { id: id.to_owned(), name: id.to_uppercase() }
    }

    #[test]
    fn a_canned_list_is_what_its_name_says() {
        let shown = |name: &str| {
            let acl = canned(name, Some(&owner("bob"))).unwrap();
            let grants = shown_grants(&acl, &owner("alice"));
            let text = |grant: &ShownGrant| {
                let grantee = grant.grantee.as_ref().unwrap();
                let who = grantee.uri.as_deref().or(grantee.id.as_deref()).unwrap();
                format!("{} {}", who.rsplit('/').next().unwrap(), grant.permission.as_ref().unwrap().as_str())
            };
            grants.iter().map(text).collect::<Vec<_>>().join(", ")
        };
        assert_eq!(shown("private"), "alice FULL_CONTROL");
        assert_eq!(shown("public-read"), "AllUsers READ, alice FULL_CONTROL");
        assert_eq!(shown("public-read-write"), "AllUsers READ, AllUsers WRITE, alice FULL_CONTROL");
        assert_eq!(shown("authenticated-read"), "AuthenticatedUsers READ, alice FULL_CONTROL");
        assert_eq!(shown("bucket-owner-read"), "alice FULL_CONTROL, bob READ");
        assert_eq!(shown("bucket-owner-full-control"), "alice FULL_CONTROL, bob FULL_CONTROL");
        assert_eq!(canned("bucket-owner-read", None).unwrap(), Acl::default());
        assert_eq!(canned("aws-exec-read", None).unwrap_err().code().as_str(), "NotImplemented");
        assert_eq!(canned("x", None).unwrap_err().code().as_str(), "InvalidArgument");
    }

    #[test]
    fn grants_of_headers_are_taken_apart() {
        let named =
            header_grantees(r#"id="a", emailAddress=b@c, uri="http://acs.amazonaws.com/groups/global/AllUsers""#);
        let named = named.unwrap();
        assert!(matches!(&named[0], Named::Id(id) if id == "a"));
        assert!(matches!(&named[1], Named::Email(email) if email == "b@c"));
        assert!(matches!(&named[2], Named::Group(Grantee::All)));
        for wrong in ["a", "name=a", "uri=http://other", ""] {
            assert!(header_grantees(wrong).is_err(), "{wrong}");
        }
    }
}
