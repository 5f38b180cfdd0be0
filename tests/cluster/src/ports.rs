//! Free ports, in rows: node k of a cluster takes the k-th of each row.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the ports that the system gives to outgoing connections, which would otherwise be taken in between.
const FIRST: u16 = 12_000;
const LAST: u16 = 32_000;
const REDIS: u16 = 6379;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// The ports of one cluster.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// Admin port of node 0.
    pub admin: u16,
    /// Added to apps' ports for node 0.
    pub offset: u16,
}

impl Ports {
    /// Two rows of `count` ports that nobody listens on.
    pub fn free(count: u16) -> Self {
        // Test programs that run at once begin at different places.
        let start = (std::process::id() % 1_000) as u16 * 16;
        for _ in 0..2_000 {
            let step = NEXT.fetch_add(2 * count, Ordering::Relaxed);
            let first = FIRST + start.wrapping_add(step) % (LAST - FIRST - 2 * count);
            if (first..first + 2 * count).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
                return Ports { admin: first, offset: first + count - REDIS };
            }
        }
        panic!("no {} free ports in a row between {FIRST} and {LAST}", 2 * count);
    }

    /// Admin address of node k.
    pub fn admin(&self, k: usize) -> String {
        format!("127.0.0.1:{}", usize::from(self.admin) + k)
    }

    /// Redis port of node k.
    pub fn redis(&self, k: usize) -> u16 {
        REDIS + self.offset + k as u16
    }
}
