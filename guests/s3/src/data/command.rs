//! What the side that speaks HTTP asks of partitions, and what they answer.
//!
//! A message is a length, a command or an answer, and bytes that belong to it. Both sides are of
//! one package, so the encoding has no versions; it is not what is on disk.
//!
//! Invariant: a command that writes may be sent again after its answer was lost. Whoever asks
//! chooses the names of what comes to be, and a command that finds its version, upload or state
//! already there repeats its answer.

use recoil_sdk::Error;
use s3s::S3ErrorCode;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::access::{Acl, KeyRow, Owner};
use super::policy::Caller;
use super::rows::{
    Attributes, Bucket, Configuration, Details, Id, Piece, Place, Retention, State, Sum, Upload, UploadedPart, Version,
};
use crate::digest::{Algorithm, hex, unhex};

/// How a client names a version. With its time, so that a list goes on behind a version that was
/// removed meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum VersionName {
    Null,
    Id(Id, u64),
}

impl VersionName {
    pub(crate) fn of(version: &Version) -> Self {
        if version.null { VersionName::Null } else { VersionName::Id(version.id, version.time_us) }
    }

    pub(crate) fn text(self) -> String {
        match self {
            VersionName::Null => "null".to_owned(),
            VersionName::Id(id, time_us) => format!("{}{}", hex(&time_us.to_be_bytes()), hex(&id)),
        }
    }

    /// None for what cannot be a version's name.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text == "null" {
            return Some(VersionName::Null);
        }
        let (time_us, id) = text.split_at_checked(16)?;
        Some(VersionName::Id(unhex(id)?, u64::from_be_bytes(unhex(time_us)?)))
    }
}

/// What must hold of the current version for a write.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Condition {
    /// There is one, with this ETag unless it is `*`.
    pub(crate) matches: Option<String>,
    /// There is none with this ETag; none at all if it is `*`.
    pub(crate) none_matches: Option<String>,
    /// If there is one, it has so many bytes.
    pub(crate) size: Option<u64>,
    /// If there is one, it was written in this second since the Unix epoch.
    pub(crate) modified_s: Option<i64>,
}

/// A range of bytes as a client gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ByteRange {
    From { first: u64, last: Option<u64> },
    Suffix { length: u64 },
}

impl ByteRange {
    /// First byte, and the one after the last; none if the range lies outside.
    pub(crate) fn of(self, size: u64) -> Option<(u64, u64)> {
        match self {
            ByteRange::From { first, last } => {
                let end = last.map_or(size, |last| last.saturating_add(1).min(size));
                (first < end).then_some((first, end))
            }
            ByteRange::Suffix { length } => (length > 0 && size > 0).then(|| (size.saturating_sub(length), size)),
        }
    }
}

/// Which bytes of an object are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Wanted {
    /// None: a HEAD.
    Nothing,
    All,
    Range(ByteRange),
}

/// Where the bytes of a new version are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Bytes {
    /// With the command.
    Attached,
    /// In chunks that the intent of this name covers.
    Content(Id),
}

/// A new version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NewVersion {
    pub(crate) id: Id,
    pub(crate) size: u64,
    pub(crate) md5: [u8; 16],
    pub(crate) attributes: Attributes,
    pub(crate) checksum: Option<Sum>,
    pub(crate) bytes: Bytes,
    pub(crate) condition: Condition,
}

/// A part as the client that completes an upload lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ListedPart {
    pub(crate) number: u16,
    pub(crate) etag: String,
    pub(crate) checksum: Option<(Algorithm, Vec<u8>)>,
}

/// An operation on a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Operation {
    /// Bytes are going to be written under `content`: for a version, or for a part of `upload`.
    Begin {
        content: Id,
        reserved: u64,
        upload: Option<Id>,
        condition: Condition,
    },
    /// They are still being written.
    Touch {
        content: Id,
    },
    /// They will not be referred to.
    Discard {
        content: Id,
    },
    Put(Box<NewVersion>),
    Get {
        /// What must be allowed, if it is not reading the bytes: `s3:GetObjectTagging`, say.
        action: Option<String>,
        version: Option<VersionName>,
        part: Option<u16>,
        wanted: Wanted,
        with_parts: bool,
    },
    /// More of a version's manifest, from the segment on that holds the byte `from`.
    Manifest {
        version: Id,
        from: u64,
    },
    Delete {
        version: Option<VersionName>,
        marker: Id,
        condition: Condition,
        bypass: bool,
    },
    SetAttributes {
        version: Option<VersionName>,
        change: AttributeChange,
        bypass: bool,
    },
    CreateUpload(Box<Upload>),
    PutPart {
        upload: Id,
        part: Box<UploadedPart>,
    },
    Parts {
        upload: Id,
        after: u16,
        limit: u32,
    },
    Complete {
        upload: Id,
        version: Id,
        parts: Vec<ListedPart>,
        checksum: Option<(Algorithm, Vec<u8>)>,
        size: Option<u64>,
        condition: Condition,
    },
    Abort {
        upload: Id,
    },
}

