//! The members of the cluster as the folder remembers them: a copy of what the data say, for a start that finds the data gone.
//!
//! Invariant: nothing depends on it while the data are there. So a file that is missing or cannot be read names nobody, which is
//! said and does not end the start; and an older list is good enough, since members tell each other where they listen.
//!
//! File: `MEMBERS`, a line `member NODE ADDRESS INCARNATION START` for each and a checksum; replaced atomically.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use recoil_base::NodeId;

use super::{Folder, FolderError, replace_file};

const MEMBERS_FILE: &str = "MEMBERS";

/// A member, as last known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownMember {
    /// Who.
    pub node: NodeId,
    /// Where others reach it.
    pub address: SocketAddr,
    /// Its start: the incarnation and a random number.
    pub start: (u64, u64),
}

impl Folder {
    /// The members last recorded; none if there is no record that can be read. Blocks.
    pub fn members(&self) -> Vec<KnownMember> {
        let path = self.path().join(MEMBERS_FILE);
        match read(&path) {
            Ok(members) => members,
            Err(error) if error.kind() == io::ErrorKind::NotFound => vec![],
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "the list of members cannot be read; it is written again");
                vec![]
            }
        }
    }

    /// Durably records the members. Blocks.
    pub fn set_members(&self, members: &[KnownMember]) -> Result<(), FolderError> {
        replace_file(self.path(), MEMBERS_FILE, to_text(members).as_bytes())
    }
}

fn to_text(members: &[KnownMember]) -> String {
    let line = |KnownMember { node, address, start }: &KnownMember| {
        format!("member {node} {address} {} {}\n", start.0, start.1)
    };
    let body: String = members.iter().map(line).collect();
    let sum = crc32fast::hash(body.as_bytes());
    format!("{body}checksum {sum:08x}\n")
}

fn read(path: &Path) -> io::Result<Vec<KnownMember>> {
    let text = fs::read_to_string(path)?;
    let (body, sum) = text.rsplit_once("checksum ").ok_or_else(|| io::Error::other("it has no checksum"))?;
    if u32::from_str_radix(sum.trim_end(), 16) != Ok(crc32fast::hash(body.as_bytes())) {
        return Err(io::Error::other("its checksum is wrong"));
    }
    let member = |line: &str| {
        let mut words = line.strip_prefix("member ")?.split(' ');
        let (node, address) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some(KnownMember { node, address, start: (words.next()?.parse().ok()?, words.next()?.parse().ok()?) })
    };
    body.lines()
        .map(member)
        .collect::<Option<_>>()
        .ok_or_else(|| io::Error::other("a line is not a member of the form that this version knows"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_survive_and_a_damaged_list_names_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        assert_eq!(folder.members(), []);
        let member = |node, address: &str| KnownMember {
            node: NodeId(node),
            address: address.parse().unwrap(),
            start: (u64::from(node), u64::MAX),
        };
        let members = [member(7, "10.0.0.1:7400"), member(8, "[::1]:7400")];
        folder.set_members(&members[..1]).unwrap();
        folder.set_members(&members).unwrap();
        assert_eq!(folder.members(), members);

        let path = dir.path().join(MEMBERS_FILE);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("10.0.0.1", "10.0.0.2")).unwrap();
        assert_eq!(folder.members(), []);
        folder.set_members(&members).unwrap();
        assert_eq!(folder.members(), members);
    }
}
