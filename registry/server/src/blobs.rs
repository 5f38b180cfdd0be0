//! A blob's way out, its removal, and mounts.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use hyper::header::RANGE;
use hyper::{Response, StatusCode};
use recoil_oci::records::{Answer as Record, Command, Link, Part};
use recoil_oci::{Digest, Repository};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::conditional::{entity_tag, heeds_range, unsent};
use crate::failure::{Code, Failure};
use crate::records::{Records, chunk_key, unexpected};
use crate::store::StoreError;
use crate::uploads::busy;
use crate::{Answer, Body, BodyError, CHUNK_BYTES, Head, Registry, TURN_TIMEOUT, bare, builtin, empty, full, set};

/// How long a client may take for a chunk.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);
/// Chunks read ahead of the one being sent.
const READ_AHEAD: usize = 3;

fn unknown(name: &Repository, digest: &Digest) -> Failure {
    Failure::not_found(Code::BlobUnknown, format!("{name} has no blob {digest}"))
}

/// 201 of a blob.
pub(crate) fn created(name: &Repository, digest: &Digest) -> Answer {
    let mut answer = bare(StatusCode::CREATED);
    set(&mut answer, "location", format!("/v2/{name}/blobs/{digest}"));
    set(&mut answer, "docker-content-digest", digest.as_str());
    answer
}

/// The bytes of a range of a content, chunk by chunk; nothing after an error.
pub(crate) fn chunks(
    records: &Records,
    parts: &[Part],
    range: Range<u64>,
) -> BoxStream<'static, Result<Bytes, StoreError>> {
    let pieces: Vec<(String, u64, Range<u64>)> = parts
        .iter()
        .scan(0, |end, part| {
            let start = *end;
            *end += part.bytes;
            // The part's own bytes that the range asks for.
            let wanted = range.start.max(start).min(*end) - start..range.end.min(*end).max(start) - start;
            Some((part.id.clone(), part.bytes, wanted))
        })
        .filter(|(_, _, wanted)| !wanted.is_empty())
        .collect();
    let store = records.store.clone();
    let chunk_bytes = CHUNK_BYTES as u64;
    let numbered = pieces.into_iter().flat_map(move |(part, bytes, wanted)| {
        let numbers = wanted.start / chunk_bytes..wanted.end.div_ceil(chunk_bytes);
        numbers.map(move |number| {
            let start = number * chunk_bytes;
            let length = chunk_bytes.min(bytes - start);
            let slice = wanted.start.saturating_sub(start)..(wanted.end - start).min(length);
            (chunk_key(&part, number as u32), length, slice.start as usize..slice.end as usize)
        })
    });
    let read = stream::iter(numbered).map(move |(key, length, slice)| {
        let store = store.clone();
        async move {
            let chunk = store.chunk(key).await?;
            let chunk = chunk.filter(|chunk| chunk.len() as u64 >= length);
            let chunk =
                chunk.ok_or_else(|| StoreError::Failed("bytes of a blob are missing; was it removed?".into()))?;
            Ok(chunk.slice(slice))
        }
    });
    let mut failed = false;
    let read = read.buffered(READ_AHEAD).take_while(move |chunk| {
        let goes_on = !failed;
        failed |= chunk.is_err();
        std::future::ready(goes_on)
    });
    read.boxed()
}

/// The bytes that a request asks for, of so many. None: all of them. What is no range of bytes is not heeded, as HTTP has it.
fn wanted(request: &Head, digest: &Digest, size: u64) -> Result<Option<Range<u64>>, Failure> {
    if !heeds_range(request, digest) {
        return Ok(None);
    }
    let text = request.headers.get(RANGE).and_then(|value| value.to_str().ok());
    let (unit, spec) = text.and_then(|text| text.trim().split_once('=')).unwrap_or_default();
    if !unit.eq_ignore_ascii_case("bytes") || spec.contains(',') {
        return Ok(None);
    }
    let Some((first, last)) = spec.split_once('-') else { return Ok(None) };
    let number = |text: &str| match text.trim().starts_with('+') {
        true => Err(()),
        false => text.trim().parse::<u64>().map_err(|_| ()),
    };
    let range = match (first.trim().is_empty(), number(first), number(last)) {
        (true, _, Ok(count)) => size.saturating_sub(count)..size,
        (false, Ok(first), Ok(last)) if first <= last => first..last.saturating_add(1).min(size),
        (false, Ok(first), Err(_)) if last.trim().is_empty() => first..size,
        _ => 0..0,
    };
    if range.is_empty() {
        let why = format!("the blob has {size} bytes, and none in the range asked for");
        let failure = Failure::new(StatusCode::RANGE_NOT_SATISFIABLE, Code::SizeInvalid, why);
        return Err(failure.with("content-range", format!("bytes */{size}")));
    }
    Ok(Some(range))
}

