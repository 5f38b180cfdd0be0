//! Fetching a package from nodes that hold it, piece by piece.
//!
//! A pull goes on where it stopped when a node fails, with the next one. What comes is checked as a whole: if the digest is wrong, what
//! one node alone sent is that node's fault, and it is not asked again; what several sent is fetched once more from the last of
//! them alone. So every node is asked for all of it at most twice, and a node that sends wrong bytes costs time and nothing else.
//!
//! Wire: a request is `format u8 | digest 32 bytes | offset u64`, its answer `format u8 | size of the package u64 | bytes`, at most
//! [`PIECE_BYTES`] of them; refused if the package is not there.

use std::collections::VecDeque;
use std::future::Future;

use bytes::{Bytes, BytesMut};
use recoil_base::{DecodeError, Digest, NodeId, Reader, Writer};
use recoil_cluster::meta::PACKAGE_BYTES_MAX;

/// Bytes of a package in one answer.
pub(crate) const PIECE_BYTES: usize = 512 << 10;

/// The first byte of a request and of an answer.
const FORMAT: u8 = 1;

/// Asks for the bytes of a package from an offset on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PieceRequest {
    pub(crate) digest: Digest,
    pub(crate) offset: u64,
}

/// Some bytes of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Bytes of the whole.
    pub(crate) size: u64,
    pub(crate) bytes: Bytes,
}

fn check_format(reader: &mut Reader) -> Result<(), DecodeError> {
    if reader.u8()? == FORMAT { Ok(()) } else { Err(reader.error("a format that this version does not know")) }
}

impl PieceRequest {
    pub(crate) fn encode(&self) -> Bytes {
        let mut writer = Writer::with_capacity(41);
        writer.u8(FORMAT).raw(&self.digest.0).u64(self.offset);
        writer.finish()
    }

    pub(crate) fn decode(body: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("request for a piece of a package", body);
        check_format(&mut reader)?;
        let digest = Digest(reader.raw(32)?[..].try_into().map_err(|_| reader.error("a digest of a wrong length"))?);
        let offset = reader.u64()?;
        reader.finish()?;
        Ok(PieceRequest { digest, offset })
    }
}

impl Piece {
    pub(crate) fn encode(&self) -> Bytes {
        let mut writer = Writer::with_capacity(9 + self.bytes.len());
        writer.u8(FORMAT).u64(self.size).raw(&self.bytes);
        writer.finish()
    }

    pub(crate) fn decode(body: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("piece of a package", body);
        check_format(&mut reader)?;
        let size = reader.u64()?;
        let bytes = reader.raw(reader.remaining())?;
        if bytes.len() > PIECE_BYTES {
            return Err(reader.error("more bytes than a piece may have"));
        }
        Ok(Piece { size, bytes })
    }
}

/// Fetches the package from `sources`, asked in their order; `size` if it is known.
///
/// # Errors
/// What each source said.
pub(crate) async fn pull<F>(
    digest: Digest,
    size: Option<u64>,
    sources: impl IntoIterator<Item = NodeId>,
    fetch: impl Fn(NodeId, PieceRequest) -> F,
) -> Result<Bytes, String>
where
    F: Future<Output = Result<Piece, String>>,
{
    let mut sources: VecDeque<NodeId> = sources.into_iter().collect();
    let mut got = Got { digest, size, bytes: BytesMut::new(), from: Vec::new() };
    let mut faults = Vec::new();
    while let Some(source) = sources.pop_front() {
        match got.fill(source, &fetch).await {
            Err(why) => faults.push(format!("node {source}: {why}")),
            Ok(()) if Digest::of(&got.bytes) == digest => return Ok(got.bytes.freeze()),
            Ok(()) => {
                if got.from.len() > 1 {
                    sources.push_front(source);
                } else {
                    faults.push(format!("node {source}: its bytes have another digest"));
                }
                got.bytes.clear();
                got.from.clear();
                got.size = size;
            }
        }
    }
    if faults.is_empty() { Err("no node that holds it can be reached".into()) } else { Err(faults.join("; ")) }
}

/// What has come so far.
struct Got {
    digest: Digest,
    size: Option<u64>,
    bytes: BytesMut,
    /// The nodes that it came from.
    from: Vec<NodeId>,
}

