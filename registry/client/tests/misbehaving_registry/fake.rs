//! A registry that can misbehave, and remembers what it was asked.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, LINK, LOCATION, RANGE, WWW_AUTHENTICATE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use recoil_oci::Algorithm;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

type Body = UnsyncBoxBody<Bytes, std::io::Error>;
type Answer = Response<Body>;

/// How it wants to know who asks.
#[derive(Default)]
pub(crate) enum Wants {
    #[default]
    Nothing,
    /// This `Authorization` header.
    Basic(String),
    /// A token from its own `/token`.
    Bearer,
    /// The same; and it says so with these `WWW-Authenticate` headers, in which `HOST` is its own
    /// address.
    BearerBy(Vec<String>),
}

/// A `Link` to the page that begins with this tag, by its number.
pub(crate) type NextLink = Box<dyn Fn(usize) -> String + Send>;

/// What it holds, what it does wrong, and what it was asked.
#[derive(Default)]
pub(crate) struct State {
    /// By digest.
    pub(crate) blobs: BTreeMap<String, Bytes>,
    /// By digest or tag.
    pub(crate) manifests: BTreeMap<String, Bytes>,
    pub(crate) wants: Wants,
    /// Requests to answer with 503, before it does as it should.
    pub(crate) unavailable: u32,
    /// Bytes after which answers with a blob break off, one answer each.
    pub(crate) cuts: Vec<usize>,
    pub(crate) knows_no_ranges: bool,
    /// Tags to answer at a time.
    pub(crate) tags_page: Option<usize>,
    /// Leads from page to page, in place of `last`, which it does not know then.
    pub(crate) next_link: Option<NextLink>,
    /// Where uploads go, if not to `/v2/acme/greeter/upload/1`.
    pub(crate) upload_location: Option<String>,
    /// Where those are sent who ask for blobs, or how it wants to know who asks.
    pub(crate) elsewhere: Option<String>,
    /// What its `/token` answers, if not a token.
    pub(crate) token: Option<String>,
    /// The status of its answers to those who ask for a blob, and how many bytes follow it.
    pub(crate) refuses_blobs: Option<(u16, usize)>,
    /// How many of those it has made.
    pub(crate) refusal_bytes: Arc<AtomicUsize>,
    /// True if it answers a push with success and forgets it.
    pub(crate) forgets_manifests: bool,
    /// Method, path and range of every request, but those to `/v2/`.
    pub(crate) requests: Vec<String>,
    /// The queries of the last bytes of uploads.
    pub(crate) upload_queries: Vec<String>,
    /// What every request said of who asks, those to `/v2/` and `/token` too.
    pub(crate) authorizations: Vec<Option<String>>,
    /// Scopes for which tokens were given.
    pub(crate) scopes: Vec<String>,
}

impl State {
    /// The requests that begin with `method` and a space.
    pub(crate) fn requests_with(&self, method: &str) -> Vec<&str> {
        self.requests.iter().filter(|request| request.starts_with(&format!("{method} "))).map(String::as_str).collect()
    }
}

pub(crate) struct Fake {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    _serving: JoinSet<()>,
}

impl Fake {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, state.clone()));
        Fake { address, state, _serving: serving }
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

