//! Whether a streamed request makes progress: `http_ms` is how long it may not.
//!
//! Progress is whatever moves the request on: bytes of the request that the guest takes, the answer's beginning, bytes of the answer that
//! leave, an answered call to a partition. Not progress: computing (which has a limit of its own, `compute_ms`) and waiting for
//! a clock. So a transfer may take as long as it needs, and an instance whose client or own work stands still is not kept for longer
//! than the limit. How fast a client must move its bytes is the gateway's to say, which knows when it is the client that is waited for; so
//! the time in which a client has yet to take what was handed on for it is not counted here: pieces are large, and a slow client may
//! be longer about one than the limit.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use recoil_base::Clock;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::incoming::HttpBody;
use crate::call::{CallError, RoutedCall};
use crate::listener::{BoxFuture, PartitionInfo, Router};

/// When a request last made progress.
#[derive(Debug)]
pub(crate) struct Progress {
    clock: Clock,
    last: Mutex<Last>,
}

#[derive(Debug)]
struct Last {
    at: Instant,
    /// The guest has asked for more of the request's body, and has not got it.
    waits_for_body: bool,
    /// A piece of the answer has been handed on, and no other has been asked for.
    waits_for_taking: bool,
}

impl Progress {
    pub(crate) fn new() -> Arc<Self> {
        let clock = Clock::system();
        let last = Mutex::new(Last { at: clock.now(), waits_for_body: false, waits_for_taking: false });
        Arc::new(Progress { clock, last })
    }

    /// It has made some.
    pub(super) fn made(&self) {
        self.last.lock().at = self.clock.now();
    }

    /// A piece of the answer has been handed on, or another is asked for: then the client has taken what there was.
    pub(super) fn handed_on(&self, waits: bool) {
        let mut last = self.last.lock();
        if waits || last.waits_for_taking {
            last.at = self.clock.now();
        }
        last.waits_for_taking = waits;
    }

    fn waits_for_body(&self, waits: bool) {
        let mut last = self.last.lock();
        if !waits {
            last.at = self.clock.now();
        }
        last.waits_for_body = waits;
    }

    /// Returns once there has been none for so long; whether it is the client that should have made some.
    pub(crate) async fn none_for(&self, limit: Duration) -> bool {
        loop {
            let now = self.clock.now();
            let (end, waits_for_body) = {
                let last = self.last.lock();
                (if last.waits_for_taking { now } else { last.at } + limit, last.waits_for_body)
            };
            if now >= end {
                return waits_for_body;
            }
            sleep_until(end).await;
        }
    }
}

/// A request's body, as the guest takes it.
pub(super) struct Watched {
    body: HttpBody,
    progress: Arc<Progress>,
}

impl Watched {
    pub(super) fn new(body: HttpBody, progress: Arc<Progress>) -> Self {
        Watched { body, progress }
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        self.progress.waits_for_body(polled.is_pending());
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The router of one request's instance.
pub(crate) struct WatchedRouter {
    pub(crate) router: Arc<dyn Router>,
    pub(crate) progress: Arc<Progress>,
}

impl WatchedRouter {
    fn watch<T: 'static>(&self, answers: BoxFuture<'static, T>) -> BoxFuture<'static, T> {
        let progress = self.progress.clone();
        Box::pin(async move {
            let answers = answers.await;
            progress.made();
            answers
        })
    }
}

