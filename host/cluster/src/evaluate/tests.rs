//! Who may evaluate: groups, owners and copies.

use std::time::Duration;

use recoil_consensus::{Decision, Move, OwnershipChange};
use recoil_engine::CallBody;
use recoil_storage::Write;
use tokio::sync::oneshot;

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

/// Fails if the map says whose partition it is: the writes would be committed in the log of a group that does not own it, answered, and
/// dropped when they are applied.
#[tokio::test(flavor = "multi_thread")]
async fn only_the_group_that_owns_the_copy_evaluates() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path()).await;
    assert!(world.ask(PARTITION, Mode::Write, put(), id()).await.is_ok());
    // The map is ahead: by it, the partition is in another group, which this node leads as well.
    let other = world.open_group(GroupId(2)).await;
    world.host.add_group(other, &[PARTITION], PARTITION.keyspace, (&"default".into(), 1));
    let next = CallId { sequence: 2, ..id() };
    assert!(world.ask(PARTITION, Mode::Write, put(), next).await.is_ok());
    assert!(world.ask(PARTITION, Mode::StaleRead, get(), id()).await.is_ok());
    let held = world.host.partitions.read().get(&PARTITION).map(|held| held.group);
    assert_eq!(held, Some(GroupId(1)));
    world.stop().await;
}

/// Fails if an app is evaluated on a partition of a keyspace that is not its own, where its data must not be: the caller names both.
#[tokio::test(flavor = "multi_thread")]
async fn an_app_is_evaluated_in_its_keyspace_alone() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path()).await;
    let strange = PartitionRef { keyspace: KeyspaceId(2), ..PARTITION };
    let other = world.open_group(GroupId(2)).await;
    world.bear(&other, &[strange]).await;
    world.host.add_group(other, &[strange], strange.keyspace, (&"other".into(), 1));
    let refused = world.ask(strange, Mode::Write, put(), id()).await;
    assert!(
        matches!(&refused, Err(Miss::Error(CallError::Rejected(why))) if why.contains("in keyspace 1")),
        "{refused:?}"
    );
    assert!(world.ask(PARTITION, Mode::Write, put(), id()).await.is_ok());
    world.stop().await;
}

async fn change(group: &Group, change: OwnershipChange) {
    assert!(group.session().unwrap().change_ownership_to_the_end(vec![(PARTITION, change)]).await);
}

/// A call, asked again for as long as it is to be sent again.
async fn answered(world: &World, mode: Mode, request: fn() -> Request, id: CallId) -> Answer {
    loop {
        match world.ask(PARTITION, mode, request(), id).await {
            Err(Miss::Again | Miss::NotLeader(_)) => tokio::time::sleep(Duration::from_millis(1)).await,
            answer => return answer,
        }
    }
}

/// Fails if the source goes on after its release, or the target serves before it has adopted; if what is remembered of calls stays behind, so that
/// one is applied twice; and if the partition comes back with what the source still had in memory.
#[tokio::test(flavor = "multi_thread")]
async fn a_partition_moves_to_another_group_of_the_node_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path()).await;
    let (one, two) = (world.host.group(GroupId(1)).unwrap(), world.open_group(GroupId(2)).await);
    world.host.add_group(two.clone(), &[], PARTITION.keyspace, (&"default".into(), 1));
    let write = |sequence| CallId { sequence, ..id() };
    assert!(answered(&world, Mode::Write, put, write(1)).await.is_ok());
    let mut from_to = [(one.clone(), two.clone()), (two, one)];
    for (number, (source, target)) in (1..).zip(&mut from_to) {
        let epoch = number + 1;
        let to = Move { id: number, other: target.id(), epoch };
        change(target, OwnershipChange::Expect(Move { other: source.id(), ..to })).await;
        assert!(world.ask(PARTITION, Mode::Read, get(), write(number)).await.is_ok(), "the source serves");
        world.host.release(source.id(), vec![(PARTITION, to)]).await.unwrap();
        let row = world.context.locals.state(source.id(), PARTITION).unwrap().ownership;
        let Decision::Released(released) = row.decision(number) else { panic!("{row:?}") };
        let early = world.ask(PARTITION, Mode::Read, get(), write(number)).await;
        assert!(matches!(early, Err(Miss::Again)), "the target has yet to adopt it: {early:?}");
        change(target, OwnershipChange::Adopt { id: number, released }).await;
        // The call in doubt is asked again, and the next one comes after it.
        assert!(answered(&world, Mode::Write, put, write(number)).await.is_ok());
        assert!(answered(&world, Mode::Write, put, write(number + 1)).await.is_ok());
        assert!(answered(&world, Mode::StaleRead, get, id()).await.is_ok());
        let local = world.context.locals.get(target.id(), PARTITION).unwrap();
        assert_eq!((local.group, local.epoch), (target.id(), epoch));
        world.host.release(source.id(), vec![(PARTITION, to)]).await.unwrap();
        change(source, OwnershipChange::Retire { id: number }).await;
    }
    world.stop().await;
}

