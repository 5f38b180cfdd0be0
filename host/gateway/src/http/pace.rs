//! How slow a client may be, and in which pieces it is served.
//!
//! A client is slow that moves fewer than [`WINDOW_BYTES`] in [`WINDOW`] *of waiting for it*: what a package takes its time for, or the
//! network of another node, is not counted. The measure is the registry's for uploads, and what keeps a client that sends a byte
//! now and then (slow loris) from holding an instance for ever. It is applied to
//! - bodies of requests that stream ([`Paced`]): the request is answered 408, or its answer breaks off;
//! - what a connection as a whole takes ([`super::wire`]): the connection ends. Here and in the next line the same rate is measured
//!   over [`LUMP`] windows: the system takes more for a client only once a third of its buffer is free, of some megabytes;
//! - what one of the answers on an HTTP/2 connection takes ([`Tasks`]): its stream is reset. The connection may be a proxy's, whose
//!   other streams are others' business.
//!
//! Answers leave in [`Pieces`] of at most [`PIECE_BYTES`]: a piece is what HTTP takes over at once, and so what it holds for a client
//! that has taken nothing yet.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use recoil_base::{Clock, task};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep};

use super::StreamBody;

/// How long a client may be waited for until it has moved [`WINDOW_BYTES`].
pub const WINDOW: Duration = Duration::from_secs(60);
/// What a client must move in [`WINDOW`] of waiting.
pub const WINDOW_BYTES: u64 = 256 << 10;
/// Bytes of an answer that HTTP takes over at once.
pub const PIECE_BYTES: usize = 256 << 10;
/// Answers of up to this size end at once; larger ones over HTTP/2 when the client has taken them.
const SMALL_BYTES: usize = 4 << 10;

/// Windows over which the rate is measured at which a client takes answers.
pub(super) const LUMP: u32 = 5;

/// How long a client was waited for since it last moved the bytes of some windows.
#[derive(Debug)]
pub(super) struct Spent {
    windows: u32,
    waited: Duration,
    bytes: u64,
    since: Option<Instant>,
}

impl Spent {
    pub(super) fn over(windows: u32) -> Self {
        Spent { windows, waited: Duration::ZERO, bytes: 0, since: None }
    }

    /// From `now` on it is waited for; until when at most.
    pub(super) fn wait(&mut self, now: Instant) -> Instant {
        *self.since.get_or_insert(now) + (WINDOW * self.windows).saturating_sub(self.waited)
    }

    /// It was waited for until `now`, if it was.
    pub(super) fn stop_waiting(&mut self, now: Instant) {
        if let Some(since) = self.since.take() {
            self.waited += now.saturating_duration_since(since);
        }
    }

    pub(super) fn moved(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        if self.bytes >= WINDOW_BYTES * u64::from(self.windows) {
            (self.bytes, self.waited) = (0, Duration::ZERO);
        }
    }
}

/// A request whose client may turn out to be too slow.
#[derive(Debug, Default)]
pub(super) struct Pace {
    is_slow: AtomicBool,
    told: Notify,
    /// What reads the answer, to be told that it breaks off.
    answer: Mutex<Option<Waker>>,
}

impl Pace {
    /// Returns once the client has been too slow with the request's body.
    pub(super) async fn too_slow(&self) {
        while !self.is_slow.load(Ordering::Acquire) {
            self.told.notified().await;
        }
    }

    fn accuse(&self) {
        self.is_slow.store(true, Ordering::Release);
        self.told.notify_one();
        if let Some(waker) = self.answer.lock().take() {
            waker.wake();
        }
    }
}

/// When bytes came for which nobody was ready. Wakes whoever waits for them.
#[derive(Default)]
struct Arrival(Mutex<(Option<Waker>, Option<Instant>)>);

