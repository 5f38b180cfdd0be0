//! Real sockets on loopback, and answers made here.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::StreamExt as _;
use http_body_util::StreamBody as Stream;
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

mod ends;
mod pace;
mod requests;

use super::*;
use crate::tcp::{AppListener, ListenerOptions};

/// Answers what it was asked; what the path names, it does.
#[derive(Default)]
struct Mirror {
    seen: Mutex<Vec<Request>>,
    complaints: Mutex<Vec<String>>,
    answered: AtomicUsize,
    waiting: Notify,
    go_on: Notify,
    streams: bool,
    /// Requests that are being answered, or whose answers are being sent.
    held: Arc<()>,
}

/// Bytes of `/heavy`.
const HEAVY_BYTES: usize = 4 << 20;

fn body_of(pieces: Vec<Result<Bytes, std::io::Error>>) -> StreamBody {
    Stream::new(futures::stream::iter(pieces).map(|piece| piece.map(Frame::data))).boxed_unsync()
}

#[async_trait]
impl Responder for Mirror {
    fn streams(&self) -> bool {
        self.streams
    }

    async fn stream(&self, _: SocketAddr, request: hyper::Request<StreamBody>) -> hyper::Response<StreamBody> {
        let held = self.held.clone();
        let with = |status: u16, length: Option<u64>, pieces| {
            let mut response = hyper::Response::new(body_of(pieces));
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            if let Some(length) = length {
                response.headers_mut().insert("content-length", length.into());
            }
            response
        };
        let broke = || Err(std::io::Error::other("the body is not what its length says"));
        match request.uri().path() {
            "/early" => return with(403, None, vec![Ok("early".into())]),
            // What `wasi:http` makes of a length that is announced and not written.
            "/length" => return with(200, Some(1000), vec![broke()]),
            "/204" => return with(204, Some(7), vec![broke()]),
            "/304" => return with(304, None, vec![Ok("unsent".into())]),
            "/broken" => {
                // The first piece has left before the second one fails.
                let pieces = futures::stream::iter([Ok("first".into()), broke()]).then(|piece| async {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    piece.map(Frame::data)
                });
                return hyper::Response::new(Stream::new(pieces).boxed_unsync());
            }
            "/heavy" => return with(200, None, vec![Ok(vec![b'x'; HEAVY_BYTES].into())]),
            "/panic" => panic!("on purpose"),
            "/later" => tokio::time::sleep(Duration::from_millis(30)).await,
            "/rest" => tokio::time::sleep(Duration::from_secs(100)).await,
            "/authority" => {
                let authority = request.uri().authority().map(ToString::to_string).unwrap_or_default();
                return with(200, None, vec![Ok(authority.into())]);
            }
            "/held" => {
                self.waiting.notify_one();
                std::future::pending::<()>().await;
            }
            "/taken" => {
                let taken = request.into_body().collect().await;
                return with(200, None, vec![taken.map(|body| format!("{} bytes", body.to_bytes().len()).into())]);
            }
            _ => {}
        }
        let body = request.into_body().map_frame(move |frame| {
            let _held = &held;
            frame
        });
        let mut response = hyper::Response::new(body.boxed_unsync());
        for (name, value) in [("x-streamed", "1"), ("connection", "close"), ("transfer-encoding", "identity")] {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }

    async fn respond(&self, _: SocketAddr, request: Request) -> Response {
        self.seen.lock().push(request.clone());
        let with = |name: &str, value: &str| vec![(name.to_owned(), value.as_bytes().to_vec())];
        let _held = self.held.clone();
        let (status, headers) = match request.path.as_str() {
            "/later" => {
                tokio::time::sleep(Duration::from_millis(30)).await;
                (200, vec![])
            }
            "/panic" => panic!("on purpose"),
            "/slow" => {
                self.waiting.notify_one();
                self.go_on.notified().await;
                (200, vec![])
            }
            "/informational" => (101, vec![]),
            "/no-status" => (0, vec![]),
            "/high-status" => (600, vec![]),
            "/no-content" => (204, vec![]),
            "/large" => {
                let body = vec![b'x'; BODIES_BYTES_MAX / 2 + (1 << 20)];
                return Response { status: 200, headers: vec![], body };
            }
            "/split" => (200, with("x", "1\r\nx-other: 2")),
            "/name" => (200, with("a b", "1")),
            "/framing" => (200, [with("content-length", "1"), with("transfer-encoding", "chunked")].concat()),
            _ => (200, with("x-path", &request.path)),
        };
        self.answered.fetch_add(1, Ordering::SeqCst);
        Response { status, headers, body: request.body }
    }

    fn complain(&self, text: &str) {
        self.complaints.lock().push(text.to_owned());
    }
}

async fn start(body_bytes_max: usize) -> (AppListener, SocketAddr, Arc<Mirror>) {
    start_with(Mirror::default(), body_bytes_max).await
}

async fn http2(address: SocketAddr) -> (hyper::client::conn::http2::SendRequest<Full<Bytes>>, recoil_base::Tasks) {
    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let tasks = recoil_base::Tasks::new(Shutdown::new());
    tasks.spawn(async move { drop(connection.await) });
    (sender, tasks)
}

async fn start_streaming() -> (AppListener, SocketAddr, Arc<Mirror>) {
    start_with(Mirror { streams: true, ..Default::default() }, 1).await
}

async fn start_with(mirror: Mirror, body_bytes_max: usize) -> (AppListener, SocketAddr, Arc<Mirror>) {
    let mirror = Arc::new(mirror);
    let mut options = ListenerOptions::new("mirror/http", "127.0.0.1:0".parse().unwrap());
    options.grace = Duration::from_millis(500);
    let server = HttpServer::new(mirror.clone(), body_bytes_max);
    let listener = AppListener::start(options, Arc::new(server), &Shutdown::new());
    let address = listener.wait_bound().await.unwrap();
    (listener, address, mirror)
}

/// Sends text and reads to the end of the connection.
async fn exchange(address: SocketAddr, text: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    String::from_utf8(answer).unwrap()
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n")
}

#[tokio::test]
async fn a_request_arrives_whole_and_its_answer_leaves_whole() {
    let (_listener, address, mirror) = start(100).await;
    let text = "PUT /a%20b?c=d&e HTTP/1.1\r\nHost: here\r\nX-Many: 1\r\nx-many: 2\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n\
                3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    let answer = exchange(address, text).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("x-path: /a%20b\r\n"), "{answer}");
    assert!(answer.contains("content-length: 5\r\n") && answer.ends_with("\r\n\r\nabcde"), "{answer}");
    let seen = mirror.seen.lock()[0].clone();
    assert_eq!((&*seen.method, &*seen.path, &*seen.query, &*seen.body), ("PUT", "/a%20b", "c=d&e", &b"abcde"[..]));
    let many: Vec<_> = seen.headers.iter().filter(|(name, _)| name == "x-many").map(|(_, value)| &value[..]).collect();
    assert_eq!(many, [b"1", b"2"]);
}

/// Fails if a stream waits for the request's end, or the responder's headers reach the connection.
#[tokio::test]
async fn a_streamed_answer_leaves_while_its_request_comes() {
    let (_listener, address, _) = start_with(Mirror { streams: true, ..Default::default() }, 1).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut read = async |wanted: &str, sent: &str| {
        stream.write_all(sent.as_bytes()).await.unwrap();
        let mut text = String::new();
        while !text.contains(wanted) {
            let mut piece = [0; 1024];
            let count = timeout(Duration::from_secs(10), stream.read(&mut piece)).await.unwrap().unwrap();
            assert!(count > 0, "{text}");
            text.push_str(std::str::from_utf8(&piece[..count]).unwrap());
        }
        text
    };
    let head = "PUT / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    let first = read("one", &format!("{head}3\r\none\r\n")).await;
    assert!(first.contains("x-streamed: 1\r\n") && first.contains("transfer-encoding: chunked\r\n"), "{first}");
    assert!(!first.contains("connection: close"), "{first}");
    let second = read("two", "3\r\ntwo\r\n").await;
    assert!(!second.contains("one"), "{second}");
    read("0\r\n\r\n", "0\r\n\r\n").await;
    let again = read("0\r\n\r\n", &format!("{head}5\r\nagain\r\n0\r\n\r\n")).await;
    assert!(again.contains("again"), "the connection goes on: {again}");
}

#[tokio::test]
async fn a_pipeline_is_answered_in_order_on_one_connection() {
    let (_listener, address, _) = start(100).await;
    let text = format!("GET /1 HTTP/1.1\r\nhost: a\r\n\r\nGET /2 HTTP/1.1\r\nhost: a\r\n\r\n{}", get("/3"));
    let answer = exchange(address, &text).await;
    let places: Vec<_> = ["x-path: /1", "x-path: /2", "x-path: /3"].map(|path| answer.find(path).unwrap()).into();
    assert!(places.is_sorted(), "{answer}");
}

#[tokio::test]
async fn http2_is_told_by_its_first_bytes() {
    let (_listener, address, mirror) = start(100).await;
    let (mut sender, tasks) = http2(address).await;
    let request = hyper::Request::builder().uri("http://here/two?q").body(Full::new(Bytes::from("body"))).unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!((answer.status(), &answer.headers()["x-path"]), (StatusCode::OK, &HeaderValue::from_static("/two")));
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "body");
    let host = ("host".to_owned(), b"here".to_vec());
    assert!(mirror.seen.lock()[0].headers.contains(&host));
    tasks.stop().await;
}

