//! Calls from any node to any partition.

use std::collections::BTreeSet;

use super::{Outcome, Written};
use crate::app::App;
use crate::client::{Client, Tcp};
use crate::wire::{Answer, list, text};
use crate::{ensure, until};

pub(super) const CASES: &[Written] = &[
    ("calls through every node", calls_through_every_node),
    ("calls to one partition keep their order", calls_keep_their_order),
    ("calls that are left alone", calls_that_are_left_alone),
    ("scatter, locate, partitions", scatter_locate_partitions),
    ("a transaction over several groups", a_transaction_over_several_groups),
    ("stale reads", stale_reads),
    ("scans in pages", scans_in_pages),
];

fn calls_through_every_node(app: &App<'_>) -> Outcome {
    let mut clients = (0..3).map(|k| app.tcp(k)).collect::<Result<Vec<_>, _>>()?;
    for number in 0..30 {
        let (key, value) = (format!("key {number}"), number.to_string());
        let put = list(&["put", &key, &value]);
        clients[number % 3].ask(&[b"call", b"write", key.as_bytes(), &put])?.items()?;
        for client in &mut clients {
            let get = list(&["get", &key]);
            // What the handler has put is in the partition that owns the key, where the listener's own storage finds it.
            for request in [list(&[b"call", b"read", key.as_bytes(), &get]), get.clone()] {
                let found = client.ask_list(&request)?.texts()?;
                ensure(found == [value.as_str()], || format!("{key} is {found:?}"))?;
            }
        }
    }
    Ok(())
}

/// The answers of a call for many, each of which must be there.
fn all(answer: Answer) -> Result<Vec<Vec<Vec<u8>>>, String> {
    answer.items()?.iter().map(|answer| Answer::of(answer)?.items()).collect()
}

fn calls_keep_their_order(app: &App<'_>) -> Outcome {
    const CALLS: usize = 300;
    const KEYS: usize = 7;
    for way in ["call-many", "submit"] {
        app.clear()?;
        let key = |number: usize| format!("key {}", number % KEYS).into_bytes();
        let mut words = vec![way.as_bytes().to_vec(), b"write".to_vec()];
        for number in 0..CALLS {
            let bump = list(&[&b"bump"[..], &key(number), number.to_string().as_bytes()]);
            words.extend([key(number), bump]);
        }
        let answers = all(app.tcp(1)?.ask_list(&list(&words))?)?;
        ensure(answers.len() == CALLS, || format!("{way}: {} answers", answers.len()))?;
        for (number, answer) in answers.iter().enumerate() {
            let before = number.checked_sub(KEYS).map(|before| format!("+{before}")).unwrap_or_default();
            ensure(*answer == [before.as_bytes()], || format!("{way}: before {number} there was not {before:?}"))?;
        }
    }
    Ok(())
}

fn calls_that_are_left_alone(app: &App<'_>) -> Outcome {
    let mut client = app.tcp(0)?;
    for number in 0..40 {
        let put = list(&["put", "key", &number.to_string()]);
        let left = client.ask(&[b"leave", b"100", b"key", &put])?;
        left.items().map_err(|why| format!("after {} calls: {why}", number * 100))?;
        if number % 10 == 9 {
            client.ask(&[b"churn", b"10000"])?.items()?;
        }
    }
    // Calls to one partition keep their order, so this one finds what the last of them has put.
    let found = client.ask(&[b"call", b"read", b"key", &list(&["get", "key"])])?.texts()?;
    ensure(found == ["39"], || format!("the key is {found:?}"))
}

fn partitions(client: &mut Tcp) -> Result<usize, String> {
    Ok(client.ask(&[b"partitions"])?.number()? as usize)
}

fn scatter_locate_partitions(app: &App<'_>) -> Outcome {
    let mut clients = (0..3).map(|k| app.tcp(k)).collect::<Result<Vec<_>, _>>()?;
    let count = partitions(&mut clients[0])?;
    ensure(count > 1, || format!("there are {count} partitions"))?;
    for client in &mut clients {
        for mode in [&b"write"[..], b"read", b"stale-read"] {
            let places = all(client.ask(&[b"scatter", mode, &list(&["current"])])?)?;
            let id = |place: &Vec<Vec<u8>>| place.get(1).cloned().map_or(Err("no id".to_owned()), text);
            let ids = places.iter().map(id).collect::<Result<Vec<_>, _>>()?;
            ensure(ids == (0..count).map(|id| id.to_string()).collect::<Vec<_>>(), || format!("the ids are {ids:?}"))?;
        }
        let refused = client.ask(&[b"scatter", b"read", &list(&["put", "a", "1"])])?.items()?;
        let read_only = |answer: &Vec<u8>| matches!(Answer::of(answer), Ok(Answer::Error { text, .. }) if text.starts_with("read-only"));
        ensure(refused.len() == count && refused.iter().all(read_only), || "a partition was written to".into())?;
    }
    for number in 0..20 {
        let key = format!("key {number}");
        let places = clients.iter_mut().map(|client| client.ask(&[b"locate", key.as_bytes()])?.texts());
        let places = places.collect::<Result<Vec<_>, _>>()?;
        let current = list(&["current"]);
        let current = clients[0].ask(&[b"call", b"read", key.as_bytes(), &current])?.texts()?;
        for place in &places {
            let [id, leader, replicas, epoch] = place.as_slice() else { return Err(format!("{key} is at {place:?}")) };
            let replicas: BTreeSet<&str> = replicas.split(',').collect();
            let leader = leader.strip_prefix('+').ok_or("no leader")?;
            ensure(replicas.len() == 3 && replicas.contains(leader), || format!("{key} is at {place:?}"))?;
            let [_, here, all, here_epoch] = current.as_slice() else { return Err(format!("{current:?}")) };
            let same = here == id && here_epoch == epoch && *all == count.to_string();
            ensure(same, || format!("{key} is at {place:?}, and there is {current:?}"))?;
        }
    }
    Ok(())
}

