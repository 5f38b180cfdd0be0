//! A partition on a group of one replica.

use std::time::Duration;

use bytes::Bytes;
use recoil_base::{Clock, Digest, GroupId, KeyspaceId, NodeId, PartitionId, Runtime, Tasks};
use recoil_consensus::{
    Applier, Group, GroupContext, GroupOptions, Locals, LogKeeper, MachineKind, Outcome, OwnershipChange, PartitionRef,
    Pulse, Versions,
};
use recoil_engine::{AppLog, AppLogOptions, CallBody, Engine, EngineOptions, Limits};
use recoil_storage::{Log, LogOptions};
use tokio::sync::oneshot;

use super::*;
use crate::calls::Request;
use crate::evaluate::{Call, EvaluatedApp, EvaluationPool, HostParts, Work};
use crate::peer::TcpPeers;
use crate::peers::Peers;
use crate::topics::Topics;

const NODE: NodeId = NodeId(1);
const APP: AppId = AppId(4);
const PARTITION: PartitionRef = PartitionRef { keyspace: KeyspaceId(1), partition: PartitionId(0) };

/// A handler that is never asked.
const PACKAGE: &str = r#"(component
    (core module $module
        (memory (export "memory") 1)
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable)
        (func (export "handle") (param i32 i32) (result i32) unreachable))
    (core instance $core (instantiate $module))
    (func $handle (param "request" (list u8)) (result (result (list u8) (error string)))
        (canon lift (core func $core "handle") (memory $core "memory") (realloc (func $core "realloc"))))
    (instance $handler (export "handle" (func $handle)))
    (export "recoil:plugin/handler@0.1.0" (instance $handler)))"#;

struct World {
    host: std::sync::Arc<Host>,
    context: GroupContext,
    group: std::sync::Arc<Group>,
}

impl World {
    async fn new(folder: &std::path::Path) -> World {
        let (clock, tasks) = (Clock::system(), Tasks::default());
        let peers = TcpPeers::new(NODE, (2, 0), ([127, 0, 0, 1], 1).into(), clock.clone(), tasks.clone());
        let peers = Peers::new(std::sync::Arc::new(peers));
        let data = Data::open(&folder.join("data")).unwrap();
        let locals = Locals::open(data.clone()).unwrap();
        let log = LogOptions { segment_bytes: 1 << 20, ..LogOptions::default() };
        let log = Log::open(&folder.join("log"), log).unwrap();
        let context = GroupContext {
            node: NODE,
            clock: clock.clone(),
            keeper: LogKeeper::start(&tasks, log.clone()),
            log,
            data: data.clone(),
            locals: locals.clone(),
            applier: Applier::start(NODE),
            versions: Versions::default(),
            transport: std::sync::Arc::new(peers.clone()),
            pulse: Pulse::start(&tasks, GroupOptions::default().heartbeat),
            tasks,
            options: GroupOptions::default(),
        };
        let host = Host::new(HostParts {
            node: NODE,
            clock: clock.clone(),
            data,
            locals,
            versions: context.versions.clone(),
            pool: EvaluationPool::start(1),
            runtime: Runtime::current(),
            topics: Topics::new(peers),
            instances_max: 4,
        });
        let package = wat::parse_str(PACKAGE).unwrap();
        let digest = Digest::of(&package);
        let engine = Engine::new(EngineOptions { instances_max: 4, ..EngineOptions::default() }).unwrap();
        host.add_app(EvaluatedApp {
            id: APP,
            name: "app".into(),
            digest,
            code: engine.load(digest, &package, &Default::default()).unwrap(),
            limits: Limits::default(),
            log: AppLog::new(clock, AppLogOptions::default()),
            settings: Default::default(),
            usage: Default::default(),
            shared: None,
        });
        let opened = Group::open(&context, GroupId(1), MachineKind::Partitions, std::sync::Arc::new(|_| {}));
        let group = opened.await.unwrap();
        group.initialize([NODE].into()).await.unwrap();
        let session = group.leadership().wait_for(|now| now.session.is_some()).await.unwrap().session.clone();
        let (told, outcome) = oneshot::channel();
        let changes = vec![(PARTITION, OwnershipChange::Birth { epoch: 1 })];
        let waiter = Box::new(move |outcome| assert!(told.send(outcome).is_ok()));
        session.unwrap().change_ownership(changes, waiter).unwrap();
        assert_eq!(outcome.await, Ok(Outcome::Committed));
        host.add_group(group.clone(), &[PARTITION], &"default".into(), 1);
        World { host, context, group }
    }

    /// A writing call of that number.
    async fn write(&self, origin: Origin, sequence: u64) -> Answer {
        let write = Write::Put { key: Bytes::from_static(b"\x01key"), value: Bytes::from_static(b"value") };
        let request = Request::One(CallBody::Write(vec![write]));
        let (told, answer) = oneshot::channel();
        let reply = Box::new(move |answer| drop(told.send(answer)));
        let work = Work::Asked(request, CallId { origin, sequence, acked: 0 });
        self.host.enqueue([(PARTITION, Call { app: APP, mode: Mode::Write, work, reply })]);
        answer.await.unwrap()
    }

    /// The origins that the data remember, in order.
    fn remembered(&self) -> Vec<Origin> {
        let local = self.context.locals.get(GroupId(1), PARTITION).unwrap();
        let mut remembered: Vec<Origin> = origins(&self.context.data, &local, APP).unwrap().into_iter().collect();
        remembered.sort();
        remembered
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never came: {what}");
}

/// Seen red: when [`Work::Forget`] does nothing, when it does not ask whether the origin is gone, and when only the row goes and not
/// what the session knows.
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

    world.host.forget_origins(Duration::from_secs(3600));
    // Behind the forgetting in the mailbox.
    assert!(world.write(present, 2).await.is_ok());
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(world.remembered(), [gone, present], "an origin may come back to ask for a while");
    assert!(world.write(gone, 1).await.is_ok(), "and is answered");

    world.host.forget_origins(Duration::from_millis(20));
    until("the one that is gone is forgotten", || world.remembered() == [present]).await;
    assert!(matches!(world.write(gone, 2).await, Err(Miss::TooEarly)), "nothing is known of its calls");
    assert!(world.write(present, 3).await.is_ok(), "of the other's there is");
    world.group.close().await;
}
