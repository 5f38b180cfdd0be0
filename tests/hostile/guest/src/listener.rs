//! What the listener does wrong, and the way to the handler.

use std::hint::black_box;

use recoil_sdk::{Connection, Error, RoutedCall, Router, log};

pub(crate) fn serve(connection: &mut dyn Connection, router: &dyn Router) -> Result<(), Error> {
    let mut input = Vec::new();
    loop {
        while let Some(end) = input.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = input.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let mut words = line.split_whitespace();
            let (key, word) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let number = words.next().and_then(|number| number.parse().ok()).unwrap_or(0);
            let answer = match word.strip_prefix('@') {
                Some(word) => misbehave(connection, router, key, word, number)?,
                None => one(router, key, format!("{word} {number}")),
            };
            // An answer may be as long as it likes: its length says enough.
            let shown: String = answer.chars().take(2000).collect();
            connection.write(format!("{shown}\n").as_bytes())?;
        }
        let more = connection.read(64 << 10)?;
        if more.is_empty() {
            return Ok(());
        }
        input.extend(more);
    }
}

fn one(router: &dyn Router, key: &str, request: String) -> String {
    match router.call(&RoutedCall::write(key.as_bytes(), request.into_bytes())) {
        Ok(answer) if answer.len() > 100 => format!("ok {} bytes", answer.len()),
        Ok(answer) => format!("ok {}", String::from_utf8_lossy(&answer)),
        Err(error) => format!("err {error:?}"),
    }
}

fn misbehave(
    connection: &mut dyn Connection,
    router: &dyn Router,
    key: &str,
    word: &str,
    number: usize,
) -> Result<String, Error> {
    let call = |request: String| RoutedCall::write(key.as_bytes(), request.into_bytes());
    Ok(match word {
        "loop" => loop {
            black_box(number);
        },
        // Computes and waits a little in turns, so that it never computes for long.
        "poll" => loop {
            for step in 0..2_000_000u32 {
                black_box(step);
            }
            let _ = connection.wait_any(&[], 0);
        },
        "grow-and-trap" => {
            black_box(vec![1u8; number]);
            "ok".to_owned()
        }
        "trap" => std::process::abort(),
        "submit" => {
            let pending: Vec<_> = (0..number).map(|_| router.submit(&call("spin 1".to_owned()))).collect();
            format!("ok {}", black_box(&pending).len())
        }
        "subscribe" => {
            let all: Vec<_> = (0..number).map(|at| router.subscribe(&at.to_be_bytes())).collect();
            format!("ok {}", black_box(&all).len())
        }
        "many" => {
            let answers = router.call_many(&vec![call("echo 1".to_owned()); number]);
            format!("ok {}", answers.iter().filter(|answer| answer.is_ok()).count())
        }
        "many-answers" => {
            let answers = router.call_many(&vec![call(format!("answer {}", 15 << 20)); number]);
            let error = answers.iter().find_map(|answer| answer.as_ref().err());
            format!("ok {} {error:?}", answers.iter().filter(|answer| answer.is_ok()).count())
        }
        "request" => match router.call(&RoutedCall::write(key.as_bytes(), vec![b' '; number])) {
            Ok(_) => "ok".to_owned(),
            Err(error) => format!("err {error:?}"),
        },
        "log" => {
            (0..number).for_each(|line| log::info(&format!("flood {line}")));
            "ok".to_owned()
        }
        // Never writes, or never reads.
        "mute" => loop {
            if connection.read(64 << 10)?.is_empty() {
                return Ok(String::new());
            }
        },
        "deaf" => {
            let nothing = router.subscribe(b"nothing is published here");
            loop {
                drop(nothing.next(1000));
            }
        }
        "flood" => loop {
            connection.write(&[b'x'; 64 << 10])?;
        },
        _ => format!("err there is no @{word}"),
    })
}
