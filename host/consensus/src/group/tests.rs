//! A group of one replica, seen from inside.

use recoil_base::{KeyspaceId, PartitionId};
use recoil_storage::LogOptions;

use super::*;
use crate::begin_log;
use crate::ownership::{Ownership, Phase};
use crate::snapshot::{Begin, Contents, Position, encode_chunk};

struct Nobody;

impl Transport for Nobody {
    fn call(
        &self,
        to: NodeId,
        _: GroupId,
        _: u8,
        _: Bytes,
        _: Duration,
    ) -> BoxFuture<'static, Result<Bytes, crate::TransportError>> {
        Box::pin(async move { Err(crate::TransportError::Unreachable(to)) })
    }

    fn known(&self) -> Vec<NodeId> {
        vec![]
    }
}

fn context(folder: &std::path::Path) -> GroupContext {
    let (node, clock, tasks) = (NodeId(1), Clock::system(), Tasks::default());
    let data = Data::open(&folder.join("data")).unwrap();
    let log = Log::open(&folder.join("log"), LogOptions { segment_bytes: 1 << 20, ..LogOptions::default() }).unwrap();
    GroupContext {
        node,
        clock,
        keeper: LogKeeper::start(&tasks, log.clone()),
        log,
        locals: Locals::open(data.clone()).unwrap(),
        data,
        applier: Applier::start(node),
        versions: Versions::default(),
        transport: Arc::new(Nobody),
        pulse: Pulse::start(&tasks, GroupOptions::default().heartbeat),
        tasks,
        options: GroupOptions::default(),
    }
}

async fn group(folder: &std::path::Path) -> Arc<Group> {
    let context = context(folder);
    let group = Group::open(&context, GroupId(1), MachineKind::Partitions, Arc::new(|_| {})).await.unwrap();
    group.initialize(BTreeSet::from([context.node])).await.unwrap();
    group
}

/// Fails if a replica that voted for a member of a new group, of whom nothing more is heard, has no membership afterwards and so can never
/// campaign; or if a log that has begun, or a replica that has data, begins again.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_group_begins_after_a_vote_and_only_once() {
    let folder = tempfile::tempdir().unwrap();
    let context = context(folder.path());
    let (group, members) = (GroupId(7), [NodeId(2), NodeId(1), NodeId(3)]);
    let mut store = LogStore::new(context.log.group(group));
    openraft::storage::RaftLogStorage::save_vote(&mut store, &openraft::Vote::new(1, NodeId(2))).await.unwrap();

    let open = async || {
        let opened = Group::open(&context, group, MachineKind::Partitions, Arc::new(|_| {})).await.unwrap();
        // What it has read from its log is told a moment after it has opened.
        let begun = opened.raft.wait(Some(Duration::from_secs(10)));
        let has_voters = |metrics: &RaftMetrics<TypeConfig>| metrics.membership_config.voter_ids().next().is_some();
        begun.metrics(has_voters, "it has begun").await.unwrap();
        let survey = opened.survey(&context).await.unwrap();
        opened.close().await;
        survey
    };
    begin_log(&context, group, &members).await.unwrap();
    let begun = open().await;
    assert_eq!(begun.voters, [BTreeSet::from(members)]);
    assert_eq!((begun.end.term, begun.end.leader, begun.end.index), (0, NodeId(2), 0), "the same on every member");
    begin_log(&context, group, &[NodeId(1)]).await.unwrap();
    assert_eq!(open().await, begun);

    let lost = GroupId(8);
    let mut batch = context.data.batch();
    batch.put(crate::local::group_key(lost), GroupRow::default().encode());
    context.data.commit(batch).unwrap();
    begin_log(&context, lost, &members).await.unwrap();
    assert_eq!(context.log.group(lost).last().unwrap(), None, "a log that may have been lost is not begun again");
}

/// Leadership may be lost and come back to the same node between the evaluation of writes and their proposal; what others wrote in
/// between was not seen by it. Without the leader's id in the proposal it would be applied.
#[tokio::test(flavor = "multi_thread")]
async fn a_proposal_of_an_earlier_term_is_refused_though_the_same_node_leads_again() {
    tokio::time::timeout(Duration::from_secs(60), lead_twice_and_propose()).await.expect("it waits for nothing long");
}

