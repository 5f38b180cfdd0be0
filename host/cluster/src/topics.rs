//! Published messages: from the leader that got the commit, once, to every node that can be reached, to whoever subscribes there.
//!
//! At most once: nothing is kept, and a subscriber that is [`SUBSCRIPTION_QUEUE`] messages behind loses the next ones.
//! On the wire: `app u32 | topic bytes | message bytes`.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use recoil_base::{AppId, DecodeError, Reader, Writer};
use tokio::sync::mpsc;

use crate::peer::Service;
use crate::peers::Peers;

/// Messages that one subscription holds.
pub const SUBSCRIPTION_QUEUE: usize = 1024;

type Subscribers = HashMap<(AppId, Bytes), Vec<mpsc::Sender<Bytes>>>;

/// The subscriptions of this node, and the way to the others.
#[derive(Clone)]
pub struct Topics {
    peers: Peers,
    subscribers: Arc<Mutex<Subscribers>>,
}

impl Topics {
    /// No subscriptions yet.
    pub fn new(peers: Peers) -> Self {
        Topics { peers, subscribers: Arc::default() }
    }

    /// Messages from now on; dropping the receiver unsubscribes.
    pub fn subscribe(&self, app: AppId, topic: Bytes) -> mpsc::Receiver<Bytes> {
        let (sender, receiver) = mpsc::channel(SUBSCRIPTION_QUEUE);
        let mut subscribers = self.subscribers.lock();
        let list = subscribers.entry((app, topic)).or_default();
        list.retain(|other| !other.is_closed());
        list.push(sender);
        // Topics come and go; empty ones must not stay.
        if subscribers.len().is_power_of_two() {
            subscribers.retain(|_, list| list.iter().any(|other| !other.is_closed()));
        }
        receiver
    }

    /// Sends to all nodes.
    pub fn publish(&self, app: AppId, topic: &Bytes, message: &Bytes) {
        self.deliver(app, topic, message);
        let body = encode(app, topic, message);
        for node in self.peers.known() {
            self.peers.tell(node, Service::Publish, body.clone());
        }
    }

    /// Takes what another node published.
    pub fn receive(&self, body: Bytes) -> Result<(), DecodeError> {
        let (app, topic, message) = decode(body)?;
        self.deliver(app, &topic, &message);
        Ok(())
    }

    fn deliver(&self, app: AppId, topic: &Bytes, message: &Bytes) {
        let mut subscribers = self.subscribers.lock();
        let key = (app, topic.clone());
        if let Some(list) = subscribers.get_mut(&key) {
            list.retain(|subscriber| {
                // Full: this subscriber loses the message. Closed: it is gone.
                !matches!(subscriber.try_send(message.clone()), Err(mpsc::error::TrySendError::Closed(_)))
            });
            if list.is_empty() {
                subscribers.remove(&key);
            }
        }
    }
}

pub(crate) fn encode(app: AppId, topic: &Bytes, message: &Bytes) -> Bytes {
    let mut writer = Writer::with_capacity(12 + topic.len() + message.len());
    writer.u32(app.0).bytes(topic).bytes(message);
    writer.finish()
}

pub(crate) fn decode(body: Bytes) -> Result<(AppId, Bytes, Bytes), DecodeError> {
    let mut reader = Reader::new("published message", body);
    let (app, topic, message) = (AppId(reader.u32()?), reader.bytes()?, reader.bytes()?);
    reader.finish()?;
    Ok((app, topic, message))
}
