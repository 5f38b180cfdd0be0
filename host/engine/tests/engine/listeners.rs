//! Listeners over real sockets, with a router that answers by itself.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use recoil_base::{PartitionId, task};
use recoil_engine::{
    Address, BoxFuture, CallBody, CallError, Environment, Limits, PartitionInfo, RoutedCall, Router, ServeError,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::{FULL, environment, log_lines};

/// Answers a call with its key and request; the request `no` is rejected.
#[derive(Default)]
pub(crate) struct Echo {
    topics: Mutex<Vec<mpsc::Sender<Bytes>>>,
}

impl Router for Echo {
    fn call_many(&self, calls: Vec<RoutedCall>) -> BoxFuture<'static, Vec<Result<Bytes, CallError>>> {
        let answer = |call: RoutedCall| match (call.to, call.body) {
            (_, CallBody::Handle(request)) if request == "no" => Err(CallError::Rejected("because".into())),
            (Address::Key(key), CallBody::Handle(request)) => Ok([&key[..], b"=", &request].concat().into()),
            other => Err(CallError::Failed(format!("{other:?}"))),
        };
        Box::pin(async move { calls.into_iter().map(answer).collect() })
    }

    fn transact(&self, _calls: Vec<RoutedCall>) -> BoxFuture<'static, Result<Vec<Bytes>, CallError>> {
        Box::pin(async { Err(CallError::Conflict) })
    }

    fn locate(&self, _key: &[u8]) -> PartitionInfo {
        PartitionInfo { id: PartitionId(0), leader: None, replicas: vec![], epoch: 0 }
    }

    fn partitions(&self) -> Vec<PartitionInfo> {
        vec![self.locate(b"")]
    }

    fn subscribe(&self, topic: Bytes) -> mpsc::Receiver<Bytes> {
        assert_eq!(topic, "topic");
        let (sender, receiver) = mpsc::channel(4);
        self.topics.lock().push(sender);
        receiver
    }
}

struct Served {
    client: TcpStream,
    server: JoinHandle<Result<(), ServeError>>,
    router: Arc<Echo>,
    environment: Environment,
}

async fn connect(limits: Limits) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let (router, environment) = (Arc::new(Echo::default()), environment(limits));
    let (with, given) = (router.clone(), environment.clone());
    let server = task::spawn_detached(async move { FULL.serve(stream, given, with).await });
    Served { client, server, router, environment }
}

impl Served {
    async fn ask(&mut self, request: &[u8], length: usize) -> Vec<u8> {
        self.client.write_all(request).await.unwrap();
        let mut answer = vec![0; length];
        self.client.read_exact(&mut answer).await.unwrap();
        answer
    }
}

#[tokio::test]
async fn a_connection_is_served_until_it_ends() {
    let mut served = connect(Limits::default()).await;
    assert_eq!(served.ask(b"hello", 5).await, b"hello");
    assert_eq!(served.ask(b"Crequest", 9).await, b"C=request");
    assert_eq!(served.ask(b"Cno", 7).await, b"because");
    served.client.shutdown().await.unwrap();
    served.server.await.unwrap().unwrap();
    assert_eq!(served.client.read(&mut [0; 8]).await.unwrap(), 0);
}

#[tokio::test]
async fn messages_arrive_while_the_peer_is_silent() {
    let mut served = connect(Limits::default()).await;
    assert_eq!(served.ask(b"S", 5).await, b"topic", "sent before the wait");
    served.router.topics.lock()[0].try_send(Bytes::from_static(b"news")).unwrap();
    let mut message = [0; 4];
    served.client.read_exact(&mut message).await.unwrap();
    assert_eq!(&message, b"news");
}

#[tokio::test]
async fn a_long_pipeline_is_taken_though_nobody_reads_its_answers_yet() {
    let mut served = connect(Limits::default()).await;
    let input: Vec<u8> = (0..6 << 20).map(|n: u32| b'a' + (n % 7) as u8).collect();
    served.client.write_all(&input).await.unwrap();
    let mut output = vec![0; input.len()];
    served.client.read_exact(&mut output).await.unwrap();
    assert!(input == output);
}

#[tokio::test]
async fn failures_are_logged_and_close_the_connection() {
    let mut served = connect(Limits::default()).await;
    served.client.write_all(b"U").await.unwrap();
    assert_eq!(served.client.read(&mut [0; 8]).await.unwrap(), 0);
    assert!(matches!(served.server.await.unwrap(), Err(ServeError::Failed(why)) if why.contains("unreachable")));
    assert!(log_lines(&served.environment)[0].starts_with("error None the listener failed: reached unreachable"));

    let mut served = connect(Limits::default()).await;
    served.client.write_all(b"Reason").await.unwrap();
    assert_eq!(served.client.read(&mut [0; 8]).await.unwrap(), 0);
    assert!(matches!(served.server.await.unwrap(), Err(ServeError::Rejected(why)) if why == "Reason"));
}

#[tokio::test]
async fn a_silent_peer_is_left_at_the_idle_limit() {
    let mut served = connect(Limits { idle_ms_max: 50, ..Limits::default() }).await;
    assert_eq!(served.ask(b"hello", 5).await, b"hello");
    assert_eq!(served.client.read(&mut [0; 8]).await.unwrap(), 0);
    assert!(matches!(served.server.await.unwrap(), Err(ServeError::Rejected(_))));
}
