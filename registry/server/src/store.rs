//! What keeps the registry's records and chunks.

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;

/// Which partition is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The owner of a key.
    Key(Vec<u8>),
    /// One by its number, below [`Store::partitions`].
    Partition(u32),
}

/// What a request may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Change something: answered once the change is safe.
    Write,
    /// Only look, at everything that was answered before.
    Read,
}

/// Why the store did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Not now.
    #[error("{0}")]
    Unavailable(String),
    /// The request is one that is refused.
    #[error("{0}")]
    Rejected(String),
    /// What is stored, or what keeps it, is broken.
    #[error("{0}")]
    Failed(String),
}

/// The cluster, as the registry needs it. Every method repeats what may be repeated, for a bounded time.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Makes ready for the first write, if that has not been done.
    async fn prepare(&self) -> Result<(), StoreError>;
    /// Carries out a command of [`recoil_oci::records`]. None if nothing was ever written.
    async fn ask(&self, place: Place, request: Vec<u8>, mode: Mode) -> Result<Option<Bytes>, StoreError>;
    /// Keeps a chunk under a key that also says where.
    async fn put_chunk(&self, key: Vec<u8>, chunk: Bytes) -> Result<(), StoreError>;
    /// The chunk of a key.
    async fn chunk(&self, key: Vec<u8>) -> Result<Option<Bytes>, StoreError>;
    /// Removes chunks. Removing one that is not there is no error.
    async fn remove_chunks(&self, keys: Vec<Vec<u8>>) -> Result<(), StoreError>;
    /// Random bytes.
    fn random(&self) -> [u8; 16];
    /// How many partitions there are.
    fn partitions(&self) -> u32;
    /// Runs something beside the request that caused it.
    fn background(&self, work: BoxFuture<'static, ()>);
}
