//! The cluster's own registry over HTTP: what it keeps through the loss of a node, and what it refuses. That it speaks the whole of the OCI
//! distribution API is what the public conformance suite is for.

// Whole programs are tested against the clock on the wall.
#![allow(clippy::disallowed_methods)]

use std::path::{Path, PathBuf};

use recoil_cluster_tests::http::{Answer, ask};
use recoil_cluster_tests::{Cluster, Program, eventually, program};
use serde_json::json;

/// A registry's client, with a folder for what it sends and gets.
struct Client {
    folder: PathBuf,
    more: Vec<String>,
}

impl Client {
    fn new(cluster: &Cluster) -> Self {
        let folder = cluster.path("client");
        std::fs::create_dir(&folder).unwrap();
        Client { folder, more: vec![] }
    }

    fn ask(&self, method: &str, url: &str, more: &[&str]) -> Answer {
        let mut all: Vec<&str> = self.more.iter().map(String::as_str).collect();
        all.extend(more);
        ask(&self.folder, method, url, &all)
    }

    fn send(&self, method: &str, url: &str, bytes: &[u8], more: &[&str]) -> Answer {
        let file = self.folder.join("sent");
        std::fs::write(&file, bytes).unwrap();
        let data = format!("@{}", file.display());
        let all = [&["--data-binary", &data, "-H", "Content-Type: application/octet-stream"], more].concat();
        self.ask(method, url, &all)
    }

    /// A new upload's address.
    fn begin(&self, node: &str, repository: &str) -> String {
        let begun = self.ask("POST", &format!("http://{node}/v2/{repository}/blobs/uploads/"), &[]);
        assert_eq!(begun.status, 202, "{begun:?}");
        begun.header("location").to_owned()
    }

    fn push_blob(&self, node: &str, repository: &str, bytes: &[u8]) -> String {
        let location = self.begin(node, repository);
        let digest = recoil_package::digest(bytes);
        let put = self.send("PUT", &format!("http://{node}{location}?digest={digest}"), bytes, &[]);
        assert_eq!(put.status, 201, "{put:?}");
        digest
    }

    fn blob(&self, node: &str, repository: &str, digest: &str) -> Answer {
        self.ask("GET", &format!("http://{node}/v2/{repository}/blobs/{digest}"), &[])
    }

    fn put_manifest(&self, node: &str, repository: &str, reference: &str, manifest: &serde_json::Value) -> Answer {
        let url = format!("http://{node}/v2/{repository}/manifests/{reference}");
        let kind = "Content-Type: application/vnd.oci.image.manifest.v1+json";
        let file = self.folder.join("manifest");
        std::fs::write(&file, manifest.to_string()).unwrap();
        self.ask("PUT", &url, &["--data-binary", &format!("@{}", file.display()), "-H", kind])
    }

    /// Pushes bytes as a package, whatever they are.
    fn push_package(&self, node: &str, repository: &str, tag: &str, bytes: &[u8], layer_type: &str) {
        let layer = self.push_blob(node, repository, bytes);
        let config = self.push_blob(node, repository, b"{}");
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": { "mediaType": "application/vnd.wasm.config.v0+json", "digest": config, "size": 2 },
            "layers": [{ "mediaType": layer_type, "digest": layer, "size": bytes.len() }],
        });
        let put = self.put_manifest(node, repository, tag, &manifest);
        assert_eq!(put.status, 201, "{put:?}");
    }
}

/// Bytes that compress and repeat in no way.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut bytes = Vec::with_capacity(count + 8);
    while bytes.len() < count {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(count);
    bytes
}

