//! Programs whose output nobody takes: they go on.

#![allow(missing_docs, clippy::disallowed_methods)]

use std::fs::File;
use std::io::Read as _;
use std::process::{Child, Command, Stdio};

use recoil_cluster_tests::{Cluster, eventually, program};

/// A child that ends with the test.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Fails if a program panics, or ends, because of what becomes of its output.
fn goes_on(name: &str, arguments: &[String], cluster: &Cluster, stdout: Stdio, stderr: Stdio) -> String {
    let mut command = Command::new(program(name));
    // Everything is logged, so that there is much to be lost.
    command.args(arguments).env("RUST_LOG", "info").stdin(Stdio::null()).stdout(stdout).stderr(stderr);
    let mut child = Ends(command.spawn().unwrap());
    // What is piped is closed unread.
    drop(child.0.stdout.take());
    let complaints = child.0.stderr.take();
    eventually("it serves", || {
        assert_eq!(child.0.try_wait().unwrap(), None, "{name} {arguments:?} has ended");
        let status = cluster.status(0)?;
        if status["ready"] == true { Ok(()) } else { Err(status.to_string()) }
    });
    // In order: what its tasks panic of is seen by then. SAFETY: a signal to a child that has not
    // been waited for.
    unsafe { libc::kill(child.0.id() as i32, libc::SIGTERM) };
    let status = eventually("its end", || child.0.try_wait().unwrap().ok_or("it goes on".to_owned()));
    assert!(status.success(), "{name} {arguments:?}: {status}");
    let mut said = String::new();
    if let Some(mut complaints) = complaints {
        complaints.read_to_string(&mut said).unwrap();
    }
    assert!(!said.contains("panicked"), "{said}");
    said
}

fn full() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

#[test]
fn a_node_goes_on_when_nobody_takes_what_it_prints() {
    let cluster = Cluster::new(true);
    let arguments = || -> Vec<String> {
        let alone = cluster.node_arguments(0).into_iter().filter(|argument| !argument.starts_with("--expect"));
        alone.collect()
    };
    goes_on("recoil", &arguments(), &cluster, Stdio::piped(), Stdio::null());
    let said = goes_on("recoil", &arguments(), &cluster, full(), Stdio::piped());
    assert_eq!(said.matches("cannot write to standard output").count(), 1, "{said}");
    goes_on("recoil", &arguments(), &cluster, full(), full());
}

#[test]
fn a_simulator_goes_on_when_nobody_takes_what_it_prints() {
    let cluster = Cluster::new(false);
    goes_on("recoil_simulator", &cluster.simulator_arguments(), &cluster, Stdio::piped(), Stdio::null());
    goes_on("recoil_simulator", &cluster.simulator_arguments(), &cluster, full(), full());
}
