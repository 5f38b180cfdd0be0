//! Commands that run anywhere: in a handler on its partition, in a listener on all of them.

use std::time::{SystemTime, UNIX_EPOCH};

use recoil_sdk::log::{self, Level};
use recoil_sdk::{Entry, KeyRange, Storage, settings};

use crate::wire::{Arguments, List, Pair, Refusal, one, option, optional};

/// Runs a command on `storage`; none if it is not one of these.
pub(crate) fn run(
    storage: &mut (impl Storage + ?Sized),
    command: &str,
    arguments: &mut Arguments<'_>,
) -> Result<Option<List>, Refusal> {
    let nothing = List::new;
    let answer = match command {
        "echo" => arguments.rest().map(<[u8]>::to_vec).collect(),
        "get" => optional(storage.get(arguments.bytes()?)?),
        "get-many" => {
            let keys: Vec<Vec<u8>> = arguments.rest().map(<[u8]>::to_vec).collect();
            storage.get_many(&keys)?.iter().map(|value| option(value.as_deref())).collect()
        }
        "put" => {
            storage.put(arguments.bytes()?, arguments.bytes()?)?;
            nothing()
        }
        "put-many" => {
            let entry = |(key, value): &Pair<'_>| Entry { key: key.to_vec(), value: value.to_vec() };
            let entries: Vec<Entry> = arguments.pairs()?.iter().map(entry).collect();
            storage.put_many(&entries)?;
            nothing()
        }
        "remove" => {
            storage.remove(arguments.bytes()?)?;
            nothing()
        }
        "bump" => {
            let key = arguments.bytes()?;
            let before = storage.get(key)?;
            storage.put(key, arguments.bytes()?)?;
            vec![option(before.as_deref())]
        }
        "remove-range" => {
            storage.remove_range(&range(arguments)?)?;
            nothing()
        }
        "scan" => {
            let within = range(arguments)?;
            let entries = storage.scan(&within, arguments.parsed()?, arguments.parsed()?)?;
            entries.into_iter().flat_map(|Entry { key, value }| [key, value]).collect()
        }
        "log" => {
            log::write(level(arguments.text()?)?, arguments.text()?);
            nothing()
        }
        "print" => {
            println!("{}", arguments.text()?);
            nothing()
        }
        "setting" => optional(settings::text(arguments.text()?).map(String::into_bytes)),
        "churn" => one(churn(arguments.parsed()?)),
        "clock" => one(clock()?),
        "random" => vec![random()?],
        _ => return Ok(None),
    };
    Ok(Some(answer))
}

fn range(arguments: &mut Arguments<'_>) -> Result<KeyRange, Refusal> {
    let start = arguments.bytes()?.to_vec();
    Ok(KeyRange { start, end: arguments.option()?.map(<[u8]>::to_vec) })
}

fn level(name: &str) -> Result<Level, Refusal> {
    Ok(match name {
        "trace" => Level::Trace,
        "debug" => Level::Debug,
        "info" => Level::Info,
        "warn" => Level::Warn,
        "error" => Level::Error,
        _ => return Err(Refusal::invalid(format!("'{name}' is no level"))),
    })
}

/// Many small objects, all of them alive at once.
fn churn(count: u32) -> usize {
    let texts: Vec<String> = (0..count).map(|number| number.to_string()).collect();
    texts.iter().map(String::len).sum()
}

fn clock() -> Result<u128, Refusal> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Ok(since.map_err(|error| Refusal::unavailable(error.to_string()))?.as_micros())
}

fn random() -> Result<Vec<u8>, Refusal> {
    let mut bytes = vec![0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Refusal::unavailable(error.to_string()))?;
    Ok(bytes)
}
