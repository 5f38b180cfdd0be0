//! Forms that browsers send: a POST with a policy that its owner has signed.
//!
//! s3s takes the form apart, verifies the policy's signature and compares the form with it; a form without a
//! signed policy is refused by it. What is here stores the file. A form is held in memory, so that
//! its file is bounded by [`FORM_BYTES_MAX`].

use futures::{FutureExt as _, StreamExt as _};
use s3s::dto::{PostObjectInput, PostObjectOutput, StreamingBlob};

use super::given::{condition, etag, given, named_checksum, version_text};
use super::session::Session;
use crate::data::command::Condition;
use crate::fault::{Outcome, denied, internal, invalid_request, not_implemented};
use crate::front::authenticate::{Authenticated, Payload};
use crate::front::payload::{Body, Source};
use crate::front::request::Head;

/// Bytes of a form.
pub(super) const FORM_BYTES_MAX: usize = 16 << 20;

/// Bytes of its fields, before the file.
const FIELDS_BYTES_MAX: usize = 256 << 10;

/// True for the Content-Type of a form.
pub(super) fn is_form(head: &Head) -> bool {
    let kind = head.header("content-type").unwrap_or("").trim_start().to_ascii_lowercase();
    head.method == "POST" && kind.starts_with("multipart/form-data")
}

/// Refuses a form that is signed as of version 2.
pub(super) fn check(form: &[u8]) -> Outcome<()> {
    let fields = &form[..form.len().min(FIELDS_BYTES_MAX)];
    let text = String::from_utf8_lossy(fields).to_ascii_lowercase();
    let fields = text.split("name=\"file\"").next().unwrap_or(&text);
    if fields.len() >= FIELDS_BYTES_MAX {
        return Err(invalid_request(format!("the fields of a form may have {FIELDS_BYTES_MAX} bytes")));
    }
    if fields.contains("name=\"awsaccesskeyid\"") || fields.contains("name=\"signature\"") {
        return Err(invalid_request("signatures of version 2 are not accepted; use AWS4-HMAC-SHA256"));
    }
    Ok(())
}

/// A file that is all there.
struct File(Vec<u8>);

impl Source for File {
    fn read(&mut self, limit: usize) -> Result<Vec<u8>, String> {
        let rest = self.0.split_off(limit.min(self.0.len()));
        Ok(std::mem::replace(&mut self.0, rest))
    }
}

fn collect(mut blob: StreamingBlob) -> Outcome<Vec<u8>> {
    let mut file = Vec::new();
    // All of it is in memory already.
    while let Some(Some(piece)) = blob.next().now_or_never() {
        file.extend_from_slice(&piece.map_err(|error| internal(format!("a form's file cannot be read: {error}")))?);
    }
    Ok(file)
}

/// What a header would be refused for.
fn check_fields(input: &PostObjectInput) -> Outcome<()> {
    let encrypted = input.server_side_encryption.is_some()
        || input.sse_customer_algorithm.is_some()
        || input.ssekms_key_id.is_some()
        || input.ssekms_encryption_context.is_some();
    let granted = input.grant_full_control.is_some()
        || input.grant_read.is_some()
        || input.grant_read_acp.is_some()
        || input.grant_write_acp.is_some();
    let stored_elsewhere = input.storage_class.as_ref().is_some_and(|class| class.as_str() != "STANDARD");
    for (given, what) in [
        (encrypted, "server-side encryption"),
        (granted, "a grant in a form"),
        (stored_elsewhere, "a storage class other than STANDARD"),
        (input.website_redirect_location.is_some(), "a website's redirection"),
        (input.write_offset_bytes.is_some(), "appending to an object"),
        (input.key.contains("${filename}"), "the variable ${filename} in a key"),
    ] {
        if given {
            return Err(not_implemented(what));
        }
    }
    Ok(())
}

impl Session {
    pub(super) fn post_object(&self, mut input: PostObjectInput) -> Outcome<PostObjectOutput> {
        if !self.form.get() {
            return Err(denied("this is no form"));
        }
        check_fields(&input)?;
        // s3s has verified who signed the policy, and refused a form without one: whoever signed it
        // allows what it says.
        self.caller.borrow_mut().owner = true;
        let file = input.body.take().map(collect).transpose()?.unwrap_or_default();
        let mut headers = vec![("content-length".to_owned(), file.len().to_string())];
        headers.extend(input.content_md5.take().map(|md5| ("content-md5".to_owned(), md5)));
        for (algorithm, value) in named_checksum!(input) {
            headers.extend(value.map(|value| (algorithm.header().to_owned(), value.to_owned())));
        }
        let head = Head { headers, ..Default::default() };
        let authenticated = Authenticated { access_key: None, payload: Payload::Unsigned, chain: None };
        *self.body.borrow_mut() = Some(Body::new(&head, &authenticated, Box::new(File(file)))?);
        let wanted: Condition = condition(input.if_match.as_ref(), input.if_none_match.as_ref())?;
        let (bucket, key) = (input.bucket.clone(), input.key.clone());
        let (bucket, details) = self.put_object(&bucket, &key, given!(input), wanted)?;
        let version_id = version_text(&bucket, &details);
        Ok(PostObjectOutput { e_tag: Some(etag(&details)), version_id, ..Default::default() })
    }
}
