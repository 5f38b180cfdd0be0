//! Requests as they come over the wire, to an API that answers from memory.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use recoil_base::{Digest, NodeId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::api::{
    AppCommand, AppData, AppDetail, AppState, AppSummary, ClusterStatus, CollectReply, DecommissionReply, Health,
    KeyspaceDetail, KeyspaceStatus, LogLine, MoveStatus, NodeDetail, PackageSummary, PartitionStatus, RecoverReply,
    Status,
};

/// An API whose answers are fixed and which remembers what it was asked.
#[derive(Default)]
struct Fixed {
    asked: Mutex<Vec<String>>,
}

fn summary() -> AppSummary {
    let (name, version) = ("redis-server".to_owned(), "0.1.0".to_owned());
    AppSummary {
        name,
        version,
        digest: Digest::of(b""),
        keyspace: "default".to_owned(),
        state: AppState::Serving,
        listeners: Vec::new(),
        nodes_ready: 3,
        nodes: 3,
    }
}

fn package(archive: &[u8]) -> PackageSummary {
    let manifest = recoil_package::Manifest::from_json(br#"{"name": "a", "version": "1.0.0"}"#).unwrap();
    PackageSummary {
        digest: Digest::of(archive),
        name: "a".to_owned(),
        version: "1.0.0".to_owned(),
        manifest,
        artifact: None,
        bundled: false,
    }
}

const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9);

/// Answers below `/site/` with the client's address and what it sent.
struct Mirror;

#[async_trait::async_trait]
impl Site for Mirror {
    fn answers(&self, path: &str) -> bool {
        path.starts_with("/site/")
    }
    async fn respond(&self, peer: SocketAddr, request: Request<SiteBody>) -> Response<SiteBody> {
        // Late enough for a client to end its side before it is answered.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let sent = request.into_body().collect().await.unwrap().to_bytes();
        let text = [format!("{peer} sent ").as_bytes(), &sent].concat();
        Response::new(Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync())
    }
}