async fn serve(listener: TcpListener, state: Arc<Mutex<State>>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let state = state.clone();
        let service = service_fn(move |request| answer(state.clone(), request));
        connections.spawn(async move {
            // Connections that break are what this registry is for.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(state: Arc<Mutex<State>>, request: Request<Incoming>) -> Result<Answer, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let query: HashMap<String, String> = head.uri.query().map(pairs).unwrap_or_default();
    let mut state = state.lock().unwrap();
    let path = head.uri.path();
    let authorization = header(AUTHORIZATION);
    state.authorizations.push(authorization.clone());
    if path == "/token" {
        let scope = query["scope"].clone();
        state.scopes.push(scope.clone());
        if let Some(token) = &state.token {
            return Ok(whole(StatusCode::OK, token.clone()));
        }
        return Ok(whole(StatusCode::OK, format!(r#"{{"token": "{scope}"}}"#)));
    }
    let range = header(RANGE);
    if path != "/v2/" {
        let shown = range.as_ref().map(|range| format!(" {range}")).unwrap_or_default();
        state.requests.push(format!("{} {path}{shown}", head.method));
    }
    if state.unavailable > 0 {
        state.unavailable -= 1;
        return Ok(whole(StatusCode::SERVICE_UNAVAILABLE, "come back later"));
    }
    if let Some(elsewhere) = state.elsewhere.as_ref().filter(|_| path == "/v2/" || path.contains("/blobs/")) {
        return Ok(at(StatusCode::TEMPORARY_REDIRECT, &format!("{elsewhere}{path}")));
    }
    let host = header(hyper::header::HOST).unwrap();
    let challenges = challenges(&state.wants, authorization.as_deref());
    if !challenges.is_empty() {
        let mut refusal = whole(StatusCode::UNAUTHORIZED, "");
        for challenge in challenges {
            refusal.headers_mut().append(WWW_AUTHENTICATE, challenge.replace("HOST", &host).parse().unwrap());
        }
        return Ok(refusal);
    }
    if head.method == Method::PUT && path.contains("/upload/") {
        state.upload_queries.push(head.uri.query().unwrap_or_default().to_owned());
    }
    Ok(state.route(&head.method, path, &query, range, body))
}

/// How to sign in, to those who have not.
fn challenges(wants: &Wants, authorization: Option<&str>) -> Vec<String> {
    let has_token = authorization.is_some_and(|text| text.starts_with("Bearer repository:"));
    match wants {
        Wants::Nothing => vec![],
        Wants::Basic(expected) if authorization == Some(expected) => vec![],
        Wants::Basic(_) => vec!["Basic realm=\"fake\"".to_owned()],
        Wants::Bearer | Wants::BearerBy(_) if has_token => vec![],
        Wants::Bearer => vec!["Bearer realm=\"http://HOST/token\",service=\"fake\"".to_owned()],
        Wants::BearerBy(challenges) => challenges.clone(),
    }
}

fn pairs(query: &str) -> HashMap<String, String> {
    let decoded = |text: &str| text.replace("%3A", ":").replace("%2F", "/").replace("%2C", ",");
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.into(), decoded(value)))
        .collect()
}

impl State {
    fn route(
        &mut self,
        method: &Method,
        path: &str,
        query: &HashMap<String, String>,
        range: Option<String>,
        body: Bytes,
    ) -> Answer {
        if path == "/v2/" {
            return whole(StatusCode::OK, "{}");
        }
        let path = path.strip_prefix("/v2/acme/greeter/").unwrap_or("elsewhere");
        match (method, path.split_once('/').unwrap_or_default()) {
            (&Method::GET, ("tags", "list")) => self.tags(query),
            (&Method::GET | &Method::HEAD, ("manifests", name)) => match self.manifests.get(name) {
                Some(manifest) => named(method, manifest),
                None => unknown("MANIFEST_UNKNOWN"),
            },
            (&Method::HEAD, ("blobs", digest)) => match self.blobs.contains_key(digest) {
                true => whole(StatusCode::OK, ""),
                false => unknown("BLOB_UNKNOWN"),
            },
            (&Method::GET, ("blobs", _)) if self.refuses_blobs.is_some() => {
                let (status, length) = self.refuses_blobs.unwrap_or_default();
                long(StatusCode::from_u16(status).unwrap(), length, self.refusal_bytes.clone())
            }
            (&Method::GET, ("blobs", digest)) => match self.blobs.get(digest).cloned() {
                Some(blob) => self.blob(&blob, range),
                None => unknown("BLOB_UNKNOWN"),
            },
            (&Method::POST, ("blobs", "uploads/")) => {
                let location = self.upload_location.as_deref().unwrap_or("/v2/acme/greeter/upload/1");
                at(StatusCode::ACCEPTED, location)
            }
            (&Method::PUT, ("upload", _)) => {
                self.blobs.insert(query["digest"].clone(), body);
                at(StatusCode::CREATED, "/v2/acme/greeter/blobs/it")
            }
            (&Method::PUT, ("manifests", name)) => {
                if !self.forgets_manifests {
                    self.manifests.insert(name.to_owned(), body);
                }
                at(StatusCode::CREATED, "/v2/acme/greeter/manifests/it")
            }
            _ => unknown("NAME_UNKNOWN"),
        }
    }

    fn tags(&self, query: &HashMap<String, String>) -> Answer {
        let all = self.manifests.keys().filter(|name| !name.contains(':'));
        if let (Some(page), Some(next_link)) = (self.tags_page, &self.next_link) {
            let start = query.get("from").and_then(|from| from.parse().ok()).unwrap_or(0);
            let tags: Vec<&String> = all.skip(start).take(page).collect();
            let is_last = tags.len() < page;
            let list = serde_json::json!({ "name": "acme/greeter", "tags": tags }).to_string();
            let mut answer = whole(StatusCode::OK, list);
            if !is_last {
                answer.headers_mut().insert(LINK, next_link(start + page).parse().unwrap());
            }
            return answer;
        }
        let tags: Vec<&String> = match (self.tags_page, query.get("last")) {
            (None, _) => all.collect(),
            (Some(page), None) => all.take(page).collect(),
            (Some(page), Some(last)) => all.filter(|name| *name > last).take(page).collect(),
        };
        whole(StatusCode::OK, serde_json::json!({ "name": "acme/greeter", "tags": tags }).to_string())
    }

    fn blob(&mut self, blob: &Bytes, range: Option<String>) -> Answer {
        let start: Option<usize> =
            range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
        let (status, rest) = match start.filter(|_| !self.knows_no_ranges) {
            Some(start) if start >= blob.len() => return whole(StatusCode::RANGE_NOT_SATISFIABLE, ""),
            Some(start) => (StatusCode::PARTIAL_CONTENT, blob.slice(start..)),
            None => (StatusCode::OK, blob.clone()),
        };
        match self.cuts.pop() {
            Some(cut) => cut_after(status, &rest, cut),
            None => whole(status, rest),
        }
    }
}

fn whole(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let body = Full::new(body.into()).map_err(|never| match never {}).boxed_unsync();
    Response::builder().status(status).body(body).unwrap()
}

fn at(status: StatusCode, location: &str) -> Answer {
    let mut answer = whole(status, "");
    answer.headers_mut().insert(LOCATION, location.parse().unwrap());
    answer
}

fn unknown(code: &str) -> Answer {
    whole(StatusCode::NOT_FOUND, format!(r#"{{"errors": [{{"code": "{code}", "message": "unknown"}}]}}"#))
}

fn named(method: &Method, manifest: &Bytes) -> Answer {
    let body = if method == Method::HEAD { Bytes::new() } else { manifest.clone() };
    let mut answer = whole(StatusCode::OK, body);
    let digest = Algorithm::Sha256.digest(manifest);
    answer.headers_mut().insert("docker-content-digest", digest.as_str().parse().unwrap());
    answer
}

/// An answer of `length` bytes, which are counted as they are made.
fn long(status: StatusCode, length: usize, made: Arc<AtomicUsize>) -> Answer {
    static PIECE: [u8; 64 << 10] = [b'x'; 64 << 10];
    let pieces = stream::iter(0..length.div_ceil(PIECE.len())).map(move |_| {
        made.fetch_add(PIECE.len(), Ordering::Relaxed);
        Ok(Frame::data(Bytes::from_static(&PIECE)))
    });
    Response::builder().status(status).body(StreamBody::new(pieces).boxed_unsync()).unwrap()
}

/// An answer that promises `body`, and a connection that breaks after `cut` bytes of it.
fn cut_after(status: StatusCode, body: &Bytes, cut: usize) -> Answer {
    let some = body.slice(..cut);
    let pieces = stream::unfold(0, move |step| {
        let some = some.clone();
        async move {
            match step {
                0 => Some((Ok(Frame::data(some)), 1)),
                _ => {
                    // What was given so far goes out before the connection ends.
                    tokio::task::yield_now().await;
                    Some((Err(std::io::Error::other("cut")), 2))
                }
            }
        }
    });
    let answer = Response::builder().status(status).header(CONTENT_LENGTH, body.len());
    answer.body(StreamBody::new(pieces).boxed_unsync()).unwrap()
}
