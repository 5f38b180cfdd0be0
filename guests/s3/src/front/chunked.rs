//! `aws-chunked`: bodies whose pieces are signed one by one, or end with a checksum.
//!
//! ```text
//! 10000;chunk-signature=SIGNATURE\r\n  65536 bytes  \r\n      … and so on; of unsigned bodies, the size alone
//! 0;chunk-signature=SIGNATURE\r\n
//! x-amz-checksum-crc32c:VALUE\r\n                             trailers, if the request announced them
//! x-amz-trailer-signature:SIGNATURE\r\n                       of signed bodies with trailers
//! \r\n
//! ```
//!
//! The decoder does no I/O. It passes bytes on as they come and hashes them beside, so a chunk may
//! be as large as it likes: some SDKs send a whole body as one. A chunk whose signature turns out
//! to be wrong fails the request, and nothing that was passed on may be visible before
//! [`Decoder::finish`] has succeeded.
//!
//! Bounded: a line has [`LINE_BYTES_MAX`], all trailers have [`TRAILER_BYTES_MAX`].

use sha2::{Digest as _, Sha256};

use s3s::S3ErrorCode;

use super::authenticate::{Chain, is_same};
use super::signature::{ALGORITHM, hmac};
use crate::digest::{hex, sha256};
use crate::fault::{Outcome, denied, fault, other};

const LINE_BYTES_MAX: usize = 4096;
const TRAILER_BYTES_MAX: usize = 16 << 10;
/// Every chunk but the last has at least this.
pub(crate) const CHUNK_BYTES_MIN: u64 = 8192;
const TRAILER_SIGNATURE: &str = "x-amz-trailer-signature";

enum State {
    /// In the line that begins a chunk.
    Header,
    /// In a chunk's data.
    Data {
        left: u64,
    },
    /// In the line end behind a chunk's data.
    DataEnd {
        seen: usize,
    },
    /// In a line of the trailer, or the empty one that ends it.
    Trailer,
    Done,
}

/// Decodes one body.
pub(crate) struct Decoder {
    state: State,
    line: Vec<u8>,
    /// None for bodies that are not signed.
    chain: Option<Chain>,
    with_trailer: bool,
    /// What the present chunk says of itself, and what it is.
    signature: String,
    hasher: Sha256,
    last_bytes: Option<u64>,
    trailers: Vec<(String, String)>,
    trailer_bytes: usize,
    trailer_signature: Option<String>,
}

impl Decoder {
    pub(crate) fn new(chain: Option<Chain>, with_trailer: bool) -> Self {
        Decoder {
            state: State::Header,
            line: Vec::new(),
            chain,
            with_trailer,
            signature: String::new(),
            hasher: Sha256::new(),
            last_bytes: None,
            trailers: Vec::new(),
            trailer_bytes: 0,
            trailer_signature: None,
        }
    }

    /// Decodes all of `input`, and appends what it holds to `data`.
    pub(crate) fn feed(&mut self, mut input: &[u8], data: &mut Vec<u8>) -> Outcome<()> {
        while !input.is_empty() {
            match &mut self.state {
                State::Header | State::Trailer => {
                    let Some(line) = self.take_line(&mut input)? else { return Ok(()) };
                    if matches!(self.state, State::Header) {
                        self.begin_chunk(&line)?
                    } else {
                        self.trailer_line(&line)?
                    }
                }
                State::Data { left } => {
                    let count = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
                    let (piece, rest) = input.split_at(count);
                    data.extend_from_slice(piece);
                    *left -= count as u64;
                    let ended = *left == 0;
                    input = rest;
                    if self.chain.is_some() {
                        self.hasher.update(piece);
                    }
                    if ended {
                        self.end_chunk()?;
                        self.state = State::DataEnd { seen: 0 };
                    }
                }
                State::DataEnd { seen } => {
                    if input[0] != b"\r\n"[*seen] {
                        return Err(malformed("a chunk has more bytes than it said"));
                    }
                    *seen += 1;
                    input = &input[1..];
                    if *seen == 2 {
                        self.state = State::Header;
                    }
                }
                State::Done => return Err(malformed("there are bytes behind the last chunk")),
            }
        }
        Ok(())
    }

    /// The trailers, once the body has ended where it should.
    pub(crate) fn finish(self) -> Outcome<Vec<(String, String)>> {
        match self.state {
            State::Done => Ok(self.trailers),
            _ => Err(fault(S3ErrorCode::IncompleteBody, "the body ended before its last chunk")),
        }
    }

    /// A line without its end, once all of it is there.
    fn take_line(&mut self, input: &mut &[u8]) -> Outcome<Option<String>> {
        let end = input.iter().position(|byte| *byte == b'\n');
        let (piece, rest) = input.split_at(end.map_or(input.len(), |end| end + 1));
        self.line.extend_from_slice(piece);
        *input = rest;
        if self.line.len() > LINE_BYTES_MAX {
            return Err(malformed("a line between chunks is too long"));
        }
        if end.is_none() {
            return Ok(None);
        }
        let line = std::mem::take(&mut self.line);
        let line = line.strip_suffix(b"\r\n").ok_or_else(|| malformed("a line does not end with CR LF"))?;
        let line = std::str::from_utf8(line).map_err(|_| malformed("a line between chunks is not text"))?;
        Ok(Some(line.to_owned()))
    }

