//! A request's body on its way in: read, decoded, counted, hashed, and compared with everything
//! that the client said of it.
//!
//! Invariant: whoever stores what [`Body::read`] gives makes it visible only after [`Body::finish`]
//! has succeeded. Bounded: a read holds at most what was asked for and one piece of the socket's.

use s3s::S3ErrorCode;

use super::authenticate::{Authenticated, Payload};
use super::chunked::Decoder;
use super::request::Head;
use crate::digest::{Algorithm, Digested, Digests, base64, hex, parse_md5};
use crate::fault::{Outcome, fault, internal, invalid, invalid_request, not_implemented, other};

/// Bytes asked of the socket at a time.
const PIECE_BYTES: usize = 64 << 10;

/// Where a body comes from.
pub(crate) trait Source {
    /// At least one byte and at most `limit`; nothing at the end. An error if the client has gone.
    fn read(&mut self, limit: usize) -> Result<Vec<u8>, String>;
}

/// What a client said of a body beforehand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Announced {
    /// Of the decoded body.
    length: Option<u64>,
    md5: Option<[u8; 16]>,
    sha256: Option<[u8; 32]>,
    checksum: Option<(Algorithm, Vec<u8>)>,
    /// The checksum that comes at the end.
    trailer: Option<Algorithm>,
}

/// A body.
pub(crate) struct Body {
    source: Box<dyn Source>,
    decoder: Option<Decoder>,
    announced: Announced,
    digests: Digests,
    /// Decoded bytes that nobody has taken yet.
    ready: Vec<u8>,
    ended: bool,
}

impl Body {
    /// The body of a request with this head.
    pub(crate) fn new(head: &Head, authenticated: &Authenticated, source: Box<dyn Source>) -> Outcome<Self> {
        let payload = &authenticated.payload;
        let announced = Announced::of(head, payload)?;
        let wanted = announced.checksum.as_ref().map(|(algorithm, _)| *algorithm).or(announced.trailer);
        let digests = Digests::new(announced.sha256.is_some(), wanted.or(requested(head)?));
        let decoder = match payload {
            Payload::Chunks { trailer } => Some(Decoder::new(authenticated.chain.clone(), *trailer)),
            Payload::UnsignedChunks => Some(Decoder::new(None, true)),
            Payload::Unsigned | Payload::Whole(_) => None,
        };
        Ok(Body { source, decoder, announced, digests, ready: Vec::new(), ended: false })
    }

    /// How many bytes will come, if the client said so.
    pub(crate) fn length(&self) -> Option<u64> {
        self.announced.length
    }

    /// A checksum that the client did not ask for. Before the first read.
    pub(crate) fn want(&mut self, algorithm: Algorithm) {
        self.digests.want(algorithm);
    }

    /// The next `limit` bytes, or what is left of them.
    pub(crate) fn read(&mut self, limit: usize) -> Outcome<Vec<u8>> {
        while !self.ended && self.ready.len() < limit {
            let want = (limit - self.ready.len()).clamp(1, PIECE_BYTES);
            let incomplete = |why| fault(S3ErrorCode::IncompleteBody, format!("the body broke off: {why}"));
            let piece = self.source.read(want).map_err(incomplete)?;
            if piece.is_empty() {
                self.ended = true;
                break;
            }
            let before = self.ready.len();
            match &mut self.decoder {
                Some(decoder) => decoder.feed(&piece, &mut self.ready)?,
                None if before == 0 && piece.len() <= limit => self.ready = piece,
                None => self.ready.extend_from_slice(&piece),
            }
            self.digests.update(&self.ready[before..]);
            if self.announced.length.is_some_and(|length| self.digests.length() > length) {
                return Err(fault(S3ErrorCode::IncompleteBody, "the body has more bytes than its length says"));
            }
        }
        if self.ready.len() <= limit {
            return Ok(std::mem::take(&mut self.ready));
        }
        let rest = self.ready.split_off(limit);
        Ok(std::mem::replace(&mut self.ready, rest))
    }

