//! The data folder: who the node is, and where its log, data and compiled code lie.
//!
//! Invariant: one process has a folder open at a time, and a folder names one node for ever. The node's id is made with the
//! folder; a lost or unreadable log means a new folder and a new id, since a voter that forgot its votes must not vote again.
//!
//! The incarnation grows durably at every start ([`Folder::raise`]), so that an old copy of a folder can be told from the folder
//! itself. It is kept twice, first in the log and then in the folder's identity: a log that does not reach the identity's count is
//! lost, or an old copy, and the node must not vote with it. A crash between the two leaves the log ahead, which is fine.
//!
//! Files: `LOCK` (locked while open), `NODE` (id, cluster, incarnation; replaced atomically), `FORMAT` (written last when a folder
//! is made, so that a folder without it was never used), `MEMBERS` ([`members`]), `REMOVED` (once the node is of its cluster no
//! more: the folder does not open again).

mod members;

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use recoil_base::{NodeId, random};
use rustix::fs::{FlockOperation, flock};

use crate::log::{Log, LogError};

pub use members::KnownMember;

/// The format of everything in the folder: log, data and the files beside them.
const FORMAT_NUMBER: u32 = 4;
const FORMAT_PREFIX: &str = "recoil data folder, format ";
const LOCK_FILE: &str = "LOCK";
const NODE_FILE: &str = "NODE";
const FORMAT_FILE: &str = "FORMAT";
const REMOVED_FILE: &str = "REMOVED";