    fn begin_chunk(&mut self, line: &str) -> Outcome<()> {
        let (size, extension) = line.split_once(';').map_or((line, None), |(size, extension)| (size, Some(extension)));
        let digits = !size.is_empty() && size.len() <= 16 && size.bytes().all(|byte| byte.is_ascii_hexdigit());
        let size = u64::from_str_radix(size, 16).ok().filter(|_| digits);
        let size = size.ok_or_else(|| malformed("a chunk does not begin with its size"))?;
        if self.chain.is_some() {
            let signature = extension.and_then(|extension| extension.trim().strip_prefix("chunk-signature="));
            self.signature = signature.ok_or_else(|| malformed("a chunk has no chunk-signature"))?.to_owned();
        }
        if size > 0 {
            if self.last_bytes.is_some_and(|bytes| bytes < CHUNK_BYTES_MIN) {
                let why = format!("every chunk but the last must have at least {CHUNK_BYTES_MIN} bytes");
                return Err(other("InvalidChunkSizeError", 403, why));
            }
            self.last_bytes = Some(size);
            self.state = State::Data { left: size };
            return Ok(());
        }
        self.end_chunk()?;
        self.state = State::Trailer;
        Ok(())
    }

    /// Compares the chunk with its signature, and goes on from that.
    fn end_chunk(&mut self) -> Outcome<()> {
        let Some(chain) = &mut self.chain else { return Ok(()) };
        let digest: [u8; 32] = std::mem::take(&mut self.hasher).finalize().into();
        let (time, scope, previous) = (&chain.time, &chain.scope, &chain.seed);
        let nothing = hex(&sha256(b""));
        let text = format!("{ALGORITHM}-PAYLOAD\n{time}\n{scope}\n{previous}\n{nothing}\n{}", hex(&digest));
        if !is_same(&self.signature, &hmac(&chain.key, text.as_bytes())) {
            let why = "the signature of a chunk is not that of its bytes: they were changed on their way";
            return Err(fault(S3ErrorCode::SignatureDoesNotMatch, why));
        }
        chain.seed = std::mem::take(&mut self.signature);
        Ok(())
    }

    fn trailer_line(&mut self, line: &str) -> Outcome<()> {
        if line.is_empty() {
            self.end_trailer()?;
            self.state = State::Done;
            return Ok(());
        }
        if !self.with_trailer {
            return Err(trailer("the body has one, and the request announced none"));
        }
        self.trailer_bytes += line.len();
        if self.trailer_bytes > TRAILER_BYTES_MAX {
            return Err(trailer(&format!("it has more than {TRAILER_BYTES_MAX} bytes")));
        }
        let (name, value) = line.split_once(':').ok_or_else(|| trailer("a line has no colon"))?;
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim().to_owned());
        if name == TRAILER_SIGNATURE {
            self.trailer_signature = Some(value);
        } else if self.trailer_signature.is_some() {
            return Err(trailer("there is something behind its signature"));
        } else {
            self.trailers.push((name, value));
        }
        Ok(())
    }

    fn end_trailer(&mut self) -> Outcome<()> {
        let Some(chain) = self.chain.as_ref().filter(|_| self.with_trailer) else { return Ok(()) };
        let signature = self.trailer_signature.as_ref().ok_or_else(|| trailer("it is not signed"))?;
        let lines: String = self.trailers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let (time, scope, previous) = (&chain.time, &chain.scope, &chain.seed);
        let digest = hex(&sha256(lines.as_bytes()));
        let text = format!("{ALGORITHM}-TRAILER\n{time}\n{scope}\n{previous}\n{digest}");
        if !is_same(signature, &hmac(&chain.key, text.as_bytes())) {
            return Err(denied(
                "the signature of the trailer is not that of its lines: they were changed on their way",
            ));
        }
        Ok(())
    }
}

fn malformed(why: &str) -> s3s::S3Error {
    fault(S3ErrorCode::InvalidRequest, format!("the body is no aws-chunked body: {why}"))
}

