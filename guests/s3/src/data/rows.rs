//! What rows hold, and how it is encoded.
//!
//! A row begins with the version of its format, [`FORMAT`]. Invariant: a row refers to rows of its
//! own shard, or to chunks, which are written once under an id that never returns.

use recoil_sdk::Error;
use s3s::S3ErrorCode;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::access::{Acl, Grantee, Owner, Permission};
use super::policy::Statement;
use crate::digest::{Algorithm, hex};

/// The version of every row's format.
const FORMAT: u8 = 1;

/// A random name: of a bucket, a version, an upload, a content.
pub(crate) type Id = [u8; 16];

pub(crate) fn encode<T: Serialize>(row: &T) -> Result<Vec<u8>, Error> {
    postcard::to_extend(row, vec![FORMAT]).map_err(|error| Error::new(format!("a row cannot be written: {error}")))
}

pub(crate) fn decode<T: DeserializeOwned>(row: &[u8]) -> Result<T, Error> {
    let damaged = |why: String| Error::new(format!("a row cannot be read: {why}"));
    match row.split_first() {
        Some((&FORMAT, rest)) => postcard::from_bytes(rest).map_err(|error| damaged(error.to_string())),
        Some((format, _)) => Err(damaged(format!("it has the format {format}, and this package knows {FORMAT}"))),
        None => Err(damaged("it is empty".to_owned())),
    }
}

/// A shard of a bucket's index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) bucket: Id,
    pub(crate) shard: u16,
}

/// The MD5 of an object's bytes; of one that came in parts, that of the parts' MD5s, and their
/// number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ETag {
    pub(crate) md5: [u8; 16],
    pub(crate) parts: Option<u32>,
}

impl ETag {
    /// Without quotes.
    pub(crate) fn text(&self) -> String {
        match self.parts {
            None => hex(&self.md5),
            Some(parts) => format!("{}-{parts}", hex(&self.md5)),
        }
    }
}

/// Whether a bucket keeps old versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Versioning {
    #[default]
    Off,
    Enabled,
    Suspended,
}

/// A bucket's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum State {
    /// Some shards may not have it yet.
    Opening,
    Open,
    /// Shards are being asked whether they are empty.
    Closing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum LockMode {
    Governance,
    Compliance,
}

/// Until when a version must stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Retention {
    pub(crate) mode: LockMode,
    pub(crate) until_us: u64,
}

/// What a bucket with object lock gives to versions that say nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DefaultRetention {
    pub(crate) mode: LockMode,
    pub(crate) days: u32,
    pub(crate) in_years: bool,
}

/// The switches of a bucket that keep it from becoming public.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PublicAccessBlock {
    pub(crate) block_acls: bool,
    pub(crate) ignore_acls: bool,
    pub(crate) block_policy: bool,
    pub(crate) restrict: bool,
}

/// A rule of a lifecycle: which objects, and when they go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LifecycleRule {
    pub(crate) id: Option<String>,
    pub(crate) enabled: bool,
    pub(crate) prefix: String,
    /// The prefix came as the element of its own that the API once had.
    pub(crate) old_prefix: bool,
    pub(crate) tags: Vec<(String, String)>,
    pub(crate) size_above: Option<u64>,
    pub(crate) size_below: Option<u64>,
    /// Whether the filter was an `And`.
    pub(crate) and: bool,
    pub(crate) days: Option<u32>,
    pub(crate) date_us: Option<u64>,
    pub(crate) expired_markers: bool,
    pub(crate) noncurrent_days: Option<u32>,
    pub(crate) noncurrent_kept: Option<u32>,
    pub(crate) abort_days: Option<u32>,
}

impl LifecycleRule {
    /// Whether an object is one of those that the rule is for.
    pub(crate) fn is_about(&self, key: &str, size: u64, tags: &[(String, String)]) -> bool {
        key.starts_with(&self.prefix)
            && self.size_above.is_none_or(|above| size > above)
            && self.size_below.is_none_or(|below| size < below)
            && self.tags.iter().all(|tag| tags.contains(tag))
    }
}

/// A rule of cross-origin requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CorsRule {
    pub(crate) id: Option<String>,
    pub(crate) origins: Vec<String>,
    pub(crate) methods: Vec<String>,
    pub(crate) headers: Vec<String>,
    pub(crate) expose: Vec<String>,
    pub(crate) max_age_s: Option<i32>,
}

/// What can be set of a bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Configuration {
    pub(crate) acl: Acl,
    pub(crate) versioning: Versioning,
    /// Object lock is on; it is never turned off again.
    pub(crate) lock: bool,
    pub(crate) default_retention: Option<DefaultRetention>,
    pub(crate) policy: Option<(String, Vec<Statement>)>,
    pub(crate) public_access: Option<PublicAccessBlock>,
    pub(crate) cors: Vec<CorsRule>,
    pub(crate) lifecycle: Vec<LifecycleRule>,
    pub(crate) tags: Vec<(String, String)>,
    pub(crate) ownership: Option<String>,
}