impl Router for WatchedRouter {
    fn call_many(&self, calls: Vec<RoutedCall>) -> BoxFuture<'static, Vec<Result<Bytes, CallError>>> {
        self.watch(self.router.call_many(calls))
    }

    fn transact(&self, calls: Vec<RoutedCall>) -> BoxFuture<'static, Result<Vec<Bytes>, CallError>> {
        self.watch(self.router.transact(calls))
    }

    fn locate(&self, key: &[u8]) -> PartitionInfo {
        self.router.locate(key)
    }

    fn partitions(&self) -> Vec<PartitionInfo> {
        self.router.partitions()
    }

    fn subscribe(&self, topic: Bytes) -> mpsc::Receiver<Bytes> {
        self.router.subscribe(topic)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use recoil_base::task;
    use tokio::time::sleep;

    use recoil_base::PartitionId;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(1);
    /// How long it takes to make progress: well within the limit, also on a busy machine.
    const STEP: Duration = Duration::from_millis(400);

    /// True if it went on for some steps and then for the limit; whether the client was waited for.
    async fn ended(progress: &Arc<Progress>, clock: &Clock, started: Instant, steps: u32) -> (bool, bool) {
        let waits = progress.none_for(LIMIT).await;
        (clock.now() - started >= STEP * steps + LIMIT, waits)
    }

    /// Answers after a while; the rest is not asked.
    struct Slow(Duration);

    impl Router for Slow {
        fn call_many(&self, calls: Vec<RoutedCall>) -> BoxFuture<'static, Vec<Result<Bytes, CallError>>> {
            let pause = self.0;
            Box::pin(async move {
                sleep(pause).await;
                calls.iter().map(|_| Ok(Bytes::new())).collect()
            })
        }

        fn transact(&self, _: Vec<RoutedCall>) -> BoxFuture<'static, Result<Vec<Bytes>, CallError>> {
            let pause = self.0;
            Box::pin(async move {
                sleep(pause).await;
                Ok(vec![])
            })
        }

        fn locate(&self, _: &[u8]) -> PartitionInfo {
            PartitionInfo { id: PartitionId(0), leader: None, replicas: vec![], epoch: 0 }
        }

        fn partitions(&self) -> Vec<PartitionInfo> {
            vec![]
        }

        fn subscribe(&self, _: Bytes) -> mpsc::Receiver<Bytes> {
            mpsc::channel(1).1
        }
    }

    /// Fails if the limit counts from the beginning, or if an answered call is no progress.
    #[tokio::test]
    async fn the_limit_counts_from_the_last_progress() {
        let (progress, clock) = (Progress::new(), Clock::system());
        let started = clock.now();
        assert_eq!(ended(&progress, &clock, started, 0).await, (true, false));

        let (progress, started) = (Progress::new(), clock.now());
        let router = WatchedRouter { router: Arc::new(Slow(STEP)), progress: progress.clone() };
        let calling = task::spawn_detached(async move {
            for _ in 0..3 {
                router.call_many(vec![]).await;
            }
            router.transact(vec![]).await.map(drop)
        });
        assert_eq!(ended(&progress, &clock, started, 4).await, (true, false));
        assert_eq!(calling.await.unwrap(), Ok(()));
    }

    /// Fails if a client that takes long for a piece of its answer is taken for a package that does nothing.
    #[tokio::test]
    async fn the_time_in_which_a_client_takes_a_piece_is_not_counted() {
        let (progress, clock) = (Progress::new(), Clock::system());
        let started = clock.now();
        progress.handed_on(true);
        let taking = progress.clone();
        let taken = task::spawn_detached(async move {
            sleep(LIMIT + STEP).await;
            taking.handed_on(false);
        });
        assert_eq!(ended(&progress, &clock, started + LIMIT, 1).await, (true, false));
        taken.await.unwrap();
    }

    /// Fails if bytes of the request are no progress, or if a stalled client is taken for a slow package.
    #[tokio::test]
    async fn a_client_that_stalls_is_told_from_a_package_that_does() {
        let (progress, clock) = (Progress::new(), Clock::system());
        let started = clock.now();
        let pieces = futures::stream::unfold(0, |count| async move {
            sleep(if count < 4 { STEP } else { LIMIT * 9 }).await;
            Some((Ok(Frame::data(Bytes::from_static(b"x"))), count + 1))
        });
        let mut body = Watched::new(http_body_util::StreamBody::new(pieces).boxed_unsync(), progress.clone());
        let reading = task::spawn_detached(async move { while body.frame().await.is_some() {} });
        assert_eq!(ended(&progress, &clock, started, 4).await, (true, true));
        reading.abort();
    }
}
