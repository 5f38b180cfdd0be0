//! A thread that does rounds of work whenever it is woken.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use parking_lot::Mutex;

/// What a thread does after a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// One more round at once.
    Again,
    /// Nothing until it is woken.
    Wait,
    /// Nothing ever more.
    End,
}

#[derive(Default)]
struct Bell {
    rung: AtomicBool,
    #[cfg(feature = "simulation")]
    simulated: tokio::sync::Notify,
}

/// A named thread, or a task in a simulation. Clones share it.
#[derive(Clone)]
pub struct Rounds {
    bell: Arc<Bell>,
    place: Arc<Place>,
}

enum Place {
    Thread {
        thread: std::thread::Thread,
        handle: Mutex<Option<JoinHandle<()>>>,
    },
    #[cfg(feature = "simulation")]
    Task(SharedRound),
}

/// The round, until it has answered [`Next::End`].
#[cfg(feature = "simulation")]
type Round = Box<dyn FnMut() -> Next + Send>;
#[cfg(feature = "simulation")]
type SharedRound = Arc<Mutex<Option<Round>>>;

impl Rounds {
    /// Starts the thread, which waits to be woken. Panics if the system refuses one, at start-up only.
    pub fn start(name: &'static str, mut round: impl FnMut() -> Next + Send + 'static) -> Self {
        let bell = Arc::new(Bell::default());
        #[cfg(feature = "simulation")]
        if crate::simulation::is_on() {
            let round: SharedRound = Arc::new(Mutex::new(Some(Box::new(round))));
            tokio::spawn(simulated(name, bell.clone(), Arc::downgrade(&round)));
            return Rounds { bell, place: Arc::new(Place::Task(round)) };
        }
        let heard = bell.clone();
        let handle = super::spawn_thread(name, move || {
            loop {
                while !heard.rung.swap(false, Ordering::Acquire) {
                    std::thread::park();
                }
                loop {
                    match round() {
                        Next::Again => {}
                        Next::Wait => break,
                        Next::End => return,
                    }
                }
            }
        });
        let thread = handle.thread().clone();
        Rounds { bell, place: Arc::new(Place::Thread { thread, handle: Mutex::new(Some(handle)) }) }
    }

    /// There is work: the round runs after this call, or is running and runs once more.
    pub fn wake(&self) {
        match &*self.place {
            Place::Thread { thread, .. } => {
                if !self.bell.rung.swap(true, Ordering::Release) {
                    thread.unpark();
                }
            }
            #[cfg(feature = "simulation")]
            Place::Task(_) => self.bell.simulated.notify_one(),
        }
    }

    /// Wakes the thread and waits for its end, which the round has been told of in some other way: true unless it panicked.
    /// From the thread itself, which cannot wait for itself, it returns at once.
    pub fn wake_and_join(&self) -> bool {
        self.wake();
        match &*self.place {
            Place::Thread { thread, handle } => {
                if thread.id() == std::thread::current().id() {
                    return true;
                }
                let handle = handle.lock().take();
                handle.is_none_or(|handle| handle.join().is_ok())
            }
            #[cfg(feature = "simulation")]
            Place::Task(round) => {
                // Busy: this is the round itself.
                if let Some(mut slot) = round.try_lock()
                    && let Some(mut round) = slot.take()
                {
                    while round() != Next::End {}
                }
                true
            }
        }
    }
}

impl Rounds {
    /// Before blocking for what a round does: in a simulation, which has no other thread for it, the rounds due run here.
    pub fn catch_up(&self) {
        #[cfg(feature = "simulation")]
        if let Place::Task(round) = &*self.place {
            let mut slot = round.lock();
            while slot.as_mut().is_some_and(|round| round() == Next::Again) {}
        }
    }
}

#[cfg(feature = "simulation")]
async fn simulated(name: &'static str, bell: Arc<Bell>, round: std::sync::Weak<Mutex<Option<Round>>>) {
    loop {
        bell.simulated.notified().await;
        loop {
            crate::simulation::work(name).await;
            let Some(round) = round.upgrade() else { return };
            let mut slot = round.lock();
            let Some(work) = slot.as_mut() else { return };
            match work() {
                Next::Again => {}
                Next::Wait => break,
                Next::End => {
                    *slot = None;
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wake_is_followed_by_a_round_until_the_last() {
        let (told, seen) = std::sync::mpsc::channel();
        let mut left = 3;
        let rounds = Rounds::start("rounds", move || {
            left -= 1;
            told.send(left).unwrap();
            if left == 0 { Next::End } else { Next::Wait }
        });
        for expected in [2, 1] {
            rounds.wake();
            assert_eq!(seen.recv().unwrap(), expected);
        }
        assert!(rounds.wake_and_join());
        assert_eq!(seen.recv().unwrap(), 0);
        assert!(seen.recv().is_err() && rounds.wake_and_join());
        let panicking = Rounds::start("rounds", || panic!("meant to be seen in the output of this test"));
        assert!(!panicking.wake_and_join());
    }
}
