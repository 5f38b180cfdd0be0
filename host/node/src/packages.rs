//! The packages that this node holds, and how it gets those that it needs.
//!
//! The meta state names the packages that apps use, by digest and size; their bytes are files of the nodes ([`store`]). An upload is
//! stored on the node that received it, and the installation names that node as the package's source. Every other node fetches the bytes from
//! nodes that hold them ([`pull`]), checks them, stores them durably and only then reports an app as ready: so the reports say who
//! holds a package, and an installation is completed once a quorum of the meta group's voters does. A node that was away, or joins
//! later, or finds its file damaged, does the same when it loads the app.
//!
//! Crash points. Before a file is renamed to its name nothing refers to it. After that and before the report: the file is found at the
//! next start and the report made then. After the report: the file is durable. A package's last app goes: the file is removed when the node
//! applies that entry, or at its next start.
//!
//! Bounded: what is uploaded and not installed, the pieces of packages that are read for other nodes at once, and the time for which a node
//! tries to fetch a package before it reports that it cannot.

mod pull;
mod store;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use recoil_base::{Digest, NodeId, random, task};
use recoil_cluster::Service;
use tokio::sync::Semaphore;

use self::pull::{PIECE_BYTES, Piece, PieceRequest};
pub(crate) use self::store::{PackageError, PackageStore, Pin};
use crate::node::Parts;

/// Pieces read for other nodes at once.
const SERVED_AT_ONCE: usize = 8;
/// How long one piece may take.
const PIECE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a node that needs a package tries to fetch it before it says that it cannot.
const OBTAIN_FOR: Duration = Duration::from_secs(60);
/// Pauses between tries.
const OBTAIN_PAUSE_MIN: Duration = Duration::from_millis(100);
const OBTAIN_PAUSE_MAX: Duration = Duration::from_secs(5);
/// Nodes asked for an upload that the cluster does not name yet.
const STRANGERS_ASKED_MAX: usize = 32;
/// How often files are looked at even if the cluster's packages have not changed: uploads grow old.
const SWEEP_EVERY: Duration = Duration::from_secs(30);

/// The packages of a node.
pub(crate) struct Packages {
    pub(crate) store: Arc<PackageStore>,
    serving: Semaphore,
}

impl Packages {
    pub(crate) fn new(store: Arc<PackageStore>) -> Self {
        Packages { store, serving: Semaphore::new(SERVED_AT_ONCE) }
    }

    async fn put(&self, digest: Digest, bytes: Bytes, uploaded: Option<tokio::time::Instant>) -> Result<(), String> {
        let store = self.store.clone();
        let put = task::spawn_blocking(move || store.put(digest, &bytes, uploaded)).await;
        put.map_err(|error| error.to_string())?.map_err(|error: PackageError| error.to_string())
    }

    async fn read(&self, digest: Digest) -> Result<Option<Bytes>, String> {
        let store = self.store.clone();
        task::spawn_blocking(move || store.read(digest)).await.map_err(|error| error.to_string())
    }
}

impl Parts {
    /// Takes an upload in. The answer keeps it from being swept while it is installed.
    pub(crate) async fn store_upload(&self, digest: Digest, bytes: Bytes) -> Result<Pin, String> {
        let pin = self.packages.store.pin(digest);
        self.packages.put(digest, bytes, Some(self.clock.now())).await?;
        Ok(pin)
    }

    /// The bytes of an upload, or of a package that the cluster uses, stored on this node by then; none if no node that can be reached has
    /// them.
    pub(crate) async fn find_package(&self, digest: Digest) -> Result<Option<(Bytes, Pin)>, String> {
        let pin = self.packages.store.pin(digest);
        if let Some(bytes) = self.packages.read(digest).await? {
            return Ok(Some((bytes, pin)));
        }
        let size = self.states.borrow().packages.get(&digest).map(|package| package.size);
        let mut sources = self.sources(digest);
        let mut others: Vec<NodeId> =
            self.states.borrow().members.keys().copied().filter(|node| !sources.contains(node)).collect();
        others.retain(|node| *node != self.node && self.peers.is_live(*node));
        shuffle(&mut others);
        sources.extend(others.into_iter().take(STRANGERS_ASKED_MAX));
        let Ok(bytes) = pull::pull(digest, size, sources, |from, asked| self.fetch(from, asked)).await else {
            return Ok(None);
        };
        self.packages.put(digest, bytes.clone(), Some(self.clock.now())).await?;
        Ok(Some((bytes, pin)))
    }

