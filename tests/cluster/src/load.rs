//! Clients that append and read, through every node, and remember what they were told.
//!
//! Keys are shared by all clients, so that a write through one node is looked for through another at once. A key is left for
//! a fresh one when it has grown, so that values stay small however long the load runs.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::history::{self, Action, END, Operation, Outcome};
use crate::{Door, PATIENCE, Redis, Reply, eventually};

/// Appends to a key before the next one takes its place.
const APPENDS_MAX: u64 = 150;
/// Between two operations of a client: on a small machine the nodes need the processors more.
const PAUSE: Duration = Duration::from_millis(2);
/// After a failed connection.
const PAUSE_UNREACHED: Duration = Duration::from_millis(20);

struct Shared {
    name: String,
    stop: AtomicBool,
    /// Appends begun, by key.
    begun: Vec<AtomicU64>,
    /// Answers that were no errors, by client.
    done: Vec<AtomicU64>,
}

impl Shared {
    fn key(&self, key: usize, generation: u64) -> String {
        format!("{}:{key}:{generation}", self.name)
    }
}

/// Running clients.
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Vec<(String, Operation)>>>,
}

impl Load {
    /// Two clients for each door, working on `keys` keys that begin with `name`, which must not have been used before.
    pub fn start(name: &str, doors: &[Door], keys: usize) -> Self {
        let clients: Vec<Door> = doors.iter().chain(doors).cloned().collect();
        let zeros = |count| (0..count).map(|_| AtomicU64::new(0)).collect();
        let (begun, done) = (zeros(keys), zeros(clients.len()));
        let shared = Arc::new(Shared { name: name.to_owned(), stop: AtomicBool::new(false), begun, done });
        let thread = |(number, door)| {
            let shared = shared.clone();
            std::thread::spawn(move || Client { number, door, shared, connection: None, operations: vec![] }.run())
        };
        let threads = clients.into_iter().enumerate().map(thread).collect();
        Load { shared, threads }
    }

    /// Waits until each client of door `k` has `count` more good answers.
    pub fn wait_progress(&self, k: usize, doors: usize, count: u64) {
        for done in self.shared.done.iter().skip(k).step_by(doors) {
            let before = done.load(Ordering::Relaxed);
            eventually("clients are served", || {
                let now = done.load(Ordering::Relaxed);
                if now >= before + count { Ok(()) } else { Err(format!("{} answers through node {k}", now - before)) }
            });
        }
    }

    /// Ends the clients, and says what they saw.
    pub fn stop(self) -> History {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut keys: HashMap<String, Vec<Operation>> = HashMap::new();
        for thread in self.threads {
            for (key, operation) in thread.join().expect("a client does not panic") {
                keys.entry(key).or_default().push(operation);
            }
        }
        History { keys }
    }
}

struct Client {
    number: usize,
    door: Door,
    shared: Arc<Shared>,
    connection: Option<Redis>,
    operations: Vec<(String, Operation)>,
}

impl Client {
    fn run(mut self) -> Vec<(String, Operation)> {
        let mut dice = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(self.number as u64 + 1);
        for turn in 0u64.. {
            if self.shared.stop.load(Ordering::Relaxed) {
                break;
            }
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            if self.connection.is_none() {
                match self.door.connect() {
                    Ok(redis) => self.connection = Some(redis),
                    Err(_) => {
                        std::thread::sleep(PAUSE_UNREACHED);
                        continue;
                    }
                }
            }
            self.operate((dice >> 8) as usize % self.shared.begun.len(), dice % 8, turn);
            std::thread::sleep(PAUSE);
        }
        self.operations
    }

    /// One operation in eight appends in a transaction, three append, four read.
    fn operate(&mut self, key: usize, kind: u64, turn: u64) {
        let begun = &self.shared.begun[key];
        let generation = if kind < 4 { begun.fetch_add(1, Ordering::Relaxed) } else { begun.load(Ordering::Relaxed) };
        let key = self.shared.key(key, generation / APPENDS_MAX);
        let token = format!("{}.{turn}{END}", self.number);
        let action = if kind < 4 { Action::Append(token.clone()) } else { Action::Read };
        let started = Instant::now();
        let Some(connection) = &mut self.connection else { return };
        let answered = match kind {
            0 => append_in_transaction(connection, &key, &token),
            1..4 => connection.command(&["APPEND", &key, &token]),
            _ => connection.command(&["GET", &key]),
        };
        let ended = Instant::now();
        if answered.is_err() {
            self.connection = None;
        }
        let outcome = outcome(&action, answered);
        if matches!(outcome, Outcome::Length(_) | Outcome::Value(_)) {
            self.shared.done[self.number].fetch_add(1, Ordering::Relaxed);
        }
        let client = format!("client {} at {}", self.number, self.door);
        self.operations.push((key, Operation { action, started, ended, outcome, client }));
    }
}

