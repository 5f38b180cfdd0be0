//! The archive: a component and the manifest in its outermost custom section.
//!
//! Only the outermost sections are walked, by their headers; nested modules and components, which may carry custom sections
//! of the same name, are stepped over as a whole. Invariant: for every archive, `embed` then `read` gives the manifest
//! back, and `embed` changes no byte of any other section.

use std::ops::Range;

use sha2::{Digest as _, Sha256};
use wasm_encoder::Encode as _;
use wasmparser::BinaryReader;

use crate::{Manifest, PackageError};

/// Name of the custom section that holds the manifest as JSON.
pub const SECTION: &str = "recoil:manifest";
/// Bytes a manifest may have, in either form.
pub const MANIFEST_BYTES_MAX: usize = 64 << 10;
/// Bytes an archive may have.
pub const ARCHIVE_BYTES_MAX: usize = 64 << 20;

const CUSTOM: u8 = 0;
const MAGIC: &[u8] = b"\0asm";
const COMPONENT_VERSION: &[u8] = &[0x0d, 0, 1, 0];
const PREAMBLE_LENGTH: usize = 8;

/// The digest that pins a package: SHA-256 of the whole archive, as `sha256:` and 64 hexadecimal digits.
pub fn digest(archive: &[u8]) -> String {
    let hex: String = Sha256::digest(archive).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// The component with `manifest` inside, in the place of the one it had, if it had one.
pub fn embed(component: &[u8], manifest: &Manifest) -> Result<Vec<u8>, PackageError> {
    manifest.validate()?;
    let json = manifest.to_json();
    if json.len() > MANIFEST_BYTES_MAX {
        return Err(PackageError::ManifestTooLarge { size: json.len(), limit: MANIFEST_BYTES_MAX });
    }
    let mut archive = Vec::with_capacity(component.len() + json.len() + 32);
    let mut kept = 0;
    for section in manifests(component)? {
        archive.extend_from_slice(&component[kept..section.whole.start]);
        kept = section.whole.end;
    }
    archive.extend_from_slice(&component[kept..]);
    archive.push(CUSTOM);
    wasm_encoder::CustomSection { name: SECTION.into(), data: json.into() }.encode(&mut archive);
    check_size(&archive)?;
    Ok(archive)
}

/// The manifest inside a component, checked.
pub fn read(archive: &[u8]) -> Result<Manifest, PackageError> {
    let sections = manifests(archive)?;
    match sections.as_slice() {
        [] => Err(PackageError::NoManifest),
        [one] => Manifest::from_json(&archive[one.content.clone()]),
        many => Err(PackageError::ManyManifests { count: many.len() }),
    }
}

/// Where a manifest section lies: with its header, and its content alone.
struct Section {
    whole: Range<usize>,
    content: Range<usize>,
}

/// Every outermost manifest section, in order. Fails unless all outermost sections can be walked to the end.
fn manifests(archive: &[u8]) -> Result<Vec<Section>, PackageError> {
    check_size(archive)?;
    check_preamble(archive)?;
    let damaged = |error: wasmparser::BinaryReaderError| PackageError::Damaged {
        position: error.offset(),
        why: error.message().to_owned(),
    };
    let mut reader = BinaryReader::new(&archive[PREAMBLE_LENGTH..], PREAMBLE_LENGTH);
    let mut found = Vec::new();
    while !reader.eof() {
        let start = reader.original_position();
        let id = reader.read_u8().map_err(damaged)?;
        let length = reader.read_var_u32().map_err(damaged)? as usize;
        let body = reader.original_position();
        let content = reader.read_bytes(length).map_err(damaged)?;
        if id != CUSTOM {
            continue;
        }
        let mut section = BinaryReader::new(content, body);
        let name = section.read_string().map_err(damaged)?;
        if name == SECTION {
            found.push(Section { whole: start..body + length, content: section.original_position()..body + length });
        }
    }
    Ok(found)
}

fn check_size(archive: &[u8]) -> Result<(), PackageError> {
    let size = archive.len();
    if size <= ARCHIVE_BYTES_MAX {
        Ok(())
    } else {
        Err(PackageError::ArchiveTooLarge { size, limit: ARCHIVE_BYTES_MAX })
    }
}

pub(crate) fn check_preamble(archive: &[u8]) -> Result<(), PackageError> {
    let why = match archive {
        [] => "the file is empty",
        _ if !archive.starts_with(MAGIC) => "it does not begin with `\\0asm`",
        _ if archive.len() < PREAMBLE_LENGTH => "it ends within its first 8 bytes",
        _ if archive[4..PREAMBLE_LENGTH] == *COMPONENT_VERSION => return Ok(()),
        _ if archive[4..PREAMBLE_LENGTH] == [1, 0, 0, 0] => "it is a core module",
        _ => "it has an unknown binary version",
    };
    Err(PackageError::NotAComponent { why: why.to_owned() })
}

#[cfg(test)]
mod tests {
    use wasm_encoder::{Component, CustomSection, Module, ModuleSection};

    use super::*;

    fn manifest(name: &str) -> Manifest {
        let json = format!(r#"{{"name": "{name}", "version": "1.2.3"}}"#);
        Manifest::from_json(json.as_bytes()).unwrap()
    }

    fn custom<'a>(name: &'a str, data: &'a [u8]) -> CustomSection<'a> {
        CustomSection { name: name.into(), data: data.into() }
    }

    /// A component with a nested module that carries a decoy of its own, between two other custom sections.
    fn component() -> Vec<u8> {
        let mut module = Module::new();
        module.section(&custom(SECTION, b"a decoy"));
        let mut component = Component::new();
        component.section(&custom("before", b"1"));
        component.section(&ModuleSection(&module));
        component.section(&custom("after", b"2"));
        component.finish()
    }

    #[test]
    fn an_embedded_manifest_is_read_back_and_replaced() {
        let component = component();
        assert_eq!(read(&component), Err(PackageError::NoManifest), "the nested decoy is not the component's");
        let first = embed(&component, &manifest("one")).unwrap();
        assert_eq!(read(&first).unwrap().name, "one");
        assert!(first.starts_with(&component), "no other byte changes");
        let second = embed(&first, &manifest("other")).unwrap();
        assert_eq!(second, embed(&component, &manifest("other")).unwrap());
        wasmparser::Validator::new().validate_all(&second).unwrap();
        assert_ne!(digest(&first), digest(&second));
    }

    #[test]
    fn two_manifests_are_refused() {
        let mut archive = embed(&component(), &manifest("one")).unwrap();
        let section = custom(SECTION, b"{}");
        archive.push(CUSTOM);
        section.encode(&mut archive);
        assert_eq!(read(&archive), Err(PackageError::ManyManifests { count: 2 }));
        assert_eq!(read(&embed(&archive, &manifest("other")).unwrap()).unwrap().name, "other");
    }

    #[test]
    fn anything_else_is_an_error_and_never_a_panic() {
        for (bytes, expected) in [
            (&b""[..], "empty"),
            (b"PK\x03\x04", "does not begin"),
            (b"\0asm\x0d", "ends within"),
            (b"\0asm\x01\0\0\0", "core module"),
            (b"\0asm\x0e\0\x01\0", "unknown binary version"),
            (b"\0asm\x0d\0\x01\0\0\xff\xff\xff\xff\x0f", "damaged at byte"),
            (b"\0asm\x0d\0\x01\0\0\x02\x05x", "damaged at byte"),
        ] {
            let error = read(bytes).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let archive = embed(&component(), &manifest("one")).unwrap();
        for length in 0..archive.len() {
            assert!(read(&archive[..length]).is_err(), "{length}");
        }
        for position in 0..archive.len() {
            let mut changed = archive.clone();
            changed[position] ^= 0x55;
            let _ = read(&changed);
        }
    }

    #[test]
    fn sizes_are_bounded() {
        let mut large = component();
        let filler = vec![0; ARCHIVE_BYTES_MAX];
        large.push(CUSTOM);
        custom("filler", &filler).encode(&mut large);
        assert!(matches!(read(&large), Err(PackageError::ArchiveTooLarge { .. })));
        let mut padded = component();
        padded.push(CUSTOM);
        custom(SECTION, &vec![b' '; MANIFEST_BYTES_MAX + 1]).encode(&mut padded);
        assert!(matches!(read(&padded), Err(PackageError::ManifestTooLarge { .. })));
    }

    #[test]
    fn the_digest_is_sha256_in_its_usual_form() {
        assert_eq!(digest(b""), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
