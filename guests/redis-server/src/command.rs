//! The table of commands: how many arguments each takes, where its keys are, what it is to clients that ask, and where it
//! runs.
//!
//! Invariant: the table is sorted by name, so that a command is found by bisection (a test checks it), and every command
//! the server answers is in it. `Run` decides everything else: the listener has no second list of names.

use crate::blocking::Blocking;
use crate::numbers::parse_i64;
use crate::request::Op;

/// How a command runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Run {
    /// On the partition of its key (or, without keys, of its first argument), whose reply is the reply.
    Partition(Op),
    /// On the one partition that owns all of its keys; `CROSSSLOT` if there is none.
    Together(Op),
    /// On the partitions of its keys, and in the listener while it waits.
    Blocking(Blocking),
    /// For each of its keys on the key's partition; the integers that come back are added.
    SumOverKeys(Op),
    /// For each of its keys on the key's partition; the replies make an array.
    ArrayOverKeys(Op),
    /// In the listener, without any partition.
    Session(Session),
    /// In the listener, with calls of its own to several partitions; not within MULTI.
    Cluster(Cluster),
    /// MSET, MSETNX, RENAME, RENAMENX, COPY, MOVE: on one partition if all keys are there, else with more effort.
    Keys(Keys),
    /// MULTI and what belongs to it, never queued.
    Transaction(Transaction),
    /// Subscriptions; not within MULTI.
    Subscription(Subscription),
    /// Scripts and functions.
    Script(Script),
}

/// Commands that need no partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Session {
    Acl,
    Auth,
    Client,
    ClusterInfo,
    Command,
    Config,
    Debug,
    Echo,
    Hello,
    Latency,
    Lolwut,
    Ping,
    PubSub,
    Quit,
    Reset,
    Role,
    Select,
    SlowLog,
    Time,
    Wait,
    WaitAof,
}

/// Commands that ask all partitions, or some at random.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cluster {
    DbSize,
    FlushAll,
    FlushDb,
    Info,
    Keys,
    RandomKey,
    Scan,
    SwapDb,
}

/// Commands with several keys that belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keys {
    Copy,
    Move,
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

/// Scripts and functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Script {
    Eval {
        by_digest: bool,
        read_only: bool,
    },
    FCall {
        read_only: bool,
    },
    /// SCRIPT.
    Texts,
    /// FUNCTION.
    Function,
}

/// Subscriptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subscription {
    Subscribe,
    Unsubscribe,
    PSubscribe,
    PUnsubscribe,
    SSubscribe,
    SUnsubscribe,
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
/// Some of its keys are not where `keys` says, but depend on other arguments.
pub(crate) const MOVABLE: u16 = 1 << 6;
/// May wait.
pub(crate) const BLOCKING: u16 = 1 << 7;
/// A write whose reply may be as large as a value. Not shown to clients, nor are those below.
pub(crate) const LARGE_REPLY: u16 = 1 << 8;
/// The first argument is the number of keys that follow.
pub(crate) const NUMKEYS_FIRST: u16 = 1 << 9;
/// The second argument is the number of keys that follow.
pub(crate) const NUMKEYS_SECOND: u16 = 1 << 10;
/// Options `STORE` and `STOREDIST` name one more key.
pub(crate) const STORE_OPTION: u16 = 1 << 11;

/// The keys are the first half of what follows the option `STREAMS`.
pub(crate) const STREAMS_OPTION: u16 = 1 << 12;

/// What clients call the flags.
pub(crate) const FLAG_NAMES: [(u16, &str); 8] = [
    (WRITE, "write"),
    (READONLY, "readonly"),
    (DENYOOM, "denyoom"),
    (FAST, "fast"),
    (ADMIN, "admin"),
    (PUBSUB, "pubsub"),
    (MOVABLE, "movablekeys"),
    (BLOCKING, "blocking"),
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

    /// The places of its keys among `length` arguments, its name the first; `at` answers an argument.
    pub(crate) fn key_places<'a>(&self, length: usize, at: impl Fn(usize) -> &'a [u8]) -> Vec<usize> {
        let (first, last, step) = self.keys;
        let last = if last < 0 { length.saturating_sub(usize::from(last.unsigned_abs())) } else { last as usize };
        let fixed = if first > 0 { first as usize..last + 1 } else { 0..0 };
        let mut places: Vec<usize> = fixed.step_by((step as usize).max(1)).filter(|place| *place < length).collect();
        let count_at = match self.flags {
            flags if flags & NUMKEYS_FIRST != 0 => 1,
            flags if flags & NUMKEYS_SECOND != 0 => 2,
            flags if flags & STORE_OPTION != 0 => {
                // As in Redis: the last of such options counts, wherever it stands.
                let is_store = |place: &usize| {
                    [&b"STORE"[..], b"STOREDIST"].iter().any(|option| at(*place).eq_ignore_ascii_case(option))
                };
                let first_option = usize::from(self.arity.unsigned_abs());
                places.extend((first_option..length.saturating_sub(1)).rev().find(is_store).map(|place| place + 1));
                return places;
            }
            flags if flags & STREAMS_OPTION != 0 => return streams_places(length, at),
            _ => return places,
        };
        // A wrong number is the handler's to refuse.
        let count = parse_i64(at(count_at)).and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
        places.extend((count_at + 1..length).take(count));
        places
    }
}

/// The places of the keys of XREAD and XREADGROUP.
fn streams_places<'a>(length: usize, at: impl Fn(usize) -> &'a [u8]) -> Vec<usize> {
    let mut place = 1;
    while place < length {
        let is = |option: &[u8]| at(place).eq_ignore_ascii_case(option);
        if is(b"STREAMS") {
            let count = length - place - 1;
            return if count.is_multiple_of(2) { (place + 1..=place + count / 2).collect() } else { Vec::new() };
        }
        place += match () {
            () if is(b"BLOCK") || is(b"COUNT") => 2,
            () if is(b"GROUP") => 3,
            () if is(b"NOACK") => 1,
            () => return Vec::new(),
        };
    }
    Vec::new()
}

