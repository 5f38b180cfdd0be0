//! What an entry of a partition group says.
//!
//! Layout (little-endian): `format u8 = 3 | term u64 | node u32 | chain u64 | kind u8`, then by kind:
//! - 0 starts a chain, with the package versions that it may carry: `count u32, (app u32, digest 32 bytes)*`.
//! - 1 writes. The package versions that evaluated it, as above; then `count u32` partitions: `keyspace u32 | partition u32 |
//!   epoch u64 | now u64 | count u32` apps: `app u32 | count u32` writes and `count u32` answered calls
//!   ([`crate::answered`]): `node u32 | incarnation u64 | sequence u64 | acked u64 | kept u8 | answer`. Keys in writes are
//!   relative to (copy, app).
//! - 2 changes what the group owns: `count u32` times `keyspace u32 | partition u32 | change` ([`crate::ownership`]).
//!
//! A kind or a change that this version does not know stops the replica: passed over, it would be a change on some replicas
//! and none on others. So a new one is proposed only once the cluster's feature level says that every node knows it.

use bytes::Bytes;
use recoil_base::{AppId, DecodeError, Digest, KeyspaceId, NodeId, PartitionId, Reader, Writer};
use recoil_storage::Write;

use crate::answered::AnsweredCall;
use crate::ownership::OwnershipChange;

const FORMAT: u8 = 3;
/// Before the kind: format, term, node, chain number.
const HEAD_BYTES: usize = 1 + 8 + 4 + 8;
const START: u8 = 0;
const WRITES: u8 = 1;
const OWNERSHIP: u8 = 2;
/// Bytes of the shortest change of ownership, with its partition.
const CHANGE_BYTES_MIN: usize = 8 + 1 + 8;

/// A partition, named across keyspaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionRef {
    /// The keyspace.
    pub keyspace: KeyspaceId,
    /// The partition in it.
    pub partition: PartitionId,
}

/// The writes of one app to one partition, in evaluation order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppWrites {
    /// Whose keys these are.
    pub app: AppId,
    /// The writes.
    pub writes: Vec<Write>,
    /// The calls that wrote them, and others answered since the last entry.
    pub calls: Vec<AnsweredCall>,
}

/// The writes to one partition. If the group does not own it in this epoch, nothing of the entry is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionWrites {
    /// The partition.
    pub partition: PartitionRef,
    /// The epoch in which the leader evaluated them.
    pub epoch: u64,
    /// The partition's hybrid-logical time after them, microseconds.
    pub now_us: u64,
    /// Per app.
    pub apps: Vec<AppWrites>,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The term of the leader that evaluated it.
    pub term: u64,
    /// The leader that evaluated it.
    pub node: NodeId,
    /// Its place in the leader's chain.
    pub chain: u64,
    /// What it does.
    pub body: Body,
}

/// What an entry does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Begins a chain at this number; writes nothing.
    Start {
        /// The package versions that may evaluate its entries, until the next start.
        versions: Vec<(AppId, Digest)>,
    },
    /// Writes.
    Writes {
        /// The package versions that evaluated it.
        versions: Vec<(AppId, Digest)>,
        /// Per partition.
        partitions: Vec<PartitionWrites>,
    },
    /// Changes which partitions the group owns, in this order.
    Ownership {
        /// Per partition.
        changes: Vec<(PartitionRef, OwnershipChange)>,
    },
}

impl Command {
    /// The entry's bytes.
    pub fn encode(&self, size_hint: usize) -> Bytes {
        let mut writer = Writer::with_capacity(64 + size_hint);
        writer.u8(FORMAT).u64(self.term).u32(self.node.0).u64(self.chain);
        match &self.body {
            Body::Start { versions } => encode_versions(writer.u8(START), versions),
            Body::Writes { versions, partitions } => {
                encode_versions(writer.u8(WRITES), versions);
                writer.u32(partitions.len() as u32);
                partitions.iter().for_each(|part| encode_partition(&mut writer, part));
            }
            Body::Ownership { changes } => {
                writer.u8(OWNERSHIP).u32(changes.len() as u32);
                for (partition, change) in changes {
                    writer.u32(partition.keyspace.0).u32(partition.partition.0);
                    change.encode(&mut writer);
                }
            }
        }
        writer.finish()
    }

