//! The rows of a partition, and what a key is.
//!
//! ```text
//! key row       01 | hash (5 bytes) | key                  → header | payload      (space 0)
//!               04 | space (1) | hash (5) | key            → header | payload      (spaces from 1 on)
//! database map  00                                         → see crate::keyspace::databases
//! dead space    05 | space (1)                             → where the cleaner continues
//! element row   02 | generation (8) | part (1) | …         → value     (elements of collections, see crate::elements)
//! dead row      03 | generation (8) [| part (1) | …]       → where the cleaner continues (see crate::cleaner)
//! header        format 2 (1) | kind (1) | flags (1) | expire_at_us (8) | version (8)       little-endian
//! ```
//!
//! `hash` is the top 40 bits of SipHash-2-4 of the key, under a fixed key, big-endian. It makes the order of the rows a
//! stable pseudo-random order, in which a position is a number: that is what lets a SCAN cursor be one without the server
//! remembering anything (see [`crate::walks`]), a random key be found by one seek, and a count be estimated from a part.
//!
//! A *space* holds the keys of one database. The database map of the partition says which space each database has, so that
//! SWAPDB, and FLUSHDB of a large database, change the map and no key row (see [`databases`]).
//!
//! The header has one size, so that the payload of a string begins at a fixed place. `kind` is the Redis type.
//! `expire_at_us` is microseconds since the Unix epoch, 0 for never. `version` is the time of the transaction that last
//! changed the key, unique and growing on a partition: `WATCH` remembers it together with the space; an absent key has 0. A reader refuses
//! flags and formats it does not know, instead of misreading them. The payload of a string is the string.
//!
//! A small collection is stored *inline*, whole in the payload of its key row. A larger one has the flag [`FLAG_ROWS`], and
//! its payload begins with its *generation*: the time of the transaction that moved it into rows and an ordinal within
//! that transaction, unique on the partition for ever. Element rows carry the generation and not the key, so that RENAME
//! and DEL of a million elements touch two or three rows, and elements of an earlier life of a key can never be seen again.
//!
//! Expiry: a row whose time has come does not exist for any command. Writing commands remove it when they meet it; reads,
//! which may not write, pass over it; and the timer `k` followed by the key (`K`, the space and the key, outside of space 0)
//! removes it if nobody comes. A timer that fires for a key that has changed meanwhile, or for a space that no database has
//! any more, does nothing, so that forgetting to cancel one is harmless.
//!
//! Crash points: none within a command, whose writes are one transaction. Between the removal of a collection's key row
//! and the removal of its element rows by the cleaner any number of crashes may lie: the dead row is written with the
//! removal, and the cleaner goes on from it.
//!
//! Invariants: every write of a key row goes through this module or `Flush`, which keep its timer right; whoever removes
//! the last reference to a generation buries it ([`Keyspace::bury`]) in the same transaction.

use std::borrow::Cow;

use recoil_sdk::encoding::DecodeError;
use recoil_sdk::{Error, StorageError, Transaction};

pub(crate) mod databases;
mod rows;
mod stored;

use self::databases::{Databases, MAP_ROW, ROUTING_CHANGED};
pub(crate) use self::rows::{
    ELEMENT_PREFIX_BYTES, HASH_BITS, dead_row, element_row, hash_tag, key_of_row, position, row_prefix, siphash,
    space_prefix,
};
use self::stored::{FORMAT, HEADER_BYTES};
pub(crate) use self::stored::{Kind, Stored};
use crate::request::{Routing, Scope};

/// First byte of a key row in space 0.
pub(crate) const ROW_KEY: u8 = 1;
/// First byte of an element row.
pub(crate) const ROW_ELEMENT: u8 = 2;
/// First byte of a dead row.
pub(crate) const ROW_DEAD: u8 = 3;
/// First byte of a key row in another space, which follows.
pub(crate) const ROW_KEY_IN_SPACE: u8 = 4;
/// First byte of the row of a space whose keys are to be removed.
pub(crate) const ROW_DEAD_SPACE: u8 = 5;
/// Header flag: the elements of the collection are rows of their own.
pub(crate) const FLAG_ROWS: u8 = 1;
/// First byte of the id of a timer that removes a key of space 0; the key follows.
pub(crate) const TIMER_KEY: u8 = b'k';
/// First byte of the id of a timer that removes a key of another space; the space and the key follow.
pub(crate) const TIMER_KEY_IN_SPACE: u8 = b'K';
/// The id of the timer that runs the cleaner.
pub(crate) const TIMER_CLEANER: &[u8] = b"c";

