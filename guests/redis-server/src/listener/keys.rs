//! Commands whose keys belong together: MSET, MSETNX, RENAME, RENAMENX, COPY, MOVE.
//!
//! If one partition owns all keys, the command is one call there, atomic without further ado. Otherwise it is a
//! transaction over partitions, which the router makes for partitions of one Raft group. Where that cannot be, MSET
//! writes each partition by itself, because clients rely on it to work; the others, whose meaning would be lost, answer
//! CROSSSLOT.

use std::collections::BTreeMap;

use recoil_sdk::encoding::push_bytes;
use recoil_sdk::{CallError, Mode, RoutedCall};

use super::pipeline::{Combine, Combined, whole_request};
use super::{Session, Step, WRITE_BYTES, call_error, has_code, transaction_error, wrong_arity};
use crate::command::{Command, Keys};
use crate::keys::{CopyOptions, SAME_OBJECTS, parse_database, push_no_such_key};
use crate::request::{self, Batch, Op, REJECTED_CHANGED, REJECTED_EXISTS, Scope, Style};
use crate::resp::{Arguments, push_error, push_integer, push_simple};

/// How often a move is tried again because its source has changed meanwhile.
const MOVE_ATTEMPTS: u32 = 8;

/// What a key is moved or copied by.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Move {
    keep_source: bool,
    only_if_absent: bool,
    /// RENAME answers OK and errors; the others numbers.
    answers_ok: bool,
    /// The database that the key comes to.
    database: u8,
}

/// A key of a database, and its partition.
#[derive(Clone, Copy)]
struct Spot<'k> {
    key: &'k [u8],
    scope: Scope,
    partition: u32,
}

