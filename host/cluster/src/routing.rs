//! Key → partition → group → node, from the immutable routing table that every node makes of the meta state.
//!
//! A key belongs to partition `floor(xxh3_64(key) · count / 2^64)`, so that a partition owns one range of hashes. Changing this
//! moves data.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use recoil_base::{GroupId, KeyspaceId, NodeId, PartitionId};
use recoil_consensus::PartitionRef;
use xxhash_rust::xxh3::xxh3_64;

use crate::meta::{Keyspace, MetaState, PartitionMap, Placement};

/// The partition that owns `key` among `count`.
pub fn partition_of_key(key: &[u8], count: u32) -> PartitionId {
    PartitionId(((u128::from(xxh3_64(key)) * u128::from(count)) >> 64) as u32)
}

/// What routing needs of a keyspace.
#[derive(Clone, Debug)]
pub struct KeyspaceTable {
    /// Its name.
    pub name: Arc<str>,
    /// Where its partitions are; shared with the meta state.
    pub partitions: PartitionMap,
}

impl KeyspaceTable {
    /// Its partitions.
    pub fn count(&self) -> u32 {
        self.partitions.len() as u32
    }

    /// The partition that owns `key`.
    pub fn partition(&self, key: &[u8]) -> PartitionId {
        partition_of_key(key, self.count())
    }
}

/// What routing needs of the meta state, and no more.
#[derive(Clone, Debug)]
pub struct RoutingTable {
    /// All keyspaces.
    pub keyspaces: BTreeMap<KeyspaceId, KeyspaceTable>,
    /// Ordered members of each group.
    pub groups: HashMap<GroupId, Arc<[NodeId]>>,
    /// The small counters by which guests know nodes.
    pub numbers: HashMap<NodeId, u32>,
    /// The routing index of the meta state that it was made of: equal tables may be of different states, but where calls go is the same.
    pub index: u64,
}

impl RoutingTable {
    /// None before the partition map is made. Costs a copy of the groups and members, but not of the partitions.
    pub fn of(state: &MetaState) -> Option<Arc<Self>> {
        if state.keyspaces.is_empty() {
            return None;
        }
        let table = |keyspace: &Keyspace| {
            let (name, partitions) = (keyspace.name.as_str().into(), keyspace.partitions.clone());
            KeyspaceTable { name, partitions }
        };
        let keyspaces = state.keyspaces.iter().map(|(id, keyspace)| (*id, table(keyspace))).collect();
        let groups = state.groups.iter().map(|(id, group)| (*id, group.members.clone())).collect();
        let numbers = state.members.iter().map(|(node, member)| (*node, member.number)).collect();
        Some(Arc::new(RoutingTable { keyspaces, groups, numbers, index: state.header.routing_index }))
    }

    /// A keyspace, if there is such a one.
    pub fn keyspace(&self, keyspace: KeyspaceId) -> Option<&KeyspaceTable> {
        self.keyspaces.get(&keyspace)
    }

    /// Where a partition is, if there is such a one.
    pub fn placement_of(&self, partition: PartitionRef) -> Option<Placement> {
        self.keyspaces.get(&partition.keyspace)?.partitions.get(partition.partition)
    }

    /// The group's members, first the preferred leader.
    pub fn members(&self, group: GroupId) -> &[NodeId] {
        self.groups.get(&group).map_or(&[], |members| members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_from_key_to_partition_never_changes() {
        // These values are in users' data: a change here is a migration.
        let rule: Vec<u32> =
            [&b""[..], b"greeting", b"key:000000000001", &[0, 255]].map(|key| partition_of_key(key, 265).0).into();
        assert_eq!(rule, [46, 32, 15, 175]);
        let mut counts = [0u32; 265];
        for n in 0..265_000u32 {
            counts[partition_of_key(format!("key:{n}").as_bytes(), 265).0 as usize] += 1;
        }
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
    }
}
