//! The table of commands: how many arguments each takes, where its keys are, what it is to clients that ask, and where it
//! runs.
//!
//! Invariant: the table is sorted by name, so that a command is found by bisection (a test checks it), and every command
//! the server answers is in it. `Run` decides everything else: the listener has no second list of names.

use crate::request::Op;

/// How a command runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Run {
    /// On the partition of its key (or, without keys, of its first argument), whose reply is the reply.
    Partition(Op),
    /// For each of its keys on the key's partition; the integers that come back are added.
    SumOverKeys(Op),
    /// For each of its keys on the key's partition; the replies make an array.
    ArrayOverKeys(Op),
    /// In the listener, without any partition.
    Session(Session),
    /// In the listener, with calls of its own to several partitions; not within MULTI.
    Cluster(Cluster),
    /// MSET, MSETNX, RENAME, RENAMENX, COPY: on one partition if all keys are there, else with more effort.
    Keys(Keys),
    /// MULTI and what belongs to it, never queued.
    Transaction(Transaction),
    /// Subscriptions; not within MULTI.
    Subscription(Subscription),
}

/// Commands that need no partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Session {
    Auth,
    Client,
    Command,
    Config,
    Echo,
    Hello,
    Ping,
    Quit,
    Reset,
    Select,
    Time,
}

/// Commands that ask all partitions, or some at random.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cluster {
    DbSize,
    Flush,
    Info,
    Keys,
    RandomKey,
    Scan,
}

/// Commands with several keys that belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keys {
    Copy,
    MSet,
    MSetNx,
    Rename,
    RenameNx,
}

/// MULTI and what belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transaction {
    Multi,
    Exec,
    Discard,
    Watch,
    Unwatch,
}

/// Subscriptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subscription {
    Subscribe,
    Unsubscribe,
    PSubscribe,
    PUnsubscribe,
}

/// Writes.
pub(crate) const WRITE: u16 = 1 << 0;
/// Reads keys and writes none.
pub(crate) const READONLY: u16 = 1 << 1;
/// May make the data larger.
pub(crate) const DENYOOM: u16 = 1 << 2;
/// Takes constant time.
pub(crate) const FAST: u16 = 1 << 3;
/// For operators.
pub(crate) const ADMIN: u16 = 1 << 4;
/// Publishes or subscribes.
pub(crate) const PUBSUB: u16 = 1 << 5;
/// A write whose reply may be as large as a value. Not shown to clients.
pub(crate) const LARGE_REPLY: u16 = 1 << 8;

/// What clients call the flags.
pub(crate) const FLAG_NAMES: [(u16, &str); 6] = [
    (WRITE, "write"),
    (READONLY, "readonly"),
    (DENYOOM, "denyoom"),
    (FAST, "fast"),
    (ADMIN, "admin"),
    (PUBSUB, "pubsub"),
];

/// One command.
#[derive(Debug)]
pub(crate) struct Command {
    /// In lower case.
    pub(crate) name: &'static str,
    /// Number of arguments with the name; negative: at least as many.
    pub(crate) arity: i8,
    /// [`WRITE`] and the like.
    pub(crate) flags: u16,
    /// First key, last key (negative: from the end) and step; zeros without keys.
    pub(crate) keys: (i8, i8, i8),
    /// Where it runs.
    pub(crate) run: Run,
    /// Redis' group of it.
    pub(crate) group: &'static str,
    /// The version of Redis that brought it.
    pub(crate) since: &'static str,
    /// In one sentence.
    pub(crate) summary: &'static str,
}

impl Command {
    /// True if a command of `length` arguments, its name included, may be this one.
    pub(crate) fn accepts(&self, length: usize) -> bool {
        let arity = usize::from(self.arity.unsigned_abs());
        if self.arity < 0 { length >= arity } else { length == arity }
    }

    /// True if it may write.
    pub(crate) fn writes(&self) -> bool {
        self.flags & (WRITE | PUBSUB) != 0
    }

    /// The places of its keys among `length` arguments.
    pub(crate) fn key_places(&self, length: usize) -> impl Iterator<Item = usize> + use<> {
        let (first, last, step) = self.keys;
        let last = if last < 0 { length.saturating_sub(usize::from(last.unsigned_abs())) } else { last as usize };
        let places = if first > 0 { first as usize..last + 1 } else { 0..0 };
        places.step_by((step as usize).max(1))
    }
}

/// The longest name of a command.
const NAME_BYTES_MAX: usize = 16;

