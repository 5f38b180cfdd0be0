//! The cluster's own registry on this node: its records and chunks go through the data path, as everything else does.
//!
//! They belong to an app of their own, [`APP`], which the first push installs; before that the registry has what comes with
//! the programs, and nothing is written for it. All commands repeat harmlessly, so what the cluster cannot do now is tried
//! again for [`REPEAT_FOR`].

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use hyper::{Request, Response};
use parking_lot::Mutex;
use recoil_base::{AppId, PartitionId, random};
use recoil_cluster::meta::{AppState, DEFAULT_KEYSPACE};
use recoil_engine::{Address, CallBody, CallError, RoutedCall, decode_values, relative_key};
use recoil_gateway::admin::{Site, SiteBody};
use recoil_registry_server::{Access, Builtin, Mode, Place, Registry, Store, StoreError};
use recoil_storage::Write;
use tokio::time::Instant;

use crate::node::{NodeOptions, Parts};

/// What the names of the nodes' own apps begin with.
pub(crate) const OWN: &str = "recoil-";
/// The app that keeps the registry's records.
pub(crate) const APP: &str = "recoil-registry";

const REPEAT_FOR: Duration = Duration::from_secs(20);
const REPEAT_PAUSE: Duration = Duration::from_millis(50);
const CERTAIN_FOR: Duration = Duration::from_secs(1);
const COLLECT_EVERY: Duration = Duration::from_secs(3600);
/// What is unneeded for less is not collected: an upload that goes on tomorrow, a blob whose manifest is on its way.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// The registry of a node in the making.
pub(crate) fn open(parts: Weak<Parts>, options: &NodeOptions) -> Registry {
    let packages = options.packages.iter().filter(|package| !package.name.starts_with(OWN));
    let packages = packages
        .map(|package| (package.name.to_owned(), package.version.to_owned(), Bytes::from_static(package.archive)));
    let access = Access::new(options.registry_token.clone());
    Registry::new(Arc::new(ClusterStore { parts, absent: Mutex::default() }), Builtin::new(packages), access)
}

#[async_trait]
impl Site for Parts {
    fn answers(&self, path: &str) -> bool {
        Registry::answers(path)
    }

    async fn respond(&self, peer: SocketAddr, request: Request<SiteBody>) -> Response<SiteBody> {
        self.registry.respond(peer, request).await
    }
}

/// Collects what nobody refers to, on the node that leads the meta group.
pub(crate) async fn collect_regularly(parts: Arc<Parts>) {
    loop {
        tokio::time::sleep(COLLECT_EVERY).await;
        let leads = parts.meta().is_some_and(|meta| meta.numbers().leader == Some(parts.node));
        if !leads {
            continue;
        }
        match parts.registry.collect(parts.clock.wall_us(), KEPT).await {
            Ok(collected) => tracing::debug!(?collected, "the registry was looked through"),
            Err(error) => tracing::warn!(%error, "the registry was not looked through to the end; it is tried again"),
        }
    }
}

/// The store of this node's registry. Weak, since the node owns it.
struct ClusterStore {
    parts: Weak<Parts>,
    /// When this node last knew for certain that the app was not there.
    absent: Mutex<Option<Instant>>,
}

fn stopping() -> StoreError {
    StoreError::Unavailable("the node is stopping".into())
}

impl ClusterStore {
    fn parts(&self) -> Result<Arc<Parts>, StoreError> {
        self.parts.upgrade().ok_or_else(stopping)
    }

    fn app(parts: &Parts) -> Option<AppId> {
        let state = parts.states.borrow();
        state.apps.get(APP).filter(|app| app.state == AppState::Serving).map(|app| app.id)
    }

    /// The app; none if the cluster has none. A node that has just come, or was cut off, asks the others before it says so, at
    /// most once in [`CERTAIN_FOR`]: what it does not know must not look like what is not there.
    async fn known_app(&self, parts: &Parts) -> Result<Option<AppId>, StoreError> {
        if let Some(app) = Self::app(parts) {
            return Ok(Some(app));
        }
        let is_recent = |at: Instant| parts.clock.now().saturating_duration_since(at) < CERTAIN_FOR;
        if self.absent.lock().is_some_and(is_recent) {
            return Ok(None);
        }
        let asked = parts.clock.now();
        parts.catch_up().await.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let app = Self::app(parts);
        *self.absent.lock() = app.is_none().then_some(asked);
        Ok(app)
    }

