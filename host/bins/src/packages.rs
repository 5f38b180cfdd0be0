//! The packages of `guests/`, built and put in here by `build.rs`.

/// A package that comes with the programs.
#[derive(Clone, Copy, Debug)]
pub struct Package {
    /// Its name in the manifest.
    pub name: &'static str,
    /// Its version in the manifest.
    pub version: &'static str,
    /// The component with its manifest.
    pub archive: &'static [u8],
}

/// All of them, by name.
pub static PACKAGES: &[Package] = include!(concat!(env!("OUT_DIR"), "/packages.rs"));

/// The contract, `recoil:plugin`, as a WIT package.
pub static CONTRACT: Package = Package {
    name: "plugin",
    version: include_str!(concat!(env!("OUT_DIR"), "/contract-version")),
    archive: include_bytes!(concat!(env!("OUT_DIR"), "/contract.wasm")),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_carries_the_manifest_it_is_listed_under() {
        assert!(PACKAGES.iter().any(|package| package.name == "redis-server"));
        for package in PACKAGES {
            let manifest = recoil_package::read(package.archive).unwrap();
            assert_eq!((manifest.name.as_str(), manifest.version.as_str()), (package.name, package.version));
        }
    }
}
