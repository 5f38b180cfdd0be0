//! Conditional requests (RFC 9110, section 13).
//!
//! Manifests and blobs have their digest as a strong entity tag. For a manifest requested by tag it
//! is the digest the tag points to, so `If-None-Match` reveals whether the tag has moved.
//! `Last-Modified` is never sent, and conditions on times are ignored.
//!
//! Deliberately absent: conditions on writes. They would have to be evaluated in the transaction of
//! the write. Such a request is rejected, because RFC 9110 forbids performing it unconditionally.

use hyper::header::{HeaderName, IF_MATCH, IF_NONE_MATCH, IF_RANGE};
use hyper::{Method, StatusCode};
use recoil_oci::Digest;

use crate::failure::{Code, Failure};
use crate::{Answer, Head, bare, set};

/// The entity tag of what a digest names.
pub(crate) fn entity_tag(digest: &Digest) -> String {
    format!("\"{digest}\"")
}

/// Evaluates the preconditions of a `GET` or `HEAD`, in the order of section 13.2.2: returns 304 if
/// the client has the content of `digest` already, fails with 412 if `If-Match` does not hold, and
/// returns none if the content is to be sent.
pub(crate) fn unsent(request: &Head, digest: &Digest) -> Result<Option<Answer>, Failure> {
    let own = entity_tag(digest);
    if let Some(listed) = listed(request, &IF_MATCH)
        && !listed.has(|tag| tag == own)
    {
        let why = format!("the current entity tag is {own}, which If-Match does not list; fetch it again");
        return Err(Failure::new(StatusCode::PRECONDITION_FAILED, Code::Unsupported, why));
    }
    let Some(listed) = listed(request, &IF_NONE_MATCH) else { return Ok(None) };
    // Weak comparison: `W/"x"` matches `"x"`.
    if !listed.has(|tag| tag.strip_prefix("W/").unwrap_or(tag) == own) {
        return Ok(None);
    }
    let mut answer = bare(StatusCode::NOT_MODIFIED);
    answer.headers_mut().remove("content-length");
    set(&mut answer, "etag", own);
    set(&mut answer, "docker-content-digest", digest.as_str());
    Ok(Some(answer))
}

/// True if `Range` applies: the method is `GET`, and `If-Range`, if present, holds the entity tag
/// (section 13.1.5). A date in `If-Range` never matches, as there is no `Last-Modified`.
pub(crate) fn heeds_range(request: &Head, digest: &Digest) -> bool {
    match request.headers.get(IF_RANGE) {
        None => request.method == Method::GET,
        Some(named) => request.method == Method::GET && named.as_bytes().trim_ascii() == entity_tag(digest).as_bytes(),
    }
}

/// Rejects a write with a precondition.
pub(crate) fn refuse_on_write(request: &Head) -> Result<(), Failure> {
    match [IF_MATCH, IF_NONE_MATCH].into_iter().find(|name| request.headers.contains_key(name)) {
        None => Ok(()),
        Some(name) => {
            let why = format!("{name} is not supported for {}; send the request without it", request.method);
            Err(Failure::bad_request(Code::Unsupported, why))
        }
    }
}

/// The entity tags that a header lists.
enum Listed<'a> {
    /// `*`: any current representation.
    Any,
    These(Vec<&'a str>),
}

impl Listed<'_> {
    fn has(&self, is_it: impl Fn(&str) -> bool) -> bool {
        match self {
            Listed::Any => true,
            Listed::These(tags) => tags.iter().any(|tag| is_it(tag)),
        }
    }
}

/// The entity tags of all headers of this name; none if there is no such header. A syntax error ends
/// the list of its own header.
fn listed<'a>(request: &'a Head, name: &HeaderName) -> Option<Listed<'a>> {
    if !request.headers.contains_key(name) {
        return None;
    }
    let mut tags = Vec::new();
    for text in request.headers.get_all(name).iter().filter_map(|value| value.to_str().ok()) {
        if text.trim() == "*" {
            return Some(Listed::Any);
        }
        let mut rest = text;
        while let Some((tag, after)) = first_tag(rest) {
            tags.push(tag);
            rest = after;
        }
    }
    Some(Listed::These(tags))
}

