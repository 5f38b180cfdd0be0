//! What is remembered of origins, on a group of one replica.

use std::time::Duration;

use recoil_base::GroupId;
use recoil_consensus::PartitionRef;

use super::*;
use crate::evaluate::world::{NODE, PARTITION, World, until};

/// Fails if [`Work::Forget`] does nothing, if nobody asks whether the origin is gone, and if only the row goes and not what the
/// session knows.
#[tokio::test(flavor = "multi_thread")]
async fn origins_are_forgotten_once_they_have_been_gone_for_long_enough_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path()).await;
    let [gone, present] = [1, 2].map(|incarnation| Origin { node: NODE, incarnation });
    world.host.set_starts([(NODE, present.incarnation)].into());
    for origin in [gone, present] {
        assert!(world.write(origin, 1).await.is_ok());
    }
    until("both are remembered", || world.remembered() == [gone, present]).await;

    world.host.forget_origins(Duration::from_secs(3600)).unwrap();
    // Behind the forgetting in the mailbox.
    assert!(world.write(present, 2).await.is_ok());
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(world.remembered(), [gone, present], "an origin may come back to ask for a while");
    assert!(world.write(gone, 1).await.is_ok(), "and is answered");

    world.host.forget_origins(Duration::from_millis(20)).unwrap();
    until("the one that is gone is forgotten", || world.remembered() == [present]).await;
    assert!(matches!(world.write(gone, 2).await, Err(Miss::TooEarly)), "nothing is known of its calls");
    assert!(world.write(present, 3).await.is_ok(), "of the other's there is");
    world.stop().await;
}

/// Fails if looking for origins makes an object, or a job, of every app on every partition held, if it is done again though nobody has
/// gone since, and if a node does it for groups that it does not lead.
#[tokio::test(flavor = "multi_thread")]
async fn looking_for_gone_origins_makes_nothing_of_partitions_that_remember_none() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path()).await;
    let partition = |number| PartitionRef { partition: recoil_base::PartitionId(number), ..PARTITION };
    let more: Vec<_> = (1..400).map(partition).collect();
    let group = world.host.group(GroupId(1)).unwrap();
    world.bear(&group, &more).await;
    world.host.add_group(group, &more, PARTITION.keyspace, (&"default".into(), 400));
    let [gone, present] = [1, 2].map(|incarnation| Origin { node: NODE, incarnation });
    world.host.set_starts([(NODE, gone.incarnation)].into());
    assert!(world.write(gone, 1).await.is_ok());
    until("it is remembered", || world.remembered() == [gone]).await;
    let kept = Duration::from_millis(20);
    let rounds = || {
        let mut rounds = 1;
        while world.host.forget_origins(kept).unwrap() {
            rounds += 1;
        }
        rounds
    };
    assert_eq!(rounds(), 2, "all partitions of a group that is led from now on, some in each round");
    assert_eq!((rounds(), world.host.shares()), (1, 1), "nobody has gone");

    world.host.set_starts([(NODE, present.incarnation)].into());
    tokio::time::sleep(kept).await;
    assert_eq!(rounds(), 2);
    until("the one that is gone is forgotten", || world.remembered().is_empty()).await;
    assert_eq!((rounds(), world.host.shares()), (1, 1), "it has been looked for");

    world.host.group(GroupId(1)).unwrap().session().unwrap().end();
    world.stop().await;
    assert!(!world.host.forget_origins(kept).unwrap(), "a group that is not led here");
    assert_eq!(world.host.shares(), 1);
}
