//! What the registry's server asks of the package that keeps its records, and what that answers.
//!
//! Contents and repositories are records of their own, on partitions of their own. A *content* is bytes that somebody uploads: parts,
//! each written by one request and made of chunks that never change. Once sealed it is kept as long as somebody holds it. A
//! *repository* has links to contents by digest, manifests, tags and referrers; a link and the hold it rests on carry the same
//! random token, so that ending an old link can never end a new one.
//!
//! A request is `length u32 little-endian | command JSON | attachment`, an answer likewise; attachments are manifests' bytes.

use serde::{Deserialize, Serialize};

use crate::{Descriptor, Digest, Manifest, Reference, Repository, Tag};

/// Parts a content may have: requests that brought some of its bytes.
pub const PARTS_MAX: usize = 10_000;
/// Tags, or whatever else is listed, in one answer.
pub const PAGE_MAX: u32 = 1_000;
/// Referrers of one manifest.
pub const REFERRERS_MAX: usize = 1_000;
/// How long the time of a hold may be past when it is linked, microseconds, and how long a request of an upload may go on unseen. Holds are
/// released as lost only when they are much older.
pub const LINK_WITHIN_US: u64 = 600 * 1_000_000;

/// Names an uploaded content, a part of one, or a link: 32 hexadecimal digits.
pub type Id = String;

/// What one request brought of a content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its chunks are stored under it.
    pub id: Id,
    /// Bytes that are known to be stored.
    pub bytes: u64,
    /// Chunks that may be stored: none beyond are.
    pub reserved: u32,
}

/// Who holds a content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The link's.
    pub token: Id,
    /// Where the link is.
    pub repository: Repository,
    /// What it is linked as.
    pub digest: Digest,
    /// Since when, microseconds.
    pub since_us: u64,
}

/// Uploaded bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Its name.
    pub id: Id,
    /// Through which repository it came.
    pub repository: Repository,
    /// In order.
    pub parts: Vec<Part>,
    /// No more bytes come.
    pub sealed: bool,
    /// Since when it is about to go, microseconds; nobody may hold it any more.
    pub going: Option<u64>,
    /// Links.
    pub holds: Vec<Hold>,
    /// When it was last written to, microseconds.
    pub touched_us: u64,
}

impl Content {
    /// Bytes that are known to be stored.
    pub fn received(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }
}

/// A repository's content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Names it.
    pub digest: Digest,
    /// Where the bytes are.
    pub content: Id,
    /// Of the hold.
    pub token: Id,
    /// Bytes.
    pub size: u64,
    /// Since when, microseconds.
    pub since_us: u64,
}

/// A request about one content or one repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Command {
    /// A new content, without bytes. [`Answer::Content`].
    Begin {
        /// Its name.
        id: Id,
        /// Through which repository.
        repository: Repository,
    },
    /// [`Answer::Content`] or [`Answer::Absent`].
    Content {
        /// Which.
        id: Id,
    },
    /// A request brings bytes: whatever part was being written before is fenced off. [`Answer::Content`], [`Answer::WrongOffset`],
    /// [`Answer::Absent`].
    OpenPart {
        /// Which content.
        id: Id,
        /// The part's name.
        part: Id,
        /// Bytes that must have been received; any number if absent.
        from: Option<u64>,
        /// Chunks it may write.
        reserve: u32,
    },
    /// Bytes of the part are stored. [`Answer::Content`], [`Answer::WrongOffset`], [`Answer::Absent`].
    Advance {
        /// Which content.
        id: Id,
        /// Its newest part.
        part: Id,
        /// All of the part's bytes that are stored.
        bytes: u64,
        /// Chunks it may write.
        reserve: u32,
    },
    /// No more bytes come; held from now on. Repeating it is answered alike. [`Answer::Content`], [`Answer::WrongOffset`], [`Answer::Absent`].
    Seal {
        /// Which content.
        id: Id,
        /// Bytes that must have been received.
        size: u64,
        /// The first hold's token.
        token: Id,
        /// What it is to be linked as.
        digest: Digest,
    },
    /// Another repository is going to link a sealed content. [`Answer::Content`] or [`Answer::Absent`].
    Hold {
        /// Which content.
        id: Id,
        /// The link's token.
        token: Id,
        /// Where.
        repository: Repository,
        /// As what.
        digest: Digest,
    },
    /// A link has ended, or never came to be. A content that nobody holds is going. [`Answer::Content`] or [`Answer::Absent`].
    Release {
        /// Which content.
        id: Id,
        /// The link's token.
        token: Id,
    },
    /// An upload is given up, unless it has been sealed or touched later. [`Answer::Content`] or [`Answer::Absent`].
    Discard {
        /// Which content.
        id: Id,
        /// Not if it was touched later than this, microseconds.
        untouched_since_us: u64,
    },
    /// The chunks of a content that is going have been removed, and the content is forgotten; but not before whoever may yet write one has
    /// given up, [`LINK_WITHIN_US`] after it began to go: until then its chunks are removed again. [`Answer::Done`].
    Forget {
        /// Which content.
        id: Id,
    },
    /// Contents of this partition. [`Answer::Contents`].
    Contents {
        /// From the first after this one on.
        after: Id,
    },

    /// Links a held content. [`Answer::Link`] with the link in force, which may be an earlier one, as young as this one from now on;
    /// [`Answer::Stale`], also if the link has ended already.
    Link {
        /// Where.
        repository: Repository,
        /// The link.
        link: Link,
    },
    /// Somebody counts on the blob being there: its link is young again. [`Answer::Link`] or [`Answer::Absent`].
    Touch {
        /// Where.
        repository: Repository,
        /// What.
        digest: Digest,
    },
    /// [`Answer::Link`] or [`Answer::Absent`].
    Find {
        /// Where.
        repository: Repository,
        /// What.
        digest: Digest,
    },
    /// Ends a link, if it is that of the token, or any. [`Answer::Link`] or [`Answer::Absent`].
    Unlink {
        /// Where.
        repository: Repository,
        /// What.
        digest: Digest,
        /// Only this one.
        token: Option<Id>,
    },
    /// Ends links that no manifest needs, of a page. [`Answer::Links`].
    Sweep {
        /// Where.
        repository: Repository,
        /// From the first after this digest on.
        after: String,
        /// Only links made before, microseconds.
        before_us: u64,
    },
    /// Keeps a manifest, attached. [`Answer::Done`] or [`Answer::Missing`].
    PutManifest {
        /// Where.
        repository: Repository,
        /// Names it.
        digest: Digest,
        /// Point to it from now on.
        tags: Vec<Tag>,
        /// What is known of it.
        manifest: Manifest,
    },
    /// [`Answer::Manifest`], with its bytes attached if asked for, or [`Answer::Absent`].
    Manifest {
        /// Where.
        repository: Repository,
        /// Which.
        reference: Reference,
        /// With its bytes.
        body: bool,
    },
    /// Removes a tag, or a manifest with all its tags. [`Answer::Done`] or [`Answer::Absent`].
    RemoveManifest {
        /// Where.
        repository: Repository,
        /// Which.
        reference: Reference,
    },
    /// [`Answer::Tags`] in their order, or [`Answer::Absent`] if there is no such repository.
    Tags {
        /// Where.
        repository: Repository,
        /// From the first after this one on.
        after: String,
        /// At most, and at most [`PAGE_MAX`].
        limit: u32,
    },
    /// Manifests that are about this one. [`Answer::Referrers`].
    Referrers {
        /// Where.
        repository: Repository,
        /// Which.
        subject: Digest,
    },
    /// Repositories of this partition. [`Answer::Repositories`].
    Repositories {
        /// From the first after this one on.
        after: String,
    },
}

