//! Tasks and their end: nothing outlives the node that started it.

#![allow(clippy::disallowed_methods)] // the one door to tokio::spawn

mod rounds;
mod worker;

use std::future::Future;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use rounds::{Next, Rounds};
pub use worker::Worker;

/// A wish to stop, seen by everyone who holds a clone.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// A signal that nobody has given yet.
    pub fn new() -> Self {
        Shutdown::default()
    }
    /// A signal given when this one is, or by itself.
    pub fn child(&self) -> Self {
        Shutdown(self.0.child_token())
    }
    /// Give the signal.
    pub fn trigger(&self) {
        self.0.cancel();
    }
    /// True once given.
    pub fn is_triggered(&self) -> bool {
        self.0.is_cancelled()
    }
    /// Returns once given.
    pub async fn wait(&self) {
        self.0.cancelled().await;
    }
}

/// The tasks of one owner. [`Tasks::stop`] gives the signal and waits for all of them.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    shutdown: Shutdown,
}

impl Tasks {
    /// No tasks yet; they end with `shutdown`.
    pub fn new(shutdown: Shutdown) -> Self {
        Tasks { tracker: TaskTracker::new(), shutdown }
    }
    /// The signal these tasks end with.
    pub fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }
    /// Run `task` until it ends or the signal is given, whichever is first: it is dropped at the signal, so it must
    /// keep its promises at every await.
    pub fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let shutdown = self.shutdown.clone();
        self.tracker.spawn(async move {
            tokio::select! {
                () = shutdown.wait() => {}
                () = task => {}
            }
        });
    }
    /// Run `task`, which watches [`Tasks::shutdown`] by itself, to its end.
    pub fn spawn_graceful<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tracker.spawn(task);
    }
    /// Give the signal and wait until every task has ended.
    pub async fn stop(&self) {
        self.shutdown.trigger();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// A task that nobody owns: for work that ends by itself.
pub fn spawn_detached<F>(task: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(task)
}

/// The runtime, for threads that are not its workers.
#[derive(Clone, Debug)]
pub struct Runtime(tokio::runtime::Handle);

impl Runtime {
    /// The runtime that runs the calling task. Panics outside one.
    pub fn current() -> Self {
        Runtime(tokio::runtime::Handle::current())
    }
    /// Run `task`, which nobody owns and which ends by itself.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(task);
    }
    /// Wait for `task`. Never from a worker of the runtime.
    pub fn wait_for<T>(&self, task: impl Future<Output = T>) -> T {
        self.0.block_on(task)
    }
}

/// Run `work`, which may block, on a thread for such work.
pub fn spawn_blocking<T, F>(work: F) -> JoinHandle<T>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    #[cfg(feature = "simulation")]
    if crate::simulation::is_on() {
        return tokio::spawn(async move { work() });
    }
    tokio::task::spawn_blocking(work)
}

/// Start a named operating-system thread. Panics if the system refuses one, at start-up only.
pub fn spawn_thread(name: impl Into<String>, work: impl FnOnce() + Send + 'static) -> std::thread::JoinHandle<()> {
    let name = name.into();
    std::thread::Builder::new()
        .name(name.clone())
        .spawn(work)
        .unwrap_or_else(|error| panic!("cannot start thread {name}: {error}"))
}

/// Tasks that take only the processor time that nobody else wants.
#[derive(Debug)]
pub struct BehindOthers(Option<tokio::runtime::Runtime>);

impl BehindOthers {
    /// Starts its thread. Panics if the system refuses one, at start-up only.
    pub fn start() -> Self {
        // tokio numbers the random seeds that it gives: a thread that begins when it likes would take one of the simulation's.
        #[cfg(feature = "simulation")]
        if crate::simulation::is_on() {
            return BehindOthers(None);
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("behind-others")
            .on_thread_start(|| ThreadId::current().run_behind_others())
            .enable_all()
            .build();
        BehindOthers(Some(runtime.unwrap_or_else(|error| panic!("cannot start the thread behind others: {error}"))))
    }
    /// Runs `task` there. Dropping the answer ends the task.
    pub async fn run<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> T {
        let Some(runtime) = &self.0 else { return std::future::pending().await };
        match tokio_util::task::AbortOnDropHandle::new(runtime.spawn(task)).await {
            Ok(output) => output,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for BehindOthers {
    fn drop(&mut self) {
        // What still runs is dropped; nobody waits for it here, which may be a task.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// The processor time that the calling thread has used.
pub fn processor_time() -> std::time::Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    std::time::Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

/// Bytes of memory that the calling thread has had to be given or had to copy: the pages that it touched for the first time. Reading takes
/// a quarter of a microsecond.
pub fn touched_bytes() -> u64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is to a struct of the size that the call writes, and zeros are a value of it if it fails.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr());
        usage.assume_init()
    };
    u64::try_from(usage.ru_minflt).unwrap_or(0).saturating_mul(rustix::param::page_size() as u64)
}

/// From now on no page of this process is larger than the system's others, so that [`touched_bytes`] tells what was touched.
pub fn use_small_pages() {
    // A system that does not know how has no large pages.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

/// A thread of this process, for whoever watches it.
#[derive(Clone, Copy, Debug)]
pub struct ThreadId(rustix::process::Pid);

impl ThreadId {
    /// The calling thread.
    pub fn current() -> Self {
        ThreadId(rustix::thread::gettid())
    }
    /// The processor time it has used; none where the system does not tell, or once it has ended.
    pub fn processor_time(self) -> Option<std::time::Duration> {
        let text = std::fs::read_to_string(format!("/proc/self/task/{}/schedstat", self.0.as_raw_nonzero())).ok()?;
        let nanoseconds = text.split_whitespace().next()?.parse().ok()?;
        Some(std::time::Duration::from_nanos(nanoseconds))
    }
    /// From now on it runs on what processor time nobody else wants: it takes all of an idle processor and next to nothing of a
    /// busy one. There is no way back without privileges, so such a thread should end after its work.
    pub fn run_behind_others(self) {
        // A system that refuses leaves it as it is: slower for the others, not wrong.
        let _ = rustix::process::setpriority_process(Some(self.0), 19);
    }
}
