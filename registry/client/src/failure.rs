//! What an attempt came to, when it came to nothing.
//!
//! A registry says it with a status and, if it does as it should, with codes of the distribution specification in the answer's body; a code
//! says more than the status. What TLS has against a registry is deep inside the same error as a connection that broke; it is told
//! apart, since no other attempt changes it, and people can.

use std::error::Error;

use rustls::CertificateError;
use serde::Deserialize;

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

    /// Of an answer's HTTP status and body.
    pub(crate) fn of_answer(status: u16, body: &str) -> Self {
        let envelope: Option<Envelope> = serde_json::from_str(body).ok();
        let code = envelope.as_ref().and_then(|envelope| Some(envelope.errors.first()?.code.as_str()));
        let kind = match (status, code) {
            (401 | 403, _) => Kind::Unauthorized,
            (408 | 429 | 500.., _) => Kind::Passing,
            (400..500, Some("MANIFEST_UNKNOWN" | "NAME_UNKNOWN" | "BLOB_UNKNOWN" | "NOT_FOUND")) => Kind::Missing,
            (400..500, Some("UNAUTHORIZED" | "DENIED")) => Kind::Unauthorized,
            (400..500, Some("TOOMANYREQUESTS")) => Kind::Passing,
            (404, _) => Kind::Missing,
            // Of a content that is shorter than its manifest says, when the rest of it is asked for.
            (416, _) => Kind::Damaged,
            // As Go's servers say it, and nginx.
            (400, _) if body.contains("HTTP request") && body.contains("HTTPS") => Kind::WantsTls,
            _ => Kind::Refused,
        };
        let words = envelope.map_or_else(|| shortened(body), |envelope| envelope.words());
        let status = format!("it answered with HTTP status {status}");
        Failure::new(kind, if words.is_empty() { status } else { format!("{status}: {words}") })
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

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        if error.is_builder() || error.is_redirect() {
            return Failure::new(Kind::Refused, with_causes(&error));
        }
        let host = error.url().and_then(|url| url.host_str()).unwrap_or("the registry");
        distrusted(host, &error).unwrap_or_else(|| Failure::new(Kind::Passing, with_causes(&error)))
    }
}

/// What a registry says beside a status.
#[derive(Deserialize)]
struct Envelope {
    errors: Vec<Said>,
}

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: Option<String>,
}

impl Envelope {
    /// Its messages, or where there are none its codes.
    fn words(self) -> String {
        let said =
            self.errors.into_iter().map(|said| said.message.filter(|text| !text.is_empty()).unwrap_or(said.code));
        shortened(&said.collect::<Vec<_>>().join("; "))
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

/// One line, and not too long a one, without what would change a terminal.
pub(crate) fn shortened(text: &str) -> String {
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
            assert_eq!(Failure::of_answer(status, "").kind, kind, "{status}");
        }
    }

    #[test]
    fn the_registrys_own_words_are_shown() {
        let told = r#"{"errors": [{"code": "MANIFEST_INVALID", "message": "no\nlayers"}, {"code": "X"}]}"#;
        let failure = Failure::of_answer(400, told);
        assert!(failure.why.contains("no layers; X"), "{}", failure.why);
        let long = Failure::of_answer(400, &"<html>\u{1b}".repeat(100));
        assert!(long.why.contains("<html>") && !long.why.contains('\u{1b}') && long.why.len() < 400, "{}", long.why);
    }

    #[test]
    fn the_registrys_own_codes_say_whether_it_is_there() {
        let kind = |code: &str| Failure::of_answer(400, &format!(r#"{{"errors": [{{"code": "{code}"}}]}}"#)).kind;
        for missing in ["MANIFEST_UNKNOWN", "NAME_UNKNOWN", "BLOB_UNKNOWN", "NOT_FOUND"] {
            assert_eq!(kind(missing), Kind::Missing, "{missing}");
        }
        assert_eq!(kind("DENIED"), Kind::Unauthorized);
        assert_eq!(kind("TOOMANYREQUESTS"), Kind::Passing);
        assert_eq!(kind("NAME_INVALID"), Kind::Refused);
        for none in [r#"{"errors": []}"#, r#"{"errors": [{}]}"#, r#"{"errors": 1}"#, "[]"] {
            assert_eq!(Failure::of_answer(404, none).kind, Kind::Missing, "{none}");
        }
        let code = r#"{"errors": [{"code": "BLOB_UNKNOWN"}]}"#;
        assert_eq!(Failure::of_answer(503, code).kind, Kind::Passing, "the status says whether it may pass");
    }
}
