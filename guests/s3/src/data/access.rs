//! Who acts, who owns, and access control lists.
//!
//! Everybody who signs with a key has an identity: a canonical id, which owns buckets and objects
//! and which lists of access name, and a name to show. Several keys may have the same identity. The
//! root key of the settings has one too, and may do everything.
//!
//! Invariant: an access control list gives, and never takes away. What an owner may do does not
//! depend on it.

use serde::{Deserialize, Serialize};

/// The account of all users, in the names that policies have for them.
pub(crate) const ACCOUNT: &str = "000000000000";
/// Grants of one access control list.
pub(crate) const GRANTS_MAX: usize = 100;

/// Somebody who can own buckets and objects.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Owner {
    /// The canonical id, by which everything is decided.
    pub(crate) id: String,
    /// The display name, which decides nothing.
    pub(crate) name: String,
}

impl Owner {
    /// The identity of the root key.
    pub(crate) fn root() -> Self {
        Owner { id: crate::digest::hex(&crate::digest::sha256(b"recoil s3 owner")), name: "root".to_owned() }
    }
}

/// What a key may do beside what its identity may.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyGrants {
    /// Buckets that the key may use, whoever owns them. A key with such a list makes no buckets.
    pub(crate) buckets: Vec<String>,
    /// The key may only read, whatever else is allowed.
    pub(crate) read_only: bool,
}

/// An access key, and whom it stands for.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyRow {
    /// The key's name, which is the user's in policies.
    pub(crate) name: String,
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
    pub(crate) owner: Owner,
    pub(crate) email: Option<String>,
    pub(crate) grants: KeyGrants,
    pub(crate) enabled: bool,
    pub(crate) created_us: u64,
}

// The secret stays out of logs and messages.
impl std::fmt::Debug for KeyRow {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("KeyRow").field("name", &self.name).field("access_key", &self.access_key).finish()
    }
}

/// A user, for the decisions about one request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct User {
    pub(crate) owner: Owner,
    /// The name of the key, `root` for the root key.
    pub(crate) name: String,
    pub(crate) root: bool,
    pub(crate) grants: KeyGrants,
}

impl User {
    pub(crate) fn root() -> Self {
        User { owner: Owner::root(), name: "root".to_owned(), root: true, grants: KeyGrants::default() }
    }

    pub(crate) fn of(key: &KeyRow) -> Self {
        User { owner: key.owner.clone(), name: key.name.clone(), root: false, grants: key.grants.clone() }
    }

    /// Whether the key was made for this bucket.
    pub(crate) fn is_granted(&self, bucket: &str) -> bool {
        self.grants.buckets.iter().any(|granted| granted == bucket)
    }
}

/// Whom a grant is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Grantee {
    /// The owner of what the list belongs to.
    Owner,
    User(Owner),
    /// Everybody, with or without a key.
    All,
    /// Everybody with a key.
    Authenticated,
}

/// What a grant gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Permission {
    Read,
    Write,
    ReadAcp,
    WriteAcp,
    Full,
}

/// An entry of an access control list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Grant {
    pub(crate) grantee: Grantee,
    pub(crate) permission: Permission,
}

impl Grant {
    pub(crate) fn new(grantee: Grantee, permission: Permission) -> Self {
        Grant { grantee, permission }
    }
}

/// An access control list of a bucket or an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Acl(pub(crate) Vec<Grant>);

impl Default for Acl {
    fn default() -> Self {
        Acl(vec![Grant::new(Grantee::Owner, Permission::Full)])
    }
}

impl Acl {
    /// True if it gives anything to everybody, or to everybody with a key.
    pub(crate) fn is_public(&self) -> bool {
        self.0.iter().any(|grant| matches!(grant.grantee, Grantee::All | Grantee::Authenticated))
    }

    /// True if it gives anything to anybody but the owner.
    pub(crate) fn is_shared(&self) -> bool {
        self.0.iter().any(|grant| grant.grantee != Grantee::Owner)
    }

