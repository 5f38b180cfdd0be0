//! How two nodes agree on the form of what they send each other.
//!
//! The first bytes of a stream, and the hello after them, never change from format 2 on: a later version of Recoil that changes frames, or
//! what is in them, raises [`WIRE`]'s `max`, keeps the forms down to `min`, and writes what the other end can read.

use recoil_base::NodeId;
use serde::{Deserialize, Serialize};

/// What a stream between nodes starts with; nothing that HTTP could. The last byte is the format of the hello.
pub const MAGIC: &[u8; 8] = b"RECOIL\x00\x02";
/// The wire versions of this node.
pub const WIRE: WireVersions = WireVersions { min: 2, max: 2 };

/// A range of wire versions, both ends of it included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireVersions {
    /// The lowest.
    pub min: u32,
    /// The highest.
    pub max: u32,
}

impl std::fmt::Display for WireVersions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} to {}", self.min, self.max)
    }
}

/// Two nodes that have no wire version in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "node {} has the wire versions {} and node {} has {}, which have none in common: upgrade node {older}",
    .ours.0, .ours.1, .theirs.0, .theirs.1
)]
pub struct WireMismatch {
    ours: (NodeId, WireVersions),
    theirs: (NodeId, WireVersions),
    older: NodeId,
}

/// The highest wire version that two nodes have in common.
///
/// # Errors
/// If there is none; it says which node to upgrade.
pub fn agree(ours: (NodeId, WireVersions), theirs: (NodeId, WireVersions)) -> Result<u32, WireMismatch> {
    let highest = ours.1.max.min(theirs.1.max);
    // A range without a version in it has none in common with any.
    if highest >= ours.1.min.max(theirs.1.min) {
        return Ok(highest);
    }
    let older = if ours.1.max < theirs.1.max { ours.0 } else { theirs.0 };
    Err(WireMismatch { ours, theirs, older })
}

/// The format that a stream of another Recoil starts with; none if it is of this format, or something else.
pub fn other_format(first: &[u8]) -> Option<u8> {
    let (format, name) = first.split_last()?;
    let (ours, our_name) = MAGIC.split_last()?;
    (name == our_name && format != ours).then_some(*format)
}

/// What is said of a node whose streams start with another format.
pub(super) fn refuse_format(who: &str, format: u8) -> String {
    let ours = MAGIC[MAGIC.len() - 1];
    let what = if format < ours { "upgrade it" } else { "upgrade this node" };
    format!("{who} opens streams in format {format}, and this node in format {ours}: {what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails if the lower of two maxima is not taken, or a range without a version in common is accepted.
    #[test]
    fn two_nodes_take_the_highest_version_in_common_or_say_which_is_too_old() {
        let theirs = |min, max| (NodeId(2), WireVersions { min, max });
        let ours = (NodeId(1), WireVersions { min: 3, max: 5 });
        for ((min, max), agreed) in [((3, 5), 5), ((1, 3), 3), ((5, 9), 5), ((4, 4), 4), ((0, u32::MAX), 5)] {
            assert_eq!(agree(ours, theirs(min, max)), Ok(agreed));
        }
        let refused = |min, max| agree(ours, theirs(min, max)).unwrap_err().to_string();
        let old = refused(1, 2);
        assert!(old.contains("3 to 5") && old.contains("1 to 2") && old.ends_with("upgrade node 00000002"), "{old}");
        let new = refused(6, 7);
        assert!(new.contains("3 to 5") && new.contains("6 to 7") && new.ends_with("upgrade node 00000001"), "{new}");
        assert!(agree(ours, theirs(5, 3)).is_err(), "no range");
    }

    /// Fails if a node of another format is taken for a stranger's program.
    #[test]
    fn a_stream_of_another_format_is_refused_by_name() {
        assert_eq!((other_format(MAGIC), other_format(b"GET / HT"), other_format(b"")), (None, None, None));
        assert_eq!(other_format(b"RECOIL\x00\x01"), Some(1));
        assert!(refuse_format("it", 1).contains("format 1, and this node in format 2: upgrade it"));
        assert!(refuse_format("it", 9).ends_with("upgrade this node"));
    }
}
