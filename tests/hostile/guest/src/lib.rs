//! A package that misbehaves on demand.
//!
//! Its protocol is lines. `KEY WORD NUMBER` runs WORD in the handler of the partition that owns KEY (see [`handler`]); a word that begins
//! with `@` is done by the listener itself (see [`listener`]). The answer is one line: `ok …` or `err …`.
//!
//! A handler that is called without the listener also knows `mirror`, which answers the whole request and nothing else: what a
//! call costs whatever it does.

mod handler;
mod listener;

use recoil_sdk::{Connection, Error, Handler, Listener, Router, Timer, Transaction};

/// The package.
pub struct Hostile;

impl Handler for Hostile {
    fn handle(transaction: &mut dyn Transaction, request: &[u8]) -> Result<Vec<u8>, Error> {
        if request.starts_with(b"mirror ") {
            return Ok(request.to_vec());
        }
        let request = String::from_utf8_lossy(request);
        let (word, number) = request.split_once(' ').unwrap_or((&request, ""));
        handler::misbehave(transaction, word, number.trim().parse().unwrap_or(0))
    }
}

impl Timer for Hostile {
    fn fire(_transaction: &mut dyn Transaction, _id: &[u8], _payload: &[u8]) -> Result<(), Error> {
        Err(Error::new("a timer of this package never succeeds"))
    }
}

impl Listener for Hostile {
    fn serve(connection: &mut dyn Connection, router: &dyn Router) -> Result<(), Error> {
        listener::serve(connection, router)
    }
}

recoil_sdk::export!(Hostile: handler, timer, tcp_listener);
