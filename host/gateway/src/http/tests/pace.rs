//! Clients that are slow, on connections in memory whose time is simulated.

use recoil_base::Clock;
use tokio::io::DuplexStream;
use tokio::time::sleep;

use super::super::pace::{LUMP, Pieces, Tasks};
use super::*;

/// A client of a streaming package; the connection holds so many bytes for it.
fn client(bytes: usize) -> (DuplexStream, impl Future<Output = hyper::Result<()>>) {
    let (ours, theirs) = tokio::io::duplex(bytes);
    let server = HttpServer::new(Arc::new(Mirror { streams: true, ..Default::default() }), 1);
    let anywhere: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let answer = move |asked| {
        let server = server.clone();
        async move { server.answer(anywhere, anywhere, asked).await }
    };
    let door = Door { http2: true, header_timeout: HEADER_TIMEOUT };
    (ours, connection::serve(theirs, door, Shutdown::new(), answer))
}

const BYTES: usize = 2 << 20;

fn head(path: &str) -> String {
    format!("PUT {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {BYTES}\r\nconnection: close\r\n\r\n")
}

/// Sends a body, so many bytes at a time with pauses between; the answer.
async fn sent(path: &str, bytes: usize, pause: Duration) -> (String, Duration) {
    let (mut ours, serving) = client(1 << 16);
    let (clock, started) = (Clock::system(), Clock::system().now());
    let asking = async move {
        ours.write_all(head(path).as_bytes()).await.unwrap();
        let (mut reading, mut writing) = tokio::io::split(ours);
        let sending = async {
            for _ in 0..BYTES.div_ceil(bytes) {
                sleep(pause).await;
                if writing.write_all(&vec![b'x'; bytes]).await.is_err() {
                    break;
                }
            }
            std::future::pending::<()>().await;
        };
        let mut answer = String::new();
        tokio::select! {
            read = reading.read_to_string(&mut answer) => drop(read.unwrap()),
            () = sending => {}
        }
        answer
    };
    let (_, answer) = tokio::join!(serving, asking);
    (answer, clock.now() - started)
}

/// Fails if a transfer is ended for taking long, or a client that sends a byte now and then is waited for.
#[tokio::test(start_paused = true)]
async fn a_body_may_take_as_long_as_it_comes() {
    let (answer, took) = sent("/taken", 64 << 10, Duration::from_secs(14)).await;
    assert!(answer.contains(&format!("{BYTES} bytes")), "{answer}");
    assert!(took > Duration::from_secs(400), "{took:?}");
    let (answer, took) = sent("/taken", 1, Duration::from_secs(5)).await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("connection: close"), "{answer}");
    assert!(took < WINDOW + Duration::from_secs(10), "{took:?}");
    // Its answer has begun, and breaks off.
    let (answer, took) = sent("/", 1, Duration::from_secs(5)).await;
    assert!(answer.starts_with("HTTP/1.1 200") && !answer.ends_with("0\r\n\r\n"), "{answer}");
    assert!(took < WINDOW + Duration::from_secs(10), "{took:?}");
}

/// Fails if a client has to answer for the time that the package takes.
#[tokio::test(start_paused = true)]
async fn a_package_may_be_slow() {
    let (answer, took) = sent("/rest", 32 << 10, Duration::from_secs(1)).await;
    assert!(answer.starts_with("HTTP/1.1 200") && took > Duration::from_secs(100), "{took:?}: {answer}");
}

/// Fails if a client that takes nothing of its answer is waited for.
#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_let_go() {
    let (mut ours, serving) = client(1 << 10);
    ours.write_all(get("/heavy").as_bytes()).await.unwrap();
    let served = timeout(WINDOW * (LUMP + 1), serving).await.expect("its connection ends");
    assert!(served.is_err());

    let (mut ours, serving) = client(8 << 10);
    ours.write_all(get("/heavy").as_bytes()).await.unwrap();
    let reading = async move {
        let (mut all, mut piece) = (0, [0; 8 << 10]);
        loop {
            sleep(Duration::from_millis(750)).await;
            match ours.read(&mut piece).await.unwrap() {
                0 => return all,
                count => all += count,
            }
        }
    };
    let (served, all) = tokio::join!(serving, reading);
    assert!(served.is_ok() && all > HEAVY_BYTES, "a slow one is served: {all}");
}

/// Fails if an HTTP/2 stream whose client takes nothing of it holds its answer for ever, or one that is only idle is reset.
#[tokio::test(start_paused = true)]
async fn a_stream_that_takes_nothing_is_reset() {
    for takes in [false, true] {
        let held = Arc::new(());
        let guard = held.clone();
        hyper::rt::Executor::execute(&Tasks, async move {
            let body = body_of(vec![Ok(vec![b'x'; 2 * PIECE_BYTES + 1].into())]);
            let mut pieces = Pieces::new(body, None, guard);
            let mut frames = Vec::new();
            while let Some(Ok(frame)) = pieces.frame().await {
                let bytes = frame.into_data().unwrap();
                assert!(bytes.len() <= PIECE_BYTES);
                if takes {
                    sleep(WINDOW).await;
                } else {
                    frames.push(bytes);
                    sleep(Duration::from_secs(1)).await;
                }
            }
            std::future::pending::<()>().await;
        });
        sleep(WINDOW * LUMP + Duration::from_secs(5)).await;
        assert_eq!(Arc::strong_count(&held), if takes { 2 } else { 1 }, "takes: {takes}");
    }
}

/// Fails if the pieces of an answer are not its bytes, or its length is lost.
#[tokio::test]
async fn pieces_are_the_whole() {
    let bytes: Vec<u8> = (0..200_000u32).flat_map(u32::to_le_bytes).collect();
    let whole = Full::new(Bytes::from(bytes.clone())).map_err(|never| match never {}).boxed_unsync();
    let mut pieces = Pieces::new(whole, None, ());
    let mut all = Vec::new();
    loop {
        assert_eq!(hyper::body::Body::size_hint(&pieces).exact(), Some((bytes.len() - all.len()) as u64));
        let Some(frame) = pieces.frame().await else { break };
        let piece = frame.unwrap().into_data().unwrap();
        assert!(piece.len() <= PIECE_BYTES);
        all.extend_from_slice(&piece);
    }
    assert_eq!(all, bytes);
}
