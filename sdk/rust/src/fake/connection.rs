//! A client that has already said everything it will say.

use std::collections::VecDeque;

use crate::connection::{Connection, ConnectionError, Event};
use crate::router::{Subscription, SubscriptionKind};

/// A connection whose input is given beforehand, chunk by chunk, and whose output is kept. After the last chunk comes
/// the end of the stream.
#[derive(Debug, Default)]
pub struct FakeConnection {
    input: VecDeque<Vec<u8>>,
    output: Vec<u8>,
    writes: usize,
}

impl FakeConnection {
    /// A client that sends `chunks`, each of which one `read` returns (if its limit allows).
    pub fn new<C: AsRef<[u8]>>(chunks: impl IntoIterator<Item = C>) -> Self {
        let input = chunks.into_iter().map(|chunk| chunk.as_ref().to_vec()).filter(|chunk| !chunk.is_empty()).collect();
        FakeConnection { input, output: Vec::new(), writes: 0 }
    }

    /// Everything written so far.
    pub fn output(&self) -> &[u8] {
        &self.output
    }

    /// How often `write` was called.
    pub fn writes(&self) -> usize {
        self.writes
    }
}

impl Connection for FakeConnection {
    fn peer_address(&self) -> String {
        "127.0.0.1:50312".to_owned()
    }

    fn read(&mut self, limit: u32) -> Result<Vec<u8>, ConnectionError> {
        let Some(mut chunk) = self.input.pop_front() else { return Ok(Vec::new()) };
        if chunk.len() > limit as usize {
            self.input.push_front(chunk.split_off(limit as usize));
        }
        Ok(chunk)
    }

    fn write(&mut self, data: &[u8]) -> Result<(), ConnectionError> {
        self.output.extend_from_slice(data);
        self.writes += 1;
        Ok(())
    }

    fn wait_any(&mut self, subscriptions: &[&Subscription], _timeout_ms: u32) -> Option<Event> {
        let waiting = subscriptions.iter().position(|subscription| match &subscription.0 {
            SubscriptionKind::Fake(queue) => !queue.borrow().is_empty(),
            SubscriptionKind::Host(_) => panic!("the host's subscription on a fake connection"),
        });
        Some(waiting.map_or(Event::Readable, |at| Event::Message(at as u32)))
    }
}
