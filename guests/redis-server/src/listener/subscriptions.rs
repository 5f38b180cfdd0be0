//! SUBSCRIBE and UNSUBSCRIBE. PUBLISH is a call to the partition of the channel, whose handler publishes; see
//! [`crate::executor`].
//!
//! Invariant: messages of a channel arrive in the order in which they were published, at most once: a subscriber that
//! reads too slowly, or whose node is cut off, loses some. Patterns are refused: topics of the router have no patterns.

use recoil_sdk::{Event, Subscription as Topic};

use super::{Session, Step, WRITE_BYTES};
use crate::command::Subscription;
use crate::numbers::push_u64;
use crate::resp::{Arguments, push_bulk, push_null, push_push};

/// Channels that one connection may listen to; the host allows an instance 1,024 subscriptions.
const CHANNELS_MAX: usize = 1000;
/// Messages of one channel that are taken before the others get their turn.
const MESSAGES_AT_ONCE: usize = 128;
/// How long to wait for input or a message before looking again; nothing depends on it.
const WAIT_MS: u32 = 60_000;

/// The channels that a connection listens to.
#[derive(Default)]
pub(super) struct Channels(Vec<(Vec<u8>, Topic)>);

impl Channels {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

impl Session<'_> {
    pub(super) fn subscription_command(&mut self, which: Subscription, arguments: Arguments<'_>) -> Step {
        self.flush()?;
        match which {
            Subscription::Subscribe => arguments.from(1).for_each(|channel| self.subscribe(channel)),
            Subscription::Unsubscribe => self.unsubscribe(arguments),
            Subscription::PSubscribe => {
                self.fail("ERR PSUBSCRIBE is not supported: subscribe to channels by their names");
            }
            Subscription::PUnsubscribe => {
                let count = self.channels.len();
                push_change(&mut self.out, self.resp3, "punsubscribe", None, count);
            }
        }
        self.write_out(WRITE_BYTES)
    }

    fn subscribe(&mut self, channel: &[u8]) {
        if !self.channels.0.iter().any(|(name, _)| name == channel) {
            if self.channels.len() == CHANNELS_MAX {
                return self.fail(&format!("ERR a connection may subscribe to {CHANNELS_MAX} channels at most"));
            }
            self.channels.0.push((channel.to_vec(), self.router.subscribe(channel)));
        }
        push_change(&mut self.out, self.resp3, "subscribe", Some(channel), self.channels.len());
    }

    fn unsubscribe(&mut self, arguments: Arguments<'_>) {
        let mut channels: Vec<Vec<u8>> = arguments.from(1).map(<[u8]>::to_vec).collect();
        if channels.is_empty() {
            channels = self.channels.0.iter().map(|(name, _)| name.clone()).collect();
        }
        if channels.is_empty() {
            return push_change(&mut self.out, self.resp3, "unsubscribe", None, 0);
        }
        for channel in channels {
            self.channels.0.retain(|(name, _)| *name != channel);
            push_change(&mut self.out, self.resp3, "unsubscribe", Some(&channel), self.channels.len());
        }
    }

    /// Wait until there is input. False if there may be none yet, but messages have been written meanwhile.
    pub(super) fn wait_for_input(&mut self) -> Result<bool, recoil_sdk::ConnectionError> {
        if self.channels.is_empty() {
            return Ok(true); // reading waits by itself
        }
        let topics: Vec<&Topic> = self.channels.0.iter().map(|(_, topic)| topic).collect();
        match self.connection.wait_any(&topics, WAIT_MS) {
            Some(Event::Readable) => return Ok(true),
            Some(Event::Message(at)) => {
                let Some((name, topic)) = self.channels.0.get(at as usize) else { return Ok(false) };
                for _ in 0..MESSAGES_AT_ONCE {
                    let Some(message) = topic.next(0) else { break };
                    push_push(&mut self.out, self.resp3, 3);
                    push_bulk(&mut self.out, b"message");
                    push_bulk(&mut self.out, name);
                    push_bulk(&mut self.out, &message);
                    if self.out.len() > WRITE_BYTES {
                        break;
                    }
                }
            }
            None => {}
        }
        Ok(false)
    }
}

fn push_change(out: &mut Vec<u8>, resp3: bool, what: &str, channel: Option<&[u8]>, count: usize) {
    push_push(out, resp3, 3);
    push_bulk(out, what.as_bytes());
    match channel {
        Some(channel) => push_bulk(out, channel),
        None => push_null(out, resp3),
    }
    out.push(b':');
    push_u64(out, count as u64);
    out.extend_from_slice(b"\r\n");
}
