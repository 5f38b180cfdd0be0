//! Calls that have been parsed and not yet made, and how their answers become replies.
//!
//! A pipeline of commands becomes one crossing to the host, `call_many`, whose calls run on their partitions at the same
//! time; those to one partition keep their order. Invariant: what the answers to one crossing come to is bounded, by the
//! weight each call is given: a read promises not to answer more than [`BOUNDED_REPLY_BYTES_MAX`] and is asked again,
//! alone, if it would have to. In between, no write of this connection may have changed what it reads, so a write to a key
//! that such a read of the same crossing may have been for goes into the next crossing ([`ReadKeys`]).

use recoil_sdk::encoding::push_bytes;
use recoil_sdk::{Address, CallError, Mode, RoutedCall};

use super::places::wanted_routing;
use super::scripts::{Invocation, ScriptRun};
use super::{REPLY_BYTES_MAX, Session, Step, WRITE_BYTES, call_error, crossslot};
use crate::command::{Command, LARGE_REPLY, PUBSUB};
use crate::keyspace::databases::ROUTING_CHANGED;
use crate::keyspace::hash_tag;
use crate::numbers::parse_i64;
use crate::request::{self, ASK_ALONE, BOUNDED_REPLY_BYTES_MAX, Op, Routing, Style};
use crate::resp::{Arguments, push_array, push_error, push_integer};

/// Calls in one crossing.
const CALLS_MAX: usize = 1024;
/// Bytes of requests in one crossing, but for one large request.
const REQUEST_BYTES_MAX: usize = 4 << 20;
/// What the answers of one crossing may come to: 1,024 bounded ones, or two values.
const ANSWER_WEIGHT_MAX: usize = CALLS_MAX * BOUNDED_REPLY_BYTES_MAX;
/// What a call that answers a value, and cannot be asked again, may answer.
const LARGE_WEIGHT: usize = 8 << 20;

/// How the replies to a command's calls become its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Combine {
    /// Integers, added.
    Sum,
    /// An array of them.
    Array,
    /// Any of them, since all are the same unless one is an error.
    First,
}

enum Slot {
    /// A reply that is there already.
    Text(Vec<u8>),
    /// The reply to the next call.
    One,
    /// The reply to the next call, of a script.
    Script(ScriptRun),
    /// The replies to the next calls, as many as said.
    Many(usize, Combine),
}

/// Calls waiting to be made.
#[derive(Default)]
pub(super) struct Pipeline {
    calls: Vec<RoutedCall>,
    slots: Vec<Slot>,
    request_bytes: usize,
    answer_weight: usize,
    read: ReadKeys,
    /// Partitions whose last call here is a script's.
    sealed: Vec<u32>,
}

impl Pipeline {
    /// Where a reply goes that is known now; none if nothing waits, and it may go straight out.
    pub(super) fn text(&mut self) -> Option<&mut Vec<u8>> {
        if self.slots.is_empty() {
            return None;
        }
        if !matches!(self.slots.last(), Some(Slot::Text(_))) {
            self.slots.push(Slot::Text(Vec::new()));
        }
        match self.slots.last_mut() {
            Some(Slot::Text(text)) => Some(text),
            _ => None,
        }
    }

    fn has_room(&self, calls: usize, request_bytes: usize, answer_weight: usize) -> bool {
        self.calls.is_empty()
            || (self.calls.len() + calls <= CALLS_MAX
                && self.request_bytes + request_bytes <= REQUEST_BYTES_MAX
                && self.answer_weight + answer_weight <= ANSWER_WEIGHT_MAX)
    }
}

/// Keys that reads of a crossing are for: a filter that may say yes for others too.
#[derive(Default)]
struct ReadKeys {
    bits: [u64; 16],
    any: bool,
}

