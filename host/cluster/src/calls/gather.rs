//! Gathering the answers of a frame's calls, which come in any order, from any thread.
//!
//! [`Gathering`] hands them over as they come, in pieces: everything at once if it is there within [`GATHER`], which is the rule under
//! load, and otherwise what is there by then, so that a slow call does not hold up the answers of the others. [`Collector`]
//! waits for all, for a caller who wants them in order.
//!
//! Invariants: every place is answered once; a reply that is dropped uncalled counts as [`Miss::Unknown`]. Bounded: a piece holds
//! [`PIECE_BYTES`] or a single larger answer. One task waits for the pieces of a frame.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use recoil_engine::CallError;
use tokio::sync::{Notify, oneshot};

use super::answers::{Answered, bounded, size};
use super::{Answer, Miss, Reply};

/// How long answers wait for others of their frame. A commit takes about as long; a call that waits for a lost leader takes far longer.
const GATHER: Duration = Duration::from_millis(2);
/// Bytes of answers in one piece, unless it is a single one: Raft's messages wait behind it on the same stream.
pub(crate) const PIECE_BYTES: usize = 1 << 20;

/// Takes the answer of a place.
trait TakesAnswers {
    fn take(&self, place: usize, answer: Answer);
}

/// A place that is not answered yet.
struct Slot<T: TakesAnswers> {
    taker: Option<Arc<T>>,
    place: usize,
}

impl<T: TakesAnswers> Slot<T> {
    fn answer(&mut self, answer: Answer) {
        if let Some(taker) = self.taker.take() {
            taker.take(self.place, answer);
        }
    }
}

impl<T: TakesAnswers> Drop for Slot<T> {
    fn drop(&mut self) {
        self.answer(Err(Miss::Unknown));
    }
}

fn reply<T: TakesAnswers + Send + Sync + 'static>(taker: &Arc<T>, place: usize) -> Reply {
    let mut slot = Slot { taker: Some(taker.clone()), place };
    Box::new(move |answer| slot.answer(answer))
}

#[derive(Default)]
struct Gathered {
    answers: VecDeque<(u32, Answer)>,
    bytes: usize,
    /// Calls not answered yet.
    left: usize,
    /// The next answer must wake who waits: the time to gather is over.
    wakes_at_first: bool,
}

/// Answers of a frame, handed over as they come.
pub(crate) struct Gathering {
    gathered: Mutex<Gathered>,
    wake: Notify,
}

/// Some answers of a frame.
#[derive(Debug)]
pub(crate) struct GatheredPiece {
    pub(crate) answered: Answered,
    /// No more will come.
    pub(crate) is_last: bool,
}

impl Gathering {
    /// For `count` answers.
    pub(crate) fn new(count: usize) -> Arc<Self> {
        let gathered = Mutex::new(Gathered { left: count, ..Gathered::default() });
        Arc::new(Gathering { gathered, wake: Notify::new() })
    }

    /// Takes the answer of one place.
    pub(crate) fn reply(self: &Arc<Self>, place: usize) -> Reply {
        reply(self, place)
    }

    /// The next answers, at least one unless they are the last. Not after the last.
    pub(crate) async fn next(&self) -> GatheredPiece {
        // A frame of one call has nothing to gather.
        let mut gathers = {
            let gathered = self.gathered.lock();
            gathered.left + gathered.answers.len() > 1
        };
        loop {
            {
                let mut gathered = self.gathered.lock();
                let is_due = gathered.left == 0 || gathered.bytes >= PIECE_BYTES;
                if is_due || (!gathers && !gathered.answers.is_empty()) {
                    return gathered.take();
                }
                gathered.wakes_at_first = !gathers;
            }
            if !gathers {
                self.wake.notified().await;
            } else if tokio::time::timeout(GATHER, self.wake.notified()).await.is_err() {
                gathers = false;
            }
        }
    }
}

