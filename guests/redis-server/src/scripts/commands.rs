//! `redis.call`: a command of a script becomes an operation on the partition that the script runs on.
//!
//! Invariant: no row is touched but those of keys that are known to be of this partition. Commands that wait do not, those
//! that span partitions are refused, and so is what a client says about its connection.

use recoil_sdk::Error;
use recoil_sdk::encoding::push_bytes;

use super::UNDECLARED;
use super::engine::Host;
use super::value::{Value, from_reply};
use crate::blocking::{Blocking, Parsed};
use crate::command::{self, Command, Keys, Run, Session};
use crate::executor::{self, Call};
use crate::keys::{CopyOptions, parse_database};
use crate::keyspace::{Failure, Keyspace, hash_tag};
use crate::numbers::{parse_i64, push_u64};
use crate::request::{Op, Request, Style, begin, push_number};
use crate::resp::{push_array, push_bulk, push_integer, push_simple};

/// The commands of one run.
pub(super) struct Commands<'a, 'b> {
    keyspace: &'a mut Keyspace<'b>,
    /// Hash tags whose keys are known to be of this partition, sorted.
    tags: Vec<Vec<u8>>,
    read_only: bool,
    /// Why the run must be rolled back.
    aborted: Option<Error>,
}

/// Requests of scripts say nothing of databases: they are run where the script is.
fn style(resp3: bool) -> Style {
    Style { resp3, ..Style::INTERNAL }
}

/// An error reply, or a reason to roll back.
type Replied = Result<Vec<u8>, Failure>;

impl<'a, 'b> Commands<'a, 'b> {
    pub(super) fn new(keyspace: &'a mut Keyspace<'b>, keys: &[&[u8]], read_only: bool) -> Self {
        let mut tags: Vec<Vec<u8>> = keys.iter().map(|key| hash_tag(key).to_vec()).collect();
        tags.extend(keyspace.approved.iter().cloned());
        tags.sort_unstable();
        tags.dedup();
        let read_only = read_only || keyspace.transaction.is_read_only();
        Commands { keyspace, tags, read_only, aborted: None }
    }

    /// Why the run must be rolled back, if it must.
    pub(super) fn aborted(self) -> Option<Error> {
        self.aborted
    }

    fn reply(&mut self, words: &[Vec<u8>], resp3: bool) -> Replied {
        let name = words.first().map(Vec::as_slice).unwrap_or_default();
        let Some(command) = command::find(name) else {
            return Err("ERR Unknown Redis command called from script".into());
        };
        if !command.accepts(words.len()) {
            return Err("ERR Wrong number of args calling Redis command from script".into());
        }
        if self.read_only && command.writes() {
            return Err("ERR Write commands are not allowed from read-only scripts.".into());
        }
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        for place in command.key_places(words.len(), |at| words[at]) {
            self.check_key(words[place])?;
        }
        match command.run {
            Run::Partition(op) | Run::Together(op) => self.operation(op, resp3, &words[1..]),
            Run::Blocking(which) => self.without_waiting(which, resp3, &words[1..]),
            Run::SumOverKeys(op) => self.sum(op, &words[1..]),
            Run::ArrayOverKeys(op) => self.array(op, resp3, &words[1..]),
            Run::Keys(which) => self.on_keys(which, resp3, &words),
            Run::Session(which) => self.session(which, command, &words),
            Run::Cluster(_) => Err(format!(
                "ERR {} asks all partitions, and a script runs on one: call it outside of the script",
                command.name.to_ascii_uppercase()
            )
            .into()),
            _ => Err(NOT_ALLOWED.into()),
        }
    }

    /// Refuse a database whose keys are on another partition.
    fn check_database(&self, database: u8) -> Result<(), Failure> {
        let mine = self.keyspace.database();
        if database == mine || !self.keyspace.holds_whole(mine) || self.keyspace.holds_whole(database) {
            return Ok(());
        }
        Err("ERR with the setting routing = database a script has one database, that of its connection".into())
    }

    /// Refuse a key that may be of another partition.
    fn check_key(&mut self, key: &[u8]) -> Result<(), Failure> {
        if self.keyspace.holds_whole(self.keyspace.database()) {
            return Ok(());
        }
        let tag = hash_tag(key);
        if self.tags.binary_search_by(|known| known.as_slice().cmp(tag)).is_ok() {
            return Ok(());
        }
        let partition = self.keyspace.transaction.place().id;
        let (tag, key) = (super::hexadecimal(tag), super::hexadecimal(&key[..key.len().min(128)]));
        Err(Failure::Abort(Error::new(format!("{UNDECLARED} {partition} {tag} {key}"))))
    }