    /// All of it, at most `limit` bytes.
    pub(crate) fn read_all(mut self, limit: usize) -> Outcome<(Vec<u8>, Digested)> {
        let all = self.read(limit + 1)?;
        if all.len() > limit {
            let why = format!("the body of this request may have {limit} bytes");
            return Err(fault(S3ErrorCode::MaxMessageLengthExceeded, why));
        }
        Ok((all, self.finish()?))
    }

    /// Compares what came with what the client said of it. All bytes have been read.
    pub(crate) fn finish(mut self) -> Outcome<Digested> {
        if !self.ready.is_empty() || !self.read(1)?.is_empty() {
            return Err(internal("a body was not read to its end"));
        }
        let trailers = self.decoder.take().map(Decoder::finish).transpose()?.unwrap_or_default();
        let digested = self.digests.finish();
        if let Some(length) = self.announced.length
            && length != digested.length
        {
            let why = format!("the body has {} bytes, and the request said {length}", digested.length);
            return Err(fault(S3ErrorCode::IncompleteBody, why));
        }
        self.announced.compare(&digested, &trailers)?;
        Ok(digested)
    }
}

/// A checksum that is only named.
fn requested(head: &Head) -> Outcome<Option<Algorithm>> {
    let name = head.header("x-amz-sdk-checksum-algorithm").or(head.header("x-amz-checksum-algorithm"));
    name.map(algorithm).transpose()
}

/// An algorithm by its name in a header.
pub(crate) fn algorithm(name: &str) -> Outcome<Algorithm> {
    Algorithm::from_name(name).ok_or_else(|| match name {
        "MD5" | "SHA512" | "XXHASH64" | "XXHASH3" | "XXHASH128" => {
            not_implemented(&format!("the checksum algorithm {name}"))
        }
        _ => invalid(format!("there is no checksum algorithm '{name}': use CRC32, CRC32C, CRC64NVME, SHA1 or SHA256")),
    })
}

impl Announced {
    fn of(head: &Head, payload: &Payload) -> Outcome<Self> {
        let length = if payload.is_chunked() {
            let text = head.header("x-amz-decoded-content-length");
            let length = text.and_then(|text| text.parse().ok());
            let missing =
                || fault(S3ErrorCode::MissingContentLength, "the header x-amz-decoded-content-length is missing");
            Some(length.ok_or_else(missing)?)
        } else {
            head.content_length()?
        };
        let wrong_md5 = |text| {
            fault(S3ErrorCode::InvalidDigest, format!("the header Content-MD5 is '{text}', which is no MD5 in base64"))
        };
        let md5 = head.header("content-md5").map(|text| parse_md5(text).ok_or_else(|| wrong_md5(text))).transpose()?;
        let sha256 = if let Payload::Whole(digest) = payload { Some(*digest) } else { None };
        Ok(Announced { length, md5, sha256, checksum: checksum(head)?, trailer: trailer(head, payload)? })
    }

