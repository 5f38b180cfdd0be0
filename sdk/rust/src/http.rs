//! Requests and answers of an [`HttpHandler`](crate::HttpHandler).
//!
//! The host reads a request to its end, and sends an answer whole. Deliberately absent: routing, cookies, JSON: bring a crate.

/// A request, read to its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpRequest {
    /// `GET`, say.
    pub method: String,
    /// From the first slash up to the question mark, as sent: percent-encoding is not undone.
    pub path: String,
    /// Behind the question mark, without it, as sent.
    pub query: String,
    /// Lower-case names and values, in the order sent.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
    /// The client, as `address:port`.
    pub peer_address: String,
}

impl HttpRequest {
    /// A request without headers and body, as a test makes it. What follows a question mark in `target` is the query.
    pub fn new(method: &str, target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        HttpRequest { method: method.into(), path: path.into(), query: query.into(), ..Default::default() }
    }

    /// The same with another body.
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The same with one more header.
    pub fn with_header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_ascii_lowercase(), value.into()));
        self
    }

    /// The first header of that name, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok()
    }

    /// The parts of the path between slashes, percent-encoding undone. An encoded slash stays inside its part.
    pub fn segments(&self) -> Vec<Vec<u8>> {
        self.path.split('/').filter(|part| !part.is_empty()).map(|part| decode(part, false)).collect()
    }

    /// The first value of that name in the query, percent-encoding and plus signs undone; empty if it has none.
    pub fn query_value(&self, name: &str) -> Option<Vec<u8>> {
        let pairs = self.query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs
            .into_iter()
            .find(|(other, _)| decode(other, true) == name.as_bytes())
            .map(|(_, value)| decode(value, true))
    }
}

/// Undoes percent-encoding (RFC 3986, section 2.1); what is not encoded properly stays as it is.
fn decode(text: &str, plus_is_space: bool) -> Vec<u8> {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let bytes = text.as_bytes();
    let (mut decoded, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let (byte, length) = match (bytes[at], digit(bytes.get(at + 1)), digit(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => ((high * 16 + low) as u8, 3),
            (b'+', ..) if plus_is_space => (b' ', 1),
            (byte, ..) => (byte, 1),
        };
        decoded.push(byte);
        at += length;
    }
    decoded
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpResponse {
    /// 200 to 599.
    pub status: u16,
    /// Names and values. The length and whatever belongs to the connection are the host's.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
}

impl HttpResponse {
    /// An answer without a body.
    pub fn new(status: u16) -> Self {
        HttpResponse { status, headers: Vec::new(), body: Vec::new() }
    }

    /// An answer in plain text.
    pub fn text(status: u16, text: impl Into<String>) -> Self {
        HttpResponse::new(status).with_body("text/plain; charset=utf-8", text.into())
    }

    /// An answer in JSON, which `json` is already.
    pub fn json(status: u16, json: impl Into<Vec<u8>>) -> Self {
        HttpResponse::new(status).with_body("application/json", json)
    }

    /// The same with another body.
    pub fn with_body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.with_header("content-type", content_type)
    }

    /// The same with one more header.
    pub fn with_header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_queries_are_taken_apart_and_decoded() {
        let request = HttpRequest::new("GET", "/a%2Fb//c%20d/%zz%4?name=J%C3%B6rg+X&empty&name=other");
        assert_eq!(request.segments(), [&b"a/b"[..], b"c d", b"%zz%4"]);
        assert_eq!(request.query_value("name").unwrap(), "Jörg X".as_bytes());
        assert_eq!(request.query_value("empty").unwrap(), b"");
        assert_eq!(request.query_value("absent"), None);
        assert!(HttpRequest::new("GET", "/").segments().is_empty());
    }

    #[test]
    fn headers_are_found_in_any_case() {
        let request = HttpRequest::new("PUT", "/").with_header("X-Trace", "7").with_header("bytes", [0xff]);
        assert_eq!(request.header("x-TRACE"), Some("7"));
        assert_eq!(request.header("bytes"), None, "no text");
    }
}
