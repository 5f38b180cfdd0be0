//! Published messages: from the leader that got the commit, once, to every node that can be reached, to whoever subscribes there.
//!
//! At most once: nothing is kept, a subscriber that is [`SUBSCRIPTION_QUEUE`] messages behind loses the next ones, and so does a node for
//! which too much waits to be sent. The messages of one call travel together: one by one, a call that publishes thousands would
//! hold up everything else that the nodes have to say to each other.
//!
//! Messages are data of their app: those of an app whose keyspace has a rule go to the nodes that it allows, and to no others.
//!
//! On the wire: `app u32 | (topic bytes | message bytes)*`.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use recoil_base::{AppId, DecodeError, NodeId, Reader, Writer};
use tokio::sync::mpsc;

use crate::peer::Service;
use crate::peers::Peers;

/// Messages that one subscription holds.
pub const SUBSCRIPTION_QUEUE: usize = 1024;
/// Messages travel together up to this size.
const BATCH_BYTES: usize = 64 << 10;

/// By topic.
type Subscribers = HashMap<Bytes, Vec<mpsc::Sender<Bytes>>>;

/// A topic and a message.
pub type Message = (Bytes, Bytes);

/// The subscriptions of this node, and the way to the others.
#[derive(Clone)]
pub struct Topics {
    peers: Peers,
    /// Of apps that have any.
    subscribers: Arc<Mutex<HashMap<AppId, Subscribers>>>,
    /// Of apps that not every node may run: those that may.
    fences: Arc<Mutex<HashMap<AppId, BTreeSet<NodeId>>>>,
}

impl Topics {
    /// No subscriptions yet.
    pub fn new(peers: Peers) -> Self {
        Topics { peers, subscribers: Arc::default(), fences: Arc::default() }
    }

    /// From now on messages of these apps go to these nodes alone.
    pub fn set_fences(&self, fences: HashMap<AppId, BTreeSet<NodeId>>) {
        *self.fences.lock() = fences;
    }

    /// Messages from now on; dropping the receiver unsubscribes.
    pub fn subscribe(&self, app: AppId, topic: Bytes) -> mpsc::Receiver<Bytes> {
        let (sender, receiver) = mpsc::channel(SUBSCRIPTION_QUEUE);
        let mut subscribers = self.subscribers.lock();
        let topics = subscribers.entry(app).or_default();
        let list = topics.entry(topic).or_default();
        list.retain(|other| !other.is_closed());
        list.push(sender);
        // Topics come and go; empty ones must not stay.
        if topics.len().is_power_of_two() {
            topics.retain(|_, list| list.iter().any(|other| !other.is_closed()));
        }
        receiver
    }

    /// Sends what [`encode`] made of an app's messages to all nodes that may run it.
    pub fn publish(&self, app: AppId, batches: Vec<Bytes>) {
        let others = self.recipients(app, self.peers.known());
        for batch in batches {
            if let Err(error) = self.receive(batch.clone()) {
                tracing::error!(%error, "messages that this node has written cannot be read");
            }
            for node in &others {
                self.peers.tell(*node, Service::Publish, batch.clone());
            }
        }
    }

    /// Those of `known` that may run an app.
    fn recipients(&self, app: AppId, mut known: Vec<NodeId>) -> Vec<NodeId> {
        if let Some(allowed) = self.fences.lock().get(&app) {
            known.retain(|node| allowed.contains(node));
        }
        known
    }

    /// Takes what a node published.
    pub fn receive(&self, batch: Bytes) -> Result<(), DecodeError> {
        let mut reader = Reader::new("published messages", batch);
        let app = AppId(reader.u32()?);
        let mut subscribers = self.subscribers.lock();
        let Some(topics) = subscribers.get_mut(&app) else { return Ok(()) };
        for (topic, message) in messages(&mut reader)? {
            deliver(topics, &topic, &message);
        }
        if topics.is_empty() {
            subscribers.remove(&app);
        }
        Ok(())
    }
}

