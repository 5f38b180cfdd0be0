//! The bytes of objects, on their way in and out.
//!
//! In: few bytes go with the command that makes the version. More of them go into chunks,
//! [`WINDOW`] of them under way at a time; nothing refers to them before they are all there. Out:
//! chunks are read [`AHEAD`] of the one that is being sent, from any replica, since a chunk never
//! changes; one that a replica does not have yet is asked of the leader.
//!
//! Bounded: a request holds `WINDOW + 1` chunks, or `AHEAD + 1`.

use std::collections::VecDeque;

use recoil_sdk::{Mode, Pending, RoutedCall};
use s3s::S3ErrorCode;

use super::session::{INLINE_BYTES_MAX, Session, may_repeat, place, unexpected};
use crate::data::command::{Answer, Bytes, Command, Condition, Operation, encode};
use crate::data::keys::{self, CHUNK_BYTES, RUN_CHUNKS};
use crate::data::rows::{Bucket, Id, Piece};
use crate::digest::{Algorithm, Digested};
use crate::fault::{Outcome, fault, internal};
use crate::front::payload::Body;

/// Chunks being written at a time.
const WINDOW: usize = 2;
/// Chunks being read ahead.
const AHEAD: usize = 3;
/// Bytes of an object that is put at once, or of a part.
pub(super) const PUT_BYTES_MAX: u64 = 5 << 30;
/// An upload says that it lives.
const TOUCH_US: u64 = 300 * 1_000_000;

/// What was stored of a body.
pub(super) struct Stored {
    pub(super) bytes: Bytes,
    /// Those that go with the command.
    pub(super) attached: Vec<u8>,
    pub(super) digested: Digested,
}

/// Where bytes come from that are stored.
pub(super) trait Bytestream {
    /// The next `limit` bytes, or what is left of them.
    fn read(&mut self, limit: usize) -> Outcome<Vec<u8>>;
    /// What they came to, once they have all been read and are what they should be.
    fn finish(self: Box<Self>) -> Outcome<Digested>;
    /// How many there will be.
    fn length(&self) -> Option<u64>;
    /// A checksum that is wanted beside what the client asked for.
    fn want(&mut self, algorithm: Algorithm);
}

impl Bytestream for Body {
    fn read(&mut self, limit: usize) -> Outcome<Vec<u8>> {
        Body::read(self, limit)
    }
    fn finish(self: Box<Self>) -> Outcome<Digested> {
        Body::finish(*self)
    }
    fn length(&self) -> Option<u64> {
        Body::length(self)
    }
    fn want(&mut self, algorithm: Algorithm) {
        Body::want(self, algorithm);
    }
}

/// What a body is going to be.
pub(super) struct Purpose<'a> {
    pub(super) bucket: &'a Bucket,
    pub(super) key: &'a str,
    /// A part of this upload: then even a few bytes go into a chunk.
    pub(super) upload: Option<Id>,
    pub(super) condition: Condition,
}

impl Session {
    /// Stores a body. What it is not followed by a commit is freed.
    pub(super) fn store(&self, purpose: &Purpose<'_>, mut body: Box<dyn Bytestream + '_>) -> Outcome<Stored> {
        let length = body.length().ok_or_else(|| {
            fault(S3ErrorCode::MissingContentLength, "You must provide the Content-Length HTTP header.")
        })?;
        if length > PUT_BYTES_MAX {
            let why = format!(
                "Your proposed upload exceeds the maximum allowed size: it has {length} bytes, and {PUT_BYTES_MAX} are \
                    allowed; upload it in parts"
            );
            return Err(fault(S3ErrorCode::EntityTooLarge, why));
        }
        if purpose.upload.is_none() && length <= INLINE_BYTES_MAX as u64 {
            let attached = body.read(INLINE_BYTES_MAX + 1)?;
            let digested = body.finish()?;
            return Ok(Stored { bytes: Bytes::Attached, attached, digested });
        }
        let content = self.id();
        let (condition, upload) = (purpose.condition.clone(), purpose.upload);
        let begin = Operation::Begin { content, reserved: length, upload, condition };
        let begun = self.key(purpose.bucket, purpose.key, begin, Mode::Write)?.0;
        let Answer::Begun { checksum } = begun else { return Err(unexpected(&begun)) };
        if let Some((algorithm, _)) = checksum {
            body.want(algorithm);
        }
        let stored = self.store_chunks(purpose, content, &mut body).and_then(|()| body.finish());
        match stored {
            Ok(digested) => Ok(Stored { bytes: Bytes::Content(content), attached: vec![], digested }),
            Err(error) => {
                self.discard(purpose, content);
                Err(error)
            }
        }
    }

