//! Parsing of `WWW-Authenticate` (RFC 9110, section 11.6.1).
//!
//! A response may carry several such headers, and each may hold several challenges. Schemes and
//! parameter names are case-insensitive. A syntax error ends the list of its own header only.

use http_auth::parser::ChallengeParser;
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

/// The supported schemes that a registry offers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Challenge {
    /// A token, issued by a token server.
    pub(crate) bearer: Option<Bearer>,
    /// User name and password.
    pub(crate) basic: bool,
}

/// A token server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bearer {
    pub(crate) realm: String,
    pub(crate) service: Option<String>,
}

impl Challenge {
    /// The first usable challenge of each scheme.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut found = Challenge::default();
        for value in headers.get_all(WWW_AUTHENTICATE) {
            let Ok(text) = value.to_str() else { continue };
            for challenge in ChallengeParser::new(text).map_while(Result::ok) {
                if challenge.scheme.eq_ignore_ascii_case("basic") {
                    found.basic = true;
                } else if challenge.scheme.eq_ignore_ascii_case("bearer") && found.bearer.is_none() {
                    let parameter = |name: &str| {
                        let found = challenge.params.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
                        found.map(|(_, value)| value.to_unescaped()).filter(|value| !value.is_empty())
                    };
                    found.bearer = parameter("realm").map(|realm| Bearer { realm, service: parameter("service") });
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&str]) -> Challenge {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(WWW_AUTHENTICATE, line.parse().unwrap());
        }
        Challenge::of(&headers)
    }

    #[test]
    fn every_challenge_of_every_header_is_looked_at() {
        let bearer = |service: Option<&str>| {
            Some(Bearer { realm: "https://auth.example/token".to_owned(), service: service.map(str::to_owned) })
        };
        let both = Challenge { bearer: bearer(Some("a, b")), basic: true };
        let token = r#"Bearer realm="https://auth.example/token",service="a, b""#;
        assert_eq!(of(&[r#"Basic realm="x""#, token]), both);
        assert_eq!(of(&[token, r#"Basic realm="x""#]), both);
        assert_eq!(of(&[&format!(r#"Basic realm="x, Bearer", {token}"#)]), both);
        assert_eq!(of(&[&format!(r#"{token}, Basic realm="x""#)]), both);
        assert_eq!(of(&["Negotiate", token]), Challenge { basic: false, ..both.clone() });
        assert_eq!(of(&[&format!("Negotiate, {token}")]), Challenge { basic: false, ..both.clone() });
        let odd = r#"BEARER Realm="https://auth.example/token" , scope="repository:a/b:pull,push""#;
        assert_eq!(of(&[odd]), Challenge { bearer: bearer(None), basic: false });
        // The first that can be used.
        assert_eq!(of(&["Bearer service=x", odd, r#"Bearer realm="https://other.example""#]).bearer, bearer(None));
    }

    #[test]
    fn what_cannot_be_read_hides_nothing_in_the_other_headers() {
        assert_eq!(of(&[]), Challenge::default());
        for bad in ["", "\"", "Bearer", "Bearer realm=", "Bearer realm=\"x", "Digest realm=\"x\"", ",,,", "= = ="] {
            assert_eq!(of(&[bad]), Challenge::default(), "{bad}");
            assert!(of(&[bad, "basic realm=x"]).basic, "{bad}");
        }
        let mut headers = HeaderMap::new();
        headers.append(WWW_AUTHENTICATE, reqwest::header::HeaderValue::from_bytes(b"Basic realm=\"\xff\"").unwrap());
        assert_eq!(Challenge::of(&headers), Challenge::default());
    }
}