impl ReadKeys {
    fn place(key: &[u8]) -> (usize, u64) {
        let hash = key
            .iter()
            .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
        ((hash >> 60) as usize, 1 << (hash >> 54 & 63))
    }
    fn insert(&mut self, key: &[u8]) {
        let (word, bit) = ReadKeys::place(key);
        self.bits[word] |= bit;
        self.any = true;
    }
    fn may_contain(&self, key: &[u8]) -> bool {
        let (word, bit) = ReadKeys::place(key);
        self.any && self.bits[word] & bit != 0
    }
}

/// What such a request comes to, at most.
fn request_bytes(arguments: Arguments<'_>) -> usize {
    arguments.bytes() + 4 * arguments.len()
}

/// A request of a command, all of whose arguments go along.
pub(super) fn whole_request(op: Op, style: Style, bounded: bool, arguments: Arguments<'_>) -> Vec<u8> {
    let mut request = request::begin(op, style, bounded, request_bytes(arguments));
    arguments.from(1).for_each(|argument| push_bytes(&mut request, argument));
    request
}

/// True if the reply may be a value, and is bounded by asking.
fn is_bounded_read(command: &Command, op: Op) -> bool {
    matches!(op, Op::Get | Op::GetOrNull | Op::GetRange) || (op.is_on_collections() && !command.writes())
}

/// What answers to a command may come to.
fn weight(command: &Command, op: Op, arguments: Arguments<'_>) -> usize {
    let large = command.flags & LARGE_REPLY != 0 || (op == Op::Set && arguments.len() > 3);
    if large { LARGE_WEIGHT } else { BOUNDED_REPLY_BYTES_MAX }
}

