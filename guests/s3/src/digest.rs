//! Digests of object data: the ETag's MD5, the SHA-256 of a signed payload, and the five checksums
//! of the S3 API.
//!
//! Invariant: every byte that is stored has passed through [`Digests`] first, and what a client
//! announced is compared before anything of it becomes visible.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc_fast::CrcAlgorithm;
use md5::Md5;
use serde::{Deserialize, Serialize};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

/// A checksum of the S3 API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
}

impl Algorithm {
    pub(crate) const ALL: [Algorithm; 5] =
        [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme, Algorithm::Sha1, Algorithm::Sha256];

    /// By the API's own name, in any case.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    /// By the header that carries its value.
    pub(crate) fn from_header(header: &str) -> Option<Self> {
        let name = header.strip_prefix("x-amz-checksum-")?;
        Algorithm::from_name(name)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Algorithm::Crc32 => "CRC32",
            Algorithm::Crc32c => "CRC32C",
            Algorithm::Crc64Nvme => "CRC64NVME",
            Algorithm::Sha1 => "SHA1",
            Algorithm::Sha256 => "SHA256",
        }
    }

    pub(crate) fn header(self) -> &'static str {
        match self {
            Algorithm::Crc32 => "x-amz-checksum-crc32",
            Algorithm::Crc32c => "x-amz-checksum-crc32c",
            Algorithm::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Algorithm::Sha1 => "x-amz-checksum-sha1",
            Algorithm::Sha256 => "x-amz-checksum-sha256",
        }
    }

    /// Bytes of a value.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Algorithm::Crc32 | Algorithm::Crc32c => 4,
            Algorithm::Crc64Nvme => 8,
            Algorithm::Sha1 => 20,
            Algorithm::Sha256 => 32,
        }
    }

    fn crc(self) -> Option<CrcAlgorithm> {
        match self {
            Algorithm::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
            Algorithm::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
            Algorithm::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
            Algorithm::Sha1 | Algorithm::Sha256 => None,
        }
    }

    /// True if the checksum of a whole object can be made of those of its parts.
    pub(crate) fn combines(self) -> bool {
        self.crc().is_some()
    }

    /// The checksum of two adjacent pieces; none for algorithms that do not combine.
    pub(crate) fn combine(self, first: &[u8], second: &[u8], second_length: u64) -> Option<Vec<u8>> {
        let (first, second) = (number(first)?, number(second)?);
        let whole = crc_fast::checksum_combine(self.crc()?, first, second, second_length);
        Some(self.truncate(whole))
    }

    fn truncate(self, value: u64) -> Vec<u8> {
        value.to_be_bytes()[8 - self.bytes()..].to_vec()
    }

    /// A value as a client writes it; none if it is no value of this algorithm.
    pub(crate) fn parse(self, text: &str) -> Option<Vec<u8>> {
        STANDARD.decode(text).ok().filter(|value| value.len() == self.bytes())
    }
}

fn number(value: &[u8]) -> Option<u64> {
    let mut bytes = [0; 8];
    bytes.get_mut(8usize.checked_sub(value.len())?..)?.copy_from_slice(value);
    Some(u64::from_be_bytes(bytes))
}

/// A value as it is written in headers and XML.
pub(crate) fn base64(value: &[u8]) -> String {
    STANDARD.encode(value)
}

/// What a client wrote in Content-MD5; none if that is not the digest of anything.
pub(crate) fn parse_md5(text: &str) -> Option<[u8; 16]> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)]))
        .collect()
}

pub(crate) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |at: u8| char::from(at).to_digit(16);
        *byte = u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok()?;
    }
    Some(bytes)
}

pub(crate) fn sha256(data: &[u8]) -> [u8; 32] {
    Sha256::digest(data).into()
}

pub(crate) fn md5(data: &[u8]) -> [u8; 16] {
    Md5::digest(data).into()
}

enum Running {
    Crc(Box<crc_fast::Digest>),
    Sha1(Box<Sha1>),
    Sha256(Box<Sha256>),
}

/// One checksum of a stream.
pub(crate) struct Checksum {
    algorithm: Algorithm,
    running: Running,
}

impl Checksum {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        let running = match (algorithm.crc(), algorithm) {
            (Some(crc), _) => Running::Crc(Box::new(crc_fast::Digest::new(crc))),
            (None, Algorithm::Sha1) => Running::Sha1(Box::default()),
            (None, _) => Running::Sha256(Box::default()),
        };
        Checksum { algorithm, running }
    }

    pub(crate) fn update(&mut self, data: &[u8]) {
        match &mut self.running {
            Running::Crc(crc) => crc.update(data),
            Running::Sha1(sha1) => sha1.update(data),
            Running::Sha256(sha256) => sha256.update(data),
        }
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        match self.running {
            Running::Crc(crc) => self.algorithm.truncate(crc.finalize()),
            Running::Sha1(sha1) => sha1.finalize().to_vec(),
            Running::Sha256(sha256) => sha256.finalize().to_vec(),
        }
    }

    /// Of bytes that are all there.
    pub(crate) fn of(algorithm: Algorithm, data: &[u8]) -> Vec<u8> {
        let mut checksum = Checksum::new(algorithm);
        checksum.update(data);
        checksum.finish()
    }
}

