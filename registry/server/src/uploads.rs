//! A blob's way in.
//!
//! A session is a content that is not sealed. Each request that brings bytes opens a part and writes its chunks, a few at a time; what
//! it may write is reserved beforehand, [`RESERVE`] chunks at a time, which is also how often its progress is recorded. A
//! request that ends early counts what it has stored, and the client goes on from there.
//!
//! The digest is made of the bytes as they pass, in [`Hashers`], as long as one node sees them all; else the stored bytes are read
//! once more, on the node that finishes.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use http_body_util::BodyExt as _;
use hyper::StatusCode;
use hyper::body::Body as _;
use hyper::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderMap};
use parking_lot::Mutex;
use recoil_oci::records::{Answer as Record, Command, Content, Link};
use recoil_oci::{Algorithm, Digest, Hasher, Repository};
use tokio::sync::SemaphorePermit;

use crate::failure::{Code, Failure};
use crate::records::{chunk_key, unexpected};
use crate::store::StoreError;
use crate::{Answer, Body, CHUNK_BYTES, Head, Registry, TURN_TIMEOUT, bare, blobs, full, parameter, set};

/// Chunks of one upload on their way into the cluster.
const WINDOW: usize = 4;
/// Chunks reserved at a time.
const RESERVE: u32 = 32;
/// How long a client may send nothing, or less than [`WINDOW_BYTES`].
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// What a client must at least send in that time, unless it has come to its end: its turn is one that others wait for.
const WINDOW_BYTES: u64 = 256 << 10;
/// The largest blob.
const BLOB_BYTES_MAX: u64 = 64 << 30;
/// Digests in the making that are remembered between requests.
const HASHERS_MAX: usize = 256;

/// Digests in the making: by upload, of how many bytes.
#[derive(Default)]
pub(crate) struct Hashers(Mutex<VecDeque<(String, u64, Hasher)>>);

impl Hashers {
    /// The digest of an upload's first `received` bytes, if this node has seen them all.
    fn take(&self, id: &str, received: u64) -> Option<Hasher> {
        let mut hashers = self.0.lock();
        let place = hashers.iter().position(|(known, ..)| known == id);
        let found = place.and_then(|place| hashers.remove(place));
        match found {
            Some((_, bytes, hasher)) if bytes == received => Some(hasher),
            _ if received == 0 => Some(Hasher::new(Algorithm::Sha256)),
            _ => None,
        }
    }

    fn keep(&self, id: &str, received: u64, hasher: Hasher) {
        let mut hashers = self.0.lock();
        if hashers.len() >= HASHERS_MAX {
            hashers.pop_front();
        }
        hashers.push_back((id.to_owned(), received, hasher));
    }
}

fn unknown() -> Failure {
    Failure::not_found(
        Code::BlobUploadUnknown,
        "there is no such upload: it was finished, cancelled, or left alone for too long",
    )
}

/// The range header of what has been received. There is none of nothing, which is said like this.
fn received_range(received: u64) -> String {
    format!("0-{}", received.saturating_sub(1))
}

fn location(name: &Repository, id: &str) -> String {
    format!("/v2/{name}/blobs/uploads/{id}")
}

fn progress(mut answer: Answer, name: &Repository, content: &Content) -> Answer {
    set(&mut answer, "location", location(name, &content.id));
    set(&mut answer, "range", received_range(content.received()));
    set(&mut answer, "docker-upload-uuid", &content.id);
    answer
}

fn wrong_offset(name: &Repository, content: &Content) -> Failure {
    let received = content.received();
    let why = format!("the chunk does not begin where the last ended: {received} bytes have been received");
    Failure::new(StatusCode::RANGE_NOT_SATISFIABLE, Code::BlobUploadInvalid, why)
        .with("location", location(name, &content.id))
        .with("range", received_range(received))
}

