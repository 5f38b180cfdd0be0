//! Keeping the node's log small: one look a second at all of its groups.
//!
//! The groups of a node share the segments of its log, and a segment goes only when no group has a live entry in it. So whether a
//! group should purge is a matter of the node's log and not of the group's: a meta group with ten entries may keep gigabytes of
//! the others' from being deleted. Once a second the keeper asks the log which groups hold entries in old segments
//! ([`recoil_storage::Pins`]), which costs nothing while there are at most two, and
//! - has those persist their data that have applied more than is durable, and purge what is durable and old. They keep what is newer, for
//!   followers that lag a little; one that lags by more than two segments of this node's log gets a snapshot, and while that is sent
//!   the entries behind it are kept ([`Sending`]);
//! - has the log copy the entries of those forward that could not purge for [`LOOKS_MAX`] looks: without a quorum nothing is
//!   committed, and a group that is closed or being repaired has nobody to purge it. It is a waste for a group that would have
//!   purged a little later, so one that only waits for its data to be durable is given [`LOOKS_PERSISTING_MAX`], and it is worth
//!   it only where much is dead.
//!
//! Invariants: what is purged is durable in the data of this start of the node ([`Persisted`]; what was found at the start is
//! readable, which is less). Nothing here waits for a group: asking is a message, persisting is done elsewhere, and the next look
//! finds out.
//!
//! Crash points: none of its own. A group persists, then purges ([`crate::machine`]); copies are durable before what they replace goes
//! (`recoil_storage::log`).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use recoil_base::{Clock, GroupId, Tasks, task};
use recoil_storage::{Log, LogError, Pin, Pins};
use tokio::time::Instant;

use crate::group::Group;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// So many looks at which an entry pins its segment before it is copied forward.
const LOOKS_MAX: u32 = 3;
/// The same for a group that has applied the entry and waits for it to be durable. That takes its turn behind all that the node
/// has to apply, and copying would only add to what a busy disk has to do; but a group that has failed for good waits as well.
const LOOKS_PERSISTING_MAX: u32 = 60;
/// How long a snapshot counts as being sent after it has been: the follower begins with the entries behind it.
const SENT_FOR: Duration = Duration::from_secs(5);
/// Segments of the node's log up to which the entries behind a snapshot that is being sent are kept: 1 GiB of segments of 64 MiB.
const SEGMENTS_FOR_SENDING_MAX: usize = 16;
/// The same after an entry could not be read.
const LOOKS_AFTER_DAMAGE: u32 = 60;
/// Bytes copied forward after one look: what this may take from the disk's other work.
const RELOCATED_BYTES_MAX: usize = 32 << 20;

/// The keeper; clones share it.
#[derive(Clone, Debug)]
pub struct LogKeeper(Arc<Mutex<BTreeMap<GroupId, Weak<Group>>>>);

impl LogKeeper {
    /// Starts with no groups.
    pub fn start(tasks: &Tasks, log: Log) -> Self {
        let groups: Arc<Mutex<BTreeMap<GroupId, Weak<Group>>>> = Arc::default();
        let keeper = LogKeeper(groups);
        tasks.spawn(keeper.clone().run(log));
        keeper
    }

    pub(crate) fn add(&self, group: &Arc<Group>) {
        let mut groups = self.0.lock();
        groups.retain(|_, group| group.strong_count() > 0);
        groups.insert(group.id(), Arc::downgrade(group));
    }

    fn open(&self, group: GroupId) -> Option<Arc<Group>> {
        self.0.lock().get(&group).and_then(Weak::upgrade)
    }