fn deliver(topics: &mut Subscribers, topic: &Bytes, message: &Bytes) {
    let Some(list) = topics.get_mut(topic) else { return };
    // A copy: what waits must not keep the batch that it came in.
    let message = Bytes::copy_from_slice(message);
    list.retain(|subscriber| {
        // Full: this subscriber loses the message. Closed: it is gone.
        !matches!(subscriber.try_send(message.clone()), Err(mpsc::error::TrySendError::Closed(_)))
    });
    if list.is_empty() {
        topics.remove(topic);
    }
}

/// An app's messages, as few batches as [`BATCH_BYTES`] allows; a larger message is one of its own.
pub(crate) fn encode(app: AppId, messages: &[Message]) -> Vec<Bytes> {
    let mut batches = Vec::new();
    let mut writer = Writer::default();
    for (topic, message) in messages {
        if !writer.is_empty() && writer.len() + topic.len() + message.len() > BATCH_BYTES {
            batches.push(std::mem::take(&mut writer).finish());
        }
        if writer.is_empty() {
            writer.u32(app.0);
        }
        writer.bytes(topic).bytes(message);
    }
    if !writer.is_empty() {
        batches.push(writer.finish());
    }
    batches
}

fn messages(reader: &mut Reader) -> Result<Vec<Message>, DecodeError> {
    let mut messages = Vec::new();
    while reader.remaining() > 0 {
        messages.push((reader.bytes()?, reader.bytes()?));
    }
    Ok(messages)
}

pub(crate) fn decode(batch: Bytes) -> Result<(AppId, Vec<Message>), DecodeError> {
    let mut reader = Reader::new("published messages", batch);
    Ok((AppId(reader.u32()?), messages(&mut reader)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(topic: &'static str, size: usize) -> Message {
        (Bytes::from_static(topic.as_bytes()), vec![7; size].into())
    }

    /// Fails if what an app publishes goes to a node that may not run it, or if another app's does not go to all.
    #[tokio::test(flavor = "multi_thread")]
    async fn messages_go_to_nodes_that_may_run_their_app() {
        let folder = tempfile::tempdir().unwrap();
        let world = crate::evaluate::world::World::new(folder.path()).await;
        let known = [1, 2, 3].map(NodeId).to_vec();
        world.topics.set_fences(HashMap::from([(AppId(7), BTreeSet::from([NodeId(2), NodeId(9)]))]));
        assert_eq!(world.topics.recipients(AppId(7), known.clone()), [NodeId(2)]);
        assert_eq!(world.topics.recipients(AppId(8), known.clone()), known);
        world.topics.set_fences(HashMap::new());
        assert_eq!(world.topics.recipients(AppId(7), known.clone()), known);
        world.stop().await;
    }

    #[test]
    fn messages_travel_together_in_their_order_and_every_cut_is_an_error_or_fewer_messages() {
        let sent: Vec<Message> = (0..10_000).map(|_| message("t", 10)).chain([message("large", 1 << 20)]).collect();
        let batches = encode(AppId(3), &sent);
        assert_eq!(batches.len(), 190_000 / BATCH_BYTES + 2);
        let decoded: Vec<_> = batches.iter().map(|batch| decode(batch.clone()).unwrap()).collect();
        assert!(decoded.iter().all(|(app, _)| *app == AppId(3)));
        assert_eq!(decoded.into_iter().flat_map(|(_, messages)| messages).collect::<Vec<_>>(), sent);
        assert!(encode(AppId(3), &[]).is_empty());
        let batch = encode(AppId(3), &[message("a", 3), message("b", 4)]).remove(0);
        for length in 0..batch.len() {
            let cut = decode(batch.slice(..length));
            assert!(cut.is_err() || [0, 1].contains(&cut.unwrap().1.len()), "{length}");
        }
    }
}
