//! An object store with the S3 API on Recoil.
//!
//! ```text
//! admin      commands for the operator
//! shell      wasi:http: a request's head and body, an answer; clocks and randomness
//! front      a request before it is an operation: signatures, chunked bodies, names; no I/O
//! api        what requests do, in terms of commands to partitions
//! data       rows, where they lie, policies, commands
//! handler    commands carried out as transactions
//! digest     MD5, SHA-256, CRCs
//! fault      errors as clients see them
//! ```
//!
//! A bucket's index is a number of shards, each one ordered range of keys on one partition; the
//! bytes of large objects are chunks spread over all partitions. Every acknowledged write is one
//! transaction of one shard. README.md has the layout and what works.

// Only the component has an entry for requests, and only tests have another.
#![cfg_attr(not(any(test, target_arch = "wasm32")), allow(dead_code))]

mod admin;
mod api;
mod data;
mod digest;
mod fault;
mod front;
mod handler;
#[cfg(target_arch = "wasm32")]
mod shell;
#[cfg(test)]
mod tests;

use recoil_sdk::{Admin, Command, Error, Handler, Router, Timer, Transaction};

/// The package.
pub struct S3;

impl Handler for S3 {
    fn handle(transaction: &mut dyn Transaction, request: &[u8]) -> Result<Vec<u8>, Error> {
        handler::handle(transaction, request)
    }
}

impl Timer for S3 {
    fn fire(transaction: &mut dyn Transaction, id: &[u8], payload: &[u8]) -> Result<(), Error> {
        handler::fire(transaction, id, payload)
    }
}

impl Admin for S3 {
    fn commands() -> Vec<Command> {
        admin::commands()
    }

    fn run(arguments: &[String], router: &dyn Router) -> Result<String, Error> {
        admin::run(arguments, router).map_err(Error::new)
    }
}

#[cfg(target_arch = "wasm32")]
impl wasip2::exports::http::incoming_handler::Guest for S3 {
    fn handle(request: wasip2::http::types::IncomingRequest, answer: wasip2::http::types::ResponseOutparam) {
        shell::handle(request, answer);
    }
}

recoil_sdk::export!(S3: handler, timer, admin);

// The machine that it is built on has no names for such exports.
#[cfg(target_arch = "wasm32")]
wasip2::http::proxy::export!(S3);