    async fn run(self, log: Log) {
        let mut looks = Looks::default();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let pins = log.pins();
            let steps = looks.decide(&pins, |group| self.open(group).map(|group| group.reach()));
            let mut bytes_left = RELOCATED_BYTES_MAX;
            for step in steps {
                match step {
                    Step::Persist(group) => self.open(group).into_iter().for_each(|group| group.persist()),
                    Step::Purge(group, upto) => self.open(group).into_iter().for_each(|group| group.purge(upto)),
                    Step::Relocate(pin) if bytes_left > 0 => match relocate(&log, pin, &mut bytes_left).await {
                        Ok(()) => {}
                        Err(LogError::Closed | LogError::Poisoned { .. }) => return,
                        Err(error) => {
                            tracing::error!(group = %pin.group, %error, "entries of a group stay in an old segment of the log");
                            looks.postpone(pin.group);
                        }
                    },
                    Step::Relocate(_) => {}
                }
            }
        }
    }
}

/// Copies the old entries of one group forward, a piece at a time.
async fn relocate(log: &Log, pin: Pin, bytes_left: &mut usize) -> Result<(), LogError> {
    let mut from = pin.first;
    while *bytes_left > 0 {
        let log = log.clone();
        let read = task::spawn_blocking(move || log.relocate(pin.group, from)).await;
        let Ok(read) = read else { return Err(LogError::Closed) }; // the runtime ends
        let Some(relocation) = read? else { return Ok(()) };
        from = relocation.next;
        *bytes_left = bytes_left.saturating_sub(relocation.bytes);
        relocation.durable().await?;
    }
    Ok(())
}

/// The moments of a group's data that are being sent to other replicas.
///
/// Whoever receives one goes on with the entries behind it. If these were purged meanwhile it would need another snapshot, and under
/// load one after another without end, since openraft does not count a snapshot among what a follower is being sent.
#[derive(Debug)]
pub(crate) struct Sending {
    clock: Clock,
    moments: Mutex<Moments>,
}

#[derive(Debug, Default)]
struct Moments {
    newest: u64,
    /// By the order in which they were taken: the last index, and when the sending ended.
    held: BTreeMap<u64, (u64, Option<Instant>)>,
}

/// A moment that is being sent.
pub(crate) struct Held {
    sending: Arc<Sending>,
    order: u64,
}

impl Sending {
    pub(crate) fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Sending { clock, moments: Mutex::default() })
    }

    /// The moment at `index` is being sent as long as the answer lives, and counts for [`SENT_FOR`] longer.
    pub(crate) fn hold(self: &Arc<Self>, index: u64) -> Held {
        let mut moments = self.moments.lock();
        moments.newest += 1;
        let order = moments.newest;
        moments.held.insert(order, (index, None));
        Held { sending: self.clone(), order }
    }

    /// The last index of the earliest moment that counts.
    pub(crate) fn earliest(&self) -> Option<u64> {
        let now = self.clock.now();
        let mut moments = self.moments.lock();
        let counts = |ended: Option<Instant>| ended.is_none_or(|ended| now.saturating_duration_since(ended) < SENT_FOR);
        moments.held.retain(|_, (_, ended)| counts(*ended));
        moments.held.values().map(|(index, _)| *index).min()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let now = self.sending.clock.now();
        if let Some((_, ended)) = self.sending.moments.lock().held.get_mut(&self.order) {
            *ended = Some(now);
        }
    }
}

/// How far a group's data is durable, as known in this start of the node. Grows only.
#[derive(Debug, Default)]
pub(crate) struct Persisted(AtomicU64);

impl Persisted {
    /// Everything up to `index` is durable.
    pub(crate) fn raise(&self, index: u64) {
        self.0.fetch_max(index + 1, Ordering::Relaxed);
    }

    /// The last index that is.
    pub(crate) fn last(&self) -> Option<u64> {
        self.0.load(Ordering::Relaxed).checked_sub(1)
    }
}

/// How far a group that is open here has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reach {
    pub(crate) applied: Option<u64>,
    pub(crate) persisted: Option<u64>,
    /// The last index of the earliest snapshot that is being sent.
    pub(crate) sending: Option<u64>,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Make what is applied durable.
    Persist(GroupId),
    /// Purge up to an index, which is durable.
    Purge(GroupId, u64),
    /// Copy what is old forward.
    Relocate(Pin),
}