/// Fails if a body is read beyond its limit, announced or not.
#[tokio::test]
async fn bodies_and_headers_are_bounded() {
    let (_listener, address, mirror) = start(100).await;
    let announced = exchange(address, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 101\r\n\r\n").await;
    assert!(announced.starts_with("HTTP/1.1 413") && announced.contains("more than 100 bytes"), "{announced}");
    let chunk = format!("{:x}\r\n{}\r\n", 60, "x".repeat(60));
    let text = format!("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n");
    let chunked = exchange(address, &text).await;
    assert!(chunked.starts_with("HTTP/1.1 413"), "{chunked}");
    let long = exchange(address, &format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(2 * HEADER_BYTES_MAX))).await;
    let refused = |answer: &str| answer.is_empty() || answer.starts_with("HTTP/1.1 4");
    assert!(refused(&long), "{long}");
    let many = exchange(address, &format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(HEADERS_MAX + 1))).await;
    assert!(refused(&many), "{many}");
    assert!(refused(&exchange(address, "nonsense\r\n\r\n").await));
    assert!(exchange(address, "CONNECT a:1 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.contains(" 501 "));
    assert_eq!(mirror.answered.load(Ordering::SeqCst), 0, "none of it reached the package");
}

/// Fails if bodies of many clients are not counted together.
#[tokio::test]
async fn bodies_of_all_clients_together_are_bounded() {
    let (_listener, address, mirror) = start(BODIES_BYTES_MAX).await;
    let mut first = TcpStream::connect(address).await.unwrap();
    let half = BODIES_BYTES_MAX / 2 + (1 << 20);
    first
        .write_all(format!("POST /slow HTTP/1.1\r\nhost: a\r\ncontent-length: {half}\r\n\r\n").as_bytes())
        .await
        .unwrap();
    first.write_all(&vec![b'x'; half]).await.unwrap();
    mirror.waiting.notified().await;
    let mut second = TcpStream::connect(address).await.unwrap();
    second.write_all(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {half}\r\n\r\n").as_bytes()).await.unwrap();
    let _ = second.write_all(&vec![b'x'; half]).await;
    let mut answer = [0; 12];
    second.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 503");
    assert!(exchange(address, &get("/small")).await.contains(" 200 "), "a request without a body needs no room");
    mirror.go_on.notify_one();
}

/// Fails if answers that clients do not take are held without bound, or room is not given back once they are taken.
#[tokio::test]
async fn answers_that_nobody_reads_are_bounded() {
    let (_listener, address, _) = start(100).await;
    let mut silent = TcpStream::connect(address).await.unwrap();
    silent.write_all(get("/large").as_bytes()).await.unwrap();
    let mut first = [0; 12];
    silent.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    assert!(exchange(address, &get("/large")).await.starts_with("HTTP/1.1 503"));
    assert!(exchange(address, &get("/small")).await.starts_with("HTTP/1.1 200"));
    let mut rest = Vec::new();
    silent.read_to_end(&mut rest).await.unwrap();
    assert!(exchange(address, &get("/large")).await.starts_with("HTTP/1.1 200"), "there is room again");
}

/// Fails if an answer is sent unchecked: a package must not write into the framing.
#[tokio::test]
async fn an_answer_that_is_no_http_is_the_packages_failure() {
    let (_listener, address, mirror) = start(100).await;
    for (path, complaint) in [
        ("/informational", "status is 101"),
        ("/no-status", "status is 0"),
        ("/high-status", "status is 600"),
        ("/split", "control characters"),
        ("/name", "'a b'"),
    ] {
        let answer = exchange(address, &get(path)).await;
        assert!(answer.starts_with("HTTP/1.1 500") && !answer.contains("x-other"), "{path}: {answer}");
        let said = mirror.complaints.lock().pop().unwrap();
        assert!(said.contains(complaint), "{path}: {said}");
    }
    let text = "POST /framing HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 4\r\n\r\nbody";
    let framing = exchange(address, text).await;
    assert!(framing.contains("content-length: 4\r\n") && !framing.contains("chunked"), "{framing}");
    let empty = exchange(address, &text.replace("/framing", "/no-content")).await;
    assert!(empty.starts_with("HTTP/1.1 204") && empty.ends_with("\r\n\r\n"), "{empty}");
}

#[tokio::test]
async fn a_closing_port_answers_what_is_under_way() {
    let (listener, address, mirror) = start(100).await;
    let asked =
        recoil_base::task::spawn_detached(
            async move { exchange(address, "GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await },
        );
    let mut idle = TcpStream::connect(address).await.unwrap();
    mirror.waiting.notified().await;
    let stopping = recoil_base::task::spawn_detached(async move { listener.stop().await });
    assert_eq!(idle.read(&mut [0]).await.unwrap(), 0, "a connection that says nothing is closed");
    mirror.go_on.notify_one();
    let answer = asked.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close"), "{answer}");
    stopping.await.unwrap();
}
