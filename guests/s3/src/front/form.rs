//! Browsers' forms: `multipart/form-data`, and the policies that forms are signed with.
//!
//! Source: "Browser-Based Uploads Using POST" of the Amazon S3 API Reference, RFC 7578. A form has
//! fields and a file, and what comes after the file is ignored. A policy is a list of conditions on
//! fields with an end of its validity; its signature is of version 4, or of version 2, which differs
//! in the digest and in that it has no date of its own.
//!
//! Invariant: of a signed form, every field is one that the policy speaks of, so that nothing can be
//! added to a form that somebody was given.

use s3s::S3ErrorCode;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::fault::{Outcome, denied, fault, invalid};

/// Fields of a form, before the file, and bytes of them.
const FIELDS_MAX: usize = 200;
const FIELDS_BYTES_MAX: usize = 256 << 10;
/// Bytes of the boundary between parts.
const BOUNDARY_BYTES_MAX: usize = 200;

/// A form that has been taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Form {
    /// Names in lower case, as they are compared in any case.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) file: Vec<u8>,
    /// What the browser calls the file, without folders.
    pub(crate) file_name: String,
}

fn malformed(why: &str) -> s3s::S3Error {
    fault(
        S3ErrorCode::MalformedPOSTRequest,
        format!("The body of your POST request is not well-formed multipart/form-data: {why}"),
    )
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    let first = *part.first()?;
    let mut from = 0;
    while let Some(at) = text.get(from..)?.iter().position(|byte| *byte == first) {
        let at = from + at;
        if text[at..].starts_with(part) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

impl Form {
    /// Takes a body apart, whose Content-Type is `kind`.
    pub(crate) fn parse(kind: &str, body: &[u8]) -> Outcome<Self> {
        let boundary = parameter(kind, "boundary").filter(|boundary| !boundary.is_empty());
        let boundary = boundary.ok_or_else(|| malformed("its Content-Type has no boundary"))?;
        if boundary.len() > BOUNDARY_BYTES_MAX {
            return Err(malformed("its boundary is too long"));
        }
        let (first, between) = (format!("--{boundary}"), format!("\r\n--{boundary}"));
        let start = find(body, first.as_bytes()).ok_or_else(|| malformed("its boundary is not in it"))?;
        let mut rest = &body[start + first.len()..];
        let (mut fields, mut bytes) = (Vec::new(), 0);
        loop {
            rest = rest.strip_prefix(b"\r\n").ok_or_else(|| no_file(rest))?;
            let end = find(rest, b"\r\n\r\n").ok_or_else(|| malformed("a part has no end of its head"))?;
            if end > FIELDS_BYTES_MAX {
                return Err(malformed("a part's head is too long"));
            }
            let part = String::from_utf8_lossy(&rest[..end]);
            let content = &rest[end + 4..];
            let length = find(content, between.as_bytes()).ok_or_else(|| malformed("a part has no end"))?;
            rest = &content[length + between.len()..];
            let disposition = header(&part, "content-disposition").unwrap_or_default();
            let name = parameter(&disposition, "name").ok_or_else(|| malformed("a part has no name"))?;
            let name = name.to_ascii_lowercase();
            if name == "file" {
                let file_name = parameter(&disposition, "filename").unwrap_or_default();
                let file_name = file_name.rsplit(['/', '\\']).next().unwrap_or_default().to_owned();
                return Ok(Form { fields, file: content[..length].to_vec(), file_name });
            }
            bytes += name.len() + length;
            if bytes > FIELDS_BYTES_MAX || fields.len() >= FIELDS_MAX {
                let why = format!("the fields of a form may be {FIELDS_MAX} and have {FIELDS_BYTES_MAX} bytes");
                return Err(fault(S3ErrorCode::MaxPostPreDataLengthExceededError, why));
            }
            let value = std::str::from_utf8(&content[..length]);
            let value = value.map_err(|_| malformed("a field is not UTF-8"))?.to_owned();
            if fields.iter().any(|(other, _)| *other == name) {
                return Err(invalid(format!("the form has the field '{name}' more than once")));
            }
            fields.push((name, value));
        }
    }

    /// A field by its name in lower case.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The key, with the file's name where the form asks for it.
    pub(crate) fn key(&self) -> Outcome<String> {
        let key = self.field("key").filter(|key| !key.is_empty());
        let key = key.ok_or_else(|| {
            invalid(
                "Bucket POST must contain a field named 'key'.  If it is specified, please check the order of the \
                     fields.",
            )
        })?;
        Ok(key.replace("${filename}", &self.file_name))
    }
}

fn no_file(rest: &[u8]) -> s3s::S3Error {
    if rest.starts_with(b"--") {
        return invalid("POST requires exactly one file upload per request.");
    }
    malformed("a boundary is not the end of its line")
}

fn header(head: &str, name: &str) -> Option<String> {
    let found = head.split("\r\n").find_map(|line| {
        let (other, value) = line.split_once(':')?;
        other.trim().eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    });
    found.filter(|value| !value.is_empty())
}

/// A parameter of a header's value: `form-data; name="file"; filename="a b"`.
fn parameter(value: &str, name: &str) -> Option<String> {
    let mut rest = value;
    while let Some((_, after)) = rest.split_once(';') {
        let (found, after) = after.trim_start().split_once('=')?;
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted_end(quoted)?,
            None => {
                let end = after.find(';').unwrap_or(after.len());
                (after[..end].trim().to_owned(), &after[end..])
            }
        };
        if found.trim().eq_ignore_ascii_case(name) {
            return Some(value);
        }
        rest = after;
    }
    None
}

/// What is before the closing quote, and what is behind it.
fn quoted_end(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            // Only a quote is escaped by browsers: a backslash may be part of a Windows path.
            '\\' if text[at + 1..].starts_with('"') => {
                characters.next();
                value.push('"');
            }
            character => value.push(character),
        }
    }
    None
}

