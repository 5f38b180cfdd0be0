//! A bank on Recoil: business rules next to the data they guard.
//!
//! Accounts belong to a branch, and a branch lives on one partition; so a transfer between two of its accounts is one transaction,
//! and no money is ever half moved. The *API* turns an HTTP request into a [`ledger::Command`], sends it to the partition of its
//! branch and turns the outcome into an answer; the *ledger* carries it out there.
//!
//! ```text
//! api      routes, JSON, which command a request is
//! ledger   the rules: what a command does to the rows of its branch
//! ```
//!
//! Invariant: the sum of a branch's balances is what was deposited less what was withdrawn, and no balance is negative.
//! Deliberately absent: who may do what, currencies, transfers between branches.

mod api;
mod ledger;
#[cfg(test)]
mod tests;

use recoil_sdk::{Error, Handler, HttpHandler, HttpRequest, HttpResponse, Router, Timer, Transaction};

/// The package: its handler, timer and HTTP handler.
pub struct Bank;

impl Handler for Bank {
    fn handle(transaction: &mut dyn Transaction, request: &[u8]) -> Result<Vec<u8>, Error> {
        let command = serde_json::from_slice(request).map_err(|error| error.to_string())?;
        let outcome = ledger::carry_out(transaction, &command)?;
        serde_json::to_vec(&outcome).map_err(|error| error.to_string().into())
    }
}

impl Timer for Bank {
    fn fire(transaction: &mut dyn Transaction, id: &[u8], _payload: &[u8]) -> Result<(), Error> {
        ledger::forget(transaction, id)
    }
}

impl HttpHandler for Bank {
    fn respond(request: &HttpRequest, router: &dyn Router) -> Result<HttpResponse, Error> {
        Ok(api::respond(request, router))
    }
}

recoil_sdk::export!(Bank: handler, timer, http_handler);
