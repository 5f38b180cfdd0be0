//! Frames on a connection, in any pieces; requests that are none; connections side by side.

use std::time::Duration;

use super::{Outcome, Written};
use crate::app::App;
use crate::client::{Client as _, Tcp};
use crate::ensure;
use crate::wire::{Answer, frame, list};

/// Connections at a time: each has an instance, and the memory of all of them is bounded.
const CONNECTIONS: usize = 12;

pub(super) const CASES: &[Written] = &[
    ("frames split at every byte", frames_split_at_every_byte),
    ("many frames in one write", many_frames_in_one_write),
    ("requests that are none", requests_that_are_none),
    ("a frame that is too long", a_frame_that_is_too_long),
    ("connections side by side", connections_side_by_side),
];

fn echo(text: &str) -> Vec<u8> {
    frame(&list(&["echo", text]))
}

fn expect(client: &mut Tcp, items: &[&str]) -> Outcome {
    let answer = client.receive()?;
    let expected = Answer::Items(items.iter().map(|item| item.as_bytes().to_vec()).collect());
    ensure(answer == expected, || format!("the answer is {answer}, not {expected}"))
}

fn frames_split_at_every_byte(app: &App<'_>) -> Outcome {
    let requests = [echo("first"), frame(&list(&["put", "key", "value"])), frame(&list(&["get", "key"]))].concat();
    let answers = |client: &mut Tcp| {
        expect(client, &["first"])?;
        expect(client, &[])?;
        expect(client, &["value"])
    };
    let mut client = app.tcp(0)?;
    for place in 1..requests.len() {
        let (head, tail) = requests.split_at(place);
        client.send(head)?;
        // Long enough to be a read of its own, as a rule.
        std::thread::sleep(Duration::from_millis(2));
        client.send(tail)?;
        answers(&mut client).map_err(|why| format!("split at byte {place}: {why}"))?;
    }
    for byte in &requests {
        client.send(&[*byte])?;
        std::thread::sleep(Duration::from_millis(1));
    }
    answers(&mut client).map_err(|why| format!("byte by byte: {why}"))
}

fn many_frames_in_one_write(app: &App<'_>) -> Outcome {
    let mut client = app.tcp(0)?;
    let texts: Vec<String> = (0..2000).map(|number| format!("number {number}")).collect();
    client.send(&texts.iter().map(|text| echo(text)).collect::<Vec<_>>().concat())?;
    for text in &texts {
        expect(&mut client, &[text])?;
    }
    // Together longer than any read, and every one of them longer than a packet.
    let long: Vec<String> = (b'a'..=b'z').map(|letter| char::from(letter).to_string().repeat(100_000)).collect();
    client.send(&long.iter().map(|text| echo(text)).collect::<Vec<_>>().concat())?;
    long.iter().try_for_each(|text| expect(&mut client, &[text]))
}

fn requests_that_are_none(app: &App<'_>) -> Outcome {
    let (mut tcp, mut http) = (app.tcp(0)?, app.http(0)?);
    let whole = list(&["echo", "text"]);
    for request in [&b""[..], b"\0", b"\0\0\0", b"\0\0\0\x01", b"\xff\xff\xff\xff", &whole[..whole.len() - 1]] {
        for client in [&mut tcp as &mut dyn crate::Client, &mut http] {
            let answer = client.ask_list(request)?;
            let invalid = matches!(&answer, Answer::Error { kind, .. } if kind == "invalid");
            ensure(invalid, || format!("\"{}\" is answered {answer}", request.escape_ascii()))?;
        }
    }
    // The connections stay.
    for client in [&mut tcp as &mut dyn crate::Client, &mut http] {
        client.ask_list(&whole)?.items()?;
    }
    Ok(())
}

fn a_frame_that_is_too_long(app: &App<'_>) -> Outcome {
    for length in [(16_u32 << 20) + 1, u32::MAX] {
        let mut client = app.tcp(0)?;
        client.send(&echo("before"))?;
        expect(&mut client, &["before"])?;
        client.send(&length.to_be_bytes())?;
        client.is_ended().map_err(|why| format!("a frame of {length} bytes: {why}"))?;
    }
    // A client that goes in the middle of a frame is nobody's trouble.
    app.tcp(0)?.send(&echo("half a frame")[..9])?;
    app.tcp(0)?.ask(&[b"echo", b"text"])?.items().map(|_| ())
}

fn connections_side_by_side(app: &App<'_>) -> Outcome {
    let mut clients = (0..CONNECTIONS).map(|number| app.tcp(number % 3)).collect::<Result<Vec<_>, _>>()?;
    for round in 0..10 {
        for (number, client) in clients.iter_mut().enumerate() {
            client.send(&echo(&format!("{number}, {round}")))?;
        }
        for (number, client) in clients.iter_mut().enumerate().rev() {
            expect(client, &[&format!("{number}, {round}")])?;
        }
    }
    let peers = clients.iter_mut().map(|client| client.ask(&[b"peer"])?.texts()).collect::<Result<Vec<_>, _>>()?;
    let distinct: std::collections::BTreeSet<_> = peers.iter().flatten().collect();
    ensure(distinct.len() == CONNECTIONS && distinct.iter().all(|peer| peer.starts_with("127.0.0.1:")), || {
        format!("the peers are {peers:?}")
    })
}