fn append_in_transaction(redis: &mut Redis, key: &str, token: &str) -> io::Result<Reply> {
    let replies = redis.pipeline(&[&["MULTI"], &["APPEND", key, token], &["EXEC"]])?;
    match replies.last() {
        Some(Reply::Array(results)) if results.len() == 1 => Ok(results[0].clone()),
        Some(other) => Ok(other.clone()),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn outcome(action: &Action, answered: io::Result<Reply>) -> Outcome {
    match (action, answered) {
        (Action::Append(_), Ok(Reply::Integer(length))) => Outcome::Length(length.unsigned_abs() as usize),
        (Action::Read, Ok(Reply::Bulk(value))) => {
            Outcome::Value(String::from_utf8_lossy(&value.unwrap_or_default()).into_owned())
        }
        // It says that nothing was written, which is a promise.
        (_, Ok(Reply::Error(text))) if text.starts_with("CLUSTERDOWN") => Outcome::Refused(text),
        (_, Ok(reply)) => Outcome::Unknown(format!("{reply:?}")),
        (_, Err(error)) => Outcome::Unknown(error.to_string()),
    }
}

/// What all clients of a load saw.
#[derive(Default)]
pub struct History {
    keys: HashMap<String, Vec<Operation>>,
}

impl History {
    /// Adds what others saw of the same keys.
    pub fn add(&mut self, key: &str, operation: Operation) {
        self.keys.entry(key.to_owned()).or_default().push(operation);
    }

    /// The keys.
    pub fn keys(&self) -> Vec<String> {
        self.keys.keys().cloned().collect()
    }

    /// Reads that were not answered with a value, of the clients at these doors.
    pub fn failed_reads(&self, doors: &[Door]) -> Vec<&Operation> {
        let at: Vec<String> = doors.iter().map(|door| format!("at {door}")).collect();
        let failed = |operation: &&Operation| {
            operation.action == Action::Read
                && !matches!(operation.outcome, Outcome::Value(_))
                && at.iter().any(|at| operation.client.ends_with(at))
        };
        self.keys.values().flatten().filter(failed).collect()
    }

    /// Reads every key through `door` and checks its history. Panics with the first lie.
    pub fn check(&self, door: &Door) -> Summary {
        let mut summary = Summary::default();
        for (key, operations) in &self.keys {
            let read = || {
                let reply = door.connect().and_then(|mut redis| redis.command(&["GET", key]));
                let outcome = outcome(&Action::Read, reply);
                if let Outcome::Value(value) = outcome { Ok(value) } else { Err(format!("{outcome:?}")) }
            };
            let value = eventually("the value at the end", read);
            if let Err(why) = history::check(operations, &value) {
                panic!("key {key}, read through {door}: {why}");
            }
            operations.iter().for_each(|operation| summary.count(operation));
        }
        summary
    }
}

/// How many operations went how.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Acknowledged appends.
    pub appends: usize,
    /// Answered reads.
    pub reads: usize,
    /// Errors, by their first word.
    pub errors: BTreeMap<String, usize>,
    /// The longest time from request to answer.
    pub longest: Duration,
}

impl Summary {
    fn count(&mut self, operation: &Operation) {
        let wrote = matches!(operation.action, Action::Append(_));
        match &operation.outcome {
            Outcome::Length(_) => self.appends += 1,
            Outcome::Value(_) => self.reads += 1,
            Outcome::Refused(text) | Outcome::Unknown(text) => {
                let word: String = text.split_whitespace().take(4).collect::<Vec<_>>().join(" ");
                let what = if wrote { "append" } else { "read" };
                *self.errors.entry(format!("{what}: {word}")).or_default() += 1;
            }
        }
        self.longest = self.longest.max(operation.ended - operation.started);
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let longest = self.longest.as_millis();
        write!(f, "{} appends, {} reads, longest {longest} ms, errors {:?}", self.appends, self.reads, self.errors)
    }
}

/// Probes one key each, every 10 ms, and remembers the longest time without an answer.
pub struct Probes {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Probed>>,
}

/// What the probe of one key saw.
#[derive(Clone, Copy, Debug, Default)]
pub struct Probed {
    /// The longest time between two acknowledged writes.
    pub longest: Duration,
    /// Writes that were refused, or whose connection ended before an answer.
    pub failed: u64,
}

impl Probes {
    /// `keys` keys, dealt out to the doors.
    pub fn start(doors: &[Door], keys: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = |number: usize| {
            let (stop, door) = (stop.clone(), doors[number % doors.len()].clone());
            std::thread::spawn(move || probe(&door, &format!("probe:{number}"), &stop))
        };
        let threads = (0..keys).map(thread).collect();
        Probes { stop, threads }
    }

    /// The longest time between two acknowledged writes of one key.
    pub fn stop(self) -> Duration {
        self.stop_each().into_iter().map(|probed| probed.longest).max().unwrap_or_default()
    }

    /// What was seen of each key.
    pub fn stop_each(self) -> Vec<Probed> {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().map(|thread| thread.join().expect("a probe does not panic")).collect()
    }
}

fn probe(door: &Door, key: &str, stop: &AtomicBool) -> Probed {
    let (mut connection, mut probed) = (None, Probed::default());
    let mut last: Option<Instant> = None;
    let end = Instant::now() + PATIENCE;
    // Goes on until the write after the outage is there.
    while !stop.load(Ordering::Relaxed) && Instant::now() < end {
        let begun = Instant::now();
        let redis = connection.take().map_or_else(|| door.connect(), Ok);
        if let Ok(mut redis) = redis {
            let answer = redis.command(&["SET", key, "1"]);
            if matches!(answer, Ok(Reply::Simple(_))) {
                probed.longest = probed.longest.max(last.map_or(Duration::ZERO, |last| last.elapsed()));
                last = Some(Instant::now());
            } else {
                probed.failed += 1;
            }
            connection = answer.is_ok().then_some(redis);
        }
        std::thread::sleep(Duration::from_millis(10).saturating_sub(begun.elapsed()));
    }
    probed
}
