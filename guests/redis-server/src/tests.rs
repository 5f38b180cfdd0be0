//! The package as a client sees it, on a cluster in memory: what goes in and comes out of a connection, to the letter.

mod administration;
mod bits;
mod blocking;
mod blocking_streams;
mod cluster;
mod collections;
mod databases;
mod differential;
mod dump;
mod errors;
mod expiry;
mod foundation;
mod functions;
mod geo;
mod lists;
mod pipelines;
mod pubsub;
mod scripts;
mod sorted_sets;
mod sorting;
mod streams;
mod strings;
mod transactions;

use std::collections::VecDeque;

use recoil_sdk::fake::FakeCluster;
use recoil_sdk::{Connection, ConnectionError, Event, Listener, Router, Subscription};

use crate::Redis;

/// Enough partitions that keys spread, and three groups as three nodes make them.
pub(crate) fn cluster() -> FakeCluster {
    FakeCluster::new::<Redis>(13, 3)
}

/// Like [`cluster`], but every transaction is within one group.
pub(crate) fn cluster_of_one_group() -> FakeCluster {
    FakeCluster::new::<Redis>(13, 1)
}

/// What one read of a connection brings, which may do something first.
type Step<'a> = Box<dyn FnOnce() -> Vec<u8> + 'a>;

/// A connection whose client does something between what it sends.
pub(crate) struct Scripted<'a> {
    steps: VecDeque<Step<'a>>,
    output: Vec<u8>,
}

impl Connection for Scripted<'_> {
    fn peer_address(&self) -> String {
        "127.0.0.1:50312".to_owned()
    }
    fn read(&mut self, limit: u32) -> Result<Vec<u8>, ConnectionError> {
        let mut input = self.steps.pop_front().map(|step| step()).unwrap_or_default();
        if input.len() > limit as usize {
            let rest = input.split_off(limit as usize);
            self.steps.push_front(Box::new(|| rest));
        }
        Ok(input)
    }
    fn write(&mut self, data: &[u8]) -> Result<(), ConnectionError> {
        self.output.extend_from_slice(data);
        Ok(())
    }
    fn wait_any(&mut self, subscriptions: &[&Subscription], timeout_ms: u32) -> Option<Event> {
        recoil_sdk::fake::FakeConnection::default().wait_any(subscriptions, timeout_ms)
    }
}

/// Serve a connection that reads what `steps` bring, and answer what it was sent.
pub(crate) fn serve_steps(router: &dyn Router, steps: Vec<Step<'_>>) -> Vec<u8> {
    let mut connection = Scripted { steps: steps.into(), output: Vec::new() };
    Redis::serve(&mut connection, router).expect("a session ends without an error");
    connection.output
}

/// Send `input` in one piece.
pub(crate) fn send(router: &dyn Router, input: &[u8]) -> Vec<u8> {
    serve_steps(router, vec![Box::new(|| input.to_vec())])
}

/// Send lines as inline commands on one connection; the replies, with ` ` for each end of a line, as text.
pub(crate) fn run(router: &dyn Router, lines: &str) -> String {
    let input: String =
        lines.lines().map(str::trim).filter(|line| !line.is_empty()).map(|line| format!("{line}\r\n")).collect();
    text(&send(router, input.as_bytes()))
}

pub(crate) fn text(output: &[u8]) -> String {
    String::from_utf8_lossy(output).replace("\r\n", " ").trim_end().to_owned()
}

/// Each line is a command, `=>`, and what it must answer, each on a connection of its own.
#[track_caller]
pub(crate) fn check(router: &dyn Router, script: &str) {
    let lines: Vec<(&str, &str)> = script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(|line| {
            line.split_once("=>").map(|(command, reply)| (command.trim(), reply.trim())).expect("command => reply")
        })
        .collect();
    for (command, expected) in lines {
        assert_eq!(run(router, command), expected, "{command}");
    }
}

/// Each line is a command, `=>`, and what it must answer, all in one pipeline of one connection.
#[track_caller]
pub(crate) fn check_session(router: &dyn Router, script: &str) {
    let (mut commands, mut replies) = (String::new(), Vec::new());
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (command, reply) = line.split_once("=>").expect("command => reply");
        commands.push_str(&format!("{}\r\n", command.trim()));
        replies.push(reply.trim());
    }
    // An empty line or a space at the end of one is not seen here; the other tests look at bytes.
    assert_eq!(run(router, &commands).replace("  ", " "), replies.join(" "));
}

/// A command of words as clients send it.
pub(crate) fn encode_words(command: &str) -> Vec<u8> {
    encode(&command.split(' ').map(str::as_bytes).collect::<Vec<_>>())
}

/// What a command of words answers, as text.
pub(crate) fn ask(router: &dyn Router, command: &str) -> String {
    text(&send(router, &encode_words(command)))
}

/// Like [`run`], in RESP3 and without the reply to HELLO.
pub(crate) fn run3(router: &dyn Router, lines: &str) -> String {
    let reply = run(router, &format!("HELLO 3\n{lines}"));
    reply.split_once("modules *0 ").map(|(_, rest)| rest.to_owned()).expect("a reply behind that to HELLO")
}

/// A command as clients send it.
pub(crate) fn encode(arguments: &[&[u8]]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments {
        out.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        out.extend_from_slice(argument);
        out.extend_from_slice(b"\r\n");
    }
    out
}
