//! Calls that end badly: they cost themselves and nothing else.

use std::time::{Duration, Instant};

use super::{Outcome, Written};
use crate::app::App;
use crate::client::Client as _;
use crate::ensure;
use crate::wire::{Answer, frame, list};

/// A call computes for 1 s, and lasts three times that at most; the rest is a busy machine's.
const LOOP_MAX: Duration = Duration::from_secs(15);

pub(super) const CASES: &[Written] = &[
    ("a handler's error, in its own words", an_error),
    ("an exception that nobody catches", an_exception),
    ("a trap", a_trap),
    ("an endless loop", an_endless_loop),
    ("a call that takes all memory", a_bomb),
    ("a call that never returns from itself", a_recursion),
];

/// Asks a partition for something that cannot be answered; the kind and text of the error. What was there before is there after, the
/// next call of the same partition is answered, and so is another app's client.
fn ends_badly(app: &App<'_>, request: &[&str], kinds: &[&str]) -> Result<(String, String), String> {
    let mut client = app.tcp(0)?;
    let mut call = |request: &[&str]| client.ask(&[b"call", b"write", b"key", &list(request)]);
    call(&["put", "before", "1"])?.items()?;
    let answer = call(request)?;
    let Answer::Error { kind, text } = answer else { return Err(format!("{request:?} is answered {answer}")) };
    ensure(kinds.contains(&kind.as_str()), || format!("{request:?} is answered ! {kind} {text:?}"))?;
    let found = call(&["get-many", "before", "during"])?.texts()?;
    ensure(found == ["+1", ""], || format!("after {request:?} there is {found:?}"))?;
    call(&["put", "after", "1"])?.items()?;
    let mut other = app.cluster().door(1).connect().map_err(|error| format!("another app: {error}"))?;
    other.command(&["SET", "key", "value"]).map_err(|error| format!("another app: {error}"))?;
    Ok((kind, text))
}

/// Several times, since an instance that was made anew must bear it, too.
fn end_badly(app: &App<'_>, request: &[&str], kinds: &[&str]) -> Outcome {
    (0..3).try_for_each(|_| ends_badly(app, request, kinds).map(|_| ()))
}

fn an_error(app: &App<'_>) -> Outcome {
    let long = "long ".repeat(1000);
    for text in ["no", "", "with: a colon", "grüße \u{1f980}, two\nlines", "%s {} \\n", &long] {
        let (_, said) = ends_badly(app, &["put-and-fail", "during", "1", text], &["rejected"])?;
        ensure(said == text, || format!("{text:?} reaches the caller as {said:?}"))?;
    }
    Ok(())
}

fn an_exception(app: &App<'_>) -> Outcome {
    for number in 0..3 {
        let text = format!("exception number {number}, ümlaut");
        let (_, said) = ends_badly(app, &["put-and-throw", "during", "1", &text], &["failed", "rejected"])?;
        if !said.contains(&text) {
            app.logged(&text, |line| line.message.contains(&text))
                .map_err(|why| format!("the error is {said:?}; {why}"))?;
        }
    }
    Ok(())
}

fn a_trap(app: &App<'_>) -> Outcome {
    end_badly(app, &["trap"], &["failed"])
}

fn a_bomb(app: &App<'_>) -> Outcome {
    end_badly(app, &["bomb"], &["failed", "rejected"])
}

fn a_recursion(app: &App<'_>) -> Outcome {
    end_badly(app, &["recurse"], &["failed", "rejected"])
}

fn an_endless_loop(app: &App<'_>) -> Outcome {
    let mut looping = app.tcp(0)?;
    let since = Instant::now();
    looping.send(&frame(&list(&[&b"call"[..], b"write", b"another key", &list(&["loop"])])))?;
    // Meanwhile others are served.
    let mut client = app.tcp(1)?;
    for number in 0..20 {
        let key = format!("key {number}");
        client.ask(&[b"put", key.as_bytes(), b"1"])?.items()?;
    }
    looping.receive()?.items().err().ok_or("a loop is answered")?;
    ensure(since.elapsed() < LOOP_MAX, || format!("a loop ends after {} s", since.elapsed().as_secs()))?;
    let (_, text) = ends_badly(app, &["loop"], &["failed"])?;
    ensure(text.contains("call_ms"), || format!("the error names no limit: {text:?}"))
}
