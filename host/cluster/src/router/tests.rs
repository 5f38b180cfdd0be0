//! A node that routes and another that evaluates, over TCP on loopback.

use std::net::SocketAddr;

use recoil_base::KeyspaceId;
use recoil_engine::CallBody;
use recoil_engine::call::decode_values;
use recoil_storage::Write;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use super::*;
use crate::calls::encode_piece;
use crate::evaluate::world::{APP, NODE, World};
use crate::evaluate::{EvaluationPool, HostParts};
use crate::meta::Placement;
use crate::peer::{PeerService, TcpPeers};
use crate::peers::{MorePieces, PeerNetwork as _};
use crate::routing::KeyspaceTable;

/// The node that routes.
const ORIGIN: NodeId = NodeId(9);

fn table(placements: &[Placement]) -> Arc<RoutingTable> {
    let partitions = placements.iter().copied().collect();
    Arc::new(RoutingTable {
        keyspaces: [(KeyspaceId(1), KeyspaceTable { name: "default".into(), partitions })].into(),
        groups: placements.iter().map(|placement| (placement.group, [NODE].into())).collect(),
        numbers: HashMap::new(),
        index: 1,
    })
}

/// The table of a cluster with one partition, whose group is on [`NODE`].
fn one_partition() -> Arc<RoutingTable> {
    table(&[Placement { group: GroupId(1), epoch: 1 }])
}

struct Calls(Router);

impl PeerService for Calls {
    fn serve(
        &self,
        from: NodeId,
        service: Service,
        body: Bytes,
        more: MorePieces,
    ) -> BoxFuture<'static, Result<Bytes, String>> {
        match service {
            Service::Calls => self.0.serve(from, body, more),
            _ => Box::pin(async { Ok(Bytes::from_static(&[0; 8])) }),
        }
    }
    fn is_member(&self, _: NodeId) -> bool {
        true
    }
}

async fn listening() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A node that answers every batch of calls in one way.
struct Says(Answer, std::sync::atomic::AtomicUsize);

impl PeerService for Says {
    fn serve(
        &self,
        _: NodeId,
        service: Service,
        body: Bytes,
        _: MorePieces,
    ) -> BoxFuture<'static, Result<Bytes, String>> {
        if service != Service::Calls {
            return Box::pin(async { Ok(Bytes::from_static(&[0; 8])) });
        }
        let count = Batch::decode(body).unwrap().calls.len() as u32;
        self.1.fetch_add(count as usize, std::sync::atomic::Ordering::SeqCst);
        let answered: Vec<_> = (0..count).map(|place| (place, self.0.clone())).collect();
        Box::pin(async move { Ok(encode_piece(&answered)) })
    }
    fn is_member(&self, _: NodeId) -> bool {
        true
    }
}

fn accept(listener: TcpListener, peers: TcpPeers, service: Arc<dyn PeerService>, tasks: &Tasks) {
    let accepting = tasks.clone();
    tasks.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (peers, service) = (peers.clone(), service.clone());
            accepting.spawn(async move {
                stream.read_exact(&mut [0; 8]).await.unwrap();
                let greeted = peers.greet(stream, &*service).await.unwrap();
                let _ = peers.serve(greeted, service).await;
            });
        }
    });
}

/// A node that evaluates, [`NODE`], and one that only routes.
struct Pair {
    world: World,
    serving: Router,
    asker: Peers,
    origin: Router,
    tasks: Tasks,
}

impl Pair {
    async fn new(folder: &std::path::Path) -> Pair {
        let (clock, tasks) = (Clock::system(), Tasks::default());
        let ((listener, address), (_, nowhere)) = (listening().await, listening().await);
        let server = TcpPeers::new(NODE, (2, 0), address, clock.clone(), tasks.clone());
        let asker = TcpPeers::new(ORIGIN, (1, 0), nowhere, clock.clone(), tasks.clone());
        for peers in [&server, &asker] {
            peers.set_cluster("c".into());
        }
        let world = World::with_peers(&folder.join("one"), Peers::new(Arc::new(server.clone())), tasks.clone()).await;
        let peers = Peers::new(Arc::new(server.clone()));
        let serving = Router::new(world.host.clone(), peers, world.topics.clone(), clock.clone(), 2);
        serving.set_table(one_partition());
        accept(listener, server, Arc::new(Calls(serving.clone())), &tasks);

        let peers = Peers::new(Arc::new(asker.clone()));
        let topics = Topics::new(peers.clone());
        let data = recoil_storage::Data::open(&folder.join("two")).unwrap();
        let host = Host::new(HostParts {
            node: ORIGIN,
            clock: clock.clone(),
            locals: recoil_consensus::Locals::open(data.clone()).unwrap(),
            data,
            versions: Default::default(),
            pool: EvaluationPool::start(1),
            runtime: recoil_base::Runtime::current(),
            topics: topics.clone(),
            instances_max: 1,
        });
        let origin = Router::new(host, peers.clone(), topics, clock, 1);
        origin.set_table(one_partition());
        tasks.spawn(origin.clone().run(tasks.clone()));
        asker.know(NODE, address, (1, 1));
        while !asker.is_live(NODE) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Pair { world, serving, asker: peers, origin, tasks }
    }

