//! The assemblies that a package brings, of NuGet packages and of other projects, beside those of the class library.
//!
//! The runtime has one assembly by each name. Of several that are called the same, the one of the highest version is taken, as a .NET
//! application does, whose own assemblies replace older ones of the framework; of the same version it is the class library's, which is
//! made for this runtime. So a package that was compiled against the older of two never meets something older than it knows.
//!
//! Invariant: what is taken does not depend on the order of what is brought. Deliberately absent: which of them the package can reach,
//! which the runtime knows.

use std::collections::{BTreeMap, BTreeSet};

use crate::metadata::{self, Metadata};
use crate::snapshot::Assemblies;
use crate::{DotnetError, webcil};

/// The native libraries that the runtime has, all of which begin so.
const OWN_NATIVE: &str = "libSystem.";

/// The class library with a package and all that it brings.
pub(crate) struct Brought {
    /// By their names.
    pub(crate) assemblies: Assemblies,
    /// Of those that are not the class library's.
    metadata: BTreeMap<String, Metadata>,
}

impl Brought {
    /// The class library with a package of that name.
    pub(crate) fn new(library: &Assemblies, name: &str, assembly: Vec<u8>) -> Result<Self, DotnetError> {
        let read = webcil::check_pe(&assembly).and_then(|()| metadata::read(&assembly));
        let metadata = read.map_err(|why| DotnetError::Assembly { name: name.to_owned(), why })?;
        if library.contains_key(name) {
            return Err(DotnetError::Taken(name.to_owned()));
        }
        let mut assemblies = library.clone();
        assemblies.insert(name.to_owned(), assembly);
        Ok(Brought { assemblies, metadata: BTreeMap::from([(name.to_owned(), metadata)]) })
    }

    /// One more, a PE file, which an error calls `file`; nothing if there is one of its name that is as new.
    pub(crate) fn add(&mut self, file: &str, assembly: Vec<u8>) -> Result<(), DotnetError> {
        let wrong = |why| DotnetError::Brought { file: file.to_owned(), why };
        let read = webcil::check_pe(&assembly).and_then(|()| metadata::read(&assembly));
        let metadata = read.map_err(wrong)?;
        let there = match (self.metadata.get(&metadata.name), self.assemblies.get(&metadata.name)) {
            (Some(brought), _) => Some(brought.version),
            (None, Some(image)) => {
                let read = webcil::to_pe(image).and_then(|file| metadata::read(&file));
                let library = |why| DotnetError::Library { file: format!("{}.dll", metadata.name), why };
                Some(read.map_err(library)?.version)
            }
            (None, None) => None,
        };
        if there.is_none_or(|there| there < metadata.version) {
            self.assemblies.insert(metadata.name.clone(), assembly);
            self.metadata.insert(metadata.name.clone(), metadata);
        }
        Ok(())
    }

    /// Leaves only these, which are all that is needed; what of them will not work, in words for the author.
    pub(crate) fn retain(&mut self, needed: &BTreeSet<String>) -> Vec<String> {
        let brought = self.metadata.iter().filter(|(name, _)| needed.contains(*name));
        let notes = brought.flat_map(|(name, metadata)| {
            let native = metadata.native.iter().filter(|library| !library.starts_with(OWN_NATIVE));
            let native = native.map(move |library| {
                format!("{name}.dll calls the native library {library}, and there is none in a package: such a call throws DllNotFoundException")
            });
            let absent = metadata.references.iter().filter(|reference| !self.assemblies.contains_key(*reference));
            let absent = absent.map(move |reference| {
                format!("{name}.dll refers to {reference}.dll, which neither the class library nor the project has: what needs it throws FileNotFoundException")
            });
            native.chain(absent)
        });
        let notes = notes.collect();
        self.assemblies.retain(|name, _| needed.contains(name));
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::tests::{Said, assembly, image};

    const PACKAGE: Said =
        Said { name: "package", version: [0; 4], references: &[], native: &["libSystem.Native"], fields: 0 };

    fn library() -> Assemblies {
        let json = Said { name: "Json", version: [10, 0, 0, 0], ..PACKAGE };
        BTreeMap::from([("Json".to_owned(), image(&json))])
    }

    fn brought(others: &[Said]) -> Brought {
        let mut brought = Brought::new(&library(), "package", assembly(&PACKAGE)).unwrap();
        others.iter().for_each(|said| brought.add("it.dll", assembly(said)).unwrap());
        brought
    }

    #[test]
    fn the_highest_version_is_taken_and_of_the_same_the_class_librarys() {
        let of = |name, version| Said { name, version, ..PACKAGE };
        let (old, same, new) = (of("Json", [9, 9, 0, 0]), of("Json", [10, 0, 0, 0]), of("Json", [10, 0, 0, 1]));
        for others in [&[old.clone(), same.clone()][..], std::slice::from_ref(&same), &[]] {
            assert!(brought(others).assemblies["Json"] == library()["Json"]);
        }
        for others in [[&old, &new], [&new, &old], [&new, &same]] {
            assert!(brought(&others.map(Said::clone)).assemblies["Json"] == assembly(&new));
        }
        let (one, two) = (of("Prose", [1, 0, 0, 0]), of("Prose", [2, 0, 0, 0]));
        for others in [[one.clone(), two.clone()], [two.clone(), one]] {
            assert!(brought(&others).assemblies["Prose"] == assembly(&two));
        }
    }

    #[test]
    fn what_will_not_work_is_said_of_what_is_needed() {
        let sqlite = Said {
            name: "Sqlite",
            references: &["Json", "Forms"],
            native: &["e_sqlite3", "libSystem.Native"],
            ..PACKAGE
        };
        let needed = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let mut all = brought(std::slice::from_ref(&sqlite));
        let notes = all.retain(&needed(&["package", "Json", "Sqlite"]));
        assert_eq!(notes.len(), 2, "{notes:?}");
        assert!(notes[0].starts_with("Sqlite.dll calls the native library e_sqlite3,"), "{notes:?}");
        assert!(notes[1].starts_with("Sqlite.dll refers to Forms.dll,"), "{notes:?}");
        let mut without = brought(&[sqlite]);
        assert_eq!(without.retain(&needed(&["package"])), Vec::<String>::new());
        assert!(without.assemblies.keys().eq(["package"]));
    }

    #[test]
    fn a_file_that_is_no_assembly_is_named() {
        let mut brought = brought(&[]);
        let error = brought.add("/packages/prose/1.0.0/Prose.dll", b"MZ".to_vec()).unwrap_err().to_string();
        assert!(
            error.starts_with("/packages/prose/1.0.0/Prose.dll, which the project brings, holds a damaged assembly"),
            "{error}"
        );
        let error = Brought::new(&library(), "Json", assembly(&PACKAGE)).err().unwrap().to_string();
        assert!(error.contains("'Json' is the name of an assembly of the class library"), "{error}");
    }
}
