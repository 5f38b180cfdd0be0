//! `recoilctl dotnet`: what `sdk/csharp/build.sh` asks for while it builds a package in C#.
//!
//! Hidden, because it is of no use without the tools that the script installs: it finds this program in `RECOILCTL`.

use std::path::{Path, PathBuf};

use recoil_dotnet::Runtime;

use super::VerbError;
use crate::say::complain;

/// Names this program to the commands that it runs.
pub(super) const PROGRAM_VARIABLE: &str = "RECOILCTL";

#[derive(Debug, clap::Args)]
pub(super) struct Dotnet {
    /// The folder with the .NET runtime for browsers and its class library.
    #[arg(long, global = true, default_value = ".", value_name = "FOLDER")]
    runtime: PathBuf,
    #[command(subcommand)]
    step: Step,
}

#[derive(Debug, clap::Subcommand)]
enum Step {
    /// Write the contract's numbers as C#.
    Glue {
        /// The source to write.
        source: PathBuf,
    },
    /// Write the class library as the compiler wants it.
    References {
        /// The folder to write to.
        folder: PathBuf,
    },
    /// Make the core module of a package.
    Pack {
        /// The module to write.
        #[arg(long, value_name = "FILE")]
        module: PathBuf,
        /// The package's assembly, as the compiler has made it.
        assembly: PathBuf,
        /// Assemblies that it brings.
        others: Vec<PathBuf>,
    },
}

impl Dotnet {
    pub(super) fn run(&self) -> Result<(), VerbError> {
        let runtime = Runtime::read(files(&self.runtime)?).map_err(local)?;
        match &self.step {
            Step::Glue { source } => write(source, runtime.glue().map_err(local)?.as_bytes()),
            Step::References { folder } => {
                let references = runtime.references().map_err(local)?;
                references.iter().try_for_each(|(name, bytes)| write(&folder.join(name), bytes))
            }
            Step::Pack { module, assembly, others } => {
                let name = assembly.file_stem().unwrap_or_default().to_string_lossy();
                let others = others.iter().map(|file| Ok((file.display().to_string(), read(file)?)));
                let others = others.collect::<Result<_, VerbError>>()?;
                let packed = runtime.pack(&name, read(assembly)?, others).map_err(local)?;
                packed.notes.iter().for_each(|note| complain(format!("note: {note}")));
                // What the package prints while it is made is its author's.
                if !packed.said.is_empty() {
                    complain(packed.said.trim_end_matches('\n'));
                }
                write(module, &packed.module)
            }
        }
    }
}

fn local(error: impl ToString) -> VerbError {
    VerbError::Local(error.to_string())
}

fn read(file: &Path) -> Result<Vec<u8>, VerbError> {
    std::fs::read(file).map_err(|error| local(format!("cannot read {}: {error}", file.display())))
}

fn write(file: &Path, bytes: &[u8]) -> Result<(), VerbError> {
    std::fs::write(file, bytes).map_err(|error| local(format!("cannot write {}: {error}", file.display())))
}

/// The files of a folder, by their names.
fn files(folder: &Path) -> Result<Vec<(String, Vec<u8>)>, VerbError> {
    let cannot = |error: std::io::Error| local(format!("cannot read {}: {error}", folder.display()));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(cannot)? {
        let entry = entry.map_err(cannot)?;
        if entry.file_type().map_err(cannot)?.is_file() {
            files.push((entry.file_name().to_string_lossy().into_owned(), read(&entry.path())?));
        }
    }
    Ok(files)
}