impl Session<'_> {
    /// A command on the partition of its key.
    pub(super) fn one(&mut self, command: &Command, op: Op, arguments: Arguments<'_>) -> Step {
        let key = arguments.at(usize::from(command.keys.0.max(1).unsigned_abs()));
        let bounded = is_bounded_read(command, op);
        let weight = weight(command, op, arguments);
        self.make_room(1, request_bytes(arguments), weight, command.writes().then_some(key))?;
        self.unseal(|session| session.partition_at(&session.address_of(key)))?;
        // Only now, since making room may have taught the session another rule for keys.
        let request = whole_request(op, self.style(), bounded, arguments);
        if bounded {
            self.pipeline.read.insert(key);
        }
        let mode = if command.writes() { Mode::Write } else { Mode::Read };
        // Messages of a channel come from one partition, whatever database publishes them.
        let to = match command.flags & PUBSUB {
            0 => self.address_of(key),
            _ => Address::Key(hash_tag(key).to_vec()),
        };
        self.push_call(RoutedCall { to, request, mode }, weight);
        self.pipeline.slots.push(Slot::One);
        Ok(())
    }

    /// A call for several keys of one partition, whose answer is the reply. A read is bounded.
    pub(super) fn one_of_keys(&mut self, call: RoutedCall, keys: &[&[u8]]) -> Step {
        let writes = matches!(call.mode, Mode::Write);
        if writes && keys.iter().any(|key| self.pipeline.read.may_contain(key)) {
            self.flush()?;
        }
        let weight = if writes { LARGE_WEIGHT } else { BOUNDED_REPLY_BYTES_MAX };
        self.make_room(1, call.request.len(), weight, None)?;
        self.unseal(|session| session.partition_at(&call.to))?;
        if !writes {
            keys.iter().for_each(|key| self.pipeline.read.insert(key));
        }
        self.push_call(call, weight);
        self.pipeline.slots.push(Slot::One);
        Ok(())
    }

    /// A command on the one partition that owns all of its keys.
    pub(super) fn together(&mut self, command: &Command, op: Op, arguments: Arguments<'_>) -> Step {
        let places = command.key_places(arguments.len(), |at| arguments.at(at));
        let keys = || places.iter().map(|place| arguments.at(*place));
        let bounded = is_bounded_read(command, op);
        let weight = weight(command, op, arguments);
        let must_wait = command.writes() && keys().any(|key| self.pipeline.read.may_contain(key));
        if must_wait {
            self.flush()?;
        }
        self.make_room(1, request_bytes(arguments), weight, None)?;
        self.unseal(|session| {
            let to = session.common_address(arguments, &places);
            to.map_or(0, |to| session.partition_at(&to))
        })?;
        let Some(to) = self.common_address(arguments, &places) else {
            self.fail(&crossslot(command.name));
            return Ok(());
        };
        let request = whole_request(op, self.style(), bounded, arguments);
        if bounded {
            keys().for_each(|key| self.pipeline.read.insert(key));
        }
        let mode = if command.writes() { Mode::Write } else { Mode::Read };
        self.push_call(RoutedCall { to, request, mode }, weight);
        self.pipeline.slots.push(Slot::One);
        Ok(())
    }

    /// A command that is one call for each of its keys.
    pub(super) fn each(&mut self, command: &Command, op: Op, arguments: Arguments<'_>, combine: Combine) -> Step {
        let mode = if command.writes() { Mode::Write } else { Mode::Read };
        let count = arguments.len() - 1;
        if count > CALLS_MAX {
            return self.each_of_many(command, op, arguments, combine);
        }
        let bounded = is_bounded_read(command, op);
        self.make_room(count, arguments.bytes() + 4 * count, count * BOUNDED_REPLY_BYTES_MAX, None)?;
        let must_wait = command.writes() && arguments.from(1).any(|key| self.pipeline.read.may_contain(key));
        if must_wait || !self.pipeline.sealed.is_empty() {
            self.flush()?;
        }
        for key in arguments.from(1) {
            if bounded {
                self.pipeline.read.insert(key);
            }
            let call = self.key_call(op, mode, bounded, key);
            self.push_call(call, BOUNDED_REPLY_BYTES_MAX);
        }
        self.pipeline.slots.push(Slot::Many(count, combine));
        Ok(())
    }

    /// The same for more keys than one crossing takes.
    fn each_of_many(&mut self, command: &Command, op: Op, arguments: Arguments<'_>, combine: Combine) -> Step {
        self.flush()?;
        let mode = if command.writes() { Mode::Write } else { Mode::Read };
        let bounded = is_bounded_read(command, op);
        let start = self.out.len();
        let mut combined = Combined::new(combine, arguments.len() - 1, &mut self.out);
        let mut keys = arguments.from(1);
        loop {
            let calls: Vec<_> =
                keys.by_ref().take(CALLS_MAX).map(|key| self.key_call(op, mode, bounded, key)).collect();
            if calls.is_empty() {
                break;
            }
            for (call, answer) in calls.iter().zip(self.router.call_many(&calls)) {
                let answer = if is_ask_alone(&answer) { self.router.call(&alone(call)) } else { answer };
                combined.add(answer, &mut self.out);
            }
        }
        combined.finish(start, &mut self.out);
        self.write_out(WRITE_BYTES)
    }

    /// Empty the pipeline if what comes would not fit, or must not meet it.
    fn make_room(&mut self, calls: usize, request_bytes: usize, weight: usize, written: Option<&[u8]>) -> Step {
        let must_wait = written.is_some_and(|key| self.pipeline.read.may_contain(key));
        if must_wait || !self.pipeline.has_room(calls, request_bytes, weight) { self.flush() } else { Ok(()) }
    }

    /// A script, whose call may have to be made again: nothing follows it to its partition in this crossing.
    pub(super) fn push_script(&mut self, call: RoutedCall, run: ScriptRun) -> Step {
        // What it writes is not known, so reads that may be asked again must have been answered.
        if self.pipeline.read.any && matches!(call.mode, Mode::Write) {
            self.flush()?;
        }
        self.make_room(1, call.request.len(), BOUNDED_REPLY_BYTES_MAX, None)?;
        let partition = self.partition_at(&call.to);
        self.unseal(|_| partition)?;
        self.push_call(call, BOUNDED_REPLY_BYTES_MAX);
        self.pipeline.sealed.push(partition);
        self.pipeline.slots.push(Slot::Script(run));
        Ok(())
    }

    /// Empty the pipeline if a script is the last call to this partition.
    fn unseal(&mut self, partition: impl Fn(&Self) -> u32) -> Step {
        let sealed = &self.pipeline.sealed;
        if sealed.is_empty() || !sealed.contains(&partition(self)) { Ok(()) } else { self.flush() }
    }

    fn push_call(&mut self, call: RoutedCall, weight: usize) {
        self.pipeline.request_bytes += call.request.len();
        self.pipeline.answer_weight += weight;
        self.pipeline.calls.push(call);
    }

    fn push_script_reply(&mut self, call: &RoutedCall, run: &ScriptRun, answer: Result<Vec<u8>, CallError>) {
        let partition = self.partition_at(&call.to);
        let invocation = Invocation { partition, request: call.request.clone(), mode: call.mode };
        match self.finish_script(invocation, run, answer) {
            Ok(reply) => self.out.extend_from_slice(&reply),
            Err(text) => self.answer_error(&text),
        }
    }

    /// Partitions have another rule for keys than calls were made by, and have not evaluated those: learn it, and make them again.
    fn route_again(&mut self, calls: &mut [RoutedCall], answers: &mut [Result<Vec<u8>, CallError>]) {
        self.routing_is_known = false;
        let is_stale = |call: &RoutedCall| request::scope_of(&call.request).routing == Routing::Key;
        // What was made by the right rule may have been behind what was not.
        let all_stale = calls.iter().all(is_stale);
        let resolved = wanted_routing().and_then(|wanted| self.resolve_routing(wanted));
        // Where keys were is in their calls no more if the rule was by database.
        if !all_stale || resolved.is_err() || self.routing != Routing::Database {
            return;
        }
        let rejected: Vec<usize> = (0..calls.len()).filter(|at| is_routing_changed(&answers[*at])).collect();
        for at in &rejected {
            let scope = self.scope_of(request::scope_of(&calls[*at].request).database);
            let request = request::rescoped(&calls[*at].request, scope);
            calls[*at] = RoutedCall::to_partition(self.place_in(scope.database, b""), request, calls[*at].mode);
        }
        let again: Vec<_> = rejected.iter().map(|at| calls[*at].clone()).collect();
        for (at, answer) in rejected.into_iter().zip(self.router.call_many(&again)) {
            answers[at] = answer;
        }
    }

    fn key_call(&self, op: Op, mode: Mode, bounded: bool, key: &[u8]) -> RoutedCall {
        let mut request = request::begin(op, self.style(), bounded, key.len() + 3);
        push_bytes(&mut request, key);
        RoutedCall { to: self.address_of(key), request, mode }
    }

    /// Make the calls that wait, and write their replies in order.
    pub(super) fn flush(&mut self) -> Step {
        if self.pipeline.slots.is_empty() {
            return Ok(());
        }
        let mut pipeline = std::mem::take(&mut self.pipeline);
        let mut answers = self.router.call_many(&pipeline.calls);
        if answers.iter().any(is_routing_changed) {
            self.route_again(&mut pipeline.calls, &mut answers);
        } else {
            // Good enough: a partition that has another rule will say so.
            self.routing_is_known = true;
        }
        let mut answers = pipeline.calls.iter().zip(answers);
        for slot in pipeline.slots.drain(..) {
            match slot {
                Slot::Text(text) => self.out.extend_from_slice(&text),
                Slot::One => match answers.next() {
                    Some((call, answer)) if is_ask_alone(&answer) => {
                        let answer = self.router.call(&alone(call));
                        push_answer(&mut self.out, answer);
                    }
                    Some((_, answer)) => push_answer(&mut self.out, answer),
                    None => {}
                },
                Slot::Script(run) => {
                    if let Some((call, answer)) = answers.next() {
                        self.push_script_reply(call, &run, answer);
                    }
                }
                Slot::Many(count, combine) => {
                    let start = self.out.len();
                    let mut combined = Combined::new(combine, count, &mut self.out);
                    for (call, answer) in answers.by_ref().take(count) {
                        let answer = if is_ask_alone(&answer) { self.router.call(&alone(call)) } else { answer };
                        combined.add(answer, &mut self.out);
                    }
                    combined.finish(start, &mut self.out);
                }
            }
            self.write_out(WRITE_BYTES)?;
        }
        drop(answers);
        // The vectors are kept for the next pipeline.
        pipeline.calls.clear();
        self.pipeline = Pipeline { calls: pipeline.calls, slots: pipeline.slots, ..Pipeline::default() };
        Ok(())
    }
}