impl Registry {
    pub(crate) async fn download_turn(&self) -> Result<OwnedSemaphorePermit, Failure> {
        match tokio::time::timeout(TURN_TIMEOUT, self.downloads.clone().acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(busy("downloads")),
        }
    }

    async fn find_link(&self, name: &Repository, digest: &Digest) -> Result<Option<Link>, StoreError> {
        let find = Command::Find { repository: name.clone(), digest: digest.clone() };
        match self.records.ask(find).await? {
            Record::Link { link } => Ok(Some(link)),
            Record::Absent => Ok(None),
            other => Err(unexpected(other)),
        }
    }

    /// The parts of a linked content; none if it has gone.
    async fn parts(&self, link: &Link) -> Result<Option<Vec<Part>>, StoreError> {
        match self.records.ask(Command::Content { id: link.content.clone() }).await? {
            Record::Content { content, .. } if content.sealed && content.going.is_none() => Ok(Some(content.parts)),
            Record::Content { .. } | Record::Absent => Ok(None),
            other => Err(unexpected(other)),
        }
    }

    /// `GET` and `HEAD …/blobs/DIGEST`.
    pub(crate) async fn blob(&self, name: &Repository, digest: &Digest, request: &Head) -> Result<Answer, Failure> {
        if builtin::is_reserved(name) {
            let bytes = self.builtin.blob(name, digest).ok_or_else(|| unknown(name, digest))?;
            if let Some(answer) = unsent(request, digest)? {
                return Ok(answer);
            }
            let range = wanted(request, digest, bytes.len() as u64)?;
            let part =
                range.clone().map_or(bytes.clone(), |range| bytes.slice(range.start as usize..range.end as usize));
            return Ok(blob_answer(digest, bytes.len() as u64, range, full(part)));
        }
        let link = self.find_link(name, digest).await?.ok_or_else(|| unknown(name, digest))?;
        if let Some(answer) = unsent(request, digest)? {
            return Ok(answer);
        }
        let range = wanted(request, digest, link.size)?;
        let asked = range.clone().unwrap_or(0..link.size);
        if request.method == hyper::Method::HEAD || asked.is_empty() {
            return Ok(blob_answer(digest, link.size, range, empty()));
        }
        let turn = self.download_turn().await?;
        let Some(parts) = self.parts(&link).await? else {
            // Its bytes went although it was linked. That must not be, and must not stay: the next push makes it good.
            tracing::error!(repository = %name, %digest, "a blob is linked whose bytes are gone; the link is removed");
            let (repository, digest) = (name.clone(), digest.clone());
            self.records.ask(Command::Unlink { repository, digest: digest.clone(), token: Some(link.token) }).await?;
            return Err(unknown(name, &digest));
        };
        let (sender, receiver) = mpsc::channel(1);
        let chunks = chunks(&self.records, &parts, asked);
        self.records.store.background(Box::pin(send(chunks, sender, turn)));
        let frames = stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) });
        Ok(blob_answer(digest, link.size, range, StreamBody::new(frames).boxed_unsync()))
    }

    /// All bytes of a blob that has no more than `limit`.
    pub(crate) async fn whole_blob(
        &self,
        name: &Repository,
        digest: &Digest,
        limit: u64,
    ) -> Result<Option<Bytes>, StoreError> {
        if builtin::is_reserved(name) {
            return Ok(self.builtin.blob(name, digest));
        }
        let Some(link) = self.find_link(name, digest).await?.filter(|link| link.size <= limit) else { return Ok(None) };
        let Some(parts) = self.parts(&link).await? else { return Ok(None) };
        let mut bytes = Vec::with_capacity(link.size as usize);
        let mut chunks = chunks(&self.records, &parts, 0..link.size);
        while let Some(chunk) = chunks.next().await {
            bytes.extend_from_slice(&chunk?);
        }
        Ok(Some(bytes.into()))
    }

    /// `DELETE …/blobs/DIGEST`. Manifests that need it are left without it, which is what was asked for.
    pub(crate) async fn remove_blob(&self, name: &Repository, digest: &Digest) -> Result<Answer, Failure> {
        let unlink = Command::Unlink { repository: name.clone(), digest: digest.clone(), token: None };
        match self.records.ask(unlink).await? {
            Record::Link { link } => {
                self.records.release(&link.content, &link.token).await?;
                Ok(bare(StatusCode::ACCEPTED))
            }
            Record::Absent => Err(unknown(name, digest)),
            other => Err(unexpected(other).into()),
        }
    }

    /// Links another repository's blob, if it is there.
    pub(crate) async fn mount(
        &self,
        name: &Repository,
        digest: &Digest,
        from: Option<&str>,
    ) -> Result<Option<Answer>, Failure> {
        let touch = Command::Touch { repository: name.clone(), digest: digest.clone() };
        if let Record::Link { .. } = self.records.ask(touch).await? {
            return Ok(Some(created(name, digest)));
        }
        let Some(from) = from.and_then(|from| from.parse::<Repository>().ok()) else { return Ok(None) };
        if builtin::is_reserved(&from) {
            // Nothing of it is in the store yet. Some clients (`docker manifest push`) mount and do not upload what cannot be mounted.
            let Some(bytes) = self.builtin.blob(&from, digest) else { return Ok(None) };
            return self.store_blob(name, digest, bytes).await.map(Some);
        }
        let Some(source) = self.find_link(&from, digest).await? else { return Ok(None) };
        let token = self.records.new_id();
        let hold = Command::Hold {
            id: source.content.clone(),
            token: token.clone(),
            repository: name.clone(),
            digest: digest.clone(),
        };
        match self.records.ask(hold).await? {
            Record::Content { now_us, .. } => {
                self.link(name, Link { token, since_us: now_us, ..source }).await?;
                Ok(Some(created(name, digest)))
            }
            // It has just gone.
            Record::Absent => Ok(None),
            other => Err(unexpected(other).into()),
        }
    }
}

