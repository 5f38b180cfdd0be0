//! Frames on their way out of one stream.
//!
//! Requests that find no room fail at once, answers wait for it, and of what needs no answer much less may wait than of the rest. Bounded
//! by bytes: those queued, and for each answer that is on its way into the queue at the same moment, one frame more.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use tokio::sync::{Notify, mpsc};

use super::{ONE_WAY, PIECE, QUEUED_ONE_WAY_BYTES_MAX, Service};
use crate::peers::SendsPieces;

/// A frame that is to be sent.
pub(crate) struct Outgoing {
    pub(crate) kind: u8,
    pub(crate) id: u64,
    pub(crate) service: Option<Service>,
    pub(crate) body: Bytes,
}

impl Outgoing {
    pub(super) fn size(&self) -> usize {
        14 + self.body.len()
    }
    pub(crate) fn write(&self, buffer: &mut BytesMut) {
        let length = 9 + usize::from(self.service.is_some()) + self.body.len();
        buffer.extend_from_slice(&(length as u32).to_le_bytes());
        buffer.extend_from_slice(&[self.kind]);
        buffer.extend_from_slice(&self.id.to_le_bytes());
        if let Some(service) = self.service {
            buffer.extend_from_slice(&[service as u8]);
        }
        buffer.extend_from_slice(&self.body);
    }
}

#[derive(Clone)]
pub(super) struct Queue {
    sender: mpsc::UnboundedSender<Outgoing>,
    bytes: Arc<AtomicUsize>,
    bytes_max: usize,
    /// Some of what was queued has left, or the stream has ended.
    room: Arc<Notify>,
}

/// What a stream takes from its queue. Whoever waits for room learns of its end.
pub(super) struct Queued {
    pub(super) receiver: mpsc::UnboundedReceiver<Outgoing>,
    bytes: Arc<AtomicUsize>,
    room: Arc<Notify>,
}

impl Queued {
    pub(super) fn sent(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.room.notify_waiters();
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.receiver.close();
        self.room.notify_waiters();
    }
}

impl Queue {
    pub(super) fn new(bytes_max: usize) -> (Self, Queued) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let queue = Queue { sender, bytes: Arc::default(), bytes_max, room: Arc::default() };
        let queued = Queued { receiver, bytes: queue.bytes.clone(), room: queue.room.clone() };
        (queue, queued)
    }

    /// Queues an answer, once there is room for it. Dropped if the stream has ended.
    pub(super) async fn push_answer(&self, frame: Outgoing) {
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            if self.sender.is_closed() {
                return;
            }
            if self.bytes.load(Ordering::Relaxed) <= self.bytes_max {
                // Others may be here too, each with a piece: the bound is exceeded by no more than those.
                self.bytes.fetch_add(frame.size(), Ordering::Relaxed);
                let _ = self.sender.send(frame);
                return;
            }
            room.await;
        }
    }
    pub(super) fn push(&self, frame: Outgoing) -> bool {
        let size = frame.size();
        let bytes_max =
            if frame.kind == ONE_WAY { self.bytes_max.min(QUEUED_ONE_WAY_BYTES_MAX) } else { self.bytes_max };
        if self.bytes.fetch_add(size, Ordering::Relaxed) > bytes_max {
            self.bytes.fetch_sub(size, Ordering::Relaxed);
            return false;
        }
        self.sender.send(frame).is_ok()
    }
}

impl SendsPieces for Queue {
    fn send_piece(&self, id: u64, body: Bytes) -> BoxFuture<'static, ()> {
        let queue = self.clone();
        Box::pin(async move { queue.push_answer(Outgoing { kind: PIECE, id, service: None, body }).await })
    }
}
