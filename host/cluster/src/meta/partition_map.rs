//! The placements of a keyspace's partitions as a persistent vector of two levels: changing one copies its chunk and the list of
//! chunks, and a reader needs two steps. Copies share everything else, so that the routing table is the meta state's own map.

use std::sync::Arc;

use recoil_base::PartitionId;

use super::Placement;

/// Placements in a chunk: 8 KiB. With 100,000 partitions a change copies one of 196 chunks.
const CHUNK: usize = 512;

/// See the module's essay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionMap {
    chunks: Arc<[Arc<[Placement]>]>,
    len: usize,
}

impl PartitionMap {
    /// Partitions.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True without partitions.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where a partition is, if there is such a one.
    pub fn get(&self, partition: PartitionId) -> Option<Placement> {
        let place = partition.0 as usize;
        self.chunks.get(place / CHUNK)?.get(place % CHUNK).copied()
    }

    /// Changes where a partition is; false if there is no such one.
    pub fn set(&mut self, partition: PartitionId, placement: Placement) -> bool {
        let place = partition.0 as usize;
        if place >= self.len {
            return false;
        }
        let mut chunks = self.chunks.to_vec();
        let mut chunk = chunks[place / CHUNK].to_vec();
        chunk[place % CHUNK] = placement;
        chunks[place / CHUNK] = chunk.into();
        self.chunks = chunks.into();
        true
    }

    /// All, by partition id.
    pub fn iter(&self) -> impl Iterator<Item = Placement> + '_ {
        self.chunks.iter().flat_map(|chunk| chunk.iter().copied())
    }
}

impl FromIterator<Placement> for PartitionMap {
    fn from_iter<I: IntoIterator<Item = Placement>>(placements: I) -> Self {
        let all: Vec<Placement> = placements.into_iter().collect();
        PartitionMap { chunks: all.chunks(CHUNK).map(Arc::from).collect(), len: all.len() }
    }
}

#[cfg(test)]
mod tests {
    use recoil_base::GroupId;

    use super::*;

    /// Fails if a change shows in an earlier copy, or at another partition.
    #[test]
    fn a_change_is_seen_in_the_changed_map_alone() {
        for len in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
            let placement = |place: usize| Placement { group: GroupId(place as u32), epoch: 1 };
            let before: PartitionMap = (0..len).map(placement).collect();
            assert_eq!(before.len(), len);
            assert!(before.iter().eq((0..len).map(placement)));
            let past = PartitionId(len as u32);
            assert_eq!(before.get(past), None);
            let mut after = before.clone();
            assert!(!after.set(past, placement(0)));
            if len > 0 {
                let (last, moved) = (PartitionId(len as u32 - 1), Placement { group: GroupId(7), epoch: 2 });
                assert!(after.set(last, moved));
                assert_eq!((after.get(last), before.get(last)), (Some(moved), Some(placement(len - 1))));
                assert!(after.iter().take(len - 1).eq(before.iter().take(len - 1)));
            }
        }
    }
}