/// What can be changed of a version that is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum AttributeChange {
    Tags(Vec<(String, String)>),
    Acl(Acl),
    Retention(Option<Retention>),
    LegalHold(bool),
}

/// What a list is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Listing {
    Objects,
    Versions,
    Uploads,
}

/// A page of a list, of one shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Page {
    pub(crate) listing: Listing,
    pub(crate) prefix: String,
    pub(crate) delimiter: String,
    /// Names from here on.
    pub(crate) start: Vec<u8>,
    /// Of the key `start` alone: only what comes after this version or upload.
    pub(crate) behind: Option<Behind>,
    pub(crate) limit: u32,
}

/// A place within a key's versions or uploads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Behind {
    Version(VersionName),
    Upload(Id),
}

/// An entry of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Item {
    Prefix(String),
    Object { key: String, version: Version },
    Version { key: String, version: Version, latest: bool },
    Upload { key: String, upload: Box<Upload> },
}

impl Item {
    pub(crate) fn name(&self) -> &str {
        match self {
            Item::Prefix(name)
            | Item::Object { key: name, .. }
            | Item::Version { key: name, .. }
            | Item::Upload { key: name, .. } => name,
        }
    }
}

/// What can be changed of a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Change {
    /// The action that must be allowed, `s3:PutBucketCORS`, say.
    pub(crate) action: String,
    /// What the configuration becomes. It was made of the one with this epoch.
    pub(crate) configuration: Configuration,
    pub(crate) epoch: u64,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Command {
    Bucket {
        name: String,
    },
    CreateBucket {
        bucket: Box<Bucket>,
    },
    Configure {
        name: String,
        id: Id,
        caller: Caller,
        change: Box<Change>,
    },
    Settled {
        name: String,
        id: Id,
        epoch: u64,
    },
    SetState {
        name: String,
        id: Id,
        state: State,
    },
    RemoveBucket {
        name: String,
        id: Id,
    },

    List {
        owner: String,
        name: String,
        id: Id,
        created_us: u64,
    },
    Unlist {
        owner: String,
        name: String,
        id: Id,
    },
    Names {
        owner: String,
        prefix: String,
        after: String,
        limit: u32,
    },

    /// The row of an access key.
    AccessKey {
        access_key: String,
    },
    PutAccessKey {
        key: Box<KeyRow>,
    },
    RemoveAccessKey {
        access_key: String,
    },
    /// Keeps a key, without its secret, in the list of keys, unless there is another one with its
    /// name, its access key or its e-mail address.
    Register {
        key: Box<KeyRow>,
    },
    Unregister {
        name: String,
    },
    /// A key of the list.
    RegisteredKey {
        name: String,
    },
    /// Keys of the list whose names come after this one.
    Registered {
        after: String,
        limit: u32,
    },
    /// Who has these canonical ids, and these e-mail addresses.
    FindUsers {
        ids: Vec<String>,
        emails: Vec<String>,
    },

    /// Makes the shard, or gives it a newer configuration.
    Open {
        place: Place,
        bucket: Box<Bucket>,
    },
    /// Closes the shard if it holds nothing.
    Close {
        place: Place,
    },
    Reopen {
        place: Place,
    },
    Drop {
        place: Place,
    },
    Key {
        place: Place,
        key: String,
        caller: Caller,
        operation: Operation,
    },
    Page {
        place: Place,
        caller: Caller,
        page: Page,
    },
    /// What is due to be freed on this partition.
    Due,
    /// Runs of a tombstone are gone.
    Freed {
        row: Vec<u8>,
        freed: u64,
        all: bool,
    },

    PutChunk {
        content: Id,
        index: u32,
    },
    Chunk {
        content: Id,
        index: u32,
    },
    FreeRun {
        content: Id,
        run: u32,
    },
}

/// An object that is there, and what of it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Found {
    pub(crate) details: Details,
    /// First byte, and the one after the last, of what is wanted.
    pub(crate) range: (u64, u64),
    /// The range was one that lies outside.
    pub(crate) outside: bool,
    /// The manifest from the piece on that begins at this byte.
    pub(crate) pieces_from: u64,
    pub(crate) pieces: Vec<Piece>,
    /// If they were asked for.
    pub(crate) parts: Vec<super::rows::PartRow>,
}

/// Bytes that are to be freed now, by whoever got this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Due {
    pub(crate) row: Vec<u8>,
    pub(crate) runs: Vec<(Id, u32)>,
    /// How many are gone once these are.
    pub(crate) freed: u64,
    /// There are no more.
    pub(crate) all: bool,
}

