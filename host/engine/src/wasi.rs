//! WASI 0.2 as the contract gives it: real clocks and randomness, standard output and error line by line into the app's
//! log; no environment, arguments, files or sockets.
//!
//! Invariant: a handler waits no longer than its call may take. `wasi:io/poll` is the only way in which a handler could block
//! its thread, so the handlers' linker has its own, which gives up ([`link_blocking`]). Listeners wait on fibers.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use recoil_base::{Clock, PartitionId};
use tokio::io::AsyncWrite;
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::bindings::io::poll as waiting_poll;
use wasmtime_wasi::p2::bindings::sync::io::poll as blocking_poll;
use wasmtime_wasi::p2::{DynPollable, OutputStream, Pollable, StreamResult};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiView};

use crate::app_log::{AppLog, LogLevel};
use crate::limits::RESOURCES_MAX;

/// Bytes of a line that has no end yet; more are written as a line of their own.
const PARTIAL_LINE_BYTES_MAX: usize = 8 << 10;
/// Bytes a guest may write to its output at once.
const WRITE_BYTES_MAX: usize = 64 << 10;
/// Bytes a guest may ask of the random source at once.
const RANDOM_BYTES_MAX: u64 = 1 << 20;
const NO_PARTITION: u32 = u32::MAX;

/// One instance's side of WASI.
pub(crate) struct Wasi {
    pub(crate) context: WasiCtx,
    pub(crate) table: ResourceTable,
    output: Output,
}

impl Wasi {
    pub(crate) fn new(log: &AppLog) -> Self {
        let output = Output { partition: Arc::new(AtomicU32::new(NO_PARTITION)), log: log.clone() };
        let mut builder = WasiCtxBuilder::new();
        builder.stdout(output.stream(LogLevel::Info)).stderr(output.stream(LogLevel::Warn));
        builder.allow_tcp(false).allow_udp(false).max_random_size(RANDOM_BYTES_MAX);
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES_MAX);
        Wasi { context: builder.build(), table, output }
    }

    /// Names the partition of the lines to come.
    pub(crate) fn set_partition(&self, partition: PartitionId) {
        self.output.partition.store(partition.0, Ordering::Relaxed);
    }
}

#[derive(Clone)]
struct Output {
    partition: Arc<AtomicU32>,
    log: AppLog,
}

impl Output {
    fn stream(&self, level: LogLevel) -> LogStream {
        LogStream { output: self.clone(), level, partial: Arc::default() }
    }
}

/// Writes lines into the app's log. Streams made from one share the unfinished line.
#[derive(Clone)]
struct LogStream {
    output: Output,
    level: LogLevel,
    partial: Arc<Mutex<Vec<u8>>>,
}

impl LogStream {
    fn take(&self, mut bytes: &[u8]) {
        let mut partial = self.partial.lock();
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            partial.extend_from_slice(&bytes[..end]);
            self.line(&mut partial);
            bytes = &bytes[end + 1..];
        }
        for chunk in bytes.chunks(PARTIAL_LINE_BYTES_MAX) {
            if partial.len() + chunk.len() > PARTIAL_LINE_BYTES_MAX {
                self.line(&mut partial);
            }
            partial.extend_from_slice(chunk);
        }
    }

    fn line(&self, partial: &mut Vec<u8>) {
        let text = String::from_utf8_lossy(partial);
        let partition = self.output.partition.load(Ordering::Relaxed);
        let partition = (partition != NO_PARTITION).then_some(PartitionId(partition));
        self.output.log.push_from_guest(self.level, partition, text.trim_end_matches('\r'));
        partial.clear();
    }
}

impl Drop for LogStream {
    fn drop(&mut self) {
        // The last holder writes what never got its newline.
        if Arc::strong_count(&self.partial) == 1 {
            let mut partial = std::mem::take(&mut *self.partial.lock());
            if !partial.is_empty() {
                self.line(&mut partial);
            }
        }
    }
}

impl IsTerminal for LogStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LogStream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for LogStream {
    fn poll_write(self: std::pin::Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: std::pin::Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: std::pin::Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for LogStream {
    async fn ready(&mut self) {}
}

impl OutputStream for LogStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.take(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}

/// State of a store whose waiting is bounded.
pub(crate) trait BoundedWait: WasiView {
    /// How long one wait may last.
    fn wait_max(&self) -> Duration;
}

/// WASI for handlers: nothing waits for longer than a call may take.
pub(crate) fn link_blocking<T: BoundedWait + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_sync(linker)?;
    linker.allow_shadowing(true);
    blocking_poll::add_to_linker::<T, HasBoundedPoll>(linker, |state| {
        let wait_max = state.wait_max();
        BoundedPoll { table: state.ctx().table, wait_max }
    })?;
    linker.allow_shadowing(false);
    Ok(())
}

struct HasBoundedPoll;

impl HasData for HasBoundedPoll {
    type Data<'a> = BoundedPoll<'a>;
}

struct BoundedPoll<'a> {
    table: &'a mut ResourceTable,
    wait_max: Duration,
}

impl blocking_poll::Host for BoundedPoll<'_> {
    fn poll(&mut self, pollables: Vec<Resource<DynPollable>>) -> wasmtime::Result<Vec<u32>> {
        wait(waiting_poll::Host::poll(self.table, pollables), self.wait_max)?
    }
}

impl blocking_poll::HostPollable for BoundedPoll<'_> {
    fn ready(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<bool> {
        wait(waiting_poll::HostPollable::ready(self.table, pollable), self.wait_max)?
    }

    fn block(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        wait(waiting_poll::HostPollable::block(self.table, pollable), self.wait_max)?
    }

    fn drop(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        waiting_poll::HostPollable::drop(self.table, pollable)
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs `future` on this thread, for at most `wait_max`.
fn wait<F: Future>(future: F, wait_max: Duration) -> wasmtime::Result<F::Output> {
    let clock = Clock::system();
    let start = clock.now();
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    wasmtime_wasi::runtime::with_ambient_tokio_runtime(|| {
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                return Ok(output);
            }
            let waited = clock.now() - start;
            if waited >= wait_max {
                return Err(wasmtime::Error::msg(format!("waited longer than {} ms", wait_max.as_millis())));
            }
            std::thread::park_timeout(wait_max - waited);
        }
    })
}