/// Why a folder cannot be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Another process has it.
    #[error(
        "the data folder {folder} is in use by another process; stop that one, or give this one a folder of its own"
    )]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// It holds something else.
    #[error(
        "{folder} holds '{found}' and is not a Recoil data folder; give an empty folder, or one that does not exist yet"
    )]
    NotAFolder {
        /// The folder.
        folder: PathBuf,
        /// Something in it.
        found: String,
    },
    /// It was written by an earlier version.
    #[error(
        "the data folder {folder} was written by an earlier version of Recoil, in format {found}; this version reads format {FORMAT_NUMBER} \
         only and migrates nothing. Start that version to get at the data, or give this node an empty folder"
    )]
    OldFormat {
        /// The folder.
        folder: PathBuf,
        /// Its format.
        found: u32,
    },
    /// It was written by a later version, or by something else.
    #[error(
        "the data folder {folder} has a format that this version does not know ({found:?}); use the version that wrote it or a later one"
    )]
    Format {
        /// The folder.
        folder: PathBuf,
        /// The first words of its format file.
        found: String,
    },
    /// The identity is gone.
    #[error(
        "the node's identity {file} cannot be read: {why}; without it the node cannot prove which votes it gave. Replace this node: \
         start it with an empty data folder, under a new id"
    )]
    Identity {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The log is gone, or older than the folder.
    #[error(
        "the log in {folder} {found}, but this node has been started {started} times: what it promised to others is lost, so it must not \
         vote again. Replace this node: start it with an empty data folder, under a new id"
    )]
    LogLost {
        /// The folder.
        folder: PathBuf,
        /// What the log says.
        found: String,
        /// What the identity says.
        started: u64,
    },
    /// The log could not be written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The cluster is another one.
    #[error("the data folder {folder} belongs to another cluster; give this node an empty folder")]
    OtherCluster {
        /// The folder.
        folder: PathBuf,
    },
    /// The node is of its cluster no more.
    #[error(
        "the data folder {folder} is that of a node that was removed from its cluster, and it cannot take part again: start with an empty \
         data folder, under a new id"
    )]
    Removed {
        /// The folder.
        folder: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot {action} {path}: {source}; see that the folder exists, is writable and has space")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// An open data folder. Clones share it; it is free again when the last is dropped.
#[derive(Clone, Debug)]
pub struct Folder {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    identity: Mutex<Identity>,
    /// Holds the lock as long as it is open.
    _lock: fs::File,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Identity {
    node: NodeId,
    cluster: Option<[u8; 16]>,
    incarnation: u64,
}

impl Folder {
    /// Opens the folder at `path`, or makes it. Blocks.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        fs::create_dir_all(path).map_err(failed("create", path))?;
        let lock = take_lock(path)?;
        let removed = path.join(REMOVED_FILE);
        if removed.try_exists().map_err(failed("read", &removed))? {
            return Err(FolderError::Removed { folder: path.to_owned() });
        }
        let format_path = path.join(FORMAT_FILE);
        let (identity, new) = match fs::read(&format_path) {
            Ok(format) => {
                check_format(path, &format)?;
                (read_identity(&path.join(NODE_FILE))?, false)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                refuse_strange_content(path)?;
                (Identity { node: NodeId(random::nonzero_u32()), cluster: None, incarnation: 0 }, true)
            }
            Err(error) => return Err(failed("read", &format_path)(error)),
        };
        if new {
            replace_file(path, NODE_FILE, identity.to_text().as_bytes())?;
            replace_file(path, FORMAT_FILE, format!("{FORMAT_PREFIX}{FORMAT_NUMBER}\n").as_bytes())?;
        }
        let folder =
            Folder { inner: Arc::new(Inner { path: path.to_owned(), identity: Mutex::new(identity), _lock: lock }) };
        for sub in [folder.log_dir(), folder.data_dir(), folder.code_cache_dir()] {
            fs::create_dir_all(&sub).map_err(failed("create", &sub))?;
        }
        sync_directory(path)?;
        Ok(folder)
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// The node that lives here.
    pub fn node_id(&self) -> NodeId {
        self.inner.identity.lock().node
    }

    /// The cluster it belongs to, once it does.
    pub fn cluster_id(&self) -> Option<[u8; 16]> {
        self.inner.identity.lock().cluster
    }

    /// Which start of the node this is, counted from 1; 0 before the first [`Folder::raise`].
    pub fn incarnation(&self) -> u64 {
        self.inner.identity.lock().incarnation
    }

    /// Begins a new incarnation, durably, in the folder's log and then in its identity. Refuses a log that is not the one this node
    /// last wrote. Once a start, before anything else is done with the log. Blocks.
    pub fn raise(&self, log: &Log) -> Result<u64, FolderError> {
        let mut identity = self.inner.identity.lock();
        let (logged, started) = (log.incarnation(), identity.incarnation);
        if logged.unwrap_or(0) < started {
            let found = logged.map_or("is empty".to_owned(), |count| format!("ends at start {count}"));
            return Err(FolderError::LogLost { folder: self.inner.path.clone(), found, started });
        }
        let incarnation = started.max(logged.unwrap_or(0)) + 1;
        log.set_incarnation(incarnation)?;
        let next = Identity { incarnation, ..identity.clone() };
        replace_file(&self.inner.path, NODE_FILE, next.to_text().as_bytes())?;
        *identity = next;
        Ok(incarnation)
    }

    /// Durably records the cluster. Repeating the same id is fine; another one is refused. Blocks.
    pub fn set_cluster(&self, id: [u8; 16]) -> Result<(), FolderError> {
        let mut identity = self.inner.identity.lock();
        match identity.cluster {
            Some(present) if present == id => Ok(()),
            Some(_) => Err(FolderError::OtherCluster { folder: self.inner.path.clone() }),
            None => {
                let next = Identity { cluster: Some(id), ..identity.clone() };
                replace_file(&self.inner.path, NODE_FILE, next.to_text().as_bytes())?;
                *identity = next;
                Ok(())
            }
        }
    }

    /// Gives the node another id, durably: another node has this one's. Answers false, and changes nothing, once it is a member of a
    /// cluster. Blocks.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn draw_id(&self) -> Result<bool, FolderError> {
        let mut identity = self.inner.identity.lock();
        if identity.cluster.is_some() {
            return Ok(false);
        }
        let next = Identity { node: NodeId(random::nonzero_u32()), ..identity.clone() };
        replace_file(&self.inner.path, NODE_FILE, next.to_text().as_bytes())?;
        *identity = next;
        Ok(true)
    }

    /// Durably records that the node was removed from its cluster: the folder is not opened again. Blocks.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn set_removed(&self, why: &str) -> Result<(), FolderError> {
        replace_file(&self.inner.path, REMOVED_FILE, format!("{why}\n").as_bytes())
    }

    /// Where [`crate::Log`] lives.
    pub fn log_dir(&self) -> PathBuf {
        self.inner.path.join("log")
    }

    /// Where [`crate::Data`] lives.
    pub fn data_dir(&self) -> PathBuf {
        self.inner.path.join("data")
    }

    /// Where compiled code may be kept. Nothing in it is needed: it may be emptied while no node runs.
    pub fn code_cache_dir(&self) -> PathBuf {
        self.inner.path.join("code")
    }
}

impl Identity {
    fn to_text(&self) -> String {
        let cluster = match &self.cluster {
            Some(id) => id.iter().map(|byte| format!("{byte:02x}")).collect(),
            None => "none".to_owned(),
        };
        let body = format!("node {}\ncluster {cluster}\nincarnation {}\n", self.node, self.incarnation);
        let sum = crc32fast::hash(body.as_bytes());
        format!("{body}checksum {sum:08x}\n")
    }

