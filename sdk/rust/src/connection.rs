//! A client's connection to a [`crate::Listener`].

pub use crate::bindings::platform::recoil::plugin::tcp::{Error as ConnectionError, Event};
use crate::router::Subscription;

/// A stream of bytes with a client at its other end.
pub trait Connection {
    /// Address and port of the client, as `127.0.0.1:50312` or `[::1]:50312`.
    fn peer_address(&self) -> String;
    /// Waits for at least one byte, returns at most `limit` (and at most 1 MiB); an empty vector is the end of the stream.
    fn read(&mut self, limit: u32) -> Result<Vec<u8>, ConnectionError>;
    /// Waits until the host has buffered the bytes, not until they are sent. What is buffered is sent before the next
    /// `read` or `wait_any` waits.
    fn write(&mut self, data: &[u8]) -> Result<(), ConnectionError>;
    /// Wait for input or for a message, whichever is first; none on timeout. The end of the stream is readable. A message
    /// is only announced, by its place in `subscriptions`; [`Subscription::next`] takes it.
    fn wait_any(&mut self, subscriptions: &[&Subscription], timeout_ms: u32) -> Option<Event>;
}