#[async_trait::async_trait]
impl AdminApi for Fixed {
    async fn status(&self) -> Result<Status, AdminError> {
        Ok(Status {
            cluster: None,
            node: NodeId(7),
            nodes: Vec::new(),
            keyspaces: Vec::new(),
            groups: Vec::new(),
            apps: vec![summary()],
            ready: false,
            problems: Vec::new(),
        })
    }
    async fn health(&self) -> Health {
        Health { ready: false, reason: Some("no leader".to_owned()) }
    }
    async fn apps(&self) -> Result<Vec<AppSummary>, AdminError> {
        Ok(vec![summary()])
    }
    async fn app(&self, name: &str) -> Result<AppDetail, AdminError> {
        Err(AdminError::not_found(format!("there is no app '{name}'"), "see `recoilctl list`"))
    }
    async fn install(&self, request: InstallRequest) -> Result<AppSummary, AdminError> {
        self.asked.lock().push(format!("{request:?}"));
        Ok(summary())
    }
    async fn upload(&self, archive: Bytes) -> Result<PackageSummary, AdminError> {
        self.asked.lock().push(format!("upload {}", archive.len()));
        Ok(package(&archive))
    }
    async fn pull(&self, name: &str) -> Result<PackageSummary, AdminError> {
        self.asked.lock().push(format!("pull {name}"));
        Ok(package(b""))
    }
    async fn collect(&self, kept: Duration) -> Result<CollectReply, AdminError> {
        self.asked.lock().push(format!("collect {kept:?}"));
        Ok(CollectReply { links: 1, contents: 2, bytes: 3 })
    }
    async fn set(
        &self,
        name: &str,
        values: BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, recoil_package::SettingValue>, AdminError> {
        self.asked.lock().push(format!("set {name} {values:?}"));
        Ok(BTreeMap::new())
    }
    async fn node(&self, node: NodeId) -> Result<NodeDetail, AdminError> {
        Err(AdminError::not_found(format!("there is no node {node}"), ""))
    }
    async fn drain(&self, node: NodeId) -> Result<NodeDetail, AdminError> {
        self.asked.lock().push(format!("drain {node}"));
        self.node(node).await
    }
    async fn undrain(&self, node: NodeId) -> Result<NodeDetail, AdminError> {
        self.asked.lock().push(format!("undrain {node}"));
        self.node(node).await
    }
    async fn decommission(&self, node: NodeId, request: DecommissionRequest) -> Result<DecommissionReply, AdminError> {
        self.asked.lock().push(format!("decommission {node} {request:?}"));
        Err(AdminError::conflict("it is the last one", ""))
    }
    async fn keyspaces(&self) -> Result<Vec<KeyspaceStatus>, AdminError> {
        Ok(vec![])
    }
    async fn keyspace(&self, name: &str) -> Result<KeyspaceDetail, AdminError> {
        Err(AdminError::not_found(format!("there is no keyspace named '{name}'"), ""))
    }
    async fn create_keyspace(&self, request: CreateKeyspace) -> Result<KeyspaceDetail, AdminError> {
        self.asked.lock().push(format!("{request:?}"));
        self.keyspace(&request.name).await
    }
    async fn set_keyspace(&self, name: &str, request: SetKeyspace) -> Result<KeyspaceDetail, AdminError> {
        self.asked.lock().push(format!("{name}: {request:?}"));
        self.keyspace(name).await
    }
    async fn delete_keyspace(&self, name: &str) -> Result<(), AdminError> {
        self.asked.lock().push(format!("delete keyspace {name}"));
        Ok(())
    }
    async fn partitions(&self, keyspace: Option<&str>) -> Result<Vec<PartitionStatus>, AdminError> {
        self.asked.lock().push(format!("partitions of {keyspace:?}"));
        Ok(vec![])
    }
    async fn partition(&self, keyspace: Option<&str>, partition: u32) -> Result<PartitionStatus, AdminError> {
        self.asked.lock().push(format!("partition {partition} of {keyspace:?}"));
        Err(AdminError::not_found(format!("there is no partition {partition}"), ""))
    }
    async fn moves(&self) -> Result<Vec<MoveStatus>, AdminError> {
        Ok(vec![])
    }
    async fn start_moves(&self, request: MoveRequest) -> Result<Vec<MoveStatus>, AdminError> {
        self.asked.lock().push(format!("move {:?} to {:?}", request.partitions, request.to));
        Ok(vec![])
    }
    async fn cancel_move(&self, id: u64) -> Result<(), AdminError> {
        self.asked.lock().push(format!("cancel {id}"));
        Ok(())
    }
    async fn cluster(&self) -> Result<ClusterStatus, AdminError> {
        Ok(ClusterStatus {
            repair_after_seconds: 300,
            move_rate_bytes: 1,
            balance: true,
            paused: false,
            moves: 0,
            lost: vec![],
        })
    }
    async fn set_cluster(&self, request: ClusterRequest) -> Result<ClusterStatus, AdminError> {
        self.asked.lock().push(format!("set cluster {request:?}"));
        self.cluster().await
    }
    async fn recover(&self, request: RecoverRequest) -> Result<RecoverReply, AdminError> {
        self.asked.lock().push(format!("recover {request:?}"));
        Err(AdminError::conflict("they answer", ""))
    }
    async fn data(&self, app: Option<&str>) -> Result<Vec<AppData>, AdminError> {
        self.asked.lock().push(format!("data {app:?}"));
        Ok(Vec::new())
    }
    async fn delete_data(&self, app: &str) -> Result<(), AdminError> {
        self.asked.lock().push(format!("delete data {app}"));
        Ok(())
    }
    async fn uninstall(&self, name: &str, keep_data: bool) -> Result<(), AdminError> {
        self.asked.lock().push(format!("uninstall {name}{}", if keep_data { " but its data" } else { "" }));
        Ok(())
    }
    async fn commands(&self, name: &str) -> Result<Vec<AppCommand>, AdminError> {
        Ok(vec![AppCommand { words: vec![name.to_owned()], usage: String::new(), help: "Helps.".to_owned() }])
    }
    async fn run_command(&self, name: &str, arguments: Vec<String>) -> Result<String, AdminError> {
        self.asked.lock().push(format!("run {name} {arguments:?}"));
        Ok("done".to_owned())
    }
    async fn logs(&self, _: &str, since: u64, _: usize, wait: Duration) -> Result<LogPage, AdminError> {
        if since >= 3 {
            tokio::time::sleep(wait).await;
            return Ok(LogPage { lines: Vec::new(), next: since });
        }
        let line = LogLine {
            sequence: since,
            time_us: 5,
            level: "info".to_owned(),
            node: NodeId(7),
            partition: None,
            message: "hello".to_owned(),
        };
        Ok(LogPage { lines: vec![line], next: since + 1 })
    }
}

/// Send `bytes`, perhaps close our side, and give back all that is answered.
async fn exchange(api: Arc<Fixed>, bytes: &[u8], then_close: bool) -> String {
    let (mut ours, theirs) = tokio::io::duplex(1 << 20);
    let serving = serve_connection(theirs, PEER, api, Arc::new(Mirror), Arc::default());
    let asking = async move {
        // The server may close before all is sent, for instance after an announced length it refuses.
        let _ = ours.write_all(bytes).await;
        if then_close {
            let _ = ours.shutdown().await;
        }
        let mut answer = Vec::new();
        let _ = ours.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    };
    tokio::time::timeout(Duration::from_secs(5), async { tokio::join!(serving, asking).1 })
        .await
        .expect("an answer in time")
}

async fn ask(api: &Arc<Fixed>, method: &str, path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: node\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    );
    exchange(api.clone(), request.as_bytes(), false).await
}