/// Every digest that a body needs, in one pass.
pub(crate) struct Digests {
    md5: Md5,
    sha256: Option<Sha256>,
    checksum: Option<(Algorithm, Checksum)>,
    length: u64,
}

/// What [`Digests`] came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Digested {
    pub(crate) length: u64,
    pub(crate) md5: [u8; 16],
    pub(crate) sha256: Option<[u8; 32]>,
    pub(crate) checksum: Option<(Algorithm, Vec<u8>)>,
}

impl Digests {
    /// SHA-256 of the whole only where the signature is over it; checksums only where one is
    /// wanted.
    pub(crate) fn new(sha256: bool, checksum: Option<Algorithm>) -> Self {
        Digests {
            md5: Md5::new(),
            sha256: sha256.then(Sha256::new),
            checksum: checksum.map(|algorithm| (algorithm, Checksum::new(algorithm))),
            length: 0,
        }
    }

    /// Another checksum, if none was asked for; nothing has been seen yet.
    pub(crate) fn want(&mut self, algorithm: Algorithm) {
        self.checksum.get_or_insert_with(|| (algorithm, Checksum::new(algorithm)));
    }

    pub(crate) fn update(&mut self, data: &[u8]) {
        self.md5.update(data);
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(data);
        }
        if let Some((_, checksum)) = &mut self.checksum {
            checksum.update(data);
        }
        self.length += data.len() as u64;
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    pub(crate) fn finish(self) -> Digested {
        Digested {
            length: self.length,
            md5: self.md5.finalize().into(),
            sha256: self.sha256.map(|sha256| sha256.finalize().into()),
            checksum: self.checksum.map(|(algorithm, checksum)| (algorithm, checksum.finish())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check values of the algorithms' own specifications, for `123456789`.
    #[test]
    fn checksums_are_those_of_their_specifications() {
        let of = |algorithm| hex(&Checksum::of(algorithm, b"123456789"));
        assert_eq!(of(Algorithm::Crc32), "cbf43926");
        assert_eq!(of(Algorithm::Crc32c), "e3069283");
        assert_eq!(of(Algorithm::Crc64Nvme), "ae8b14860a799888");
        assert_eq!(of(Algorithm::Sha1), "f7c3bc1d808e04732adf679965ccc34ca7ae3441");
        assert_eq!(of(Algorithm::Sha256), hex(&sha256(b"123456789")));
        assert_eq!(hex(&md5(b"")), "d41d8cd98f00b204e9800998ecf8427e");
    }

    #[test]
    fn crcs_of_parts_combine_to_that_of_the_whole() {
        let (first, second) = (vec![7u8; 70_001], b"the rest".to_vec());
        let whole = [first.clone(), second.clone()].concat();
        for algorithm in Algorithm::ALL {
            let of = |data: &[u8]| Checksum::of(algorithm, data);
            let combined = algorithm.combine(&of(&first), &of(&second), second.len() as u64);
            assert_eq!(combined, algorithm.combines().then(|| of(&whole)), "{}", algorithm.name());
        }
    }

    #[test]
    fn values_survive_and_wrong_ones_are_none() {
        for algorithm in Algorithm::ALL {
            let value = Checksum::of(algorithm, b"text");
            assert_eq!(algorithm.parse(&base64(&value)), Some(value));
            assert_eq!(algorithm.parse("AAA="), None);
            assert_eq!(Algorithm::from_header(algorithm.header()), Some(algorithm));
        }
        assert_eq!(unhex::<2>("0aFf"), Some([10, 255]));
        assert_eq!(unhex::<2>("0a+f"), None);
        assert_eq!(unhex::<2>("0a"), None);
        assert_eq!(parse_md5("1B2M2Y8AsgTpgAmY7PhCfg=="), Some(md5(b"")));
        assert_eq!(parse_md5("1B2M"), None);
    }

    #[test]
    fn a_stream_in_pieces_has_the_digests_of_the_whole() {
        let mut digests = Digests::new(true, Some(Algorithm::Crc32c));
        [&b"some"[..], b"", b" text"].iter().for_each(|piece| digests.update(piece));
        let digested = digests.finish();
        assert_eq!((digested.length, digested.md5), (9, md5(b"some text")));
        assert_eq!(digested.sha256, Some(sha256(b"some text")));
        assert_eq!(digested.checksum, Some((Algorithm::Crc32c, Checksum::of(Algorithm::Crc32c, b"some text"))));
    }
}
