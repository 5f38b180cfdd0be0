//! Who may push. Reading is open, as the cluster's admin API is to whoever reaches it.
//!
//! With a token, whoever brings it may push, from anywhere: as a bearer token, or as the password of any user, which is what
//! `docker login` and its relatives send. Clients ask for a challenge first, at `/v2/`, and anonymous ones must get through it, too: so
//! they are sent to [`Access::token`], which answers the token to whoever has it, and [`ANYBODY`] to whoever has none.
//! Without a token, only programs on the node's own machine may push.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap};
use serde_json::json;

use crate::failure::{Code, Failure};
use crate::{Answer, Head};

/// The token of those who have none: it opens what is open.
const ANYBODY: &str = "anybody";

/// The token that pushing needs, if there is one.
#[derive(Clone, Default)]
pub struct Access {
    token: Option<String>,
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Looking at the challenge: whoever asks must say who it is, or that it is anybody.
    Greet,
    /// What is open to anybody.
    Read,
    /// What needs the token, or the node's own machine.
    Push,
}

/// What a request says of who sends it.
enum Bearer {
    Nobody,
    Trusted,
    /// With a token that is not the one.
    Wrong,
}

impl Access {
    /// Pushing needs this token; without one, a client on the same machine.
    pub fn new(token: Option<String>) -> Self {
        Access { token }
    }

    fn bearer(&self, token: &str, headers: &HeaderMap) -> Bearer {
        match presented(headers) {
            None => Bearer::Nobody,
            Some(presented) if presented == ANYBODY => Bearer::Nobody,
            Some(presented) if equal(presented.as_bytes(), token.as_bytes()) => Bearer::Trusted,
            Some(_) => Bearer::Wrong,
        }
    }

    /// Lets a request through, or says why not.
    pub(crate) fn check(&self, request: &Head, peer: SocketAddr, purpose: Purpose) -> Result<(), Failure> {
        let Some(token) = &self.token else {
            if purpose == Purpose::Push && !peer.ip().to_canonical().is_loopback() {
                let why = "only programs on the node's own machine may push, since the node was started without a token for others: \
                           start it with --registry-token-file";
                return Err(Failure::new(StatusCode::FORBIDDEN, Code::Denied, why));
            }
            return Ok(());
        };
        let says_anybody = presented(&request.headers).as_deref() == Some(ANYBODY);
        let why = match self.bearer(token, &request.headers) {
            Bearer::Trusted => return Ok(()),
            Bearer::Nobody if purpose == Purpose::Read || (purpose == Purpose::Greet && says_anybody) => return Ok(()),
            Bearer::Nobody => {
                "pushing needs the registry's token, as the password of any user: docker login, or RECOIL_REGISTRY_TOKEN"
            }
            Bearer::Wrong => "the token is not the one that this registry was started with",
        };
        let failure = Failure::new(StatusCode::UNAUTHORIZED, Code::Unauthorized, why);
        Err(failure.with("www-authenticate", challenge(request)))
    }

    /// `GET /v2/token`: what a client that was challenged is to send from then on.
    pub(crate) fn token(&self, headers: &HeaderMap) -> Result<Answer, Failure> {
        let token = match &self.token {
            None => ANYBODY,
            Some(token) => match self.bearer(token, headers) {
                Bearer::Trusted => token,
                Bearer::Nobody => ANYBODY,
                Bearer::Wrong => {
                    let why = "the token is not the one that this registry was started with";
                    return Err(Failure::new(StatusCode::UNAUTHORIZED, Code::Unauthorized, why));
                }
            },
        };
        Ok(crate::json(StatusCode::OK, &json!({ "token": token, "access_token": token, "expires_in": 3600 })))
    }
}