fn is_routing_changed(answer: &Result<Vec<u8>, CallError>) -> bool {
    matches!(answer, Err(CallError::Rejected(why)) if why == ROUTING_CHANGED)
}

fn is_ask_alone(answer: &Result<Vec<u8>, CallError>) -> bool {
    matches!(answer.as_deref(), Ok([ASK_ALONE]))
}

/// The same call without a bound on its reply.
fn alone(call: &RoutedCall) -> RoutedCall {
    let mut call = call.clone();
    request::unbound(&mut call.request);
    call
}

fn push_answer(out: &mut Vec<u8>, answer: Result<Vec<u8>, CallError>) {
    match answer {
        Ok(reply) => out.extend_from_slice(&reply),
        Err(error) => push_error(out, &call_error(&error)),
    }
}

/// The reply to several calls, while it comes together.
pub(super) struct Combined {
    combine: Combine,
    sum: i64,
    bytes: usize,
    any: bool,
    error: Option<Vec<u8>>,
}

impl Combined {
    /// The reply to `count` calls, which will be at the end of `out`.
    pub(super) fn new(combine: Combine, count: usize, out: &mut Vec<u8>) -> Self {
        if combine == Combine::Array {
            push_array(out, count);
        }
        Combined { combine, sum: 0, bytes: 0, any: false, error: None }
    }

