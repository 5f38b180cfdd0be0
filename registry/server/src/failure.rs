//! Failures as the specification has them: a status, a code, and a sentence for people.

use hyper::{Method, StatusCode};
use recoil_oci::{InvalidName, ManifestError};
use serde_json::json;

use crate::store::StoreError;
use crate::{Answer, set};

/// Distribution specification 1.1, "Error Codes".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    BlobUnknown,
    BlobUploadInvalid,
    BlobUploadUnknown,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    SizeInvalid,
    Unauthorized,
    Denied,
    Unsupported,
    TooManyRequests,
    /// Not of the specification: something on this side.
    Unknown,
}

impl Code {
    fn as_str(self) -> &'static str {
        match self {
            Code::BlobUnknown => "BLOB_UNKNOWN",
            Code::BlobUploadInvalid => "BLOB_UPLOAD_INVALID",
            Code::BlobUploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            Code::DigestInvalid => "DIGEST_INVALID",
            Code::ManifestBlobUnknown => "MANIFEST_BLOB_UNKNOWN",
            Code::ManifestInvalid => "MANIFEST_INVALID",
            Code::ManifestUnknown => "MANIFEST_UNKNOWN",
            Code::NameInvalid => "NAME_INVALID",
            Code::NameUnknown => "NAME_UNKNOWN",
            Code::SizeInvalid => "SIZE_INVALID",
            Code::Unauthorized => "UNAUTHORIZED",
            Code::Denied => "DENIED",
            Code::Unsupported => "UNSUPPORTED",
            Code::TooManyRequests => "TOOMANYREQUESTS",
            Code::Unknown => "UNKNOWN",
        }
    }
}

/// Why a request was not carried out.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    code: Code,
    message: String,
    headers: Vec<(&'static str, String)>,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, code: Code, message: impl Into<String>) -> Self {
        Failure { status, code, message: message.into(), headers: vec![] }
    }

    pub(crate) fn bad_request(code: Code, message: impl Into<String>) -> Self {
        Failure::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub(crate) fn not_found(code: Code, message: impl Into<String>) -> Self {
        Failure::new(StatusCode::NOT_FOUND, code, message)
    }

    pub(crate) fn method(method: &Method, allowed: &'static str) -> Self {
        let why = format!("{method} does not work here; use {allowed}");
        Failure::new(StatusCode::METHOD_NOT_ALLOWED, Code::Unsupported, why).with("allow", allowed)
    }

    pub(crate) fn with(mut self, header: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((header, value.into()));
        self
    }

    pub(crate) fn into_answer(self) -> Answer {
        let error = json!({ "code": self.code.as_str(), "message": self.message, "detail": null });
        let mut answer = crate::json(self.status, &json!({ "errors": [error] }));
        for (name, value) in self.headers {
            set(&mut answer, name, value);
        }
        answer
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let (status, code) = match error {
            StoreError::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, Code::Unknown),
            StoreError::Rejected(_) => (StatusCode::BAD_REQUEST, Code::Unsupported),
            StoreError::Failed(_) => (StatusCode::INTERNAL_SERVER_ERROR, Code::Unknown),
        };
        Failure::new(status, code, error.to_string())
    }
}

impl From<InvalidName> for Failure {
    fn from(error: InvalidName) -> Self {
        let code = match error.what {
            "digest" => Code::DigestInvalid,
            "tag" => Code::ManifestInvalid,
            _ => Code::NameInvalid,
        };
        Failure::bad_request(code, error.to_string())
    }
}

impl From<ManifestError> for Failure {
    fn from(error: ManifestError) -> Self {
        Failure::bad_request(Code::ManifestInvalid, error.to_string())
    }
}
