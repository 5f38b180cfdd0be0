//! Package files in the node's data folder: `packages/<digest in hexadecimal>`.
//!
//! A file is written under a temporary name (`*.part`), fsynced, renamed, and the folder is fsynced: under its final name it is complete.
//! Its content is checked against the digest before it is stored and whenever it is read for use, so a damaged file costs no more than
//! fetching it again. A complete file is never written to.
//!
//! What is kept: files of packages that the cluster uses, and uploads, which wait for their installation, at most [`UPLOAD_KEPT`] long, and
//! at most [`UPLOADS_MAX`] of them with [`UPLOAD_BYTES_MAX`] bytes together; beyond that the oldest go. All else goes with the next
//! [`PackageStore::sweep`], unless it is pinned: whoever is about to use a file that the cluster does not name yet, or not any more, pins it.
//!
//! Crash points. Before the rename: a `.part` file, removed when the store opens. Between the rename and the sync of the folder: the file
//! may be there or not, and nobody has been answered yet. After it: durable. An upload does not outlive the node's process unless the
//! cluster names it by then. Removing: unlinked and not synced, so that a file may come back with a crash, and goes again with the
//! next sweep.
//!
//! Blocks: call it from threads that may.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use recoil_base::Digest;
use recoil_cluster::meta::PACKAGE_BYTES_MAX;
use tokio::time::Instant;

/// How long an upload waits for its installation.
pub(crate) const UPLOAD_KEPT: Duration = Duration::from_secs(3600);
/// Uploads that may wait on a node.
const UPLOADS_MAX: usize = 16;
/// Their bytes together: four of the largest.
const UPLOAD_BYTES_MAX: u64 = 4 * PACKAGE_BYTES_MAX;

/// Why a package was not stored or not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PackageError {
    /// Somebody has sent something else.
    #[error("the bytes have the digest {found} instead of {expected}")]
    Mismatch {
        /// What they should have.
        expected: Digest,
        /// What they have.
        found: Digest,
    },
    /// Larger than any package.
    #[error("the package has {0} bytes; at most {PACKAGE_BYTES_MAX} are allowed")]
    TooLarge(u64),
    /// The operating system refused.
    #[error("cannot {action} {path}: {source}; see that the data folder is writable and has space")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

struct Held {
    size: u64,
    /// When it was uploaded, as long as the cluster is not known to use it.
    uploaded: Option<Instant>,
}

#[derive(Default)]
struct Files {
    held: BTreeMap<Digest, Held>,
    pinned: BTreeMap<Digest, usize>,
    parts: u64,
}

/// See the module's essay.
pub(crate) struct PackageStore {
    folder: PathBuf,
    files: Mutex<Files>,
}

/// Keeps a file from being swept as long as it lives.
pub(crate) struct Pin {
    store: Arc<PackageStore>,
    digest: Digest,
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut files = self.store.files.lock();
        if let Some(count) = files.pinned.get_mut(&self.digest) {
            *count -= 1;
            if *count == 0 {
                files.pinned.remove(&self.digest);
            }
        }
    }
}

fn failed<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> PackageError + 'a {
    move |source| PackageError::Io { action, path: path.to_owned(), source }
}

