//! A request from its head to its answer.
//!
//! The order: who sends it; whether everything in it is known; what its body is; the operation,
//! through s3s; what is due to be freed; the answer, completed with what every answer has. s3s sees
//! a head without signature and framing, in one canonical form, and a body only where that is XML.
//!
//! Invariant: a request is verified before a byte of its body is read, so that a client waits for
//! `100 Continue` and sends nothing for nothing.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use futures::FutureExt as _;
use http::HeaderValue;
use recoil_sdk::{Router, settings};
use s3s::dto::ETagCondition;
use s3s::service::S3ServiceBuilder;
use s3s::{S3Error, S3ErrorCode};

use super::forms::{File, Posted};
use super::given::condition;
use super::operations::Operations;
use super::session::{Machine, Session};
use super::{cors, facts, forms};
use crate::data::command::Condition;
use crate::data::policy::Caller;
use crate::digest::hex;
use crate::fault::{Outcome, fault, internal, invalid, invalid_request, other};
use crate::front::authenticate::{Authenticated, Payload, Verifier, is_presigned_name};
use crate::front::names::{self, Target};
use crate::front::payload::{Body, Source};
use crate::front::request::Head;
use crate::front::signature::encode;
use crate::front::time::parse_http_date;

/// Bytes of a body that is XML or JSON: a thousand keys to delete, say, or ten thousand parts.
pub(super) const DOCUMENT_BYTES_MAX: usize = 8 << 20;

/// Where an answer goes.
pub(crate) trait Exchange {
    /// The head of the answer. False if nobody wants it any more.
    fn begin(&mut self, status: u16, headers: &[(String, Vec<u8>)]) -> bool;
    /// More of the body.
    fn write(&mut self, bytes: &[u8]) -> bool;
    /// The answer is complete.
    fn finish(&mut self);
}

/// An answer but for the bytes of an object.
pub(crate) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) body: Vec<u8>,
}

/// Answers a request.
pub(crate) fn serve(
    head: Head,
    source: Box<dyn Source>,
    exchange: &mut dyn Exchange,
    router: Rc<dyn Router>,
    machine: Rc<dyn Machine>,
) {
    let region = settings::text("region").filter(|region| !region.is_empty()).unwrap_or_else(|| "us-east-1".to_owned());
    let session = Rc::new(Session::new(router, machine, region));
    let method = head.method.clone();
    let mut answer = Request { head, session: session.clone() }.run(source);
    let body_follows = method != "HEAD" && !matches!(answer.status, 204 | 304);
    let download = session.download.borrow_mut().take().filter(|_| body_follows && answer.status < 300);
    if !body_follows {
        answer.body.clear();
    }
    if download.is_none() && !answer.headers.iter().any(|(name, _)| name == "content-length") && body_follows {
        answer.headers.push(("content-length".to_owned(), answer.body.len().to_string().into_bytes()));
    }
    session.clean();
    if !exchange.begin(answer.status, &answer.headers) {
        return;
    }
    let Some(mut download) = download else {
        if answer.body.is_empty() || exchange.write(&answer.body) {
            exchange.finish();
        }
        return;
    };
    loop {
        match download.read(&session) {
            Ok(piece) if piece.is_empty() => return exchange.finish(),
            Ok(piece) if !exchange.write(&piece) => return,
            Ok(_) => {}
            // An answer that is not finished breaks off, which is how its client is told.
            Err(error) => {
                return recoil_sdk::log::error(&format!("an object's bytes cannot be read to their end: {error:?}"));
            }
        }
    }
}

struct Request {
    head: Head,
    session: Rc<Session>,
}

impl Request {
    fn run(mut self, source: Box<dyn Source>) -> Answer {
        let id = hex(&self.session.id()[..8]).to_ascii_uppercase();
        let original = self.head.clone();
        let answer = self.answer(source).unwrap_or_else(refused);
        let mut answer = self.with_cors(answer);
        complete(&mut answer, &original, &id, &self.session);
        answer
    }

    fn answer(&mut self, source: Box<dyn Source>) -> Outcome<Answer> {
        self.head.headers.retain(|(name, _)| name != "expect");
        if self.head.method == "OPTIONS" {
            return self.preflight();
        }
        let authenticated = self.authenticate()?;
        let expected = |name: &str| self.head.header(name).map(str::to_owned);
        *self.session.expected_owner.borrow_mut() = expected("x-amz-expected-bucket-owner");
        *self.session.expected_source_owner.borrow_mut() = expected("x-amz-source-expected-bucket-owner");
        self.rewrite_host()?;
        let (bucket, key) = self.head.place()?;
        let target = match (bucket.as_str(), key.as_str()) {
            ("", "") => Target::Service,
            (_, "") => Target::Bucket,
            _ => Target::Object,
        };
        names::check(&self.head, target, authenticated.access_key.is_some())?;
        let document = self.take_in(target, &authenticated, source)?;
        match self.session.form.get() {
            true => self.post(&bucket, &document),
            false => self.operate(&bucket, &key, document),
        }
    }

