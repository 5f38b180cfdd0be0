//! Authentication: learning what a registry requires, and producing the matching credentials.
//!
//! `GET /v2/` returns the registry's challenge, if it has one. Credentials are loaded only after
//! a challenge, because loading may run a helper program. If they cannot be loaded, requests are
//! sent anonymously, and the problem is reported only if the registry then refuses them.
//!
//! `Bearer` is preferred to `Basic` where both are offered. The token server may be another host;
//! the password is sent to it over TLS only, except that a registry without TLS may name a token
//! server without TLS on its own host or on this machine.
//!
//! A token is used until the registry rejects it. Its stated lifetime is ignored: clocks differ,
//! and a rejected request costs one round trip.

use std::collections::HashMap;

use parking_lot::Mutex;
use reqwest::header::HeaderValue;
use reqwest::{Method, RequestBuilder, StatusCode, Url};
use serde::Deserialize;
use tokio::sync::OnceCell;

use crate::address::Address;
use crate::attempts::in_time;
use crate::challenge::{Bearer, Challenge};
use crate::credentials::Login;
use crate::failure::{Failure, Kind};
use crate::http::{Http, read, refusal};
use crate::{Credentials, RegistryError};

/// Bytes that the answer with a token may have.
const TOKEN_BYTES_MAX: usize = 256 << 10;

/// The access that a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Operation {
    Pull,
    Push,
}

impl Operation {
    fn scope(self, repository: &str) -> String {
        match self {
            Operation::Pull => format!("repository:{repository}:pull"),
            Operation::Push => format!("repository:{repository}:pull,push"),
        }
    }
}

/// The `Authorization` that requests carry.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Authorization {
    Nothing,
    Password(Login),
    Token(String),
}

/// Loaded credentials.
struct Found {
    login: Option<Login>,
    /// Why loading failed.
    problem: Option<RegistryError>,
}

/// The authentication state for one registry.
pub(crate) struct SignIn {
    credentials: Credentials,
    found: OnceCell<Found>,
    /// Per repository and operation, as agreed with the registry.
    known: Mutex<HashMap<(String, Operation), Authorization>>,
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl SignIn {
    pub(crate) fn new(credentials: Credentials) -> Self {
        SignIn { credentials, found: OnceCell::new(), known: Mutex::default() }
    }

    /// Why the credentials could not be loaded, if that was tried and failed.
    pub(crate) fn problem(&self) -> Option<RegistryError> {
        self.found.get()?.problem.clone()
    }

    /// True if the registry has been asked for its challenge for this repository and operation.
    pub(crate) fn is_done(&self, repository: &str, operation: Operation) -> bool {
        self.known.lock().contains_key(&(repository.to_owned(), operation))
    }

    /// The request with its credentials. The caller makes sure that it is addressed to the registry.
    pub(crate) fn authorize(&self, request: RequestBuilder, repository: &str, operation: Operation) -> RequestBuilder {
        match self.authorization(repository, operation) {
            Authorization::Nothing => request,
            Authorization::Password(login) => request.basic_auth(&login.user, Some(&login.password)),
            Authorization::Token(token) => request.bearer_auth(token),
        }
    }

    /// What requests carry, as agreed with the registry; nothing before that.
    pub(crate) fn authorization(&self, repository: &str, operation: Operation) -> Authorization {
        let known = self.known.lock();
        known.get(&(repository.to_owned(), operation)).cloned().unwrap_or(Authorization::Nothing)
    }

    /// Requests the registry's challenge and prepares the credentials that answer it.
    pub(crate) async fn run(
        &self,
        http: &Http,
        address: &Address,
        repository: &str,
        operation: Operation,
    ) -> Result<(), Failure> {
        let challenge = in_time(challenge(http)).await?;
        let authorization = if challenge == Challenge::default() {
            Authorization::Nothing
        } else {
            let found = self.found.get_or_init(|| self.find(address)).await;
            in_time(answer(http, &challenge, found.login.as_ref(), &operation.scope(repository))).await?
        };
        let mut known = self.known.lock();
        if operation == Operation::Push {
            // Some registries issue no pull token for a repository that does not exist yet.
            known.insert((repository.to_owned(), Operation::Pull), authorization.clone());
        }
        known.insert((repository.to_owned(), operation), authorization);
        Ok(())
    }

    async fn find(&self, address: &Address) -> Found {
        match self.credentials.load(address).await {
            Ok(login) => Found { login, problem: None },
            Err(problem) => Found { login: None, problem: Some(problem) },
        }
    }
}

/// The registry's challenge. If `/v2/` redirects to another host, that host's challenge is ignored,
/// because it must not receive credentials.
async fn challenge(http: &Http) -> Result<Challenge, Failure> {
    let answer = http.request(Method::GET, http.url("/v2/")).send().await?;
    let status = answer.status();
    if status == StatusCode::REQUEST_TIMEOUT || status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
        return Err(refusal(answer).await);
    }
    if status == StatusCode::BAD_REQUEST {
        // Only here does the answer have a body that shows it: the next request may be a HEAD.
        let failure = refusal(answer).await;
        return if failure.kind == Kind::WantsTls { Err(failure) } else { Ok(Challenge::default()) };
    }
    Ok(if http.is_own(answer.url()) { Challenge::of(answer.headers()) } else { Challenge::default() })
}

