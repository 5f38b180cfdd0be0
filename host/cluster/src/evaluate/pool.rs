//! The evaluation threads, which nodes in one process share, and how apps share them.
//!
//! Each app may have as many jobs under way as the machine should run, whatever the others do: threads are added while apps
//! have work and end when there is none, and the system divides the processors between them. What keeps one app from
//! slowing down another is priority: a thread whose job has computed for [`LONG`] goes on behind everything else
//! (it takes idle processors only), and so do all jobs of an app that has used its share while other apps had work too.
//!
//! Invariants:
//! - A job of one app never waits for a job of another, as long as there are fewer than [`THREADS_MAX`] threads.
//! - An app with a long job under way may use half of its threads, and the rest behind everything else: its own short calls get through, if
//!   not as fast.
//! - A job that lasts holds up none that its thread has taken beside it: they are given back.
//! - A thread that was put behind the others takes no more jobs of apps in good standing; it ends, or serves those that are not.
//!
//! A thread is woken for work that is worth it: short jobs are left to a thread that has begun just now, which takes several of
//! them at once ([`SHORT`]). What is left to one whose job then lasts waits until the next look at the running jobs.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use recoil_base::{AppId, Clock, task};
use rustc_hash::FxHashMap;
use tokio::time::Instant;

/// Processor time after which a job goes on behind everything else.
const LONG: Duration = Duration::from_millis(10);
/// How often running jobs are looked at.
const WATCH_EVERY: Duration = Duration::from_millis(5);
/// Threads at most, whatever there is to do.
const THREADS_MAX: usize = 64;
/// A thread with nothing to do for this long ends, unless it is one of the first.
const IDLE: Duration = Duration::from_secs(5);
/// What an app may use at once before its share is looked at.
const BURST: Duration = Duration::from_millis(500);
/// For how long an app counts as one that has work after its last job.
const ACTIVE: Duration = Duration::from_secs(1);

/// Jobs that a thread takes at once: what a job costs beside its work is paid once for all of them.
const TAKEN_MAX: usize = 16;
/// Work of this length is not worth another thread: jobs of an app that together should take no longer are taken together, and wait for
/// a thread that began with the app's jobs no longer ago than this.
const SHORT: Duration = Duration::from_micros(100);

pub(super) type Job = Box<dyn FnOnce() + Send>;

/// Jobs that a thread has taken and not begun; given back when one before them lasts.
type Taken = Arc<Mutex<VecDeque<Job>>>;

/// An app's jobs and what it has used.
#[derive(Default)]
struct AppJobs {
    waiting: VecDeque<Job>,
    running: usize,
    long: usize,
    /// How long a job takes, about; nothing while none has ended.
    job_time: Duration,
    /// When a thread last began with jobs of the app.
    begun_at: Duration,
    /// Processor time used beyond its share, down to nothing as time passes.
    used: Duration,
    settled_at: Duration,
    active_at: Duration,
}

struct Running {
    app: AppId,
    thread: task::ThreadId,
    started_at: Duration,
    processor_time: Duration,
    long: bool,
    count: u32,
    taken: Taken,
}

#[derive(Default)]
struct State {
    apps: FxHashMap<AppId, AppJobs>,
    /// Apps with waiting jobs, in the order of their turns.
    turns: VecDeque<AppId>,
    running: FxHashMap<u64, Running>,
    next: u64,
    threads: [usize; 2],
    idle: [usize; 2],
    /// The watch looks at the running jobs again by itself.
    watched: bool,
    stopped: bool,
}

/// Which jobs a thread takes: those of apps in good standing, or the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Normal = 0,
    Behind = 1,
}

struct Shared {
    clock: Clock,
    started_at: Instant,
    /// Jobs of one app under way at a time.
    width: usize,
    state: Mutex<State>,
    work: [Condvar; 2],
    watch: Condvar,
}

/// The evaluation threads. See the module's text.
#[derive(Clone)]
pub struct EvaluationPool {
    shared: Arc<Shared>,
    /// In a simulation one thread runs everything in order.
    #[cfg(feature = "simulation")]
    simulated: Option<task::Worker>,
}

impl EvaluationPool {
    /// Lets every app have `width` jobs under way. The threads end with [`EvaluationPool::stop`].
    pub fn start(width: usize) -> Self {
        let clock = Clock::system();
        let shared = Arc::new(Shared {
            started_at: clock.now(),
            clock,
            width: width.max(1),
            state: Mutex::default(),
            work: [Condvar::new(), Condvar::new()],
            watch: Condvar::new(),
        });
        #[cfg(feature = "simulation")]
        if recoil_base::simulation::is_on() {
            return EvaluationPool { shared, simulated: Some(task::Worker::start("evaluate")) };
        }
        let watched = shared.clone();
        task::spawn_thread("evaluate-watch", move || watched.watch());
        EvaluationPool {
            shared,
            #[cfg(feature = "simulation")]
            simulated: None,
        }
    }

