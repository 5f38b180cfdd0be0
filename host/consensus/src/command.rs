//! What an entry of a partition group says.
//!
//! Layout (little-endian): `format u8 = 2 | term u64 | node u32 | chain u64 | kind u8`, then
//! versions `count u32, (app u32, digest 32 bytes)*`. Kind 0 starts a chain, with the apps that it may carry, and ends here; kind 1
//! has the apps that evaluated it and goes on with `count u32` partitions: `keyspace u32 | partition u32 | epoch u64 | now u64 | count u32` apps: `app u32 | count u32` writes and
//! `count u32` answered calls ([`crate::answered`]): `node u32 | incarnation u64 | sequence u64 | acked u64 | kept u8 | answer`.
//! Keys in writes are relative to (copy, app). Changing this is a data migration.

use bytes::Bytes;
use recoil_base::{AppId, DecodeError, Digest, KeyspaceId, NodeId, PartitionId, Reader, Writer};
use recoil_storage::Write;

use crate::answered::AnsweredCall;

const FORMAT: u8 = 2;
/// Before the kind: format, term, node, chain number.
const HEAD_BYTES: usize = 1 + 8 + 4 + 8;
const START: u8 = 0;
const WRITES: u8 = 1;

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

/// The writes to one partition: skipped whole by a replica where the partition has another epoch.
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
}

impl Command {
    /// The entry's bytes.
    pub fn encode(&self, size_hint: usize) -> Bytes {
        let mut writer = Writer::with_capacity(64 + size_hint);
        writer.u8(FORMAT).u64(self.term).u32(self.node.0).u64(self.chain);
        let (kind, versions) = match &self.body {
            Body::Start { versions } => (START, versions),
            Body::Writes { versions, .. } => (WRITES, versions),
        };
        writer.u8(kind).u32(versions.len() as u32);
        for (app, digest) in versions {
            writer.u32(app.0).raw(&digest.0);
        }
        let Body::Writes { partitions, .. } = &self.body else { return writer.finish() };
        writer.u32(partitions.len() as u32);
        for part in partitions {
            writer.u32(part.partition.keyspace.0).u32(part.partition.partition.0).u64(part.epoch).u64(part.now_us);
            writer.u32(part.apps.len() as u32);
            for app in &part.apps {
                writer.u32(app.app.0).u32(app.writes.len() as u32);
                for write in &app.writes {
                    write.encode(&mut writer);
                }
                writer.u32(app.calls.len() as u32);
                for call in &app.calls {
                    call.encode(&mut writer);
                }
            }
        }
        writer.finish()
    }

    /// True if an entry's bytes begin a chain, as far as its head tells.
    pub(crate) fn is_start(bytes: &[u8]) -> bool {
        bytes.get(HEAD_BYTES) == Some(&START)
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
        let kind = reader.u8()?;
        let versions = decode_versions(&mut reader)?;
        let body = match kind {
            START => Body::Start { versions },
            WRITES => {
                let count = reader.count(28)?;
                let partitions = (0..count).map(|_| decode_partition(&mut reader)).collect::<Result<_, _>>()?;
                Body::Writes { versions, partitions }
            }
            _ => return Err(reader.error("an entry of an unknown kind")),
        };
        reader.finish()?;
        Ok(Command { term, node, chain, body })
    }
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

fn decode_partition(reader: &mut Reader) -> Result<PartitionWrites, DecodeError> {
    let partition = PartitionRef { keyspace: KeyspaceId(reader.u32()?), partition: PartitionId(reader.u32()?) };
    let (epoch, now_us) = (reader.u64()?, reader.u64()?);
    let count = reader.count(12)?;
    let mut apps = Vec::with_capacity(count);
    for _ in 0..count {
        let app = AppId(reader.u32()?);
        let count = reader.count(1)?;
        let writes = (0..count).map(|_| Write::decode(reader)).collect::<Result<_, _>>()?;
        let calls = reader.count(33)?;
        let calls = (0..calls).map(|_| AnsweredCall::decode(reader)).collect::<Result<_, _>>()?;
        apps.push(AppWrites { app, writes, calls });
    }
    Ok(PartitionWrites { partition, epoch, now_us, apps })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_survives_and_every_shorter_input_is_an_error() {
        let put = Write::Put { key: Bytes::from_static(b"\x01k"), value: Bytes::from_static(b"v") };
        let range = Write::RemoveRange { start: Bytes::from_static(b"\x01a"), end: None };
        let partition = PartitionRef { keyspace: KeyspaceId(1), partition: PartitionId(264) };
        let origin = crate::answered::Origin { node: NodeId(8), incarnation: 2 };
        let answer = |answer| AnsweredCall { origin, sequence: 12, acked: 11, answer };
        let calls = vec![answer(None), answer(Some(Bytes::from_static(b"OK")))];
        let apps = vec![AppWrites { app: AppId(3), writes: vec![put, range], calls }];
        let partitions = vec![PartitionWrites { partition, epoch: 2, now_us: 9, apps }];
        let versions = vec![(AppId(3), Digest::of(b"package"))];
        let command = Command { term: 4, node: NodeId(5), chain: 6, body: Body::Writes { versions, partitions } };
        let encoded = command.encode(0);
        assert_eq!(Command::decode(encoded.clone()).unwrap(), command);
        for length in 0..encoded.len() {
            assert!(Command::decode(encoded.slice(..length)).is_err(), "{length}");
        }
        let start = Command { body: Body::Start { versions: vec![(AppId(3), Digest::of(b"package"))] }, ..command };
        assert_eq!(Command::decode(start.encode(0)).unwrap(), start);
        assert!(Command::is_start(&start.encode(0)) && !Command::is_start(&encoded) && !Command::is_start(b""));
    }
}
