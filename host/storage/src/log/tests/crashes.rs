//! Power losses and failing disks, against a model: what comes back is what the log was after some of the operations, all of
//! the acknowledged ones among them, in order.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::simulation::{Fault, Random, SimulatedDisk};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct ModelGroup {
    vote: Option<Bytes>,
    purged: Option<(u64, Bytes)>,
    first: u64,
    entries: Vec<Bytes>,
}

impl ModelGroup {
    fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }
}

type Model = BTreeMap<GroupId, ModelGroup>;

const GROUPS: [GroupId; 3] = [GroupId(0), GroupId(5), GroupId(9)];

fn observe(log: &Log) -> Model {
    let mut model = Model::new();
    for id in log.groups() {
        let group = log.group(id);
        let read = group.read(0..u64::MAX, usize::MAX).unwrap();
        let first = group.range().start;
        assert!(read.iter().map(|(index, _)| *index).eq(group.range()));
        let entries = read.into_iter().map(|(_, bytes)| bytes).collect();
        model.insert(id, ModelGroup { vote: group.vote(), purged: group.purged(), first, entries });
    }
    without_empty(model)
}

fn is_the_end(error: &LogError) -> bool {
    matches!(error, LogError::Poisoned { .. } | LogError::Closed)
}

/// A group that nothing is known of is as good as none.
fn without_empty(mut model: Model) -> Model {
    model.retain(|_, group| *group != ModelGroup::default());
    model
}

/// A log beside its model.
struct Run {
    log: Log,
    /// After each operation asked for; the first is what the log was opened with.
    history: Vec<Model>,
    acknowledged: Arc<AtomicUsize>,
    unique: u64,
    /// A group that only appends, so that its entries become old.
    stuck: Option<GroupId>,
}

impl Run {
    fn open(disk: &SimulatedDisk) -> Result<Self, LogError> {
        let log = Log::open_on(Arc::new(disk.clone()), small())?;
        let history = vec![observe(&log)];
        Ok(Run { log, history, acknowledged: Arc::default(), unique: 0, stuck: None })
    }

    fn acknowledge(&self) -> impl FnOnce(Result<(), LogError>) + Send + 'static {
        let (number, acknowledged) = (self.history.len(), self.acknowledged.clone());
        move |result| match result {
            Ok(()) => {
                let before = acknowledged.swap(number, Ordering::SeqCst);
                assert!(before < number, "completions run in order");
            }
            Err(error) => assert!(is_the_end(&error), "{error}"),
        }
    }

    fn unique(&mut self, length: u64) -> Bytes {
        self.unique += 1;
        let mut bytes = self.unique.to_le_bytes().to_vec();
        bytes.resize(8 + length as usize, self.unique as u8);
        bytes.into()
    }

    /// One operation, in the log and in the model.
    fn step(&mut self, random: &mut Random) {
        let id = GROUPS[random.below(3) as usize];
        let group = self.log.group(id);
        let mut model = self.history.last().unwrap().clone();
        let entry = model.entry(id).or_default();
        let done = self.acknowledge();
        let choice = random.below(24);
        let choice = if self.stuck == Some(id) { [0, 13, 19, 19][choice as usize % 4] } else { choice };
        match choice {
            0..=10 => {
                let next = entry.next();
                let payloads: Vec<Bytes> = (0..1 + random.below(3)).map(|_| self.unique(random.below(300))).collect();
                entry.entries.extend(payloads.iter().cloned());
                group.append((next..).zip(payloads).collect(), done);
            }
            11 | 12 => {
                let keep = random.below(entry.entries.len() as u64 + 1);
                let last = (entry.first + keep).checked_sub(1);
                entry.entries.truncate(keep as usize);
                group.truncate_after(last.filter(|last| *last >= entry.first || entry.purged.is_some()), done);
            }
            13 | 14 => {
                let vote = self.unique(10);
                entry.vote = Some(vote.clone());
                drop(group.save_vote(vote));
                self.barrier(done);
            }
            15..=17 => {
                let upto = entry.first + random.below(entry.entries.len() as u64 + 3);
                let log_id = self.unique(5);
                let dropped = (upto + 1 - entry.first).min(entry.entries.len() as u64);
                entry.entries.drain(..dropped as usize);
                entry.first = upto + 1;
                entry.purged = Some((upto, log_id.clone()));
                group.purge(upto, log_id);
                self.barrier(done);
            }
            18 => {
                let log_id = self.unique(5);
                let upto = random.below(50);
                *entry = ModelGroup {
                    vote: entry.vote.clone(),
                    purged: Some((upto, log_id.clone())),
                    first: upto + 1,
                    entries: Vec::new(),
                };
                group.reset((upto, log_id));
                self.barrier(done);
            }
            19..=22 => {
                // Copies change nothing that can be seen.
                let from = entry.first + random.below(entry.entries.len() as u64 + 1) / 2;
                drop(self.log.relocate(id, from).map_err(|error| assert!(is_the_end(&error), "{error}")));
                self.barrier(done);
            }
            _ => {
                model.remove(&id);
                group.remove();
                self.barrier(done);
            }
        }
        self.history.push(without_empty(model));
    }

    fn barrier(&self, done: impl FnOnce(Result<(), LogError>) + Send + 'static) {
        self.log.group(GROUPS[0]).append(Vec::new(), done);
    }

    /// The log that came back must be one of the states from the acknowledged one on.
    fn check(&self, acknowledged: usize, found: &Model, what: &str) {
        let fits = self.history[acknowledged..].iter().any(|model| model == found);
        assert!(
            fits,
            "{what}: after {acknowledged} of {} operations were acknowledged, there is {found:#?}",
            self.history.len() - 1
        );
    }
}

