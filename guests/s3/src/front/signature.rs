//! Signature Version 4 of AWS, as S3 uses it: canonical requests, keys, and the comparison.
//!
//! Source: "Signing and authenticating REST requests", Amazon S3 API Reference. S3 encodes a path
//! once, where other services encode it twice. Clients disagree about what they encode, so a
//! request is first taken in its canonical form and then with path and query as they were sent;
//! both are forms that only the owner of the key can have signed.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use super::request::{Head, decode_path};
use crate::digest::{hex, sha256};
use crate::fault::Outcome;

/// The algorithm's name, which begins every Authorization header.
pub(crate) const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// Stands for the digest of a body that is not signed.
pub(crate) const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

pub(crate) fn hmac(key: &[u8], data: &[u8]) -> [u8; 32] {
    // A key of any length is a key.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    mac.update(data);
    mac.finalize().into_bytes().into()
}

/// As version 2 signs policies of forms.
pub(crate) fn hmac_sha1(key: &[u8], data: &[u8]) -> [u8; 20] {
    let Ok(mut mac) = Hmac::<sha1::Sha1>::new_from_slice(key) else { return [0; 20] };
    mac.update(data);
    mac.finalize().into_bytes().into()
}

/// Where and when a signature holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    /// `20260131`
    pub(crate) date: String,
    pub(crate) region: String,
    pub(crate) service: String,
}

impl Scope {
    pub(crate) fn text(&self) -> String {
        format!("{}/{}/{}/aws4_request", self.date, self.region, self.service)
    }

    /// The key of a day.
    pub(crate) fn key(&self, secret: &str) -> [u8; 32] {
        let date = hmac(format!("AWS4{secret}").as_bytes(), self.date.as_bytes());
        let region = hmac(&date, self.region.as_bytes());
        hmac(&hmac(&region, self.service.as_bytes()), b"aws4_request")
    }
}

/// What a request's signature is over, but for the forms of path and query.
pub(crate) struct Signed<'a> {
    pub(crate) head: &'a Head,
    /// Lower-case, sorted, each once.
    pub(crate) signed_headers: &'a [String],
    /// The body's digest in hexadecimal digits, or what stands for it.
    pub(crate) payload: &'a str,
    /// `20260131T235959Z`
    pub(crate) time: &'a str,
    pub(crate) scope: &'a Scope,
}

impl Signed<'_> {
    /// True if `signature` is that of this request with `key`, in one of the forms in which clients
    /// sign.
    pub(crate) fn verify(&self, key: &[u8; 32], signature: &str) -> Outcome<bool> {
        let path = encode(&decode_path(&self.head.path)?, true);
        let query = canonical_query(self.head)?;
        let raw_query = raw_query(self.head);
        let mut forms = vec![(path.as_str(), query.as_str())];
        for form in [(self.head.path.as_str(), query.as_str()), (&path, &raw_query), (&self.head.path, &raw_query)] {
            if !forms.contains(&form) {
                forms.push(form);
            }
        }
        Ok(forms.into_iter().any(|(path, query)| {
            let signed = hex(&hmac(key, self.string_to_sign(path, query).as_bytes()));
            bool::from(signed.as_bytes().ct_eq(signature.as_bytes()))
        }))
    }

    fn string_to_sign(&self, path: &str, query: &str) -> String {
        let mut canonical = format!("{}\n{path}\n{query}\n", self.head.method);
        for name in self.signed_headers {
            let values = self.head.headers.iter().filter(|(other, _)| other == name);
            let values: Vec<String> = values.map(|(_, value)| collapse(value)).collect();
            canonical.push_str(&format!("{name}:{}\n", values.join(",")));
        }
        canonical.push_str(&format!("\n{}\n{}", self.signed_headers.join(";"), self.payload));
        let digest = hex(&sha256(canonical.as_bytes()));
        format!("{ALGORITHM}\n{}\n{}\n{digest}", self.time, self.scope.text())
    }
}