/// Bits of a generation that tell those of one transaction apart.
const GENERATION_ORDINAL_BITS: u32 = 11;
/// The largest string: a row is limited to 8 MiB, and its header takes some.
pub(crate) const STRING_BYTES_MAX: usize = (8 << 20) - 64;
/// Times from here on are too far away for a timer (the contract's times stay below 2^53 µs, the year 2255).
const TIMER_END_US: u64 = 1 << 53;

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The client's own fault: an error reply, `ERR …` or another code. The command has changed nothing.
    Reply(Cow<'static, str>),
    /// The transaction must be rolled back.
    Abort(Error),
}

impl From<&'static str> for Failure {
    fn from(text: &'static str) -> Self {
        Failure::Reply(Cow::Borrowed(text))
    }
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Failure::Reply(Cow::Owned(text))
    }
}

impl From<DecodeError> for Failure {
    fn from(error: DecodeError) -> Self {
        Failure::Abort(Error::new(format!("ERR the request is damaged: {error}")))
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        Failure::Abort(Error::new(match error {
            StorageError::TooLarge(why) => format!("ERR {why}"),
            StorageError::ReadOnly => "ERR a write in a read-only call".to_owned(),
            StorageError::QuotaExceeded(why) => {
                format!("OOM command not allowed when used storage is above the quota: {why}")
            }
            StorageError::Unavailable(why) => format!("TRYAGAIN {why}"),
        }))
    }
}

/// The error of a command for another type.
pub(crate) const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";

/// A stored row that does not say what it should.
pub(crate) fn damaged(why: impl std::fmt::Display) -> Failure {
    Failure::Abort(Error::new(format!("ERR the stored value cannot be read: {why}")))
}

/// What a command may end with.
pub(crate) type Outcome = Result<(), Failure>;

/// A collection in a transaction, that becomes the value of a key.
pub(crate) trait Value: Sized {
    /// Make it one that no key has had, which expires then.
    fn renew(&mut self, expire_at_us: u64);

    /// Write the key row if anything has changed.
    fn save(&mut self, keyspace: &mut Keyspace<'_>, key: &[u8]) -> Outcome;

    /// Make it the value of a key, whatever that was before.
    fn save_as_new(mut self, keyspace: &mut Keyspace<'_>, key: &[u8], expire_at_us: u64) -> Outcome {
        if let Some(before) = keyspace.load(key)? {
            keyspace.remove(key, &before)?;
        }
        self.renew(expire_at_us);
        self.save(keyspace, key)
    }
}

/// The keys of the partition that a transaction is on.
pub(crate) struct Keyspace<'a> {
    pub(crate) transaction: &'a mut dyn Transaction,
    now_us: Option<u64>,
    /// Where row keys are put together, reused.
    row_key: Vec<u8>,
    /// Generations made in this transaction.
    generations: u64,
    cleaner_is_set: bool,
    /// The database whose keys are meant. Change it by [`Keyspace::select`].
    database: u8,
    /// By what the caller has found this partition; none if it did not look for a key.
    routing: Option<Routing>,
    /// The database map, once it has been read.
    databases: Option<Databases>,
    /// Lists and sorted sets, by database and key, that this transaction has made: at its end their waiters are served.
    pub(crate) born: Vec<(u8, Vec<u8>)>,
    /// Hash tags whose keys are of this partition, as the listener says: scripts may touch them undeclared.
    pub(crate) approved: Vec<Vec<u8>>,
    /// Databases and keys whose stream has changed or gone: at its end those who read them are served.
    pub(crate) streams: Vec<(u8, Vec<u8>)>,
}

impl<'a> Keyspace<'a> {
    pub(crate) fn new(transaction: &'a mut dyn Transaction) -> Self {
        Keyspace {
            transaction,
            now_us: None,
            row_key: Vec::new(),
            generations: 0,
            cleaner_is_set: false,
            database: 0,
            routing: None,
            databases: None,
            born: Vec::new(),
            approved: Vec::new(),
            streams: Vec::new(),
        }
    }

    /// The time of this transaction. Asked for only when needed: it is a crossing.
    pub(crate) fn now_us(&mut self) -> u64 {
        *self.now_us.get_or_insert_with(|| self.transaction.now_us())
    }

    /// From here on the keys of a request's database are meant, and the partition must route as the request does.
    pub(crate) fn enter(&mut self, scope: Scope) {
        self.database = scope.database;
        self.routing = Some(scope.routing);
    }

    /// From here on nothing depends on how the caller has found this partition.
    pub(crate) fn accept_any_routing(&mut self) {
        self.routing = None;
    }

    /// From here on the keys of this database are meant.
    pub(crate) fn select(&mut self, database: u8) {
        self.database = database;
    }

    /// The database whose keys are meant.
    pub(crate) fn database(&self) -> u8 {
        self.database
    }

    /// True if a key of `database` is on this partition whatever its name: all keys of a database are on one.
    pub(crate) fn holds_whole(&self, database: u8) -> bool {
        let place = || self.transaction.place();
        self.routing == Some(Routing::Database) && databases::home(database, place().count) == place().id
    }