    fn compare(&self, digested: &Digested, trailers: &[(String, String)]) -> Outcome<()> {
        if self.sha256.is_some() && self.sha256 != digested.sha256 {
            let why = "the header x-amz-content-sha256 is not the SHA-256 of the body: it was changed on its way";
            return Err(other("XAmzContentSHA256Mismatch", 400, why));
        }
        if self.md5.is_some_and(|md5| md5 != digested.md5) {
            let why = format!("the header Content-MD5 is not the MD5 of the body, which is {}", hex(&digested.md5));
            return Err(fault(S3ErrorCode::BadDigest, why));
        }
        let malformed = |why: String| other("MalformedTrailerError", 400, why);
        let mut expected = self.checksum.clone();
        if let Some(algorithm) = self.trailer {
            let mut values = trailers.iter().filter(|(name, _)| name == algorithm.header());
            let (Some((_, value)), None) = (values.next(), values.next()) else {
                return Err(malformed(format!("the trailer {} was announced and is not there", algorithm.header())));
            };
            let value = algorithm
                .parse(value)
                .ok_or_else(|| malformed(format!("the trailer {} is no checksum", algorithm.header())))?;
            expected = Some((algorithm, value));
        }
        if let Some((name, _)) = trailers.iter().find(|(name, _)| self.trailer.is_none_or(|one| one.header() != name)) {
            return Err(malformed(format!("the trailer {name} was not announced")));
        }
        let Some((algorithm, value)) = expected else { return Ok(()) };
        match &digested.checksum {
            Some((_, found)) if *found == value => Ok(()),
            Some((_, found)) => {
                let (name, found) = (algorithm.name(), base64(found));
                Err(fault(
                    S3ErrorCode::BadDigest,
                    format!("The {name} you specified did not match what we received: it is {found}"),
                ))
            }
            None => Err(internal("a checksum was not computed")),
        }
    }
}

/// The checksum in the headers.
fn checksum(head: &Head) -> Outcome<Option<(Algorithm, Vec<u8>)>> {
    let values = head.headers.iter().filter_map(|(name, value)| Some((Algorithm::from_header(name)?, value)));
    let values: Vec<_> = values.collect();
    match values.as_slice() {
        [] => Ok(None),
        [(algorithm, value)] => match algorithm.parse(value) {
            Some(value) => Ok(Some((*algorithm, value))),
            None => {
                let why = format!("Value for {} header is invalid: no body has this checksum.", algorithm.header());
                Err(fault(S3ErrorCode::BadDigest, why))
            }
        },
        _ => {
            Err(invalid_request("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."))
        }
    }
}

