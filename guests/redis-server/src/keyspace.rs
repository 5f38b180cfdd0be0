//! The rows of a partition, and what a key is.
//!
//! ```text
//! key row       01 | hash (5 bytes) | key                  → header | payload
//! element row   02 | generation (8) | part (1) | …         → value     (elements of collections, see crate::elements)
//! dead row      03 | generation (8) [| part (1) | …]       → where the cleaner continues (see crate::cleaner)
//! header        format 2 (1) | kind (1) | flags (1) | expire_at_us (8) | version (8)       little-endian
//! ```
//!
//! `hash` is the top 40 bits of SipHash-2-4 of the key, under a fixed key, big-endian. It makes the order of the rows a
//! stable pseudo-random order, in which a position is a number: that is what lets a SCAN cursor be one without the server
//! remembering anything (see [`crate::walks`]), a random key be found by one seek, and a count be estimated from a part.
//!
//! The header has one size, so that the payload of a string begins at a fixed place. `kind` is the Redis type.
//! `expire_at_us` is microseconds since the Unix epoch, 0 for never. `version` is the time of the transaction that last
//! changed the key, unique and growing on a partition: `WATCH` remembers it; an absent key has version 0. A reader refuses
//! flags and formats it does not know, instead of misreading them. The payload of a string is the string.
//!
//! A small collection is stored *inline*, whole in the payload of its key row. A larger one has the flag [`FLAG_ROWS`], and
//! its payload begins with its *generation*: the time of the transaction that moved it into rows and an ordinal within
//! that transaction, unique on the partition for ever. Element rows carry the generation and not the key, so that RENAME
//! and DEL of a million elements touch two or three rows, and elements of an earlier life of a key can never be seen again.
//!
//! Expiry: a row whose time has come does not exist for any command. Writing commands remove it when they meet it; reads,
//! which may not write, pass over it; and the timer `k` followed by the key removes it if nobody comes. A timer that fires
//! for a key that has changed meanwhile does nothing, so that forgetting to cancel one (as FLUSHALL does) is harmless.
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

/// First byte of a key row.
pub(crate) const ROW_KEY: u8 = 1;
/// First byte of an element row.
pub(crate) const ROW_ELEMENT: u8 = 2;
/// First byte of a dead row.
pub(crate) const ROW_DEAD: u8 = 3;
/// Header flag: the elements of the collection are rows of their own.
pub(crate) const FLAG_ROWS: u8 = 1;
/// First byte of the id of a timer that removes a key; the key follows.
pub(crate) const TIMER_KEY: u8 = b'k';
/// The id of the timer that runs the cleaner.
pub(crate) const TIMER_CLEANER: &[u8] = b"c";

const HASH_BYTES: usize = 5;
/// Number of bits of a position in hash order.
pub(crate) const HASH_BITS: u32 = 40;
const HEADER_BYTES: usize = 19;
const FORMAT: u8 = 2;
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

/// The Redis type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    String = 1,
    List = 2,
    Set = 3,
    SortedSet = 4,
    Hash = 5,
    Stream = 6,
}

impl Kind {
    /// What TYPE answers.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::String => "string",
            Kind::List => "list",
            Kind::Set => "set",
            Kind::SortedSet => "zset",
            Kind::Hash => "hash",
            Kind::Stream => "stream",
        }
    }
}

/// A key that exists.
pub(crate) struct Stored {
    pub(crate) kind: Kind,
    /// 0: never.
    pub(crate) expire_at_us: u64,
    pub(crate) version: u64,
    row: Vec<u8>,
}

impl Stored {
    /// Take a row apart.
    pub(crate) fn decode(row: Vec<u8>) -> Result<Self, Failure> {
        if row.len() < HEADER_BYTES {
            return Err(damaged(format!("{} bytes are less than a header", row.len())));
        }
        if row[0] != FORMAT || row[2] & !FLAG_ROWS != 0 {
            let (format, flags) = (row[0], row[2]);
            return Err(damaged(format!("format {format} with flags {flags} is of another version of this package")));
        }
        let kind = match row[1] {
            1 => Kind::String,
            2 => Kind::List,
            3 => Kind::Set,
            4 => Kind::SortedSet,
            5 => Kind::Hash,
            6 => Kind::Stream,
            other => return Err(damaged(format!("type {other} is of a newer version of this package"))),
        };
        let number = |at: usize| row[at..at + 8].iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
        Ok(Stored { kind, expire_at_us: number(3), version: number(11), row })
    }

    /// What follows the header.
    pub(crate) fn payload(&self) -> &[u8] {
        &self.row[HEADER_BYTES..]
    }

    /// Header and payload.
    pub(crate) fn row(&self) -> &[u8] {
        &self.row
    }

