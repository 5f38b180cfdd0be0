//! A request's head as it was sent, and how names and values are taken from it.
//!
//! Invariant: what is signed is what is looked at. Path and query are kept as sent; each is decoded
//! once, where it is used.

use percent_encoding::percent_decode_str;
use s3s::S3ErrorCode;

use super::authenticate::is_presigned_name;
use super::signature::encode;
use crate::digest::Algorithm;
use crate::fault::{Outcome, fault, invalid_request};

/// Bytes of a key.
pub(crate) const KEY_BYTES_MAX: usize = 1024;

/// The head of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    /// As sent, upper-case for the methods of HTTP.
    pub(crate) method: String,
    /// From the first slash to the question mark, as sent.
    pub(crate) path: String,
    /// Behind the question mark, as sent.
    pub(crate) query: String,
    /// Lower-case names; `host` among them, also over HTTP/2.
    pub(crate) headers: Vec<(String, String)>,
}

impl Head {
    /// The value of a header; several of one name are an error for those who ask for one.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// Makes headers of what a presigned URL has among its parameters and clients would else send as
    /// headers. They are signed as all of the query is. A checksum there is that of the empty body
    /// with which the URL was made, and says nothing.
    pub(crate) fn take_headers_of_query(&mut self) -> Outcome<()> {
        let pairs = self.query_pairs()?;
        if !pairs.iter().any(|(name, _)| name == "X-Amz-Signature") {
            return Ok(());
        }
        let is_header = |name: &str| name.to_ascii_lowercase().starts_with("x-amz-") && !is_presigned_name(name);
        let (headers, rest): (Vec<_>, Vec<_>) = pairs.into_iter().partition(|(name, _)| is_header(name));
        for (name, value) in headers {
            let name = name.to_ascii_lowercase();
            if Algorithm::from_header(&name).is_none() && name != "x-amz-sdk-checksum-algorithm" {
                self.headers.push((name, value));
            }
        }
        let rest = rest.iter().map(|(name, value)| format!("{}={}", encode(name, false), encode(value, false)));
        self.query = rest.collect::<Vec<_>>().join("&");
        Ok(())
    }

    /// Names and values of the query, decoded: a plus is a space.
    pub(crate) fn query_pairs(&self) -> Outcome<Vec<(String, String)>> {
        let pieces = self.query.split('&').filter(|piece| !piece.is_empty());
        let pairs = pieces.map(|piece| {
            let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
            Ok((decode_query(name)?, decode_query(value)?))
        });
        pairs.collect()
    }

    /// The value of a name in the query.
    pub(crate) fn query(&self, name: &str) -> Option<String> {
        self.query_pairs().ok()?.into_iter().find(|(other, _)| other == name).map(|(_, value)| value)
    }

    /// The body's length, if the client says it.
    pub(crate) fn content_length(&self) -> Outcome<Option<u64>> {
        let Some(text) = self.header("content-length") else { return Ok(None) };
        let length = text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
        let wrong = || invalid_request(format!("the header Content-Length is '{text}', which is no number of bytes"));
        length.map(Some).ok_or_else(wrong)
    }

    /// Bucket and key of the path, decoded once. An empty text where there is none.
    pub(crate) fn place(&self) -> Outcome<(String, String)> {
        let path = self.path.strip_prefix('/').ok_or_else(|| uri("the path does not begin with a slash"))?;
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let place = (decode_path(bucket)?, decode_path(key)?);
        if place.1.len() > KEY_BYTES_MAX {
            let why = format!("the key has {} bytes, and may have {KEY_BYTES_MAX}", place.1.len());
            return Err(fault(S3ErrorCode::KeyTooLongError, why));
        }
        Ok(place)
    }
}

fn uri(why: &str) -> s3s::S3Error {
    fault(S3ErrorCode::InvalidURI, format!("the request's URI cannot be used: {why}"))
}

/// A path, or a piece of one: a plus stays a plus.
pub(crate) fn decode_path(text: &str) -> Outcome<String> {
    check_escapes(text)?;
    let decoded = percent_decode_str(text).decode_utf8().map_err(|_| uri("it is not UTF-8 once decoded"))?;
    Ok(decoded.into_owned())
}

