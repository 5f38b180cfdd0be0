//! Blocking commands: the listener's half. The other, with what is kept where, is [`crate::blocking`].
//!
//! A command asks the partitions of its keys, in their order, and registers on those that have nothing. Then the session
//! waits for a message, for input, or for a second, and asks again. One partition may serve it while another does, too: the
//! first answer is the reply, and the others are told to give back what they have. CLIENT UNBLOCK is absent.
//!
//! Invariant: when the command ends, however it ends, the connection is registered nowhere; if the node is lost first,
//! leases end. No command meets what an earlier one of the connection has left. What arrives while it waits is kept for the parser, up to [`INPUT_BYTES_MAX`], beyond which the connection is
//! not read until the command ends.

use recoil_sdk::encoding::push_bytes;
use recoil_sdk::{CallError, Event, Mode, RoutedCall};

use super::{READ_BYTES_MAX, Session, Step, WRITE_BYTES, call_error, crossslot};
use crate::blocking::{Blocking, Parsed, Take, WAIT, topic};
use crate::command::Command;
use crate::keyspace::{Failure, hash_tag};
use crate::request::{self, Op, push_number};
use crate::resp::{Arguments, push_error};

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
    resp3: bool,
}

impl Wait<'_> {
    fn request(&self, may_wait: bool, keys: &[&[u8]]) -> Vec<u8> {
        let mut request = request::begin(Op::Block, self.resp3, false, 64);
        push_number(&mut request, self.connection);
        push_number(&mut request, u64::from(may_wait));
        let mut take = Vec::new();
        self.take.encode(&mut take);
        push_bytes(&mut request, &take);
        keys.iter().for_each(|key| push_bytes(&mut request, key));
        request
    }

    fn unblock(&self, partition: u32, give_back: bool) -> RoutedCall {
        let mut request = request::begin(Op::Unblock, self.resp3, false, 20);
        push_number(&mut request, self.connection);
        push_number(&mut request, u64::from(give_back));
        RoutedCall::to_partition(partition, request, Mode::Write)
    }
}

#[allow(clippy::disallowed_methods)] // a listener has no other clock than the one that WASI gives it
fn now() -> std::time::Instant {
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
    fn parse_wait<'k>(&self, which: Blocking, name: &str, arguments: Arguments<'k>) -> Result<(Wait<'k>, u64), String> {
        let words: Vec<&[u8]> = arguments.from(1).collect();
        let parsed = Parsed::parse(which, &words).map_err(text_of)?;
        let place = |key: &[u8]| self.router.locate(hash_tag(key)).id;
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
        let wait = Wait { take: parsed.take, places, connection: self.waiting_id, resp3: self.resp3 };
        Ok((wait, parsed.timeout_ms))
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
            [(partition, keys)] => Ok((*partition, wait.request(false, keys))),
            _ => Err(crossslot(name)),
        }
    }

    pub(super) fn blocking_command(&mut self, which: Blocking, command: &Command, arguments: Arguments<'_>) -> Step {
        self.flush_out()?;
        // Each command waits under a number of its own: what an earlier one could not cancel is none of its business.
        self.waiting_id = self.waiting_id.wrapping_add(1);
        let (wait, timeout_ms) = match self.parse_wait(which, command.name, arguments) {
            Ok(parsed) => parsed,
            Err(text) => {
                push_error(&mut self.out, &text);
                return Ok(());
            }
        };
        let reply = self.wait(&wait, timeout_ms);
        match reply {
            Ok(Some(reply)) => self.out.extend_from_slice(&reply),
            Ok(None) => wait.take.push_nothing(&mut self.out, self.resp3),
            Err(text) => push_error(&mut self.out, &text),
        }
        self.write_out(WRITE_BYTES)
    }

    /// Wait for the reply; none when the time is over or the client has gone.
    fn wait(&mut self, wait: &Wait<'_>, timeout_ms: u64) -> Result<Option<Vec<u8>>, String> {
        // Before anything is registered, so that no message is missed.
        let messages = self.router.subscribe(&topic(wait.connection));
        let mut left_ms = if timeout_ms == 0 { u64::MAX } else { timeout_ms };
        let (mut registered, mut gone) = (0, false);
        loop {
            for (number, (partition, keys)) in wait.places.iter().enumerate() {
                let call = RoutedCall::to_partition(*partition, wait.request(true, keys), Mode::Write);
                registered = registered.max(number + 1);
                match self.router.call(&call) {
                    Ok(answer) if answer == [WAIT] => {}
                    Ok(reply) => {
                        let others = wait.places[..registered].iter().filter(|(other, _)| other != partition);
                        let calls: Vec<_> = others.map(|(other, _)| wait.unblock(*other, true)).collect();
                        self.router.call_many(&calls);
                        return Ok(Some(reply));
                    }
                    // A leader that is being replaced must not end a command that waits for ever.
                    Err(CallError::Unavailable(_) | CallError::Conflict) if left_ms > ASK_MS => {}
                    Err(error) => {
                        self.give_up(wait, registered, true);
                        return Err(call_error(&error));
                    }
                }
            }
            if left_ms == 0 || gone {
                return Ok(self.give_up(wait, registered, gone));
            }
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
        let mut reply: Option<Vec<u8>> = None;
        for (partition, _) in &wait.places[..registered] {
            let answer = self.router.call(&wait.unblock(*partition, give_back || reply.is_some()));
            reply = reply.or(answer.ok().filter(|answer| !answer.is_empty()));
        }
        reply
    }
}
