//! Clients of redis-server that mean harm, or do not know better: each gets an error or loses its connection, the node goes on
//! serving others, its memory stays bounded, and nothing panics.

#![allow(missing_docs, clippy::disallowed_methods)]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use recoil_cluster_tests::hostile::{exchange, raise_files, stranger};
use recoil_cluster_tests::{Cluster, Redis, Reply};

/// Memory that a flood of clients may take: what the instances of the connections cost that may be open, and no more for what they
/// send.
const CROWD_MIB: u64 = 600;
/// Memory that a few hostile clients may take: a command of 12 MiB and 4 MiB read ahead, each.
const FEW_MIB: u64 = 150;

/// Red without `READ_AHEAD_BYTES_MAX` in the host's socket: 1,198 MiB once nobody read the answers.
#[test]
fn malformed_endless_and_slow_clients_harm_nobody() {
    let mut cluster = Cluster::processes();
    let port = cluster.ports().redis(0);
    cluster.wait_serving(0);
    let before = cluster.resident_mib(0);

    for (input, expected) in [
        (&b"*x\r\n"[..], "-ERR Protocol error: invalid multibulk length"),
        (b"*1048577\r\n", "-ERR Protocol error: invalid multibulk length"),
        (b"*1\r\n$99999999999\r\n", "-ERR Protocol error: invalid bulk length"),
        (b"*1\r\n*1\r\n*1\r\n", "-ERR Protocol error: expected '$', got '*'"),
        (b"SET \"a\r\n", "-ERR Protocol error: unbalanced quotes in request"),
        (&[b'a'; 70_000], "-ERR Protocol error: too big inline request"),
    ] {
        let (answer, closed) = exchange(port, input);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(closed && answer.starts_with(expected), "{answer:?}, closed: {closed}");
    }
    cluster.assert_well(0, "malformed requests", before, FEW_MIB);

    // Announced and never sent; half-open; nested; all of them left open.
    let mut open: Vec<TcpStream> = Vec::new();
    for _ in 0..30 {
        for input in
            [&b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$12000000\r\nab"[..], b"*1048576\r\n", b"*1\r\n$500000000\r\nabc", b"GET"]
        {
            let mut stream = stranger(port);
            stream.write_all(input).unwrap();
            open.push(stream);
        }
    }
    cluster.assert_well(0, "huge announced lengths", before, FEW_MIB);
    drop(open);

    // A pipeline whose answers nobody reads: the node stops reading, too.
    let mut deaf: Vec<TcpStream> = (0..4).map(|_| stranger(port)).collect();
    let value = "x".repeat(60_000);
    Redis::connect(port).unwrap().command(&["SET", "value", &value]).unwrap();
    let pipeline = b"*2\r\n$3\r\nGET\r\n$5\r\nvalue\r\n".repeat(2_000);
    let end = Instant::now() + Duration::from_secs(5);
    for stream in &mut deaf {
        stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        while Instant::now() < end && stream.write_all(&pipeline).is_ok() {}
    }
    cluster.assert_well(0, "answers that nobody reads", before, FEW_MIB);
    drop(deaf);

    // Byte by byte, writing and reading.
    let mut slow = stranger(port);
    slow.set_nodelay(true).unwrap();
    for byte in b"*2\r\n$3\r\nGET\r\n$5\r\nvalue\r\n" {
        slow.write_all(&[*byte]).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut byte = [0];
    for _ in 0..100 {
        slow.read_exact(&mut byte).unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    cluster.assert_well(0, "slow clients", before, FEW_MIB);
    cluster.stop();
}

/// Red without the bound on connections beside the instances: 3,998 clients had all of them, handlers found no room, and calls failed.
#[test]
fn ten_thousand_connections_are_served_or_closed() {
    let files = raise_files();
    let count = 10_000.min(files.saturating_sub(1_000)) as usize;
    let mut cluster = Cluster::processes();
    let port = cluster.ports().redis(0);
    cluster.wait_serving(0);
    let before = cluster.resident_mib(0);
    let mut early = Redis::connect(port).unwrap();
    assert_eq!(early.command(&["SET", "early", "1"]).unwrap(), Reply::Simple("OK".into()));

    let mut crowd: Vec<TcpStream> = Vec::with_capacity(count);
    for _ in 0..count {
        let mut stream = stranger(port);
        let _ = stream.write_all(b"PING\r\n");
        crowd.push(stream);
    }
    let (mut served, mut closed) = (0, 0);
    for stream in &mut crowd {
        let mut answer = [0; 7];
        match stream.read_exact(&mut answer) {
            Ok(()) => {
                assert!(&answer == b"+PONG\r\n" || answer.starts_with(b"-"), "{answer:?}");
                served += 1;
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("neither served nor closed"),
            Err(_) => closed += 1,
        }
    }
    println!("{served} of {count} connections served, {closed} closed; {} MiB", cluster.resident_mib(0));
    assert!(served >= 900, "{served} served");
    // Who was there before goes on being served, and on all partitions.
    for number in 0..200 {
        assert_eq!(early.command(&["SET", &format!("key {number}"), "1"]).unwrap(), Reply::Simple("OK".into()));
    }
    assert!(cluster.resident_mib(0) <= before + CROWD_MIB, "{} MiB, {before} before", cluster.resident_mib(0));
    drop(crowd);

    // Come and go.
    for _ in 0..2_000 {
        let mut stream = stranger(port);
        let _ = stream.write_all(b"PING\r\nGE");
    }
    let end = Instant::now() + Duration::from_secs(20);
    while Redis::connect(port).and_then(|mut redis| redis.command(&["PING"])).is_err() {
        assert!(Instant::now() < end, "places are free again");
        std::thread::sleep(Duration::from_millis(100));
    }
    cluster.assert_well(0, "a crowd that came and went", before, CROWD_MIB);
    cluster.stop();
}