    /// True if somebody waits for an entry to be in the data, as far as its first bytes say: it begins a chain or changes
    /// what the group owns.
    pub(crate) fn is_urgent(bytes: &[u8]) -> bool {
        matches!(bytes.get(HEAD_BYTES), Some(&(START | OWNERSHIP)))
    }

    /// Reads an entry's bytes.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("group entry", bytes);
        if reader.u8()? != FORMAT {
            return Err(
                reader.error("a format that this version does not know; use the version that wrote it or a later one")
            );
        }
        let (term, node, chain) = (reader.u64()?, NodeId(reader.u32()?), reader.u64()?);
        let body = match reader.u8()? {
            START => Body::Start { versions: decode_versions(&mut reader)? },
            WRITES => {
                let versions = decode_versions(&mut reader)?;
                let count = reader.count(28)?;
                let partitions = (0..count).map(|_| decode_partition(&mut reader)).collect::<Result<_, _>>()?;
                Body::Writes { versions, partitions }
            }
            OWNERSHIP => {
                let count = reader.count(CHANGE_BYTES_MIN)?;
                let change =
                    |reader: &mut Reader| Ok((decode_partition_ref(reader)?, OwnershipChange::decode(reader)?));
                Body::Ownership { changes: (0..count).map(|_| change(&mut reader)).collect::<Result<_, _>>()? }
            }
            _ => {
                return Err(reader.error(
                    "an entry of a kind that this version does not know; use the version that wrote it or a later one",
                ));
            }
        };
        reader.finish()?;
        Ok(Command { term, node, chain, body })
    }
}

fn encode_versions(writer: &mut Writer, versions: &[(AppId, Digest)]) {
    writer.u32(versions.len() as u32);
    for (app, digest) in versions {
        writer.u32(app.0).raw(&digest.0);
    }
}

fn encode_partition(writer: &mut Writer, part: &PartitionWrites) {
    writer.u32(part.partition.keyspace.0).u32(part.partition.partition.0).u64(part.epoch).u64(part.now_us);
    writer.u32(part.apps.len() as u32);
    part.apps.iter().for_each(|app| encode_app(writer, app));
}

pub(crate) fn encode_app(writer: &mut Writer, app: &AppWrites) {
    writer.u32(app.app.0).u32(app.writes.len() as u32);
    app.writes.iter().for_each(|write| write.encode(writer));
    writer.u32(app.calls.len() as u32);
    app.calls.iter().for_each(|call| call.encode(writer));
}

pub(crate) fn decode_app(reader: &mut Reader) -> Result<AppWrites, DecodeError> {
    let app = AppId(reader.u32()?);
    let count = reader.count(1)?;
    let writes = (0..count).map(|_| Write::decode(reader)).collect::<Result<_, _>>()?;
    let calls = reader.count(33)?;
    let calls = (0..calls).map(|_| AnsweredCall::decode(reader)).collect::<Result<_, _>>()?;
    Ok(AppWrites { app, writes, calls })
}

fn decode_versions(reader: &mut Reader) -> Result<Vec<(AppId, Digest)>, DecodeError> {
    let count = reader.count(36)?;
    let mut versions = Vec::with_capacity(count);
    for _ in 0..count {
        let app = AppId(reader.u32()?);
        let digest = reader.raw(32)?;
        versions.push((app, Digest(digest[..].try_into().expect("32 bytes were read"))));
    }
    Ok(versions)
}

pub(crate) fn decode_partition_ref(reader: &mut Reader) -> Result<PartitionRef, DecodeError> {
    Ok(PartitionRef { keyspace: KeyspaceId(reader.u32()?), partition: PartitionId(reader.u32()?) })
}