impl Gathered {
    fn take(&mut self) -> GatheredPiece {
        self.wakes_at_first = false;
        let mut answered = Vec::with_capacity(self.answers.len());
        let mut bytes = 0;
        while let Some((_, answer)) = self.answers.front() {
            bytes += size(answer);
            if bytes > PIECE_BYTES && !answered.is_empty() {
                break;
            }
            answered.extend(self.answers.pop_front());
        }
        self.bytes = self.answers.iter().map(|(_, answer)| size(answer)).sum();
        GatheredPiece { answered, is_last: self.left == 0 && self.answers.is_empty() }
    }
}

impl TakesAnswers for Gathering {
    fn take(&self, place: usize, answer: Answer) {
        let answer = bounded(answer);
        let wakes = {
            let mut gathered = self.gathered.lock();
            gathered.bytes += size(&answer);
            gathered.answers.push_back((place as u32, answer));
            gathered.left -= 1;
            gathered.left == 0 || gathered.bytes >= PIECE_BYTES || gathered.wakes_at_first
        };
        if wakes {
            self.wake.notify_one();
        }
    }
}

/// Bytes of answers that one asking takes. What a listener asks for at once it gets at once, so more would fill the node's memory, and
/// an instance has less by default.
const ANSWERS_BYTES_MAX: usize = 48 << 20;

/// All answers, in the order of their places, as far as they fit into [`ANSWERS_BYTES_MAX`] in the order in which they come.
pub(crate) struct Collector {
    slots: Mutex<Slots>,
    left: AtomicUsize,
    done: Mutex<Option<oneshot::Sender<Vec<Answer>>>>,
}

struct Slots {
    answers: Vec<Answer>,
    bytes: usize,
}

/// The call was evaluated, and its answer is given up.
fn too_much() -> Miss {
    Miss::Error(CallError::UnknownOutcome(format!(
        "the answers to the calls made together are larger than {} MiB, so this one was dropped: make fewer calls at once. A call that \
         writes has been applied",
        ANSWERS_BYTES_MAX >> 20
    )))
}

impl Collector {
    /// For `count` answers, at least one.
    pub(crate) fn new(count: usize) -> (Arc<Self>, oneshot::Receiver<Vec<Answer>>) {
        let (done, all) = oneshot::channel();
        let slots = Mutex::new(Slots { answers: vec![Err(Miss::Again); count], bytes: 0 });
        (Arc::new(Collector { slots, left: AtomicUsize::new(count), done: Mutex::new(Some(done)) }), all)
    }

    /// Takes the answer of one place.
    pub(crate) fn reply(self: &Arc<Self>, place: usize) -> Reply {
        reply(self, place)
    }
}

