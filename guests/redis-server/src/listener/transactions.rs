//! MULTI, EXEC, DISCARD, WATCH, UNWATCH.
//!
//! EXEC gathers the commands of each partition into a batch. One partition runs its batch as one call; several are one
//! `transact`, all or nothing, which the router makes within one Raft group (keys with one hash tag always are). WATCH
//! remembers the version of a key; EXEC sends the versions along as conditions of the batches, so the check and the
//! commands are one transaction. An error *reply* of a command does not roll the others back, as in Redis.
//!
//! Invariant: EXEC answers replies only if everything was committed, and nothing if a watched key has changed. A key
//! counts as unchanged if it was absent when watched and is absent again.

use std::collections::BTreeMap;

use recoil_sdk::encoding::{Reader, push_bytes};
use recoil_sdk::{CallError, Mode, RoutedCall};

use super::keys::{request_on_one_partition, target_database};
use super::pipeline::{Combine, Combined, whole_request};
use super::scripts::{ANYWHERE, Invocation};
use super::{Session, Step, WRITE_BYTES, call_error, crossslot, transaction_error};
use crate::command::{Command, Keys as KeysCommand, PUBSUB, Run, Script, Session as SessionCommand, Transaction};
use crate::keys::parse_database;
use crate::request::{self, Batch, Op, REJECTED_CHANGED, REJECTED_EXISTS};
use crate::resp::{Arguments, COMMAND_BYTES_MAX, OwnedArguments, push_array, push_error, push_null_array, push_simple};

/// Commands that wait for EXEC.
#[derive(Default)]
pub(super) struct Queue {
    commands: Vec<(&'static Command, OwnedArguments)>,
    bytes: usize,
    spoiled: bool,
}

/// What a queued command costs beside its arguments.
const QUEUED_BYTES: usize = 64;

impl Queue {
    /// EXEC will refuse, because a command could not be queued.
    pub(super) fn spoil(&mut self) {
        self.spoiled = true;
    }
}

/// A key that WATCH has seen.
pub(super) struct Watched {
    database: u8,
    key: Vec<u8>,
    version: u64,
}

/// What a queued command waits for.
enum Planned {
    /// Nothing: its arguments are wrong, and this is its reply.
    Error(String),
    /// Nothing: it is run when its turn comes.
    Session(SessionCommand, OwnedArguments),
    /// Nothing: UNWATCH within MULTI.
    Ok,
    /// As many parts, whose replies make one.
    Parts(usize, Option<Combine>),
}

/// A request for the owner of a key.
struct Part {
    partition: u32,
    request: Vec<u8>,
    writes: bool,
}

/// A partition's share of a transaction.
#[derive(Default)]
struct Share {
    batch: Batch,
    /// The parts that the requests are of.
    parts: Vec<usize>,
}

impl Session<'_> {
    /// Between MULTI and EXEC: queue a command. False if it is one that runs at once.
    pub(super) fn enqueue(&mut self, command: &'static Command, arguments: Arguments<'_>) -> bool {
        match command.run {
            Run::Transaction(Transaction::Unwatch) => {}
            Run::Transaction(_) | Run::Session(SessionCommand::Quit | SessionCommand::Reset) => return false,
            Run::Cluster(_) | Run::Subscription(_) | Run::Script(Script::Texts | Script::Function) => {
                self.fail(&format!("ERR {} is not supported inside MULTI", command.name.to_ascii_uppercase()));
                return true;
            }
            _ => {}
        }
        let Some(queue) = &mut self.queue else { return false };
        queue.bytes += arguments.bytes() + QUEUED_BYTES;
        if queue.bytes > COMMAND_BYTES_MAX {
            queue.commands.clear();
            self.fail(&format!("ERR the commands of a transaction may come to {COMMAND_BYTES_MAX} bytes at most"));
            return true;
        }
        queue.commands.push((command, OwnedArguments::copy(arguments)));
        push_simple(self.reply(), "QUEUED");
        true
    }

    pub(super) fn transaction_command(&mut self, which: Transaction, arguments: Arguments<'_>) -> Step {
        match which {
            // These two, unlike other errors, do not spoil the transaction.
            Transaction::Multi if self.queue.is_some() => push_error(self.reply(), "ERR MULTI calls can not be nested"),
            Transaction::Multi => {
                self.queue = Some(Queue::default());
                push_simple(self.reply(), "OK");
            }
            Transaction::Discard if self.queue.is_none() => self.fail("ERR DISCARD without MULTI"),
            Transaction::Discard => {
                self.end_transaction();
                push_simple(self.reply(), "OK");
            }
            Transaction::Watch if self.queue.is_some() => {
                push_error(self.reply(), "ERR WATCH inside MULTI is not allowed")
            }
            Transaction::Watch => return self.watch(arguments),
            Transaction::Unwatch => {
                self.watched.clear();
                push_simple(self.reply(), "OK");
            }
            Transaction::Exec => return self.exec(),
        }
        Ok(())
    }

    /// Forget what was queued and watched.
    pub(super) fn end_transaction(&mut self) {
        self.queue = None;
        self.watched.clear();
    }

