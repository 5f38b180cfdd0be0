//! When to look for due timers. The timers themselves are rows of their partition; this is only the alarm clock.
//!
//! One alarm per (partition, app), the earliest: firing looks at the rows, fires what is due and sets the next alarm. Alarms
//! are lost with the node or the leadership, and are set again by whoever leads next.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use parking_lot::Mutex;
use recoil_base::{AppId, Clock};
use recoil_consensus::PartitionRef;
use tokio::sync::Notify;

/// First and longest pause before a timer that failed fires again.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Longest sleep, so that a jump of the wall clock is noticed.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// When a timer that failed may fire again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pause {
    pub(crate) until_us: u64,
    length: Duration,
}

impl Pause {
    /// The pause after one more failure.
    pub(crate) fn after(before: Option<Pause>, now_us: u64) -> Self {
        let length = before.map_or(PAUSE_MIN, |before| (before.length * 2).min(PAUSE_MAX));
        Pause { until_us: now_us + length.as_micros() as u64, length }
    }
}

type Alarm = (u64, PartitionRef, AppId);

#[derive(Default)]
struct Alarms {
    order: BTreeSet<Alarm>,
    at: HashMap<(PartitionRef, AppId), u64>,
}

/// The alarms of a node.
pub(crate) struct Timers {
    clock: Clock,
    alarms: Mutex<Alarms>,
    changed: Notify,
}

impl Timers {
    pub(crate) fn new(clock: Clock) -> Self {
        Timers { clock, alarms: Mutex::default(), changed: Notify::new() }
    }

    /// Look at this app's timers on this partition at `at_us`, if no earlier alarm is set.
    pub(crate) fn set(&self, partition: PartitionRef, app: AppId, at_us: u64) {
        let mut alarms = self.alarms.lock();
        let before = alarms.at.get(&(partition, app)).copied();
        if before.is_some_and(|before| before <= at_us) {
            return;
        }
        if let Some(before) = before {
            alarms.order.remove(&(before, partition, app));
        }
        alarms.at.insert((partition, app), at_us);
        alarms.order.insert((at_us, partition, app));
        drop(alarms);
        self.changed.notify_one();
    }

    /// The next alarm, once it is due.
    pub(crate) async fn next(&self) -> (PartitionRef, AppId) {
        loop {
            let now = self.clock.wall_us();
            let sleep = {
                let mut alarms = self.alarms.lock();
                match alarms.order.first().copied() {
                    Some((at, partition, app)) if at <= now => {
                        alarms.order.pop_first();
                        alarms.at.remove(&(partition, app));
                        return (partition, app);
                    }
                    Some((at, ..)) => Some(Duration::from_micros(at - now).min(SLEEP_MAX)),
                    None => None,
                }
            };
            match sleep {
                Some(sleep) => {
                    tokio::select! {
                        () = tokio::time::sleep(sleep) => {}
                        () = self.changed.notified() => {}
                    }
                }
                None => self.changed.notified().await,
            }
        }
    }
}
