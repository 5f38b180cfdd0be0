//! Real sockets on loopback.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// Sends back what it gets; says goodbye at the end of the stream.
#[derive(Default)]
struct Echo {
    ended: AtomicUsize,
}

#[async_trait]
impl ConnectionHandler for Echo {
    async fn serve(&self, stream: TcpStream, _: SocketAddr, closing: Shutdown) {
        let echo = async |mut stream: TcpStream| {
            let mut buffer = [0; 64];
            while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                if stream.write_all(&buffer[..length]).await.is_err() {
                    break;
                }
            }
            let _ = stream.write_all(b"bye").await;
        };
        end_reading(stream, closing, echo).await;
        self.ended.fetch_add(1, Ordering::SeqCst);
    }
}

/// Never ends by itself.
struct Stubborn;

#[async_trait]
impl ConnectionHandler for Stubborn {
    async fn serve(&self, stream: TcpStream, _: SocketAddr, _: Shutdown) {
        let _stream = stream;
        std::future::pending().await
    }
}

fn options() -> ListenerOptions {
    let mut options = ListenerOptions::new("echo/test", "127.0.0.1:0".parse().unwrap());
    options.retry = Duration::from_millis(20);
    options.grace = Duration::from_millis(500);
    options
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(5), work).await.expect("in time")
}

async fn echoes(stream: &mut TcpStream) {
    stream.write_all(b"hello").await.unwrap();
    let mut answer = [0; 5];
    within(stream.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"hello");
}

/// Fails if a drained port takes connections or ends those that are open, or if it can no longer be stopped.
#[tokio::test]
async fn a_drained_port_refuses_new_connections_and_goes_on_with_those_that_are_open() {
    let echo = Arc::new(Echo::default());
    let listener = AppListener::start(options(), echo.clone(), &Shutdown::new());
    let address = within(listener.wait_bound()).await.unwrap();
    let mut client = TcpStream::connect(address).await.unwrap();
    echoes(&mut client).await;
    listener.drain();
    let mut state = listener.watch();
    within(state.wait_for(|state| *state == ListenerState::Stopped)).await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
    // Longer than a port that is stopped would let it.
    tokio::time::sleep(2 * options().grace).await;
    echoes(&mut client).await;
    assert_eq!((listener.connections(), echo.ended.load(Ordering::SeqCst)), (1, 0));
    within(listener.stop()).await;
    assert_eq!((listener.connections(), echo.ended.load(Ordering::SeqCst)), (0, 1));
}

#[tokio::test]
async fn stopping_lets_connections_finish_and_closes_the_port() {
    let echo = Arc::new(Echo::default());
    let listener = AppListener::start(options(), echo.clone(), &Shutdown::new());
    let address = within(listener.wait_bound()).await.unwrap();
    let mut client = TcpStream::connect(address).await.unwrap();
    echoes(&mut client).await;
    assert_eq!(listener.connections(), 1);
    within(listener.stop()).await;
    let mut rest = Vec::new();
    within(client.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(rest, b"bye", "the handler saw the end of the stream and finished");
    assert_eq!(echo.ended.load(Ordering::SeqCst), 1);
    assert_eq!(listener.state(), ListenerState::Stopped);
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_connection_that_does_not_finish_is_dropped_after_the_grace_period() {
    let listener = AppListener::start(options(), Arc::new(Stubborn), &Shutdown::new());
    let address = within(listener.wait_bound()).await.unwrap();
    let mut client = TcpStream::connect(address).await.unwrap();
    while listener.connections() == 0 {
        tokio::task::yield_now().await;
    }
    within(listener.stop()).await;
    assert_eq!(within(client.read(&mut [0; 1])).await.unwrap_or(0), 0);
    assert_eq!(listener.connections(), 0);
}

#[tokio::test]
async fn the_shutdown_signal_drops_everything_at_once() {
    let shutdown = Shutdown::new();
    let mut options = options();
    options.grace = Duration::from_secs(60);
    let listener = AppListener::start(options, Arc::new(Stubborn), &shutdown);
    let address = within(listener.wait_bound()).await.unwrap();
    let mut client = TcpStream::connect(address).await.unwrap();
    while listener.connections() == 0 {
        tokio::task::yield_now().await;
    }
    shutdown.trigger();
    assert_eq!(within(client.read(&mut [0; 1])).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn connections_above_the_limit_are_closed_and_a_free_slot_is_used_again() {
    let mut options = options();
    options.connections_max = 1;
    let listener = AppListener::start(options, Arc::new(Echo::default()), &Shutdown::new());
    let address = within(listener.wait_bound()).await.unwrap();
    let mut first = TcpStream::connect(address).await.unwrap();
    echoes(&mut first).await;
    let mut second = TcpStream::connect(address).await.unwrap();
    assert_eq!(within(second.read(&mut [0; 1])).await.unwrap_or(0), 0, "closed without an answer");
    drop(first);
    while listener.connections() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    echoes(&mut TcpStream::connect(address).await.unwrap()).await;
}

#[tokio::test]
async fn a_port_in_use_is_reported_and_taken_once_it_is_free() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut options = options();
    options.address = holder.local_addr().unwrap();
    let port = options.address.port().to_string();
    let listener = AppListener::start(options, Arc::new(Echo::default()), &Shutdown::new());
    let mut state = listener.watch();
    let failed = within(state.wait_for(|state| matches!(state, ListenerState::Failed(_)))).await.unwrap().clone();
    let ListenerState::Failed(text) = failed else { unreachable!() };
    for part in ["echo/test", &port, "another program holds port", "--port-offset"] {
        assert!(text.contains(part), "{text}");
    }
    drop(holder);
    let address = within(listener.wait_bound()).await.unwrap();
    echoes(&mut TcpStream::connect(address).await.unwrap()).await;
}
