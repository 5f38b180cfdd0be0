//! Requests for a blob, made with `oci-client`.
//!
//! A client is made for one blob and one authorization, and replaced when the authorization changes.
//! `oci-client` would otherwise sign in by itself, by the first challenge alone, as soon as it
//! considers a token expired; a client that was given a token as a token, or a password for the one
//! repository, or nothing at all, never does.
//!
//! Invariants. Credentials are sent to the registry alone: `oci-client` attaches them only to URLs of
//! its host and port, and `reqwest` drops them when a redirect leaves scheme, host or port. The body
//! of a refusal (a status from 400 on) is not read here, since `oci-client` would read it whole;
//! [`Blob::request`] answers that there is one, and the caller asks again through its own client.
//! From a registry with TLS, no redirect leads to plain HTTP, with one exception that cannot be
//! excluded: hosts that `NO_PROXY` names, where the environment has a proxy for HTTPS. Even then no
//! credentials go there, and the bytes are compared with the digest.
//!
//! A redirect's target is told the URL of the blob as `Referer`, which names no secret.
//!
//! Deliberately absent: a bound for bodies of answers that are neither the blob nor a refusal, such
//! as a redirect without a `Location`. `oci-client` reads them whole; they are bounded by the time
//! that the caller allows a registry before the blob begins.

use oci_client::client::{BlobResponse, ClientConfig, ClientProtocol, LayerDescriptor};
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use oci_client::token_cache::RegistryTokenType;
use oci_client::{Client, Reference, RegistryOperation};
use recoil_oci::Digest;

use crate::failure::{Failure, Kind, shortened};
use crate::http::{CONNECT_TIME_MAX, Http, USER_AGENT};
use crate::sign_in::Authorization;

/// Every name and every IP address, as a list of hosts that are reached without a proxy.
const EVERY_HOST: &str = "*,0.0.0.0/0,::/0";
/// A proxy to which no connection is possible, since nothing can listen on port 0.
const NOWHERE: &str = "http://127.0.0.1:0";
/// The blob's alternative location after a refusal. As it is no URL, `oci-client` fails with
/// [`OciDistributionError::UrlParseError`] before it reads the refusal's body.
const NO_URL: &str = "";

/// A blob in a registry, requested with one authorization.
pub(crate) struct Blob {
    client: Client,
    image: Reference,
    digest: String,
    authorization: Authorization,
    is_tls: bool,
}

impl Blob {
    pub(crate) async fn new(
        http: &Http,
        repository: &str,
        digest: &Digest,
        authorization: Authorization,
    ) -> Result<Self, Failure> {
        let client = Client::try_from(config(http, |name| std::env::var(name).ok()));
        let client = client.map_err(|error| failure(error, http.is_tls()))?;
        let image = Reference::with_digest(http.host().to_owned(), repository.to_owned(), digest.to_string());
        let host = image.resolve_registry();
        match authorization.clone() {
            Authorization::Nothing => {}
            Authorization::Token(token) => client.store_auth_if_needed(host, &RegistryAuth::Bearer(token)).await,
            Authorization::Password(login) => {
                client.store_auth_if_needed(host, &RegistryAuth::Anonymous).await;
                let password = RegistryTokenType::Basic(login.user, login.password);
                client.tokens.insert(&image, RegistryOperation::Pull, password).await;
            }
        }
        Ok(Blob { client, image, digest: digest.to_string(), authorization, is_tls: http.is_tls() })
    }

    pub(crate) fn is_requested_with(&self, authorization: &Authorization) -> bool {
        self.authorization == *authorization
    }

    /// Requests the blob from `offset` on. None if the registry refuses that, for whatever reason.
    pub(crate) async fn request(&self, offset: u64) -> Result<Option<BlobResponse>, Failure> {
        let urls = Some(vec![NO_URL.to_owned()]);
        let layer = LayerDescriptor { digest: &self.digest, urls: &urls };
        let answer = match offset {
            0 => self.client.pull_blob_stream(&self.image, &layer).await.map(BlobResponse::Full),
            offset => self.client.pull_blob_stream_partial(&self.image, &layer, offset, None).await,
        };
        match answer {
            Ok(answer) => Ok(Some(answer)),
            Err(OciDistributionError::UrlParseError(_)) => Ok(None),
            Err(error) => Err(failure(error, self.is_tls)),
        }
    }
}

