//! A registry, and what a name means there now.
//!
//! A version is a tag, and a tag is a name that someone can move. [`Registry::resolve`] looks at it once; from then on everything goes by
//! the digest, so that what is fetched is what was looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use oci_client::client::{Certificate, ClientConfig, ClientProtocol};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, RegistryOperation};
use recoil_oci::{
    Descriptor, Digest, IMAGE_MANIFEST_MEDIA_TYPE, MANIFEST_BYTES_MAX, Manifest, Reference, Repository, Tag,
};

use crate::address::Address;
use crate::attempts::{Attempts, in_time};
use crate::failure::{Failure, Kind};
use crate::{Credentials, RegistryError, authorities};

/// What `oci-client` calls a place in a registry.
pub(crate) type Image = oci_client::Reference;

const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// Every name and every IP address, to those who except hosts from a proxy.
const EVERY_HOST: &str = "*,0.0.0.0/0,::/0";
/// Tags to ask for at a time.
const TAGS_PAGE: usize = 1000;
/// Tags that a repository may have.
const TAGS_MAX: usize = 100_000;
/// Tags that are named in an error.
const TAGS_SHOWN: usize = 5;

/// A registry, spoken to over TLS, or over plain HTTP if it is on this machine and nobody's certificate is believed for it.
///
/// Every operation tries again by itself what may pass; operations may run at the same time.
#[derive(Clone)]
pub struct Registry {
    pub(crate) client: Client,
    address: Address,
    auth: RegistryAuth,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("address", &self.address).finish_non_exhaustive()
    }
}

/// What a name meant when it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Where it is.
    pub repository: Repository,
    /// The tag that was looked at, if it was one.
    pub tag: Option<Tag>,
    /// The manifest's digest, which means the same for ever.
    pub digest: Digest,
    /// The component.
    pub layer: Descriptor,
    /// What the manifest says to people and tools.
    pub annotations: BTreeMap<String, String>,
}

impl fmt::Display for Resolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.tag {
            Some(tag) => write!(f, "{}@{tag}", self.repository),
            None => write!(f, "{}@{}", self.repository, self.digest),
        }
    }
}

impl Registry {
    /// The registry at `address`, which is `host[:port]`: over TLS, except on this machine (localhost, 127.0.0.0/8, `[::1]`).
    ///
    /// Certificates are believed that the system's authorities have signed, or those that Docker is told of for this registry:
    /// `/etc/docker/certs.d/HOST:PORT/*.crt`, and the same in `~/.config/docker`. If there are any, TLS is spoken on this machine, too.
    ///
    /// Makes no request, but may run the helper program of Docker's configuration.
    pub async fn connect(address: &str, credentials: Credentials) -> Result<Registry, RegistryError> {
        let address: Address = address.parse()?;
        let believed = authorities::of(&address, &authorities::folders())?;
        let is_plain = address.is_loopback() && believed.is_empty();
        let protocol = if is_plain { ClientProtocol::Http } else { ClientProtocol::Https };
        Registry::over(protocol, address, believed, credentials).await
    }

    /// The registry at `address`, over plain HTTP wherever it is. Whoever is on the way can read the credentials: this is for
    /// addresses that speak nothing else, such as a cluster's own for its administration.
    pub async fn connect_plain(address: &str, credentials: Credentials) -> Result<Registry, RegistryError> {
        Registry::over(ClientProtocol::Http, address.parse()?, vec![], credentials).await
    }

    async fn over(
        protocol: ClientProtocol,
        address: Address,
        believed: Vec<Certificate>,
        credentials: Credentials,
    ) -> Result<Registry, RegistryError> {
        let auth = credentials.load(&address).await?;
        let client = client(protocol, believed, address.is_loopback())?;
        // Most of the client's methods take no credentials and use those stored for the host, which is not always called as the registry.
        let host = Image::with_tag(address.to_string(), String::new(), String::new());
        client.store_auth_if_needed(host.resolve_registry(), &auth).await;
        Ok(Registry { client, address, auth })
    }

    /// `host[:port]`, in lower case.
    pub fn address(&self) -> &str {
        self.address.as_str()
    }

    /// All tags of a repository, in the order of their text.
    pub async fn tags(&self, repository: &Repository) -> Result<Vec<Tag>, RegistryError> {
        let told = |failure: Failure| failure.tell(self.address(), repository.as_str());
        let mut tags = BTreeSet::new();
        let mut last = None;
        loop {
            let page = self.tags_after(repository, last.as_deref()).await.map_err(told)?;
            let known = tags.len();
            last = page.last().cloned();
            tags.extend(page.iter().filter_map(|tag| tag.parse::<Tag>().ok()));
            // Some registries answer all tags whatever they are asked for.
            if tags.len() == known {
                return Ok(tags.into_iter().collect());
            }
            if tags.len() > TAGS_MAX {
                let why = format!("it has more than {TAGS_MAX} tags: ask for a version");
                return Err(told(Failure::new(Kind::Refused, why)));
            }
        }
    }

    async fn tags_after(&self, repository: &Repository, last: Option<&str>) -> Result<Vec<String>, Failure> {
        let image = &self.tagged(repository, "latest");
        let page = Attempts::new(self, image, RegistryOperation::Pull)
            .make(|| in_time(self.client.list_tags(image, &self.auth, Some(TAGS_PAGE), last)));
        Ok(page.await?.tags)
    }

    /// What `version` of a repository means now; without one, its newest version.
    pub async fn resolve(
        &self,
        repository: &Repository,
        version: Option<&Reference>,
    ) -> Result<Resolved, RegistryError> {
        match version {
            Some(version) => self.look_at(repository, version).await,
            None => {
                let newest = self.newest(repository).await?;
                self.look_at(repository, &Reference::Tag(newest)).await
            }
        }
    }

