//! The package on its host: `wasi:http`, clocks and randomness.

use std::rc::Rc;

use recoil_sdk::router;
use wasip2::clocks::wall_clock;
use wasip2::http::types::{
    Fields, IncomingBody, IncomingRequest, Method, OutgoingBody, OutgoingResponse, ResponseOutparam,
};
use wasip2::io::streams::{InputStream, OutputStream, StreamError};

use crate::api::{Exchange, Machine, serve};
use crate::front::payload::Source;
use crate::front::request::Head;

/// Bytes that are written at a time; more is refused by the interface.
const WRITE_BYTES: usize = 4096;

/// Answers one request.
pub(crate) fn handle(request: IncomingRequest, outparam: ResponseOutparam) {
    let mut answering = Answering { outparam: Some(outparam), body: None, stream: None };
    match head(&request) {
        Ok(head) => {
            let source = Box::new(Incoming { request, stream: None, body: None });
            serve(head, source, &mut answering, Rc::new(router::host()), Rc::new(Host));
        }
        Err(why) => {
            if answering.begin(400, &[("content-type".to_owned(), b"text/plain".to_vec())])
                && answering.write(why.as_bytes())
            {
                answering.finish();
            }
        }
    }
}

fn head(request: &IncomingRequest) -> Result<Head, String> {
    let method = match request.method() {
        Method::Get => "GET".to_owned(),
        Method::Head => "HEAD".to_owned(),
        Method::Post => "POST".to_owned(),
        Method::Put => "PUT".to_owned(),
        Method::Delete => "DELETE".to_owned(),
        Method::Connect => "CONNECT".to_owned(),
        Method::Options => "OPTIONS".to_owned(),
        Method::Trace => "TRACE".to_owned(),
        Method::Patch => "PATCH".to_owned(),
        Method::Other(name) => name,
    };
    let target = request.path_with_query().unwrap_or_else(|| "/".to_owned());
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut headers = Vec::new();
    for (name, value) in request.headers().entries() {
        let name = name.to_ascii_lowercase();
        // Old clients send what they mean as Latin-1, and sign it as UTF-8.
        let value = String::from_utf8(value)
            .unwrap_or_else(|error| error.as_bytes().iter().map(|byte| char::from(*byte)).collect());
        headers.push((name, value.trim().to_owned()));
    }
    if !headers.iter().any(|(name, _)| name == "host") {
        headers.extend(request.authority().map(|authority| ("host".to_owned(), authority)));
    }
    Ok(Head { method, path: path.to_owned(), query: query.to_owned(), headers })
}

/// Clocks and randomness of the host.
pub(crate) struct Host;

impl Machine for Host {
    fn now_us(&self) -> u64 {
        let now = wall_clock::now();
        now.seconds * 1_000_000 + u64::from(now.nanoseconds / 1000)
    }

    fn random(&self) -> [u8; 16] {
        let bytes = wasip2::random::random::get_random_bytes(16);
        let mut random = [0; 16];
        random.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        random
    }

    fn sleep_ms(&self, ms: u64) {
        wasip2::clocks::monotonic_clock::subscribe_duration(ms * 1_000_000).block();
    }
}

/// The body of a request, taken only when it is first read: until then the client is not told to
/// send it.
struct Incoming {
    request: IncomingRequest,
    // Dropped before its parent.
    stream: Option<InputStream>,
    body: Option<IncomingBody>,
}

impl Source for Incoming {
    fn read(&mut self, limit: usize) -> Result<Vec<u8>, String> {
        if self.stream.is_none() {
            let body = self.request.consume().map_err(|()| "it was taken before".to_owned())?;
            self.stream = Some(body.stream().map_err(|()| "it was taken before".to_owned())?);
            self.body = Some(body);
        }
        let Some(stream) = &self.stream else { return Ok(vec![]) };
        loop {
            match stream.blocking_read(limit as u64) {
                // Woken for nothing.
                Ok(piece) if piece.is_empty() => {}
                Ok(piece) => return Ok(piece),
                Err(StreamError::Closed) => return Ok(vec![]),
                Err(StreamError::LastOperationFailed(error)) => return Err(error.to_debug_string()),
            }
        }
    }
}

struct Answering {
    outparam: Option<ResponseOutparam>,
    // Dropped before its parent.
    stream: Option<OutputStream>,
    body: Option<OutgoingBody>,
}

impl Exchange for Answering {
    fn begin(&mut self, status: u16, headers: &[(String, Vec<u8>)]) -> bool {
        let Some(outparam) = self.outparam.take() else { return false };
        let fields = Fields::new();
        for (name, value) in headers {
            if fields.append(name, value).is_err() {
                recoil_sdk::log::warn(&format!("the header {name} of an answer cannot be sent and is left out"));
            }
        }
        let response = OutgoingResponse::new(fields);
        if response.set_status_code(status).is_err() {
            return false;
        }
        let Ok(body) = response.body() else { return false };
        ResponseOutparam::set(outparam, Ok(response));
        self.stream = body.write().ok();
        self.body = Some(body);
        self.stream.is_some()
    }

    fn write(&mut self, bytes: &[u8]) -> bool {
        let Some(stream) = &self.stream else { return false };
        let mut rest = bytes;
        while !rest.is_empty() {
            // What there is room for, at once; the last of it waits until it is taken.
            let Ok(room) = stream.check_write() else { return false };
            if room == 0 {
                stream.subscribe().block();
                continue;
            }
            let count = rest.len().min(usize::try_from(room).unwrap_or(WRITE_BYTES));
            let (piece, more) = rest.split_at(count);
            if stream.write(piece).is_err() {
                return false;
            }
            rest = more;
        }
        true
    }

    fn finish(&mut self) {
        if let Some(stream) = self.stream.take() {
            let _ = stream.blocking_flush();
        }
        if let Some(body) = self.body.take() {
            // A HEAD's answer has a length and no body, which the interface finds wrong and the
            // host does not.
            let _ = OutgoingBody::finish(body, None);
        }
    }
}