fn a_transaction_over_several_groups(app: &App<'_>) -> Outcome {
    let mut client = app.tcp(0)?;
    let count = partitions(&mut client)?;
    let mut keys = vec![None; count];
    for number in 0.. {
        let key = format!("key {number}");
        let place = client.ask(&[b"locate", key.as_bytes()])?.texts()?;
        let id: usize = place.first().and_then(|id| id.parse().ok()).ok_or("no id")?;
        keys[id] = Some(key);
        if keys.iter().all(Option::is_some) {
            break;
        }
    }
    let keys: Vec<String> = keys.into_iter().flatten().collect();
    let calls = keys.iter().flat_map(|key| [key.as_bytes().to_vec(), list(&["put", key, "1"])]);
    let request: Vec<Vec<u8>> = [b"transact".to_vec()].into_iter().chain(calls).collect();
    let answer = client.ask_list(&list(&request))?;
    let refused = matches!(&answer, Answer::Error { kind, text } if kind == "rejected" && text.contains("group"));
    ensure(refused, || format!("a transaction over all partitions is answered {answer}"))?;
    let rows = client.ask(&[b"scan", b"", b"", b"10", b"false"])?.items()?;
    ensure(rows.is_empty(), || format!("{} items were written", rows.len()))
}

fn stale_reads(app: &App<'_>) -> Outcome {
    let mut clients = (0..3).map(|k| app.tcp(k)).collect::<Result<Vec<_>, _>>()?;
    // A key that no other case has: a state that once was may be an earlier case's.
    let get = list(&["get", "read stale"]);
    for number in 0..50_u64 {
        let put = list(&["put", "read stale", &number.to_string()]);
        clients[number as usize % 3].ask(&[b"call", b"write", b"key", &put])?.items()?;
        for client in &mut clients {
            let found = client.ask(&[b"call", b"stale-read", b"key", &get])?.texts()?;
            // Old, but a state that once was.
            let once = found.is_empty() || found[0].parse::<u64>().is_ok_and(|found| found <= number);
            ensure(once, || format!("after {number}, {found:?} is read"))?;
        }
    }
    for client in &mut clients {
        until("a stale read finds the last write", || {
            let found = client.ask(&[b"call", b"stale-read", b"key", &get])?.texts()?;
            ensure(found == ["49"], || format!("{found:?}"))
        })?;
    }
    Ok(())
}

fn scans_in_pages(app: &App<'_>) -> Outcome {
    const ENTRIES: usize = 6;
    let clients: [Box<dyn Client>; 2] = [Box::new(app.tcp(0)?), Box::new(app.handler(0)?)];
    for mut client in clients {
        app.clear()?;
        let value = vec![b'v'; 1 << 20];
        for number in 0..ENTRIES {
            client.ask(&[b"put", format!("key {number}").as_bytes(), &value])?.items()?;
        }
        // Fewer than asked for, but at least one: 6 MiB are more than a scan answers.
        let (mut start, mut keys) = (Vec::new(), Vec::new());
        loop {
            let page = client.ask(&[b"scan", &start, b"", b"100", b"false"])?.items()?;
            let Some([key, _]) = page.last_chunk() else { break };
            ensure(page.len() < 2 * ENTRIES, || "a scan answers 6 MiB at once".into())?;
            start = [key, &b"\0"[..]].concat();
            for [key, found] in page.as_chunks().0 {
                ensure(*found == value, || format!("{} bytes of a value come back", found.len()))?;
                keys.push(text(key.clone())?);
            }
        }
        let expected: Vec<String> = (0..ENTRIES).map(|number| format!("key {number}")).collect();
        ensure(keys == expected, || format!("the keys are {keys:?}"))?;
    }
    Ok(())
}
