//! The redis-server package, as a component on in-memory partitions: its own protocol through the real engine.

#![allow(missing_docs)]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use recoil::packages::PACKAGES;
use recoil_testing::Harness;

fn redis() -> Harness {
    let package = PACKAGES.iter().find(|package| package.name == "redis-server").unwrap();
    Harness::load(package.archive, 8).unwrap()
}

/// Sends one inline command a line and reads until the answers are as long as they should be.
fn talk(address: SocketAddr, commands: &str, expected: &str) {
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    client.write_all(commands.as_bytes()).unwrap();
    let mut answer = vec![0; expected.len()];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(String::from_utf8_lossy(&answer), expected);
}

#[test]
fn the_component_has_its_roles_and_answers_pipelines_over_several_partitions() {
    let harness = redis();
    let roles = harness.roles();
    assert!(roles.handler && roles.tcp_listener && roles.timer && !roles.http_handler);
    let server = harness.serve();
    let commands = "SET a 1\r\nINCR a\r\nMSET b 2 c 3\r\nMGET a b c d\r\nGET\r\nDEL a b c\r\nDBSIZE\r\n";
    let expected = "+OK\r\n:2\r\n+OK\r\n*4\r\n$1\r\n2\r\n$1\r\n2\r\n$1\r\n3\r\n$-1\r\n\
                    -ERR wrong number of arguments for 'get' command\r\n:3\r\n:0\r\n";
    talk(server.address(), commands, expected);
}

#[test]
fn keys_expire_by_timers_without_being_read() {
    let harness = redis();
    let server = harness.serve();
    talk(server.address(), "SET short x EX 10\r\nSET long x EX 1000\r\n", "+OK\r\n+OK\r\n");
    assert_eq!(harness.fire_due_timers().unwrap(), 0);
    harness.advance(Duration::from_secs(11));
    assert_eq!(harness.fire_due_timers().unwrap(), 1);
    talk(server.address(), "DBSIZE\r\nTTL long\r\nEXISTS short\r\n", ":1\r\n:989\r\n:0\r\n");
}

#[test]
fn a_transaction_is_all_or_nothing() {
    let harness = redis();
    let server = harness.serve();
    let commands =
        "SET {t}text x\r\nMULTI\r\nINCR {t}n\r\nINCR {t}n\r\nEXEC\r\nMULTI\r\nNOSUCH\r\nEXEC\r\nGET {t}n\r\n";
    let expected = "+OK\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n:2\r\n+OK\r\n\
                    -ERR unknown command 'NOSUCH', with args beginning with: \r\n\
                    -EXECABORT Transaction discarded because of previous errors.\r\n$1\r\n2\r\n";
    talk(server.address(), commands, expected);
}

#[test]
fn a_message_reaches_a_subscriber_on_another_connection() {
    let harness = redis();
    let server = harness.serve();
    let mut subscriber = TcpStream::connect(server.address()).unwrap();
    subscriber.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    subscriber.write_all(b"SUBSCRIBE news\r\n").unwrap();
    let read = |stream: &mut TcpStream, expected: &str| {
        let mut answer = vec![0; expected.len()];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), expected);
    };
    read(&mut subscriber, "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
    talk(server.address(), "PUBLISH news hello\r\n", ":0\r\n");
    read(&mut subscriber, "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\nhello\r\n");
}