    async fn ask(&self, mode: Mode, bodies: Vec<CallBody>) -> Vec<Result<Bytes, CallError>> {
        let to = || Address::Partition(PartitionId(0));
        let calls = bodies.into_iter().map(|body| RoutedCall { to: to(), body, mode });
        self.origin.of_app(APP, KeyspaceId(1)).call_many(calls.collect()).await
    }

    /// Asks the node that evaluates to read the same key on these partitions, by placements of these epochs.
    fn ask_by(&self, places: &[(u32, u64)]) -> Pieces {
        let calls = places.iter().map(|(partition, epoch)| PartitionCall {
            app: APP,
            partition: PartitionRef { keyspace: KeyspaceId(1), partition: PartitionId(*partition) },
            epoch: *epoch,
            mode: Mode::Read,
            sequence: 0,
            acked: 0,
            request: Request::One(CallBody::Get(vec![Bytes::from_static(b"\x01key")])),
        });
        let batch = Batch { meta_index: 1, incarnation: 1, calls: calls.collect() };
        self.asker.request_pieces(NODE, Service::Calls, batch.encode(), places.len(), DEADLINE)
    }

    async fn stop(self) {
        self.tasks.stop().await;
        self.world.stop().await;
    }
}

fn put(key: &'static [u8], value: Bytes) -> CallBody {
    CallBody::Write(vec![Write::Put { key: Bytes::from_static(key), value }])
}

/// Fails if all answers of a frame travel in one frame: 34 MiB are more than the other end takes, the stream broke, and all calls of
/// the two nodes with it, again at each attempt.
#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_larger_together_than_a_frame_arrive() {
    let folder = tempfile::tempdir().unwrap();
    let pair = Pair::new(folder.path()).await;
    let value = Bytes::from(vec![7; 1 << 20]);
    let written = pair.ask(Mode::Write, vec![put(b"\x01key", value.clone())]).await;
    assert_eq!(written, [Ok(Bytes::new())]);
    let read = pair.ask(Mode::Read, vec![CallBody::Get(vec![Bytes::from_static(b"\x01key")]); 34]).await;
    for answer in read {
        assert_eq!(decode_values(answer.unwrap()).unwrap(), [Some(value.clone())]);
    }
    pair.stop().await;
}

/// The places that a piece answers, each in a word, and whether it is the last.
async fn next(pieces: &mut Pieces) -> (Vec<String>, bool) {
    let piece = pieces.next().await.expect("there is one").expect("an answer");
    let words = decode_piece(piece.body).unwrap().into_iter().map(|(place, answer)| match answer {
        Ok(_) => format!("{place}: ok"),
        Err(miss) => format!("{place}: {miss:?}"),
    });
    (words.collect(), piece.is_last)
}

/// Fails if a frame is answered when its slowest call is, and if a call that goes by a newer placement is evaluated by an older one, or
/// waits for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_waits_for_a_table_holds_up_no_other_of_its_frame() {
    let folder = tempfile::tempdir().unwrap();
    let pair = Pair::new(folder.path()).await;
    let mut pieces = pair.ask_by(&[(0, 2), (0, 1)]);
    assert_eq!(next(&mut pieces).await, (vec!["1: ok".into()], false));
    assert_eq!(next(&mut pieces).await, (vec!["0: Again".into()], true));

    let mut pieces = pair.ask_by(&[(0, 2), (0, 1)]);
    assert_eq!(next(&mut pieces).await, (vec!["1: ok".into()], false));
    pair.serving.set_table(table(&[Placement { group: GroupId(1), epoch: 2 }]));
    assert_eq!(next(&mut pieces).await, (vec!["0: ok".into()], true), "once its table has come");
    pair.stop().await;
}

