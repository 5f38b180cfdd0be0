//! A network between namespaces, in this process: it can be cut in one direction, slow, and lossy.
//!
//! Each node has a [`Namespace`] with one address, and a thread here that carries its packets to the others. A link is a pair
//! (from, to) and has its own rule, so that A may hear B and not be heard. A node's clients are put into its namespace and
//! reach it over loopback: they stay with it when it is cut off, which is where a wrong answer would be seen.
//!
//! Invariants: a packet is carried, later or not at all, and never changed. Packets of a slow link keep their order, as on a
//! cable. A cut drops packets silently, as a broken cable does; nobody gets a reset.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::Namespace;

const PACKET_BYTES_MAX: usize = 64 << 10;
/// Packets that one slow link holds; what comes on top is lost, as in any queue.
const WAITING_MAX: usize = 10_000;
/// How long a thread sleeps at most before it looks whether it is to end.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What happens to the packets of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// None arrives.
    pub cut: bool,
    /// They arrive so much later.
    pub delay: Duration,
    /// So many of a hundred are lost.
    pub lost_percent: u8,
}

struct Shared {
    cables: Vec<File>,
    /// By from and to.
    links: Mutex<Vec<Vec<Link>>>,
    ended: AtomicBool,
}

impl Shared {
    fn links(&self) -> MutexGuard<'_, Vec<Vec<Link>>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A network of some nodes. Ends with the value.
pub struct Network {
    namespaces: Vec<Namespace>,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Network {
    /// Of `count` nodes, all links whole. An error says why it cannot be here.
    pub fn new(count: usize) -> Result<Self, String> {
        let failed = |error| {
            format!("no network namespace with a TUN device can be made here ({error}): it needs root and /dev/net/tun")
        };
        let (mut namespaces, mut cables) = (Vec::new(), Vec::new());
        for k in 0..count {
            let (namespace, cable) = Namespace::new(address(k)).map_err(failed)?;
            namespaces.push(namespace);
            cables.push(cable);
        }
        let links = Mutex::new(vec![vec![Link::default(); count]; count]);
        let shared = Arc::new(Shared { cables, links, ended: AtomicBool::new(false) });
        let thread = |from| {
            let shared = shared.clone();
            std::thread::spawn(move || carry(&shared, from))
        };
        let threads = (0..count).map(thread).collect();
        Ok(Network { namespaces, shared, threads })
    }

    /// The network, or none where it cannot be made, which is said in one line.
    pub fn or_skip(test: &str, count: usize) -> Option<Self> {
        Network::new(count).map_err(|why| eprintln!("{test} is skipped: {why}")).ok()
    }

    /// Where node k is.
    pub fn address(&self, k: usize) -> Ipv4Addr {
        address(k)
    }

    /// Node k's namespace.
    pub fn namespace(&self, k: usize) -> &Namespace {
        &self.namespaces[k]
    }

    /// Sets one direction of one link.
    pub fn set(&self, from: usize, to: usize, link: Link) {
        self.shared.links()[from][to] = link;
    }

    /// Sets every link to and from node k.
    pub fn set_all_of(&self, k: usize, link: Link) {
        for other in (0..self.namespaces.len()).filter(|other| *other != k) {
            self.set(k, other, link);
            self.set(other, k, link);
        }
    }

    /// Cuts the link between two nodes, both ways.
    pub fn cut(&self, a: usize, b: usize) {
        self.set(a, b, Link { cut: true, ..Link::default() });
        self.set(b, a, Link { cut: true, ..Link::default() });
    }

    /// Cuts node k off from all others.
    pub fn isolate(&self, k: usize) {
        self.set_all_of(k, Link { cut: true, ..Link::default() });
    }

    /// Makes every link whole and quick.
    pub fn heal(&self) {
        self.shared.links().iter_mut().flatten().for_each(|link| *link = Link::default());
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn address(k: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 231, 7, k as u8 + 1)
}

/// Carries what node `from` sends.
fn carry(shared: &Shared, from: usize) {
    let mut cable = &shared.cables[from];
    let mut buffer = vec![0; PACKET_BYTES_MAX];
    // By receiver: packets of slow links, and when each is due.
    let mut waiting: Vec<VecDeque<(Instant, Vec<u8>)>> = vec![VecDeque::new(); shared.cables.len()];
    let mut dice = 0x9e37_79b9_7f4a_7c15_u64 ^ from as u64;
    while !shared.ended.load(Ordering::Relaxed) {
        let now = Instant::now();
        for (to, queue) in waiting.iter_mut().enumerate() {
            while queue.front().is_some_and(|(due, _)| *due <= now) {
                let packet = queue.pop_front().map(|(_, packet)| packet).unwrap_or_default();
                // A cut made meanwhile holds for what is under way, too.
                if !shared.links()[from][to].cut {
                    deliver(&shared.cables[to], &packet);
                }
            }
        }
        let next = waiting.iter().filter_map(|queue| queue.front()).map(|(due, _)| *due).min();
        let pause = next.map_or(LOOK_EVERY, |due| due.saturating_duration_since(now).min(LOOK_EVERY));
        if !readable(cable, pause) {
            continue;
        }
        let Ok(bytes) = cable.read(&mut buffer) else { continue };
        let packet = &buffer[..bytes];
        let Some(to) = receiver(packet).filter(|to| *to < shared.cables.len() && *to != from) else { continue };
        let link = shared.links()[from][to];
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        if link.cut || dice % 100 < u64::from(link.lost_percent) {
            continue;
        }
        if link.delay.is_zero() && waiting[to].is_empty() {
            deliver(&shared.cables[to], packet);
        } else if waiting[to].len() < WAITING_MAX {
            waiting[to].push_back((Instant::now() + link.delay, packet.to_vec()));
        }
    }
}

/// The node that an IPv4 packet is for; the system sends others, too, which are nobody's.
fn receiver(packet: &[u8]) -> Option<usize> {
    let to: [u8; 4] = packet.get(16..20).filter(|_| packet[0] >> 4 == 4)?.try_into().ok()?;
    let place = usize::from(to[3]).checked_sub(1)?;
    (Ipv4Addr::from(to) == address(place)).then_some(place)
}

fn deliver(mut cable: &File, packet: &[u8]) {
    // A device that is not up loses it, as a machine that is off does.
    let _ = cable.write(packet);
}

fn readable(cable: &File, pause: Duration) -> bool {
    let mut poll = libc::pollfd { fd: cable.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // Rounded up: a pause of less than a millisecond would spin.
    let millis = pause.as_micros().div_ceil(1000) as libc::c_int;
    // SAFETY: poll(2) is given one struct, which lives for the call.
    unsafe { libc::poll(&raw mut poll, 1, millis) > 0 }
}