impl Wake for Arrival {
    fn wake(self: Arc<Self>) {
        let waker = {
            let mut arrival = self.0.lock();
            arrival.1.get_or_insert(Clock::system().now());
            arrival.0.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A request's body, whose reader waits for the client no longer than a client may be slow.
pub(super) struct Paced {
    body: StreamBody,
    pace: Arc<Pace>,
    clock: Clock,
    spent: Spent,
    arrival: Arc<Arrival>,
    too_slow: Pin<Box<Sleep>>,
}

impl Paced {
    pub(super) fn new(body: StreamBody, pace: Arc<Pace>) -> Self {
        let too_slow = Box::pin(sleep(WINDOW));
        Paced { body, pace, clock: Clock::system(), spent: Spent::over(1), arrival: Arc::default(), too_slow }
    }
}

impl Body for Paced {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        let came = std::mem::replace(&mut *this.arrival.0.lock(), (Some(context.waker().clone()), None)).1;
        this.spent.stop_waiting(came.unwrap_or_else(|| this.clock.now()));
        let waker = Waker::from(this.arrival.clone());
        match Pin::new(&mut this.body).poll_frame(&mut Context::from_waker(&waker)) {
            Poll::Ready(frame) => {
                if let Some(data) = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()) {
                    this.spent.moved(data.len());
                }
                Poll::Ready(frame)
            }
            Poll::Pending => {
                let deadline = this.spent.wait(this.clock.now());
                if this.too_slow.deadline() != deadline {
                    this.too_slow.as_mut().reset(deadline);
                }
                if this.too_slow.as_mut().poll(context).is_ready() {
                    this.pace.accuse();
                }
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What the client of one answer has taken of it.
pub(super) struct Taken(Mutex<Taking>);

struct Taking {
    spent: Spent,
    /// Bytes that HTTP holds.
    held: usize,
    /// The answer's reader, where it waits for the client to have taken everything.
    end: Option<Waker>,
}

impl Taken {
    fn nothing() -> Self {
        Taken(Mutex::new(Taking { spent: Spent::over(LUMP), held: 0, end: None }))
    }

    /// HTTP holds more, for which the client is waited for.
    fn handed(&self, bytes: usize, now: Instant) {
        let mut taking = self.0.lock();
        taking.held += bytes;
        taking.spent.wait(now);
    }

    /// Some of it has left.
    fn took(&self, bytes: usize, now: Instant) {
        let mut taking = self.0.lock();
        taking.held = taking.held.saturating_sub(bytes);
        taking.spent.stop_waiting(now);
        taking.spent.moved(bytes);
        if taking.held > 0 {
            taking.spent.wait(now);
        } else if let Some(end) = taking.end.take() {
            drop(taking);
            end.wake();
        }
    }

    /// Until when the client is waited for; none while it has taken everything.
    fn deadline(&self, now: Instant) -> Option<Instant> {
        let mut taking = self.0.lock();
        (taking.held > 0).then(|| taking.spent.wait(now))
    }

    fn poll_all(&self, context: &Context<'_>) -> Poll<()> {
        let mut taking = self.0.lock();
        if taking.held == 0 {
            return Poll::Ready(());
        }
        taking.end = Some(context.waker().clone());
        Poll::Pending
    }
}

/// Bytes that count as taken when HTTP drops them.
struct Piece {
    bytes: Bytes,
    taken: Arc<Taken>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.taken.took(self.bytes.len(), Clock::system().now());
    }
}

/// An answer's body in pieces, which breaks off when its client is too slow.
pub(super) struct Pieces<G> {
    body: StreamBody,
    /// What the body gave at once and has not been handed on.
    rest: Bytes,
    /// It has given everything, and is not asked again.
    has_ended: bool,
    pace: Option<Arc<Pace>>,
    /// Where the answer has a task of its own: over HTTP/2.
    taken: Option<Arc<Taken>>,
    /// Kept until the answer has been sent.
    _under_way: G,
}

impl<G> Pieces<G> {
    /// In the task of [`Tasks`] that sends it, if it has one.
    pub(super) fn new(body: StreamBody, pace: Option<Arc<Pace>>, under_way: G) -> Self {
        let taken = CURRENT.with(|current| current.borrow().clone());
        Pieces { body, rest: Bytes::new(), has_ended: false, pace, taken, _under_way: under_way }
    }

    fn hand_on(&mut self) -> Frame<Bytes> {
        let piece = self.rest.split_to(self.rest.len().min(PIECE_BYTES));
        let Some(taken) = self.taken.as_ref().filter(|_| piece.len() > SMALL_BYTES) else { return Frame::data(piece) };
        taken.handed(piece.len(), Clock::system().now());
        Frame::data(Bytes::from_owner(Piece { bytes: piece, taken: taken.clone() }))
    }

    fn is_taken(&self) -> bool {
        self.taken.as_ref().is_none_or(|taken| taken.0.lock().held == 0)
    }
}

impl<G: Unpin> Body for Pieces<G> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        if let Some(pace) = &this.pace {
            *pace.answer.lock() = Some(context.waker().clone());
            if pace.is_slow.load(Ordering::Acquire) {
                let why = "the client sends too little of the request";
                return Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::TimedOut, why))));
            }
        }
        if !this.rest.is_empty() {
            return Poll::Ready(Some(Ok(this.hand_on())));
        }
        let polled = match this.has_ended {
            true => Poll::Ready(None),
            false => Pin::new(&mut this.body).poll_frame(context),
        };
        match polled {
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(Ok(match frame.into_data() {
                Ok(data) => {
                    this.rest = data;
                    this.hand_on()
                }
                Err(other) => other,
            }))),
            Poll::Ready(None) => {
                this.has_ended = true;
                let all = this.taken.as_ref().map_or(Poll::Ready(()), |taken| taken.poll_all(context));
                all.map(|()| None)
            }
            other => other,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream() && self.is_taken()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, inner) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower().saturating_add(rest));
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}

thread_local! {
    /// That of the task which is being polled.
    static CURRENT: RefCell<Option<Arc<Taken>>> = const { RefCell::new(None) };
}

/// Runs the tasks of an HTTP/2 connection, one for each stream, and ends those whose clients take too little of their answers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tasks;

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, stream: F) {
        let (taken, clock) = (Arc::new(Taken::nothing()), Clock::system());
        let mut stream = Box::pin(stream);
        let mut too_slow: Option<Pin<Box<Sleep>>> = None;
        task::spawn_detached(std::future::poll_fn(move |context| {
            let before = CURRENT.replace(Some(taken.clone()));
            let polled = stream.as_mut().poll(context);
            CURRENT.set(before);
            let deadline = taken.deadline(clock.now());
            let (Poll::Pending, Some(deadline)) = (polled, deadline) else {
                too_slow = None;
                return polled;
            };
            let too_slow = too_slow.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
            if too_slow.deadline() < deadline {
                too_slow.as_mut().reset(deadline);
            }
            too_slow.as_mut().poll(context)
        }));
    }
}