    /// Runs jobs of apps, each after those that its app has waiting.
    pub(super) fn run(&self, jobs: impl IntoIterator<Item = (AppId, Job)>) {
        #[cfg(feature = "simulation")]
        if let Some(thread) = &self.simulated {
            jobs.into_iter().for_each(|(_, job)| thread.run(job));
            return;
        }
        let shared = &self.shared;
        let mut jobs = jobs.into_iter().peekable();
        if jobs.peek().is_none() {
            return;
        }
        let mut state = shared.state.lock();
        while let Some((app, job)) = jobs.next() {
            let waiting = &mut state.apps.entry(app).or_default().waiting;
            waiting.push_back(job);
            if waiting.len() == 1 {
                state.turns.push_back(app);
            }
            // One thread for all of an app's jobs that come together; it wakes another one if it leaves some.
            if jobs.peek().is_none_or(|(next, _)| *next != app) {
                shared.wake(&mut state, app);
            }
        }
    }

    /// Ends the threads once nothing waits.
    pub fn stop(&self) {
        self.shared.state.lock().stopped = true;
        for work in &self.shared.work {
            work.notify_all();
        }
        self.shared.watch.notify_all();
    }
}

impl Shared {
    /// Time since the start: 0 is before anything happened.
    fn now(&self) -> Duration {
        self.clock.now() - self.started_at + ACTIVE
    }

    /// Sees to it that a thread looks at the jobs of `app`, if it may have one more under way.
    fn wake(self: &Arc<Self>, state: &mut State, app: AppId) {
        if !state.may_start(app, self.width) {
            return;
        }
        let now = self.now();
        if state.is_begun(app, now) {
            return;
        }
        let class = state.class(app, now, self.width);
        if state.idle[class as usize] > 0 {
            self.work[class as usize].notify_one();
        } else if state.threads.iter().sum::<usize>() < THREADS_MAX {
            state.threads[class as usize] += 1;
            let shared = self.clone();
            task::spawn_thread("evaluate", move || shared.serve(class));
        }
    }

    fn serve(self: &Arc<Self>, class: Class) {
        let thread = task::ThreadId::current();
        if class == Class::Behind {
            thread.run_behind_others();
        }
        let (at, taken) = (class as usize, Taken::default());
        let mut state = self.state.lock();
        loop {
            let now = self.now();
            let Some(app) = state.take(class, now, self.width, &mut taken.lock()) else {
                if state.stopped {
                    break;
                }
                // What waits is for a thread of the other class.
                if let Some(next) = state.startable(self.width) {
                    self.wake(&mut state, next);
                }
                state.idle[at] += 1;
                let timed_out = self.work[at].wait_for(&mut state, IDLE).timed_out();
                state.idle[at] -= 1;
                let spare = class == Class::Behind || state.threads[at] > self.width;
                if timed_out && spare && !state.has_work(class, self.now(), self.width) {
                    break;
                }
                continue;
            };
            let number = state.next;
            state.next += 1;
            let processor_time = Duration::MAX; // looked up by the watch, if the job lasts
            let long = class == Class::Behind;
            let count = taken.lock().len() as u32;
            let running = Running { app, thread, started_at: now, processor_time, long, count, taken: taken.clone() };
            state.running.insert(number, running);
            if !state.watched {
                self.watch.notify_one();
            }
            // Two jobs may have woken one thread: the next one must not wait for this one's end.
            if let Some(next) = state.startable(self.width) {
                self.wake(&mut state, next);
            }
            drop(state);
            loop {
                let next = taken.lock().pop_front();
                let Some(job) = next else { break };
                job();
            }
            state = self.state.lock();
            let ended = state.end(number, self.now(), self.width);
            if class == Class::Normal && ended {
                // It was put behind the others for good.
                self.wake(&mut state, app);
                break;
            }
        }
        state.threads[at] -= 1;
        if state.threads[at] == 0 && !state.stopped {
            // Whoever relied on this thread gets another one.
            let apps: Vec<AppId> = state.turns.iter().copied().collect();
            apps.into_iter().for_each(|app| self.wake(&mut state, app));
        }
    }

    /// Puts threads behind the others whose jobs compute for long.
    fn watch(self: &Arc<Self>) {
        let mut state = self.state.lock();
        while !state.stopped {
            state.watched = !state.running.is_empty();
            if !state.watched {
                self.watch.wait(&mut state);
                continue;
            }
            self.watch.wait_for(&mut state, WATCH_EVERY);
            let now = self.now();
            let State { running, apps, turns, .. } = &mut *state;
            let lasting = running.values_mut().filter(|job| now.saturating_sub(job.started_at) >= WATCH_EVERY);
            for job in lasting {
                let rest = std::mem::take(&mut *job.taken.lock());
                if !rest.is_empty() {
                    job.count -= rest.len() as u32;
                    let waiting = &mut apps.entry(job.app).or_default().waiting;
                    if waiting.is_empty() {
                        turns.push_back(job.app);
                    }
                    rest.into_iter().rev().for_each(|job| waiting.push_front(job));
                }
                if job.long {
                    continue;
                }
                let Some(processor_time) = job.thread.processor_time() else { continue };
                if job.processor_time == Duration::MAX {
                    // It was on the processor for at most as long as it has run.
                    job.processor_time = processor_time.saturating_sub(now.saturating_sub(job.started_at));
                }
                if processor_time.saturating_sub(job.processor_time) >= LONG {
                    job.long = true;
                    job.thread.run_behind_others();
                    apps.entry(job.app).or_default().long += 1;
                }
            }
            // Those that were given back, or left to a thread whose job turned out to last.
            let waiting: Vec<AppId> = state.turns.iter().copied().collect();
            waiting.into_iter().for_each(|app| self.wake(&mut state, app));
        }
    }
}

