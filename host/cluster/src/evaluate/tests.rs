//! Who may evaluate: groups, owners and copies.

use recoil_engine::CallBody;
use recoil_storage::Write;

use super::world::{APP, NODE, PARTITION, World};
use super::*;
use crate::calls::Part;

fn id() -> CallId {
    CallId { origin: Origin { node: NODE, incarnation: 2 }, sequence: 1, acked: 0 }
}

fn get() -> Request {
    Request::One(CallBody::Get(vec![Bytes::from_static(b"\x01key")]))
}

fn put() -> Request {
    let write = Write::Put { key: Bytes::from_static(b"\x01key"), value: Bytes::from_static(b"v") };
    Request::One(CallBody::Write(vec![write]))
}

/// Fails if only the map says whose partition it is: the writes would be committed in the log of a group that does not own it, answered,
/// and dropped when they are applied. Fails too if a stale read looks at nothing but the copy, if what a node has of a partition keeps
/// the group under which it was first seen, and if writes that are not in the data yet are missed when that group comes back.
#[tokio::test(flavor = "multi_thread")]
async fn only_the_group_that_owns_the_copy_evaluates() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path()).await;
    assert!(world.ask(PARTITION, Mode::Write, put(), id()).await.is_ok());
    // The map is ahead: by it, the partition is in another group, which this node leads as well.
    let other = world.open_group(GroupId(2)).await;
    world.host.add_group(other, &[PARTITION], &"default".into(), 1);
    let here = |answer: Answer| matches!(answer, Err(Miss::Moved { group: GroupId(1), epoch: 1 }));
    let next = CallId { sequence: 2, ..id() };
    assert!(here(world.ask(PARTITION, Mode::Write, put(), next).await));
    assert!(here(world.ask(PARTITION, Mode::StaleRead, get(), id()).await));
    // And the other way round.
    world.host.add_group(world.host.group(GroupId(1)).unwrap(), &[PARTITION], &"default".into(), 1);
    assert!(world.ask(PARTITION, Mode::StaleRead, get(), id()).await.is_ok());
    // What was written before may not be in the data yet: not under the session that has lost its overlay.
    let answer = loop {
        match world.ask(PARTITION, Mode::Write, put(), next).await {
            Err(Miss::Again | Miss::NotLeader(_)) => tokio::time::sleep(std::time::Duration::from_millis(1)).await,
            answer => break answer,
        }
    };
    assert!(answer.is_ok(), "{answer:?}");
    world.stop().await;
}

/// Fails if what is said of another partition of a transaction is said of its lowest: its origin would look for that one elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_is_elsewhere_does_not_redirect_its_transaction() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path()).await;
    let other = |number| PartitionRef { partition: recoil_base::PartitionId(number), ..PARTITION };
    // One that is not here, and one that another group has.
    let group = world.open_group(GroupId(2)).await;
    world.bear(&group, &[other(2)]).await;
    world.host.add_group(world.host.group(GroupId(1)).unwrap(), &[other(2)], &"default".into(), 3);
    for elsewhere in [other(1), other(2)] {
        let part = |partition| Part { partition, epoch: 1, mode: Mode::Write, body: CallBody::Get(vec![]) };
        let parts = Request::All(vec![part(PARTITION), part(elsewhere)]);
        let answer = world.ask(PARTITION, Mode::Write, parts, id()).await;
        assert!(matches!(answer, Err(Miss::Again)), "{elsewhere:?}: {answer:?}");
    }
    world.stop().await;
}

/// Fails if calls above the app's limit of writes under way are refused, evaluated out of order, or forgotten.
#[tokio::test(flavor = "multi_thread")]
async fn writes_above_the_limit_wait_and_keep_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path()).await;
    let (told, mut answers) = tokio::sync::mpsc::unbounded_channel();
    let calls = (1..=300).map(|sequence| {
        let value = Bytes::from(format!("{sequence:064}"));
        let write = Write::Put { key: Bytes::from_static(b"\x01key"), value };
        let work = Work::Asked(Request::One(CallBody::Write(vec![write])), CallId { sequence, ..id() });
        let told = told.clone();
        let reply = Box::new(move |answer: Answer| told.send((sequence, answer)).unwrap());
        (PARTITION, Call { app: APP, mode: Mode::Write, work, reply })
    });
    world.host.enqueue(calls);
    for expected in 1..=300 {
        let answer = tokio::time::timeout(std::time::Duration::from_secs(20), answers.recv()).await;
        let (sequence, answer) = answer.expect("a call is forgotten").unwrap();
        assert!(answer.is_ok(), "{sequence}: {answer:?}");
        assert_eq!(sequence, expected);
    }
    let last = world.ask(PARTITION, Mode::Read, get(), CallId { sequence: 300, ..id() }).await.unwrap();
    assert!(last.ends_with(format!("{:064}", 300).as_bytes()), "{last:?}");
    assert_eq!(world.host.waiting_bytes.load(Ordering::Relaxed), 0);
    world.stop().await;
}
