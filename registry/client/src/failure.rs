//! What an attempt came to, when it came to nothing.
//!
//! `oci-client` says the same thing in several ways, depending on the request: a status is in a `ServerError` after a push, in the
//! registry's own error codes after a read, and inside the HTTP client's error after a question whether something exists. Here they are
//! one again: what happened, in words, and of which kind it is. What TLS has against a registry is deep inside the same error as a
//! connection that broke; it is told apart, since no other attempt changes it, and people can.

use std::error::Error;

use oci_client::errors::{OciDistributionError as Client, OciEnvelope, OciErrorCode};
use rustls::CertificateError;

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
    /// Perhaps not who it should be.
    Untrusted(Distrust),
    /// Not what the digest names.
    Damaged,
    /// It wants TLS, and was spoken to without.
    WantsTls,
    /// Anything else that another attempt does not change.
    Refused,
}

/// What makes it uncertain who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Distrust {
    /// Whoever has signed the certificate is not known here.
    Authority,
    /// The certificate is an authority's own.
    SelfSigned,
    /// The certificate is another's.
    Name,
    /// The certificate is too old, or too new.
    Time,
    /// Anything else about the certificate.
    Certificate,
    /// There is no TLS.
    Plain,
}

impl Distrust {
    fn remedy(self, registry: &str) -> String {
        match self {
            Distrust::Authority => format!(
                "if that authority is your own, put its certificate into /etc/docker/certs.d/{registry}/ca.crt, \
                 or name a file with all that you trust in SSL_CERT_FILE"
            ),
            Distrust::SelfSigned => {
                "give the registry a certificate of its own that this authority has signed, with CA:FALSE".to_owned()
            }
            Distrust::Name => {
                "address the registry by a name of its certificate, or have this name added to that".to_owned()
            }
            Distrust::Time => {
                "check this machine's clock, or have the certificate renewed by who runs the registry".to_owned()
            }
            Distrust::Certificate => "tell who runs the registry".to_owned(),
            Distrust::Plain => "check the port, or have the registry speak TLS: only localhost is spoken to without, \
                                and a tunnel such as `ssh -L` leads there"
                .to_owned(),
        }
    }
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
            // As Go's servers say it, and nginx.
            400 if body.contains("HTTP request") && body.contains("HTTPS") => Kind::WantsTls,
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
            Kind::Untrusted(distrust) => {
                let remedy = distrust.remedy(&registry);
                RegistryError::Untrusted { registry, what, why, remedy }
            }
            Kind::Damaged => RegistryError::Damaged { registry, what, why },
            Kind::WantsTls => {
                let why = format!(
                    "it speaks TLS and was spoken to without, as all on this machine are; \
                     put the certificate of its authority into /etc/docker/certs.d/{registry}/ca.crt, and TLS is spoken"
                );
                RegistryError::Refused { registry, what, why }
            }
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
                None => {
                    let host = error.url().and_then(|url| url.host_str()).unwrap_or("the registry");
                    distrusted(host, &error).unwrap_or_else(|| Failure::new(Kind::Passing, with_causes(&error)))
                }
            },
            Client::IoError(error) => Failure::new(Kind::Passing, with_causes(&error)),
            other => Failure::new(Kind::Refused, format!("its answer is not a registry's: {}", with_causes(&other))),
        }
    }
}

/// What TLS has against `host`, if that is why a request failed. It need not be the registry's own: one that wants a token may send
/// everybody elsewhere for it.
fn distrusted(host: &str, error: &(dyn Error + 'static)) -> Option<Failure> {
    let (distrust, why) = match tls_error(error)? {
        rustls::Error::InvalidCertificate(of) => {
            let (distrust, why) = of_certificate(of);
            (distrust, format!("the certificate of {host} {why}"))
        }
        // It did not even begin as TLS does.
        rustls::Error::InvalidMessage(_) => (Distrust::Plain, format!("{host} does not answer with TLS")),
        _ => return None,
    };
    Some(Failure::new(Kind::Untrusted(distrust), shortened(&why)))
}

fn of_certificate(error: &CertificateError) -> (Distrust, String) {
    match error {
        CertificateError::UnknownIssuer => {
            (Distrust::Authority, "is signed by an authority that this machine does not trust".to_owned())
        }
        // Whoever makes an authority anew gives it the old name.
        CertificateError::BadSignature => {
            let why = "is not signed by the authority that this machine trusts, but by another of the same name";
            (Distrust::Authority, why.to_owned())
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names = presented.iter().map(|name| bare(name)).collect::<Vec<_>>().join(", ");
            let names = if names.is_empty() { "no name at all".to_owned() } else { names };
            (Distrust::Name, format!("is not for {}: it is for {names}", expected.to_str()))
        }
        CertificateError::NotValidForName => (Distrust::Name, "is for another name".to_owned()),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            (Distrust::Time, "has expired".to_owned())
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            (Distrust::Time, "is not valid yet".to_owned())
        }
        // The verifier has no other name for it.
        other if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            (Distrust::SelfSigned, "is that of an authority (CA:TRUE), which a registry's must not be".to_owned())
        }
        other => (Distrust::Certificate, format!("cannot be accepted: {other}")),
    }
}

/// `registry.example` of `DnsName("registry.example")`.
fn bare(name: &str) -> &str {
    name.split_once('(').map_or(name, |(_, rest)| rest.trim_end_matches(')').trim_matches('"'))
}

/// What TLS said, however deep inside.
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = match error.downcast_ref::<std::io::Error>().and_then(|error| error.get_ref()) {
            Some(inside) => Some(inside),
            None => error.source(),
        };
    }
    None
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
