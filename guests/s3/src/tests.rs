//! The whole package on partitions in memory, spoken to as clients do: signed requests, through
//! s3s, to handlers, and back.

mod buckets;
mod details;
mod forms;
mod hostile;
mod lists;
mod objects;
mod uploads;
mod users;
mod versions;

use std::cell::Cell;
use std::rc::Rc;

use recoil_sdk::fake::{FakeCluster, set_setting};
use recoil_sdk::{Error, Transaction};

use crate::S3;
use crate::api::{Exchange, Machine, serve};
use crate::digest::{hex, sha256};
use crate::front::payload::tests::Pieces;
use crate::front::request::Head;
use crate::front::signature::{Scope, encode, hmac};
use crate::front::time;

const ACCESS: &str = "test-key";
const SECRET: &str = "test-secret";
const PARTITIONS: u32 = 11;

/// Time that stands still, and chance that repeats itself.
struct Clock {
    now_us: Cell<u64>,
    drawn: Cell<u64>,
}

impl Machine for Clock {
    fn now_us(&self) -> u64 {
        self.now_us.get()
    }
    fn random(&self) -> [u8; 16] {
        self.drawn.set(self.drawn.get() + 1);
        let mut random = [0; 16];
        random.copy_from_slice(&sha256(&self.drawn.get().to_le_bytes())[..16]);
        random
    }
    fn sleep_ms(&self, ms: u64) {
        self.now_us.set(self.now_us.get() + ms * 1000);
    }
}

/// A store in memory.
struct Store {
    cluster: Rc<FakeCluster>,
    clock: Rc<Clock>,
}

#[derive(Debug, Default)]
struct Response {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    finished: bool,
}

impl Exchange for Response {
    fn begin(&mut self, status: u16, headers: &[(String, Vec<u8>)]) -> bool {
        self.status = status;
        self.headers =
            headers.iter().map(|(name, value)| (name.clone(), String::from_utf8(value.clone()).unwrap())).collect();
        true
    }
    fn write(&mut self, bytes: &[u8]) -> bool {
        self.body.extend_from_slice(bytes);
        true
    }
    fn finish(&mut self) {
        self.finished = true;
    }
}

impl Response {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The text of the first element of a name.
    fn element(&self, name: &str) -> Option<String> {
        self.elements(name).into_iter().next()
    }

    fn elements(&self, name: &str) -> Vec<String> {
        let text = self.text();
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        let pieces = text.split(&open).skip(1);
        pieces.filter_map(|piece| Some(piece.split_once(&close)?.0.to_owned())).collect()
    }

    #[track_caller]
    fn ok(self) -> Self {
        assert!((200..300).contains(&self.status), "{} {}", self.status, self.text());
        assert!(self.finished, "the answer broke off");
        self
    }

    #[track_caller]
    fn refused(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status, self.element("Code").as_deref()), (status, Some(code)), "{}", self.text());
        assert!(self.element("RequestId").is_some() && self.element("Message").is_some(), "{}", self.text());
        self
    }
}

/// A request before it is sent.
#[derive(Clone)]
struct Ask {
    head: Head,
    body: Vec<u8>,
    /// The access key and its secret; none for an anonymous request.
    key: Option<(String, String)>,
    region: &'static str,
}

