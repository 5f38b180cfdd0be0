//! Manifests as a registry sees them: bytes that are kept as they are, and what they refer to.
//!
//! What is not understood is left alone: image specification 1.1 has implementations ignore unknown fields, and digests make
//! any rewriting visible.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Digest;

/// An image manifest.
pub const IMAGE_MANIFEST_MEDIA_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
/// An index of manifests.
pub const IMAGE_INDEX_MEDIA_TYPE: &str = "application/vnd.oci.image.index.v1+json";
/// Bytes a manifest may have: what registries should take at least.
pub const MANIFEST_BYTES_MAX: usize = 4 << 20;
/// Contents one manifest may refer to.
const CONTENTS_MAX: usize = 10_000;

/// Why bytes are not a manifest that a registry can keep.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON of the right form.
    #[error("the manifest cannot be read: {0}")]
    Unreadable(String),
    /// Says two things.
    #[error("the request calls the manifest {header}, and the manifest itself {inside}: they must be the same")]
    MediaTypes {
        /// The header's.
        header: String,
        /// The manifest's.
        inside: String,
    },
    /// Says nothing.
    #[error("neither the request nor the manifest says of which media type it is: set Content-Type")]
    NoMediaType,
    /// More than [`CONTENTS_MAX`].
    #[error("the manifest refers to {0} contents; at most 10000 are allowed")]
    TooManyContents(usize),
}

/// What names a content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Of the content.
    pub media_type: String,
    /// Of the content.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// What kind of artifact it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// For people and tools.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What a registry has to know of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Manifest {
    /// As answered to those who read it.
    pub media_type: String,
    /// Bytes.
    pub size: u64,
    /// Config and layers that the repository must hold.
    pub blobs: Vec<Digest>,
    /// What it is about.
    pub subject: Option<Digest>,
    /// How it is listed among its subject's referrers.
    pub artifact_type: Option<String>,
    /// The same.
    pub annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<RawDescriptor>,
    #[serde(default)]
    layers: Option<Vec<RawDescriptor>>,
    subject: Option<RawDescriptor>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDescriptor {
    #[serde(default)]
    media_type: String,
    digest: Digest,
    #[serde(default)]
    urls: Option<Vec<String>>,
}

impl RawDescriptor {
    /// Content that is not distributed through registries, but from elsewhere.
    fn is_elsewhere(&self) -> bool {
        self.media_type.contains("nondistributable")
            || self.media_type.contains("foreign")
            || self.urls.as_ref().is_some_and(|urls| !urls.is_empty())
    }
}

impl Manifest {
    /// Of its bytes, and the media type by which they came, if they came with one.
    pub fn parse(bytes: &[u8], media_type: Option<&str>) -> Result<Self, ManifestError> {
        let raw: Raw = serde_json::from_slice(bytes).map_err(|error| ManifestError::Unreadable(error.to_string()))?;
        let media_type = match (media_type, raw.media_type) {
            (Some(header), Some(inside)) if header != inside => {
                return Err(ManifestError::MediaTypes { header: header.to_owned(), inside });
            }
            (_, Some(inside)) => inside,
            (Some(header), None) => header.to_owned(),
            (None, None) => return Err(ManifestError::NoMediaType),
        };
        let config_type = raw.config.as_ref().map(|config| config.media_type.clone());
        let contents = raw.config.into_iter().chain(raw.layers.unwrap_or_default());
        let mut blobs: Vec<Digest> =
            contents.filter(|content| !content.is_elsewhere()).map(|content| content.digest).collect();
        blobs.sort();
        blobs.dedup();
        if blobs.len() > CONTENTS_MAX {
            return Err(ManifestError::TooManyContents(blobs.len()));
        }
        let named = |text: &String| !text.is_empty();
        Ok(Manifest {
            media_type,
            size: bytes.len() as u64,
            blobs,
            subject: raw.subject.map(|subject| subject.digest),
            artifact_type: raw.artifact_type.filter(named).or(config_type.filter(named)),
            annotations: raw.annotations.unwrap_or_default(),
        })
    }

    /// How it is listed among its subject's referrers.
    pub fn descriptor(self, digest: Digest) -> Descriptor {
        let Manifest { media_type, size, artifact_type, annotations, .. } = self;
        Descriptor { media_type, digest, size, artifact_type, annotations }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Algorithm;

    #[test]
    fn what_a_manifest_refers_to_is_found() {
        let digest = |text: &str| Algorithm::Sha256.digest(text.as_bytes());
        let json = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": IMAGE_MANIFEST_MEDIA_TYPE,
            "config": { "mediaType": "application/x", "digest": digest("config"), "size": 1 },
            "layers": [
                { "mediaType": "application/wasm", "digest": digest("layer"), "size": 2 },
                { "mediaType": "application/wasm", "digest": digest("layer"), "size": 2 },
                { "mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar", "digest": digest("far"), "size": 3 },
            ],
            "subject": { "mediaType": "a/b", "digest": digest("subject"), "size": 4 },
            "annotations": { "a": "b" },
            "unknown": [1],
        });
        let bytes = json.to_string();
        let manifest = Manifest::parse(bytes.as_bytes(), Some(IMAGE_MANIFEST_MEDIA_TYPE)).unwrap();
        let mut blobs = vec![digest("config"), digest("layer")];
        blobs.sort();
        assert_eq!(manifest.blobs, blobs);
        assert_eq!(manifest.subject, Some(digest("subject")));
        let descriptor = manifest.descriptor(digest(&bytes));
        assert_eq!(descriptor.artifact_type.as_deref(), Some("application/x"), "the config's, if it has none itself");
        assert_eq!((descriptor.size, descriptor.annotations.len()), (bytes.len() as u64, 1));
    }

    #[test]
    fn what_is_no_manifest_is_told_so() {
        let why =
            |bytes: &str, header: Option<&str>| Manifest::parse(bytes.as_bytes(), header).unwrap_err().to_string();
        assert!(why("{", Some("a/b")).contains("cannot be read"));
        assert!(why("[]", Some("a/b")).contains("cannot be read"));
        assert!(why(r#"{"layers": [{"digest": "sha256:1"}]}"#, Some("a/b")).contains("sha256:1"));
        assert!(why(r#"{"mediaType": "c/d"}"#, Some("a/b")).contains("must be the same"));
        assert!(why("{}", None).contains("Content-Type"));
        let empty = r#"{"layers": [], "manifests": null, "annotations": null}"#;
        assert_eq!(Manifest::parse(empty.as_bytes(), Some("a/b")).unwrap().blobs, []);
    }
}
