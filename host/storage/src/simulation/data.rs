//! The rows of [`crate::Data`] in memory: batches are visible at once and durable only by a persist, as with fjall.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::Random;

type Map = BTreeMap<Bytes, Bytes>;
type Rows = BTreeMap<Bytes, Option<Bytes>>;

#[derive(Default)]
struct State {
    seen: Arc<Map>,
    durable: Arc<Map>,
    /// Batches since the last persist, oldest first.
    unsynced: Vec<Arc<Rows>>,
    off: bool,
    /// Persists so far.
    persists: u64,
    /// Commits and persists until one fails, if one is to fail.
    fails_in: Option<u64>,
}

/// The store under one node's data. Clones share it.
#[derive(Clone, Default)]
pub struct SimulatedData(Arc<Mutex<State>>);

fn apply(map: &mut Arc<Map>, rows: &Rows) {
    let map = Arc::make_mut(map);
    for (key, value) in rows {
        match value {
            Some(value) => map.insert(key.clone(), value.clone()),
            None => map.remove(key),
        };
    }
}

impl SimulatedData {
    /// What a power loss now may leave: all batches up to some batch not before the last persist, and none after it.
    pub fn crash(&self, random: &mut Random) -> Self {
        let state = self.0.lock();
        let kept = random.below(state.unsynced.len() as u64 + 1) as usize;
        let mut durable = state.durable.clone();
        state.unsynced[..kept].iter().for_each(|rows| apply(&mut durable, rows));
        SimulatedData(Arc::new(Mutex::new(State { seen: durable.clone(), durable, ..State::default() })))
    }

    /// The same rows in another store, as a copy of a stopped node's folder has them.
    pub fn copy(&self) -> Self {
        let seen = self.0.lock().seen.clone();
        SimulatedData(Arc::new(Mutex::new(State { seen: seen.clone(), durable: seen, ..State::default() })))
    }

    /// The power is gone: nothing changes any more.
    pub fn lose_power(&self) {
        self.0.lock().off = true;
    }

    /// Lets the `calls`-th commit or persist from now on fail (counted from 0).
    pub fn fail_in(&self, calls: u64) {
        self.0.lock().fails_in = Some(calls);
    }

    /// Persists so far.
    pub fn persists(&self) -> u64 {
        self.0.lock().persists
    }

    /// True if a commit or persist has failed, or the next one will.
    pub fn is_failing(&self) -> bool {
        self.0.lock().fails_in == Some(0)
    }

    /// Nothing shall fail any more.
    pub fn clear_faults(&self) {
        self.0.lock().fails_in = None;
    }

    fn fail(state: &mut State) -> Result<(), String> {
        if state.off {
            return Err("the power is gone".to_owned());
        }
        match &mut state.fails_in {
            Some(0) => Err("the simulated disk failed".to_owned()),
            Some(calls) => {
                *calls -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.0.lock().seen.get(key).cloned()
    }

    pub(crate) fn snapshot(&self) -> MemorySnapshot {
        MemorySnapshot(self.0.lock().seen.clone())
    }

    pub(crate) fn commit(&self, rows: Rows) -> Result<(), String> {
        let mut state = self.0.lock();
        Self::fail(&mut state)?;
        apply(&mut state.seen, &rows);
        state.unsynced.push(Arc::new(rows));
        Ok(())
    }

    pub(crate) fn persist(&self) -> Result<(), String> {
        let mut state = self.0.lock();
        Self::fail(&mut state)?;
        state.durable = state.seen.clone();
        state.unsynced.clear();
        state.persists += 1;
        Ok(())
    }

    /// Discards rows for good, as a compaction does.
    pub(crate) fn discard(&self, dead: impl Fn(&[u8]) -> bool) {
        let mut state = self.0.lock();
        Arc::make_mut(&mut state.seen).retain(|key, _| !dead(key));
        Arc::make_mut(&mut state.durable).retain(|key, _| !dead(key));
        for rows in &mut state.unsynced {
            Arc::make_mut(rows).retain(|key, _| !dead(key));
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.0.lock().seen.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum()
    }
}

/// One moment.
#[derive(Clone)]
pub(crate) struct MemorySnapshot(Arc<Map>);

impl MemorySnapshot {
    pub(crate) fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.0.get(key).cloned()
    }

    pub(crate) fn last_key(&self) -> Option<Bytes> {
        self.0.last_key_value().map(|(key, _)| key.clone())
    }

    pub(crate) fn range(&self, start: Vec<u8>, end: Option<Vec<u8>>) -> MemoryRows {
        let end = end.map_or(Bound::Unbounded, |end| Bound::Excluded(Bytes::from(end)));
        MemoryRows { map: self.0.clone(), start: Bound::Included(start.into()), end }
    }
}

/// The rows of a range; it owns its moment and seeks anew for each row.
pub(crate) struct MemoryRows {
    map: Arc<Map>,
    start: Bound<Bytes>,
    end: Bound<Bytes>,
}

impl MemoryRows {
    pub(crate) fn next(&mut self, reverse: bool) -> Option<(Bytes, Bytes)> {
        if let (Bound::Excluded(start), Bound::Excluded(end)) | (Bound::Included(start), Bound::Excluded(end)) =
            (&self.start, &self.end)
            && start >= end
        {
            return None;
        }
        let mut rows = self.map.range((self.start.clone(), self.end.clone()));
        let found = if reverse { rows.next_back() } else { rows.next() };
        let (key, value) = found.map(|(key, value)| (key.clone(), value.clone()))?;
        if reverse {
            self.end = Bound::Excluded(key.clone());
        } else {
            self.start = Bound::Excluded(key.clone());
        }
        Some((key, value))
    }
}
