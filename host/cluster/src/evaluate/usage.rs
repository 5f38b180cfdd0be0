//! What an app has under way on a node: calls that wait, writes on their way to the log, answers on their way to whoever asked.
//!
//! Each is bounded by the app's own limit, so that an app that floods a node is turned away before the node's bounds, which all
//! apps share, are reached. What is counted is given back when the [`Counted`] is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use recoil_engine::{CallError, Limits};

/// Answers below this are not counted: they are bounded by the calls that wait for them.
const ANSWER_BYTES_MIN: usize = 1 << 10;

/// Bytes of one app on one node.
#[derive(Debug, Default)]
pub struct Usage {
    waiting: Arc<AtomicUsize>,
    writing: Arc<AtomicUsize>,
    answering: Arc<AtomicUsize>,
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
    pub(super) fn write(&self, bytes: usize) -> Counted {
        self.writing.fetch_add(bytes, Ordering::Relaxed);
        Counted { of: self.writing.clone(), bytes }
    }

    /// Whether another call may write.
    pub(super) fn may_write(&self, limits: &Limits) -> Result<(), CallError> {
        let limit = limits.writing_bytes_max;
        let free = self.writing.load(Ordering::Relaxed) < limit;
        if free { Ok(()) } else { Err(full("writes under way", "writing_bytes", limit)) }
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

    /// Red when `Counted` is not given back, and when `take` lets more than the limit through.
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

        usage.may_write(&limits).unwrap();
        let writing = usage.write(11);
        assert!(usage.may_write(&limits).unwrap_err().to_string().contains("writing_bytes: 10"));
        drop(writing);
        usage.may_write(&limits).unwrap();

        let answer = || usage.answer(Bytes::from(vec![1; 3000]), &limits);
        let (one, two) = (answer().unwrap(), answer());
        assert!(two.unwrap_err().to_string().contains("answering_bytes: 4096"));
        assert_eq!(one.len(), 3000);
        drop(one.slice(1..));
        drop(one);
        answer().unwrap();
    }
}
