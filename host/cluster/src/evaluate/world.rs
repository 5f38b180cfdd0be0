//! For tests: a node with one partition, on a group of one replica, and an app that has nothing but rows.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use recoil_base::{AppId, Clock, Digest, GroupId, KeyspaceId, NodeId, PartitionId, Runtime, Tasks};
use recoil_consensus::answered::origins;
use recoil_consensus::{
    Applier, Group, GroupContext, GroupOptions, Locals, LogKeeper, MachineKind, Origin, Outcome, OwnershipChange,
    PartitionRef, Pulse, Versions,
};
use recoil_engine::{AppLog, AppLogOptions, CallBody, Engine, EngineOptions, Limits, Mode};
use recoil_storage::{Data, Log, LogOptions, Write};
use tokio::sync::oneshot;

use super::{Call, CallId, EvaluatedApp, EvaluationPool, Host, HostParts, Work};
use crate::calls::{Answer, Request};
use crate::peer::TcpPeers;
use crate::peers::Peers;
use crate::topics::Topics;

pub(crate) const NODE: NodeId = NodeId(1);
pub(crate) const APP: AppId = AppId(4);
pub(crate) const PARTITION: PartitionRef = PartitionRef { keyspace: KeyspaceId(1), partition: PartitionId(0) };

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

/// See the module's text.
pub(crate) struct World {
    pub(crate) host: Arc<Host>,
    pub(crate) context: GroupContext,
    pub(crate) topics: Topics,
}

impl World {
    pub(crate) async fn new(folder: &std::path::Path) -> World {
        let (clock, tasks) = (Clock::system(), Tasks::default());
        let peers = TcpPeers::new(NODE, (2, 0), ([127, 0, 0, 1], 1).into(), clock.clone(), tasks.clone());
        Self::with_peers(folder, Peers::new(Arc::new(peers)), tasks).await
    }

    /// A node of this network, alone in its group.
    pub(crate) async fn with_peers(folder: &std::path::Path, peers: Peers, tasks: Tasks) -> World {
        let clock = Clock::system();
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
            transport: Arc::new(peers.clone()),
            pulse: Pulse::start(&tasks, GroupOptions::default().heartbeat),
            tasks,
            options: GroupOptions::default(),
        };
        let topics = Topics::new(peers);
        let host = Host::new(HostParts {
            node: NODE,
            clock: clock.clone(),
            data,
            locals,
            versions: context.versions.clone(),
            pool: EvaluationPool::start(1),
            runtime: Runtime::current(),
            topics: topics.clone(),
            instances_max: 4,
        });
        let package = wat::parse_str(PACKAGE).unwrap();
        let digest = Digest::of(&package);
        let engine = Engine::new(EngineOptions { instances_max: 4, ..EngineOptions::default() }).unwrap();
        host.add_app(EvaluatedApp {
            id: APP,
            keyspace: PARTITION.keyspace,
            name: "app".into(),
            digest,
            code: engine.load(digest, &package, &Default::default()).unwrap(),
            // Two writes of `World::write` are above it.
            limits: Limits { writing_bytes_max: 16, ..Limits::default() },
            log: AppLog::new(clock, AppLogOptions::default()),
            settings: Default::default(),
            usage: Default::default(),
            shared: None,
        });
        let world = World { host, context, topics };
        let group = world.open_group(GroupId(1)).await;
        world.bear(&group, &[PARTITION]).await;
        world.host.add_group(group, &[PARTITION], PARTITION.keyspace, (&"default".into(), 1));
        world
    }

    /// Another group of one replica, which leads.
    pub(crate) async fn open_group(&self, id: GroupId) -> Arc<Group> {
        let opened = Group::open(&self.context, id, MachineKind::Partitions, Arc::new(|_| {}));
        let group = opened.await.unwrap();
        group.initialize([NODE].into()).await.unwrap();
        group.leadership().wait_for(|now| now.session.is_some()).await.unwrap();
        group
    }

    /// Has the group's log take in these partitions.
    pub(crate) async fn bear(&self, group: &Group, partitions: &[PartitionRef]) {
        let (told, outcome) = oneshot::channel();
        let changes = partitions.iter().map(|partition| (*partition, OwnershipChange::Birth { epoch: 1 })).collect();
        let waiter = Box::new(move |outcome| assert!(told.send(outcome).is_ok()));
        group.session().unwrap().change_ownership(changes, waiter).unwrap();
        assert_eq!(outcome.await, Ok(Outcome::Committed));
    }

    /// What a call of this mode is answered.
    pub(crate) async fn ask(&self, partition: PartitionRef, mode: Mode, request: Request, id: CallId) -> Answer {
        let (told, answer) = oneshot::channel();
        let reply = Box::new(move |answer| drop(told.send(answer)));
        let work = Work::Asked(request, id);
        self.host.enqueue([(partition, Call { app: APP, mode, work, reply })]);
        answer.await.unwrap()
    }

    /// A writing call of that number.
    pub(crate) async fn write(&self, origin: Origin, sequence: u64) -> Answer {
        let write = Write::Put { key: Bytes::from_static(b"\x01key"), value: Bytes::from_static(b"value") };
        let request = Request::One(CallBody::Write(vec![write]));
        self.ask(PARTITION, Mode::Write, request, CallId { origin, sequence, acked: 0 }).await
    }

    /// Ends the node's groups.
    pub(crate) async fn stop(&self) {
        for group in self.host.groups() {
            group.close().await;
        }
    }

    /// The origins that the data remember, in order.
    pub(crate) fn remembered(&self) -> Vec<Origin> {
        let local = self.context.locals.get(GroupId(1), PARTITION).unwrap();
        let mut remembered: Vec<Origin> = origins(&self.context.data, &local, APP).unwrap().into_iter().collect();
        remembered.sort();
        remembered
    }
}

pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never came: {what}");
}
