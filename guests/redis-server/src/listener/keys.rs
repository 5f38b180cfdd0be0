//! Commands whose keys belong together: MSET, MSETNX, RENAME, RENAMENX, COPY.
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
use crate::keys::{CopyOptions, push_no_such_key};
use crate::keyspace::hash_tag;
use crate::request::{self, Op, REJECTED_CHANGED, REJECTED_EXISTS};
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
}

impl Session<'_> {
    pub(super) fn keys_command(&mut self, which: Keys, command: &Command, arguments: Arguments<'_>) -> Step {
        self.flush()?;
        match which {
            Keys::MSet | Keys::MSetNx if arguments.len().is_multiple_of(2) => self.fail(&wrong_arity(command.name)),
            Keys::MSet => self.mset(arguments),
            Keys::MSetNx => self.msetnx(arguments),
            Keys::Rename => {
                self.move_key(arguments, Move { keep_source: false, only_if_absent: false, answers_ok: true })
            }
            Keys::RenameNx => {
                self.move_key(arguments, Move { keep_source: false, only_if_absent: true, answers_ok: false })
            }
            Keys::Copy => match CopyOptions::parse(arguments.from(3)) {
                Err(text) => self.fail(text),
                Ok(options) => {
                    let how = Move { keep_source: true, only_if_absent: !options.replace, answers_ok: false };
                    self.move_key(arguments, how);
                }
            },
        }
        self.write_out(WRITE_BYTES)
    }

    /// Pairs by the partition that owns them, as requests of `op`.
    fn pairs_by_partition(&self, op: Op, arguments: Arguments<'_>) -> BTreeMap<u32, Vec<u8>> {
        let mut requests = BTreeMap::new();
        for at in (1..arguments.len() - 1).step_by(2) {
            let partition = self.router.locate(hash_tag(arguments.at(at))).id;
            let request = requests.entry(partition).or_insert_with(|| request::begin(op, self.resp3, false, 64));
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
            let conditions = |partition: u32| -> Vec<(&[u8], u64)> {
                let keys = (1..arguments.len() - 1).step_by(2).map(|at| arguments.at(at));
                keys.filter(|key| self.router.locate(hash_tag(key)).id == partition).map(|key| (key, 0)).collect()
            };
            for (partition, request) in &mut requests {
                *request = request::encode_batch(&conditions(*partition), &[&request]);
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

    /// RENAME, RENAMENX and COPY.
    fn move_key(&mut self, arguments: Arguments<'_>, how: Move) {
        let (from, to) = (arguments.at(1), arguments.at(2));
        let (from_place, to_place) = (self.router.locate(hash_tag(from)).id, self.router.locate(hash_tag(to)).id);
        if from_place == to_place {
            let request = move_request(how, self.resp3, from, to);
            match self.router.call(&RoutedCall::to_partition(from_place, request, Mode::Write)) {
                Ok(reply) => self.out.extend_from_slice(&reply),
                Err(error) => push_error(&mut self.out, &call_error(&error)),
            }
            return;
        }
        for _ in 0..MOVE_ATTEMPTS {
            match self.try_move((from, from_place), (to, to_place), how) {
                Ok(Some(_)) if how.answers_ok => return push_simple(&mut self.out, "OK"),
                Ok(Some(moved)) => return push_integer(&mut self.out, i64::from(moved)),
                Ok(None) if how.keep_source => return push_integer(&mut self.out, 0),
                Ok(None) => return push_no_such_key(&mut self.out),
                Err(CallError::Rejected(why)) if why == REJECTED_CHANGED => {}
                Err(error) => return push_error(&mut self.out, &transaction_error(&error)),
            }
        }
        push_error(&mut self.out, "TRYAGAIN The key kept changing while it was being moved: try again");
    }

    /// Read the source, then in one transaction put it at the target and remove it, if neither has changed. None without a
    /// source, false if the target is in the way.
    fn try_move(&self, from: (&[u8], u32), to: (&[u8], u32), how: Move) -> Result<Option<bool>, CallError> {
        let read = |op, key| RoutedCall::to_partition(from.1, request::encode(op, false, [key]), Mode::Read);
        let row = self.router.call(&read(Op::Dump, from.0))?;
        if row.is_empty() {
            return Ok(None);
        }
        let Some(version) = row.get(11..19).and_then(|version| version.try_into().ok()).map(u64::from_le_bytes) else {
            return Err(CallError::Failed("the key's row is damaged".to_owned()));
        };
        let deletion = request::encode(Op::Del, false, [from.0]);
        let removal = request::encode_batch(
            &[(from.0, version)],
            if how.keep_source { &[][..] } else { std::slice::from_ref(&deletion) },
        );
        let condition = [(to.0, 0)];
        let arrival = request::encode_batch(
            if how.only_if_absent { &condition[..] } else { &[] },
            &[request::encode(Op::Restore, false, [to.0, &row])],
        );
        let calls = [
            RoutedCall::to_partition(from.1, removal, Mode::Write),
            RoutedCall::to_partition(to.1, arrival, Mode::Write),
        ];
        match self.router.transact(&calls) {
            Ok(_) => Ok(Some(true)),
            Err(CallError::Rejected(why)) if why == REJECTED_EXISTS => Ok(Some(false)),
            Err(error) => Err(error),
        }
    }
}

fn to_calls(requests: BTreeMap<u32, Vec<u8>>) -> Vec<RoutedCall> {
    requests.into_iter().map(|(partition, request)| RoutedCall::to_partition(partition, request, Mode::Write)).collect()
}

fn move_request(how: Move, resp3: bool, from: &[u8], to: &[u8]) -> Vec<u8> {
    let op = match how {
        Move { keep_source: true, .. } => Op::Copy,
        Move { only_if_absent: true, .. } => Op::RenameNx,
        _ => Op::Rename,
    };
    let mut request = request::encode(op, resp3, [from, to]);
    if op == Op::Copy && !how.only_if_absent {
        push_bytes(&mut request, b"REPLACE");
    }
    request
}

/// The request of such a command when one partition owns all its keys, as within MULTI; the error of its arguments.
pub(super) fn request_on_one_partition(
    which: Keys,
    resp3: bool,
    command: &Command,
    arguments: Arguments<'_>,
) -> Result<Vec<u8>, String> {
    let (op, replace) = match which {
        Keys::MSet | Keys::MSetNx if arguments.len().is_multiple_of(2) => return Err(wrong_arity(command.name)),
        Keys::MSet => (Op::MSet, false),
        Keys::MSetNx => (Op::MSetNx, false),
        Keys::Rename => (Op::Rename, false),
        Keys::RenameNx => (Op::RenameNx, false),
        Keys::Copy => (Op::Copy, CopyOptions::parse(arguments.from(3)).map_err(str::to_owned)?.replace),
    };
    if op != Op::Copy {
        return Ok(whole_request(op, resp3, false, arguments));
    }
    let how = Move { keep_source: true, only_if_absent: !replace, answers_ok: false };
    Ok(move_request(how, resp3, arguments.at(1), arguments.at(2)))
}
