//! Blocking commands: the listener's half. The other, with what is kept where, is [`crate::blocking`].
//!
//! XREAD and XREADGROUP that are not asked to wait are calls like others. With BLOCK they look at all streams first, wherever
//! they are, and only wait if none has anything; what several partitions deliver at the same moment makes one reply.
//!
//! A command asks the partitions of its keys, in their order, and registers on those that have nothing. Then the session
//! waits for a message, for input, or for a second, and asks again. One partition may serve it while another does, too: the
//! first answer is the reply, and the others are told to give back what they have. CLIENT UNBLOCK is absent.
//!
//! Invariant: when the command ends, however it ends, the connection is registered nowhere; if the node is lost first,
//! leases end. No command meets what an earlier one of the connection has left. What arrives while it waits is kept for the parser, up to [`INPUT_BYTES_MAX`], beyond which the connection is
//! not read until the command ends.

use recoil_sdk::encoding::{Reader, push_bytes};
use recoil_sdk::{CallError, Event, Mode, RoutedCall};

use super::{READ_BYTES_MAX, Session, Step, WRITE_BYTES, call_error, crossslot};
use crate::blocking::{Blocking, Parsed, Take, WAIT, topic};
use crate::command::Command;
use crate::keyspace::Failure;
use crate::request::{self, Op, Style, push_number};
use crate::resp::{Arguments, push_error};
use crate::streams::read::merge;

/// How long a waiting command goes without asking.
const ASK_MS: u64 = 1_000;
/// What is read of the next commands while one waits.
const INPUT_BYTES_MAX: usize = 1 << 20;

/// A command that waits.
struct Wait<'k> {
    take: Take,
    /// The keys of each partition, in the order of the first of them.
    places: Vec<(u32, Vec<&'k [u8]>)>,
    connection: u64,
    style: Style,
}

impl Wait<'_> {
    fn request(&self, may_wait: bool, bounded: bool, keys: &[&[u8]]) -> Vec<u8> {
        let mut request = request::begin(Op::Block, self.style, bounded, 64);
        push_number(&mut request, self.connection);
        push_number(&mut request, u64::from(may_wait));
        let mut take = Vec::new();
        self.take.encode(&mut take);
        push_bytes(&mut request, &take);
        keys.iter().for_each(|key| push_bytes(&mut request, key));
        request
    }

    fn is_read(&self) -> bool {
        matches!(self.take, Take::Read(_))
    }

    fn unblock(&self, partition: u32, give_back: bool) -> RoutedCall {
        let mut request = request::begin(Op::Unblock, self.style, false, 20);
        push_number(&mut request, self.connection);
        push_number(&mut request, u64::from(give_back));
        RoutedCall::to_partition(partition, request, Mode::Write)
    }
}

#[allow(clippy::disallowed_methods)] // a listener has no other clock than the one that WASI gives it
pub(super) fn now() -> std::time::Instant {
    std::time::Instant::now()
}

/// The text of a failure that needed no partition.
fn text_of(failure: Failure) -> String {
    match failure {
        Failure::Reply(text) => text.into_owned(),
        Failure::Abort(error) => error.message().to_owned(),
    }
}