/// A header's value without outer spaces, and with inner ones once.
fn collapse(value: &str) -> String {
    value.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Every byte but unreserved characters as an escape with upper-case digits.
pub(crate) fn encode(text: &str, keep_slashes: bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            b'/' if keep_slashes => encoded.push('/'),
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

fn canonical_query(head: &Head) -> Outcome<String> {
    let pairs = head.query_pairs()?.into_iter().filter(|(name, _)| name != "X-Amz-Signature");
    let mut pairs: Vec<String> =
        pairs.map(|(name, value)| format!("{}={}", encode(&name, false), encode(&value, false))).collect();
    pairs.sort_by(|a, b| a.split_once('=').cmp(&b.split_once('=')));
    Ok(pairs.join("&"))
}

/// The pieces of the query as they were sent, in order.
fn raw_query(head: &Head) -> String {
    let pieces = head.query.split('&').filter(|piece| !piece.is_empty() && !piece.starts_with("X-Amz-Signature="));
    let mut pieces: Vec<String> =
        pieces.map(|piece| if piece.contains('=') { piece.to_owned() } else { format!("{piece}=") }).collect();
    pieces.sort_by(|a, b| a.split_once('=').cmp(&b.split_once('=')));
    pieces.join("&")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    pub(crate) const ACCESS: &str = "AKIAIOSFODNN7EXAMPLE";
    pub(crate) const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    pub(crate) fn scope() -> Scope {
        Scope { date: "20130524".into(), region: "us-east-1".into(), service: "s3".into() }
    }

    fn verify(head: &Head, names: &[&str], payload: &str, signature: &str) -> bool {
        let signed_headers: Vec<String> = names.iter().map(ToString::to_string).collect();
        let scope = scope();
        let (time, signed_headers) = ("20130524T000000Z", signed_headers.as_slice());
        let signed = Signed { head, signed_headers, payload, time, scope: &scope };
        signed.verify(&scope.key(SECRET), signature).unwrap()
    }

    pub(crate) fn head(method: &str, path: &str, query: &str, headers: &[(&str, &str)]) -> Head {
        let headers = headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Head { method: method.into(), path: path.into(), query: query.into(), headers }
    }

    const HOST: (&str, &str) = ("host", "examplebucket.s3.amazonaws.com");

    /// The examples of the API's reference.
    #[test]
    fn the_examples_of_the_reference_are_verified() {
        let get = head(
            "GET",
            "/test.txt",
            "",
            &[HOST, ("range", "bytes=0-9"), ("x-amz-content-sha256", EMPTY), ("x-amz-date", "20130524T000000Z")],
        );
        let names = ["host", "range", "x-amz-content-sha256", "x-amz-date"];
        assert!(verify(&get, &names, EMPTY, "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"));
        let mut changed = get.clone();
        changed.headers[1].1 = "bytes=0-8".into();
        assert!(!verify(&changed, &names, EMPTY, "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"));

        let payload = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";
        let put = head(
            "PUT",
            "/test$file.text",
            "",
            &[
                ("date", "Fri, 24 May 2013 00:00:00 GMT"),
                HOST,
                ("x-amz-content-sha256", payload),
                ("x-amz-date", "20130524T000000Z"),
                ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ],
        );
        let names = ["date", "host", "x-amz-content-sha256", "x-amz-date", "x-amz-storage-class"];
        assert!(verify(&put, &names, payload, "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"));

        let list = [HOST, ("x-amz-content-sha256", EMPTY), ("x-amz-date", "20130524T000000Z")];
        let names = ["host", "x-amz-content-sha256", "x-amz-date"];
        let lifecycle = head("GET", "/", "lifecycle", &list);
        assert!(verify(&lifecycle, &names, EMPTY, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"));
        let list = head("GET", "/", "max-keys=2&prefix=J", &list);
        assert!(verify(&list, &names, EMPTY, "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"));
    }

    #[test]
    fn what_only_looks_different_is_signed_alike() {
        assert_eq!(
            canonical_query(&head("GET", "/", "b=2&a=%7e&a&prefix=env%3a%2F+", &[])).unwrap(),
            "a=&a=~&b=2&prefix=env%3A%2F%20"
        );
        assert_eq!(raw_query(&head("GET", "/", "b=2&X-Amz-Signature=1&a", &[])), "a=&b=2");
        assert_eq!(collapse("  a   b "), "a b");
        assert_eq!(encode("a/b c\u{e4}~", true), "a/b%20c%C3%A4~");
        assert_eq!(encode("a/b", false), "a%2Fb");
    }
}
