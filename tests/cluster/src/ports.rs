//! Free ports, in rows: node k of a cluster takes the k-th of each row.
//!
//! Invariant: no two clusters on this machine have a port in common, whichever test programs they belong to. That a port can be
//! bound says nothing about the moment when a killed node is started again, so each block of ports has a lock file, and a
//! test program keeps the locks of the blocks it has used until it ends, however it ends.

use std::fs::{File, OpenOptions};
use std::net::TcpListener;
use std::sync::{Mutex, PoisonError};

/// Below the ports that the system gives to outgoing connections, which would otherwise be taken in between.
const FIRST: u16 = 12_000;
const LAST: u16 = 32_000;
/// Ports of one block.
const BLOCK: u16 = 16;
const REDIS: u16 = 6379;

static LOCKED: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// The ports of one cluster.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// Admin port of node 0.
    pub admin: u16,
    /// Added to apps' ports for node 0.
    pub offset: u16,
}

impl Ports {
    /// Three rows of `count` ports that nobody listens on and no other cluster of a test gets.
    pub fn free(count: u16) -> Self {
        assert!(3 * count <= BLOCK, "a block has {BLOCK} ports");
        let blocks = (LAST - FIRST) / BLOCK;
        // Test programs that run at once begin at different places, so that few locks are met.
        let start = (std::process::id() % u32::from(blocks)) as u16;
        for step in 0..blocks {
            let block = (start + step) % blocks;
            let first = FIRST + block * BLOCK;
            let Some(lock) = lock(block) else { continue };
            if (first..first + 3 * count).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
                LOCKED.lock().unwrap_or_else(PoisonError::into_inner).push(lock);
                return Ports { admin: first, offset: first + count - REDIS };
            }
        }
        panic!("no {} free ports in a row between {FIRST} and {LAST}", 3 * count);
    }

    /// Admin address of node k.
    pub fn admin(&self, k: usize) -> String {
        format!("127.0.0.1:{}", usize::from(self.admin) + k)
    }

    /// Another admin address for node k.
    pub fn spare(&self, k: usize) -> String {
        format!("127.0.0.1:{}", usize::from(self.redis(0)) + usize::from(self.redis(0) - self.admin) + k)
    }

    /// Redis port of node k.
    pub fn redis(&self, k: usize) -> u16 {
        REDIS + self.offset + k as u16
    }
}

/// The lock of a block, if nobody has it. The system frees it when the file is closed, and so when the process ends.
fn lock(block: u16) -> Option<File> {
    let folder = std::env::temp_dir().join("recoil-test-ports");
    std::fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let path = folder.join(format!("{block}.lock"));
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.unwrap_or_else(|error| panic!("{}: {error}; remove the folder it is in", path.display()));
    file.try_lock().is_ok().then_some(file)
}