    async fn newest(&self, repository: &Repository) -> Result<Tag, RegistryError> {
        let tags = self.tags(repository).await?;
        recoil_oci::newest(tags.iter().map(Tag::as_str)).ok_or_else(|| {
            let shown: Vec<&str> = tags.iter().take(TAGS_SHOWN).map(Tag::as_str).collect();
            RegistryError::NotFound {
                registry: self.address().to_owned(),
                what: format!("version of {repository} such as 1.0.0"),
                more: if shown.is_empty() { String::new() } else { format!(" (its tags: {})", shown.join(", ")) },
            }
        })
    }

    async fn look_at(&self, repository: &Repository, version: &Reference) -> Result<Resolved, RegistryError> {
        let what = format!("{repository}@{version}");
        let told = |failure: Failure| failure.tell(self.address(), &what);
        let unsuitable =
            |why| RegistryError::Unsuitable { registry: self.address().to_owned(), what: what.clone(), why };
        let image = &match version {
            Reference::Tag(tag) => self.tagged(repository, tag.as_str()),
            Reference::Digest(digest) => self.digested(repository, digest),
        };
        let accepted = [IMAGE_MANIFEST_MEDIA_TYPE];
        let (manifest, digest) = Attempts::new(self, image, RegistryOperation::Pull)
            .make(|| in_time(self.client.pull_manifest_raw(image, &self.auth, &accepted)))
            .await
            .map_err(told)?;
        if manifest.len() > MANIFEST_BYTES_MAX {
            return Err(unsuitable(format!(
                "its manifest has {} bytes, and at most {MANIFEST_BYTES_MAX} are allowed",
                manifest.len()
            )));
        }
        let digest = match version {
            Reference::Digest(digest) => digest.clone(),
            // The client has checked it, whether the registry has named it or not.
            Reference::Tag(_) => {
                digest.parse().map_err(|error: recoil_oci::InvalidName| unsuitable(error.to_string()))?
            }
        };
        let found = digest.algorithm().digest(&manifest);
        if found != digest {
            return Err(told(Failure::new(Kind::Damaged, format!("its manifest is {found}, and not {digest}"))));
        }
        let layer = recoil_oci::component_digest(&manifest).map_err(unsuitable)?;
        let annotations = Manifest::parse(&manifest, Some(IMAGE_MANIFEST_MEDIA_TYPE))
            .map_err(|error| unsuitable(error.to_string()))?
            .annotations;
        let tag = match version {
            Reference::Tag(tag) => Some(tag.clone()),
            Reference::Digest(_) => None,
        };
        Ok(Resolved { repository: repository.clone(), tag, digest, layer, annotations })
    }

    /// What the registry says that the tag's manifest is called, if it has the tag.
    pub(crate) async fn digest_of(&self, image: &Image) -> Result<Option<String>, Failure> {
        let asked = Attempts::new(self, image, RegistryOperation::Pull)
            .make(|| in_time(self.client.fetch_manifest_digest(image, &self.auth)));
        match asked.await {
            Ok(digest) => Ok(Some(digest)),
            Err(failure) if failure.kind == Kind::Missing => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Gets a token, if that is how the registry wants it. One for writing is used for reading too: while a repository does not exist
    /// yet, some registries give nobody one for reading it.
    pub(crate) async fn sign_in(&self, image: &Image, operation: RegistryOperation) -> Result<(), Failure> {
        use oci_client::token_cache::{RegistryToken, RegistryTokenType};

        let token = self.client.auth(image, &self.auth, operation).await?;
        if let (Some(token), RegistryOperation::Push) = (token, operation) {
            let token = RegistryTokenType::Bearer(RegistryToken::Token { token });
            self.client.tokens.insert(image, RegistryOperation::Pull, token).await;
        }
        Ok(())
    }

    pub(crate) fn tagged(&self, repository: &Repository, tag: &str) -> Image {
        Image::with_tag(self.address.to_string(), repository.to_string(), tag.to_owned())
    }

    pub(crate) fn digested(&self, repository: &Repository, digest: &Digest) -> Image {
        Image::with_digest(self.address.to_string(), repository.to_string(), digest.to_string())
    }
}

/// A client with the system's certificates and those of `believed`, and, unless it stays on this machine, the environment's proxies.
fn client(protocol: ClientProtocol, believed: Vec<Certificate>, is_loopback: bool) -> Result<Client, RegistryError> {
    // Fails if the program has chosen its cryptography already, and then that one is used.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // Without any certificates of the system, the client panics if it has others: one that has none says what is wrong.
    let no_client = |error| RegistryError::NoClient { why: Failure::from(error).why };
    drop(Client::try_from(ClientConfig::default()).map_err(no_client)?);
    // Naming a proxy, and then excepting every host from it, is the one way to have the environment's ignored.
    let ignored = is_loopback.then(|| "http://127.0.0.1".to_owned());
    let config = ClientConfig {
        protocol,
        extra_root_certificates: believed,
        // A blob goes in one request, as most clients send it; its time is measured by what it takes, and not by the whole.
        use_monolithic_push: true,
        connect_timeout: Some(CONNECT_TIME_MAX),
        user_agent: concat!("recoil/", env!("CARGO_PKG_VERSION")),
        no_proxy: ignored.as_ref().map(|_| EVERY_HOST.to_owned()),
        http_proxy: ignored,
        ..ClientConfig::default()
    };
    Client::try_from(config).map_err(no_client)
}