fn decode_query(text: &str) -> Outcome<String> {
    decode_path(&text.replace('+', " "))
}

/// A percent sign that begins no escape is an error: two decoders would read two things.
fn check_escapes(text: &str) -> Outcome<()> {
    let bytes = text.as_bytes();
    let is_digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
    let wrong = (0..bytes.len()).find(|at| bytes[*at] == b'%' && !(is_digit(at + 1) && is_digit(at + 2)));
    match wrong {
        Some(at) => Err(uri(&format!("the percent sign at byte {at} is not followed by two hexadecimal digits"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(path: &str, query: &str) -> Head {
        Head { path: path.into(), query: query.into(), ..Default::default() }
    }

    #[test]
    fn a_key_is_decoded_once_and_otherwise_as_sent() {
        let place = |path: &str| head(path, "").place().unwrap();
        let of = |key: &str| ("b".to_owned(), key.to_owned());
        assert_eq!(place("/b/a//b/./../c/"), of("a//b/./../c/"));
        assert_eq!(place("/b/a%2Fb%252F"), of("a/b%2F"));
        assert_eq!(place("/b/a+b%20c"), of("a+b c"));
        assert_eq!(place("/b//a"), of("/a"));
        assert_eq!(place("/b/e%CC%81"), of("e\u{301}"), "not composed");
        assert_eq!(place("/b/%00%1f"), of("\0\u{1f}"));
        assert_eq!(place("/b/"), of(""));
        assert_eq!(place("/"), (String::new(), String::new()));
    }

    #[test]
    fn what_cannot_be_a_key_is_refused() {
        let code = |path: &str| head(path, "").place().unwrap_err().code().as_str().to_owned();
        assert_eq!(code("/b/%ff"), "InvalidURI");
        assert_eq!(code("/b/%f"), "InvalidURI");
        assert_eq!(code("/b/100%"), "InvalidURI");
        assert_eq!(code("b"), "InvalidURI");
        assert_eq!(code(&format!("/b/{}", "k".repeat(1025))), "KeyTooLongError");
        assert!(head(&format!("/b/{}", "k".repeat(1024)), "").place().is_ok());
    }

    /// As the SDK for JavaScript makes URLs.
    #[test]
    fn a_presigned_url_has_headers_among_its_parameters() {
        let query = "X-Amz-Signature=s&x-amz-checksum-mode=ENABLED&x-amz-meta-Name=a%20b&x-amz-checksum-crc32=AAAAAA%3D%3D\
            &x-amz-sdk-checksum-algorithm=CRC32&x-id=GetObject&versionId=null";
        let mut signed = head("/b/k", query);
        signed.take_headers_of_query().unwrap();
        assert_eq!(signed.query, "X-Amz-Signature=s&x-id=GetObject&versionId=null");
        let expected = [("x-amz-checksum-mode", "ENABLED"), ("x-amz-meta-name", "a b")];
        assert_eq!(signed.headers, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let mut unsigned = head("/b/k", "x-amz-acl=private");
        unsigned.take_headers_of_query().unwrap();
        assert_eq!((unsigned.query.as_str(), unsigned.headers.len()), ("x-amz-acl=private", 0));
    }

    #[test]
    fn a_query_has_spaces_for_pluses_and_names_without_values() {
        let pairs = head("/", "acl&prefix=a+b%2Bc&x=&&y=1=2").query_pairs().unwrap();
        let expected = [("acl", ""), ("prefix", "a b+c"), ("x", ""), ("y", "1=2")];
        assert_eq!(pairs, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert!(head("/", "a=%zz").query_pairs().is_err());
        let length = |value: &str| {
            Head { headers: vec![("content-length".into(), value.into())], ..Default::default() }.content_length()
        };
        assert_eq!(length("5368709120").unwrap(), Some(5 << 30));
        assert!(length("+5").is_err() && length("").is_err() && length("99999999999999999999").is_err());
    }
}
