//! A disk in memory that can lose power, fail and rot.
//!
//! What a running system sees, what certainly survives, and the writes and changes of names in between are kept apart: a crash
//! keeps what is durable and any part of the rest, sector by sector. A file system is taken to keep the order of changes to names.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Random;
use crate::log::disk::{Disk, File};

/// Unsynced writes reach the disk in pieces of this size, in any order.
const SECTOR: usize = 512;
/// Writes that rot leaves alone.
const NEWEST: usize = 6;

/// What shall go wrong, at the how-manieth call from now (counted from 0).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A write fails, and may have written some of its bytes.
    Write(u64),
    /// An fsync of a file fails.
    Sync(u64),
    /// There is no space for a new file.
    Create(u64),
    /// An fsync of the folder fails.
    FolderSync(u64),
}

#[derive(Clone, Default)]
struct Content {
    /// What a reader of the running system sees.
    seen: Vec<u8>,
    /// What survives for certain.
    durable: Vec<u8>,
    unsynced: Vec<(usize, Vec<u8>)>,
}

#[derive(Clone)]
enum NameChange {
    Link(String, usize),
    Rename(String, String),
    Remove(String),
}

#[derive(Default)]
struct State {
    files: Vec<Content>,
    seen: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    unsynced: Vec<NameChange>,
    fault: Option<Fault>,
    faulted: bool,
    syncs_after_fault: u64,
    /// Calls that change something until the power goes, if it is to go.
    power_for: Option<u64>,
    off: bool,
    /// The newest writes, as (file, offset, bytes).
    newest: VecDeque<(usize, usize, usize)>,
    /// A broken drive: it says that it has synced and has not.
    lies: bool,
}

/// See the module's essay. Clones share it.
#[derive(Clone, Default)]
pub struct SimulatedDisk(Arc<Mutex<State>>);

struct SimulatedFile {
    disk: SimulatedDisk,
    place: usize,
}

fn change(names: &mut BTreeMap<String, usize>, change: &NameChange) {
    match change {
        NameChange::Link(name, place) => {
            names.insert(name.clone(), *place);
        }
        NameChange::Rename(from, to) => {
            if let Some(place) = names.remove(from) {
                names.insert(to.clone(), place);
            }
        }
        NameChange::Remove(name) => {
            names.remove(name);
        }
    }
}

impl SimulatedDisk {
    /// Lets a call fail from now on.
    pub fn set_fault(&self, fault: Fault) {
        self.0.lock().fault = Some(fault);
    }

    /// Syncs tried after a fault has struck.
    pub fn syncs_after_fault(&self) -> u64 {
        self.0.lock().syncs_after_fault
    }

    /// True once a fault has struck.
    pub fn faulted(&self) -> bool {
        self.0.lock().faulted
    }

    /// The power goes at the `calls`-th write or sync from now on (counted from 0), which may have reached the disk in part; every
    /// later call fails.
    pub fn lose_power_in(&self, calls: u64) {
        self.0.lock().power_for = Some(calls);
    }

    /// Nothing shall go wrong any more; what has, has.
    pub fn clear_faults(&self) {
        let mut state = self.0.lock();
        (state.fault, state.power_for) = (None, None);
    }

    /// The power is gone.
    pub fn lose_power(&self) {
        self.0.lock().off = true;
    }

    /// True once the power is gone.
    pub fn is_off(&self) -> bool {
        self.0.lock().off
    }

    /// From now on an fsync says that it is done and does nothing.
    pub fn ignore_syncs(&self) {
        self.0.lock().lies = true;
    }

    /// The same content on another disk, as a copy of a stopped node's folder has it.
    pub fn copy(&self) -> SimulatedDisk {
        let state = self.0.lock();
        let files = state.files.iter().map(|file| Content {
            seen: file.seen.clone(),
            durable: file.seen.clone(),
            unsynced: Vec::new(),
        });
        let (files, names, newest) = (files.collect(), state.seen.clone(), state.newest.clone());
        let state = State { files, seen: names.clone(), durable: names, newest, ..State::default() };
        SimulatedDisk(Arc::new(Mutex::new(state)))
    }

    /// Rot: flips a bit, or zeroes a sector, of one file somewhere in what was written, but not in the newest writes: a log
    /// cannot tell a spoilt end from a write that nobody was promised. False if there is nothing to spoil.
    pub fn rot(&self, random: &mut Random) -> bool {
        let mut state = self.0.lock();
        let places: Vec<usize> = state.seen.values().copied().collect();
        if places.is_empty() {
            return false;
        }
        let place = places[random.below(places.len() as u64) as usize];
        let State { files, newest, .. } = &mut *state;
        let file = &mut files[place];
        let Some(last) = file.seen.iter().rposition(|byte| *byte != 0) else { return false };
        let at = random.below(last as u64 + 1) as usize;
        let sector = at - at % SECTOR..at - at % SECTOR + SECTOR;
        let touches = |(file, offset, bytes): &(usize, usize, usize)| {
            *file == place && *offset < sector.end && sector.start < offset + bytes
        };
        if newest.iter().any(touches) {
            return false;
        }
        if random.below(2) == 0 {
            file.seen[at] ^= 1 << random.below(8);
        } else {
            let end = sector.end.min(file.seen.len());
            file.seen[sector.start..end].fill(0);
        }
        file.durable = file.seen.clone();
        true
    }

