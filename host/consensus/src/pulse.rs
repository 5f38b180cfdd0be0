//! One timer for all replicas of a node.
//!
//! openraft wakes each replica five times between two heartbeats, to see whether one is due or its leader has been silent for too long.
//! With a dozen replicas that is most of what an idle node does. Here a node looks at all of them together, once a heartbeat: one that
//! leads is told to send its heartbeats, which then travel together, and one that hears its leader is not woken by openraft at all.
//!
//! Invariant: openraft's own ticks are off only in a replica that was told to send heartbeats at the last pulse, or that had accepted an
//! append within [`HEARD_WITHIN`] heartbeats before it. So a silent leader is noticed by ticks that begin long before openraft would
//! campaign, which is a lease and an election's delay after the last append.

use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use recoil_base::Tasks;

use crate::group::Group;

/// Heartbeats, and part of one, within which a leader counts as heard.
const HEARD_WITHIN: f32 = 1.5;

/// The timer; clones share it.
#[derive(Clone, Debug)]
pub struct Pulse(Arc<Mutex<Vec<Weak<Group>>>>);

impl Pulse {
    /// Starts with no replicas. `heartbeat` is that of all of them.
    pub fn start(tasks: &Tasks, heartbeat: Duration) -> Self {
        let groups: Arc<Mutex<Vec<Weak<Group>>>> = Arc::default();
        let beating = groups.clone();
        tasks.spawn(async move {
            loop {
                tokio::time::sleep(heartbeat).await;
                let mut alive = Vec::new();
                beating.lock().retain(|group| {
                    alive.extend(group.upgrade());
                    group.strong_count() > 0
                });
                alive.iter().for_each(|group| group.pulse(heartbeat.mul_f32(HEARD_WITHIN)));
            }
        });
        Pulse(groups)
    }

    pub(crate) fn add(&self, group: &Arc<Group>) {
        self.0.lock().push(Arc::downgrade(group));
    }
}
