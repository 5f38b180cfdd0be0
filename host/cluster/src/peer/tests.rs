//! Streams on loopback, between nodes that do nothing but answer.

use std::time::Duration;

use futures::future::BoxFuture;
use recoil_base::Shutdown;
use tokio::net::TcpListener;

use super::*;

/// Whom nobody serves any more.
const REMOVED: NodeId = NodeId(66);

struct Echo;

impl PeerService for Echo {
    fn serve(&self, _: NodeId, _: Service, body: Bytes, _: MorePieces) -> BoxFuture<'static, Result<Bytes, String>> {
        Box::pin(async move { Ok(body) })
    }
    fn is_member(&self, _: NodeId) -> bool {
        true
    }
    fn removed(&self, node: NodeId) -> Option<String> {
        (node == REMOVED).then(|| format!("node {node} was removed"))
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
                let Ok(greeted) = peers.greet(stream, &Echo).await else { return };
                let _ = peers.serve(greeted, Arc::new(Echo)).await;
            });
        }
    });
    (peers, address)
}

/// A founder meets the first joiners while it writes down which cluster it has founded. A stream opened then would be a joiner's
/// for ever, on which the other end serves nothing but joining.
///
/// Fails if a node dials before it knows its cluster.
#[tokio::test]
async fn a_node_that_does_not_know_its_cluster_yet_opens_no_stream() {
    let tasks = Tasks::new(Shutdown::new());
    let (founder, _) = node(1, &tasks).await;
    let (member, address) = node(2, &tasks).await;
    founder.know(NodeId(2), address, (1, 2));
    tokio::time::sleep(Duration::from_millis(200)).await;
    for peers in [&founder, &member] {
        peers.set_cluster("c".to_owned());
    }
    let mut answer = Err(TransportError::Unreachable(NodeId(2)));
    for _ in 0..200 {
        answer = request(&founder, NodeId(2), Service::Raft, Bytes::from_static(b"m"), Duration::from_secs(5)).await;
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
/// Fails if looking whether a peer is known and adding it are two steps: the later of two replaced the one that had a stream, and the
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
                peers.know(NodeId(id), address, (1, 1));
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

async fn reached(asker: &TcpPeers, node: NodeId) -> bool {
    for _ in 0..500 {
        let asked = request(asker, node, Service::Raft, Bytes::from_static(b"m"), Duration::from_secs(5)).await;
        if asked.is_ok() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    false
}

/// A port where nobody listens.
async fn nowhere() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// Fails if the address of an earlier start, which the meta state still has, takes the place of what the peer's hello says; or if an invented
/// one of a later start keeps the peer from being reached.
#[tokio::test]
async fn a_peer_that_has_moved_is_reached_where_it_says_whatever_others_say() {
    let tasks = Tasks::new(Shutdown::new());
    let (asker, asker_address) = node(1, &tasks).await;
    let (moved, address) = node(2, &tasks).await;
    let (old, invented) = (nowhere().await, nowhere().await);
    asker.know(NodeId(2), old, (0, 7));
    for peers in [&asker, &moved] {
        peers.set_cluster("c".to_owned());
    }
    asker.know(NodeId(2), invented, (u64::MAX, 0));
    moved.know(NodeId(1), asker_address, (1, 1));
    assert!(reached(&asker, NodeId(2)).await);
    asker.know(NodeId(2), old, (0, 7));
    assert_eq!((asker.address_of(NodeId(2)), asker.trouble(NodeId(2))), (Some(address), None));
    tasks.stop().await;
}

/// Fails if a founder does not hear of a cluster whose members look for one of theirs at its address, or the members not of the founder.
#[tokio::test]
async fn a_founder_and_the_members_of_another_cluster_hear_of_each_other() {
    let tasks = Tasks::new(Shutdown::new());
    let (founder, address) = node(1, &tasks).await;
    let (member, member_address) = node(2, &tasks).await;
    member.set_cluster("ab".to_owned());
    member.know(NodeId(9), address, (1, 1));
    let why = |member: &TcpPeers| member.trouble(NodeId(9)).map_or(String::new(), |trouble| trouble.why);
    for _ in 0..500 {
        if founder.foreign_contact().is_some() && why(&member).contains("belongs to no cluster") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let expected = ForeignContact { node: NodeId(2), address: member_address, cluster: "ab".to_owned() };
    assert_eq!(founder.foreign_contact(), Some(expected));
    assert!(
        why(&member).contains("which belongs to no cluster") && why(&member).contains("--join"),
        "{}",
        why(&member)
    );
    founder.set_cluster("cd".to_owned());
    for _ in 0..500 {
        if why(&member).contains("another cluster, cd") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(why(&member).contains("another cluster, cd"), "{}", why(&member));
    tasks.stop().await;
}

/// Fails with one limit for all frames: messages that may be lost would fill the queue before calls.
#[test]
fn what_may_be_lost_leaves_room_for_what_may_not() {
    let (queue, mut outgoing) = Queue::new(QUEUED_BYTES_MAX);
    let frame = |kind| Outgoing { kind, id: 0, service: Some(Service::Publish), body: vec![0; 1 << 20].into() };
    let told = (0..100).filter(|_| queue.push(frame(ONE_WAY))).count();
    assert_eq!(told, QUEUED_ONE_WAY_BYTES_MAX >> 20);
    let asked = (0..100).filter(|_| queue.push(frame(REQUEST))).count();
    assert_eq!(asked, (QUEUED_BYTES_MAX - QUEUED_ONE_WAY_BYTES_MAX) >> 20);
    assert!(!queue.push(frame(ONE_WAY)));
    assert!(outgoing.receiver.try_recv().is_ok());
}

/// Fails if the form of a hello changes, with which every version must begin; see [`crate::fixtures`].
#[tokio::test]
async fn the_fixture_of_a_hello_is_read_and_written_as_it_is() {
    let hello = Hello {
        wire: WireVersions { min: 2, max: 3 },
        cluster: "abababababababababababababababab".into(),
        node: NodeId(10),
        start: (1, 2),
        address: "127.0.0.1:7000".parse().unwrap(),
        expects: Some(NodeId(11)),
        refusal: Some("no".into()),
        outdated: true,
        removed: false,
        wall_us: Some(1_700_000_000_000_000),
    };
    let mut written = Vec::new();
    write_hello(&mut written, &hello).await.unwrap();
    let stored = crate::fixtures::stored("hello_2", &written);
    assert_eq!(&stored[..MAGIC.len()], MAGIC);
    let read = read_hello(&mut &stored[MAGIC.len()..]).await.unwrap();
    assert_eq!(format!("{read:?}"), format!("{hello:?}"));
    let mut again = Vec::new();
    write_hello(&mut again, &read).await.unwrap();
    assert_eq!(again, stored);
}

/// Fails if the form of frames changes without a new wire version; see [`crate::fixtures`].
#[tokio::test]
async fn the_fixture_of_frames_is_read_and_written_as_it_is() {
    let kinds = [
        (REQUEST, Some(Service::Calls)),
        (ANSWER, None),
        (REFUSAL, None),
        (ONE_WAY, Some(Service::Publish)),
        (PIECE, None),
    ];
    let frame = |(kind, service)| Outgoing { kind, id: 0x0102_0304, service, body: Bytes::from_static(b"body") };
    let mut written = BytesMut::new();
    kinds.into_iter().for_each(|kind| frame(kind).write(&mut written));
    let stored = crate::fixtures::stored("frames_2", &written);
    let (mut rest, mut again) = (&stored[..], BytesMut::new());
    for (kind, service) in kinds {
        let read = read_frame(&mut rest, FRAME_BYTES_MAX).await.unwrap();
        let asked = service.map(|_| Service::from_byte(read.body[0]).unwrap());
        assert_eq!((read.kind, read.id, asked), (kind, 0x0102_0304, service));
        assert_eq!(&read.body[usize::from(service.is_some())..], b"body");
        Outgoing { kind, id: read.id, service: None, body: read.body }.write(&mut again);
    }
    assert!(rest.is_empty());
    assert_eq!(again, stored);
}

/// Fails if an answer that finds no room is dropped, which its asker would wait for in vain, or if it waits for a stream that has ended.
#[tokio::test]
async fn an_answer_waits_for_room_and_no_longer_than_the_stream_lasts() {
    let (queue, mut outgoing) = Queue::new(10);
    let frame = || Outgoing { kind: ANSWER, id: 0, service: None, body: Bytes::from_static(&[0; 20]) };
    queue.push_answer(frame()).await;
    let mut second = Box::pin(queue.push_answer(frame()));
    assert!(futures::poll!(&mut second).is_pending());
    let sent = outgoing.receiver.recv().await.unwrap();
    outgoing.sent(sent.size());
    second.await;
    let mut third = Box::pin(queue.push_answer(frame()));
    assert!(futures::poll!(&mut third).is_pending());
    drop(outgoing);
    third.await;
}

/// Fails if a stream is opened between nodes that have no wire version in common, or the refusal does not say whom to upgrade.
#[tokio::test]
async fn nodes_without_a_wire_version_in_common_refuse_each_other_by_name() {
    let tasks = Tasks::new(Shutdown::new());
    let (newer, _) = node(1, &tasks).await;
    let (_, address) = node(2, &tasks).await;
    let hello = Hello { wire: WireVersions { min: 7, max: 9 }, ..newer.hello() };
    let refused = dial(address, &hello).await.unwrap_err().to_string();
    assert!(refused.contains("7 to 9") && refused.contains("2 to 2"), "{refused}");
    assert!(refused.ends_with("upgrade node 00000002"), "{refused}");
    tasks.stop().await;
}

/// Fails if a removed node is served, is not told, or is dialled again because somebody names it.
#[tokio::test]
async fn a_removed_node_is_told_so_and_forgotten() {
    let tasks = Tasks::new(Shutdown::new());
    let (member, address) = node(1, &tasks).await;
    let (removed, removed_address) = node(REMOVED.0, &tasks).await;
    for peers in [&member, &removed] {
        peers.set_cluster("c".to_owned());
    }
    member.know(REMOVED, removed_address, (1, u64::from(REMOVED.0)));
    assert!(reached(&member, REMOVED).await);
    member.forget(REMOVED);
    member.know(REMOVED, removed_address, (2, 0));
    assert_eq!(member.known(), []);
    assert!(!member.is_live(REMOVED));
    removed.know(NodeId(1), address, (1, 1));
    let told = tokio::time::timeout(Duration::from_secs(20), removed.excluded()).await.expect("it is told");
    assert!(told.is_removed && told.why.contains("was removed"), "{told:?}");
    assert!(!removed.is_live(NodeId(1)), "it is not served");
    tasks.stop().await;
}