impl TakesAnswers for Collector {
    fn take(&self, place: usize, answer: Answer) {
        {
            let mut slots = self.slots.lock();
            let size = answer.as_ref().map_or(0, Bytes::len);
            let fits = size <= ANSWERS_BYTES_MAX - slots.bytes;
            slots.bytes += if fits { size } else { 0 };
            slots.answers[place] = if fits { answer } else { Err(too_much()) };
        }
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(done) = self.done.lock().take()
        {
            let _ = done.send(std::mem::take(&mut self.slots.lock().answers));
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn ok() -> Answer {
        Ok(Bytes::new())
    }

    fn places(piece: &GatheredPiece) -> Vec<u32> {
        piece.answered.iter().map(|(place, _)| *place).collect()
    }

    /// Fails if a listener's calls may bring the node any number of bytes at once.
    #[test]
    fn answers_to_calls_made_together_are_bounded() {
        let (collector, mut all) = Collector::new(4);
        let replies = [0, 1, 2, 3].map(|place| collector.reply(place));
        let half = Bytes::from(vec![0; ANSWERS_BYTES_MAX / 2]);
        let [first, second, third, last] = replies;
        second(Ok(half.clone()));
        first(Ok(half.slice(1..)));
        third(Ok(half.slice(..2)));
        last(Ok(half.slice(..1)));
        let answers = all.try_recv().unwrap();
        let sizes: Vec<_> = answers.iter().map(|answer| answer.as_ref().ok().map(Bytes::len)).collect();
        assert_eq!(sizes, [Some(half.len() - 1), Some(half.len()), None, Some(1)]);
        assert!(matches!(&answers[2], Err(Miss::Error(CallError::UnknownOutcome(why))) if why.contains("48 MiB")));
    }

    /// Fails if a frame is answered when its slowest call is.
    #[tokio::test(start_paused = true)]
    async fn a_slow_call_does_not_hold_up_the_answers_of_others() {
        let gathering = Gathering::new(3);
        let replies = [0, 1, 2].map(|place| gathering.reply(place));
        let [first, slow, third] = replies;
        third(ok());
        first(ok());
        let piece = gathering.next().await;
        assert_eq!((places(&piece), piece.is_last), (vec![2, 0], false));
        assert!(gathering.next().now_or_never().is_none());
        slow(ok());
        let piece = gathering.next().await;
        assert_eq!((places(&piece), piece.is_last), (vec![1], true));
    }

    /// Fails if every answer has a frame of its own: under load, those of a frame come one shortly after the other.
    #[tokio::test(start_paused = true)]
    async fn answers_that_come_together_travel_together() {
        let gathering = Gathering::new(16);
        let mut replies: Vec<Reply> = (0..16).map(|place| gathering.reply(place)).collect();
        let last = replies.pop().unwrap();
        replies.into_iter().for_each(|reply| reply(ok()));
        let mut next = Box::pin(gathering.next());
        assert!(next.as_mut().now_or_never().is_none(), "the last one may come any moment");
        tokio::time::advance(GATHER / 2).await;
        last(ok());
        let piece = next.await;
        assert_eq!((piece.answered.len(), piece.is_last), (16, true));
    }

    /// Fails if an answer that comes late waits for another one, or for a look at the clock.
    #[tokio::test(start_paused = true)]
    async fn the_first_answer_after_the_time_to_gather_leaves_at_once() {
        let gathering = Gathering::new(2);
        let (first, _second) = (gathering.reply(0), gathering.reply(1));
        let mut next = Box::pin(gathering.next());
        assert!(next.as_mut().now_or_never().is_none());
        tokio::time::sleep(GATHER * 3).await;
        assert!(next.as_mut().now_or_never().is_none());
        first(ok());
        assert_eq!(next.as_mut().now_or_never().map(|piece| places(&piece)), Some(vec![0]));
    }

    /// Fails if a piece is not cut: a frame between nodes is bounded.
    #[tokio::test(start_paused = true)]
    async fn a_piece_is_bounded_and_a_single_larger_answer_is_a_piece() {
        let gathering = Gathering::new(4);
        let large = || Ok(Bytes::from(vec![0; PIECE_BYTES]));
        for (place, answer) in [ok(), large(), large(), ok()].into_iter().enumerate() {
            gathering.reply(place)(answer);
        }
        let mut pieces = vec![];
        loop {
            let piece = gathering.next().await;
            pieces.push(places(&piece));
            if piece.is_last {
                break;
            }
        }
        assert_eq!(pieces, [vec![0], vec![1], vec![2], vec![3]]);
        let over = Gathering::new(1);
        over.reply(0)(Ok(Bytes::from(vec![0; super::super::answers::ANSWER_BYTES_MAX + 1])));
        let piece = over.next().await;
        assert!(matches!(&piece.answered[..], [(0, Err(Miss::Error(_)))]), "more than can travel");
    }

    #[test]
    fn answers_have_their_places_and_a_dropped_reply_is_an_unknown_outcome() {
        let (collector, mut all) = Collector::new(3);
        let (second, first, third) = (collector.reply(1), collector.reply(0), collector.reply(2));
        second(Ok(Bytes::from_static(b"2")));
        first(Ok(Bytes::from_static(b"1")));
        assert!(all.try_recv().is_err());
        drop(third);
        let answers = all.try_recv().unwrap();
        assert!(matches!(&answers[0], Ok(bytes) if &bytes[..] == b"1"));
        assert!(matches!(&answers[1], Ok(bytes) if &bytes[..] == b"2"));
        assert!(matches!(&answers[2], Err(Miss::Unknown)));
    }
}
