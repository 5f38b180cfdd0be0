//! Fixtures: bytes that this version writes, kept in the repository, so that a change of a format is seen.
//!
//! A test that finds other bytes fails. If the change is meant, raise the format's version, so that what was written before is refused
//! with a clear sentence, and write the fixtures again: `RECOIL_WRITE_FIXTURES=1 cargo test -p recoil-consensus`.

use bytes::Bytes;

/// Compares `written` with the fixture of that name and returns the fixture, to be decoded.
pub(crate) fn check(name: &str, written: &[u8]) -> Bytes {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    if std::env::var_os("RECOIL_WRITE_FIXTURES").is_some() {
        std::fs::write(&path, written).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let stored = std::fs::read(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(stored, written, "{name} has other bytes than this version writes");
    stored.into()
}
