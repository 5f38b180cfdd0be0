//! What can go wrong with a registry, said to whoever typed the command.

use recoil_oci::{Digest, Tag};

/// Why a registry could not be used. Every text says where, what, why, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// It is not there, or may not be seen by whoever asks: registries do not tell one from the other.
    #[error(
        "{registry} has no {what}{more}; check the name and the version, and that you may see it: `docker login {registry}`"
    )]
    NotFound {
        /// The registry.
        registry: String,
        /// What is not there.
        what: String,
        /// What is there instead, as an addition to the sentence.
        more: String,
    },
    /// The registry wants to know who asks, or does not allow it to whoever it was.
    #[error(
        "{registry} does not allow this for {what}: {why}; `docker login {registry}`, or set RECOIL_REGISTRY_TOKEN to a token that may, and RECOIL_REGISTRY_TOKEN_HOST to {registry}"
    )]
    Unauthorized {
        /// The registry.
        registry: String,
        /// What was asked for.
        what: String,
        /// The registry's words.
        why: String,
    },
    /// It did not answer, or not to the end, or could not at the moment; several attempts were made.
    #[error(
        "cannot reach {registry} for {what}: {why}; check the address and the network (only localhost is spoken to without TLS), or try again later"
    )]
    Unreachable {
        /// The registry.
        registry: String,
        /// What was asked for.
        what: String,
        /// What happened at the last attempt.
        why: String,
    },
    /// It is not certain who answers there. Nothing was told to it, no credentials either.
    #[error("{registry} is not asked for {what}: {why}; {remedy}")]
    Untrusted {
        /// The registry.
        registry: String,
        /// What was to be asked for.
        what: String,
        /// What makes it uncertain.
        why: String,
        /// What to do.
        remedy: String,
    },
    /// What it answered is not what the digest names.
    #[error(
        "{registry} answered damaged data for {what}: {why}; nothing of it was kept: try again, and if it stays so, tell who runs the registry"
    )]
    Damaged {
        /// The registry.
        registry: String,
        /// What was asked for.
        what: String,
        /// How it differs.
        why: String,
    },
    /// It refused the request, or answered what registries do not.
    #[error("{registry} refused {what}: {why}; correct that, or check that the address is a registry's")]
    Refused {
        /// The registry.
        registry: String,
        /// What was asked for.
        what: String,
        /// The registry's words.
        why: String,
    },
    /// It is there, and cannot be a Recoil package.
    #[error("{what} on {registry} cannot be used: {why}; choose another version, or publish it again")]
    Unsuitable {
        /// The registry.
        registry: String,
        /// Its name.
        what: String,
        /// What it is instead.
        why: String,
    },
    /// The version was published before, and what it means does not change.
    #[error(
        "{registry} has {what} already, with other contents: the tag {tag} is {there}, and this is {here}; publish a new version, or ask for it to be replaced"
    )]
    Exists {
        /// The registry.
        registry: String,
        /// The repository and tag.
        what: String,
        /// The tag.
        tag: Tag,
        /// The digest that it has.
        there: String,
        /// The digest that was to be published.
        here: Digest,
    },
    /// The text is not a registry's address.
    #[error(
        "'{address}' is not a registry's address: {why}; expected a host and perhaps a port, such as registry.example or localhost:5000"
    )]
    BadAddress {
        /// The text.
        address: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The registry requires authentication, and the credentials for it cannot be loaded.
    #[error(
        "{registry} requires authentication, and the credentials for it cannot be loaded: {why}; correct that, or set RECOIL_REGISTRY_TOKEN, and RECOIL_REGISTRY_TOKEN_HOST to {registry}"
    )]
    BadCredentials {
        /// The registry.
        registry: String,
        /// What is wrong with them.
        why: String,
    },
    /// There are certificates to believe for the registry, and they cannot be used.
    #[error(
        "cannot use the certificates for {registry}: {why}; put the certificate of the authority that signs the registry's there, in PEM, or remove the file"
    )]
    BadCertificates {
        /// The registry.
        registry: String,
        /// The file, and what is wrong with it.
        why: String,
    },
    /// This machine cannot make connections.
    #[error(
        "cannot prepare connections to registries: {why}; install the system's certificates (`apt-get install ca-certificates`), or name a file with those that you trust in SSL_CERT_FILE"
    )]
    NoClient {
        /// What is missing.
        why: String,
    },
}

impl RegistryError {
    /// True if the same may succeed later without anything being changed by the caller.
    pub fn is_retryable(&self) -> bool {
        matches!(self, RegistryError::Unreachable { .. })
    }
}
