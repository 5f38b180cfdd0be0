//! Which requests are HTTP that every recipient reads alike, and what an answer may carry.
//!
//! Proxies, caches and servers that read one request differently can be set against each other: by two hosts, a cache is
//! poisoned; by two lengths, a request is smuggled inside another. So what RFC 9110, 9112 and 9113 leave open is refused
//! where two readings exist:
//!
//! | what arrives | answer |
//! |---|---|
//! | HTTP/1.1 without `Host`, or with an empty one (RFC 9112 §3.2) | 400 |
//! | HTTP/1.0 without `Host`: load balancers probe so | served |
//! | more than one `Host`, in any version | 400 |
//! | a `Host` or `:authority` with userinfo, a list, spaces or anything else that is not `host[:port]` | 400 |
//! | an absolute target, or `:authority` (RFC 9113 §8.3.1), whose host is not that of `Host` | 400 |
//! | HTTP/2 with neither `:authority` nor `host` | 400 |
//! | a target that is neither a path, an absolute URI of http(s), nor `OPTIONS *` | 400 |
//! | `CONNECT`; a transfer coding other than `chunked` | 501 |
//! | two different `Content-Length`; `Transfer-Encoding` in HTTP/1.0 | 400, by hyper |
//! | `Transfer-Encoding` beside `Content-Length` | the former counts, and the connection ends, by hyper (RFC 9112 §6.1) |
//!
//! After each of the refusals the connection ends, since what follows may be read in two ways as well.

use std::net::Ipv6Addr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Body as _;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::uri::Scheme;
use hyper::{Method, StatusCode, Version};

use super::StreamBody;

/// Why a request is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// 400 or 501.
    pub status: StatusCode,
    /// What is wrong with it.
    pub message: String,
    /// What to send instead.
    pub hint: &'static str,
}

fn refuse(message: impl Into<String>, hint: &'static str) -> Refusal {
    Refusal { status: StatusCode::BAD_REQUEST, message: message.into(), hint }
}

const ONE_HOST: &str = "send one Host header that names this server, as host or host:port";

/// Whether a request is one that every recipient reads alike.
///
/// # Errors
/// What is wrong with it, by the table above.
pub fn check<B>(request: &hyper::Request<B>) -> Result<(), Refusal> {
    let unsupported =
        |message: &str, hint| Refusal { status: StatusCode::NOT_IMPLEMENTED, message: message.to_owned(), hint };
    if request.method() == Method::CONNECT {
        return Err(unsupported("this server is no proxy: CONNECT does not work here", "send the request itself"));
    }
    check_target(request)?;
    check_host(request)?;
    let coding = request.headers().get_all(header::TRANSFER_ENCODING);
    if coding.iter().any(|value| !value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"))
        || coding.iter().count() > 1
    {
        return Err(unsupported(
            "the request has a Transfer-Encoding other than chunked",
            "use chunked, and only once",
        ));
    }
    Ok(())
}

fn check_target<B>(request: &hyper::Request<B>) -> Result<(), Refusal> {
    let uri = request.uri();
    if uri.scheme().is_some_and(|scheme| *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS) {
        return Err(refuse("the request's target is not of http", "send a path, beginning with a slash"));
    }
    let is_path = uri.path().starts_with('/') || (uri.path() == "*" && request.method() == Method::OPTIONS);
    if is_path { Ok(()) } else { Err(refuse("the request's target is no path", "send a path, beginning with a slash")) }
}

fn check_host<B>(request: &hyper::Request<B>) -> Result<(), Refusal> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(refuse("the request has more than one Host header", ONE_HOST));
    }
    let host = host
        .map(|host| authority(host.as_bytes()))
        .transpose()
        .map_err(|why| refuse(format!("the Host header is not a host: {why}"), ONE_HOST))?;
    let target = request.uri().authority().map(|target| authority(target.as_str().as_bytes())).transpose();
    let target = target.map_err(|why| refuse(format!("the request's target has no host: {why}"), ONE_HOST))?;
    let default = if request.uri().scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
    match (host, target) {
        (Some((host, port)), Some((target, target_port))) => {
            let same = host.eq_ignore_ascii_case(target) && port.unwrap_or(default) == target_port.unwrap_or(default);
            if same {
                Ok(())
            } else {
                Err(refuse("the Host header and the request's target name different hosts", ONE_HOST))
            }
        }
        (None, None) if request.version() >= Version::HTTP_2 => {
            Err(refuse("the request has neither :authority nor host", "send :authority"))
        }
        (None, _) if request.version() == Version::HTTP_11 => Err(refuse("the request has no Host header", ONE_HOST)),
        _ => Ok(()),
    }
}