    fn watch(&mut self, arguments: Arguments<'_>) -> Step {
        self.flush()?;
        let keys: Vec<&[u8]> = arguments.from(1).filter(|key| !self.watches(key)).collect();
        let held: usize = self.watched.iter().map(|watched| watched.key.len() + QUEUED_BYTES).sum();
        if held + keys.iter().map(|key| key.len() + QUEUED_BYTES).sum::<usize>() > COMMAND_BYTES_MAX {
            self.fail(&format!("ERR the keys of WATCH may come to {COMMAND_BYTES_MAX} bytes at most"));
            return Ok(());
        }
        let (style, database) = (self.style().internal(), self.database);
        let calls: Vec<_> = keys
            .iter()
            .map(|key| {
                let request = request::encode(Op::Version, style, [*key]);
                RoutedCall { to: self.address_of(key), request, mode: Mode::Read }
            })
            .collect();
        let mut seen = Vec::with_capacity(keys.len());
        for (key, answer) in keys.iter().zip(self.router.call_many(&calls)) {
            match answer.map(|version| version.try_into().map(u64::from_le_bytes)) {
                Ok(Ok(version)) => seen.push(Watched { database, key: key.to_vec(), version }),
                Ok(Err(_)) => {
                    self.fail("ERR a partition answered something that is not a version");
                    return Ok(());
                }
                Err(error) => {
                    self.answer_error(&call_error(&error));
                    return Ok(());
                }
            }
        }
        self.watched.append(&mut seen);
        push_simple(&mut self.out, "OK");
        Ok(())
    }

    fn watches(&self, key: &[u8]) -> bool {
        self.watched.iter().any(|watched| watched.database == self.database && watched.key == key)
    }

    fn exec(&mut self) -> Step {
        let Some(queue) = self.queue.take() else {
            self.fail("ERR EXEC without MULTI");
            return Ok(());
        };
        let watched = std::mem::take(&mut self.watched);
        self.flush()?;
        if queue.spoiled {
            push_error(&mut self.out, "EXECABORT Transaction discarded because of previous errors.");
            return Ok(());
        }
        let mut parts = Vec::new();
        let mut planned = Vec::with_capacity(queue.commands.len());
        // SELECT takes effect for the commands behind it, and for the session once the transaction is done.
        let database = self.database;
        for (command, arguments) in queue.commands {
            match self.plan(command, arguments, &mut parts) {
                Ok(plan) => planned.push(plan),
                // As in Redis, wrong arguments are that command's own affair.
                Err(text) if is_own_error(&text) => planned.push(Planned::Error(text)),
                Err(text) => {
                    self.database = database;
                    self.answer_error(&text);
                    return Ok(());
                }
            }
        }
        self.database = database;
        place_anywhere(&mut parts, watched.first().map(|watched| self.place_in(watched.database, &watched.key)));
        match self.run_transaction(watched, parts) {
            Ok(replies) => self.push_results(planned, replies),
            Err(CallError::Rejected(why)) if why == REJECTED_CHANGED || why == REJECTED_EXISTS => {
                push_null_array(&mut self.out, self.resp3);
            }
            Err(error) => self.answer_error(&transaction_error(&error)),
        }
        self.write_out(WRITE_BYTES)
    }

    /// The parts of a command, each for one partition.
    fn plan(
        &mut self,
        command: &'static Command,
        arguments: OwnedArguments,
        parts: &mut Vec<Part>,
    ) -> Result<Planned, String> {
        let borrowed = arguments.borrow();
        let (style, place) = (self.style(), |key: &[u8]| self.place(key));
        let writes = command.writes();
        Ok(match command.run {
            Run::Partition(op) => {
                let key = borrowed.at(usize::from(command.keys.0.max(1).unsigned_abs()));
                // A message may come from any partition.
                let partition = if command.flags & PUBSUB == 0 { place(key) } else { ANYWHERE };
                parts.push(Part { partition, request: whole_request(op, style, false, borrowed), writes });
                Planned::Parts(1, None)
            }
            Run::Together(op) => {
                let places = command.key_places(borrowed.len(), |at| borrowed.at(at));
                let address = self.common_address(borrowed, &places).ok_or_else(|| crossslot(command.name))?;
                let request = whole_request(op, style, false, borrowed);
                parts.push(Part { partition: self.partition_at(&address), request, writes });
                Planned::Parts(1, None)
            }
            Run::Blocking(which) => {
                let (partition, request) = self.request_without_waiting(which, command.name, borrowed)?;
                parts.push(Part { partition, request, writes });
                Planned::Parts(1, None)
            }
            Run::SumOverKeys(op) | Run::ArrayOverKeys(op) => {
                for key in borrowed.from(1) {
                    parts.push(Part { partition: place(key), request: request::encode(op, style, [key]), writes });
                }
                let combine = if matches!(command.run, Run::SumOverKeys(_)) { Combine::Sum } else { Combine::Array };
                Planned::Parts(borrowed.len() - 1, Some(combine))
            }
            Run::Keys(which) => {
                let request = request_on_one_partition(which, style, command, borrowed)?;
                let key_places = command.key_places(borrowed.len(), |at| borrowed.at(at));
                let target = target_database(which, borrowed)?.unwrap_or(self.database);
                let last = key_places.last().map_or(0, |at| self.place_in(target, borrowed.at(*at)));
                let mut places = key_places.iter().map(|at| place(borrowed.at(*at)));
                let first = places.next().unwrap_or(0);
                let in_one_place = match which {
                    KeysCommand::Copy | KeysCommand::Move => first == last,
                    _ => places.all(|other| other == first),
                };
                if in_one_place {
                    parts.push(Part { partition: first, request, writes });
                    Planned::Parts(1, None)
                } else if which == KeysCommand::MSet {
                    // The transaction around it makes it atomic.
                    for at in key_places {
                        let mut request = request::begin(Op::MSet, style, false, 64);
                        push_bytes(&mut request, borrowed.at(at));
                        push_bytes(&mut request, borrowed.at(at + 1));
                        parts.push(Part { partition: place(borrowed.at(at)), request, writes });
                    }
                    Planned::Parts(borrowed.len() / 2, Some(Combine::First))
                } else {
                    return Err(format!(
                        "CROSSSLOT Keys in request don't hash to the same slot: inside MULTI, name the keys of {} with one \
                         hash tag, as in {{user1}}:a and {{user1}}:b",
                        command.name.to_ascii_uppercase()
                    ));
                }
            }
            Run::Session(which) => {
                if which == SessionCommand::Select
                    && let Ok(database) = parse_database(borrowed.at(1))
                {
                    self.database = database;
                }
                Planned::Session(which, arguments)
            }
            Run::Script(which) => {
                let Invocation { partition, request, mode } =
                    self.invocation_in_transaction(which, command, borrowed)?;
                parts.push(Part { partition, request, writes: mode == Mode::Write });
                Planned::Parts(1, None)
            }
            Run::Cluster(_) | Run::Transaction(_) | Run::Subscription(_) => Planned::Ok,
        })
    }