    /// The database map.
    pub(crate) fn databases(&mut self) -> Result<&mut Databases, Failure> {
        if self.databases.is_none() {
            let row = self.transaction.get(MAP_ROW)?;
            self.databases = Some(row.map_or(Ok(Databases::default()), |row| Databases::decode(&row))?);
        }
        let databases = self.databases.get_or_insert_default();
        if self.routing.is_some_and(|routing| routing != databases.routing) {
            return Err(Failure::Abort(Error::new(ROUTING_CHANGED)));
        }
        Ok(databases)
    }

    /// The space of the database whose keys are meant.
    pub(crate) fn space(&mut self) -> Result<u8, Failure> {
        let database = self.database;
        Ok(self.databases()?.space(database))
    }

    fn set_row_key(&mut self, key: &[u8]) -> Outcome {
        let space = self.space()?;
        self.row_key.clear();
        self.row_key.reserve(7 + key.len());
        rows::push_row_prefix(&mut self.row_key, space, position(key));
        self.row_key.extend_from_slice(key);
        Ok(())
    }

    /// The key, if it exists. An expired one is removed if this transaction may write.
    pub(crate) fn load(&mut self, key: &[u8]) -> Result<Option<Stored>, Failure> {
        self.set_row_key(key)?;
        let Some(row) = self.transaction.get(&self.row_key)? else { return Ok(None) };
        let stored = Stored::decode(row)?;
        if stored.expire_at_us == 0 || !stored.is_expired(self.now_us()) {
            return Ok(Some(stored));
        }
        if !self.transaction.is_read_only() {
            self.remove(key, &stored)?;
        }
        Ok(None)
    }

    /// What WATCH remembers of a key: changes of it, and another space for its database, make it another number. 0 when the
    /// key is absent.
    pub(crate) fn version(&mut self, key: &[u8]) -> Result<u64, Failure> {
        let Some(stored) = self.load(key)? else { return Ok(0) };
        // Times stay below 2^53.
        Ok(stored.version | u64::from(self.space()?) << 56)
    }

    /// Give a key a new value, as of this transaction, whatever it was before. `before` is what [`Keyspace::load`] answered,
    /// and decides what there is to do about timers and elements.
    pub(crate) fn store(
        &mut self,
        key: &[u8],
        kind: Kind,
        payload: &[&[u8]],
        expire_at_us: u64,
        before: Option<&Stored>,
    ) -> Outcome {
        if let Some(before) = before {
            self.bury_elements(key, before)?;
        }
        self.note_birth(kind, key);
        self.write_row(key, (kind, 0), payload, expire_at_us, before.map_or(0, |before| before.expire_at_us))
    }

    /// Write a key row. The caller answers for the elements that the row before it had.
    pub(crate) fn write_row(
        &mut self,
        key: &[u8],
        (kind, flags): (Kind, u8),
        payload: &[&[u8]],
        expire_at_us: u64,
        expired_before_at: u64,
    ) -> Outcome {
        let mut row = Vec::with_capacity(HEADER_BYTES + payload.iter().map(|part| part.len()).sum::<usize>());
        row.extend_from_slice(&[FORMAT, kind as u8, flags]);
        row.extend_from_slice(&expire_at_us.to_le_bytes());
        row.extend_from_slice(&self.now_us().to_le_bytes());
        payload.iter().for_each(|part| row.extend_from_slice(part));
        self.set_row_key(key)?;
        self.transaction.put(&self.row_key, &row)?;
        if expire_at_us != expired_before_at {
            let space = self.space()?;
            if expire_at_us != 0 && expire_at_us < TIMER_END_US {
                self.transaction.set_timer(&timer_of(space, key), expire_at_us, b"");
            } else if expired_before_at != 0 {
                self.transaction.cancel_timer(&timer_of(space, key));
            }
        }
        Ok(())
    }

    /// Write an existing key again with another expiry, and so with a new version.
    pub(crate) fn rewrite(&mut self, key: &[u8], stored: &Stored, expire_at_us: u64) -> Outcome {
        self.write_row(key, (stored.kind, stored.flags()), &[stored.payload()], expire_at_us, stored.expire_at_us)
    }

    /// Move the value of `from` to another key, maybe in another database; elements in rows stay where they are.
    pub(crate) fn move_to(
        &mut self,
        from: &[u8],
        stored: &Stored,
        (database, to): (u8, &[u8]),
        target: Option<&Stored>,
    ) -> Outcome {
        let source = self.database;
        if let Some(target) = target {
            self.select(database);
            self.bury_elements(to, target)?;
        }
        self.select(source);
        self.remove_row(from, stored.expire_at_us)?;
        if stored.kind == Kind::Stream {
            self.note_stream(from);
        }
        let expired_before_at = target.map_or(0, |target| target.expire_at_us);
        self.select(database);
        self.note_birth(stored.kind, to);
        let kind_and_flags = (stored.kind, stored.flags());
        self.write_row(to, kind_and_flags, &[stored.payload()], stored.expire_at_us, expired_before_at)?;
        self.select(source);
        Ok(())
    }