    /// A form: the PUT that it comes to, and an answer of its own.
    fn post(&self, bucket: &str, form: &[u8]) -> Outcome<Answer> {
        let mut posted = Posted::open(&self.session, &self.head, bucket, form)?;
        let is_signed = posted.signer.is_some();
        if let Some(signer) = posted.signer.take() {
            self.session.caller.borrow_mut().user = Some(signer);
        }
        let put = Request { head: posted.head.clone(), session: self.session.clone() };
        self.session.caller.borrow_mut().facts = facts::of(&put.head, is_signed);
        names::check(&put.head, Target::Object, is_signed)?;
        let authenticated = Authenticated { access_key: None, payload: Payload::Unsigned, chain: None };
        let file = Box::new(File(std::mem::take(&mut posted.file)));
        *self.session.body.borrow_mut() = Some(Body::new(&put.head, &authenticated, file)?);
        let answer = put.operate(bucket, &posted.key, vec![])?;
        Ok(if answer.status == 200 { posted.answer(answer, bucket) } else { answer })
    }

    fn authenticate(&mut self) -> Outcome<Authenticated> {
        let found = RefCell::new(None);
        let lookup = |key: &str| {
            let known = self.session.known(key)?;
            *found.borrow_mut() = known.clone();
            Ok(known.map(|known| known.secret))
        };
        let now_s = i64::try_from(self.session.machine.now_us() / 1_000_000).unwrap_or(i64::MAX);
        let verifier = Verifier { secret: &lookup, region: &self.session.region, now_s };
        let authenticated = verifier.authenticate(&self.head)?;
        let user = found.into_inner().map(|known| known.user).filter(|_| authenticated.access_key.is_some());
        if user.is_some() {
            self.head.take_headers_of_query()?;
        }
        let facts = facts::of(&self.head, user.is_some());
        *self.session.caller.borrow_mut() = Caller { user, facts };
        Ok(authenticated)
    }

