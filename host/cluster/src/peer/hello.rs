//! How two nodes introduce themselves on a new stream, and why they do not go on.
//!
//! Both ends say who they are before anything else, in a form that never changes: `magic 8 bytes | length u32 | JSON`. The end that took the stream
//! answers last, and with a refusal if it will not serve the other one. A hello is read up to [`HELLO_BYTES_MAX`] bytes and waited for
//! [`HELLO_TIMEOUT`]; what is no hello ends the stream.

use std::net::SocketAddr;
use std::time::Duration;

use recoil_base::NodeId;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::silence;
use super::wire::{self, MAGIC, WireVersions, agree, other_format};

/// The longest hello, bytes.
pub(crate) const HELLO_BYTES_MAX: u32 = 4096;
/// How long either end waits for the other one's hello.
pub(super) const HELLO_TIMEOUT: Duration = Duration::from_secs(3);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// How two nodes introduce themselves.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// The wire versions that the speaker has.
    pub wire: WireVersions,
    /// The cluster's id; empty from a node that wants to join one.
    pub cluster: String,
    /// Who speaks.
    pub node: NodeId,
    /// The speaker's incarnation and the random number of this start.
    pub start: (u64, u64),
    /// Where the speaker listens.
    pub address: SocketAddr,
    /// Who is expected at the other end, if known.
    pub expects: Option<NodeId>,
    /// Set in an answer that ends the connection.
    pub refusal: Option<String>,
    /// With a refusal: a later start of the speaker's partner is known, so its data folder is an old copy.
    #[serde(default)]
    pub outdated: bool,
    /// With a refusal: the speaker's partner was removed from the cluster.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub removed: bool,
    /// The speaker's wall time, microseconds since the Unix epoch.
    #[serde(default)]
    pub wall_us: Option<u64>,
}

/// Why another member says that this node has no part in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excluded {
    /// Its words.
    pub why: String,
    /// The node was removed; otherwise a later start of it is known.
    pub is_removed: bool,
}

/// A stream that could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum HelloError {
    /// The socket failed or the other end is silent.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The other end does not speak this protocol.
    #[error("{0}")]
    Protocol(String),
    /// One end refused.
    #[error("{why}")]
    Refused {
        /// What it says.
        why: String,
        /// How the other end introduced itself.
        theirs: Box<Hello>,
    },
    /// The other end knows a later start of this node, so that what this one holds is an old copy, or it knows that this node was removed.
    #[error("{}", .0.why)]
    Excluded(Excluded),
}

pub(super) fn silent(waited: Duration) -> HelloError {
    HelloError::Protocol(format!("it took the connection and said nothing for {} s", waited.as_secs()))
}

/// The hello of a node that took a stream, if it is the one that was dialled.
pub(super) fn check(ours: &Hello, theirs: Hello) -> Result<Hello, HelloError> {
    let wrong = if theirs.cluster != ours.cluster {
        "it takes streams of another cluster than its own"
    } else if ours.expects.is_some_and(|node| node != theirs.node) {
        "it takes streams that are for another node"
    } else {
        return Ok(theirs);
    };
    Err(HelloError::Protocol(format!("what listens on {} is no sound Recoil node: {wrong}", theirs.address)))
}

pub(super) async fn dial(address: SocketAddr, hello: &Hello) -> Result<(TcpStream, Hello), HelloError> {
    let connecting = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address));
    let mut stream = connecting.await.map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
    silence::bound(&stream)?;
    let exchange = async {
        write_hello(&mut stream, hello).await?;
        let mut magic = [0u8; 8];
        stream.read_exact(&mut magic).await?;
        if let Some(format) = other_format(&magic) {
            let text = wire::refuse_format(&format!("the node at {address}"), format);
            return Err(HelloError::Protocol(text));
        }
        if magic != *MAGIC {
            return Err(HelloError::Protocol(format!("what listens on {address} is not a Recoil node")));
        }
        read_hello(&mut stream).await
    };
    let theirs = tokio::time::timeout(HELLO_TIMEOUT, exchange).await.map_err(|_| silent(HELLO_TIMEOUT))??;
    match theirs.refusal.clone() {
        Some(why) if theirs.outdated || theirs.removed => {
            Err(HelloError::Excluded(Excluded { why, is_removed: theirs.removed }))
        }
        Some(refusal) => Err(HelloError::Refused { why: refusal, theirs: Box::new(theirs) }),
        None => {
            let agreed = agree((hello.node, hello.wire), (theirs.node, theirs.wire));
            agreed.map_err(|why| HelloError::Protocol(why.to_string()))?;
            Ok((stream, theirs))
        }
    }
}

pub(crate) async fn write_hello(stream: &mut (impl AsyncWriteExt + Unpin), hello: &Hello) -> Result<(), HelloError> {
    let json = serde_json::to_vec(hello).map_err(|error| HelloError::Protocol(error.to_string()))?;
    let mut message = MAGIC.to_vec();
    message.extend_from_slice(&(json.len() as u32).to_le_bytes());
    message.extend_from_slice(&json);
    Ok(stream.write_all(&message).await?)
}

/// What follows the magic.
pub(crate) async fn read_hello(stream: &mut (impl AsyncReadExt + Unpin)) -> Result<Hello, HelloError> {
    let length = stream.read_u32_le().await?;
    if length > HELLO_BYTES_MAX {
        return Err(HelloError::Protocol(format!("a hello of {length} bytes; at most {HELLO_BYTES_MAX} are allowed")));
    }
    let mut json = vec![0u8; length as usize];
    stream.read_exact(&mut json).await?;
    serde_json::from_slice(&json).map_err(|error| HelloError::Protocol(format!("a hello that cannot be read: {error}")))
}