/// Fails if a part of a blob lives on one node only, an upload does not outlive its node, or bytes are counted that are not stored.
#[test]
fn a_push_goes_on_when_a_node_is_lost_and_is_read_from_all() {
    let mut cluster = Cluster::processes();
    let client = Client::new(&cluster);
    let nodes: Vec<String> = (0..3).map(|k| cluster.admin(k)).collect();
    let blob = noise(9_000_001);
    let digest = recoil_package::digest(&blob);
    let location = client.begin(&nodes[2], "acme/large");
    let chunk = |range: std::ops::Range<usize>| {
        (format!("Content-Range: {}-{}", range.start, range.end - 1), blob[range].to_vec())
    };
    let (range, bytes) = chunk(0..3_000_000);
    let sent = client.send("PATCH", &format!("http://{}{location}", nodes[2]), &bytes, &["-H", &range]);
    assert_eq!((sent.status, sent.header("range")), (202, "0-2999999"), "{sent:?}");

    cluster.kill(2);
    let (range, bytes) = chunk(3_000_000..6_000_000);
    let url = format!("http://{}{location}", nodes[1]);
    let sent = client.send("PATCH", &url, &bytes, &["-H", &range]);
    assert_eq!((sent.status, sent.header("range")), (202, "0-5999999"), "{sent:?}");
    let again = client.send("PATCH", &url, &bytes, &["-H", &range]);
    assert_eq!((again.status, again.header("range")), (416, "0-5999999"), "a retry adds nothing: {again:?}");

    // A client that is cut off in the middle of a chunk goes on from what the registry counts.
    let slow = ["--limit-rate", "1M", "--max-time", "2"];
    let (range, bytes) = chunk(6_000_000..9_000_001);
    let cut = client.send("PATCH", &url, &bytes, &[&["-H", &range], &slow[..]].concat());
    assert_eq!(cut.status, 0, "{cut:?}");
    // What was on its way when it was cut off may be counted a moment later; who goes on before that is told so.
    eventually("the upload is finished", || {
        let told = client.ask("GET", &url, &[]);
        let end = told.header("range").split_once('-').and_then(|(_, end)| end.parse::<usize>().ok());
        let received = end.map(|end| end + 1).ok_or(format!("{told:?}"))?;
        assert!((6_000_000..9_000_001).contains(&received), "{received}");
        let (range, bytes) = chunk(received..9_000_001);
        let put = format!("http://{}{location}?digest={digest}", nodes[0]);
        let finished = client.send("PUT", &put, &bytes, &["-H", &range]);
        assert!(matches!(finished.status, 201 | 416), "{finished:?}");
        if finished.status == 201 { Ok(()) } else { Err(format!("{finished:?}")) }
    });

    cluster.start_node(2);
    cluster.wait_ready();
    for node in &nodes {
        let read = eventually("the blob is read", || {
            let read = client.blob(node, "acme/large", &digest);
            if read.status == 200 { Ok(read) } else { Err(format!("{read:?}")) }
        });
        assert!(read.body == blob, "{node} sent other bytes");
    }
    let part =
        client.ask("GET", &format!("http://{}/v2/acme/large/blobs/{digest}", nodes[2]), &["-r", "2999990-3000009"]);
    assert_eq!((part.status, part.header("content-range")), (206, "bytes 2999990-3000009/9000001"));
    assert!(part.body == blob[2_999_990..3_000_010]);

    // All nodes at once, and back: what was acknowledged is there.
    cluster.kill_all();
    for k in 0..3 {
        cluster.start_node(k);
    }
    cluster.wait_ready();
    let read = client.blob(&nodes[1], "acme/large", &digest);
    assert!(read.status == 200 && read.body == blob, "{} {}", read.status, read.body.len());
    cluster.stop();
}