/// The command of that name, in any case.
pub(crate) fn find(name: &[u8]) -> Option<&'static Command> {
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    let mut lower = [0; NAME_BYTES_MAX];
    lower[..name.len()].copy_from_slice(name);
    let lower = &mut lower[..name.len()];
    lower.make_ascii_lowercase();
    let at = COMMANDS.binary_search_by(|command| command.name.as_bytes().cmp(lower)).ok()?;
    Some(&COMMANDS[at])
}

const NO_KEYS: (i8, i8, i8) = (0, 0, 0);
const ONE_KEY: (i8, i8, i8) = (1, 1, 1);
const ALL_KEYS: (i8, i8, i8) = (1, -1, 1);
const TWO_KEYS: (i8, i8, i8) = (1, 2, 1);
const PAIRS: (i8, i8, i8) = (1, -1, 2);

macro_rules! commands {
    ($($name:literal $arity:literal $flags:expr, $keys:expr, $run:expr, $group:literal $since:literal $summary:literal;)*) => {
        /// Every command, by name.
        pub(crate) static COMMANDS: &[Command] = &[
            $(Command { name: $name, arity: $arity, flags: $flags, keys: $keys, run: $run, group: $group, since: $since, summary: $summary },)*
        ];
    };
}

use Run::{ArrayOverKeys, Partition, SumOverKeys};

