//! A thread that runs jobs in order.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    stopped: bool,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    work: Condvar,
    #[cfg(feature = "simulation")]
    simulated: tokio::sync::Notify,
}

impl Queue {
    /// The next job, once there is one; none after the last.
    fn next(&self) -> Option<Job> {
        let mut state = self.state.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            if state.stopped {
                return None;
            }
            self.work.wait(&mut state);
        }
    }

    fn stop(&self) {
        self.state.lock().stopped = true;
        self.work.notify_one();
        #[cfg(feature = "simulation")]
        self.simulated.notify_one();
    }
}

/// The owners' end: the thread ends with the last of them.
struct Owners(Arc<Queue>);

impl Drop for Owners {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// A named thread, or a task in a simulation, that runs jobs in the order in which they were given. Clones share it; it ends, once it
/// has run them all, with the last clone.
#[derive(Clone)]
pub struct Worker {
    owners: Arc<Owners>,
}

impl Worker {
    /// Starts the thread. Panics if the system refuses one, at start-up only.
    pub fn start(name: &str) -> Self {
        let queue = Arc::new(Queue::default());
        #[cfg(feature = "simulation")]
        if crate::simulation::is_on() {
            tokio::spawn(simulated(name.to_owned(), queue.clone()));
            return Worker { owners: Arc::new(Owners(queue)) };
        }
        let taken = queue.clone();
        super::spawn_thread(name, move || {
            while let Some(job) = taken.next() {
                job();
            }
        });
        Worker { owners: Arc::new(Owners(queue)) }
    }

    /// Puts a job behind those that wait.
    pub fn run(&self, job: Box<dyn FnOnce() + Send>) {
        let queue = &self.owners.0;
        queue.state.lock().jobs.push_back(job);
        queue.work.notify_one();
        #[cfg(feature = "simulation")]
        queue.simulated.notify_one();
    }

    /// Jobs that wait.
    pub fn waiting(&self) -> usize {
        self.owners.0.state.lock().jobs.len()
    }
}

#[cfg(feature = "simulation")]
async fn simulated(name: String, queue: Arc<Queue>) {
    loop {
        queue.simulated.notified().await;
        loop {
            if queue.state.lock().jobs.is_empty() {
                break;
            }
            crate::simulation::work(&name).await;
            let job = queue.state.lock().jobs.pop_front();
            if let Some(job) = job {
                job();
            }
        }
        if queue.state.lock().stopped {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_run_in_order_and_all_of_them_before_the_end() {
        let worker = Worker::start("jobs");
        let (told, seen) = std::sync::mpsc::channel();
        for number in 0..100 {
            let told = told.clone();
            worker.run(Box::new(move || told.send(number).unwrap()));
        }
        drop((worker, told));
        assert!(seen.iter().eq(0..100));
    }
}