#[test]
fn what_is_damaged_or_not_a_package_is_refused() {
    let mut cluster = Cluster::simulator();
    let client = Client::new(&cluster);
    let node = cluster.admin(1);
    let url = |path: &str| format!("http://{node}/v2/{path}");

    // Other bytes than the digest says, and fewer than were announced.
    let digest = recoil_package::digest(b"what was meant");
    let location = client.begin(&node, "acme/bad");
    let put = client.send("PUT", &format!("http://{node}{location}?digest={digest}"), b"what came", &[]);
    assert_eq!((put.status, &put.json()["errors"][0]["code"]), (400, &"DIGEST_INVALID".into()), "{put:?}");
    assert_eq!(client.blob(&node, "acme/bad", &digest).status, 404);
    let location = client.begin(&node, "acme/bad");
    let short = ["-H", "Content-Length: 100", "--max-time", "2"];
    let put = client.send("PUT", &format!("http://{node}{location}?digest={digest}"), b"what was meant", &short);
    assert_eq!(put.status, 0, "{put:?}");
    assert_eq!(client.blob(&node, "acme/bad", &digest).status, 404);

    // Blobs are seen through the repositories that have them.
    let held = client.push_blob(&node, "acme/good", b"what was meant");
    assert_eq!(client.blob(&node, "acme/good", &held).text(), "what was meant");
    assert_eq!(client.blob(&node, "acme/bad", &held).status, 404);
    let mounted = client.ask("POST", &url(&format!("acme/bad/blobs/uploads/?mount={held}&from=acme/good")), &[]);
    assert_eq!(mounted.status, 201, "{mounted:?}");
    let removed = client.ask("DELETE", &url(&format!("acme/good/blobs/{held}")), &[]);
    assert_eq!(removed.status, 202, "{removed:?}");
    assert_eq!(client.blob(&node, "acme/good", &held).status, 404);
    assert_eq!(client.blob(&node, "acme/bad", &held).text(), "what was meant", "the other link holds it");

    // What comes with the nodes is in no store yet, and can be mounted like the rest.
    let bank = client.ask("GET", &url("recoil/bank/manifests/0.1.0"), &[]).json();
    let bank = bank["layers"][0]["digest"].as_str().unwrap();
    let mounted = client.ask("POST", &url(&format!("acme/bad/blobs/uploads/?mount={bank}&from=recoil/bank")), &[]);
    assert_eq!((mounted.status, mounted.header("docker-content-digest")), (201, bank), "{mounted:?}");
    assert!(client.blob(&node, "acme/bad", bank).body == client.blob(&node, "recoil/bank", bank).body);
    let other = client.ask("POST", &url(&format!("acme/bad/blobs/uploads/?mount={bank}&from=recoil/plugin")), &[]);
    assert_eq!(other.status, 201, "it is there by now: {other:?}");
    let absent = digest.replace('1', "2");
    let other = client.ask("POST", &url(&format!("acme/bad/blobs/uploads/?mount={absent}&from=recoil/bank")), &[]);
    assert_eq!(other.status, 202, "what cannot be mounted is to be uploaded: {other:?}");

    let missing = json!({ "schemaVersion": 2, "layers": [{ "mediaType": "a/b", "digest": digest.replace('1', "2"), "size": 1 }] });
    let refused = client.put_manifest(&node, "acme/bad", "1.0.0", &missing);
    assert_eq!((refused.status, &refused.json()["errors"][0]["code"]), (400, &"MANIFEST_BLOB_UNKNOWN".into()));
    let reserved = client.ask("POST", &url("recoil/redis-server/blobs/uploads/"), &[]);
    assert_eq!((reserved.status, &reserved.json()["errors"][0]["code"]), (403, &"DENIED".into()), "{reserved:?}");
    for (method, path, status) in
        [("GET", "../etc", 404), ("GET", "acme/good/blobs/sha256:x", 400), ("POST", "acme/good/tags/list", 405)]
    {
        assert_eq!(client.ask(method, &url(path), &["--path-as-is"]).status, status, "{path}");
    }

    // What can be pushed cannot always be installed.
    let wasm = "application/wasm";
    client.push_package(&node, "acme/text", "1.0.0", b"no component at all", wasm);
    client.push_package(&node, "acme/tar", "1.0.0", b"a tar", "application/x-tar");
    let install = |name: &str| cluster.ctl(0, &["install", name, "--yes"]).failed(1);
    assert!(install("acme/text@1.0.0").contains("does not begin with"), "{}", install("acme/text@1.0.0"));
    assert!(install("acme/tar").contains("application/x-tar"), "{}", install("acme/tar"));
    assert!(install("acme/nothing").contains("there is no package acme/nothing"), "{}", install("acme/nothing"));
    assert!(install("acme/text@2.0.0").contains("acme/text@2.0.0"), "{}", install("acme/text@2.0.0"));
    assert!(install("recoil-registry").contains("recoil/recoil-registry"), "{}", install("recoil-registry"));
    let liar = liar();
    client.push_package(&node, "acme/liar", "1.0.0", &liar, wasm);
    let refused = install("acme/liar");
    assert!(refused.contains("tcp-listener"), "{refused}");
    let kept = cluster.ctl(0, &["uninstall", "recoil-registry", "--yes"]).failed(1);
    assert!(kept.contains("an app of the nodes themselves"), "{kept}");
    cluster.stop();
}