    /// Makes a request to `BUCKET.domain` one to `/BUCKET`.
    fn rewrite_host(&mut self) -> Outcome<()> {
        let domain = settings::text("domain").filter(|domain| !domain.is_empty());
        let Some(domain) = domain else { return Ok(()) };
        let host = self.head.header("host").unwrap_or("");
        let name = host
            .rsplit_once(':')
            .filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()))
            .map_or(host, |(name, _)| name);
        let name = name.to_ascii_lowercase();
        // The end of an address is no domain.
        if name.parse::<std::net::Ipv4Addr>().is_ok() {
            return Ok(());
        }
        if let Some(bucket) =
            name.strip_suffix(&domain.to_ascii_lowercase()).and_then(|bucket| bucket.strip_suffix('.'))
            && !bucket.is_empty()
        {
            self.head.path = format!("/{}{}", encode(bucket, false), self.head.path);
        }
        Ok(())
    }

    /// Reads the body if it is a document, or leaves it to the operation.
    fn take_in(&mut self, target: Target, authenticated: &Authenticated, source: Box<dyn Source>) -> Outcome<Vec<u8>> {
        let head = &self.head;
        let is_put = head.method == "PUT" && target == Target::Object;
        let sub_resource = ["acl", "tagging", "retention", "legal-hold"].iter().any(|name| head.query(name).is_some());
        let is_copy = head.header("x-amz-copy-source").is_some();
        if is_copy {
            *self.session.copy_condition.borrow_mut() = copy_condition(head)?;
        }
        if is_put && !sub_resource && !is_copy {
            *self.session.body.borrow_mut() = Some(Body::new(head, authenticated, source)?);
            return Ok(vec![]);
        }
        let has_body = matches!(head.method.as_str(), "PUT" | "POST") && !is_copy;
        if !has_body {
            return Ok(vec![]);
        }
        let empty = head.content_length()?.unwrap_or(0) == 0
            && head.header("transfer-encoding").is_none()
            && !authenticated.payload.is_chunked();
        if empty && !matches!(authenticated.payload, Payload::Whole(_)) {
            return Ok(vec![]);
        }
        if target == Target::Bucket && forms::is_form(head) {
            let (form, _) = Body::new(head, authenticated, source)?.read_all(forms::FORM_BYTES_MAX)?;
            self.session.form.set(true);
            return Ok(form);
        }
        let mut head = head.clone();
        if head.query("uploadId").is_some() {
            // The checksum is that of the object which is completed, and not of the list of its parts.
            head.headers.retain(|(name, _)| crate::digest::Algorithm::from_header(name).is_none());
        }
        let (document, _) = Body::new(&head, authenticated, source)?.read_all(DOCUMENT_BYTES_MAX)?;
        if document.windows(9).any(|window| window.eq_ignore_ascii_case(b"<!doctype")) {
            return Err(fault(S3ErrorCode::MalformedXML, "the XML has a document type, and none is needed"));
        }
        Ok(document)
    }

    /// Has s3s read the head, carry out the operation, and write the answer's head.
    fn operate(&self, bucket: &str, key: &str, document: Vec<u8>) -> Outcome<Answer> {
        let request = self.for_s3s(bucket, key, document)?;
        let service = S3ServiceBuilder::new(Operations::new(self.session.clone())).build();
        // Nothing in it waits but calls to partitions, and those block.
        let called = service
            .call(request)
            .now_or_never()
            .ok_or_else(|| internal("an operation waits for something that never comes"))?;
        let response = called.map_err(|error| internal(format!("an operation failed: {error:?}")))?;
        let (parts, body) = response.into_parts();
        let headers = parts.headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()));
        let mut body = body.bytes().unwrap_or_default().to_vec();
        if self.head.query("attributes").is_some() && parts.status.is_success() {
            // The one answer in which an ETag has no quotes.
            let text = String::from_utf8_lossy(&body).replace("<ETag>\"", "<ETag>");
            body = text.replace("\"</ETag>", "</ETag>").into_bytes();
        }
        let mut status = parts.status.as_u16();
        if self.session.partial.get() && status == 200 {
            status = 206;
        }
        Ok(Answer { status, headers: headers.collect(), body })
    }

    fn for_s3s(&self, bucket: &str, key: &str, document: Vec<u8>) -> Outcome<s3s::HttpRequest> {
        let mut path = format!("/{}", encode(bucket, false));
        if !key.is_empty() {
            path = format!("{path}/{}", encode(key, true));
        }
        let pairs = self.head.query_pairs()?.into_iter().filter(|(name, _)| !is_presigned_name(name) && name != "x-id");
        let pairs: Vec<String> =
            pairs.map(|(name, value)| format!("{}={}", encode(&name, false), encode(&value, false))).collect();
        let uri = if pairs.is_empty() { path } else { format!("{path}?{}", pairs.join("&")) };
        let mut request = http::Request::builder().method(self.head.method.as_str()).uri(uri);
        // Whether what a client has is still the same is not looked at: it gets the whole.
        let whole = self.head.header("if-range").is_some();
        let passed =
            self.head.headers.iter().filter(|(name, value)| is_for_s3s(name, value) && !(whole && name == "range"));
        for (name, value) in passed {
            request = request.header(
                name,
                HeaderValue::from_str(value)
                    .or_else(|_| HeaderValue::from_bytes(value.as_bytes()))
                    .map_err(|_| invalid(format!("the header {name} has a value that cannot be one")))?,
            );
        }
        if !document.is_empty() {
            request = request.header("content-length", document.len());
        }
        let wrong = |error| invalid_request(format!("the request cannot be understood: {error}"));
        request.body(s3s::Body::from(Bytes::from(document))).map_err(wrong)
    }

    /// What another origin's script may do with the answer, which may be a refusal.
    fn with_cors(&self, mut answer: Answer) -> Answer {
        let Some(origin) = self.head.header("origin").filter(|_| self.head.method != "OPTIONS") else { return answer };
        let Some((bucket, _)) = self.head.place().ok().filter(|(bucket, _)| !bucket.is_empty()) else { return answer };
        let Ok(bucket) = self.session.bucket(&bucket) else { return answer };
        let method = self.head.header("access-control-request-method").unwrap_or(&self.head.method);
        for (name, value) in cors::answer(&bucket.configuration.cors, origin, method) {
            answer.headers.push((name.to_owned(), value.into_bytes()));
        }
        answer
    }

    fn preflight(&mut self) -> Outcome<Answer> {
        self.rewrite_host()?;
        let (bucket, _) = self.head.place()?;
        let missing =
            |name: &str| other("BadRequest", 400, format!("Insufficient information. {name} request header needed."));
        let origin = self.head.header("origin").ok_or_else(|| missing("Origin"))?;
        let method = self
            .head
            .header("access-control-request-method")
            .ok_or_else(|| missing("Access-Control-Request-Method"))?;
        let bucket = self.session.bucket(&bucket)?;
        let requested = self.head.header("access-control-request-headers");
        let allowed = cors::preflight(&bucket.configuration.cors, origin, method, requested);
        let why = "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, \
            request method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by \
            the resource's CORS spec.";
        let allowed = allowed.ok_or_else(|| other("AccessForbidden", 403, why))?;
        let headers = allowed.into_iter().map(|(name, value)| (name.to_owned(), value.into_bytes()));
        Ok(Answer { status: 200, headers: headers.collect(), body: vec![] })
    }
}

