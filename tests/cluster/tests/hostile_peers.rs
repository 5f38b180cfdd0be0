//! Strangers at the node's own port, where peers and operators come: they get an error or lose their connection, members and
//! operators go on, memory stays bounded, and nothing panics.

#![allow(missing_docs, clippy::disallowed_methods)]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use recoil_cluster_tests::Cluster;
use recoil_cluster_tests::hostile::{exchange, stranger, until_end};
use serde_json::{Value, json};

const MAGIC: &[u8; 8] = b"RECOIL\x00\x02";
/// Memory that strangers at this port may take.
const STRANGERS_MIB: u64 = 80;

fn hello(cluster: &str, wire: u32) -> Vec<u8> {
    let hello = json!({"wire": {"min": wire, "max": wire}, "cluster": cluster, "node": "00000bad", "start": [1, 2],
        "address": "127.0.0.1:9", "expects": null, "refusal": null});
    let json = hello.to_string().into_bytes();
    [&MAGIC[..], &(json.len() as u32).to_le_bytes(), &json].concat()
}

fn frame(kind: u8, id: u64, body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32 + 9).to_le_bytes()[..], &[kind], &id.to_le_bytes(), body].concat()
}

/// A stranger whose hello was accepted.
fn greeted(port: u16, cluster: &str) -> TcpStream {
    let mut stream = stranger(port);
    stream.write_all(&hello(cluster, 2)).unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(&head[..8], MAGIC);
    let mut json = vec![0; u32::from_le_bytes(head[8..].try_into().unwrap()) as usize];
    stream.read_exact(&mut json).unwrap();
    let answer: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(answer["refusal"], Value::Null, "{answer}");
    stream
}

/// The kind of the answer and its body.
fn answer(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut head = [0; 13];
    stream.read_exact(&mut head).unwrap();
    let mut body = vec![0; u32::from_le_bytes(head[..4].try_into().unwrap()) as usize - 9];
    stream.read_exact(&mut body).unwrap();
    (head[4], body)
}

/// Fails if everybody is taken for a member: a stranger's frame of a megabyte was waited for.
#[test]
fn strangers_who_speak_the_peers_protocol_get_nothing_but_an_answer() {
    let mut cluster = Cluster::processes();
    let port = cluster.ports().admin;
    cluster.wait_serving(0);
    let id = cluster.status(0).unwrap()["cluster"].as_str().expect("the status has the cluster's id").to_owned();
    let before = cluster.resident_mib(0);

    let refused = |bytes: &[u8], expected: &str| {
        let (answer, closed) = exchange(port, bytes);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(closed && answer.contains(expected), "{expected}: {answer:?}, closed: {closed}");
    };
    refused(&hello(&id, 99), "2 to 2 and node 00000bad has 99 to 99, which have none in common: upgrade node");
    refused(&hello(&"0".repeat(32), 2), "belongs to cluster");
    refused(&[&MAGIC[..], &u32::MAX.to_le_bytes(), b"{}"].concat(), "");
    refused(&[&MAGIC[..], &9u32.to_le_bytes(), b"not json!"].concat(), "");
    refused(&[&MAGIC[..], &4096u32.to_le_bytes()].concat(), ""); // and silence
    refused(b"RECOIL\x00\x01 another version of the hello\r\n\r\n", "RECOIL\0\u{2}");
    for length in [0u32, 8, 1 << 20, u32::MAX] {
        let mut stream = greeted(port, &id);
        stream.write_all(&length.to_le_bytes()).unwrap();
        let _ = stream.write_all(&[0; 64]);
        assert!(until_end(&mut stream).1, "a frame of {length} bytes ends the stream");
    }
    cluster.assert_well(0, "wrong hellos and frames", before, STRANGERS_MIB);

    // Raft for the meta group, for one that is not there, calls, proposals, messages: random and true to form.
    let mut stream = greeted(port, &id);
    let raft = |group: u32, kind: u8, body: &[u8]| [&[1][..], &group.to_le_bytes(), &[kind], body].concat();
    let vote = br#"{"vote":{"leader_id":{"term":18446744073709551615,"node_id":"00000bad"},"committed":true},"last_log_id":null,"leadership_transfer":true}"#;
    let mut bodies = vec![vec![2], vec![3], vec![4], vec![1], vec![1, 0], vec![9], vec![255], vec![]];
    for group in [0, 1, 77] {
        bodies.extend(
            (0..9).flat_map(|kind| [raft(group, kind, vote), raft(group, kind, &[0xff; 40]), raft(group, kind, b"")]),
        );
    }
    bodies.push([&[3][..], &[40, 0, 0, 0], br#"{"command":"uninstall","name":"redis-server"}"#].concat());
    for (number, body) in bodies.iter().enumerate() {
        stream.write_all(&frame(0, number as u64, body)).unwrap();
        let (kind, text) = answer(&mut stream);
        assert_eq!(kind, 2, "{body:?}: {}", String::from_utf8_lossy(&text));
    }
    // It may ask whether anybody is there, which is answered with the time, and for nothing in another form.
    stream.write_all(&frame(0, 1, &[5])).unwrap();
    let (kind, time) = answer(&mut stream);
    assert_eq!((kind, time.len()), (1, 8));
    for body in [&b"\x06"[..], b"\x06{}", br#"{"command":"uninstall","name":"redis-server"}"#] {
        stream.write_all(&frame(0, 1, body)).unwrap();
        assert_eq!(answer(&mut stream).0, 2);
    }
    cluster.assert_well(0, "requests of strangers", before, STRANGERS_MIB);
    assert_eq!(cluster.status(0).unwrap()["nodes"].as_array().map(Vec::len), Some(Cluster::NODES), "nobody has joined");
    cluster.stop();
}

/// Red with one room for all connections of the port, in which nobody gives way: the next one was turned away.
#[test]
fn crowds_of_strangers_keep_neither_members_nor_operators_out() {
    let mut cluster = Cluster::processes();
    let port = cluster.ports().admin;
    cluster.wait_serving(0);
    let id = cluster.status(0).unwrap()["cluster"].as_str().expect("the status has the cluster's id").to_owned();
    let before = cluster.resident_mib(0);
    let mut crowd: Vec<TcpStream> = (0..1_200).map(|_| stranger(port)).collect();
    crowd.extend((0..200).map(|_| greeted(port, &id)));
    for _ in 0..600 {
        let mut stream = stranger(port);
        stream.write_all(b"GET /v1/status HTTP/1.1\r\nhost: a\r\nx-endless: ").unwrap();
        crowd.push(stream);
    }
    cluster.assert_well(0, "crowds of strangers", before, STRANGERS_MIB);
    // A member that has to dial anew finds its place.
    cluster.kill(1);
    cluster.start_node(1);
    cluster.wait_serving(1);
    cluster.assert_well(0, "a member that came back", before, STRANGERS_MIB);
    // Who says nothing is let go: all of the silent ones are gone after some seconds.
    let end = Instant::now() + Duration::from_secs(15);
    for stream in &mut crowd[..1_200] {
        stream
            .set_read_timeout(Some(end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))))
            .unwrap();
        assert!(until_end(stream).1, "a silent connection is closed in time");
    }
    cluster.stop();
}

