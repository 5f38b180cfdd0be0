//! The languages' own clocks and randomness, and the partition's time.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Outcome, Written};
use crate::app::App;
use crate::client::Client;
use crate::ensure;

pub(super) const CASES: &[Written] =
    &[("clocks and time", clocks_and_time), ("no randomness twice", no_randomness_twice)];

fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_micros() as u64).unwrap_or_default()
}

fn clients(app: &App<'_>, k: usize) -> Result<[Box<dyn Client>; 3], String> {
    Ok([Box::new(app.tcp(k)?), Box::new(app.http(k)?), Box::new(app.handler(k)?)])
}

fn clocks_and_time(app: &App<'_>) -> Outcome {
    for mut client in clients(app, 0)? {
        let mut last = 0;
        for _ in 0..10 {
            let before = now_us();
            let clock = client.ask(&[b"clock"])?.number()?;
            // Languages with a coarse clock know the millisecond.
            ensure(clock + 2000 >= before && clock <= now_us() + 2000 && clock >= last, || {
                format!("the clock says {clock} after {before} and {last}")
            })?;
            last = clock;
        }
    }
    let mut handler = app.handler(0)?;
    let mut last = 0;
    for _ in 0..10 {
        let now = handler.ask(&[b"now"])?.number()?;
        ensure(now >= last && now.abs_diff(now_us()) < 10_000_000, || format!("it is {now} after {last}"))?;
        last = now;
        // A transaction that writes is later than every earlier one.
        handler.ask(&[b"put", b"key", b""])?.items()?;
    }
    Ok(())
}

fn no_randomness_twice(app: &App<'_>) -> Outcome {
    let (mut seen, mut asked) = (BTreeSet::new(), 0);
    for k in 0..3 {
        // New connections are new instances, which may have been made of the same picture.
        for mut client in clients(app, k)? {
            for _ in 0..5 {
                let [bytes] = &client.ask(&[b"random"])?.items()?[..] else { return Err("not one item".into()) };
                ensure(bytes.len() == 16, || format!("{} bytes", bytes.len()))?;
                seen.insert(bytes.clone());
                asked += 1;
            }
        }
    }
    for answer in app.tcp(0)?.ask(&[b"scatter", b"read", &crate::list(&["random"])])?.items()? {
        seen.extend(crate::Answer::of(&answer)?.items()?);
        asked += 1;
    }
    ensure(seen.len() == asked, || format!("{asked} random values are {} different ones", seen.len()))
}