impl Session<'_> {
    pub(super) fn keys_command(&mut self, which: Keys, command: &Command, arguments: Arguments<'_>) -> Step {
        self.flush()?;
        let database = self.database;
        match which {
            Keys::MSet | Keys::MSetNx if arguments.len().is_multiple_of(2) => self.fail(&wrong_arity(command.name)),
            Keys::MSet => self.mset(arguments),
            Keys::MSetNx => self.msetnx(arguments),
            Keys::Rename => {
                let how = Move { keep_source: false, only_if_absent: false, answers_ok: true, database };
                self.move_key(arguments.at(1), arguments.at(2), how);
            }
            Keys::RenameNx => {
                let how = Move { keep_source: false, only_if_absent: true, answers_ok: false, database };
                self.move_key(arguments.at(1), arguments.at(2), how);
            }
            Keys::Copy => match CopyOptions::parse(arguments.from(3)) {
                Err(text) => self.fail(text),
                Ok(options) => {
                    let database = options.database.unwrap_or(database);
                    let how = Move { keep_source: true, only_if_absent: !options.replace, answers_ok: false, database };
                    self.move_key(arguments.at(1), arguments.at(2), how);
                }
            },
            Keys::Move => match parse_database(arguments.at(2)) {
                Err(text) => self.fail(text),
                Ok(target) if target == database => self.fail(SAME_OBJECTS),
                Ok(database) => {
                    let how = Move { keep_source: false, only_if_absent: true, answers_ok: false, database };
                    self.move_key(arguments.at(1), arguments.at(1), how);
                }
            },
        }
        self.write_out(WRITE_BYTES)
    }

    /// Pairs by the partition that owns them, as requests of `op`.
    fn pairs_by_partition(&self, op: Op, arguments: Arguments<'_>) -> BTreeMap<u32, Vec<u8>> {
        let mut requests = BTreeMap::new();
        for at in (1..arguments.len() - 1).step_by(2) {
            let partition = self.place(arguments.at(at));
            let request = requests.entry(partition).or_insert_with(|| request::begin(op, self.style(), false, 64));
            push_bytes(request, arguments.at(at));
            push_bytes(request, arguments.at(at + 1));
        }
        requests
    }

    fn mset(&mut self, arguments: Arguments<'_>) {
        let calls = to_calls(self.pairs_by_partition(Op::MSet, arguments));
        let start = self.out.len();
        let mut combined = Combined::new(Combine::First, calls.len(), &mut self.out);
        if calls.len() > 1 {
            match self.router.transact(&calls) {
                // Not of one group, so nothing was written.
                Err(CallError::Rejected(why)) if !has_code(&why) => {}
                Err(error) => return push_error(&mut self.out, &call_error(&error)),
                Ok(answers) => {
                    answers.into_iter().for_each(|answer| combined.add(Ok(answer), &mut self.out));
                    return combined.finish(start, &mut self.out);
                }
            }
        }
        self.router.call_many(&calls).into_iter().for_each(|answer| combined.add(answer, &mut self.out));
        combined.finish(start, &mut self.out);
    }

    fn msetnx(&mut self, arguments: Arguments<'_>) {
        let mut requests = self.pairs_by_partition(Op::MSetNx, arguments);
        if requests.len() > 1 {
            // Everywhere or nowhere: each partition must hold none of its keys.
            requests = self.pairs_by_partition(Op::MSet, arguments);
            for (partition, request) in &mut requests {
                let mut batch = Batch::default();
                batch.requests.push(std::mem::take(request));
                let keys = (1..arguments.len() - 1).step_by(2).map(|at| arguments.at(at));
                keys.filter(|key| self.place(key) == *partition).for_each(|key| batch.expect(self.scope(), key, 0));
                *request = batch.encode();
            }
            let calls = to_calls(requests);
            match self.router.transact(&calls) {
                Ok(_) => push_integer(&mut self.out, 1),
                Err(CallError::Rejected(why)) if why == REJECTED_EXISTS => push_integer(&mut self.out, 0),
                Err(error) => push_error(&mut self.out, &transaction_error(&error)),
            }
            return;
        }
        for answer in self.router.call_many(&to_calls(requests)) {
            match answer {
                Ok(reply) => self.out.extend_from_slice(&reply),
                Err(error) => push_error(&mut self.out, &call_error(&error)),
            }
        }
    }

    /// RENAME, RENAMENX, COPY and MOVE.
    fn move_key(&mut self, from: &[u8], to: &[u8], how: Move) {
        let from = Spot { key: from, scope: self.scope(), partition: self.place(from) };
        let to = Spot { key: to, scope: self.scope_of(how.database), partition: self.place_in(how.database, to) };
        if from.partition == to.partition {
            let request = move_request(how, self.style(), from.key, to.key);
            match self.router.call(&RoutedCall::to_partition(from.partition, request, Mode::Write)) {
                Ok(reply) => self.out.extend_from_slice(&reply),
                Err(error) => self.answer_error(&call_error(&error)),
            }
            return;
        }
        let is_rename = how.answers_ok || (!how.keep_source && from.scope == to.scope);
        for _ in 0..MOVE_ATTEMPTS {
            match self.try_move(from, to, how) {
                Ok(Some(_)) if how.answers_ok => return push_simple(&mut self.out, "OK"),
                Ok(Some(moved)) => return push_integer(&mut self.out, i64::from(moved)),
                Ok(None) if !is_rename => return push_integer(&mut self.out, 0),
                Ok(None) => return push_no_such_key(&mut self.out),
                Err(CallError::Rejected(why)) if why == REJECTED_CHANGED => {}
                Err(error) => return self.answer_error(&transaction_error(&error)),
            }
        }
        push_error(&mut self.out, "TRYAGAIN The key kept changing while it was being moved: try again");
    }

    /// Read the source, then in one transaction put it at the target and remove it, if neither has changed. None without a
    /// source, false if the target is in the way.
    fn try_move(&self, from: Spot<'_>, to: Spot<'_>, how: Move) -> Result<Option<bool>, CallError> {
        let style = |spot: Spot<'_>| Style { resp3: false, scope: spot.scope };
        let read =
            |op| RoutedCall::to_partition(from.partition, request::encode(op, style(from), [from.key]), Mode::Read);
        // The version is asked for first: if the key changes in between, it is that of neither row, and the attempt fails.
        let mut answers = self.router.call_many(&[read(Op::Version), read(Op::Dump)]).into_iter();
        let mut answer = || answers.next().unwrap_or(Err(CallError::Conflict));
        let (version, row) = (answer()?, answer()?);
        if row.is_empty() {
            return Ok(None);
        }
        let Ok(version) = version.try_into().map(u64::from_le_bytes) else {
            return Err(CallError::Failed("the key's version is damaged".to_owned()));
        };
        let (mut removal, mut arrival) = (Batch::default(), Batch::default());
        removal.expect(from.scope, from.key, version);
        if !how.keep_source {
            removal.requests.push(request::encode(Op::Del, style(from), [from.key]));
        }
        if how.only_if_absent {
            arrival.expect(to.scope, to.key, 0);
        }
        arrival.requests.push(request::encode(Op::Restore, style(to), [to.key, &row]));
        let calls = [
            RoutedCall::to_partition(from.partition, removal.encode(), Mode::Write),
            RoutedCall::to_partition(to.partition, arrival.encode(), Mode::Write),
        ];
        match self.router.transact(&calls) {
            Ok(_) => Ok(Some(true)),
            // The source was absent when its version was asked for, and has come since.
            Err(CallError::Rejected(why)) if why == REJECTED_EXISTS && version == 0 => {
                Err(CallError::Rejected(REJECTED_CHANGED.to_owned()))
            }
            Err(CallError::Rejected(why)) if why == REJECTED_EXISTS => Ok(Some(false)),
            Err(error) => Err(error),
        }
    }
}

