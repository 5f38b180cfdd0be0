//! Forms that browsers send.
//!
//! A form is a PUT of its file: its fields become the headers that they are named after, and what
//! is refused of headers is refused of fields. A form with a policy is sent by whoever signed that;
//! one without is anonymous. Forms are held in memory, so that a file is bounded by
//! [`FORM_BYTES_MAX`].

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use s3s::S3ErrorCode;
use s3s::dto::Tagging;
use s3s::xml::{Deserialize as _, Deserializer};

use super::service::Answer;
use super::session::Session;
use crate::data::access::User;
use crate::fault::{Outcome, fault, invalid};
use crate::front::authenticate::{credential, is_same, is_same_in_base64};
use crate::front::form::{Form, Policy};
use crate::front::payload::Source;
use crate::front::request::{Head, KEY_BYTES_MAX};
use crate::front::signature::{ALGORITHM, encode, hmac, hmac_sha1};

/// Bytes of a form.
pub(super) const FORM_BYTES_MAX: usize = 16 << 20;

/// True for the Content-Type of a form.
pub(super) fn is_form(head: &Head) -> bool {
    let kind = head.header("content-type").unwrap_or("").trim_start().to_ascii_lowercase();
    head.method == "POST" && kind.starts_with("multipart/form-data")
}

/// A file that is all there.
pub(super) struct File(pub(super) Vec<u8>);

impl Source for File {
    fn read(&mut self, limit: usize) -> Result<Vec<u8>, String> {
        let rest = self.0.split_off(limit.min(self.0.len()));
        Ok(std::mem::replace(&mut self.0, rest))
    }
}

/// What a form asks for.
pub(super) struct Posted {
    /// Of the PUT that it comes to.
    pub(super) head: Head,
    pub(super) key: String,
    pub(super) file: Vec<u8>,
    /// Who signed its policy.
    pub(super) signer: Option<User>,
    redirect: Option<String>,
    status: Option<String>,
}

impl Posted {
    /// Takes a form apart, and sees to it that its policy allows it.
    pub(super) fn open(session: &Session, head: &Head, bucket: &str, body: &[u8]) -> Outcome<Self> {
        let form = Form::parse(head.header("content-type").unwrap_or(""), body)?;
        let key = form.key()?;
        if key.len() > KEY_BYTES_MAX {
            return Err(fault(S3ErrorCode::KeyTooLongError, "Your key is too long"));
        }
        let signer = signer(session, &form)?;
        if let Some(text) = form.field("policy") {
            let wrong = |_| fault(S3ErrorCode::InvalidPolicyDocument, "Invalid Policy: it is not in base64");
            let document = STANDARD.decode(text.split_whitespace().collect::<String>()).map_err(wrong)?;
            let now_s = i64::try_from(session.machine.now_us() / 1_000_000).unwrap_or(i64::MAX);
            Policy::parse(&document)?.check(&form, bucket, &key, now_s)?;
        }
        let mut headers = vec![("content-length".to_owned(), form.file.len().to_string())];
        headers.extend(head.header("host").map(|host| ("host".to_owned(), host.to_owned())));
        for (name, value) in &form.fields {
            headers.extend(header(name, value)?);
        }
        let path = format!("/{}/{}", encode(bucket, false), encode(&key, true));
        let text = |name: &str| form.field(name).filter(|value| !value.is_empty()).map(str::to_owned);
        let redirect = text("success_action_redirect").or_else(|| text("redirect"));
        Ok(Posted {
            head: Head { method: "PUT".to_owned(), path, query: String::new(), headers },
            redirect: redirect.filter(|url| url.starts_with("http://") || url.starts_with("https://")),
            status: text("success_action_status"),
            signer,
            key,
            file: form.file,
        })
    }

    /// What the form's sender gets, once the file is there.
    pub(super) fn answer(&self, mut put: Answer, bucket: &str) -> Answer {
        let etag = put.headers.iter().find(|(name, _)| name == "etag").map(|(_, value)| value.clone());
        let etag = String::from_utf8(etag.unwrap_or_default()).unwrap_or_default();
        let host = self.head.header("host").unwrap_or("localhost");
        let mut location = format!("http://{host}{}", self.head.path);
        put.status = match (&self.redirect, self.status.as_deref()) {
            (Some(url), _) => {
                let (before, fragment) =
                    url.split_once('#').map_or((url.as_str(), None), |(url, end)| (url, Some(end)));
                let separator = if before.contains('?') { '&' } else { '?' };
                let pairs = [("bucket", bucket), ("key", &self.key), ("etag", &etag)];
                let pairs = pairs.map(|(name, value)| format!("{name}={}", encode(value, false)));
                location = format!("{before}{separator}{}", pairs.join("&"));
                if let Some(fragment) = fragment {
                    location.push_str(&format!("#{fragment}"));
                }
                303
            }
            (None, Some("200")) => 200,
            (None, Some("201")) => 201,
            (None, _) => 204,
        };
        if put.status == 201 {
            let (bucket, key, etag) = (super::service::escape(bucket), super::service::escape(&self.key), etag);
            let etag = super::service::escape(&etag);
            let shown = super::service::escape(&location);
            put.headers.push(("content-type".to_owned(), b"application/xml".to_vec()));
            put.body = format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?><PostResponse><Location>{shown}</Location><Bucket>{bucket}\
                 </Bucket><Key>{key}</Key><ETag>{etag}</ETag></PostResponse>"
            )
            .into_bytes();
        }
        put.headers.push(("location".to_owned(), location.into_bytes()));
        put
    }
}

