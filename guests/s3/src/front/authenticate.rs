//! Who sends a request, and what its signature says of the body.
//!
//! Invariant: a request that carries anything of a signature is either verified or refused; only
//! one without is anonymous. Every `x-amz-` header of a signed request is signed, since each can
//! change what the request does: with an unsigned `x-amz-copy-source`, whoever holds a presigned
//! PUT could copy any object of the signer. The one exception is `x-amz-content-sha256`, whose
//! value the signature contains by itself.
//!
//! Deliberately absent: signatures of version 2, which have no region and no expiry worth the name,
//! but for policies of forms, which have an end; and SigV4A.

use s3s::{S3Error, S3ErrorCode};

use super::request::Head;
use super::signature::{ALGORITHM, Scope, Signed, UNSIGNED_PAYLOAD};
use super::time::{self, SKEW_MAX_S};
use crate::digest::{hex, unhex};
use crate::fault::{Outcome, denied, fault, invalid, invalid_request, not_implemented};

/// The longest that a presigned URL may hold: a week.
pub(crate) const EXPIRES_MAX_S: i64 = 604_800;

/// What a signature says of the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Payload {
    /// Nothing.
    Unsigned,
    /// Its digest.
    Whole([u8; 32]),
    /// It comes in chunks, each signed, and perhaps with a signed trailer.
    Chunks { trailer: bool },
    /// It comes in chunks with a trailer; nothing of it is signed.
    UnsignedChunks,
}

impl Payload {
    /// Of the header `x-amz-content-sha256`.
    pub(crate) fn parse(text: &str) -> Outcome<Self> {
        match text {
            UNSIGNED_PAYLOAD => Ok(Payload::Unsigned),
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" => Ok(Payload::Chunks { trailer: false }),
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => Ok(Payload::Chunks { trailer: true }),
            "STREAMING-UNSIGNED-PAYLOAD-TRAILER" => Ok(Payload::UnsignedChunks),
            text if text.starts_with("STREAMING-AWS4-ECDSA") => Err(not_implemented("the signature algorithm SigV4A")),
            text => match unhex(text) {
                Some(digest) => Ok(Payload::Whole(digest)),
                None => Err(invalid(format!(
                    "the header x-amz-content-sha256 is '{text}': use {UNSIGNED_PAYLOAD}, STREAMING-…, or the \
                        SHA-256 of \
                     the body in hexadecimal digits"
                ))),
            },
        }
    }

    /// True if the body is encoded in chunks.
    pub(crate) fn is_chunked(&self) -> bool {
        matches!(self, Payload::Chunks { .. } | Payload::UnsignedChunks)
    }
}

/// What goes on being signed with after the head: chunks and trailers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) key: [u8; 32],
    pub(crate) time: String,
    pub(crate) scope: String,
    /// The head's signature.
    pub(crate) seed: String,
}

/// A request whose sender is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Authenticated {
    /// None for one who did not sign.
    pub(crate) access_key: Option<String>,
    pub(crate) payload: Payload,
    pub(crate) chain: Option<Chain>,
}

/// What requests are verified against.
pub(crate) struct Verifier<'a> {
    /// The secret of an access key; none if there is no such key.
    pub(crate) secret: &'a dyn Fn(&str) -> Outcome<Option<String>>,
    pub(crate) region: &'a str,
    /// Seconds since the Unix epoch.
    pub(crate) now_s: i64,
}