fn to_calls(requests: BTreeMap<u32, Vec<u8>>) -> Vec<RoutedCall> {
    requests.into_iter().map(|(partition, request)| RoutedCall::to_partition(partition, request, Mode::Write)).collect()
}

fn move_request(how: Move, style: Style, from: &[u8], to: &[u8]) -> Vec<u8> {
    let op = match how {
        Move { keep_source: true, .. } => Op::Copy,
        _ if how.database != style.scope.database => {
            return request::encode(Op::Move, style, [from, how.database.to_string().as_bytes()]);
        }
        Move { only_if_absent: true, .. } => Op::RenameNx,
        _ => Op::Rename,
    };
    let mut request = request::encode(op, style, [from, to]);
    if op == Op::Copy {
        push_bytes(&mut request, &[u8::from(!how.only_if_absent), how.database]);
    }
    request
}

/// The database that such a command brings a key to, if it is not the selected one; the error of its arguments.
pub(super) fn target_database(which: Keys, arguments: Arguments<'_>) -> Result<Option<u8>, &'static str> {
    match which {
        Keys::Copy => Ok(CopyOptions::parse(arguments.from(3))?.database),
        Keys::Move => parse_database(arguments.at(2)).map(Some),
        _ => Ok(None),
    }
}

/// The request of such a command when one partition owns all its keys, as within MULTI; the error of its arguments.
pub(super) fn request_on_one_partition(
    which: Keys,
    style: Style,
    command: &Command,
    arguments: Arguments<'_>,
) -> Result<Vec<u8>, String> {
    let op = match which {
        Keys::MSet | Keys::MSetNx if arguments.len().is_multiple_of(2) => return Err(wrong_arity(command.name)),
        Keys::MSet => Op::MSet,
        Keys::MSetNx => Op::MSetNx,
        Keys::Rename => Op::Rename,
        Keys::RenameNx => Op::RenameNx,
        Keys::Move => Op::Move,
        Keys::Copy => {
            let options = CopyOptions::parse(arguments.from(3)).map_err(str::to_owned)?.encode(style.scope.database);
            return Ok(request::encode(Op::Copy, style, [arguments.at(1), arguments.at(2), &options]));
        }
    };
    Ok(whole_request(op, style, false, arguments))
}
