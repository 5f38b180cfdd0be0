//! What can happen to a node's folder: a file system that is full, damaged bytes, lost and restored folders.

use std::ffi::CString;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// A file system of its own, in memory, of limited size. Unmounted at the end.
pub struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Mounted at `path`, with room for so many bytes. Needs root.
    pub fn mount(path: &Path, bytes: u64) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        let target = CString::new(path.as_os_str().as_bytes())?;
        let options = CString::new(format!("size={bytes}"))?;
        // SAFETY: mount(2) reads four strings, which live for the call.
        let mounted = unsafe {
            libc::mount(
                c"none".as_ptr(),
                target.as_ptr(),
                c"tmpfs".as_ptr(),
                0,
                options.as_ptr().cast::<libc::c_void>(),
            )
        };
        if mounted == 0 { Ok(SmallDisk { path: path.to_owned() }) } else { Err(io::Error::last_os_error()) }
    }

    /// The same, or none where it may not be done, which is said in one line.
    pub fn or_skip(test: &str, path: &Path, bytes: u64) -> Option<Self> {
        let mounted = SmallDisk::mount(path, bytes);
        mounted.map_err(|error| eprintln!("{test} is skipped: no file system can be mounted here ({error})")).ok()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes all its room, of which others may take their part meanwhile.
    pub fn fill(&self) -> io::Result<()> {
        let file = fs::File::create(self.ballast())?;
        let zeros = [0; 4096];
        for piece in 0.. {
            match file.write_all_at(&zeros, piece * zeros.len() as u64) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Gives the room back.
    pub fn empty(&self) -> io::Result<()> {
        fs::remove_file(self.ballast())
    }

    fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let Ok(target) = CString::new(self.path.as_os_str().as_bytes()) else { return };
        // SAFETY: umount2(2) reads one string, which lives for the call.
        unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) };
    }
}

/// Copies a folder as it is.
pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?
        } else {
            fs::copy(entry.path(), target).map(drop)?
        }
    }
    Ok(())
}

/// The segments of a node's log, oldest first.
pub fn segments(node: &Path) -> io::Result<Vec<PathBuf>> {
    let entries: Vec<_> = fs::read_dir(node.join("log"))?.collect::<io::Result<_>>()?;
    let mut paths: Vec<PathBuf> = entries.iter().map(fs::DirEntry::path).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    paths.sort();
    Ok(paths)
}

/// Where the frames of a segment begin, and where the last one ends. Frames follow a header of 64 bytes; each begins with the
/// segment's salt, its own number and the length of its body, and takes a multiple of 8 bytes.
pub fn frames(segment: &Path) -> io::Result<(Vec<u64>, u64)> {
    let content = fs::read(segment)?;
    let salt = content.get(24..32).unwrap_or_default();
    let (mut starts, mut at) = (vec![], 64);
    while let Some(head) = content.get(at..at + 24).filter(|head| head[..8] == *salt) {
        let bytes = u32::from_le_bytes([head[16], head[17], head[18], head[19]]) as usize;
        starts.push(at as u64);
        at += (24 + bytes).next_multiple_of(8);
    }
    Ok((starts, at as u64))
}

/// Writes `bytes` over what is at `offset`.
pub fn overwrite(file: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
    OpenOptions::new().write(true).open(file)?.write_all_at(bytes, offset)
}

/// Turns one bit of the byte at `offset`.
pub fn flip(file: &Path, offset: u64) -> io::Result<()> {
    let mut byte = [0];
    fs::File::open(file)?.read_exact_at(&mut byte, offset)?;
    overwrite(file, offset, &[byte[0] ^ 1])
}