/// The header that a field stands for.
fn header(name: &str, value: &str) -> Outcome<Option<(String, String)>> {
    let named = |name: &str, value: &str| Ok(Some((name.to_owned(), value.to_owned())));
    match name {
        "acl" => named("x-amz-acl", value),
        "tagging" => named("x-amz-tagging", &tagging(value)?),
        "cache-control"
        | "content-disposition"
        | "content-encoding"
        | "content-language"
        | "content-md5"
        | "content-type"
        | "expires" => named(name, value),
        "x-amz-algorithm" | "x-amz-credential" | "x-amz-date" | "x-amz-signature" => Ok(None),
        name if name.starts_with("x-amz-") => named(name, value),
        _ => Ok(None),
    }
}

/// A form has tags as XML, a header as a query.
fn tagging(text: &str) -> Outcome<String> {
    let malformed = || fault(S3ErrorCode::MalformedXML, "the field tagging is no Tagging in XML");
    if text.to_ascii_lowercase().contains("<!doctype") {
        return Err(malformed());
    }
    let set = Tagging::deserialize(&mut Deserializer::new(text.as_bytes())).map_err(|_| malformed())?.tag_set;
    let pairs = set.into_iter().map(|tag| {
        let (key, value) = (tag.key.unwrap_or_default(), tag.value.unwrap_or_default());
        format!("{}={}", encode(&key, false), encode(&value, false))
    });
    Ok(pairs.collect::<Vec<_>>().join("&"))
}

/// Who signed the policy of a form; none if it has no policy.
fn signer(session: &Session, form: &Form) -> Outcome<Option<User>> {
    let signature_fields = ["x-amz-signature", "signature"].map(|name| form.field(name));
    let missing = |name: &str| invalid(format!("Bucket POST must contain a field named '{name}'."));
    let Some(policy) = form.field("policy") else {
        return if signature_fields == [None, None] { Ok(None) } else { Err(missing("policy")) };
    };
    if form.field("x-amz-security-token").is_some() {
        let why = "The provided token is malformed or otherwise invalid: there are no temporary credentials";
        return Err(fault(S3ErrorCode::InvalidToken, why));
    }
    let unknown = || fault(S3ErrorCode::InvalidAccessKeyId, "there is no such access key");
    let field = |name: &str| form.field(name).ok_or_else(|| missing(name));
    let (known, is_good) = if form.field("x-amz-algorithm").is_some() || form.field("x-amz-credential").is_some() {
        if field("x-amz-algorithm")? != ALGORITHM {
            return Err(invalid(format!("X-Amz-Algorithm only supports {ALGORITHM}")));
        }
        let (access_key, scope) = credential(field("x-amz-credential")?, &session.region).map_err(invalid)?;
        let (date, signature) = (field("x-amz-date")?, field("x-amz-signature")?);
        if !date.starts_with(&scope.date) {
            return Err(invalid("the credential's date is not that of x-amz-date"));
        }
        let known = session.known(&access_key)?.ok_or_else(unknown)?;
        let expected = hmac(&scope.key(&known.secret), policy.as_bytes());
        (known, is_same(signature, &expected))
    } else {
        let (access_key, signature) = (field("awsaccesskeyid")?, field("signature")?);
        let known = session.known(access_key)?.ok_or_else(unknown)?;
        let expected = hmac_sha1(known.secret.as_bytes(), policy.as_bytes());
        (known, is_same_in_base64(signature, &expected))
    };
    if is_good {
        return Ok(Some(known.user));
    }
    let why = "the signature is not that of the form's policy: check the secret key";
    Err(fault(S3ErrorCode::SignatureDoesNotMatch, why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::hex;

    #[test]
    fn fields_stand_for_headers() {
        let of = |name: &str, value: &str| header(name, value).unwrap();
        let pair = |name: &str, value: &str| Some((name.to_owned(), value.to_owned()));
        assert_eq!(of("acl", "private"), pair("x-amz-acl", "private"));
        assert_eq!(of("x-amz-meta-a", "b"), pair("x-amz-meta-a", "b"));
        assert_eq!(of("x-amz-server-side-encryption", "AES256"), pair("x-amz-server-side-encryption", "AES256"));
        assert_eq!((of("submit", "Send"), of("x-amz-date", "d"), of("host", "h")), (None, None, None));
        let tags = "<Tagging><TagSet><Tag><Key>a b</Key><Value>&amp;</Value></Tag></TagSet></Tagging>";
        assert_eq!(of("tagging", tags), pair("x-amz-tagging", "a%20b=%26"));
        assert!(header("tagging", "<Tagging>").is_err() && header("tagging", "<!DOCTYPE x>").is_err());
    }

    #[test]
    fn signatures_are_written_in_two_ways() {
        let digest = [7; 20];
        assert!(is_same_in_base64(&STANDARD.encode(digest), &digest));
        assert!(!is_same_in_base64(&hex(&digest), &digest) && !is_same_in_base64("", &digest));
    }
}
