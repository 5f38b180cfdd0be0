//! A client's connection below HTTP: how it ends, and when its client has gone or takes nothing.
//!
//! - **Lingering close** (RFC 9112 §9.6). A socket that is closed while its client still sends is reset, and the reset overtakes the
//!   answer. So the writing side is closed first, and what still comes is discarded, up to [`LINGER_BYTES`] or [`LINGER`].
//! - **A client that takes nothing** of what waits for it, or too little ([`super::pace`]), is let go.
//!
//! Invariant: the time that a connection costs is bounded by these whatever its client does. Deliberately absent: HTTP.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use recoil_base::Clock;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::pace::{LUMP, Spent, WINDOW};

/// How long a client that still sends is listened to after its last answer.
const LINGER: Duration = Duration::from_secs(1);
/// How much of what it sends is discarded.
const LINGER_BYTES: usize = 4 << 20;
/// Read at a time while it is.
const DISCARDED_BYTES: usize = 16 << 10;

/// What HTTP is spoken over.
pub trait Transport: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// The socket, to watch and to reset; none where there is none.
    fn socket(&self) -> Option<Arc<TcpStream>>;
}

/// A TCP connection, watched from outside while HTTP owns it.
#[derive(Debug)]
pub struct Tcp(pub Arc<TcpStream>);

impl Transport for Tcp {
    fn socket(&self) -> Option<Arc<TcpStream>> {
        Some(self.0.clone())
    }
}

/// A connection in memory, for tests.
#[cfg(test)]
impl Transport for tokio::io::DuplexStream {
    fn socket(&self) -> Option<Arc<TcpStream>> {
        None
    }
}

/// Returns once the connection has been reset, or has failed otherwise. The end of what a client sends is no sign that it has gone.
pub(super) async fn reset(socket: Option<Arc<TcpStream>>) {
    match socket {
        Some(socket) => drop(socket.ready(Interest::ERROR).await),
        None => std::future::pending().await,
    }
}

impl AsyncRead for Tcp {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(context))?;
            match self.0.try_read_buf(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return Poll::Ready(read.map(drop)),
            }
        }
    }
}

impl Tcp {
    fn poll(&self, context: &mut Context<'_>, write: impl Fn() -> io::Result<usize>) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(context))?;
            match write() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll(context, || self.0.try_write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll(context, || self.0.try_write_vectored(bytes))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The writing side alone; tokio has it for whoever owns the stream only.
        Poll::Ready(rustix::net::shutdown(&*self.0, rustix::net::Shutdown::Write).map_err(io::Error::from))
    }
}

/// Whether a connection lingers, which its server decides while HTTP owns it.
#[derive(Debug, Default)]
pub(super) struct Hasty(AtomicBool);

impl Hasty {
    /// Nobody is being answered: whoever sends now learns from the end that it was not read.
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// A transport with the bounds of this module.
pub(super) struct Wire<T> {
    transport: T,
    hasty: Arc<Hasty>,
    clock: Clock,
    /// What the client has taken, and for how long it was waited for.
    spent: Spent,
    too_slow: Option<Pin<Box<Sleep>>>,
    lingering: Option<Lingering>,
}

struct Lingering {
    until: Pin<Box<Sleep>>,
    left: usize,
    scratch: Box<[u8]>,
}

impl<T: Transport> Wire<T> {
    pub(super) fn new(transport: T, hasty: Arc<Hasty>) -> Self {
        Wire { transport, hasty, clock: Clock::system(), spent: Spent::over(LUMP), too_slow: None, lingering: None }
    }

    /// Looks at what came of writing: too long a wait is an error.
    fn judge(&mut self, context: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let now = self.clock.now();
        self.spent.stop_waiting(now);
        match written {
            Poll::Ready(written) => {
                if let Ok(bytes) = &written {
                    self.spent.moved(*bytes);
                }
                self.too_slow = None;
                Poll::Ready(written)
            }
            Poll::Pending => {
                let deadline = self.spent.wait(now);
                let too_slow = self.too_slow.get_or_insert_with(|| Box::pin(sleep(WINDOW * LUMP)));
                if too_slow.deadline() != deadline {
                    too_slow.as_mut().reset(deadline);
                }
                ready!(too_slow.as_mut().poll(context));
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes too little of its answers")))
            }
        }
    }

    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let lingering = self.lingering.get_or_insert_with(|| Lingering {
            until: Box::pin(sleep(LINGER)),
            left: LINGER_BYTES,
            scratch: vec![0; DISCARDED_BYTES].into(),
        });
        loop {
            if lingering.until.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            let mut buffer = ReadBuf::new(&mut lingering.scratch);
            if ready!(Pin::new(&mut self.transport).poll_read(context, &mut buffer)).is_err() {
                return Poll::Ready(());
            }
            let read = buffer.filled().len();
            lingering.left = lingering.left.saturating_sub(read);
            if read == 0 || lingering.left == 0 {
                return Poll::Ready(());
            }
        }
    }
}

impl<T: Transport> AsyncRead for Wire<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_read(context, buffer)
    }
}

impl<T: Transport> AsyncWrite for Wire<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.transport).poll_write(context, bytes);
        self.judge(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.transport).poll_write_vectored(context, bytes);
        self.judge(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            ready!(Pin::new(&mut self.transport).poll_shutdown(context))?;
            if self.hasty.0.load(Ordering::Acquire) {
                return Poll::Ready(Ok(()));
            }
        }
        self.poll_linger(context).map(Ok)
    }
}