impl Verifier<'_> {
    pub(crate) fn authenticate(&self, head: &Head) -> Outcome<Authenticated> {
        let pairs = head.query_pairs()?;
        let in_query = |name: &str| pairs.iter().any(|(other, _)| other == name);
        let authorization = head.header("authorization");
        if in_query("AWSAccessKeyId") || authorization.is_some_and(|value| value.starts_with("AWS ")) {
            return Err(invalid_request("signatures of version 2 are not accepted; use AWS4-HMAC-SHA256"));
        }
        let presigned = pairs.iter().any(|(name, _)| name.starts_with("X-Amz-") && is_presigned_name(name));
        match authorization {
            Some(_) if presigned => {
                Err(invalid("only one of the header Authorization and the query parameter X-Amz-Algorithm may sign"))
            }
            Some(authorization) => self.header(head, authorization),
            None if presigned => self.presigned(head, &pairs),
            None => {
                let payload = head.header("x-amz-content-sha256").map(Payload::parse).transpose()?;
                let payload = payload.unwrap_or(Payload::Unsigned);
                if matches!(payload, Payload::Chunks { .. }) {
                    return Err(denied("chunks can only be signed in a request that is signed"));
                }
                Ok(Authenticated { access_key: None, payload, chain: None })
            }
        }
    }

    fn header(&self, head: &Head, authorization: &str) -> Outcome<Authenticated> {
        let malformed = |why: &str| {
            fault(S3ErrorCode::AuthorizationHeaderMalformed, format!("the header Authorization is malformed: {why}"))
        };
        if head.headers.iter().filter(|(name, _)| name == "authorization").count() > 1 {
            return Err(malformed("there are several"));
        }
        let fields = authorization.strip_prefix(ALGORITHM).filter(|fields| fields.starts_with([' ', '\t']));
        let fields = fields.ok_or_else(|| malformed("it does not begin with AWS4-HMAC-SHA256"))?;
        let field = |name: &str| {
            let found = fields.split(',').find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='));
            found.ok_or_else(|| malformed(&format!("it has no {name}")))
        };
        let (access_key, scope) = credential(field("Credential")?, self.region).map_err(|why| malformed(&why))?;
        let (signed_headers, signature) = (field("SignedHeaders")?, field("Signature")?);
        let time = match head.header("x-amz-date") {
            Some(text) => text.to_owned(),
            None => {
                let date = head.header("date").and_then(time::parse_http_date);
                time::compact(date.ok_or_else(|| denied("a signed request needs the header x-amz-date or Date"))?)
            }
        };
        let at = time::parse_compact(&time).ok_or_else(|| {
            denied(format!("the header x-amz-date is '{time}', which is no time like 20260131T235959Z"))
        })?;
        if !time.starts_with(&scope.date) {
            return Err(fault(S3ErrorCode::SignatureDoesNotMatch, "the credential's date is not that of x-amz-date"));
        }
        if (self.now_s - at).abs() > SKEW_MAX_S {
            let why = format!(
                "the request was signed at {time} and came at {}: set the client's clock",
                time::compact(self.now_s)
            );
            return Err(fault(S3ErrorCode::RequestTimeTooSkewed, why));
        }
        let payload_text = head.header("x-amz-content-sha256");
        let payload_text = payload_text.ok_or_else(|| invalid_request("the header x-amz-content-sha256 is missing"))?;
        let payload = Payload::parse(payload_text)?;
        let seal = Seal { access_key, scope, signed_headers, signature, time: &time };
        let chain = self.verify(head, &seal, &[payload_text])?;
        Ok(Authenticated { access_key: Some(seal.access_key), payload, chain: Some(chain) })
    }

    fn presigned(&self, head: &Head, pairs: &[(String, String)]) -> Outcome<Authenticated> {
        let malformed = |why: String| fault(S3ErrorCode::AuthorizationQueryParametersError, why);
        let parameter = |name: &str| {
            let mut values = pairs.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str());
            match (values.next(), values.next()) {
                (Some(value), None) => Ok(value),
                (None, _) => Err(malformed(format!("the query parameter {name} is missing"))),
                _ => Err(malformed(format!("the query parameter {name} is there more than once"))),
            }
        };
        if pairs.iter().any(|(name, _)| name == "X-Amz-Security-Token") {
            let why = "The provided token is malformed or otherwise invalid: there are no temporary credentials";
            return Err(fault(S3ErrorCode::InvalidToken, why));
        }
        if parameter("X-Amz-Algorithm")? != ALGORITHM {
            return Err(malformed(format!("X-Amz-Algorithm only supports {ALGORITHM}")));
        }
        let (access_key, scope) = credential(parameter("X-Amz-Credential")?, self.region).map_err(malformed)?;
        let (signed_headers, signature) = (parameter("X-Amz-SignedHeaders")?, parameter("X-Amz-Signature")?);
        let (time, expires) = (parameter("X-Amz-Date")?, parameter("X-Amz-Expires")?);
        let at = time::parse_compact(time)
            .ok_or_else(|| malformed(format!("X-Amz-Date is '{time}', which is no time like 20260131T235959Z")))?;
        if !time.starts_with(&scope.date) {
            return Err(malformed("the credential's date is not that of X-Amz-Date".to_owned()));
        }
        let expires_s = expires.parse::<i64>().ok().filter(|seconds| (1..=EXPIRES_MAX_S).contains(seconds));
        let expires_s = expires_s
            .ok_or_else(|| denied(format!("X-Amz-Expires is '{expires}': use 1 to {EXPIRES_MAX_S} seconds")))?;
        if at - self.now_s > SKEW_MAX_S {
            return Err(denied("Request is not valid yet: it was signed in the future"));
        }
        if self.now_s > at + expires_s {
            return Err(denied(format!("Request has expired: it was valid for {expires_s} s from {time}")));
        }
        let from_query = pairs.iter().find(|(name, _)| name == "X-Amz-Content-Sha256").map(|(_, value)| value.as_str());
        let announced = head.header("x-amz-content-sha256").or(from_query);
        let payload = announced.map(Payload::parse).transpose()?.unwrap_or(Payload::Unsigned);
        let payloads: Vec<&str> = announced.into_iter().chain([UNSIGNED_PAYLOAD]).collect();
        let seal = Seal { access_key, scope, signed_headers, signature, time };
        let chain = self.verify(head, &seal, &payloads)?;
        Ok(Authenticated { access_key: Some(seal.access_key), payload, chain: Some(chain) })
    }

    /// Verifies the signature over any of `payloads`.
    fn verify(&self, head: &Head, seal: &Seal<'_>, payloads: &[&str]) -> Outcome<Chain> {
        let mut names: Vec<String> = seal.signed_headers.split(';').map(str::to_ascii_lowercase).collect();
        names.sort();
        names.dedup();
        check_signed_headers(head, &names)?;
        let unknown = || fault(S3ErrorCode::InvalidAccessKeyId, "there is no such access key");
        let secret = (self.secret)(&seal.access_key)?.ok_or_else(unknown)?;
        let key = seal.scope.key(&secret);
        for payload in payloads {
            let signed = Signed { head, signed_headers: &names, payload, time: seal.time, scope: &seal.scope };
            if signed.verify(&key, seal.signature)? {
                let (time, scope, seed) = (seal.time.to_owned(), seal.scope.text(), seal.signature.to_owned());
                return Ok(Chain { key, time, scope, seed });
            }
        }
        let why =
            "the signature is not that of this request: check the secret key, and that no proxy changes what is signed";
        Err(fault(S3ErrorCode::SignatureDoesNotMatch, why))
    }
}