/// Where a request says that its bytes lie: the first, and how many. Both may be left open.
fn extent(headers: &HeaderMap) -> Result<(Option<u64>, Option<u64>), Failure> {
    let wrong = |what: &str| Failure::bad_request(Code::SizeInvalid, format!("the request's {what} cannot be read"));
    let length = headers.get(CONTENT_LENGTH).map(|value| value.to_str().ok()?.parse::<u64>().ok());
    let length = match length {
        Some(None) => return Err(wrong("Content-Length")),
        length => length.flatten(),
    };
    let Some(range) = headers.get(CONTENT_RANGE) else { return Ok((None, length)) };
    let parse = || {
        let text = range.to_str().ok()?;
        let (start, end) = text.trim_start_matches("bytes ").split_once('-')?;
        let end = end.split_once('/').map_or(end, |(end, _)| end);
        Some((start.trim().parse::<u64>().ok()?, end.trim().parse::<u64>().ok()?))
    };
    let (start, end) = parse().ok_or_else(|| wrong("Content-Range"))?;
    let size = end.checked_sub(start).and_then(|size| size.checked_add(1)).ok_or_else(|| wrong("Content-Range"))?;
    if length.is_some_and(|length| length != size) {
        return Err(Failure::bad_request(Code::SizeInvalid, "Content-Range and Content-Length do not agree"));
    }
    Ok((Some(start), Some(size)))
}

