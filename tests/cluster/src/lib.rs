//! Tests of whole clusters, as users run them: the real programs, real ports, redis-cli, redis-py, boto3 and the AWS CLI.
//!
//! [`Cluster`] starts the simulator or three separate nodes on free ports, in a temporary folder, and ends exactly the
//! processes it started. Every wait has a bound, so that a cluster that hangs fails its test and nothing else.
//!
//! Faults are real ones: signals ([`Program`]), cut cables between network namespaces ([`Network`]), small file systems and damaged
//! files ([`disk`]). Under each, [`Load`] writes and reads through all nodes, and [`history`] decides whether what the clients
//! were told can be true of one server that does each thing once.
//!
//! Deliberately absent: any access to the inside of a running node. What cannot be seen from outside is tested in its own
//! room. Folders of nodes that have ended are compared row by row ([`Cluster::check_replicas`]).

// Whole programs are tested against the clock on the wall, and no simulation will take its place here.
#![allow(clippy::disallowed_methods)]

mod clients;
mod cluster;
pub mod disk;
pub mod history;
pub mod hostile;
pub mod http;
mod load;
mod namespace;
mod network;
mod ports;
mod program;
mod programs;
mod redis;
mod replicas;

pub use clients::{go_client, javascript_client};
pub use cluster::Cluster;
pub use load::{History, Load, Probed, Probes, Summary};
pub use namespace::Namespace;
pub use network::{Link, Network};
pub use ports::Ports;
pub use program::{Program, Ran, run, run_in, run_within};
pub use programs::{program, python, python_with, root};
pub use redis::{Door, Redis, Reply};

use std::time::{Duration, Instant};

/// A debug build on a small, busy machine is slow to start; a test that waits longer has failed.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Try until `attempt` gives a value; panics with its last reason when [`PATIENCE`] is over.
pub fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(why) if Instant::now() > end => panic!("{what}: not within {} s: {why}", PATIENCE.as_secs()),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}
