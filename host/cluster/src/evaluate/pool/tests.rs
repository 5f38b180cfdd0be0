use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

use super::*;

const LOOPING: AppId = AppId(1);
const OTHER: AppId = AppId(2);

/// Computes until told to stop.
fn spin(until: &Arc<AtomicBool>, running: &Arc<AtomicUsize>) -> Job {
    let (until, running) = (until.clone(), running.clone());
    Box::new(move || {
        running.fetch_add(1, Ordering::SeqCst);
        while !until.load(Ordering::Relaxed) {
            std::hint::spin_loop();
        }
        running.fetch_sub(1, Ordering::SeqCst);
    })
}

fn job(work: impl FnOnce() + Send + 'static) -> Job {
    Box::new(work)
}

/// Fails if `State::may_start` allows any number of jobs, and if all apps share one row of threads.
#[test]
fn an_app_that_loops_occupies_its_own_threads_only() {
    let pool = EvaluationPool::start(2);
    let (stop, running) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    for _ in 0..20 {
        pool.run([(LOOPING, spin(&stop, &running))]);
    }
    for round in 0..50 {
        let (told, done) = mpsc::channel();
        pool.run([(OTHER, job(move || told.send(()).unwrap_or_default()))]);
        done.recv_timeout(Duration::from_secs(5)).unwrap_or_else(|_| panic!("round {round}: the other app waits"));
    }
    assert!(running.load(Ordering::SeqCst) <= 2, "{running:?}");
    // What looped is behind the others by now.
    let deadline = Clock::system().now() + Duration::from_secs(5);
    while pool.shared.state.lock().apps[&LOOPING].long == 0 {
        assert!(Clock::system().now() < deadline, "nothing was put behind the others");
        std::thread::sleep(Duration::from_millis(5));
    }
    stop.store(true, Ordering::Relaxed);
    let (told, done) = mpsc::channel();
    pool.run([(LOOPING, job(move || told.send(()).unwrap_or_default()))]);
    done.recv_timeout(Duration::from_secs(5)).expect("every job is run in the end");
    pool.stop();
}

/// Fails if jobs of one app overtake each other in `State::take`.
#[test]
fn with_a_width_of_one_jobs_of_an_app_keep_their_order() {
    let pool = EvaluationPool::start(1);
    let (told, done) = mpsc::channel();
    for number in 0..1000 {
        let told = told.clone();
        pool.run([(OTHER, job(move || told.send(number).unwrap_or_default()))]);
    }
    let order: Vec<i32> = (0..1000).map(|_| done.recv_timeout(Duration::from_secs(5)).unwrap()).collect();
    assert!(order.is_sorted());
    pool.stop();
}

/// Fails if the watch gives back no jobs, and if it wakes no thread for those that were left.
#[test]
fn what_is_left_to_a_thread_whose_job_lasts_is_taken_by_another() {
    let pool = EvaluationPool::start(2);
    let (told, done) = mpsc::channel();
    let short = || {
        let told = told.clone();
        (OTHER, job(move || told.send(()).unwrap_or_default()))
    };
    let wait = |what: &str| done.recv_timeout(Duration::from_secs(5)).unwrap_or_else(|_| panic!("{what} waits"));
    for round in 0..20 {
        // After many short jobs, short ones are expected.
        pool.run((0..100).map(|_| short()));
        (0..100).for_each(|_| wait("a short job"));
        let (stop, running) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let lasting = (OTHER, spin(&stop, &running));
        if round % 2 == 0 {
            pool.run([lasting, short()]);
        } else {
            pool.run([lasting]);
            pool.run([short()]);
        }
        wait("a job beside one that lasts");
        stop.store(true, Ordering::Relaxed);
    }
    pool.stop();
}
