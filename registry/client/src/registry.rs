//! A registry, and what a name means there now.
//!
//! A version is a tag, and a tag is a name that someone can move. [`Registry::resolve`] looks at it once; from then on everything goes by
//! the digest, so that what is fetched is what was looked at.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use oci_client::client::Certificate;
use recoil_oci::{
    Algorithm, Descriptor, Digest, IMAGE_MANIFEST_MEDIA_TYPE, MANIFEST_BYTES_MAX, Manifest, Reference, Repository, Tag,
};
use reqwest::header::ACCEPT;
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};

use crate::address::Address;
use crate::attempts::{Attempts, in_time};
use crate::failure::{Failure, Kind};
use crate::http::{Http, expect, read, text};
use crate::sign_in::{Authorization, Operation, SignIn};
use crate::{Credentials, RegistryError, authorities};

/// Tags that are named in an error.
const TAGS_SHOWN: usize = 5;
/// Media types accepted when only the digest of a manifest is of interest.
const ANY_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";
/// The response header that carries a manifest's digest.
const DIGEST_HEADER: &str = "docker-content-digest";

/// A manifest's place in a registry.
pub(crate) struct Image {
    pub(crate) repository: String,
    reference: String,
}

impl Image {
    pub(crate) fn new(repository: &Repository, reference: &str) -> Self {
        Image { repository: repository.to_string(), reference: reference.to_owned() }
    }

    /// The path of something in the same repository.
    pub(crate) fn path(&self, kind: &str, name: &str) -> String {
        format!("/v2/{}/{kind}/{name}", self.repository)
    }

    /// The manifest's own path.
    pub(crate) fn manifest(&self) -> String {
        self.path("manifests", &self.reference)
    }
}

/// A registry, spoken to over TLS, or over plain HTTP if it is on this machine and nobody's certificate is believed for it.
///
/// Every operation tries again by itself what may pass; operations may run at the same time.
#[derive(Clone)]
pub struct Registry {
    pub(crate) http: Http,
    address: Address,
    sign_in: Arc<SignIn>,
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
    /// Makes no request. Credentials are loaded, and a helper program of Docker's configuration is run,
    /// only once the registry requires authentication.
    pub async fn connect(address: &str, credentials: Credentials) -> Result<Registry, RegistryError> {
        let address: Address = address.parse()?;
        let believed = authorities::of(&address, &authorities::folders())?;
        let is_plain = address.is_loopback() && believed.is_empty();
        Registry::over(is_plain, address, believed, credentials)
    }

    /// The registry at `address`, over plain HTTP wherever it is. Whoever is on the way can read the credentials: this is for
    /// addresses that speak nothing else, such as a cluster's own for its administration.
    pub async fn connect_plain(address: &str, credentials: Credentials) -> Result<Registry, RegistryError> {
        Registry::over(true, address.parse()?, vec![], credentials)
    }

    fn over(
        is_plain: bool,
        address: Address,
        believed: Vec<Certificate>,
        credentials: Credentials,
    ) -> Result<Registry, RegistryError> {
        let http = Http::new(&address, is_plain, believed)?;
        Ok(Registry { http, address, sign_in: Arc::new(SignIn::new(credentials)) })
    }

    /// `host[:port]`, in lower case.
    pub fn address(&self) -> &str {
        self.address.as_str()
    }

    /// The error for `failure` of a request for `what`.
    pub(crate) fn tell(&self, failure: Failure, what: impl Into<String>) -> RegistryError {
        let problem = self.sign_in.problem().filter(|_| failure.kind == Kind::Unauthorized);
        problem.unwrap_or_else(|| failure.tell(self.address(), what))
    }

    /// Sends a request, with credentials if it is addressed to the registry.
    pub(crate) async fn send(
        &self,
        image: &Image,
        operation: Operation,
        method: Method,
        url: Url,
        with: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, Failure> {
        let is_own = self.http.is_own(&url);
        let request = with(self.http.request(method, url));
        let request = if is_own { self.sign_in.authorize(request, &image.repository, operation) } else { request };
        Ok(request.send().await?)
    }

    pub(crate) fn is_signed_in(&self, image: &Image, operation: Operation) -> bool {
        self.sign_in.is_done(&image.repository, operation)
    }

    /// What requests for the operation carry.
    pub(crate) fn authorization(&self, image: &Image, operation: Operation) -> Authorization {
        self.sign_in.authorization(&image.repository, operation)
    }

    pub(crate) async fn sign_in(&self, image: &Image, operation: Operation) -> Result<(), Failure> {
        self.sign_in.run(&self.http, &self.address, &image.repository, operation).await
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
        let told = |failure: Failure| self.tell(failure, what.as_str());
        let unsuitable =
            |why| RegistryError::Unsuitable { registry: self.address().to_owned(), what: what.clone(), why };
        let reference = version.to_string();
        let image = &Image::new(repository, &reference);
        let (manifest, named) = Attempts::new(self, image, Operation::Pull)
            .make(|| in_time(self.pull_manifest(image, IMAGE_MANIFEST_MEDIA_TYPE)))
            .await
            .map_err(told)?;
        let manifest = manifest.ok_or_else(|| {
            unsuitable(format!("its manifest has more than the {MANIFEST_BYTES_MAX} bytes that are allowed"))
        })?;
        let digest = match (version, named) {
            (Reference::Digest(digest), _) => digest.clone(),
            (Reference::Tag(_), Some(named)) => {
                named.parse().map_err(|error: recoil_oci::InvalidName| unsuitable(error.to_string()))?
            }
            (Reference::Tag(_), None) => Algorithm::Sha256.digest(&manifest),
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

    /// A manifest's bytes, unless there are too many, and what the registry says that they are called.
    async fn pull_manifest(&self, image: &Image, accept: &str) -> Result<(Option<Vec<u8>>, Option<String>), Failure> {
        let url = self.http.url(&image.manifest());
        let sent = self.send(image, Operation::Pull, Method::GET, url, |request| request.header(ACCEPT, accept));
        let answer = expect(sent.await?, &[StatusCode::OK]).await?;
        let named = text(answer.headers(), DIGEST_HEADER).map(str::to_owned);
        Ok((read(answer, MANIFEST_BYTES_MAX).await?, named))
    }

    /// What the registry says that the tag's manifest is called, if it has the tag.
    pub(crate) async fn digest_of(&self, image: &Image) -> Result<Option<Digest>, Failure> {
        let asked = Attempts::new(self, image, Operation::Pull).make(|| in_time(self.digest_of_now(image)));
        match asked.await {
            Ok(digest) => Ok(Some(digest)),
            Err(failure) if failure.kind == Kind::Missing => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    async fn digest_of_now(&self, image: &Image) -> Result<Digest, Failure> {
        let refused = |why: String| Failure::new(Kind::Refused, why);
        let url = self.http.url(&image.manifest());
        let sent = self.send(image, Operation::Pull, Method::HEAD, url, |request| request.header(ACCEPT, ANY_MANIFEST));
        let answer = expect(sent.await?, &[StatusCode::OK]).await?;
        if let Some(named) = text(answer.headers(), DIGEST_HEADER) {
            return named.parse().map_err(|error| refused(format!("it names its manifest wrongly: {error}")));
        }
        let (manifest, _) = self.pull_manifest(image, ANY_MANIFEST).await?;
        let manifest = manifest.ok_or_else(|| {
            refused(format!("its manifest has more than the {MANIFEST_BYTES_MAX} bytes that are allowed"))
        })?;
        Ok(Algorithm::Sha256.digest(&manifest))
    }
}
