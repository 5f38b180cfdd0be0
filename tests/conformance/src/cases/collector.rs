//! Very many calls of mixed sizes: what a collector of garbage frees too early, or never, shows here.
//!
//! Several clients on all nodes send batches by `call-many`, so that the listener's memory and the handlers' are both stirred: echoes,
//! values put and found again, heaps of small objects, most of them small, some of them 64 KiB and a few a whole MiB. Each client knows
//! what every one of its answers must be, byte for byte.

use std::collections::HashMap;

use super::{Outcome, Written};
use crate::app::App;
use crate::client::{Client as _, Tcp};
use crate::wire::{Answer, list};
use crate::{ensure, until};

/// The variable that says how many calls there are.
pub const CALLS: &str = "RECOIL_CONFORMANCE_CALLS";
/// Unless it says so. `README.md` has how long that takes, and the number that a release is tested with.
const CALLS_DEFAULT: u64 = 20_000;
const CLIENTS: usize = 6;
/// Keys that the calls are routed by: few, so that each handler's instance has many calls.
const PLACES: usize = 3;
/// Calls of a batch, and bytes after which no more are added.
const BATCH_CALLS_MAX: u64 = 64;
const BATCH_BYTES: usize = 1 << 20;
/// Keys of a client.
const KEYS: u64 = 50;
/// Answers of a client that may get lost on their way: on a machine that is busy with others, a partition may change its leader.
const LOST_MAX: usize = 20;
const MIB: u64 = 1 << 20;

pub(super) const CASES: &[Written] = &[("very many calls of mixed sizes", very_many_calls)];

fn very_many_calls(app: &App<'_>) -> Outcome {
    let calls = match std::env::var(CALLS) {
        Ok(text) => text.parse().map_err(|_| format!("{CALLS} is {text:?}, which is no number"))?,
        Err(_) => CALLS_DEFAULT,
    };
    let pool = Random(1).bytes(2 * MIB as usize);
    let run = |number: usize| -> Outcome {
        let mut mixer =
            Mixer { random: Random(2 + number as u64), pool: &pool, number, values: HashMap::new(), lost: 0 };
        let mut client = app.tcp(number % 3)?;
        let mut left = calls.div_ceil(CLIENTS as u64);
        while left > 0 {
            left -= mixer
                .batch(&mut client, left)
                .map_err(|why| format!("client {number}, {left} calls before its end: {why}"))?;
        }
        mixer.check_all(&mut client)
    };
    std::thread::scope(|scope| {
        let run = &run;
        let clients: Vec<_> = (0..CLIENTS).map(|number| scope.spawn(move || run(number))).collect();
        clients.into_iter().try_for_each(|client| client.join().map_err(|_| "a client panicked".to_owned())?)
    })
}

/// Numbers that look random and are the same in every run: xorshift64* (Vigna, 2016).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 11) % bound
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| (self.next() >> 56) as u8).collect()
    }

    /// Most are small, as in life.
    fn size(&mut self) -> usize {
        let bound = match self.below(1000) {
            0..2 => return MIB as usize,
            2..50 => 64 << 10,
            50..250 => 4 << 10,
            _ => 256,
        };
        self.below(bound + 1) as usize
    }
}

/// A client that knows what it must be answered.
struct Mixer<'a> {
    random: Random,
    pool: &'a [u8],
    number: usize,
    values: HashMap<Vec<u8>, &'a [u8]>,
    lost: usize,
}

impl<'a> Mixer<'a> {
    /// Sends a batch of at most `calls_max` calls and checks its answers; how many there were.
    fn batch(&mut self, client: &mut Tcp, calls_max: u64) -> Result<u64, String> {
        let calls = calls_max.min(1 + self.random.below(BATCH_CALLS_MAX));
        let (mut words, mut expected, mut bytes) = (vec![b"call-many".to_vec(), b"write".to_vec()], Vec::new(), 0);
        while (expected.len() as u64) < calls && bytes < BATCH_BYTES {
            let (request, answer) = self.call();
            bytes += request.len() + answer.iter().map(Vec::len).sum::<usize>();
            words.extend([self.place(), request]);
            expected.push(answer);
        }
        let answers = client.ask_list(&list(&words))?.items()?;
        ensure(answers.len() == expected.len(), || format!("{} answers to {} calls", answers.len(), expected.len()))?;
        for (place, (answer, expected)) in answers.iter().zip(&expected).enumerate() {
            let answer = Answer::of(answer)?;
            if matches!(&answer, Answer::Error { kind, .. } if kind == "unknown-outcome" || kind == "unavailable") {
                // What was written is not known any more: it goes on with other keys.
                self.lost += 1;
                self.values.clear();
                ensure(self.lost <= LOST_MAX, || format!("{LOST_MAX} answers were lost, and one more: {answer}"))?;
                break;
            }
            let expected = Answer::Items(expected.clone());
            ensure(answer == expected, || format!("call {place} is answered {answer}, not {expected}"))?;
        }
        // What the listener makes and drops by itself.
        if self.random.below(8) == 0 {
            let value = self.value();
            let echoed = client.ask(&[b"echo", value])?.items()?;
            ensure(echoed == [value], || format!("an echo of {} bytes is another's", value.len()))?;
        }
        Ok(expected.len() as u64)
    }

    /// The key that this client's calls are routed by.
    fn place(&self) -> Vec<u8> {
        format!("place {}", self.number % PLACES).into_bytes()
    }

    /// A request, and what it must be answered.
    fn call(&mut self) -> (Vec<u8>, Vec<Vec<u8>>) {
        let key = format!("client {}, key {}, {}", self.number, self.random.below(KEYS), self.lost).into_bytes();
        let value = self.value();
        let (request, answer) = match self.random.below(100) {
            0..40 => (list(&[&b"echo"[..], value, b"", &key]), vec![value.to_vec(), vec![], key.clone()]),
            40..65 => {
                let found = self.values.get(&key).map(|found| found.to_vec());
                (list(&[&b"get"[..], &key]), found.into_iter().collect())
            }
            65..80 => {
                self.values.insert(key.clone(), value);
                (list(&[&b"put"[..], &key, value]), vec![])
            }
            80..90 => {
                let before = self.values.insert(key.clone(), value);
                let before = before.map(|before| [b"+", before].concat()).unwrap_or_default();
                (list(&[&b"bump"[..], &key, value]), vec![before])
            }
            90..95 => {
                self.values.remove(&key);
                (list(&[&b"remove"[..], &key]), vec![])
            }
            _ => {
                let count = self.random.below(2000);
                let length: usize = (0..count).map(|number| number.to_string().len()).sum();
                (list(&["churn", &count.to_string()]), vec![length.to_string().into_bytes()])
            }
        };
        (request, answer)
    }

    fn value(&mut self) -> &'a [u8] {
        let size = self.random.size();
        let start = self.random.below(self.pool.len() as u64 - size as u64) as usize;
        &self.pool[start..start + size]
    }

    /// Everything that was put is there at the end. Reading it may wait until a partition has a leader again.
    fn check_all(&self, client: &mut Tcp) -> Outcome {
        for (key, value) in &self.values {
            let get = list(&[&b"get"[..], key]);
            let what = format!("the value of {}", key.escape_ascii());
            let found = until(&what, || client.ask(&[b"call", b"read", &self.place(), &get])?.items())?;
            ensure(found == [*value], || format!("{} is not what was put last", key.escape_ascii()))?;
        }
        Ok(())
    }
}