    /// The answer to a call; none if the app is not installed.
    async fn call(&self, call: RoutedCall) -> Result<Option<Bytes>, StoreError> {
        let answers = self.call_many(vec![call]).await?;
        Ok(answers.and_then(|answers| answers.into_iter().next()))
    }

    async fn call_many(&self, calls: Vec<RoutedCall>) -> Result<Option<Vec<Bytes>>, StoreError> {
        let parts = self.parts()?;
        let Some(app) = self.known_app(&parts).await? else { return Ok(None) };
        let router = parts.router.of_app(app, DEFAULT_KEYSPACE);
        let answers = repeat(&parts, || {
            let asked = router.call_many(calls.clone());
            async move { asked.await.into_iter().collect::<Result<Vec<_>, _>>() }
        });
        answers.await.map(Some)
    }

    async fn write(&self, writes: Vec<(Vec<u8>, Write)>) -> Result<(), StoreError> {
        let calls = writes.into_iter().map(|(key, write)| RoutedCall {
            to: Address::Key(key.into()),
            body: CallBody::Write(vec![write]),
            mode: recoil_engine::Mode::Write,
        });
        self.call_many(calls.collect())
            .await?
            .map(drop)
            .ok_or_else(|| StoreError::Unavailable("the app that keeps the registry's records is not serving".into()))
    }
}

/// Tries until it is answered, refused, or too late.
async fn repeat<T, F>(parts: &Parts, mut ask: impl FnMut() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, CallError>>,
{
    let deadline = parts.clock.now() + REPEAT_FOR;
    loop {
        let why = match ask().await {
            Ok(answer) => return Ok(answer),
            Err(CallError::Rejected(why)) => return Err(StoreError::Rejected(why)),
            Err(CallError::Failed(why)) => return Err(StoreError::Failed(why)),
            Err(error) => error.to_string(),
        };
        if parts.clock.now() > deadline {
            return Err(StoreError::Unavailable(why));
        }
        tokio::time::sleep(REPEAT_PAUSE).await;
    }
}

#[async_trait]
impl Store for ClusterStore {
    async fn prepare(&self) -> Result<(), StoreError> {
        let parts = self.parts()?;
        if self.known_app(&parts).await?.is_some() {
            return Ok(());
        }
        parts.install_registry().await.map_err(|error| StoreError::Unavailable(error.to_string()))
    }

    async fn ask(&self, place: Place, request: Vec<u8>, mode: Mode) -> Result<Option<Bytes>, StoreError> {
        let to = match place {
            Place::Key(key) => Address::Key(key.into()),
            Place::Partition(partition) => Address::Partition(PartitionId(partition)),
        };
        let mode = match mode {
            Mode::Write => recoil_engine::Mode::Write,
            Mode::Read => recoil_engine::Mode::Read,
        };
        self.call(RoutedCall { to, body: CallBody::Handle(request.into()), mode }).await
    }

    async fn put_chunk(&self, key: Vec<u8>, chunk: Bytes) -> Result<(), StoreError> {
        let write = Write::Put { key: relative_key(&key), value: chunk };
        self.write(vec![(key, write)]).await
    }

    async fn chunk(&self, key: Vec<u8>) -> Result<Option<Bytes>, StoreError> {
        let body = CallBody::Get(vec![relative_key(&key)]);
        let call = RoutedCall { to: Address::Key(key.into()), body, mode: recoil_engine::Mode::Read };
        let Some(answer) = self.call(call).await? else { return Ok(None) };
        let values = decode_values(answer).map_err(|error| StoreError::Failed(error.to_string()))?;
        // A copy: the answer counts against what the app may have on its way, and a slow client may keep this for long.
        Ok(values.into_iter().next().flatten().map(|chunk| Bytes::copy_from_slice(&chunk)))
    }

    async fn remove_chunks(&self, keys: Vec<Vec<u8>>) -> Result<(), StoreError> {
        let removes = keys.into_iter().map(|key| {
            let remove = Write::Remove { key: relative_key(&key) };
            (key, remove)
        });
        self.write(removes.collect()).await
    }

    fn random(&self) -> [u8; 16] {
        random::array()
    }

    fn partitions(&self) -> u32 {
        let table = self.parts.upgrade().and_then(|parts| parts.router.table());
        table.and_then(|table| table.keyspace(DEFAULT_KEYSPACE).map(|of| of.count())).unwrap_or(0)
    }

    fn background(&self, work: BoxFuture<'static, ()>) {
        if let Some(parts) = self.parts.upgrade() {
            parts.tasks.spawn(work);
        }
    }
}