impl State {
    /// The share of an app is half of what it may have under way; more only counts while another app has work, or long jobs of its own.
    fn class(&mut self, app: AppId, now: Duration, width: usize) -> Class {
        let contended = self.apps.iter().any(|(other, jobs)| {
            *other != app
                && (jobs.running > 0 || now.saturating_sub(jobs.active_at) < ACTIVE)
                && jobs.active_at > Duration::ZERO
        });
        let Some(jobs) = self.apps.get_mut(&app) else { return Class::Normal };
        jobs.settle(now, width);
        let is_beside = jobs.long > 0 && jobs.running >= (width / 2).max(1);
        if is_beside || contended && jobs.used > BURST { Class::Behind } else { Class::Normal }
    }

    fn may_start(&self, app: AppId, width: usize) -> bool {
        let Some(jobs) = self.apps.get(&app) else { return false };
        !jobs.waiting.is_empty() && jobs.running < width
    }

    /// True if a thread has begun with the app's jobs just now and will soon be back for those that wait, which take no longer than waking
    /// another one for them.
    fn is_begun(&self, app: AppId, now: Duration) -> bool {
        let Some(jobs) = self.apps.get(&app) else { return false };
        let begun = jobs.running > 0 && jobs.long == 0 && now.saturating_sub(jobs.begun_at) <= SHORT;
        begun && jobs.job_time > Duration::ZERO && jobs.job_time * jobs.waiting.len() as u32 <= SHORT
    }

    fn startable(&self, width: usize) -> Option<AppId> {
        self.turns.iter().copied().find(|app| self.may_start(*app, width))
    }

    /// Moves the next app's jobs into `taken`: one, and what it need not leave to other threads.
    fn take(&mut self, class: Class, now: Duration, width: usize, taken: &mut VecDeque<Job>) -> Option<AppId> {
        for _ in 0..self.turns.len() {
            let app = self.turns.pop_front()?;
            if !self.may_start(app, width) || self.class(app, now, width) != class {
                self.turns.push_back(app);
                continue;
            }
            let jobs = self.apps.get_mut(&app)?;
            let short = SHORT.as_nanos().checked_div(jobs.job_time.as_nanos()).unwrap_or(1) as usize;
            let count = short.max(jobs.waiting.len() / width).clamp(1, TAKEN_MAX).min(jobs.waiting.len());
            taken.extend(jobs.waiting.drain(..count));
            jobs.running += 1;
            (jobs.active_at, jobs.begun_at) = (now, now);
            jobs.long += usize::from(class == Class::Behind);
            if !jobs.waiting.is_empty() {
                self.turns.push_back(app);
            }
            return Some(app);
        }
        None
    }

    fn has_work(&mut self, class: Class, now: Duration, width: usize) -> bool {
        let apps: Vec<AppId> = self.turns.iter().copied().collect();
        apps.into_iter().any(|app| self.may_start(app, width) && self.class(app, now, width) == class)
    }

    /// Ends a job; true if its thread was put behind the others.
    fn end(&mut self, number: u64, now: Duration, width: usize) -> bool {
        let Some(job) = self.running.remove(&number) else { return false };
        if let Some(jobs) = self.apps.get_mut(&job.app) {
            jobs.running -= 1;
            jobs.long -= usize::from(job.long);
            jobs.active_at = now;
            jobs.took(now.saturating_sub(job.started_at) / job.count.max(1));
            jobs.settle(now, width);
            jobs.used = (jobs.used + now.saturating_sub(job.started_at)).min(4 * BURST);
        }
        job.long
    }
}

impl AppJobs {
    /// A mean that follows the newer ones. A single job that was kept waiting by the system must not count for many.
    fn took(&mut self, time: Duration) {
        let mean =
            if self.job_time == Duration::ZERO { time } else { (self.job_time * 7 + time.min(self.job_time * 4)) / 8 };
        self.job_time = mean.max(Duration::from_nanos(100));
    }

    /// Half of `width` processors pay back what was used.
    fn settle(&mut self, now: Duration, width: usize) {
        let passed = now.saturating_sub(self.settled_at);
        self.used = self.used.saturating_sub(passed * width as u32 / 2);
        self.settled_at = now;
    }
}

#[cfg(test)]
mod tests;