/// Fails if `wkg get recoil:plugin@0.1.0` does not find the contract: this is what it asks for.
#[test]
fn tools_of_the_wasm_world_find_the_contract() {
    let mut cluster = Cluster::simulator();
    let client = Client::new(&cluster);
    let node = cluster.admin(0);
    let get = |path: &str| client.ask("GET", &format!("http://{node}/{path}"), &[]);
    let told = get(".well-known/wasm-pkg/registry.json");
    assert_eq!(told.json(), json!({ "preferredProtocol": "oci", "oci": { "registry": node } }), "{told:?}");
    assert_eq!(get("v2/recoil/plugin/tags/list").json()["tags"], json!(["0.1.0"]));
    let manifest = get("v2/recoil/plugin/manifests/0.1.0").json();
    let layer = &manifest["layers"][0];
    assert_eq!(manifest["config"]["mediaType"], "application/vnd.wasm.config.v0+json");
    assert_eq!((manifest["layers"].as_array().unwrap().len(), &layer["mediaType"]), (1, &"application/wasm".into()));
    let contract = client.blob(&node, "recoil/plugin", layer["digest"].as_str().unwrap());
    let wit_parser::decoding::DecodedWasm::WitPackage(resolve, package) =
        wit_parser::decoding::decode(&contract.body).unwrap()
    else {
        panic!("it is no WIT package")
    };
    assert_eq!(resolve.packages[package].name.to_string(), "recoil:plugin@0.1.0");
    assert!(resolve.packages[package].worlds.contains_key("data-plugin"));
    cluster.stop();
}

/// The bank, with a manifest that says it listens on raw TCP.
fn liar() -> Vec<u8> {
    let package = recoil::packages::PACKAGES.iter().find(|package| package.name == "bank").unwrap();
    let mut manifest = recoil_package::read(package.archive).unwrap();
    manifest.listeners[0].protocol = recoil_package::Protocol::Tcp;
    recoil_package::embed(package.archive, &manifest).unwrap()
}

/// Fails if something that is needed goes, or something that nobody needs stays.
#[test]
fn what_nobody_refers_to_is_collected() {
    let mut cluster = Cluster::simulator();
    let client = Client::new(&cluster);
    let node = cluster.admin(0);
    let collect = |kept: &str| -> serde_json::Value {
        let printed = cluster.ctl(1, &["registry", "collect", "--kept", kept, "-o", "json"]).ok();
        serde_json::from_str(&printed).unwrap()
    };
    assert_eq!(collect("0s"), json!({ "links": 0, "contents": 0, "bytes": 0 }), "nothing was ever pushed");
    client.push_package(&node, "acme/kept", "1.0.0", &noise(700_000), "application/wasm");
    let lost = client.push_blob(&node, "acme/kept", &noise(600_000));
    let begun = client.begin(&node, "acme/kept");
    assert_eq!(client.send("PATCH", &format!("http://{node}{begun}"), &noise(100_000), &[]).status, 202);
    let listed = cluster.ctl(2, &["registry", "packages"]).ok();
    assert!(listed.contains("acme/kept") && listed.contains("recoil/redis-server"), "{listed}");

    assert_eq!(collect("1h"), json!({ "links": 0, "contents": 0, "bytes": 0 }), "all of it is young");
    assert_eq!(client.blob(&node, "acme/kept", &lost).status, 200);
    assert_eq!(collect("0s"), json!({ "links": 1, "contents": 2, "bytes": 700_000 }));
    assert_eq!(client.blob(&node, "acme/kept", &lost).status, 404);
    assert_eq!(client.ask("GET", &format!("http://{node}{begun}"), &[]).status, 404);
    assert_eq!(client.blob(&node, "acme/kept", &recoil_package::digest(&noise(700_000))).body.len(), 700_000);

    let removed = client.ask("DELETE", &format!("http://{node}/v2/acme/kept/manifests/1.0.0"), &[]);
    assert_eq!(removed.status, 202, "{removed:?}");
    assert_eq!(collect("0s")["contents"], 0, "the manifest is there without its tag");
    let index = client.ask("GET", &format!("http://{node}/v2/acme/kept/tags/list"), &[]);
    assert_eq!(index.json()["tags"], json!([]));
    cluster.stop();
}