/// The checksum that the trailer is announced to be.
fn trailer(head: &Head, payload: &Payload) -> Outcome<Option<Algorithm>> {
    let with_trailer = matches!(payload, Payload::Chunks { trailer: true } | Payload::UnsignedChunks);
    let Some(name) =
        head.header("x-amz-trailer").map(|name| name.trim().to_ascii_lowercase()).filter(|name| !name.is_empty())
    else {
        return Ok(None);
    };
    if !with_trailer {
        return Err(invalid_request(
            "the header x-amz-trailer announces a trailer, and x-amz-content-sha256 says that there is none",
        ));
    }
    let wrong = || {
        invalid_request(format!(
            "the header x-amz-trailer is '{name}'; one of the headers x-amz-checksum-… can be a trailer"
        ))
    };
    Algorithm::from_header(&name).map(Some).ok_or_else(wrong)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::digest::{Checksum, md5, sha256};
    use crate::front::signature::tests::head;

    /// Bytes in pieces of a size.
    pub(crate) struct Pieces(pub(crate) Vec<u8>, pub(crate) usize);

    impl Source for Pieces {
        fn read(&mut self, limit: usize) -> Result<Vec<u8>, String> {
            let count = self.0.len().min(limit).min(self.1);
            let rest = self.0.split_off(count);
            Ok(std::mem::replace(&mut self.0, rest))
        }
    }

    fn read(body: &[u8], payload: Payload, headers: &[(&str, &str)]) -> Outcome<(Vec<u8>, Digested)> {
        let head = head("PUT", "/b/k", "", headers);
        let authenticated = Authenticated { access_key: None, payload, chain: None };
        let mut body = Body::new(&head, &authenticated, Box::new(Pieces(body.to_vec(), 5)))?;
        let mut all = Vec::new();
        loop {
            let piece = body.read(3)?;
            if piece.is_empty() {
                return Ok((all, body.finish()?));
            }
            assert!(piece.len() <= 3);
            all.extend_from_slice(&piece);
        }
    }

    fn code(outcome: Outcome<(Vec<u8>, Digested)>) -> String {
        outcome.unwrap_err().code().as_str().to_owned()
    }

    const TEXT: &[u8] = b"some text";

    #[test]
    fn a_body_is_what_it_was_said_to_be() {
        let (data, digested) = read(TEXT, Payload::Whole(sha256(TEXT)), &[("content-length", "9")]).unwrap();
        assert_eq!((data.as_slice(), digested.md5, digested.length), (TEXT, md5(TEXT), 9));
        assert_eq!(code(read(TEXT, Payload::Whole(sha256(b"other")), &[])), "XAmzContentSHA256Mismatch");
        let md5_of = |data| base64(&md5(data));
        let with = |name: &str, value: &str| read(TEXT, Payload::Unsigned, &[(name, value)]);
        assert!(with("content-md5", &md5_of(TEXT)).is_ok());
        assert_eq!(code(with("content-md5", &md5_of(b""))), "BadDigest");
        assert_eq!(code(with("content-md5", "nonsense")), "InvalidDigest");
        assert_eq!(code(with("content-length", "10")), "IncompleteBody");
        assert_eq!(code(with("content-length", "8")), "IncompleteBody");
        for algorithm in Algorithm::ALL {
            let value = Checksum::of(algorithm, TEXT);
            let found = with(algorithm.header(), &base64(&value)).unwrap();
            assert_eq!(found.1.checksum, Some((algorithm, value)));
            let other = base64(&Checksum::of(algorithm, b"other"));
            assert_eq!(code(with(algorithm.header(), &other)), "BadDigest", "{}", algorithm.name());
            assert_eq!(code(with(algorithm.header(), "AA==")), "BadDigest");
        }
        let two = [("x-amz-checksum-crc32", "AAAAAA=="), ("x-amz-checksum-sha1", "AAAAAA==")];
        assert_eq!(code(read(TEXT, Payload::Unsigned, &two)), "InvalidRequest");
        assert!(with("x-amz-sdk-checksum-algorithm", "CRC32C").unwrap().1.checksum.is_some());
        assert_eq!(code(with("x-amz-sdk-checksum-algorithm", "CRC16")), "InvalidArgument");
    }

    #[test]
    fn a_trailer_is_compared_with_the_body_and_with_its_announcement() {
        let value = base64(&Checksum::of(Algorithm::Crc32c, TEXT));
        let body = |trailer: &str| format!("9\r\nsome text\r\n0\r\n{trailer}\r\n").into_bytes();
        let good = body(&format!("x-amz-checksum-crc32c:{value}\r\n"));
        let length = ("x-amz-decoded-content-length", "9");
        let announced = [length, ("x-amz-trailer", "x-amz-checksum-crc32c")];
        let (data, digested) = read(&good, Payload::UnsignedChunks, &announced).unwrap();
        assert_eq!((data.as_slice(), digested.checksum.unwrap().0), (TEXT, Algorithm::Crc32c));
        assert_eq!(code(read(&good, Payload::UnsignedChunks, &[length])), "MalformedTrailerError");
        assert_eq!(code(read(&body(""), Payload::UnsignedChunks, &announced)), "MalformedTrailerError");
        assert_eq!(
            code(read(&body("x-amz-checksum-crc32c:AAAAAA==\r\n"), Payload::UnsignedChunks, &announced)),
            "BadDigest"
        );
        assert_eq!(code(read(&good, Payload::UnsignedChunks, &announced[1..])), "MissingContentLength");
        let short = [("x-amz-decoded-content-length", "8"), announced[1]];
        assert_eq!(code(read(&good, Payload::UnsignedChunks, &short)), "IncompleteBody");
        let odd = [length, ("x-amz-trailer", "x-other")];
        assert_eq!(code(read(&good, Payload::UnsignedChunks, &odd)), "InvalidRequest");
        assert_eq!(code(read(TEXT, Payload::Unsigned, &announced[1..])), "InvalidRequest");
        let plain = read(&body(""), Payload::UnsignedChunks, &[length]).unwrap();
        assert_eq!(plain.0, TEXT);
    }
}
