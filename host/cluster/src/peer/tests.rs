//! Streams on loopback, between nodes that do nothing but answer.

use std::time::Duration;

use futures::future::BoxFuture;
use recoil_base::Shutdown;
use tokio::net::TcpListener;

use super::*;

struct Echo;

impl PeerService for Echo {
    fn serve(&self, _: NodeId, _: Service, body: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
        Box::pin(async move { Ok(body) })
    }
    fn is_member(&self, _: NodeId) -> bool {
        true
    }
}

async fn node(id: u32, tasks: &Tasks) -> (TcpPeers, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let peers = TcpPeers::new(NodeId(id), (1, u64::from(id)), address, Clock::system(), tasks.clone());
    let (accepting, serving) = (peers.clone(), tasks.clone());
    tasks.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let peers = accepting.clone();
            serving.spawn(async move {
                let mut magic = [0; 8];
                stream.read_exact(&mut magic).await.unwrap();
                let greeted = peers.greet(stream, &Echo).await.unwrap();
                let _ = peers.serve(greeted, Arc::new(Echo)).await;
            });
        }
    });
    (peers, address)
}

/// A founder meets the first joiners while it writes down which cluster it has founded. A stream opened then would be a joiner's
/// for ever, on which the other end serves nothing but joining.
///
/// Red when a node dials before it knows its cluster.
#[tokio::test]
async fn a_node_that_does_not_know_its_cluster_yet_opens_no_stream() {
    let tasks = Tasks::new(Shutdown::new());
    let (founder, _) = node(1, &tasks).await;
    let (member, address) = node(2, &tasks).await;
    founder.know(NodeId(2), address);
    tokio::time::sleep(Duration::from_millis(200)).await;
    for peers in [&founder, &member] {
        peers.set_cluster("c".to_owned());
    }
    let mut answer = Err(TransportError::Unreachable(NodeId(2)));
    for _ in 0..200 {
        answer = founder.request(NodeId(2), Service::Raft, Bytes::from_static(b"m"), Duration::from_secs(5)).await;
        if !matches!(answer, Err(TransportError::Unreachable(_))) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(answer.unwrap(), Bytes::from_static(b"m"));
    tasks.stop().await;
}

/// A joiner is heard of on several ways at once: by its request to join, by its first stream, by the state that is applied. The peer
/// that stays must be the one whose stream is kept.
///
/// Red when looking whether a peer is known and adding it are two steps: the later of two replaced the one that had a stream, and the
/// node was down for good in the eyes of this one.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_peer_learnt_of_on_several_ways_at_once_is_reached() {
    let tasks = Tasks::new(Shutdown::new());
    let (peers, address) = node(1, &tasks).await;
    for id in 2..2000 {
        let together = Arc::new(tokio::sync::Barrier::new(4));
        let learning = (0..4).map(|_| {
            let (peers, together) = (peers.clone(), together.clone());
            recoil_base::task::spawn_detached(async move {
                together.wait().await;
                peers.know(NodeId(id), address);
            })
        });
        for learnt in learning.collect::<Vec<_>>() {
            learnt.await.unwrap();
        }
        let kept = Arc::strong_count(&peers.inner.peers.read()[&NodeId(id)]);
        assert_eq!(kept, 3, "the map, the stream and the pings of peer {id} share it");
    }
    tasks.stop().await;
}

/// Red with one limit for all frames: messages that may be lost would fill the queue before calls.
#[test]
fn what_may_be_lost_leaves_room_for_what_may_not() {
    let (queue, mut outgoing) = Queue::new(QUEUED_BYTES_MAX);
    let frame = |kind| Outgoing { kind, id: 0, service: Some(Service::Publish), body: vec![0; 1 << 20].into() };
    let told = (0..100).filter(|_| queue.push(frame(ONE_WAY))).count();
    assert_eq!(told, QUEUED_ONE_WAY_BYTES_MAX >> 20);
    let asked = (0..100).filter(|_| queue.push(frame(REQUEST))).count();
    assert_eq!(asked, (QUEUED_BYTES_MAX - QUEUED_ONE_WAY_BYTES_MAX) >> 20);
    assert!(!queue.push(frame(ONE_WAY)));
    assert!(outgoing.try_recv().is_ok());
}