#[derive(Debug, PartialEq, Eq)]
enum Condition {
    Equal(String, String),
    StartsWith(String, String),
    Length(u64, u64),
}

/// The policy of a form.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    expires_s: i64,
    conditions: Vec<Condition>,
}

fn invalid_document(why: impl std::fmt::Display) -> s3s::S3Error {
    fault(S3ErrorCode::InvalidPolicyDocument, format!("Invalid Policy: {why}"))
}

impl Policy {
    /// Of the JSON that a form carries.
    pub(crate) fn parse(document: &[u8]) -> Outcome<Self> {
        let document: Value = serde_json::from_slice(document).map_err(invalid_document)?;
        let text = document.get("expiration").and_then(Value::as_str);
        let text = text.ok_or_else(|| invalid_document("it has no expiration"))?;
        // The separator may be anything for the parser, and is a T for S3.
        let expires = OffsetDateTime::parse(text, &Rfc3339).ok().filter(|_| text.contains('T'));
        let expires_s = expires.ok_or_else(|| invalid_document("its expiration is no time"))?.unix_timestamp();
        let conditions = document.get("conditions").and_then(Value::as_array);
        let conditions = conditions.ok_or_else(|| invalid_document("it has no list of conditions"))?;
        let mut found = Vec::new();
        for condition in conditions {
            parse_condition(condition, &mut found).ok_or_else(|| {
                invalid_document(format!("Invalid Simple-Condition: {condition} is none that is understood"))
            })?;
        }
        Ok(Policy { expires_s, conditions: found })
    }

    /// Refuses a form that the policy does not allow.
    pub(crate) fn check(&self, form: &Form, bucket: &str, key: &str, now_s: i64) -> Outcome<()> {
        let wrong = |why: String| denied(format!("Invalid according to Policy: {why}"));
        if now_s >= self.expires_s {
            return Err(wrong("Policy expired.".to_owned()));
        }
        let value = |name: &str| match name {
            "bucket" => Some(bucket),
            "key" => Some(key),
            name => form.field(name),
        };
        for condition in &self.conditions {
            let failed = |name: &str| wrong(format!("Policy Condition failed: of the field {name}"));
            match condition {
                Condition::Equal(name, wanted) if value(name) != Some(wanted) => return Err(failed(name)),
                Condition::StartsWith(name, start) if !value(name).is_some_and(|value| value.starts_with(start)) => {
                    return Err(failed(name));
                }
                Condition::Length(least, most) => check_length(form.file.len() as u64, *least, *most)?,
                Condition::Equal(..) | Condition::StartsWith(..) => {}
            }
        }
        let is_covered = |name: &str| {
            self.conditions.iter().any(|condition| match condition {
                Condition::Equal(other, _) | Condition::StartsWith(other, _) => other == name,
                Condition::Length(..) => false,
            })
        };
        let names = form.fields.iter().map(|(name, _)| name.as_str()).chain(["bucket"]);
        let mut extra = names.filter(|name| !is_unsigned(name) && !is_covered(name));
        match extra.next() {
            Some(name) => Err(wrong(format!("Extra input fields: {name}"))),
            None => Ok(()),
        }
    }
}

/// Fields that a policy need not speak of: among them checksums, which only refuse.
fn is_unsigned(name: &str) -> bool {
    matches!(name, "awsaccesskeyid" | "policy" | "signature" | "x-amz-signature")
        || name.starts_with("x-ignore-")
        || name.starts_with("x-amz-checksum-")
}

fn check_length(length: u64, least: u64, most: u64) -> Outcome<()> {
    if length < least {
        let why = format!("Your proposed upload is smaller than the minimum allowed size: {length} of {least} bytes");
        return Err(fault(S3ErrorCode::EntityTooSmall, why));
    }
    if length > most {
        let why = format!("Your proposed upload exceeds the maximum allowed size: {length} of {most} bytes");
        return Err(fault(S3ErrorCode::EntityTooLarge, why));
    }
    Ok(())
}

fn parse_condition(condition: &Value, found: &mut Vec<Condition>) -> Option<()> {
    match condition {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                found.push(Condition::Equal(name.to_ascii_lowercase(), value.as_str()?.to_owned()));
            }
            Some(())
        }
        Value::Array(words) => {
            let [operator, first, second] = words.as_slice() else { return None };
            let field = || Some(first.as_str()?.strip_prefix('$')?.to_ascii_lowercase());
            // Numbers come as such and as texts.
            let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
            found.push(match operator.as_str()?.to_ascii_lowercase().as_str() {
                "eq" => Condition::Equal(field()?, second.as_str()?.to_owned()),
                "starts-with" => Condition::StartsWith(field()?, second.as_str()?.to_owned()),
                "content-length-range" => Condition::Length(number(first)?, number(second)?),
                _ => return None,
            });
            Some(())
        }
        _ => None,
    }
}

#[cfg(test)]
#[path = "form_tests.rs"]
mod tests;