#[tokio::test]
async fn every_path_answers_with_its_status_and_json() {
    let api = Arc::new(Fixed::default());
    let digest = Digest::of(b"x");
    let by_digest = format!(r#"{{"digest":"{digest}"}}"#);
    for (method, path, body, status, expected) in [
        ("GET", "/v1/status", "", 200, r#""node":"00000007""#),
        ("GET", "/v1/version", "", 200, r#""version":"#),
        ("GET", "/v1/health", "", 503, r#""reason":"no leader""#),
        ("GET", "/v1/apps", "", 200, r#""state":"serving""#),
        ("GET", "/v1/apps/", "", 200, r#""state":"serving""#),
        ("GET", "/v1/apps/none", "", 404, r#""code":"not-found""#),
        ("GET", "/v1/apps/..%2f", "", 400, r#""code":"invalid""#),
        ("POST", "/v1/apps", r#"{"name":"redis-server"}"#, 200, r#""digest":"sha256:"#),
        ("POST", "/v1/apps", by_digest.as_str(), 200, r#""nodes_ready":3"#),
        ("POST", "/v1/apps", r#"{"name":"redis-server","app":"Redis"}"#, 400, "cannot be an app's name"),
        ("POST", "/v1/apps", r#"{"digest":"sha256:00"}"#, 400, "64 hexadecimal digits"),
        ("POST", "/v1/apps", r#"{"path":"/etc"}"#, 400, "hint"),
        ("POST", "/v1/apps", "", 400, r#""code":"invalid""#),
        ("POST", "/v1/packages", "archive", 201, r#""name":"a""#),
        ("PATCH", "/v1/apps/a/settings", r#"{"b":"1"}"#, 200, "{}"),
        ("PATCH", "/v1/apps/a/settings", r#"{"b":1}"#, 400, "send texts"),
        ("GET", "/v1/apps/a/settings", "", 405, "use PATCH"),
        ("GET", "/v1/apps/a/commands", "", 200, r#""words":["a"]"#),
        ("POST", "/v1/apps/a/commands", r#"{"arguments":["b","c"]}"#, 200, r#""output":"done""#),
        ("POST", "/v1/apps/a/commands", r#"{"words":["b"]}"#, 400, "arguments"),
        ("POST", "/v1/apps/A/commands", r#"{"arguments":["b"]}"#, 400, "cannot be an app's name"),
        ("DELETE", "/v1/apps/a/commands", "", 405, "use GET, POST"),
        ("DELETE", "/v1/apps/redis-server", "", 200, "uninstalled"),
        ("DELETE", "/v1/apps/redis-server?keep-data=true", "", 200, r#""data_kept":true"#),
        ("DELETE", "/v1/apps/redis-server?keep=1", "", 400, "keep-data=true"),
        ("PUT", "/v1/apps", "", 405, "use GET, POST"),
        ("POST", "/v1/status", "", 405, "use GET"),
        ("GET", "/", "", 404, "/v1/status"),
        ("GET", "/v1/apps/a/logs?since=x", "", 400, "`since`"),
        ("GET", "/v1/apps/a/logs?until=1", "", 400, "since=NUMBER"),
    ] {
        let answer = ask(&api, method, path, "", body).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{method} {path}: {answer}");
        assert!(answer.contains(expected), "{method} {path}: {answer}");
    }
    let installs = [
        format!("{:?}", InstallRequest::named("redis-server")),
        format!("{:?}", InstallRequest { digest: Some(digest), ..Default::default() }),
    ];
    let expected = [
        &installs[..],
        &[
            "upload 7".to_owned(),
            r#"set a {"b": "1"}"#.to_owned(),
            r#"run a ["b", "c"]"#.to_owned(),
            "uninstall redis-server".to_owned(),
            "uninstall redis-server but its data".to_owned(),
        ],
    ]
    .concat();
    assert_eq!(*api.asked.lock(), expected);
}

/// Fails if a path that changes a member takes anything but its id, or another method.
#[tokio::test]
async fn members_are_shown_drained_and_decommissioned_by_their_ids() {
    let api = Arc::new(Fixed::default());
    for (method, path, body, status, expected) in [
        ("GET", "/v1/nodes/0000000a", "", 404, "there is no node 0000000a"),
        ("GET", "/v1/nodes/10..", "", 400, "cannot be a node's id"),
        ("POST", "/v1/nodes/0000000a/drain", "", 404, "0000000a"),
        ("POST", "/v1/nodes/0000000a/undrain", "", 404, "0000000a"),
        ("POST", "/v1/nodes/0000000a/decommission", r#"{"dry_run":true}"#, 409, "the last one"),
        ("POST", "/v1/nodes/0000000a/decommission", r#"{"successor":"0000000b"}"#, 409, "the last one"),
        ("POST", "/v1/nodes/0000000a/decommission", r#"{"force":true}"#, 400, "dry_run"),
        ("POST", "/v1/nodes/0000000a/decommission", "", 400, "dry_run"),
        ("POST", "/v1/cluster/recover", r#"{"lost":["0000000b"]}"#, 409, "they answer"),
        ("POST", "/v1/cluster/recover", r#"{"lost":["b"]}"#, 400, "lost"),
        ("POST", "/v1/cluster/recover", r#"{"dry_run":true}"#, 400, "lost"),
        ("GET", "/v1/cluster/recover", "", 405, "use POST"),
        ("GET", "/v1/nodes/0000000a/drain", "", 405, "use POST"),
        ("DELETE", "/v1/nodes/0000000a", "", 405, "use GET"),
    ] {
        let answer = ask(&api, method, path, "", body).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{method} {path}: {answer}");
        assert!(answer.contains(expected), "{method} {path}: {answer}");
    }
    let request = |dry_run, successor| DecommissionRequest { dry_run, successor };
    let expected = [
        "drain 0000000a".to_owned(),
        "undrain 0000000a".to_owned(),
        format!("decommission 0000000a {:?}", request(true, None)),
        format!("decommission 0000000a {:?}", request(false, Some(NodeId(11)))),
        format!("recover {:?}", RecoverRequest { lost: vec![NodeId(11)], dry_run: false }),
    ];
    assert_eq!(*api.asked.lock(), expected);
}

#[tokio::test]
async fn logs_end_or_follow() {
    let api = Arc::new(Fixed::default());
    let answer = ask(&api, "GET", "/v1/apps/a/logs?since=1", "", "").await;
    assert_eq!(answer.matches(r#""message":"hello""#).count(), 2, "{answer}");
    assert!(answer.contains("application/x-ndjson"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_followed_log_shows_that_it_is_alive() {
    let (mut ours, theirs) = tokio::io::duplex(1 << 16);
    let reading = async move {
        ours.write_all(b"GET /v1/apps/a/logs?follow=true HTTP/1.1\r\nhost: node\r\n\r\n").await.unwrap();
        let mut text = String::new();
        let mut buffer = [0; 4096];
        // Three lines, then at least two heartbeats: chunks of one byte.
        while text.matches("1\r\n\n\r\n").count() < 2 {
            let length = ours.read(&mut buffer).await.unwrap();
            assert!(length > 0, "{text}");
            text.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
        assert_eq!(text.matches("hello").count(), 3, "{text}");
    };
    let both = async {
        tokio::join!(
            serve_connection(theirs, PEER, Arc::new(Fixed::default()), Arc::new(Mirror), Arc::default()),
            reading
        )
    };
    tokio::time::timeout(Duration::from_secs(60), both).await.expect("heartbeats");
}

#[tokio::test]
async fn a_site_answers_its_own_paths() {
    let api = Arc::new(Fixed::default());
    let answer = ask(&api, "POST", "/site/x", "", "hello").await;
    assert!(answer.ends_with("127.0.0.1:9 sent hello"), "{answer}");
    let answer = ask(&api, "POST", "/site/x", "origin: http://evil.example\r\n", "hello").await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    ask(&api, "POST", "/v1/packages/pull", "", r#"{"name":"acme/greeter"}"#).await;
    ask(&api, "POST", "/v1/registry/collect", "", r#"{"kept_seconds":60}"#).await;
    assert_eq!(*api.asked.lock(), ["pull acme/greeter", "collect 60s"]);
}

#[tokio::test]
async fn requests_of_web_pages_are_refused() {
    let api = Arc::new(Fixed::default());
    let answer = ask(&api, "POST", "/v1/apps", "origin: http://evil.example\r\n", r#"{"name":"redis-server"}"#).await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    assert!(api.asked.lock().is_empty());
}

#[tokio::test]
async fn bodies_are_bounded_whether_announced_or_not() {
    let api = Arc::new(Fixed::default());
    let announced = b"POST /v1/apps HTTP/1.1\r\nhost: node\r\nconnection: close\r\ncontent-length: 99999999999\r\n\r\n";
    assert!(exchange(api.clone(), announced, false).await.starts_with("HTTP/1.1 413 "));
    let mut chunked =
        b"POST /v1/apps HTTP/1.1\r\nhost: node\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    chunked.extend_from_slice(b"20000\r\n");
    chunked.extend_from_slice(&vec![b' '; 0x20000]);
    chunked.extend_from_slice(b"\r\n0\r\n\r\n");
    assert!(exchange(api, &chunked, false).await.starts_with("HTTP/1.1 413 "));
}

/// Red without a limit on uploads: the fifth would be read, too, and its body kept.
#[tokio::test]
async fn few_uploads_are_taken_at_a_time() {
    let (api, uploads): (Arc<Fixed>, Arc<Uploads>) = Default::default();
    let head = b"POST /v1/packages HTTP/1.1\r\nhost: node\r\ncontent-length: 1000\r\n\r\n";
    let uploading = async {
        let mut ends = Vec::new();
        let mut all = futures::stream::FuturesUnordered::new();
        for _ in 0..UPLOADS_MAX {
            let (mut ours, theirs) = tokio::io::duplex(1 << 10);
            ours.write_all(head).await.unwrap();
            all.push(serve_connection(theirs, PEER, api.clone(), Arc::new(Mirror), uploads.clone()));
            ends.push(ours);
        }
        while futures::StreamExt::next(&mut all).await.is_some() {}
        ends
    };
    let refused = async {
        while uploads.0.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let (mut ours, theirs) = tokio::io::duplex(1 << 10);
        ours.write_all(head).await.unwrap();
        let mut answer = vec![0; 12];
        {
            let serving = serve_connection(theirs, PEER, api.clone(), Arc::new(Mirror), uploads.clone());
            let read = ours.read_exact(&mut answer);
            tokio::pin!(serving, read);
            // The answer may still be on its way when the connection has been served.
            tokio::select! {
                () = &mut serving => drop(read.await.unwrap()),
                read = &mut read => drop(read.unwrap()),
            }
        }
        String::from_utf8(answer).unwrap()
    };
    let answer = tokio::select! {
        answer = refused => answer,
        _ = uploading => panic!("the uploads go on"),
        () = tokio::time::sleep(Duration::from_secs(5)) => panic!("no answer in time"),
    };
    assert_eq!(answer, "HTTP/1.1 503");
}

/// The rules themselves are tested in [`crate::http`]. Fails if this door, or the site behind it, goes by others.
#[tokio::test]
async fn the_rules_of_http_hold_at_this_door() {
    for path in ["/v1/version", "/site/x"] {
        for (version, hosts, status) in [
            ("1.1", "", 400),
            ("1.1", "host:\r\n", 400),
            ("1.1", "host: a\r\nhost: a\r\n", 400),
            ("1.1", "host: u@a\r\n", 400),
            ("1.1", "host: a\r\n", 200),
            ("1.0", "", 200),
        ] {
            let request = format!("GET {path} HTTP/{version}\r\n{hosts}connection: close\r\n\r\n");
            let answer = exchange(Arc::default(), request.as_bytes(), false).await;
            assert_eq!(answer.split(' ').nth(1), Some(&*status.to_string()), "{request}: {answer}");
            let is_json = answer.contains(r#""code":"invalid""#) && answer.contains("hint");
            assert_eq!(is_json, status == 400, "{answer}");
        }
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
        let answer = exchange(Arc::default(), request.as_bytes(), true).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "a client that has ended its side: {answer}");
    }
}

#[tokio::test]
async fn garbage_ends_the_connection_and_nothing_else() {
    for garbage in
        [&b""[..], b"\0\0\0\0", b"GET", b"GET /\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\r\n\r\n\r\n", &[0xff; 70_000]]
    {
        exchange(Arc::new(Fixed::default()), garbage, true).await;
    }
    let mut long = b"GET / HTTP/1.1\r\n".to_vec();
    for _ in 0..5_000 {
        long.extend_from_slice(b"x-header: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n");
    }
    let answer = exchange(Arc::new(Fixed::default()), &long, true).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_let_go() {
    let (ours, theirs) = tokio::io::duplex(64);
    let serving = serve_connection(theirs, PEER, Arc::new(Fixed::default()), Arc::new(Mirror), Arc::default());
    tokio::time::timeout(HEADER_TIMEOUT * 2, serving).await.expect("the connection ends by itself");
    drop(ours);
}

/// Fails if a keyspace is not reached by its name, if what cannot be a name is passed on, or if what is not known is taken for nothing.
#[tokio::test]
async fn keyspaces_are_made_changed_and_deleted_by_name() {
    let api = Arc::new(Fixed::default());
    let json = |text: &str| text.as_bytes().to_vec();
    let mut asked = Vec::new();
    for (method, path, body, status) in [
        ("GET", "/v1/keyspaces", "", 200),
        ("POST", "/v1/keyspaces", r#"{"name": "eu", "require": "region=eu"}"#, 404),
        ("POST", "/v1/keyspaces", r#"{"name": "EU"}"#, 400),
        ("POST", "/v1/keyspaces", r#"{"name": "eu", "partitions": -1}"#, 400),
        ("POST", "/v1/keyspaces", r#"{"name": "eu", "where": "eu"}"#, 400),
        ("GET", "/v1/keyspaces/eu", "", 404),
        ("PATCH", "/v1/keyspaces/eu", r#"{"replicas": 5}"#, 404),
        ("PATCH", "/v1/keyspaces/e%20u", r#"{"replicas": 5}"#, 400),
        ("PATCH", "/v1/keyspaces/eu", r#"{"partitions": 5}"#, 400),
        ("DELETE", "/v1/keyspaces/eu", "", 200),
        ("PUT", "/v1/keyspaces/eu", "", 405),
        ("GET", "/v1/partitions?keyspace=eu", "", 200),
        ("GET", "/v1/partitions/7?keyspace=eu", "", 404),
        ("GET", "/v1/partitions?keyspace=", "", 400),
        ("GET", "/v1/partitions?space=eu", "", 400),
    ] {
        let request = Request::builder().method(method).uri(path).body(Full::new(Bytes::from(json(body)))).unwrap();
        let answered = answer(request, api.clone(), &Uploads::default()).await;
        assert_eq!(answered.status(), status, "{method} {path} {body}");
        asked.append(&mut api.asked.lock());
    }
    let create = CreateKeyspace {
        name: "eu".into(),
        partitions: 64,
        replicas: 3,
        require: "region=eu".into(),
        spread_by: String::new(),
        prefer_leader: String::new(),
    };
    let set = SetKeyspace { replicas: Some(5), ..SetKeyspace::default() };
    let expected = [
        format!("{create:?}"),
        format!("eu: {set:?}"),
        "delete keyspace eu".to_owned(),
        r#"partitions of Some("eu")"#.to_owned(),
        r#"partition 7 of Some("eu")"#.to_owned(),
    ];
    assert_eq!(asked, expected);
}
