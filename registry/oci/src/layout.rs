//! A package as an OCI artifact.
//!
//! Source: the CNCF's "WASM OCI Artifact Layout": an image manifest with a config of type `application/vnd.wasm.config.v0+json` and one
//! layer `application/wasm`. The package's own manifest is mirrored in the config as `recoil`, so that a registry can show what a
//! package asks for without fetching it; what counts is the one inside the component.
//!
//! Made from the same bytes, an artifact is the same bytes: it says when it was created only if it is told so.

use std::collections::BTreeMap;

use recoil_package::{Manifest as PackageManifest, PackageError};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{Algorithm, Descriptor, Digest, IMAGE_MANIFEST_MEDIA_TYPE};

/// Media type of an artifact's config.
pub const CONFIG_MEDIA_TYPE: &str = "application/vnd.wasm.config.v0+json";
/// Media type of its one layer.
pub const LAYER_MEDIA_TYPE: &str = "application/wasm";
/// The layout wants a time; artifacts that are to be reproducible name this one.
const NO_TIME: &str = "1970-01-01T00:00:00Z";

/// What is pushed: the layer is the archive itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// The manifest's bytes.
    pub manifest: Vec<u8>,
    /// Names them.
    pub manifest_digest: Digest,
    /// The config's bytes.
    pub config: Vec<u8>,
    /// Names them.
    pub config_digest: Digest,
    /// Names the archive.
    pub layer_digest: Digest,
}

/// The artifact of a component or WIT package. `package` is the manifest inside, if there is one; `title` the layer's file name; `annotations`
/// come beside those that the manifest gives.
pub fn artifact(
    archive: &[u8],
    package: Option<&PackageManifest>,
    title: &str,
    created: Option<&str>,
    annotations: &BTreeMap<String, String>,
) -> Result<Artifact, PackageError> {
    let shape = recoil_package::shape(archive)?;
    let layer_digest = Algorithm::Sha256.digest(archive);
    let mut config = json!({
        "created": created.unwrap_or(NO_TIME),
        "author": annotations.get("org.opencontainers.image.authors"),
        "architecture": "wasm",
        "os": "wasip2",
        "layerDigests": [layer_digest],
        "component": { "exports": shape.exports, "imports": shape.imports, "target": null },
    });
    if let Some(package) = package {
        config["recoil"] = serde_json::to_value(package).unwrap_or_default();
    }
    let config = config.to_string().into_bytes();
    let config_digest = Algorithm::Sha256.digest(&config);
    let mut described = BTreeMap::new();
    if let Some(package) = package {
        described.insert("org.opencontainers.image.title", package.name.as_str());
        described.insert("org.opencontainers.image.version", &package.version);
        described.insert("org.opencontainers.image.description", &package.description);
        described.insert("org.opencontainers.image.licenses", &package.license);
    }
    if let Some(created) = created {
        described.insert("org.opencontainers.image.created", created);
    }
    described.extend(annotations.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    described.retain(|_, value| !value.is_empty());
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": IMAGE_MANIFEST_MEDIA_TYPE,
        "config": { "mediaType": CONFIG_MEDIA_TYPE, "digest": config_digest, "size": config.len() },
        "layers": [{
            "mediaType": LAYER_MEDIA_TYPE,
            "digest": layer_digest,
            "size": archive.len(),
            "annotations": { "org.opencontainers.image.title": title },
        }],
        "annotations": described,
    });
    let manifest = manifest.to_string().into_bytes();
    let manifest_digest = Algorithm::Sha256.digest(&manifest);
    Ok(Artifact { manifest, manifest_digest, config, config_digest, layer_digest })
}

#[derive(Serialize, Deserialize)]
struct Layers {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

/// The layer that is the component, of an artifact's manifest. Fails with what is wrong with the manifest.
pub fn component_digest(manifest: &[u8]) -> Result<Descriptor, String> {
    let read: Layers = serde_json::from_slice(manifest)
        .map_err(|error| format!("its manifest is not one of a WebAssembly artifact: {error}"))?;
    match read.layers.as_slice() {
        [layer] if layer.media_type == LAYER_MEDIA_TYPE => Ok(layer.clone()),
        [layer] => Err(format!("its layer is {}, where {LAYER_MEDIA_TYPE} is expected", layer.media_type)),
        layers => Err(format!("it has {} layers, where one of type {LAYER_MEDIA_TYPE} is expected", layers.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive() -> (Vec<u8>, PackageManifest) {
        let text = br#"{"name": "greeter", "version": "1.0.0", "license": "Apache-2.0"}"#;
        let manifest = PackageManifest::from_json(text).unwrap();
        let component = [b"\0asm".as_slice(), &[0x0d, 0, 1, 0]].concat();
        (recoil_package::embed(&component, &manifest).unwrap(), manifest)
    }

    #[test]
    fn the_artifact_names_its_parts_and_is_the_same_each_time() {
        let (archive, package) = archive();
        let made = artifact(&archive, Some(&package), "greeter.wasm", None, &BTreeMap::new()).unwrap();
        assert_eq!(made, artifact(&archive, Some(&package), "greeter.wasm", None, &BTreeMap::new()).unwrap());
        let layer = component_digest(&made.manifest).unwrap();
        assert_eq!((layer.digest, layer.size), (Algorithm::Sha256.digest(&archive), archive.len() as u64));
        let known = crate::Manifest::parse(&made.manifest, None).unwrap();
        assert!(known.blobs.contains(&made.config_digest) && known.blobs.contains(&made.layer_digest));
        assert_eq!(known.annotations["org.opencontainers.image.version"], "1.0.0");
        assert!(!known.annotations.contains_key("org.opencontainers.image.description"), "what is empty is left out");
        let config: serde_json::Value = serde_json::from_slice(&made.config).unwrap();
        assert_eq!((&config["os"], &config["recoil"]["name"]), (&"wasip2".into(), &"greeter".into()));
        assert_eq!(config["layerDigests"][0], made.layer_digest.as_str());
    }

    #[test]
    fn other_artifacts_are_refused_with_what_they_are() {
        let digest = Algorithm::Sha256.digest(b"");
        let with = |layers: serde_json::Value| {
            let config = json!({ "mediaType": "a/b", "digest": digest, "size": 0 });
            component_digest(json!({ "config": config, "layers": layers }).to_string().as_bytes()).unwrap_err()
        };
        assert!(with(json!([])).contains("0 layers"));
        let tar = json!({ "mediaType": "application/x-tar", "digest": digest, "size": 0 });
        assert!(with(json!([tar])).contains("application/x-tar"));
        assert!(component_digest(b"{}").unwrap_err().contains("config"));
    }
}