commands! {
    "append" 3 WRITE | DENYOOM | FAST, ONE_KEY, Partition(Op::Append), "string" "2.0.0" "Appends a string to the value of a key.";
    "auth" -2 FAST, NO_KEYS, Run::Session(Session::Auth), "connection" "1.0.0" "Authenticates the connection.";
    "client" -2 ADMIN, NO_KEYS, Run::Session(Session::Client), "connection" "2.4.0" "A container for client connection commands.";
    "command" -1 0, NO_KEYS, Run::Session(Session::Command), "server" "2.8.13" "Returns detailed information about all commands.";
    "config" -2 ADMIN, NO_KEYS, Run::Session(Session::Config), "server" "2.0.0" "A container for server configuration commands.";
    "copy" -3 WRITE | DENYOOM, TWO_KEYS, Run::Keys(Keys::Copy), "generic" "6.2.0" "Copies the value of a key to a new key.";
    "dbsize" 1 READONLY, NO_KEYS, Run::Cluster(Cluster::DbSize), "server" "1.0.0" "Returns the number of keys in the database.";
    "decr" 2 WRITE | DENYOOM | FAST, ONE_KEY, Partition(Op::Decr), "string" "1.0.0" "Decrements the integer value of a key by one.";
    "decrby" 3 WRITE | DENYOOM | FAST, ONE_KEY, Partition(Op::DecrBy), "string" "1.0.0" "Decrements a number from the integer value of a key.";
    "del" -2 WRITE, ALL_KEYS, SumOverKeys(Op::Del), "generic" "1.0.0" "Deletes one or more keys.";
    "discard" 1 FAST, NO_KEYS, Run::Transaction(Transaction::Discard), "transactions" "2.0.0" "Discards a transaction.";
    "echo" 2 FAST, NO_KEYS, Run::Session(Session::Echo), "connection" "1.0.0" "Returns the given string.";
    "exec" 1 0, NO_KEYS, Run::Transaction(Transaction::Exec), "transactions" "1.2.0" "Executes all commands in a transaction.";
    "exists" -2 READONLY | FAST, ALL_KEYS, SumOverKeys(Op::Exists), "generic" "1.0.0" "Determines whether one or more keys exist.";
    "expire" -3 WRITE | FAST, ONE_KEY, Partition(Op::Expire), "generic" "1.0.0" "Sets the expiration time of a key in seconds.";
    "expireat" -3 WRITE | FAST, ONE_KEY, Partition(Op::ExpireAt), "generic" "1.2.0" "Sets the expiration time of a key to a Unix timestamp.";
    "expiretime" 2 READONLY | FAST, ONE_KEY, Partition(Op::ExpireTime), "generic" "7.0.0" "Returns the expiration time of a key as a Unix timestamp.";
    "flushall" -1 WRITE, NO_KEYS, Run::Cluster(Cluster::Flush), "server" "1.0.0" "Removes all keys from all databases.";
    "flushdb" -1 WRITE, NO_KEYS, Run::Cluster(Cluster::Flush), "server" "1.0.0" "Removes all keys from the current database.";
    "get" 2 READONLY | FAST, ONE_KEY, Partition(Op::Get), "string" "1.0.0" "Returns the string value of a key.";
    "getdel" 2 WRITE | FAST | LARGE_REPLY, ONE_KEY, Partition(Op::GetDel), "string" "6.2.0" "Returns the string value of a key after deleting the key.";
    "getex" -2 WRITE | FAST | LARGE_REPLY, ONE_KEY, Partition(Op::GetEx), "string" "6.2.0" "Returns the string value of a key after setting its expiration time.";
    "getrange" 4 READONLY, ONE_KEY, Partition(Op::GetRange), "string" "2.4.0" "Returns a substring of the string stored at a key.";
    "getset" 3 WRITE | DENYOOM | FAST | LARGE_REPLY, ONE_KEY, Partition(Op::GetSet), "string" "1.0.0" "Returns the previous string value of a key after setting it to a new value.";
    "hello" -1 FAST, NO_KEYS, Run::Session(Session::Hello), "connection" "6.0.0" "Handshakes with the server.";
    "incr" 2 WRITE | DENYOOM | FAST, ONE_KEY, Partition(Op::Incr), "string" "1.0.0" "Increments the integer value of a key by one.";
    "incrby" 3 WRITE | DENYOOM | FAST, ONE_KEY, Partition(Op::IncrBy), "string" "1.0.0" "Increments the integer value of a key by a number.";
    "incrbyfloat" 3 WRITE | DENYOOM | FAST, ONE_KEY, Partition(Op::IncrByFloat), "string" "2.6.0" "Increments the floating point value of a key by a number.";
    "info" -1 0, NO_KEYS, Run::Cluster(Cluster::Info), "server" "1.0.0" "Returns information and statistics about the server.";
    "keys" 2 READONLY, NO_KEYS, Run::Cluster(Cluster::Keys), "generic" "1.0.0" "Returns all key names that match a pattern.";
    "mget" -2 READONLY | FAST, ALL_KEYS, ArrayOverKeys(Op::GetOrNull), "string" "1.0.0" "Returns the string values of one or more keys.";
    "mset" -3 WRITE | DENYOOM, PAIRS, Run::Keys(Keys::MSet), "string" "1.0.1" "Creates or modifies the string values of one or more keys.";
    "msetnx" -3 WRITE | DENYOOM, PAIRS, Run::Keys(Keys::MSetNx), "string" "1.0.1" "Modifies the string values of one or more keys only when all keys don't exist.";
    "multi" 1 FAST, NO_KEYS, Run::Transaction(Transaction::Multi), "transactions" "1.2.0" "Starts a transaction.";
    "object" -2 READONLY, (2, 2, 1), Partition(Op::Object), "generic" "2.2.3" "A container for object introspection commands.";
    "persist" 2 WRITE | FAST, ONE_KEY, Partition(Op::Persist), "generic" "2.2.0" "Removes the expiration time of a key.";
    "pexpire" -3 WRITE | FAST, ONE_KEY, Partition(Op::PExpire), "generic" "2.6.0" "Sets the expiration time of a key in milliseconds.";
    "pexpireat" -3 WRITE | FAST, ONE_KEY, Partition(Op::PExpireAt), "generic" "2.6.0" "Sets the expiration time of a key to a Unix milliseconds timestamp.";
    "pexpiretime" 2 READONLY | FAST, ONE_KEY, Partition(Op::PExpireTime), "generic" "7.0.0" "Returns the expiration time of a key as a Unix milliseconds timestamp.";
    "ping" -1 FAST, NO_KEYS, Run::Session(Session::Ping), "connection" "1.0.0" "Returns the server's liveliness response.";
    "psetex" 4 WRITE | DENYOOM, ONE_KEY, Partition(Op::PSetEx), "string" "2.6.0" "Sets both string value and expiration time in milliseconds of a key.";
    "psubscribe" -2 PUBSUB, NO_KEYS, Run::Subscription(Subscription::PSubscribe), "pubsub" "2.0.0" "Listens for messages published to channels that match patterns; refused here.";
    "pttl" 2 READONLY | FAST, ONE_KEY, Partition(Op::PTtl), "generic" "2.6.0" "Returns the expiration time in milliseconds of a key.";
    "publish" 3 PUBSUB | FAST, NO_KEYS, Partition(Op::Publish), "pubsub" "2.0.0" "Posts a message to a channel.";
    "punsubscribe" -1 PUBSUB, NO_KEYS, Run::Subscription(Subscription::PUnsubscribe), "pubsub" "2.0.0" "Stops listening to messages published to channels that match patterns.";
    "quit" -1 FAST, NO_KEYS, Run::Session(Session::Quit), "connection" "1.0.0" "Closes the connection.";
    "randomkey" 1 READONLY, NO_KEYS, Run::Cluster(Cluster::RandomKey), "generic" "1.0.0" "Returns a random key name from the database.";
    "rename" 3 WRITE, TWO_KEYS, Run::Keys(Keys::Rename), "generic" "1.0.0" "Renames a key and overwrites the destination.";
    "renamenx" 3 WRITE | FAST, TWO_KEYS, Run::Keys(Keys::RenameNx), "generic" "1.0.0" "Renames a key only when the target key name doesn't exist.";
    "reset" 1 FAST, NO_KEYS, Run::Session(Session::Reset), "connection" "6.2.0" "Resets the connection.";
    "scan" -2 READONLY, NO_KEYS, Run::Cluster(Cluster::Scan), "generic" "2.8.0" "Iterates over the key names in the database.";
    "select" 2 FAST, NO_KEYS, Run::Session(Session::Select), "connection" "1.0.0" "Changes the selected database.";
    "set" -3 WRITE | DENYOOM, ONE_KEY, Partition(Op::Set), "string" "1.0.0" "Sets the string value of a key, ignoring its type.";
    "setex" 4 WRITE | DENYOOM, ONE_KEY, Partition(Op::SetEx), "string" "2.0.0" "Sets the string value and expiration time of a key.";
    "setnx" 3 WRITE | DENYOOM | FAST, ONE_KEY, Partition(Op::SetNx), "string" "1.0.0" "Sets the string value of a key only when the key doesn't exist.";
    "setrange" 4 WRITE | DENYOOM, ONE_KEY, Partition(Op::SetRange), "string" "2.2.0" "Overwrites a part of a string value with another by an offset.";
    "strlen" 2 READONLY | FAST, ONE_KEY, Partition(Op::StrLen), "string" "2.2.0" "Returns the length of a string value.";
    "subscribe" -2 PUBSUB, NO_KEYS, Run::Subscription(Subscription::Subscribe), "pubsub" "2.0.0" "Listens for messages published to channels.";
    "substr" 4 READONLY, ONE_KEY, Partition(Op::GetRange), "string" "1.0.0" "Returns a substring from a string value.";
    "time" 1 FAST, NO_KEYS, Run::Session(Session::Time), "server" "2.6.0" "Returns the server time.";
    "touch" -2 READONLY | FAST, ALL_KEYS, SumOverKeys(Op::Touch), "generic" "3.2.1" "Returns the number of existing keys out of those specified.";
    "ttl" 2 READONLY | FAST, ONE_KEY, Partition(Op::Ttl), "generic" "1.0.0" "Returns the expiration time in seconds of a key.";
    "type" 2 READONLY | FAST, ONE_KEY, Partition(Op::Type), "generic" "1.0.0" "Determines the type of value stored at a key.";
    "unlink" -2 WRITE | FAST, ALL_KEYS, SumOverKeys(Op::Del), "generic" "4.0.0" "Deletes one or more keys.";
    "unsubscribe" -1 PUBSUB, NO_KEYS, Run::Subscription(Subscription::Unsubscribe), "pubsub" "2.0.0" "Stops listening to messages posted to channels.";
    "unwatch" 1 FAST, NO_KEYS, Run::Transaction(Transaction::Unwatch), "transactions" "2.2.0" "Forgets about watched keys of a transaction.";
    "watch" -2 FAST, ALL_KEYS, Run::Transaction(Transaction::Watch), "transactions" "2.2.0" "Monitors changes to keys to determine the execution of a transaction.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_every_name_is_found_in_any_case() {
        assert!(COMMANDS.windows(2).all(|pair| pair[0].name < pair[1].name));
        for command in COMMANDS {
            assert_eq!(find(command.name.to_ascii_uppercase().as_bytes()).map(|found| found.name), Some(command.name));
            assert!(command.name.len() <= NAME_BYTES_MAX);
            assert!(command.summary.ends_with('.'));
        }
        assert!(find(b"").is_none() && find(b"nope").is_none() && find(&[b'a'; 100]).is_none());
    }

    #[test]
    fn arity_and_keys_are_read_as_redis_means_them() {
        let places = |name: &str, length| find(name.as_bytes()).unwrap().key_places(length).collect::<Vec<_>>();
        assert_eq!(places("get", 2), [1]);
        assert_eq!(places("mset", 5), [1, 3]);
        assert_eq!(places("del", 4), [1, 2, 3]);
        assert_eq!(places("ping", 1), [0; 0]);
        assert_eq!(places("object", 3), [2]);
        let set = find(b"set").unwrap();
        assert!(!set.accepts(2) && set.accepts(3) && set.accepts(9));
        let get = find(b"get").unwrap();
        assert!(!get.accepts(1) && get.accepts(2) && !get.accepts(3));
    }
}