fn trailer(why: &str) -> s3s::S3Error {
    other("MalformedTrailerError", 400, format!("the body's trailer is malformed: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::front::signature::tests::{SECRET, scope};

    const TIME: &str = "20130524T000000Z";

    fn chain(seed: &str) -> Chain {
        Chain { key: scope().key(SECRET), time: TIME.into(), scope: scope().text(), seed: seed.into() }
    }

    type Decoded = (Vec<u8>, Vec<(String, String)>);

    fn decode(mut decoder: Decoder, body: &[u8], step: usize) -> Outcome<Decoded> {
        let mut data = Vec::new();
        body.chunks(step).try_for_each(|piece| decoder.feed(piece, &mut data))?;
        Ok((data, decoder.finish()?))
    }

    fn code(outcome: Outcome<Decoded>) -> String {
        outcome.unwrap_err().code().as_str().to_owned()
    }

    /// The example of the API's reference: 65,536 and 1,024 letters.
    fn example() -> (Decoder, Vec<u8>) {
        let seed = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
        let mut body = Vec::new();
        let chunks = [
            (65536, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"),
            (1024, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"),
            (0, "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"),
        ];
        for (size, signature) in chunks {
            body.extend_from_slice(format!("{size:x};chunk-signature={signature}\r\n").as_bytes());
            body.extend_from_slice(&vec![b'a'; size]);
            body.extend_from_slice(b"\r\n");
        }
        (Decoder::new(Some(chain(seed)), false), body)
    }

    #[test]
    fn signed_chunks_are_decoded_however_they_are_cut() {
        for step in [1, 7, 8192, usize::MAX] {
            let (decoder, body) = example();
            let (data, trailers) = decode(decoder, &body, step.min(body.len())).unwrap();
            assert_eq!((data, trailers), (vec![b'a'; 66_560], vec![]), "{step}");
        }
    }

    /// Fails if bytes, sizes or order of signed chunks can be changed.
    #[test]
    fn a_changed_chunk_is_refused() {
        let changed = |change: &dyn Fn(&mut Vec<u8>)| {
            let (decoder, mut body) = example();
            change(&mut body);
            code(decode(decoder, &body, 4096))
        };
        assert_eq!(changed(&|body| body[100] = b'b'), "SignatureDoesNotMatch");
        assert_eq!(changed(&|body| body[10] = b'0'), "InvalidRequest");
        assert_eq!(changed(&|body| body[25] ^= 1), "SignatureDoesNotMatch");
        assert_eq!(changed(&|body| body.truncate(body.len() - 40)), "IncompleteBody");
        assert_eq!(changed(&|body| body.truncate(65_600)), "IncompleteBody");
        assert_eq!(changed(&|body| body.extend_from_slice(b"x")), "InvalidRequest");
    }

    #[test]
    fn an_unsigned_body_has_its_trailers() {
        let body = b"4\r\ntext\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\nOther: b \r\n\r\n";
        let (data, trailers) = decode(Decoder::new(None, true), body, 3).unwrap();
        let expected = [("x-amz-checksum-crc32", "AAAAAA=="), ("other", "b")];
        assert_eq!((data, trailers), (b"text".to_vec(), expected.map(|(a, b)| (a.to_owned(), b.to_owned())).to_vec()));
        assert_eq!(code(decode(Decoder::new(None, false), body, 9)), "MalformedTrailerError");
        let empty = decode(Decoder::new(None, true), b"0\r\n\r\n", 9).unwrap();
        assert_eq!(empty, (vec![], vec![]));
    }

    #[test]
    fn a_signed_trailer_is_compared() {
        let first = chain("seed");
        let sign = |kind: &str, previous: &str, rest: &str| {
            let text = format!("{ALGORITHM}-{kind}\n{TIME}\n{}\n{previous}\n{rest}", first.scope);
            hex(&hmac(&first.key, text.as_bytes()))
        };
        let nothing = hex(&sha256(b""));
        let last = sign("PAYLOAD", "seed", &format!("{nothing}\n{nothing}"));
        let trailer = sign("TRAILER", &last, &hex(&sha256(b"x-amz-checksum-crc32:AAAAAA==\n")));
        let body = |value: &str, signature: &str| {
            format!(
                "0;chunk-signature={last}\r\nx-amz-checksum-crc32:{value}\r\n{TRAILER_SIGNATURE}:{signature}\r\n\r\n"
            )
        };
        let decoder = || Decoder::new(Some(first.clone()), true);
        assert!(decode(decoder(), body("AAAAAA==", &trailer).as_bytes(), 5).is_ok());
        assert_eq!(code(decode(decoder(), body("AAAAAB==", &trailer).as_bytes(), 5)), "AccessDenied");
        assert_eq!(
            code(decode(decoder(), format!("0;chunk-signature={last}\r\n\r\n").as_bytes(), 5)),
            "MalformedTrailerError"
        );
    }

    #[test]
    fn nonsense_is_an_error() {
        let body = |text: &str| code(decode(Decoder::new(None, true), text.as_bytes(), 4));
        for bad in ["+4\r\ntext\r\n", "\r\n", "4\ntext\n", "fffffffffffffffff\r\n", "4;a\r\ntextx\r\n"] {
            assert_eq!(body(bad), "InvalidRequest", "{bad}");
        }
        assert_eq!(body("1\r\na\r\n1\r\nb\r\n0\r\n\r\n"), "InvalidChunkSizeError");
        assert_eq!(body(&"0".repeat(LINE_BYTES_MAX + 1)), "InvalidRequest");
        let long = format!("0\r\n{}\r\n", format!("a:{}\r\n", "b".repeat(4000)).repeat(5));
        assert_eq!(body(&long), "MalformedTrailerError");
        assert_eq!(body("0\r\nno colon\r\n\r\n"), "MalformedTrailerError");
    }
}