impl Session<'_> {
    /// The command, and how long it waits: none if it was not asked to, 0 for ever.
    fn parse_wait<'k>(
        &self,
        which: Blocking,
        name: &str,
        arguments: Arguments<'k>,
    ) -> Result<(Wait<'k>, Option<u64>), String> {
        let words: Vec<&[u8]> = arguments.from(1).collect();
        let parsed = Parsed::parse(which, &words).map_err(text_of)?;
        let timeout_ms = parsed.waits.then_some(parsed.timeout_ms);
        let place = |key: &[u8]| self.place(key);
        let mut places: Vec<(u32, Vec<&[u8]>)> = Vec::new();
        for key in parsed.keys {
            let partition = place(key);
            match places.iter_mut().find(|(other, _)| *other == partition) {
                Some((_, keys)) => keys.push(key),
                None => places.push((partition, vec![key])),
            }
        }
        if let Take::Move { to, .. } = &parsed.take
            && places.iter().any(|(partition, _)| *partition != place(to))
        {
            return Err(crossslot(name));
        }
        let wait = Wait { take: parsed.take, places, connection: self.waiting_id, style: self.style() };
        Ok((wait, timeout_ms))
    }

    /// The request of such a command within MULTI, where it does not wait, and the partition of all its keys.
    pub(super) fn request_without_waiting(
        &self,
        which: Blocking,
        name: &str,
        arguments: Arguments<'_>,
    ) -> Result<(u32, Vec<u8>), String> {
        let (wait, _) = self.parse_wait(which, name, arguments)?;
        match &wait.places[..] {
            [(partition, keys)] => Ok((*partition, wait.request(false, false, keys))),
            _ => Err(crossslot(name)),
        }
    }

    pub(super) fn blocking_command(&mut self, which: Blocking, command: &Command, arguments: Arguments<'_>) -> Step {
        // Each command waits under a number of its own: what an earlier one could not cancel is none of its business.
        self.waiting_id = self.waiting_id.wrapping_add(1);
        let (wait, timeout_ms) = match self.parse_wait(which, command.name, arguments) {
            Ok(parsed) => parsed,
            Err(text) => {
                push_error(self.reply(), &text);
                return Ok(());
            }
        };
        if timeout_ms.is_none()
            && let [(_, keys)] = &wait.places[..]
        {
            return self.read_in_pipeline(&wait, keys, command.writes());
        }
        self.flush_out()?;
        let nothing = wait.take.clone();
        let reply = match timeout_ms {
            Some(timeout_ms) if !wait.is_read() || wait.places.len() == 1 => self.wait(wait, timeout_ms),
            timeout_ms => match (self.read_each(&wait), timeout_ms) {
                (Ok(None), Some(timeout_ms)) => self.wait(wait, timeout_ms),
                (reply, _) => reply,
            },
        };
        match reply {
            Ok(Some(reply)) => self.out.extend_from_slice(&reply),
            Ok(None) => nothing.push_nothing(&mut self.out, self.resp3),
            Err(text) => self.answer_error(&text),
        }
        self.write_out(WRITE_BYTES)
    }

    /// Read the streams of one partition.
    fn read_in_pipeline(&mut self, wait: &Wait<'_>, keys: &[&[u8]], writes: bool) -> Step {
        let request = wait.request(false, !writes, keys);
        let to = self.address_of(keys.first().copied().unwrap_or_default());
        let mode = if writes { Mode::Write } else { Mode::Read };
        self.one_of_keys(RoutedCall { to, request, mode }, keys)
    }

    /// Read streams of several partitions, each by itself; none if there is nothing. They are in the order of the command.
    fn read_each(&mut self, wait: &Wait<'_>) -> Result<Option<Vec<u8>>, String> {
        let Take::Read(read) = &wait.take else { return Ok(None) };
        let mode = if read.is_for_group() { Mode::Write } else { Mode::Read };
        let mut calls = Vec::new();
        for key in read.keys() {
            let partition = self.place(key);
            calls.push(RoutedCall::to_partition(partition, wait.request(false, false, &[key]), mode));
        }
        let mut replies = Vec::with_capacity(calls.len());
        for answer in self.router.call_many(&calls) {
            replies.push(answer.map_err(|error| call_error(&error))?);
        }
        Ok(merge(replies, self.resp3))
    }

    /// Wait for the reply; none when the time is over or the client has gone.
    fn wait(&mut self, mut wait: Wait<'_>, timeout_ms: u64) -> Result<Option<Vec<u8>>, String> {
        // Before anything is registered, so that no message is missed.
        let messages = self.router.subscribe(&topic(wait.connection));
        let mut left_ms = if timeout_ms == 0 { u64::MAX } else { timeout_ms };
        let (mut registered, mut gone) = (0, false);
        loop {
            for number in 0..wait.places.len() {
                let (partition, keys) = &wait.places[number];
                let call = RoutedCall::to_partition(*partition, wait.request(true, false, keys), Mode::Write);
                registered = registered.max(number + 1);
                match self.router.call(&call) {
                    Ok(answer) if answer.first() == Some(&WAIT) => {
                        if let Ok(take) = Take::decode(&mut Reader::new(&answer[1..])) {
                            wait.take = take;
                        }
                    }
                    Ok(reply) => {
                        let others = wait.places[..registered].iter().filter(|(other, _)| other != partition);
                        let calls: Vec<_> = others.map(|(other, _)| wait.unblock(*other, !wait.is_read())).collect();
                        let answers = self.router.call_many(&calls);
                        if !wait.is_read() {
                            return Ok(Some(reply));
                        }
                        // What was delivered for a group has been delivered: it goes along.
                        let others = answers.into_iter().flatten();
                        return Ok(merge(std::iter::once(reply).chain(others).collect(), self.resp3));
                    }
                    // A leader that is being replaced must not end a command that waits for ever.
                    Err(CallError::Unavailable(_) | CallError::Conflict) if left_ms > ASK_MS => {}
                    Err(error) => {
                        self.give_up(&wait, registered, true);
                        return Err(call_error(&error));
                    }
                }
            }
            if left_ms == 0 || gone {
                return Ok(self.give_up(&wait, registered, gone));
            }
            self.renew_patterns();
            let (slice_ms, started) = (left_ms.min(ASK_MS), now());
            // Readiness is announced again and again until it is read: with enough read, only messages count.
            let event = if self.input.len() < INPUT_BYTES_MAX {
                self.connection.wait_any(&[&messages], slice_ms as u32)
            } else {
                messages.next(slice_ms as u32).map(|_| Event::Message(0))
            };
            match event {
                Some(Event::Readable) => gone = !self.read_ahead(),
                Some(Event::Message(_)) => while messages.next(0).is_some() {},
                None => {}
            }
            if timeout_ms > 0 {
                let waited_ms = if event.is_none() { slice_ms } else { started.elapsed().as_millis() as u64 };
                left_ms = left_ms.saturating_sub(waited_ms);
            }
        }
    }

    /// Keep what the client sends meanwhile. False if it has gone.
    fn read_ahead(&mut self) -> bool {
        let input = self.connection.read(READ_BYTES_MAX).unwrap_or_default();
        self.input.extend_from_slice(&input);
        !input.is_empty()
    }

    /// Register nowhere any more. What has come meanwhile is the reply, once, or goes back.
    fn give_up(&self, wait: &Wait<'_>, registered: usize, give_back: bool) -> Option<Vec<u8>> {
        if wait.is_read() {
            let unblock = |(partition, _): &(u32, Vec<&[u8]>)| wait.unblock(*partition, give_back);
            let calls: Vec<_> = wait.places[..registered].iter().map(unblock).collect();
            let answers = self.router.call_many(&calls).into_iter().flatten();
            return merge(answers.collect(), self.resp3);
        }
        let mut reply: Option<Vec<u8>> = None;
        for (partition, _) in &wait.places[..registered] {
            let answer = self.router.call(&wait.unblock(*partition, give_back || reply.is_some()));
            reply = reply.or(answer.ok().filter(|answer| !answer.is_empty()));
        }
        reply
    }
}
