//! HTTP requests to one registry: where they go, whether they carry credentials, and how much of
//! a response is read.
//!
//! Invariants. Credentials are attached only to requests whose scheme, host and port are the
//! registry's (CVE-2020-15157); `reqwest` drops them when a redirect leaves that origin. No
//! redirect is followed from TLS to plain HTTP. Response bodies held in memory are bounded.

use std::sync::Arc;
use std::time::Duration;

use oci_client::client::Certificate;
use reqwest::header::{HeaderMap, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};

use crate::RegistryError;
use crate::address::Address;
use crate::failure::{Failure, Kind};

pub(crate) const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
pub(crate) const USER_AGENT: &str = concat!("recoil/", env!("CARGO_PKG_VERSION"));
const REDIRECTS_MAX: usize = 10;
/// Bytes of a refusal that are read for its message.
const REFUSAL_BYTES_MAX: usize = 64 << 10;

/// Connections to one registry.
#[derive(Clone)]
pub(crate) struct Http {
    client: Client,
    base: Url,
    host: String,
    is_loopback: bool,
    believed: Arc<[Certificate]>,
}

impl Http {
    /// Connections to `address`, over plain HTTP if `is_plain`, with the system's certificates and
    /// those of `believed`.
    pub(crate) fn new(address: &Address, is_plain: bool, believed: Vec<Certificate>) -> Result<Self, RegistryError> {
        let scheme = if is_plain { "http" } else { "https" };
        let base = Url::parse(&format!("{scheme}://{}/", address.host())).map_err(|_| RegistryError::BadAddress {
            address: address.to_string(),
            why: "its host is neither a name nor an IP address",
        })?;
        let is_loopback = address.is_loopback();
        let client = client(&believed, is_loopback)?;
        Ok(Http { client, base, host: address.host().to_owned(), is_loopback, believed: believed.into() })
    }

    /// The root of the registry.
    pub(crate) fn base(&self) -> &Url {
        &self.base
    }

    /// The registry's `host[:port]`.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.base.scheme() == "https"
    }

    /// True of a registry on this machine, which is reached without a proxy.
    pub(crate) fn is_loopback(&self) -> bool {
        self.is_loopback
    }

    /// The certificates that are believed beside the system's.
    pub(crate) fn believed(&self) -> &[Certificate] {
        &self.believed
    }

    /// The URL of a path that begins with `/v2/` and consists of checked names.
    pub(crate) fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(path);
        url
    }

    pub(crate) fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.client.request(method, url)
    }

    /// True if `url` leads to the registry itself, so that a request may carry its credentials.
    pub(crate) fn is_own(&self, url: &Url) -> bool {
        url.scheme() == self.base.scheme()
            && url.host_str() == self.base.host_str()
            && url.port_or_known_default() == self.base.port_or_known_default()
    }

    /// Where an answer's `Location` leads, which may be relative to the request that it answers
    /// (RFC 9110, section 10.2.2).
    pub(crate) fn location(&self, answer: &Response) -> Result<Url, Failure> {
        let wrong = |why: String| Failure::new(Kind::Refused, why);
        let text = answer.headers().get(LOCATION).map(|value| value.to_str().map_err(|_| value));
        let text = match text {
            Some(Ok(text)) => text,
            Some(Err(value)) => return Err(wrong(format!("it answered with the Location {value:?}, which is no URL"))),
            None => {
                return Err(wrong("its answer has no Location, and so does not say where the upload goes".to_owned()));
            }
        };
        let url = answer.url().join(text);
        let mut url = url.map_err(|error| {
            wrong(format!(
                "it answered with the Location '{}', which is no URL: {error}",
                crate::failure::shortened(text)
            ))
        })?;
        url.set_fragment(None);
        match url.scheme() {
            "https" => Ok(url),
            "http" if self.base.scheme() == "http" => Ok(url),
            other => Err(wrong(format!("it sends the upload to {url}, and {other} is not accepted from it; https is"))),
        }
    }
}

