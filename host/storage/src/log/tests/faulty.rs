//! A disk in memory that can lose power and fail.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::log::disk::{Disk, File};

/// Unsynced writes reach the disk in pieces of this size, in any order.
const SECTOR: usize = 512;

/// Numbers that look random and are the same each time (SplitMix64).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// What shall go wrong, at the how-manieth call from now (counted from 0).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Write(u64),
    Sync(u64),
    Create(u64),
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
}

#[derive(Clone, Default)]
pub(super) struct FaultyDisk(Arc<Mutex<State>>);

struct FaultyFile {
    disk: FaultyDisk,
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

impl FaultyDisk {
    pub(super) fn set_fault(&self, fault: Fault) {
        self.0.lock().fault = Some(fault);
    }

    /// Syncs tried after a fault has struck.
    pub(super) fn syncs_after_fault(&self) -> u64 {
        self.0.lock().syncs_after_fault
    }

    pub(super) fn faulted(&self) -> bool {
        self.0.lock().faulted
    }

    /// The disk as it may be after losing power now. This one goes on as if nothing had happened.
    pub(super) fn crash(&self, random: &mut Random) -> FaultyDisk {
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
        let files = files.collect();
        FaultyDisk(Arc::new(Mutex::new(State { files, seen: names.clone(), durable: names, ..State::default() })))
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

impl Disk for FaultyDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().seen.keys().cloned().collect())
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn File>> {
        let mut state = self.0.lock();
        FaultyDisk::fail(&mut state, Fault::Create, rustix::io::Errno::NOSPC)?;
        let place = state.files.len();
        state.files.push(Content { seen: vec![0; bytes as usize], ..Content::default() });
        let link = NameChange::Link(name.to_owned(), place);
        change(&mut state.seen, &link);
        state.unsynced.push(link);
        Ok(Arc::new(FaultyFile { disk: self.clone(), place }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let place = self.0.lock().seen.get(name).copied();
        let place = place.ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(FaultyFile { disk: self.clone(), place }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.0.lock();
        let rename = NameChange::Rename(from.to_owned(), to.to_owned());
        change(&mut state.seen, &rename);
        state.unsynced.push(rename);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.0.lock();
        let remove = NameChange::Remove(name.to_owned());
        change(&mut state.seen, &remove);
        state.unsynced.push(remove);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.0.lock();
        FaultyDisk::fail(&mut state, Fault::FolderSync, rustix::io::Errno::IO)?;
        state.durable = state.seen.clone();
        state.unsynced.clear();
        Ok(())
    }
}

impl File for FaultyFile {
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
        let failed = FaultyDisk::fail(&mut state, Fault::Write, rustix::io::Errno::IO);
        let file = &mut state.files[self.place];
        // A failed write may have written some of it.
        let bytes = if failed.is_err() { &bytes[..bytes.len() / 2] } else { bytes };
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
        FaultyDisk::fail(&mut state, Fault::Sync, rustix::io::Errno::IO)?;
        let file = &mut state.files[self.place];
        file.durable = file.seen.clone();
        file.unsynced.clear();
        Ok(())
    }
}
