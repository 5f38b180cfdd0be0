//! Signature Version 4 of a request whose path and query need no escapes and whose headers are the client's own.
//!
//! Source: "Authenticating requests: using the Authorization header", Amazon S3 API Reference.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

const COMPACT: &[BorrowedFormatItem<'_>] = format_description!("[year][month][day]T[hour][minute][second]Z");

/// Who signs, and for which region.
#[derive(Clone, Debug)]
pub(super) struct Signer {
    pub(super) access_key: String,
    pub(super) secret_key: String,
    pub(super) region: String,
}

/// What is signed of a request beside the time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signed<'a> {
    pub(super) method: &'a str,
    pub(super) host: &'a str,
    pub(super) path: &'a str,
    /// Parameters in the order of their names.
    pub(super) query: &'a str,
    /// SHA-256 of the body in hexadecimal digits.
    pub(super) payload: &'a str,
}

impl Signer {
    /// The headers `x-amz-date` and `authorization`.
    pub(super) fn sign(&self, signed: Signed<'_>, now_s: i64) -> (String, String) {
        let at = OffsetDateTime::from_unix_timestamp(now_s).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let date_time = at.format(COMPACT).unwrap_or_default();
        let date = date_time.get(..8).unwrap_or_default();
        let Signed { method, host, path, query, payload } = signed;
        let headers = format!("host:{host}\nx-amz-content-sha256:{payload}\nx-amz-date:{date_time}\n");
        let names = "host;x-amz-content-sha256;x-amz-date";
        let canonical = format!("{method}\n{path}\n{query}\n{headers}\n{names}\n{payload}");
        let scope = format!("{date}/{}/s3/aws4_request", self.region);
        let text = format!("AWS4-HMAC-SHA256\n{date_time}\n{scope}\n{}", hex(&Sha256::digest(canonical.as_bytes())));
        let mut key = hmac(format!("AWS4{}", self.secret_key).as_bytes(), date.as_bytes());
        for word in [self.region.as_str(), "s3", "aws4_request"] {
            key = hmac(&key, word.as_bytes());
        }
        let signature = hex(&hmac(&key, text.as_bytes()));
        let credential = format!("{}/{scope}", self.access_key);
        let value = format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}");
        (date_time, value)
    }
}

fn hmac(key: &[u8], data: &[u8]) -> [u8; 32] {
    // A key of any length is a key.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    mac.update(data);
    mac.finalize().into_bytes().into()
}

/// Bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails if a request is not signed as in the example "GET Bucket (List Objects)" of the API's reference.
    #[test]
    fn the_example_of_the_reference_is_signed_as_there() {
        let signer = Signer {
            access_key: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(),
            region: "us-east-1".to_owned(),
        };
        let nothing = hex(&Sha256::digest(b""));
        let signed = Signed {
            method: "GET",
            host: "examplebucket.s3.amazonaws.com",
            path: "/",
            query: "max-keys=2&prefix=J",
            payload: &nothing,
        };
        let (time, value) = signer.sign(signed, 1_369_353_600);
        assert_eq!(time, "20130524T000000Z");
        let signature = "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7";
        assert!(value.ends_with(&format!("Signature={signature}")), "{value}");
    }
}