/// The answer, if its status is one of those that are expected.
pub(crate) async fn expect(answer: Response, expected: &[StatusCode]) -> Result<Response, Failure> {
    let status = answer.status();
    if expected.contains(&status) {
        return Ok(answer);
    }
    if status.is_success() {
        let why = format!("it answered with HTTP status {status}, where {} is expected", expected[0]);
        return Err(Failure::new(Kind::Refused, why));
    }
    Err(refusal(answer).await)
}

/// What an answer that is no success says.
pub(crate) async fn refusal(answer: Response) -> Failure {
    let status = answer.status().as_u16();
    let body = match read(answer, REFUSAL_BYTES_MAX).await {
        Ok(Some(body)) => body,
        Ok(None) | Err(_) => vec![],
    };
    Failure::of_answer(status, &String::from_utf8_lossy(&body))
}

/// All of an answer's body; none if it has more than `limit` bytes.
pub(crate) async fn read(mut answer: Response, limit: usize) -> Result<Option<Vec<u8>>, Failure> {
    if answer.content_length().is_some_and(|length| length > limit as u64) {
        return Ok(None);
    }
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await? {
        if body.len() + piece.len() > limit {
            return Ok(None);
        }
        body.extend_from_slice(&piece);
    }
    Ok(Some(body))
}

/// A header's text, if there is such a header and it is text.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// A client with the system's certificates and those of `believed`, and, unless it stays on this
/// machine, the environment's proxies.
fn client(believed: &[Certificate], is_loopback: bool) -> Result<Client, RegistryError> {
    // Fails if the program has chosen its cryptography already, and then that one is used.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // Without any certificates of the system, the client panics if it has others: one that has none
    // says what is wrong.
    let no_client = |error: reqwest::Error| RegistryError::NoClient { why: Failure::from(error).why };
    drop(Client::builder().build().map_err(no_client)?);
    let believed: Result<Vec<_>, _> = believed.iter().map(reqwest::Certificate::try_from).collect();
    let believed = believed.map_err(|error| RegistryError::NoClient { why: error.to_string() })?;
    let policy = Policy::custom(|attempt| {
        let before = attempt.previous().last().map(Url::scheme);
        if attempt.previous().len() > REDIRECTS_MAX {
            attempt.error("it redirects too often")
        } else if before == Some("https") && attempt.url().scheme() != "https" {
            attempt.error("it redirects from TLS to an address without")
        } else {
            attempt.follow()
        }
    });
    let mut builder = Client::builder()
        .user_agent(USER_AGENT)
        .connect_timeout(CONNECT_TIME_MAX)
        .tls_certs_merge(believed)
        .referer(false)
        .redirect(policy);
    if is_loopback {
        builder = builder.no_proxy();
    }
    builder.build().map_err(no_client)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_for_the_registry_itself() {
        let of = |address: &str, is_plain| Http::new(&address.parse().unwrap(), is_plain, vec![]).unwrap();
        let own = |http: &Http, url: &str| http.is_own(&Url::parse(url).unwrap());
        let safe = of("Registry.example", false);
        assert_eq!(
            safe.url("/v2/acme/greeter/tags/list").as_str(),
            "https://registry.example/v2/acme/greeter/tags/list"
        );
        assert!(own(&safe, "https://registry.example/x") && own(&safe, "https://REGISTRY.example:443/x?y"));
        for other in [
            "http://registry.example/x",
            "https://registry.example:5000/x",
            "https://registry.example.org/x",
            "https://registry.example@evil.example/x",
        ] {
            assert!(!own(&safe, other), "{other}");
        }
        let plain = of("localhost:5000", true);
        assert!(own(&plain, "http://localhost:5000/x") && !own(&plain, "https://localhost:5000/x"));
        assert_eq!(of("docker.io", false).base().as_str(), "https://index.docker.io/");
    }
}