#[test]
fn after_a_power_loss_a_log_is_what_it_was_after_some_operation_no_earlier_than_acknowledged() {
    let (mut lost, mut relocated) = (0, 0);
    for seed in 0..150 {
        let mut random = Random(seed);
        let mut disk = SimulatedDisk::default();
        for _ in 0..4 {
            let mut run = Run::open(&disk).unwrap();
            run.stuck = (seed % 2 == 0).then_some(GROUPS[1]);
            for _ in 0..random.below(60) {
                run.step(&mut random);
                if random.below(12) == 0 {
                    wait(run.log.flush()).unwrap();
                }
            }
            assert_eq!(
                without_empty(observe(&run.log)),
                *run.history.last().unwrap(),
                "seed {seed}: what is asked for is seen"
            );
            relocated += run.log.stats().entries_relocated;
            let acknowledged = run.acknowledged.load(Ordering::SeqCst);
            let crashed = disk.crash(&mut random);
            let again =
                Log::open_on(Arc::new(crashed.clone()), small()).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            let found = observe(&again);
            run.check(acknowledged, &found, &format!("seed {seed}"));
            lost += usize::from(found != *run.history.last().unwrap());
            // Opening again, with another power loss right after the first recovery, gives the same.
            drop(again);
            let twice = Log::open_on(Arc::new(crashed.crash(&mut random)), small()).unwrap();
            assert_eq!(observe(&twice), found, "seed {seed}");
            disk = crashed;
        }
    }
    assert!(lost > 20, "power losses that lose nothing test nothing: {lost}");
    assert!(relocated > 300, "crashes beside few relocations test little: {relocated}");
}

#[test]
fn a_closed_log_comes_back_whole() {
    for seed in 0..40 {
        let mut random = Random(seed + 1000);
        let disk = SimulatedDisk::default();
        for _ in 0..3 {
            let mut run = Run::open(&disk).unwrap();
            for _ in 0..80 {
                run.step(&mut random);
            }
            run.log.close();
            assert_eq!(run.acknowledged.load(Ordering::SeqCst), 80);
            let again = Log::open_on(Arc::new(disk.crash(&mut random)), small()).unwrap();
            assert_eq!(observe(&again), *run.history.last().unwrap(), "seed {seed}");
        }
    }
}

#[test]
fn after_the_first_failure_nothing_is_acknowledged_and_no_sync_is_tried_again() {
    let faults: [fn(u64) -> Fault; 4] = [Fault::Write, Fault::Sync, Fault::Create, Fault::FolderSync];
    for seed in 0..80u64 {
        let mut random = Random(seed + 2000);
        let disk = SimulatedDisk::default();
        let mut run = Run::open(&disk).unwrap();
        let fault = faults[seed as usize % 4](random.below(if seed % 4 < 2 { 12 } else { 2 }));
        disk.set_fault(fault);
        for _ in 0..400 {
            run.step(&mut random);
            if wait(run.log.flush()).is_err() {
                break;
            }
        }
        let what = format!("seed {seed}, {fault:?}");
        assert!(disk.faulted(), "{what}");
        assert!(matches!(wait(run.log.flush()), Err(LogError::Poisoned { .. })), "{what}");
        let reason = wait(run.log.failed());
        assert!(reason.contains("error") || reason.contains("space"), "{what}: {reason}");
        let acknowledged = run.acknowledged.load(Ordering::SeqCst);
        let group = run.log.group(GroupId(77));
        assert!(matches!(append(&group, 0..1, 10), Err(LogError::Poisoned { .. })), "{what}");
        assert!(matches!(wait(group.save_vote(Bytes::new())), Err(LogError::Poisoned { .. })), "{what}");
        assert!(matches!(truncate(&group, None), Err(LogError::Poisoned { .. })), "{what}");
        wait(run.log.ready());
        run.log.close();
        assert_eq!((disk.syncs_after_fault(), run.acknowledged.load(Ordering::SeqCst)), (0, acknowledged), "{what}");
        let again =
            Log::open_on(Arc::new(disk.crash(&mut random)), small()).unwrap_or_else(|error| panic!("{what}: {error}"));
        run.check(acknowledged, &observe(&again), &what);
    }
}

#[test]
fn a_completion_that_panics_ends_the_log_and_not_only_its_thread() {
    let disk = SimulatedDisk::default();
    let log = Log::open_on(Arc::new(disk), small()).unwrap();
    log.group(A).append(vec![(0, Bytes::new())], |_| panic!("meant to be seen in the output of this test"));
    assert!(wait(log.failed()).contains("panicked"));
    assert!(matches!(append(&log.group(A), 1..2, 10), Err(LogError::Poisoned { .. })));
}