/// `host[:port]` (RFC 9112 §3.2, RFC 3986 §3.2): an IPv6 address in brackets, or a name or IPv4 address.
fn authority(text: &[u8]) -> Result<(&str, Option<u16>), &'static str> {
    let text = std::str::from_utf8(text).map_err(|_| "it is not ASCII")?;
    let (host, port) = if text.starts_with('[') {
        let end = text.find(']').ok_or("its bracket is not closed")?;
        let inside = text.get(1..end).unwrap_or_default();
        inside.parse::<Ipv6Addr>().map_err(|_| "what is in brackets is no IPv6 address")?;
        let rest = &text[end + 1..];
        let port = rest.strip_prefix(':');
        if port.is_none() && !rest.is_empty() {
            return Err("something other than a port is behind the bracket");
        }
        (&text[..=end], port)
    } else {
        text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)))
    };
    if host.is_empty() {
        return Err("it is empty");
    }
    // The sub-delimiters of RFC 3986 but the comma: that is how recipients write two headers as one.
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=".contains(&byte);
    if !host.starts_with('[') && !host.bytes().all(is_of_name) {
        return Err("it has a character that no host has, such as a space, '@', ',' or '/'");
    }
    match port.filter(|port| !port.is_empty()) {
        None => Ok((host, None)),
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            port.parse().map(|port| (host, Some(port))).map_err(|_| "its port is above 65535")
        }
        Some(_) => Err("its port is no number"),
    }
}

/// An answer that is sent without its body: that to `HEAD`, and those of 204, 205 and 304 (RFC 9110 §6.4.1). Whatever length was
/// announced is not held against the body that the responder gave, which comes back to be read to its end.
pub(super) fn without_body(
    method: &Method,
    response: hyper::Response<StreamBody>,
) -> (hyper::Response<StreamBody>, Option<StreamBody>) {
    let by_status = [StatusCode::NO_CONTENT, StatusCode::RESET_CONTENT, StatusCode::NOT_MODIFIED];
    let is_of_status = by_status.contains(&response.status());
    if method != Method::HEAD && !is_of_status {
        return (response, None);
    }
    let (mut head, body) = response.into_parts();
    if is_of_status {
        head.headers.remove(header::CONTENT_LENGTH);
    } else {
        announce(&mut head.headers, body.size_hint().exact());
    }
    let rest = (!body.is_end_stream()).then_some(body);
    let empty = Empty::<Bytes>::new().map_err(|never| match never {}).boxed_unsync();
    (hyper::Response::from_parts(head, empty), rest)
}

/// Says how long the body of the same `GET` would be, where that is known.
fn announce(headers: &mut HeaderMap, bytes: Option<u64>) {
    if let Some(bytes) = bytes.filter(|bytes| *bytes > 0)
        && !headers.contains_key(header::CONTENT_LENGTH)
    {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_in_one_way_or_not_at_all() {
        for (text, expected) in [
            ("a", ("a", None)),
            ("a.example:80", ("a.example", Some(80))),
            ("a:", ("a", None)),
            ("127.0.0.1:65535", ("127.0.0.1", Some(65535))),
            ("[::1]", ("[::1]", None)),
            ("[::1]:7", ("[::1]", Some(7))),
            ("under_score", ("under_score", None)),
        ] {
            assert_eq!(authority(text.as_bytes()), Ok(expected), "{text}");
        }
        for bad in [
            "", ":80", "a b", "a@b", "a,b", "a/b", "a?b", "a#b", "a\\b", "a:b", "a:80:80", "a:65536", "a:-1", "a:+1",
            "::1", "[::1", "[::1]x", "[a]", "[]", "\u{e4}", "a\t", "http://a",
        ] {
            assert!(authority(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    /// Fails if a rule is dropped for one version, or applied to one for which it is none.
    #[test]
    fn each_version_has_its_rules() {
        let asked = |version: Version, target: &str, hosts: &[&str]| {
            let mut request = hyper::Request::builder().version(version).uri(target);
            for host in hosts {
                request = request.header("host", *host);
            }
            check(&request.body(()).unwrap()).map_err(|refusal| refusal.status.as_u16())
        };
        let (old, usual, new) = (Version::HTTP_10, Version::HTTP_11, Version::HTTP_2);
        for version in [old, usual, new] {
            assert_eq!(asked(version, "/", &["a"]), Ok(()), "{version:?}");
            assert_eq!(asked(version, "/", &["a", "a"]), Err(400), "{version:?}");
            assert_eq!(asked(version, "/", &["a", "b"]), Err(400), "{version:?}");
            assert_eq!(asked(version, "/", &["u@a"]), Err(400), "{version:?}");
            assert_eq!(asked(version, "/", &[""]), Err(400), "{version:?}");
            assert_eq!(asked(version, "http://a/", &["a"]), Ok(()), "{version:?}");
            assert_eq!(asked(version, "http://A:80/", &["a"]), Ok(()), "{version:?}");
            assert_eq!(asked(version, "https://a/", &["a:443"]), Ok(()), "{version:?}");
            assert_eq!(asked(version, "http://a/", &["b"]), Err(400), "{version:?}");
            assert_eq!(asked(version, "http://a:81/", &["a"]), Err(400), "{version:?}");
            assert_eq!(asked(version, "http://u@a/", &["a"]), Err(400), "{version:?}");
            assert_eq!(asked(version, "ftp://a/", &["a"]), Err(400), "{version:?}");
        }
        assert_eq!(asked(old, "/", &[]), Ok(()));
        assert_eq!(asked(usual, "/", &[]), Err(400));
        assert_eq!(asked(usual, "http://a/", &[]), Err(400));
        assert_eq!(asked(new, "/", &[]), Err(400));
        assert_eq!(asked(new, "http://a/", &[]), Ok(()));
        assert_eq!(asked(usual, "*", &["a"]), Err(400), "only OPTIONS asks for the server as a whole");
        assert_eq!(asked(usual, "a:80", &["a:80"]), Err(400), "only CONNECT names a host alone");
    }
}
