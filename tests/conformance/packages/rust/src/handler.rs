//! What only a handler can do: its partition, time, timers, messages, its Raft group; and the ways in which a call can go wrong.

use std::hint::black_box;

use recoil_sdk::consensus::{self, Role};
use recoil_sdk::{Error, Handler, Timer, Transaction};

use crate::wire::{Arguments, List, Refusal, encode, one, unknown};
use crate::{Package, commands};

impl Handler for Package {
    fn handle(transaction: &mut dyn Transaction, request: &[u8]) -> Result<Vec<u8>, Error> {
        let (command, mut arguments) = Arguments::of(request)?;
        let answer = match commands::run(transaction, command, &mut arguments)? {
            Some(answer) => answer,
            None => run(transaction, command, &mut arguments)?,
        };
        Ok(encode(&answer))
    }
}

impl Timer for Package {
    fn fire(transaction: &mut dyn Transaction, id: &[u8], payload: &[u8]) -> Result<(), Error> {
        Ok(transaction.put(&[b"fired:", id].concat(), payload)?)
    }
}

fn run(transaction: &mut dyn Transaction, command: &str, arguments: &mut Arguments<'_>) -> Result<List, Error> {
    match command {
        "current" => {
            let place = transaction.place();
            let numbers = [place.id.to_string(), place.count.to_string(), place.epoch.to_string()];
            Ok([place.keyspace].into_iter().chain(numbers).map(String::into_bytes).collect())
        }
        "now" => Ok(one(transaction.now_us())),
        "is-read-only" => Ok(one(transaction.is_read_only())),
        "set-timer" => {
            let (id, delay_us, payload) = (arguments.bytes()?, arguments.parsed::<u64>()?, arguments.bytes()?);
            let at_us = transaction.now_us().saturating_add(delay_us);
            transaction.set_timer(id, at_us, payload);
            Ok(List::new())
        }
        "cancel-timer" => {
            transaction.cancel_timer(arguments.bytes()?);
            Ok(List::new())
        }
        "publish" => {
            transaction.publish(arguments.bytes()?, arguments.bytes()?);
            Ok(List::new())
        }
        "status" => {
            let status = consensus::status();
            let role = match status.role {
                Role::Leader => "leader",
                Role::Follower => "follower",
                Role::Learner => "learner",
            };
            let numbers = [status.term, status.committed, status.applied, status.voters.len() as u64];
            Ok([role.to_owned()]
                .into_iter()
                .chain(numbers.map(|number| number.to_string()))
                .map(String::into_bytes)
                .collect())
        }
        "barrier" => Ok(one(consensus::barrier().map_err(Refusal::unavailable)?)),
        "put-and-fail" => {
            transaction.put(arguments.bytes()?, arguments.bytes()?)?;
            Err(arguments.text()?.into())
        }
        "put-and-throw" => {
            transaction.put(arguments.bytes()?, arguments.bytes()?)?;
            panic!("{}", arguments.text()?)
        }
        "trap" => std::process::abort(),
        "loop" => loop {
            std::hint::spin_loop();
        },
        "bomb" => {
            let mut taken = Vec::new();
            loop {
                taken.push(black_box(vec![1_u8; 1 << 20]));
            }
        }
        "recurse" => Ok(one(recurse(0))),
        _ => Err(unknown(command).into()),
    }
}

/// The box keeps the call from becoming a loop.
#[expect(unconditional_recursion, reason = "its end is what is asked for")]
fn recurse(depth: u64) -> u64 {
    black_box(recurse(black_box(depth + 1))) + 1
}
