//! Who may push. Reading is open, as the cluster's admin API is to whoever reaches it.
//!
//! With a token, whoever brings it may push, from anywhere: as a bearer token, or as the password of any user, which is what
//! `docker login` and its relatives send. Without one, only programs on the node's own machine may.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderMap};

use crate::failure::{Code, Failure};
use crate::{Answer, set};

const CHALLENGE: &str = r#"Basic realm="recoil""#;

/// The token that pushing needs, if there is one.
#[derive(Clone, Default)]
pub struct Access {
    token: Option<String>,
}

impl Access {
    /// Pushing needs this token; without one, a client on the same machine.
    pub fn new(token: Option<String>) -> Self {
        Access { token }
    }

    pub(crate) fn check(&self, headers: &HeaderMap, peer: SocketAddr, writes: bool) -> Result<(), Failure> {
        let Some(token) = &self.token else {
            if writes && !peer.ip().to_canonical().is_loopback() {
                let why = "only programs on the node's own machine may push, since the node was started without a token for others: \
                           start it with --registry-token-file";
                return Err(Failure::new(StatusCode::FORBIDDEN, Code::Denied, why));
            }
            return Ok(());
        };
        match presented(headers) {
            Some(presented) if equal(presented.as_bytes(), token.as_bytes()) => Ok(()),
            None if !writes => Ok(()),
            presented => {
                let why = match presented {
                    Some(_) => "the token is not the one that this registry was started with",
                    None => {
                        "pushing needs the registry's token, as the password of any user: docker login, or RECOIL_REGISTRY_TOKEN"
                    }
                };
                let failure = Failure::new(StatusCode::UNAUTHORIZED, Code::Unauthorized, why);
                Err(failure.with("www-authenticate", CHALLENGE))
            }
        }
    }

    /// Tells clients beforehand that they may show who they are.
    pub(crate) fn challenge(&self, mut answer: Answer) -> Answer {
        if self.token.is_some() {
            set(&mut answer, "www-authenticate", CHALLENGE);
        }
        answer
    }
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
    use hyper::header::HeaderValue;

    use super::*;

    fn allowed(access: &Access, authorization: Option<&str>, peer: &str, writes: bool) -> bool {
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        access.check(&headers, peer.parse().unwrap(), writes).is_ok()
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
}
