//! Whole nodes in one process, over TCP, on disks of their own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use recoil_base::{AppId, Digest, GroupId, NodeId, Shutdown};
use recoil_cluster::meta::MemberState;
use recoil_consensus::machine::custom_partition;
use recoil_engine::{Address, CallBody, Mode, RoutedCall};
use recoil_gateway::api::{AdminApi as _, InstallRequest};
use recoil_package::Manifest;
use recoil_storage::{Folder, LogOptions, Write};

use crate::node::{Node, NodeOptions, Shared, SharedOptions};

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

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

fn package(name: &str) -> Bytes {
    let json = format!(r#"{{"format": 1, "name": "{name}", "version": "1.0.0"}}"#);
    let manifest = Manifest::from_json(json.as_bytes()).unwrap();
    recoil_package::embed(&wat::parse_str(PACKAGE).unwrap(), &manifest).unwrap().into()
}

/// Nodes whose folders go with it.
struct Machines {
    folder: tempfile::TempDir,
    shared: Arc<Shared>,
    expect: u32,
}

impl Machines {
    fn new(expect: u32) -> Self {
        let shared = Shared::new(SharedOptions { code_cache: None, eval_threads: Some(1) }).unwrap();
        Machines { folder: tempfile::tempdir().unwrap(), shared, expect }
    }

    fn folder(&self, k: usize) -> PathBuf {
        self.folder.path().join(format!("node-{k}"))
    }

    fn options(&self, k: usize, listen: SocketAddr, join: Option<&Node>) -> NodeOptions {
        let options = NodeOptions::new(self.folder(k), listen, self.shared.clone());
        NodeOptions {
            join: join.map(|node| node.address().into()).into_iter().collect(),
            expect: self.expect,
            partitions: 8,
            ..options
        }
    }

    async fn start(&self, k: usize, join: Option<&Node>) -> Node {
        let options = self.options(k, ([127, 0, 0, 1], 0).into(), join);
        Node::start(options, Shutdown::new()).await.unwrap()
    }

    /// Three nodes that serve.
    async fn three() -> (Self, Vec<Node>) {
        let machines = Machines::new(3);
        let first = machines.start(0, None).await;
        let mut nodes = vec![first];
        for k in 1..3 {
            nodes.push(machines.start(k, Some(&nodes[0])).await);
        }
        for node in &nodes {
            within("the cluster is ready", node.wait_ready(&[])).await.unwrap();
        }
        (machines, nodes)
    }

    fn file(&self, k: usize, digest: Digest) -> PathBuf {
        self.folder(k).join("packages").join(digest.hex())
    }
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("not in time: {what}"))
}

