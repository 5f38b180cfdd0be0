//! What tests of hostile strangers need: bytes on a socket, and a look at the node's health afterwards.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::{Cluster, Redis, Reply};

/// A stranger waits no longer than this for an answer or its end.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection of a stranger to a port on loopback.
pub fn stranger(port: u16) -> TcpStream {
    let stream = TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), PATIENCE).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// Sends `bytes`, as far as they are taken, and reads until the other end closes or is silent for long; true with it if it closed.
pub fn exchange(port: u16, bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut stream = stranger(port);
    let _ = stream.write_all(bytes);
    until_end(&mut stream)
}

/// Reads until the other end closes or is silent for long; true with it if it closed.
pub fn until_end(stream: &mut TcpStream) -> (Vec<u8>, bool) {
    let (mut answer, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return (answer, true),
            Ok(count) => answer.extend_from_slice(&chunk[..count]),
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                return (answer, false);
            }
            Err(_) => return (answer, true),
        }
    }
}

/// Lets this process have as many files as it may; how many that is.
pub fn raise_files() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls read and write the struct that they are given, which lives on this stack.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
    }
    limit.rlim_cur
}

impl Cluster {
    /// Memory that node k takes, MiB. Pages that are mapped several times, as those of a component by each of its instances, count once.
    pub fn resident_mib(&mut self, k: usize) -> u64 {
        let path = format!("/proc/{}/smaps_rollup", self.program(k).id());
        let memory = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let line = memory.lines().find_map(|line| line.strip_prefix("Pss:")).expect("a process has memory");
        line.trim().trim_end_matches("kB").trim().parse::<u64>().expect("a number") / 1024
    }

    /// Node k answers clients and operators, holds at most `more_mib` above `before_mib`, and no thread or task of it has panicked.
    pub fn assert_well(&mut self, k: usize, what: &str, before_mib: u64, more_mib: u64) {
        let mut redis = Redis::connect(self.ports().redis(k)).unwrap_or_else(|error| panic!("{what}: {error}"));
        // Keys of several groups, so that other nodes are asked, too.
        for key in ["a", "b", "c", "d", "e"] {
            let set = redis.command(&["SET", key, what]).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(set, Reply::Simple("OK".into()), "{what}");
        }
        self.status(k).unwrap_or_else(|error| panic!("{what}: {error}"));
        let now = self.resident_mib(k);
        assert!(now <= before_mib + more_mib, "{what}: {now} MiB, {before_mib} before; {more_mib} more are allowed");
        println!("{what}: {before_mib} MiB before, {now} after");
        let stderr = self.program(k).stderr();
        assert!(!stderr.contains("panicked"), "{what}:\n{stderr}");
    }
}