/// `"…"` or `W/"…"`, and what follows.
fn first_tag(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start_matches([' ', '\t', ',']);
    let opaque = text.strip_prefix("W/").unwrap_or(text).strip_prefix('"')?;
    let length = text.len() - opaque.len() + opaque.find('"')? + 1;
    Some(text.split_at(length))
}

#[cfg(test)]
mod tests {
    use recoil_oci::Algorithm;

    use super::*;

    fn head(method: &str, headers: &[(&str, &str)]) -> Head {
        let mut request = hyper::Request::builder().method(method);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn digest() -> Digest {
        Algorithm::Sha256.digest(b"it")
    }

    fn status(headers: &[(&str, &str)]) -> u16 {
        match unsent(&head("GET", headers), &digest()) {
            Ok(None) => 200,
            Ok(Some(answer)) => answer.status().as_u16(),
            Err(failure) => failure.into_answer().status().as_u16(),
        }
    }

    #[test]
    fn what_the_client_has_is_not_sent() {
        let own = entity_tag(&digest());
        let (weak, list, bare) = (format!("W/{own}"), format!(r#""a,b" ,, W/"c",{own}, "d""#), digest().to_string());
        for has in [&own, &weak, &list, "*", " * "] {
            assert_eq!(status(&[("if-none-match", has)]), 304, "{has}");
        }
        assert_eq!(status(&[("if-none-match", "\"a\""), ("if-none-match", &own)]), 304, "in any of the headers");
        for other in ["\"a\"", "W/\"a\"", "", "\"", "\"a\" *", &bare, &format!("w/{own}"), &own[..20], "W/"] {
            assert_eq!(status(&[("if-none-match", other)]), 200, "{other}");
        }
        assert_eq!(status(&[]), 200);
        let answer = unsent(&head("GET", &[("if-none-match", "*")]), &digest()).unwrap().unwrap();
        assert_eq!(answer.headers()["etag"], own.as_str());
        assert!(!answer.headers().contains_key("content-length"));
    }

    #[test]
    fn what_must_be_there_is_compared_strongly() {
        let own = entity_tag(&digest());
        for has in [&own, "*", &format!("\"a\", {own}")] {
            assert_eq!(status(&[("if-match", has)]), 200, "{has}");
        }
        for other in ["\"a\"", "", &format!("W/{own}")] {
            assert_eq!(status(&[("if-match", other)]), 412, "{other}");
        }
        assert_eq!(status(&[("if-match", "\"a\""), ("if-none-match", &own)]), 412, "it is looked at first");
        assert_eq!(status(&[("if-match", &own), ("if-none-match", &own)]), 304);
    }

    #[test]
    fn ranges_are_of_what_the_client_has_begun() {
        let own = entity_tag(&digest());
        let heeds = |method: &str, headers: &[(&str, &str)]| heeds_range(&head(method, headers), &digest());
        assert!(heeds("GET", &[]) && heeds("GET", &[("if-range", &own)]));
        assert!(!heeds("HEAD", &[]) && !heeds("HEAD", &[("if-range", &own)]));
        for other in ["\"a\"", &format!("W/{own}"), "Wed, 21 Oct 2015 07:28:00 GMT", ""] {
            assert!(!heeds("GET", &[("if-range", other)]), "{other}");
        }
    }

    #[test]
    fn a_write_with_a_condition_is_not_carried_out() {
        for name in ["if-match", "if-none-match"] {
            let failure = refuse_on_write(&head("PUT", &[(name, "*")])).unwrap_err();
            assert_eq!(failure.into_answer().status(), StatusCode::BAD_REQUEST, "{name}");
        }
        assert!(refuse_on_write(&head("PUT", &[("if-modified-since", "x")])).is_ok());
    }
}
