//! What the sources of a package are at one moment, for `recoilctl dev`.
//!
//! A state maps the path of every file that can be a source to the digest of its content. Two states are equal only if no file was added,
//! removed, renamed or edited between them. Times of modification decide nothing: a file may carry a time in the future, or be replaced by
//! an older one. A file is read again only where the file system says that something about it changed, and once more after that, because a
//! second write within the tick of the file system's clock leaves the same times.
//!
//! Links are followed, to files and to folders. What builds write is left out: the component, `*.wasm`, `target` and `dist` in the package's
//! own folder, and everywhere the folders that tools fill (`node_modules`, `__pycache__`), hidden files, and those that editors make for a
//! moment.
//!
//! Bounds: [`FILES_MAX`] files; of a file beyond [`READ_BYTES_MAX`], what the file system says of it stands for its content.
//! Deliberately absent: notifications of the kernel, which network file systems and mounts in containers do not deliver.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use recoil_base::Digest;

use crate::say::complain;

/// Files of a package that are watched; others are not, which is said once.
const FILES_MAX: usize = 10_000;
/// Files up to this size are compared by their content.
const READ_BYTES_MAX: u64 = 16 << 20;
/// Folders in the package's own folder that builds write.
const BUILT: [&str; 2] = ["target", "dist"];
/// Folders anywhere that are not the author's.
const OF_TOOLS: [&str; 2] = ["node_modules", "__pycache__"];
/// Files that an author may edit, and that builds complete.
const LOCKS: [&str; 3] = ["Cargo.lock", "go.sum", "package-lock.json"];
/// Changed files that are named; of more, how many there are.
const NAMED_MAX: usize = 3;

/// What the file system says of a file: another content comes with another stamp, but for writes within a tick of its clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// What a file has in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Read(Digest),
    Large(Stamp),
    Unreadable,
}

/// The sources, by their paths in the package's folder.
pub(super) type Sources = BTreeMap<PathBuf, Content>;

/// A file that was read, and what the file system said of it then.
struct Known {
    stamp: Stamp,
    content: Content,
    /// It was read at two looks under the same stamp.
    is_settled: bool,
}

/// Looks at the sources of one package, again and again.
pub(super) struct Watch {
    folder: PathBuf,
    known: HashMap<PathBuf, Known>,
    has_warned: bool,
}

impl Watch {
    pub(super) fn new(folder: &Path) -> Self {
        Watch { folder: folder.to_owned(), known: HashMap::new(), has_warned: false }
    }

    /// What the sources are now. `component` is the file that the build makes, relative to the package's folder.
    pub(super) fn look(&mut self, component: Option<&Path>) -> Sources {
        let component = component.map(plain);
        let (mut sources, mut folders) = (Sources::new(), vec![PathBuf::new()]);
        let place = |metadata: &Metadata| (metadata.dev(), metadata.ino());
        // Links may lead in circles.
        let mut entered: HashSet<_> = std::fs::metadata(&self.folder).iter().map(place).collect();
        while let Some(folder) = folders.pop() {
            let entries = std::fs::read_dir(self.folder.join(&folder)).into_iter().flatten().flatten();
            let mut names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
            // Which files are within the bound does not depend on the file system's order.
            names.sort();
            for name in names.into_iter().filter(|name| !is_left_out(&folder, name)) {
                let path = folder.join(name);
                let metadata = std::fs::metadata(self.folder.join(&path));
                match metadata {
                    _ if component.as_ref() == Some(&path) => {}
                    Ok(metadata) if metadata.is_dir() => {
                        if entered.insert(place(&metadata)) {
                            folders.push(path);
                        }
                    }
                    _ if sources.len() >= FILES_MAX => self.warn(),
                    Ok(metadata) if metadata.is_file() => {
                        let content = self.content(&path, Stamp::of(&metadata));
                        sources.insert(path, content);
                    }
                    // A pipe or a socket has no content to compare, and reading one may wait for ever.
                    Ok(_) => {}
                    // Such as a link to nowhere, whose file may come.
                    Err(_) => {
                        sources.insert(path, Content::Unreadable);
                    }
                }
            }
        }
        self.known.retain(|path, _| sources.contains_key(path));
        sources
    }

    fn content(&mut self, path: &Path, stamp: Stamp) -> Content {
        let same = self.known.get(path).filter(|known| known.stamp == stamp);
        if let Some(settled) = same.filter(|known| known.is_settled) {
            return settled.content;
        }
        let is_settled = same.is_some();
        let content = match stamp.size {
            0..=READ_BYTES_MAX => std::fs::read(self.folder.join(path))
                .map_or(Content::Unreadable, |bytes| Content::Read(Digest::of(&bytes))),
            _ => Content::Large(stamp),
        };
        self.known.insert(path.to_owned(), Known { stamp, content, is_settled });
        content
    }

    fn warn(&mut self) {
        if !self.has_warned {
            self.has_warned = true;
            let folder = self.folder.display();
            complain(format!(
                "note: {folder} has more than {FILES_MAX} files, and edits of those beyond are not noticed"
            ));
        }
    }
}

/// A path without the dots that mean nothing.
fn plain(path: &Path) -> PathBuf {
    path.components().filter(|part| *part != Component::CurDir).collect()
}

fn is_left_out(folder: &Path, name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    let is_top = folder.as_os_str().is_empty();
    name.starts_with(['.', '#'])
        || name.ends_with('~')
        || OF_TOOLS.contains(&&*name)
        || is_top && (name.ends_with(".wasm") || BUILT.contains(&&*name))
}

/// What is built is `built`, although its build wrote lock files since: they are as they are in `now`.
pub(super) fn with_locks(mut built: Sources, now: &Sources) -> Sources {
    let is_lock = |path: &Path| path.file_name().is_some_and(|name| LOCKS.iter().any(|lock| name == *lock));
    built.retain(|path, _| !is_lock(path));
    built.extend(now.iter().filter(|(path, _)| is_lock(path)).map(|(path, content)| (path.clone(), *content)));
    built
}

/// The files in which two states differ, for people.
pub(super) fn changes(before: &Sources, after: &Sources) -> String {
    let edited = after.iter().filter(|(path, content)| before.get(*path) != Some(content)).map(|(path, _)| path);
    let removed = before.keys().filter(|path| !after.contains_key(*path));
    let paths: Vec<_> = edited.chain(removed).collect();
    let named: Vec<_> = paths.iter().take(NAMED_MAX).map(|path| path.display().to_string()).collect();
    match paths.len().saturating_sub(NAMED_MAX) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

#[cfg(test)]
mod tests;
