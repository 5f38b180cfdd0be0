//! Compiled code on disk: one file for each component and compatible engine.
//!
//! A file is `magic 8 bytes | SHA-256 of the rest | wasmtime's artifact`, named `<digest>-<compatibility>.cwasm`, written beside
//! its place and renamed. Loading an artifact means running it, so nothing is loaded whose checksum does not hold.
//!
//! Invariant: the folder holds at most [`FILES_MAX`] files; those of other engine versions go when the cache opens. Losing
//! it costs time, never correctness. Deliberately absent: defence against someone who may write the folder; who can, owns
//! the node's data as well.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use recoil_base::{Digest, random};
use wasmtime::component::Component;

const MAGIC: &[u8; 8] = b"RCLCODE1";
const HEADER_BYTES: usize = 8 + 32;
const FILES_MAX: usize = 256;
const EXTENSION: &str = "cwasm";

pub(crate) struct CodeCache {
    folder: PathBuf,
    compatibility: String,
}

impl CodeCache {
    pub(crate) fn open(folder: PathBuf, engine: &wasmtime::Engine) -> Result<Self, String> {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let cache = CodeCache { folder, compatibility: format!("{:016x}", hasher.finish()) };
        cache.sweep();
        Ok(cache)
    }

    /// The code of `digest`, if it is here; an error if it was here and no good.
    pub(crate) fn get(&self, digest: Digest, engine: &wasmtime::Engine) -> Result<Option<Component>, String> {
        let path = self.path(digest);
        let file = match std::fs::read(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("{} cannot be read: {error}", path.display())),
        };
        let Some(artifact) = file.get(HEADER_BYTES..) else { return Err(format!("{} is cut short", path.display())) };
        if file[..8] != MAGIC[..] || file[8..HEADER_BYTES] != Digest::of(artifact).0 {
            return Err(format!("{} is damaged", path.display()));
        }
        // SAFETY: `deserialize` wants bytes that `Component::serialize` made and nobody changed: `put` wrote them with their
        // checksum, which holds, into the node's own folder. It checks by itself that the engine's version and
        // settings are those that made them.
        let component = unsafe { Component::deserialize(engine, artifact) };
        component.map(Some).map_err(|error| format!("{} does not fit this engine: {error:#}", path.display()))
    }

    /// Keeps the code of `digest`.
    pub(crate) fn put(&self, digest: Digest, component: &Component) -> Result<(), String> {
        let artifact = component.serialize().map_err(|error| format!("{error:#}"))?;
        let mut file = Vec::with_capacity(HEADER_BYTES + artifact.len());
        file.extend_from_slice(MAGIC);
        file.extend_from_slice(&Digest::of(&artifact).0);
        file.extend_from_slice(&artifact);
        let path = self.path(digest);
        let beside = path.with_extension(format!("{:08x}.tmp", random::nonzero_u32()));
        // Made when it is needed: the folder around it may not be the node's yet when the engine starts.
        std::fs::create_dir_all(&self.folder)
            .map_err(|error| format!("the code cache {} cannot be made: {error}", self.folder.display()))?;
        let written = std::fs::write(&beside, file).and_then(|()| std::fs::rename(&beside, &path));
        if let Err(error) = written {
            let _ = std::fs::remove_file(&beside); // it may never have come to be
            return Err(format!("{} cannot be written: {error}", path.display()));
        }
        self.sweep();
        Ok(())
    }

    fn path(&self, digest: Digest) -> PathBuf {
        self.folder.join(format!("{}-{}.{EXTENSION}", digest.hex(), self.compatibility))
    }

    /// Removes the files of other engines and the oldest above the limit. What cannot be removed stays.
    fn sweep(&self) {
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return };
        let ours = format!("-{}.{EXTENSION}", self.compatibility);
        let mut kept: Vec<(SystemTime, PathBuf)> = Vec::new();
        for entry in entries.flatten() {
            let path = entry.path();
            if entry.file_name().to_string_lossy().ends_with(&ours) {
                kept.push((modified(&path), path));
            } else if path.extension().is_some_and(|extension| extension == EXTENSION) {
                let _ = std::fs::remove_file(path);
            }
        }
        kept.sort();
        for (_, path) in kept.iter().take(kept.len().saturating_sub(FILES_MAX)) {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn modified(path: &Path) -> SystemTime {
    path.metadata().and_then(|metadata| metadata.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
}