impl Got {
    /// Fetches the rest from one node.
    async fn fill<F>(&mut self, source: NodeId, fetch: &impl Fn(NodeId, PieceRequest) -> F) -> Result<(), String>
    where
        F: Future<Output = Result<Piece, String>>,
    {
        // Also asked when nothing is missing but the size: of an empty package, or where a source failed after its last byte.
        while self.size.is_none_or(|size| (self.bytes.len() as u64) < size) {
            let piece = fetch(source, PieceRequest { digest: self.digest, offset: self.bytes.len() as u64 }).await?;
            let size = *self.size.get_or_insert(piece.size);
            if piece.size != size || size > PACKAGE_BYTES_MAX {
                return Err(format!("it says that the package has {} bytes", piece.size));
            }
            let missing = size - self.bytes.len() as u64;
            if piece.bytes.len() as u64 > missing || (piece.bytes.is_empty() && missing > 0) {
                return Err(format!("it sent {} bytes where {missing} are missing", piece.bytes.len()));
            }
            if self.from.last() != Some(&source) {
                self.from.push(source);
            }
            self.bytes.extend_from_slice(&piece.bytes);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);
    const C: NodeId = NodeId(3);

    fn content() -> Vec<u8> {
        (0..100u8).collect()
    }

    fn piece_of(content: &[u8], request: PieceRequest) -> Result<Piece, String> {
        let rest = &content[request.offset as usize..];
        Ok(Piece { size: content.len() as u64, bytes: Bytes::copy_from_slice(&rest[..rest.len().min(30)]) })
    }

    /// Pulls from `A`, `B` and `C`, whose answers `answer` gives; returns what came and who was asked.
    async fn pull_from(
        answer: impl Fn(NodeId, PieceRequest) -> Result<Piece, String>,
    ) -> (Result<Bytes, String>, Vec<(NodeId, u64)>) {
        let asked = RefCell::new(Vec::new());
        let digest = Digest::of(&content());
        let pulled = pull(digest, Some(100), [A, B, C], |node, request| {
            asked.borrow_mut().push((node, request.offset));
            let answer = answer(node, request);
            async move { answer }
        });
        let pulled = pulled.await;
        (pulled, asked.into_inner())
    }

    /// Fails if a pull begins again when a node dies in its middle.
    #[tokio::test]
    async fn a_pull_goes_on_with_another_node_when_one_dies() {
        let (pulled, asked) = pull_from(|node, request| match node {
            A if request.offset >= 60 => Err("gone".into()),
            _ => piece_of(&content(), request),
        })
        .await;
        assert_eq!(pulled.unwrap(), content());
        assert_eq!(asked, [(A, 0), (A, 30), (A, 60), (B, 60), (B, 90)]);
    }

    /// Fails if bytes of another digest are taken, or if a node that lies keeps the others from being asked.
    #[tokio::test]
    async fn a_node_that_sends_wrong_bytes_is_passed_over() {
        let (pulled, asked) = pull_from(|node, request| match node {
            A => piece_of(&[7; 100], request),
            _ => piece_of(&content(), request),
        })
        .await;
        assert_eq!(pulled.unwrap(), content());
        assert_eq!(asked.iter().filter(|(node, _)| *node == A).count(), 4);
        assert!(!asked.iter().any(|(node, _)| *node == C));
        let (pulled, _) = pull_from(|_, request| piece_of(&[7; 100], request)).await;
        assert!(pulled.unwrap_err().contains("another digest"));
    }

    /// Fails if one wrong piece of a node that has died since spoils what an honest one sends.
    #[tokio::test]
    async fn wrong_bytes_of_several_are_fetched_again_from_the_last_alone() {
        let (pulled, asked) = pull_from(|node, request| match node {
            A if request.offset >= 30 => Err("gone".into()),
            A => piece_of(&[7; 100], request),
            _ => piece_of(&content(), request),
        })
        .await;
        assert_eq!(pulled.unwrap(), content());
        assert_eq!(asked, [(A, 0), (A, 30), (B, 30), (B, 60), (B, 90), (B, 0), (B, 30), (B, 60), (B, 90)]);
    }

    /// Fails if a node can have memory taken, or the pull run for ever, by what it says of sizes.
    #[tokio::test]
    async fn sizes_that_cannot_be_are_refused() {
        let piece = |size: u64, bytes: usize| Ok(Piece { size, bytes: vec![0; bytes].into() });
        for wrong in [piece(u64::MAX, 30), piece(99, 30), piece(100, 0), piece(100, 101)] {
            let (pulled, asked) = pull_from(|node, request| match node {
                C => piece_of(&content(), request),
                _ => wrong.clone(),
            })
            .await;
            assert_eq!(pulled.unwrap(), content());
            assert_eq!(asked[..2], [(A, 0), (B, 0)]);
        }
        let digest = Digest::of(b"");
        let endless = pull(digest, None, [A], |_, _| async move { piece(PACKAGE_BYTES_MAX + 1, 30) }).await;
        assert!(endless.unwrap_err().contains("says that the package has"));
        let empty = pull(digest, None, [A], |_, _| async move { piece(0, 0) }).await;
        assert!(empty.unwrap().is_empty());
    }

    /// The bytes that this version sends. A change here is a change of the wire: give it another format.
    #[test]
    fn the_wire_format_is_what_it_was() {
        let request = PieceRequest { digest: Digest([7; 32]), offset: 0x0102 };
        let bytes = [&[1][..], &[7; 32], &[2, 1, 0, 0, 0, 0, 0, 0]].concat();
        assert_eq!(request.encode(), bytes);
        assert_eq!(PieceRequest::decode(bytes.into()).unwrap(), request);
        let piece = Piece { size: 5, bytes: Bytes::from_static(b"ab") };
        let bytes = [&[1, 5, 0, 0, 0, 0, 0, 0, 0][..], b"ab"].concat();
        assert_eq!(piece.encode(), bytes);
        assert_eq!(Piece::decode(bytes.into()).unwrap(), piece);
        assert!(Piece::decode(Bytes::from_static(&[2, 5, 0, 0, 0, 0, 0, 0, 0])).is_err());
        assert!(Piece::decode(vec![1; 10 + PIECE_BYTES].into()).is_err());
        assert!(PieceRequest::decode(Bytes::from_static(&[1; 40])).is_err());
    }
}
