//! The packages of `guests/`, built and put in here by `build.rs`.

/// A package that comes with the programs.
#[derive(Clone, Copy, Debug)]
pub struct Package {
    /// Its name in the manifest.
    pub name: &'static str,
    /// The component with its manifest.
    pub archive: &'static [u8],
}

/// All of them, by name.
pub static PACKAGES: &[Package] = include!(concat!(env!("OUT_DIR"), "/packages.rs"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_carries_the_manifest_it_is_listed_under() {
        assert!(PACKAGES.iter().any(|package| package.name == "redis-server"));
        for package in PACKAGES {
            assert_eq!(recoil_package::read(package.archive).unwrap().name, package.name);
        }
    }
}