    /// True if `owner` gets everything by name.
    pub(crate) fn gives_all_to(&self, owner: &Owner) -> bool {
        let is_given = |grant: &Grant| {
            grant.permission == Permission::Full && matches!(&grant.grantee, Grantee::User(user) if user.id == owner.id)
        };
        self.0.iter().any(is_given)
    }

    /// The list without grants that name the owner, who is meant by [`Grantee::Owner`].
    pub(crate) fn of_owner(mut self, owner: &Owner) -> Self {
        let mut grants: Vec<Grant> = Vec::with_capacity(self.0.len());
        for mut grant in self.0.drain(..) {
            if matches!(&grant.grantee, Grantee::User(user) if user.id == owner.id) {
                grant.grantee = Grantee::Owner;
            }
            if !grants.contains(&grant) {
                grants.push(grant);
            }
        }
        Acl(grants)
    }

    /// Whether it gives `permission`. `ignore_public` leaves out what is for everybody.
    pub(crate) fn allows(&self, owner: &str, user: Option<&User>, permission: Permission, ignore_public: bool) -> bool {
        let is = |id: &str| user.is_some_and(|user| user.owner.id == id);
        self.0.iter().any(|grant| {
            let gives = grant.permission == permission || grant.permission == Permission::Full;
            gives
                && match &grant.grantee {
                    Grantee::Owner => is(owner),
                    Grantee::User(grantee) => is(&grantee.id),
                    Grantee::All => !ignore_public,
                    Grantee::Authenticated => user.is_some() && !ignore_public,
                }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: &str) -> User {
        let owner = Owner { id: id.to_owned(), name: id.to_uppercase() };
        User { owner, name: id.to_owned(), root: false, grants: KeyGrants::default() }
    }

    #[test]
    fn a_list_gives_to_whom_it_names_what_it_names() {
        let (alice, bob) = (user("alice"), user("bob"));
        let acl = Acl(vec![
            Grant::new(Grantee::Owner, Permission::Full),
            Grant::new(Grantee::User(bob.owner.clone()), Permission::Write),
            Grant::new(Grantee::Authenticated, Permission::ReadAcp),
            Grant::new(Grantee::All, Permission::Read),
        ]);
        let may = |user: Option<&User>, permission| acl.allows("alice", user, permission, false);
        assert!(may(Some(&alice), Permission::WriteAcp) && may(Some(&bob), Permission::Write));
        assert!(!may(Some(&bob), Permission::WriteAcp) && !may(None, Permission::Write));
        assert!(may(Some(&bob), Permission::ReadAcp) && !may(None, Permission::ReadAcp));
        assert!(may(None, Permission::Read) && !acl.allows("alice", None, Permission::Read, true));
        assert!(acl.allows("alice", Some(&bob), Permission::Write, true), "bob is named, which is not public");
        assert!(acl.is_public() && acl.is_shared() && !Acl::default().is_shared());
    }

    #[test]
    fn an_owner_that_is_named_is_the_owner() {
        let alice = user("alice").owner;
        let named = Acl(vec![
            Grant::new(Grantee::Owner, Permission::Full),
            Grant::new(Grantee::User(alice.clone()), Permission::Full),
            Grant::new(Grantee::User(alice.clone()), Permission::Read),
        ]);
        assert!(named.gives_all_to(&alice) && !Acl::default().gives_all_to(&alice));
        let expected = vec![Grant::new(Grantee::Owner, Permission::Full), Grant::new(Grantee::Owner, Permission::Read)];
        assert_eq!(named.of_owner(&alice), Acl(expected));
    }

    #[test]
    fn a_key_is_shown_without_its_secret() {
        let owner = user("alice").owner;
        let grants = KeyGrants::default();
        let row = KeyRow {
            name: "alice".into(),
            access_key: "AK".into(),
            secret_key: "hidden".into(),
            owner,
            email: None,
            grants,
            enabled: true,
            created_us: 0,
        };
        assert!(!format!("{row:?}").contains("hidden"));
    }
}
