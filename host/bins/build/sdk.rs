//! Puts the SDKs, their templates and the contract into the programs, as a table of texts.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::Context as _;

/// Folders whose files go in, below the workspace.
const FOLDERS: [&str; 2] = ["sdk", "wit"];
/// Folders of the repository's own, and folders that tools make.
const LEFT_OUT: [&str; 5] = ["testing", "target", "node_modules", "__pycache__", ".venv"];

/// Writes the table, or ends the build with the reason.
pub(crate) fn run() {
    if let Err(error) = table() {
        eprintln!("{error:#}");
        std::process::exit(1);
    }
}

fn table() -> anyhow::Result<()> {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").context("cargo gives CARGO_MANIFEST_DIR")?);
    let root = here.ancestors().nth(2).context("this crate lies two folders below the workspace")?;
    let mut paths = Vec::new();
    for folder in FOLDERS {
        println!("cargo:rerun-if-changed={}", root.join(folder).display());
        collect(&root.join(folder), &mut paths)?;
    }
    paths.sort();
    let mut table = String::from("&[\n");
    for path in paths {
        let name = path.strip_prefix(root).context("it was found there")?;
        writeln!(table, "    ({:?}, include_str!({:?})),", name, path)?;
    }
    table.push(']');
    let out = PathBuf::from(env::var_os("OUT_DIR").context("cargo gives OUT_DIR")?);
    fs::write(out.join("sdk.rs"), table).context("writing the table of the SDK")
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        if !path.is_dir() {
            paths.push(path);
        } else if !LEFT_OUT.iter().any(|left_out| name == *left_out) {
            collect(&path, paths)?;
        }
    }
    Ok(())
}