impl Registry {
    async fn upload_turn(&self) -> Result<SemaphorePermit<'_>, Failure> {
        match tokio::time::timeout(TURN_TIMEOUT, self.uploads.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(busy("uploads")),
        }
    }

    /// The upload, if it was begun in this repository and goes on.
    async fn session(&self, name: &Repository, id: &str) -> Result<Content, Failure> {
        match self.records.ask(Command::Content { id: id.to_owned() }).await? {
            Record::Content { content, .. }
                if content.repository == *name && !content.sealed && content.going.is_none() =>
            {
                Ok(content)
            }
            Record::Content { .. } | Record::Absent => Err(unknown()),
            other => Err(unexpected(other).into()),
        }
    }

    /// `POST …/blobs/uploads/`: a mount, a whole blob, or a session.
    pub(crate) async fn begin(&self, name: &Repository, request: &Head, body: Body) -> Result<Answer, Failure> {
        self.records.store.prepare().await?;
        if let Some(mount) = parameter(request, "mount") {
            let digest: Digest = mount.parse()?;
            if let Some(answer) = self.mount(name, &digest, parameter(request, "from").as_deref()).await? {
                return Ok(answer);
            }
            // What cannot be mounted is to be uploaded.
            let content = self.new_session(name).await?;
            return Ok(progress(bare(StatusCode::ACCEPTED), name, &content));
        }
        let digest = parameter(request, "digest").map(|digest| digest.parse::<Digest>()).transpose()?;
        let content = self.new_session(name).await?;
        match digest {
            None => Ok(progress(bare(StatusCode::ACCEPTED), name, &content)),
            Some(digest) => self.finish_as(name, &content.id, &digest, request, body).await,
        }
    }

    /// Takes in a blob that this program has brought.
    pub(crate) async fn store_blob(&self, name: &Repository, digest: &Digest, bytes: Bytes) -> Result<Answer, Failure> {
        let session = self.new_session(name).await?;
        let content = self.receive(name, session, None, Some(bytes.len() as u64), full(bytes)).await?;
        self.complete(name, &content, digest).await
    }

    async fn new_session(&self, name: &Repository) -> Result<Content, Failure> {
        let begin = Command::Begin { id: self.records.new_id(), repository: name.clone() };
        match self.records.ask(begin).await? {
            Record::Content { content, .. } => Ok(content),
            other => Err(unexpected(other).into()),
        }
    }

    /// `GET …/blobs/uploads/ID`: how far it has come.
    pub(crate) async fn upload(&self, name: &Repository, id: &str) -> Result<Answer, Failure> {
        let content = self.session(name, id).await?;
        Ok(progress(bare(StatusCode::NO_CONTENT), name, &content))
    }

    /// `DELETE …/blobs/uploads/ID`.
    pub(crate) async fn cancel(&self, name: &Repository, id: &str) -> Result<Answer, Failure> {
        self.session(name, id).await?;
        self.discard(id).await?;
        Ok(bare(StatusCode::NO_CONTENT))
    }

    async fn discard(&self, id: &str) -> Result<(), StoreError> {
        let discard = Command::Discard { id: id.to_owned(), untouched_since_us: u64::MAX };
        if let Record::Content { content, .. } = self.records.ask(discard).await?
            && content.going.is_some()
        {
            self.records.remove_later(content);
        }
        Ok(())
    }

    /// `PATCH …/blobs/uploads/ID`: more bytes.
    pub(crate) async fn continue_upload(
        &self,
        name: &Repository,
        id: &str,
        request: &Head,
        body: Body,
    ) -> Result<Answer, Failure> {
        let (from, size) = extent(&request.headers)?;
        let content = self.session(name, id).await?;
        let content = self.receive(name, content, from, size, body).await?;
        Ok(progress(bare(StatusCode::ACCEPTED), name, &content))
    }

    /// `PUT …/blobs/uploads/ID?digest=`: the last bytes, if there are more, and the end.
    pub(crate) async fn finish(
        &self,
        name: &Repository,
        id: &str,
        request: &Head,
        body: Body,
    ) -> Result<Answer, Failure> {
        let digest = parameter(request, "digest");
        let digest =
            digest.ok_or_else(|| Failure::bad_request(Code::DigestInvalid, "add ?digest= to the upload's location"))?;
        self.finish_as(name, id, &digest.parse()?, request, body).await
    }

    async fn finish_as(
        &self,
        name: &Repository,
        id: &str,
        digest: &Digest,
        request: &Head,
        body: Body,
    ) -> Result<Answer, Failure> {
        let (from, size) = extent(&request.headers)?;
        let mut content = self.session(name, id).await?;
        if size != Some(0) && !body.is_end_stream() {
            content = self.receive(name, content, from, size, body).await?;
        } else if from.is_some_and(|from| from != content.received()) {
            return Err(wrong_offset(name, &content));
        }
        self.complete(name, &content, digest).await
    }

    /// Makes what was received a blob of the repository, if it is what the digest names.
    async fn complete(&self, name: &Repository, content: &Content, digest: &Digest) -> Result<Answer, Failure> {
        let found = self.digest(content, digest.algorithm()).await?;
        if found != *digest {
            self.discard(&content.id).await?;
            let why = format!("the {} bytes received have the digest {found}, not {digest}", content.received());
            return Err(Failure::bad_request(Code::DigestInvalid, why));
        }
        self.seal(name, content, digest).await
    }

    /// The digest of all that was received.
    async fn digest(&self, content: &Content, algorithm: Algorithm) -> Result<Digest, Failure> {
        let known = self.hashers.take(&content.id, content.received());
        if let Some(hasher) = known.filter(|_| algorithm == Algorithm::Sha256) {
            return Ok(hasher.finish());
        }
        let mut hasher = Hasher::new(algorithm);
        let _turn = self.download_turn().await?;
        let mut chunks = blobs::chunks(&self.records, &content.parts, 0..content.received());
        while let Some(chunk) = chunks.next().await {
            hasher.update(&chunk?);
        }
        Ok(hasher.finish())
    }

    async fn seal(&self, name: &Repository, content: &Content, digest: &Digest) -> Result<Answer, Failure> {
        let (token, size) = (self.records.new_id(), content.received());
        let seal = Command::Seal { id: content.id.clone(), size, token: token.clone(), digest: digest.clone() };
        let since_us = match self.records.ask(seal).await? {
            Record::Content { now_us, .. } => now_us,
            Record::WrongOffset { content } => return Err(wrong_offset(name, &content)),
            Record::Absent => return Err(unknown()),
            other => return Err(unexpected(other).into()),
        };
        let link = Link { digest: digest.clone(), content: content.id.clone(), token, size, since_us };
        self.link(name, link).await?;
        Ok(blobs::created(name, digest))
    }

    /// Links a content that is held for it. If the repository has the blob already, that one stays.
    pub(crate) async fn link(&self, name: &Repository, link: Link) -> Result<(), Failure> {
        let (content, token) = (link.content.clone(), link.token.clone());
        match self.records.ask(Command::Link { repository: name.clone(), link }).await? {
            Record::Link { link } if link.token == token => Ok(()),
            Record::Link { .. } => Ok(self.records.release(&content, &token).await?),
            Record::Stale => {
                self.records.release(&content, &token).await?;
                Err(StoreError::Unavailable("the blob could not be linked in time; push it again".into()).into())
            }
            other => Err(unexpected(other).into()),
        }
    }

    /// Takes in what a request brings.
    async fn receive(
        &self,
        name: &Repository,
        content: Content,
        from: Option<u64>,
        size: Option<u64>,
        body: Body,
    ) -> Result<Content, Failure> {
        // Before the part is opened, which fences off the request that was bringing bytes until now.
        let _turn = self.upload_turn().await?;
        let part = self.records.new_id();
        let open = Command::OpenPart { id: content.id, part: part.clone(), from, reserve: RESERVE };
        let content = match self.records.ask(open).await? {
            Record::Content { content, .. } => content,
            Record::WrongOffset { content } => return Err(wrong_offset(name, &content)),
            Record::Absent => return Err(unknown()),
            other => return Err(unexpected(other).into()),
        };
        let room = BLOB_BYTES_MAX.saturating_sub(content.received());
        if size.is_some_and(|size| size > room) {
            return Err(too_large());
        }
        let hasher = self.hashers.take(&content.id, content.received());
        let mut incoming = Incoming {
            registry: self,
            name,
            id: content.id.clone(),
            part,
            reserved: RESERVE,
            number: 0,
            stored: 0,
            buffer: BytesMut::new(),
            flying: FuturesUnordered::new(),
            hasher,
            room,
        };
        let ended = incoming.take_all(body).await;
        let content = incoming.close().await?;
        let (received, hasher) = (content.received(), incoming.hasher.take());
        if let Some(hasher) = hasher {
            self.hashers.keep(&content.id, received, hasher);
        }
        ended.map(|()| content)
    }
}

