//! The rows of connections that wait, and of what they got.

use recoil_sdk::encoding::{DecodeError, Key, KeyReader, Reader, push_bytes};

use super::take::{Items, Take};
use crate::elements::Elements;
use crate::keyspace::{Failure, Keyspace, Kind, Outcome, Value as _, damaged};
use crate::list::List;
use crate::zset::index::{Member, encode_score};

/// First byte of a waiter row of a key in database 0.
const ROW_WAITER: u8 = 8;
pub(super) const ROW_MAILBOX: u8 = 9;
pub(super) const ROW_WAITING: u8 = 10;
/// First byte of a waiter row of a key in another database, whose number follows.
const ROW_WAITER_IN_DATABASE: u8 = 0x20;

/// A connection that waits.
pub(super) struct Waiting {
    pub(super) lease_until_us: u64,
    pub(super) since_us: u64,
    pub(super) resp3: bool,
    /// Whose keys are meant.
    pub(super) database: u8,
    pub(super) take: Take,
    pub(super) keys: Vec<Vec<u8>>,
}

impl Waiting {
    pub(super) fn load(keyspace: &Keyspace<'_>, connection: u64) -> Result<Option<Self>, Failure> {
        let Some(row) = keyspace.transaction.get(&connection_row(ROW_WAITING, connection))? else { return Ok(None) };
        let mut reader = Reader::new(&row);
        let mut decode = || -> Result<Self, DecodeError> {
            let (lease_until_us, since_us, client) = (reader.u64()?, reader.u64()?, reader.u8()?);
            let (resp3, database) = split_client(client);
            let take = Take::decode(&mut reader)?;
            let mut keys = Vec::new();
            while reader.remaining() > 0 {
                keys.push(reader.bytes()?.to_vec());
            }
            Ok(Waiting { lease_until_us, since_us, resp3, database, take, keys })
        };
        decode().map(Some).map_err(damaged)
    }

    pub(super) fn store(&self, keyspace: &mut Keyspace<'_>, connection: u64) -> Outcome {
        let mut row = Vec::new();
        row.extend_from_slice(&self.lease_until_us.to_le_bytes());
        row.extend_from_slice(&self.since_us.to_le_bytes());
        row.push(client_byte(self.resp3, self.database));
        self.take.encode(&mut row);
        self.keys.iter().for_each(|key| push_bytes(&mut row, key));
        Ok(keyspace.transaction.put(&connection_row(ROW_WAITING, connection), &row)?)
    }

    /// The connection does not wait any more.
    pub(super) fn remove(&self, keyspace: &mut Keyspace<'_>, connection: u64) -> Outcome {
        keyspace.transaction.remove(&connection_row(ROW_WAITING, connection))?;
        for key in &self.keys {
            keyspace.transaction.remove(&waiter_row(self.database, key, self.since_us, connection))?;
        }
        Ok(())
    }
}

/// What a connection got while it waited.
pub(super) struct Mailbox {
    pub(super) lease_until_us: u64,
    pub(super) resp3: bool,
    /// Whose keys are meant.
    pub(super) database: u8,
    pub(super) take: Take,
    pub(super) key: Vec<u8>,
    pub(super) items: Items,
}

impl Mailbox {
    pub(super) fn load(keyspace: &Keyspace<'_>, connection: u64) -> Result<Option<Self>, Failure> {
        let Some(row) = keyspace.transaction.get(&connection_row(ROW_MAILBOX, connection))? else { return Ok(None) };
        let mut reader = Reader::new(&row);
        let mut decode = || -> Result<Self, DecodeError> {
            let (lease_until_us, client) = (reader.u64()?, reader.u8()?);
            let (resp3, database) = split_client(client);
            let take = Take::decode(&mut reader)?;
            let key = reader.bytes()?.to_vec();
            if take.kind() == Kind::Stream {
                let items = Items::Reply(reader.bytes()?.to_vec());
                return Ok(Mailbox { lease_until_us, resp3, database, take, key, items });
            }
            let (mut values, mut members) = (Vec::new(), Vec::new());
            while reader.remaining() > 0 {
                let item = reader.bytes()?.to_vec();
                if take.kind() == Kind::List {
                    values.push(item);
                } else {
                    members.push(Member { name: item, score: f64::from_bits(reader.u64()?) });
                }
            }
            let items = if take.kind() == Kind::List { Items::Values(values) } else { Items::Members(members) };
            Ok(Mailbox { lease_until_us, resp3, database, take, key, items })
        };
        decode().map(Some).map_err(damaged)
    }

