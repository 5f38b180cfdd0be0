//! Errors as a client sees them: a code of the S3 API, and a sentence that says what was wrong and
//! what to do.

use s3s::{S3Error, S3ErrorCode};

/// What an operation comes to.
pub(crate) type Outcome<T> = Result<T, S3Error>;

/// An error with a sentence for whoever reads it.
pub(crate) fn fault(code: S3ErrorCode, message: impl Into<String>) -> S3Error {
    S3Error::with_message(code, message.into())
}

/// An error with a code that s3s does not list.
pub(crate) fn other(code: &'static str, status: u16, message: impl Into<String>) -> S3Error {
    let mut error = S3Error::with_message(S3ErrorCode::Custom(code.into()), message.into());
    if let Ok(status) = http::StatusCode::from_u16(status) {
        error.set_status_code(status);
    }
    error
}

pub(crate) fn denied(message: impl Into<String>) -> S3Error {
    fault(S3ErrorCode::AccessDenied, message)
}

pub(crate) fn invalid(message: impl Into<String>) -> S3Error {
    fault(S3ErrorCode::InvalidArgument, message)
}

pub(crate) fn invalid_request(message: impl Into<String>) -> S3Error {
    fault(S3ErrorCode::InvalidRequest, message)
}

/// A part of the API that this version does not have, by its name.
pub(crate) fn not_implemented(what: &str) -> S3Error {
    fault(S3ErrorCode::NotImplemented, format!("{what} is not implemented by this server"))
}

pub(crate) fn internal(message: impl Into<String>) -> S3Error {
    fault(S3ErrorCode::InternalError, message)
}
