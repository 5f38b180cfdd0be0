//! What an attempt came to, when it came to nothing.
//!
//! `oci-client` says the same thing in several ways, depending on the request: a status is in a `ServerError` after a push, in the
//! registry's own error codes after a read, and inside the HTTP client's error after a question whether something exists. Here they are
//! one again: what happened, in words, and of which kind it is.

use std::error::Error;

use oci_client::errors::{OciDistributionError as Client, OciEnvelope, OciErrorCode};

use crate::RegistryError;

/// Characters of a registry's answer that are shown.
const SHOWN_MAX: usize = 300;

/// A failed attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    pub(crate) why: String,
}

/// What follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// May succeed the next time.
    Passing,
    /// Not there.
    Missing,
    /// Not for whoever asks.
    Unauthorized,
    /// Not what the digest names.
    Damaged,
    /// Anything else that another attempt does not change.
    Refused,
}

impl Failure {
    pub(crate) fn new(kind: Kind, why: impl Into<String>) -> Self {
        Failure { kind, why: why.into() }
    }

    /// Of an HTTP status, and the body that came with it.
    fn of_status(status: u16, body: &str) -> Self {
        let kind = match status {
            401 | 403 => Kind::Unauthorized,
            404 => Kind::Missing,
            408 | 429 | 500.. => Kind::Passing,
            // Of a content that is shorter than its manifest says, when the rest of it is asked for.
            416 => Kind::Damaged,
            _ => Kind::Refused,
        };
        let words = serde_json::from_str(body).map_or_else(|_| shortened(body), |envelope| words(&envelope));
        let status = format!("it answered with HTTP status {status}");
        Failure::new(kind, if words.is_empty() { status } else { format!("{status}: {words}") })
    }

    /// Of the registry's own error codes.
    fn of_codes(envelope: &OciEnvelope) -> Self {
        let kind = envelope.errors.first().map_or(Kind::Refused, |error| match error.code {
            OciErrorCode::ManifestUnknown
            | OciErrorCode::NameUnknown
            | OciErrorCode::BlobUnknown
            | OciErrorCode::NotFound => Kind::Missing,
            OciErrorCode::Unauthorized | OciErrorCode::Denied => Kind::Unauthorized,
            OciErrorCode::Toomanyrequests => Kind::Passing,
            _ => Kind::Refused,
        });
        Failure::new(kind, words(envelope))
    }

    /// As it is told: `what` was asked of `registry`.
    pub(crate) fn tell(self, registry: &str, what: impl Into<String>) -> RegistryError {
        let Failure { kind, why } = self;
        let (registry, what) = (registry.to_owned(), what.into());
        match kind {
            Kind::Passing => RegistryError::Unreachable { registry, what, why },
            Kind::Missing => RegistryError::NotFound { registry, what, more: String::new() },
            Kind::Unauthorized => RegistryError::Unauthorized { registry, what, why },
            Kind::Damaged => RegistryError::Damaged { registry, what, why },
            Kind::Refused => RegistryError::Refused { registry, what, why },
        }
    }
}

impl From<Client> for Failure {
    fn from(error: Client) -> Self {
        match error {
            Client::RegistryError { envelope, .. } => Failure::of_codes(&envelope),
            Client::ServerError { code, message, .. } => Failure::of_status(code, &message),
            Client::UnauthorizedError { .. } => Failure::new(Kind::Unauthorized, "it wants to know who you are"),
            Client::AuthenticationFailure(reason) => {
                let words = serde_json::from_str(&reason).map_or_else(|_| shortened(&reason), |told| words(&told));
                Failure::new(Kind::Unauthorized, format!("it refused the credentials: {words}"))
            }
            Client::DigestError(error) => Failure::new(Kind::Damaged, error.to_string()),
            Client::RequestError(error) => match error.status() {
                Some(status) => Failure::of_status(status.as_u16(), ""),
                None if error.is_builder() || error.is_redirect() => Failure::new(Kind::Refused, with_causes(&error)),
                None => Failure::new(Kind::Passing, with_causes(&error)),
            },
            Client::IoError(error) => Failure::new(Kind::Passing, with_causes(&error)),
            other => Failure::new(Kind::Refused, format!("its answer is not a registry's: {}", with_causes(&other))),
        }
    }
}

/// What the registry says: its messages, or where there are none its codes.
fn words(envelope: &OciEnvelope) -> String {
    let said = envelope
        .errors
        .iter()
        .map(|error| if error.message.is_empty() { format!("{:?}", error.code) } else { error.message.clone() });
    shortened(&said.collect::<Vec<_>>().join("; "))
}

/// One line, and not too long a one, without what would change a terminal.
fn shortened(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().filter(|c| !c.is_control()).take(SHOWN_MAX).collect()
}

/// The error and what caused it: the HTTP client says why only there.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    shortened(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_status(code: u16, message: &str) -> Failure {
        Client::ServerError { code, url: String::new(), message: message.to_owned() }.into()
    }

    #[test]
    fn statuses_say_whether_another_attempt_helps() {
        let cases = [
            (400, Kind::Refused),
            (401, Kind::Unauthorized),
            (403, Kind::Unauthorized),
            (404, Kind::Missing),
            (416, Kind::Damaged),
            (429, Kind::Passing),
            (500, Kind::Passing),
            (503, Kind::Passing),
        ];
        for (status, kind) in cases {
            assert_eq!(of_status(status, "").kind, kind, "{status}");
        }
    }

    #[test]
    fn the_registrys_own_words_are_shown() {
        let told = r#"{"errors": [{"code": "MANIFEST_INVALID", "message": "no\nlayers"}, {"code": "X"}]}"#;
        let failure = of_status(400, told);
        assert!(failure.why.contains("no layers; Other(\"X\")"), "{}", failure.why);
        let long = of_status(400, &"<html>\u{1b}".repeat(100));
        assert!(long.why.contains("<html>") && !long.why.contains('\u{1b}') && long.why.len() < 400, "{}", long.why);
    }

    #[test]
    fn the_registrys_own_codes_say_whether_it_is_there() {
        let kind = |code: &str| {
            let envelope = serde_json::from_str(&format!(r#"{{"errors": [{{"code": "{code}"}}]}}"#)).unwrap();
            Failure::from(Client::RegistryError { envelope, url: String::new() }).kind
        };
        for missing in ["MANIFEST_UNKNOWN", "NAME_UNKNOWN", "BLOB_UNKNOWN", "NOT_FOUND"] {
            assert_eq!(kind(missing), Kind::Missing, "{missing}");
        }
        assert_eq!(kind("DENIED"), Kind::Unauthorized);
        assert_eq!(kind("TOOMANYREQUESTS"), Kind::Passing);
        assert_eq!(kind("NAME_INVALID"), Kind::Refused);
    }
}
