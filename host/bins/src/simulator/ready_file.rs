//! The file by which scripts learn that the cluster serves. It is either absent or whole.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use recoil_base::NodeId;
use serde::Serialize;

/// What the file says.
#[derive(Debug, Serialize)]
pub(super) struct Ready {
    pub(super) pid: u32,
    pub(super) nodes: Vec<ReadyNode>,
    pub(super) apps: Vec<ReadyApp>,
}

#[derive(Debug, Serialize)]
pub(super) struct ReadyNode {
    pub(super) id: NodeId,
    pub(super) admin: String,
    pub(super) data_dir: PathBuf,
}

#[derive(Debug, Serialize)]
pub(super) struct ReadyApp {
    pub(super) name: String,
    pub(super) addresses: Vec<String>,
}

/// Remove what an earlier run left, before it can be taken for ours.
pub(super) fn remove_stale(path: &Path) -> anyhow::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove the old ready file {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Written beside its place and then renamed.
pub(super) fn write(path: &Path, ready: &Ready) -> anyhow::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".tmp");
    let write = || -> anyhow::Result<()> {
        let mut file = File::create(&beside)?;
        serde_json::to_writer_pretty(&mut file, ready)?;
        file.write_all(b"\n")?;
        fs::rename(&beside, path)?;
        Ok(())
    };
    write().with_context(|| format!("cannot write the ready file {}", path.display()))
}