/// Hands chunks to a client's connection, with the turn that this takes, as long as the client takes them.
async fn send(
    mut chunks: BoxStream<'static, Result<Bytes, StoreError>>,
    sender: mpsc::Sender<Result<Frame<Bytes>, BodyError>>,
    turn: OwnedSemaphorePermit,
) {
    while let Some(chunk) = chunks.next().await {
        let frame = chunk.map(Frame::data).map_err(BodyError::other);
        // The client has gone, or takes nothing. The announced length tells it that this was not all.
        if sender.send_timeout(frame, SEND_TIMEOUT).await.is_err() {
            break;
        }
    }
    drop(turn);
}

fn blob_answer(digest: &Digest, size: u64, range: Option<Range<u64>>, body: Body) -> Answer {
    let mut found: Answer = Response::new(empty());
    let length = range.as_ref().map_or(size, |range| range.end - range.start);
    if let Some(range) = &range {
        *found.status_mut() = StatusCode::PARTIAL_CONTENT;
        set(&mut found, "content-range", format!("bytes {}-{}/{size}", range.start, range.end - 1));
    }
    set(&mut found, "content-length", length.to_string());
    set(&mut found, "content-type", "application/octet-stream");
    set(&mut found, "accept-ranges", "bytes");
    set(&mut found, "docker-content-digest", digest.as_str());
    // What is named by its digest never changes.
    set(&mut found, "etag", entity_tag(digest));
    *found.body_mut() = body;
    found
}

#[cfg(test)]
mod tests {
    use recoil_oci::Algorithm;

    use super::*;

    #[test]
    fn ranges_are_what_http_says() {
        let of = |range: &str, size: u64| {
            let request = hyper::Request::builder().header(RANGE, range).body(()).unwrap();
            wanted(&request.into_parts().0, &Algorithm::Sha256.digest(b""), size).map_err(|_| ())
        };
        assert_eq!(of("bytes=500-1499", 5000), Ok(Some(500..1500)));
        assert_eq!(of("bytes=500-", 5000), Ok(Some(500..5000)));
        assert_eq!(of("Bytes=500-1499", 5000), Ok(Some(500..1500)), "in any case");
        assert_eq!(of("bytes=-500", 5000), Ok(Some(4500..5000)));
        assert_eq!(of("bytes=-9000", 5000), Ok(Some(0..5000)));
        assert_eq!(of("bytes=2000-9999", 5000), Ok(Some(2000..5000)));
        assert_eq!(of(&format!("bytes=0-{}", u64::MAX), 5000), Ok(Some(0..5000)));
        for bad in ["bytes=500-0", "bytes=5000-10000", "bytes=-0", "bytes=-", "bytes=x-1", "bytes=1-x", "bytes=+1-2"] {
            assert_eq!(of(bad, 5000), Err(()), "{bad}");
        }
        assert_eq!(of("bytes=0-0", 0), Err(()));
        for other in ["lines=1-2", "bytes=1-2,4-5", "nonsense"] {
            assert_eq!(of(other, 5000), Ok(None), "{other}");
        }
    }
}