fn failure(error: OciDistributionError, is_tls: bool) -> Failure {
    match error {
        OciDistributionError::RequestError(error)
            if is_tls && error.url().is_some_and(|url| url.scheme() == "http") =>
        {
            Failure::new(Kind::Refused, "it redirects from TLS to an address without")
        }
        OciDistributionError::RequestError(error) => error.into(),
        OciDistributionError::ServerError { code, message, .. } => Failure::of_answer(code, &message),
        other => {
            let why = format!("its answer is not a registry's: {}", shortened(&other.to_string()));
            Failure::new(Kind::Refused, why)
        }
    }
}

/// The configuration that corresponds to the client in `http`. `oci-client` can neither refuse
/// redirects to plain HTTP nor ignore the environment's proxies, so proxies of its own do that.
/// `variable` is a variable of the environment.
fn config(http: &Http, variable: impl Fn(&str) -> Option<String>) -> ClientConfig {
    let config = ClientConfig {
        protocol: if http.is_tls() { ClientProtocol::Https } else { ClientProtocol::Http },
        extra_root_certificates: http.believed().to_vec(),
        connect_timeout: Some(CONNECT_TIME_MAX),
        user_agent: USER_AGENT,
        ..ClientConfig::default()
    };
    let nowhere = Some(NOWHERE.to_owned());
    match (http.is_tls(), http.is_loopback()) {
        (true, true) => ClientConfig { http_proxy: nowhere, ..config },
        (true, false) => {
            let https_proxy = https_proxy(&variable);
            let no_proxy = https_proxy.as_ref().and_then(|_| first(["NO_PROXY", "no_proxy"], &variable));
            ClientConfig { http_proxy: nowhere, https_proxy, no_proxy, ..config }
        }
        (false, true) => ClientConfig { http_proxy: nowhere, no_proxy: Some(EVERY_HOST.to_owned()), ..config },
        (false, false) => config,
    }
}

/// The environment's proxy for HTTPS, found as `reqwest` finds it when no proxy is configured.
fn https_proxy(variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let names = [["HTTPS_PROXY", "https_proxy"], ["ALL_PROXY", "all_proxy"]];
    let mut found = names.into_iter().filter_map(|names| first(names, &variable));
    found.find(|proxy| !proxy.is_empty() && reqwest::Proxy::https(proxy.as_str()).is_ok())
}

fn first(names: [&str; 2], variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    names.into_iter().find_map(variable)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// A blob of the registry with TLS at `address`, requested over plain HTTP, as after a redirect.
    async fn redirected(address: &str) -> Blob {
        let http = Http::new(&address.parse().unwrap(), false, vec![]).unwrap();
        let digest = recoil_oci::Algorithm::Sha256.digest(b"");
        let blob = Blob::new(&http, "acme/greeter", &digest, Authorization::Nothing).await.unwrap();
        let config = ClientConfig { protocol: ClientProtocol::Http, ..config(&http, |_| None) };
        Blob { client: Client::try_from(config).unwrap(), ..blob }
    }

    #[tokio::test]
    async fn nothing_is_sent_without_tls_for_a_registry_with() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in ["127.0.0.1", "127.1"] {
            let blob = redirected(&format!("{host}:{port}")).await;
            tokio::select! {
                _ = listener.accept() => panic!("{host}: a connection was made"),
                answer = blob.request(0) => {
                    let failure = answer.err().unwrap();
                    assert_eq!(failure.kind, Kind::Refused, "{host}: {}", failure.why);
                    assert_eq!(failure.why, "it redirects from TLS to an address without", "{host}");
                }
            }
        }
    }

    #[test]
    fn the_proxy_is_the_environments() {
        let of = |set: &[(&str, &str)]| {
            let variable =
                |name: &str| set.iter().find(|(other, _)| *other == name).map(|(_, value)| value.to_string());
            https_proxy(variable)
        };
        assert_eq!(of(&[("HTTP_PROXY", "http://a:1")]), None);
        assert_eq!(of(&[("ALL_PROXY", "http://a:1"), ("https_proxy", "http://b:1")]).unwrap(), "http://b:1");
        assert_eq!(of(&[("https_proxy", "http://a:1"), ("HTTPS_PROXY", "http://b:1")]).unwrap(), "http://b:1");
        assert_eq!(of(&[("HTTPS_PROXY", ""), ("all_proxy", "a:1")]).unwrap(), "a:1");
        assert_eq!(of(&[("HTTPS_PROXY", "http://[/")]), None);
    }
}