    /// The answer to the next call.
    pub(super) fn add(&mut self, answer: Result<Vec<u8>, CallError>, out: &mut Vec<u8>) {
        if self.error.is_some() {
            return;
        }
        let reply = match answer {
            Ok(reply) => reply,
            Err(error) => return self.fail(&call_error(&error)),
        };
        if reply.first() == Some(&b'-') {
            self.error = Some(reply);
            return;
        }
        match self.combine {
            Combine::Sum => {
                match reply.strip_prefix(b":").and_then(|reply| reply.strip_suffix(b"\r\n")).and_then(parse_i64) {
                    Some(number) => self.sum += number,
                    None => self.fail("ERR a partition answered something that is not a number"),
                }
            }
            Combine::Array => {
                self.bytes += reply.len();
                if self.bytes > REPLY_BYTES_MAX {
                    self.fail(&format!(
                        "ERR the reply would be above {REPLY_BYTES_MAX} bytes: ask for fewer keys at a time"
                    ));
                } else {
                    out.extend_from_slice(&reply);
                }
            }
            Combine::First if self.any => {}
            Combine::First => out.extend_from_slice(&reply),
        }
        self.any = true;
    }

    fn fail(&mut self, text: &str) {
        let mut error = Vec::new();
        push_error(&mut error, text);
        self.error = Some(error);
    }

    /// Complete the reply, which began at `start`: one error makes it that error.
    pub(super) fn finish(self, start: usize, out: &mut Vec<u8>) {
        match self.error {
            Some(error) => {
                out.truncate(start);
                out.extend_from_slice(&error);
            }
            None if self.combine == Combine::Sum => push_integer(out, self.sum),
            None => {}
        }
    }
}