    fn from_text(text: &str) -> Result<Self, &'static str> {
        let (body, sum) = text.rsplit_once("checksum ").ok_or("it has no checksum")?;
        if u32::from_str_radix(sum.trim_end(), 16) != Ok(crc32fast::hash(body.as_bytes())) {
            return Err("its checksum is wrong");
        }
        let mut lines = body.lines();
        let mut field = |name: &str| lines.next().and_then(|line| line.strip_prefix(name)).ok_or("a line is missing");
        let node = field("node ")?.parse().map_err(|_| "the node id is not one")?;
        let cluster = match field("cluster ")? {
            "none" => None,
            hex => Some(cluster_from_hex(hex).ok_or("the cluster id is not one")?),
        };
        let incarnation = field("incarnation ")?.parse().map_err(|_| "the incarnation is not a number")?;
        Ok(Identity { node, cluster, incarnation })
    }
}

fn cluster_from_hex(hex: &str) -> Option<[u8; 16]> {
    let number = (hex.len() == 32).then(|| u128::from_str_radix(hex, 16).ok())?;
    number.map(u128::to_be_bytes)
}

fn take_lock(path: &Path) -> Result<fs::File, FolderError> {
    let lock_path = path.join(LOCK_FILE);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&lock_path)
        .map_err(failed("open", &lock_path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(FolderError::InUse { folder: path.to_owned() }),
        Err(error) => Err(failed("lock", &lock_path)(error.into())),
    }
}

fn check_format(folder: &Path, content: &[u8]) -> Result<(), FolderError> {
    let text = String::from_utf8_lossy(&content[..content.len().min(64)]).into_owned();
    let folder = folder.to_owned();
    match text.strip_prefix(FORMAT_PREFIX).and_then(|number| number.strip_suffix('\n')?.parse().ok()) {
        Some(FORMAT_NUMBER) => Ok(()),
        Some(found) if found < FORMAT_NUMBER => Err(FolderError::OldFormat { folder, found }),
        _ => Err(FolderError::Format { folder, found: text }),
    }
}

/// A folder without a format file may hold nothing but what an interrupted creation leaves.
fn refuse_strange_content(path: &Path) -> Result<(), FolderError> {
    for entry in fs::read_dir(path).map_err(failed("read", path))? {
        let name = entry.map_err(failed("read", path))?.file_name().to_string_lossy().into_owned();
        let ours = [LOCK_FILE, NODE_FILE].contains(&name.as_str()) || name.ends_with(".tmp");
        if !ours {
            return Err(FolderError::NotAFolder { folder: path.to_owned(), found: name });
        }
    }
    Ok(())
}

fn read_identity(file: &Path) -> Result<Identity, FolderError> {
    let wrong = |why: String| FolderError::Identity { file: file.to_owned(), why };
    let text = fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    Identity::from_text(&text).map_err(|why| wrong(why.to_owned()))
}

/// Readers see the old content or the new, also after a crash; the new is durable on return.
fn replace_file(folder: &Path, name: &str, content: &[u8]) -> Result<(), FolderError> {
    let (path, temporary) = (folder.join(name), folder.join(format!("{name}.tmp")));
    let mut file = fs::File::create(&temporary).map_err(failed("create", &temporary))?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(failed("write", &temporary))?;
    fs::rename(&temporary, &path).map_err(failed("replace", &path))?;
    sync_directory(folder)
}

fn sync_directory(path: &Path) -> Result<(), FolderError> {
    fs::File::open(path).and_then(|folder| folder.sync_all()).map_err(failed("sync", path))
}