/// The condition on what a copy replaces, which s3s does not read.
fn copy_condition(head: &Head) -> Outcome<Condition> {
    let parse = |name: &str| {
        let wrong = |_| invalid(format!("the header {name} is no ETag"));
        head.header(name).map(|value| ETagCondition::parse_http_header(value.as_bytes()).map_err(wrong)).transpose()
    };
    Ok(condition(parse("if-match")?.as_ref(), parse("if-none-match")?.as_ref()))
}

/// Headers that are not s3s's business, or that it would refuse where they are to be ignored.
fn is_for_s3s(name: &str, value: &str) -> bool {
    match name {
        "authorization"
        | "connection"
        | "content-length"
        | "expect"
        | "host"
        | "if-range"
        | "origin"
        | "te"
        | "transfer-encoding"
        | "x-amz-content-sha256"
        | "x-amz-date"
        | "x-amz-decoded-content-length"
        | "x-amz-trailer" => false,
        // A range that is no range, and several, are those of the whole.
        "range" => s3s::dto::Range::parse(value).is_ok(),
        "if-modified-since" | "if-unmodified-since" => parse_http_date(value).is_some(),
        _ => true,
    }
}

/// The answer to a request that no operation has seen.
fn refused(error: S3Error) -> Answer {
    let status = error.status_code().map_or(500, |status| status.as_u16());
    let code = error.code().as_str().to_owned();
    let message = error.message().unwrap_or(&code).to_owned();
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{}</Code><Message>{}</Message></Error>",
        escape(&code),
        escape(&message)
    );
    let headers = vec![("content-type".to_owned(), b"application/xml".to_vec())];
    Answer { status, headers, body: body.into_bytes() }
}

/// What every answer has, and every error says.
fn complete(answer: &mut Answer, head: &Head, id: &str, session: &Session) {
    for (name, value) in session.headers.borrow_mut().drain(..) {
        answer.headers.push((name.to_owned(), value.into_bytes()));
    }
    answer.headers.push(("x-amz-request-id".to_owned(), id.as_bytes().to_vec()));
    let is_xml = answer.headers.iter().any(|(name, value)| name == "content-type" && value.ends_with(b"/xml"));
    if !is_xml || answer.body.is_empty() {
        return;
    }
    const END: &[u8] = b"</Error>";
    if answer.status >= 300
        && let Some(rest) = answer.body.strip_suffix(END)
    {
        let mut more = String::new();
        if !contains(rest, b"<Message>") {
            more.push_str(&format!("<Message>{}</Message>", sentence(rest)));
        }
        let resource = escape(&head.path);
        more.push_str(&format!("<Resource>{resource}</Resource><RequestId>{id}</RequestId><HostId>recoil</HostId>"));
        if contains(rest, b"<Code>AuthorizationHeaderMalformed<") {
            more.push_str(&format!("<Region>{}</Region>", escape(&session.region)));
        }
        answer.body = [rest, more.as_bytes(), END].concat();
    }
    answer.body = escape_controls(&answer.body);
}

/// A sentence for errors of which s3s says no more than the code.
fn sentence(error: &[u8]) -> &'static str {
    const SENTENCES: [(&[u8], &str); 6] = [
        (b"<Code>InvalidBucketName<", "The specified bucket is not valid: 3 to 63 of a-z, 0-9, dots and hyphens."),
        (b"<Code>SignatureDoesNotMatch<", "The signature is not that of this request: check the secret key."),
        (b"<Code>AccessDenied<", "Access Denied"),
        (b"<Code>MalformedXML<", "The XML you provided was not well-formed or did not validate."),
        (b"<Code>InvalidURI<", "The request's URI cannot be used."),
        (b"<Code>MethodNotAllowed<", "The specified method is not allowed against this resource."),
    ];
    let found = SENTENCES.iter().find(|(code, _)| contains(error, code));
    found.map_or("The request cannot be carried out, for the reason that the code names.", |(_, sentence)| sentence)
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Control characters in names, which a writer of XML passes on and no reader takes: they become
/// references.
fn escape_controls(body: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(body.len());
    for byte in body {
        if *byte < 0x20 { escaped.extend_from_slice(format!("&#x{byte:X};").as_bytes()) } else { escaped.push(*byte) }
    }
    escaped
}

#[cfg(test)]
mod tests;