    /// The string, if it is one.
    pub(crate) fn string(&self) -> Result<&[u8], Failure> {
        match self.kind {
            Kind::String => Ok(self.payload()),
            _ => Err(WRONG_TYPE.into()),
        }
    }

    /// The generation of a collection whose elements are rows.
    pub(crate) fn generation(&self) -> Option<u64> {
        if self.row[2] & FLAG_ROWS == 0 {
            return None;
        }
        self.payload().get(..8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes)
    }

    fn flags(&self) -> u8 {
        self.row[2]
    }

    /// The header that it would have if its elements were inline.
    pub(crate) fn inline_header(&self) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        header.copy_from_slice(&self.row[..HEADER_BYTES]);
        header[2] &= !FLAG_ROWS;
        header
    }

    /// True when its time has come.
    pub(crate) fn is_expired(&self, now_us: u64) -> bool {
        self.expire_at_us != 0 && self.expire_at_us <= now_us
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
    /// Keys of lists and sorted sets that this transaction has made: at its end their waiters are served.
    pub(crate) born: Vec<Vec<u8>>,
    /// Hash tags whose keys are of this partition, as the listener says: scripts may touch them undeclared.
    pub(crate) approved: Vec<Vec<u8>>,
    /// Keys whose stream has changed or gone: at its end those who read them are served.
    pub(crate) streams: Vec<Vec<u8>>,
}

impl<'a> Keyspace<'a> {
    pub(crate) fn new(transaction: &'a mut dyn Transaction) -> Self {
        Keyspace {
            transaction,
            now_us: None,
            row_key: Vec::new(),
            generations: 0,
            cleaner_is_set: false,
            born: Vec::new(),
            approved: Vec::new(),
            streams: Vec::new(),
        }
    }

    /// The time of this transaction. Asked for only when needed: it is a crossing.
    pub(crate) fn now_us(&mut self) -> u64 {
        *self.now_us.get_or_insert_with(|| self.transaction.now_us())
    }

    fn set_row_key(&mut self, key: &[u8]) {
        self.row_key.clear();
        self.row_key.reserve(1 + HASH_BYTES + key.len());
        self.row_key.extend_from_slice(&row_prefix(position(key)));
        self.row_key.extend_from_slice(key);
    }

    /// The key, if it exists. An expired one is removed if this transaction may write.
    pub(crate) fn load(&mut self, key: &[u8]) -> Result<Option<Stored>, Failure> {
        self.set_row_key(key);
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
        self.set_row_key(key);
        self.transaction.put(&self.row_key, &row)?;
        if expire_at_us != expired_before_at {
            if expire_at_us != 0 && expire_at_us < TIMER_END_US {
                self.transaction.set_timer(&timer_of(key), expire_at_us, b"");
            } else if expired_before_at != 0 {
                self.transaction.cancel_timer(&timer_of(key));
            }
        }
        Ok(())
    }

    /// Write an existing key again with another expiry, and so with a new version.
    pub(crate) fn rewrite(&mut self, key: &[u8], stored: &Stored, expire_at_us: u64) -> Outcome {
        self.write_row(key, (stored.kind, stored.flags()), &[stored.payload()], expire_at_us, stored.expire_at_us)
    }

    /// Move the value of `from` to another key; elements in rows stay where they are.
    pub(crate) fn move_to(&mut self, from: &[u8], stored: &Stored, to: &[u8], target: Option<&Stored>) -> Outcome {
        if let Some(target) = target {
            self.bury_elements(to, target)?;
        }
        self.remove_row(from, stored.expire_at_us)?;
        if stored.kind == Kind::Stream {
            self.note_stream(from);
        }
        let expired_before_at = target.map_or(0, |target| target.expire_at_us);
        self.note_birth(stored.kind, to);
        let kind_and_flags = (stored.kind, stored.flags());
        self.write_row(to, kind_and_flags, &[stored.payload()], stored.expire_at_us, expired_before_at)
    }

    /// A key has a value of another kind than before: it matters where one may wait for it.
    pub(crate) fn note_birth(&mut self, kind: Kind, key: &[u8]) {
        if kind == Kind::Stream {
            self.note_stream(key);
        }
        if matches!(kind, Kind::List | Kind::SortedSet) {
            self.born.push(key.to_vec());
        }
    }

    /// The stream of a key has changed or gone.
    pub(crate) fn note_stream(&mut self, key: &[u8]) {
        if self.streams.last().is_none_or(|last| last != key) {
            self.streams.push(key.to_vec());
        }
    }

    /// Remove a key that exists.
    pub(crate) fn remove(&mut self, key: &[u8], stored: &Stored) -> Outcome {
        self.bury_elements(key, stored)?;
        self.remove_row(key, stored.expire_at_us)
    }