    /// The disk as it may be after losing power now. This one goes on as if nothing had happened.
    pub fn crash(&self, random: &mut Random) -> SimulatedDisk {
        let state = self.0.lock();
        let mut names = state.durable.clone();
        // A journalling file system keeps the order of changes to names.
        let kept = random.below(state.unsynced.len() as u64 + 1) as usize;
        state.unsynced[..kept].iter().for_each(|one| change(&mut names, one));
        let style = random.below(4);
        let files = state.files.iter().map(|file| {
            let mut content = file.durable.clone();
            for (offset, bytes) in &file.unsynced {
                content.resize(content.len().max(file.seen.len()), 0);
                for (number, piece) in bytes.chunks(SECTOR).enumerate() {
                    // Nothing, everything, or any of it, some of it in part.
                    let survives = style == 0 || style > 1 && random.below(2) == 0;
                    let length = if style == 3 { random.below(piece.len() as u64 + 1) as usize } else { piece.len() };
                    let at = offset + number * SECTOR;
                    if survives {
                        content[at..at + length].copy_from_slice(&piece[..length]);
                    }
                }
            }
            Content { seen: content.clone(), durable: content, unsynced: Vec::new() }
        });
        let (files, newest) = (files.collect(), state.newest.clone());
        let state = State { files, seen: names.clone(), durable: names, newest, ..State::default() };
        SimulatedDisk(Arc::new(Mutex::new(state)))
    }

    /// One more call that changes something: an error if the power is gone, or goes now.
    fn power(state: &mut State) -> io::Result<()> {
        if let Some(calls) = &mut state.power_for {
            state.off |= *calls == 0;
            *calls = calls.saturating_sub(1);
        }
        if state.off { Err(rustix::io::Errno::IO.into()) } else { Ok(()) }
    }

    /// Counts a call down; an error if its time has come, and for everything of the kind after it.
    fn fail(state: &mut State, call: fn(u64) -> Fault, error: rustix::io::Errno) -> io::Result<()> {
        let Some(fault) = state.fault else { return Ok(()) };
        if fault == call(0) {
            state.faulted = true;
            return Err(error.into());
        }
        if let Some(fewer) = (1..=1_000).find(|count| call(*count) == fault).map(|count| call(count - 1)) {
            state.fault = Some(fewer);
        }
        Ok(())
    }
}

impl Disk for SimulatedDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().seen.keys().cloned().collect())
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn File>> {
        let mut state = self.0.lock();
        SimulatedDisk::power(&mut state)?;
        SimulatedDisk::fail(&mut state, Fault::Create, rustix::io::Errno::NOSPC)?;
        let place = state.files.len();
        state.files.push(Content { seen: vec![0; bytes as usize], ..Content::default() });
        let link = NameChange::Link(name.to_owned(), place);
        change(&mut state.seen, &link);
        state.unsynced.push(link);
        Ok(Arc::new(SimulatedFile { disk: self.clone(), place }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let place = self.0.lock().seen.get(name).copied();
        let place = place.ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(SimulatedFile { disk: self.clone(), place }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.0.lock();
        SimulatedDisk::power(&mut state)?;
        let rename = NameChange::Rename(from.to_owned(), to.to_owned());
        change(&mut state.seen, &rename);
        state.unsynced.push(rename);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.0.lock();
        SimulatedDisk::power(&mut state)?;
        let remove = NameChange::Remove(name.to_owned());
        change(&mut state.seen, &remove);
        state.unsynced.push(remove);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.0.lock();
        SimulatedDisk::power(&mut state)?;
        SimulatedDisk::fail(&mut state, Fault::FolderSync, rustix::io::Errno::IO)?;
        if state.lies {
            return Ok(());
        }
        state.durable = state.seen.clone();
        state.unsynced.clear();
        Ok(())
    }
}

impl File for SimulatedFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.0.lock().files[self.place].seen.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let state = self.disk.0.lock();
        let seen = &state.files[self.place].seen;
        let wanted = seen.get(offset as usize..offset as usize + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(wanted);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        let on = !state.off;
        let lost = SimulatedDisk::power(&mut state);
        if lost.is_err() && !on {
            return lost;
        }
        let failed = lost.and(SimulatedDisk::fail(&mut state, Fault::Write, rustix::io::Errno::IO));
        let off = state.off;
        state.newest.push_back((self.place, offset as usize, bytes.len()));
        if state.newest.len() > NEWEST {
            state.newest.pop_front();
        }
        let file = &mut state.files[self.place];
        // A failed write may have written some of it; what reaches a disk that loses power is told by the crash.
        let bytes = if failed.is_err() && !off { &bytes[..bytes.len() / 2] } else { bytes };
        let offset = offset as usize;
        assert!(offset + bytes.len() <= file.seen.len(), "the log writes inside of the space it has reserved");
        file.seen[offset..offset + bytes.len()].copy_from_slice(bytes);
        file.unsynced.push((offset, bytes.to_vec()));
        failed
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        if state.faulted {
            state.syncs_after_fault += 1;
        }
        SimulatedDisk::power(&mut state)?;
        SimulatedDisk::fail(&mut state, Fault::Sync, rustix::io::Errno::IO)?;
        if state.lies {
            return Ok(());
        }
        let file = &mut state.files[self.place];
        file.durable = file.seen.clone();
        file.unsynced.clear();
        Ok(())
    }
}
