//! SUBSCRIBE, PSUBSCRIBE, SSUBSCRIBE and their opposites. Publishing is in [`crate::pubsub`].
//!
//! Invariant: messages of a channel arrive in the order in which they were published, at most once: a subscriber that
//! reads too slowly, or whose node is cut off, loses some. A connection with patterns keeps the lease of patterns alive on every
//! partition, as long as it reads commands or waits.

use recoil_sdk::encoding::Reader;
use recoil_sdk::{Event, Mode, Subscription as Topic};

use super::waiting::now;
use super::{Session, Step, WRITE_BYTES, call_error};
use crate::command::Subscription;
use crate::glob;
use crate::pubsub::{RENEW_MS, TOPIC_OF_ALL, shard_topic};
use crate::request::{self, Op, Style};
use crate::resp::{Arguments, push_bulk, push_integer, push_null, push_push};

/// Channels that one connection may listen to, and patterns; the host allows an instance 1,024 subscriptions.
const CHANNELS_MAX: usize = 1000;
/// Messages of one channel that are taken before the others get their turn.
const MESSAGES_AT_ONCE: usize = 128;
/// How long to wait for input or a message before looking again; nothing depends on it but the lease of patterns.
const WAIT_MS: u32 = 60_000;

/// What a connection listens to.
#[derive(Default)]
pub(super) struct Channels {
    plain: Vec<(Vec<u8>, Topic)>,
    shard: Vec<(Vec<u8>, Topic)>,
    patterns: Vec<Vec<u8>>,
    /// What all channels are sent, and when its lease was renewed: while there are patterns.
    all: Option<(Topic, std::time::Instant)>,
}

/// A kind of subscription.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Shard,
    Pattern,
}

impl Kind {
    /// What its commands and messages begin with.
    fn prefix(self) -> &'static str {
        match self {
            Kind::Plain => "",
            Kind::Shard => "s",
            Kind::Pattern => "p",
        }
    }
}

impl Channels {
    pub(super) fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.shard.is_empty() && self.patterns.is_empty()
    }

    /// Channels, patterns and shard channels.
    pub(super) fn counts(&self) -> [usize; 3] {
        [self.plain.len(), self.patterns.len(), self.shard.len()]
    }

    pub(super) fn clear(&mut self) {
        *self = Channels::default();
    }

    /// The number that a change is answered with.
    fn count(&self, kind: Kind) -> usize {
        if kind == Kind::Shard { self.shard.len() } else { self.plain.len() + self.patterns.len() }
    }

    fn contains(&self, kind: Kind, name: &[u8]) -> bool {
        match kind {
            Kind::Plain => self.plain.iter().any(|(other, _)| other == name),
            Kind::Shard => self.shard.iter().any(|(other, _)| other == name),
            Kind::Pattern => self.patterns.iter().any(|other| other == name),
        }
    }

    fn names(&self, kind: Kind) -> Vec<Vec<u8>> {
        match kind {
            Kind::Plain => self.plain.iter().map(|(name, _)| name.clone()).collect(),
            Kind::Shard => self.shard.iter().map(|(name, _)| name.clone()).collect(),
            Kind::Pattern => self.patterns.clone(),
        }
    }

    fn remove(&mut self, kind: Kind, name: &[u8]) {
        match kind {
            Kind::Plain => self.plain.retain(|(other, _)| other != name),
            Kind::Shard => self.shard.retain(|(other, _)| other != name),
            Kind::Pattern => self.patterns.retain(|other| other != name),
        }
        if self.patterns.is_empty() {
            self.all = None;
        }
    }
}