/// How long a group has been waited for.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// The last entry that was old when the waiting began.
    upto: u64,
    looks: u32,
    looks_min: u32,
}

/// The decision, without the doing.
#[derive(Debug, Default)]
struct Looks {
    patience: BTreeMap<GroupId, Patience>,
}

impl Looks {
    fn decide(&mut self, pins: &Pins, reach: impl Fn(GroupId) -> Option<Reach>) -> Vec<Step> {
        self.patience.retain(|group, _| pins.groups.iter().any(|pin| pin.group == *group));
        let mut steps = Vec::new();
        for pin in &pins.groups {
            let mut looks_max = LOOKS_MAX;
            if let Some(Reach { applied, persisted, sending }) = reach(pin.group) {
                // Entries behind a snapshot that is being sent are needed next; but not at the cost of the disk.
                let sending = sending.filter(|_| pins.segments <= SEGMENTS_FOR_SENDING_MAX).unwrap_or(u64::MAX);
                let upto = pin.upto.min(sending);
                let wanted = applied.map(|applied| applied.min(upto)).filter(|wanted| *wanted >= pin.first);
                if wanted > persisted {
                    steps.push(Step::Persist(pin.group));
                    if persisted < Some(pin.first) {
                        looks_max = LOOKS_PERSISTING_MAX;
                    }
                }
                // What is durable is purged at once, though more will follow.
                if let Some(durable) = wanted.min(persisted).filter(|durable| *durable >= pin.first) {
                    steps.push(Step::Purge(pin.group, durable));
                }
            }
            let fresh = Patience { upto: pin.upto, looks: 0, looks_min: 0 };
            let patience = self.patience.entry(pin.group).or_insert(fresh);
            if pin.first > patience.upto {
                *patience = fresh; // it does purge, and others have become old
            }
            patience.looks += 1;
            if patience.looks >= looks_max.max(patience.looks_min) && pins.sparse {
                steps.push(Step::Relocate(*pin));
            }
        }
        steps
    }