/// Fails if a call of a partition that leaves is evaluated, or answered before the outcome is known; if one waits for longer than it may,
/// and if none of them goes on when the partition stays.
#[tokio::test(flavor = "multi_thread")]
async fn calls_park_while_their_partition_leaves() {
    let folder = tempfile::tempdir().unwrap();
    let world = Arc::new(World::new(folder.path()).await);
    assert!(world.ask(PARTITION, Mode::Read, get(), CallId { sequence: 0, ..id() }).await.is_ok());
    let (number, begun) = world.host.leaving.begin([PARTITION].into_iter());
    assert_eq!(begun, [PARTITION]);
    assert_eq!(world.host.leaving.begin([PARTITION].into_iter()).1, [], "once at a time");
    let asking = world.clone();
    let mut parked = recoil_base::task::spawn_detached(async move {
        asking.ask(PARTITION, Mode::Read, get(), CallId { sequence: 0, ..id() }).await
    });
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut parked).await.is_err(), "it parks");
    world.host.schedule(world.host.leaving.hurry(number));
    assert!(matches!(parked.await.unwrap(), Err(Miss::Again)));
    let late = world.ask(PARTITION, Mode::Read, get(), CallId { sequence: 0, ..id() }).await;
    assert!(matches!(late, Err(Miss::Again)), "{late:?}");
    world.host.schedule(world.host.leaving.end(&[PARTITION]));
    assert!(world.ask(PARTITION, Mode::Read, get(), CallId { sequence: 0, ..id() }).await.is_ok());

    // An evaluation that takes long keeps its partition, which goes on afterwards.
    let share = world.host.share(PARTITION, APP).unwrap();
    let to = Move { id: 1, other: GroupId(2), epoch: 2 };
    let (held, hold) = std::sync::mpsc::channel::<()>();
    let (locked, is_locked) = oneshot::channel();
    let holding = recoil_base::task::spawn_blocking(move || {
        let _evaluation = share.evaluation.lock();
        locked.send(()).unwrap();
        let _ = hold.recv();
    });
    is_locked.await.unwrap();
    let refused = world.host.release(GroupId(1), vec![(PARTITION, to)]).await;
    assert!(matches!(refused, Err(ReleaseError::Busy(_))), "{refused:?}");
    drop(held);
    holding.await.unwrap();
    assert!(world.ask(PARTITION, Mode::Read, get(), CallId { sequence: 0, ..id() }).await.is_ok());
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
    world.host.add_group(
        world.host.group(GroupId(1)).unwrap(),
        &[other(2)],
        PARTITION.keyspace,
        (&"default".into(), 3),
    );
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
        let answer = tokio::time::timeout(Duration::from_secs(20), answers.recv()).await;
        let (sequence, answer) = answer.expect("a call is forgotten").unwrap();
        assert!(answer.is_ok(), "{sequence}: {answer:?}");
        assert_eq!(sequence, expected);
    }
    let last = world.ask(PARTITION, Mode::Read, get(), CallId { sequence: 300, ..id() }).await.unwrap();
    assert!(last.ends_with(format!("{:064}", 300).as_bytes()), "{last:?}");
    // The bytes of a call are given back once it has been answered, which the one who asked may see first.
    let none_waits = async {
        while world.host.waiting_bytes.load(Ordering::Relaxed) > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), none_waits).await.expect("answered calls count as waiting for ever");
    world.stop().await;
}