async fn lead_twice_and_propose() {
    let folder = tempfile::tempdir().unwrap();
    let group = group(folder.path()).await;
    let mut leadership = group.leadership();
    let served = leadership.wait_for(|now| now.session.is_some()).await.unwrap().clone();
    let old = served.session.unwrap().leader();

    // It votes for another, who then is heard of no more.
    let vote = openraft::Vote::new(old.term + 1, NodeId(2));
    // The other's log is as long as any: what the metrics say of this one may be a moment behind it.
    let last_log_id = Some(LogId::new(old, u64::MAX));
    let request = openraft::raft::VoteRequest { vote, last_log_id, leadership_transfer: true };
    assert!(group.raft.vote(request).await.unwrap().vote_granted);
    leadership.wait_for(|now| now.session.is_none()).await.unwrap();
    group.raft.trigger().elect(false).await.unwrap();
    leadership.wait_for(|now| now.term > old.term && now.session.is_some()).await.unwrap();
    let new = group.raft.as_leader().unwrap().to_committed_leader_id();
    assert!(new.term > old.term && new.node_id == old.node_id);

    let (events, mut inbox) = mpsc::unbounded_channel();
    let start = |leader: LeaderId| {
        let body = Body::Start { versions: vec![] };
        Command { term: leader.term, node: leader.node_id, chain: 1000, body }.encode(0)
    };
    propose(&group.raft, old, 1, start(old), &events).await;
    assert!(matches!(inbox.recv().await, Some(Event::Refused(1))));
    // The same under its present id goes through.
    propose(&group.raft, new, 2, start(new), &events).await;
    assert!(matches!(inbox.recv().await, Some(Event::Committed(2) | Event::Applied(2))));
    group.close().await;
}

/// A replica that receives a snapshot takes the chunks of the present transfer in their order, and nothing else.
///
/// Fails if messages are taken by their kind alone: rows or the end of a deposed leader's transfer would complete a newer one.
#[tokio::test(flavor = "multi_thread")]
async fn messages_of_one_snapshot_transfer_never_complete_another() {
    const BEGIN: u8 = 4;
    const ROWS: u8 = 5;
    const END: u8 = 6;
    let folder = tempfile::tempdir().unwrap();
    let group = group(folder.path()).await;
    let partition = |number| PartitionRef { keyspace: KeyspaceId(1), partition: PartitionId(number) };
    let owned = Ownership { phase: Phase::Owned, epoch: 1, ..Ownership::default() };
    let partitions = (0..2).map(|number| (partition(number), owned)).collect();
    let contents = Contents { row: GroupRow::default(), partitions };
    let row = |key: &'static [u8]| (Bytes::from_static(key), Bytes::from_static(b"value"));
    let begin = |transfer, term| {
        let vote = openraft::Vote::new(term, NodeId(2));
        group.handle(BEGIN, Begin::encode(transfer, vote, &contents))
    };
    let rows = |transfer, number| {
        let chunk = encode_chunk(&[(0, vec![row(b"\0\0\0\x01\x01k")]), (1, vec![row(b"\0\0\0\x01\x01l")])]);
        group.handle(ROWS, Position { transfer, number }.encode(&chunk))
    };
    let end = |transfer, number| group.handle(END, Position { transfer, number }.encode(&[]));
    let refused = |answer: Result<Bytes, String>, why: &str| {
        let text = answer.unwrap_err();
        assert!(text.contains(why), "{text}");
    };

    refused(rows(1, 0).await, "no such snapshot transfer");
    begin(1, 50).await.unwrap();
    rows(1, 0).await.unwrap();
    begin(2, 51).await.unwrap();
    refused(rows(1, 1).await, "no such snapshot transfer");
    refused(end(1, 1).await, "no such snapshot transfer");
    refused(begin(3, 50).await, "deposed");
    refused(rows(2, 1).await, "but 0 comes next");
    rows(2, 0).await.unwrap();
    refused(rows(2, 0).await, "but 1 comes next");
    refused(end(2, 2).await, "but 1 comes next");
    // A chunk that cannot be loaded ends its transfer: what it brought would be missing.
    let unknown = encode_chunk(&[(2, vec![row(b"\0\0\0\x01\x01k")])]);
    refused(group.handle(ROWS, Position { transfer: 2, number: 1 }.encode(&unknown)).await, "was not announced");
    refused(end(2, 1).await, "no such snapshot transfer");
    refused(group.handle(BEGIN, Bytes::from_static(b"\x02")).await, "does not know");

    let applied = LogId::new(LeaderId { term: 61, node_id: NodeId(2) }, 7);
    let ahead = Contents { row: GroupRow { applied: Some(applied), ..GroupRow::default() }, ..contents.clone() };
    let forged = group.handle(BEGIN, Begin::encode(8, openraft::Vote::new(60, NodeId(2)), &ahead));
    refused(forged.await, "of a later term");
    // One whose leader is gone does not keep its copies.
    begin(9, 52).await.unwrap();
    group.inbound.expire();
    rows(9, 0).await.unwrap();
    group.inbound.incoming.lock().as_mut().unwrap().idle_for_test();
    group.inbound.expire();
    refused(rows(9, 1).await, "no such snapshot transfer");

    // None of the copies that were made for them stays.
    group.close().await;
    assert!(group.inbound.incoming.lock().is_none());
    let data = group.inbound.data.clone();
    let left = group.inbound.applier.run(move || data.dead_copies().unwrap().len()).await.unwrap();
    assert_eq!(left, 8, "four transfers with two partitions each");
}