/// Fails if a node that knows that a partition has moved evaluates its calls, or only says that it does not lead.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_knows_a_newer_placement_answers_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let pair = Pair::new(folder.path()).await;
    pair.serving.set_table(table(&[Placement { group: GroupId(2), epoch: 2 }]));
    let mut pieces = pair.ask_by(&[(0, 1), (5, 1)]);
    let (words, is_last) = next(&mut pieces).await;
    assert_eq!((words, is_last), (vec![format!("0: Moved {{ group: {:?}, epoch: 2 }}", GroupId(2))], false));
    assert_eq!(next(&mut pieces).await, (vec!["1: Again".into()], true), "a partition that it does not know");
    pair.stop().await;
}

/// Fails if a redirect is not followed until the table has come, or the call goes by the old epoch.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_follows_its_partition_ahead_of_the_table() {
    const BEFORE: NodeId = NodeId(5);
    let folder = tempfile::tempdir().unwrap();
    let pair = Pair::new(folder.path()).await;
    pair.serving.set_table(table(&[Placement { group: GroupId(1), epoch: 2 }]));
    let (listener, address) = listening().await;
    let before = TcpPeers::new(BEFORE, (1, 0), address, Clock::system(), pair.tasks.clone());
    before.set_cluster("c".into());
    let says = Arc::new(Says(Err(Miss::Moved { group: GroupId(1), epoch: 2 }), Default::default()));
    accept(listener, before, says.clone(), &pair.tasks);
    pair.asker.know(BEFORE, address, (1, 1));
    while !pair.asker.is_live(BEFORE) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut old = table(&[Placement { group: GroupId(7), epoch: 1 }]);
    let groups = &mut Arc::make_mut(&mut old).groups;
    groups.extend([(GroupId(7), [BEFORE].into()), (GroupId(1), [NODE].into())]);
    pair.origin.set_table(old);

    for _ in 0..2 {
        let written = pair.ask(Mode::Write, vec![put(b"\x01key", Bytes::from_static(b"v"))]).await;
        assert_eq!(written, [Ok(Bytes::new())]);
    }
    assert_eq!(says.1.load(std::sync::atomic::Ordering::SeqCst), 1, "it is asked once");
    pair.stop().await;
}

/// Fails if lanes stay when their app goes, and their calls wait for their deadlines.
#[tokio::test(flavor = "multi_thread")]
async fn calls_of_an_app_that_goes_are_answered() {
    let folder = tempfile::tempdir().unwrap();
    let pair = Pair::new(folder.path()).await;
    pair.origin.set_table(table(&[Placement { group: GroupId(7), epoch: 9 }]));
    let mut asked = Box::pin(pair.ask(Mode::Write, vec![put(b"\x01key", Bytes::new())]));
    assert!(futures::poll!(&mut asked).is_pending());
    pair.origin.retain_apps(|app| app != APP);
    let answers = tokio::time::timeout(DEADLINE / 2, asked).await.expect("it does not wait for its deadline");
    assert!(matches!(&answers[..], [Err(_)]), "{answers:?}");
    assert_eq!(pair.origin.inner.outbox.lock().lanes(), 0);
    pair.stop().await;
}

/// Fails if the answers of a transaction are not bounded before it commits: they travel as one.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_whose_answers_cannot_travel_is_rejected_before_it_writes() {
    let folder = tempfile::tempdir().unwrap();
    let pair = Pair::new(folder.path()).await;
    let written = pair.ask(Mode::Write, vec![put(b"\x01key", vec![7; 1 << 20].into())]).await;
    assert_eq!(written, [Ok(Bytes::new())]);
    let call = |body, mode| RoutedCall { to: Address::Partition(PartitionId(0)), body, mode };
    let get = |key: &'static [u8]| call(CallBody::Get(vec![Bytes::from_static(key)]), Mode::Read);
    let mut calls = vec![call(put(b"\x01other", Bytes::new()), Mode::Write)];
    calls.extend((0..34).map(|_| get(b"\x01key")));
    let refused = pair.origin.of_app(APP, KeyspaceId(1)).transact(calls).await.unwrap_err();
    assert!(matches!(&refused, CallError::Rejected(why) if why.contains("16777216 bytes together")), "{refused:?}");
    let read = pair.origin.of_app(APP, KeyspaceId(1)).transact(vec![get(b"\x01other")]).await.unwrap();
    assert_eq!(decode_values(read[0].clone()).unwrap(), [None]);
    pair.stop().await;
}