    pub(super) fn store(&self, keyspace: &mut Keyspace<'_>, connection: u64) -> Outcome {
        let mut row = Vec::new();
        row.extend_from_slice(&self.lease_until_us.to_le_bytes());
        row.push(client_byte(self.resp3, self.database));
        self.take.encode(&mut row);
        push_bytes(&mut row, &self.key);
        match &self.items {
            Items::Reply(reply) => push_bytes(&mut row, reply),
            Items::Values(values) => values.iter().for_each(|value| push_bytes(&mut row, value)),
            Items::Members(members) => {
                for member in members {
                    push_bytes(&mut row, &member.name);
                    row.extend_from_slice(&member.score.to_bits().to_le_bytes());
                }
            }
        }
        Ok(keyspace.transaction.put(&connection_row(ROW_MAILBOX, connection), &row)?)
    }

    /// Put the items back where they came from. What a move has moved stays where it is; so do items whose key has become
    /// something else meanwhile, which is the client's doing: they are dropped, as Redis drops what a dead client was sent.
    pub(super) fn give_back(self, keyspace: &mut Keyspace<'_>) -> Outcome {
        keyspace.select(self.database);
        let known = keyspace.load(&self.key)?.is_none_or(|stored| stored.kind == self.take.kind());
        match (self.take, self.items) {
            (Take::One { left } | Take::Several { left, .. }, Items::Values(values)) if known => {
                let mut list = List::load_or_new(keyspace, &self.key)?;
                for value in values.iter().rev() {
                    list.push(keyspace, value, left)?;
                }
                list.save(keyspace, &self.key)
            }
            (_, Items::Members(members)) if known => {
                let mut set = Elements::load_or_new(keyspace, &self.key, Kind::SortedSet)?;
                for member in members {
                    // One that was added again meanwhile is the newer.
                    if set.get(keyspace, &member.name)?.is_none() {
                        set.add(keyspace, &member.name, &encode_score(member.score))?;
                    }
                }
                set.save(keyspace, &self.key)
            }
            _ => Ok(()),
        }
    }
}

pub(super) fn connection_row(kind: u8, connection: u64) -> [u8; 9] {
    let mut row = [kind; 9];
    row[1..].copy_from_slice(&connection.to_be_bytes());
    row
}

/// What the waiter rows of a key begin with.
pub(super) fn waiters(database: u8, key: &[u8]) -> Key {
    if database == 0 {
        Key::new(ROW_WAITER).bytes(key)
    } else {
        Key::new(ROW_WAITER_IN_DATABASE).u64(u64::from(database)).bytes(key)
    }
}

pub(super) fn waiter_row(database: u8, key: &[u8], since_us: u64, connection: u64) -> Vec<u8> {
    waiters(database, key).u64(since_us).u64(connection).finish()
}

/// The connection of a waiter row.
pub(super) fn connection_of(row: &[u8]) -> Result<u64, DecodeError> {
    let (kind, mut reader) = KeyReader::new(row)?;
    if kind == ROW_WAITER_IN_DATABASE {
        reader.u64()?;
    }
    reader.bytes()?;
    reader.u64()?;
    reader.u64()
}

/// The byte of a row that says whether the client speaks RESP3, and in which database it is. Rows that were written before
/// there were databases say 0.
fn client_byte(resp3: bool, database: u8) -> u8 {
    u8::from(resp3) | database << 1
}

fn split_client(byte: u8) -> (bool, u8) {
    (byte & 1 != 0, byte >> 1)
}

/// The topic that a connection listens to while it waits. No channel of a client's has this name, since it begins with a zero
/// and ends with a number that is the connection's secret.
pub(crate) fn topic(connection: u64) -> Vec<u8> {
    [&b"\0waiting\0"[..], &connection.to_be_bytes()].concat()
}