fn failed<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> FolderError + 'a {
    move |source| FolderError::Io { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(path: &Path) -> Result<(Folder, u64), FolderError> {
        let folder = Folder::open(path)?;
        let log = Log::open(&folder.log_dir(), crate::LogOptions::default())?;
        let incarnation = folder.raise(&log)?;
        Ok((folder, incarnation))
    }

    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            fs::copy(entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name())).unwrap();
        }
    }

    /// Fails if the log is not asked: a node that lost its log, or got an old one, would vote again.
    #[test]
    fn a_lost_or_older_log_is_refused_and_a_crash_between_log_and_identity_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (path, old) = (dir.path().join("node"), dir.path().join("old"));
        assert_eq!(start(&path).unwrap().1, 1);
        copy(&path.join("log"), &old);
        let identity = fs::read(path.join(NODE_FILE)).unwrap();
        assert_eq!(start(&path).unwrap().1, 2);

        // The crash came before the identity was replaced.
        fs::write(path.join(NODE_FILE), identity).unwrap();
        assert_eq!(start(&path).unwrap().1, 3);

        fs::remove_dir_all(path.join("log")).unwrap();
        let error = start(&path).unwrap_err();
        assert!(matches!(&error, FolderError::LogLost { started: 3, .. }), "{error}");
        assert!(error.to_string().contains("empty data folder"), "{error}");
        fs::remove_dir_all(path.join("log")).unwrap();
        copy(&old, &path.join("log"));
        assert!(matches!(start(&path), Err(FolderError::LogLost { .. })));
    }

    #[test]
    fn a_folder_keeps_its_node_and_cluster_and_counts_its_starts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/node");
        let (folder, incarnation) = start(&path).unwrap();
        let node = folder.node_id();
        assert_eq!((incarnation, folder.incarnation(), folder.cluster_id()), (1, 1, None));
        assert!(folder.log_dir().is_dir() && folder.data_dir().is_dir() && folder.code_cache_dir().is_dir());
        folder.set_cluster([7; 16]).unwrap();
        folder.set_cluster([7; 16]).unwrap();
        assert!(matches!(folder.set_cluster([8; 16]), Err(FolderError::OtherCluster { .. })));
        drop(folder);
        let (folder, _) = start(&path).unwrap();
        assert_eq!((folder.node_id(), folder.incarnation(), folder.cluster_id()), (node, 2, Some([7; 16])));
    }

    #[test]
    fn a_second_opener_is_refused_by_name_until_the_first_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let first = Folder::open(dir.path()).unwrap();
        let error = Folder::open(dir.path()).unwrap_err();
        assert!(matches!(error, FolderError::InUse { .. }));
        assert!(error.to_string().contains(&dir.path().display().to_string()));
        drop(first);
        assert!(start(dir.path()).is_ok());
    }

    #[test]
    fn strange_folders_and_damaged_identities_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.txt"), "years of work").unwrap();
        assert!(
            matches!(Folder::open(dir.path()), Err(FolderError::NotAFolder { found, .. }) if found == "thesis.txt")
        );
        fs::remove_file(dir.path().join("thesis.txt")).unwrap();
        drop(Folder::open(dir.path()).unwrap());

        let identity = dir.path().join(NODE_FILE);
        let good = fs::read(&identity).unwrap();
        for position in 0..good.len() - 1 {
            let mut bad = good.clone();
            bad[position] ^= 1;
            fs::write(&identity, bad).unwrap();
            assert!(matches!(Folder::open(dir.path()), Err(FolderError::Identity { .. })), "{position}");
        }
        fs::remove_file(&identity).unwrap();
        assert!(matches!(Folder::open(dir.path()), Err(FolderError::Identity { .. })));
        fs::write(&identity, good).unwrap();
        let open_with = |format: &str| {
            fs::write(dir.path().join(FORMAT_FILE), format).unwrap();
            Folder::open(dir.path()).unwrap_err()
        };
        let old = open_with("recoil data folder, format 3\n");
        assert!(matches!(old, FolderError::OldFormat { found: 3, .. }));
        assert!(old.to_string().contains("format 3; this version reads format 4"), "{old}");
        for other in ["recoil data folder, format 5\n", "recoil data folder, format 4", "a diary", ""] {
            assert!(matches!(open_with(other), FolderError::Format { .. }), "{other:?}");
        }
    }

    /// Fails if a member changes its id, or a drawn one does not last.
    #[test]
    fn an_id_is_drawn_again_only_before_the_node_is_a_member() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, _) = start(dir.path()).unwrap();
        let first = folder.node_id();
        assert!(folder.draw_id().unwrap());
        let second = folder.node_id();
        assert_ne!(first, second);
        drop(folder);
        let (folder, incarnation) = start(dir.path()).unwrap();
        assert_eq!((folder.node_id(), incarnation), (second, 2));
        folder.set_cluster([7; 16]).unwrap();
        assert!(!folder.draw_id().unwrap());
        assert_eq!(folder.node_id(), second);
    }

    /// Fails if a removed node's folder starts once more.
    #[test]
    fn the_folder_of_a_removed_node_does_not_open_again() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, _) = start(dir.path()).unwrap();
        folder.set_removed("by an operator").unwrap();
        drop(folder);
        let error = Folder::open(dir.path()).unwrap_err();
        assert!(matches!(error, FolderError::Removed { .. }));
        assert!(error.to_string().contains("was removed from its cluster"), "{error}");
    }

    #[test]
    fn a_creation_cut_short_is_finished_by_the_next_open() {
        let dir = tempfile::tempdir().unwrap();
        drop(Folder::open(dir.path()).unwrap());
        for sub in ["log", "data", "code"] {
            fs::remove_dir(dir.path().join(sub)).unwrap();
        }
        fs::remove_file(dir.path().join(FORMAT_FILE)).unwrap();
        fs::write(dir.path().join("FORMAT.tmp"), "reco").unwrap();
        assert_eq!(start(dir.path()).unwrap().1, 1);
    }
}