impl Ask {
    fn header(mut self, name: &str, value: &str) -> Self {
        self.head.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn anonymous(mut self) -> Self {
        self.key = None;
        self
    }

    /// Signed by another key than the root key. Its secret is made of it, as [`Store::user`] does.
    fn by(mut self, access: &str) -> Self {
        self.key = Some((access.to_owned(), format!("{access}-secret")));
        self
    }

    fn in_region(mut self, region: &'static str) -> Self {
        self.region = region;
        self
    }
}

fn ask(method: &str, target: &str, body: &[u8]) -> Ask {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let headers =
        vec![("host".to_owned(), "localhost:9000".to_owned()), ("content-length".to_owned(), body.len().to_string())];
    let head = Head { method: method.to_owned(), path: path.to_owned(), query: query.to_owned(), headers };
    let key = Some((ACCESS.to_owned(), SECRET.to_owned()));
    Ask { head, body: body.to_vec(), key, region: "us-east-1" }
}

/// Signs every header, as clients do.
fn sign(head: &mut Head, body: &[u8], now_s: i64) {
    sign_by(head, body, now_s, (ACCESS, SECRET), "us-east-1");
}

fn sign_by(head: &mut Head, body: &[u8], now_s: i64, (access, secret): (&str, &str), region: &str) {
    let time = time::compact(now_s);
    let payload = hex(&sha256(body));
    head.headers.push(("x-amz-date".to_owned(), time.clone()));
    head.headers.push(("x-amz-content-sha256".to_owned(), payload.clone()));
    head.headers.sort();
    let names: Vec<&str> = head.headers.iter().map(|(name, _)| name.as_str()).collect();
    let names = names.join(";");
    let values: String = head.headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let mut query: Vec<String> = head
        .query
        .split('&')
        .filter(|piece| !piece.is_empty())
        .map(|piece| if piece.contains('=') { piece.to_owned() } else { format!("{piece}=") })
        .collect();
    query.sort();
    let canonical = format!("{}\n{}\n{}\n{values}\n{names}\n{payload}", head.method, head.path, query.join("&"));
    let scope = Scope { date: time[..8].to_owned(), region: region.to_owned(), service: "s3".to_owned() };
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{}\n{}", scope.text(), hex(&sha256(canonical.as_bytes())));
    let signature = hex(&hmac(&scope.key(secret), text.as_bytes()));
    let value =
        format!("AWS4-HMAC-SHA256 Credential={access}/{}, SignedHeaders={names}, Signature={signature}", scope.text());
    head.headers.push(("authorization".to_owned(), value));
}

impl Store {
    fn new() -> Self {
        set_setting("root-access-key", ACCESS);
        set_setting("root-secret-key", SECRET);
        crate::api::forget();
        let clock = Clock { now_us: Cell::new(1_750_000_000_000_000), drawn: Cell::new(0) };
        Store { cluster: Rc::new(FakeCluster::new::<S3>(PARTITIONS, 3)), clock: Rc::new(clock) }
    }

    /// With a bucket.
    fn with(bucket: &str) -> Self {
        let store = Store::new();
        store.send("PUT", &format!("/{bucket}"), b"").ok();
        store
    }

    fn send(&self, method: &str, target: &str, body: &[u8]) -> Response {
        self.ask(ask(method, target, body))
    }

    fn ask(&self, mut ask: Ask) -> Response {
        if let Some((access, secret)) = &ask.key {
            let now_s = i64::try_from(self.clock.now_us.get() / 1_000_000).unwrap();
            sign_by(&mut ask.head, &ask.body, now_s, (access, secret), ask.region);
        }
        let mut response = Response::default();
        let source = Box::new(Pieces(ask.body, 20_000));
        serve(ask.head, source, &mut response, self.cluster.clone(), self.clock.clone());
        response
    }

    /// Carries out a command of the operator, of words separated by spaces.
    fn admin(&self, line: &str) -> Result<String, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        crate::admin::run_on(&*self.cluster, &*self.clock, &words)
    }

    /// Makes a key with this name, access key and canonical id.
    fn user(&self, name: &str, options: &str) {
        let fixed = format!("--access-key {name} --secret-key {name}-secret --canonical-id {name}-id");
        self.admin(&format!("key create {name} {fixed} {options}")).unwrap();
    }

    /// Keys of a page, with common prefixes, and the token of the next.
    fn list(&self, bucket: &str, query: &str) -> (Vec<String>, Vec<String>, Option<String>) {
        let page = self.send("GET", &format!("/{bucket}?list-type=2&{query}"), b"").ok();
        let prefixes = page
            .elements("CommonPrefixes")
            .into_iter()
            .map(|element| element.replace("<Prefix>", "").replace("</Prefix>", ""));
        (page.elements("Key"), prefixes.collect(), page.element("NextContinuationToken"))
    }

    /// Rows of a kind on all partitions.
    fn rows(&self, kind: u8) -> usize {
        (0..PARTITIONS)
            .map(|id| {
                self.cluster
                    .with_partition(id, |partition| partition.rows().keys().filter(|key| key[0] == kind).count())
            })
            .sum()
    }

    /// Lets time pass, for timers and clients.
    fn pass(&self, seconds: u64) {
        self.clock.now_us.set(self.clock.now_us.get() + seconds * 1_000_000);
        self.cluster.advance::<S3>(seconds * 1_000_000);
    }
}

/// Bytes that differ from each other.
fn bytes(count: usize, seed: u32) -> Vec<u8> {
    (0..count as u32).map(|n| (n.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 13) as u8).collect()
}