impl Session<'_> {
    pub(super) fn subscription_command(&mut self, which: Subscription, arguments: Arguments<'_>) -> Step {
        self.flush()?;
        match which {
            Subscription::Subscribe => arguments.from(1).for_each(|name| self.subscribe(Kind::Plain, name)),
            Subscription::SSubscribe => arguments.from(1).for_each(|name| self.subscribe(Kind::Shard, name)),
            Subscription::PSubscribe => arguments.from(1).for_each(|name| self.subscribe(Kind::Pattern, name)),
            Subscription::Unsubscribe => self.unsubscribe(Kind::Plain, arguments),
            Subscription::SUnsubscribe => self.unsubscribe(Kind::Shard, arguments),
            Subscription::PUnsubscribe => self.unsubscribe(Kind::Pattern, arguments),
        }
        self.write_out(WRITE_BYTES)
    }

    fn subscribe(&mut self, kind: Kind, name: &[u8]) {
        if !self.channels.contains(kind, name) {
            let [plain, patterns, shard] = self.channels.counts();
            if plain + patterns + shard >= CHANNELS_MAX {
                return self.fail(&format!("ERR a connection may subscribe to {CHANNELS_MAX} channels at most"));
            }
            match kind {
                Kind::Plain => self.channels.plain.push((name.to_vec(), self.router.subscribe(name))),
                Kind::Shard => self.channels.shard.push((name.to_vec(), self.router.subscribe(&shard_topic(name)))),
                Kind::Pattern => {
                    if self.channels.all.is_none() {
                        // In this order, so that nothing is missed that is published once this is answered.
                        let topic = self.router.subscribe(TOPIC_OF_ALL);
                        if let Err(text) = self.lease_patterns() {
                            return self.fail(&text);
                        }
                        self.channels.all = Some((topic, now()));
                    }
                    self.channels.patterns.push(name.to_vec());
                }
            }
        }
        let count = self.channels.count(kind);
        push_change(&mut self.out, self.resp3, (kind, "subscribe"), Some(name), count);
    }

    fn unsubscribe(&mut self, kind: Kind, arguments: Arguments<'_>) {
        let mut names: Vec<Vec<u8>> = arguments.from(1).map(<[u8]>::to_vec).collect();
        if names.is_empty() {
            names = self.channels.names(kind);
        }
        if names.is_empty() {
            let count = self.channels.count(kind);
            return push_change(&mut self.out, self.resp3, (kind, "unsubscribe"), None, count);
        }
        for name in names {
            self.channels.remove(kind, &name);
            let count = self.channels.count(kind);
            push_change(&mut self.out, self.resp3, (kind, "unsubscribe"), Some(&name), count);
        }
    }

    /// Tell every partition that somebody listens to patterns.
    fn lease_patterns(&self) -> Result<(), String> {
        let request = request::begin(Op::Patterns, Style::INTERNAL, false, 0);
        for answer in self.router.scatter(&request, Mode::Write) {
            answer.map_err(|error| call_error(&error))?;
        }
        Ok(())
    }

    /// Keep the lease of patterns alive. What fails is tried again soon: the lease lasts for some attempts.
    pub(super) fn renew_patterns(&mut self) {
        let due = |(_, renewed): &(Topic, std::time::Instant)| renewed.elapsed().as_millis() as u64 >= RENEW_MS;
        if self.channels.all.as_ref().is_some_and(due)
            && self.lease_patterns().is_ok()
            && let Some((_, renewed)) = &mut self.channels.all
        {
            *renewed = now();
        }
    }

    /// Wait until there is input. False if there may be none yet, but messages have been written meanwhile.
    pub(super) fn wait_for_input(&mut self) -> Result<bool, recoil_sdk::ConnectionError> {
        if self.channels.is_empty() {
            return Ok(true); // reading waits by itself
        }
        self.renew_patterns();
        let channels = &self.channels;
        let mut topics: Vec<&Topic> = channels.plain.iter().chain(&channels.shard).map(|(_, topic)| topic).collect();
        topics.extend(channels.all.as_ref().map(|(topic, _)| topic));
        let wait_ms = if channels.all.is_some() { RENEW_MS as u32 } else { WAIT_MS };
        match self.connection.wait_any(&topics, wait_ms) {
            Some(Event::Readable) => return Ok(true),
            Some(Event::Message(at)) => self.push_messages(at as usize),
            None => {}
        }
        Ok(false)
    }

    /// Messages of the topic at a place: of a channel, a shard channel, or all.
    fn push_messages(&mut self, at: usize) {
        let Channels { plain, shard, patterns, all } = &self.channels;
        let (kind, name, topic) = if let Some((name, topic)) = plain.get(at) {
            (Kind::Plain, &name[..], topic)
        } else if let Some((name, topic)) = shard.get(at - plain.len()) {
            (Kind::Shard, &name[..], topic)
        } else if let Some((topic, _)) = all {
            (Kind::Pattern, &b""[..], topic)
        } else {
            return;
        };
        for _ in 0..MESSAGES_AT_ONCE {
            let Some(message) = topic.next(0) else { break };
            if kind == Kind::Pattern {
                push_matches(&mut self.out, self.resp3, patterns, &message);
            } else {
                push_push(&mut self.out, self.resp3, 3);
                push_bulk(&mut self.out, format!("{}message", kind.prefix()).as_bytes());
                push_bulk(&mut self.out, name);
                push_bulk(&mut self.out, &message);
            }
            if self.out.len() > WRITE_BYTES {
                break;
            }
        }
    }
}

/// A message with the name of its channel before it, once for each pattern that matches.
fn push_matches(out: &mut Vec<u8>, resp3: bool, patterns: &[Vec<u8>], framed: &[u8]) {
    let mut reader = Reader::new(framed);
    // Whatever else a client publishes under the name of this topic is no message.
    let Ok(channel) = reader.bytes() else { return };
    let Ok(message) = reader.raw(reader.remaining()) else { return };
    for pattern in patterns.iter().filter(|pattern| glob::matches(pattern, channel)) {
        push_push(out, resp3, 4);
        push_bulk(out, b"pmessage");
        push_bulk(out, pattern);
        push_bulk(out, channel);
        push_bulk(out, message);
    }
}

fn push_change(out: &mut Vec<u8>, resp3: bool, (kind, what): (Kind, &str), name: Option<&[u8]>, count: usize) {
    push_push(out, resp3, 3);
    push_bulk(out, format!("{}{what}", kind.prefix()).as_bytes());
    match name {
        Some(name) => push_bulk(out, name),
        None => push_null(out, resp3),
    }
    push_integer(out, count as i64);
}
