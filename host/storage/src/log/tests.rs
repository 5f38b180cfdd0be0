//! The log on real files and on a disk that fails, each test named by the promise that it would break.

mod crashes;
mod damage;
mod files;
mod fixture;
mod relocation;

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;

use bytes::Bytes;
use recoil_base::GroupId;

use super::{GroupLog, Log, LogError, LogOptions, Pin, Pins};

const A: GroupId = GroupId(1);
const B: GroupId = GroupId(2);

fn small() -> LogOptions {
    LogOptions { segment_bytes: 4096, cache_bytes: 256 }
}

fn open(path: &Path) -> Log {
    Log::open(path, small()).unwrap()
}

fn payload(index: u64, length: usize) -> Bytes {
    let mut payload = index.to_le_bytes().to_vec();
    payload.resize(length.max(8), index as u8);
    payload.into()
}

/// Appends and waits for the end.
fn append(group: &GroupLog, indexes: std::ops::Range<u64>, length: usize) -> Result<(), LogError> {
    let (sender, receiver) = mpsc::channel();
    let entries = indexes.map(|index| (index, payload(index, length))).collect();
    group.append(entries, move |result| sender.send(result).unwrap());
    receiver.recv().unwrap()
}

fn truncate(group: &GroupLog, last: Option<u64>) -> Result<(), LogError> {
    let (sender, receiver) = mpsc::channel();
    group.truncate_after(last, move |result| sender.send(result).unwrap());
    receiver.recv().unwrap()
}

/// Waits for a future of the log without a runtime.
fn wait<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(value) => return value,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}

fn indexes(group: &GroupLog) -> Vec<u64> {
    group.read(0..u64::MAX, usize::MAX).unwrap().into_iter().map(|(index, _)| index).collect()
}