/// Red without the bound on uploads: a hundred of a megabyte each were kept.
#[test]
fn garbage_for_the_admin_api_is_answered_or_hung_up_on() {
    let mut cluster = Cluster::processes();
    let port = cluster.ports().admin;
    cluster.wait_serving(0);
    let before = cluster.resident_mib(0);
    let request = |method: &str, path: &str, body: &[u8]| {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), body].concat()
    };
    let digest = format!(r#"{{"digest":"sha256:{}"}}"#, "0".repeat(64));
    for (bytes, status) in [
        (request("GET", "/", b""), 404),
        (request("GET", "/v1/%00/..//", b""), 404),
        (request("BREW", "/v1/status", b""), 405),
        (request("DELETE", "/v1/apps/none", b""), 40),
        (request("DELETE", "/v1/apps/%2e%2e", b""), 400),
        (request("POST", "/v1/apps", b"{"), 400),
        (request("POST", "/v1/apps", &[b'['; 60_000]), 400),
        (request("POST", "/v1/apps", br#"{"name":"none"}"#), 40),
        (request("POST", "/v1/apps", br#"{"digest":"sha256:0"}"#), 400),
        (request("POST", "/v1/apps", digest.as_bytes()), 40),
        (request("POST", "/v1/packages", b"\0asm not a component"), 400),
        (request("POST", "/v1/packages", b""), 400),
        (b"POST /v1/packages HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999\r\n\r\n".to_vec(), 413),
        ([b"GET / HTTP/1.1\r\n", &b"x: ".repeat(60_000)[..]].concat(), 431),
    ] {
        let (answer, closed) = exchange(port, &bytes);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        // What is still on its way when the node hangs up may take the answer with it.
        let cut_off = status == 431 && answer.is_empty();
        assert!(cut_off || answer.starts_with(&format!("HTTP/1.1 {status}")), "{shown}: {answer:?}");
        assert!(closed || status == 413, "{shown}");
    }
    for garbage in
        [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], &[0xff; 9000], b"\r\n\r\n\r\n\r\n", b"GET\r\n\r\n"]
    {
        assert!(exchange(port, garbage).1, "{garbage:?} ends the connection");
    }
    cluster.assert_well(0, "garbage for the admin API", before, STRANGERS_MIB);
    // Bodies that keep coming, slowly or not at all, on many connections at once.
    let mut slow: Vec<TcpStream> = (0..100).map(|_| stranger(port)).collect();
    for stream in &mut slow {
        let _ = stream.write_all(b"POST /v1/packages HTTP/1.1\r\nhost: a\r\ncontent-length: 60000000\r\n\r\n");
        let _ = stream.write_all(&[0; 1 << 20]);
    }
    cluster.assert_well(0, "slow uploads", before, STRANGERS_MIB);
    cluster.stop();
}