/// The longest name of a command.
const NAME_BYTES_MAX: usize = 24;

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

/// Keys, and a timeout behind them.
const KEYS_AND_TIMEOUT: (i8, i8, i8) = (1, -2, 1);
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

use Run::{ArrayOverKeys, Partition, SumOverKeys, Together};

commands! {
    "acl" -2 ADMIN, NO_KEYS, Run::Session(Session::Acl), "server" "6.0.0" "A container for access control commands.";
    "append" 3 WRITE | DENYOOM | FAST, ONE_KEY, Partition(Op::Append), "string" "2.0.0" "Appends a string to the value of a key.";
    "auth" -2 FAST, NO_KEYS, Run::Session(Session::Auth), "connection" "1.0.0" "Authenticates the connection.";
    "bitcount" -2 READONLY, ONE_KEY, Partition(Op::BitCount), "bitmap" "2.6.0" "Counts the number of set bits in a string.";
    "bitfield" -2 WRITE | DENYOOM, ONE_KEY, Partition(Op::BitField), "bitmap" "3.2.0" "Performs arbitrary bitfield integer operations on strings.";
    "bitfield_ro" -2 READONLY | FAST, ONE_KEY, Partition(Op::BitFieldRo), "bitmap" "6.0.0" "Performs arbitrary read-only bitfield integer operations on strings.";
    "bitop" -4 WRITE | DENYOOM, (2, -1, 1), Together(Op::BitCombine), "bitmap" "2.6.0" "Performs bitwise operations on multiple strings, and stores the result.";
    "bitpos" -3 READONLY, ONE_KEY, Partition(Op::BitPos), "bitmap" "2.8.7" "Finds the first set or clear bit in a string.";
    "blmove" 6 WRITE | DENYOOM | BLOCKING, TWO_KEYS, Run::Blocking(Blocking::LMove), "list" "6.2.0" "Pops an element from a list, pushes it to another list and returns it; waits for one.";
    "blmpop" -5 WRITE | BLOCKING | MOVABLE | NUMKEYS_SECOND, NO_KEYS, Run::Blocking(Blocking::LMPop), "list" "7.0.0" "Pops elements from the first of several lists that has some; waits for one.";
    "blpop" -3 WRITE | BLOCKING, KEYS_AND_TIMEOUT, Run::Blocking(Blocking::LPop), "list" "2.0.0" "Removes and returns the first element of the first list that has one; waits for one.";
    "brpop" -3 WRITE | BLOCKING, KEYS_AND_TIMEOUT, Run::Blocking(Blocking::RPop), "list" "2.0.0" "Removes and returns the last element of the first list that has one; waits for one.";
    "brpoplpush" 4 WRITE | DENYOOM | BLOCKING, TWO_KEYS, Run::Blocking(Blocking::RPopLPush), "list" "2.2.0" "Pops an element from a list, pushes it to another list and returns it; waits for one.";
    "bzmpop" -5 WRITE | BLOCKING | MOVABLE | NUMKEYS_SECOND, NO_KEYS, Run::Blocking(Blocking::ZMPop), "sorted-set" "7.0.0" "Removes and returns members of the first of several sorted sets that has some; waits for one.";
    "bzpopmax" -3 WRITE | FAST | BLOCKING, KEYS_AND_TIMEOUT, Run::Blocking(Blocking::ZPopMax), "sorted-set" "5.0.0" "Removes and returns the member with the highest score from one or more sorted sets; waits for one.";
    "bzpopmin" -3 WRITE | FAST | BLOCKING, KEYS_AND_TIMEOUT, Run::Blocking(Blocking::ZPopMin), "sorted-set" "5.0.0" "Removes and returns the member with the lowest score from one or more sorted sets; waits for one.";
    "client" -2 ADMIN, NO_KEYS, Run::Session(Session::Client), "connection" "2.4.0" "A container for client connection commands.";
    "cluster" -2 0, NO_KEYS, Run::Session(Session::ClusterInfo), "cluster" "3.0.0" "A container for commands of Redis Cluster.";
    "command" -1 0, NO_KEYS, Run::Session(Session::Command), "server" "2.8.13" "Returns detailed information about all commands.";
    "config" -2 ADMIN, NO_KEYS, Run::Session(Session::Config), "server" "2.0.0" "A container for server configuration commands.";
    "copy" -3 WRITE | DENYOOM, TWO_KEYS, Run::Keys(Keys::Copy), "generic" "6.2.0" "Copies the value of a key to a new key.";
    "dbsize" 1 READONLY, NO_KEYS, Run::Cluster(Cluster::DbSize), "server" "1.0.0" "Returns the number of keys in the database.";
    "debug" -2 ADMIN, NO_KEYS, Run::Session(Session::Debug), "server" "1.0.0" "A container for debugging commands.";
    "decr" 2 WRITE | DENYOOM | FAST, ONE_KEY, Partition(Op::Decr), "string" "1.0.0" "Decrements the integer value of a key by one.";
    "decrby" 3 WRITE | DENYOOM | FAST, ONE_KEY, Partition(Op::DecrBy), "string" "1.0.0" "Decrements a number from the integer value of a key.";
    "del" -2 WRITE, ALL_KEYS, SumOverKeys(Op::Del), "generic" "1.0.0" "Deletes one or more keys.";
    "discard" 1 FAST, NO_KEYS, Run::Transaction(Transaction::Discard), "transactions" "2.0.0" "Discards a transaction.";
    "dump" 2 READONLY, ONE_KEY, Partition(Op::DumpPayload), "generic" "2.6.0" "Returns a serialized representation of the value stored at a key.";
    "echo" 2 FAST, NO_KEYS, Run::Session(Session::Echo), "connection" "1.0.0" "Returns the given string.";
    "eval" -3 MOVABLE | NUMKEYS_SECOND, NO_KEYS, Run::Script(Script::Eval { by_digest: false, read_only: false }), "scripting" "2.6.0" "Executes a server-side Lua script.";
    "eval_ro" -3 READONLY | MOVABLE | NUMKEYS_SECOND, NO_KEYS, Run::Script(Script::Eval { by_digest: false, read_only: true }), "scripting" "7.0.0" "Executes a read-only server-side Lua script.";
    "evalsha" -3 MOVABLE | NUMKEYS_SECOND, NO_KEYS, Run::Script(Script::Eval { by_digest: true, read_only: false }), "scripting" "2.6.0" "Executes a server-side Lua script by SHA1 digest.";
    "evalsha_ro" -3 READONLY | MOVABLE | NUMKEYS_SECOND, NO_KEYS, Run::Script(Script::Eval { by_digest: true, read_only: true }), "scripting" "7.0.0" "Executes a read-only server-side Lua script by SHA1 digest.";
    "exec" 1 0, NO_KEYS, Run::Transaction(Transaction::Exec), "transactions" "1.2.0" "Executes all commands in a transaction.";
    "exists" -2 READONLY | FAST, ALL_KEYS, SumOverKeys(Op::Exists), "generic" "1.0.0" "Determines whether one or more keys exist.";
    "expire" -3 WRITE | FAST, ONE_KEY, Partition(Op::Expire), "generic" "1.0.0" "Sets the expiration time of a key in seconds.";
    "expireat" -3 WRITE | FAST, ONE_KEY, Partition(Op::ExpireAt), "generic" "1.2.0" "Sets the expiration time of a key to a Unix timestamp.";
    "expiretime" 2 READONLY | FAST, ONE_KEY, Partition(Op::ExpireTime), "generic" "7.0.0" "Returns the expiration time of a key as a Unix timestamp.";
    "fcall" -3 MOVABLE | NUMKEYS_SECOND, NO_KEYS, Run::Script(Script::FCall { read_only: false }), "scripting" "7.0.0" "Invokes a function.";
    "fcall_ro" -3 READONLY | MOVABLE | NUMKEYS_SECOND, NO_KEYS, Run::Script(Script::FCall { read_only: true }), "scripting" "7.0.0" "Invokes a read-only function.";
    "flushall" -1 WRITE, NO_KEYS, Run::Cluster(Cluster::FlushAll), "server" "1.0.0" "Removes all keys from all databases.";
    "flushdb" -1 WRITE, NO_KEYS, Run::Cluster(Cluster::FlushDb), "server" "1.0.0" "Removes all keys from the current database.";
    "function" -2 0, NO_KEYS, Run::Script(Script::Function), "scripting" "7.0.0" "A container for function commands.";
    "geoadd" -5 WRITE | DENYOOM, ONE_KEY, Partition(Op::GeoAdd), "geo" "3.2.0" "Adds one or more members to a geospatial index.";
    "geodist" -4 READONLY, ONE_KEY, Partition(Op::GeoDist), "geo" "3.2.0" "Returns the distance between two members of a geospatial index.";
    "geohash" -2 READONLY, ONE_KEY, Partition(Op::GeoHash), "geo" "3.2.0" "Returns members from a geospatial index as geohash strings.";
    "geopos" -2 READONLY, ONE_KEY, Partition(Op::GeoPos), "geo" "3.2.0" "Returns the longitude and latitude of members from a geospatial index.";
    "georadius" -6 WRITE | DENYOOM | LARGE_REPLY | MOVABLE | STORE_OPTION, ONE_KEY, Together(Op::GeoRadius), "geo" "3.2.0" "Queries a geospatial index for members within a distance from a coordinate, optionally stores the result.";
    "georadius_ro" -6 READONLY, ONE_KEY, Partition(Op::GeoRadiusRo), "geo" "3.2.10" "Returns members from a geospatial index that are within a distance from a coordinate.";
    "georadiusbymember" -5 WRITE | DENYOOM | LARGE_REPLY | MOVABLE | STORE_OPTION, ONE_KEY, Together(Op::GeoRadiusByMember), "geo" "3.2.0" "Queries a geospatial index for members within a distance from a member, optionally stores the result.";
    "georadiusbymember_ro" -5 READONLY, ONE_KEY, Partition(Op::GeoRadiusByMemberRo), "geo" "3.2.10" "Returns members from a geospatial index that are within a distance from a member.";
    "geosearch" -7 READONLY, ONE_KEY, Partition(Op::GeoSearch), "geo" "6.2.0" "Queries a geospatial index for members inside an area of a box or a circle.";
    "geosearchstore" -8 WRITE | DENYOOM, TWO_KEYS, Together(Op::GeoSearchStore), "geo" "6.2.0" "Queries a geospatial index for members inside an area, and stores the result.";
    "get" 2 READONLY | FAST, ONE_KEY, Partition(Op::Get), "string" "1.0.0" "Returns the string value of a key.";
    "getbit" 3 READONLY | FAST, ONE_KEY, Partition(Op::GetBit), "bitmap" "2.2.0" "Returns a bit value by offset.";
    "getdel" 2 WRITE | FAST | LARGE_REPLY, ONE_KEY, Partition(Op::GetDel), "string" "6.2.0" "Returns the string value of a key after deleting the key.";
    "getex" -2 WRITE | FAST | LARGE_REPLY, ONE_KEY, Partition(Op::GetEx), "string" "6.2.0" "Returns the string value of a key after setting its expiration time.";
    "getrange" 4 READONLY, ONE_KEY, Partition(Op::GetRange), "string" "2.4.0" "Returns a substring of the string stored at a key.";
    "getset" 3 WRITE | DENYOOM | FAST | LARGE_REPLY, ONE_KEY, Partition(Op::GetSet), "string" "1.0.0" "Returns the previous string value of a key after setting it to a new value.";
    "hdel" -3 WRITE | FAST, ONE_KEY, Partition(Op::HDel), "hash" "2.0.0" "Deletes one or more fields and their values from a hash.";
    "hello" -1 FAST, NO_KEYS, Run::Session(Session::Hello), "connection" "6.0.0" "Handshakes with the server.";
    "hexists" 3 READONLY | FAST, ONE_KEY, Partition(Op::HExists), "hash" "2.0.0" "Determines whether a field exists in a hash.";
    "hget" 3 READONLY | FAST, ONE_KEY, Partition(Op::HGet), "hash" "2.0.0" "Returns the value of a field in a hash.";
    "hgetall" 2 READONLY, ONE_KEY, Partition(Op::HGetAll), "hash" "2.0.0" "Returns all fields and values in a hash.";
    "hincrby" 4 WRITE | DENYOOM | FAST, ONE_KEY, Partition(Op::HIncrBy), "hash" "2.0.0" "Increments the integer value of a field in a hash by a number.";
    "hincrbyfloat" 4 WRITE | DENYOOM | FAST, ONE_KEY, Partition(Op::HIncrByFloat), "hash" "2.6.0" "Increments the floating point value of a field by a number.";
    "hkeys" 2 READONLY, ONE_KEY, Partition(Op::HKeys), "hash" "2.0.0" "Returns all fields in a hash.";
    "hlen" 2 READONLY | FAST, ONE_KEY, Partition(Op::HLen), "hash" "2.0.0" "Returns the number of fields in a hash.";
    "hmget" -3 READONLY | FAST, ONE_KEY, Partition(Op::HMGet), "hash" "2.0.0" "Returns the values of several fields in a hash.";
    "hmset" -4 WRITE | DENYOOM | FAST, ONE_KEY, Partition(Op::HMSet), "hash" "2.0.0" "Sets the values of multiple fields.";
    "hrandfield" -2 READONLY, ONE_KEY, Partition(Op::HRandField), "hash" "6.2.0" "Returns one or more random fields from a hash.";
    "hscan" -3 READONLY, ONE_KEY, Partition(Op::HScan), "hash" "2.8.0" "Iterates over fields and values of a hash.";
    "hset" -4 WRITE | DENYOOM | FAST, ONE_KEY, Partition(Op::HSet), "hash" "2.0.0" "Creates or modifies the value of a field in a hash.";
    "hsetnx" 4 WRITE | DENYOOM | FAST, ONE_KEY, Partition(Op::HSetNx), "hash" "2.0.0" "Sets the value of a field in a hash only when the field doesn't exist.";
    "hstrlen" 3 READONLY | FAST, ONE_KEY, Partition(Op::HStrLen), "hash" "3.2.0" "Returns the length of the value of a field.";
    "hvals" 2 READONLY, ONE_KEY, Partition(Op::HVals), "hash" "2.0.0" "Returns all values in a hash.";
    "incr" 2 WRITE | DENYOOM | FAST, ONE_KEY, Partition(Op::Incr), "string" "1.0.0" "Increments the integer value of a key by one.";
    "incrby" 3 WRITE | DENYOOM | FAST, ONE_KEY, Partition(Op::IncrBy), "string" "1.0.0" "Increments the integer value of a key by a number.";
    "incrbyfloat" 3 WRITE | DENYOOM | FAST, ONE_KEY, Partition(Op::IncrByFloat), "string" "2.6.0" "Increments the floating point value of a key by a number.";
    "info" -1 0, NO_KEYS, Run::Cluster(Cluster::Info), "server" "1.0.0" "Returns information and statistics about the server.";
    "keys" 2 READONLY, NO_KEYS, Run::Cluster(Cluster::Keys), "generic" "1.0.0" "Returns all key names that match a pattern.";
    "latency" -2 ADMIN, NO_KEYS, Run::Session(Session::Latency), "server" "2.8.13" "A container for latency diagnostics commands.";
    "lcs" -3 READONLY, TWO_KEYS, Together(Op::Lcs), "string" "7.0.0" "Finds the longest common substring.";
    "lindex" 3 READONLY, ONE_KEY, Partition(Op::LIndex), "list" "1.0.0" "Returns an element from a list by its index.";
    "linsert" 5 WRITE | DENYOOM, ONE_KEY, Partition(Op::LInsert), "list" "2.2.0" "Inserts an element before or after another element in a list.";
    "llen" 2 READONLY | FAST, ONE_KEY, Partition(Op::LLen), "list" "1.0.0" "Returns the length of a list.";
    "lmove" 5 WRITE | DENYOOM | LARGE_REPLY, TWO_KEYS, Together(Op::LMove), "list" "6.2.0" "Returns an element after popping it from one list and pushing it to another.";
    "lmpop" -4 WRITE | LARGE_REPLY | MOVABLE | NUMKEYS_FIRST, NO_KEYS, Together(Op::LMPop), "list" "7.0.0" "Returns multiple elements from a list after removing them.";
    "lolwut" -1 READONLY | FAST, NO_KEYS, Run::Session(Session::Lolwut), "server" "5.0.0" "Displays the version of the server.";
    "lpop" -2 WRITE | FAST | LARGE_REPLY, ONE_KEY, Partition(Op::LPop), "list" "1.0.0" "Returns and removes the first elements of a list.";
    "lpos" -3 READONLY, ONE_KEY, Partition(Op::LPos), "list" "6.0.6" "Returns the index of matching elements in a list.";
    "lpush" -3 WRITE | DENYOOM | FAST, ONE_KEY, Partition(Op::LPush), "list" "1.0.0" "Prepends one or more elements to a list.";
    "lpushx" -3 WRITE | DENYOOM | FAST, ONE_KEY, Partition(Op::LPushX), "list" "2.2.0" "Prepends one or more elements to a list only when the list exists.";
    "lrange" 4 READONLY, ONE_KEY, Partition(Op::LRange), "list" "1.0.0" "Returns a range of elements from a list.";
    "lrem" 4 WRITE, ONE_KEY, Partition(Op::LRem), "list" "1.0.0" "Removes elements from a list.";
    "lset" 4 WRITE | DENYOOM, ONE_KEY, Partition(Op::LSet), "list" "1.0.0" "Sets the value of an element in a list by its index.";
    "ltrim" 4 WRITE, ONE_KEY, Partition(Op::LTrim), "list" "1.0.0" "Removes elements from both ends of a list.";
    "memory" -2 READONLY, (2, 2, 1), Partition(Op::Memory), "server" "4.0.0" "A container for memory diagnostics commands.";
    "mget" -2 READONLY | FAST, ALL_KEYS, ArrayOverKeys(Op::GetOrNull), "string" "1.0.0" "Returns the string values of one or more keys.";
    "move" 3 WRITE | FAST, ONE_KEY, Run::Keys(Keys::Move), "generic" "1.0.0" "Moves a key to another database.";
    "mset" -3 WRITE | DENYOOM, PAIRS, Run::Keys(Keys::MSet), "string" "1.0.1" "Creates or modifies the string values of one or more keys.";
    "msetnx" -3 WRITE | DENYOOM, PAIRS, Run::Keys(Keys::MSetNx), "string" "1.0.1" "Modifies the string values of one or more keys only when all keys don't exist.";
    "multi" 1 FAST, NO_KEYS, Run::Transaction(Transaction::Multi), "transactions" "1.2.0" "Starts a transaction.";
    "object" -2 READONLY, (2, 2, 1), Partition(Op::Object), "generic" "2.2.3" "A container for object introspection commands.";
    "persist" 2 WRITE | FAST, ONE_KEY, Partition(Op::Persist), "generic" "2.2.0" "Removes the expiration time of a key.";
    "pexpire" -3 WRITE | FAST, ONE_KEY, Partition(Op::PExpire), "generic" "2.6.0" "Sets the expiration time of a key in milliseconds.";
    "pexpireat" -3 WRITE | FAST, ONE_KEY, Partition(Op::PExpireAt), "generic" "2.6.0" "Sets the expiration time of a key to a Unix milliseconds timestamp.";
    "pexpiretime" 2 READONLY | FAST, ONE_KEY, Partition(Op::PExpireTime), "generic" "7.0.0" "Returns the expiration time of a key as a Unix milliseconds timestamp.";
    "pfadd" -2 WRITE | DENYOOM | FAST, ONE_KEY, Partition(Op::PfAdd), "hyperloglog" "2.8.9" "Adds elements to a HyperLogLog key.";
    "pfcount" -2 READONLY, ALL_KEYS, Together(Op::PfCount), "hyperloglog" "2.8.9" "Returns the approximated cardinality of the sets observed by HyperLogLog keys.";
    "pfmerge" -2 WRITE | DENYOOM, ALL_KEYS, Together(Op::PfMerge), "hyperloglog" "2.8.9" "Merges one or more HyperLogLog values into a single key.";
    "ping" -1 FAST, NO_KEYS, Run::Session(Session::Ping), "connection" "1.0.0" "Returns the server's liveliness response.";
    "psetex" 4 WRITE | DENYOOM, ONE_KEY, Partition(Op::PSetEx), "string" "2.6.0" "Sets both string value and expiration time in milliseconds of a key.";
    "psubscribe" -2 PUBSUB, NO_KEYS, Run::Subscription(Subscription::PSubscribe), "pubsub" "2.0.0" "Listens for messages published to channels that match patterns.";
    "pttl" 2 READONLY | FAST, ONE_KEY, Partition(Op::PTtl), "generic" "2.6.0" "Returns the expiration time in milliseconds of a key.";
    "publish" 3 PUBSUB | FAST, NO_KEYS, Partition(Op::Publish), "pubsub" "2.0.0" "Posts a message to a channel.";
    "pubsub" -2 PUBSUB, NO_KEYS, Run::Session(Session::PubSub), "pubsub" "2.8.0" "A container for commands about publish and subscribe.";
    "punsubscribe" -1 PUBSUB, NO_KEYS, Run::Subscription(Subscription::PUnsubscribe), "pubsub" "2.0.0" "Stops listening to messages published to channels that match patterns.";
    "quit" -1 FAST, NO_KEYS, Run::Session(Session::Quit), "connection" "1.0.0" "Closes the connection.";
    "randomkey" 1 READONLY, NO_KEYS, Run::Cluster(Cluster::RandomKey), "generic" "1.0.0" "Returns a random key name from the database.";
    "rename" 3 WRITE, TWO_KEYS, Run::Keys(Keys::Rename), "generic" "1.0.0" "Renames a key and overwrites the destination.";
    "renamenx" 3 WRITE | FAST, TWO_KEYS, Run::Keys(Keys::RenameNx), "generic" "1.0.0" "Renames a key only when the target key name doesn't exist.";
    "reset" 1 FAST, NO_KEYS, Run::Session(Session::Reset), "connection" "6.2.0" "Resets the connection.";
    "restore" -4 WRITE | DENYOOM, ONE_KEY, Partition(Op::RestorePayload), "generic" "2.6.0" "Creates a key from the serialized representation of a value.";
    "role" 1 ADMIN | FAST, NO_KEYS, Run::Session(Session::Role), "server" "2.8.12" "Returns the replication role.";
    "rpop" -2 WRITE | FAST | LARGE_REPLY, ONE_KEY, Partition(Op::RPop), "list" "1.0.0" "Returns and removes the last elements of a list.";
    "rpoplpush" 3 WRITE | DENYOOM | LARGE_REPLY, TWO_KEYS, Together(Op::RPopLPush), "list" "1.2.0" "Returns the last element of a list after removing and pushing it to another list.";
    "rpush" -3 WRITE | DENYOOM | FAST, ONE_KEY, Partition(Op::RPush), "list" "1.0.0" "Appends one or more elements to a list.";
    "rpushx" -3 WRITE | DENYOOM | FAST, ONE_KEY, Partition(Op::RPushX), "list" "2.2.0" "Appends one or more elements to a list only when the list exists.";
    "sadd" -3 WRITE | DENYOOM | FAST, ONE_KEY, Partition(Op::SAdd), "set" "1.0.0" "Adds one or more members to a set.";
    "scan" -2 READONLY, NO_KEYS, Run::Cluster(Cluster::Scan), "generic" "2.8.0" "Iterates over the key names in the database.";
    "scard" 2 READONLY | FAST, ONE_KEY, Partition(Op::SCard), "set" "1.0.0" "Returns the number of members in a set.";
    "script" -2 0, NO_KEYS, Run::Script(Script::Texts), "scripting" "2.6.0" "A container for Lua scripts management commands.";
    "sdiff" -2 READONLY, ALL_KEYS, Together(Op::SDiff), "set" "1.0.0" "Returns the difference of multiple sets.";
    "sdiffstore" -3 WRITE | DENYOOM, ALL_KEYS, Together(Op::SDiffStore), "set" "1.0.0" "Stores the difference of multiple sets in a key.";
    "select" 2 FAST, NO_KEYS, Run::Session(Session::Select), "connection" "1.0.0" "Changes the selected database.";
    "set" -3 WRITE | DENYOOM, ONE_KEY, Partition(Op::Set), "string" "1.0.0" "Sets the string value of a key, ignoring its type.";
    "setbit" 4 WRITE | DENYOOM, ONE_KEY, Partition(Op::SetBit), "bitmap" "2.2.0" "Sets or clears the bit at an offset of the string value.";
    "setex" 4 WRITE | DENYOOM, ONE_KEY, Partition(Op::SetEx), "string" "2.0.0" "Sets the string value and expiration time of a key.";
    "setnx" 3 WRITE | DENYOOM | FAST, ONE_KEY, Partition(Op::SetNx), "string" "1.0.0" "Sets the string value of a key only when the key doesn't exist.";
    "setrange" 4 WRITE | DENYOOM, ONE_KEY, Partition(Op::SetRange), "string" "2.2.0" "Overwrites a part of a string value with another by an offset.";
    "sinter" -2 READONLY, ALL_KEYS, Together(Op::SInter), "set" "1.0.0" "Returns the intersection of multiple sets.";
    "sintercard" -3 READONLY | MOVABLE | NUMKEYS_FIRST, NO_KEYS, Together(Op::SInterCard), "set" "7.0.0" "Returns the number of members of the intersection of multiple sets.";
    "sinterstore" -3 WRITE | DENYOOM, ALL_KEYS, Together(Op::SInterStore), "set" "1.0.0" "Stores the intersection of multiple sets in a key.";
    "sismember" 3 READONLY | FAST, ONE_KEY, Partition(Op::SIsMember), "set" "1.0.0" "Determines whether a member belongs to a set.";
    "slowlog" -2 ADMIN, NO_KEYS, Run::Session(Session::SlowLog), "server" "2.2.12" "A container for slow log commands.";
    "smembers" 2 READONLY, ONE_KEY, Partition(Op::SMembers), "set" "1.0.0" "Returns all members of a set.";
    "smismember" -3 READONLY | FAST, ONE_KEY, Partition(Op::SMIsMember), "set" "6.2.0" "Determines whether multiple members belong to a set.";
    "smove" 4 WRITE | FAST, TWO_KEYS, Together(Op::SMove), "set" "1.0.0" "Moves a member from one set to another.";
    "sort" -2 WRITE | DENYOOM | LARGE_REPLY | MOVABLE | STORE_OPTION, ONE_KEY, Together(Op::Sort), "generic" "1.0.0" "Sorts the elements in a list, a set, or a sorted set, optionally storing the result.";
    "sort_ro" -2 READONLY | MOVABLE, ONE_KEY, Partition(Op::SortRo), "generic" "7.0.0" "Returns the sorted elements of a list, a set, or a sorted set.";
    "spop" -2 WRITE | FAST | LARGE_REPLY, ONE_KEY, Partition(Op::SPop), "set" "1.0.0" "Returns one or more random members from a set after removing them.";
    "spublish" 3 PUBSUB | FAST, NO_KEYS, Partition(Op::SPublish), "pubsub" "7.0.0" "Posts a message to a shard channel.";
    "srandmember" -2 READONLY, ONE_KEY, Partition(Op::SRandMember), "set" "1.0.0" "Returns one or multiple random members from a set.";
    "srem" -3 WRITE | FAST, ONE_KEY, Partition(Op::SRem), "set" "1.0.0" "Removes one or more members from a set.";
    "sscan" -3 READONLY, ONE_KEY, Partition(Op::SScan), "set" "2.8.0" "Iterates over members of a set.";
    "ssubscribe" -2 PUBSUB, NO_KEYS, Run::Subscription(Subscription::SSubscribe), "pubsub" "7.0.0" "Listens for messages published to shard channels.";
    "strlen" 2 READONLY | FAST, ONE_KEY, Partition(Op::StrLen), "string" "2.2.0" "Returns the length of a string value.";
    "subscribe" -2 PUBSUB, NO_KEYS, Run::Subscription(Subscription::Subscribe), "pubsub" "2.0.0" "Listens for messages published to channels.";
    "substr" 4 READONLY, ONE_KEY, Partition(Op::GetRange), "string" "1.0.0" "Returns a substring from a string value.";
    "sunion" -2 READONLY, ALL_KEYS, Together(Op::SUnion), "set" "1.0.0" "Returns the union of multiple sets.";
    "sunionstore" -3 WRITE | DENYOOM, ALL_KEYS, Together(Op::SUnionStore), "set" "1.0.0" "Stores the union of multiple sets in a key.";
    "sunsubscribe" -1 PUBSUB, NO_KEYS, Run::Subscription(Subscription::SUnsubscribe), "pubsub" "7.0.0" "Stops listening to messages posted to shard channels.";
    "swapdb" 3 WRITE | FAST, NO_KEYS, Run::Cluster(Cluster::SwapDb), "server" "4.0.0" "Swaps two Redis databases.";
    "time" 1 FAST, NO_KEYS, Run::Session(Session::Time), "server" "2.6.0" "Returns the server time.";
    "touch" -2 READONLY | FAST, ALL_KEYS, SumOverKeys(Op::Touch), "generic" "3.2.1" "Returns the number of existing keys out of those specified.";
    "ttl" 2 READONLY | FAST, ONE_KEY, Partition(Op::Ttl), "generic" "1.0.0" "Returns the expiration time in seconds of a key.";
    "type" 2 READONLY | FAST, ONE_KEY, Partition(Op::Type), "generic" "1.0.0" "Determines the type of value stored at a key.";
    "unlink" -2 WRITE | FAST, ALL_KEYS, SumOverKeys(Op::Del), "generic" "4.0.0" "Deletes one or more keys.";
    "unsubscribe" -1 PUBSUB, NO_KEYS, Run::Subscription(Subscription::Unsubscribe), "pubsub" "2.0.0" "Stops listening to messages posted to channels.";
    "unwatch" 1 FAST, NO_KEYS, Run::Transaction(Transaction::Unwatch), "transactions" "2.2.0" "Forgets about watched keys of a transaction.";
    "wait" 3 0, NO_KEYS, Run::Session(Session::Wait), "generic" "3.0.0" "Returns the number of replicas in the sense of Redis, which is 0.";
    "waitaof" 4 0, NO_KEYS, Run::Session(Session::WaitAof), "generic" "7.2.0" "Returns whether earlier writes are on disk, which they are.";
    "watch" -2 FAST, ALL_KEYS, Run::Transaction(Transaction::Watch), "transactions" "2.2.0" "Monitors changes to keys to determine the execution of a transaction.";
    "xack" -4 WRITE | FAST, ONE_KEY, Partition(Op::XAck), "stream" "5.0.0" "Returns the number of messages that were successfully acknowledged by the consumer group member of a stream.";
    "xadd" -5 WRITE | DENYOOM | FAST, ONE_KEY, Partition(Op::XAdd), "stream" "5.0.0" "Appends a new message to a stream.";
    "xautoclaim" -6 WRITE | FAST | LARGE_REPLY, ONE_KEY, Partition(Op::XAutoClaim), "stream" "6.2.0" "Changes, or acquires, ownership of messages in a consumer group, as if the messages were delivered to as consumer group member.";
    "xclaim" -6 WRITE | FAST | LARGE_REPLY, ONE_KEY, Partition(Op::XClaim), "stream" "5.0.0" "Changes, or acquires, ownership of a message in a consumer group, as if the message was delivered a consumer group member.";
    "xdel" -3 WRITE | FAST, ONE_KEY, Partition(Op::XDel), "stream" "5.0.0" "Returns the number of messages after removing them from a stream.";
    "xgroup" -2 WRITE | DENYOOM, (2, 2, 1), Partition(Op::XGroup), "stream" "5.0.0" "A container for consumer groups commands.";
    "xinfo" -2 READONLY, (2, 2, 1), Partition(Op::XInfo), "stream" "5.0.0" "A container for stream introspection commands.";
    "xlen" 2 READONLY | FAST, ONE_KEY, Partition(Op::XLen), "stream" "5.0.0" "Returns the number of messages in a stream.";
    "xpending" -3 READONLY, ONE_KEY, Partition(Op::XPending), "stream" "5.0.0" "Returns the information and entries from a stream consumer group's pending entries list.";
    "xrange" -4 READONLY, ONE_KEY, Partition(Op::XRange), "stream" "5.0.0" "Returns the messages from a stream within a range of IDs.";
    "xread" -4 READONLY | BLOCKING | MOVABLE | STREAMS_OPTION, NO_KEYS, Run::Blocking(Blocking::XRead), "stream" "5.0.0" "Returns messages from multiple streams with IDs greater than the ones requested; waits if there is none.";
    "xreadgroup" -7 WRITE | BLOCKING | MOVABLE | STREAMS_OPTION, NO_KEYS, Run::Blocking(Blocking::XReadGroup), "stream" "5.0.0" "Returns new or historical messages from a stream for a consumer in a group; waits if there is none.";
    "xrevrange" -4 READONLY, ONE_KEY, Partition(Op::XRevRange), "stream" "5.0.0" "Returns the messages from a stream within a range of IDs in reverse order.";
    "xsetid" -3 WRITE | DENYOOM | FAST, ONE_KEY, Partition(Op::XSetId), "stream" "5.0.0" "An internal command for replicating stream values.";
    "xtrim" -4 WRITE, ONE_KEY, Partition(Op::XTrim), "stream" "5.0.0" "Deletes messages from the beginning of a stream.";
    "zadd" -4 WRITE | DENYOOM | FAST, ONE_KEY, Partition(Op::ZAdd), "sorted-set" "1.2.0" "Adds one or more members to a sorted set, or updates their scores.";
    "zcard" 2 READONLY | FAST, ONE_KEY, Partition(Op::ZCard), "sorted-set" "1.2.0" "Returns the number of members in a sorted set.";
    "zcount" 4 READONLY | FAST, ONE_KEY, Partition(Op::ZCount), "sorted-set" "2.0.0" "Returns the count of members in a sorted set that have scores within a range.";
    "zdiff" -3 READONLY | MOVABLE | NUMKEYS_FIRST, NO_KEYS, Together(Op::ZDiff), "sorted-set" "6.2.0" "Returns the difference between multiple sorted sets.";
    "zdiffstore" -4 WRITE | DENYOOM | MOVABLE | NUMKEYS_SECOND, ONE_KEY, Together(Op::ZDiffStore), "sorted-set" "6.2.0" "Stores the difference of multiple sorted sets in a key.";
    "zincrby" 4 WRITE | DENYOOM | FAST, ONE_KEY, Partition(Op::ZIncrBy), "sorted-set" "1.2.0" "Increments the score of a member in a sorted set.";
    "zinter" -3 READONLY | MOVABLE | NUMKEYS_FIRST, NO_KEYS, Together(Op::ZInter), "sorted-set" "6.2.0" "Returns the intersection of multiple sorted sets.";
    "zintercard" -3 READONLY | MOVABLE | NUMKEYS_FIRST, NO_KEYS, Together(Op::ZInterCard), "sorted-set" "7.0.0" "Returns the number of members of the intersection of multiple sorted sets.";
    "zinterstore" -4 WRITE | DENYOOM | MOVABLE | NUMKEYS_SECOND, ONE_KEY, Together(Op::ZInterStore), "sorted-set" "2.0.0" "Stores the intersection of multiple sorted sets in a key.";
    "zlexcount" 4 READONLY | FAST, ONE_KEY, Partition(Op::ZLexCount), "sorted-set" "2.8.9" "Returns the number of members in a sorted set within a lexicographical range.";
    "zmpop" -4 WRITE | LARGE_REPLY | MOVABLE | NUMKEYS_FIRST, NO_KEYS, Together(Op::ZMPop), "sorted-set" "7.0.0" "Returns the highest- or lowest-scoring members from one or more sorted sets after removing them.";
    "zmscore" -3 READONLY | FAST, ONE_KEY, Partition(Op::ZMScore), "sorted-set" "6.2.0" "Returns the scores of one or more members in a sorted set.";
    "zpopmax" -2 WRITE | FAST | LARGE_REPLY, ONE_KEY, Partition(Op::ZPopMax), "sorted-set" "5.0.0" "Returns the highest-scoring members from a sorted set after removing them.";
    "zpopmin" -2 WRITE | FAST | LARGE_REPLY, ONE_KEY, Partition(Op::ZPopMin), "sorted-set" "5.0.0" "Returns the lowest-scoring members from a sorted set after removing them.";
    "zrandmember" -2 READONLY, ONE_KEY, Partition(Op::ZRandMember), "sorted-set" "6.2.0" "Returns one or more random members from a sorted set.";
    "zrange" -4 READONLY, ONE_KEY, Partition(Op::ZRange), "sorted-set" "1.2.0" "Returns members in a sorted set within a range of indexes.";
    "zrangebylex" -4 READONLY, ONE_KEY, Partition(Op::ZRangeByLex), "sorted-set" "2.8.9" "Returns members in a sorted set within a lexicographical range.";
    "zrangebyscore" -4 READONLY, ONE_KEY, Partition(Op::ZRangeByScore), "sorted-set" "1.0.5" "Returns members in a sorted set within a range of scores.";
    "zrangestore" -5 WRITE | DENYOOM, TWO_KEYS, Together(Op::ZRangeStore), "sorted-set" "6.2.0" "Stores a range of members from a sorted set in a key.";
    "zrank" -3 READONLY | FAST, ONE_KEY, Partition(Op::ZRank), "sorted-set" "2.0.0" "Returns the index of a member in a sorted set ordered by ascending scores.";
    "zrem" -3 WRITE | FAST, ONE_KEY, Partition(Op::ZRem), "sorted-set" "1.2.0" "Removes one or more members from a sorted set.";
    "zremrangebylex" 4 WRITE, ONE_KEY, Partition(Op::ZRemRangeByLex), "sorted-set" "2.8.9" "Removes members in a sorted set within a lexicographical range.";
    "zremrangebyrank" 4 WRITE, ONE_KEY, Partition(Op::ZRemRangeByRank), "sorted-set" "2.0.0" "Removes members in a sorted set within a range of indexes.";
    "zremrangebyscore" 4 WRITE, ONE_KEY, Partition(Op::ZRemRangeByScore), "sorted-set" "1.2.0" "Removes members in a sorted set within a range of scores.";
    "zrevrange" -4 READONLY, ONE_KEY, Partition(Op::ZRevRange), "sorted-set" "1.2.0" "Returns members in a sorted set within a range of indexes in reverse order.";
    "zrevrangebylex" -4 READONLY, ONE_KEY, Partition(Op::ZRevRangeByLex), "sorted-set" "2.8.9" "Returns members in a sorted set within a lexicographical range in reverse order.";
    "zrevrangebyscore" -4 READONLY, ONE_KEY, Partition(Op::ZRevRangeByScore), "sorted-set" "2.2.0" "Returns members in a sorted set within a range of scores in reverse order.";
    "zrevrank" -3 READONLY | FAST, ONE_KEY, Partition(Op::ZRevRank), "sorted-set" "2.0.0" "Returns the index of a member in a sorted set ordered by descending scores.";
    "zscan" -3 READONLY, ONE_KEY, Partition(Op::ZScan), "sorted-set" "2.8.0" "Iterates over members and scores of a sorted set.";
    "zscore" 3 READONLY | FAST, ONE_KEY, Partition(Op::ZScore), "sorted-set" "1.2.0" "Returns the score of a member in a sorted set.";
    "zunion" -3 READONLY | MOVABLE | NUMKEYS_FIRST, NO_KEYS, Together(Op::ZUnion), "sorted-set" "6.2.0" "Returns the union of multiple sorted sets.";
    "zunionstore" -4 WRITE | DENYOOM | MOVABLE | NUMKEYS_SECOND, ONE_KEY, Together(Op::ZUnionStore), "sorted-set" "2.0.0" "Stores the union of multiple sorted sets in a key.";
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
        let places = |name: &str, length| find(name.as_bytes()).unwrap().key_places(length, |_| b"");
        assert_eq!(places("get", 2), [1]);
        assert_eq!(places("mset", 5), [1, 3]);
        assert_eq!(places("del", 4), [1, 2, 3]);
        assert_eq!(places("ping", 1), [0; 0]);
        assert_eq!(places("object", 3), [2]);
        let movable = |words: &str| {
            let words: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
            find(words[0]).unwrap().key_places(words.len(), |at| words[at])
        };
        assert_eq!(movable("zunion 2 a b WITHSCORES"), [2, 3]);
        assert_eq!(movable("zunionstore d 2 a b WEIGHTS 1 2"), [1, 3, 4]);
        assert_eq!(movable("zunion 9 a b"), [2, 3]);
        assert_eq!(movable("zunion x a b"), [0; 0]);
        assert_eq!(movable("georadius k 1 2 3 km STORE s"), [1, 7]);
        assert_eq!(movable("georadius k 1 2 3 km ASC"), [1]);
        let set = find(b"set").unwrap();
        assert!(!set.accepts(2) && set.accepts(3) && set.accepts(9));
        let get = find(b"get").unwrap();
        assert!(!get.accepts(1) && get.accepts(2) && !get.accepts(3));
    }
}