impl Configuration {
    /// Access control lists are turned off: none can be set, and none gives anybody anything.
    pub(crate) fn has_no_acls(&self) -> bool {
        self.ownership.as_deref() == Some("BucketOwnerEnforced")
    }
}

/// A bucket, in the directory; every shard has a copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bucket {
    pub(crate) id: Id,
    pub(crate) name: String,
    pub(crate) owner: Owner,
    pub(crate) region: String,
    pub(crate) created_us: u64,
    pub(crate) shards: u16,
    pub(crate) state: State,
    /// Of the configuration: a shard takes only a newer one.
    pub(crate) epoch: u64,
    /// Shards may have an older configuration.
    pub(crate) unsettled: bool,
    pub(crate) configuration: Configuration,
}

impl Bucket {
    /// Why an access control list cannot be set; none if it can.
    pub(crate) fn acl_refusal(&self, acl: &Acl) -> Option<(S3ErrorCode, &'static str)> {
        // Where lists are turned off, the one that says what is true anyway may be named.
        let is_owners = |grantee: &Grantee| match grantee {
            Grantee::Owner => true,
            Grantee::User(user) => user.id == self.owner.id,
            Grantee::All | Grantee::Authenticated => false,
        };
        let says_nothing = || {
            acl.gives_all_to(&self.owner)
                && acl.0.iter().all(|grant| grant.permission == Permission::Full && is_owners(&grant.grantee))
        };
        if self.configuration.has_no_acls() && !says_nothing() {
            return Some((S3ErrorCode::AccessControlListNotSupported, "The bucket does not allow ACLs"));
        }
        let blocked = self.configuration.public_access.is_some_and(|block| block.block_acls) && acl.is_public();
        let why = "the bucket's public access block refuses public access control lists";
        blocked.then_some((S3ErrorCode::AccessDenied, why))
    }
}

/// An object or a delete marker as lists show it: the row of a current version, and of an older
/// one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Version {
    pub(crate) id: Id,
    /// It is known by the name `null`.
    pub(crate) null: bool,
    pub(crate) marker: bool,
    pub(crate) size: u64,
    pub(crate) etag: ETag,
    pub(crate) time_us: u64,
    /// Which checksum it has, and whether that is one of its parts' checksums.
    pub(crate) checksum: Option<(Algorithm, bool)>,
    /// Who wrote it, unless it is the bucket's owner's.
    pub(crate) owner: Option<Owner>,
}

/// A checksum with its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sum {
    pub(crate) algorithm: Algorithm,
    pub(crate) value: Vec<u8>,
    /// The number of parts, if it is a checksum of their checksums.
    pub(crate) composite: Option<u32>,
}

/// A part of an object, as HEAD and GET with `partNumber` see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartRow {
    pub(crate) number: u16,
    pub(crate) size: u64,
    pub(crate) checksum: Option<Vec<u8>>,
}

/// Where the bytes of a version are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Storage {
    /// In a row beside it, if there are any.
    Inline,
    /// In chunks. Where each segment of the manifest begins.
    Chunks { starts: Vec<u64> },
}

/// What a client gave with an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attributes {
    /// Content-Type and its relatives, in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) metadata: Vec<(String, String)>,
    pub(crate) tags: Vec<(String, String)>,
    /// None for the list that gives the owner everything, and nobody else anything.
    pub(crate) acl: Option<Acl>,
    pub(crate) retention: Option<Retention>,
    pub(crate) legal_hold: bool,
}

/// What is known of a version beside its row in the lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Details {
    /// Shards may share a partition, and so the rows of details.
    pub(crate) place: Place,
    pub(crate) key: String,
    pub(crate) version: Version,
    pub(crate) attributes: Attributes,
    pub(crate) checksum: Option<Sum>,
    pub(crate) storage: Storage,
    /// Whether there is a row of parts.
    pub(crate) parts: Option<u32>,
}

/// A piece of a content: an entry of a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Piece {
    pub(crate) content: Id,
    pub(crate) length: u64,
}

/// Entries of one row of a manifest.
pub(crate) const SEGMENT_PIECES: usize = 512;

/// Bytes that are being written, and nobody refers to yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Intent {
    pub(crate) key: String,
    /// Bytes that may have been written.
    pub(crate) reserved: u64,
    pub(crate) expires_us: u64,
}

/// Bytes that nobody refers to any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tombstone {
    /// Those of a version's manifest, which stays until they are gone; or these.
    pub(crate) version: Option<(Id, u32)>,
    pub(crate) pieces: Vec<Piece>,
    /// Runs that are gone.
    pub(crate) freed: u64,
}

/// An upload in parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Upload {
    pub(crate) key: String,
    pub(crate) id: Id,
    pub(crate) initiated_us: u64,
    pub(crate) attributes: Attributes,
    /// Whose the object will be, unless the bucket's owner's.
    pub(crate) owner: Option<Owner>,
    /// Who began it, unless the bucket's owner did.
    pub(crate) initiator: Option<Owner>,
    /// The checksum that parts have, and whether the object's is one of its parts' checksums.
    pub(crate) checksum: Option<(Algorithm, bool)>,
}

