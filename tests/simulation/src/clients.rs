//! Load: clients that call the lists through the router of the node they are on, as its listeners do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use recoil_engine::{Address, CallBody, CallError, Mode, RoutedCall, Router};

use crate::chance;
use crate::guest::{self, Ask, Key};
use crate::history::{History, Kind, Outcome};
use crate::trace::note;

/// What all clients of a run share.
#[derive(Clone)]
pub(crate) struct Load {
    pub(crate) history: Arc<Mutex<History>>,
    /// Calls that may still begin.
    pub(crate) left: Arc<AtomicU64>,
    pub(crate) keys: u8,
    pub(crate) pause_ms: u64,
    next: Arc<AtomicU64>,
}

fn call(key: Key, ask: Ask, kind: Kind) -> RoutedCall {
    let mode = match (kind, ask) {
        (Kind::Stale, _) => Mode::StaleRead,
        (Kind::Linearizable, Ask::Get) => Mode::Read,
        _ => Mode::Write,
    };
    RoutedCall { to: Address::Key(key.bytes()), body: CallBody::Handle(guest::request(key, ask)), mode }
}

fn outcome(error: &CallError) -> Outcome {
    match error {
        CallError::UnknownOutcome(_) => Outcome::Unknown,
        CallError::Rejected(_) | CallError::Failed(_) | CallError::Unavailable(_) | CallError::Conflict => {
            Outcome::Nothing
        }
    }
}

fn done(answer: &[u8]) -> Outcome {
    guest::list(answer).map_or_else(|| panic!("an answer that is no list: {answer:?}"), Outcome::Done)
}

impl Load {
    pub(crate) fn new(calls: u64, keys: u8, pause_ms: u64) -> Self {
        let (history, left, next) = (Arc::default(), Arc::new(AtomicU64::new(calls)), Arc::new(AtomicU64::new(1)));
        Load { history, left, keys, pause_ms, next }
    }

    pub(crate) fn value(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn key(&self) -> Key {
        Key(chance::within(0..u64::from(self.keys)) as u8)
    }

    /// Calls until none are left.
    pub(crate) async fn run(self, name: String, router: Arc<dyn Router>) {
        loop {
            tokio::time::sleep(Duration::from_millis(1 + chance::within(0..self.pause_ms + 1))).await;
            if self.left.load(Ordering::Relaxed) == 0 {
                return;
            }
            self.left.fetch_sub(1, Ordering::Relaxed);
            match chance::within(0..100) {
                0..45 => {
                    drop(self.one(&name, &router, self.key(), Ask::Append(self.value()), Kind::Linearizable).await)
                }
                45..50 => {
                    drop(self.one(&name, &router, self.key(), Ask::Refused(self.value()), Kind::Linearizable).await)
                }
                50..80 => drop(self.one(&name, &router, self.key(), Ask::Get, Kind::Linearizable).await),
                80..85 => drop(self.one(&name, &router, self.key(), Ask::Get, Kind::Stale).await),
                85..92 => self.several(&name, &router).await,
                _ => self.transaction(&name, &router).await,
            }
        }
    }

    /// One call; answers what became of it.
    pub(crate) async fn one(&self, name: &str, router: &Arc<dyn Router>, key: Key, ask: Ask, kind: Kind) -> Outcome {
        let number = self.history.lock().begin(name, key, ask, kind, None);
        note!("{name}  #{number} k{} {ask:?} {kind:?}", key.0);
        let mut answers = router.call_many(vec![call(key, ask, kind)]).await;
        let answer = answers.pop().unwrap_or_else(|| panic!("no answer to one call"));
        self.end(name, number, answer)
    }

    fn end(&self, name: &str, number: usize, answer: Result<bytes::Bytes, CallError>) -> Outcome {
        let outcome = match &answer {
            Ok(answer) => done(answer),
            Err(error) => outcome(error),
        };
        match &answer {
            Ok(_) => note!("{name}  #{number} = {outcome:?}"),
            Err(error) => note!("{name}  #{number} = {outcome:?}: {error}"),
        }
        self.history.lock().end(number, outcome.clone());
        outcome
    }

    /// Several calls at once, two of them to one key.
    async fn several(&self, name: &str, router: &Arc<dyn Router>) {
        let first = self.key();
        let asks = [
            (first, Ask::Append(self.value())),
            (self.key(), Ask::Get),
            (first, Ask::Append(self.value())),
            (self.key(), Ask::Append(self.value())),
        ];
        let begin = |(key, ask): &(Key, Ask)| self.history.lock().begin(name, *key, *ask, Kind::Linearizable, None);
        let numbers: Vec<usize> = asks.iter().map(begin).collect();
        note!("{name}  #{numbers:?} {asks:?}");
        let calls = asks.iter().map(|(key, ask)| call(*key, *ask, Kind::Linearizable)).collect();
        let answers = router.call_many(calls).await;
        for (number, answer) in numbers.into_iter().zip(answers) {
            self.end(name, number, answer);
        }
    }

    /// All or nothing, if one group has all of it.
    async fn transaction(&self, name: &str, router: &Arc<dyn Router>) {
        let number = self.value();
        let asks = [(self.key(), Ask::Append(self.value())), (self.key(), Ask::Append(self.value()))];
        let begin =
            |(key, ask): &(Key, Ask)| self.history.lock().begin(name, *key, *ask, Kind::Linearizable, Some(number));
        let numbers: Vec<usize> = asks.iter().map(begin).collect();
        note!("{name}  #{numbers:?} transaction {asks:?}");
        let calls = asks.iter().map(|(key, ask)| call(*key, *ask, Kind::Linearizable)).collect();
        match router.transact(calls).await {
            Ok(answers) => {
                for (number, answer) in numbers.into_iter().zip(answers) {
                    self.end(name, number, Ok(answer));
                }
            }
            Err(error) => {
                for number in numbers {
                    self.end(name, number, Err(error.clone()));
                }
            }
        }
    }
}
