//! What authors write: `recoil.toml`, the manifest with one more table that stays behind when the package is built.

use serde::Deserialize;

use crate::{Manifest, PackageError};

/// The table `[build]` of `recoil.toml`: how the component comes to be.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Build {
    /// Run by the shell in the package's folder.
    pub command: String,
    /// The component that the command makes, relative to the folder.
    pub component: String,
    /// Runs the package's own tests, by the shell in the folder.
    #[serde(default)]
    pub test: Option<String>,
}

/// A `recoil.toml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// What travels with the component.
    pub manifest: Manifest,
    /// How it is built; none where something else does that.
    pub build: Option<Build>,
}

impl Source {
    /// Read a `recoil.toml` and check it.
    pub fn from_toml(text: &str) -> Result<Self, PackageError> {
        let malformed =
            |error: toml::de::Error| PackageError::Malformed { why: error.to_string().trim_end().to_owned() };
        if text.len() > crate::MANIFEST_BYTES_MAX {
            return Err(PackageError::ManifestTooLarge { size: text.len(), limit: crate::MANIFEST_BYTES_MAX });
        }
        let mut table: toml::Table = toml::from_str(text).map_err(malformed)?;
        let Some(build) = table.remove("build") else {
            // Straight from the text, so that errors show the line.
            return Ok(Source { manifest: Manifest::from_toml(text)?, build: None });
        };
        let build = Some(build.try_into().map_err(malformed)?);
        let manifest: Manifest = table.try_into().map_err(malformed)?;
        manifest.validate()?;
        Ok(Source { manifest, build })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = "name = 'a'\nversion = '1.0.0'\n[build]\ncommand = 'make'\ncomponent = 'out/a.wasm'\n";

    #[test]
    fn the_build_table_stays_behind() {
        let source = Source::from_toml(FULL).unwrap();
        let build = Build { command: "make".into(), component: "out/a.wasm".into(), test: None };
        assert_eq!(source.build, Some(build));
        assert!(!String::from_utf8(source.manifest.to_json()).unwrap().contains("make"));
        let without = Source::from_toml("name = 'a'\nversion = '1.0.0'").unwrap();
        assert_eq!((without.build, without.manifest), (None, source.manifest));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (from, to, expected) in [
            ("command", "comand", "comand"),
            ("component = 'out/a.wasm'", "", "component"),
            ("name = 'a'", "name = 'A'", "`name` is 'A'"),
            ("version", "versoin", "versoin"),
            ("[build]", "[build", "TOML"),
        ] {
            let error = Source::from_toml(&FULL.replacen(from, to, 1)).expect_err(to).to_string();
            assert!(error.contains(expected), "{to}: {error}");
        }
    }
}
