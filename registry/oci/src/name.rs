//! Names of repositories, tags and contents, and the references that people type.
//!
//! Grammar: distribution specification 1.1, "Pulling manifests"; image specification 1.1, "Digests".

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

const REPOSITORY_LENGTH_MAX: usize = 255;
const TAG_LENGTH_MAX: usize = 128;
/// The namespace of the packages that come with the programs, and of a package that is named without one.
pub const NAMESPACE: &str = "recoil";

/// Text that is not the name it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a {what}: expected {expected}")]
pub struct InvalidName {
    /// What it should be.
    pub what: &'static str,
    text: String,
    expected: &'static str,
}

impl InvalidName {
    fn new(what: &'static str, text: &str, expected: &'static str) -> Self {
        let shown: String = text.chars().take(100).collect();
        InvalidName { what, text: shown.escape_debug().to_string(), expected }
    }
}

macro_rules! text {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
    };
}

text!(
    /// A repository: lower-case words joined by `/`, `.`, `_`, `__` or hyphens, at most 255 characters.
    Repository
);
text!(
    /// A tag: at most 128 letters, digits, `_`, `.` and `-`.
    Tag
);

impl FromStr for Repository {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let good = text.len() <= REPOSITORY_LENGTH_MAX && text.split('/').all(is_path_component);
        good.then(|| Repository(text.to_owned())).ok_or_else(|| {
            InvalidName::new(
                "repository",
                text,
                "lower-case words and digits, joined by . _ __ - or /, such as acme/greeter",
            )
        })
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_path_component(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    if !is_word(*first) || !is_word(*last) {
        return false;
    }
    let separators = text.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()).filter(|run| !run.is_empty());
    separators.into_iter().all(|run| matches!(run, "." | "_" | "__") || run.bytes().all(|byte| byte == b'-'))
}

impl FromStr for Tag {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let is_first = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let good = text.len() <= TAG_LENGTH_MAX
            && text.bytes().next().is_some_and(is_first)
            && text.bytes().all(|byte| is_first(byte) || byte == b'.' || byte == b'-');
        good.then(|| Tag(text.to_owned())).ok_or_else(|| {
            InvalidName::new("tag", text, "at most 128 letters, digits, _ . and -, beginning with none of the last two")
        })
    }
}

impl Tag {
    /// The tag of a version. Tags cannot contain the `+` of build metadata; as in Helm it becomes `_`:
    /// `1.0.0+build.5` has the tag `1.0.0_build.5`. Versions contain no `_`, so this is reversible.
    ///
    /// # Errors
    /// If the result is not a tag.
    pub fn of_version(version: &str) -> Result<Self, InvalidName> {
        version
            .replace('+', "_")
            .parse()
            .map_err(|error: InvalidName| InvalidName::new(error.what, version, error.expected))
    }

    /// The version that a tag stands for, if it does.
    fn version(tag: &str) -> Option<semver::Version> {
        semver::Version::parse(&tag.replacen('_', "+", 1)).ok()
    }
}

/// How a content is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    fn name(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha512 => "sha512",
        }
    }

    fn digits(self) -> usize {
        match self {
            Algorithm::Sha256 => 64,
            Algorithm::Sha512 => 128,
        }
    }

    /// The digest of `bytes`.
    pub fn digest(self, bytes: &[u8]) -> Digest {
        let mut hasher = Hasher::new(self);
        hasher.update(bytes);
        hasher.finish()
    }
}

text!(
    /// The digest that names a content: `sha256:` or `sha512:` and lower-case hexadecimal digits.
    Digest
);

impl FromStr for Digest {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let algorithms = [Algorithm::Sha256, Algorithm::Sha512];
        let good = text.split_once(':').is_some_and(|(name, hex)| {
            algorithms.iter().any(|algorithm| name == algorithm.name() && hex.len() == algorithm.digits())
                && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        });
        good.then(|| Digest(text.to_owned())).ok_or_else(|| {
            InvalidName::new("digest", text, "sha256: and 64, or sha512: and 128 lower-case hexadecimal digits")
        })
    }
}