    fn postpone(&mut self, group: GroupId) {
        if let Some(patience) = self.patience.get_mut(&group) {
            (patience.looks, patience.looks_min) = (0, LOOKS_AFTER_DAMAGE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: GroupId = GroupId(3);

    fn pins(first: u64, upto: u64) -> Pins {
        Pins { groups: vec![Pin { group: GROUP, first, upto }], segments: 3, sparse: true }
    }

    fn look(looks: &mut Looks, pins: &Pins, reach: Option<(u64, u64)>) -> Vec<Step> {
        // Numbers are one more than indexes: 0 is nothing yet.
        let reach = reach
            .map(|(applied, persisted)| (applied.checked_sub(1), persisted.checked_sub(1)))
            .map(|(applied, persisted)| Reach { applied, persisted, sending: None });
        looks.decide(pins, |group| reach.filter(|_| group == GROUP))
    }

    /// Fails if a group purges what is not durable, more than is old, or nothing while more could be made durable.
    #[test]
    fn a_group_purges_what_is_old_and_durable_and_persists_if_that_is_not_all() {
        let pins = pins(10, 20);
        let steps = |reach| look(&mut Looks::default(), &pins, reach);
        let (persist, purge) = (Step::Persist(GROUP), |upto| Step::Purge(GROUP, upto));
        assert_eq!(steps(Some((0, 0))), [], "nothing was applied");
        assert_eq!(steps(Some((10, 0))), [], "what is old is not committed");
        assert_eq!(steps(Some((11, 0))), [persist]);
        assert_eq!(steps(Some((100, 0))), [persist]);
        assert_eq!(steps(Some((100, 10))), [persist]);
        assert_eq!(steps(Some((100, 15))), [persist, purge(14)]);
        assert_eq!(steps(Some((15, 15))), [purge(14)], "the rest is not committed");
        assert_eq!(steps(Some((100, 21))), [purge(20)]);
        assert_eq!(steps(Some((100, 90))), [purge(20)], "followers may want the rest");
        assert_eq!(steps(Some((20, 90))), [purge(19)], "a replica that goes back does not purge what it has not");
        assert_eq!(steps(None), []);
    }

    /// Fails if entries behind a snapshot that is being sent are purged, so that its receiver needs another one, and another; and if they
    /// are kept however large the log becomes.
    #[test]
    fn entries_behind_a_snapshot_that_is_being_sent_are_kept_within_a_bound() {
        let reach = |sending| Reach { applied: Some(100), persisted: Some(100), sending };
        let steps = |pins: &Pins, sending| Looks::default().decide(pins, |_| Some(reach(sending)));
        let (few, purge) = (pins(10, 20), |upto| vec![Step::Purge(GROUP, upto)]);
        assert_eq!(steps(&few, None), purge(20));
        assert_eq!(steps(&few, Some(15)), purge(15));
        assert_eq!(steps(&few, Some(9)), []);
        assert_eq!(steps(&few, Some(50)), purge(20));
        let many = Pins { segments: SEGMENTS_FOR_SENDING_MAX + 1, ..few };
        assert_eq!(steps(&many, Some(9)), purge(20));

        let sending = Sending::new(Clock::system());
        assert_eq!(sending.earliest(), None);
        let (first, second) = (sending.hold(7), sending.hold(5));
        assert_eq!(sending.earliest(), Some(5));
        drop(second);
        assert_eq!(sending.earliest(), Some(5), "its receiver begins with what follows");
        let ended = Clock::system().now().checked_sub(SENT_FOR);
        sending.moments.lock().held.values_mut().filter(|(_, end)| end.is_some()).for_each(|(_, end)| *end = ended);
        assert_eq!(sending.earliest(), Some(7));
        drop(first);
    }

    /// Fails if entries are copied at once, or the more often the busier their group is.
    #[test]
    fn what_pins_is_copied_after_three_looks_unless_its_group_purges_meanwhile() {
        let relocate = |first, upto| [Step::Relocate(Pin { group: GROUP, first, upto })];
        let mut looks = Looks::default();
        assert_eq!(look(&mut looks, &pins(0, 5), None), []);
        assert_eq!(look(&mut looks, &pins(0, 7), None), []);
        assert_eq!(look(&mut looks, &pins(0, 7), None), relocate(0, 7));
        assert_eq!(look(&mut looks, &pins(3, 7), None), relocate(3, 7), "it goes on until all is copied");
        assert_eq!(look(&mut looks, &Pins::default(), None), []);
        assert_eq!(look(&mut looks, &pins(0, 7), None), [], "it pins again, later");
        // A group that purges, and writes so much that something always pins.
        for number in 1..10 {
            assert_eq!(look(&mut looks, &pins(number * 10, number * 10 + 9), None), [], "{number}");
        }
        assert_eq!(look(&mut looks, &pins(95, 120), None), []);
        assert_eq!(look(&mut looks, &pins(95, 120), None), relocate(95, 120));
        looks.postpone(GROUP);
        for _ in 1..LOOKS_AFTER_DAMAGE {
            assert_eq!(look(&mut looks, &pins(95, 120), None), []);
        }
        assert_eq!(look(&mut looks, &pins(95, 120), None), relocate(95, 120));
        // What only waits to be durable waits longer, but not for ever.
        let (mut looks, persist) = (Looks::default(), Step::Persist(GROUP));
        for number in 1..LOOKS_PERSISTING_MAX {
            assert_eq!(look(&mut looks, &pins(0, 7), Some((8, 0))), [persist], "{number}");
        }
        let relocate = Step::Relocate(Pin { group: GROUP, first: 0, upto: 7 });
        assert_eq!(look(&mut looks, &pins(0, 7), Some((8, 0))), [persist, relocate]);
        // Full segments are left as they are.
        assert_eq!(look(&mut looks, &Pins { sparse: false, ..pins(95, 120) }, None), []);
    }
}
