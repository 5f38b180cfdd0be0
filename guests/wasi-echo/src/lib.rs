//! Answers what it is sent, as it comes: the example of a component that knows `wasi:http` and nothing of Recoil.

use std::sync::atomic::{AtomicU32, Ordering};

use wasip2::http::types::{Fields, IncomingRequest, Method, OutgoingBody, OutgoingResponse, ResponseOutparam};
use wasip2::io::streams::StreamError;

/// Bytes copied at a time.
const PIECE_BYTES: u64 = 16 << 10;

/// Requests that this instance has begun to answer.
static BEGUN: AtomicU32 = AtomicU32::new(0);

/// The package.
pub struct Echo;

impl wasip2::exports::http::incoming_handler::Guest for Echo {
    fn handle(request: IncomingRequest, answer: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let begun = BEGUN.fetch_add(1, Ordering::Relaxed) + 1;
        let greeting = match path.as_str() {
            "/echo" => None,
            // Tells an instance that is kept from one that is not.
            "/begun" => Some(format!("{begun}\n")),
            path => Some(format!("hello from {path}\n")),
        };
        let fields = Fields::new();
        if let Some(greeting) = &greeting {
            let _ = fields.set("content-length", &[greeting.len().to_string().into_bytes()]);
        }
        let response = OutgoingResponse::new(fields);
        // Each can be taken once, and is.
        let Ok(body) = response.body() else { return };
        ResponseOutparam::set(answer, Ok(response));
        let written = match &greeting {
            None => echo(&request, &body),
            Some(_) if matches!(request.method(), Method::Head) => Some(()),
            Some(greeting) => greet(greeting, &body),
        };
        // An answer that is not finished breaks off, which is how its client is told.
        if written.is_some() {
            let _ = OutgoingBody::finish(body, None);
        }
    }
}

fn echo(request: &IncomingRequest, answer: &OutgoingBody) -> Option<()> {
    let body = request.consume().ok()?;
    let (input, output) = (body.stream().ok()?, answer.write().ok()?);
    loop {
        match input.blocking_read(PIECE_BYTES) {
            Ok(piece) => piece.chunks(4096).try_for_each(|piece| output.blocking_write_and_flush(piece)).ok()?,
            Err(StreamError::Closed) => return Some(()),
            Err(StreamError::LastOperationFailed(_)) => return None,
        }
    }
}

fn greet(greeting: &str, answer: &OutgoingBody) -> Option<()> {
    let output = answer.write().ok()?;
    greeting.as_bytes().chunks(4096).try_for_each(|piece| output.blocking_write_and_flush(piece)).ok()
}

// The machine that it is built on has no names for such exports.
#[cfg(target_arch = "wasm32")]
wasip2::http::proxy::export!(Echo);
