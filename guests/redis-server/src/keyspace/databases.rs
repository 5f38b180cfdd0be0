//! Databases of a partition: which space of keys each of the sixteen has, and how keys find their partition.
//!
//! ```text
//! database map   00 → format 1 (1) | routing (1) | the space of each database (16)
//! dead space     05 | space (1) → where the cleaner continues
//! ```
//!
//! Without a map, database `n` has space `n` and keys find their partition by their hash tags: partitions that were written
//! before there were databases read as they are. SWAPDB exchanges two numbers of the map. FLUSHDB of a small database removes
//! its keys and leaves the map alone; that of a larger one gives the database an unused space and leaves the old one to the
//! cleaner, so that both take the same time however many keys there are. A database that only knows small flushes, as in
//! test suites, stays in its first space, and database 0 with its shorter rows.
//!
//! *Routing*: all partitions of an app find their keys by the same rule, which the map keeps. A request says by which rule
//! its sender has chosen the partition, and is rejected if the partition has another, so that no key is ever written
//! where the other rule would not look for it. The rule changes only while a partition has no keys.
//!
//! Invariant: a space belongs to one database, or is dead, or is unused and has no rows. Crash points: none; a flush and a
//! swap are one transaction of the partition each, and the cleaner goes on from the row of the dead space.

use recoil_sdk::KeyRange;
use recoil_sdk::storage::StorageExt as _;

use super::{
    Failure, Keyspace, Outcome, ROW_DEAD_SPACE, ROW_KEY_IN_SPACE, Stored, damaged, key_of_row, space_prefix, timer_of,
};
use crate::request::Routing;

/// Databases that clients can select.
pub(crate) const DATABASES: u8 = 16;
/// The key of the database map.
pub(crate) const MAP_ROW: &[u8] = &[0];
/// What a request is rejected with whose sender has chosen its partition by another rule than the partition has.
pub(crate) const ROUTING_CHANGED: &str =
    "TRYAGAIN The setting routing of this app has been changed, and this connection did not know: try again";

const FORMAT: u8 = 1;
/// Keys that a flush removes in its own transaction; where there are more, it leaves them to the cleaner.
pub(crate) const FLUSHED_AT_ONCE: u32 = 1_000;
/// What the rows of those keys may come to.
const FLUSHED_BYTES_MAX: usize = 4 << 20;

/// The partition that has all keys of a database, where routing is by database.
pub(crate) fn home(database: u8, partitions: u32) -> u32 {
    u32::from(database) % partitions.max(1)
}

/// The database map of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Databases {
    /// How keys find this partition.
    pub(crate) routing: Routing,
    spaces: [u8; DATABASES as usize],
}

impl Default for Databases {
    fn default() -> Self {
        Databases { routing: Routing::Key, spaces: std::array::from_fn(|database| database as u8) }
    }
}

impl Databases {
    /// Take the row apart.
    pub(crate) fn decode(row: &[u8]) -> Result<Self, Failure> {
        let [FORMAT, routing, spaces @ ..] = row else {
            return Err(damaged("the database map is of another version of this package"));
        };
        let routing = Routing::from_number(*routing).ok_or_else(|| damaged("an unknown routing of keys"))?;
        let spaces = spaces.try_into().map_err(|_| damaged("the database map has another size"))?;
        Ok(Databases { routing, spaces })
    }

    fn encode(&self) -> Vec<u8> {
        [&[FORMAT, self.routing as u8][..], &self.spaces].concat()
    }

    /// The space of a database.
    pub(crate) fn space(&self, database: u8) -> u8 {
        self.spaces[usize::from(database % DATABASES)]
    }

    /// The database that has a space.
    pub(crate) fn database_of(&self, space: u8) -> Option<u8> {
        self.spaces.iter().position(|candidate| *candidate == space).map(|database| database as u8)
    }
}