fn decode_partition(reader: &mut Reader) -> Result<PartitionWrites, DecodeError> {
    let partition = decode_partition_ref(reader)?;
    let (epoch, now_us) = (reader.u64()?, reader.u64()?);
    let count = reader.count(12)?;
    let apps = (0..count).map(|_| decode_app(reader)).collect::<Result<_, _>>()?;
    Ok(PartitionWrites { partition, epoch, now_us, apps })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ownership::{Move, ReleasePoint};

    /// One entry of each kind, with every kind of write and of change.
    fn entries() -> [Command; 3] {
        let put = Write::Put { key: Bytes::from_static(b"\x01k"), value: Bytes::from_static(b"v") };
        let range = |end| Write::RemoveRange { start: Bytes::from_static(b"\x01a"), end };
        let writes = vec![
            put,
            Write::Remove { key: Bytes::from_static(b"\x01r") },
            range(None),
            range(Some(Bytes::from_static(b"\x01b"))),
        ];
        let partition = PartitionRef { keyspace: KeyspaceId(1), partition: PartitionId(264) };
        let origin = crate::answered::Origin { node: NodeId(8), incarnation: 2 };
        let answer = |answer| AnsweredCall { origin, sequence: 12, acked: 11, answer };
        let calls = vec![answer(None), answer(Some(Bytes::from_static(b"OK")))];
        let apps = vec![AppWrites { app: AppId(3), writes, calls }];
        let partitions = vec![PartitionWrites { partition, epoch: 2, now_us: 9, apps }];
        let versions = vec![(AppId(3), Digest::of(b"package"))];
        let moving = Move { id: 5, other: recoil_base::GroupId(2), epoch: 3 };
        let changes = [
            OwnershipChange::Birth { epoch: 1 },
            OwnershipChange::Expect(moving),
            OwnershipChange::UnExpect { id: 4 },
            OwnershipChange::Release(moving),
            OwnershipChange::Cancel { id: 4 },
            OwnershipChange::Adopt { id: 5, released: ReleasePoint { index: 70, clock_us: 80 } },
            OwnershipChange::Retire { id: 5 },
        ];
        let changes = changes.map(|change| (partition, change)).into();
        [Body::Start { versions: versions.clone() }, Body::Writes { versions, partitions }, Body::Ownership { changes }]
            .map(|body| Command { term: 4, node: NodeId(5), chain: 6, body })
    }

    #[test]
    fn entries_survive_and_every_shorter_input_is_an_error() {
        for command in entries() {
            let encoded = command.encode(0);
            assert_eq!(Command::decode(encoded.clone()).unwrap(), command);
            for length in 0..encoded.len() {
                assert!(Command::decode(encoded.slice(..length)).is_err(), "{length}");
            }
        }
        assert_eq!(entries().map(|entry| Command::is_urgent(&entry.encode(0))), [true, false, true]);
        assert!(!Command::is_urgent(b""));
    }

    /// Fails if an unknown kind of entry, or an unknown change, is passed over instead of refused.
    #[test]
    fn what_this_version_does_not_know_is_refused() {
        let mut kind = entries()[0].encode(0).to_vec();
        kind[HEAD_BYTES] = 9;
        let mut format = entries()[0].encode(0).to_vec();
        format[0] = FORMAT + 1;
        let mut change = entries()[2].encode(0).to_vec();
        change[HEAD_BYTES + 1 + 4 + 8] = 99;
        for (bytes, why) in [(kind, "kind"), (format, "format"), (change, "change of ownership")] {
            let error = Command::decode(bytes.into()).unwrap_err().to_string();
            assert!(error.contains(why) && error.contains("does not know"), "{error}");
        }
    }

    #[test]
    fn entries_are_written_as_in_the_fixtures() {
        let names = ["entry-start.bin", "entry-writes.bin", "entry-ownership.bin"];
        for (name, command) in names.into_iter().zip(entries()) {
            let stored = crate::fixtures::check(name, &command.encode(0));
            assert_eq!(Command::decode(stored).unwrap(), command, "{name}");
        }
    }
}
