//! A component that knows `wasi:http` and nothing of Recoil, `guests/wasi-echo`, on three nodes, asked with curl.

// Whole programs are tested against the clock on the wall.
#![allow(clippy::disallowed_methods)]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use recoil_cluster_tests::http::ask;
use recoil_cluster_tests::{Cluster, Ports};

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
    broken(&cluster);
    let log = cluster.ctl(1, &["logs", "wasi-echo"]).ok();
    assert!(!log.contains("trap"), "{log}");
    cluster.stop();
}

/// Red when an answer whose instance was ended looks complete.
fn broken(cluster: &Cluster) {
    let package = recoil::packages::PACKAGES.iter().find(|package| package.name == "wasi-echo").unwrap();
    let mut manifest = recoil_package::read(package.archive).unwrap();
    manifest.limits.0.insert("http_ms".into(), 1000);
    let file = cluster.path("hasty.wasm");
    std::fs::write(&file, recoil_package::embed(package.archive, &manifest).unwrap()).unwrap();
    let port = Ports::free(3).redis(0);
    let listen = format!("http={}", port - cluster.ports().offset);
    let file = file.display().to_string();
    cluster.ctl(0, &["install", "--yes", &file, "--name", "hasty", "--listen", &listen]).ok();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(b"POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n").unwrap();
    let mut seen = Vec::new();
    // The request never ends; what comes is all that comes within the limit.
    let _ = stream.read_to_end(&mut seen);
    let seen = String::from_utf8_lossy(&seen);
    assert!(seen.starts_with("HTTP/1.1 200") && seen.contains("first"), "{seen}");
    assert!(!seen.ends_with("0\r\n\r\n"), "it looks complete: {seen}");
    assert!(cluster.ctl(0, &["logs", "hasty"]).ok().contains("limit http_ms"), "its log says why");
}
