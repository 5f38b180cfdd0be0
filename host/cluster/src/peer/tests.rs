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