/// `KEY/20260131/REGION/s3/aws4_request`. An access key may contain slashes.
pub(crate) fn credential(text: &str, expected_region: &str) -> Result<(String, Scope), String> {
    let mut fields = text.rsplitn(5, '/');
    let (end, service, region, date) = (fields.next(), fields.next(), fields.next(), fields.next());
    let (Some("aws4_request"), Some(service), Some(region), Some(date), Some(key)) =
        (end, service, region, date, fields.next())
    else {
        return Err(format!("the credential '{text}' is not KEY/DATE/REGION/s3/aws4_request"));
    };
    if service != "s3" {
        return Err(format!("the credential is for the service '{service}'; expecting 's3'"));
    }
    if region != expected_region {
        return Err(format!("the region '{region}' is wrong; expecting '{expected_region}'"));
    }
    let scope = Scope { date: date.to_owned(), region: region.to_owned(), service: service.to_owned() };
    Ok((key.to_owned(), scope))
}

/// A signature and what belongs to it.
struct Seal<'a> {
    access_key: String,
    scope: Scope,
    signed_headers: &'a str,
    signature: &'a str,
    time: &'a str,
}

/// Query parameters that only a presigned URL has.
pub(crate) fn is_presigned_name(name: &str) -> bool {
    const NAMES: [&str; 8] = [
        "X-Amz-Algorithm",
        "X-Amz-Credential",
        "X-Amz-Date",
        "X-Amz-Expires",
        "X-Amz-SignedHeaders",
        "X-Amz-Signature",
        "X-Amz-Security-Token",
        "X-Amz-Content-Sha256",
    ];
    NAMES.contains(&name)
}

fn check_signed_headers(head: &Head, names: &[String]) -> Outcome<()> {
    let is_signed = |name: &str| names.iter().any(|other| other == name);
    let not_signed = |names: Vec<&str>| -> S3Error {
        denied(format!("There were headers present in the request which were not signed: {}", names.join(", ")))
    };
    if !is_signed("host") {
        return Err(not_signed(vec!["host"]));
    }
    let must = |name: &str| name.starts_with("x-amz-") && name != "x-amz-content-sha256";
    let missing = head.headers.iter().map(|(name, _)| name.as_str()).filter(|name| must(name) && !is_signed(name));
    let missing: Vec<&str> = missing.collect();
    if missing.is_empty() { Ok(()) } else { Err(not_signed(missing)) }
}

/// Whether a signature of chunks or forms is the one that is expected, without saying where they
/// differ.
pub(crate) fn is_same(signature: &str, expected: &[u8; 32]) -> bool {
    use subtle::ConstantTimeEq as _;
    bool::from(hex(expected).as_bytes().ct_eq(signature.as_bytes()))
}

/// The same of a signature of version 2.
pub(crate) fn is_same_in_base64(signature: &str, expected: &[u8]) -> bool {
    use subtle::ConstantTimeEq as _;
    bool::from(crate::digest::base64(expected).as_bytes().ct_eq(signature.as_bytes()))
}

#[cfg(test)]
#[path = "authenticate_tests.rs"]
mod tests;
