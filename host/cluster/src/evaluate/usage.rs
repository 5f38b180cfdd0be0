//! What an app has under way on a node: calls that wait, writes on their way to the log, answers on their way to whoever asked.
//!
//! Each is bounded by the app's own limit, so that an app that floods a node is held up before the node's bounds, which all
//! apps share, are reached. What is counted is given back when the [`Counted`] is dropped.
//!
//! Calls and answers above a limit are refused. A call that writes above the limit waits instead, in its partition's mailbox and
//! as long as its caller does, and is evaluated once writes have been decided: bulk writes are slowed down to what the log takes. What
//! waits so is bounded as calls that wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use recoil_engine::{CallError, Limits};

/// Answers below this are not counted: they are bounded by the calls that wait for them.
const ANSWER_BYTES_MIN: usize = 1 << 10;

/// Bytes of one app on one node.
#[derive(Debug, Default)]
pub struct Usage {
    waiting: Arc<AtomicUsize>,
    writing: Arc<Writing>,
    answering: Arc<AtomicUsize>,
}

/// What goes on once writes have been decided.
type Resume = Box<dyn FnOnce() + Send>;

/// Writes on their way to the log, and who waits until there are fewer.
#[derive(Default)]
struct Writing {
    bytes: AtomicUsize,
    parked: Mutex<Vec<Resume>>,
}

impl std::fmt::Debug for Writing {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "Writing {{ bytes: {}, parked: {} }}", self.bytes.load(Ordering::Relaxed), self.parked.lock().len())
    }
}

/// Writes that count until this is dropped.
#[derive(Debug)]
pub(crate) struct CountedWrites {
    of: Arc<Writing>,
    bytes: usize,
}

impl Drop for CountedWrites {
    fn drop(&mut self) {
        // Under the lock, so that whoever parks either sees these bytes gone or is found here.
        let parked = {
            let mut parked = self.of.parked.lock();
            self.of.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
            std::mem::take(&mut *parked)
        };
        // Each looks at the limit again, and parks again if the others were quicker.
        parked.into_iter().for_each(|resume| resume());
    }
}

/// Bytes that count until this is dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    of: Arc<AtomicUsize>,
    bytes: usize,
}

impl Counted {
    /// Counts `bytes` more; none if that is above `limit` and something is counted already.
    fn take(of: &Arc<AtomicUsize>, bytes: usize, limit: usize) -> Option<Self> {
        let before = of.fetch_add(bytes, Ordering::Relaxed);
        let counted = Counted { of: of.clone(), bytes };
        (before == 0 || before + bytes <= limit).then_some(counted)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.of.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Usage {
    /// A call that waits.
    pub(super) fn wait(&self, bytes: usize, limits: &Limits) -> Result<Counted, CallError> {
        let limit = limits.waiting_bytes_max;
        Counted::take(&self.waiting, bytes, limit).ok_or_else(|| full("calls waiting", "waiting_bytes", limit))
    }

    /// Writes on their way. They count even above the limit, which is looked at before a call is evaluated.
    pub(super) fn write(&self, bytes: usize) -> CountedWrites {
        self.writing.bytes.fetch_add(bytes, Ordering::Relaxed);
        CountedWrites { of: self.writing.clone(), bytes }
    }

    /// Whether another call may write.
    pub(super) fn may_write(&self, limits: &Limits) -> bool {
        self.writing.bytes.load(Ordering::Relaxed) < limits.writing_bytes_max
    }

    /// Calls `resume` when some of the writes on their way have been decided; at once if another call may write already.
    pub(super) fn park(&self, limits: &Limits, resume: Resume) {
        let mut parked = self.writing.parked.lock();
        if !self.may_write(limits) {
            return parked.push(resume);
        }
        drop(parked);
        resume();
    }

    /// An answer, which counts until its last copy is dropped.
    pub(super) fn answer(&self, answer: Bytes, limits: &Limits) -> Result<Bytes, CallError> {
        if answer.len() < ANSWER_BYTES_MIN {
            return Ok(answer);
        }
        let limit = limits.answering_bytes_max;
        let counted = Counted::take(&self.answering, answer.len(), limit);
        let counted = counted.ok_or_else(|| full("answers on their way", "answering_bytes", limit))?;
        Ok(Bytes::from_owner(Answer { answer, _counted: counted }))
    }
}

struct Answer {
    answer: Bytes,
    _counted: Counted,
}

impl AsRef<[u8]> for Answer {
    fn as_ref(&self) -> &[u8] {
        &self.answer
    }
}

fn full(what: &str, name: &str, limit: usize) -> CallError {
    CallError::Unavailable(format!(
        "the app has more {what} on this node than limit {name}: {limit} bytes; nothing was written; slow down and retry"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails if `Counted` is not given back, and if `take` lets more than the limit through.
    #[test]
    fn what_is_under_way_is_bounded_and_given_back() {
        let (usage, limits) = (
            Usage::default(),
            Limits { waiting_bytes_max: 100, writing_bytes_max: 10, answering_bytes_max: 4096, ..Limits::default() },
        );
        let first = usage.wait(1000, &limits).expect("one call always fits");
        assert!(usage.wait(1, &limits).unwrap_err().to_string().contains("waiting_bytes: 100"));
        drop(first);
        let _kept = (usage.wait(60, &limits).unwrap(), usage.wait(40, &limits).unwrap());
        assert!(usage.wait(1, &limits).is_err());

        let answer = || usage.answer(Bytes::from(vec![1; 3000]), &limits);
        let (one, two) = (answer().unwrap(), answer());
        assert!(two.unwrap_err().to_string().contains("answering_bytes: 4096"));
        assert_eq!(one.len(), 3000);
        drop(one.slice(1..));
        drop(one);
        answer().unwrap();
    }

    /// Fails if a call is let through above the limit, waits though there is room, or is forgotten when room comes.
    #[test]
    fn what_may_not_write_yet_goes_on_when_writes_are_decided() {
        let (usage, limits) = (Usage::default(), Limits { writing_bytes_max: 10, ..Limits::default() });
        let resumed = Arc::new(AtomicUsize::new(0));
        let park = || {
            let resumed = resumed.clone();
            let resume = Box::new(move || {
                resumed.fetch_add(1, Ordering::Relaxed);
            });
            usage.park(&limits, resume);
        };
        assert!(usage.may_write(&limits));
        park();
        assert_eq!(resumed.load(Ordering::Relaxed), 1, "there was room");
        let (first, second) = (usage.write(6), usage.write(5));
        assert!(!usage.may_write(&limits));
        park();
        park();
        assert_eq!(resumed.load(Ordering::Relaxed), 1);
        drop(first);
        assert_eq!(resumed.load(Ordering::Relaxed), 3);
        assert!(usage.may_write(&limits));
        drop(second);
        assert_eq!(resumed.load(Ordering::Relaxed), 3, "each goes on once");
    }
}
