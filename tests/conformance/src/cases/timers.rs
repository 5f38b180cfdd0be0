//! Timers: a handler sets them, `fire` writes what they carry.

use std::time::{Duration, Instant};

use super::{Outcome, Written};
use crate::app::App;
use crate::client::{Client, Handler};
use crate::wire::{Answer, list};
use crate::{ensure, until};

/// Later than a slow machine needs to set a timer and change its mind.
const LATER_US: u64 = 1_500_000;

pub(super) const CASES: &[Written] = &[
    ("timers fire, once, not too early", timers_fire),
    ("timers are replaced and cancelled", timers_are_replaced_and_cancelled),
    ("many timers", many_timers),
];

fn set(handler: &mut Handler, id: &[u8], delay_us: u64, payload: &[u8]) -> Outcome {
    handler.ask(&[b"set-timer", id, delay_us.to_string().as_bytes(), payload])?.items().map(|_| ())
}

fn fired(handler: &mut Handler, id: &[u8]) -> Result<Option<Vec<u8>>, String> {
    Ok(handler.ask(&[b"get", &[b"fired:", id].concat()])?.items()?.pop())
}

fn until_fired(handler: &mut Handler, id: &[u8], payload: &[u8]) -> Outcome {
    until(&format!("the timer {} fires", id.escape_ascii()), || match fired(handler, id)? {
        Some(found) if found == payload => Ok(()),
        found => Err(format!("{found:?}")),
    })
}

fn timers_fire(app: &App<'_>) -> Outcome {
    let mut handler = app.handler(0)?;
    for (id, payload) in
        [(&b"now"[..], &b"payload"[..]), (b"\0\xff", b""), (b"", b"no id"), ("ü".as_bytes(), &[7; 70_000])]
    {
        set(&mut handler, id, 0, payload)?;
        until_fired(&mut handler, id, payload)?;
    }
    let since = Instant::now();
    set(&mut handler, b"later", LATER_US, b"payload")?;
    until_fired(&mut handler, b"later", b"payload")?;
    let passed = since.elapsed();
    ensure(passed >= Duration::from_micros(LATER_US), || format!("it fires after {} ms", passed.as_millis()))?;
    handler.ask(&[b"remove", b"fired:later"])?.items()?;
    std::thread::sleep(Duration::from_millis(500));
    let again = fired(&mut handler, b"later")?;
    ensure(again.is_none(), || "it fires twice".into())?;
    // A read sets no timers.
    let refused = app.tcp(0)?.ask(&[b"call", b"read", b"key", &list(&["set-timer", "id", "0", "payload"])])?;
    let failed = matches!(&refused, Answer::Error { kind, .. } if kind == "failed" || kind == "rejected");
    ensure(failed, || format!("a timer set in a read is answered {refused}"))
}

fn timers_are_replaced_and_cancelled(app: &App<'_>) -> Outcome {
    let mut handler = app.handler(0)?;
    set(&mut handler, b"replaced", LATER_US, b"first")?;
    set(&mut handler, b"replaced", LATER_US * 3 / 2, b"second")?;
    set(&mut handler, b"sooner", 3_600_000_000, b"first")?;
    set(&mut handler, b"sooner", LATER_US / 2, b"second")?;
    set(&mut handler, b"cancelled", LATER_US, b"first")?;
    handler.ask(&[b"cancel-timer", b"cancelled"])?.items()?;
    handler.ask(&[b"cancel-timer", b"never set"])?.items()?;
    let rolled_back = [list(&["set-timer", "rolled back", "0", "first"]), list(&["put-and-fail", "a", "1", "no"])];
    let answer = app.tcp(0)?.ask(&[b"transact", b"a partition", &rolled_back[0], b"a partition", &rolled_back[1]])?;
    ensure(answer.clone().items().is_err(), || format!("the transaction is answered {answer}"))?;
    until_fired(&mut handler, b"sooner", b"second")?;
    until("the replaced timer fires", || match fired(&mut handler, b"replaced")? {
        Some(payload) => Ok(payload),
        None => Err("it has not".into()),
    })
    .and_then(|payload| ensure(payload == b"second", || "the timer that was replaced fires".into()))?;
    for id in [&b"cancelled"[..], b"rolled back"] {
        let found = fired(&mut handler, id)?;
        ensure(found.is_none(), || format!("the timer that was {} fires", id.escape_ascii()))?;
    }
    Ok(())
}

fn many_timers(app: &App<'_>) -> Outcome {
    const TIMERS: usize = 500;
    let mut client = app.tcp(0)?;
    let calls = (0..TIMERS).flat_map(|number| {
        let id = number.to_string();
        [format!("key {number}").into_bytes(), list(&["set-timer", &id, "100000", &id])]
    });
    let many: Vec<Vec<u8>> = [b"call-many".to_vec(), b"write".to_vec()].into_iter().chain(calls).collect();
    for answer in client.ask_list(&list(&many))?.items()? {
        Answer::of(&answer)?.items()?;
    }
    until("all timers fire", || {
        let rows = client.ask(&[b"scan", b"fired:", b"+fired;", b"1000", b"false"])?.items()?;
        ensure(rows.len() == 2 * TIMERS, || format!("{} of {TIMERS} have", rows.len() / 2))?;
        ensure(rows.as_chunks().0.iter().all(|[id, payload]| id[b"fired:".len()..] == payload[..]), || {
            "a timer carries another's payload".into()
        })
    })
}