    /// Gives up what was stored and will not be referred to. If that fails, it expires.
    pub(super) fn discard(&self, purpose: &Purpose<'_>, content: Id) {
        let _ = self.key(purpose.bucket, purpose.key, Operation::Discard { content }, Mode::Write);
    }

    fn store_chunks(&self, purpose: &Purpose<'_>, content: Id, body: &mut Box<dyn Bytestream + '_>) -> Outcome<()> {
        let mut under_way: VecDeque<(RoutedCall, Pending)> = VecDeque::new();
        let mut touched_us = self.machine.now_us();
        let mut index = 0u32;
        let result = loop {
            let chunk = match body.read(CHUNK_BYTES) {
                Ok(chunk) if chunk.is_empty() => break Ok(()),
                Ok(chunk) => chunk,
                Err(error) => break Err(error),
            };
            if under_way.len() >= WINDOW
                && let Some(oldest) = under_way.pop_front()
                && let Err(error) = self.finish_chunk(oldest)
            {
                break Err(error);
            }
            let request = match encode(&Command::PutChunk { content, index }, &chunk) {
                Ok(request) => request,
                Err(error) => break Err(internal(error.message())),
            };
            let call = RoutedCall::write(&keys::run_address(&content, index / RUN_CHUNKS), request);
            let pending = self.router.submit(&call);
            under_way.push_back((call, pending));
            index += 1;
            let now_us = self.machine.now_us();
            if now_us > touched_us + TOUCH_US {
                touched_us = now_us;
                if let Err(error) = self.key(purpose.bucket, purpose.key, Operation::Touch { content }, Mode::Write) {
                    break Err(error);
                }
            }
        };
        // All of them end before anybody is told anything, so that none is under way when the
        // content is freed.
        let mut result = result;
        for call in under_way {
            let ended = self.finish_chunk(call);
            result = result.and(ended);
        }
        result
    }

    fn finish_chunk(&self, (call, pending): (RoutedCall, Pending)) -> Outcome<()> {
        match pending.wait() {
            Err(error) if may_repeat(&error) => self.call_encoded(&call).map(drop),
            result => self.answer(&call, result).map(drop),
        }
    }
}

/// Bytes on their way out.
pub(crate) struct Download {
    /// What there is of them already.
    inline: Vec<u8>,
    /// Where the rest of the manifest is.
    place: Option<(Bucket, String, Id)>,
    pieces: VecDeque<Piece>,
    /// Where the first of them begins.
    piece_from: u64,
    /// The next byte to ask for, and the one after the last.
    next: u64,
    end: u64,
    under_way: VecDeque<Wanted>,
    whole: u64,
}

/// A chunk that was asked for.
struct Wanted {
    call: RoutedCall,
    pending: Pending,
    /// Which of its bytes are wanted.
    from: usize,
    to: usize,
}

impl Download {
    pub(super) fn inline(bytes: Vec<u8>) -> Self {
        let whole = bytes.len() as u64;
        let (pieces, under_way) = (VecDeque::new(), VecDeque::new());
        Download { inline: bytes, place: None, pieces, piece_from: 0, next: 0, end: 0, under_way, whole }
    }

    /// The bytes of `range` of a version, of whose manifest `pieces` begin at the byte `from`.
    pub(super) fn chunks(
        bucket: Bucket,
        key: String,
        version: Id,
        range: (u64, u64),
        from: u64,
        pieces: Vec<Piece>,
    ) -> Self {
        let (pieces, under_way) = (pieces.into(), VecDeque::new());
        let (next, end) = range;
        let place = Some((bucket, key, version));
        Download { inline: vec![], place, pieces, piece_from: from, next, end, under_way, whole: end - next }
    }

    /// How many bytes there are.
    pub(crate) fn length(&self) -> u64 {
        self.whole
    }

