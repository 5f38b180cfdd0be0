//! Which requests are served, and what answers carry.

use super::*;

/// Fails if a request reaches the package that two recipients could read differently.
#[tokio::test]
async fn a_request_that_can_be_read_in_two_ways_is_refused_and_its_connection_ends() {
    for streams in [false, true] {
        let (_listener, address, mirror) = start_with(Mirror { streams, ..Default::default() }, 100).await;
        for (request, status) in [
            ("GET / HTTP/1.1\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nhost:\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400),
            ("GET / HTTP/1.0\r\nhost: a\r\nhost: b\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nhost: u@a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nhost: a b\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nhost: a, b\r\n\r\n", 400),
            ("GET http://a/ HTTP/1.1\r\nhost: b\r\n\r\n", 400),
            ("GET http://a/ HTTP/1.1\r\n\r\n", 400),
            ("GET * HTTP/1.1\r\nhost: a\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab", 400),
            ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1, 1\r\n\r\na", 400),
            ("POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
            ("CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n", 501),
        ] {
            // Nothing behind it is read as a request.
            let answer = exchange(address, &format!("{request}GET /behind HTTP/1.1\r\nhost: a\r\n\r\n")).await;
            let first = answer.split(' ').nth(1).unwrap_or_default();
            assert_eq!((first, answer.matches("HTTP/1.").count()), (&*status.to_string(), 1), "{request:?}: {answer}");
        }
        assert_eq!(mirror.answered.load(Ordering::SeqCst), 0);
        for request in ["GET http://a:80/ HTTP/1.1\r\nhost: A\r\n", "GET / HTTP/1.0\r\n", "GET http://a/ HTTP/1.0\r\n"]
        {
            let answer = exchange(address, &format!("{request}connection: close\r\n\r\n")).await;
            assert_eq!(answer.split(' ').nth(1), Some("200"), "{request:?}: {answer}");
        }
    }
}

/// RFC 9112 §6.1. Fails if what follows is read as another request.
#[tokio::test]
async fn of_two_framings_chunks_count_and_the_connection_ends() {
    let (_listener, address, mirror) = start(100).await;
    let text = "POST /one HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\
                GET /two HTTP/1.1\r\nhost: a\r\n\r\n";
    let answer = exchange(address, text).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("abc") && !answer.contains("/two"), "{answer}");
    assert_eq!(mirror.seen.lock().len(), 1);
}

/// Fails if a load balancer's probe is refused, or `wasi:http` is given no authority.
#[tokio::test]
async fn a_request_of_http_1_0_without_host_is_for_the_address_it_came_to() {
    let (_listener, address, _) = start_streaming().await;
    let answer = exchange(address, "GET /authority HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 200") && answer.ends_with(&format!("\r\n\r\n{address}")), "{answer}");
    let answer = exchange(address, "GET http://other/authority HTTP/1.0\r\n\r\n").await;
    assert!(answer.ends_with("\r\n\r\nother"), "{answer}");
}

#[tokio::test]
async fn http2_has_one_host_too() {
    let (_listener, address, mirror) = start(100).await;
    let (mut sender, tasks) = http2(address).await;
    for (host, status) in [(None, 200), (Some("here"), 200), (Some("there"), 400), (Some("u@here"), 400)] {
        let mut request = hyper::Request::builder().uri("http://here/");
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let answer = sender.send_request(request.body(Full::default()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), status, "{host:?}");
    }
    assert_eq!(mirror.answered.load(Ordering::SeqCst), 2);
    tasks.stop().await;
}

/// Fails over HTTP/2 if the length that is announced is held against the body that is not sent.
#[tokio::test]
async fn answers_without_a_body_are_whole_in_both_versions() {
    let (_listener, address, _) = start_streaming().await;
    let (_whole, whole_address, _) = start(100).await;
    for (address, method, path, status, length) in [
        (address, "HEAD", "/length", 200, Some("1000")),
        (address, "HEAD", "/early", 403, None),
        (address, "GET", "/204", 204, None),
        (address, "GET", "/304", 304, None),
        (whole_address, "HEAD", "/large", 200, Some("34603008")),
        (whole_address, "GET", "/no-content", 204, None),
    ] {
        let (mut sender, tasks) = http2(address).await;
        let request = hyper::Request::builder().method(method).uri(format!("http://here{path}"));
        let answer = sender.send_request(request.body(Full::default()).unwrap()).await.unwrap();
        let found = answer.headers().get("content-length").map(|length| length.to_str().unwrap().to_owned());
        assert_eq!((answer.status().as_u16(), found.as_deref()), (status, length), "{method} {path}");
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "", "{method} {path}");
        tasks.stop().await;

        let request = format!("{method} {path} HTTP/1.1\r\nhost: a\r\n\r\n");
        let again = "GET /again HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        let answer = exchange(address, &format!("{request}{again}")).await;
        let (first, rest) = answer.split_once("\r\n\r\n").unwrap();
        assert!(first.contains(&format!(" {status} ")), "{method} {path}: {answer}");
        assert_eq!(length.is_some_and(|length| first.contains(&format!("content-length: {length}"))), length.is_some());
        assert!(rest.starts_with("HTTP/1.1 200"), "the connection goes on: {answer}");
    }
}