pub(crate) fn busy(what: &str) -> Failure {
    let why = format!("this node has as many {what} under way as it takes; try again in a moment, or at another node");
    Failure::new(StatusCode::TOO_MANY_REQUESTS, Code::TooManyRequests, why).with("retry-after", "1")
}

fn too_large() -> Failure {
    let why = format!("the blob is larger than {BLOB_BYTES_MAX} bytes, the most there may be");
    Failure::new(StatusCode::PAYLOAD_TOO_LARGE, Code::SizeInvalid, why)
}

type Flying<'a> = FuturesUnordered<futures::future::BoxFuture<'a, Result<(), StoreError>>>;

/// One request's bytes on their way into the cluster.
struct Incoming<'a> {
    registry: &'a Registry,
    name: &'a Repository,
    id: String,
    part: String,
    /// Chunks that may be written.
    reserved: u32,
    /// The next chunk.
    number: u32,
    /// Bytes of the part that were handed on.
    stored: u64,
    buffer: BytesMut,
    flying: Flying<'a>,
    hasher: Option<Hasher>,
    room: u64,
}

impl Incoming<'_> {
    async fn take_all(&mut self, mut body: Body) -> Result<(), Failure> {
        let mut least = self.room.saturating_sub(WINDOW_BYTES);
        let mut too_slow = Box::pin(tokio::time::sleep(IDLE_TIMEOUT));
        loop {
            if self.room <= least {
                least = self.room.saturating_sub(WINDOW_BYTES);
                too_slow = Box::pin(tokio::time::sleep(IDLE_TIMEOUT));
            }
            let frame = tokio::select! {
                // What is there counts first: the time may have been spent on storing what came before.
                biased;
                frame = body.frame() => frame,
                () = &mut too_slow => {
                    let seconds = IDLE_TIMEOUT.as_secs();
                    let why =
                        format!("fewer than {WINDOW_BYTES} bytes came within {seconds} s; go on from the upload's offset");
                    return Err(Failure::new(StatusCode::REQUEST_TIMEOUT, Code::BlobUploadInvalid, why));
                }
            };
            let Some(frame) = frame else { break };
            let frame = frame.map_err(|error| {
                Failure::bad_request(Code::BlobUploadInvalid, format!("the bytes broke off: {error}"))
            })?;
            let Ok(mut data) = frame.into_data() else { continue };
            self.room = self.room.checked_sub(data.len() as u64).ok_or_else(too_large)?;
            while !data.is_empty() {
                let piece = data.split_to(data.len().min(CHUNK_BYTES - self.buffer.len()));
                self.buffer.extend_from_slice(&piece);
                if self.buffer.len() == CHUNK_BYTES {
                    self.flush().await?;
                }
            }
        }
        Ok(())
    }

    /// Sends the buffered bytes on as a chunk.
    async fn flush(&mut self) -> Result<(), Failure> {
        if self.number == self.reserved {
            self.drain().await?;
            self.advance(self.number + RESERVE).await?;
        }
        let chunk: Bytes = std::mem::take(&mut self.buffer).freeze();
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&chunk);
        }
        self.stored += chunk.len() as u64;
        let (key, store) = (chunk_key(&self.part, self.number), &self.registry.records.store);
        self.number += 1;
        self.flying.push(store.put_chunk(key, chunk).boxed());
        while self.flying.len() >= WINDOW {
            self.landed().await?;
        }
        Ok(())
    }

    async fn landed(&mut self) -> Result<(), Failure> {
        if let Some(Err(error)) = self.flying.next().await {
            // What is counted must be stored without a gap, so nothing of what was handed on since is counted.
            self.hasher = None;
            self.stored = 0;
            self.buffer.clear();
            return Err(error.into());
        }
        Ok(())
    }

    async fn drain(&mut self) -> Result<(), Failure> {
        while !self.flying.is_empty() {
            self.landed().await?;
        }
        Ok(())
    }

    async fn advance(&mut self, reserve: u32) -> Result<Content, Failure> {
        let advance = Command::Advance { id: self.id.clone(), part: self.part.clone(), bytes: self.stored, reserve };
        match self.registry.records.ask(advance).await? {
            Record::Content { content, .. } => {
                self.reserved = reserve;
                Ok(content)
            }
            Record::WrongOffset { content } => Err(wrong_offset(self.name, &content)),
            Record::Absent => Err(unknown()),
            other => Err(unexpected(other).into()),
        }
    }

    /// Counts everything that has come, however it ended.
    async fn close(&mut self) -> Result<Content, Failure> {
        if !self.buffer.is_empty() {
            self.flush().await?;
        }
        self.drain().await?;
        self.advance(self.reserved).await
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn of(range: Option<&'static str>, length: Option<&'static str>) -> Option<(Option<u64>, Option<u64>)> {
        let mut headers = HeaderMap::new();
        let mut insert = |name, value: Option<&'static str>| {
            value.map(|value| headers.insert(name, HeaderValue::from_static(value)));
        };
        insert(CONTENT_RANGE, range);
        insert(CONTENT_LENGTH, length);
        extent(&headers).ok()
    }

    #[test]
    fn where_bytes_lie_is_read_in_every_form_that_clients_send() {
        assert_eq!(of(None, None), Some((None, None)));
        assert_eq!(of(None, Some("7")), Some((None, Some(7))));
        assert_eq!(of(Some("5-9"), Some("5")), Some((Some(5), Some(5))));
        assert_eq!(of(Some("bytes 5-9/10"), None), Some((Some(5), Some(5))));
        for bad in ["9-5", "5", "-", "a-b", "5-9 and more", "0-18446744073709551615"] {
            assert_eq!(of(Some(bad), None), None, "{bad}");
        }
        assert_eq!(of(Some("5-9"), Some("4")), None);
        assert_eq!(of(None, Some("-1")), None);
    }

    #[test]
    fn a_digest_in_the_making_is_of_bytes_seen_here() {
        let hashers = Hashers::default();
        let mut hasher = hashers.take("a", 0).unwrap();
        hasher.update(b"text");
        hashers.keep("a", 4, hasher);
        assert!(hashers.take("a", 5).is_none(), "another node has seen more");
        assert!(hashers.take("a", 4).is_none(), "and what is known here is of no use any more");
        let mut hasher = hashers.take("b", 0).unwrap();
        hasher.update(b"text");
        hashers.keep("b", 4, hasher);
        assert_eq!(hashers.take("b", 4).unwrap().finish(), Algorithm::Sha256.digest(b"text"));
        for n in 0..HASHERS_MAX * 2 {
            hashers.keep(&n.to_string(), 1, Hasher::new(Algorithm::Sha256));
        }
        assert_eq!(hashers.0.lock().len(), HASHERS_MAX);
    }
}