/// What a command comes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    Done,
    Absent,
    Bucket {
        bucket: Box<Bucket>,
        created: bool,
    },
    Names {
        names: Vec<(String, u64)>,
        more: bool,
    },
    AccessKey(Option<Box<KeyRow>>),
    Keys {
        keys: Vec<KeyRow>,
        more: bool,
    },
    /// Whom each of the ids, and then of the addresses, belongs to.
    Users(Vec<Option<Owner>>),
    /// Whether the shard is closed; if not, whether it only has to be asked again.
    Closed {
        closed: bool,
        again: bool,
    },
    Begun {
        checksum: Option<(Algorithm, bool)>,
    },
    Written {
        details: Box<Details>,
    },
    Found(Box<Found>),
    /// The key's current version, or the one that was named, is a delete marker.
    Marker {
        version: Version,
        named: bool,
    },
    Pieces {
        from: u64,
        pieces: Vec<Piece>,
    },
    Deleted {
        marker: bool,
        version: Option<VersionName>,
    },
    Parts {
        upload: Box<Upload>,
        parts: Vec<UploadedPart>,
        more: bool,
    },
    Items {
        items: Vec<Item>,
        next: Option<(Vec<u8>, Option<Behind>)>,
    },
}

/// An answer, and what is due to be freed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reply {
    pub(crate) answer: Answer,
    pub(crate) due: Option<Due>,
}

/// A message and the bytes that belong to it.
pub(crate) fn encode<T: Serialize>(message: &T, attached: &[u8]) -> Result<Vec<u8>, Error> {
    let length = postcard::to_extend(message, vec![0; 4]);
    let mut bytes = length.map_err(|error| Error::new(format!("a message cannot be written: {error}")))?;
    let length = u32::try_from(bytes.len() - 4).map_err(|_| Error::new("a message is too long"))?;
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(attached);
    Ok(bytes)
}

pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, &[u8]), Error> {
    let short = || Error::new("a message ends early");
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(short)?;
    let length = u32::from_le_bytes(*length) as usize;
    let (message, attached) = rest.split_at_checked(length).ok_or_else(short)?;
    let message =
        postcard::from_bytes(message).map_err(|error| Error::new(format!("a message cannot be read: {error}")))?;
    Ok((message, attached))
}

/// Begins the text of an error that is meant for the client.
const REFUSAL: &str = "s3 ";

/// Why a handler refuses, for the client: rolls back what the command has written.
pub(crate) fn refuse(code: S3ErrorCode, why: &str) -> Error {
    Error::new(format!("{REFUSAL}{} {why}", code.as_str()))
}

/// Code and sentence of a refusal; none if the error is another one.
pub(crate) fn refusal(error: &str) -> Option<(S3ErrorCode, String)> {
    let (code, why) = error.strip_prefix(REFUSAL)?.split_once(' ')?;
    let code = S3ErrorCode::from_bytes(code.as_bytes())?;
    Some((code, why.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_with_what_is_attached() {
        let command = Command::PutChunk { content: [3; 16], index: 9 };
        let bytes = encode(&command, b"attached").unwrap();
        assert_eq!(decode::<Command>(&bytes).unwrap(), (command, &b"attached"[..]));
        for length in 0..bytes.len() - b"attached".len() {
            assert!(decode::<Command>(&bytes[..length]).is_err(), "{length}");
        }
        let refused = refuse(S3ErrorCode::NoSuchKey, "there is none");
        assert_eq!(refusal(refused.message()), Some((S3ErrorCode::NoSuchKey, "there is none".to_owned())));
        assert_eq!(refusal("a row cannot be read"), None);
    }

    #[test]
    fn the_name_of_a_version_survives() {
        for name in [VersionName::Null, VersionName::Id([0xfe; 16], 1_750_000_000_000_000)] {
            assert_eq!(VersionName::parse(&name.text()), Some(name));
        }
        for bad in ["", "Null", "00", "äöü", &"0".repeat(47), &"g".repeat(48)] {
            assert_eq!(VersionName::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_range_lies_within_the_object_or_is_none() {
        let from = |first, last| ByteRange::From { first, last };
        for (range, size, expected) in [
            (from(0, None), 10, Some((0, 10))),
            (from(9, Some(100)), 10, Some((9, 10))),
            (from(10, None), 10, None),
            (from(3, Some(2)), 10, None),
            (from(0, Some(u64::MAX)), 10, Some((0, 10))),
            (from(0, None), 0, None),
            (ByteRange::Suffix { length: 3 }, 10, Some((7, 10))),
            (ByteRange::Suffix { length: 30 }, 10, Some((0, 10))),
            (ByteRange::Suffix { length: 0 }, 10, None),
            (ByteRange::Suffix { length: 3 }, 0, None),
        ] {
            assert_eq!(range.of(size), expected, "{range:?} {size}");
        }
    }
}