impl PackageStore {
    /// Opens the store in `folder`, which is made if it is not there, and removes what an earlier process left unfinished.
    pub(crate) fn open(folder: PathBuf) -> Result<Arc<Self>, PackageError> {
        fs::create_dir_all(&folder).map_err(failed("create", &folder))?;
        if let Some(parent) = folder.parent() {
            File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed("sync", parent))?;
        }
        let mut files = Files::default();
        for entry in fs::read_dir(&folder).map_err(failed("read", &folder))? {
            let entry = entry.map_err(failed("read", &folder))?;
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            if name.ends_with(".part") {
                fs::remove_file(&path).map_err(failed("remove", &path))?;
            } else if let Ok(digest) = format!("sha256:{name}").parse() {
                let size = entry.metadata().map_err(failed("read", &path))?.len();
                files.held.insert(digest, Held { size, uploaded: None });
            }
        }
        Ok(Arc::new(PackageStore { folder, files: Mutex::new(files) }))
    }

    fn path(&self, digest: Digest) -> PathBuf {
        self.folder.join(digest.hex())
    }

    /// Stores a package durably. `uploaded` is the present time if nothing says that the cluster uses it.
    pub(crate) fn put(&self, digest: Digest, bytes: &[u8], uploaded: Option<Instant>) -> Result<(), PackageError> {
        let size = bytes.len() as u64;
        if size > PACKAGE_BYTES_MAX {
            return Err(PackageError::TooLarge(size));
        }
        let found = Digest::of(bytes);
        if found != digest {
            return Err(PackageError::Mismatch { expected: digest, found });
        }
        if self.read(digest).is_some() {
            let mut files = self.files.lock();
            if let Some(held) = files.held.get_mut(&digest) {
                // An upload's time begins again; a package that is used stays one.
                held.uploaded = uploaded.filter(|_| held.uploaded.is_some());
                return Ok(());
            }
        }
        let part = {
            let mut files = self.files.lock();
            if uploaded.is_some() {
                self.make_room(&mut files, size)?;
            }
            files.parts += 1;
            self.folder.join(format!("{}.{}.part", digest.hex(), files.parts))
        };
        let written = File::create(&part).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
        if let Err(error) = written {
            let _ = fs::remove_file(&part);
            return Err(failed("write", &part)(error));
        }
        let path = self.path(digest);
        let mut files = self.files.lock();
        fs::rename(&part, &path).map_err(failed("replace", &path))?;
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(failed("sync", &self.folder))?;
        files.held.insert(digest, Held { size, uploaded });
        Ok(())
    }

    /// Removes the oldest uploads until another of `size` bytes fits.
    fn make_room(&self, files: &mut Files, size: u64) -> Result<(), PackageError> {
        loop {
            let uploads = || files.held.iter().filter_map(|(digest, held)| Some((held.uploaded?, *digest, held.size)));
            let bytes: u64 = uploads().map(|(.., size)| size).sum();
            if uploads().count() < UPLOADS_MAX && bytes + size <= UPLOAD_BYTES_MAX {
                return Ok(());
            }
            // Those being installed are few: as many as operators who ask for it at this moment.
            let oldest = uploads().filter(|(_, digest, _)| !files.pinned.contains_key(digest)).min();
            let Some((_, oldest, _)) = oldest else { return Ok(()) };
            self.remove(files, oldest)?;
        }
    }

    fn remove(&self, files: &mut Files, digest: Digest) -> Result<(), PackageError> {
        files.held.remove(&digest);
        let path = self.path(digest);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", &path)(error)),
            _ => Ok(()),
        }
    }

    /// A package's bytes, if they are here and right. A damaged file is removed.
    pub(crate) fn read(&self, digest: Digest) -> Option<Bytes> {
        // Not under the lock: tasks that must not wait for a disk take it as well.
        let size = self.files.lock().held.get(&digest)?.size;
        let path = self.path(digest);
        let read = File::open(&path).and_then(|file| {
            let mut bytes = Vec::with_capacity(size.min(PACKAGE_BYTES_MAX) as usize);
            file.take(PACKAGE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
            Ok(bytes)
        });
        let why = match read {
            Ok(bytes) => match Digest::of(&bytes) {
                found if found == digest => return Some(bytes.into()),
                found => format!("its content has the digest {found}"),
            },
            Err(error) => error.to_string(),
        };
        tracing::warn!(%digest, %why, "the file of a package is damaged; it is removed and fetched again where it is needed");
        if let Err(error) = self.remove(&mut self.files.lock(), digest) {
            tracing::warn!(%error, "the damaged file of a package stays; it is replaced when the package is fetched again");
        }
        None
    }

    /// At most `bytes_max` bytes from `offset` on, with the size of the whole, for another node that checks what it gets.
    pub(crate) fn piece(&self, digest: Digest, offset: u64, bytes_max: usize) -> Option<(u64, Bytes)> {
        if !self.files.lock().held.contains_key(&digest) {
            return None;
        }
        let file = File::open(self.path(digest)).ok()?;
        let size = file.metadata().ok()?.len();
        let mut bytes = vec![0; usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX).min(bytes_max)];
        file.read_exact_at(&mut bytes, offset).ok()?;
        Some((size, bytes.into()))
    }

    /// Keeps a package's file, now or when it comes, until the answer is dropped.
    pub(crate) fn pin(self: &Arc<Self>, digest: Digest) -> Pin {
        *self.files.lock().pinned.entry(digest).or_default() += 1;
        Pin { store: self.clone(), digest }
    }

    /// Removes files that are neither used nor pinned nor young uploads. `is_used` is asked while nothing can be added or pinned, so that it
    /// must answer by the newest state.
    pub(crate) fn sweep(&self, is_used: impl Fn(&Digest) -> bool, now: Instant) {
        let mut files = self.files.lock();
        let Files { held, pinned, .. } = &mut *files;
        let mut idle = Vec::new();
        for (digest, file) in held.iter_mut() {
            if is_used(digest) {
                file.uploaded = None;
            } else {
                let waits = file.uploaded.is_some_and(|at| now.saturating_duration_since(at) < UPLOAD_KEPT);
                if !waits && !pinned.contains_key(digest) {
                    idle.push(*digest);
                }
            }
        }
        for digest in idle {
            tracing::debug!(%digest, "a package that nothing uses is removed");
            if let Err(error) = self.remove(&mut files, digest) {
                tracing::warn!(%error, "the file of an unused package stays until the next start");
            }
        }
    }

    /// The packages that are here.
    #[cfg(test)]
    pub(crate) fn digests(&self) -> Vec<Digest> {
        self.files.lock().held.keys().copied().collect()
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // the tests' own time
mod tests {
    use super::*;

    fn store(folder: &tempfile::TempDir) -> Arc<PackageStore> {
        PackageStore::open(folder.path().join("packages")).unwrap()
    }

    fn package(byte: u8, size: usize) -> (Digest, Vec<u8>) {
        let bytes = vec![byte; size];
        (Digest::of(&bytes), bytes)
    }

    /// Fails if bytes of another digest are stored, or if a stored file is not checked when it is read.
    #[test]
    fn what_is_stored_and_read_has_the_digest_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        let (digest, bytes) = package(1, 1000);
        assert!(matches!(store.put(digest, b"other", None), Err(PackageError::Mismatch { .. })));
        assert!(store.digests().is_empty());
        store.put(digest, &bytes, None).unwrap();
        assert_eq!(store.read(digest).unwrap(), bytes);
        let path = folder.path().join("packages").join(digest.hex());
        for damage in [&bytes[..999], &[2u8; 1000][..], &[1u8; 1001][..], b""] {
            fs::write(&path, damage).unwrap();
            assert!(store.read(digest).is_none());
            assert!(!path.exists() && store.digests().is_empty(), "it is not offered to others either");
            store.put(digest, &bytes, None).unwrap();
            assert_eq!(store.read(digest).unwrap(), bytes);
        }
    }

    /// Fails if a complete file is written again when the package is uploaded once more.
    #[test]
    fn a_complete_file_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        let (digest, bytes) = package(1, 1000);
        store.put(digest, &bytes, None).unwrap();
        let path = folder.path().join("packages").join(digest.hex());
        let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap());
        let before = inode(&path);
        store.put(digest, &bytes, Some(Instant::now())).unwrap();
        assert_eq!(inode(&path), before);
        // And an upload does not make a used package one that waits.
        store.sweep(|_| false, Instant::now());
        assert!(store.digests().is_empty());
    }

    /// Fails if an upload that is never installed stays, or one that is installed or pinned goes.
    #[test]
    fn an_upload_waits_for_its_installation_and_no_longer() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        let now = Instant::now();
        let [waiting, used, pinned] = [1, 2, 3].map(|byte| {
            let (digest, bytes) = package(byte, 10);
            store.put(digest, &bytes, Some(now)).unwrap();
            digest
        });
        let pin = store.pin(pinned);
        store.sweep(|digest| *digest == used, now + UPLOAD_KEPT / 2);
        assert_eq!(store.digests().len(), 3);
        store.sweep(|digest| *digest == used, now + UPLOAD_KEPT);
        assert!(!store.digests().contains(&waiting) && store.digests().len() == 2);
        drop(pin);
        store.sweep(|digest| *digest == used, now + UPLOAD_KEPT);
        assert_eq!(store.digests(), [used]);
        // Its last app has gone.
        store.sweep(|_| false, now);
        assert!(store.digests().is_empty());
        assert_eq!(fs::read_dir(folder.path().join("packages")).unwrap().count(), 0);
    }

    /// Fails without a bound on uploads: they would fill the disk.
    #[test]
    fn the_oldest_uploads_make_room_for_new_ones() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        let now = Instant::now();
        let (first, bytes) = package(0, 10);
        store.put(first, &bytes, Some(now)).unwrap();
        let pin = store.pin(first);
        for byte in 1..=2 * UPLOADS_MAX as u8 {
            let (digest, bytes) = package(byte, 10);
            store.put(digest, &bytes, Some(now + Duration::from_secs(byte.into()))).unwrap();
            assert!(store.digests().contains(&digest) && store.digests().len() <= UPLOADS_MAX);
        }
        assert!(store.digests().contains(&first), "it is being installed");
        drop(pin);
        let large = PACKAGE_BYTES_MAX as usize;
        assert!(matches!(
            store.put(first, &vec![0; large + 1], Some(now)),
            Err(PackageError::TooLarge(size)) if size == large as u64 + 1
        ));
    }

    /// Fails if a write that was cut short is taken for a package, or stays on the disk.
    #[test]
    fn what_a_crash_left_unfinished_is_removed_and_the_rest_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let (digest, bytes) = package(1, 10);
        store(&folder).put(digest, &bytes, Some(Instant::now())).unwrap();
        let part = folder.path().join("packages").join(format!("{}.7.part", digest.hex()));
        fs::write(&part, &bytes[..5]).unwrap();
        let store = store(&folder);
        assert!(!part.exists());
        assert_eq!(store.read(digest).unwrap(), bytes);
        // Nothing says how long it has been waiting: it stays only if the cluster uses it.
        store.sweep(|_| false, Instant::now());
        assert!(store.digests().is_empty());
    }

    /// Fails if a piece is longer than asked for, or reads beyond the end.
    #[test]
    fn pieces_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        let (digest, bytes) = package(1, 10);
        store.put(digest, &bytes, None).unwrap();
        assert_eq!(store.piece(digest, 0, 4), Some((10, bytes[..4].to_vec().into())));
        assert_eq!(store.piece(digest, 8, 4), Some((10, bytes[8..].to_vec().into())));
        assert_eq!(store.piece(digest, 10, 4), Some((10, Bytes::new())));
        assert!(store.piece(digest, u64::MAX, 4).is_none_or(|(_, bytes)| bytes.is_empty()));
        assert!(store.piece(Digest::of(b"other"), 0, 4).is_none());
    }
}