/// A part that has been uploaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UploadedPart {
    pub(crate) number: u16,
    pub(crate) md5: [u8; 16],
    pub(crate) time_us: u64,
    pub(crate) piece: Piece,
    pub(crate) checksum: Option<(Algorithm, Vec<u8>)>,
}

/// What completing an upload came to, for whoever asks again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Completed {
    pub(crate) upload: Id,
    pub(crate) expires_us: u64,
    pub(crate) details: Details,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::access::{Grant, KeyGrants, KeyRow};

    fn owner() -> Owner {
        Owner { id: "id".into(), name: "o".into() }
    }

    fn version() -> Version {
        let etag = ETag { md5: [2; 16], parts: Some(3) };
        Version {
            id: [1; 16],
            null: true,
            marker: false,
            size: 300,
            etag,
            time_us: 5,
            checksum: Some((Algorithm::Crc32, true)),
            owner: None,
        }
    }

    const OTHERS: [&str; 7] = [
        "010303030303030303030303030303030305036b6579010101010101010101010101010101010100ac020202020202020202\
         020202020202020201030501000100000001016b0176000001010301070102010200ac020102",
        "01036b657904040404040404040404040404040404ac02000001016b017600000101026964016f00010200",
        "010205050505050505050505050505050505060909090909090909090909090909090980804000",
        "0103030303030303030303030303030303046e616d65026964016f0172011002020103000401026964016f00020300010000\
         0000000000",
        "01036b65790102",
        "01016e01610173026964016f000101620101ac02",
        "01010808080808080808080808080808080801010909090909090909090909090909090980804003",
    ];

    /// The bytes of the rows that data depend on: a change of them needs a new format and a
    /// migration.
    #[test]
    fn the_bytes_of_rows_stay_as_they_are() {
        let row = encode(&version()).unwrap();
        let expected =
            "010101010101010101010101010101010101".to_owned() + "00ac02" + &"02".repeat(16) + "01030501" + "000100";
        let expected =
            expected.replacen("010101010101010101010101010101010101", &format!("01{}01", "01".repeat(16)), 1);
        assert_eq!(hex(&row), expected);
        let piece = Piece { content: [9; 16], length: 1 << 20 };
        assert_eq!(hex(&encode(&vec![piece]).unwrap()), format!("0101{}808040", "09".repeat(16)));
        let place = Place { bucket: [3; 16], shard: 5 };
        let attributes = Attributes { tags: vec![("k".into(), "v".into())], legal_hold: true, ..Default::default() };
        let sum = Sum { algorithm: Algorithm::Sha1, value: vec![7], composite: Some(2) };
        let storage = Storage::Chunks { starts: vec![0, 300] };
        let details = Details {
            place,
            key: "key".into(),
            version: version(),
            attributes: attributes.clone(),
            checksum: Some(sum),
            storage,
            parts: Some(2),
        };
        let upload = Upload {
            key: "key".into(),
            id: [4; 16],
            initiated_us: 300,
            attributes,
            owner: Some(owner()),
            initiator: None,
            checksum: Some((Algorithm::Crc64Nvme, false)),
        };
        let part = UploadedPart { number: 2, md5: [5; 16], time_us: 6, piece, checksum: None };
        let acl = Acl(vec![
            Grant::new(Grantee::Owner, Permission::Full),
            Grant::new(Grantee::User(owner()), Permission::Read),
            Grant::new(Grantee::All, Permission::WriteAcp),
        ]);
        let key = KeyRow {
            name: "n".into(),
            access_key: "a".into(),
            secret_key: "s".into(),
            owner: owner(),
            email: None,
            grants: KeyGrants { buckets: vec!["b".into()], read_only: true },
            enabled: true,
            created_us: 300,
        };
        let bucket = Bucket {
            id: [3; 16],
            name: "name".into(),
            owner: owner(),
            region: "r".into(),
            created_us: 1,
            shards: 16,
            state: State::Closing,
            epoch: 2,
            unsettled: true,
            configuration: Configuration { acl, lock: true, ..Default::default() },
        };
        let others = [
            encode(&details),
            encode(&upload),
            encode(&part),
            encode(&bucket),
            encode(&Intent { key: "key".into(), reserved: 1, expires_us: 2 }),
            encode(&key),
            encode(&Tombstone { version: Some(([8; 16], 1)), pieces: vec![piece], freed: 3 }),
        ];
        let others: Vec<String> = others.map(|row| hex(&row.unwrap())).into();
        assert_eq!(others, OTHERS);
        assert_eq!(decode::<Version>(&row).unwrap(), version());
    }

    #[test]
    fn a_damaged_row_is_an_error() {
        let row = encode(&version()).unwrap();
        for length in 0..row.len() {
            assert!(decode::<Version>(&row[..length]).is_err(), "{length}");
        }
        let mut newer = row;
        newer[0] = FORMAT + 1;
        assert!(decode::<Version>(&newer).unwrap_err().message().contains("format 2"));
        assert_eq!(version().etag.text(), format!("{}-3", "02".repeat(16)));
    }
}
