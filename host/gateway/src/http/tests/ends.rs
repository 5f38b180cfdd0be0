//! How connections end: clients that end their side, that leave, that are still sending; answers that break off.

use super::*;

/// Fails if the end of what a client sends is taken for its leaving.
#[tokio::test]
async fn a_client_that_ends_its_side_is_answered() {
    for streams in [false, true] {
        let (listener, address, _) = start_with(Mirror { streams, ..Default::default() }, 100).await;
        for k in 0..40 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request = format!("PUT /later?{k} HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody");
            stream.write_all(request.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut answer = String::new();
            timeout(Duration::from_secs(10), stream.read_to_string(&mut answer)).await.unwrap().unwrap();
            assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("body"), "{answer}");
        }
        let half = "GET / HTTP/1.1\r\nhost";
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(half.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        timeout(Duration::from_secs(10), stream.read_to_end(&mut Vec::new())).await.unwrap().unwrap();
        nobody_left(&listener).await;
    }
}

/// Waits until all connections have ended.
async fn nobody_left(listener: &AppListener) {
    let gone = async {
        while listener.connections() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(10), gone).await.expect("all connections have ended");
}

/// Fails if what a client has asked for goes on when its connection has been reset.
#[tokio::test]
async fn a_reset_ends_what_is_under_way() {
    let (listener, address, mirror) = start_streaming().await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(get("/held").as_bytes()).await.unwrap();
    mirror.waiting.notified().await;
    assert_eq!(listener.connections(), 1);
    stream.set_zero_linger().unwrap();
    drop(stream);
    nobody_left(&listener).await;
}

/// Fails if clients that leave in the middle of their requests or answers leave something behind.
#[tokio::test]
async fn twenty_clients_that_leave_in_the_middle_leave_nothing_behind() {
    let (listener, address, mirror) = start_streaming().await;
    let head = "PUT / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n";
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.read_exact(&mut [0; 12]).await.unwrap();
        clients.push(stream);
    }
    assert_eq!(Arc::strong_count(&mirror.held), 21);
    drop(clients);
    nobody_left(&listener).await;
    assert_eq!(Arc::strong_count(&mirror.held), 1);
    assert!(exchange(address, &get("/authority")).await.starts_with("HTTP/1.1 200"));
}

/// Fails if the socket is closed while its client sends: the reset overtakes the answer.
#[tokio::test]
async fn a_client_that_is_still_sending_gets_the_early_answer() {
    let (listener, address, _) = start_streaming().await;
    let (_other, whole_address, _) = start(100).await;
    for (address, status) in [(address, "403"), (whole_address, "413")] {
        for _ in 0..3 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let bytes = 3 << 20;
            let head = format!("PUT /early HTTP/1.1\r\nhost: a\r\ncontent-length: {bytes}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            // As Python's clients do: everything first. The pauses let the answer, and what comes with it, arrive in the middle.
            for _ in 0..bytes >> 16 {
                tokio::time::sleep(Duration::from_millis(2)).await;
                stream.write_all(&[b'x'; 1 << 16]).await.expect("the server listens on");
            }
            let mut answer = String::new();
            timeout(Duration::from_secs(10), stream.read_to_string(&mut answer)).await.unwrap().unwrap();
            assert_eq!(answer.split(' ').nth(1), Some(status), "{answer}");
        }
    }
    // Not for ever: one that neither sends nor leaves is let go.
    let mut silent = TcpStream::connect(address).await.unwrap();
    let head = "PUT /early HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n";
    silent.write_all(head.as_bytes()).await.unwrap();
    silent.read_to_end(&mut Vec::new()).await.unwrap();
    nobody_left(&listener).await;
}

/// Fails if a part of an answer looks like all of it, in any framing.
#[tokio::test]
async fn an_answer_that_breaks_off_does_not_look_complete() {
    let (_listener, address, _) = start_streaming().await;
    let answer = exchange(address, "GET /broken HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200") && !answer.ends_with("0\r\n\r\n"), "{answer}");

    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /broken HTTP/1.0\r\n\r\n").await.unwrap();
    let read = timeout(Duration::from_secs(10), stream.read_to_end(&mut Vec::new())).await.unwrap();
    assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset, "its end is all that there is to see");

    let (mut sender, tasks) = http2(address).await;
    let request = hyper::Request::builder().uri("http://here/broken").body(Full::default()).unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert!(answer.into_body().collect().await.is_err());
    tasks.stop().await;
}

/// Fails if a failure inside the server costs others anything.
#[tokio::test]
async fn a_panic_costs_its_own_request_only() {
    let (_listener, address, mirror) = start(100).await;
    let (mut sender, tasks) = http2(address).await;
    let asked = |path: &str| {
        hyper::Request::builder().uri(format!("http://here{path}")).body(Full::<Bytes>::default()).unwrap()
    };
    let slow = recoil_base::task::spawn_detached(sender.send_request(asked("/slow")));
    let mut kept = TcpStream::connect(address).await.unwrap();
    kept.write_all(b"GET /1 HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    kept.read_exact(&mut [0; 12]).await.unwrap();
    mirror.waiting.notified().await;
    assert!(sender.send_request(asked("/panic")).await.is_err());
    assert_eq!(exchange(address, &get("/panic")).await, "");
    mirror.go_on.notify_one();
    assert_eq!(slow.await.unwrap().unwrap().status(), StatusCode::OK, "beside it on the same connection");
    kept.write_all(get("/2").as_bytes()).await.unwrap();
    let mut rest = String::new();
    kept.read_to_string(&mut rest).await.unwrap();
    assert!(rest.contains("x-path: /2"), "{rest}");
    tasks.stop().await;
}
