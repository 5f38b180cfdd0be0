//! What the handler does wrong.

use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};

use recoil_sdk::{Entry, Error, KeyRange, Transaction, log};

const FAR_US: u64 = 1 << 52;

/// Calls of `count` on this instance.
static COUNT: AtomicUsize = AtomicUsize::new(0);

pub(crate) fn misbehave(transaction: &mut dyn Transaction, word: &str, number: usize) -> Result<Vec<u8>, Error> {
    match word {
        "echo" => return Ok(number.to_string().into_bytes()),
        // What an instance remembers.
        "count" => return Ok((COUNT.fetch_add(1, Ordering::Relaxed) + 1).to_string().into_bytes()),
        "put" => transaction.put(b"key", number.to_string().as_bytes())?,
        "get" => return Ok(transaction.get(b"key")?.unwrap_or_default()),
        // Time, memory, stack.
        "loop" => loop {
            black_box(number);
        },
        "spin" => spin(number),
        "grow" => return Ok(grow(usize::MAX).to_string().into_bytes()),
        "hold" => return Ok(hold(number).to_string().into_bytes()),
        "grow-and-trap" => drop(black_box(vec![1u8; number])),
        "trap" => std::process::abort(),
        "recurse" => return Ok(recurse(number as u64).to_string().into_bytes()),
        // What comes out.
        "answer" => return Ok(vec![b'x'; number]),
        "reject" => return Err(Error::new("x".repeat(number))),
        // Host calls.
        "host-calls" => (0..number).for_each(|_| {
            black_box(transaction.now_us());
        }),
        "log" => (0..number).for_each(|line| log::info(&format!("flood {line}"))),
        "log-huge" => log::info(&"x".repeat(number)),
        "stdout" => (0..number).for_each(|line| println!("flood {line}")),
        "stdout-endless-line" => (0..number).for_each(|_| print!("xxxxxxxxxxxxxxxx")),
        "random" => drop(std::collections::hash_map::RandomState::new()),
        "sleep" => std::thread::sleep(std::time::Duration::from_millis(number as u64)),
        // Data.
        "key" => transaction.put(&vec![b'k'; number], b"")?,
        "value" => transaction.put(b"value", &vec![b'v'; number])?,
        "writes" => (0..number).try_for_each(|at| transaction.put(&at.to_be_bytes(), &[0; 1 << 20]))?,
        "puts" => (0..number).try_for_each(|at| transaction.put(&(at as u32).to_be_bytes(), b""))?,
        "put-many" => {
            let entry = |at: usize| Entry { key: (at as u32).to_be_bytes().to_vec(), value: Vec::new() };
            transaction.put_many(&(0..number).map(entry).collect::<Vec<_>>())?;
        }
        "scan" => return Ok(transaction.scan(&KeyRange::all(), u32::MAX, false)?.len().to_string().into_bytes()),
        "get-many" => drop(transaction.get_many(&vec![b"value".to_vec(); number])?),
        "timers" => (0..number).for_each(|at| transaction.set_timer(&at.to_be_bytes(), FAR_US, b"")),
        "due-timers" => (0..number).for_each(|at| transaction.set_timer(&at.to_be_bytes(), 1, b"")),
        "publish" => (0..number).for_each(|_| transaction.publish(b"topic", b"message")),
        _ => return Err(Error::new(format!("there is no {word}"))),
    }
    Ok(Vec::new())
}

/// Computes for about as many million steps.
fn spin(millions: usize) {
    for step in 0..millions * 1_000_000 {
        black_box(step);
    }
}

/// Takes memory until it is refused or comes to `bytes`; answers how many bytes it got, and gives them back to the allocator.
fn grow(bytes: usize) -> usize {
    let mut blocks: Vec<Vec<u8>> = Vec::new();
    let mut taken = 0;
    while taken < bytes {
        let mut block: Vec<u8> = Vec::new();
        if block.try_reserve_exact(1 << 20).is_err() {
            break;
        }
        block.resize(1 << 20, 1);
        taken += block.len();
        blocks.push(block);
    }
    black_box(&blocks);
    taken
}

/// As `grow`, and the memory of this instance stays that large.
fn hold(bytes: usize) -> usize {
    grow(bytes)
}

#[allow(unconditional_recursion)] // the point of it
fn recurse(depth: u64) -> u64 {
    let here = black_box([depth; 16]);
    recurse(depth + 1) + here[(depth % 16) as usize]
}