    /// A key has a value of another kind than before: it matters where one may wait for it.
    pub(crate) fn note_birth(&mut self, kind: Kind, key: &[u8]) {
        if kind == Kind::Stream {
            self.note_stream(key);
        }
        if matches!(kind, Kind::List | Kind::SortedSet) {
            self.born.push((self.database, key.to_vec()));
        }
    }

    /// The stream of a key has changed or gone.
    pub(crate) fn note_stream(&mut self, key: &[u8]) {
        if self.streams.last().is_none_or(|(database, last)| *database != self.database || last != key) {
            self.streams.push((self.database, key.to_vec()));
        }
    }

    /// Remove a key that exists.
    pub(crate) fn remove(&mut self, key: &[u8], stored: &Stored) -> Outcome {
        self.bury_elements(key, stored)?;
        self.remove_row(key, stored.expire_at_us)
    }

    /// Remove a key row. The caller answers for its elements.
    pub(crate) fn remove_row(&mut self, key: &[u8], expire_at_us: u64) -> Outcome {
        self.set_row_key(key)?;
        self.transaction.remove(&self.row_key)?;
        if expire_at_us != 0 {
            let space = self.space()?;
            self.transaction.cancel_timer(&timer_of(space, key));
        }
        Ok(())
    }

    fn bury_elements(&mut self, key: &[u8], stored: &Stored) -> Outcome {
        if stored.kind == Kind::Stream {
            self.note_stream(key);
        }
        stored.generation().map_or(Ok(()), |generation| self.bury(generation))
    }

    /// Leave the rows of a generation, which no key refers to any more, to the cleaner.
    pub(crate) fn bury(&mut self, generation: u64) -> Outcome {
        self.bury_part(generation, &[])
    }

    /// Leave the rows of a generation whose keys go on with `part`, which nothing refers to any more and never will, to the
    /// cleaner.
    pub(crate) fn bury_part(&mut self, generation: u64, part: &[u8]) -> Outcome {
        self.transaction.put(&[&dead_row(generation)[..], part].concat(), b"")?;
        self.run_cleaner();
        Ok(())
    }

    /// Have the cleaner run after this transaction.
    pub(crate) fn run_cleaner(&mut self) {
        if !self.cleaner_is_set {
            self.cleaner_is_set = true;
            let now_us = self.now_us();
            self.transaction.set_timer(TIMER_CLEANER, now_us, b"");
        }
    }

    /// A generation that no collection of this partition has had.
    pub(crate) fn new_generation(&mut self) -> Result<u64, Failure> {
        if self.generations >> GENERATION_ORDINAL_BITS != 0 {
            let why =
                "ERR one transaction may turn at most 2,048 collections into large ones: use several transactions";
            return Err(Failure::Abort(why.into()));
        }
        let generation = self.now_us() << GENERATION_ORDINAL_BITS | self.generations;
        self.generations += 1;
        Ok(generation)
    }
}

/// The id of the timer that removes a key.
pub(crate) fn timer_of(space: u8, key: &[u8]) -> Vec<u8> {
    if space == 0 { [&[TIMER_KEY][..], key].concat() } else { [&[TIMER_KEY_IN_SPACE, space][..], key].concat() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_stay_as_they_are() {
        // Rows on disk outlive this code: these bytes must never change.
        let mut partition = recoil_sdk::fake::FakePartition::new();
        partition.now_us = 0x0102_0303;
        partition
            .in_transaction(|transaction| {
                let mut keyspace = Keyspace::new(transaction);
                keyspace.store(b"greeting", Kind::String, &[b"hel", b"lo"], 0x0a0b, None).unwrap();
                Ok(())
            })
            .unwrap();
        let (key, row) = partition.rows().iter().next().unwrap();
        assert_eq!(key[..6], [1, 0x58, 0x1a, 0x17, 0xdd, 0x65]);
        assert_eq!(key[6..], *b"greeting");
        assert_eq!(row[..], *b"\x02\x01\x00\x0b\x0a\0\0\0\0\0\0\x04\x03\x02\x01\0\0\0\0hello");
        assert_eq!(key_of_row(key), Some((position(b"greeting"), &b"greeting"[..])));
        assert!(Stored::decode(row[..18].to_vec()).is_err());
        for (at, newer) in [(0, 1), (0, 3), (1, 99), (2, 2)] {
            let mut row = row.clone();
            row[at] = newer;
            assert!(Stored::decode(row).is_err(), "byte {at}");
        }
    }
}
