//! The host's side of one TCP connection.
//!
//! Output is gathered and sent when it comes to 64 KiB, before a wait for input, and at the end. While output is stuck because
//! the peer does not take it, input is still read ahead, up to a bound: a client that sends a long pipeline before it reads
//! an answer would otherwise wait for us while we wait for it.
//!
//! Invariant: input read ahead is bounded by [`READ_AHEAD_BYTES_MAX`], output by what one `write` brings over
//! [`OUTPUT_BYTES_MAX`]. After an error every later operation fails.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Output gathered before it is sent.
const OUTPUT_BYTES_MAX: usize = 64 << 10;
/// What one read asks of the system.
const READ_BYTES: usize = 64 << 10;
/// Bytes one `read` answers, at most.
const READ_BYTES_MAX: usize = 1 << 20;
/// Input held while output is stuck.
const READ_AHEAD_BYTES_MAX: usize = 4 << 20;
/// How long the end waits for the peer to take what is left.
const FINISH: Duration = Duration::from_secs(5);

/// Why nothing more goes through a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SocketError {
    /// The peer is gone.
    Closed,
    /// The peer did nothing for the idle limit.
    TimedOut,
    /// The system says so.
    Failed(String),
}

impl From<io::Error> for SocketError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected => SocketError::Closed,
            _ => SocketError::Failed(error.to_string()),
        }
    }
}

pub(crate) struct Socket {
    stream: TcpStream,
    peer: SocketAddr,
    input: BytesMut,
    output: BytesMut,
    ended: bool,
    broken: Option<SocketError>,
    idle: Option<Duration>,
}

impl Socket {
    pub(crate) fn new(stream: TcpStream, idle_ms_max: u64) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let peer = stream.peer_addr()?;
        let idle = (idle_ms_max > 0).then(|| Duration::from_millis(idle_ms_max));
        Ok(Socket { stream, peer, input: BytesMut::new(), output: BytesMut::new(), ended: false, broken: None, idle })
    }

    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// At least one byte, at most `limit`; nothing at the end of the stream.
    pub(crate) async fn read(&mut self, limit: u32) -> Result<Vec<u8>, SocketError> {
        let idle = self.idle;
        let ready = within(idle, self.readable()).await;
        self.note(ready)?;
        let length = self.input.len().min((limit as usize).clamp(1, READ_BYTES_MAX));
        let data = self.input[..length].to_vec();
        self.input.advance(length);
        if self.input.is_empty() && self.input.capacity() > READ_BYTES_MAX {
            self.input = BytesMut::new(); // a burst is over: give its memory back
        }
        Ok(data)
    }

    /// Gathers `data`; sends when it is much.
    pub(crate) async fn write(&mut self, data: &[u8]) -> Result<(), SocketError> {
        self.check()?;
        self.output.extend_from_slice(data);
        if self.output.len() < OUTPUT_BYTES_MAX {
            return Ok(());
        }
        let idle = self.idle;
        let sent = within(idle, self.flush()).await;
        self.note(sent)
    }

    /// Returns once `read` would not wait, at the end of the stream and after an error too. Sends what was gathered first.
    /// Nothing is lost when this is dropped half-way.
    pub(crate) async fn readable(&mut self) -> Result<(), SocketError> {
        self.check()?;
        if !self.output.is_empty() {
            self.flush().await?;
        }
        while self.input.is_empty() && !self.ended {
            self.stream.readable().await?;
            self.try_fill()?;
        }
        Ok(())
    }

    /// Sends everything gathered, reading ahead meanwhile.
    async fn flush(&mut self) -> Result<(), SocketError> {
        while !self.output.is_empty() {
            match self.stream.try_write(&self.output) {
                Ok(0) => return Err(SocketError::Closed),
                Ok(sent) => self.output.advance(sent),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait_writable().await?,
                Err(error) => return Err(error.into()),
            }
        }
        if self.output.capacity() > 16 * OUTPUT_BYTES_MAX {
            self.output = BytesMut::new();
        }
        Ok(())
    }

    async fn wait_writable(&mut self) -> Result<(), SocketError> {
        let ahead = !self.ended && self.input.len() < READ_AHEAD_BYTES_MAX;
        let interest = if ahead { Interest::READABLE | Interest::WRITABLE } else { Interest::WRITABLE };
        let ready = self.stream.ready(interest).await?;
        if ahead && ready.is_readable() {
            self.try_fill()?;
        }
        Ok(())
    }

    /// Takes what the system has, without waiting.
    fn try_fill(&mut self) -> Result<(), SocketError> {
        self.input.reserve(READ_BYTES);
        match self.stream.try_read_buf(&mut self.input) {
            Ok(0) => self.ended = true,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Sends what is left, for a while, and closes.
    pub(crate) async fn finish(&mut self) {
        if self.check().is_ok() {
            // Whoever does not take it is gone, or will not be waited for.
            let _ = timeout(FINISH, self.flush()).await;
        }
        let _ = tokio::io::AsyncWriteExt::shutdown(&mut self.stream).await;
    }

    /// Remembers an error.
    pub(crate) fn note<T>(&mut self, outcome: Result<T, SocketError>) -> Result<T, SocketError> {
        if let Err(error) = &outcome {
            self.broken.get_or_insert_with(|| error.clone());
        }
        outcome
    }

    fn check(&self) -> Result<(), SocketError> {
        self.broken.clone().map_or(Ok(()), Err)
    }
}

async fn within<T>(
    limit: Option<Duration>,
    work: impl Future<Output = Result<T, SocketError>>,
) -> Result<T, SocketError> {
    match limit {
        None => work.await,
        Some(limit) => timeout(limit, work).await.unwrap_or(Err(SocketError::TimedOut)),
    }
}