/// The authorization that answers a challenge.
async fn answer(
    http: &Http,
    challenge: &Challenge,
    login: Option<&Login>,
    scope: &str,
) -> Result<Authorization, Failure> {
    let password = login.filter(|_| challenge.basic).cloned().map(Authorization::Password);
    let Some(bearer) = &challenge.bearer else { return Ok(password.unwrap_or(Authorization::Nothing)) };
    match (token(http, bearer, login, scope).await, password) {
        (Ok(token), _) => Ok(Authorization::Token(token)),
        (Err(Failure { kind: Kind::Unauthorized | Kind::Refused, .. }), Some(password)) => Ok(password),
        (Err(failure), _) => Err(failure),
    }
}

async fn token(http: &Http, bearer: &Bearer, login: Option<&Login>, scope: &str) -> Result<String, Failure> {
    let mut url = realm(http.base(), &bearer.realm)?;
    url.query_pairs_mut().append_pair("scope", scope);
    if let Some(service) = &bearer.service {
        url.query_pairs_mut().append_pair("service", service);
    }
    let host = url.host_str().unwrap_or_default().to_owned();
    let mut request = http.request(Method::GET, url);
    if let Some(login) = login {
        request = request.basic_auth(&login.user, Some(&login.password));
    }
    let answer = request.send().await?;
    if answer.status() != StatusCode::OK {
        let Failure { kind, why } = refusal(answer).await;
        let kind = if kind == Kind::Passing { kind } else { Kind::Unauthorized };
        let asked = if login.is_some() { "the credentials were" } else { "a token for anybody was" };
        return Err(Failure::new(kind, format!("{asked} refused by {host}, where its tokens are: {why}")));
    }
    let wrong = |why: &str| Failure::new(Kind::Refused, format!("{host}, where its tokens are, answered {why}"));
    let body = read(answer, TOKEN_BYTES_MAX).await?.ok_or_else(|| wrong("more than a token can be"))?;
    let read: Token = serde_json::from_slice(&body).map_err(|_| wrong("no token"))?;
    let given = [read.token, read.access_token].into_iter().flatten().find(|token| !token.is_empty());
    let token = given.ok_or_else(|| wrong("no token"))?;
    match HeaderValue::from_str(&token) {
        Ok(_) => Ok(token),
        Err(_) => Err(wrong("a token that cannot be sent")),
    }
}

/// The URL of the token server, checked to be one that may receive the password.
fn realm(base: &Url, text: &str) -> Result<Url, Failure> {
    let wrong = |why: &str| {
        let shown = crate::failure::shortened(text);
        Failure::new(Kind::Refused, format!("it says that its tokens are at '{shown}', {why}"))
    };
    let url = Url::parse(text).map_err(|_| wrong("which is no URL"))?;
    let is_near = || base.scheme() == "http" && (url.host() == base.host() || is_loopback(&url));
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_near() => Ok(url),
        _ => Err(wrong("where anybody on the way could read the credentials: https is expected")),
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    host.parse::<Address>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_go_to_where_nobody_can_read_them_on_the_way() {
        let may = |base: &str, text: &str| realm(&Url::parse(base).unwrap(), text).is_ok();
        assert!(may("https://registry.example/", "https://auth.example/token?x=y"));
        assert!(may("http://localhost:5000/", "https://auth.example/token"));
        assert!(may("http://localhost:5000/", "http://127.0.0.1:5001/token"));
        assert!(may("http://10.0.0.1:7400/", "http://10.0.0.1:7400/v2/token"), "a cluster's own");
        for (base, bad) in [
            ("https://registry.example/", "http://registry.example/token"),
            ("https://registry.example/", "http://localhost/token"),
            ("http://localhost:5000/", "http://auth.example/token"),
            ("http://10.0.0.1:7400/", "http://10.0.0.2:7400/v2/token"),
            ("https://registry.example/", "/token"),
            ("https://registry.example/", "file:///etc/passwd"),
            ("https://registry.example/", ""),
        ] {
            assert!(!may(base, bad), "{base}: {bad}");
        }
    }
}
