//! Packages: the archive and its manifest. Their crate's public functions are all there is to reach.

use recoil_package::{Manifest, embed, read};

/// An archive: what can be read can have its manifest put in again, and keeps it.
pub(crate) fn archive(input: &[u8]) {
    let Ok(manifest) = read(input) else { return };
    manifest.validate().expect("whatever is read has been checked");
    let again = embed(input, &manifest).expect("what was read can be written");
    assert_eq!(read(&again).as_ref(), Ok(&manifest));
}

/// A manifest alone, as JSON, and inside the smallest component.
pub(crate) fn manifest(input: &[u8]) {
    const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
    let Ok(manifest) = Manifest::from_json(input) else { return };
    assert_eq!(Manifest::from_json(&manifest.to_json()).as_ref(), Ok(&manifest));
    let archive = embed(COMPONENT, &manifest).expect("a manifest that was read is small enough");
    assert_eq!(read(&archive).as_ref(), Ok(&manifest));
}