#[test]
fn nothing_is_answered_without_a_key() {
    let store = Store::with("bucket");
    set_setting("root-secret-key", "");
    let refused = store.send("GET", "/", b"").refused(403, "AccessDenied");
    assert!(refused.text().contains("root-secret-key"), "{}", refused.text());
    set_setting("root-secret-key", SECRET);
    store.send("GET", "/", b"").ok();
    store.ask(ask("GET", "/", b"").anonymous()).refused(403, "AccessDenied");
    store.ask(ask("GET", "/bucket/key", b"").anonymous()).refused(403, "AccessDenied");
    store.ask(ask("PUT", "/bucket/key", b"x").anonymous()).refused(403, "AccessDenied");
    store.ask(ask("DELETE", "/bucket", b"").anonymous()).refused(403, "AccessDenied");
    assert_eq!(store.rows(b'O'), 0);
}

/// A request that is not what was signed reaches no partition.
#[test]
fn a_changed_request_does_nothing() {
    let store = Store::with("bucket");
    let mut changed = ask("PUT", "/bucket/key", b"text");
    sign(&mut changed.head, &changed.body, i64::try_from(store.clock.now_us.get() / 1_000_000).unwrap());
    changed.key = None;
    let mut body = changed.clone();
    body.body = b"tex7".to_vec();
    store.ask(body).refused(400, "XAmzContentSHA256Mismatch");
    let mut path = changed.clone();
    path.head.path = "/bucket/other".to_owned();
    store.ask(path).refused(403, "SignatureDoesNotMatch");
    store.ask(changed.clone().header("x-amz-copy-source", "/bucket/secret")).refused(403, "AccessDenied");
    assert_eq!(store.rows(b'O'), 0);
    store.ask(changed).ok();
    assert_eq!(store.rows(b'O'), 1);
}

/// A handler's command cannot be made by an error in a row.
#[test]
fn nonsense_is_an_error_of_the_call() {
    let store = Store::new();
    store.cluster.with_partition(0, |partition| {
        let answer: Result<Vec<u8>, Error> = partition.in_transaction(|transaction: &mut _| {
            crate::handler::handle(transaction as &mut dyn Transaction, b"\x09\0\0\0nonsense")
        });
        assert!(answer.is_err());
    });
}

/// The table of operations, from the code.
fn operations() -> String {
    let groups: [(&str, &[&str]); 7] = [
        ("Uploads in parts", &["Multipart", "UploadPart", "ListParts"]),
        ("Versions and locks", &["Versioning", "Versions", "ObjectLock", "Retention", "LegalHold"]),
        ("Access", &["Acl", "Policy", "PublicAccessBlock", "OwnershipControls"]),
        ("Tags", &["Tagging"]),
        ("Configuration", &["Cors", "Lifecycle"]),
        (
            "Answered as never set",
            &["Accelerate", "Encryption", "Logging", "Notification", "Replication", "RequestPayment", "Website"],
        ),
        ("Objects and lists", &["Object"]),
    ];
    let group = |name: &str| {
        groups.iter().position(|(_, words)| words.iter().any(|word| name.contains(word))).unwrap_or(groups.len())
    };
    let mut table = String::from("| Group | Operations |\n|---|---|\n");
    for (at, title) in
        std::iter::once((groups.len(), "Buckets")).chain(groups.iter().map(|(title, _)| *title).enumerate())
    {
        let mut names: Vec<&str> =
            crate::api::operations::NAMES.iter().copied().filter(|name| group(name) == at).collect();
        names.sort_unstable();
        table.push_str(&format!("| {title} | `{}` |\n", names.join("` `")));
    }
    table
}

/// The rows and their keys, from the code that makes them.
fn rows() -> String {
    let text = include_str!("data/keys.rs").split("//! ```").nth(1).expect("the block of rows");
    let lines = text.lines().skip(1).filter_map(|line| line.strip_prefix("//! "));
    format!("```text\n{}\n```\n", lines.collect::<Vec<_>>().join("\n"))
}

/// Fails if the README does not say what there is: operations, limits, rows. `RECOIL_BLESS=1` writes it.
#[test]
fn the_readme_says_what_there_is() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = std::fs::read_to_string(path).unwrap();
    let mut expected = readme.clone();
    for (name, made) in [("operations", operations()), ("limits", crate::api::limits::table()), ("rows", rows())] {
        let (begin, end) = (format!("<!-- {name}: begin"), format!("<!-- {name}: end -->"));
        let (before, rest) = expected.split_once(&begin).expect("where a table begins");
        let (how, rest) = rest.split_once("-->\n").expect("the end of the line");
        let (_, after) = rest.split_once(&end).expect("where a table ends");
        expected = format!("{before}{begin}{how}-->\n{made}{end}{after}");
    }
    if std::env::var_os("RECOIL_BLESS").is_some() {
        return std::fs::write(path, &expected).unwrap();
    }
    assert!(
        readme == expected,
        "`RECOIL_BLESS=1 cargo test -p s3 readme` writes the README, which is to be:\n{expected}"
    );
}