/// Sends the client to [`Access::token`], at the address by which it knows this registry.
fn challenge(request: &Head) -> String {
    let text = |name: &str| request.headers.get(name)?.to_str().ok();
    // What stands before it, if it speaks TLS, says so.
    let scheme = text("x-forwarded-proto").filter(|scheme| *scheme == "https").unwrap_or("http");
    let host = text(HOST.as_str()).or(request.uri.authority().map(|authority| authority.as_str()));
    let host = host.filter(|host| !host.contains(['"', '\\', ' '])).unwrap_or("localhost");
    format!("Bearer realm=\"{scheme}://{host}/v2/token\",service=\"recoil\"")
}

fn presented(headers: &HeaderMap) -> Option<String> {
    let (scheme, value) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(value.trim().to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return Some(String::new());
    }
    let decoded = BASE64.decode(value.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
    Some(decoded.split_once(':').map_or_else(String::new, |(_, password)| password.to_owned()))
}

/// In a time that does not tell how much of it is right.
fn equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(authorization: Option<&str>, path: &str) -> Head {
        let mut request = hyper::Request::builder().uri(path).header(HOST, "registry.example:7400");
        if let Some(value) = authorization {
            request = request.header(AUTHORIZATION, value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn allowed(access: &Access, authorization: Option<&str>, peer: &str, writes: bool) -> bool {
        let purpose = if writes { Purpose::Push } else { Purpose::Read };
        access.check(&head(authorization, "/v2/a/tags/list"), peer.parse().unwrap(), purpose).is_ok()
    }

    #[test]
    fn without_a_token_only_the_own_machine_pushes() {
        let open = Access::new(None);
        assert!(allowed(&open, None, "127.0.0.1:1", true));
        assert!(allowed(&open, None, "[::ffff:127.0.0.1]:1", true));
        assert!(!allowed(&open, None, "10.0.0.1:1", true));
        assert!(allowed(&open, None, "10.0.0.1:1", false));
    }

    #[test]
    fn with_a_token_whoever_brings_it_pushes() {
        let guarded = Access::new(Some("secret:word".into()));
        // any:secret:word
        for good in ["Bearer secret:word", "Basic YW55OnNlY3JldDp3b3Jk", "basic YW55OnNlY3JldDp3b3Jk"] {
            assert!(allowed(&guarded, Some(good), "10.0.0.1:1", true), "{good}");
        }
        for bad in ["Bearer secret", "Basic ????", "Basic YW55", "Digest x", "Bearer"] {
            assert!(!allowed(&guarded, Some(bad), "127.0.0.1:1", true), "{bad}");
        }
        assert!(!allowed(&guarded, None, "127.0.0.1:1", true));
        assert!(allowed(&guarded, None, "10.0.0.1:1", false), "reading is open");
        assert!(!allowed(&guarded, Some("Bearer wrong"), "10.0.0.1:1", false), "a wrong token is told so");
    }

    /// As clients do that look at the challenge first.
    #[test]
    fn whoever_is_challenged_is_given_a_token_and_gets_through_with_it() {
        let guarded = Access::new(Some("secret".into()));
        let base = |authorization: Option<&str>| {
            guarded.check(&head(authorization, "/v2/"), "10.0.0.1:1".parse().unwrap(), Purpose::Greet)
        };
        let answer = base(None).unwrap_err().into_answer();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        let expected = "Bearer realm=\"http://registry.example:7400/v2/token\",service=\"recoil\"";
        assert_eq!(answer.headers()["www-authenticate"], expected);
        // me:secret and me:wrong
        assert!(guarded.token(&head(Some("Basic bWU6c2VjcmV0"), "/v2/token").headers).is_ok());
        assert!(guarded.token(&head(Some("Basic bWU6d3Jvbmc="), "/v2/token").headers).is_err());
        assert!(guarded.token(&head(None, "/v2/token").headers).is_ok());
        assert!(base(Some("Bearer secret")).is_ok() && base(Some("Bearer anybody")).is_ok());
        assert!(base(Some("Bearer wrong")).is_err());
        assert!(!allowed(&guarded, Some("Bearer anybody"), "127.0.0.1:1", true), "anybody may read");
        assert!(allowed(&guarded, Some("Bearer anybody"), "10.0.0.1:1", false));
    }
}
