//! What clients of the registry send, and what its records are written as.

use recoil_oci::records::{Answer, Command, decode, encode};
use recoil_oci::{Digest, Manifest, PackageReference, Reference, Repository, Tag};

/// Names: what is taken for one is written as it came, and holds nothing that a path or header could take for something else.
pub(crate) fn names(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let is_safe = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic()) && !text.contains("..");
    if let Ok(name) = text.parse::<Repository>() {
        assert!(name.as_str() == text && is_safe(text) && !text.starts_with('/'), "{text}");
    }
    if let Ok(tag) = text.parse::<Tag>() {
        assert!(
            tag.as_str() == text && text.bytes().all(|byte| byte.is_ascii_graphic()) && !text.contains('/'),
            "{text}"
        );
    }
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.as_str(), text);
        assert!(matches!(text.parse(), Ok(Reference::Digest(same)) if same == digest));
    }
    if let Ok(package) = text.parse::<PackageReference>() {
        assert_eq!(package.to_string().parse(), Ok(package));
    }
}

/// A manifest, and records: what can be read is read again alike.
pub(crate) fn records(input: &[u8]) {
    if let Ok(manifest) = Manifest::parse(input, None) {
        assert_eq!(manifest.size, input.len() as u64);
        assert!(manifest.blobs.is_sorted(), "{:?}", manifest.blobs);
    }
    if let Ok((command, attachment)) = decode::<Command>(input) {
        assert_eq!(decode(&encode(&command, attachment)), Ok((command, attachment)));
    }
    if let Ok((answer, attachment)) = decode::<Answer>(input) {
        assert_eq!(decode(&encode(&answer, attachment)), Ok((answer, attachment)));
    }
}
