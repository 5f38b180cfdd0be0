//! The protocol over TCP: frames in their order, each answered before the next is looked at.

use recoil_sdk::{Connection, Error, Event, Listener, Router, Subscription};

use crate::wire::{Arguments, List, Refusal, answer, one};
use crate::{Package, listener};

/// Bytes of a frame behind its length.
const FRAME_BYTES_MAX: usize = 16 << 20;
/// Bytes of one read.
const READ_BYTES: u32 = 256 << 10;

impl Listener for Package {
    fn serve(connection: &mut dyn Connection, router: &dyn Router) -> Result<(), Error> {
        let mut client = Client { connection, router, subscriptions: Vec::new() };
        let mut input = Vec::new();
        loop {
            let mut done = 0;
            while let Some(request) = frame(&input[done..])? {
                client.answer(request)?;
                done += 4 + request.len();
            }
            input.drain(..done);
            let bytes = client.connection.read(READ_BYTES)?;
            if bytes.is_empty() {
                return Ok(());
            }
            input.extend_from_slice(&bytes);
        }
    }
}

/// The request of the first frame, if all of it is there.
fn frame(input: &[u8]) -> Result<Option<&[u8]>, Error> {
    let Some((length, rest)) = input.split_first_chunk() else { return Ok(None) };
    let length = u32::from_be_bytes(*length) as usize;
    if length > FRAME_BYTES_MAX {
        return Err(Error::new(format!("a frame of {length} bytes: at most {FRAME_BYTES_MAX} are taken")));
    }
    Ok(rest.get(..length))
}

struct Client<'a> {
    connection: &'a mut dyn Connection,
    router: &'a dyn Router,
    subscriptions: Vec<Subscription>,
}

impl Client<'_> {
    fn answer(&mut self, request: &[u8]) -> Result<(), Error> {
        let answer = answer(&self.run(request));
        // Two writes, so that a long answer is not copied for the sake of its length.
        self.connection.write(&(answer.len() as u32).to_be_bytes())?;
        Ok(self.connection.write(&answer)?)
    }

    fn run(&mut self, request: &[u8]) -> Result<List, Refusal> {
        let (command, mut arguments) = Arguments::of(request)?;
        match command {
            "subscribe" => {
                self.subscriptions.push(self.router.subscribe(arguments.bytes()?));
                Ok(List::new())
            }
            "next" => {
                let (number, timeout_ms) = (arguments.parsed::<usize>()?, arguments.parsed()?);
                let subscription = self.subscriptions.get(number);
                let subscription = subscription.ok_or_else(|| Refusal::invalid(format!("no subscription {number}")))?;
                Ok(subscription.next(timeout_ms).into_iter().collect())
            }
            "wait" => {
                let timeout_ms = arguments.parsed()?;
                let subscriptions: Vec<&Subscription> = self.subscriptions.iter().collect();
                Ok(match self.connection.wait_any(&subscriptions, timeout_ms) {
                    None => List::new(),
                    Some(Event::Readable) => one("readable"),
                    Some(Event::Message(number)) => [one("message"), one(number)].concat(),
                })
            }
            _ => listener::run(self.router, &self.connection.peer_address(), command, &mut arguments),
        }
    }
}
