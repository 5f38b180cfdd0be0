//! A small client of the S3 API: connections that stay open, requests one after another on each, signed over head and body.

use std::convert::Infallible;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use futures::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::content::{Content, digest};
use super::sign::{Signed, Signer};

/// The bucket of every load.
pub(super) const BUCKET: &str = "bench";
/// Nothing that is asked takes longer.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often a request that is refused for the time being is sent again, and how long before that is waited.
const ATTEMPTS: u32 = 100;
const PAUSE: Duration = Duration::from_millis(50);
/// Bytes of an answer that is a document.
const DOCUMENT_BYTES_MAX: usize = 16 << 20;

type Outgoing = StreamBody<stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>>;

/// A store, and the key with which it is asked.
#[derive(Clone, Debug)]
pub(super) struct Store {
    pub(super) port: u16,
    pub(super) signer: Signer,
}

/// A connection to a store. It is made anew when the store has closed it.
pub(super) struct Connection<'a> {
    store: &'a Store,
    sender: Option<SendRequest<Outgoing>>,
    /// Requests that were sent again.
    pub(super) retries: u64,
}

impl<'a> Connection<'a> {
    pub(super) fn new(store: &'a Store) -> Self {
        Connection { store, sender: None, retries: 0 }
    }

    /// Writes an object.
    pub(super) async fn put(&mut self, key: &str, pieces: &[Bytes], digest: &str) -> anyhow::Result<()> {
        let answer = self.ask("PUT", &format!("/{BUCKET}/{key}"), "", pieces, digest).await?;
        document(answer).await.map(drop)
    }

    /// Reads an object and compares it with what it is to be.
    pub(super) async fn get(&mut self, key: &str, content: &Content, bytes: u64, number: u64) -> anyhow::Result<()> {
        let answer = self.ask("GET", &format!("/{BUCKET}/{key}"), "", &[], &digest(&[])).await?;
        let (mut body, mut check) = (answer.into_body(), content.check(bytes, number));
        while let Some(frame) = timeout(PATIENCE, body.frame()).await.context("an answer does not go on")? {
            if let Ok(piece) = frame.context("an answer breaks off")?.into_data() {
                check.feed(&piece)?;
            }
        }
        check.finish()
    }

    /// How many keys a page has that begins behind a key.
    pub(super) async fn list(&mut self, after: &str, limit: u32) -> anyhow::Result<usize> {
        let query = format!("list-type=2&max-keys={limit}&start-after={}", after.replace('/', "%2F"));
        let answer = self.ask("GET", &format!("/{BUCKET}"), &query, &[], &digest(&[])).await?;
        let text = document(answer).await?;
        Ok(text.matches("<Key>").count())
    }

    /// Makes the bucket.
    pub(super) async fn make_bucket(&mut self) -> anyhow::Result<()> {
        let answer = self.ask("PUT", &format!("/{BUCKET}"), "", &[], &digest(&[])).await?;
        document(answer).await.map(drop)
    }

    /// Sends a request until it is not refused for the time being; an answer with success.
    async fn ask(
        &mut self,
        method: &str,
        path: &str,
        query: &str,
        pieces: &[Bytes],
        digest: &str,
    ) -> anyhow::Result<Response<Incoming>> {
        let mut last = String::new();
        for _ in 0..ATTEMPTS {
            match self.send(method, path, query, pieces, digest).await {
                Ok(answer) if answer.status().is_success() => return Ok(answer),
                Ok(answer) => {
                    let status = answer.status();
                    last = format!("{status}: {}", document(answer).await?);
                    ensure!(status.is_server_error(), "{method} {path}: {last}");
                }
                // An answer that comes before the body has been sent ends the connection.
                Err(error) => {
                    last = format!("{error:#}");
                    self.sender = None;
                }
            }
            self.retries += 1;
            tokio::time::sleep(PAUSE).await;
        }
        bail!("{method} {path} fails {ATTEMPTS} times, at last with {last}")
    }

    async fn send(
        &mut self,
        method: &str,
        path: &str,
        query: &str,
        pieces: &[Bytes],
        digest: &str,
    ) -> anyhow::Result<Response<Incoming>> {
        let host = format!("127.0.0.1:{}", self.store.port);
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() as i64;
        let signed = Signed { method, host: &host, path, query, payload: digest };
        let (time, authorization) = self.store.signer.sign(signed, now_s);
        let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        let length: usize = pieces.iter().map(Bytes::len).sum();
        let frames: Vec<_> = pieces.iter().map(|piece| Ok(Frame::data(piece.clone()))).collect();
        let mut request = Request::builder().method(method).uri(target).header("host", &host);
        request = request.header("x-amz-content-sha256", digest).header("x-amz-date", time);
        request = request.header("authorization", authorization);
        if method == "PUT" {
            request = request.header("content-length", length);
        }
        let request = request.body(StreamBody::new(stream::iter(frames)))?;
        let sender = self.connected(&host).await?;
        timeout(PATIENCE, sender.send_request(request)).await.context("there is no answer")?.context("no answer")
    }

    async fn connected(&mut self, host: &str) -> anyhow::Result<&mut SendRequest<Outgoing>> {
        let is_ready = match &mut self.sender {
            Some(sender) => sender.ready().await.is_ok(),
            None => false,
        };
        if !is_ready {
            let stream = TcpStream::connect(host).await.with_context(|| format!("{host} is not reached"))?;
            stream.set_nodelay(true)?;
            let (sender, connection) = handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            self.sender = Some(sender);
        }
        self.sender.as_mut().context("a connection")
    }
}

/// A short body, whole.
async fn document(answer: Response<Incoming>) -> anyhow::Result<String> {
    let (mut body, mut whole) = (answer.into_body(), Vec::new());
    while let Some(frame) = timeout(PATIENCE, body.frame()).await.context("an answer does not go on")? {
        if let Ok(piece) = frame.context("an answer breaks off")?.into_data() {
            whole.extend_from_slice(&piece);
        }
        ensure!(whole.len() <= DOCUMENT_BYTES_MAX, "an answer has more than {DOCUMENT_BYTES_MAX} bytes");
    }
    Ok(String::from_utf8_lossy(&whole).into_owned())
}