/// What a command is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// It is so.
    Done,
    /// There is no such thing.
    Absent,
    /// The content as it is now, and the time of its partition, microseconds.
    Content {
        /// The content.
        content: Content,
        /// The time.
        now_us: u64,
    },
    /// Other bytes than expected have been received.
    WrongOffset {
        /// As it is now.
        content: Content,
    },
    /// A page.
    Contents {
        /// By name.
        contents: Vec<Content>,
    },
    /// The link in force.
    Link {
        /// The link.
        link: Link,
    },
    /// The hold is too old to be linked.
    Stale,
    /// Links that have ended.
    Links {
        /// The links.
        links: Vec<Link>,
        /// The last that was looked at; none at the end.
        next: Option<Digest>,
    },
    /// The manifest needs a content that the repository does not have.
    Missing {
        /// The first such.
        digest: Digest,
    },
    /// A manifest; its bytes are attached if they were asked for.
    Manifest {
        /// Names it.
        digest: Digest,
        /// What is known of it.
        manifest: Manifest,
    },
    /// A page.
    Tags {
        /// In their order.
        tags: Vec<String>,
        /// There are more.
        more: bool,
    },
    /// All, up to [`REFERRERS_MAX`].
    Referrers {
        /// By digest.
        descriptors: Vec<Descriptor>,
    },
    /// A page.
    Repositories {
        /// In their order.
        names: Vec<String>,
    },
}

/// A command or answer, and what is attached to it.
pub fn encode<T: Serialize>(message: &T, attachment: &[u8]) -> Vec<u8> {
    let json = serde_json::to_vec(message).expect("records have only text keys");
    let mut bytes = Vec::with_capacity(4 + json.len() + attachment.len());
    bytes.extend_from_slice(&(json.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&json);
    bytes.extend_from_slice(attachment);
    bytes
}

/// Reads what [`encode`] wrote. Fails with what is wrong.
pub fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<(T, &'a [u8]), String> {
    let (length, rest) = bytes.split_first_chunk().ok_or("a record of fewer than 4 bytes")?;
    let length = u32::from_le_bytes(*length) as usize;
    let (json, attachment) = rest.split_at_checked(length).ok_or("a record that is shorter than it says")?;
    let message = serde_json::from_slice(json).map_err(|error| format!("a record that cannot be read: {error}"))?;
    Ok((message, attachment))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back_and_damaged_ones_are_errors() {
        let command = Command::Begin { id: "0".into(), repository: "a/b".parse().unwrap() };
        let bytes = encode(&command, b"more");
        assert_eq!(decode(&bytes), Ok((command, &b"more"[..])));
        for length in 0..bytes.len() - 4 {
            assert!(decode::<Command>(&bytes[..length]).is_err(), "{length}");
        }
        let hostile = encode(&serde_json::json!({ "command": "begin", "id": "0", "repository": "../x" }), b"");
        assert!(decode::<Command>(&hostile).unwrap_err().contains("../x"));
        assert!(decode::<Command>(&[0xff; 8]).is_err());
    }
}