impl Keyspace<'_> {
    fn store_databases(&mut self, databases: Databases) -> Outcome {
        self.transaction.put(MAP_ROW, &databases.encode())?;
        self.databases = Some(databases);
        Ok(())
    }

    /// Remove all keys of the selected database.
    pub(crate) fn flush_database(&mut self) -> Outcome {
        let space = self.space()?;
        let mut range = KeyRange::prefix(&space_prefix(space));
        let (mut entries, mut bytes) = (Vec::new(), 0);
        loop {
            let mut page = self.transaction.scan(&range, FLUSHED_AT_ONCE + 1, false)?;
            let Some(last) = page.last() else { break };
            range.start = [&last.key[..], b"\0"].concat();
            bytes += page.iter().map(|entry| entry.value.len()).sum::<usize>();
            entries.append(&mut page);
            if entries.len() > FLUSHED_AT_ONCE as usize || bytes > FLUSHED_BYTES_MAX {
                return self.abandon_space(space);
            }
        }
        entries.into_iter().try_for_each(|entry| self.remove_entry(space, &entry.key, entry.value))
    }

    /// Remove a key row that was scanned, and what belongs to it.
    pub(crate) fn remove_entry(&mut self, space: u8, row_key: &[u8], row: Vec<u8>) -> Outcome {
        let Some((_, key)) = key_of_row(row_key) else {
            return Err(damaged("a row of the keyspace has a damaged key"));
        };
        let stored = Stored::decode(row)?;
        if let Some(generation) = stored.generation() {
            self.bury(generation)?;
        }
        if stored.expire_at_us != 0 {
            self.transaction.cancel_timer(&timer_of(space, key));
        }
        Ok(self.transaction.remove(row_key)?)
    }

    /// Give the selected database an unused space, and its old one to the cleaner.
    fn abandon_space(&mut self, space: u8) -> Outcome {
        let mut used = Vec::new();
        for dead in self.transaction.entries(KeyRange::prefix(&[ROW_DEAD_SPACE])) {
            used.extend(dead?.key.get(1));
        }
        let database = self.database();
        let mut databases = self.databases()?.clone();
        used.extend(databases.spaces);
        let Some(unused) = (0..=u8::MAX).find(|space| !used.contains(space)) else {
            return Err(Failure::Abort(
                "TRYAGAIN 240 large databases that were flushed are still being removed from the disks: try again later".into(),
            ));
        };
        databases.spaces[usize::from(database)] = unused;
        self.store_databases(databases)?;
        self.transaction.put(&[ROW_DEAD_SPACE, space], b"")?;
        self.run_cleaner();
        Ok(())
    }

    /// Exchange the keys of two databases.
    pub(crate) fn swap_databases(&mut self, one: u8, other: u8) -> Outcome {
        let mut databases = self.databases()?.clone();
        databases.spaces.swap(usize::from(one), usize::from(other));
        self.store_databases(databases)
    }

    /// The databases that have keys. Takes a look for each of them, and not for each there is.
    pub(crate) fn occupied_databases(&mut self) -> Result<Vec<u8>, Failure> {
        let databases = self.databases()?.clone();
        let mut spaces = Vec::new();
        if !self.transaction.scan(&KeyRange::prefix(&space_prefix(0)), 1, false)?.is_empty() {
            spaces.push(0);
        }
        let mut range = KeyRange::prefix(&[ROW_KEY_IN_SPACE]);
        while let Some(entry) = self.transaction.scan(&range, 1, false)?.pop() {
            let Some(space) = entry.key.get(1) else { return Err(damaged("a row of the keyspace has a damaged key")) };
            spaces.push(*space);
            let Some(next) = space.checked_add(1) else { break };
            range.start = vec![ROW_KEY_IN_SPACE, next];
        }
        // Others are dead, and the cleaner has not come to their end.
        let mut occupied: Vec<u8> = spaces.into_iter().filter_map(|space| databases.database_of(space)).collect();
        occupied.sort_unstable();
        Ok(occupied)
    }

    /// True if no database has keys.
    pub(crate) fn is_empty(&mut self) -> Result<bool, Failure> {
        Ok(self.occupied_databases()?.is_empty())
    }

    /// Have keys find this partition by another rule. The partition must have no keys.
    pub(crate) fn set_routing(&mut self, routing: Routing) -> Outcome {
        let mut databases = self.databases()?.clone();
        databases.routing = routing;
        self.store_databases(databases)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails if a map that is on disk reads as another one.
    #[test]
    fn the_map_stays_as_it_is() {
        let mut databases = Databases::default();
        assert_eq!(databases.space(15), 15);
        databases.spaces[3] = 200;
        databases.routing = Routing::Database;
        let row = databases.encode();
        assert_eq!(row, [1, 1, 0, 1, 2, 200, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
        assert_eq!(Databases::decode(&row).unwrap(), databases);
        assert_eq!((databases.database_of(200), databases.database_of(3)), (Some(3), None));
        for damaged in [&row[..17], &[&row[..], b"x"].concat(), &[&[2][..], &row[1..]].concat(), &[1, 9], &[]] {
            assert!(Databases::decode(damaged).is_err(), "{damaged:?}");
        }
    }
}
