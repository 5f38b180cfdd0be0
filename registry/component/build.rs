//! Puts the contract's texts into the crate, as a table of names and texts, so that a file that is added to it is not forgotten.

use std::fmt::Write as _;
use std::io::{Error, Result};
use std::path::PathBuf;
use std::{env, fs};

fn main() -> Result<()> {
    let variable =
        |name| env::var_os(name).map(PathBuf::from).ok_or_else(|| Error::other(format!("cargo gives {name}")));
    let wit = variable("CARGO_MANIFEST_DIR")?.join("../../wit").canonicalize()?;
    println!("cargo:rerun-if-changed={}", wit.display());
    let mut paths = fs::read_dir(&wit)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "wit"));
    paths.sort();
    let mut table = String::from("&[\n");
    for path in paths {
        let name = path.file_name().unwrap_or_default();
        writeln!(table, "    ({name:?}, include_str!({path:?})),").map_err(Error::other)?;
    }
    table.push(']');
    fs::write(variable("OUT_DIR")?.join("contract.rs"), table)
}
