//! A component that knows `wasi:http` and nothing of Recoil, `guests/wasi-echo`, on three nodes, asked with curl.

// Whole programs are tested against the clock on the wall.
#![allow(clippy::disallowed_methods)]

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::time::Duration;

use recoil_cluster_tests::http::ask;
use recoil_cluster_tests::{Cluster, Ports, eventually};
use recoil_package::{Manifest, RequestInstances};

#[test]
fn an_unchanged_component_streams_both_ways() {
    let mut cluster = Cluster::simulator();
    let port = Ports::free(3).redis(0);
    let listen = format!("http={}", port - cluster.ports().offset);
    cluster.ctl(0, &["install", "--yes", "wasi-echo", "--listen", &listen]).ok();
    let scratch = cluster.path("");
    for k in 0..3 {
        let answer = ask(&scratch, "GET", &format!("http://127.0.0.1:{}/some/path?a=b", port + k), &[]);
        assert_eq!((answer.status, answer.text().as_str()), (200, "hello from /some/path?a=b\n"));
    }
    let shown = cluster.ctl(1, &["inspect", "wasi-echo"]).ok();
    assert!(shown.contains("http-handler"), "{shown}");

    // More than any of the limits on whole bodies, and more than a node may grow by.
    let before = cluster.resident_mib(0);
    let file = cluster.path("large");
    let large: Vec<u8> = (0..100u32 << 20 >> 2).flat_map(u32::to_le_bytes).collect();
    std::fs::write(&file, &large).unwrap();
    let data = format!("@{}", file.display());
    let answer = ask(&scratch, "POST", &format!("http://127.0.0.1:{port}/echo"), &["--data-binary", &data]);
    assert!(answer.status == 200 && answer.body == large, "{} {}", answer.status, answer.body.len());
    let after = cluster.resident_mib(0);
    assert!(after < before + 64, "{before} MiB became {after} MiB");

    // The answer begins while the request goes on, and a client that leaves takes its instance with it.
    let mut stream = TcpStream::connect(("127.0.0.1", port + 1)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(b"POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n").unwrap();
    let mut seen = Vec::new();
    while !seen.windows(5).any(|window| window == b"first") {
        let mut piece = [0; 1024];
        let count = stream.read(&mut piece).unwrap();
        assert!(count > 0, "{}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&piece[..count]);
    }
    drop(stream);
    let begun = || ask(&scratch, "GET", &format!("http://127.0.0.1:{port}/begun"), &[]).text();
    assert_eq!([begun(), begun()], ["1\n", "1\n"], "each request has an instance of its own");
    broken(&cluster);
    kept(&cluster);
    let log = cluster.ctl(1, &["logs", "wasi-echo"]).ok();
    assert!(!log.contains("trap"), "{log}");
    cluster.stop();
}

/// The component with another manifest; the port of its node 0.
fn install_changed(cluster: &Cluster, name: &str, change: impl FnOnce(&mut Manifest)) -> u16 {
    let package = recoil::packages::PACKAGES.iter().find(|package| package.name == "wasi-echo").unwrap();
    let mut manifest = recoil_package::read(package.archive).unwrap();
    change(&mut manifest);
    let file = cluster.path(&format!("{name}.wasm"));
    std::fs::write(&file, recoil_package::embed(package.archive, &manifest).unwrap()).unwrap();
    let port = Ports::free(3).redis(0);
    let listen = format!("http={}", port - cluster.ports().offset);
    let file = file.display().to_string();
    cluster.ctl(0, &["install", "--yes", &file, "--name", name, "--listen", &listen]).ok();
    port
}

/// Fails if an instance that is to be kept answers one request only, one that is not answers more, or what a request left behind when it broke
/// off is met by a later one.
fn kept(cluster: &Cluster) {
    let kept = install_changed(cluster, "kept", |manifest| manifest.listeners[0].instances = RequestInstances::Kept);
    let scratch = cluster.path("");
    let begun = |port: u16| {
        let answer = ask(&scratch, "GET", &format!("http://127.0.0.1:{port}/begun"), &[]);
        answer.text().trim().parse::<u32>().unwrap()
    };
    assert_eq!((1..=5).map(|_| begun(kept)).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    let body = "x".repeat(100_000);
    for _ in 0..3 {
        let answer = ask(&scratch, "POST", &format!("http://127.0.0.1:{kept}/echo"), &["--data-binary", &body]);
        assert_eq!((answer.status, answer.body.len()), (200, 100_000));
    }
    assert_eq!(begun(kept), 9, "a stream that was read to its end leaves nothing behind");
    let mut stream = connect(("127.0.0.1", kept));
    stream.write_all(b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 300000\r\n\r\nfirst").unwrap();
    let mut piece = [0; 64];
    assert!(stream.read(&mut piece).unwrap() > 0);
    drop(stream);
    eventually("the instance of the client that left is gone", || match begun(kept) {
        count if count < 9 => Ok(()),
        count => Err(count.to_string()),
    });
    std::thread::sleep(Duration::from_millis(500));
    assert!(begun(kept) < 9, "nor does it come back");
}

/// A component that gives up after a second without progress; the port of its node 0.
fn install_hasty(cluster: &Cluster) -> u16 {
    install_changed(cluster, "hasty", |manifest| {
        manifest.limits.0.insert("http_ms".into(), 1000);
    })
}

fn connect(address: impl ToSocketAddrs) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

/// All that comes on a connection until its end, however that is.
fn rest(stream: &mut TcpStream) -> String {
    let mut seen = Vec::new();
    let _ = stream.read_to_end(&mut seen);
    String::from_utf8_lossy(&seen).into_owned()
}

/// Fails if an answer whose instance was ended looks complete, or the limit ends a stream that makes progress.
fn broken(cluster: &Cluster) {
    let port = install_hasty(cluster);
    let head = b"POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
    let mut stream = connect(("127.0.0.1", port));
    stream.write_all(head).unwrap();
    stream.write_all(b"5\r\nfirst\r\n").unwrap();
    // The request never ends; what comes is all that comes within the limit.
    let seen = rest(&mut stream);
    assert!(seen.starts_with("HTTP/1.1 200") && seen.contains("first"), "{seen}");
    assert!(!seen.ends_with("0\r\n\r\n"), "it looks complete: {seen}");
    assert!(cluster.ctl(0, &["logs", "hasty"]).ok().contains("limit http_ms"), "its log says why");

    let mut slow = connect(("127.0.0.1", port));
    slow.write_all(head).unwrap();
    for k in 0..8 {
        std::thread::sleep(Duration::from_millis(400));
        slow.write_all(format!("6\r\npiece{k}\r\n").as_bytes()).unwrap();
    }
    slow.write_all(b"0\r\n\r\n").unwrap();
    let seen = rest(&mut slow);
    assert!(
        seen.contains("piece7") && seen.ends_with("0\r\n\r\n"),
        "three times the limit, never without progress: {seen}"
    );
}

/// Every door of a node, and what is to be had there.
fn doors(cluster: &Cluster) -> Vec<(String, &'static str, u16)> {
    let mut doors = vec![(cluster.admin(0), "/v1/version", 200), (cluster.admin(0), "/v2/", 200)];
    for (package, listener, path, status) in [("wasi-echo", "http", "/a", 200), ("bank", "api", "/a", 404)] {
        let port = Ports::free(3).redis(0);
        let listen = format!("{listener}={}", port - cluster.ports().offset);
        cluster.ctl(0, &["install", "--yes", package, "--listen", &listen]).ok();
        doors.push((format!("127.0.0.1:{port}"), path, status));
    }
    doors
}

/// Fails if one of the doors, or one kind of package, has rules of its own.
#[test]
fn the_rules_of_http_are_the_same_at_every_door() {
    let mut cluster = Cluster::simulator();
    let doors = doors(&cluster);
    for (address, path, status) in &doors {
        let asked = |text: &str, ends: bool| {
            let mut stream = connect(address);
            stream.write_all(text.as_bytes()).unwrap();
            if ends {
                stream.shutdown(Shutdown::Write).unwrap();
            }
            let answer = rest(&mut stream);
            answer.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok()).ok_or(answer)
        };
        for _ in 0..10 {
            assert_eq!(asked(&format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n"), true), Ok(*status), "{address}{path}");
        }
        for (hosts, version, expected) in [
            ("", "1.0", *status),
            ("", "1.1", 400),
            ("host: a\r\nhost: b\r\n", "1.1", 400),
            ("host: u@a\r\n", "1.1", 400),
            ("host: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n", "1.1", 400),
        ] {
            let text = format!("GET {path} HTTP/{version}\r\n{hosts}connection: close\r\n\r\n");
            assert_eq!(asked(&text, false), Ok(expected), "{address}: {text}");
        }
        let differs = format!("GET http://b{path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        assert_eq!(asked(&differs, false), Ok(400), "{address}");
        // Everything is sent before anything is read, as Python's clients do.
        let mut sending = connect(address);
        let bytes = 3 << 20;
        let head = format!("PUT {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {bytes}\r\nconnection: close\r\n\r\n");
        sending.write_all(head.as_bytes()).unwrap();
        sending.write_all(&vec![b'x'; bytes]).expect("nobody closes before it is read");
        assert!(rest(&mut sending).starts_with("HTTP/1.1 "), "{address}");
    }
    half_closed_orders(&cluster, &doors[3].0);
    heads(&cluster, &doors[2].0);
    cluster.stop();
}

/// Fails if an order of a client that has ended its side is carried out and not answered.
fn half_closed_orders(cluster: &Cluster, bank: &str) {
    for k in 0..40 {
        let mut stream = connect(bank);
        let text = format!("PUT /branches/north/accounts/{k} HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(text.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let answer = rest(&mut stream);
        assert!(answer.starts_with("HTTP/1.1 201"), "{k}: {answer}");
    }
    let url = format!("http://{bank}/branches/north/accounts/39");
    assert_eq!(ask(&cluster.path(""), "GET", &url, &[]).status, 200);
}

/// Fails if the length that a component announces in answer to HEAD is held against the body that it rightly does not write.
fn heads(cluster: &Cluster, echo: &str) {
    let scratch = cluster.path("");
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let answer = ask(&scratch, "HEAD", &format!("http://{echo}/a"), &[version]);
        assert_eq!((answer.status, answer.header("content-length")), (200, "14"), "{version}: {}", answer.complaint);
        assert_eq!(answer.complaint, "", "{version}");
        let answer = ask(&scratch, "GET", &format!("http://{echo}/a"), &[version]);
        assert_eq!(answer.text(), "hello from /a\n", "{version}");
    }
}
