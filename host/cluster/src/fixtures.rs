//! For tests: bytes that this version or an earlier one has written, in `tests/fixtures`.
//!
//! `RECOIL_WRITE_FIXTURES=1 cargo test -p recoil-cluster` writes those that are not there yet. One that is there is never written
//! again: its bytes are on disks and between nodes of different versions.

use bytes::Bytes;

/// The bytes of a fixture; `written` is what this version would write for a new one.
pub(crate) fn stored(name: &str, written: &[u8]) -> Bytes {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    if std::env::var_os("RECOIL_WRITE_FIXTURES").is_some() && !path.exists() {
        std::fs::create_dir_all(path.parent().expect("a folder above it")).expect("the folder can be made");
        std::fs::write(&path, written).expect("the fixture can be written");
    }
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).into()
}
