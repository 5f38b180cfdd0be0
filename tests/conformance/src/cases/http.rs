//! HTTP as a handler sees it.

use super::{Outcome, Written};
use crate::app::App;
use crate::client::{Client as _, Response};
use crate::ensure;

pub(super) const CASES: &[Written] = &[
    ("http: what a handler is given and gives", what_a_handler_is_given_and_gives),
    ("http: statuses", statuses),
    ("http: errors and exceptions", errors_and_exceptions),
    ("http: requests side by side", requests_side_by_side),
    ("http: paths that are not UTF-8", paths_that_are_not_utf_8),
];

fn expect_header(response: &Response, name: &str, values: &[&str]) -> Outcome {
    let found = response.header(name);
    ensure(found == values, || format!("the header {name} is {found:?}, not {values:?}"))
}

fn what_a_handler_is_given_and_gives(app: &App<'_>) -> Outcome {
    let mut client = app.http(0)?;
    let all: Vec<u8> = (0..=255).collect();
    let million = all.repeat(1 << 12);
    for (method, body) in [("GET", &b""[..]), ("POST", &all), ("PUT", &million), ("DELETE", b""), ("PATCH", b"\0")] {
        let headers = [("X-One", "a value"), ("x-two", ""), ("other", "no"), ("x-one", "grüße")];
        let response = client.request(method, "/mirror?a=1&b=%20c&a=", &headers, body)?;
        let of = |why: String| format!("{method}: {why}");
        ensure(response.status == 200, || of(format!("the status is {}", response.status)))?;
        ensure(response.body == body, || of(format!("{} bytes come back of {}", response.body.len(), body.len())))?;
        for (name, values) in [
            ("x-method", &[method][..]),
            ("x-path", &["/mirror"]),
            ("x-query", &["a=1&b=%20c&a="]),
            ("x-one", &["a value", "grüße"]),
            ("x-two", &[""]),
            ("other", &[]),
            ("content-type", &["application/octet-stream"]),
        ] {
            expect_header(&response, name, values).map_err(of)?;
        }
    }
    let response = client.request("OPTIONS", "/mirror", &[], b"")?;
    expect_header(&response, "x-query", &[""])?;
    let response = client.request("HEAD", "/mirror", &[], b"")?;
    expect_header(&response, "x-method", &["HEAD"])?;
    for target in ["/", "/mirrors", "/mirror/", "/status/", "/status/x", "/call/it", "/%6dirror"] {
        let response = client.request("GET", target, &[], b"")?;
        let text = String::from_utf8_lossy(&response.body);
        ensure(response.status == 404 && text == "not found", || format!("{target}: {} {text:?}", response.status))?;
    }
    Ok(())
}

/// A language whose texts cannot hold such a path refuses the request; none takes it for another one or fails.
fn paths_that_are_not_utf_8(app: &App<'_>) -> Outcome {
    let mut client = app.http(0)?;
    for target in ["/%ff", "/status/%fe%ff", "/%ed%a0%80/x"] {
        let response = client.request("GET", target, &[], b"")?;
        ensure([400, 404].contains(&response.status), || format!("{target} is answered {}", response.status))?;
    }
    let response = client.request("GET", "/mirror?a=%ff", &[], b"")?;
    expect_header(&response, "x-query", &["a=%ff"])
}

fn statuses(app: &App<'_>) -> Outcome {
    let mut client = app.http(0)?;
    for status in [200, 201, 204, 301, 304, 400, 404, 418, 429, 500, 503, 599] {
        let response = client.request("GET", &format!("/status/{status}"), &[], b"")?;
        ensure(response.status == status && response.body.is_empty(), || {
            format!("{status} is answered {} with {} bytes", response.status, response.body.len())
        })?;
    }
    Ok(())
}

fn errors_and_exceptions(app: &App<'_>) -> Outcome {
    for path in ["/fail", "/throw", "/fail", "/throw"] {
        let seen = app.log()?.iter().filter(|line| line.level == "error").count();
        let response = app.http(0)?.request("GET", path, &[], b"")?;
        ensure(response.status == 500, || format!("{path} is answered {}", response.status))?;
        crate::until(&format!("{path} in the log"), || {
            let now = app.log()?.iter().filter(|line| line.level == "error").count();
            ensure(now > seen, || format!("{now} errors, as before"))
        })?;
        app.http(0)?.ask(&[b"echo", b"on"])?.items()?;
    }
    Ok(())
}

fn requests_side_by_side(app: &App<'_>) -> Outcome {
    let asks = |number: usize| -> Outcome {
        let mut client = app.http(number % 3)?;
        for round in 0..20 {
            let text = format!("{number}, {round}").repeat(2000);
            let response = client.request("POST", "/mirror", &[], text.as_bytes())?;
            ensure(response.body == text.as_bytes(), || format!("client {number} got another's answer"))?;
            let key = format!("client {number}");
            let before = client.ask(&[b"bump", key.as_bytes(), text.as_bytes()])?.items()?;
            let expected = match round {
                0 => String::new(),
                _ => format!("+{}", format!("{number}, {}", round - 1).repeat(2000)),
            };
            ensure(before == [expected.as_bytes()], || format!("client {number} found another's value"))?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..6).map(|number| scope.spawn(move || asks(number))).collect();
        clients.into_iter().try_for_each(|client| client.join().map_err(|_| "a client panicked".to_owned())?)
    })
}