impl Digest {
    /// How it was made.
    pub fn algorithm(&self) -> Algorithm {
        if self.0.starts_with("sha512") { Algorithm::Sha512 } else { Algorithm::Sha256 }
    }
}

/// A content's digest in the making.
#[derive(Clone, Debug)]
pub enum Hasher {
    /// SHA-256.
    Sha256(sha2::Sha256),
    /// SHA-512.
    Sha512(sha2::Sha512),
}

impl Hasher {
    /// Of nothing yet.
    pub fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Hasher::Sha256(sha2::Sha256::new()),
            Algorithm::Sha512 => Hasher::Sha512(sha2::Sha512::new()),
        }
    }

    /// Of what it was of, and `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha256(hasher) => hasher.update(bytes),
            Hasher::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// The digest.
    pub fn finish(self) -> Digest {
        let (algorithm, bytes) = match self {
            Hasher::Sha256(hasher) => (Algorithm::Sha256, hasher.finalize().to_vec()),
            Hasher::Sha512(hasher) => (Algorithm::Sha512, hasher.finalize().to_vec()),
        };
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Digest(format!("{}:{hex}", algorithm.name()))
    }
}

/// Which manifest of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reference {
    /// The one a tag points to.
    Tag(Tag),
    /// The one of this digest.
    Digest(Digest),
}

impl FromStr for Reference {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if text.contains(':') { text.parse().map(Reference::Digest) } else { text.parse().map(Reference::Tag) }
    }
}

impl Reference {
    /// Parses a version, tag or digest as a user types it; see [`Tag::of_version`].
    ///
    /// # Errors
    /// If it is none of them.
    pub fn of_version(text: &str) -> Result<Self, InvalidName> {
        if text.contains(':') { text.parse().map(Reference::Digest) } else { Tag::of_version(text).map(Reference::Tag) }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reference::Tag(tag) => tag.fmt(f),
            Reference::Digest(digest) => digest.fmt(f),
        }
    }
}

/// A package as people name it: `greeter`, `acme/greeter`, `acme/greeter@1.0.0`, `acme/greeter@sha256:…`. Without a namespace it is
/// in `recoil`, where the packages are that come with the programs; without a version the newest is meant. A version's `+` is read as
/// the `_` that its tag has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageReference {
    /// With its namespace.
    pub repository: Repository,
    /// The version or digest.
    pub version: Option<Reference>,
}

impl FromStr for PackageReference {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let (name, version) = match text.split_once('@') {
            Some((name, version)) => (name, Some(Reference::of_version(version)?)),
            None => (text, None),
        };
        let wrong = |_| InvalidName::new("package", text, "[NAMESPACE/]NAME[@VERSION], such as acme/greeter@1.0.0");
        let name = if name.contains('/') { name.to_owned() } else { format!("{NAMESPACE}/{name}") };
        Ok(PackageReference { repository: name.parse().map_err(wrong)?, version })
    }
}

impl fmt::Display for PackageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.repository.fmt(f)?;
        match &self.version {
            Some(version) => write!(f, "@{version}"),
            None => Ok(()),
        }
    }
}