#[test]
fn pushing_from_elsewhere_needs_the_token() {
    let cluster = Cluster::new(true);
    let client = Client::new(&cluster);
    let token = cluster.path("token");
    std::fs::write(&token, "secret-word\n").unwrap();
    let package = cluster.path("bank.wasm");
    let bank = recoil::packages::PACKAGES.iter().find(|package| package.name == "bank").unwrap();
    std::fs::write(&package, bank.archive).unwrap();
    let node = cluster.admin(0);
    let arguments = [
        "start".to_owned(),
        format!("--data-dir={}", cluster.node_dir(0).display()),
        format!("--listen={node}"),
        format!("--registry-token-file={}", token.display()),
    ];
    let mut running = start(&arguments, &cluster.path("log"));
    let url = format!("http://{node}/v2/acme/a/blobs/uploads/");
    let refused = client.ask("POST", &url, &[]);
    let challenge = format!("Bearer realm=\"http://{node}/v2/token\",service=\"recoil\"");
    assert_eq!((refused.status, refused.header("www-authenticate")), (401, challenge.as_str()), "{refused:?}");
    assert_eq!(client.ask("POST", &url, &["-u", "me:wrong"]).status, 401);
    assert_eq!(client.ask("POST", &url, &["-u", "me:secret-word"]).status, 202);
    // Clients look at the challenge first, ask for a token, and come back with it; also those who are nobody.
    assert_eq!(client.ask("GET", &format!("http://{node}/v2/"), &[]).status, 401);
    let token =
        |more: &[&str]| client.ask("GET", &format!("http://{node}/v2/token?scope=x"), more).json()["token"].clone();
    assert_eq!(token(&["-u", "me:secret-word"]), "secret-word");
    assert_eq!(client.ask("GET", &format!("http://{node}/v2/token"), &["-u", "me:wrong"]).status, 401);
    let nobody = format!("Authorization: Bearer {}", token(&[]).as_str().unwrap());
    assert_eq!(client.ask("GET", &format!("http://{node}/v2/"), &["-H", &nobody]).status, 200);
    let tags = format!("http://{node}/v2/recoil/redis-server/tags/list");
    assert_eq!(client.ask("GET", &tags, &["-H", &nobody]).status, 200, "reading is open");
    assert_eq!(client.ask("POST", &url, &["-H", &nobody]).status, 401);
    let pushed = |token: &str| {
        let words = ["--server", &node, "push", "--file", &package.display().to_string(), "acme/a"].map(str::to_owned);
        let mut command = std::process::Command::new(program("recoilctl"));
        command.args(words).env("RECOIL_REGISTRY_TOKEN", token).env("DOCKER_CONFIG", cluster.path("docker"));
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(pushed("secret-word").0, Some(0), "{}", pushed("secret-word").1);
    let (code, why) = pushed("wrong");
    assert!(code == Some(1) && why.contains("RECOIL_REGISTRY_TOKEN"), "{why}");

    assert!(running.terminate().success());

    std::fs::write(cluster.path("token"), " \n").unwrap();
    let mut refused = Program::start(&program("recoil"), &arguments, &cluster.path("log"));
    assert_eq!(refused.wait().code(), Some(1));
    assert!(refused.stderr().contains("holds no token"), "{}", refused.stderr());
}

fn start(arguments: &[String], log: &Path) -> Program {
    let mut running = Program::start(&program("recoil"), arguments, log);
    running.wait_for_line("the node serves", |line| line.contains("hosting"));
    running
}
