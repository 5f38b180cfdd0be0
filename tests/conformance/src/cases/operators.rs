//! What an operator does and sees: settings and the log.

use super::{Outcome, Written};
use crate::app::App;
use crate::client::Client;
use crate::{ensure, until};

pub(super) const CASES: &[Written] =
    &[("settings change while it runs", settings_change), ("the log", the_log), ("printed lines", printed_lines)];

fn settings_change(app: &App<'_>) -> Outcome {
    let values = [("greeting", "good day, wörld"), ("limit", "-123456789012"), ("loud", "true")];
    let defaults = [("greeting", "hello"), ("limit", "10"), ("loud", "false")];
    for (k, values) in [values, defaults].into_iter().enumerate() {
        app.set(k, &values.map(|(name, value)| format!("{name}={value}")).each_ref().map(String::as_str))?;
        for k in 0..3 {
            let clients: [Box<dyn Client>; 3] =
                [Box::new(app.tcp(k)?), Box::new(app.http(k)?), Box::new(app.handler(k)?)];
            for mut client in clients {
                for (name, value) in values {
                    until("the change is seen", || {
                        let found = client.ask(&[b"setting", name.as_bytes()])?.texts()?;
                        ensure(found == [value], || format!("{name} is {found:?}"))
                    })?;
                }
            }
        }
    }
    Ok(())
}

/// A client, how it is called, and whether its lines are a partition's.
type Writer = (Box<dyn Client>, &'static str, bool);

fn writers(app: &App<'_>) -> Result<[Writer; 3], String> {
    Ok([
        (Box::new(app.tcp(0)?), "listener", false),
        (Box::new(app.http(1)?), "http", false),
        (Box::new(app.handler(2)?), "handler", true),
    ])
}

fn the_log(app: &App<'_>) -> Outcome {
    for (mut client, name, has_partition) in writers(app)? {
        for level in ["trace", "debug", "info", "warn", "error"] {
            let text = format!("{name} writes {level}: grüße");
            client.ask(&[b"log", level.as_bytes(), text.as_bytes()])?.items()?;
            let line = app.logged(&text, |line| line.message == text)?;
            ensure(line.level == level && line.partition.is_some() == has_partition, || format!("{line:?}"))?;
        }
        let long = format!("{name} writes much: {}", "x".repeat(100_000));
        client.ask(&[b"log", b"info", long.as_bytes()])?.items()?;
        let cut = app.logged("a cut line", |line| line.message.starts_with(&format!("{name} writes much")))?;
        ensure(cut.message.len() <= 8192, || format!("a line has {} bytes", cut.message.len()))?;
    }
    Ok(())
}

fn printed_lines(app: &App<'_>) -> Outcome {
    for (mut client, name, has_partition) in writers(app)? {
        for text in [
            format!("{name} prints"),
            format!("{name} prints: 日本語 \u{1f980}"),
            format!("{name} prints: %s %d {{}} \\n"),
        ] {
            client.ask(&[b"print", text.as_bytes()])?.items()?;
            let line = app.logged(&text, |line| line.message == text)?;
            ensure(line.level == "info" && line.partition.is_some() == has_partition, || format!("{line:?}"))?;
        }
        client.ask(&[b"print", b""])?.items()?;
        client.ask(&[b"print", format!("{name} prints\nlines").as_bytes()])?.items()?;
        let after = format!("{name} prints after an empty line");
        client.ask(&[b"print", after.as_bytes()])?.items()?;
        app.logged(&after, |line| line.message == after)?;
        app.logged("the second of two lines", |line| line.message == "lines")?;
    }
    Ok(())
}
