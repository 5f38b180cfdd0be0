//! Messages from handlers to connections on any node.

use std::time::{Duration, Instant};

use super::{Outcome, Written};
use crate::app::App;
use crate::client::{Client as _, Tcp};
use crate::wire::{frame, list};
use crate::{ensure, until};

const MESSAGES: usize = 200;

pub(super) const CASES: &[Written] = &[
    ("messages reach connections on every node", messages_reach_every_node),
    ("a connection waits for input and messages", a_connection_waits),
    ("only what commits is published", only_what_commits),
];

/// A connection to node k that has subscribed to the topics, in their order, and hears the first.
fn subscriber(app: &App<'_>, k: usize, topics: &[&str]) -> Result<Tcp, String> {
    let mut client = app.tcp(k)?;
    for topic in topics {
        client.ask(&[b"subscribe", topic.as_bytes()])?.items()?;
    }
    // The nodes hear of a subscription one by one.
    until("a first message arrives", || {
        publish(app, topics[0], "first")?;
        let message = next(&mut client, 0, 500)?;
        ensure(message.as_deref() == Some("first"), || format!("{message:?}"))
    })?;
    while next(&mut client, 0, 200)?.is_some() {}
    Ok(client)
}

fn publish(app: &App<'_>, topic: &str, message: &str) -> Outcome {
    app.tcp(0)?.ask(&[b"call", b"write", b"key", &list(&["publish", topic, message])])?.items().map(|_| ())
}

/// The next message.
fn next(client: &mut Tcp, subscription: usize, timeout_ms: u32) -> Result<Option<String>, String> {
    let (subscription, timeout) = (subscription.to_string(), timeout_ms.to_string());
    Ok(client.ask(&[b"next", subscription.as_bytes(), timeout.as_bytes()])?.texts()?.pop())
}

fn messages_reach_every_node(app: &App<'_>) -> Outcome {
    let mut clients = (0..3).map(|k| subscriber(app, k, &["news"])).collect::<Result<Vec<_>, _>>()?;
    // The later ones' first messages reach the earlier ones, too.
    for client in &mut clients {
        while next(client, 0, 200)?.is_some() {}
    }
    let message = |number: usize| format!("{number} \u{1f980} {}", "x".repeat(number * 10));
    let calls = (0..MESSAGES).flat_map(|number| [b"key".to_vec(), list(&["publish", "news", &message(number)])]);
    let many: Vec<Vec<u8>> = [b"call-many".to_vec(), b"write".to_vec()].into_iter().chain(calls).collect();
    app.tcp(0)?.ask_list(&list(&many))?.items()?;
    publish(app, "other news", "not for them")?;
    for (k, client) in clients.iter_mut().enumerate() {
        for number in 0..MESSAGES {
            let found = next(client, 0, 5000)?;
            ensure(found.as_ref() == Some(&message(number)), || {
                format!("node {k}: not message {number} but {found:?}")
            })?;
        }
        let more = next(client, 0, 100)?;
        ensure(more.is_none(), || format!("node {k}: {more:?} comes after the last"))?;
    }
    let unknown = clients[0].ask(&[b"next", b"1", b"10"])?;
    let invalid = matches!(&unknown, crate::Answer::Error { kind, .. } if kind == "invalid");
    ensure(invalid, || format!("a subscription that there is not is answered {unknown}"))
}

fn a_connection_waits(app: &App<'_>) -> Outcome {
    let mut client = subscriber(app, 1, &["a", "b"])?;
    let wait = |client: &mut Tcp, timeout: &[u8]| client.ask(&[b"wait", timeout])?.texts();
    let since = Instant::now();
    let nothing = wait(&mut client, b"300")?;
    ensure(nothing.is_empty() && since.elapsed() >= Duration::from_millis(290), || {
        format!("{nothing:?} comes after {} ms", since.elapsed().as_millis())
    })?;
    for (number, topic) in ["a", "b"].into_iter().enumerate() {
        publish(app, topic, "message")?;
        // A message is announced, and stays until it is taken.
        for _ in 0..2 {
            let found = wait(&mut client, b"5000")?;
            ensure(found == ["message", &number.to_string()], || format!("not message {number} but {found:?}"))?;
        }
        let message = next(&mut client, number, 5000)?;
        ensure(message.as_deref() == Some("message"), || format!("{message:?}"))?;
    }
    // Input that comes while it waits.
    client.send(&frame(&list(&["wait", "20000"])))?;
    std::thread::sleep(Duration::from_millis(300));
    client.send(&frame(&list(&["echo", "text"])))?;
    let answers = [client.receive()?.texts()?, client.receive()?.texts()?];
    ensure(answers == [["readable"], ["text"]], || format!("{answers:?}"))?;
    // A message that comes while it waits for one.
    client.send(&frame(&list(&["next", "1", "20000"])))?;
    std::thread::sleep(Duration::from_millis(300));
    publish(app, "b", "late")?;
    let late = client.receive()?.texts()?;
    ensure(late == ["late"], || format!("{late:?}"))
}

fn only_what_commits(app: &App<'_>) -> Outcome {
    let mut client = subscriber(app, 2, &["topic"])?;
    let messages = [list(&["publish", "topic", "rolled back"]), list(&["put-and-fail", "a", "1", "no"])];
    let answer = app.tcp(0)?.ask(&[b"transact", b"key", &messages[0], b"key", &messages[1]])?;
    ensure(answer.clone().items().is_err(), || format!("the transaction is answered {answer}"))?;
    publish(app, "topic", "committed")?;
    let found = next(&mut client, 0, 5000)?;
    ensure(found.as_deref() == Some("committed"), || format!("{found:?}"))
}