    /// Run an operation whose request is complete.
    fn request(&mut self, request: &[u8]) -> Replied {
        let request = Request::decode(request)?;
        let mut call = Call {
            keyspace: &mut *self.keyspace,
            arguments: request.arguments,
            resp3: request.resp3,
            reply: Vec::new(),
        };
        executor::run(request.op, &mut call)?;
        Ok(call.reply)
    }

    fn operation(&mut self, op: Op, resp3: bool, arguments: &[&[u8]]) -> Replied {
        let mut request = begin(op, style(resp3), false, 64);
        arguments.iter().for_each(|argument| push_bytes(&mut request, argument));
        self.request(&request)
    }

    fn sum(&mut self, op: Op, keys: &[&[u8]]) -> Replied {
        let mut sum = 0;
        for key in keys {
            let reply = self.operation(op, false, &[key])?;
            sum += reply.get(1..reply.len() - 2).and_then(parse_i64).unwrap_or(0);
        }
        let mut reply = Vec::new();
        push_integer(&mut reply, sum);
        Ok(reply)
    }

    fn array(&mut self, op: Op, resp3: bool, keys: &[&[u8]]) -> Replied {
        let mut reply = Vec::new();
        push_array(&mut reply, keys.len());
        for key in keys {
            reply.extend(self.operation(op, resp3, &[key])?);
            executor::check_reply(&reply)?;
        }
        Ok(reply)
    }

    fn without_waiting(&mut self, which: Blocking, resp3: bool, arguments: &[&[u8]]) -> Replied {
        let parsed = Parsed::parse(which, arguments)?;
        let mut request = begin(Op::Block, style(resp3), false, 64);
        push_number(&mut request, 0);
        push_number(&mut request, 0);
        let mut take = Vec::new();
        parsed.take.encode(&mut take);
        push_bytes(&mut request, &take);
        parsed.keys.iter().for_each(|key| push_bytes(&mut request, key));
        self.request(&request)
    }

    fn on_keys(&mut self, which: Keys, resp3: bool, words: &[&[u8]]) -> Replied {
        let op = match which {
            Keys::MSet | Keys::MSetNx if words.len().is_multiple_of(2) => {
                return Err("ERR wrong number of arguments for MSET".into());
            }
            Keys::MSet => Op::MSet,
            Keys::MSetNx => Op::MSetNx,
            Keys::Rename => Op::Rename,
            Keys::RenameNx => Op::RenameNx,
            Keys::Copy => {
                let options = CopyOptions::parse(words[3..].iter().copied())?;
                if let Some(database) = options.database {
                    self.check_database(database)?;
                }
                let options = options.encode(self.keyspace.database());
                return self.operation(Op::Copy, resp3, &[words[1], words[2], &options]);
            }
            Keys::Move => {
                self.check_database(parse_database(words[2])?)?;
                Op::Move
            }
        };
        self.operation(op, resp3, &words[1..])
    }

    fn session(&mut self, which: Session, command: &Command, words: &[&[u8]]) -> Replied {
        let mut reply = Vec::new();
        match (which, words) {
            (Session::Ping, [_]) => push_simple(&mut reply, "PONG"),
            (Session::Ping, [_, text]) | (Session::Echo, [_, text]) => push_bulk(&mut reply, text),
            (Session::Ping, _) => return Err("ERR wrong number of arguments for 'ping' command".into()),
            (Session::Time, _) => {
                let now_us = self.keyspace.now_us();
                push_array(&mut reply, 2);
                for number in [now_us / 1_000_000, now_us % 1_000_000] {
                    let mut text = Vec::new();
                    push_u64(&mut text, number);
                    push_bulk(&mut reply, &text);
                }
            }
            (Session::Select, [_, index]) => {
                let database = parse_database(index)?;
                self.check_database(database)?;
                self.keyspace.select(database);
                push_simple(&mut reply, "OK");
            }
            (Session::Command, _) => {
                return Err(format!("ERR {} is not supported in scripts", command.name.to_ascii_uppercase()).into());
            }
            _ => return Err(NOT_ALLOWED.into()),
        }
        Ok(reply)
    }
}

const NOT_ALLOWED: &str = "ERR This Redis command is not allowed from script";

impl Host for Commands<'_, '_> {
    fn call(&mut self, command: &[Vec<u8>], resp3: bool) -> Result<Value, String> {
        if let Some(error) = &self.aborted {
            return Err(error.message().to_owned());
        }
        match self.reply(command, resp3) {
            Ok(reply) => from_reply(&reply, resp3),
            Err(Failure::Reply(text)) => Err(text.into_owned()),
            // The script may go on for a while, but whatever it does is rolled back.
            Err(Failure::Abort(error)) => {
                let text = error.message().to_owned();
                self.aborted = Some(error);
                Err(text)
            }
        }
    }
}