async fn eventually(what: &str, holds: impl Fn() -> bool) {
    within(what, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

fn install(digest: Digest) -> InstallRequest {
    InstallRequest { name: None, digest: Some(digest), ..InstallRequest::named("") }
}

/// Fails if a node does not fetch a package that it lacks, takes a damaged file for the package, or keeps the files of packages that nothing
/// uses.
#[tokio::test(flavor = "multi_thread")]
async fn every_node_fetches_the_packages_it_needs_and_removes_the_others() {
    let (machines, mut nodes) = Machines::three().await;
    let (archive, idle) = (package("one"), package("two"));
    let (digest, unused) = (Digest::of(&archive), Digest::of(&idle));
    nodes[0].parts.upload(archive.clone()).await.unwrap();
    nodes[0].parts.upload(idle.clone()).await.unwrap();
    assert!(!machines.file(1, digest).exists(), "nobody needs it yet");
    // Asked of a node that does not have it.
    nodes[1].parts.install(install(digest)).await.unwrap();
    for k in 0..3 {
        assert_eq!(std::fs::read(machines.file(k, digest)).unwrap(), archive, "node {k} was ready without the package");
    }
    assert!(machines.file(0, unused).exists() && !machines.file(1, unused).exists());

    // A node that comes later, and one whose file is damaged while it is away.
    nodes.push(machines.start(3, Some(&nodes[0])).await);
    let app = nodes[1].parts.states.borrow().apps["one"].id;
    eventually("the newcomer loads it", || nodes[3].parts.apps.roles(app).is_some()).await;
    assert!(machines.file(3, digest).exists());
    nodes.remove(2).stop().await;
    std::fs::write(machines.file(2, digest), &archive[..archive.len() / 2]).unwrap();
    nodes.insert(2, machines.start(2, None).await);
    eventually("it is fetched again", || std::fs::read(machines.file(2, digest)).is_ok_and(|bytes| bytes == archive))
        .await;
    eventually("the app is loaded", || nodes[2].parts.apps.roles(app).is_some()).await;

    nodes[2].parts.uninstall("one", false).await.unwrap();
    for k in 0..4 {
        eventually("the file goes", || !machines.file(k, digest).exists()).await;
    }
    // The upload does not outlive its node's process.
    nodes.remove(0).stop().await;
    nodes.insert(0, machines.start(0, None).await);
    eventually("the upload goes", || !machines.file(0, unused).exists()).await;
    for node in nodes {
        node.stop().await;
    }
}

/// Fails if the address of a dead member is refused to another node for ever, or if the dead one goes on voting.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_joins_at_the_address_of_a_dead_one_and_votes_in_its_place() {
    let (machines, mut nodes) = Machines::three().await;
    let voters = |node: &Node| {
        let mut voters = node.parts.meta().unwrap().numbers().voters;
        voters.sort_unstable();
        voters
    };
    let ids = |nodes: &[&Node]| {
        let mut ids: Vec<NodeId> = nodes.iter().map(|node| node.id()).collect();
        ids.sort_unstable();
        ids
    };
    let three = ids(&nodes.iter().collect::<Vec<_>>());
    eventually("three nodes vote", || voters(&nodes[0]) == three).await;

    let dead = nodes.remove(2);
    let (dead_id, address) = (dead.id(), dead.address());
    let live_address = nodes[1].address();
    dead.kill().await;
    let taken = nodes[0].parts.clone();
    // One that stopped a moment ago still counts as live, and its address is not refused for good.
    let command = crate::membership::tests::join_command(&taken, NodeId(5), address);
    let early = crate::membership::serve_join(&taken, &command).await.unwrap_err();
    assert!(early.contains("retry"), "it may come back in a moment: {early}");
    // A live member's address is refused, whoever asks.
    let command = crate::membership::tests::join_command(&taken, NodeId(5), live_address);
    let refused = crate::membership::serve_join(&taken, &command).await.unwrap_err();
    assert!(refused.contains("already listens on") && !refused.contains("retry"), "{refused}");

    let options = machines.options(3, address, Some(&nodes[0]));
    let replacement = within("the replacement joins", Node::start(options, Shutdown::new())).await.unwrap();
    let members = nodes[0].parts.states.borrow().members.clone();
    assert_eq!(members[&dead_id].state, MemberState::Displaced);
    assert_eq!(members[&replacement.id()].address, address);
    let next = ids(&[&nodes[0], &nodes[1], &replacement]);
    eventually("the replacement votes", || voters(&nodes[0]) == next).await;
    for node in nodes.into_iter().chain([replacement]) {
        node.stop().await;
    }
}

/// Fails if a node that has drawn the id of another one speaks for it, or waits for it to go.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_joins_with_the_id_of_another_one_draws_again() {
    let machines = Machines::new(2);
    for k in 0..2 {
        drop(Folder::open(&machines.folder(k)).unwrap());
        copy_folder(&machines.folder(k), &machines.folder(k + 2));
    }
    let first = machines.start(0, None).await;
    let second = machines.start(1, Some(&first)).await;
    // One has the id of the seed, and one that of another member.
    let third = within("the third joins", machines.start(2, Some(&first))).await;
    let fourth = within("the fourth joins", machines.start(3, Some(&first))).await;
    let nodes = [first, second, third, fourth];
    let mut ids: Vec<NodeId> = nodes.iter().map(Node::id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 4);
    assert_eq!(nodes[0].parts.states.borrow().members.size(), 4);
    for node in nodes {
        node.stop().await;
    }
}

/// Fails if a node goes on after an entry of the meta group that it cannot read, or with rows that it cannot read.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_cannot_read_of_the_meta_group_ends_it_with_what_to_do() {
    let machines = Machines::new(1);
    let node = machines.start(0, None).await;
    within("the node is ready", node.wait_ready(&[])).await.unwrap();
    let context = &node.parts.context;
    let before = node.parts.states.borrow().header.index;
    let data = context.data.clone();
    let copy = context.locals.get(GroupId::META, custom_partition(GroupId::META)).unwrap().copy;
    // Past the check of what is proposed, as a leader of a later version would.
    let meta = node.parts.meta().unwrap();
    assert!(meta.propose(Bytes::from_static(b"\x02{\"command\":\"later\"}")).await.is_err());
    drop(meta);
    let why = within("the node ends", node.failed()).await;
    assert!(why.contains("cannot be read") && why.contains("start this node with the version"), "{why}");
    assert_eq!(node.parts.states.borrow().header.index, before);
    // A row as a later version would write it.
    let mut batch = context.data.batch();
    let (key, value) = (Bytes::from_static(&[99, 0]), Bytes::from_static(&[2]));
    batch.write(copy, AppId(0), &Write::Put { key, value });
    data.commit(batch).unwrap();
    drop(data);
    node.stop().await;
    let options = machines.options(0, ([127, 0, 0, 1], 0).into(), None);
    let Err(error) = Node::start(options, Shutdown::new()).await else { panic!("the node has started") };
    assert!(error.to_string().contains("a row of kind 99"), "{error}");
}