    /// Remove a key row. The caller answers for its elements.
    pub(crate) fn remove_row(&mut self, key: &[u8], expire_at_us: u64) -> Outcome {
        self.set_row_key(key);
        self.transaction.remove(&self.row_key)?;
        if expire_at_us != 0 {
            self.transaction.cancel_timer(&timer_of(key));
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
        if !self.cleaner_is_set {
            self.cleaner_is_set = true;
            let now_us = self.now_us();
            self.transaction.set_timer(TIMER_CLEANER, now_us, b"");
        }
        Ok(())
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
fn timer_of(key: &[u8]) -> Vec<u8> {
    [&[TIMER_KEY][..], key].concat()
}

/// The key of the dead row of a generation.
pub(crate) fn dead_row(generation: u64) -> [u8; 9] {
    let bytes = generation.to_be_bytes();
    [ROW_DEAD, bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7]]
}

/// The key of an element row.
pub(crate) fn element_row(generation: u64, part: u8, rest: &[&[u8]]) -> Vec<u8> {
    let mut row = Vec::with_capacity(ELEMENT_PREFIX_BYTES + rest.iter().map(|part| part.len()).sum::<usize>());
    row.push(ROW_ELEMENT);
    row.extend_from_slice(&generation.to_be_bytes());
    row.push(part);
    rest.iter().for_each(|part| row.extend_from_slice(part));
    row
}

/// What comes before the rest of an element row's key.
pub(crate) const ELEMENT_PREFIX_BYTES: usize = 10;

/// The key in a key row's key, and its position; none if the row is not one.
pub(crate) fn key_of_row(row_key: &[u8]) -> Option<(u64, &[u8])> {
    if row_key.len() < 1 + HASH_BYTES || row_key[0] != ROW_KEY {
        return None;
    }
    let (hash, key) = row_key[1..].split_at(HASH_BYTES);
    Some((hash.iter().fold(0, |position, byte| position << 8 | u64::from(*byte)), key))
}

/// What the row keys of a position begin with.
pub(crate) fn row_prefix(position: u64) -> [u8; 1 + HASH_BYTES] {
    let bytes = position.to_be_bytes();
    [ROW_KEY, bytes[3], bytes[4], bytes[5], bytes[6], bytes[7]]
}

/// Where a key is in hash order: 40 bits.
pub(crate) fn position(key: &[u8]) -> u64 {
    siphash(0x7265_636f_696c_2f72, 0x6564_6973_2f6b_6579, key) >> (64 - HASH_BITS)
}

/// SipHash-2-4 (Aumasson and Bernstein, 2012). It is here because it is part of the format of the rows: the standard
/// library's may change.
pub(crate) fn siphash(k0: u64, k1: u64, input: &[u8]) -> u64 {
    let mut v = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    let mut chunks = input.chunks_exact(8);
    for chunk in &mut chunks {
        let word = chunk.iter().rev().fold(0u64, |word, byte| word << 8 | u64::from(*byte));
        sip_absorb(&mut v, word);
    }
    let last = chunks.remainder().iter().rev().fold(0u64, |word, byte| word << 8 | u64::from(*byte));
    sip_absorb(&mut v, last | (input.len() as u64) << 56);
    v[2] ^= 0xff;
    (0..4).for_each(|_| sip_round(&mut v));
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

#[inline]
fn sip_absorb(v: &mut [u64; 4], word: u64) {
    v[3] ^= word;
    sip_round(v);
    sip_round(v);
    v[0] ^= word;
}

#[inline]
fn sip_round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}

/// The part of a key that decides its partition: what is between the first `{` and the next `}`, if there is something.
pub(crate) fn hash_tag(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|byte| *byte == b'{') else { return key };
    match key[open + 1..].iter().position(|byte| *byte == b'}') {
        None | Some(0) => key,
        Some(length) => &key[open + 1..open + 1 + length],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_published_one() {
        let key: Vec<u8> = (0..16).collect();
        let half = |at: usize| u64::from_le_bytes(key[at..at + 8].try_into().unwrap());
        let input: Vec<u8> = (0..15).collect();
        // The test values of the paper's appendix and of its reference implementation.
        assert_eq!(siphash(half(0), half(8), &input), 0xa129_ca61_49be_45e5);
        assert_eq!(siphash(half(0), half(8), &[]), 0x726f_db47_dd0e_0e31);
    }

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

    #[test]
    fn hash_tags_are_those_of_redis_cluster() {
        for (key, tag) in [
            ("user1000", "user1000"),
            ("{user1000}.following", "user1000"),
            ("foo{}{bar}", "foo{}{bar}"),
            ("foo{{bar}}zap", "{bar"),
            ("foo{bar}{zap}", "bar"),
            ("foo{bar", "foo{bar"),
        ] {
            assert_eq!(hash_tag(key.as_bytes()), tag.as_bytes(), "{key}");
        }
    }
}