    /// The bytes of a package that an app uses: from this node's file, or from other nodes, and durably stored here by then. Tries for
    /// [`OBTAIN_FOR`], as long as the cluster uses the package.
    pub(crate) async fn obtain_package(&self, digest: Digest) -> Result<(Bytes, Pin), String> {
        let pin = self.packages.store.pin(digest);
        let deadline = self.clock.now() + OBTAIN_FOR;
        let mut pause = OBTAIN_PAUSE_MIN;
        loop {
            if let Some(bytes) = self.packages.read(digest).await? {
                return Ok((bytes, pin));
            }
            let size = self.states.borrow().packages.get(&digest).map(|package| package.size);
            let size = size.ok_or("no app of the cluster uses the package any more")?;
            match pull::pull(digest, Some(size), self.sources(digest), |from, asked| self.fetch(from, asked)).await {
                Ok(bytes) => {
                    self.packages.put(digest, bytes.clone(), None).await?;
                    return Ok((bytes, pin));
                }
                Err(why) if self.clock.now() > deadline => {
                    return Err(format!("package {digest} cannot be fetched from the nodes that hold it: {why}"));
                }
                Err(why) => tracing::debug!(%digest, %why, "a package could not be fetched yet; it is tried again"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(OBTAIN_PAUSE_MAX);
        }
    }

    /// Live nodes that hold a package, in an order of chance: with many nodes not all begin with the same.
    fn sources(&self, digest: Digest) -> Vec<NodeId> {
        let holders = self.states.borrow().holders(digest);
        let mut sources: Vec<NodeId> =
            holders.into_iter().filter(|node| *node != self.node && self.peers.is_live(*node)).collect();
        shuffle(&mut sources);
        sources
    }

    async fn fetch(&self, from: NodeId, asked: PieceRequest) -> Result<Piece, String> {
        let answer = self.peers.request(from, Service::Package, asked.encode(), PIECE_TIMEOUT).await;
        Piece::decode(answer.map_err(|error| error.to_string())?).map_err(|error| error.to_string())
    }
}

fn shuffle(nodes: &mut [NodeId]) {
    for last in (1..nodes.len()).rev() {
        let chance = u64::from_le_bytes(random::array());
        nodes.swap(last, (chance % (last as u64 + 1)) as usize);
    }
}

/// Answers another node that asks for a piece of a package.
pub(crate) async fn serve(parts: &Parts, body: Bytes) -> Result<Bytes, String> {
    let PieceRequest { digest, offset } = PieceRequest::decode(body).map_err(|error| error.to_string())?;
    let _turn = parts.packages.serving.acquire().await.map_err(|error| error.to_string())?;
    let store = parts.packages.store.clone();
    let read = task::spawn_blocking(move || store.piece(digest, offset, PIECE_BYTES)).await;
    let (size, bytes) = read
        .map_err(|error| error.to_string())?
        .ok_or_else(|| format!("package {digest} is not on this node, or has no byte {offset}"))?;
    Ok(Piece { size, bytes }.encode())
}

/// Removes the files that are of no more use, as long as the node runs.
pub(crate) async fn sweep(parts: Arc<Parts>) {
    let mut states = parts.states.clone();
    loop {
        let state = states.borrow_and_update().clone();
        // Before, what this node knows of the cluster's packages may be old.
        if parts.is_admitted(&state) {
            let (store, newest, now) = (parts.packages.store.clone(), parts.states.clone(), parts.clock.now());
            // Where rules keep its apps from running, a package is not kept either.
            let node = parts.node;
            let is_used = move |digest: &Digest| newest.borrow().keeps_package(*digest, node);
            if let Err(error) = task::spawn_blocking(move || store.sweep(is_used, now)).await {
                tracing::warn!(%error, "unused packages were not looked for; it is tried again");
            }
        }
        let changed = async {
            let is_other = |now: &Arc<recoil_cluster::MetaState>| {
                !now.packages.ptr_eq(&state.packages) || parts.is_admitted(now) != parts.is_admitted(&state)
            };
            states.wait_for(is_other).await.is_err()
        };
        tokio::select! {
            ended = changed => if ended { return },
            () = tokio::time::sleep(SWEEP_EVERY) => {}
        }
    }
}
