//! The protocol over HTTP, and what can be seen of HTTP itself.

use recoil_sdk::{Error, HttpHandler, HttpRequest, HttpResponse, Router};

use crate::wire::{Arguments, answer};
use crate::{Package, listener};

const BYTES: &str = "application/octet-stream";

impl HttpHandler for Package {
    fn respond(request: &HttpRequest, router: &dyn Router) -> Result<HttpResponse, Error> {
        let path = request.path.as_str();
        let status = path.strip_prefix("/status/").and_then(|status| status.parse().ok());
        match (request.method.as_str(), path) {
            ("POST", "/call") => {
                let result = Arguments::of(&request.body).and_then(|(command, mut arguments)| {
                    listener::run(router, &request.peer_address, command, &mut arguments)
                });
                Ok(HttpResponse::new(200).with_body(BYTES, answer(&result)))
            }
            (_, "/mirror") => Ok(mirror(request)),
            (_, "/fail") => Err("asked to fail".into()),
            (_, "/throw") => panic!("asked to panic"),
            _ => Ok(status.map_or_else(|| HttpResponse::text(404, "not found"), HttpResponse::new)),
        }
    }
}

fn mirror(request: &HttpRequest) -> HttpResponse {
    let mut response = HttpResponse::new(200).with_body(BYTES, request.body.clone());
    for (name, value) in [("x-method", &request.method), ("x-path", &request.path), ("x-query", &request.query)] {
        response = response.with_header(name, value.as_bytes());
    }
    for (name, value) in request.headers.iter().filter(|(name, _)| name.starts_with("x-")) {
        response = response.with_header(name, value.as_slice());
    }
    response
}