/// Where the fixture of a whole data folder is: of a single node with one app, whose key `key` has the value `value`.
const FOLDER_FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/folder-4");

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name());
        match name.to_str() {
            // Made by every start; compiled code depends on the processor.
            Some("LOCK" | "code") => {}
            _ if path.is_dir() => copy_folder(&path, &to.join(name)),
            _ => drop(std::fs::copy(&path, to.join(name)).unwrap()),
        }
    }
}

/// fjall reserves 64 MiB for a journal. In the repository it ends with its last byte that is not zero.
const JOURNAL_BYTES: u64 = 64 << 20;

/// Does something with the journals of a data folder.
fn with_journals(folder: &std::path::Path, change: impl Fn(&std::fs::File, &[u8])) {
    for entry in std::fs::read_dir(folder.join("data")).unwrap().map(Result::unwrap) {
        if entry.path().extension().is_some_and(|extension| extension == "jnl") {
            let content = std::fs::read(entry.path()).unwrap();
            change(&std::fs::File::options().write(true).open(entry.path()).unwrap(), &content);
        }
    }
}

async fn call(node: &Node, body: CallBody, mode: Mode) -> Bytes {
    let app = node.parts.states.borrow().apps.values().next().unwrap().clone();
    let router = node.parts.router.of_app(app.id, app.keyspace);
    let call = RoutedCall { to: Address::Key(Bytes::from_static(b"key")), body, mode };
    within("an answer", router.call_many(vec![call])).await.remove(0).unwrap()
}

/// A data folder that this version has written, kept in the repository: log, data, meta state, identity and package.
///
/// Fails if any of its formats changes without the folder's format number. If that is meant, raise the number, so that older folders are
/// refused with a clear sentence, and write the fixture again: `RECOIL_WRITE_FIXTURES=1 cargo test -p recoil-node folder`.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_this_version_has_written_opens_with_everything_in_it() {
    let fixture = std::path::Path::new(FOLDER_FIXTURE);
    let machines = Machines::new(1);
    let options = || {
        let listen = ([127, 0, 0, 1], 0).into();
        let log = LogOptions { segment_bytes: 16 << 10, ..LogOptions::default() };
        NodeOptions { log, partitions: 4, ..machines.options(0, listen, None) }
    };
    let archive = package("kept");
    if std::env::var_os("RECOIL_WRITE_FIXTURES").is_some() {
        let node = Node::start(options(), Shutdown::new()).await.unwrap();
        within("the node is ready", node.wait_ready(&[])).await.unwrap();
        node.parts.upload(archive.clone()).await.unwrap();
        node.parts.install(install(Digest::of(&archive))).await.unwrap();
        within("the app serves", node.wait_ready(&["kept".into()])).await.unwrap();
        let (key, value) = (Bytes::from_static(b"\x01key"), Bytes::from_static(b"value"));
        call(&node, CallBody::Write(vec![Write::Put { key, value }]), Mode::Write).await;
        node.stop().await;
        let _ = std::fs::remove_dir_all(fixture);
        copy_folder(&machines.folder(0), fixture);
        with_journals(fixture, |journal, content| {
            let end = content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            journal.set_len(end as u64).unwrap();
        });
        std::fs::remove_dir_all(machines.folder(0)).unwrap();
    }
    copy_folder(fixture, &machines.folder(0));
    with_journals(&machines.folder(0), |journal, _| journal.set_len(JOURNAL_BYTES).unwrap());
    let node = Node::start(options(), Shutdown::new()).await.unwrap();
    within("the app serves", node.wait_ready(&["kept".into()])).await.unwrap();
    let found = call(&node, CallBody::Get(vec![Bytes::from_static(b"\x01key")]), Mode::Read).await;
    assert!(found.ends_with(b"value"), "{found:?}");
    let state = node.parts.states.borrow().clone();
    assert_eq!(state.apps.get("kept").unwrap().digest, Digest::of(&archive));
    assert_eq!(std::fs::read(machines.file(0, Digest::of(&archive))).unwrap(), archive);
    assert!(std::fs::read_to_string(fixture.join("NODE")).unwrap().contains(&node.id().to_string()));
    assert_eq!(node.parts.context.locals.of_group(GroupId(1)).len(), 4);
    node.stop().await;
}