    /// The next bytes; nothing at the end.
    pub(crate) fn read(&mut self, session: &Session) -> Outcome<Vec<u8>> {
        if !self.inline.is_empty() {
            return Ok(std::mem::take(&mut self.inline));
        }
        while self.under_way.len() <= AHEAD && self.next < self.end {
            self.ask(session)?;
        }
        let Some(Wanted { call, pending, from, to }) = self.under_way.pop_front() else { return Ok(vec![]) };
        let result = match pending.wait() {
            Err(error) if may_repeat(&error) => session.call_encoded(&RoutedCall { mode: Mode::Read, ..call.clone() }),
            result => session.answer(&call, result),
        };
        let chunk = match result? {
            (Answer::Done, chunk) => chunk,
            // This replica has not got it yet.
            (Answer::Absent, _) => match session.call_encoded(&RoutedCall { mode: Mode::Read, ..call })? {
                (Answer::Done, chunk) => chunk,
                _ => return Err(internal("a chunk of the object is missing: it was removed while it was read")),
            },
            (other, _) => return Err(unexpected(&other)),
        };
        let bytes = chunk.get(from..to).ok_or_else(|| internal("a chunk of the object is too short"))?;
        Ok(if bytes.len() == chunk.len() { chunk } else { bytes.to_vec() })
    }

    /// Asks for the chunk that holds the next byte.
    fn ask(&mut self, session: &Session) -> Outcome<()> {
        while self.pieces.front().is_some_and(|piece| self.piece_from + piece.length <= self.next) {
            self.piece_from += self.pieces.pop_front().map_or(0, |piece| piece.length);
        }
        if self.pieces.is_empty() {
            self.more(session)?;
        }
        let Some(piece) = self.pieces.front() else { return Err(internal("the object's manifest ends early")) };
        let within = self.next - self.piece_from;
        let index = u32::try_from(within / CHUNK_BYTES as u64).map_err(|_| internal("a content is too long"))?;
        let chunk_from = u64::from(index) * CHUNK_BYTES as u64;
        let chunk_end = (chunk_from + CHUNK_BYTES as u64).min(piece.length);
        let until = (self.end - self.piece_from).min(chunk_end);
        let command = Command::Chunk { content: piece.content, index };
        let request = encode(&command, b"").map_err(|error| internal(error.message()))?;
        let mut call = RoutedCall::read(&keys::run_address(&piece.content, index / RUN_CHUNKS), request);
        call.mode = Mode::StaleRead;
        let pending = session.router.submit(&call);
        let (from, to) = ((within - chunk_from) as usize, (until - chunk_from) as usize);
        self.under_way.push_back(Wanted { call, pending, from, to });
        self.next = self.piece_from + until;
        Ok(())
    }

    fn more(&mut self, session: &Session) -> Outcome<()> {
        let Some((bucket, key, version)) = &self.place else { return Ok(()) };
        let manifest = Operation::Manifest { version: *version, from: self.next };
        let place = place(bucket, key);
        let command = Command::Key { place, key: key.clone(), caller: session.caller(), operation: manifest };
        match session.read(keys::shard_address(&place), &command)? {
            Answer::Pieces { from, pieces } => {
                (self.piece_from, self.pieces) = (from, pieces.into());
                Ok(())
            }
            _ => Err(internal("the object was removed while it was read")),
        }
    }
}

/// The bytes of a version, to be stored again.
pub(super) struct Copied<'a> {
    pub(super) session: &'a Session,
    pub(super) download: Download,
    pub(super) ready: Vec<u8>,
    pub(super) digests: crate::digest::Digests,
}

impl Copied<'_> {
    fn take(&mut self, limit: usize) -> Outcome<Vec<u8>> {
        while self.ready.len() < limit {
            let piece = self.download.read(self.session)?;
            if piece.is_empty() {
                break;
            }
            self.digests.update(&piece);
            self.ready.extend_from_slice(&piece);
        }
        let rest = self.ready.split_off(limit.min(self.ready.len()));
        Ok(std::mem::replace(&mut self.ready, rest))
    }
}

impl Bytestream for Copied<'_> {
    fn read(&mut self, limit: usize) -> Outcome<Vec<u8>> {
        self.take(limit)
    }
    fn finish(self: Box<Self>) -> Outcome<Digested> {
        Ok(self.digests.finish())
    }
    fn length(&self) -> Option<u64> {
        Some(self.download.length())
    }
    fn want(&mut self, algorithm: Algorithm) {
        self.digests.want(algorithm);
    }
}