    /// Run all parts as one transaction, under the condition that nothing watched has changed. Answers the parts' replies.
    fn run_transaction(&self, watched: Vec<Watched>, parts: Vec<Part>) -> Result<Vec<Vec<u8>>, CallError> {
        let mut shares: BTreeMap<u32, Share> = BTreeMap::new();
        for Watched { database, key, version } in watched {
            let share = shares.entry(self.place_in(database, &key)).or_default();
            share.batch.expect(self.scope_of(database), &key, version);
        }
        let mut replies = vec![Vec::new(); parts.len()];
        let writes = parts.iter().any(|part| part.writes);
        for (at, part) in parts.into_iter().enumerate() {
            let share = shares.entry(part.partition).or_default();
            share.batch.requests.push(part.request);
            share.parts.push(at);
        }
        let alone = shares.len() == 1;
        let mode = if writes || !alone { Mode::Write } else { Mode::Read };
        let answers = self.with_approval(|approved| {
            let calls: Vec<_> = shares
                .iter()
                .map(|(partition, share)| {
                    RoutedCall::to_partition(*partition, approved.wrap(*partition, share.batch.encode()), mode)
                })
                .collect();
            match &calls[..] {
                [] => Ok(Vec::new()),
                [call] => Ok(vec![self.router.call(call)?]),
                calls => self.router.transact(calls),
            }
        })?;
        for (share, answer) in shares.values().zip(&answers) {
            let mut answer = Reader::new(answer);
            for part in &share.parts {
                let reply = answer.bytes().map_err(|error| CallError::Failed(format!("a damaged answer: {error}")))?;
                replies[*part] = reply.to_vec();
            }
        }
        Ok(replies)
    }

    fn push_results(&mut self, planned: Vec<Planned>, replies: Vec<Vec<u8>>) {
        push_array(&mut self.out, planned.len());
        let mut replies = replies.into_iter();
        for plan in planned {
            match plan {
                Planned::Error(text) => push_error(&mut self.out, &text),
                Planned::Ok => push_simple(&mut self.out, "OK"),
                Planned::Session(which, arguments) => self.session_command(which, arguments.borrow()),
                Planned::Parts(count, None) => {
                    replies.by_ref().take(count).for_each(|reply| self.out.extend_from_slice(&reply))
                }
                Planned::Parts(count, Some(combine)) => {
                    let start = self.out.len();
                    let mut combined = Combined::new(combine, count, &mut self.out);
                    replies.by_ref().take(count).for_each(|reply| combined.add(Ok(reply), &mut self.out));
                    combined.finish(start, &mut self.out);
                }
            }
        }
    }
}

/// True for the error of a command's arguments, which spoils no other command.
fn is_own_error(text: &str) -> bool {
    ["ERR ", "NOSCRIPT "].iter().any(|code| text.starts_with(code))
}

/// Scripts that name no key, and messages, run where the first command does that has a place, or where the first watched key is.
fn place_anywhere(parts: &mut [Part], watched: Option<u32>) {
    let place = parts.iter().map(|part| part.partition).find(|place| *place != ANYWHERE).or(watched).unwrap_or(0);
    parts.iter_mut().filter(|part| part.partition == ANYWHERE).for_each(|part| part.partition = place);
}