/// The tag with the newest version among `tags`: a release if there is one, else a pre-release. Of the builds of a version, it is the last
/// in their order. Tags that are no semantic versions do not count.
pub fn newest<'a>(tags: impl IntoIterator<Item = &'a str>) -> Option<Tag> {
    let versions = tags.into_iter().filter_map(|tag| Some((Tag::version(tag)?, tag)));
    let (_, newest) = versions.max_by(|(a, _), (b, _)| (a.pre.is_empty(), a).cmp(&(b.pre.is_empty(), b)))?;
    newest.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_the_specification_says() {
        for good in ["a", "acme/greeter", "a.b/c_d/e__f/g---h", "0/1"] {
            assert_eq!(good.parse::<Repository>().unwrap().as_str(), good);
        }
        let long = "a".repeat(256);
        for bad in ["", "/", "a/", "/a", "A", "a..b", "a___b", "a.-b", "-a", "a_", "a b", "é", "a//b", &long] {
            assert!(bad.parse::<Repository>().is_err(), "{bad}");
        }
        for good in ["1.0.0", "latest", "_x", "A-b.c", &"t".repeat(128)] {
            assert_eq!(good.parse::<Tag>().unwrap().as_str(), good);
        }
        for bad in ["", ".hidden", "-x", "a/b", "a+b", &"t".repeat(129)] {
            assert!(bad.parse::<Tag>().is_err(), "{bad}");
        }
    }

    #[test]
    fn digests_are_checked_and_made() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Algorithm::Sha256.digest(b"").as_str(), empty);
        assert_eq!(empty.parse::<Digest>().unwrap().algorithm(), Algorithm::Sha256);
        let long = Algorithm::Sha512.digest(b"abc");
        assert!(long.as_str().starts_with("sha512:ddaf35a193617aba"), "{long}");
        assert_eq!(long.as_str().parse::<Digest>().unwrap().algorithm(), Algorithm::Sha512);
        for bad in ["", "sha256:", "sha256:abc", &empty.to_uppercase(), &empty[7..], &empty.replace("256", "512")] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }

    #[test]
    fn packages_are_named_as_people_type_them() {
        let named = |text: &str| text.parse::<PackageReference>().unwrap().to_string();
        assert_eq!(named("redis-server"), "recoil/redis-server");
        assert_eq!(named("acme/greeter@1.0.0"), "acme/greeter@1.0.0");
        let by_digest = format!("acme/greeter@{}", Algorithm::Sha256.digest(b""));
        assert_eq!(named(&by_digest), by_digest);
        for bad in ["", "@1.0.0", "Acme/x", "a@", "a@b@c", "a/b@sha256:1"] {
            assert!(bad.parse::<PackageReference>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_newest_version_is_the_newest_release() {
        let newest = |tags: &[&str]| newest(tags.iter().copied()).map(String::from);
        assert_eq!(newest(&["1.9.0", "1.10.0", "2.0.0-rc.1", "latest"]).as_deref(), Some("1.10.0"));
        assert_eq!(newest(&["2.0.0-rc.1", "2.0.0-rc.2"]).as_deref(), Some("2.0.0-rc.2"));
        assert_eq!(newest(&["latest"]), None);
        assert_eq!(newest(&["1.0.0", "1.0.0_build.9", "1.0.0_build.10"]).as_deref(), Some("1.0.0_build.10"));
        assert_eq!(newest(&["1.0.0_build.9", "1.0.1"]).as_deref(), Some("1.0.1"));
        assert_eq!(newest(&["1.0.0", "2.0.0_a_b", "_2.0.0", "2.0.0_"]).as_deref(), Some("1.0.0"), "no versions");
    }

    #[test]
    fn a_build_of_a_version_has_a_tag() {
        assert_eq!(Tag::of_version("1.0.0+build.5").unwrap().as_str(), "1.0.0_build.5");
        assert_eq!(Tag::of_version("1.0.0-rc.1").unwrap().as_str(), "1.0.0-rc.1");
        let typed: PackageReference = "acme/greeter@1.0.0+build.5".parse().unwrap();
        assert_eq!(typed, "acme/greeter@1.0.0_build.5".parse().unwrap());
        let wrong = Tag::of_version("1.0.0+é").unwrap_err().to_string();
        assert!(wrong.contains("1.0.0+"), "as it was typed: {wrong}");
        assert!("1.0.0+build".parse::<Tag>().is_err(), "on the wire there is no +");
    }
}
